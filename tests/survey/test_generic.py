import gzip

import numpy as np
import pytest
from astropy.io import fits

from steadystar.data.air import air_to_vacuum
from steadystar.data.status import Status
from steadystar.survey.generic import estimate_ivar
from steadystar.survey.header import degrees, integer, number, star_name, text
from steadystar.survey.observation import ReadOptions, UnreadableFile
from steadystar.survey.observatory import mjd_from_text
from steadystar.survey.registry import read
from steadystar.survey.textfile import parse_text

from . import makers
from .test_observation import assert_sound

WAVE = 6500 + 0.25 * np.arange(makers.PIXELS)
PLACE = ReadOptions(position="211.0973 64.3758")


def only(observation):
    (visit,) = observation.visits.rows(named=True)
    return visit


def test_an_amateur_spectrum_brings_its_facts(tmp_path):
    observation = read(makers.image(tmp_path), PLACE)
    assert_sound(observation)
    visit = only(observation)
    assert Status(visit["status"]) == Status.NO_ERROR
    assert visit["telescope"] == "A. Amateur"
    assert visit["survey"] == "fits"
    assert visit["exptime"] == 7245
    assert visit["exposure_id"] == "A. Amateur 2023-05-04T19:42:41"
    # The evening of the 4th: named after the day it ends in.
    assert visit["night"] == mjd_from_text("2023-05-05")
    assert visit["arm"] == "all"
    assert observation.spectra.resolution[0] == 15_000
    middle = mjd_from_text("2023-05-04T19:42:41") + 7245 / 2 / 86_400
    # Light time and TDB together are below 10 minutes.
    assert visit["bjd"] - 2_400_000.5 == pytest.approx(middle, abs=10 / 1440)
    assert visit["bjd"] - 2_400_000.5 != pytest.approx(middle, abs=1e-4)
    assert abs(visit["bary_corr"]) < 31


def test_amateur_wavelengths_are_in_air_and_as_observed(tmp_path):
    observation = read(makers.image(tmp_path))
    assert observation.spectra.frame == "observatory"
    np.testing.assert_allclose(
        observation.spectra.wave_2d[0], air_to_vacuum(WAVE), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("cards", "vacuum"),
    [
        ({"BSS_SITE": None}, True),
        ({"CTYPE1": "WAVE"}, True),
        ({"CTYPE1": "AWAV", "BSS_SITE": None}, False),
        ({"BSS_SITE": None, "AIRORVAC": "air"}, False),
        ({"AIRORVAC": "vac"}, True),
        ({"VACUUM": True}, True),
    ],
)
def test_the_file_says_whether_wavelengths_are_in_air(tmp_path, cards, vacuum):
    wave = read(makers.image(tmp_path, **cards)).spectra.wave_2d[0]
    np.testing.assert_allclose(
        wave, WAVE if vacuum else air_to_vacuum(WAVE), rtol=1e-12
    )


def test_the_user_knows_better_than_the_file(tmp_path):
    options = ReadOptions(wavelengths="vacuum", frame="barycenter", star_id="alf Dra")
    observation = read(makers.image(tmp_path), options)
    np.testing.assert_allclose(observation.spectra.wave_2d[0], WAVE, rtol=1e-12)
    assert observation.spectra.frame == "barycenter"
    assert only(observation)["star_id"] == "alf Dra"


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"BSS_VHEL": -12.5}, "barycenter"),
        ({"SPECSYS": "BARYCENT"}, "barycenter"),
        ({"SPECSYS": "TOPOCENT"}, "observatory"),
        ({"BSS_VHEL": None}, "observatory"),
    ],
)
def test_the_file_says_whether_wavelengths_are_corrected(tmp_path, cards, frame):
    assert read(makers.image(tmp_path, **cards)).spectra.frame == frame


def test_vacuum_is_longer_than_air_by_the_index_of_refraction():
    # Ciddor (1996), at 633 nm, 15 C, 101325 Pa, dry air with 450 ppm of CO2:
    # n - 1 = 2.76517e-4 (his table 1 and many since).
    air = np.array([6330.0])
    assert air_to_vacuum(air) / air - 1 == pytest.approx(2.765e-4, abs=1e-7)


@pytest.mark.parametrize("name", ["HD 123299", "hd123299", "Hd_123299 ", "hd 123299-"])
def test_one_star_has_one_name_however_it_is_spelled(tmp_path, name):
    observation = read(makers.image(tmp_path, OBJNAME=name))
    visit = only(observation)
    assert visit["star_id"] == "hd123299"
    assert Status(visit["status"]) == Status.NO_ERROR | Status.NO_POSITION
    assert np.isnan(visit["bary_corr"])
    assert star_name(name) == "hd123299"


def test_a_star_with_a_position_is_matched_by_it(tmp_path):
    visit = only(read(makers.image(tmp_path, RA=211.1, DEC=64.4)))
    assert visit["star_id"] is None
    assert (visit["ra"], visit["dec"]) == (211.1, 64.4)


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "WAVE-LOG", "CRVAL1": 6500.0, "CDELT1": 0.25, "BSS_SITE": None},
        {"DC_FLAG": 1, "CRVAL1": np.log10(6500), "CDELT1": 1e-5, "CTYPE1": "LINEAR"},
        {"CTYPE1": "LOG-LAMBDA", "CRVAL1": np.log(6500), "CDELT1": 2e-5},
        {"COEFF0": np.log10(6500), "COEFF1": 1e-5},
        {"CUNIT1": "nm", "CRVAL1": 650.0, "CDELT1": 0.025},
        {"CUNIT1": "m", "CRVAL1": 6.5e-7, "CDELT1": 2.5e-11},
        {"CRPIX1": 401.0, "CRVAL1": 6600.0},
        {"CDELT1": None, "CD1_1": 0.25},
    ],
)
def test_every_dialect_of_wavelengths(tmp_path, cards):
    options = ReadOptions(wavelengths="vacuum")
    wave = read(makers.image(tmp_path, **cards), options).spectra.wave_2d[0]
    index = np.arange(makers.PIXELS)
    if "WAVE-LOG" in cards.values():
        expected = 6500 * np.exp(0.25 * index / 6500)
    elif cards.get("DC_FLAG") or "COEFF0" in cards:
        expected = 6500 * 10 ** (1e-5 * index)
    elif "LOG-LAMBDA" in cards.values():
        expected = 6500 * np.exp(2e-5 * index)
    else:
        expected = WAVE
    np.testing.assert_allclose(wave, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"CUNIT1": "Hz"}, "'Hz', which is unknown"),
        ({"CTYPE1": "FREQ"}, "not wavelengths"),
        ({"CDELT1": 0.0}, "does not say which wavelengths"),
        ({"CDELT1": -20.0}, "not finite, plausible and monotonic"),
        ({"CRVAL1": 6.5}, "not finite, plausible and monotonic"),
    ],
)
def test_what_is_no_wavelength_is_refused_with_a_reason(tmp_path, cards, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read(makers.image(tmp_path, **cards))


def test_an_exposure_without_its_length_has_no_middle(tmp_path):
    visit = only(read(makers.image(tmp_path, EXPTIME=None), PLACE))
    assert np.isnan(visit["bjd"])
    assert Status(visit["status"]) == Status.NO_ERROR | Status.NO_TIME


def test_a_middle_that_is_given_is_believed(tmp_path):
    given = only(read(makers.image(tmp_path, JD_MID=2460069.3632), PLACE))
    found = only(read(makers.image(tmp_path, "b.fits"), PLACE))
    # The header's is rounded to 9 s.
    assert given["bjd"] == pytest.approx(found["bjd"], abs=9 / 86_400)
    unknown = only(read(makers.image(tmp_path, "c.fits", JD_MID=0), PLACE))
    assert unknown["bjd"] == found["bjd"]


def test_a_barycentric_time_that_is_given_is_believed(tmp_path):
    found = only(read(makers.image(tmp_path), PLACE))
    cards = {"DATE-OBS": None, "BJD": found["bjd"]}
    given = only(read(makers.image(tmp_path, "b.fits", **cards), PLACE))
    assert given["bjd"] == found["bjd"]
    # Back to the observatory's clock to 50 ms: 1e-6 km/s.
    assert given["bary_corr"] == pytest.approx(found["bary_corr"], abs=1e-5)


def test_visits_of_equal_files_have_equal_names_and_of_others_not(tmp_path):
    first = only(read(makers.image(tmp_path, "a.fits")))["visit_id"]
    again = tmp_path / "sub"
    again.mkdir()
    (again / "a.fits").write_bytes((tmp_path / "a.fits").read_bytes())
    assert only(read(again / "a.fits"))["visit_id"] == first
    other = again / "b"
    other.mkdir()
    assert only(read(makers.image(other, "a.fits", EXPTIME=1)))["visit_id"] != first


def test_errors_beside_the_image_are_used(tmp_path):
    path = makers.image(tmp_path)
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.full(makers.PIXELS, 4.0, np.float32), name="ERR"))
    observation = read(path)
    assert not Status(only(observation)["status"]) & Status.NO_ERROR
    np.testing.assert_array_equal(observation.spectra.ivar, 1 / 16)


@pytest.mark.parametrize(
    ("name", "values"),
    [("IVAR", 0.04), ("ERR", 5.0), ("VARIANCE", 25.0), ("UNCERTAINTY", 5.0)],
)
def test_fits_tables_with_errors_of_any_kind(tmp_path, name, values):
    flux = makers.spectrum(1)[0]
    columns = {"WAVE": WAVE, "FLUX": flux, name: np.full(makers.PIXELS, values)}
    observation = read(makers.table(tmp_path, columns, OBJECT="HD 1"))
    assert_sound(observation)
    np.testing.assert_allclose(observation.spectra.ivar, 0.04, rtol=1e-6)
    np.testing.assert_array_equal(observation.spectra.wave_2d[0], WAVE)
    assert only(observation)["star_id"] == "hd1"


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("LOGLAM", np.log10),
        ("WAVELENGTH", lambda wave: wave / 10),
        ("LAMBDA_AIR", lambda wave: wave),
    ],
)
def test_fits_tables_with_wavelengths_of_any_kind(tmp_path, name, convert):
    columns = {name: convert(WAVE), "FLUX": makers.spectrum(1)[0]}
    units = {"WAVELENGTH": "nm"}
    wave = read(makers.table(tmp_path, columns, units)).spectra.wave_2d[0]
    expected = air_to_vacuum(WAVE) if name == "LAMBDA_AIR" else WAVE
    np.testing.assert_allclose(wave, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "heading",
    ["wave,flux,err", "wave flux err", "# wave flux err", "wave [A],flux,err"],
)
def test_columns_of_text(tmp_path, heading):
    observation = read(makers.csv(tmp_path, heading=heading))
    assert_sound(observation)
    visit = only(observation)
    assert (visit["ra"], visit["dec"]) == (10.5, 41.2)
    assert visit["survey"] == "text"
    flux, ivar = makers.spectrum(6)
    np.testing.assert_allclose(observation.spectra.flux[0], flux, rtol=1e-6)
    np.testing.assert_allclose(observation.spectra.ivar[0], ivar, rtol=1e-6)


def test_text_without_names_is_wavelength_flux_error(tmp_path):
    path = makers.csv(tmp_path, heading="# no names here at all, really")
    assert only(read(path))["n_good"] == makers.PIXELS


def test_ecsv_units_and_facts_are_understood(tmp_path):
    lines = [
        "# %ECSV 1.0",
        "# ---",
        "# datatype:",
        "# - {name: wave, unit: nm, datatype: float64}",
        "# - {name: flux, datatype: float64}",
        "# meta: !!omap",
        "# - {OBJECT: HD 7}",
        "wave flux",
        *(f"{500 + 0.1 * i} {100 + i % 7}" for i in range(50)),
    ]
    path = tmp_path / "a.ecsv"
    path.write_text("\n".join(lines))
    observation = read(path)
    assert only(observation)["star_id"] == "hd7"
    assert observation.spectra.wave_2d[0, 0] == pytest.approx(5000)


def test_lines_that_do_not_fit_are_reported(tmp_path):
    path = makers.csv(tmp_path)
    lines = path.read_text().splitlines()
    lines[50] = "5010.0,1"
    lines[60] = "not,a,number"
    path.write_text("\n".join(lines))
    observation = read(path)
    assert_sound(observation)
    assert only(observation)["n_good"] == makers.PIXELS - 2
    reasons = observation.rejected["reason"].to_list()
    assert reasons == [
        "line 51 has more or fewer fields than the others",
        "1 lines have no wavelength",
    ]


def test_a_table_of_velocities_is_no_spectrum_and_its_columns_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("star_id,rv,rv_err\n" + "1,2.0,0.1\n" * 30)
    with pytest.raises(UnreadableFile, match="no column of wavelengths among STAR_ID"):
        read(path)


@pytest.mark.parametrize(
    "content", ["", "hello world\n" * 9, "1\n2\n3\n", ",,,\n,,,\n"]
)
def test_what_is_no_table_is_no_table(content):
    assert parse_text(content) is None


def test_text_may_be_gzipped(tmp_path):
    path = makers.csv(tmp_path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert only(read(path))["n_good"] == makers.PIXELS


@pytest.mark.parametrize("scale", [1e-17, 1.0, 1e6])
def test_estimated_errors_are_those_of_the_noise(scale):
    rng = np.random.default_rng(2)
    size = 20_000
    x = np.arange(size)
    sigma = scale * (1 + x / size)
    flux = 50 * scale * (1 + 0.2 * np.sin(x / 300)) + rng.normal(0, 1, size) * sigma
    ratio = estimate_ivar(flux) ** -0.5 / sigma
    # A median of 200 values is good to 1.25 / sqrt(200) * 1.2 (neighbors share pixels).
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    assert np.std(ratio) < 0.15


def test_a_spectrum_without_scatter_has_no_errors_to_estimate():
    assert not estimate_ivar(np.ones(100)).any()
    flux = np.r_[np.random.default_rng(1).normal(size=500), np.full(20, np.nan)]
    ivar = estimate_ivar(flux)
    assert (ivar[:500] > 0).all()
    assert (ivar[500:] == 0).all()


def test_the_real_amateur_spectra(real_data):
    observations = [
        read(path, PLACE) for path in sorted((real_data / "alphadra").iterdir())
    ]
    assert len(observations) == 76
    for observation in observations:
        assert_sound(observation)
        assert observation.spectra.frame == "observatory"
        visit = only(observation)
        assert Status(visit["status"]) == Status.NO_ERROR
        assert np.isfinite(visit["bary_corr"])
    names = {
        read(path).visits["star_id"][0] for path in (real_data / "alphadra").iterdir()
    }
    # Eight ways to spell it, and four files that give a position instead.
    assert len(names) == 9
    assert None in names


def test_telluric_lines_of_real_spectra_are_where_vacuum_has_them(real_data):
    """That the amateurs' wavelengths are in air is measured, not only promised."""
    # Water, air wavelengths (Moore et al. 1966).
    water = np.array([6543.907, 6547.705, 6548.622, 6552.629, 6557.171, 6572.072])
    offsets = []
    for path in sorted((real_data / "alphadra").iterdir()):
        spectra = read(path).spectra
        wave, flux = spectra.wave_2d[0], spectra.flux[0].astype(float)
        smooth = np.convolve(flux, np.ones(61) / 61, "same")
        trial = np.arange(-2.5, 2.5, 0.02)
        level = flux / np.where(smooth > 0, smooth, np.inf)
        depth = [
            np.interp(air_to_vacuum(water) + shift, wave, level).sum()
            for shift in trial
        ]
        offsets.append(trial[np.argmin(depth)])
    # Air and vacuum differ by 1.81 A; a few spectra are too dry or too noisy to tell.
    assert (np.abs(offsets) < 0.3).mean() > 0.9


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        ("5.5", 5.5),
        (True, np.nan),
        ("x", np.nan),
        (1e400, np.nan),
        (None, np.nan),
        (200, np.nan),
        (10**400, np.nan),
    ],
)
def test_numbers_of_headers_are_believed_within_limits(value, expected):
    found = number({"A": value}, "A", low=0.0, high=100.0)
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_first_believable_keyword_counts():
    header = {"A": "none", "B": 7.5, "C": 8}
    assert number(header, "A", "B", "C") == 7.5
    assert integer(header, "A", "B", "C") == 8
    assert integer({"A": 2**60}, "A") is None


@pytest.mark.parametrize(
    ("value", "hours", "expected"),
    [
        ("04 18 37", False, 4.310278),
        ("-04:18:37.5", False, -4.310417),
        ("14:04:23.35", True, 211.097292),
        (211.1, True, 211.1),
        ("12 61", False, np.nan),
        ("400:00:00", False, np.nan),
    ],
)
def test_angles_in_headers(value, hours, expected):
    found = degrees({"A": value}, "A", hours=hours)
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_texts_lose_control_characters_and_spaces_and_nothing_else():
    hostile = "  <b>\x1b[31m\n../..\x00 x  "
    assert text({"A": hostile}, "A") == "<b> [31m ../.. x"
    assert text({"A": True, "B": ""}, "A", "B") == ""
    assert len(text({"A": "x" * 10_000}, "A")) == 200
