"""Every column of every table, once: name, dtype, unit, UCD and meaning.

Readers, the pipeline, the catalogs, the report and the generated reference all take
their columns from here. A table may carry more columns than its schema lists (those a
user brought along); it never lacks one that is not optional: what is unknown is null or
NaN.

UCDs follow the IVOA vocabulary UCD1+ 1.5; units are in the form that
`astropy.units.Unit` reads.
"""

__all__ = ["LABEL_NAMES", "TABLES", "Column", "columns", "conform", "describe", "empty"]

from dataclasses import replace
from itertools import combinations

import polars as pl

from steadystar.data.column import Column
from steadystar.data.hot_columns import DISTANCES, HOT

_TEXT, _INT, _FLOAT, _BOOL = pl.String, pl.Int64, pl.Float64, pl.Boolean

_STAR_ID = Column(
    "star_id", _TEXT, "", "meta.id", "Identifier of the star, shared by its visits"
)
_RA = Column("ra", _FLOAT, "deg", "pos.eq.ra", "Right ascension, ICRS")
_DEC = Column("dec", _FLOAT, "deg", "pos.eq.dec", "Declination, ICRS")
_STATUS = Column("status", _INT, "", "meta.code.qual", "Sum of status flags; 0 is good")

VISITS = (
    Column("visit_id", _TEXT, "", "meta.id;meta.main", "Identifier of the spectrum"),
    _STAR_ID,
    _RA,
    _DEC,
    Column("survey", _TEXT, "", "meta.id;instr", "Survey or reader of the spectrum"),
    Column("field", _TEXT, "", "meta.id;obs.field", "Field, plate or plan"),
    Column("night", _INT, "d", "time.epoch;obs", "Night, modified Julian day (local)"),
    Column("exposure_id", _TEXT, "", "meta.id;obs.exposure", "Identifier of exposure"),
    Column("telescope", _TEXT, "", "meta.id;instr.tel", "Telescope"),
    Column("spectrograph", _INT, "", "meta.id;instr", "Number of the spectrograph"),
    Column("fiber", _INT, "", "meta.id;instr.param", "Number of the fiber"),
    Column("arm", _TEXT, "", "meta.id;instr.bandpass", "Arm of the spectrograph"),
    Column(
        "bjd", _FLOAT, "d", "time.epoch", "Middle of the exposure, BJD_TDB (float64)"
    ),
    Column("exptime", _FLOAT, "s", "time.duration;obs.exposure", "Exposure time"),
    Column("snr", _FLOAT, "", "stat.snr", "Signal-to-noise ratio per pixel"),
    Column(
        "bary_corr",
        _FLOAT,
        "km/s",
        "spect.dopplerVeloc;arith.diff",
        "Barycentric correction: positive when the observatory moves to the star",
    ),
    Column("lamp", _TEXT, "", "meta.id;instr.calib", "Arc lamp or its line list"),
    Column("n_good", _INT, "", "meta.number", "Usable pixels"),
    Column(
        "ivar_scale",
        _FLOAT,
        "",
        "stat.fit.chi2;arith.ratio",
        "Scatter of the residuals over what the inverse variance predicts",
    ),
    _STATUS,
    Column(
        "path", _TEXT, "", "meta.id;meta.file", "File, and extension, of the spectrum"
    ),
)

_RV = "spect.dopplerVeloc"

VELOCITIES = (
    *VISITS,
    Column("method", _TEXT, "", "meta.code", "How the velocity was measured"),
    Column("rv_obs", _FLOAT, "km/s", _RV, "In the observatory's frame"),
    Column(
        "rv_raw", _FLOAT, "km/s", _RV + ";pos.barycenter", "Barycentric, uncalibrated"
    ),
    Column("rv_raw_err", _FLOAT, "km/s", "stat.error;" + _RV, "Error of rv_raw"),
    Column(
        "rv_limit",
        _FLOAT,
        "km/s",
        "stat.error;" + _RV,
        "Photon limit: the error if all but the velocity were known",
    ),
    Column("chi2", _FLOAT, "", "stat.fit.chi2", "Chi squared at the best velocity"),
    Column("dof", _INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
    Column(
        "reference_visit_id",
        _TEXT,
        "",
        "meta.id.cross",
        "Visit that defined the zero of a relative velocity",
    ),
    Column("rv_2", _FLOAT, "km/s", _RV, "Velocity of the second star in the spectrum"),
    Column("rv_2_err", _FLOAT, "km/s", "stat.error;" + _RV, "Error of rv_2"),
    Column(
        "light_ratio",
        _FLOAT,
        "",
        "phot.flux;arith.ratio",
        "Light of the second over the first",
    ),
    Column(
        "correction",
        _FLOAT,
        "km/s",
        _RV + ";arith.zp",
        "Sum of the offsets of all families; subtracted from rv_raw",
    ),
    Column(
        "correction_err", _FLOAT, "km/s", "stat.error;arith.zp", "Error of correction"
    ),
    Column(
        "correction_common_err",
        _FLOAT,
        "km/s",
        "stat.error;arith.zp",
        "The part of correction_err that all visits of the star have in common",
    ),
    Column("rv", _FLOAT, "km/s", _RV + ";meta.main", "Calibrated: rv_raw - correction"),
    Column("rv_err", _FLOAT, "km/s", "stat.error;" + _RV + ";meta.main", "Error of rv"),
)

OFFSETS = (
    Column("offset", _FLOAT, "km/s", _RV + ";arith.zp", "Zero point of the group"),
    Column("offset_err", _FLOAT, "km/s", "stat.error;arith.zp", "Error of offset"),
    Column("n_visits", _INT, "", "meta.number", "Visits in the group"),
    Column("n_stars", _INT, "", "meta.number", "Stars in the group"),
    Column("n_constant", _INT, "", "meta.number", "Constant stars in the group"),
    Column(
        "component",
        _INT,
        "",
        "meta.id",
        "Connected set of groups; each set has its own gauge (weighted mean zero)",
    ),
    _STATUS,
)
"""The columns after those of the family itself, whose dtypes are the input's."""

STARS = (
    # A catalog of stars: programs take identifier and position from what is main.
    *(replace(c, ucd=f"{c.ucd};meta.main") for c in (_STAR_ID, _RA, _DEC)),
    Column("n_visits", _INT, "", "meta.number;obs", "Visits with a velocity"),
    Column("rv_mean", _FLOAT, "km/s", _RV + ";stat.mean", "Weighted mean velocity"),
    Column("rv_mean_err", _FLOAT, "km/s", "stat.error;" + _RV, "Error of rv_mean"),
    Column(
        "rv_scatter",
        _FLOAT,
        "km/s",
        "stat.stdev;" + _RV,
        "Standard deviation of rv, bias-corrected by jackknife",
    ),
    Column(
        "rv_scatter_err", _FLOAT, "km/s", "stat.error;stat.stdev", "Its jackknife error"
    ),
    Column(
        "rv_raw_scatter",
        _FLOAT,
        "km/s",
        "stat.stdev;" + _RV,
        "Scatter of rv_raw about the star's mean rv, bias-corrected by jackknife",
    ),
    Column(
        "rv_raw_scatter_err",
        _FLOAT,
        "km/s",
        "stat.error;stat.stdev",
        "Its jackknife error",
    ),
    Column(
        "rv_intrinsic",
        _FLOAT,
        "km/s",
        "stat.stdev;" + _RV,
        "Scatter with the errors taken out, maximum likelihood",
    ),
    Column(
        "rv_intrinsic_err",
        _FLOAT,
        "km/s",
        "stat.error;stat.stdev",
        "Error of rv_intrinsic",
    ),
    Column("chi2", _FLOAT, "", "stat.fit.chi2", "Chi squared about rv_mean"),
    Column(
        "p_constant", _FLOAT, "", "stat.probability", "Probability of being constant"
    ),
    Column("constant", _BOOL, "", "meta.code", "p_constant > 0.5"),
    Column(
        "variable",
        _BOOL,
        "",
        "meta.code;src.var",
        "Variable at a false-discovery rate of 0.01 over the survey",
    ),
    Column(
        "double_lined", _BOOL, "", "meta.code;src.class", "Lines of two stars were seen"
    ),
)

LABEL_NAMES = {
    "teff": ("K", "phys.temperature.effective", "Effective temperature"),
    "logg": ("", "phys.gravity", "Logarithm of the surface gravity in cm/s2, dex"),
    "feh": ("", "phys.abund.Fe", "Iron abundance [Fe/H], dex"),
    "vsini": ("km/s", "phys.veloc.rotat", "Rotation at the equator times sin i"),
}
"""What a spectrum says of its star beside the velocity: unit, UCD, meaning.

Neither FITS nor VOUnit knows ``dex``: logarithms go without a unit."""


def _labels_of_a_spectrum() -> tuple[Column, ...]:
    """Each label and its error, then how their errors go together."""
    out = []
    for name, (unit, ucd, meaning) in LABEL_NAMES.items():
        error = f"stat.error;{ucd}"
        out += [
            Column(name, _FLOAT, unit, ucd, meaning),
            Column(f"{name}_err", _FLOAT, unit, error, f"Error of {name}"),
            Column(
                f"{name}_fit_err",
                _FLOAT,
                unit,
                error,
                f"Error of {name} as the fit gave it, where {name}_err is calibrated",
                optional=True,
            ),
            Column(
                f"{name}_common_err",
                _FLOAT,
                unit,
                error,
                f"The part of {name}_err that all spectra of the star have in common",
                optional=True,
            ),
        ]
    return (
        *out,
        *(
            Column(
                f"corr_{one}_{other}",
                _FLOAT,
                "",
                "stat.correlation",
                f"Correlation of the errors of {one} and {other}",
            )
            for one, other in combinations(LABEL_NAMES, 2)
        ),
    )


def _labels_of_a_star() -> tuple[Column, ...]:
    """Zong et al. (2020), table 3, and beside them means by the errors themselves."""
    out = [
        Column("n_labels", _INT, "", "meta.number;obs", "Spectra with labels"),
    ]
    for name, (unit, ucd, meaning) in LABEL_NAMES.items():
        out += [
            Column(name, _FLOAT, unit, f"{ucd};stat.mean", f"{meaning}, S/N^2 mean"),
            Column(
                f"{name}_scatter",
                _FLOAT,
                unit,
                f"stat.stdev;{ucd}",
                "Weighted standard deviation of single spectra",
            ),
            Column(f"{name}_err", _FLOAT, unit, f"stat.error;{ucd}", "Of the mean"),
            Column(
                f"{name}_mean",
                _FLOAT,
                unit,
                f"{ucd};stat.mean",
                f"{meaning}, inverse-variance mean with calibrated errors",
            ),
            Column(
                f"{name}_mean_err",
                _FLOAT,
                unit,
                f"stat.error;{ucd}",
                f"Error of {name}_mean",
            ),
            Column(f"{name}_chi2", _FLOAT, "", "stat.fit.chi2", f"About {name}_mean"),
            Column(
                f"{name}_p_value",
                _FLOAT,
                "",
                "stat.probability",
                f"Probability of a larger {name}_chi2 if it does not vary",
            ),
        ]
    return tuple(out)


STARS = (*STARS, *(replace(column, optional=True) for column in _labels_of_a_star()))

LABELS = (
    *(
        column
        for column in VISITS
        if column.name not in ("bary_corr", "lamp", "n_good", "ivar_scale", "status")
    ),
    Column("method", _TEXT, "", "meta.code", "How the labels were measured"),
    Column("model", _TEXT, "", "meta.id;meta.modelled", "Model that was fitted"),
    *_labels_of_a_spectrum(),
    Column("rv_raw", _FLOAT, "km/s", _RV + ";pos.barycenter", "Velocity fitted along"),
    Column("rv_raw_err", _FLOAT, "km/s", "stat.error;" + _RV, "Error of rv_raw"),
    Column("n_good", _INT, "", "meta.number", "Usable pixels"),
    Column("chi2", _FLOAT, "", "stat.fit.chi2", "Chi squared of the best model"),
    Column("dof", _INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
    Column(
        "ivar_scale",
        _FLOAT,
        "",
        "stat.fit.chi2;arith.ratio",
        "Scatter of the residuals over what the inverse variance predicts",
    ),
    _STATUS,
)
"""One row a fit: an arm of an exposure, or (``arm = "all"``) all its arms at once."""

REJECTED = (
    Column(
        "path",
        _TEXT,
        "",
        "meta.id;meta.file",
        "File, and extension if only that is bad",
    ),
    Column("reader", _TEXT, "", "meta.id", "Reader that tried, or all that were tried"),
    Column("reason", _TEXT, "", "meta.note", "Why it could not be read"),
    Column("remedy", _TEXT, "", "meta.note", "What to do about it"),
)

RELATIVE = (
    _STAR_ID,
    Column("exposure_id", _TEXT, "", "meta.id;obs.exposure", "Identifier of exposure"),
    Column("ra", _FLOAT, "deg", "pos.eq.ra", "Right ascension, ICRS"),
    Column("dec", _FLOAT, "deg", "pos.eq.dec", "Declination, ICRS"),
    Column(
        "hjd",
        _FLOAT,
        "d",
        "time.epoch",
        "Middle of the exposure; in spite of its name this is BJD_TDB",
    ),
    *(
        column
        for arm, words in (("r", "red arm"), ("b", "blue arm"))
        for column in (
            Column(
                f"SNR_{arm}",
                _FLOAT,
                "",
                "stat.snr",
                f"Signal-to-noise ratio per pixel, {words}",
            ),
            Column(
                f"DRV_{arm}",
                _FLOAT,
                "km/s",
                _RV,
                f"Relative velocity as measured, {words}",
            ),
            Column(
                f"DRV_{arm}_err",
                _FLOAT,
                "km/s",
                "stat.error;" + _RV,
                f"Error of the measurement, {words}",
            ),
            Column(
                f"DRV_{arm}_corr",
                _FLOAT,
                "km/s",
                _RV,
                f"Relative velocity after self-calibration, {words}",
            ),
        )
    ),
)
"""Table 2 of Xiong et al. (2021): one row a star and exposure, both arms beside."""

STANDARDS = (
    _STAR_ID,
    Column("standard_id", _TEXT, "", "meta.id.cross", "Name of the star in the list"),
    Column("matched", _TEXT, "", "meta.code", "How it was found: by name or position"),
    Column(
        "separation", _FLOAT, "arcsec", "pos.angDistance", "Distance of both positions"
    ),
    Column("n_visits", _INT, "", "meta.number;obs", "Visits with a velocity"),
    Column("bjd", _FLOAT, "d", "time.epoch", "Mean time of the visits, BJD_TDB"),
    Column("rv", _FLOAT, "km/s", _RV + ";stat.mean", "Mean velocity of the star"),
    Column("rv_err", _FLOAT, "km/s", "stat.error;" + _RV, "Error of rv"),
    Column("rv_standard", _FLOAT, "km/s", _RV, "Velocity of the star in the list"),
    Column(
        "rv_standard_err", _FLOAT, "km/s", "stat.error;" + _RV, "Error of rv_standard"
    ),
    Column(
        "difference",
        _FLOAT,
        "km/s",
        _RV + ";arith.diff",
        "The rv less that of the list",
    ),
    Column(
        "difference_err",
        _FLOAT,
        "km/s",
        "stat.error;arith.diff",
        "Error of difference, from those of both",
    ),
    Column("teff", _FLOAT, "K", "phys.temperature.effective", "Effective temperature"),
    Column("color", _FLOAT, "mag", "phot.color", "Color, as the list has it"),
    Column("used", _BOOL, "", "meta.code", "Whether it enters the offset"),
    Column("reason", _TEXT, "", "meta.note", "Why it does not"),
    Column("residual", _FLOAT, "km/s", _RV + ";arith.diff", "difference less offset"),
    Column(
        "outlier",
        _BOOL,
        "",
        "meta.code",
        "More than five robust widths from the offset",
    ),
    Column("n_standards", _INT, "", "meta.number", "Standards in the group"),
    Column(
        "offset", _FLOAT, "km/s", _RV + ";arith.zp", "Median difference from standards"
    ),
    Column("offset_err", _FLOAT, "km/s", "stat.error;arith.zp", "Error of offset"),
    Column(
        "scatter",
        _FLOAT,
        "km/s",
        "stat.stdev;" + _RV,
        "Interquartile range of the differences over 1.349",
    ),
    Column("scatter_err", _FLOAT, "km/s", "stat.error;stat.stdev", "Error of scatter"),
    Column("mean", _FLOAT, "km/s", _RV + ";stat.mean", "Weighted mean difference"),
    Column("mean_err", _FLOAT, "km/s", "stat.error;" + _RV, "Its error, as chi2 asks"),
    Column("chi2", _FLOAT, "", "stat.fit.chi2", "Chi squared about mean"),
    Column("dof", _INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
)
"""Of both tables of a comparison with standards: matches star by star, then groups."""


def _compared() -> tuple[Column, ...]:
    """Both values of each quantity, and how they differ."""
    known = {"rv": ("km/s", _RV, "Velocity"), **LABEL_NAMES}
    out = []
    for name, (unit, ucd, meaning) in known.items():
        for side in "ab":
            words = f"{meaning}, in table {side.upper()}"
            out += [
                Column(f"{name}_{side}", _FLOAT, unit, ucd, words),
                Column(
                    f"{name}_{side}_err",
                    _FLOAT,
                    unit,
                    f"stat.error;{ucd}",
                    f"Error of {name}_{side}",
                ),
            ]
        difference = f"{name}_difference"
        out += [
            Column(
                difference, _FLOAT, unit, f"{ucd};arith.diff", f"{name}_a - {name}_b"
            ),
            Column(
                f"{difference}_err",
                _FLOAT,
                unit,
                "stat.error;arith.diff",
                "From the errors of both",
            ),
            Column(
                f"{name}_common",
                _FLOAT,
                unit,
                ucd,
                "What the difference is looked at against: the mean of both, unless "
                "one of them was asked for",
            ),
            Column(f"{name}_used", _BOOL, "", "meta.code", "Whether it is compared"),
            Column(
                f"{name}_outlier",
                _BOOL,
                "",
                "meta.code",
                "Far from the median difference",
            ),
            Column(
                f"{name}_a_corrected",
                _FLOAT,
                unit,
                ucd,
                f"{name}_a without the fourth-order fit to the differences",
            ),
        ]
    return tuple(replace(column, optional=True) for column in out)


COMPARE = (
    Column("star_id_a", _TEXT, "", "meta.id", "Identifier of the star in table A"),
    Column("star_id_b", _TEXT, "", "meta.id.cross", "Identifier in table B"),
    Column("row_a", _INT, "", "meta.record", "First row of the star in A, from 0"),
    Column("row_b", _INT, "", "meta.record", "First row of the star in B, from 0"),
    _RA,
    _DEC,
    Column("matched", _TEXT, "", "meta.code", "How: by identifier or by position"),
    Column(
        "separation", _FLOAT, "arcsec", "pos.angDistance", "Distance of both positions"
    ),
    Column(
        "ambiguous",
        _BOOL,
        "",
        "meta.code.qual",
        "Another star of either table is within the radius",
    ),
    *(
        Column(f"{name}_{side}", _FLOAT, unit, ucd, f"{words} in table {side.upper()}")
        for name, unit, ucd, words in (
            ("n_visits", "", "meta.number;obs", "Visits"),
            ("rv_scatter", "km/s", "stat.stdev;" + _RV, "Scatter of the velocities"),
        )
        for side in "ab"
    ),
    Column(
        "third", _FLOAT, "", "phys", "The third quantity, as its table has it", True
    ),
    Column("rv_reason", _TEXT, "", "meta.note", "Why rv is set aside", True),
    *_compared(),
)
"""One row a star that is in both of two catalogs."""

TABLES: dict[str, tuple[Column, ...]] = {
    "visits": VISITS,
    "velocities": VELOCITIES,
    "offsets": OFFSETS,
    "stars": STARS,
    "labels": LABELS,
    "rejected": REJECTED,
    "relative": RELATIVE,
    "standards": STANDARDS,
    "compare": COMPARE,
    "distances": DISTANCES,
    "hot": HOT,
}


def columns(table: str) -> dict[str, Column]:
    """Return the columns of ``table`` by name, in order."""
    return {column.name: column for column in TABLES[table]}


def describe(name: str) -> Column | None:
    """Return the column called ``name`` from whichever table has it, else None."""
    for table in TABLES.values():
        for column in table:
            if column.name == name:
                return column
    return None


def empty(table: str) -> pl.DataFrame:
    """Return ``table`` without rows, and without its optional columns."""
    return pl.DataFrame(
        schema={c.name: c.dtype for c in TABLES[table] if not c.optional}
    )


def conform(
    frame: pl.DataFrame, table: str, *, keep_dtype: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Give ``frame`` all columns of ``table``, in order and in their dtypes.

    Optional columns are not added where they are missing.

    Missing columns are added (NaN for floats, null for the rest). Columns that the
    schema does not know follow after, as they are; those in ``keep_dtype`` are not
    cast (a user's group columns keep theirs).

    Raises:
        ValueError: a column cannot be cast; the message names it.
    """
    known = columns(table)
    out = []
    for column in known.values():
        if column.name not in frame.columns:
            if column.optional:
                continue
            value = float("nan") if column.dtype == _FLOAT else None
            out.append(pl.lit(value, dtype=column.dtype).alias(column.name))
        elif column.name in keep_dtype:
            out.append(pl.col(column.name))
        else:
            expression = pl.col(column.name).cast(column.dtype, strict=True)
            if column.dtype == _FLOAT:
                expression = expression.fill_null(float("nan"))
            out.append(expression)
    try:
        return frame.select(*out, *[n for n in frame.columns if n not in known])
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"A column of the {table} table has values of the wrong kind: {error}. "
            "Convert it, or leave it out."
        ) from error
