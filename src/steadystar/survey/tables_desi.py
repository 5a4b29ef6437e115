"""Tables of DESI's stellar velocities (rvspecfit: rvpix_exp, rvtab_spectra).

Data model: desi-mws-dr1-datamodel, whose RVTAB has VRAD and VRAD_ERR (km/s, at the
barycenter), TARGETID, EXPID and RVS_WARN, and whose FIBERMAP, row by row the same
spectra, has PETAL_LOC, NIGHT, MJD and EXPTIME.
"""

__all__ = ["desi"]

import numpy as np
import polars as pl

from steadystar.data.status import Status
from steadystar.survey.columns import (
    at_barycenter,
    flags,
    numbers,
    renamed,
    text,
    with_flag,
)

_FIBERS = 500
"""Fibers of a petal, and so of a spectrograph: FIBER counts from 0 to 4999."""


def desi(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Names of RVTAB and FIBERMAP; any warning of rvspecfit takes a velocity away."""
    frame = renamed(
        frame,
        "star_id=TARGETID, exposure_id=EXPID, fiber=FIBER, rv_raw=VRAD, "
        "rv_raw_err=VRAD_ERR, night=NIGHT, ra=TARGET_RA, dec=TARGET_DEC, "
        "field=TILEID, spectrograph=PETAL_LOC, exptime=EXPTIME, snr=SN_R",
    )
    if "spectrograph" not in frame.columns and "FIBER" in frame.columns:
        petal = frame["FIBER"].cast(pl.Int64, strict=False) // _FIBERS
        frame = frame.with_columns(spectrograph=petal)
    if {"TARGETID", "EXPID"} <= set(frame.columns):
        visit = text(frame, "EXPID") + "-" + text(frame, "TARGETID")
        frame = frame.with_columns(visit_id="desi-" + visit)
    elif "EXPID" not in frame.columns:
        notes.append(
            "The table has no EXPID: its rows are sums of several exposures (rvpix), "
            "whose zero points cannot be taken apart. Give the table of single "
            "exposures (rvpix_exp)."
        )
    if "MJD" in frame.columns:
        # MJD is when the shutter opened.
        half = np.nan_to_num(numbers(frame, "EXPTIME")) / 2 / 86_400
        frame = at_barycenter(frame, numbers(frame, "MJD") + half, None)
    frame = frame.with_columns(telescope=pl.lit("mayall"))
    failed = flags(frame, "RVS_WARN", -1)
    if "SUCCESS" in frame.columns and frame["SUCCESS"].dtype == pl.Boolean:
        failed |= ~frame["SUCCESS"].fill_null(value=False).to_numpy()
    return with_flag(frame, failed, Status.SURVEY_FLAG)
