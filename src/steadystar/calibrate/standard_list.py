"""Lists of standard stars, whoever made them, under our names.

A list has a velocity a star, and whatever else helps: an error, a position with proper
motion and epoch, a temperature or a color, flags. `read_standards` finds the columns by
their usual names, or as told; a table of a survey that is known goes through
`read_velocity_table`, so that any other catalog can be compared with in the same way.
Units that the file states are honored. Several rows of one star become their mean.
"""

__all__ = ["normal_name", "read_standards", "standard_list"]

import re
from collections.abc import Mapping
from os import PathLike

import numpy as np
import polars as pl
from astropy import units

from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Vector, sums
from steadystar.data.status import FATAL, Status
from steadystar.data.tables import open_table
from steadystar.survey.catalogs import read_velocity_table
from steadystar.survey.surveys import SURVEYS, parse_columns
from steadystar.survey.units import degrees_of, split_unit, velocity_factor

_NAMES: dict[str, tuple[str, ...]] = {
    "star_id": (
        *("star_id", "standard_id", "id", "name", "apogee_id", "sdss_id", "source_id"),
        *("gaia_id", "gaia_source_id", "gaiadr3", "hip", "hd", "star", "object"),
        *("target", "main_id", "targetid"),
    ),
    "ra": ("ra", "raj2000", "_raj2000", "ra_icrs", "radeg", "ra_deg", "_ra"),
    "dec": (
        "dec",
        "dej2000",
        "_dej2000",
        "decj2000",
        "de_icrs",
        "dedeg",
        "dec_deg",
        "_de",
    ),
    "rv": (
        *("rv", "rv_mean", "vrad", "v_rad", "radial_velocity", "rvel", "vhelio_avg"),
        *("vhelio", "vel", "hrv", "rv_raw", "velocity", "v"),
    ),
    "rv_err": (
        *("rv_err", "rv_mean_err", "e_rv", "rvsig", "sigmarv", "sigma_rv", "rv_sigma"),
        *("rv_error", "err_rv", "e_vrad", "vrad_err", "radial_velocity_error", "verr"),
        *("e_rvel", "vrelerr", "rv_raw_err", "e_hrv", "e_v", "err"),
    ),
    "pmra": ("pmra", "pm_ra", "pmra_cosdec"),
    "pmdec": ("pmdec", "pm_dec", "pmde"),
    "epoch": ("epoch", "ref_epoch"),
    "teff": ("teff", "rv_teff", "teff_gspphot", "temperature"),
    "color": ("color", "bp_rp", "b_v", "bv", "b-v", "bp-rp", "j_k", "g-r", "g_r"),
}
"""Our names, and what others call them in lower case, the likeliest first."""

_UNITS = {
    **dict.fromkeys(("ra", "dec"), "deg"),
    **dict.fromkeys(("rv", "rv_err"), "km/s"),
    **dict.fromkeys(("pmra", "pmdec"), "mas/yr"),
    "epoch": "yr",
    "teff": "K",
}
FLAGS = ("variable", "double_lined", "sb2", "binary", "flag", "excluded")
_MAX_RV, _MAX_ERR = 5000.0, 100.0
_LIMITS = {
    "pmra": (-2e4, 2e4),
    "pmdec": (-2e4, 2e4),
    "epoch": (1800.0, 2200.0),
    "teff": (1.0, 1e6),
    "color": (-20.0, 20.0),
}
"""Beyond are the -9999 of catalogs: the fastest star moves by 10 358 mas/yr."""

_FASTEST = 1000.0
"""km/s. No list of standards has a median speed beyond: it is in m/s then."""


def read_standards(
    path: str | PathLike[str], columns: Mapping[str, str] | str | None = None
) -> pl.DataFrame:
    """Read a list of standards, or any catalog of velocities, as `standard_list` gives it.

    Arguments:
        path: Parquet, FITS, VOTable, ECSV, CSV or text.
        columns: our name -> the table's name, as a mapping or as text (``"rv=V"``, or
            with a unit ``"rv=V[m/s]"``).

    Raises:
        CalibrationError: no velocity, or neither names nor positions; a unit that is none.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    mapping = (
        parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    )
    table = open_table(path).flat()
    foreign = [s for name, s in SURVEYS.items() if name != "steadystar"]
    if not mapping and any(s.recognizes(table.frame) for s in foreign):
        visits = read_velocity_table(path).drop("rv", "rv_err", strict=False)
        return standard_list(visits.rename({"rv_raw": "rv", "rv_raw_err": "rv_err"}))
    said: dict[str, str | None] = {}
    for ours, theirs in list(mapping.items()):
        if theirs not in table.frame.columns:
            mapping[ours], said[ours] = split_unit(theirs)
        if mapping[ours] not in table.frame.columns:
            raise CalibrationError(
                f"{path} has no column {theirs!r}, which was named as {ours}; there are: "
                f"{', '.join(table.frame.columns[:60])}."
            )
    if not len(table.frame):
        raise CalibrationError(f"{path} has columns but no rows: give a list of stars.")
    rows = table.frame
    if "reference_visit_id" in rows.columns:
        # Relative velocities have zeros of their own.
        rows = rows.filter(pl.col("reference_visit_id").is_null())
    frame = _named(rows, mapping)
    converted = []
    for ours, theirs in _found(table.frame, mapping).items():
        if ours in _UNITS and ours in frame.columns:
            unit = said.get(ours) or table.units.get(theirs) or split_unit(theirs)[1]
            converted.append(_in_our_unit(frame[ours], unit, path))
    return standard_list(frame.with_columns(converted), str(path))


def standard_list(frame: pl.DataFrame, origin: str = "The list of standards"):
    """Return one row a standard: ``star_id, ra, dec, rv, rv_err`` and what else there is.

    Arguments:
        frame: any table; columns are found by their usual names. A column called
            variable, double_lined, sb2, binary, flag or excluded that is true, or not
            zero, sets a standard aside.
        origin: what messages call it.

    ``n_rows`` counts the rows of the star, ``set_aside`` says why it is not to be used
    (null if it is); missing numbers are NaN. km/s, degrees, mas/yr, years.

    Raises:
        CalibrationError: no velocity, or neither names nor positions.
    """
    frame = _named(frame, {})
    if "rv" not in frame.columns:
        raise CalibrationError(
            f"{origin} has no column of velocities that is known by its name; it has "
            f"{', '.join(frame.columns[:60])}. Say which it is, as in rv=V."
        )
    placed = {"ra", "dec"} <= set(frame.columns)
    if "star_id" not in frame.columns and not placed:
        raise CalibrationError(
            f"{origin} has neither names nor positions of its stars; it has "
            f"{', '.join(frame.columns[:60])}. Say which they are, as in star_id=ID."
        )
    numbers = [name for name in _NAMES if name != "star_id"]
    frame = frame.with_columns(
        _number(frame[name], origin)
        if name in frame.columns
        else pl.lit(float("nan")).alias(name)
        for name in numbers
    )
    if "star_id" not in frame.columns:
        frame = frame.with_columns(star_id=pl.lit(None, pl.String))
    rv, error = frame["rv"].to_numpy(), frame["rv_err"].to_numpy()
    good = np.abs(rv) < _MAX_RV
    if good.any() and np.median(np.abs(rv[good])) > _FASTEST:
        raise CalibrationError(
            f"Half of the velocities of {origin} are beyond {_FASTEST:.0f} km/s: they "
            "look like m/s. Say so, as in rv=V[m/s], or state the unit in the file."
        )
    ra, dec = frame["ra"].to_numpy(), frame["dec"].to_numpy()
    known = (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
    frame = frame.with_columns(
        *(_within(frame[name], *limits) for name, limits in _LIMITS.items()),
        pl.Series("rv", np.where(good, rv, np.nan)),
        pl.Series("rv_err", np.where((error > 0) & (error < _MAX_ERR), error, np.nan)),
        pl.Series("ra", np.where(known, ra, np.nan)),
        pl.Series("dec", np.where(known, dec, np.nan)),
        pl.col("star_id").cast(pl.String).str.strip_chars().replace("", None),
        set_aside=_set_aside(frame, good),
    )
    return _one_row_each(frame)


def normal_name(name: str) -> str:
    """Return a name in the spelling in which names are compared.

    Case, blanks and underscores do not count, nor leading zeros of HD and HIP numbers,
    nor ``Gaia DR3`` before a source_id (identifiers of DR2 are others), nor ``2MASS``.
    """
    text = re.sub(r"[\s_]+", "", name).upper()
    text = re.sub(r"^GAIA(E?DR3)?(?=\d)", "", text)
    text = re.sub(r"^(2MASSJ?|2MJ?|APJ?|APOGEEJ?)(?=\d{8}[+-]\d{7}$)", "", text)
    return re.sub(r"^(HD|HIP|HR|TIC|KIC|EPIC)0+(?=\d)", r"\1", text)


def _found(frame: pl.DataFrame, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return our names -> those of ``frame``: as told, else the likeliest."""
    lower = {split_unit(n)[0].casefold(): n for n in reversed(frame.columns)}
    found = dict(mapping)
    for ours, usual in _NAMES.items():
        hit = next((lower[name] for name in usual if name in lower), None)
        if ours not in found and hit is not None and hit not in mapping.values():
            found[ours] = hit
    return found


def _named(frame: pl.DataFrame, mapping: Mapping[str, str]) -> pl.DataFrame:
    found = _found(frame, mapping)
    lower = {name.casefold(): name for name in frame.columns}
    flags = {name: lower[name] for name in FLAGS if name in lower and name not in found}
    found |= flags
    if "status" in frame.columns and frame["status"].dtype.is_integer():
        found["status"] = "status"
    named = {ours: frame[theirs].alias(ours) for ours, theirs in found.items()}
    catalog = found.get("star_id", "").upper()
    if catalog in ("HD", "HIP", "HR") and named["star_id"].dtype.is_numeric():
        # A bare number is a name only together with its catalog.
        number = named["star_id"].cast(pl.Int64).cast(pl.String)
        named["star_id"] = (catalog + number).alias("star_id")
    return frame.select(**named)


def _in_our_unit(column: pl.Series, unit: str | None, path) -> pl.Series:
    """Turn a column into our unit: the one said, or of the file, or of its name."""
    name, wanted = column.name, _UNITS[column.name]
    try:
        if name in ("ra", "dec"):
            return pl.Series(name, degrees_of(column, unit, hours=name == "ra"))
        if name in ("rv", "rv_err"):
            factor = velocity_factor(unit)
        else:
            factor = units.Unit(unit).to(units.Unit(wanted)) if unit else None
    except (ValueError, TypeError) as error:
        raise CalibrationError(
            f"The column {name} of {path} is in {unit!r}, which cannot be turned into "
            f"{wanted}: correct its unit, or say it, as in {name}=COLUMN[{wanted}]."
        ) from error
    return column if factor is None else _number(column, str(path)) * factor


def _number(column: pl.Series, origin: str) -> pl.Series:
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    try:
        numbers = column.cast(pl.Float64, strict=False).fill_null(float("nan"))
    except pl.exceptions.PolarsError as error:
        raise CalibrationError(
            f"The column {column.name} of {origin} holds no numbers but {column.dtype}: "
            f"name the right one, as in {column.name}=COLUMN."
        ) from error
    if column.name == "rv" and len(numbers) and numbers.is_nan().all():
        raise CalibrationError(
            f"The velocities of {origin} hold no number; they begin with {column[0]!r}. "
            "Name the right column, as in rv=V."
        )
    return numbers


def _within(values: pl.Series, low: float, high: float) -> pl.Series:
    number = values.to_numpy()
    inside = (number >= low) & (number <= high)
    return pl.Series(values.name, np.where(inside, number, np.nan))


def _set_aside(frame: pl.DataFrame, has_velocity: np.ndarray) -> pl.Series:
    """Return why each row is not to be used; null where it is."""
    reason = np.full(len(frame), None, object)
    for name in FLAGS:
        if name in frame.columns and (
            frame[name].dtype == pl.Boolean or frame[name].dtype.is_numeric()
        ):
            raised = frame[name].cast(pl.Float64).fill_null(0).fill_nan(0).to_numpy()
            reason[raised != 0] = f"flagged in the list ({name})"
    if "status" in frame.columns:
        bad = int(FATAL | Status.SURVEY_FLAG | Status.DOUBLE_LINED)
        status = frame["status"].cast(pl.Int64).fill_null(0).to_numpy()
        reason[(status & bad) != 0] = "flagged in the list (status)"
    reason[~has_velocity] = "without a velocity in the list"
    return pl.Series(reason.tolist(), dtype=pl.String)


def _one_row_each(frame: pl.DataFrame) -> pl.DataFrame:
    """Average the rows of each name; a star is set aside when all its rows are."""
    key = [n if n is None else normal_name(n) for n in frame["star_id"].to_list()]
    alone = [f"\0{i}" if k is None else k for i, k in enumerate(key)]
    frame = frame.with_columns(
        star_id=pl.Series(key, dtype=pl.String), given=frame["star_id"]
    )
    star, _ = codes(pl.DataFrame({"_key": alone}), ["_key"])
    size = int(star.max(initial=-1)) + 1
    usable = frame["set_aside"].is_null().to_numpy()
    # Rows that are set aside count only where there are no others.
    used = usable | (sums(star, usable.astype(float), size) == 0)[star]
    mean, error = _means(star, frame["rv"].to_numpy(), frame["rv_err"].to_numpy(), used)
    first = np.unique(star, return_index=True)[1]
    best = np.lexsort((np.arange(len(star)), ~used, star))
    best = best[np.unique(star[best], return_index=True)[1]]
    numbers = sums(star, used.astype(float), size).astype(np.int64)
    out = frame[best].with_columns(
        rv=pl.Series(mean), rv_err=pl.Series(error), n_rows=pl.Series(numbers)
    )
    out = out[np.argsort(first, kind="stable")]
    return out.select(
        *("star_id", "given", "ra", "dec", "rv", "rv_err", "pmra", "pmdec", "epoch"),
        *("teff", "color", "n_rows", "set_aside"),
    )


def _means(star, rv: Vector, error: Vector, used) -> tuple[Vector, Vector]:
    """Weighted means where all rows of a star have errors, else plain ones.

    Where rows disagree by more than their errors, that of the mean is as large as their
    disagreement asks for.
    """
    size = int(star.max(initial=-1)) + 1
    use = used & np.isfinite(rv)
    lacking = sums(star, (use & ~np.isfinite(error)).astype(float), size) > 0
    weight = np.where(use, np.where(lacking[star], 1.0, error**-2.0), 0.0)
    total = sums(star, weight, size)
    safe = np.where(total > 0, total, np.nan)
    mean = sums(star, np.where(use, weight * np.nan_to_num(rv), 0.0), size) / safe
    n = sums(star, use.astype(float), size)
    square = sums(
        star, np.where(use, weight * (np.nan_to_num(rv) - mean[star]) ** 2, 0.0), size
    )
    scatter = square / np.maximum(n - 1, 1)
    known = np.where(lacking, np.nan, np.sqrt(np.maximum(scatter, 1.0) / safe))
    # Without errors, two rows or more show one by their scatter.
    shown = np.where(lacking & (n > 1) & (square > 0), np.sqrt(scatter / safe), np.nan)
    return mean, np.where(lacking, shown, known)
