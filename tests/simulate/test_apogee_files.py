"""What the simulator writes is what the data models say, read back with astropy."""

from datetime import datetime

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from steadystar.simulate.apogee_files import (
    LSF_TYPICAL,
    Visit,
    detector_wavelengths,
    rest_grid,
    write_exposure,
    write_mwm_visit,
    write_star,
    write_visit,
)

START = datetime(2014, 1, 20, 8, 17, 25)


def visit(shape=(3, 4096), **changes) -> Visit:
    rng = np.random.default_rng(4)
    size = shape[-1]
    wave = detector_wavelengths(size) if len(shape) == 2 else rest_grid(size)
    values = {
        "star": "2M08501918+1056436",
        "ra": 132.58,
        "dec": 10.95,
        "plate": "7268",
        "night": 56_677,
        "fiber_id": 42,
        "start": START,
        "exptime": 4004.0,
        "wave": wave,
        "flux": rng.normal(800, 10, shape),
        "error": np.full(shape, 10.0),
        "mask": rng.integers(0, 2, shape).astype(np.int16) * 4096,
        "sky": rng.normal(20, 1, shape),
        "velocity": 24.3458,
        "bary_corr": 6.2516,
        "snr": 80.0,
    }
    return Visit(**(values | changes))


def test_detectors_run_from_red_to_blue_with_the_gaps_of_the_real_ones():
    wave = detector_wavelengths()
    assert (np.diff(wave, axis=1) < 0).all()
    # First and last pixels of a real file, apVisit-r13-9518-57729-104: to 1 Angstrom.
    ends = [[16_954.5, 16_472.6], [16_435.2, 15_857.1], [15_809.9, 15_142.3]]
    np.testing.assert_allclose(wave[:, [0, -1]], ends, atol=1.0)
    # Half the pixels are twice as wide.
    np.testing.assert_allclose(detector_wavelengths(2048), wave[:, ::2], rtol=1e-12)


def test_the_grid_at_rest_is_that_of_the_survey():
    grid = rest_grid()
    assert len(grid) == 8575
    assert np.log10(grid[0]) == pytest.approx(4.179, abs=1e-12)
    np.testing.assert_allclose(np.diff(np.log10(grid)), 6e-6, rtol=1e-6)


def test_a_visit_has_its_images_in_the_order_of_the_data_model(tmp_path):
    one = visit()
    path = write_visit(tmp_path, one)
    assert path.name == "apVisit-sim-7268-56677-042.fits"
    with fits.open(path) as hdus:
        hdus.verify("exception")
        labels = [hdu.header["BUNIT"].split(" (")[0] for hdu in hdus[1:]]
        assert labels == [
            *("Flux", "Flux Error", "Flag Mask", "Wavelength", "Sky", "Sky Error"),
            *("Telluric", "Telluric Error"),
            *("Wavelength Coefficients", "LSF Coefficients"),
        ]
        np.testing.assert_array_equal(hdus[1].data, one.flux.astype(np.float32))
        np.testing.assert_array_equal(hdus[3].data, one.mask)
        np.testing.assert_array_equal(hdus[4].data, one.wave)
        np.testing.assert_array_equal(hdus[10].data, LSF_TYPICAL)
        # The survey's swap of the dithers, in the images of the sky and no others.
        swapped = one.sky.astype(np.float32)
        np.testing.assert_array_equal(hdus[5].data[:, ::2], swapped[:, 1::2])
        np.testing.assert_array_equal(hdus[5].data[:, 1::2], swapped[:, ::2])
        header = hdus[0].header
        assert header["OBJID"] == one.star
        assert header["EXPTIME"] == 2002.0
        middle = Time(START).jd + 2002 / 86_400
        # Five decimals, as the survey writes it.
        assert header["JD-MID"] == pytest.approx(middle, abs=5.1e-6)
        assert header["VHELIO"] == pytest.approx(header["VRAD"] + header["BC"])


def test_without_dithers_nothing_is_swapped_or_halved(tmp_path):
    one = visit((3, 2048), exptime=500.0)
    with fits.open(write_visit(tmp_path, one)) as hdus:
        np.testing.assert_array_equal(hdus[5].data, one.sky.astype(np.float32))
        assert hdus[0].header["EXPTIME"] == 500.0


def test_a_star_has_two_sums_and_then_its_visits(tmp_path):
    visits = [visit((500,), night=56_677 + n, snr=60.0 + 20 * n) for n in range(3)]
    path = write_star(tmp_path, visits)
    assert path.name == "apStar-sim-2M08501918+1056436.fits"
    with fits.open(path) as hdus:
        hdus.verify("exception")
        flux, error = hdus[1].data, hdus[2].data
        assert flux.shape == (5, 500)
        for row, one in enumerate(visits, start=2):
            np.testing.assert_array_equal(flux[row], one.flux)
        np.testing.assert_allclose(error[0], 10 / np.sqrt(3))
        header = hdus[0].header
        assert header["NVISITS"] == 3
        assert header["SFILE2"] == "apVisit-sim-7268-56678-042.fits"
        assert header["VRAD3"] == 24.3458


def test_a_star_of_one_visit_has_that_and_a_row_of_zeros(tmp_path):
    one = visit((500,))
    with fits.open(write_star(tmp_path, [one])) as hdus:
        np.testing.assert_array_equal(hdus[1].data[0], one.flux)
        assert not hdus[1].data[1].any()


def test_an_exposure_is_a_file_a_detector(tmp_path):
    rng = np.random.default_rng(5)
    images = [
        {
            "wave": np.tile(chip, (300, 1)),
            "flux": rng.normal(100, 3, (300, 64)),
            "error": np.full((300, 64), 3.0),
            "mask": np.zeros((300, 64), np.int16),
        }
        for chip in detector_wavelengths(64)
    ]
    paths = write_exposure(tmp_path, 11_150_048, images, prefix="as", chips="ac")
    assert [path.name for path in paths] == [
        "as1D-a-11150048.fits",
        "as1D-c-11150048.fits",
    ]
    with fits.open(paths[1]) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[1].data, images[2]["flux"].astype("f4"))
        np.testing.assert_array_equal(hdus[4].data, images[2]["wave"])


def test_a_mwm_visit_has_four_tables_of_which_some_are_empty(tmp_path):
    visits = [visit((500,)), visit((500,), telescope="lco25m", fiber_id=7)]
    path = write_mwm_visit(tmp_path, 42, visits, in_stack=[True, False], boss_visits=1)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        names = ["BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO"]
        assert [hdu.name for hdu in hdus[1:]] == names
        assert [len(hdu.data) for hdu in hdus[1:]] == [1, 0, 1, 1]
        table = hdus["APOGEE/LCO"].data
        assert (table["fiber"][0], table["telescope"][0]) == (7, "lco25m")
        assert not table["in_stack"][0]
        np.testing.assert_array_equal(table["flux"][0], visits[1].flux.astype("f4"))
        np.testing.assert_allclose(table["ivar"][0], 0.01, rtol=1e-6)
        assert table["v_rel"][0] == np.float32(24.3458)
        # In single precision, as Astra writes it.
        assert table["jd"].dtype.itemsize == 4


def test_equal_visits_make_equal_bytes(tmp_path):
    (tmp_path / "again").mkdir()
    first, second = (write_visit(f, visit()) for f in (tmp_path, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
