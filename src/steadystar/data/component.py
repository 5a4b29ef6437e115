"""A component: one of the things that a spectrum is the sum of, as a Gaussian prior.

Sky lines, the star's continuum, its lines: what is known of each before the spectrum is
seen is a mean and a covariance between pixels, and the covariance is kept as what it is
made of, ``diag(diagonal) + basis.T @ basis``. Whoever makes a prior (`models`) returns
this; `measure.components` takes spectra apart with it.
"""

__all__ = ["RESIDUAL", "Component"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESIDUAL = "residual"
"""Name of the component that every spectrum has: the noise of its pixels."""

_MOST_AXES = {"mean": 2, "basis": 3, "diagonal": 2}
_SHAPES = {
    "mean": "(pixel,) or (spectrum, pixel)",
    "basis": "(rank, pixel) or (spectrum, rank, pixel)",
    "diagonal": "(pixel,) or (spectrum, pixel)",
}


@dataclass(frozen=True, eq=False)
class Component:
    """Gaussian prior of one component, in the unit of the spectra's flux.

    ``mean``: ``(pixel,)`` for all spectra or ``(spectrum, pixel)``; None is zero.
    ``basis``: ``(rank, pixel)`` or ``(spectrum, rank, pixel)``, each row a pattern whose
    strength has the prior variance one; None is no pattern. ``diagonal``: variance of
    what is independent from pixel to pixel, ``(pixel,)`` or ``(spectrum, pixel)``; None
    is zero. All are kept as arrays of NumPy; float32 stays float32, all else float64.

    Raises:
        ValueError: no name, or the reserved one; a shape that is none of these or does
            not agree with the others; a value that is not finite; a negative variance.
    """

    name: str
    # Whatever NumPy makes an array of; an array, or None, once it is here.
    mean: Any = None
    basis: Any = None
    diagonal: Any = None

    def __post_init__(self) -> None:
        if not self.name or self.name == RESIDUAL:
            raise ValueError(
                f"A component cannot be called {self.name!r}: {RESIDUAL!r} is what the "
                "pixels' noise is called, and every other needs a name of its own."
            )
        sizes = {}
        for field, most in _MOST_AXES.items():
            values = self._numbers(field, most)
            object.__setattr__(self, field, values)
            if values is not None:
                sizes[field] = values.shape[-1]
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"Component {self.name!r} has {sizes} pixels: its mean, basis and "
                "diagonal must lie on the same ones."
            )
        if self.diagonal is not None and (self.diagonal < 0).any():
            raise ValueError(
                f"The diagonal of component {self.name!r} is negative in "
                f"{(self.diagonal < 0).sum()} pixels: it is a variance; use zero where "
                "the component has none."
            )

    def _numbers(self, field: str, most: int) -> NDArray | None:
        """Return a field as an array of floats, checked."""
        given = getattr(self, field)
        if given is None:
            return None
        values = np.asarray(given)
        if values.dtype != np.float32:
            values = values.astype(np.float64)
        if values.ndim not in (most - 1, most):
            raise ValueError(
                f"The {field} of component {self.name!r} has shape {values.shape}: give "
                f"{_SHAPES[field]}."
            )
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise ValueError(
                f"The {field} of component {self.name!r} has {bad} values that are not "
                "finite: a prior is known in every pixel, also where a spectrum has a "
                "gap."
            )
        return values

    def require(self, spectra: int, pixels: int) -> None:
        """Raise ValueError unless this is a prior of so many spectra of so many pixels."""
        for field, most in _MOST_AXES.items():
            values = getattr(self, field)
            if values is None:
                continue
            rows = spectra if values.ndim < most else len(values)
            if (rows, values.shape[-1]) != (spectra, pixels):
                raise ValueError(
                    f"The {field} of component {self.name!r} has shape {values.shape}, "
                    f"but there are {spectra} spectra of {pixels} pixels: give it on "
                    "their pixels, for all spectra or one for each."
                )

    @property
    def rank(self) -> int:
        """Number of patterns in the basis."""
        return 0 if self.basis is None else self.basis.shape[-2]
