"""Spectra along the temperature sequence, at rest, with their strong lines named.

Zong et al. (2020), figure 5, shows one star at several times (here: a star's own page);
what a survey's spectra look like is seen better in stars of all temperatures.
"""

__all__ = ["example_spectra"]

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.publish.facts import Facts
from steadystar.publish.figures.lines import named_lines
from steadystar.publish.figures.spectra import NOISIEST, display_grid, normalized
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.numbers import (
    Array,
    counted,
    positive,
    robust_width,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Color,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Words,
    arm_title,
)

_TITLE = "Example spectra"
_WARM_TITLE = "Spectra from hot to cool"
_MOST = 8
_TRIED = 16
"""Stars whose spectra are read where no temperature is known."""
_STEP = 0.7
"""Vertical distance of two spectra, in units of the continuum."""
_CEILING = 1.35
_WIDEST = 0.11
"""Range of ln(wavelength) in a panel; wider spectra are drawn in several."""
_MOST_PANELS = 4
_COLORS: tuple[Color, ...] = ("red", "orange", "green", "sky", "blue")


@dataclass(frozen=True)
class _Example:
    """A star's best spectrum in one arm; ``moved``: whether it was shifted to rest."""

    star: dict
    spectrum: Spectra
    snr: float
    moved: bool


def example_spectra(facts: Facts, inputs: ReportInputs) -> list[Figure | Missing]:
    """A figure an arm: normalized spectra above each other, the hottest at the top."""
    if inputs.spectra is None:
        return []
    stars = _chosen(facts)
    warm = bool(stars["teff"].is_finite().any()) if "teff" in stars.columns else False
    try:
        read = [(row, inputs.spectra(row["star_id"])) for row in stars.iter_rows(named=True)]  # fmt: skip
    except (ValueError, OSError) as error:
        # One damaged file of spectra does not take the report away.
        return [Missing("examples", _TITLE, f"They cannot be read: {error}")]
    made: list[Figure | Missing] = []
    for arm in facts.arms:
        found = [_best(facts, row, pair, arm) for row, pair in read if pair is not None]
        figure = _figure([one for one in found if one is not None], arm, warm=warm)
        made += [figure] if figure else []
    return made or [
        Missing(
            "examples",
            _TITLE,
            "The run kept no spectrum of the chosen stars that is more than noise.",
        )
    ]


def _chosen(facts: Facts) -> pl.DataFrame:
    """The stars with the best S/N, one in each of some steps of temperature."""
    lit = facts.stars.filter(positive("snr"))
    if "teff" not in lit.columns or not lit["teff"].is_finite().any():
        return lit.sort("snr", "star_id", descending=[True, False]).head(_TRIED)
    warm = lit.filter(pl.col("teff").is_finite())
    log = warm["teff"].log().to_numpy()
    low, high = np.quantile(log, [0.01, 0.99])
    step = max((high - low) / _MOST, 1e-6)
    place = np.clip((log - low) / step, 0, _MOST - 1e-6)
    bins = np.floor(place).astype(np.int64)
    # Near the middle of its step if there is one, lest two neighbors be alike.
    aside = np.abs(place - bins - 0.5) > 0.3
    best = warm.with_columns(_bin=pl.Series(bins), _aside=pl.Series(aside)).sort(
        "_aside", "snr", "star_id", descending=[False, True, False]
    )
    return best.unique("_bin", keep="first", maintain_order=True).sort("teff")


def _best(
    facts: Facts, star: dict, pair: tuple[pl.DataFrame, Spectra], arm: str
) -> _Example | None:
    """The spectrum of highest S/N in an arm, of those with a velocity if there are any."""
    rows, spectra = pair
    here = (rows["arm"].fill_null("all") == arm).to_numpy()
    here &= (spectra.ivar > 0).any(axis=1)
    places = np.flatnonzero(here)
    if not places.size:
        return None
    snr = np.nan_to_num(spectra.snr()[places], nan=-1.0)
    known = _velocities(facts, star["star_id"])
    moves = np.array(
        [_velocity(rows.row(int(i), named=True), spectra, known) for i in places]
    )
    order = np.lexsort((-snr, ~np.isfinite(moves)))
    first = int(order[0])
    one = spectra[[int(places[first])]]
    moved = bool(np.isfinite(moves[first]))
    velocity = float(moves[first]) if moved else 0.0
    rest = replace(one, wave=one.wave_2d[0] / (1 + velocity / C_KMS))
    return _Example(star, rest, float(snr[first]), moved)


def _velocities(facts: Facts, star: str) -> dict[tuple[str, str], tuple[float, float]]:
    """``rv_obs, rv_raw`` of each spectrum, by visit and arm, NaN where unknown.

    Relative velocities do not say how fast a star moves; the fit of labels does.
    """
    known: dict[tuple[str, str], tuple[float, float]] = {}
    fits = facts.labels.filter(pl.col("star_id") == star, pl.col("rv_raw").is_finite())
    for visit, arm, rv in fits.select("visit_id", "arm", "rv_raw").iter_rows():
        known[visit, arm] = (float("nan"), rv)
    table = facts.visits if not facts.relative else facts.absolute
    rows = table.filter(pl.col("star_id") == star, "measured")
    for visit, arm, obs, raw in rows.select("visit_id", "arm", "rv_obs", "rv_raw").iter_rows():  # fmt: skip
        known[visit, arm] = (obs, raw)
    return known


def _velocity(row: dict, spectra: Spectra, known: dict) -> float:
    """The velocity that lies in the wavelengths of a spectrum, km/s; NaN if unknown."""
    arm = row["arm"] or "all"
    obs, raw = known.get((row["visit_id"], arm), (np.nan, np.nan))
    if not (np.isfinite(obs) or np.isfinite(raw)):
        # Labels of all arms at once may have an identifier of their own.
        obs, raw = known.get((row["visit_id"], "all"), (np.nan, np.nan))
    if spectra.frame == "barycenter":
        return raw
    if np.isfinite(obs):
        return obs
    moving = row.get("bary_corr")
    if moving is None or not np.isfinite(moving):
        return float("nan")
    return C_KMS * ((1 + raw / C_KMS) / (1 + moving / C_KMS) - 1)


def _figure(found: list[_Example], arm: str, *, warm: bool) -> Figure | None:
    if not found:
        return None
    found = _in_order(found, warm=warm)
    low = min(float(one.spectrum.wave[_good(one)].min()) for one in found)
    high = max(float(one.spectrum.wave[_good(one)].max()) for one in found)
    parts = int(np.clip(np.ceil(np.log(high / low) / _WIDEST), 1, _MOST_PANELS))
    edges = np.geomspace(low, high, parts + 1)
    hottest = max((one.star["teff"] for one in found), default=0.0) if warm else 7000.0
    panels = []
    for left, right in pairwise(edges):
        panel = _panel(found, float(left), float(right), hottest, warm=warm)
        panels += [panel] if panel else []
    if not panels:
        return None
    still = sum(not one.moved for one in found)
    name = arm_title(arm)
    return Figure(
        name=f"examples-{arm}" if name else "examples",
        title=(_WARM_TITLE if warm else _TITLE) + (f", {name}" if name else ""),
        panels=tuple(panels),
        wide=True,
        shows="The best spectrum of stars "
        + ("along the sequence of temperatures" if warm else "of highest S/N, those with more absorption lower")
        + f", divided by a smooth curve along its upper envelope, shifted to rest and by {_STEP} "
        "upwards each; lines that stand out are named (vacuum wavelengths; Zong et al. "
        "2020, figure 5).",
        good="Named lines lie under their names in every star: the velocity is right. "
        "Hydrogen grows towards hot stars, metals towards cool ones.",
        here=_sentence(found, still, warm=warm),
    )  # fmt: skip


def _good(one: _Example) -> np.ndarray:
    return one.spectrum.ivar[0] > 0


def _in_order(found: list[_Example], *, warm: bool) -> list[_Example]:
    """From cool to hot; without temperatures from much absorption to little."""
    if warm:
        return sorted(found, key=lambda one: one.star["teff"])
    depth = []
    for one in found:
        flux = normalized(one.spectrum, 0, display_grid(one.spectrum, np.array([0])))
        depth.append(float(np.nanmean(1 - np.minimum(flux, 1.0))))
    order = np.argsort(-np.array(depth), kind="stable")
    picked = order[np.unique(np.linspace(0, len(order) - 1, _MOST).round().astype(int))]
    return [found[int(i)] for i in picked]


def _panel(
    found: list[_Example], low: float, high: float, hottest: float, *, warm: bool
) -> Panel | None:
    shown = [_cut(one, low, high) for one in found]
    grid = None
    marks: list[Mark] = []
    ticks = []
    for place, one in enumerate(shown):
        if one is None:
            continue
        own = display_grid(one.spectrum, np.array([0]))
        flux = normalized(one.spectrum, 0, own)
        if not robust_width(flux) < NOISIEST:
            continue
        grid = own
        level = len(ticks)
        share = place / max(len(found) - 1, 1)
        color = _COLORS[round(share * (len(_COLORS) - 1))]
        marks.append(
            Line(own, np.clip(flux, 0.0, _CEILING) + _STEP * level, color, width=1.0, hover=_hover(one))
        )  # fmt: skip
        ticks.append((1.0 + _STEP * level, _name(one, warm=warm)))
    if grid is None:
        return None
    top = 1.0 + _STEP * (len(ticks) - 1) + 0.25
    room = 0.1 * (top + 0.2)
    names = _named(low, high, hottest, (-0.05, top + room))
    rest = " at rest" if any(one.moved for one in found) else ""
    return Panel(
        Axis(f"vacuum wavelength{rest} (Å)", low=low, high=high),
        Axis("", low=-0.05, high=top + room, ticks=tuple(ticks)),
        (*names, *marks),
        tall=float(np.clip(0.5 + 0.17 * len(ticks), 0.8, 1.9)),
    )


def _cut(one: _Example, low: float, high: float) -> _Example | None:
    """The part of a spectrum within a panel; None where it has next to nothing there."""
    inside = one.spectrum.window(low, high)
    if (inside.ivar > 0).sum() < 20:
        return None
    return replace(one, spectrum=inside)


def _named(
    low: float, high: float, hottest: float, span: tuple[float, float]
) -> list[Mark]:
    """Dotted lines where named lines lie, and their names hanging from the top."""
    lines = named_lines(low, high, hottest=hottest)
    if not lines:
        return []
    waves = np.array([wave for line in lines for wave in line.waves])
    x = np.column_stack([waves, waves, np.full(waves.size, np.nan)]).ravel()
    foot, top = span
    y = np.tile([foot, top, np.nan], waves.size)
    middles = np.array([line.middle for line in lines])
    return [
        Line(x, y, "muted", dash="dot", width=0.8),
        Words(
            middles,
            np.full(middles.size, top - 0.01 * (top - foot)),
            [line.name for line in lines],
            upright=True,
        ),
    ]


def _name(one: _Example, *, warm: bool) -> str:
    if warm:
        return f"{round(one.star['teff'], -1):,.0f} K"
    return f"S/N {one.snr:.0f}"


def _hover(one: _Example) -> str:
    words = [one.star["star_id"]]
    for name, text, digits in (("teff", "K", 4), ("logg", "log g", 3), ("feh", "[Fe/H]", 2)):  # fmt: skip
        value = one.star.get(name)
        if isinstance(value, float) and np.isfinite(value):
            number = significant(value, digits)
            words.append(f"{number} K" if name == "teff" else f"{text} {number}")
    return ", ".join([*words, f"S/N {one.snr:.0f}"])


def _sentence(found: list[_Example], still: int, *, warm: bool) -> str:
    here = f"Here: {counted(len(found), 'star')}"
    if warm:
        cool, hot = (round(found[i].star["teff"], -1) for i in (0, -1))
        here += f" from {hot:,.0f} K at the top to {cool:,.0f} K"
    snr: Array = np.array([one.snr for one in found])
    here += f", S/N {snr.min():.0f} to {snr.max():.0f}"
    if still:
        here += (
            f"; {counted(still, 'spectrum', 'spectra')} with no absolute velocity drawn "
            "as observed, not at rest"
        )
    return here + "."
