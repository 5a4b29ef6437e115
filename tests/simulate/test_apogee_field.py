"""A simulated field of APOGEE, read back with astropy."""

import numpy as np
import polars as pl
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.io import fits
from astropy.time import Time

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden
from steadystar.models.library import bundled
from steadystar.simulate.apogee_field import FieldStar, simulate_visits

STAR = FieldStar("2M12000000+2000000", 180.0, 20.0, (4800.0, 4.5, 0.0), rv=35.0)


def test_a_visit_holds_the_star_at_its_velocity_in_the_stated_noise(tmp_path):
    truth = simulate_visits(tmp_path / "field", STAR, [58000, 58100])
    assert truth["night"].to_list() == [58000, 58100]
    assert (truth["rv_true"] == 35.0).all()
    models = bundled("h-band")
    flux = models(STAR.labels).flux
    for row in truth.iter_rows(named=True):
        with fits.open(row["path"]) as hdus:
            header, seen = hdus[0].header, hdus[1].data[1].astype(float)[::-1]
            error, mask = hdus[2].data[1][::-1], hdus[3].data[1][::-1]
            wave = hdus[4].data[1][::-1]
        shift = (1 + STAR.rv / C_KMS) / (1 + row["bary_corr"] / C_KMS)
        expected = broaden(
            models.wave * shift, flux, wave, resolution=23500.0, vsini=STAR.vsini
        )
        clean = mask == 0
        level = np.polyfit(wave[clean], (seen / expected)[clean], 3)
        pull = (seen / expected - np.polyval(level, wave)) * expected / error
        # 3500 pixels know their scatter to 1.2 percent; a cubic is the continuum.
        assert abs(pull[clean].std() - 1) < 0.05
        wrong = broaden(models.wave, flux, wave, resolution=23500.0)
        assert ((seen / wrong)[clean].std()) > 1.5 * (seen / expected)[clean].std()
        assert (error[mask & 1 != 0] > 1e9).all()
        assert header["VHELIO"] == row["rv_header"]


def test_corrections_are_those_of_astropy(tmp_path):
    truth = simulate_visits(tmp_path, STAR, [58000, 58100])
    place = EarthLocation.from_geodetic(-105.82 * u.deg, 32.78 * u.deg, 2788 * u.m)
    for row in truth.iter_rows(named=True):
        time = Time(fits.getheader(row["path"])["JD-MID"], format="jd", location=place)
        star = SkyCoord(STAR.ra * u.deg, STAR.dec * u.deg)
        expected = star.radial_velocity_correction(obstime=time).to_value(u.km / u.s)
        # What the simulator leaves out is 3 m/s.
        assert abs(row["bary_corr"] - expected) < 0.006


def test_odd_lines_are_the_same_in_all_visits_and_in_no_model(tmp_path):
    odd = FieldStar(
        "odd", 180.0, 20.0, (4800.0, 4.5, 0.0), 35.0, odd_lines=800, snr=500.0
    )
    truth = simulate_visits(tmp_path / "odd", odd, [58000, 58001])
    again = simulate_visits(tmp_path / "again", odd, [58000, 58001])
    assert truth.drop("path").equals(again.drop("path"))
    flux = [fits.getdata(path, 1)[2] for path in truth["path"]]
    same = [fits.getdata(path, 1)[2] for path in again["path"]]
    np.testing.assert_array_equal(flux, same)
    plain = FieldStar("odd", 180.0, 20.0, (4800.0, 4.5, 0.0), 35.0, snr=500.0)
    few = simulate_visits(tmp_path / "plain", plain, [58000])
    bare = fits.getdata(few["path"][0], 1)[2]
    good = bare > 0
    assert flux[0][good].std() > 1.3 * bare[good].std()
    assert isinstance(truth, pl.DataFrame)
