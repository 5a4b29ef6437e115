"""Where and when: sites, times at the barycenter, velocities toward the star.

Two numbers of an exposure depend on where the Earth is: the time at which its light
would have passed the barycenter of the solar system, and how fast the observatory moved
toward the star. Both come from the same vectors. With ``r`` and ``beta = v/c`` the
barycentric position and velocity of the observatory, ``n`` the direction of the star
and ``phi`` the (negative) gravitational potential of Sun and Earth there,

    BJD_TDB   = t_TDB + n.r / c
    1 + z_bar = gamma (1 + n.beta) / (1 + phi/c^2)          bary_corr = c z_bar

(Wright & Eastman 2014, PASP 126, 838, equation 28, without the motion of the star),
to be used as ``rv_raw = c [(1 + rv_obs/c)(1 + bary_corr/c) - 1]``. The Earth is that of
ERFA's ``epv00``, within 5 mm/s and 14 km (45 microseconds) of JPL's DE405, and comes
with it, so nothing is downloaded. UT1 is taken as UTC, less than 0.9 s away, and polar
motion as zero: 3 cm/s at most.

`astropy.coordinates.SkyCoord.radial_velocity_correction` gives the same numbers (to
2 cm/s, see the tests), in ten times the time, and with tables of the Earth's rotation
that it wants to keep up to date over the network.
"""

__all__ = ["SITES", "Site", "barycentric", "mjd_from_text"]

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadystar.data.constants import C_KMS

_MJD0 = 2_400_000.5
_DAY = 86_400.0
_AU_KM = 149_597_870.7  # exact: IAU 2012 resolution B2
_GM_SUN = 1.327_124_4e11  # km^3/s^2, nominal: IAU 2015 resolution B3
_GM_EARTH = 3.986_004e5  # km^3/s^2, nominal: IAU 2015 resolution B3

_FIRST_MJD, _LAST_MJD = 36_934.0, 88_068.0
"""1960, when UTC began, to 2100, the end of the range of ``epv00``."""


@dataclass(frozen=True)
class Site:
    """An observatory: degrees east, degrees north, meters above the ellipsoid."""

    longitude: float
    latitude: float
    height: float


SITES: dict[str, Site] = {
    # Longitude and latitude as LAMOST's headers have them (LONGITUD, LATITUDE); the
    # height is that of Xinglong station. 100 m are 7 mm/s.
    "lamost": Site(117.58, 40.39, 960.0),
    # Both as in the observatory list of IRAF (noao$lib/obsdb.dat).
    "apo": Site(-105.82, 32.78, 2798.0),
    "lco": Site(-70.701667, -29.003333, 2282.0),
}
"""Observatories known by name."""


def barycentric(
    mjd_utc: ArrayLike | float,
    ra: ArrayLike | float,
    dec: ArrayLike | float,
    site: Site | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the BJD_TDB (days) and the barycentric correction (km/s, see `bary_corr`).

    Arguments:
        mjd_utc: middle of the exposure, modified Julian date UTC.
        ra, dec: ICRS degrees; FK5 J2000 agrees to 20 mas, a tenth of a mm/s.
        site: None if unknown: the time is then that of the Earth's center, right to
            21 ms, and the correction NaN.

    All broadcast against each other. The correction is positive when the observatory
    moves toward the star. Times outside 1960 to 2100, and what is not finite, give NaN.
    """
    mjd, ra, dec = np.broadcast_arrays(
        *(np.asarray(value, np.float64) for value in (mjd_utc, ra, dec))
    )
    shape = mjd.shape
    mjd, ra, dec = mjd.ravel(), ra.ravel(), dec.ravel()
    known = (mjd > _FIRST_MJD) & (mjd < _LAST_MJD)
    known &= np.isfinite(ra) & np.isfinite(dec)
    when = np.where(known, mjd, 51_544.5)

    star = erfa.s2c(np.radians(ra), np.radians(dec))
    tt1, tt2, tdb1, tdb2 = _times(when)
    with warnings.catch_warnings():
        # "Dubious year" is ERFA's word for the future.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        heliocentric, earth = erfa.epv00(tdb1, tdb2)
    sun_distance = np.linalg.norm(heliocentric["p"], axis=-1) * _AU_KM
    position = earth["p"] * _AU_KM
    velocity = earth["v"] * (_AU_KM / _DAY)
    offset = None
    if site is not None:
        offset, motion = _site_in_space(site, when, tt1, tt2)
        position, velocity = position + offset, velocity + motion

    light_time = np.sum(position * star, axis=-1) / C_KMS / _DAY
    bjd = tdb1 + (tdb2 + light_time)
    if offset is None:
        correction = np.full(bjd.shape, np.nan)
    else:
        earth_distance = np.linalg.norm(offset, axis=-1)
        potential = (_GM_SUN / sun_distance + _GM_EARTH / earth_distance) / C_KMS**2
        beta = velocity / C_KMS
        gamma = 1 / np.sqrt(1 - np.sum(beta**2, axis=-1))
        ratio = gamma * (1 + np.sum(beta * star, axis=-1)) * (1 + potential)
        correction = C_KMS * (ratio - 1)
    bjd, correction = (np.where(known, x, np.nan) for x in (bjd, correction))
    return bjd.reshape(shape), correction.reshape(shape)


def _times(mjd: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return TT and TDB, two parts each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        tai1, tai2 = erfa.utctai(_MJD0, mjd)
        tt1, tt2 = erfa.taitt(tai1, tai2)
        # At the Earth's center; the site adds 2 microseconds.
        tdb_minus_tt = erfa.dtdb(tt1, tt2, mjd % 1.0, 0.0, 0.0, 0.0)
    return tt1, tt2, tt1, tt2 + tdb_minus_tt / _DAY


def _site_in_space(
    site: Site, mjd: NDArray[np.float64], tt1, tt2
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the site's geocentric position (km) and velocity (km/s), ICRS axes."""
    moving = erfa.pvtob(
        np.radians(site.longitude),
        np.radians(site.latitude),
        site.height,
        0.0,
        0.0,
        0.0,
        erfa.era00(_MJD0, mjd),
    )
    from_intermediate = np.swapaxes(erfa.c2i00b(tt1, tt2), -1, -2)
    moving = erfa.rxpv(from_intermediate, moving)
    return moving["p"] / 1e3, moving["v"] / 1e3


def mjd_from_text(text: str) -> float:
    """Return the modified Julian date of an ISO 8601 date and time; NaN if it is none.

    A time zone in the text is obeyed. The leap second 23:59:60 is not known.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return float("nan")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1858, 11, 17, tzinfo=UTC)
    return since.days + (since.seconds + since.microseconds / 1e6) / _DAY
