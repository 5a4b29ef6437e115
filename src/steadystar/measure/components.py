"""Spectra taken apart: sky, continuum, lines of the star, noise, each with its error.

Every component is a Gaussian prior between pixels (`Component`), and so is the noise of
the pixels, the component ``residual``. Given a spectrum, the posterior mean of each is

    x_k = mu_k + C_k C^-1 (x - mu),      C = sum C_k,   mu = sum mu_k

and they add up to the spectrum (Saydjari et al. 2023; 2025, equations 1 to 5). Where a
pixel has no data, its noise is infinite: the other components are predicted there from
what the rest of the spectrum says, with errors, and the residual takes the difference to
whatever number stands in the file.

`kernels.marginal` has the mathematics for one spectrum. Here are batches, names, checks,
and the memory: covariances between pixels are made when asked for.
"""

__all__ = ["Component", "Separation", "separate_components"]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.component import RESIDUAL, Component
from steadystar.data.spectra import Spectra
from steadystar.kernels import marginal

Precision = Literal["float64", "float32"]

_BATCH_BYTES = 64 * 2**20
_MOST_BYTES = 4 * 2**30


@dataclass(frozen=True, eq=False)
class Separation:
    """Spectra taken apart; made by `separate_components`.

    ``components``: posterior means by name, each ``(spectrum, pixel)``, the last one
    ``residual``; their sum is the flux. Of the pixels with ``ivar > 0``, each
    ``(spectrum,)``: ``chi2``, which expects ``n_good`` if the priors are right;
    ``log_determinant`` of their prior covariance; ``log_likelihood``, the logarithm of
    their probability density under all priors together. ``covariances`` holds those that
    were asked for in advance.

    A slice, mask or integer selects spectra: ``separation[3].covariance("sky")``.
    """

    components: dict[str, NDArray]
    chi2: NDArray[np.float64]
    log_determinant: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    n_good: NDArray[np.int64]
    covariances: dict[tuple[str, str], NDArray] = field(default_factory=dict)
    _priors: tuple[Component, ...] = field(default=(), repr=False)
    _ivar: NDArray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    _roots: NDArray = field(default_factory=lambda: np.empty((0, 0, 0)), repr=False)

    def __len__(self) -> int:
        return len(self.chi2)

    def __getitem__(self, index: Any) -> "Separation":
        """Select spectra by slice, mask, integer array or integer; stays a batch."""
        at = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            components={name: values[at] for name, values in self.components.items()},
            chi2=self.chi2[at],
            log_determinant=self.log_determinant[at],
            log_likelihood=self.log_likelihood[at],
            n_good=self.n_good[at],
            covariances={pair: values[at] for pair, values in self.covariances.items()},
            _priors=tuple(_select(prior, at) for prior in self._priors),
            _ivar=self._ivar[at],
            _roots=self._roots[at],
        )

    def errors(self, name: str) -> NDArray:
        """Return the posterior standard deviation of a component in every pixel.

        ``(spectrum, pixel)``. Zero for a component that has a mean only.

        Raises:
            ValueError: there is no component of that name.
        """
        return np.sqrt(self.covariance(name, diagonal=True))

    def covariance(
        self, name: str, other: str | None = None, *, diagonal: bool = False
    ) -> NDArray:
        """Return the posterior covariance between the pixels of one or two components.

        Arguments:
            name: a component; pixels of it run along the rows.
            other: the component along the columns; None for the same. Two components
                have a covariance because they must add up to the spectrum.
            diagonal: only of each pixel with itself.

        Returns:
            ``(spectrum, pixel, pixel)``, or ``(spectrum, pixel)`` if ``diagonal``.

        Raises:
            ValueError: there is no component of that name, or the matrices would take
                more than 4 GiB.
        """
        other = name if other is None else other
        one, two = self._number(name), self._number(other)
        if (name, other) in self.covariances:
            dense = self.covariances[name, other]
            return np.einsum("spp->sp", dense).copy() if diagonal else dense.copy()
        pixels = self._ivar.shape[1]
        size = len(self) * pixels * self._ivar.itemsize * (1 if diagonal else pixels)
        if not diagonal and size > _MOST_BYTES:
            raise ValueError(
                f"The covariance of {len(self)} spectra of {pixels} pixels would take "
                f"{size / 2**30:.0f} GiB: select spectra first, "
                "separation[0:10].covariance(...), or ask for diagonal=True or errors()."
            )
        shape = (*self._ivar.shape, pixels) if not diagonal else self._ivar.shape
        result = np.empty(shape, self._ivar.dtype)
        # One spectrum's matrix is larger than all its patterns.
        each = pixels * pixels if not diagonal else 0
        with jax.enable_x64(True):
            for batch in _batches(self._priors, self._ivar, self._roots, each):
                shared = batch.shared
                parts = _parts(*batch.arrays[1:], shared=shared, one=one, two=two)
                found = _covariances(
                    *batch.arrays, parts, shared=shared, diagonal=diagonal
                )
                result[batch.rows] = batch.cut(found)
        return result

    def _number(self, name: str) -> int:
        """Return the place of a component among the priors, the residual being last."""
        if name not in self.components:
            raise ValueError(
                f"There is no component {name!r} among {', '.join(self.components)}."
            )
        return list(self.components).index(name)


def separate_components(
    spectra: Spectra,
    priors: Sequence[Component],
    *,
    covariances: Sequence[str | tuple[str, str]] = (),
    precision: Precision = "float64",
) -> Separation:
    """Take spectra apart into components that sum to the data.

    Arguments:
        spectra: what was recorded. Pixels with ``ivar = 0`` count as not seen.
        priors: what the spectra are made of, in any order, in the unit of their flux
            and on their pixels; the noise of the pixels is added as ``residual``.
        covariances: names, or pairs of names, of components whose posterior
            covariances between all pixels are computed at once; others can be had later
            (`Separation.covariance`).
        precision: of the arrays of pixels. The components sum to the flux within
            rounding of the largest of them; likelihoods and the one matrix that is
            factorized are float64 either way. float32 wants fluxes that are not many
            orders of magnitude from one.

    Raises:
        ValueError: no priors, or two of one name; a prior on another number of pixels
            or spectra; a flux or ivar that is not finite, or a negative ivar; patterns
            so alike and so wide that float64 cannot tell them apart.

    Source: Saydjari et al. 2025 (arXiv 2408.07126), section 3.1.
    """
    priors = tuple(priors)
    _check(spectra, priors)
    pairs = [(p, p) if isinstance(p, str) else p for p in covariances]
    names = [*(prior.name for prior in priors), RESIDUAL]
    for name in {name for pair in pairs for name in pair} - set(names):
        raise ValueError(f"There is no component {name!r} among {', '.join(names)}.")
    flux, ivar = spectra.flux.astype(precision), spectra.ivar.astype(precision)
    parts: list[marginal.Marginal] = []
    with jax.enable_x64(True):
        for batch in _batches(priors, ivar, flux):
            found = _separate(*batch.arrays, shared=batch.shared)
            parts.append(jax.tree.map(batch.cut, found))
    whole = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    _require_solved(whole.chi2, priors)
    separation = Separation(
        components={
            name: np.ascontiguousarray(whole.components[:, k])
            for k, name in enumerate(names)
        },
        chi2=whole.chi2,
        log_determinant=whole.log_determinant,
        log_likelihood=whole.log_likelihood,
        n_good=whole.n_good.astype(np.int64),
        _priors=priors,
        _ivar=ivar,
        _roots=whole.inverse_root,
    )
    computed = {pair: separation.covariance(*pair) for pair in pairs}
    return replace(separation, covariances=computed)


def _check(spectra: Spectra, priors: tuple[Component, ...]) -> None:
    if not priors:
        raise ValueError(
            "There are no components: without at least one prior, all of a spectrum is "
            "residual. Pass a sequence of Component."
        )
    if not len(spectra):
        raise ValueError("There are no spectra to take apart.")
    names = [prior.name for prior in priors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Two components are called {twice[0]!r}: give each a name of its own, for "
            "two stars for example 'star lines' and 'companion lines'."
        )
    good = np.isfinite(spectra.flux) & np.isfinite(spectra.ivar) & (spectra.ivar >= 0)
    if not good.all():
        row = int(np.flatnonzero(~good.all(axis=1))[0])
        raise ValueError(
            f"Spectrum {row} has flux or ivar that is not finite, or negative ivar: "
            "Spectra.from_arrays turns such pixels into missing ones."
        )
    for prior in priors:
        prior.require(*spectra.flux.shape)


def _require_solved(chi2: NDArray[np.float64], priors: tuple[Component, ...]) -> None:
    lost = np.flatnonzero(~np.isfinite(chi2))
    if len(lost):
        raise ValueError(
            f"Spectrum {lost[0]} ({len(lost)} in all) cannot be taken apart: among the "
            f"patterns of {', '.join(repr(p.name) for p in priors if p.rank)} some are "
            "so alike, and so much wider than the noise, that they cannot be told apart. "
            "Leave the doubles out, or give them prior widths closer to the signal."
        )


def _select(prior: Component, rows: NDArray[np.intp]) -> Component:
    """Return the prior of some of the spectra; what all share stays as it is."""
    mean, basis, diagonal = prior.mean, prior.basis, prior.diagonal
    return replace(
        prior,
        mean=mean if mean is None or mean.ndim == 1 else mean[rows],
        basis=basis if basis is None or basis.ndim == 2 else basis[rows],
        diagonal=diagonal if diagonal is None or diagonal.ndim == 1 else diagonal[rows],
    )


@dataclass(frozen=True)
class _Batch:
    """Some of the spectra, as the kernels take them; see `_batches`."""

    rows: slice
    ivar: Any
    means: tuple[Any, ...]
    bases: tuple[Any, ...]
    diagonals: tuple[Any, ...]
    shared: tuple[bool, ...]
    values: Any

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the kernels are mapped over."""
        return self.values, self.ivar, self.means, self.bases, self.diagonals

    def cut(self, result: Any) -> NDArray:
        """Return a result as NumPy's, without the rows that only filled the batch."""
        return np.asarray(result)[: self.rows.stop - self.rows.start]


def _batches(
    priors: tuple[Component, ...], ivar: NDArray, values: NDArray, each: int = 0
) -> Iterator[_Batch]:
    """Cut the spectra, and ``values``, into batches of one size, compiled once.

    The last batch is filled up with its last spectrum. Patterns that all spectra share
    are handed over once. ``each``: numbers a spectrum needs besides the patterns.
    """
    number, pixels = ivar.shape
    # Two copies of all patterns are alive at once.
    rank = sum(prior.rank for prior in priors) + len(priors) + 1
    room = _BATCH_BYTES // (ivar.itemsize * max(2 * rank * pixels, each))
    size = int(min(max(room, 1), number, 256))
    shared = tuple(prior.basis is None or prior.basis.ndim == 2 for prior in priors)
    none = np.zeros((0, pixels))
    bases = [none if prior.basis is None else prior.basis for prior in priors]
    once = [
        jnp.asarray(basis, ivar.dtype) if same else None
        for basis, same in zip(bases, shared, strict=True)
    ]
    means = [_plane(prior.mean, ivar.shape) for prior in priors]
    diagonals = [_plane(prior.diagonal, ivar.shape) for prior in priors]
    for first in range(0, number, size):
        rows = slice(first, min(first + size, number))

        def take(given: NDArray, dtype: Any = ivar.dtype, rows: slice = rows) -> Any:
            rest = [(0, 0)] * (given.ndim - 1)
            missing = size - (rows.stop - rows.start)
            taken = np.pad(given[rows], [(0, missing), *rest], mode="edge")
            return jnp.asarray(taken, dtype)

        yield _Batch(
            rows=rows,
            ivar=take(ivar),
            means=tuple(map(take, means)),
            bases=tuple(
                take(basis) if alike is None else alike
                for basis, alike in zip(bases, once, strict=True)
            ),
            diagonals=tuple(map(take, diagonals)),
            shared=shared,
            values=take(values, values.dtype),
        )


def _plane(values: NDArray | None, shape: tuple[int, int]) -> NDArray:
    """Return a mean or diagonal as ``(spectrum, pixel)``, without a copy of it."""
    return np.broadcast_to(np.zeros(()) if values is None else values, shape)


def _vmap(function: Callable, shared: tuple[bool, ...]) -> Callable:
    """Map ``function(values, ivar, priors)`` over spectra."""
    bases = tuple(None if same else 0 for same in shared)

    def one(values, ivar, *parts):
        priors = tuple(map(marginal.Prior, *parts))
        return function(values, ivar, priors)

    return jax.vmap(one, in_axes=(0, 0, 0, bases, 0))


@partial(jax.jit, static_argnames="shared")
def _separate(flux, ivar, means, bases, diagonals, *, shared: tuple[bool, ...]):
    return _vmap(marginal.separate, shared)(flux, ivar, means, bases, diagonals)


@partial(jax.jit, static_argnames=("shared", "one", "two"))
def _parts(ivar, means, bases, diagonals, *, shared: tuple[bool, ...], one, two):
    """Return what is particular to a pair of components; quick to compile."""

    def parts(values, ivar, priors):
        own = marginal.independent_covariance(ivar, priors, one, two)
        left = marginal.own_part(ivar, priors, one)
        return left, marginal.own_part(ivar, priors, two), own

    return _vmap(parts, shared)(ivar, ivar, means, bases, diagonals)


@partial(jax.jit, static_argnames=("shared", "diagonal"))
def _covariances(
    roots, ivar, means, bases, diagonals, parts, *, shared: tuple[bool, ...], diagonal
):
    def covariance(given, ivar, priors):
        root, (left, right, own) = given
        patterns = marginal.stack(priors)
        left = marginal.covariance_root(patterns, root, *left)
        right = marginal.covariance_root(patterns, root, *right)
        if diagonal:
            return (left * right).sum(0) + own
        return left.T @ right + jnp.diag(own)

    both = (roots, parts)
    return _vmap(covariance, shared)(both, ivar, means, bases, diagonals)
