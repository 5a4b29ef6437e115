"""Columns of labels: temperature, gravity, metallicity, rotation.

``LABELS`` has one row a fit, ``STAR_LABELS`` are those of a star. `steadystar.data.schema`
lists them under ``TABLES``.
"""

__all__ = ["LABELS", "LABEL_NAMES", "STAR_LABELS"]

from dataclasses import replace
from itertools import combinations

from steadystar.data.column import FLOAT, INT, RV, STATUS, TEXT, Column
from steadystar.data.visit_columns import VISITS

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
            Column(name, FLOAT, unit, ucd, meaning),
            Column(f"{name}_err", FLOAT, unit, error, f"Error of {name}"),
            Column(
                f"{name}_fit_err",
                FLOAT,
                unit,
                error,
                f"Error of {name} as the fit gave it, where {name}_err is calibrated",
                optional=True,
            ),
            Column(
                f"{name}_common_err",
                FLOAT,
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
                FLOAT,
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
        Column("n_labels", INT, "", "meta.number;obs", "Spectra with labels"),
    ]
    for name, (unit, ucd, meaning) in LABEL_NAMES.items():
        out += [
            Column(name, FLOAT, unit, f"{ucd};stat.mean", f"{meaning}, S/N^2 mean"),
            Column(
                f"{name}_scatter",
                FLOAT,
                unit,
                f"stat.stdev;{ucd}",
                "Weighted standard deviation of single spectra",
            ),
            Column(f"{name}_err", FLOAT, unit, f"stat.error;{ucd}", "Of the mean"),
            Column(
                f"{name}_mean",
                FLOAT,
                unit,
                f"{ucd};stat.mean",
                f"{meaning}, inverse-variance mean with calibrated errors",
            ),
            Column(
                f"{name}_mean_err",
                FLOAT,
                unit,
                f"stat.error;{ucd}",
                f"Error of {name}_mean",
            ),
            Column(f"{name}_chi2", FLOAT, "", "stat.fit.chi2", f"About {name}_mean"),
            Column(
                f"{name}_p_value",
                FLOAT,
                "",
                "stat.probability",
                f"Probability of a larger {name}_chi2 if it does not vary",
            ),
        ]
    return tuple(out)


STAR_LABELS = tuple(replace(column, optional=True) for column in _labels_of_a_star())
"""What the table of stars has besides, where labels were measured."""

LABELS = (
    *(
        column
        for column in VISITS
        if column.name not in ("bary_corr", "lamp", "n_good", "ivar_scale", "status")
    ),
    Column("method", TEXT, "", "meta.code", "How the labels were measured"),
    Column("model", TEXT, "", "meta.id;meta.modelled", "Model that was fitted"),
    *_labels_of_a_spectrum(),
    Column("rv_raw", FLOAT, "km/s", RV + ";pos.barycenter", "Velocity fitted along"),
    Column("rv_raw_err", FLOAT, "km/s", "stat.error;" + RV, "Error of rv_raw"),
    Column("n_good", INT, "", "meta.number", "Usable pixels"),
    Column("chi2", FLOAT, "", "stat.fit.chi2", "Chi squared of the best model"),
    Column("dof", INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
    Column(
        "ivar_scale",
        FLOAT,
        "",
        "stat.fit.chi2;arith.ratio",
        "Scatter of the residuals over what the inverse variance predicts",
    ),
    STATUS,
)
"""One row a fit: an arm of an exposure, or (``arm = "all"``) all its arms at once."""
