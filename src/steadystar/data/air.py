"""Wavelengths in air made wavelengths in vacuum, once, at the door."""

__all__ = ["air_to_vacuum"]

import numpy as np
from numpy.typing import ArrayLike, NDArray


def air_to_vacuum(wave: ArrayLike) -> NDArray[np.float64]:
    """Return vacuum wavelengths for wavelengths in standard air, both in Angstrom.

    The refractive index of Ciddor (1996, Applied Optics 35, 1566, equation 1) is a
    function of the vacuum wavelength; three rounds of fixed-point iteration reach
    1e-12. For the visible and the near infrared: it has poles below 1400 A.
    """
    air = np.asarray(wave, np.float64)
    vacuum = air
    for _ in range(3):
        wavenumber = (1e4 / vacuum) ** 2
        index = 0.05792105 / (238.0185 - wavenumber) + 0.00167917 / (
            57.362 - wavenumber
        )
        vacuum = air * (1 + index)
    return vacuum
