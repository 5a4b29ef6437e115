"""When and in which direction: local minutes, barycentric time and motion.

The Earth's orbit is that of ERFA's ``epv00``; the observatory goes round the Earth's
axis once a sidereal day. Against the full machinery of astropy this is good to 3 m/s
and 30 ms, as the tests verify: the precession of the axis and the size of the Earth are
left out. It shares nothing with the readers, which must find the same numbers.
"""

__all__ = [
    "SITE",
    "Site",
    "barycentric",
    "galactic",
    "local_time",
    "minute_to_utc",
    "night_of_minute",
    "utc_time",
]

from dataclasses import dataclass

import erfa
import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers

_AU_PER_DAY_KMS = 149_597_870.7 / 86_400
_LIGHT_DAYS_PER_AU = 499.004_783_84 / 86_400
_SUN_POTENTIAL = 887.13  # GM of the Sun over 1 au, km^2/s^2
_MJD_ZERO = 2_400_000.5


@dataclass(frozen=True)
class Site:
    """An observatory: degrees, meters, and hours of its clocks ahead of UTC."""

    longitude: float
    latitude: float
    height: float
    utc_offset: float


SITE = Site(longitude=117.575, latitude=40.3933, height=960.0, utc_offset=8.0)
"""LAMOST at Xinglong."""


def minute_to_utc(minute: Numbers, site: Site = SITE) -> NDArray[np.float64]:
    """Return the MJD (UTC) at the start of a local modified Julian minute."""
    return np.asarray(np.asarray(minute, np.float64) / 1440 - site.utc_offset / 24)


def night_of_minute(minute: Numbers) -> NDArray[np.int64]:
    """Return the night (LMJD), which is the local date of its morning."""
    return np.asarray((np.asarray(minute) + 720) // 1440, np.int64)


def barycentric(
    mjd_utc: Numbers, ra: Numbers, dec: Numbers, site: Site = SITE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return BJD_TDB and the barycentric correction in km/s.

    The correction is positive when the observatory moves to the star. Times and
    positions (degrees) broadcast against each other.
    """
    mjd, ra, dec = np.broadcast_arrays(
        *(np.asarray(value, np.float64) for value in (mjd_utc, ra, dec))
    )
    # 37 leap seconds since 2017, and TT is 32.184 s ahead of TAI; TDB differs from TT
    # by less than 2 ms.
    tdb = mjd + (37 + 32.184) / 86_400
    earth_to_sun, earth = erfa.epv00(np.full(tdb.shape, _MJD_ZERO), tdb)
    position, velocity = earth["p"], earth["v"] * _AU_PER_DAY_KMS
    star = np.stack(
        [
            np.cos(np.radians(dec)) * np.cos(np.radians(ra)),
            np.cos(np.radians(dec)) * np.sin(np.radians(ra)),
            np.sin(np.radians(dec)),
        ],
        axis=-1,
    )
    sidereal = erfa.era00(np.full(mjd.shape, _MJD_ZERO), mjd) + np.radians(
        site.longitude
    )
    # Distance from the axis times 2 pi per sidereal day, on the WGS84 ellipsoid.
    latitude = np.radians(site.latitude)
    radius = 6378.137 / np.sqrt(1 - 0.00669438 * np.sin(latitude) ** 2)
    speed = 7.292115e-5 * (radius + site.height / 1000) * np.cos(latitude)
    turning = np.stack(
        [-speed * np.sin(sidereal), speed * np.cos(sidereal), np.zeros_like(sidereal)],
        -1,
    )
    motion = velocity + turning
    # Clocks on the moving Earth run slow, and those in the field of the Sun: both shift
    # all lines to the blue, together by 4.5 m/s.
    distance = np.linalg.norm(earth_to_sun["p"], axis=-1)
    slow = np.sum(motion**2, axis=-1) / 2 + _SUN_POTENTIAL / distance
    correction = np.sum(motion * star, axis=-1) + slow / C_KMS
    bjd = _MJD_ZERO + tdb + np.sum(position * star, axis=-1) * _LIGHT_DAYS_PER_AU
    return np.asarray(bjd), np.asarray(correction)


def galactic(ra: float, dec: float) -> tuple[float, float]:
    """Return galactic longitude and latitude, all in degrees."""
    longitude, latitude = erfa.icrs2g(np.radians(ra), np.radians(dec))
    return float(np.degrees(longitude)), float(np.degrees(latitude))


def utc_time(mjd: float) -> str:
    """Return a time in MJD as text, to the second."""
    seconds = np.timedelta64(round(mjd * 86_400), "s")
    return str(np.datetime64("1858-11-17T00:00:00") + seconds)


def local_time(mjd_utc: float, site: Site = SITE) -> str:
    """Return the time on the observatory's clocks, as LAMOST's headers write it."""
    return utc_time(mjd_utc + site.utc_offset / 24) + ".0"
