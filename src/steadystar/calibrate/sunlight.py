"""How fast reflected sunlight recedes, for spectra of the sky and of the Moon.

A velocity of motion. Sunlight is redshifted by 633 m/s besides as it leaves the Sun
(G M / R c, with the nominal values of IAU 2015 resolution B3) and shifted to the blue by
some 0.3 km/s by its convection, differently from line to line: what is left of these
against the templates in use is the zero of the scale. Lists of standards whose zero was
set by sunlight (Chubak et al. 2012) contain it likewise.
"""

__all__ = ["sunlight"]

from typing import Literal

import numpy as np
from astropy import units
from astropy.coordinates import EarthLocation, get_body_barycentric_posvel
from astropy.time import Time
from astropy.utils import iers
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError
from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.survey.observatory import SITES, Site

_GM_SUN = 1.327_124_4e11  # km^3/s^2, nominal: IAU 2015 resolution B3


def sunlight(
    mjd_utc: Numbers, site: Site | str, via: Literal["sky", "moon"] = "sky"
) -> NDArray[np.float64]:
    """Return the velocity of reflected sunlight relative to an observatory, km/s, ``(n,)``.

    Positive when its path grows longer: that from the Sun to the observatory for the
    bright sky (twilight, day), that from the Sun to the Moon and on to the observatory for
    moonlight. The observer's clock runs slow by his motion and in the Sun's field, which
    makes 4.5 m/s. From astropy's built-in ephemerides, without a network: the velocity is
    right to 2 m/s, the Moon's, of its center, to 5 m/s of its rotation besides.

    Arguments:
        mjd_utc: middle of the exposure, modified Julian date UTC (not at the barycenter).
        site: an observatory, or the name of one in `survey.observatory.SITES`.
        via: what sends the light.

    Raises:
        CalibrationError: an unknown site or way.
    """
    if isinstance(site, str):
        if site not in SITES:
            raise CalibrationError(
                f"There is no site {site!r}: choose among {', '.join(SITES)}, or give a "
                "Site with longitude, latitude and height."
            )
        site = SITES[site]
    if via not in ("sky", "moon"):
        raise CalibrationError(f"Sunlight comes via 'sky' or 'moon', not {via!r}.")
    mjd = np.atleast_1d(np.asarray(mjd_utc, np.float64))
    good = np.isfinite(mjd)
    # What the Earth's rotation may be off by, a second in years ahead, is 3 cm/s.
    with (
        iers.conf.set_temp("auto_download", value=False),
        iers.conf.set_temp("auto_max_age", value=None),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        time = Time(np.where(good, mjd, 51_544.5), format="mjd", scale="utc")
        place = EarthLocation.from_geodetic(
            site.longitude * units.deg, site.latitude * units.deg, site.height * units.m
        )
        observer = _plus(_body("earth", time), _numbers(place.get_gcrs_posvel(time)))
    sun = _body("sun", time)
    speed2 = np.sum((observer[1] - sun[1]) ** 2, axis=0)
    potential = _GM_SUN / np.linalg.norm(observer[0] - sun[0], axis=0)
    clock = (potential + speed2 / 2) / C_KMS
    if via == "sky":
        rate = _growth(sun, observer)
    else:
        moon = _body("moon", time)
        rate = _growth(sun, moon) + _growth(moon, observer)
    return np.where(good, rate - clock, np.nan)


def _body(name: str, time: Time):
    return _numbers(get_body_barycentric_posvel(name, time, ephemeris="builtin"))


def _numbers(posvel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return position (km) and velocity (km/s), both ``(3, n)``."""
    position, velocity = posvel
    return (
        position.xyz.to_value(units.km),
        velocity.xyz.to_value(units.km / units.s),
    )


def _plus(one, other):
    return one[0] + other[0], one[1] + other[1]


def _growth(source, target) -> NDArray[np.float64]:
    """Rate at which the distance of two bodies grows, km/s."""
    away, motion = target[0] - source[0], target[1] - source[1]
    return np.sum(away * motion, axis=0) / np.linalg.norm(away, axis=0)
