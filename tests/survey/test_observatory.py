"""Times and velocities against astropy, which computes them by another route."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from steadystar.data.constants import C_KMS
from steadystar.survey.observatory import SITES, Site, barycentric, mjd_from_text


@pytest.mark.parametrize("name", SITES)
def test_times_and_velocities_are_those_of_astropy(name):
    rng = np.random.default_rng(3)
    mjd = rng.uniform(50_000, 60_900, 60)
    ra, dec = rng.uniform(0, 360, 60), np.degrees(np.arcsin(rng.uniform(-1, 1, 60)))
    bjd, correction = barycentric(mjd, ra, dec, SITES[name])

    site = SITES[name]
    location = EarthLocation.from_geodetic(site.longitude, site.latitude, site.height)
    star = SkyCoord(ra * u.deg, dec * u.deg)
    with iers.conf.set_temp("auto_download", False):
        time = Time(mjd, format="mjd", scale="utc", location=location)
        expected = star.radial_velocity_correction(obstime=time).to_value(u.km / u.s)
        light_time = time.light_travel_time(star)
    # UT1-UTC is below 0.9 s and polar motion below 0.6 arcsec: 3 cm/s at the equator.
    np.testing.assert_allclose(correction, expected, atol=3e-5)
    # A float64 Julian date is good to 40 microseconds.
    np.testing.assert_allclose(bjd, (time.tdb + light_time).jd, rtol=0, atol=1e-9)


def test_the_correction_is_positive_when_the_observatory_moves_toward_the_star():
    # On 21 March the Earth moves to where the Sun stands on 21 December's far side:
    # ecliptic longitude 270 deg, at 29.8 km/s (Kepler).
    mjd = mjd_from_text("2020-03-21T12:00:00")
    _, toward = barycentric(mjd, 270.0, -23.4, SITES["lamost"])
    _, away = barycentric(mjd, 90.0, 23.4, SITES["lamost"])
    assert toward == pytest.approx(29.8, abs=0.8)
    assert away == pytest.approx(-29.8, abs=0.8)


def test_light_from_the_far_side_of_the_orbit_arrives_late():
    # On 21 March the Sun is at ra 0: the Earth is at ra 180, 499 s from the Sun.
    mjd = mjd_from_text("2020-03-21T12:00:00")
    near, _ = barycentric(mjd, 180.0, 0.0, None)
    far, _ = barycentric(mjd, 0.0, 0.0, None)
    assert (near - far) * 86_400 == pytest.approx(2 * 499, abs=20)
    # TDB is ahead of UTC by 69.184 s since 2017.
    middle = (near + far) / 2 - 2_400_000.5
    assert (middle - mjd) * 86_400 == pytest.approx(69.184, abs=0.01)


def test_the_velocity_is_the_rate_of_the_light_time():
    # Two outputs of one function, tied by physics: v = -d(light time)/dt.
    mjd, step = 58_407.5, 10 / 86_400
    site = SITES["lamost"]
    before, _ = barycentric(mjd - step, 345.8, 32.2, site)
    after, _ = barycentric(mjd + step, 345.8, 32.2, site)
    _, correction = barycentric(mjd, 345.8, 32.2, site)
    rate = ((after - before) - 2 * step) / (2 * step) * C_KMS
    # Differences of float64 Julian dates over 20 s: 40 us / 20 s is 0.6 km/s; and
    # relativity adds 5 m/s.
    assert correction == pytest.approx(rate, abs=1.0)


def test_stars_times_and_sites_broadcast():
    mjd = np.array([58_000.0, 58_100.0, 58_200.0])
    bjd, correction = barycentric(mjd, 10.0, 20.0, SITES["apo"])
    for i, one in enumerate(mjd):
        alone = barycentric(one, 10.0, 20.0, SITES["apo"])
        assert (bjd[i], correction[i]) == (alone[0], alone[1])


@pytest.mark.parametrize(
    "unknown",
    [(np.nan, 1.0, 2.0), (58_000.0, np.nan, 2.0), (1e9, 1.0, 2.0), (0.0, 1.0, 2.0)],
)
def test_what_is_unknown_or_absurd_gives_nan(unknown):
    bjd, correction = barycentric(*unknown, SITES["apo"])
    assert np.isnan(bjd)
    assert np.isnan(correction)


def test_an_unknown_site_gives_a_time_but_no_velocity():
    geocentric, none = barycentric(58_000.0, 1.0, 2.0, None)
    site, some = barycentric(58_000.0, 1.0, 2.0, Site(10.0, 50.0, 100.0))
    assert np.isnan(none)
    assert np.isfinite(some)
    # The Earth's radius is 21 ms of light.
    assert abs(geocentric - site) * 86_400 < 0.022


def test_the_future_is_no_error():
    bjd, correction = barycentric(69_000.0, 1.0, 2.0, SITES["lco"])
    assert np.isfinite(bjd)
    assert np.isfinite(correction)


@pytest.mark.parametrize(
    ("text", "mjd"),
    [
        ("2018-10-16T12:00:00", 58_407.5),
        ("2018-10-16T12:00:00.0000000", 58_407.5),
        (" 2018-10-16 12:00:00 ", 58_407.5),
        ("2018-10-16T20:00:00+08:00", 58_407.5),
        ("2018-10-16T12:00:00Z", 58_407.5),
        ("yesterday", np.nan),
        ("", np.nan),
        ("2018-13-16T12:00:00", np.nan),
    ],
)
def test_iso_dates_become_julian_dates(text, mjd):
    assert mjd_from_text(text) == pytest.approx(mjd, abs=1e-9, nan_ok=True)
