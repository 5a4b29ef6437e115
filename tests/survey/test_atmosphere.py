"""Lists of airglow, tables of transmission, and what APOGEE took off its visits."""

import numpy as np
import pytest
from astropy.io import fits

from steadystar.simulate.apogee_files import write_visit
from steadystar.survey.apogee import read_sky
from steadystar.survey.atmosphere import (
    airglow_lines,
    read_airglow,
    read_apogee_sky,
    read_transmission,
)
from steadystar.survey.observation import UnreadableFile
from steadystar.survey.registry import read

from . import apogee_makers as makers


def test_the_bundled_list_has_the_known_lines():
    red = airglow_lines(6330.0, 6790.0)
    assert red["wave"].is_sorted()
    # [O I] 6363.776 A in air (NIST).
    forbidden = red.filter(emitter="[O I]")
    assert forbidden["wave"].to_list() == pytest.approx([6365.535], abs=0.002)
    bright = red.filter(emitter="OH").sort("strength")["wave"][-1]
    assert bright == pytest.approx(6500.52, abs=0.02)
    assert len(airglow_lines(15100.0, 17000.0)) > 150


def test_where_the_list_has_no_line_it_says_what_it_covers():
    with pytest.raises(ValueError, match="no airglow line from 5000 to 5300 A"):
        airglow_lines(5000.0, 5300.0)


def test_both_kinds_of_lists_are_read(tmp_path):
    two = tmp_path / "two.dat"
    two.write_text("# head\n6500.5 1.4\n6300.1 0.2\n")
    assert read_airglow(two).rows() == [(6300.1, 0.2), (6500.5, 1.4)]
    apogee = tmp_path / "apogee.txt"
    apogee.write_text("# ID\n  1 3 2038.2 15145.5 16.4 1 0.33 OH 0 0 2\n")
    assert read_airglow(apogee).rows() == [(15145.5, 16.4)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no line"),
        ("# only comments\n", "no line"),
        ("6300.1\n", "one column"),
        ("6300 a\n", "no table of numbers"),
        ("6300 1\n6301\n", "no table of numbers"),
        ("6300 -1\n", "1 of its 1 lines"),
        ("nan 1\n6300 1\n", "1 of its 2 lines"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, content, reason):
    path = tmp_path / "lines.txt"
    path.write_text(content)
    with pytest.raises(UnreadableFile, match=rf"lines\.txt .*{reason}"):
        read_airglow(path)


def table(tmp_path, values, **header):
    unit = fits.PrimaryHDU(np.asarray(values, np.float32))
    unit.header.update({"CRVAL1": 15100.0, "CDELT1": 0.1} | header)
    unit.writeto(tmp_path / "t.fits")
    return tmp_path / "t.fits"


def test_a_table_of_transmissions_is_read_one_row_a_sample(tmp_path):
    values = np.linspace(0.1, 1, 2 * 3 * 5).reshape(2, 3, 5)
    wave, through = read_transmission(table(tmp_path, values))
    np.testing.assert_allclose(wave, 15100 + 0.1 * np.arange(5))
    np.testing.assert_allclose(through, values.reshape(6, 5), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "header", "reason"),
    [
        (np.full((2, 5), 1.5), {}, "no transmissions"),
        (np.full((2, 5), -0.1), {}, "no transmissions"),
        (np.full((2, 5), np.nan), {}, "no transmissions"),
        (np.full((2, 5), 0.5), {"CDELT1": -0.1}, "do not increase"),
        (np.full((2, 5), 0.5), {"CDELT1": "wide"}, "no such image"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, values, header, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_transmission(table(tmp_path, values, **header))


def test_bytes_that_are_no_fits_are_refused(tmp_path):
    path = tmp_path / "t.fits"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UnreadableFile):
        read_transmission(path)


def test_what_apogee_took_off_is_read_in_the_pixels_of_the_spectra(tmp_path):
    path = write_visit(tmp_path, makers.visit(pixels=4096))
    sky, telluric = read_apogee_sky([path, path])
    assert sky.flux.shape == telluric.flux.shape == (2, 3 * 4096)
    assert sky.frame == telluric.frame == "observatory"
    spectra, held = read(path).spectra, read_sky(path)
    np.testing.assert_array_equal(sky.wave_2d[0], spectra.wave_2d[0])
    good = telluric.ivar[0] > 0
    assert good.any()
    np.testing.assert_allclose(
        telluric.flux[0][good], held.telluric[0][good] - 1, atol=1e-6
    )
    assert sky.resolution[0] == pytest.approx(spectra.resolution[0])


def test_no_files_and_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        read_apogee_sky([])
    other = tmp_path / "other.fits"
    other.write_bytes(b"hello")
    with pytest.raises(UnreadableFile):
        read_apogee_sky([other])
