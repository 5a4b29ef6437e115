import numpy as np
import pytest
from astropy.io import fits

from steadystar.data.constants import C_KMS
from steadystar.simulate import sky


def test_minutes_and_nights_are_those_of_a_real_header():
    # med-58408-TD230151N343645T01: LMJM 84107311 with DATE-BEG 2018-10-16T20:31:43,
    # local time, in the night LMJD 58408; med-58644: 84447441, 2019-06-10T01:21:18.
    assert sky.local_time(float(sky.minute_to_utc(84107311))) == "2018-10-16T20:31:00.0"
    assert sky.utc_time(float(sky.minute_to_utc(84107311))) == "2018-10-16T12:31:00"
    assert sky.night_of_minute(84107311) == 58408
    assert sky.local_time(float(sky.minute_to_utc(84447441))) == "2019-06-10T01:21:00.0"
    assert sky.night_of_minute(84447441) == 58644


def test_time_and_motion_agree_with_astropy():
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    rng = np.random.default_rng(4)
    mjd = 58_100 + rng.uniform(0, 700, 40)
    ra, dec = rng.uniform(0, 360, 40), rng.uniform(-10, 80, 40)
    bjd, correction = sky.barycentric(mjd, ra, dec)
    site = EarthLocation.from_geodetic(
        sky.SITE.longitude, sky.SITE.latitude, sky.SITE.height
    )
    star = SkyCoord(ra * u.deg, dec * u.deg)
    with iers.conf.set_temp("auto_download", False):
        time = Time(mjd, format="mjd", scale="utc", location=site)
        theirs = star.radial_velocity_correction(obstime=time).to_value(u.km / u.s)
        light = time.light_travel_time(star, "barycentric")
        their_bjd = (time.tdb + light).jd
    # Neglected here: precession of the Earth's axis since 2000, 0.4% of the 0.36 km/s
    # of its turning, and the Earth's own field, 0.2 m/s.
    np.testing.assert_allclose(correction, theirs, atol=0.003)
    # The site is up to 6400 km, 21 ms, from the center of the Earth.
    np.testing.assert_allclose(bjd, their_bjd, atol=0.03 / 86_400)


def test_the_real_headers_have_the_opposite_sign(real_data):
    files = sorted((real_data / "lamost_mrs").glob("med-*"))
    assert files
    for path in files:
        with fits.open(path) as hdus:
            header = hdus[0].header
            minutes = [int(h.header["LMJM"]) for h in hdus[1:] if "LMJM" in h.header]
            exptime = hdus[-1].header["EXPTIME"]
        start = sky.minute_to_utc(np.array(minutes))
        _, correction = sky.barycentric(
            start + exptime / 2 / 86_400, header["RA"], header["DEC"]
        )
        # One number for a night: the Earth's turning changes it by 0.05 km/s an hour.
        assert -header["HELIO_RV"] == pytest.approx(correction.mean(), abs=0.25)


def test_a_year_of_corrections_is_the_orbit_of_the_earth():
    mjd = np.arange(58_000, 58_365.25, 1.0)
    _, correction = sky.barycentric(mjd, 270.0, 66.56)
    # The pole of the ecliptic: only the turning of the Earth and what little it moves
    # out of its plane.
    assert np.abs(correction).max() < 0.4
    _, correction = sky.barycentric(mjd, 0.0, 0.0)
    # 29.8 km/s and a little: eccentricity 1.7%, rotation 0.36, the Sun's own motion.
    assert 29.0 < correction.max() < 31.0
    assert np.abs(correction).max() < 1e-3 * C_KMS
