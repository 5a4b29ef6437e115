"""How the bases of a `Reconstruction` are learned from many spectra.

First the components of the clean pixels, of spectra that are not broken and count by their
noise; then the basis of the whole range, by least squares with the same coefficients; last
what stars scatter about both.
"""

__all__ = ["fit_reconstruction"]

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from steadystar.data.spectra import Spectra
from steadystar.measure.reconstruction import LEADING, Reconstruction, with_products

_CHUNK = 1024
_LEAST_GOOD = 0.8
_LEAST = 20
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
    leading = min(LEADING, size) if start.method == "weighted" else 0
    size += leading * (leading + 1) // 2
    normal, right = np.zeros((size, size)), np.zeros((size, len(start.mean)))
    values = start.coefficients(spectra[taken]).value
    for begin in range(0, len(taken), _CHUNK):
        some = values[begin : begin + _CHUNK]
        some = with_products(some, start.variance, size).astype(float)
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
