"""One velocity of several spectra of a star: arms, dithers, exposures of a visit.

Every spectrum keeps its own pixels, continuum and noise; common are the velocity and the
star, whose coefficients mean the same in all arms. The likelihoods are added, not the
spectra (`kernels.shared_star`): nothing is resampled, a cosmic ray in one spectrum stays
there, and exposures that are each too faint to be searched find their velocity together.

Zero points differ from arm to arm and exposure to exposure. Where they are known they are
taken off first (`Together.correction`); else their scatter is in the result.
"""

__all__ = ["Together", "measure_together"]

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.data.status import FATAL, Status
from steadystar.kernels import shared_star, spline, velocity
from steadystar.kernels.minimum import RIVAL_CHI2
from steadystar.kernels.velocity import CLIP, LinePrior
from steadystar.measure.normalize import Prepared, prepare
from steadystar.measure.prior import (
    Stretch,
    grid_of,
    line_priors,
    orders_of,
    reach_of,
    window_of,
)
from steadystar.measure.velocities import (
    FLAT_CONTRAST,
    LEFT_OVER,
    VelocityOptions,
    by_resolution,
)
from steadystar.models.lowrank import PHASES
from steadystar.models.templates import Templates

_BATCH = 32
_DEFAULT = VelocityOptions()
_ROUNDS, _UNCLIPPED = 7, 2


class Together(NamedTuple):
    """Spectra of one arm, and which of them belong together.

    ``visit`` names for each spectrum the visit whose velocity is wanted; the same name
    in another arm's `Together` joins the two. Row by row the ``templates`` of all arms
    must be of the same stars, as the bundled ones are. ``bary_corr`` (km/s) is needed
    for spectra in the observatory's frame; ``correction`` (km/s) is what is to be
    subtracted from a spectrum's velocity, its zero point.
    """

    spectra: Spectra
    templates: Templates
    visit: Sequence[Any]
    arm: str = ""
    bary_corr: Numbers | None = None
    correction: Numbers | None = None


def measure_together(
    parts: Sequence[Together], options: VelocityOptions = _DEFAULT
) -> pl.DataFrame:
    """Measure one velocity for every visit, of all its spectra.

    Arguments:
        parts: one an arm, or one for exposures of one arm.
        options: windows, limits.

    Returns:
        One row a visit, in the order in which they first occur: ``visit``, ``rv_raw``
        (barycentric, less the corrections), ``rv_raw_err``, ``rv_limit`` in km/s,
        ``chi2, dof, n_good, n_spectra, snr, ivar_scale, status``. A spectrum that has
        no usable pixel takes no part; a visit without any has NaN and a status.

    Raises:
        ValueError: no parts; lengths disagree; templates do not reach over the
            spectra's wavelengths, or the arms have different numbers of them.
    """
    _check(parts)
    names = list(dict.fromkeys(name for part in parts for name in part.visit))
    place = {name: i for i, name in enumerate(names)}
    with jax.enable_x64(True):
        arms = _arms(parts, place, options)
        return _measure(arms, names, options)


def _check(parts: Sequence[Together]) -> None:
    if not parts:
        raise ValueError("There are no spectra to measure together: give one Together.")
    for part in parts:
        if len(part.visit) != len(part.spectra):
            raise ValueError(
                f"Arm {part.arm!r} has {len(part.spectra)} spectra, but names "
                f"{len(part.visit)} visits: name one for each spectrum."
            )


class _Arm(NamedTuple):
    """Usable spectra of one arm and resolution; ``visit`` (spectrum,) are rows."""

    prepared: Prepared
    prior: LinePrior
    usable: NDArray[np.intp]
    visit: NDArray[np.intp]
    snr: NDArray[np.float64]


def _arms(
    parts: Sequence[Together], place: dict[Any, int], options: VelocityOptions
) -> list[_Arm]:
    """Normalize all spectra, on grids of one step and with one prior for all."""
    found = []
    for part in parts:
        spectra = _corrected(part)
        given = options.windows.get(part.arm)
        margin, search = options.margin, options.search_kms
        window = window_of(spectra, part.templates, given, margin, search)
        orders = orders_of(window, options.continuum_scale)
        visit = np.array([place[name] for name in part.visit], np.intp)
        for resolution, rows in by_resolution(spectra):
            some = spectra[rows]
            grid = grid_of(some, resolution, window, search)
            stretch = Stretch(part.templates, grid, window, resolution, orders)
            found.append((some, visit[rows], stretch))
    step = min(stretch.grid.step for _, _, stretch in found)
    stretches = tuple(
        stretch._replace(grid=_finer(stretch.grid, step)) for _, _, stretch in found
    )
    arms = []
    for (some, visit, _), stretch, prior in zip(
        found, stretches, line_priors(stretches, options.rank), strict=True
    ):
        still = np.zeros(len(some))
        fraction = options.min_good_fraction
        grid, window = stretch.grid, stretch.window
        prepared = prepare(some, still, window, grid, "spline", fraction)
        usable = np.flatnonzero((prepared.flags & int(FATAL)) == 0)
        arms.append(_Arm(prepared, prior, usable, visit[usable], some.snr()[usable]))
    return arms


def _corrected(part: Together) -> Spectra:
    """Return spectra whose wavelengths are barycentric and free of zero points."""
    spectra, n = part.spectra, len(part.spectra)

    def given(values: Numbers | None) -> NDArray[np.float64]:
        values = 0.0 if values is None else values
        filled = np.nan_to_num(np.broadcast_to(np.asarray(values, float), n))
        return 1 + filled / C_KMS

    factor = 1 / given(part.correction)
    if spectra.frame == "observatory":
        factor = factor * given(part.bary_corr)
    if (factor == 1).all():
        return replace(spectra, frame="barycenter")
    return replace(spectra, wave=spectra.wave_2d * factor[:, None], frame="barycenter")


def _finer(grid: LogGrid, step: float) -> LogGrid:
    """Cover the same wavelengths in smaller steps."""
    size = int(np.ceil(grid.size * grid.step / step - 1e-9))
    return LogGrid(grid.start, step, size)


class _Sums(NamedTuple):
    """What the spectra of each visit say together; arrays ``(visit, ...)``."""

    constant: NDArray[np.float64]
    matrix: NDArray[np.float64]
    vector: NDArray[np.float64]
    chi2: NDArray[np.float64]
    n_good: NDArray[np.float64]
    information: NDArray[np.float64]


def _measure(
    arms: list[_Arm], names: list[Any], options: VelocityOptions
) -> pl.DataFrame:
    visits = len(names)
    count, snr = np.zeros(visits, np.int64), np.zeros(visits)
    for arm in arms:
        np.add.at(count, arm.visit, 1)
        np.add.at(snr, arm.visit, np.nan_to_num(arm.snr) ** 2)
    snr = np.sqrt(snr)
    reach = reach_of(arms[0].prepared.grid, options.search_kms)
    search = _search(arms, visits, reach)
    lowest = search.argmin(axis=1)
    fit = _settled(arms, lowest - reach, count == 0, reach, options)
    sums, step = fit.sums, arms[0].prepared.grid.step
    shift = fit.shift * step
    with np.errstate(divide="ignore", invalid="ignore"):
        error = C_KMS * np.exp(shift) * fit.sigma * step
        limit = C_KMS * np.exp(shift) * step / np.sqrt(sums.information)
    status = _status(search, lowest, sums, options, error)
    status |= np.where(fit.lost, int(Status.NOT_CONVERGED), 0)
    status |= np.where(snr < options.min_snr, int(Status.LOW_SNR), 0)
    status = np.where(count == 0, int(Status.NO_DATA), status)
    good = (status & int(FATAL)) == 0
    pooled = _pooled(arms, fit.scales, visits)
    return pl.DataFrame(
        {
            "visit": names,
            "rv_raw": np.where(good, C_KMS * np.expm1(shift), np.nan),
            "rv_raw_err": np.where(good, error, np.nan),
            "rv_limit": np.where(good, limit, np.nan),
            "chi2": np.where(count > 0, sums.chi2, np.nan),
            "dof": np.maximum(sums.n_good - 1, 0).astype(np.int64),
            "n_good": sums.n_good.astype(np.int64),
            "n_spectra": count,
            "snr": snr,
            "ivar_scale": np.where(count > 0, pooled, np.nan),
            "status": status.astype(np.int64),
        }
    )


class _Fit(NamedTuple):
    """Where visits settled: ``shift, sigma`` in steps of the grid; ``lost`` did not."""

    shift: NDArray[np.float64]
    sigma: NDArray[np.float64]
    lost: NDArray[np.bool_]
    sums: _Sums
    scales: list[NDArray[np.float64]]


def _settled(
    arms: list[_Arm],
    start: NDArray[np.intp],
    flat: NDArray[np.bool_],
    reach: int,
    options: VelocityOptions,
) -> _Fit:
    """Go from the lags ``start`` to the best velocities, round by round.

    Star, weights and the spacing of the three trials follow what the last round found.
    """
    visits = len(start)
    star = np.zeros((visits, arms[0].prior.lines.shape[1] - 1))
    tenths, spacing = PHASES * start, np.full(visits, PHASES)
    scales = [np.ones(len(arm.usable)) for arm in arms]
    offset, sigma = np.zeros(visits), np.full(visits, np.inf)
    sums = None
    for number in range(_ROUNDS):
        clip = CLIP if number >= _UNCLIPPED else np.inf
        if number:
            moved = np.clip(np.round(offset * spacing), -PHASES, PHASES)
            tenths = np.clip(tenths + moved, -PHASES * reach, PHASES * reach)
            spacing = np.clip(np.round(np.where(flat, PHASES, sigma)), 1, PHASES)
        tenths, spacing = tenths.astype(int), spacing.astype(int)
        sums, found = _look(arms, visits, tenths, spacing, star, scales, clip)
        objective, star = _solved(sums)
        offset, sigma, flat = _vertex(objective, spacing)
        # Weights as the residuals want them, from the first rounds that are clean.
        if options.scale_errors and number >= _UNCLIPPED:
            scales = [
                scale * np.where(one > 0, one, 1)
                for scale, one in zip(scales, found, strict=True)
            ]
    assert sums is not None
    shift = (tenths + offset * spacing) / PHASES
    lost = flat | (np.abs(offset) > 1)
    return _Fit(shift, sigma / PHASES, lost, sums, scales)


def _search(arms: list[_Arm], visits: int, reach: int) -> NDArray[np.float64]:
    """Return chi squared of the best anchor at every lag, ``(visit, lag)``.

    The anchor is one star for all spectra of a visit.
    """
    anchors = arms[0].prior.anchors.shape[0]
    total = np.zeros((visits, anchors, 2 * reach + 1))
    for arm in arms:
        for rows, batch in _batches(arm, np.ones(len(arm.usable))):
            curves = _search_batch(
                batch, arm.prior, slots=arm.prepared.slots, reach=reach
            )
            np.add.at(total, arm.visit[rows], np.asarray(curves, float)[: len(rows)])
    return total.min(axis=1)


def _look(arms, visits: int, tenths, spacing, star, scales, clip: float):
    """Add up what all spectra say at three trials, and return each one's own scale."""
    rank = star.shape[1]
    sums = _Sums(
        np.zeros((visits, 3)),
        np.zeros((visits, 3, rank, rank)),
        np.zeros((visits, 3, rank)),
        *(np.zeros(visits) for _ in range(3)),
    )
    each = []
    for arm, scale in zip(arms, scales, strict=True):
        own = np.ones(len(arm.usable))
        for rows, batch in _batches(arm, scale):
            at = arm.visit[rows]
            filled = np.pad(at, (0, _BATCH - len(at)), mode="edge")
            found = _look_batch(
                batch,
                arm.prior,
                jnp.asarray(tenths[filled], jnp.int32),
                jnp.asarray(spacing[filled], jnp.int32),
                jnp.asarray(star[filled], jnp.float32),
                jnp.asarray(clip, jnp.float32),
                slots=arm.prepared.slots,
            )
            share = found.share
            for total, values in zip(
                sums, (*share, found.chi2, found.n_good, found.information), strict=True
            ):
                np.add.at(total, at, np.asarray(values)[: len(at)])
            own[rows] = np.asarray(found.scale)[: len(rows)]
        each.append(own)
    return sums, each


def _solved(sums: _Sums):
    """Return ``-2 ln L`` at the three trials, and the star's coefficients in the middle."""
    matrix = sums.matrix + np.eye(sums.matrix.shape[-1])
    factor = np.linalg.cholesky(matrix)
    half = np.linalg.solve(factor, sums.vector[..., None])[..., 0]
    logs = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
    objective = sums.constant - (half**2).sum(-1) + 2 * logs
    star = np.linalg.solve(matrix[:, 1], sums.vector[:, 1, :, None])[..., 0]
    return objective, star


def _vertex(objective, spacing):
    """Vertex in spacings, sigma in tenths of a step, and where there is none."""
    left, center, right = objective.T
    curvature = left - 2 * center + right
    flat = ~(curvature > 0)
    safe = np.where(flat, 1.0, curvature)
    offset = np.where(flat, 0.0, (left - right) / (2 * safe))
    return offset, spacing * np.sqrt(2 / safe), flat


def _status(search, lowest, sums: _Sums, options: VelocityOptions, error):
    """The flags of `measure_velocities`, for visits."""
    visits, lags = search.shape
    best = search[np.arange(visits), lowest]
    contrast = np.minimum(np.median(search, axis=1), 0) - best
    dip = (search <= np.roll(search, 1, 1)) & (search <= np.roll(search, -1, 1))
    apart = np.abs(np.arange(lags) - lowest[:, None]) > 3
    rival = np.where(dip & apart, search, np.inf).min(axis=1) - best
    hopeless = ~(contrast > FLAT_CONTRAST) | ~(error < options.search_kms / 4)
    hopeless |= sums.chi2 - sums.n_good > LEFT_OVER * contrast
    edge = (lowest == 0) | (lowest == lags - 1)
    status = np.where(edge, int(Status.GRID_EDGE), 0)
    status |= np.where(hopeless, int(Status.FLAT_CHI2), 0)
    return status | np.where(
        (rival < RIVAL_CHI2) & ~hopeless, int(Status.TWO_MINIMA), 0
    )


def _pooled(arms: list[_Arm], scales, visits: int) -> NDArray[np.float64]:
    """Root mean square of the scales of each visit's spectra."""
    total, count = np.zeros(visits), np.zeros(visits)
    for arm, scale in zip(arms, scales, strict=True):
        np.add.at(total, arm.visit, scale**2)
        np.add.at(count, arm.visit, 1)
    return np.sqrt(total / np.maximum(count, 1))


def _batches(arm: _Arm, scale):
    """Rows of an arm's usable spectra, and their pixels with weights over scale squared."""
    for begin in range(0, len(arm.usable), _BATCH):
        rows = np.arange(begin, min(begin + _BATCH, len(arm.usable)))
        batch = arm.prepared.pixels.take(arm.usable[rows], _BATCH)
        batch.weight[: len(rows)] /= scale[rows, None] ** 2
        yield rows, type(batch)(*map(jnp.asarray, batch))


@partial(jax.jit, static_argnames=("slots", "reach"))
def _search_batch(batch, prior, *, slots: int, reach: int):
    anchors = velocity.transformed(prior, reach)

    def one(pixels):
        return shared_star.search_curves(pixels, anchors, slots=slots, reach=reach)

    return jax.lax.map(one, jax.vmap(spline.Pixels)(*batch), batch_size=8)


@partial(jax.jit, static_argnames=("slots",))
def _look_batch(batch, prior, tenths, spacing, star, clip, *, slots: int):
    def one(given):
        pixels, at, apart, lines = given
        return shared_star.look(pixels, prior, at, apart, lines, clip, slots=slots)

    given = (jax.vmap(spline.Pixels)(*batch), tenths, spacing, star)
    return jax.lax.map(one, given, batch_size=8)
