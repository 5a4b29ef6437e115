"""Figures of a whole table of stars: who varies, how surely, and how.

A constant star's p value is as likely anywhere between 0 and 1: where the histogram is
level the errors are right, and the pile at 0 is the stars that vary.
"""

__all__ = ["amplitude_period", "differences", "p_values"]

import numpy as np
import polars as pl

from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import (
    counted,
    finite,
    percent,
    positive,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Steps,
)
from steadystar.publish.variable_facts import candidates, judged_stars

KINDS = {
    "double-lined binary": "purple",
    "single-lined binary": "blue",
    "likely pulsator": "orange",
    "variable": "red",
    "uncertain": "muted",
    "constant": "green",
}
"""Colors of the classes."""
_SURE = 0.01
"""Periods of a larger false-alarm probability are drawn as open symbols."""


def differences(inputs: ReportInputs, options: ReportOptions) -> Figure | Missing:
    """Largest difference of two visits in units of its error, against their number."""
    name, title = "differences", "Largest difference of two visits"
    table = judged_stars(inputs)
    snr = pl.col("rv_max_difference_snr").abs()
    table = table.with_columns(snr.alias("snr")).filter(positive("snr"))
    if not len(table):
        return Missing(name, title, "No star has two visits that can be compared.")
    visits, seen = table["n_visits"].to_numpy().astype(float), table["snr"].to_numpy()
    marks: list[Mark] = []
    if len(table) > options.aggregate_above:
        edges = (
            np.geomspace(visits.min() / 1.1, visits.max() * 1.1, 50),
            np.geomspace(max(seen.min(), 0.1), seen.max() * 1.1, 60),
        )
        marks.append(
            scatter_or_density(
                visits, seen, options.aggregate_above, color="ink", edges=edges
            )
        )
    else:
        for kind, color in reversed(KINDS.items()):
            part = table.filter(pl.col("class") == kind)
            if len(part):
                marks.append(
                    Points(
                        _spread(part),
                        part["snr"].to_numpy(),
                        color,
                        kind,
                        hover=[str(star) for star in part["star_id"]],
                        opacity=0.7,
                    )
                )
    found = int(table["variable"].sum() or 0)
    return Figure(
        name=name,
        title=title,
        panels=(
            Panel(
                Axis(
                    "visits",
                    log=True,
                    low=float(visits.min()) / 1.15,
                    high=float(visits.max()) * 1.15,
                ),
                Axis(
                    "difference over its error",
                    log=True,
                    low=float(max(seen.min() * 0.8, 0.1)),
                    high=float(seen.max() * 1.25),
                ),
                tuple(marks),
            ),
        ),
        wide=True,
        shows="For each star the two visits that differ most, in units of the error of "
        "their difference, against the number of visits. Stars of the same number are "
        "set a little apart.",
        good="Constant stars rise slowly from left to right, as the largest of more and "
        "more pairs does by chance; variable ones stand above.",
        here=f"Here: {counted(len(table), 'star')} with two visits or more, {found:,} of "
        f"them variable ({percent(found, len(table))}).",
    )


def _spread(stars: pl.DataFrame) -> np.ndarray:
    """Numbers of visits, set apart by up to 6% so that points do not hide each other."""
    turn = np.arange(len(stars)) * 0.618_033_988_75 % 1 - 0.5
    return stars["n_visits"].to_numpy() * np.exp(0.12 * turn)


def p_values(inputs: ReportInputs) -> Figure | Missing:
    """Histogram of the p values, with the level of the constant stars."""
    name, title = "p-values", "Are the errors right? p values of all stars"
    values = finite(judged_stars(inputs)["p_value"])
    if values.size < 10:
        return Missing(
            name, title, f"Only {counted(values.size, 'star')} could be judged."
        )
    bins = 20
    heights, edges = np.histogram(np.clip(values, 0, 1), np.linspace(0, 1, bins + 1))
    # The level of what is uniform: the upper half, where few variable stars are.
    level = heights[bins // 2 :].mean()
    share = min(1.0, level * bins / values.size)
    return Figure(
        name=name,
        title=title,
        panels=(
            Panel(
                Axis("p value of constancy", low=0, high=1),
                Axis("stars"),
                (
                    Steps(edges, heights.astype(float), "ink"),
                    Line(
                        np.array([0.0, 1.0]),
                        np.full(2, level),
                        "green",
                        "level of the upper half",
                        dash="dash",
                    ),
                ),
            ),
        ),
        shows="The chance that a constant star has visits that differ as much as this "
        "star's, for every star.",
        good="Level but for a pile at the left: constant stars are as likely anywhere. A "
        "rise to the right says that errors are too large, one to the left that they are "
        "too small.",
        here=f"Here: the level of the upper half, over the whole range, is "
        f"{percent(share, 1)} of {values.size:,} stars; "
        f"{percent(int((values < 0.01).sum()), values.size)} are below 0.01.",
    )


def amplitude_period(inputs: ReportInputs) -> Figure | Missing:
    """Amplitude against period of the candidates."""
    name, title = "amplitudes", "Amplitudes and periods"
    table = _with_amplitudes(inputs)
    if not len(table):
        return Missing(
            name, title, "No star that varies has a period and an amplitude."
        )
    marks: list[Mark] = []
    for kind, color in KINDS.items():
        of_kind = table.filter(pl.col("class") == kind)
        for is_sure in (True, False):
            part = of_kind.filter(pl.col("sure") == is_sure)
            if len(part):
                named = is_sure or not of_kind["sure"].any()
                marks.append(
                    Points(
                        part["x"].to_numpy(),
                        part["y"].to_numpy(),
                        color,
                        kind if named else "",
                        hover=_said(part),
                        symbol="circle" if is_sure else "open",
                        size=7,
                    )
                )
    sure_ones = int(table["sure"].sum())
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    return Figure(
        name=name,
        title=title,
        panels=(
            Panel(
                Axis("period (d)", log=True, low=x.min() / 1.3, high=x.max() * 1.3),
                Axis(
                    "amplitude (km/s)", log=True, low=y.min() / 1.3, high=y.max() * 1.3
                ),
                tuple(marks),
            ),
        ),
        wide=True,
        shows="Semi-amplitude against period of each star that varies: of its orbit where "
        "there is one, else of the highest peak of its periodogram. Open symbols: the "
        f"peak has a false-alarm probability above {_SURE} and the orbit has several "
        "modes, so that the period may be another.",
        good="Filled symbols. An amplitude falls with period as its cube root for the same "
        "masses; what is far above hides a massive companion.",
        here=f"Here: {counted(len(table), 'star')}, {sure_ones} of them with a sure "
        f"period; amplitudes from {significant(y.min(), 2)} to "
        f"{significant(y.max(), 2)} km/s.",
    )


def _with_amplitudes(inputs: ReportInputs) -> pl.DataFrame:
    """Candidates with a period ``x`` (d), its amplitude ``y`` (km/s) and if it is ``sure``.

    Of the orbit where there is one, else of the highest peak.
    """
    table = candidates(inputs)
    has_orbit = positive("orbit_period") & positive("k")
    table = table.with_columns(
        pl.when(has_orbit).then("orbit_period").otherwise("period").alias("x"),
        pl.when(has_orbit).then("k").otherwise("peak_k").alias("y"),
        (has_orbit & (pl.col("n_modes") == 1)).fill_null(value=False).alias("one_mode"),
    )
    sure = (pl.col("period_fap") < _SURE).fill_null(value=False) | pl.col("one_mode")
    return table.filter(positive("x"), positive("y")).with_columns(sure.alias("sure"))


def _said(stars: pl.DataFrame) -> list[str]:
    return [
        f"{star}, {counted(visits or 0, 'visit')}"
        for star, visits in stars.select("star_id", "n_visits").iter_rows()
    ]
