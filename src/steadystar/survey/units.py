"""Units of foreign columns: what a file says, what a user says, what numbers betray.

Velocities become km/s, angles degrees, dates BJD. A unit may stand in the file (FITS,
VOTable, ECSV), in the name of a column (``RV [m/s]``), or be said by the user
(``rv=V[m/s]``), who is believed first. What none of them says is not guessed where a
wrong guess would pass unseen: it is refused, with the words that would say it.
"""

__all__ = ["UnitError", "bjd_of", "degrees_of", "split_unit", "velocity_factor"]

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.survey.header import degrees

_MJD0 = 2_400_000.5


class UnitError(ValueError):
    """A unit that is unknown or unfit; the message begins with what it is."""


_KMS = ("km/s", "kms-1", "kms^-1", "kms")
_MS = ("m/s", "ms-1", "ms^-1")
_ANGLE = {
    **dict.fromkeys(("deg", "degree", "degrees", "d", "°"), 1.0),
    **dict.fromkeys(("h", "hr", "hour", "hours", "hourangle", "hms"), 15.0),
    **dict.fromkeys(("rad", "radian", "radians"), 180 / np.pi),
}
_DATE = {
    **dict.fromkeys(("jd", "bjd", "hjd", "bjd_tdb", "bjdtdb"), 0.0),
    **dict.fromkeys(("mjd", "bmjd", "hmjd", "jd-2400000.5"), _MJD0),
    **dict.fromkeys(("rjd", "jd-2400000", "bjd-2400000", "hjd-2400000"), 2_400_000.0),
    **dict.fromkeys(("jd-2450000", "bjd-2450000", "hjd-2450000"), 2_450_000.0),
    **dict.fromkeys(("jd-2440000", "bjd-2440000", "hjd-2440000"), 2_440_000.0),
}
_DAYS = ("d", "day", "days")
_IN_NAME = re.compile(r"^(.*\S)\s*[\[(]\s*([^\[\]()]+?)\s*[\])]$")


def split_unit(name: str) -> tuple[str, str | None]:
    """Split ``V[m/s]`` into the name and the unit in brackets; None if there is none."""
    match = _IN_NAME.match(name.strip())
    return (match[1], match[2]) if match else (name.strip(), None)


def velocity_factor(unit: str | None) -> float | None:
    """Return what turns a velocity into km/s; None if no unit is given.

    Raises:
        UnitError: the unit is none of km/s and m/s, however they are spelled.
    """
    if unit is None or unit.strip() in ("", "-", "--", "None"):
        return None
    plain = re.sub(r"sec(ond)?s?\b", "s", unit.strip())
    plain = re.sub(r"[\s.*{}()]|\\", "", plain)
    if plain.casefold() in _KMS:
        return 1.0
    if plain in _MS:  # a capital M is mega
        return 1e-3
    raise UnitError(f"the unit {unit!r}, which is neither km/s nor m/s")


def degrees_of(
    values: pl.Series, unit: str | None, *, hours: bool
) -> NDArray[np.float64]:
    """Return an angle in degrees, NaN where there is none.

    Arguments:
        values: numbers, or texts such as ``14:04:23.3``.
        unit: of the numbers; degrees if None.
        hours: whether texts with colons count hours, as right ascensions do.

    Raises:
        UnitError: the unit is no angle.
    """
    factor = 1.0
    if unit is not None and unit.strip():
        plain = unit.strip().casefold()
        if plain in ('"h:m:s"', "h:m:s", '"d:m:s"', "d:m:s"):
            plain = "deg"
        if plain not in _ANGLE:
            raise UnitError(f"the unit {unit!r}, which is none of deg, h and rad")
        factor = _ANGLE[plain]
    if values.dtype == pl.String:
        found = values.str.strip_chars().cast(pl.Float64, strict=False)
        rest = found.is_null() & values.is_not_null()
        if rest.any():
            parsed = [
                degrees({"angle": text}, "angle", hours=hours) / factor
                for text in values.filter(rest).to_list()
            ]
            numbers = found.to_numpy(writable=True)
            numbers[rest.to_numpy()] = parsed
            return numbers * factor
    else:
        found = values.cast(pl.Float64, strict=False)
    return found.fill_null(np.nan).to_numpy() * factor


def bjd_of(values: NDArray[np.float64], unit: str | None, name: str):
    """Return dates as BJD and a note; dates of unknown zero are NaN, and said to be.

    ``unit``: what the file or the user says: JD, MJD, RJD, JD-2450000, or days. ``name``
    is the column's: one that is called MJD or RJD holds what it is called.

    Raises:
        UnitError: the unit is no date.
    """
    said = (unit or "").strip().casefold().replace(" ", "")
    if said and said not in _DAYS and said not in _DATE:
        raise UnitError(f"the unit {unit!r}, which is none of JD, MJD and JD-2400000")
    zero = _DATE.get(said)
    plain = name.strip().casefold().replace(" ", "")
    if zero is None and plain in _DATE and _DATE[plain]:
        zero = _DATE[plain]
    known = np.isfinite(values) & (values != 0)
    whole = known & (values > 2_300_000) & (values < 2_600_000)
    if zero is not None and zero > 0 and not whole.any():
        return np.where(known, values + zero, np.nan), ""
    dates = np.where(whole, values, np.nan)
    odd = known & ~whole
    if not odd.any():
        return dates, ""
    example = values[odd][0]
    return dates, (
        f"{int(odd.sum())} of {len(values)} dates in column {name} are no Julian dates, "
        f"such as {example:g}, and were left out: say what they are, as in "
        f"bjd={name}[MJD] or bjd={name}[JD-2450000]."
    )
