"""What a spectrum should look like, told from its clean stretches alone.

Principal components of the clean pixels of many spectra carry what distinguishes the
stars; a second basis, which shares their coefficients, carries the whole range (Xiang et
al. 2021, section 3). A new spectrum's clean pixels then give its coefficients, and these
give the spectrum it would have without emission: denoised, and with an error.

`fit_reconstruction` learns both bases; `Reconstruction.coefficients` finds what one
spectrum says. Two ways are there. ``"published"`` projects the standardized clean pixels
on the components, whatever their noise. ``"weighted"`` (the default) takes the spectrum's
own inverse variances and the spread of the stars as a Gaussian prior: bad pixels do not
matter, noise is shrunk rather than fitted, and the coefficients have a covariance.
"""

__all__ = ["Coefficients", "Reconstruction", "fit_reconstruction"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from steadystar.data.archive import pack, restore
from steadystar.data.spectra import Spectra

_BLOCK = 256
_CHUNK = 1024
_CLIP = 6.0
"""Pixels of a spectrum that are further off than this many sigma count as damaged."""
_LEAST_GOOD = 0.8
_LEAST = 20
_LEADING, _FARTHEST = 6, 4.0
_UNUSUAL = 50.0
"""Spectra whose variance about the median is this many times the usual are broken."""
_SPARE, _SWEEPS = 20, 15
_STARS = 0.05
"""Noise (variance per pixel, of that of the stars) below which spectra count alike."""
_LEAST_SHARE = 0.03
"""Components in which stars vary less than this much of the noise are noise."""
_MOST_SHARE, _MOST_STARS = 0.1, 20.0
"""A spectrum with more than this share of a component's variance is unlike others; of
few spectra, with that of this many ordinary ones."""
_TURNS = 4
_BEYOND = 6.0
"""Quartile distances beyond the quartiles at which flux in emission's windows is cut."""
_METHODS = ("weighted", "published")
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
    """Two bases with the same coefficients, learned by `fit_reconstruction`.

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
        terms = _terms(value, self.variance, len(self.basis))
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


def _terms(value, variance, size: int):
    """Return the coefficients and, where there is room, products of the leading ones.

    Lines grow and saturate: what H alpha does is not quite linear in what the others
    do. Products of standardized coefficients take up most of that.
    """
    more = size - value.shape[1]
    if not more:
        return value
    leading = min(_LEADING, value.shape[1])
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


def fit_reconstruction(
    spectra: Spectra,
    clean: NDArray[np.bool_],
    members: NDArray[np.bool_] | None = None,
    n_components: int = 100,
    method: str = "weighted",
) -> Reconstruction:
    """Learn both bases from many spectra.

    Arguments:
        spectra: at rest on one grid (`rest_frame.to_rest`).
        clean: pixels free of emission, ``(pixel,)``.
        members: spectra to learn from; all if None. Those with less than 80% usable
            pixels are left out in any case.
        n_components: how many components at most; ``"weighted"`` keeps those of them
            in which stars differ by more than noise.
        method: ``"weighted"`` or ``"published"``.

    Raises:
        ValueError: too few spectra, or an unknown method.

    Source:
        Xiang et al. 2021, section 3, equations 1 and 2.
    """
    if method not in _METHODS:
        raise ValueError(f"method = {method!r}: use one of {', '.join(_METHODS)}.")
    good = (spectra.ivar > 0).mean(axis=1) >= _LEAST_GOOD
    taken = np.flatnonzero(good if members is None else good & members)
    if len(taken):
        taken = _ordinary(spectra, taken, clean)
    if len(taken) < _LEAST:
        raise ValueError(
            f"Only {len(taken)} spectra have usable pixels enough to learn components "
            f"from: {_LEAST} are the least. Give more spectra, or a reconstruction that was "
            "learned elsewhere."
        )
    learn, limits, components, variance = _learned(
        spectra, taken, clean, n_components, method
    )
    start = Reconstruction(
        spectra.wave.astype(float),
        clean.copy(),
        learn.mean,
        learn.scale,
        components.astype(np.float32),
        np.zeros((len(components), len(clean)), np.float32),
        variance.astype(np.float32),
        np.zeros_like(learn.mean),
        len(learn.taken),
        method,
    )
    return _with_basis(start, spectra, learn.taken, limits)


def _learned(
    spectra: Spectra, taken, clean, n_components: int, method: str, turns: int = _TURNS
):
    """Find the components, without the spectra that have one to themselves."""
    limits = _limits(spectra, taken, clean)
    mean, scale = _moments(spectra, taken, limits)
    if not (scale != 1).any():
        raise ValueError(
            f"The {len(taken)} spectra to learn from are all the same: there are no "
            "components in which they differ. Give spectra of different stars."
        )
    few = min(n_components, len(taken) // 2, int(clean.sum()))
    learn = _Learning(spectra, taken, clean, mean, scale)
    components, variance = learn.components(few, alike=method == "published")
    if method != "published":
        few = learn.significant(few)
        components, variance = components[:few], variance[:few]
    alone = learn.alone(components)
    if alone.any() and turns > 1 and len(taken) - alone.sum() >= _LEAST:
        return _learned(spectra, taken[~alone], clean, n_components, method, turns - 1)
    return learn, limits, components, variance


class _Learning(NamedTuple):
    """Spectra to learn from, the rows ``taken``, and how their pixels are standardized."""

    spectra: Spectra
    taken: NDArray[np.intp]
    clean: NDArray[np.bool_]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def chunks(self, every: slice = slice(None)):
        """Yield standardized clean pixels, the variance of their noise, and weights.

        Stars differ by one in these units: noisier spectra count less.
        """
        for x, w in _chunks(self.spectra, self.taken[every], self.mean, self.scale):
            noise = _noise(w[:, self.clean])
            weight = 1 / (noise.mean(axis=1, keepdims=True) + _STARS)
            yield x[:, self.clean], noise, weight

    def components(self, few: int, every: slice = slice(None), *, alike: bool = False):
        """Return the ``few`` largest eigenvectors, and their eigenvalues.

        All spectra count ``alike``, as published, or by their noise.
        """
        size = int(self.clean.sum())
        product, total = np.zeros((size, size), np.float32), 0.0
        for x, _, weight in self.chunks(every):
            share = np.ones_like(weight) if alike else weight
            inner = x * np.sqrt(share).astype(np.float32)
            product += inner.T @ inner
            total += float(share.sum())
        return _leading(product / total, few)

    def significant(self, few: int) -> int:
        """Count the components in which stars differ, judged by spectra not learned from.

        Every other spectrum gives components; along each of them the others' variance
        less that of their noise is what the stars have.
        """
        components, _ = self.components(few, slice(0, None, 2))
        real, own = np.zeros(len(components)), np.zeros(len(components))
        for x, variance, weight in self.chunks(slice(1, None, 2)):
            noise = variance @ (components.T**2)
            along = (x @ components.T) ** 2
            real += ((along - noise) * weight).sum(axis=0)
            own += (noise * weight).sum(axis=0)
        # The share is known to the root of 2/N: four sigma of that are no chance.
        least = max(_LEAST_SHARE, 4 * np.sqrt(2 / max(len(self.taken) // 2, 1)))
        large = real > least * own
        # Three in a row that are noise: what follows is no more than chance.
        ends = [i for i in range(len(large)) if not large[i : i + 3].any()]
        return max(ends[0] if ends else len(large), 1)

    def alone(self, components: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which spectra have most of a component to themselves: broken ones do.

        Such a spectrum would be foretold perfectly, and nobody else by its component.
        """
        parts = [((x @ components.T) ** 2 * weight) for x, _, weight in self.chunks()]
        square = np.concatenate(parts)
        total = square.sum(axis=0)
        most = max(_MOST_SHARE, _MOST_STARS / len(square))
        large = square > most * np.where(total > 0, total, np.inf)
        return np.asarray(large.any(axis=1))


def _leading(product: NDArray[np.float32], few: int):
    """Return the ``few`` leading eigenvectors, ``(few, pixel)``, and their eigenvalues.

    By subspace iteration: what is well above the rest converges at once, and only that
    is more than noise. All of thousands of eigenvectors would take fifty times as long.
    """
    size = len(product)
    width = min(few + _SPARE, size)
    space = np.random.default_rng(0).normal(size=(size, width)).astype(np.float32)
    for _ in range(_SWEEPS):
        space = product @ space
        space /= np.sqrt((space**2).sum(axis=0))
        overlap = (space.T @ space).astype(float)
        # Nearly parallel columns keep the factor positive; they are noise.
        overlap[np.diag_indices(width)] += 1e-5
        factor = np.linalg.inv(np.linalg.cholesky(overlap))
        space = (space @ factor.T).astype(np.float32)
    small = (space.T @ (product @ space)).astype(float)
    # The generalized problem: the columns are orthonormal to a part in 1e5 only.
    values, vectors = eigh((small + small.T) / 2, (space.T @ space).astype(float))
    order = np.argsort(values)[::-1][:few]
    return _signed((space @ vectors[:, order]).T), values[order]


def _ordinary(spectra: Spectra, taken: NDArray[np.intp], clean) -> NDArray[np.intp]:
    """Leave out what is unlike all others: one garbled spectrum makes a component."""
    some = taken[np.linspace(0, len(taken) - 1, min(len(taken), 1000)).astype(int)]
    pixels = np.flatnonzero(clean)[::4]
    sample = np.where(
        spectra.ivar[some][:, pixels] > 0, spectra.flux[some][:, pixels], 1
    )
    middle = np.median(sample, axis=0)
    width = 1.4826 * np.median(abs(sample - middle), axis=0)
    width = np.where(width > 0, width, 1)
    square = np.zeros(len(taken))
    for begin in range(0, len(taken), _CHUNK):
        rows = taken[begin : begin + _CHUNK]
        ivar = spectra.ivar[rows][:, pixels]
        off = (spectra.flux[rows][:, pixels] - middle) / width
        off = np.where(ivar > 0, off**2 - _noise(ivar * width**2), 0)
        square[begin : begin + len(rows)] = off.mean(axis=1)
    usual = max(float(np.median(square)), 0.1)
    return taken[square < _UNUSUAL * usual]


def _noise(weight):
    known = weight > 0
    return np.where(known, 1 / np.where(known, weight, 1), 0)


def _signed(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvectors have no sign; the largest element is made positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], axis=1)
    return vectors * np.sign(largest)


def _limits(spectra: Spectra, taken: NDArray[np.intp], clean):
    """Least and largest flux that counts, ``(pixel,)``, where emission may be.

    Clean pixels have none: there spectra can be told from each other, and broken ones are
    left out. A level near zero beside them, or a strong line, would outweigh all stars.
    """
    rows = taken[np.linspace(0, len(taken) - 1, min(len(taken), 1000)).astype(int)]
    low, high = np.quantile(spectra.flux[rows], [0.25, 0.75], axis=0)
    reach = _BEYOND * np.maximum(high - low, 1e-6)
    reach = np.where(clean, np.inf, reach)
    return (low - reach).astype(np.float32), (high + reach).astype(np.float32)


def _moments(spectra: Spectra, taken: NDArray[np.intp], limits):
    """Mean and spread of every pixel; one where no spectrum has the pixel."""
    total = np.zeros((3, spectra.flux.shape[1]))
    for begin in range(0, len(taken), _CHUNK):
        rows = taken[begin : begin + _CHUNK]
        known = spectra.ivar[rows] > 0
        x = np.where(known, np.clip(spectra.flux[rows], *limits), 0).astype(float)
        total += np.stack([known.sum(axis=0), x.sum(axis=0), (x**2).sum(axis=0)])
    number = np.maximum(total[0], 1)
    mean = np.where(total[0] > 0, total[1] / number, 1)
    spread = np.sqrt(np.maximum(total[2] / number - mean**2, 0))
    scale = np.where(spread > 1e-6, spread, 1)
    return mean.astype(np.float32), scale.astype(np.float32)


def _chunks(spectra: Spectra, taken: NDArray[np.intp], mean, scale):
    """Yield standardized flux, zero where unknown, and its inverse variance."""
    for begin in range(0, len(taken), _CHUNK):
        rows = taken[begin : begin + _CHUNK]
        ivar = spectra.ivar[rows]
        x = np.where(ivar > 0, (spectra.flux[rows] - mean) / scale, 0)
        yield x, ivar * scale**2


def _with_basis(
    start: Reconstruction, spectra: Spectra, taken: NDArray[np.intp], limits
) -> Reconstruction:
    """Solve for the basis of the whole range, and for what it leaves unexplained."""
    size = len(start.variance)
    leading = min(_LEADING, size) if start.method == "weighted" else 0
    size += leading * (leading + 1) // 2
    normal, right = np.zeros((size, size)), np.zeros((size, len(start.mean)))
    values = start.coefficients(spectra[taken]).value
    for begin in range(0, len(taken), _CHUNK):
        some = values[begin : begin + _CHUNK]
        some = _terms(some, start.variance, size).astype(float)
        rows = taken[begin : begin + _CHUNK]
        known = spectra.ivar[rows] > 0
        x = (np.clip(spectra.flux[rows], *limits) - start.mean) / start.scale
        x = np.where(known, x, 0)
        normal += some.T @ some
        right += some.T @ x
    normal += 1e-6 * np.trace(normal) / size * np.eye(size)
    basis = np.linalg.solve(normal, right).astype(np.float32)
    parts = vars(start) | {"basis": basis}
    scatter = _scatter(Reconstruction(**parts), spectra, taken, values)
    return Reconstruction(**(parts | {"scatter": scatter}))


def _scatter(found: Reconstruction, spectra: Spectra, taken, values):
    """Scatter of the residuals of each pixel beyond noise, from their quartiles."""
    rows = taken[np.linspace(0, len(taken) - 1, min(len(taken), 1000)).astype(int)]
    values = values[np.searchsorted(taken, rows)]
    ivar = spectra.ivar[rows]
    residual = np.where(ivar > 0, spectra.flux[rows] - found.rebuild(values), 0)
    noise = np.median(np.where(ivar > 0, 1 / np.where(ivar > 0, ivar, 1), 0), axis=0)
    low, high = np.quantile(residual, [0.25, 0.75], axis=0)
    return np.sqrt(np.maximum(((high - low) / 1.349) ** 2 - noise, 0)).astype(
        np.float32
    )
