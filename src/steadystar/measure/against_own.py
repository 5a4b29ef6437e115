"""Velocities of stars that no model resembles: against templates of their own spectra.

First velocities place the spectra, a template is made of them, against it velocities are
better, and so on until nothing moves. First velocities may come from models, where these
are good enough to find the star, or from `measure_relative`, which needs none.

The zero. Whatever is done to a group of spectra alone, nothing in them says where rest
is. The weighted mean of a group's velocities stays what it was: absolute, in the models'
system, if the first ones were; relative if they were relative.

A visit's own noise must not be in its template: the two would agree where the visit was
put. So each is measured against the template of the others. That gives its shift against
*their* mean; with weights ``w`` the step towards the solution in which all share is
``1 - w_i / sum(w)`` of it, and one round of such steps solves the linear problem.
"""

__all__ = ["measure_against_own"]

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.doppler import composed, without
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.own_templates import (
    OwnTemplates,
    at_rest,
    group_names,
    make_templates,
)
from steadystar.measure.velocities import (
    COLUMNS,
    VelocityOptions,
    measure_velocities,
)
from steadystar.models.templates import Templates

_SETTLED = 0.3
"""A step of less than this share of the error is the last: what it leaves is of second
order."""
_OPTIONS = VelocityOptions(search_kms=60.0)
_ARM = "own"


def measure_against_own(
    spectra: Spectra,
    rv: Numbers,
    *,
    groups: Iterable[Any] | None = None,
    bary_corr: Numbers | None = None,
    fallback: Templates | None = None,
    options: VelocityOptions = _OPTIONS,
    arm: str | None = None,
    rounds: int = 3,
) -> pl.DataFrame:
    """Measure each spectrum against the template of the others of its group, repeatedly.

    Arguments:
        spectra: what was recorded.
        rv: first velocities in the frame of ``spectra``, km/s, ``(spectrum,)``: ``rv_obs``
            of `measure_velocities` or of `measure_relative` where wavelengths are as
            observed. NaN where there is none: such a spectrum is looked for around its
            group's mean, and has no part in the first template.
        groups: what each spectrum shows, a star's name say; None: all are one.
        bary_corr: barycentric corrections, km/s, ``(spectrum,)``; zero if None.
        fallback: templates for stretches that no other visit covers; None: pixels there
            do not count.
        options: windows, limits; ``search_kms`` counts from the first velocity.
        arm: its window is used if ``options.windows`` has one.
        rounds: of templates and velocities at most; they end when nothing moved by more
            than a third of its error.

    Returns:
        The columns of `measure_velocities`, one row a spectrum. **The zero is that of**
        ``rv``: the weighted mean of a group's velocities stays what it was. Errors are
        such that the difference of two velocities of a group has the sum of their
        variances.

        A group of which fewer than two spectra have a velocity and data has the status
        SINGLE_EXPOSURE, or NO_VELOCITY if none has a velocity.

    Raises:
        ValueError: not one velocity, group or correction a spectrum.
    """
    number = len(spectra)
    first, names = np.asarray(rv, float), group_names(groups, number)
    bary = np.nan_to_num(np.asarray(0.0 if bary_corr is None else bary_corr, float))
    if first.shape != (number,) or bary.shape not in ((), (number,)):
        raise ValueError(
            f"There are {number} spectra, velocities of shape {first.shape} and "
            f"barycentric corrections of shape {bary.shape}: give one for each spectrum."
        )
    turn = np.broadcast_to(bary if spectra.frame == "observatory" else 0.0, (number,))
    state = _begin(spectra, composed(first, turn), names, turn)
    for _ in range(rounds):
        if state.able.any() and _improve(state, fallback, options, arm):
            break
    return _table(state, np.broadcast_to(bary, (number,)))


@dataclass
class _State:
    """What is known of all spectra between two rounds.

    ``rv``: velocities at the barycenter, of which ``used`` are in the templates;
    ``turn`` takes them to the frame of the wavelengths. ``able`` can be measured, and
    ``status`` says why others cannot; ``found`` is what the last round said of them.
    """

    spectra: Spectra
    names: NDArray
    turn: NDArray[np.float64]
    rv: NDArray[np.float64]
    used: NDArray[np.bool_]
    able: NDArray[np.bool_]
    status: NDArray[np.int64]
    window: tuple[float, float] | None = None
    found: pl.DataFrame | None = None


def _begin(spectra: Spectra, first, names, turn) -> _State:
    """Give spectra without a velocity their group's mean, and find who can be measured."""
    groups = np.array(names)
    some = np.asarray((spectra.ivar > 0).any(axis=1), bool)
    used = np.isfinite(first) & some
    rv, able = first.copy(), some.copy()
    status = np.where(some, 0, int(Status.NO_DATA))
    for name in set(names):
        own = groups == name
        held = own & used
        if held.sum() < 2:
            none = not np.isfinite(first[own]).any()
            flag = Status.NO_VELOCITY if none else Status.SINGLE_EXPOSURE
            status[own & some] |= int(flag)
            able[own] = used[own] = False
        else:
            rv[own & ~np.isfinite(first)] = first[held].mean()
    return _State(spectra, groups, turn, rv, used, able, status)


def _improve(state: _State, fallback, options: VelocityOptions, arm) -> bool:
    """Go one round; return whether nothing moved by much."""
    rows = np.flatnonzero(state.able)
    frame = without(state.rv, state.turn)
    rest = at_rest(state.spectra[rows], frame[rows])
    # One resolution, so that all are measured on one grid.
    known = rest.resolution[np.isfinite(rest.resolution)]
    typical = float(np.median(known)) if len(known) else float("nan")
    rest = replace(rest, resolution=np.full(len(rows), typical))
    used = state.used[rows]
    if state.window is None:
        state.window = _window(rest, options, arm)
    # Spectra that are not in the templates have no weight there.
    shown = replace(rest, ivar=np.where(used[:, None], rest.ivar, np.float32(0)))
    own = make_templates(
        shown, state.names[rows].tolist(), fallback, state.window, leave_one_out=True
    )
    if fallback is None:
        rest = _where_covered(rest, own)
    found = _measure_each(rest, own.templates, options)
    moved, error = found["rv_raw"].to_numpy(), found["rv_raw_err"].to_numpy()
    good = np.isfinite(moved)
    weight = np.where(good, error, np.inf) ** -2.0
    step = _shared(np.nan_to_num(moved), weight, used, state.names[rows])
    before = state.rv[rows]
    state.rv[rows] = composed(before, step)
    # What could not be measured leaves the template, unless too few would be left.
    state.used[rows] = _keep(good, used, state.names[rows])
    second = composed(before, found["rv_2"].to_numpy())
    state.found = found.with_columns(rv_2=pl.Series(second))
    return bool((np.abs(step[good]) < _SETTLED * error[good]).all()) and bool(
        (state.used[rows] == used).all()
    )


def _shared(moved, weight, used, names) -> NDArray[np.float64]:
    """Return the steps that leave every group's mean where it was."""
    step = moved.copy()
    for name in set(names):
        held = (names == name) & used
        total = weight[held].sum()
        if total > 0:
            step[held] *= 1 - weight[held] / total
            step[held] -= (weight[held] * step[held]).sum() / total
    return step


def _keep(good, used, names) -> NDArray[np.bool_]:
    """Return which spectra are in the next templates."""
    kept = good.copy()
    for name in set(names):
        own = names == name
        if kept[own].sum() < 2:
            kept[own] = used[own]
    return kept


def _window(rest: Spectra, options: VelocityOptions, arm) -> tuple[float, float]:
    """Return the stretch of the templates, at rest: the arm's window, or all there is."""
    used = rest.ivar > 0
    low, high = float(rest.wave[used].min()), float(rest.wave[used].max())
    if arm not in options.windows:
        return low, high
    room = 1 + options.search_kms / C_KMS
    first, last = options.windows[arm]
    return max(low, first / room), min(high, last * room)


def _where_covered(rest: Spectra, own: OwnTemplates) -> Spectra:
    """Leave out pixels at wavelengths that their template has not seen."""
    wave = own.templates.wave
    nearest = np.clip(np.searchsorted(wave, rest.wave), 0, len(wave) - 1)
    inside = (rest.wave >= wave[0]) & (rest.wave <= wave[-1])
    seen = np.take_along_axis(own.covered, nearest, axis=1) & inside
    return replace(rest, ivar=np.where(seen, rest.ivar, np.float32(0)))


def _measure_each(rest: Spectra, templates: Templates, options) -> pl.DataFrame:
    """Measure every spectrum against its own template."""
    ends = (float(templates.wave[0]), float(templates.wave[-1]))
    options = replace(options, windows={_ARM: ends})
    return pl.concat(
        measure_velocities(
            rest[np.array([i])],
            Templates(templates.wave, templates.flux[i : i + 1]),
            options,
            arm=_ARM,
        )
        for i in range(len(rest))
    )


def _table(state: _State, bary) -> pl.DataFrame:
    """Put the last round's results into the rows of the spectra, in both frames."""
    rows, number = np.flatnonzero(state.able), len(state.status)
    out = {name: np.full(number, np.nan) for name in _FLOATS}
    out |= {name: np.zeros(number, np.int64) for name in _INTEGERS}
    out["status"] = state.status.copy()
    if state.found is not None:
        for name in out:
            out[name][rows] = state.found[name].to_numpy()
        measured = np.isfinite(out["rv_raw"])
        out["rv_raw"] = np.where(measured, state.rv, np.nan)
    out["snr"] = state.spectra.snr()
    out["rv_obs"] = without(out["rv_raw"], bary)
    return pl.DataFrame({name: out[name] for name in COLUMNS})


_INTEGERS = ("dof", "n_good", "status")
_FLOATS = tuple(name for name in COLUMNS if name not in _INTEGERS)
