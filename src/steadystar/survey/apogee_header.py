"""Who, where, when of an APOGEE spectrum, from the headers and names of its files.

Names: a visit is ``PLATE-MJD-FIBERID`` at a telescope, in all kinds of files, so that
one visit has one ``visit_id`` whichever file it is read from. ``fiber`` is counted as
on the detector, ``301 - FIBERID``, and 300 more at LCO, as `survey.catalogs` does.

The pipeline writes ``TELESCOP = 'apo25m'`` into the files of LCO, too. The name of a
file (``asVisit``, ``asStar``, ``as1D``) or of its folder (``lco25m``) knows better, and
what never rises above APO's horizon was not seen from there.

Time: ``JD-MID`` is the middle of all exposures of a visit. Where only the start is
known, the exposure time (per dither position, of which there are two) is counted on;
in 28 real files this is 7 to 617 s short of ``JD-MID``, because of the pauses between
exposures. Times are taken as UTC.
"""

__all__ = [
    "RESOLUTION",
    "WAVE_RANGE",
    "Place",
    "add_barycenter",
    "middle_of_visit",
    "position",
    "survey_of",
]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadystar.survey.header import degrees, integer, number, text
from steadystar.survey.observation import ReadOptions, Recorded
from steadystar.survey.observatory import SITES, Site, barycentric, mjd_from_text

RESOLUTION = 22_500.0
"""Nominal, where a file says nothing (Majewski et al. 2017, AJ 154, 94; Wilson et al.
2019, PASP 131, 055001)."""

WAVE_RANGE = (15_140.0, 16_960.0)

_TELESCOPES = ("apo25m", "lco25m", "apo1m")
_VISIT_NAME = re.compile(r"(ap|as)Visit-(?:.*-)?(\w+)-(\d{5})-(\d{3})(?!\d)")
_LOWEST_DEC = -52.0
"""Degrees; what lies south of it culminates less than 5 degrees above APO's horizon."""
_JD0 = 2_400_000.5


@dataclass(frozen=True)
class Place:
    """Telescope, plate, night and fiber; empty or None where unknown."""

    telescope: str
    plate: str
    night: int | None
    fiber_id: int | None

    @classmethod
    def of(cls, header: Mapping[str, Any], path: str | Path, dec: float) -> "Place":
        """Collect what header and file name say; the header's keywords come first."""
        name = _VISIT_NAME.match(Path(path).name)
        _, plate, night, fiber = name.groups() if name else ("", "", "", "")
        backup = {"MJD5": night, "FIBERID": fiber}
        return cls(
            telescope_of(text(header, "TELESCOP"), path, dec),
            text(header, "PLATE", "PLATEID") or plate,
            _first(header, backup, "MJD5", 55_000, 80_000),
            _first(header, backup, "FIBERID", 1, 300),
        )

    @property
    def site(self) -> Site:
        """Where the telescope stands."""
        return SITES["lco" if self.telescope.startswith("lco") else "apo"]

    @property
    def fiber(self) -> int | None:
        """The fiber as counted on the detector, different at the two sites."""
        if self.fiber_id is None:
            return None
        return 301 - self.fiber_id + (300 if self.telescope.startswith("lco") else 0)

    def row(self, fallback: str) -> dict[str, Any]:
        """Return these columns of the table of visits; ``fallback`` names the unknown."""
        plate = self.plate or "unknown"
        named = self.plate and self.night and self.fiber_id is not None
        # All stars of APOGEE's 1 m telescope come through the same fiber.
        if self.telescope == "apo1m" or not named:
            visit = f"apogee-{self.telescope}-{fallback}"
        else:
            visit = f"apogee-{self.telescope}-{plate}-{self.night}-{self.fiber_id:03d}"
        exposure = f"{plate}-{self.night}" if self.plate and self.night else fallback
        return {
            "visit_id": visit,
            "field": self.plate or None,
            "night": self.night,
            "exposure_id": exposure,
            "telescope": self.telescope,
            "fiber": self.fiber,
            "arm": "h",
        }


def telescope_of(said: str, path: str | Path, dec: float) -> str:
    """Return the telescope, of which the header is the last to be asked."""
    path = Path(path)
    if path.name.startswith("as") or dec < _LOWEST_DEC:
        return "lco25m"
    for folder in path.parts[:-1]:
        if folder in _TELESCOPES:
            return folder
    for name in _TELESCOPES:
        if f"-{name}-" in path.name or said.strip().lower() == name:
            return name
    return "apo25m"


def _first(
    header: Mapping[str, Any], backup: Mapping[str, str], key: str, low: int, high: int
) -> int | None:
    found = integer(header, key, low=low, high=high)
    return integer(backup, key, low=low, high=high) if found is None else found


def survey_of(header: Mapping[str, Any]) -> str:
    """Return "sdss-v" if the header has a name or a catalog of that survey in it."""
    said = text(header, "SURVEY").lower()
    newer = said.startswith(("sdss-v", "mwm", "bhm")) or any(
        key in header for key in ("SDSS_ID", "CATID", "V_ASTRA", "SVAPTRG0")
    )
    return "sdss-v" if newer else "apogee"


def position(
    header: Mapping[str, Any], options: ReadOptions
) -> tuple[str | None, float, float]:
    """Return the star's name and place (ICRS, degrees); the options come to help."""
    ra, dec = degrees(header, "RA"), degrees(header, "DEC", high=90.0)
    if not (np.isfinite(ra) and np.isfinite(dec) and ra >= 0):
        ra, dec = options.coordinates()
    name = text(header, "OBJID", "OBJ", "APOGEEID").replace(" ", "")
    return options.star_id or name or None, ra, dec


def middle_of_visit(header: Mapping[str, Any], exptime: float) -> float:
    """Return the middle of a visit as MJD (UTC); ``exptime`` is all of it, in s."""
    middle = number(header, "JD-MID", low=2_440_000.5, high=2_488_000.0) - _JD0
    if not np.isfinite(middle):
        middle = mjd_from_text(text(header, "UT-MID"))
    if not np.isfinite(middle):
        middle = mjd_from_text(text(header, "DATE-OBS")) + exptime / 2 / 86_400
    return middle


def add_barycenter(
    recorded: Sequence[Recorded], middles: Sequence[float], site: Site | None
) -> None:
    """Fill in times and corrections of spectra whose middles (MJD, UTC) are known."""
    ra = [spectrum.facts["ra"] for spectrum in recorded]
    dec = [spectrum.facts["dec"] for spectrum in recorded]
    bjd, correction = barycentric(middles, ra, dec, site)
    for spectrum, time, velocity in zip(recorded, bjd, correction, strict=True):
        spectrum.facts["bjd"] = float(time)
        spectrum.facts["bary_corr"] = float(velocity)
