"""How the surveys call what we call ``star_id``, ``rv_raw`` and so on.

Sources: the data models of APOGEE DR17 (allVisit), SDSS-V (Astra's mwmAllVisit), DESI's
stellar catalog (rvpix) and LAMOST DR9 (medium-resolution general catalog).
"""

__all__ = ["SURVEYS", "CatalogError", "Survey", "parse_columns"]

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np
import polars as pl

from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.data.tables import TableError, read_table
from steadystar.survey.lamost_header import exposure_start, night_of
from steadystar.survey.observatory import SITES, Site, barycentric

_JD0 = 2_400_000.5

_APOGEE_FAILED = (1 << 18) | (1 << 19) | (1 << 22)
"""Bits of STARFLAG: BAD_RV_COMBINATION, RV_REJECT, RV_FAIL."""

_LAMOST_EXPTIME = 1200.0
"""Seconds. LAMOST's catalogs do not say it; nearly all exposures of the medium-
resolution survey are of 20 minutes (Zong et al. 2020, section 2)."""


class CatalogError(ValueError):
    """A table of velocities that lacks what is needed; the message says what."""


@dataclass(frozen=True)
class Survey:
    """How to recognize the table of a survey, and how to make it ours.

    ``signature``: columns of which each must be there (one of several where they are in
    a tuple). ``convert`` adds our columns. ``extensions``: of a FITS file, tables whose
    rows are the same as the first one's and whose columns belong to it.
    """

    name: str
    description: str
    signature: tuple[str | tuple[str, ...], ...]
    convert: Callable[[pl.DataFrame], pl.DataFrame]
    extensions: tuple[str, ...] = ()

    def recognizes(self, frame: pl.DataFrame) -> bool:
        """Whether a table has the columns of this survey."""
        return all(
            any(
                name in frame.columns
                for name in ((one,) if isinstance(one, str) else one)
            )
            for one in self.signature
        )

    def join_extensions(
        self, path: str | PathLike[str], frame: pl.DataFrame
    ) -> pl.DataFrame:
        """Put the columns of the other extensions beside those of the first."""
        for extension in self.extensions:
            try:
                other = read_table(path, extension)
            except TableError:
                continue
            if len(other) == len(frame):
                new = [name for name in other.columns if name not in frame.columns]
                frame = frame.with_columns(other[name] for name in new)
        return frame


def _own(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def _apogee(frame: pl.DataFrame) -> pl.DataFrame:
    """Names of allVisit. VHELIO is barycentric, whatever it is called."""
    frame = _renamed(
        frame,
        "star_id=APOGEE_ID, visit_id=VISIT_ID, telescope=TELESCOPE, field=PLATE, "
        "night=MJD, snr=SNR, ra=RA, dec=DEC, rv_obs=VREL, rv_raw=VHELIO, "
        "rv_raw_err=VRELERR, bary_corr=BC",
    )
    if "FIBERID" in frame.columns:
        # Saydjari et al. 2025: fibers counted from the other end, 300 more at LCO.
        south = _text(frame, "TELESCOPE").str.starts_with("lco").fill_null(value=False)
        fiber = 301 - frame["FIBERID"].cast(pl.Int64) + 300 * south.cast(pl.Int64)
        frame = frame.with_columns(fiber=fiber)
    if {"PLATE", "MJD"} <= set(frame.columns):
        plate, night = _text(frame, "PLATE"), _text(frame, "MJD")
        frame = frame.with_columns(exposure_id=plate + "-" + night)
    frame = _exact_sum(_with_bjd(frame, "JD"))
    return _with_failed(frame, "STARFLAG", _APOGEE_FAILED)


def _sdss_v(frame: pl.DataFrame) -> pl.DataFrame:
    frame = _renamed(
        frame,
        "star_id=sdss_id, visit_id=spectrum_pk, night=mjd, field=plate, rv_obs=v_rel, "
        "rv_raw=v_rad, rv_raw_err=e_v_rel, bary_corr=bc",
    )
    frame = _without_sentinels(frame)
    if "field" in frame.columns and "mjd" in frame.columns:
        exposure = _text(frame, "field") + "-" + _text(frame, "mjd")
        frame = frame.with_columns(exposure_id=exposure)
    frame = _exact_sum(_with_bjd(frame, "jd"))
    return _with_failed(frame, "spectrum_flags", _APOGEE_FAILED)


def _desi(frame: pl.DataFrame) -> pl.DataFrame:
    frame = _renamed(
        frame,
        "star_id=TARGETID, exposure_id=EXPID, fiber=FIBER, rv_raw=VRAD, "
        "rv_raw_err=VRAD_ERR, night=NIGHT, ra=TARGET_RA, dec=TARGET_DEC, "
        "field=TILEID, spectrograph=PETAL_LOC",
    )
    if {"TARGETID", "EXPID"} <= set(frame.columns):
        visit = _text(frame, "EXPID") + "-" + _text(frame, "TARGETID")
        frame = frame.with_columns(visit_id="desi-" + visit)
    frame = frame.with_columns(telescope=pl.lit("mayall"))
    return _with_failed(frame, "RVS_WARN", -1)


def _lamost(frame: pl.DataFrame) -> pl.DataFrame:
    """One row an arm, of a table with rv_b0 (blue) and rv_r0 (red) side by side.

    0 marks LAMOST's raw velocities, 1 those it corrected; the raw ones are taken. Where
    ``band`` says that a row is of one arm only, it gives one row.
    """
    frame = frame.with_row_index("_row")
    arms = []
    for letter, arm in (("b", "blue"), ("r", "red")):
        velocity, error = f"rv_{letter}0", f"rv_{letter}0_err"
        if velocity not in frame.columns or error not in frame.columns:
            continue
        part = frame.with_columns(
            arm=pl.lit(arm), rv_raw=pl.col(velocity), rv_raw_err=pl.col(error)
        )
        if "band" in frame.columns:
            band = pl.col("band").cast(pl.String).str.strip_chars().str.to_lowercase()
            other = "r" if letter == "b" else "b"
            part = part.filter(band.ne_missing(other))
        arms.append(part)
    frame = pl.concat(arms).sort("_row", maintain_order=True).drop("_row")
    frame = _renamed(
        frame,
        "star_id=gp_id, field=planid, night=lmjd, spectrograph=spid, fiber=fiberid",
    )
    frame = _without_sentinels(frame)
    frame = frame.with_columns(telescope=pl.lit("lamost"), survey=pl.lit("lamost-mrs"))
    if {"lmjm", "spid", "fiberid"} <= set(frame.columns):
        visit = pl.format(
            "lamost-{}-sp{}-{}-{}",
            "lmjm",
            pl.col("spid").cast(pl.String).str.zfill(2),
            pl.col("fiberid").cast(pl.String).str.zfill(3),
            "arm",
        )
        frame = frame.with_columns(visit_id=visit, exposure_id=_text(frame, "lmjm"))
    return _lamost_times(frame)


def _lamost_times(frame: pl.DataFrame) -> pl.DataFrame:
    if "lmjm" not in frame.columns:
        return frame
    minutes = frame["lmjm"].cast(pl.Float64, strict=False).fill_null(0).to_numpy()
    known = minutes > 0
    start = np.array([exposure_start(int(minute)) for minute in minutes])
    middle = np.where(known, start + _LAMOST_EXPTIME / 2 / 86_400, np.nan)
    frame = _at_barycenter(frame, middle, SITES["lamost"])
    if "night" not in frame.columns:
        nights = [night_of(int(m)) if m > 0 else None for m in minutes]
        frame = frame.with_columns(pl.Series("night", nights, dtype=pl.Int64))
    return frame


def parse_columns(text: str) -> dict[str, str]:
    """Read ``"star_id=ID,rv=V"`` as a mapping of our names to a table's.

    Raises:
        CatalogError: a part has no ``=``, or a side of it is empty.
    """
    mapping = {}
    for part in text.split(","):
        ours, _, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and theirs):
            raise CatalogError(
                f"{part.strip()!r} names no column: write OURS=THEIRS, separated by "
                "commas, such as star_id=ID,rv=V,rv_err=E_V."
            )
        mapping[ours] = theirs
    return mapping


def _renamed(frame: pl.DataFrame, names: str) -> pl.DataFrame:
    """Add our columns with the values of theirs, where those are there."""
    present = {o: t for o, t in parse_columns(names).items() if t in frame.columns}
    return frame.with_columns(pl.col(t).alias(ours) for ours, t in present.items())


def _without_sentinels(frame: pl.DataFrame) -> pl.DataFrame:
    """Make identifiers of -9999 and the like missing: they are not one star."""
    if "star_id" not in frame.columns or not frame["star_id"].dtype.is_integer():
        return frame
    return frame.with_columns(
        star_id=pl.when(pl.col("star_id") > 0).then(pl.col("star_id"))
    )


def _exact_sum(frame: pl.DataFrame) -> pl.DataFrame:
    """Join velocity and barycentric correction exactly, where they were just added.

    The sum and ``c[(1 + v/c)(1 + b/c) - 1]`` differ by 7 m/s at 100 and 20 km/s. Where
    they differ by less than the rounding of published velocities, either is right.
    """
    if not {"rv_obs", "rv_raw", "bary_corr"} <= set(frame.columns):
        return frame
    observed, total, correction = (
        pl.col(name).cast(pl.Float64) for name in ("rv_obs", "rv_raw", "bary_corr")
    )
    added = (observed + correction - total).abs() < 2e-3
    exact = observed + correction + observed * correction / C_KMS
    return frame.with_columns(rv_raw=pl.when(added).then(exact).otherwise(total))


def _text(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None] * len(frame), dtype=pl.String)
    return frame[name].cast(pl.String).str.strip_chars()


def _with_bjd(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add BJD_TDB from the Julian dates (UTC) at the middle of the exposures."""
    if column not in frame.columns:
        return frame
    jd = frame[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return _at_barycenter(frame, np.where(jd > 2.4e6, jd - _JD0, np.nan), None)


def _at_barycenter(
    frame: pl.DataFrame, middle: np.ndarray, site: Site | None
) -> pl.DataFrame:
    """Add ``bjd`` and, if the site is known and there is none yet, ``bary_corr``."""
    if not {"ra", "dec"} <= set(frame.columns):
        return frame
    ra, dec = (
        frame[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        for name in ("ra", "dec")
    )
    believable = (np.abs(dec) <= 90) & (ra >= 0) & (ra <= 360)
    bjd, correction = barycentric(np.where(believable, middle, np.nan), ra, dec, site)
    frame = frame.with_columns(pl.Series("bjd", bjd))
    if site is not None and "bary_corr" not in frame.columns:
        frame = frame.with_columns(pl.Series("bary_corr", correction))
    return frame


def _with_failed(frame: pl.DataFrame, column: str, bits: int) -> pl.DataFrame:
    """Flag the rows in whose ``column`` one of ``bits`` is set."""
    if column not in frame.columns or not frame[column].dtype.is_integer():
        return frame
    flags = frame[column].fill_null(0).cast(pl.Int64).to_numpy()
    status = np.where(flags & bits, int(Status.SURVEY_FLAG), 0)
    if "status" in frame.columns:
        frame = frame.rename({"status": "status_original"})
    return frame.with_columns(pl.Series("status", status, dtype=pl.Int64))


SURVEYS: dict[str, Survey] = {
    survey.name: survey
    for survey in (
        Survey("steadystar", "our own tables", ("star_id", ("rv", "rv_raw")), _own),
        Survey(
            "apogee", "APOGEE allVisit", ("APOGEE_ID", "VHELIO", "VRELERR"), _apogee
        ),
        Survey(
            "sdss-v", "SDSS-V mwmAllVisit", ("sdss_id", "v_rad", "e_v_rel"), _sdss_v
        ),
        Survey(
            "lamost",
            "LAMOST medium-resolution catalogs",
            (("obsid", "lmjm"), ("rv_b0", "rv_r0")),
            _lamost,
        ),
        Survey(
            "desi",
            "DESI stellar velocities",
            ("TARGETID", "VRAD", "VRAD_ERR"),
            _desi,
            ("FIBERMAP", "EXP_FIBERMAP"),
        ),
    )
}
"""Surveys whose tables are known, by name; the order in which they are asked."""
