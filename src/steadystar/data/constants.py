"""Physical constants, each with its source."""

__all__ = [
    "C_KMS",
    "DAY_S",
    "FWHM_PER_SIGMA",
    "GM_SUN",
    "LIMB_DARKENING",
    "R_SUN_KM",
]

# Exact by definition of the metre (BIPM, 1983).
C_KMS = 299_792.458
"""Speed of light in km/s."""

FWHM_PER_SIGMA = 2.354820045030949  # 2 sqrt(2 ln 2)
"""Full width at half maximum of a Gaussian over its standard deviation."""

# As used with the profile of rotation in Gray 2008 (The Observation and Analysis of
# Stellar Photospheres, equation 18.14).
LIMB_DARKENING = 0.6
"""Coefficient of linear limb darkening, about that of the Sun in the visible."""

DAY_S = 86_400.0
"""Seconds of a day."""

# Nominal values, exact by convention (IAU 2015, Resolution B3).
GM_SUN = 1.3271244e11
"""Gravitational constant times the mass of the Sun, km^3/s^2."""

R_SUN_KM = 695_700.0
"""Radius of the Sun, km."""
