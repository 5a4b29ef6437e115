"""From prepared spectra to fitted labels: guesses, several starts, clipping, errors.

Blocks of spectra go through the same steps. The nearest of hundreds of model spectra
(`guesses`) and its unlike rivals are where `kernels.labels.fit` begins; the best end is
kept, pixels that no star explains are left out, the weights are given the scatter of the
residuals, and the fit is done again from there. Pieces of the models (cool, hot) are
different polynomials: a star is fitted with each that its rivals ask for.
"""

__all__ = ["Block", "Fitted", "PieceNodes", "fit_block"]

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.kernels import labels as kernel
from steadystar.kernels import spline
from steadystar.kernels.continuum import polynomial_continuum
from steadystar.kernels.emulation import Parameters, lines_of
from steadystar.kernels.minimum import RIVAL_CHI2
from steadystar.kernels.velocity import CLIP
from steadystar.measure.batches import by_groups, chunks, not_filling
from steadystar.measure.normalize import PixelBatch

_ON_DEVICE = 512
_FIRST, _AGAIN, _LAST = 6, 6, 25
_UNLIKE = 3.0
"""Errors by which a rival's labels must differ to be another solution."""
_HOPELESS, _MARGIN = 3.0, 100.0
MOST_STARTS = 3


@dataclass(frozen=True, eq=False)
class PieceNodes:
    """One piece of the models in all arms, and the stars at which a fit may begin.

    ``nodes``: scaled labels and rotation, ``(node, label + 1)``; ``kind``: which nodes
    count as neighbors, ``(node, 2)``. ``limits``: of the parameters, ``(2, parameter)``.
    """

    arms: tuple[kernel.Arm, ...]
    nodes: NDArray[np.float64]
    kind: NDArray[np.float64]
    limits: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """Spectra at rest to be fitted: of every arm pixels, slots, expected spread (km/s)^2."""

    pixels: tuple[PixelBatch, ...]
    slots: tuple[int, ...]
    spread: tuple[NDArray[np.float64], ...]

    @property
    def number(self) -> int:
        """How many spectra there are in each arm."""
        return len(self.spread[0])


class Fitted(NamedTuple):
    """Of every spectrum; see `kernels.labels.Found`.

    ``piece``: whose labels ``values`` are. ``chi2``, ``n_good``: with the weights that
    were recorded; ``scale``: of the residuals, ``(spectrum, arm)``. ``rival``: another
    set of labels fits as well.
    """

    piece: NDArray[np.intp]
    values: NDArray[np.float64]
    normal: NDArray[np.float64]
    pull: NDArray[np.float64]
    chi2: NDArray[np.float64]
    n_good: NDArray[np.int64]
    scale: NDArray[np.float64]
    gain: NDArray[np.float64]
    rival: NDArray[np.bool_]


def fit_block(
    block: Block, pieces: tuple[PieceNodes, ...], scale_errors: bool
) -> Fitted:
    """Fit a block of spectra."""
    number = block.number
    data = _recorded(block)
    starts = _starts(block, data, pieces)
    first = _fit_all(pieces, data, starts, _FIRST)
    best, rival = _best(first, starts, number, pieces[0].nodes.shape[1] - 1)
    piece = starts.piece[best]
    values = first.values[best]
    clipped = None
    for rounds in (_AGAIN, _LAST):
        clipped = _clip(block, pieces, piece, data, values, scale_errors)
        again = _Starts(np.arange(number), piece, values)
        first = _fit_all(pieces, clipped.data, again, rounds)
        values = first.values
    assert clipped is not None
    return Fitted(
        piece,
        values,
        first.normal,
        first.pull,
        clipped.chi2,
        clipped.n_good,
        clipped.scale,
        first.gain,
        rival,
    )


class _Starts(NamedTuple):
    """Fits to be done: of which spectrum, with which piece, from where."""

    spectrum: NDArray[np.intp]
    piece: NDArray[np.intp]
    values: NDArray[np.float64]


class _Ends(NamedTuple):
    values: NDArray[np.float64]
    normal: NDArray[np.float64]
    pull: NDArray[np.float64]
    chi2: NDArray[np.float64]
    gain: NDArray[np.float64]


class _Clipped(NamedTuple):
    data: tuple[kernel.Recorded, ...]
    chi2: NDArray[np.float64]
    n_good: NDArray[np.int64]
    scale: NDArray[np.float64]


def _recorded(block: Block) -> tuple[kernel.Recorded, ...]:
    out = []
    for pixels, slots, spread in zip(
        block.pixels, block.slots, block.spread, strict=True
    ):
        parts = []
        for some, padded in chunks(np.arange(len(spread)), _ON_DEVICE):
            batch = PixelBatch(*(jnp.asarray(a[padded]) for a in pixels))
            found = _record_batch(
                batch,
                jnp.asarray(spread[padded], jnp.float32),
                not_filling(some, padded),
                slots=slots,
            )
            parts.append([np.asarray(a)[: len(some)] for a in found])
        out.append(
            kernel.Recorded(*(np.concatenate(a) for a in zip(*parts, strict=True)))
        )
    return tuple(out)


@partial(jax.jit, static_argnames=("slots",))
def _record_batch(batch, spread, wanted, *, slots: int):
    def one(pixels, spread):
        placed = spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
        return kernel.record(placed, spread)

    return by_groups(jax.vmap(one), jax.vmap(spline.Pixels)(*batch), spread, wanted)


def _starts(block: Block, data, pieces: tuple[PieceNodes, ...]) -> _Starts:
    """Choose for each spectrum the best node, and unlike ones that are not much worse."""
    number = block.number
    chi2 = np.concatenate([_node_chi2(block, data, piece) for piece in pieces], axis=1)
    of_piece = np.repeat(np.arange(len(pieces)), [len(p.nodes) for p in pieces])
    within = np.concatenate([np.arange(len(p.nodes)) for p in pieces])
    kind = np.concatenate([piece.kind for piece in pieces])
    least = chi2.min(axis=1)
    allowed = least + _HOPELESS * np.maximum(least, 0) + _MARGIN
    open_ = np.ones_like(chi2, bool)
    spectra, chosen = [], []
    for turn in range(MOST_STARTS):
        left = np.where(open_, chi2, np.inf)
        pick = left.argmin(axis=1)
        worth = left[np.arange(number), pick] <= (allowed if turn else np.inf)
        spectra.append(np.flatnonzero(worth))
        chosen.append(pick[worth])
        near = np.abs(kind[None, :] - kind[pick][:, None]).max(axis=2) <= 1
        near &= of_piece[None, :] == of_piece[pick][:, None]
        open_ &= ~near
    rows, picked = np.concatenate(spectra), np.concatenate(chosen)
    # A spectrum without data has no best node: any will do.
    stars = np.stack(
        [
            pieces[p].nodes[i]
            for p, i in zip(of_piece[picked], within[picked], strict=True)
        ]
    )
    # No excess, no velocity: spectra are at rest as far as is known.
    own = np.zeros((len(rows), 2 * len(block.pixels)))
    values = np.concatenate([stars, own], axis=1)
    return _Starts(rows, of_piece[picked], values)


def _node_chi2(block: Block, data, piece: PieceNodes) -> NDArray[np.float64]:
    """Chi squared of every node, continuum as the pseudo-continuum leaves it."""
    total = np.zeros((block.number, len(piece.nodes)))
    for i in range(len(piece.arms)):
        models = _node_spectra(piece, i, round(float(np.median(block.spread[i]))))
        for some, padded in chunks(np.arange(len(total)), _ON_DEVICE):
            found = _compare_batch(
                jnp.asarray(data[i].bands[padded]),
                jnp.asarray(data[i].rhs[padded]),
                models,
            )
            total[some] += np.asarray(found)[: len(some), : len(piece.nodes)]
    return total


_NODES_ALIKE = 512


@lru_cache(maxsize=32)
def _node_spectra(piece: PieceNodes, number: int, spread: int):
    """Model spectra of the nodes in an arm, normalized as the data are.

    ``spread``: (km/s)^2, whole, so that spectra that are nearly as sharp share them.
    """
    parts = []
    for some, padded in chunks(np.arange(len(piece.nodes)), _ON_DEVICE):
        nodes = jnp.asarray(piece.nodes[padded], jnp.float32)
        found = _nodes_batch(piece.arms[number].emulator, nodes, jnp.float32(spread))
        parts.append(np.asarray(found)[: len(some)])
    every = np.concatenate(parts)
    # Numbers of nodes that are nearly the same share what is compiled.
    return jnp.asarray(
        np.pad(every, ((0, -len(every) % _NODES_ALIKE), (0, 0)), mode="edge")
    )


@jax.jit
def _nodes_batch(emulator, nodes, spread):
    zero = jnp.zeros((), jnp.float32)

    def one(node):
        star = Parameters(node[:-1], node[-1], spread, zero, zero)
        flux = 1 + lines_of(emulator, star)
        x = jnp.linspace(-1, 1, flux.size, dtype=flux.dtype)
        return flux / polynomial_continuum(x, flux, jnp.ones_like(flux)) - 1

    return jax.vmap(one)(nodes)


@jax.jit
def _compare_batch(bands, rhs, models):
    def one(bands, rhs):
        weight = spline.matvec(bands, jnp.ones_like(rhs))
        value = jnp.where(weight > 0, rhs / jnp.where(weight > 0, weight, 1), 0)
        return weight, value

    weight, value = jax.vmap(one)(bands, rhs)
    flux = 1 + models
    # What the pseudo-continuum is off by is one factor of each spectrum and model.
    a = (weight * (1 + value) ** 2).sum(1)[:, None]
    b = (weight * (1 + value)) @ flux.T
    c = weight @ (flux**2).T
    return a - b**2 / jnp.where(c > 0, c, 1)


def _fit_all(pieces, data, starts: _Starts, rounds: int) -> _Ends:
    """Do all fits, piece by piece."""
    number, size = starts.values.shape
    ends = _Ends(
        np.zeros((number, size)),
        np.zeros((number, size, size)),
        np.zeros((number, size)),
        np.full(number, np.inf),
        np.zeros(number),
    )
    for index, piece in enumerate(pieces):
        rows = np.flatnonzero(starts.piece == index)
        for some, padded in chunks(rows, _ON_DEVICE):
            of = starts.spectrum[padded]
            found = _fit_batch(
                piece.arms,
                tuple(
                    kernel.Recorded(*(jnp.asarray(a[of]) for a in one)) for one in data
                ),
                jnp.asarray(starts.values[padded]),
                jnp.asarray(piece.limits),
                jnp.asarray(rounds),
                not_filling(some, padded),
            )
            got = [np.asarray(a)[: len(some)] for a in found]
            for to, values in zip(ends, got, strict=True):
                to[some] = values
    return ends


@jax.jit
def _fit_batch(arms, data, values, limits, rounds, wanted):
    shared = limits.shape[1] - 2 * len(arms)

    def one(data, values):
        start = kernel.Start(values[:shared], values[shared:].reshape(-1, 2))
        found = kernel.fit(arms, data, start, limits, rounds=rounds)
        return found.values, found.normal, found.pull, found.chi2, found.gain

    return by_groups(jax.vmap(one), data, values, wanted)


def _best(ends: _Ends, starts: _Starts, number: int, labels: int):
    """The best end of each spectrum, and whether another one is as good and unlike it."""
    order = np.lexsort((ends.chi2, starts.spectrum))
    best = order[np.searchsorted(starts.spectrum[order], np.arange(number))]
    worse = ends.chi2 - ends.chi2[best][starts.spectrum]
    variance = np.linalg.pinv(ends.normal[best], hermitian=True)
    error = np.sqrt(np.abs(np.diagonal(variance, axis1=1, axis2=2)))
    apart = np.abs(ends.values - ends.values[best][starts.spectrum])
    unlike = apart / np.maximum(error[starts.spectrum], 1e-12) > _UNLIKE
    other_piece = starts.piece != starts.piece[best][starts.spectrum]
    other = unlike[:, :labels].any(axis=1) | other_piece
    rival = np.zeros(number, bool)
    rival[starts.spectrum[(worse < RIVAL_CHI2) & other]] = True
    return best, rival


def _clip(block: Block, pieces, piece_of, data, values, scale_errors: bool) -> _Clipped:
    number, arms = block.number, len(block.pixels)
    shared = values.shape[1] - 2 * arms
    new = [kernel.Recorded(*(np.array(a) for a in one)) for one in data]
    chi2, n_good = np.zeros(number), np.zeros(number, np.int64)
    scale = np.full((number, arms), np.nan)
    for index, piece in enumerate(pieces):
        rows = np.flatnonzero(piece_of == index)
        for i, arm in enumerate(piece.arms):
            for some, padded in chunks(rows, _ON_DEVICE):
                batch = PixelBatch(*(jnp.asarray(a[padded]) for a in block.pixels[i]))
                own = values[padded, shared + 2 * i : shared + 2 * i + 2]
                found = _clip_batch(
                    arm,
                    batch,
                    kernel.Recorded(*(jnp.asarray(a[padded]) for a in data[i])),
                    jnp.asarray(values[padded, :shared]),
                    jnp.asarray(own),
                    not_filling(some, padded),
                    slots=block.slots[i],
                )
                recorded, *rest = found
                widths, fits, counts = (np.asarray(a)[: len(some)] for a in rest)
                recorded = kernel.Recorded(
                    *(np.asarray(a)[: len(some)] for a in recorded)
                )
                factor = np.where(widths > 0, widths, 1) ** -2 if scale_errors else 1.0
                factor = np.broadcast_to(factor, widths.shape)
                new[i].bands[some] = recorded.bands * factor[:, None, None]
                new[i].rhs[some] = recorded.rhs * factor[:, None]
                new[i].square[some] = recorded.square * factor
                chi2[some] += fits
                n_good[some] += counts
                scale[some, i] = np.where(counts > 0, widths, np.nan)
    return _Clipped(tuple(new), chi2, n_good, scale)


@partial(jax.jit, static_argnames=("slots",))
def _clip_batch(arm, batch, data, star, own, wanted, *, slots: int):
    def one(pixels, data, star, own):
        placed = spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
        model, lines = kernel.see(arm, data, star, own)
        rest, scale, chi2, count = kernel.clip_arm(placed, model, lines, CLIP)
        return kernel.record(rest, data.spread), scale, chi2, count

    pixels = jax.vmap(spline.Pixels)(*batch)
    return by_groups(jax.vmap(one), pixels, data, star, own, wanted)
