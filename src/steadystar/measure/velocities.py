"""Velocities against templates of all types, everything else marginalized.

Each spectrum is measured on its own: normalized, searched over all velocities with
templates that span the types, and then by the marginal likelihood in which the star's
type, the continuum and whatever stands still are integrated over (`kernels.velocity`).
What comes out is a velocity in the templates' system, an error that contains all of it,
and a status. The method is that of Saydjari et al. (2023, 2025); pixels are not
interpolated here, the star's components are.
"""

__all__ = [
    "COLUMNS",
    "FLAT_CONTRAST",
    "LEFT_OVER",
    "VelocityOptions",
    "by_resolution",
    "measure_velocities",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.doppler import composed, known_motion, without
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.data.status import FATAL, Status
from steadystar.kernels import spline, velocity
from steadystar.kernels.minimum import RIVAL_CHI2
from steadystar.kernels.spread import spread
from steadystar.measure.batches import (
    batch_size,
    by_groups,
    chunks,
    few_at_once,
    not_filling,
    one_by_one,
)
from steadystar.measure.doubles import brighter_first, fit_pairs, shows_companion
from steadystar.measure.normalize import Prepared, pixel_spacing, prepare
from steadystar.measure.option_checks import (
    LONGER_WAVES,
    SHARE,
    SHORTEST_WAVE,
    check_values,
    check_windows,
)
from steadystar.measure.prior import (
    Stretch,
    grid_of,
    line_priors,
    orders_of,
    reach_of,
    rounded_resolution,
    window_of,
)
from steadystar.measure.still import standing_still
from steadystar.models.sky import StillLines
from steadystar.models.templates import Templates

_ON_DEVICE = 2048
# Spectra of which results are held, 15 kB each, so that the few of each batch that need
# more are worked on together.
_HELD = 1024
_ROUNDS, _MORE_ROUNDS = 2, 20
_POOR_FIT = 3.0
_FASTEST = 10_000.0
# In grid steps: a likelihood wider than this is integrated, so far to either side, and
# holds no velocity if more than this share of the probability lies at the ends.
_BROAD, _SPREAD, _BEYOND = velocity.BROAD, 30, 0.01
# Pure noise at S/N 3.5 to 300, 640 spectra each: its best lag is better than the median
# one and than no lines by 18.8 at most. See tests/measure/test_velocities.py.
FLAT_CONTRAST = 20.0
# Stars whose velocity is beyond the search: the best lag leaves at least 29 times what it
# explains; stars within it 0.0 times.
LEFT_OVER = 10.0


@dataclass(frozen=True)
class VelocityOptions:
    """How velocities against templates are measured."""

    windows: Annotated[
        dict[str, tuple[float, float]],
        "Measuring window of each arm, Angstrom in vacuum; other arms use all they have.",
    ] = field(
        default_factory=lambda: {"blue": (4970.0, 5330.0), "red": (6330.0, 6790.0)}
    )
    margin: Annotated[
        float, "Beyond the window, Angstrom on either side, for the continuum."
    ] = 50.0
    search_kms: Annotated[float, "Velocities up to this many km/s are searched."] = (
        600.0
    )
    rank: Annotated[int, "Principal components of a star's lines, at most."] = 28
    continuum_scale: Annotated[
        float, "Half waves of this many Angstrom take up what the continuum left."
    ] = 60.0
    min_snr: Annotated[
        float, "Spectra with a lower S/N per pixel are kept as rows, not measured."
    ] = 3.0
    min_good_fraction: Annotated[
        float, "Smallest share of usable pixels in the window."
    ] = 0.2
    scale_errors: Annotated[
        bool, "Errors are scaled by the scatter of the residuals (ivar_scale)."
    ] = True

    def __post_init__(self) -> None:
        check_values(
            self,
            (
                ("margin", 0 <= self.margin < np.inf, "0 or more Angstrom"),
                (
                    "search_kms",
                    0 < self.search_kms <= _FASTEST,
                    f"more than 0 and at most {_FASTEST:.0f} km/s",
                ),
                ("rank", self.rank >= 1, "1 or more components"),
                (
                    "continuum_scale",
                    SHORTEST_WAVE <= self.continuum_scale < np.inf,
                    LONGER_WAVES,
                ),
                ("min_snr", not np.isnan(self.min_snr), "a number"),
                ("min_good_fraction", 0 <= self.min_good_fraction <= 1, SHARE),
            ),
        )
        check_windows(self.windows)


def measure_velocities(
    spectra: Spectra,
    templates: Templates,
    options: VelocityOptions = VelocityOptions(),
    *,
    arm: str | None = None,
    bary_corr: Numbers | None = None,
    keep_curves: bool = False,
    still: StillLines | Sequence[StillLines] | None = None,
) -> pl.DataFrame:
    """Measure the velocity of every spectrum against ``templates``.

    Arguments:
        spectra: what was recorded, not necessarily normalized.
        templates: normalized spectra at rest, of all types that may occur. One alone
            may vary in the depth of its lines only.
        options: windows, limits.
        arm: its window is used if ``options.windows`` has one; else all wavelengths.
        keep_curves: keep chi squared of the search of every spectrum, as columns
            ``search_rv`` (km/s) and ``search_chi2``.
        bary_corr: barycentric corrections, km/s, ``(spectrum,)``. Without them the
            velocity is the same at the observatory and at the barycenter.
        still: what stands still in the observatory's frame: sky lines in the unit of
            the flux, telluric absorption (see `models.sky`, `measure.still`).

    Returns:
        A table with one row a spectrum, in order: ``rv_obs, rv_raw`` (at the
        observatory, at the barycenter), ``rv_raw_err`` and ``rv_limit`` (what the error
        would be if all but the velocity were known) in km/s, ``chi2, dof, n_good, snr,
        ivar_scale, rv_2, rv_2_err, light_ratio, status``. Spectra that cannot be
        measured have NaN and a status that says why.

    Raises:
        ValueError: the templates do not reach over any of the spectra's wavelengths
            with room for the search, or are less sharp than the spectra; ``still`` is
            given and a spectrum's place in the observatory's frame is not known.

    Source:
        Saydjari et al. 2025, section 3; see `kernels.velocity`.
    """
    n = len(spectra)
    out = {name: np.full(n, np.nan) for name in _FLOATS}
    out |= {name: np.zeros(n, np.int64) for name in ("dof", "n_good", "status")}
    out["snr"] = spectra.snr()
    if not n:
        return _table(out, spectra.frame, bary_corr)
    curves: list[list[float] | None] = [None] * n
    lags: list[list[float] | None] = [None] * n
    spectra, standing = standing_still(spectra, still, bary_corr)
    window = window_of(
        spectra,
        templates,
        options.windows.get(arm or ""),
        options.margin,
        options.search_kms,
    )
    with jax.enable_x64(True):
        for resolution, rows in by_resolution(spectra):
            prepared, prior = _ready(
                spectra[rows], resolution, window, templates, standing, options
            )
            low = ~(out["snr"][rows] >= options.min_snr)
            flags = prepared.flags | np.where(low, int(Status.LOW_SNR), 0)
            out["status"][rows] = flags
            out["n_good"][rows] = prepared.n_good
            usable = np.flatnonzero((flags & int(FATAL)) == 0)
            grid, reach = prepared.grid, reach_of(prepared.grid, options.search_kms)
            for members in _pieces(usable):
                found = _measure_some(prepared, members, prior, reach)
                _fill(out, rows[members], found, grid, options)
                _second_stars(
                    out, rows[members], members, found, prepared, reach, options
                )
                if keep_curves:
                    shifts = np.arange(-reach, reach + 1) * grid.step
                    for i, curve in zip(rows[members], found.search, strict=True):
                        curves[i] = curve.tolist()
                        lags[i] = (C_KMS * np.expm1(shifts)).tolist()
    table = _table(out, spectra.frame, bary_corr)
    if keep_curves:
        table = table.with_columns(
            search_rv=pl.Series(lags, dtype=pl.List(pl.Float64)),
            search_chi2=pl.Series(curves, dtype=pl.List(pl.Float64)),
        )
    return table


def _ready(
    some: Spectra, resolution: float, window, templates, standing, options
) -> tuple[Prepared, velocity.LinePrior]:
    """Place spectra of one resolution on a grid, with what their lines may be."""
    grid = grid_of(some, resolution, window, options.search_kms)
    # As recorded: the star moves, and the search is over its whole motion.
    moved, fraction = np.zeros(len(some)), options.min_good_fraction
    prepared = prepare(some, moved, window, grid, "spline", fraction)
    orders = orders_of(window, options.continuum_scale)
    stretch = Stretch(templates, grid, window, resolution, orders, standing)
    (prior,) = line_priors((stretch,), options.rank)
    return prepared, prior


_FLOATS = (
    *("rv", "rv_obs", "rv_raw", "rv_raw_err", "rv_limit", "chi2", "ivar_scale"),
    *("rv_2", "rv_2_err", "light_ratio"),
)
COLUMNS = (
    *("rv_obs", "rv_raw", "rv_raw_err", "rv_limit", "chi2", "dof", "n_good", "snr"),
    *("ivar_scale", "rv_2", "rv_2_err", "light_ratio", "status"),
)


def by_resolution(spectra: Spectra) -> list[tuple[float, NDArray[np.intp]]]:
    """Return spectra in groups of equal resolution, to 2 percent.

    Where it is not known it is NaN, and groups are of equally wide pixels.
    """
    groups = np.array([rounded_resolution(one) for one in spectra.resolution])
    known = np.unique(groups[np.isfinite(groups)])
    found = [(float(value), np.flatnonzero(groups == value)) for value in known]
    unknown = np.flatnonzero(~np.isfinite(groups))
    wide = pixel_spacing(spectra[unknown])
    found += [(float("nan"), unknown[wide == width]) for width in np.unique(wide)]
    return found


@partial(jax.jit, static_argnames=("slots", "reach"))
def _measure_batch(batch, prior, rounds, *, slots: int, reach: int):
    anchors = velocity.transformed(prior, reach)

    def one(pixels):
        return velocity.measure(
            pixels, prior, anchors, rounds=rounds, slots=slots, reach=reach
        )

    pixels = jax.vmap(spline.Pixels)(*batch)
    return by_groups(jax.vmap(one), pixels, (pixels.weight > 0).any(axis=1))


def _take(prepared: Prepared, members, size: int):
    taken = prepared.pixels.take(members, size)
    return type(taken)(*map(jnp.asarray, taken))


def _pieces(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield as many rows as results are held of; several batches."""
    size = max(_HELD, batch_size(_ON_DEVICE))
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _measure_some(prepared: Prepared, members, prior, reach: int) -> velocity.Measured:
    """Measure some spectra; those that have not settled get more rounds, together.

    Where the likelihood is broad they go slowly; the integral does not need their end.
    """

    def go(some, rounds: int) -> velocity.Measured:
        parts = []
        for few, _ in chunks(some, _ON_DEVICE):
            found = _measure_batch(
                _take(prepared, few, batch_size(_ON_DEVICE)),
                prior,
                jnp.asarray(rounds),
                slots=prepared.slots,
                reach=reach,
            )
            parts.append([np.asarray(a)[: len(few)] for a in found])
        return velocity.Measured(*map(np.concatenate, zip(*parts, strict=True)))

    found = go(members, _ROUNDS)
    open_ = np.flatnonzero(_unsettled(found))
    if len(open_):
        again = go(members[open_], _MORE_ROUNDS)
        for values, better in zip(found, again, strict=True):
            values[open_] = better
    _integrate(prepared, members, prior, found)
    return found


def _unsettled(found: velocity.Measured) -> NDArray[np.bool_]:
    return (found.flags & int(Status.NOT_CONVERGED)) > 0


def _is_broad(found: velocity.Measured) -> NDArray[np.bool_]:
    """Whether the likelihood is; trials are as far apart as the steps found it wide."""
    apart = found.trials[:, 2, 0] - found.trials[:, 1, 0]
    # Rounded to tenths: 0.15 or more counts as broad.
    return np.where(_unsettled(found), apart + 0.05, found.sigma) > _BROAD


def _shows_double(found: velocity.Measured) -> NDArray[np.bool_]:
    scale, misfit = found.scale.astype(np.float64), found.chi2 - found.n_good
    return shows_companion(found.gain, found.strength, scale, misfit)


def _integrate(prepared: Prepared, members, prior, found: velocity.Measured) -> None:
    """Where the likelihood is broad, take mean and width of the probability instead."""
    unsettled = _unsettled(found)
    fit = (found.flags & ~np.int64(Status.NOT_CONVERGED)) == 0
    # Two stars as one may not settle either; as two they are measured from where they are.
    fit &= ~(unsettled & _shows_double(found))
    broad = np.flatnonzero(_is_broad(found) & fit)
    # Where there is no minimum among the trials, from the middle one.
    found.shift[unsettled] = found.trials[unsettled, 1, 0]
    found.flags[broad] = 0
    for some, at in few_at_once(broad, _ON_DEVICE):
        seen = _spread_batch(
            _take(prepared, members[some], len(at)),
            prior,
            jnp.asarray(found.shift[at], jnp.float32),
            jnp.asarray(found.star[at]),
            jnp.asarray(found.model[at]),
            jnp.asarray(found.search[at]),
            not_filling(some, at),
            slots=prepared.slots,
        )
        shift, sigma, beyond = (np.asarray(a)[: len(some)] for a in seen)
        found.shift[some], found.sigma[some] = shift, sigma
        lost = np.where(beyond > _BEYOND, int(Status.FLAT_CHI2), 0)
        found.flags[some] |= lost.astype(found.flags.dtype)


@partial(jax.jit, static_argnames=("slots",))
def _spread_batch(batch, prior, shift, star, model, search, wanted, *, slots: int):
    def one(given):
        pixels, *rest = given
        return spread(pixels, prior, *rest, slots=slots, steps=_SPREAD)

    given = (jax.vmap(spline.Pixels)(*batch), shift, star, model, search)
    return one_by_one(one, given, wanted)


def _fill(out, rows, found: velocity.Measured, grid: LogGrid, options) -> None:
    """Velocities, errors and statuses of one batch."""
    shift, sigma = found.shift * grid.step, found.sigma * grid.step
    scale = found.scale.astype(np.float64)
    flags = found.flags.astype(np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = C_KMS * np.exp(shift) * sigma
        hopeless = ~(error < options.search_kms / 4)
    hopeless |= ~(found.contrast > FLAT_CONTRAST * np.maximum(scale, 1) ** 2)
    hopeless |= found.chi2 - found.n_good > LEFT_OVER * found.contrast
    rival = found.rival < RIVAL_CHI2 * np.maximum(scale, 1) ** 2
    double = _shows_double(found)
    for mask, flag in (
        (hopeless, Status.FLAT_CHI2),
        (rival & ~hopeless, Status.TWO_MINIMA),
        (scale > _POOR_FIT, Status.POOR_FIT),
        (double & ~hopeless, Status.DOUBLE_LINED),
    ):
        flags |= np.where(mask, int(flag), 0)
    out["status"][rows] |= flags
    out["chi2"][rows] = found.chi2
    out["n_good"][rows] = found.n_good
    out["dof"][rows] = np.maximum(found.n_good - 1, 0)
    out["ivar_scale"][rows] = scale
    good = (out["status"][rows] & int(FATAL)) == 0
    at = rows[good]
    out["rv"][at] = C_KMS * np.expm1(shift[good])
    factor = scale[good] if options.scale_errors else 1.0
    out["rv_raw_err"][at] = error[good] * factor
    limit = C_KMS * np.exp(shift) * grid.step * found.limit
    out["rv_limit"][at] = limit[good] * factor


def _second_stars(
    out, rows, members, found, prepared: Prepared, reach: int, options
) -> None:
    """Measure both stars where a second one shows; the brighter one's is the velocity."""
    # As one star, the two may not settle.
    mask = int((FATAL & ~Status.NOT_CONVERGED) | Status.DOUBLE_LINED)
    chosen = np.flatnonzero((out["status"][rows] & mask) == int(Status.DOUBLE_LINED))
    for some, at in few_at_once(chosen, _ON_DEVICE):
        _pairs(out, rows, members, found, prepared, reach, options, some, at)


def _pairs(
    out, rows, members, found, prepared: Prepared, reach: int, options, chosen, at
) -> None:
    """Measure both stars of the spectra ``chosen``; ``at`` is the same, filled up."""
    pair = fit_pairs(
        _take(prepared, members[chosen], len(at)),
        jnp.asarray(found.star[at]),
        jnp.zeros(len(at), jnp.float32),
        slots=prepared.slots,
        reach=reach,
    )
    pair = type(pair)(*(np.asarray(a, np.float64)[: len(chosen)] for a in pair))
    stars = brighter_first(pair)
    # Only where the pair itself says that there are two: else it stays what it was.
    two = stars.double
    # Where the template is that the pair was fitted with.
    target, own = rows[chosen][two], found.trials[chosen[two], 1, 0]
    step = prepared.grid.step
    scale = found.scale[chosen][two] if options.scale_errors else 1.0
    for name, shift, sigma in (
        ("rv", stars.shift, stars.sigma),
        ("rv_2", stars.shift_2, stars.sigma_2),
    ):
        at = (own + shift[two]) * step
        error = "rv_raw_err" if name == "rv" else "rv_2_err"
        out[name][target] = C_KMS * np.expm1(at)
        out[error][target] = C_KMS * np.exp(at) * step * scale * sigma[two]
    out["light_ratio"][target] = stars.light_ratio[two]
    out["chi2"][target] = stars.chi2[two]
    status = out["status"][target] & ~int(Status.TWO_MINIMA | Status.NOT_CONVERGED)
    alike = np.where(stars.alike[two], int(Status.TWO_MINIMA), 0)
    out["status"][target] = status | alike
    out["status"][rows[chosen][~two]] &= ~int(Status.DOUBLE_LINED)


def _table(out, frame: str, bary_corr: Numbers | None) -> pl.DataFrame:
    """From the frame of the wavelengths to both, multiplicatively."""
    measured = out.pop("rv")
    bary = known_motion(bary_corr, len(measured))
    if frame == "observatory":
        out["rv_obs"] = measured
        out["rv_raw"] = composed(measured, bary)
        out["rv_2"] = composed(out["rv_2"], bary)
    else:
        out["rv_raw"] = measured
        out["rv_obs"] = without(measured, bary)
    return pl.DataFrame({name: out[name] for name in COLUMNS})
