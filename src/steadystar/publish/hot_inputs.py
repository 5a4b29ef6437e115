"""What the report of hot stars is made from, and the tables as its figures use them."""

__all__ = ["HotFacts", "HotReportInputs", "gather_hot", "values"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from steadystar.data.hot_columns import HOT
from steadystar.infer.distance import Distances
from steadystar.publish.numbers import Array

GOOD_PARALLAX = 10.0
"""Parallax over its error from which a geometric magnitude judges a spectroscopic one:
0.22 mag."""
GOOD_SNR = 50.0
"""S/N per pixel of a decent spectrum."""


@dataclass(frozen=True)
class HotReportInputs:
    """The tables and numbers of one run of ``steadystar hot``; only ``hot`` must be there.

    ``hot``: one row a spectrum (schema "hot"), with ``held_out`` where the network's
    training is known. ``summary``: counts, ``notes``, and what the models say of
    themselves (``luminosity``, ``emission``, ``budget``). ``budget``: samples of the error
    budget, a column a parameter. ``examples``: spectra for the galleries (``specid, kind,
    reason, wave, flux, model, clean``). ``composites``: pairs summed from single spectra.
    ``truth``: of a simulation, with ``specid`` or ``star_id``. ``distances``: what
    `infer_distances` found; made from ``hot`` if None.
    """

    hot: pl.DataFrame
    summary: Mapping[str, Any] = field(default_factory=dict)
    budget: pl.DataFrame | None = None
    examples: pl.DataFrame | None = None
    composites: pl.DataFrame | None = None
    truth: pl.DataFrame | None = None
    distances: Distances | None = None
    title: str = "Hot stars"
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class HotFacts:
    """Tables with all columns of schema "hot", numbers as float64 with NaN for none.

    ``spectra``: a row a spectrum; ``stars``: the best spectrum of each star, with
    ``parallax_true_zero`` (zero point subtracted) and ``m_bol``. ``judge``: which stars
    may judge the network, ``(star,)``: those that did not teach it, where that is known
    (``held_out``).
    """

    inputs: HotReportInputs
    spectra: pl.DataFrame
    stars: pl.DataFrame
    judge: np.ndarray
    held_out: bool

    def __getitem__(self, name: str) -> Array:
        """A column of the stars."""
        return values(self.stars, name)

    @property
    def ids(self) -> np.ndarray:
        """Names of the stars, for hover texts."""
        return names_of(self.stars)

    @property
    def emission(self) -> np.ndarray:
        """Which stars have emission lines."""
        return self["em_flag"] == 1

    @property
    def parallax(self) -> Array:
        """Parallaxes, zero point subtracted where one is known, mas."""
        return self["parallax"] - np.nan_to_num(self["parallax_offset"])

    @property
    def parallax_snr(self) -> Array:
        """Parallax over its error; NaN without a usable error."""
        error = self["parallax_error"]
        return self.parallax / np.where(error > 0, error, np.nan)

    @property
    def geometric(self) -> np.ndarray:
        """Stars whose spectroscopic and geometric magnitude can be compared."""
        known = np.isfinite(self["m_ks"]) & np.isfinite(self["m_ks_geo"])
        return known & (self.parallax_snr > GOOD_PARALLAX)

    def part(self, name: str) -> Mapping[str, Any]:
        """A part of the summary, empty if it is missing or no mapping."""
        found = self.inputs.summary.get(name)
        return found if isinstance(found, Mapping) else {}


def gather_hot(inputs: HotReportInputs) -> HotFacts:
    """Bring the tables into the form that figures use; see `HotFacts`."""
    spectra = _complete(inputs.hot)
    best = values(spectra, "uniqflag")
    # A table without uniqflag has one spectrum a star.
    stars = spectra.filter(
        pl.Series((best == 1) | ~np.isfinite(best), dtype=pl.Boolean)
    )
    known = "held_out" in stars.columns and bool((stars["held_out"] == 1).any())
    judge = values(stars, "held_out") == 1 if known else np.ones(len(stars), bool)
    return HotFacts(inputs, spectra, stars, judge, known)


def _complete(hot: pl.DataFrame) -> pl.DataFrame:
    """All columns of the schema, of its kinds; what is none becomes null."""
    made = []
    for column in HOT:
        if column.name in hot.columns:
            try:
                series = hot[column.name].cast(column.dtype, strict=False)
            except pl.exceptions.PolarsError:
                series = pl.Series([None] * len(hot), dtype=column.dtype)
        else:
            series = pl.Series([None] * len(hot), dtype=column.dtype)
        made.append(series.alias(column.name))
    if "held_out" in hot.columns:
        made.append(hot["held_out"].cast(pl.Float64, strict=False).alias("held_out"))
    return pl.DataFrame(made)


def values(frame: pl.DataFrame | None, name: str) -> Array:
    """Return a column as float64 with NaN for what is no finite number."""
    if frame is None or name not in frame.columns:
        return np.full(0 if frame is None else len(frame), np.nan)
    try:
        series = frame[name].cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError:
        return np.full(len(frame), np.nan)
    found = series.fill_null(np.nan).to_numpy()
    return np.where(np.isfinite(found), found, np.nan)


def names_of(frame: pl.DataFrame) -> np.ndarray:
    """Return what people may call each row: the star's name, else its spectrum's."""
    found = frame.select(pl.coalesce("star_id", "specid", pl.lit("a star")).alias("n"))
    return np.array(found["n"].to_list(), object)
