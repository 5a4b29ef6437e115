"""Templates made of a survey's own spectra, and velocities against them.

Where no model resembles a star (late M dwarfs, chemically odd stars), its own visits do.
Moved to rest by velocities that are known already, all spectra of a group are one picture
of it: the template is their weighted least-squares spline on a logarithmic grid, finer
than the line spread function. No pixel is interpolated; a stretch that a bad pixel or a
gap hides in one visit is seen in another. The spline's prior knows that nothing is
sharper than the line spread function (`kernels.spline.line_forest_precision`), and about
what no visit has seen it says what ``fallback`` says, or that there is the continuum.

A template is at rest as far as the velocities are right that it was made with, and what
is measured against it has their zero (`measure.against_own`).
"""

__all__ = ["OwnTemplates", "make_templates", "templates_from_spectra"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.kernels import spline
from steadystar.kernels.matching import inliers, match_template, without_continuum
from steadystar.measure.joint import line_variance
from steadystar.measure.normalize import Prepared, Window, grid_for, prepare
from steadystar.measure.prior import lines_of
from steadystar.models.lowrank import StarLines
from steadystar.models.templates import Templates

_CLIP = 5.0
_ORDERS = 4
_ROUNDS = 3
_FINER = 3
"""Points of a template a grid step: four a standard deviation of the line spread."""
_SEEN = 1e-3
"""A knot with less than this share of the median weight has not been seen."""
_SIZES = 256
_FEWEST = 30
"""Points that templates must have in common."""


@dataclass(frozen=True, eq=False)
class OwnTemplates:
    """Templates of a survey's own spectra, and what they are made of.

    ``templates`` are as sharp as the spectra, with one row for each of ``names``;
    ``n_spectra`` says how many spectra are in each, ``(template,)``, and ``covered``
    which of its points at least one of them has seen, ``(template, point)``. The others
    hold what the fallback says, or the continuum.
    """

    templates: Templates
    names: tuple[str, ...]
    n_spectra: NDArray[np.int64]
    covered: NDArray[np.bool_]


def templates_from_spectra(
    spectra: Spectra,
    rv: Numbers,
    *,
    groups: Iterable[Any] | None = None,
    fallback: Templates | None = None,
    window: tuple[float, float] | None = None,
    leave_one_out: bool = False,
) -> OwnTemplates:
    """Make templates of spectra with known velocities.

    Arguments:
        spectra: what was recorded, not necessarily normalized.
        rv: velocity of each in the frame of ``spectra`` (``rv_obs`` for wavelengths as
            observed), km/s, ``(spectrum,)``.
        groups: what each spectrum shows, a star's name say, ``(spectrum,)``: one template
            is made of each group. None: all are one.
        fallback: what to say of stretches that no spectrum of a group covers: the one of
            these templates that fits the group best. None: that there are no lines.
        window: stretch at rest, Angstrom in vacuum; None for all that was seen.
        leave_one_out: make a template for each spectrum instead, of the others of its
            group, with the names of the groups.

    Returns:
        Templates from the first to the last wavelength that all of them have seen.

    Raises:
        ValueError: not one velocity and group a spectrum; a velocity that is not finite;
            a group without data; groups that have no wavelengths in common; a fallback
            that does not reach over the spectra, or is less sharp.
    """
    rest = at_rest(spectra, _velocities(rv, len(spectra)))
    names = group_names(groups, len(spectra))
    made = make_templates(rest, names, fallback, window, leave_one_out)
    return _required(made, cut=fallback is None)


def make_templates(
    rest: Spectra,
    names: Sequence[str],
    fallback: Templates | None,
    window: tuple[float, float] | None,
    leave_one_out: bool,
) -> OwnTemplates:
    """Make templates of spectra at rest; see `templates_from_spectra`.

    They reach over all of the window, or of what was seen; a group without data has a
    template of which nothing is covered.
    """
    labels, fits = np.array(names), []
    with jax.enable_x64(True):
        grid, prepared = _prepared(rest, window)
        anchors = _anchors(fallback, rest, grid)
        for name in sorted(set(names)):
            members = np.flatnonzero(labels == name)
            if leave_one_out and len(members) < 2:
                raise ValueError(
                    f"Group {name!r} has one spectrum: without it there is no template. "
                    "Leave it out, or make templates without leave_one_out."
                )
            fits.append((members, *_fit(prepared, members, anchors, leave_one_out)))
    rows, *parts = zip(*fits, strict=True)
    coefficients, weight, number = map(np.concatenate, parts)
    shown = [names[members[0]] for members in rows]
    if leave_one_out:
        order = np.argsort(np.concatenate(rows))
        coefficients, weight, number = coefficients[order], weight[order], number[order]
        shown = list(names)
    return _finished(grid, coefficients, weight, number, shown)


def _velocities(rv: Numbers, number: int) -> NDArray[np.float64]:
    found = np.asarray(rv, float)
    if found.shape != (number,):
        raise ValueError(
            f"Velocities have shape {found.shape}, but there are {number} spectra: give "
            "one for each, km/s, in the frame of their wavelengths."
        )
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise ValueError(
            f"Spectrum {bad[0]} ({len(bad)} in all) has no velocity, so it cannot be "
            "moved to rest: leave it out, or measure it first; measure_relative needs "
            "no templates."
        )
    return found


def group_names(groups: Iterable[Any] | None, number: int) -> list[str]:
    """Return the group of each spectrum as text: all are one if None are given."""
    if groups is None:
        return [""] * number
    names = ["" if name is None else str(name) for name in groups]
    if len(names) != number:
        raise ValueError(
            f"There are {len(names)} groups for {number} spectra: give the name of what "
            "each spectrum shows."
        )
    return names


def at_rest(spectra: Spectra, rv: NDArray[np.float64]) -> Spectra:
    """Move the wavelengths of spectra by ``rv`` (km/s, in their frame); pixels stay."""
    wave = spectra.wave_2d / (1 + rv / C_KMS)[:, None]
    return replace(spectra, wave=wave, frame="barycenter")


def _prepared(rest: Spectra, window) -> tuple[LogGrid, Prepared]:
    """Normalize spectra at rest and place them on a grid."""
    used = rest.ivar > 0
    if not used.any():
        raise ValueError(
            "No spectrum has a usable pixel: there is nothing to make templates of."
        )
    seen = float(rest.wave[used].min()), float(rest.wave[used].max())
    low, high = seen if window is None else window
    if not max(low, seen[0]) < min(high, seen[1]):
        raise ValueError(
            f"The window {low:.1f} to {high:.1f} Angstrom has nothing of the spectra, "
            f"which at rest span {seen[0]:.1f} to {seen[1]:.1f}."
        )
    bounds = Window(low, high)
    grid = grid_for(rest, bounds, 0.0)
    # A few sizes only: each is compiled.
    grid = replace(grid, size=-(-grid.size // _SIZES) * _SIZES)
    # How many pixels are enough is for the group to say, not for one spectrum.
    return grid, prepare(rest, np.zeros(len(rest)), bounds, grid, "spline", 0.0)


def _anchors(fallback: Templates | None, rest: Spectra, grid: LogGrid):
    """Return candidates for what is there where nothing was seen, as splines."""
    if fallback is None:
        return jnp.zeros((1, grid.size), jnp.float32)
    used = rest.ivar > 0
    low, high = grid.wave[3], grid.wave[-4]
    if fallback.wave[0] > low or fallback.wave[-1] < high:
        raise ValueError(
            f"The fallback spans {fallback.wave[0]:.1f} to {fallback.wave[-1]:.1f} "
            f"Angstrom and the spectra at rest {low:.1f} to {high:.1f}: give templates "
            "that reach over all of them, or a narrower window."
        )
    known = rest.resolution[np.isfinite(rest.resolution) & used.any(axis=1)]
    sharp = float(np.median(known)) if len(known) else float("nan")
    lines = lines_of(fallback, Window(float(low), float(high)), sharp)
    learned = StarLines.learn(*lines, grid, rank=1, anchors=len(fallback))
    return jnp.asarray(learned.anchors)


def _fit(prepared: Prepared, members: NDArray[np.intp], anchors, leave_one_out: bool):
    """Return templates of one group: coefficients, weight at knots, number of spectra."""
    size = 8
    while size < len(members):
        size *= 4
    taken = prepared.pixels.take(members, size)
    number = int((taken.weight > 0).any(axis=1).sum())
    precision = spline.line_forest_precision(prepared.grid.size, prepared.line_width)
    fit = _fit_group(
        type(taken)(*map(jnp.asarray, taken)),
        jnp.asarray(precision, jnp.float32),
        anchors,
        slots=prepared.slots,
        leave_one_out=leave_one_out,
    )
    coefficients, weight = (np.asarray(a, np.float64) for a in fit)
    if not leave_one_out:
        return coefficients[None], weight[None], np.array([number])
    own = (taken.weight > 0).any(axis=1)[: len(members)]
    cut = slice(len(members))
    return coefficients[cut], weight[cut], number - own.astype(np.int64)


@partial(jax.jit, static_argnames=("slots", "leave_one_out"))
def _fit_group(batch, precision, anchors, *, slots: int, leave_one_out: bool):
    """Fit one group's spectra, all at rest; see `_fit`."""
    pixels = jax.vmap(spline.Pixels)(*batch)
    zero = jnp.zeros((), pixels.value.dtype)
    placed = jax.vmap(lambda p: spline.place(p, zero, slots))(pixels)
    accumulate = jax.vmap(spline.normal_equations)
    alone = jnp.zeros(len(batch.value), jnp.int32)
    prior = precision / line_variance(pixels, alone, 1)[0]

    first = jax.tree.map(lambda a: a.sum(0), accumulate(placed))
    misfit = jax.vmap(lambda a: a @ (spline.matvec(first.bands, a) - 2 * first.rhs))
    mean = anchors[jnp.argmin(misfit(anchors))]

    def solve(bands, rhs):
        towards = rhs - spline.matvec(bands, mean)
        return mean + spline.solve(bands + prior, towards)

    def cleaned(template, continuum):
        def one(p, c):
            kept = inliers(template, p, c, _CLIP)
            found = match_template(template, p, c, _CLIP).continuum
            return spline.keep_only(without_continuum(p, found), kept), found

        return jax.vmap(one)(placed, continuum)

    def update(_, state):
        template, continuum, _ = state
        lines, continuum = cleaned(template, continuum)
        equations = accumulate(lines)
        return solve(equations.bands.sum(0), equations.rhs.sum(0)), continuum, equations

    flat = jnp.zeros((len(batch.value), _ORDERS), zero.dtype)
    start = (solve(first.bands, first.rhs), flat, accumulate(placed))
    template, _, equations = jax.lax.fori_loop(0, _ROUNDS, update, start)
    whole = jax.tree.map(lambda a: a.sum(0), equations)
    if not leave_one_out:
        return template, whole.bands[0]
    bands, rhs = whole.bands[None] - equations.bands, whole.rhs[None] - equations.rhs
    return jax.vmap(solve)(bands, rhs), bands[:, 0]


def _finished(grid: LogGrid, coefficients, weight, number, names) -> OwnTemplates:
    """Sample splines finely, and say where they have been seen."""
    some = np.where(weight > 0, weight, np.nan)
    empty = ~(weight > 0).any(axis=1, keepdims=True)
    typical = np.nanmedian(np.where(empty, 1.0, some), axis=1, keepdims=True)
    seen = weight > _SEEN * typical
    # Beyond the outermost three knots the spline has not all of its terms.
    at = 3 + np.arange((grid.size - 7) * _FINER + 1) / _FINER
    knots = np.arange(grid.size + 4) - 2.0
    flux = 1 + BSpline(knots, coefficients.T, 3)(at).T
    return OwnTemplates(
        templates=Templates.from_arrays(grid.start * np.exp(grid.step * at), flux),
        names=tuple(names),
        n_spectra=np.asarray(number, np.int64),
        covered=seen[:, np.round(at).astype(np.intp)],
    )


def _required(made: OwnTemplates, *, cut: bool) -> OwnTemplates:
    """Refuse templates without data, and cut off what not all (any) have seen."""
    for name, seen in zip(made.names, map(np.any, made.covered), strict=True):
        if not seen:
            raise ValueError(
                f"The spectra of group {name!r} have no usable pixel, or only the one "
                "that is left out has: leave the group out."
            )
    covered = made.covered
    firsts = np.argmax(covered, axis=1)
    lasts = covered.shape[1] - np.argmax(covered[:, ::-1], axis=1)
    first, last = (firsts.max(), lasts.min()) if cut else (firsts.min(), lasts.max())
    if last - first < _FEWEST:
        raise ValueError(
            "The groups have no wavelengths in common: make the templates of each arm, "
            "or of each set of spectra, on their own."
        )
    part = slice(int(first), int(last))
    whole = made.templates
    return replace(
        made,
        templates=Templates(whole.wave[part], whole.flux[:, part], whole.resolution),
        covered=covered[:, part],
    )
