"""What is doubtful about a column: refused where it must be wrong, noted where it may.

A table does not say that its velocities are meters a second, that a column of errors
is a placeholder, or that somebody already took zero points off. Its numbers do, often.
"""

__all__ = ["doubt_errors", "doubt_velocities"]

import numpy as np
import polars as pl

from steadystar.survey.columns import CatalogError

_SENTINELS = (999.0, 9999.0, 99999.0, 999999.0)
_TOO_FAST = 1500.0
"""km/s. Few stars of the Galaxy move faster; half of a table never does."""
_TOO_VAGUE = 50.0
"""km/s, a median error that is more likely one in m/s."""
_CORRECTED = {
    "rv_b1": "rv_b0",
    "rv_r1": "rv_r0",
    "rv_br1": "rv_br0",
    "rv_lasp1": "rv_lasp0",
}


def doubt_velocities(
    values: pl.Series, source: str, path: str, *, unit_said: bool
) -> list[str]:
    """Return notes on a column of velocities, km/s.

    ``values`` as they stand in the table; ``source`` its name there.

    Raises:
        CatalogError: it holds no velocities, or they cannot be km/s.
    """
    if values.dtype == pl.Boolean or values.dtype.is_temporal():
        holds = "true and false" if values.dtype == pl.Boolean else "dates or times"
        raise CatalogError(
            f"The column {source} of {path} holds {holds}, not velocities. Name the "
            "right one, as in rv=COLUMN."
        )
    velocity = _numbers(values)
    usable = np.isfinite(velocity) & (np.abs(velocity) < 9e5)
    usable &= ~np.isin(np.abs(np.trunc(velocity)), _SENTINELS)
    if not usable.any():
        example = next((v for v in values.to_list() if v is not None), None)
        shows = "is empty" if example is None else f"has {str(example)[:30]!r} at best"
        raise CatalogError(
            f"The column {source} of {path} holds no velocity: it {shows}. Name the "
            "right one, as in rv=COLUMN."
        )
    typical = float(np.median(np.abs(velocity[usable])))
    if not unit_said and typical > _TOO_FAST:
        example = velocity[usable][
            np.argsort(np.abs(velocity[usable]))[usable.sum() // 2]
        ]
        raise CatalogError(
            f"The velocities {source} of {path}, such as {example:g}, are too large for "
            f"km/s, and no unit is given. If they are m/s, say rv={source}[m/s]; if they "
            f"are km/s all the same, say rv={source}[km/s] (option --columns)."
        )
    notes = []
    if values.dtype.is_integer() and not unit_said:
        notes.append(
            f"The velocities {source} are whole numbers: are they rounded, or is it "
            "another column, such as a number or a flag? Name the right one, as in "
            "rv=COLUMN."
        )
    if source in _CORRECTED:
        notes.append(
            f"{source} are velocities from which LAMOST took zero points already; "
            f"{_CORRECTED[source]} are the raw ones."
        )
    return notes


def doubt_errors(values: pl.Series, source: str, *, unit_said: bool) -> list[str]:
    """Return notes on a column of errors, as it stands in the table."""
    error = _numbers(values)
    good = error[np.isfinite(error) & (error > 0) & (error < 9e5)]
    if not len(good):
        note = (
            f"The column of errors {source} has no positive number: no velocity can "
            "enter a solution that weighs them. Name the right one, as in rv_err=COLUMN."
        )
        return [note]
    notes = []
    if len(good) > 10 and np.ptp(good) == 0:
        notes.append(
            f"All errors {source} are {good[0]:g}: a placeholder? Velocities then weigh "
            "the same, whatever their S/N. If there are errors, name them, as in "
            "rv_err=COLUMN."
        )
    typical = float(np.median(good))
    if not unit_said and typical > _TOO_VAGUE:
        notes.append(
            f"The errors {source} are typically {typical:.0f} km/s. If they are m/s, say "
            f"rv_err={source}[m/s] (and so for rv)."
        )
    return notes


def _numbers(values: pl.Series) -> np.ndarray:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
