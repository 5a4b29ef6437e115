"""One visit of a star taken apart: its spectrum as continuum, lines and noise."""

__all__ = ["taken_apart_figure"]

import numpy as np
import polars as pl

from steadystar.data.component import RESIDUAL
from steadystar.data.spectra import Spectra
from steadystar.measure.taken_apart import CONTINUUM, STAR_LINES, taken_apart
from steadystar.models.templates import templates_for
from steadystar.publish.facts import Facts, usable
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.numbers import (
    MINUS,
    Array,
    counted,
    kms,
    robust_width,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Band,
    Figure,
    Line,
    Missing,
    Panel,
    arm_color,
)

_COVERED = 0.5
_WILD = 5.0
_REACH = 8.0
"""Residuals, in units of the noise, that the panel holds."""


def taken_apart_figure(
    facts: Facts,
    inputs: ReportInputs,
    absolute: pl.DataFrame,
    rows: pl.DataFrame,
    spectra: Spectra,
    arm: str,
) -> Figure | Missing | None:
    """Take the star's best spectrum of ``arm`` apart; None without absolute velocities.

    ``absolute`` are the star's absolute velocities, ``rows`` those of ``spectra``.
    """
    name = f"taken-apart-{arm}"
    title = "One visit taken apart" + (f", {arm} arm" if arm != "all" else "")
    moving = "rv_raw" if spectra.frame == "barycenter" else "rv_obs"
    known = usable(absolute).filter(pl.col("arm") == arm, pl.col(moving).is_finite())
    places = rows.select("visit_id", pl.int_range(pl.len()).alias("_place"))
    known = known.join(
        places.unique("visit_id", keep="first"), on="visit_id", maintain_order="left"
    )
    if not len(known):
        return None
    best = known.sort(
        pl.col("snr").fill_nan(-1.0), "visit_id", descending=[True, False]
    )
    visit = best.row(0, named=True)
    one = spectra[[visit["_place"]]]
    window = inputs.windows.get(arm) or _span(one)
    templates = templates_for(*window, float(one.resolution[0]), _COVERED)
    if templates is None:
        return Missing(
            name,
            title,
            "No templates that come with the program cover these wavelengths.",
        )
    try:
        separation = taken_apart(one, templates, visit[moving], window)
    except ValueError as error:
        return Missing(name, title, f"It cannot be taken apart: {error}")
    parts = {key: values[0] for key, values in separation.components.items()}
    return _figure(name, title, one, window, parts, visit, arm_color(arm, facts.arms))


def _span(spectrum: Spectra) -> tuple[float, float]:
    """The wavelengths that were seen."""
    wave = spectrum.wave_2d[spectrum.ivar > 0]
    return (float(wave.min()), float(wave.max())) if wave.size else (0.0, 0.0)


def _figure(
    name: str,
    title: str,
    one: Spectra,
    window: tuple[float, float],
    parts: dict[str, Array],
    visit: dict,
    color: str,
) -> Figure:
    wave, good = one.wave_2d[0], one.ivar[0] > 0
    inside = (wave >= window[0]) & (wave <= window[1])
    wave, good = wave[inside], good[inside]
    continuum, lines = parts[CONTINUUM][inside], parts[STAR_LINES][inside]
    data = np.where(good, one.flux[0][inside].astype(float), np.nan)
    noise = np.sqrt(one.ivar[0][inside].astype(float))
    pull = np.where(good, parts[RESIDUAL][inside] * noise, np.nan)
    x = Axis("vacuum wavelength (Å)", low=float(wave[0]), high=float(wave[-1]))
    top = 1.15 * float(np.max(continuum + np.maximum(lines, 0)))
    ends = wave[[0, -1]]
    panels = (
        Panel(
            x,
            Axis("flux (unit of the file)", low=min(0.0, float(np.min(continuum))), high=top),
            (
                Line(wave, data, "muted", "data", width=1.6),
                Line(wave, continuum + lines, color, "continuum + star's lines", width=1.0),
                Line(wave, continuum, "orange", "continuum", width=2.0),
            ),
            title="The data and what explains them",
        ),
        Panel(
            x,
            Axis("lines / continuum"),
            (Line(wave, lines / continuum, color, width=1.2),),
            title="The star's lines at the measured velocity",
            tall=0.7,
        ),
        Panel(
            x,
            Axis("residual / noise", low=-_REACH, high=_REACH),
            (
                Band(-1, 1, "y"),
                Line(wave, np.clip(pull, -_REACH, _REACH), "muted", width=1.0),
                Line(ends, np.zeros(2), "ink", dash="dot"),
            ),
            title="What is left, in units of the noise",
            tall=0.7,
        ),
    )  # fmt: skip
    return Figure(
        name=name,
        title=title,
        panels=panels,
        columns=1,
        wide=True,
        shows="The star's spectrum of highest S/N as a sum of three parts: a smooth "
        "continuum, the lines of a star (of whatever type, between model spectra) "
        "moved to the measured velocity, and what is left. Absolute velocities are "
        "measured by such a sum, tried at every velocity. The continuum runs through "
        "the crowd of weak lines, not above it.",
        good="A residual without structure, two thirds of it between "
        f"{MINUS}1 and 1. Lines left over: a star the templates do not know, or a "
        "second one. Single spikes: cosmic rays.",
        here=_sentence(visit, pull),
    )


def _sentence(visit: dict, pull: Array) -> str:
    width = robust_width(pull)
    wild = int((np.abs(pull) > _WILD).sum())
    exposure = f"exposure {visit['exposure']}, " if visit["exposure"] else ""
    velocity = f"{visit['rv_raw']:.2f}".replace("-", MINUS)
    return (
        f"Here: {exposure}S/N {significant(visit['snr'])}, velocity as measured "
        f"{velocity} km/s (error {kms(visit['raw_error'])}); the residual "
        f"scatters by {width:.2f} times the stated noise (robust), "
        f"{counted(wild, 'pixel')} beyond {_WILD:.0f} times."
    )
