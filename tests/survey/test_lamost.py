import gzip

import numpy as np
import pytest
from astropy.io import fits

from steadystar.data.status import Status
from steadystar.survey.observation import ReadOptions, UnreadableFile
from steadystar.survey.observatory import mjd_from_text
from steadystar.survey.registry import read

from . import makers
from .test_observation import assert_sound

MINUTE, SECOND = 1 / 1440, 1 / 86_400


def by_id(observation, part: str):
    """The one visit in whose identifier ``part`` stands, and its place."""
    rows = [i for i, v in enumerate(observation.visits["visit_id"]) if part in v]
    assert len(rows) == 1
    return observation.visits.row(rows[0], named=True), rows[0]


@pytest.mark.parametrize("layout", ["old", "new"])
def test_single_exposures_of_both_layouts(tmp_path, layout):
    observation = read(makers.lamost_mrs(tmp_path, layout=layout))
    assert_sound(observation)
    assert observation.rejected.is_empty()
    assert observation.spectra.frame == "barycenter"
    assert set(observation.spectra.resolution) == {7500.0}
    visits = observation.visits
    assert visits["arm"].to_list() == ["blue"] * 3 + ["red"] * 3
    assert visits["status"].to_list() == [0] * 6
    visit, row = by_id(observation, "84107335-sp01-015-red")
    assert visit["visit_id"] == "lamost-84107335-sp01-015-red"
    assert visit["star_id"] is None
    assert (visit["ra"], visit["dec"]) == (345.797708, 32.226539)
    assert visit["survey"] == "lamost-mrs"
    assert visit["field"] == "TD230151N343645T01"
    assert visit["night"] == 58408
    assert visit["exposure_id"] == "84107335"
    assert visit["telescope"] == "lamost"
    assert (visit["spectrograph"], visit["fiber"]) == (1, 15)
    assert visit["exptime"] == 1200
    assert visit["snr"] == 41.0
    assert visit["lamp"] == "lampsc_med.dat"
    assert visit["path"].endswith("015.fits.gz[R-84107335]")
    # Two of 400 pixels are masked.
    assert visit["n_good"] == makers.PIXELS - 2
    true = makers.wavelengths("R")[::-1]
    # A float32 wavelength has steps of 4.9e-4 A here; restored, 10% of their rms.
    np.testing.assert_allclose(observation.spectra.wave_2d[row], true, atol=1e-4)
    flux, _ = makers.spectrum(11)
    np.testing.assert_allclose(
        observation.spectra.flux[row], flux[::-1].astype(np.float32)
    )


def test_every_set_bit_of_the_mask_removes_its_pixel(tmp_path):
    observation = read(makers.lamost_mrs(tmp_path))
    blue, red = observation.spectra.ivar[0], observation.spectra.ivar[3]
    assert np.flatnonzero(blue == 0).tolist() == [3, 4]
    assert np.flatnonzero(red[::-1] == 0).tolist() == [3, 4]


def test_coadds_only_on_request_and_never_with_their_exposures(tmp_path):
    path = makers.lamost_mrs(tmp_path)
    observation = read(path, ReadOptions(coadds=True))
    assert_sound(observation)
    assert observation.visits["status"].to_list() == [int(Status.COADD)] * 2
    visit, _ = by_id(observation, "blue")
    assert visit["exptime"] == 3600
    assert visit["exposure_id"] == "coadd-TD230151N343645T01-58408"
    single = read(path)
    assert not set(single.visits["visit_id"]) & set(observation.visits["visit_id"])
    middle = single.visits["bjd"][1]
    # The second of three exposures is the middle one, but for 24 and 24 minutes.
    assert visit["bjd"] == pytest.approx(middle, abs=MINUTE)


def test_a_file_without_what_was_asked_for_is_unreadable(tmp_path):
    path = makers.lamost_mrs(tmp_path, coadds=False)
    with pytest.raises(UnreadableFile, match=r"no coadded spectrum.*without `coadds`"):
        read(path, ReadOptions(coadds=True))


@pytest.mark.parametrize("arms", ["B", "R"])
def test_a_missing_arm_is_no_error(tmp_path, arms):
    observation = read(makers.lamost_mrs(tmp_path, arms=arms))
    assert set(observation.visits["arm"]) == {"blue" if arms == "B" else "red"}
    assert observation.rejected.is_empty()


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a", "a.txt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_neither_name_nor_compression_matters(tmp_path, name, zipped):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert read(path).visits["exposure_id"].n_unique() == 3


def test_missing_keywords_are_taken_from_the_name_of_the_file(tmp_path):
    missing = dict.fromkeys(("LMJD", "PLANID", "SPID", "FIBERID"))
    observation = read(makers.lamost_mrs(tmp_path, primary=missing))
    visit, _ = by_id(observation, "84107311-sp01-015-blue")
    assert visit["night"] == 58408
    assert visit["field"] == "TD230151N343645T01"


def test_without_either_what_is_unknown_is_null(tmp_path):
    missing = dict.fromkeys(("LMJD", "PLANID", "SPID", "FIBERID"))
    observation = read(makers.lamost_mrs(tmp_path, primary=missing, name="x.fits"))
    assert_sound(observation)
    visit, _ = by_id(observation, "84107311-x-blue")
    assert visit["spectrograph"] is visit["fiber"] is visit["field"] is None
    # Named after the morning: LMJM counts from the midnight of the 16th.
    assert visit["night"] == 58408


@pytest.mark.parametrize("wrong", [None, "north", 400.0, -1e30])
def test_a_position_that_cannot_be_believed_is_unknown(tmp_path, wrong):
    path = makers.lamost_mrs(tmp_path, primary={"RA": wrong})
    observation = read(path)
    assert_sound(observation)
    assert observation.visits["ra"].is_nan().all()
    assert observation.visits["bary_corr"].is_nan().all()
    assert Status(observation.visits["status"][0]) & Status.NO_POSITION
    given = read(path, ReadOptions(position="345.797708 32.226539"))
    assert given.visits["status"][0] == 0


def test_the_time_is_the_middle_of_the_exposure_at_the_barycenter(tmp_path):
    observation = read(makers.lamost_mrs(tmp_path))
    begin = mjd_from_text("2018-10-16T20:31:43") - 8 / 24
    # Light time up to 8.3 min, TDB-UTC 69 s: by the slow, obvious way.
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    location = EarthLocation.from_geodetic(117.58, 40.39, 960)
    time = Time(begin + 600 * SECOND, format="mjd", scale="utc", location=location)
    star = SkyCoord(345.797708, 32.226539, unit="deg")
    expected = (time.tdb + time.light_travel_time(star)).jd
    assert observation.visits["bjd"][0] == pytest.approx(expected, abs=1e-8)


def test_an_exposure_began_half_a_minute_after_its_minute_unless_the_second_is_known(
    tmp_path,
):
    observation = read(makers.lamost_mrs(tmp_path))
    first, second = observation.visits["bjd"][:2]
    minutes = makers.MINUTES[1] - makers.MINUTES[0]
    # The first began at 43 s of its minute, the second is taken to have at 30 s;
    # in 24 min the light time changes by 30 km/s * 24 min / c = 0.14 s.
    expected = (minutes * 60 + 30 - 43) * SECOND
    assert second - first == pytest.approx(expected, abs=0.2 * SECOND)


def test_a_missing_exposure_time_is_that_of_the_others(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus["B-84107335"].header["EXPTIME"]
    assert read(path).visits["exptime"].to_list() == [1200.0] * 6


def test_without_any_exposure_time_the_time_is_unknown(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits")
    with fits.open(path, mode="update") as hdus:
        for unit in hdus:
            unit.header.remove("EXPTIME", ignore_missing=True)
    observation = read(path)
    assert observation.visits["bjd"].is_nan().all()
    assert Status(observation.visits["status"][0]) == Status.NO_TIME


def test_no_signal_keeps_its_row(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["B-84107335"].header["SNR"] = 0.0
        hdus["R-84107335"].data["IVAR"][:] = 0
    observation = read(path)
    assert_sound(observation)
    blue, _ = by_id(observation, "84107335-sp01-015-blue")
    red, _ = by_id(observation, "84107335-sp01-015-red")
    assert Status(blue["status"]) == Status.LOW_SNR
    assert Status(red["status"]) == Status.NO_DATA
    assert observation.visits["status"].to_list().count(0) == 4


def test_an_extension_without_its_columns_keeps_its_row_and_says_why(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits")
    content = path.read_bytes()
    at = content.index(b"B-84107335")
    column = content.rindex(b"'IVAR    '", 0, at)
    path.write_bytes(content[:column] + b"'JUNK    '" + content[column + 10 :])
    observation = read(path)
    assert_sound(observation)
    visit, _ = by_id(observation, "84107335-sp01-015-blue")
    assert Status(visit["status"]) == Status.NO_DATA
    # The header's S/N is a fact all the same.
    assert visit["snr"] == 41.0
    (rejected,) = observation.rejected.rows(named=True)
    assert rejected["path"].endswith("[B-84107335]")
    assert rejected["reason"] == "there is no column IVAR"


def test_a_truncated_file_gives_what_is_whole_and_says_what_is_not(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits", coadds=False)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"R-84107311") + 3000])
    observation = read(path)
    assert_sound(observation)
    assert observation.visits["arm"].to_list() == ["blue"] * 3
    (rejected,) = observation.rejected.rows(named=True)
    assert "R-84107311 is cut off" in rejected["reason"]


def test_missing_extensions_are_noticed(tmp_path):
    path = makers.lamost_mrs(tmp_path, primary={"N_EXTEN": 10}, name="a.fits")
    observation = read(path)
    (rejected,) = observation.rejected.rows(named=True)
    assert rejected["reason"] == "its header promises 10 extensions, it has 9"


def test_an_extension_that_is_there_twice_is_read_once(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits", coadds=False, arms="B")
    content = path.read_bytes()
    at = content.index(b"XTENSION")
    path.write_bytes(content + content[at:])
    observation = read(path)
    assert_sound(observation)
    assert len(observation) == 3
    assert len(observation.rejected) == 3


def test_an_extension_of_unknown_name_is_reported(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits")
    path.write_bytes(path.read_bytes().replace(b"B-84107335", b"Q<84107335"))
    observation = read(path)
    assert len(observation) == 5
    (rejected,) = observation.rejected.rows(named=True)
    assert "not that of an exposure" in rejected["reason"]


def test_a_primary_header_alone_is_unreadable(tmp_path):
    path = makers.lamost_mrs(tmp_path, name="a.fits", arms="")
    with pytest.raises(UnreadableFile, match="neither exposures nor a coadded"):
        read(path)


def test_hostile_header_texts_are_carried_as_text(tmp_path):
    hostile = {"PLANID": "<script>alert(1)</script>", "OBJNAME": "../../etc/passwd"}
    observation = read(makers.lamost_mrs(tmp_path, primary=hostile))
    assert_sound(observation)
    assert observation.visits["field"][0] == "<script>alert(1)</script>"


def test_wavelengths_that_were_not_corrected_are_in_the_frame_of_the_observatory(
    tmp_path,
):
    observation = read(makers.lamost_mrs(tmp_path, primary={"HELIO": False}))
    assert observation.spectra.frame == "observatory"


def test_all_files_can_be_of_one_star(tmp_path):
    observation = read(makers.lamost_mrs(tmp_path), ReadOptions(star_id="KIC 1"))
    assert set(observation.visits["star_id"]) == {"KIC 1"}


@pytest.mark.parametrize("layout", ["image", "table"])
def test_a_low_resolution_file_is_one_coadd(tmp_path, layout):
    observation = read(makers.lamost_lrs(tmp_path, layout=layout))
    assert_sound(observation)
    (visit,) = observation.visits.rows(named=True)
    assert Status(visit["status"]) == Status.COADD
    assert visit["arm"] == "all"
    assert visit["survey"] == "lamost-lrs"
    assert visit["snr"] == 55.5
    assert visit["n_good"] == makers.PIXELS - 1
    assert observation.spectra.resolution[0] == 1800
    assert observation.spectra.frame == "barycenter"
    true = 10 ** (3.5682 + 0.001 * np.arange(makers.PIXELS))
    np.testing.assert_allclose(observation.spectra.wave_2d[0], true, rtol=2e-8)


def test_low_resolution_wavelengths_come_from_the_third_row_if_not_from_the_header(
    tmp_path,
):
    path = makers.lamost_lrs(tmp_path, drop=("COEFF0", "COEFF1"))
    observation = read(path)
    true = 10 ** (3.5682 + 0.001 * np.arange(makers.PIXELS))
    np.testing.assert_allclose(observation.spectra.wave_2d[0], true, rtol=2e-8)


def test_the_oldest_low_resolution_files_have_no_wavelengths_but_the_headers(tmp_path):
    # Their third row is the flux without its continuum.
    path = makers.lamost_lrs(tmp_path, drop=("COEFF0", "COEFF1", "EXTEN0"))
    observation = read(path)
    assert Status(observation.visits["status"][0]) & Status.BAD_WAVELENGTHS


def test_the_real_medium_resolution_files(real_data):
    observations = [read(path) for path in sorted((real_data / "lamost_mrs").iterdir())]
    assert [len(observation) for observation in observations] == [18, 8, 14, 6, 8, 6]
    for observation in observations:
        assert_sound(observation)
        assert observation.rejected.is_empty()
        assert (observation.visits["n_good"] > 4100).all()
    bad = observations[0].visits
    # Where the star was not in the fiber, S/N is 0 or close to it.
    low = (bad["status"].to_numpy() & int(Status.LOW_SNR)) != 0
    assert low.sum() == (bad["snr"] == 0).sum() == 11
    lamps = [
        observation.visits["lamp"].unique().to_list() for observation in observations
    ]
    assert lamps == [["lampsc_med.dat"]] * 3 + [["lampthar.dat"]] * 3


def test_our_correction_is_minus_the_heliocentric_velocity_of_the_headers(real_data):
    """LAMOST's header has one value for all exposures, of the opposite sign."""
    differences = []
    for path in sorted((real_data / "lamost_mrs").iterdir()):
        helio = fits.getheader(path)["HELIO_RV"]
        correction = read(path).visits["bary_corr"].to_numpy()
        differences.append(np.abs(correction + helio).min())
    # Measured: 1 to 40 m/s at the exposure that fits best. The Sun's motion is up to
    # 16 m/s; the rest is LAMOST's.
    assert max(differences) < 0.05


def test_the_real_low_resolution_files(real_data):
    for path in sorted((real_data / "lamost_lrs").iterdir()):
        observation = read(path)
        assert_sound(observation)
        assert len(observation) == 1
        assert observation.rejected.is_empty()
        assert Status(observation.visits["status"][0]) & Status.COADD
        helio = fits.getheader(path)["HELIO_RV"]
        # LRS pipelines before 2015 differ by up to 0.4 km/s from the true correction.
        assert abs(observation.visits["bary_corr"][0] + helio) < 0.5
