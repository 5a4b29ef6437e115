"""By what the zero points of a survey usually differ.

Nobody needs to know by heart that LAMOST drifts from exposure to exposure and APOGEE
differs from fiber to fiber: where no families of offsets are asked for, each survey has
its usual ones, looked up here by the ``survey`` column of the visits.
"""

__all__ = [
    "USUAL",
    "Usual",
    "families_by_survey",
    "with_usual_families",
    "with_usual_width",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.data.schema import OFFSETS

Families = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Usual:
    """The families of offsets of a survey, why these, and how wide they are.

    ``width``: km/s, of offsets that stay undetermined when too few others are known to
    measure it; None where the options' widths are right.
    """

    by: Families
    source: str
    width: float | None = None


_LAMOST = Usual(
    (("spectrograph", "arm", "exposure_id"),),
    "Xiong et al. 2021, section 3: exposures of a spectrograph and arm drift together.",
)
_APOGEE = Usual(
    (("telescope", "fiber"),),
    "Saydjari et al. 2025, section 5.1: constant offsets from fiber to fiber.",
)
_ANY = Usual(
    (("telescope",),),
    "Every spectrograph has a zero of its own: those of eleven amateurs who observed "
    "alpha Dra scatter by 0.5 km/s (benchmarks/alpha_dra.py).",
    0.5,
)
USUAL: Mapping[str, Usual] = {
    "lamost-mrs": _LAMOST,
    "lamost-lrs": _LAMOST,
    "apogee": _APOGEE,
    "sdss-v": _APOGEE,
    "desi": Usual(
        (("spectrograph", "exposure_id"),),
        "Ten spectrographs, one a petal, calibrated exposure by exposure; velocities "
        "are accurate to 1 km/s (Koposov et al. 2024, MNRAS 533, 1012).",
        1.0,
    ),
    "fits": _ANY,
    "text": _ANY,
    "specutils": _ANY,
}
"""Usual families by survey, as the ``survey`` column calls it."""


def families_by_survey(visits: pl.DataFrame) -> dict[Families, list[str | None]]:
    """Return which surveys of a table share which usual families.

    Visits of a survey that is not in `USUAL`, or that name none, come under families of
    `telescope`, as those of a file of no known survey do.
    """
    names: list[str | None] = [None]
    if "survey" in visits.columns:
        names = visits["survey"].cast(pl.String).unique().sort().to_list()
    found: dict[Families, list[str | None]] = {}
    for name in names or [None]:
        found.setdefault(USUAL.get(name or "", _ANY).by, []).append(name)
    return found


def with_usual_families(
    visits: pl.DataFrame, options: ZeroPointOptions
) -> tuple[ZeroPointOptions, list[str]]:
    """Return ``options`` with families of offsets, and notes on where they come from.

    Options that name families are returned as they are.

    Raises:
        CalibrationError: a column cannot name groups, the survey is unknown, the table
            lacks a column of its families, or it holds surveys whose families differ.
    """
    _refuse(options.by)
    if options.by:
        return options, []
    names: list[str] = []
    if "survey" in visits.columns:
        names = visits["survey"].cast(pl.String).drop_nulls().unique().sort().to_list()
    known = [name for name in names if name in USUAL]
    if not known:
        return _by_columns(visits, options, names)
    usual = USUAL[known[0]]
    if any(USUAL.get(name, _ANY).by != usual.by for name in names):
        raise CalibrationError(
            f"The table holds visits of {', '.join(names)}, whose usual families of "
            "offsets differ: calibrate each survey by itself, or name families for all "
            "of them, such as --by survey,fiber."
        )
    missing = [c for family in usual.by for c in family if c not in visits.columns]
    if missing:
        wanted = " and ".join("+".join(family) for family in usual.by)
        raise CalibrationError(
            f"The zero points of {known[0]} are usually solved by {wanted}, but the "
            f"table has no column {', '.join(missing)}: add it, or name the families, "
            "as in --by fiber."
        )
    return with_usual_width(replace(options, by=usual.by), known), []


def _refuse(by: Families) -> None:
    """Refuse columns that are no groups of visits, or named like those of results."""
    for column in (column for family in by for column in family):
        name = column.partition("@")[0].strip()
        if name in _MEASURED:
            raise CalibrationError(
                f"Offsets by {name} have no meaning: {_MEASURED[name]}. Name a column "
                "whose visits share a zero point, such as an exposure or a fiber."
            )
        if column in _RESULTS:
            raise CalibrationError(
                f"Offsets cannot be by a column called {name}: the table of offsets has "
                f"a column of that name. Give it another, as in --columns group={name} "
                "--by group."
            )


_MEASURED = {
    **dict.fromkeys(
        ("rv", "rv_raw", "rv_err", "rv_raw_err", "rv_obs"),
        "it is what is measured, and hardly two visits share it",
    ),
    **dict.fromkeys(("correction", "correction_err"), "it is what comes out"),
    "star_id": "what all visits of a star have in common is the star's own velocity",
    "visit_id": "no star has two visits of one name, so nothing ties one to another",
    "status": "its flags say which visits are good",
}
_RESULTS = tuple(
    column.name for column in OFFSETS if column.name not in ("survey", "arm")
)


def _by_columns(
    visits: pl.DataFrame, options: ZeroPointOptions, names: list[str]
) -> tuple[ZeroPointOptions, list[str]]:
    """Take LAMOST's families where the table has exactly their columns; say so."""
    of = f"of {', '.join(names)[:80]} " if names else ""
    (family,) = _LAMOST.by
    if set(family) <= set(visits.columns):
        note = (
            f"No families of offsets were named, and those usual for visits {of}are not "
            f"known: they are by {', '.join(family)}, which the table has."
        )
        return replace(options, by=_LAMOST.by), [note]
    raise CalibrationError(
        f"By what the zero points of visits {of}differ is not known: name the columns "
        "that share a zero point, as in --by telescope,fiber (in Python: by=...); the "
        f"table has {', '.join(visits.columns[:40])}."
    )


def with_usual_width(
    options: ZeroPointOptions, surveys: Sequence[str | None]
) -> ZeroPointOptions:
    """Return ``options`` with the width of the surveys' undetermined offsets.

    The widest of several; a width that was chosen (not the default) stays.
    """
    default = ZeroPointOptions().prior_width
    widths = [USUAL.get(name or "", _ANY).width or default for name in surveys]
    if options.prior_width != default or not widths:
        return options
    return replace(options, prior_width=max(widths))
