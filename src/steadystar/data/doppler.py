"""Velocities one after the other: Doppler factors multiply, velocities do not add.

A velocity is ``c z``. At 100 km/s, with the Earth's 30, a sum would be 10 m/s off.
"""

__all__ = ["composed", "known_motion", "without"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers


def composed(rv: Any, other: Any) -> Any:
    """Return the velocity of both factors, ``c [(1 + rv/c) (1 + other/c) - 1]``.

    Arguments:
        rv, other: km/s; numbers, arrays or columns (`polars.Expr`), as one will.
    """
    return C_KMS * ((1 + rv / C_KMS) * (1 + other / C_KMS) - 1)


def without(rv: Any, other: Any) -> Any:
    """Return what is left of ``rv`` if ``other`` is taken off; undoes `composed`."""
    return C_KMS * ((1 + rv / C_KMS) / (1 + other / C_KMS) - 1)


def known_motion(bary_corr: Numbers | None, number: int) -> NDArray[np.float64]:
    """Return barycentric corrections, one a spectrum; zero where none is known.

    A velocity without its correction is then the observatory's in both frames: it is
    not lost.
    """
    given = 0.0 if bary_corr is None else bary_corr
    return np.nan_to_num(np.broadcast_to(np.asarray(given, float), (number,)))
