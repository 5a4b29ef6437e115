"""Stars with several spectra, and the one with the most of them.

The counterpart of what Xiang et al. (2021, section 8, figures 13 and 14) say of LB-1.
"""

__all__ = ["object_figure", "object_listing", "repeat_pulls"]

import numpy as np
import polars as pl
from scipy.stats import chi2 as chi2_law

from steadystar.publish.hot_inputs import HotFacts, values
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    counted,
    probability,
    robust_width,
    significant,
)
from steadystar.publish.plot import (  # fmt: skip
    Axis,
    Band,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Steps,
)

_PULLS = np.linspace(-5, 5, 41)
_MOST = 60


def _measured(facts: HotFacts) -> pl.DataFrame:
    """Spectra with a star, a magnitude and the part of its error that is noise."""
    error = pl.col("m_ks_meas_err")
    return facts.spectra.filter(
        pl.col("star_id").is_not_null(),
        pl.col("m_ks").is_finite(),
        error.is_finite() & (error > 0),
    )


def repeat_pulls(facts: HotFacts) -> Figure | Missing:
    """Differences among the spectra of one star, in units of their errors."""
    title = "Spectra of the same star"
    rows = _measured(facts)
    weight = pl.col("m_ks_meas_err") ** -2
    rows = rows.with_columns(
        n=pl.len().over("star_id"),
        mean=((pl.col("m_ks") * weight).sum() / weight.sum()).over("star_id"),
        total=weight.sum().over("star_id"),
    ).filter(pl.col("n") > 1)
    if len(rows) < 10:
        reason = "Fewer than ten spectra are of stars that have others."
        return Missing("hot-repeats", title, reason)
    off = values(rows, "m_ks") - values(rows, "mean")
    error = np.sqrt(values(rows, "m_ks_meas_err") ** 2 - 1 / values(rows, "total"))
    pull = off / np.maximum(error, 1e-9)
    counts, _ = np.histogram(np.clip(pull, -5, 5), _PULLS)
    x = np.linspace(-5, 5, 201)
    bell = len(pull) * 0.25 * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    marks = (
        Steps(_PULLS, counts.astype(float), "blue", "spectra"),
        Line(x, bell, "ink", "Gaussian", dash="dash"),
    )
    return Figure(
        "hot-repeats",
        title,
        (Panel(Axis("(M_Ks - mean of the star) / error"), Axis("spectra"), marks),),
        shows="M_Ks of each spectrum less the weighted mean of its star's, in units of "
        "the error that comes from the spectrum's noise (m_ks_meas_err).",
        good="A Gaussian of width 1: that error is right. Wider, if spectra differ by "
        "more than noise: by flux calibration, or since the star changes.",
        here=f"Here: {counted(len(pull), 'spectrum', 'spectra')} of "
        f"{counted(rows['star_id'].n_unique(), 'star')}; width "
        f"{significant(robust_width(pull), 3)} (quartiles).",
    )


def _object(facts: HotFacts) -> pl.DataFrame | None:
    """The spectra of the star that has the most, by S/N; None if no star has two."""
    rows = facts.spectra.filter(pl.col("star_id").is_not_null())
    if not len(rows):
        return None
    first = (
        rows.group_by("star_id")
        .agg(pl.len(), known=pl.col("m_ks").is_finite().sum())
        .sort(["known", "len", "star_id"], descending=[True, True, False])
        .row(0, named=True)
    )
    if first["len"] < 2:
        return None
    own = rows.filter(pl.col("star_id") == first["star_id"])
    return own.sort("snr_g", descending=True, nulls_last=True)


def object_figure(facts: HotFacts) -> Figure | Missing:
    """M_Ks of each spectrum of one star, their mean, and what the parallax says."""
    title = "The star with the most spectra"
    own = _object(facts)
    if own is None:
        return Missing("hot-object", title, "No star has more than one spectrum.")
    rows, best = own.head(_MOST), own.row(0, named=True)
    band, geometric = _geometric(best, len(rows))
    points, said = _spectra(rows)
    marks = [*band, *points]
    if not marks:
        return Missing("hot-object", title, "None of its spectra has a magnitude.")
    name = str(best["star_id"])
    step = 1 if len(rows) <= 20 else 5
    ticks = tuple((n, str(n)) for n in range(step, len(rows) + 1, step))
    return Figure(
        "hot-object",
        f"{title}: {name}",
        (
            Panel(
                Axis(
                    "spectrum, by falling S/N",
                    low=0.3,
                    high=len(rows) + 0.7,
                    ticks=ticks,
                ),
                Axis("M_Ks (mag)", reverse=True),
                tuple(marks),
            ),
        ),
        shows="M_Ks from each spectrum with the error of its noise, their weighted mean, "
        "and the magnitude from the parallax (band: its error). Xiang et al. 2021, "
        "figures 13 and 14, show LB-1 so.",
        good="Points that agree within their errors. Where the geometric magnitude is "
        "brighter by up to 0.75 mag, two stars may shine; where it is much fainter, the "
        "star is no ordinary one, or its parallax is wrong.",
        here=f"Here: {counted(len(own), 'spectrum', 'spectra')}; {said}{geometric}.",
        wide=True,
    )


def _geometric(best: dict, size: int) -> tuple[list[Mark], str]:
    """The magnitude from the parallax, drawn and in words; nothing if it is unknown."""
    geo, error = best["m_ks_geo"], best["m_ks_geo_err"]
    if not (_known(geo) and _known(error)):
        return [], ""
    marks: list[Mark] = [
        Band(geo - error, geo + error, along="y", color="orange"),
        _across(size, geo, "orange", "geometric", "dash"),
    ]
    return marks, f"; geometric magnitude {_mag(geo)} ± {error:.2f} mag"


def _spectra(rows: pl.DataFrame) -> tuple[list[Mark], str]:
    """The magnitudes from spectra and their mean, drawn and in words."""
    m_ks, error = values(rows, "m_ks"), values(rows, "m_ks_meas_err")
    good = np.isfinite(m_ks) & (error > 0)
    if not good.any():
        return [], "no spectrum has a magnitude with an error"
    mean, its, chi2, chance = _combined(m_ks[good], error[good])
    at = np.arange(1, len(rows) + 1, dtype=float)[good]
    hover = [str(name) for name in rows["specid"].fill_null(DASH).filter(good)]
    marks: list[Mark] = [
        _across(len(rows), mean, "blue", "mean", "solid"),
        Points(
            *(at, m_ks[good], "blue", "spectra"),
            error=error[good],
            hover=hover,
            size=7,
        ),
    ]
    said = f"weighted mean {_mag(mean)} ± {its:.3f} mag (noise alone)"
    if good.sum() > 1:
        said += (
            f", chi2 {chi2:.1f} for {int(good.sum()) - 1} degrees of freedom "
            f"(probability {probability(chance)})"
        )
    return marks, said


def _across(size: int, level: float, color: str, label: str, dash) -> Line:
    return Line(np.array([0.3, size + 0.7]), np.full(2, level), color, label, dash=dash)


def _combined(m_ks, error) -> tuple[float, float, float, float]:
    """Weighted mean, its error, chi2 about it, and the chance of a larger chi2."""
    weight = error**-2
    mean = float((m_ks * weight).sum() / weight.sum())
    chi2 = float((((m_ks - mean) / error) ** 2).sum())
    chance = float(chi2_law.sf(chi2, len(m_ks) - 1)) if len(m_ks) > 1 else float("nan")
    return mean, float(weight.sum() ** -0.5), chi2, chance


def _known(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _mag(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS)


def object_listing(facts: HotFacts) -> Listing | None:
    """The spectra of that star, a row each, and what else is known of it."""
    own = _object(facts)
    if own is None:
        return None
    rows = []
    for row in own.head(_MOST).iter_rows(named=True):
        error = row["m_ks_meas_err"]
        m_ks = _mag(row["m_ks"]) if _known(row["m_ks"]) else DASH
        rows.append(
            (
                str(row["specid"] or DASH),
                significant(row["snr_g"], 3),
                f"{m_ks}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{error:.2f}"
                if _known(error)
                else m_ks,
                significant(row["em_snr"], 3),
                {1: "yes", 0: "no"}.get(row["em_flag"], "unknown"),
                significant(row["teff"], 3),
                significant(row["logg"], 3),
                row["problems"] or DASH,
            )
        )
    return Listing(
        "hot-object-spectra",
        "Its spectra",
        (
            *("spectrum", "S/N", "M_Ks (mag)", "excess at H alpha (sigma)"),
            *("emission", "Teff (K)", "log g", "remarks"),
        ),
        tuple(rows),
        note=_facts(own.row(0, named=True)),
        numeric=frozenset({1, 2, 3, 5, 6}),
        wordy=frozenset({7}),
    )


def _facts(row: dict) -> str:
    parts = []
    if _known(row["ra"]) and _known(row["dec"]):
        place = f"{row['ra']:.5f}, {row['dec']:+.5f}".replace("-", MINUS)
        parts.append(f"right ascension and declination {place}")
    for name, text, unit in (
        ("parallax", "parallax", " mas"),
        ("ruwe", "RUWE", ""),
        ("ks", "Ks", " mag"),
        ("ebv", "E(B-V)", " mag"),
        ("dis", "distance", " pc"),
        ("snr_dparallax", "snr_dparallax", ""),
        ("p_binary", "probability of a pair", ""),
    ):
        if _known(row[name]):
            error = row.get(f"{name}_error") or row.get(f"{name}_err")
            about = f" ± {significant(error, 2)}" if _known(error) else ""
            number = (
                probability(row[name])
                if name == "p_binary"
                else significant(row[name], 4)
            )
            parts.append(f"{text} {number}{about}{unit}")
    return ("Of the star: " + "; ".join(parts) + ".") if parts else ""
