"""Physical constants, each with its source."""

__all__ = ["C_KMS", "FWHM_PER_SIGMA"]

# Exact by definition of the metre (BIPM, 1983).
C_KMS = 299_792.458
"""Speed of light in km/s."""

FWHM_PER_SIGMA = 2.354820045030949  # 2 sqrt(2 ln 2)
"""Full width at half maximum of a Gaussian over its standard deviation."""
