"""Tables of APOGEE's velocities: of SDSS-IV, of SDSS-V by its two pipelines.

Data models: allVisit of DR17 (data.sdss.org/datamodel, APOGEE_ASPCAP) with its bits of
STARFLAG; mwmAllVisit, whose columns are those of ``ApogeeVisitSpectrum`` in sdss/astra;
allVisit of sdss/apogee_drp, whose columns are those of its tables visit and rv_visit.
The first two give velocities at the barycenter, whatever their names say.
"""

__all__ = ["apogee", "sdss_v", "sdss_v_drp"]

import polars as pl

from steadystar.data.schema import columns as schema_columns
from steadystar.data.status import Status
from steadystar.survey.columns import (
    exact_sum,
    flags,
    renamed,
    text,
    with_bjd,
    with_flag,
    without_sentinels,
)

_FAILED = (1 << 18) | (1 << 19) | (1 << 22)
"""Bits of STARFLAG: BAD_RV_COMBINATION, RV_REJECT, RV_FAIL."""


def apogee(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Names of allVisit. VHELIO is barycentric, whatever it is called."""
    frame = renamed(
        frame,
        "star_id=APOGEE_ID, visit_id=VISIT_ID, telescope=TELESCOPE, field=PLATE, "
        "night=MJD, snr=SNR, ra=RA, dec=DEC, rv_obs=VREL, rv_raw=VHELIO, "
        "rv_raw_err=VRELERR, bary_corr=BC",
    )
    return _common(frame, plate="PLATE", fiber="FIBERID", jd="JD", flag="STARFLAG")


def sdss_v(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Names of Astra's mwmAllVisit (its APOGEE half)."""
    frame = renamed(
        frame,
        "star_id=sdss_id, visit_id=spectrum_pk, night=mjd, field=plate, rv_obs=v_rel, "
        "rv_raw=v_rad, rv_raw_err=e_v_rel, bary_corr=bc",
    )
    frame = without_sentinels(frame)
    if "field" in frame.columns and "mjd" in frame.columns:
        exposure = text(frame, "field") + "-" + text(frame, "mjd")
        frame = frame.with_columns(exposure_id=exposure)
    frame = exact_sum(with_bjd(frame, "jd"))
    return with_flag(frame, flags(frame, "spectrum_flags", _FAILED), Status.SURVEY_FLAG)


def sdss_v_drp(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Names of the allVisit that APOGEE's pipeline writes in SDSS-V, of either case.

    Its barycentric velocity was called vheliobary, and later vrad.
    """
    lower = {name: name.casefold() for name in frame.columns}
    plain = frame.rename(lower) if len(set(lower.values())) == len(lower) else frame
    total = "vheliobary" if "vheliobary" in plain.columns else "vrad"
    plain = renamed(
        plain,
        "star_id=apogee_id, field=plate, night=mjd, rv_obs=vrel, rv_raw_err=vrelerr, "
        f"bary_corr=bc, rv_raw={total}",
    )
    plain = _common(plain, plate="plate", fiber="fiberid", jd="jd", flag="starflag")
    ours = [name for name in schema_columns("velocities") if name in plain.columns]
    return frame.drop(ours, strict=False).hstack(plain.select(ours))


def _common(
    frame: pl.DataFrame, plate: str, fiber: str, jd: str, flag: str
) -> pl.DataFrame:
    if fiber in frame.columns:
        # Saydjari et al. 2025: fibers counted from the other end, 300 more at LCO.
        south = text(frame, "telescope").str.starts_with("lco").fill_null(value=False)
        index = 301 - frame[fiber].cast(pl.Int64, strict=False)
        frame = frame.with_columns(fiber=index + 300 * south.cast(pl.Int64))
    night = "MJD" if "MJD" in frame.columns else "mjd"
    if {plate, night} <= set(frame.columns):
        exposure = text(frame, plate) + "-" + text(frame, night)
        frame = frame.with_columns(exposure_id=exposure)
    frame = exact_sum(with_bjd(frame, jd))
    return with_flag(frame, flags(frame, flag, _FAILED), Status.SURVEY_FLAG)
