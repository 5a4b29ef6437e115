"""Columns of the tables of stars, alone and beside those of another catalog.

`steadystar.data.schema` lists them under ``TABLES``.
"""

__all__ = [
    "CLASS",
    "COMPARE",
    "CONSTANCY",
    "MEAN",
    "PERIOD",
    "PERIOD_FAP",
    "STANDARDS",
    "STAR",
    "STARS",
]

from dataclasses import replace

from steadystar.data.column import BOOL, DEC, FLOAT, INT, RA, RV, STAR_ID, TEXT, Column
from steadystar.data.label_columns import LABEL_NAMES, STAR_LABELS

STAR = tuple(replace(c, ucd=f"{c.ucd};meta.main") for c in (STAR_ID, RA, DEC))
"""In catalogs of stars: programs take identifier and position from what is main."""

MEAN = (
    Column("rv_mean", FLOAT, "km/s", RV + ";stat.mean", "Weighted mean velocity"),
    Column("rv_mean_err", FLOAT, "km/s", "stat.error;" + RV, "Error of rv_mean"),
)
CONSTANCY = (
    Column(
        "p_constant", FLOAT, "", "stat.probability", "Probability of being constant"
    ),
    Column("constant", BOOL, "", "meta.code", "p_constant > 0.5"),
    Column(
        "variable",
        BOOL,
        "",
        "meta.code;src.var",
        "Variable at the false-discovery rate asked for, over the whole table",
    ),
    Column(
        "double_lined", BOOL, "", "meta.code;src.class", "Lines of two stars were seen"
    ),
)
PERIOD = Column(
    "period",
    FLOAT,
    "d",
    "time.period",
    "Period of the orbit if that is good, else of the highest peak",
)
PERIOD_FAP = Column(
    "period_fap",
    FLOAT,
    "",
    "stat.probability",
    "Chance that noise has a peak as high as this period's; NaN if the orbit has "
    "another period than the highest peak",
)
CLASS = Column(
    "class",
    TEXT,
    "",
    "src.class",
    "constant, uncertain, variable, single-lined binary, double-lined binary, "
    "likely pulsator",
)

STARS = (
    *STAR,
    Column("n_visits", INT, "", "meta.number;obs", "Visits with a velocity"),
    *MEAN,
    Column(
        "rv_scatter",
        FLOAT,
        "km/s",
        "stat.stdev;" + RV,
        "Standard deviation of rv, bias-corrected by jackknife",
    ),
    Column(
        "rv_scatter_err", FLOAT, "km/s", "stat.error;stat.stdev", "Its jackknife error"
    ),
    Column(
        "rv_raw_scatter",
        FLOAT,
        "km/s",
        "stat.stdev;" + RV,
        "Scatter of rv_raw about the star's mean rv, bias-corrected by jackknife",
    ),
    Column(
        "rv_raw_scatter_err",
        FLOAT,
        "km/s",
        "stat.error;stat.stdev",
        "Its jackknife error",
    ),
    Column(
        "rv_intrinsic",
        FLOAT,
        "km/s",
        "stat.stdev;" + RV,
        "Scatter with the errors taken out, maximum likelihood",
    ),
    Column(
        "rv_intrinsic_err",
        FLOAT,
        "km/s",
        "stat.error;stat.stdev",
        "Error of rv_intrinsic",
    ),
    Column("chi2", FLOAT, "", "stat.fit.chi2", "Chi squared about rv_mean"),
    *CONSTANCY,
    *(replace(c, optional=True) for c in (PERIOD, PERIOD_FAP, CLASS)),
    *STAR_LABELS,
)

STANDARDS = (
    STAR_ID,
    Column("standard_id", TEXT, "", "meta.id.cross", "Name of the star in the list"),
    Column("matched", TEXT, "", "meta.code", "How it was found: by name or position"),
    Column(
        "separation", FLOAT, "arcsec", "pos.angDistance", "Distance of both positions"
    ),
    Column("n_visits", INT, "", "meta.number;obs", "Visits with a velocity"),
    Column("bjd", FLOAT, "d", "time.epoch", "Mean time of the visits, BJD_TDB"),
    Column("rv", FLOAT, "km/s", RV + ";stat.mean", "Mean velocity of the star"),
    Column("rv_err", FLOAT, "km/s", "stat.error;" + RV, "Error of rv"),
    Column("rv_standard", FLOAT, "km/s", RV, "Velocity of the star in the list"),
    Column(
        "rv_standard_err", FLOAT, "km/s", "stat.error;" + RV, "Error of rv_standard"
    ),
    Column(
        "difference",
        FLOAT,
        "km/s",
        RV + ";arith.diff",
        "The rv less that of the list",
    ),
    Column(
        "difference_err",
        FLOAT,
        "km/s",
        "stat.error;arith.diff",
        "Error of difference, from those of both",
    ),
    Column("teff", FLOAT, "K", "phys.temperature.effective", "Effective temperature"),
    Column("color", FLOAT, "mag", "phot.color", "Color, as the list has it"),
    Column("used", BOOL, "", "meta.code", "Whether it enters the offset"),
    Column("reason", TEXT, "", "meta.note", "Why it does not"),
    Column("residual", FLOAT, "km/s", RV + ";arith.diff", "difference less offset"),
    Column(
        "outlier",
        BOOL,
        "",
        "meta.code",
        "More than five robust widths from the offset",
    ),
    Column("n_standards", INT, "", "meta.number", "Standards in the group"),
    Column(
        "offset", FLOAT, "km/s", RV + ";arith.zp", "Median difference from standards"
    ),
    Column("offset_err", FLOAT, "km/s", "stat.error;arith.zp", "Error of offset"),
    Column(
        "scatter",
        FLOAT,
        "km/s",
        "stat.stdev;" + RV,
        "Interquartile range of the differences over 1.349",
    ),
    Column("scatter_err", FLOAT, "km/s", "stat.error;stat.stdev", "Error of scatter"),
    Column("mean", FLOAT, "km/s", RV + ";stat.mean", "Weighted mean difference"),
    Column("mean_err", FLOAT, "km/s", "stat.error;" + RV, "Its error, as chi2 asks"),
    Column("chi2", FLOAT, "", "stat.fit.chi2", "Chi squared about mean"),
    Column("dof", INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
)
"""Of both tables of a comparison with standards: matches star by star, then groups."""


def _compared() -> tuple[Column, ...]:
    """Both values of each quantity, and how they differ."""
    known = {"rv": ("km/s", RV, "Velocity"), **LABEL_NAMES}
    out = []
    for name, (unit, ucd, meaning) in known.items():
        for side in "ab":
            words = f"{meaning}, in table {side.upper()}"
            out += [
                Column(f"{name}_{side}", FLOAT, unit, ucd, words),
                Column(
                    f"{name}_{side}_err",
                    FLOAT,
                    unit,
                    f"stat.error;{ucd}",
                    f"Error of {name}_{side}",
                ),
            ]
        difference = f"{name}_difference"
        out += [
            Column(
                difference, FLOAT, unit, f"{ucd};arith.diff", f"{name}_a - {name}_b"
            ),
            Column(
                f"{difference}_err",
                FLOAT,
                unit,
                "stat.error;arith.diff",
                "From the errors of both",
            ),
            Column(
                f"{name}_common",
                FLOAT,
                unit,
                ucd,
                "What the difference is looked at against: the mean of both, unless "
                "one of them was asked for",
            ),
            Column(f"{name}_used", BOOL, "", "meta.code", "Whether it is compared"),
            Column(
                f"{name}_outlier",
                BOOL,
                "",
                "meta.code",
                "Far from the median difference",
            ),
            Column(
                f"{name}_a_corrected",
                FLOAT,
                unit,
                ucd,
                f"{name}_a without the fourth-order fit to the differences",
            ),
        ]
    return tuple(replace(column, optional=True) for column in out)


COMPARE = (
    Column("star_id_a", TEXT, "", "meta.id", "Identifier of the star in table A"),
    Column("star_id_b", TEXT, "", "meta.id.cross", "Identifier in table B"),
    Column("row_a", INT, "", "meta.record", "First row of the star in A, from 0"),
    Column("row_b", INT, "", "meta.record", "First row of the star in B, from 0"),
    RA,
    DEC,
    Column("matched", TEXT, "", "meta.code", "How: by identifier or by position"),
    Column(
        "separation", FLOAT, "arcsec", "pos.angDistance", "Distance of both positions"
    ),
    Column(
        "ambiguous",
        BOOL,
        "",
        "meta.code.qual",
        "Another star of either table is within the radius",
    ),
    *(
        Column(f"{name}_{side}", FLOAT, unit, ucd, f"{words} in table {side.upper()}")
        for name, unit, ucd, words in (
            ("n_visits", "", "meta.number;obs", "Visits"),
            ("rv_scatter", "km/s", "stat.stdev;" + RV, "Scatter of the velocities"),
        )
        for side in "ab"
    ),
    Column("third", FLOAT, "", "phys", "The third quantity, as its table has it", True),
    Column("rv_reason", TEXT, "", "meta.note", "Why rv is set aside", True),
    *_compared(),
)
"""One row a star that is in both of two catalogs."""
