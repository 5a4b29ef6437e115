"""Columns of the tables of variable stars: verdicts, periods, orbits.

`steadystar.data.schema` lists them under ``TABLES``.
"""

__all__ = ["ORBITS", "ORBIT_MODES", "ORBIT_SAMPLES", "PERIODS", "VARIABLES"]

from collections.abc import Iterable

from steadystar.data.column import BOOL, FLOAT, INT, RV, STAR_ID, TEXT, Column
from steadystar.data.star_columns import (
    CLASS,
    CONSTANCY,
    MEAN,
    PERIOD,
    PERIOD_FAP,
    STAR,
)

_SCATTER = "stat.stdev;" + RV
_DIFFERENCE = RV + ";arith.diff"
_PERIOD = PERIOD.ucd
_ERROR = "stat.error;"

VARIABLES = (
    *STAR,
    Column("n_visits", INT, "", "meta.number;obs", "Visits that were judged"),
    Column("n_nights", INT, "", "meta.number;obs", "Nights of these visits"),
    Column("baseline", FLOAT, "d", "time.interval;obs", "From the first to the last"),
    *MEAN,
    Column("chi2", FLOAT, "", "stat.fit.chi2", "Chi squared about the mean"),
    Column("dof", INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
    Column(
        "p_value",
        FLOAT,
        "",
        "stat.probability",
        "Chance that a constant star has such a chi2, or a larger one",
    ),
    Column(
        "q_value",
        FLOAT,
        "",
        "stat.probability",
        "Smallest false-discovery rate at which the star is called variable",
    ),
    Column(
        "rv_max_difference",
        FLOAT,
        "km/s",
        _DIFFERENCE,
        "Difference of the two visits that differ most in units of its error",
    ),
    Column(
        "rv_max_difference_err", FLOAT, "km/s", _ERROR + "arith.diff", "Error of it"
    ),
    Column(
        "rv_max_difference_snr",
        FLOAT,
        "",
        "stat.snr;arith.diff",
        "That difference over its error",
    ),
    Column(
        "p_max_difference",
        FLOAT,
        "",
        "stat.probability",
        "Chance that the visits of a constant star differ so much, or more",
    ),
    Column("rv_intrinsic", FLOAT, "km/s", _SCATTER, "Intrinsic scatter, most likely"),
    Column("rv_intrinsic_low", FLOAT, "km/s", _SCATTER, "Its lower limit (68%)"),
    Column("rv_intrinsic_high", FLOAT, "km/s", _SCATTER, "Its upper limit (68%)"),
    *CONSTANCY,
    Column(
        "n_double_lined", INT, "", "meta.number;obs", "Visits with lines of two stars"
    ),
    Column(
        "n_moonlight",
        INT,
        "",
        "meta.number;obs",
        "Visits whose velocity, first or second, is that of reflected sunlight",
    ),
    Column("n_teff", INT, "", "meta.number;obs", "Visits with a temperature"),
    Column(
        "teff_rv_correlation",
        FLOAT,
        "",
        "stat.correlation",
        "Correlation of temperature with velocity over the visits, within arms",
    ),
    Column(
        "p_teff_rv",
        FLOAT,
        "",
        "stat.probability",
        "Chance of such a correlation if temperature and velocity are independent",
    ),
    Column(
        "p_teff_constant",
        FLOAT,
        "",
        "stat.probability",
        "Chance that a star of constant temperature has temperatures so different in an arm",
    ),
    PERIOD,
    Column(
        "period_err",
        FLOAT,
        "d",
        _ERROR + _PERIOD,
        "Half the 68% interval of the orbit's period; else error of period, if this peak",
    ),
    PERIOD_FAP,
    Column(
        "mass_function", FLOAT, "solMass", "phys.mass;arith", "Of the orbit, median"
    ),
    Column("m2_min", FLOAT, "solMass", "phys.mass", "Least mass of the companion"),
    CLASS,
    Column("evidence", TEXT, "", "meta.note", "Why, in words"),
    Column(
        "massive_companion",
        BOOL,
        "",
        "meta.code",
        "On a good orbit, not double-lined: the unseen companion exceeds the limit of mass",
    ),
)
"""One row a star: constant or variable, and what kind of variable."""

PERIODS = (
    STAR_ID,
    Column("rank", INT, "", "meta.number", "1 is the highest peak; 0: no search"),
    Column("period", FLOAT, "d", _PERIOD, "Period of the peak"),
    Column("period_err", FLOAT, "d", _ERROR + _PERIOD, "Error, if it is this peak"),
    Column(
        "power", FLOAT, "", "stat.fit", "Share of chi2 explained (0 to 1) at the peak"
    ),
    Column(
        "power_low", FLOAT, "", "stat.fit;stat.min", "Lower jackknife limit of power"
    ),
    Column(
        "power_high", FLOAT, "", "stat.fit;stat.max", "Upper jackknife limit of power"
    ),
    Column("fap", FLOAT, "", "stat.probability", "False-alarm probability of the peak"),
    Column("amplitude", FLOAT, "km/s", RV, "Half the range of the sine at this period"),
    Column("amplitude_err", FLOAT, "km/s", _ERROR + RV, "Error of amplitude"),
    Column("window", FLOAT, "", "stat.fit", "Power of the sampling at this period"),
    Column("alias_of", INT, "", "meta.number", "Rank of the peak it is an alias of"),
    Column("alias", TEXT, "", "meta.note", "How: f + 1/d, half the period, ..."),
    Column("period_status", TEXT, "", "meta.code", "good, or why no period was found"),
)
"""One row a peak of a star's periodogram."""

_ELEMENTS = {
    "period": ("d", _PERIOD, "Period"),
    "k": ("km/s", RV, "Semi-amplitude of the star's velocity"),
    "e": ("", "src.orbital.eccentricity", "Eccentricity"),
    "omega": ("deg", "src.orbital.periastron", "Argument of periastron of the star"),
    "t_peri": ("d", "time.epoch;src.orbital.periastron", "Time of periastron, BJD_TDB"),
    "v0": ("km/s", RV + ";stat.mean", "Velocity of the center of mass"),
    "jitter": ("km/s", _SCATTER, "Scatter beyond the errors"),
    "k_2": ("km/s", RV, "Semi-amplitude of the second star"),
    "mass_ratio": ("", "phys.mass;arith.ratio", "Mass of the second over the first"),
    "a_sin_i": (
        "solRad",
        "phys.size.smajAxis",
        "Projected semi-major axis of the star",
    ),
    "a_2_sin_i": ("solRad", "phys.size.smajAxis", "The same of the second star"),
    "mass_function": ("solMass", "phys.mass;arith", "Mass function"),
    "m2_min": ("solMass", "phys.mass", "Least mass of the companion"),
    "m_sin3_i": ("solMass", "phys.mass;arith", "Mass of the first star, times sin^3 i"),
    "m_2_sin3_i": ("solMass", "phys.mass;arith", "The same of the second star"),
}
"""Elements of orbits: unit, UCD, meaning."""


def _element(name: str) -> Column:
    """An element of one orbit."""
    unit, ucd, words = _ELEMENTS[name]
    return Column(name, FLOAT, unit, ucd, words)


def _with_limits(names: Iterable[str]) -> tuple[Column, ...]:
    """Elements of many orbits: medians, and limits of 68%."""
    out = []
    for name in names:
        unit, ucd, words = _ELEMENTS[name]
        out += [
            Column(name, FLOAT, unit, ucd, f"{words}; median"),
            Column(f"{name}_low", FLOAT, unit, f"{ucd};stat.min", "16th percentile"),
            Column(f"{name}_high", FLOAT, unit, f"{ucd};stat.max", "84th percentile"),
        ]
    return tuple(out)


ORBITS = (
    STAR_ID,
    Column("n_visits", INT, "", "meta.number;obs", "Visits that were fitted"),
    Column("n_samples", INT, "", "meta.number", "Samples of the posterior"),
    Column("n_prior", INT, "", "meta.number", "Samples of the prior that were tried"),
    Column("method", TEXT, "", "meta.code", "rejection or importance"),
    Column("n_modes", INT, "", "meta.number", "Separate ranges of the period"),
    Column("mode_share", FLOAT, "", "stat.probability", "Share of the largest of them"),
    *_with_limits(_ELEMENTS),
    Column(
        "ln_evidence_ratio",
        FLOAT,
        "",
        "stat.likelihood;arith.ratio",
        "Natural logarithm of how much likelier the visits are with an orbit than without",
    ),
    Column("chi2", FLOAT, "", "stat.fit.chi2", "Of the best sample, without jitter"),
    Column("dof", INT, "", "stat.fit.dof", "Visits less parameters"),
    Column("orbit_status", TEXT, "", "meta.code", "good, or why there is no orbit"),
)
"""One row a star: the orbit, as medians and limits of its posterior samples."""

ORBIT_SAMPLES = (
    STAR_ID,
    Column("sample", INT, "", "meta.number", "Number of the sample, from 0"),
    Column(
        "mode", INT, "", "meta.number", "Range of the period it is in, 0 the largest"
    ),
    *map(_element, ("period", "e", "omega", "t_peri", "k", "k_2", "v0", "jitter")),
    Column("ln_likelihood", FLOAT, "", "stat.likelihood", "Logarithm, natural"),
)
"""One row a sample of the posterior of a star's orbit; offsets follow as columns."""

ORBIT_MODES = (
    STAR_ID,
    ORBIT_SAMPLES[2],
    Column("n_samples", INT, "", "meta.number", "Samples in this mode"),
    Column("share", FLOAT, "", "stat.probability", "Their share of the star's samples"),
    *_with_limits(("period", "k", "e", "v0")),
)
"""One row a mode of a star's orbit: the periods that its velocities allow."""
