import gzip

import numpy as np
import pytest
from astropy.io import fits

from steadystar.simulate.lamost_files import (
    Recorded,
    StarNight,
    coadd,
    file_name,
    write_star_night,
)


def recorded(letter="B", minute=84107311, seed=0, **changes):
    rng = np.random.default_rng(seed)
    wave = np.linspace(5000.0, 5040.0, 400)
    values = {
        "arm_letter": letter,
        "exposures": (minute,),
        "exptime": 1200.0,
        "snr": 31.26,
        "lamp": "lampsc_med.dat",
        "wave": wave if letter == "B" else wave[::-1] + 1300,
        "flux": 1000 + rng.normal(0, 30, 400),
        "ivar": np.full(400, 1 / 900),
        "mask": np.zeros(400, np.int16),
    }
    return Recorded(**(values | changes))


def star_night(**changes):
    exposures = [recorded("B"), recorded("R", seed=1)]
    values = {
        "night": 58408,
        "plan": "TD230151N343645T01",
        "spectrograph": 1,
        "fiber": 15,
        "cards": {"RA": 345.797708, "DEC": -32.226539, "HELIO_RV": 9.20037},
        "exposures": exposures,
        "coadds": coadd(exposures),
    }
    return StarNight(**(values | changes))


def test_the_name_is_lamosts():
    name = file_name(58408, "TD230151N343645T01", 1, 15)
    assert name == "med-58408-TD230151N343645T01_sp01-015.fits"


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_written_is_what_astropy_reads(tmp_path, layout, compressed):
    night = star_night()
    path = write_star_night(tmp_path, night, layout=layout, gzip=compressed)
    assert path.name.endswith(".fits.gz" if compressed else ".fits")
    with fits.open(path) as hdus:
        hdus.verify("exception")
        names = [hdu.name for hdu in hdus]
        assert names == [
            "Information",
            "COADD_B",
            "COADD_R",
            "B-84107311",
            "R-84107311",
        ]
        header = hdus[0].header
        assert header["RA"] == 345.797708
        assert header["DEC"] == -32.226539
        assert header["HELIO_RV"] == 9.20037
        assert (header["LMJD"], header["MJD"]) == (58408, 58407)
        assert (header["SPID"], header["FIBERID"]) == (1, 15)
        assert (header["NEXP_B"], header["COMBIN_R"]) == (1, True)
        assert header["N_EXTEN"] == len(hdus)
        for spectrum, hdu in zip(night.exposures, hdus[3:], strict=True):
            assert hdu.header["LMJM"] == "84107311"
            assert hdu.header["SNR"] == 31.26
            table = hdu.data
            assert len(table) == (400 if layout == "old" else 1)
            flat = {name: np.ravel(table[name]) for name in table.names}
            if layout == "old":
                assert table.names == ["FLUX", "IVAR", "LOGLAM", "PIXMASK"]
                wave = flat["LOGLAM"]
                expected = np.log10(spectrum.wave)
            else:
                assert table.names[2:] == ["WAVELENGTH", "PIXMASK", "NORMALIZATION"]
                wave, expected = flat["WAVELENGTH"], spectrum.wave
                # Divided by its level, a flat spectrum is one.
                assert flat["NORMALIZATION"].mean() == pytest.approx(1.0, abs=1e-3)
            # Stored as float32, which the real files do too.
            np.testing.assert_array_equal(wave, expected.astype(np.float32))
            np.testing.assert_array_equal(
                flat["FLUX"], spectrum.flux.astype(np.float32)
            )
            np.testing.assert_array_equal(
                flat["IVAR"], spectrum.ivar.astype(np.float32)
            )


def test_the_layout_is_that_of_a_real_file(tmp_path, real_data):
    real = real_data / "lamost_mrs" / "med-58408-TD230151N343645T01_sp01-015.fits"
    path = write_star_night(tmp_path, star_night(), gzip=False)
    with fits.open(real) as theirs, fits.open(path) as ours:
        missing = set(theirs[0].header) - set(ours[0].header)
        assert missing <= {""}
        for name in ("COADD_B", 3, -1):
            assert list(ours[name].columns.names) == list(theirs[name].columns.names)
            assert ours[name].columns.formats == theirs[name].columns.formats
            assert set(theirs[name].header) - set(ours[name].header) <= {
                "COMMENT",
                "",
                "LMJMLIS1",
                "LMJMLIS2",
            }
            for key in ("LMJM", "EXPTIME", "SNR", "LAMPLIST"):
                if key in theirs[name].header:
                    kind = type(theirs[name].header[key])
                    assert isinstance(ours[name].header[key], kind)


def test_bytes_hold_no_time(tmp_path):
    one = write_star_night(tmp_path, star_night()).read_bytes()
    # A gzip header's modification time and flags (no name): RFC 1952, section 2.3.
    assert one[:2] == b"\x1f\x8b"
    assert one[3:8] == bytes(5)
    again = tmp_path / "again"
    again.mkdir()
    assert write_star_night(again, star_night()).read_bytes() == one
    plain = write_star_night(again, star_night(), gzip=False).read_bytes()
    assert gzip.decompress(one) == plain
    assert len(plain) % 2880 == 0


def test_a_coadd_is_the_weighted_mean_and_its_variance_the_weights():
    parts = [
        recorded(minute=1, flux=np.full(400, 10.0), ivar=np.full(400, 1.0)),
        recorded(minute=2, flux=np.full(400, 20.0), ivar=np.full(400, 3.0)),
    ]
    (both,) = coadd(parts)
    assert both.exposures == (1, 2)
    np.testing.assert_allclose(both.flux, 17.5)
    np.testing.assert_allclose(both.ivar, 4.0)
    step = np.diff(np.log10(both.wave))
    np.testing.assert_allclose(step, 1e-5, rtol=1e-6)
    assert both.wave[0] >= parts[0].wave[0]
    assert both.wave[-1] <= parts[0].wave[-1]


def test_masked_pixels_stay_out_of_a_coadd():
    mask = np.zeros(400, np.int16)
    mask[100:104] = 1
    flux = np.where(mask > 0, 1e7, 50.0)
    (one,) = coadd([recorded(flux=flux, mask=mask)])
    np.testing.assert_allclose(one.flux, 50.0)
    assert 0 < one.mask.sum() < 20


@pytest.mark.parametrize("value", ["O'Neill <script>", "x" * 200, ""])
def test_headers_survive_any_text(tmp_path, value):
    night = star_night(cards={"OBJNAME": value})
    with fits.open(write_star_night(tmp_path, night)) as hdus:
        # A card has 80 characters: what does not fit is cut.
        assert hdus[0].header["OBJNAME"] == value[:68]
