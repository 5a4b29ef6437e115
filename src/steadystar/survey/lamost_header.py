"""What the headers of LAMOST's files say about the target and the exposure.

The primary header is about the plan, the fiber and the target. What is missing there is
taken from the name of the file, ``med-LMJD-PLANID_spNN-FFF.fits.gz``.

Time: an exposure is named after the minute in which it began (LMJM, local modified
Julian minute, local being UTC+8). Compared with DATE-BEG, which gives the second of the
first exposure, LMJM is cut off, not rounded, in all of the six real files of the tests
(18 to 49 s are lost). So an exposure began half a minute after its LMJM, give or take
17 s rms, or when DATE-BEG says if that is in the same minute.
"""

__all__ = ["Target", "exposure_start", "frame_of", "minutes", "night_of"]

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadystar.data.spectra import Frame
from steadystar.survey.header import degrees, integer, text
from steadystar.survey.observation import ReadOptions
from steadystar.survey.observatory import mjd_from_text

_FILE_NAME = re.compile(r"(?:med|spec)-(\d{5})-(.{1,60})_sp(\d\d)-(\d{3})")
_UTC_OFFSET = 8 / 24  # days by which local time is ahead: China Standard Time
_LMJM_RANGE = (55_000 * 1440, 80_000 * 1440)
"""Local minutes of the years 2009, when LAMOST saw first light, to 2077."""


@dataclass(frozen=True)
class Target:
    """What was observed, with what; None, NaN and empty texts where it is unknown."""

    ra: float
    dec: float
    plan: str
    night: int | None
    spectrograph: int | None
    fiber: int | None

    @classmethod
    def of(
        cls, header: Mapping[str, Any], path: str | Path, options: ReadOptions
    ) -> "Target":
        """Collect the facts from the primary header, the file name and the options."""
        name = _FILE_NAME.match(Path(path).name)
        night, plan, spectrograph, fiber = name.groups() if name else ("", "", "", "")
        ra, dec = (
            degrees(header, "RA", "RA_OBS"),
            degrees(header, "DEC", "DEC_OBS", high=90.0),
        )
        if not (np.isfinite(ra) and np.isfinite(dec) and ra >= 0):
            ra, dec = options.coordinates()
        backup = {"LMJD": night, "SPID": spectrograph, "FIBERID": fiber}
        return cls(
            ra=ra,
            dec=dec,
            plan=text(header, "PLANID") or plan,
            night=_first(header, backup, "LMJD", 55_000, 80_000),
            spectrograph=_first(header, backup, "SPID", 1, 99),
            fiber=_first(header, backup, "FIBERID", 1, 999),
        )

    @property
    def place(self) -> str:
        """Spectrograph and fiber in the form of LAMOST's file names; empty if unknown."""
        if self.spectrograph is None or self.fiber is None:
            return ""
        return f"sp{self.spectrograph:02d}-{self.fiber:03d}"

    def row(self, options: ReadOptions) -> dict[str, Any]:
        """Return the columns of the table of visits that all spectra of a file share."""
        return {
            "star_id": options.star_id or None,
            "ra": self.ra,
            "dec": self.dec,
            "field": self.plan or None,
            "night": self.night,
            "telescope": "lamost",
            "spectrograph": self.spectrograph,
            "fiber": self.fiber,
        }


def _first(
    header: Mapping[str, Any], backup: Mapping[str, str], key: str, low: int, high: int
) -> int | None:
    found = integer(header, key, low=low, high=high)
    return integer(backup, key, low=low, high=high) if found is None else found


def frame_of(header: Mapping[str, Any]) -> Frame:
    """Return the frame of the wavelengths: corrected unless HELIO says they are not."""
    return "observatory" if header.get("HELIO") is False else "barycenter"


def exposure_start(minute: int, *headers: Mapping[str, Any]) -> float:
    """Return when the exposure of a local minute began, MJD (UTC).

    ``headers`` are searched for a DATE-BEG (local time) within that minute.
    """
    for header in headers:
        begin = mjd_from_text(text(header, "DATE-BEG"))
        if np.isfinite(begin) and int(np.floor(begin * 1440 + 1e-6)) == minute:
            return begin - _UTC_OFFSET
    return (minute + 0.5) / 1440 - _UTC_OFFSET


def minutes(*texts: str) -> list[int]:
    """Return the believable local minutes (LMJM) in texts like ``84107311-84107335``."""
    low, high = _LMJM_RANGE
    found = (int(part) for t in texts for part in re.findall(r"\d{1,12}", t))
    return [minute for minute in found if low <= minute <= high]


def night_of(minute: int) -> int:
    """Return the night (LMJD) of a minute: it is named after the day it ends in."""
    return int(np.floor(minute / 1440 + 0.5))
