"""What a spectrum should look like, told from its clean stretches alone.

Principal components of the clean pixels of many spectra carry what distinguishes the
stars; a second basis, which shares their coefficients, carries the whole range (Xiang et
al. 2021, section 3). A new spectrum's clean pixels then give its coefficients, and these
give the spectrum it would have without emission: denoised, and with an error.

`reconstruction_training` learns both bases; `Reconstruction.coefficients` finds what one
spectrum says. Two ways are there. ``"published"`` projects the standardized clean pixels
on the components, whatever their noise. ``"weighted"`` (the default) takes the spectrum's
own inverse variances and the spread of the stars as a Gaussian prior: bad pixels do not
matter, noise is shrunk rather than fitted, and the coefficients have a covariance.
"""

__all__ = ["LEADING", "Coefficients", "Reconstruction", "with_products"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystar.data.archive import pack, restore
from steadystar.data.spectra import Spectra

_BLOCK = 256
_CLIP = 6.0
"""Pixels of a spectrum that are further off than this many sigma count as damaged."""
LEADING = 6
"""Components whose products are told too."""
_FARTHEST = 4.0
_KIND = "reconstruction"


class Coefficients(NamedTuple):
    """What clean pixels say: for each spectrum and component.

    ``value``: ``(spectrum, component)``; NaN where a spectrum has no clean pixel.
    ``covariance``: ``(spectrum, component, component)``, of the value's error; None for
    the published method, which has none.
    ``chi2``: of the clean pixels, over their number. ``clipped``: pixels left out as
    damaged.
    """

    value: NDArray[np.float32]
    covariance: NDArray[np.float32] | None
    chi2: NDArray[np.float64]
    clipped: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Two bases with the same coefficients, learned by `reconstruction_training`.

    ``wave``: vacuum A, ``(pixel,)``. ``clean``: which pixels give coefficients.
    ``mean, scale``: of the training spectra, how pixels are standardized.
    ``components``: eigenvectors, ``(component, clean pixel)``; ``basis``: what goes with
    them over the whole range, ``(component, pixel)``; both in units of ``scale``.
    ``variance``: of the stars' coefficients, noise taken off, ``(component,)``.
    ``scatter``: what stars scatter about their reconstruction beyond noise, in flux,
    ``(pixel,)``. ``members``: how many spectra it was learned from.
    """

    wave: NDArray[np.float64]
    clean: NDArray[np.bool_]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    components: NDArray[np.float32]
    basis: NDArray[np.float32]
    variance: NDArray[np.float32]
    scatter: NDArray[np.float32]
    members: int
    method: str = "weighted"

    def coefficients(self, spectra: Spectra) -> Coefficients:
        """Find the coefficients of spectra that `rest_frame.to_rest` prepared.

        Raises:
            ValueError: the spectra are on other wavelengths.
        """
        self._check(spectra)
        number, size = len(spectra), len(self.variance)
        value = np.full((number, size), np.nan, np.float32)
        published = self.method == "published"
        shape = (number, 0, 0) if published else (number, size, size)
        covariance = np.full(shape, np.nan, np.float32)
        chi2 = np.full(number, np.nan)
        clipped = np.zeros(number, np.int64)
        prior = None
        if not published:
            prior = 1 / np.maximum(self.variance, 1e-12)
        for begin in range(0, number, _BLOCK):
            rows = slice(begin, min(begin + _BLOCK, number))
            flux, weight = self._standardized(spectra, rows)
            found = _solve(flux, weight, self.components, prior)
            error = np.sqrt(weight) * (flux - found[0] @ self.components)
            bad = (abs(error) > _CLIP) & (not published)
            hit = np.flatnonzero(bad.any(axis=1))
            if len(hit):
                weight = np.where(bad, 0, weight)
                again = _solve(flux[hit], weight[hit], self.components, prior)
                found[0][hit], found[1][hit] = again
            residual = (flux - found[0] @ self.components) ** 2 * weight
            known = np.maximum((weight > 0).sum(axis=1), 1)
            value[rows], covariance[rows] = found
            chi2[rows], clipped[rows] = residual.sum(axis=1) / known, bad.sum(axis=1)
        empty = ~(spectra.ivar[:, self.clean] > 0).any(axis=1)
        value[empty], covariance[empty], chi2[empty] = np.nan, np.nan, np.nan
        return Coefficients(value, None if published else covariance, chi2, clipped)

    def rebuild(
        self, value: NDArray[np.float32], pixels: Any = slice(None)
    ) -> NDArray[np.float32]:
        """Return the spectra of coefficients ``(spectrum, component)``.

        ``pixels``: which of them; all if not given.
        """
        terms = with_products(value, self.variance, len(self.basis))
        return (terms @ self.basis[:, pixels]) * self.scale[pixels] + self.mean[pixels]

    def save(self, path: Path | str) -> None:
        """Write the bases to one file, the same bytes every time."""
        pack(Path(path), _KIND, {}, {}, self.to_arrays())

    @classmethod
    def load(cls, path: Path | str) -> "Reconstruction":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds no reconstruction.
        """
        return restore(Path(path), _KIND, lambda _, __, held: cls.from_arrays(held))

    def to_arrays(self) -> dict[str, NDArray]:
        """Return its fields, as arrays by name."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "Reconstruction":
        """Make it of what `to_arrays` returned."""
        held: dict[str, Any] = dict(arrays)
        members, method = int(held.pop("members")), str(held.pop("method"))
        return cls(**held, members=members, method=method)

    def _check(self, spectra: Spectra) -> None:
        if spectra.wave.shape != self.wave.shape or not np.allclose(
            spectra.wave, self.wave, rtol=1e-6
        ):
            raise ValueError(
                "The spectra are not on the wavelengths of the reconstruction: prepare "
                "them with to_rest on the same grid."
            )

    def _standardized(self, spectra: Spectra, rows: slice):
        """Return clean pixels in units of the training spectra's spread, and weights."""
        scale = self.scale[self.clean]
        flux = (spectra.flux[rows][:, self.clean] - self.mean[self.clean]) / scale
        ivar = spectra.ivar[rows][:, self.clean] * scale**2
        more = (self.scatter[self.clean] / scale) ** 2
        return np.where(ivar > 0, flux, 0), ivar / (1 + ivar * more)


def with_products(value, variance, size: int):
    """Return the coefficients and, where there is room, products of the leading ones.

    Lines grow and saturate: what H alpha does is not quite linear in what the others
    do. Products of standardized coefficients take up most of that.
    """
    more = size - value.shape[1]
    if not more:
        return value
    leading = min(LEADING, value.shape[1])
    first, second = np.triu_indices(leading)
    scaled = value[:, :leading] / np.sqrt(np.maximum(variance[:leading], 1e-12))
    scaled = np.clip(scaled, -_FARTHEST, _FARTHEST)
    return np.concatenate([value, scaled[:, first] * scaled[:, second]], axis=1)


def _solve(flux, weight, components, prior):
    """Return coefficients and their covariances; plain projections without a prior."""
    size = len(components)
    if prior is None:
        known = np.where(weight > 0, flux, 0)
        return known @ components.T, np.empty((len(flux), 0, 0), np.float32)
    first, second = np.triu_indices(size)
    # All weighted sums of products of two components at once: one matrix product.
    packed = weight @ (components[first] * components[second]).T
    normal = np.empty((len(flux), size, size))
    normal[:, first, second] = packed
    normal[:, second, first] = packed
    normal[:, np.arange(size), np.arange(size)] += prior
    inverse = np.linalg.inv(normal)
    right = (weight * flux) @ components.T
    value = np.einsum("nij,nj->ni", inverse, right)
    return value.astype(np.float32), inverse.astype(np.float32)
