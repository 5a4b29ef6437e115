"""Tables of LAMOST's velocities, of both resolutions.

Data models: the medium-resolution general and stellar catalogs (DR6 to DR10: lmjm,
band, rv_b0 ... rv_lasp1, coadd) and the low-resolution stellar catalogs (rv, rv_err).
"""

__all__ = ["lamost_lrs", "lamost_mrs"]

import numpy as np
import polars as pl

from steadystar.data.status import Status
from steadystar.survey.columns import (
    at_barycenter,
    numbers,
    renamed,
    text,
    with_flag,
    without_sentinels,
)
from steadystar.survey.lamost_header import exposure_start, night_of
from steadystar.survey.observatory import SITES

_EXPTIME = 1200.0
"""Seconds. LAMOST's catalogs do not say it; nearly all exposures of the medium-
resolution survey are of 20 minutes (Zong et al. 2020, section 2)."""


def lamost_mrs(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """One row an arm, of a table with rv_b0 (blue) and rv_r0 (red) side by side.

    0 marks LAMOST's raw velocities, 1 those it corrected; the raw ones are taken. Where
    ``band`` says that a row is of one arm only, it gives one row. Coadds, made of the
    light of the exposures beside them, keep their rows and stay out of solutions.
    """
    frame = frame.with_row_index("_row")
    arms = []
    for letter, arm in (("b", "blue"), ("r", "red")):
        velocity, error = f"rv_{letter}0", f"rv_{letter}0_err"
        if velocity not in frame.columns:
            continue
        if error not in frame.columns:
            notes.append(
                f"Column {velocity} has no errors beside it ({error}): the {arm} arm "
                "was left out."
            )
            continue
        part = frame.with_columns(
            arm=pl.lit(arm), rv_raw=pl.col(velocity), rv_raw_err=pl.col(error)
        )
        if "band" in frame.columns:
            band = pl.col("band").cast(pl.String).str.strip_chars().str.to_lowercase()
            other = "r" if letter == "b" else "b"
            part = part.filter(band.ne_missing(other))
        arms.append(part)
    if not arms:
        return frame.drop("_row")
    frame = pl.concat(arms).sort("_row", maintain_order=True).drop("_row")
    frame = _named(frame)
    frame = frame.with_columns(telescope=pl.lit("lamost"), survey=pl.lit("lamost-mrs"))
    coadd = numbers(frame, "coadd") == 1
    if coadd.any():
        notes.append(
            f"{int(coadd.sum())} of {len(frame)} velocities are of coadded spectra "
            "(coadd = 1), made of the exposures beside them: they stay out."
        )
        frame = with_flag(frame, coadd, Status.COADD)
    if {"lmjm", "spid", "fiberid"} <= set(frame.columns):
        visit = pl.format(
            "lamost-{}-sp{}-{}-{}" + ("{}" if coadd.any() else ""),
            "lmjm",
            pl.col("spid").cast(pl.String).str.zfill(2),
            pl.col("fiberid").cast(pl.String).str.zfill(3),
            "arm",
            *([pl.Series(np.where(coadd, "-coadd", ""))] if coadd.any() else []),
        )
        frame = frame.with_columns(visit_id=visit, exposure_id=text(frame, "lmjm"))
    return _times(frame)


def lamost_lrs(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Names of the low-resolution stellar catalogs; a spectrum is a plate's sum.

    There is no time of the exposure, only the night: ``exposure_id`` is the plate on
    its night.
    """
    frame = renamed(frame, "rv_raw=rv, rv_raw_err=rv_err, snr=snrg").drop(
        "rv", "rv_err"
    )
    frame = _named(frame)
    visit = pl.format(
        "lamost-{}-{}-sp{}-{}",
        "lmjd",
        "planid",
        pl.col("spid").cast(pl.String).str.zfill(2),
        pl.col("fiberid").cast(pl.String).str.zfill(3),
    )
    plate = text(frame, "planid") + "-" + text(frame, "lmjd")
    return frame.with_columns(
        visit_id=visit,
        exposure_id=plate,
        arm=pl.lit("all"),
        telescope=pl.lit("lamost"),
        survey=pl.lit("lamost-lrs"),
    )


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    star = "gp_id" if "gp_id" in frame.columns else "uid"
    frame = renamed(
        frame,
        f"star_id={star}, field=planid, night=lmjd, spectrograph=spid, fiber=fiberid",
    )
    return without_sentinels(frame)


def _times(frame: pl.DataFrame) -> pl.DataFrame:
    if "lmjm" not in frame.columns:
        return frame
    minutes = np.nan_to_num(numbers(frame, "lmjm"))
    # LAMOST's clock counts from 1858: 2100 is at minute 127 million.
    known = (minutes > 0) & (minutes < 2e8)
    minutes = np.where(known, minutes, 0).astype(np.int64)
    distinct, which = np.unique(minutes, return_inverse=True)
    start = np.array([exposure_start(int(minute)) for minute in distinct])[which]
    middle = np.where(known, start + _EXPTIME / 2 / 86_400, np.nan)
    frame = at_barycenter(frame, middle, SITES["lamost"])
    if "night" not in frame.columns:
        nights = [night_of(int(m)) if m > 0 else None for m in minutes]
        frame = frame.with_columns(pl.Series("night", nights, dtype=pl.Int64))
    return frame
