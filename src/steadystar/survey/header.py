"""What a header says, in the many ways in which headers say it.

A header is a mapping of upper-case keywords to values: of a FITS file, or the comment
lines of a text file. Values come from outside and may be missing, of the wrong kind,
absurd or hostile; every function here gives NaN, None or an empty text for what it
cannot believe, and texts without control characters.
"""

__all__ = ["Facts", "degrees", "integer", "number", "star_name", "text"]

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from steadystar.data.spectra import Frame
from steadystar.survey.observation import ReadOptions
from steadystar.survey.observatory import Site, barycentric, mjd_from_text

_JD0 = 2_400_000.5
_MAX_TEXT = 200


def text(header: Mapping[str, Any], *keys: str) -> str:
    """Return the first of ``keys`` that holds a text or number, as one clean line."""
    for key in keys:
        value = header.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            line = " ".join("".join(_printable(str(value))).split())
            if line:
                return line[:_MAX_TEXT]
    return ""


def _printable(value: str):
    return (letter if letter.isprintable() else " " for letter in value)


def number(
    header: Mapping[str, Any],
    *keys: str,
    low: float = -np.inf,
    high: float = np.inf,
) -> float:
    """Return the first of ``keys`` that is a number from ``low`` to ``high``, or NaN."""
    for key in keys:
        value = header.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            found = float(value)
        except (ValueError, OverflowError):
            continue
        if np.isfinite(found) and low <= found <= high:
            return found
    return float("nan")


def integer(
    header: Mapping[str, Any], *keys: str, low: int = 0, high: int = 2**53
) -> int | None:
    """Return the first of ``keys`` that is a whole number in the range, or None."""
    for key in keys:
        value = number(header, key, low=float(low), high=float(high))
        if value.is_integer():
            return int(value)
    return None


_SEXAGESIMAL = re.compile(
    r"\s*([+-]?)(\d{1,3})[:\shd°]+(\d{1,2})[:\sm']+(\d{1,2}(?:\.\d*)?)[s\"]?\s*"
)


def degrees(
    header: Mapping[str, Any], *keys: str, hours: bool = False, high: float = 360.0
) -> float:
    """Return an angle in degrees from a number of degrees or a sexagesimal text.

    ``hours``: a sexagesimal text counts hours (a number is in degrees all the same).
    ``high``: the largest absolute value that is believed. NaN if there is none.
    """
    for key in keys:
        found = number(header, key, low=-high, high=high)
        if np.isfinite(found):
            return found
        value = header.get(key)
        match = _SEXAGESIMAL.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            continue
        size = int(match[2]) + int(match[3]) / 60 + float(match[4]) / 3600
        angle = (-size if match[1] == "-" else size) * (15 if hours else 1)
        if abs(angle) <= high:
            return angle
    return float("nan")


def star_name(name: str) -> str:
    """Return ``name`` as an identifier: case, spaces, underscores make no difference.

    ``HD 123299``, ``hd123299`` and ``Hd_123299`` are one star; that ``alf Dra`` is the
    same is more than a file says.
    """
    return re.sub(r"[\s_]+", "", name).rstrip("-.,;:").casefold()


@dataclass(frozen=True)
class Facts:
    """Where, when and with what a spectrum was taken, as far as its header says.

    Angles in degrees, times in MJD (UTC; ``bjd`` as it is), exposure in seconds; NaN,
    None and empty texts where the header is silent. ``air``: whether wavelengths are in
    air; None if unsaid.
    """

    star: str
    ra: float
    dec: float
    start: float
    middle: float
    bjd: float
    exptime: float
    snr: float
    site: Site | None
    telescope: str
    field: str
    fiber: int | None
    spectrograph: int | None
    arm: str
    resolution: float
    frame: Frame
    air: bool | None

    @classmethod
    def of(cls, header: Mapping[str, Any], options: ReadOptions) -> "Facts":
        """Collect the facts from a header; ``options`` fill in or overrule."""
        ra, dec = options.coordinates()
        own_ra = degrees(header, "RA", "RA_OBJ", "RA_TARG", "OBJRA", hours=True) % 360
        own_dec = degrees(header, "DEC", "DEC_OBJ", "DEC_TARG", "OBJDEC", high=90.0)
        if np.isfinite(own_ra) and np.isfinite(own_dec):
            ra, dec = own_ra, own_dec
        start, middle, exptime = _times(header)
        resolution = number(
            header,
            *("SPE_RPOW", "BSS_ITRP", "BSS_ESRP", "SPEC_RP", "SPECRP"),
            *("RESOLUTION", "RESOLUTN", "SPECRES", "RESPOWER"),
            low=50.0,
            high=1e6,
        )
        if not np.isfinite(resolution):
            resolution = options.resolution or float("nan")
        return cls(
            star=text(header, "OBJNAME", "OBJECT", "TARGET", "STAR", "STAR_ID"),
            ra=ra,
            dec=dec,
            start=start,
            middle=middle,
            bjd=number(header, "BJD_TDB", "BJD", low=2_415_000.0, high=2_500_000.0),
            exptime=exptime,
            snr=number(header, "SNR", "S_N", "DER_SNR", low=0.0, high=1e5),
            site=_site(header),
            telescope=_telescope(header),
            field=text(header, "FIELD", "PLATE", "PLATEID", "PLANID"),
            fiber=integer(header, "FIBER", "FIBERID", high=10**6),
            spectrograph=integer(header, "SPECTROGRAPH", "SPID", "SPECTRO", high=10**6),
            arm=text(header, "ARM", "CAMERA"),
            resolution=resolution,
            frame=_frame(header, options),
            air=_air(header, options),
        )

    def row(self, options: ReadOptions) -> dict[str, Any]:
        """Return what the table of visits wants to know, as far as it is here."""
        bjd, correction = self._at_barycenter()
        placed = np.isfinite(self.ra) and np.isfinite(self.dec)
        star_id = options.star_id or (None if placed else star_name(self.star) or None)
        # Nights change at local noon and are named after the day that follows, as
        # LAMOST's local modified Julian day is.
        noon = self.middle + 0.5 + (self.site.longitude / 360 if self.site else 0.0)
        return {
            "star_id": star_id,
            "ra": self.ra,
            "dec": self.dec,
            "field": self.field or None,
            "night": int(np.floor(noon)) if np.isfinite(noon) else None,
            "telescope": self.telescope or None,
            "spectrograph": self.spectrograph,
            "fiber": self.fiber,
            "arm": self.arm or "all",
            "bjd": bjd,
            "exptime": self.exptime,
            "snr": self.snr,
            "bary_corr": correction,
        }

    def _at_barycenter(self) -> tuple[float, float]:
        """Return BJD_TDB and barycentric correction."""
        middle = self.middle
        if not np.isfinite(middle) and np.isfinite(self.bjd):
            # The light time changes by 50 ms in the 8 minutes that it can amount to.
            there = self.bjd - _JD0
            middle = there - (barycentric(there, self.ra, self.dec, None)[0] - self.bjd)
        bjd, correction = barycentric(middle, self.ra, self.dec, self.site)
        known = self.bjd if np.isfinite(self.bjd) else bjd
        return float(known), float(correction)


def _times(header: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return start and middle (MJD, UTC) and exposure time (s)."""
    exptime = number(
        header,
        "EXPTIME",
        "EXPOSURE",
        "EXP_TIME",
        "ITIME",
        "DARKTIME",
        low=0.0,
        high=1e7,
    )
    date = text(header, "DATE-OBS", "DATE_OBS", "DATE-BEG")
    if len(date) <= len("2020-01-01"):
        # A date without a time is no time.
        clock = text(header, "TIME-OBS", "UT", "UTC", "UTSTART")
        date = f"{date}T{clock}" if clock else ""
    start = mjd_from_text(date)
    if not np.isfinite(start):
        start = number(
            header, "MJD-OBS", "MJD-BEG", "MJD", low=15_000.0, high=100_000.0
        )
    if not np.isfinite(start):
        start = _julian(header, "JD-OBS", "JD")
    middle = _julian(header, "JD-MID", "MID-JD", "JDMID", "JD_MID")
    if not np.isfinite(middle):
        middle = number(header, "MJD-MID", "MJD-AVG", "MJDMID", low=15_000.0, high=1e5)
    if not np.isfinite(middle):
        middle = start + exptime / 2 / 86_400
    return start, middle, exptime


def _julian(header: Mapping[str, Any], *keys: str) -> float:
    # Zero, for "unknown", is outside the range.
    return number(header, *keys, low=2_415_000.0, high=2_500_000.0) - _JD0


def _site(header: Mapping[str, Any]) -> Site | None:
    longitude = degrees(
        header, "GEO_LONG", "BSS_LONG", "OBSGEO-L", "SITELONG", "LONGITUD", "OBS-LONG"
    )
    latitude = degrees(
        header,
        *("GEO_LAT", "BSS_LAT", "OBSGEO-B", "SITELAT", "LATITUDE", "OBS-LAT"),
        high=90.0,
    )
    height = number(
        header,
        *("GEO_ELEV", "BSS_ELEV", "OBSGEO-H", "ALTITUDE", "OBS-ELEV", "SITEALT"),
        low=-500.0,
        high=9000.0,
    )
    if not (np.isfinite(longitude) and np.isfinite(latitude)):
        return None
    # Without a height, sea level: 1 km is 7 cm/s.
    return Site(longitude, latitude, height if np.isfinite(height) else 0.0)


def _telescope(header: Mapping[str, Any]) -> str:
    # In the network of amateurs (BeSS) an observer is an observatory; their sites are
    # spelled in more ways than one.
    if "BSS_SITE" in header:
        return text(header, "OBSERVER", "BSS_SITE")
    return text(header, "TELESCOP", "OBSERVAT", "SITE", "OBSERVER", "INSTRUME")


def _frame(header: Mapping[str, Any], options: ReadOptions) -> Frame:
    if options.frame != "auto":
        return options.frame
    system = text(header, "SPECSYS").upper()
    # BSS_VHEL is the velocity by which the wavelengths were corrected; 0 if not.
    applied = number(header, "BSS_VHEL")
    corrected = (
        system.startswith(("BARY", "HELIO"))
        or header.get("HELIO") is True
        or (np.isfinite(applied) and applied != 0)
    )
    return "barycenter" if corrected else "observatory"


def _air(header: Mapping[str, Any], options: ReadOptions) -> bool | None:
    if options.wavelengths != "auto":
        return options.wavelengths == "air"
    kind = text(header, "CTYPE1").upper()
    if kind.startswith("AWAV"):
        return True
    if kind.startswith("WAVE-") or kind == "WAVE" or header.get("VACUUM") is True:
        return False
    said = text(header, "AIRORVAC", "WAVETYPE", "WAVEMED", "MEDIUM").casefold()
    if said.startswith(("air", "vac")):
        return said.startswith("air")
    # The BeSS format (basebe.obspm.fr) asks for wavelengths in air.
    return True if "BSS_SITE" in header or header.get("VACUUM") is False else None
