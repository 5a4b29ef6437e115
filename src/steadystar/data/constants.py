"""Physical constants, each with its source."""

__all__ = ["C_KMS"]

# Exact by definition of the metre (BIPM, 1983).
C_KMS = 299_792.458
"""Speed of light in km/s."""
