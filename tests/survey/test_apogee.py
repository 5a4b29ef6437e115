import gzip
from datetime import timedelta

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import median_filter

from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.simulate.apogee_files import (
    write_exposure,
    write_mwm_visit,
    write_star,
    write_visit,
)
from steadystar.survey.apogee import ApogeeReader, read_line_spread, read_sky
from steadystar.survey.apogee_mask import ALWAYS, BITS, bits_of, names_of
from steadystar.survey.observation import ReadOptions, UnreadableFile
from steadystar.survey.observatory import SITES, barycentric, mjd_from_text
from steadystar.survey.registry import read

from . import apogee_makers as makers
from .test_observation import assert_sound

SECOND = 1 / 86_400


def only(observation):
    (row,) = observation.visits.rows(named=True)
    return row


# --- visits -------------------------------------------------------------------------


def test_a_visit_is_one_row_of_three_detectors_from_blue_to_red(tmp_path):
    visit = makers.visit()
    observation = read(write_visit(tmp_path, visit))
    assert_sound(observation)
    assert observation.rejected.is_empty()
    spectra, row = observation.spectra, only(observation)
    assert spectra.frame == "observatory"
    assert spectra.flux.shape == (1, 3 * makers.PIXELS)
    order = np.argsort(visit.wave.ravel())
    np.testing.assert_array_equal(spectra.wave, visit.wave.ravel()[order])
    flux = visit.flux.ravel()[order].astype(np.float32)
    np.testing.assert_array_equal(spectra.flux[0], flux)
    np.testing.assert_allclose(spectra.ivar[0], 0.01, rtol=1e-6)
    assert row["visit_id"] == "apogee-apo25m-7268-56677-142"
    assert row["star_id"] == "2M08501918+1056436"
    assert (row["ra"], row["dec"]) == (132.579937, 10.945469)
    assert (row["survey"], row["telescope"], row["arm"]) == ("apogee", "apo25m", "h")
    assert (row["field"], row["night"]) == ("7268", 56_677)
    # As in the tables of velocities: counted from the other end.
    assert row["fiber"] == 301 - 142
    assert row["exposure_id"] == "7268-56677"
    assert row["snr"] == 92.6
    assert row["exptime"] == 2002.0
    assert row["status"] == 0
    middle = makers.MIDDLE_MJD - 1001.0 * SECOND
    bjd, correction = barycentric(middle, row["ra"], row["dec"], SITES["apo"])
    # JD-MID has five decimals: half a unit is 0.43 s.
    assert row["bjd"] == pytest.approx(float(bjd), abs=0.5 * SECOND)
    assert row["bary_corr"] == pytest.approx(float(correction), abs=2e-5)


def test_interleaved_exposures_are_twice_as_long_as_the_header_says(tmp_path):
    observation = read(write_visit(tmp_path, makers.visit(pixels=4096)))
    assert observation.spectra.flux.shape == (1, 12_288)
    assert only(observation)["exptime"] == 4004.0


@pytest.mark.parametrize("velocity", [-250.0, 0.0, 83.0])
def test_a_shifted_line_is_found_where_it_was_observed(tmp_path, velocity):
    path = write_visit(tmp_path, makers.visit(pixels=4096, velocity=velocity))
    spectra = read(path).spectra
    at = makers.LINE * (1 + velocity / C_KMS)
    found = makers.line_center(spectra.wave, spectra.flux[0], spectra.ivar[0], at)
    # Noise of 10 in a line of 400, 1 Angstrom wide: about 0.3 km/s.
    assert C_KMS * (found / at - 1) == pytest.approx(0, abs=1.0)


@pytest.mark.parametrize("name", [n for n in BITS if BITS[n] & ALWAYS])
def test_every_bad_bit_removes_its_pixel(tmp_path, name):
    mask = np.zeros((3, makers.PIXELS), np.int16)
    mask[1, 7] = BITS[name]
    spectra = read(write_visit(tmp_path, makers.visit(mask=mask))).spectra
    visit = makers.visit()
    (removed,) = np.flatnonzero(spectra.ivar[0] == 0)
    assert spectra.wave_2d[0, removed] == visit.wave[1, 7]


def test_sky_line_pixels_are_left_out_unless_told_otherwise(tmp_path):
    mask = np.zeros((3, makers.PIXELS), np.int16)
    for place, name in enumerate(BITS):
        mask[0, 10 * place] = BITS[name]
    path = write_visit(tmp_path, makers.visit(mask=mask))
    bad = sum(1 for name in BITS if BITS[name] & ALWAYS)

    def removed(names):
        options = ReadOptions(apogee_mask=names)
        return int((read(path, options).spectra.ivar[0] == 0).sum())

    assert bad == 9
    assert removed("SIG_SKYLINE") == bad + 1
    assert (read(path).spectra.ivar[0] == 0).sum() == bad + 1
    assert removed("") == bad
    assert removed("persist_high, PERSIST_MED") == bad + 2


def test_the_mask_of_the_survey_is_spelled_out():
    # The value that the survey's own pipeline uses for bad pixels.
    assert ALWAYS == 16_639
    assert bits_of("SIG_SKYLINE") == 16_639 + 4096
    assert names_of(4097) == ["BADPIX", "SIG_SKYLINE"]
    with pytest.raises(ValueError, match=r"'SKYLINE' is no bit.*SIG_SKYLINE"):
        ReadOptions(apogee_mask="SKYLINE")


def test_lco_is_known_by_the_name_of_its_files(tmp_path):
    visit = makers.visit(telescope="lco25m", dec=-27.9)
    path = write_visit(tmp_path, visit)
    # The pipeline writes this into the files of LCO, too.
    assert fits.getheader(path)["TELESCOP"] == "apo25m"
    row = only(read(path))
    assert row["telescope"] == "lco25m"
    assert row["fiber"] == 301 - 142 + 300
    _, north = barycentric(makers.MIDDLE_MJD, row["ra"], -27.9, SITES["apo"])
    assert abs(row["bary_corr"] - float(north)) > 0.01


def test_what_never_rises_at_apo_was_seen_from_lco(tmp_path):
    path = write_visit(tmp_path, makers.visit(dec=-72.0))
    assert only(read(path))["telescope"] == "lco25m"


def test_sdss_v_is_known_by_its_catalogs(tmp_path):
    path = write_visit(tmp_path, makers.visit(cards={"CATID": 4283338543}))
    assert only(read(path))["survey"] == "sdss-v"


def test_errors_of_zero_are_missing_pixels_and_no_damage(tmp_path):
    visit = makers.visit()
    visit.error[2, :20] = 0
    row = only(read(write_visit(tmp_path, visit)))
    assert row["status"] == 0
    assert row["n_good"] == 3 * makers.PIXELS - 20


def test_values_that_are_not_finite_are_marked_as_damage(tmp_path):
    visit = makers.visit()
    visit.flux[2, :20] = np.nan
    row = only(read(write_visit(tmp_path, visit)))
    assert Status(row["status"]) == Status.DAMAGED_VALUES
    assert row["n_good"] == 3 * makers.PIXELS - 20


@pytest.mark.parametrize("key", ["JD-MID", "SNR", "EXPTIME", "PLATE", "FIBERID"])
def test_a_missing_keyword_is_made_up_for(tmp_path, key):
    path = write_visit(tmp_path, makers.visit())
    before = only(read(path))
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header[key]
    row = only(read(path))
    # UT-MID says the time as well, to 0.1 s; the file's name plate and fiber; the pixels
    # give a signal-to-noise ratio near 80. Nothing else says the exposure time.
    assert row["bjd"] == pytest.approx(before["bjd"], abs=SECOND)
    assert row["visit_id"] == before["visit_id"]
    assert row["snr"] == pytest.approx(before["snr"], rel=0.3)
    assert np.isnan(row["exptime"]) == (key == "EXPTIME")


def test_a_missing_position_is_marked_and_can_be_given(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["RA"]
    assert Status.NO_POSITION in Status(only(read(path))["status"])
    row = only(read(path, ReadOptions(position="10 20")))
    assert (row["ra"], row["dec"], row["status"]) == (10, 20, 0)


def test_images_are_known_by_their_labels_so_a_lost_one_is_missed(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    with fits.open(path) as hdus:
        del hdus[2]
        hdus.writeto(tmp_path / "lost.fits")
    with pytest.raises(UnreadableFile, match="no image of the error"):
        read(tmp_path / "lost.fits")


@pytest.mark.parametrize(
    ("role", "reason"),
    [(1, "the error has the shape"), (4, "no image of the wavelengths")],
)
def test_wrong_images_are_refused_with_the_reason(tmp_path, role, reason):
    path = write_visit(tmp_path, makers.visit())
    with fits.open(path) as hdus:
        if role == 1:
            hdus[2].data = hdus[2].data[:, :-1]
        else:
            del hdus[4]
        hdus.writeto(tmp_path / "wrong.fits")
    with pytest.raises(UnreadableFile, match=reason):
        read(tmp_path / "wrong.fits")


def test_wavelengths_that_make_no_sense_keep_the_row_with_a_status(tmp_path):
    visit = makers.visit()
    visit.wave[1, 3] = np.nan
    observation = read(write_visit(tmp_path, visit))
    assert_sound(observation)
    assert Status.BAD_WAVELENGTHS in Status(only(observation)["status"])


def test_a_visit_cut_off_after_its_wavelengths_is_read_and_reported(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 10_000])
    observation = read(path)
    assert_sound(observation)
    assert only(observation)["n_good"] > 0
    assert any("cut off" in reason for reason in observation.rejected["reason"])


def test_a_visit_cut_off_before_its_wavelengths_is_refused(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    path.write_bytes(path.read_bytes()[:12_000])
    with pytest.raises(UnreadableFile, match="apogee"):
        read(path)


def test_compression_and_name_do_not_matter(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    zipped = tmp_path / "anything"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert only(read(zipped))["visit_id"] == only(read(path))["visit_id"]


def test_coadds_are_not_found_in_a_visit(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    with pytest.raises(UnreadableFile, match=r"no coadded spectrum.*without `coadds`"):
        read(path, ReadOptions(coadds=True))


# --- sky ----------------------------------------------------------------------------


def test_sky_and_telluric_are_given_for_the_pixels_of_the_spectrum(tmp_path):
    visit = makers.visit(pixels=4096)
    path = write_visit(tmp_path, visit)
    sky, spectra = read_sky(path), read(path).spectra
    np.testing.assert_array_equal(sky.wave, spectra.wave_2d)
    order = np.argsort(visit.wave.ravel())
    for ours, theirs in (
        (sky.sky, visit.sky),
        (sky.telluric, visit.telluric),
        (sky.sky_err, visit.sky_error),
        (sky.telluric_err, visit.telluric_error),
    ):
        # The files hold float32.
        np.testing.assert_allclose(ours[0], theirs.ravel()[order], rtol=1e-6)


def test_swapped_pixels_are_swapped_back_only_where_they_are_swapped(tmp_path):
    visit = makers.visit(pixels=4096)
    path = write_visit(tmp_path, visit)
    good = read_sky(path)
    with fits.open(path) as hdus:
        # As a file would be whose pipeline did it right.
        for number in (5, 6, 7, 8):
            data = hdus[number].data
            hdus[number].data = data.reshape(3, -1, 2)[:, :, ::-1].reshape(data.shape)
        hdus.writeto(tmp_path / "right.fits")
    np.testing.assert_array_equal(read_sky(tmp_path / "right.fits").sky, good.sky)


def test_a_file_without_sky_has_nans_and_a_star_of_one_visit_too(tmp_path):
    path = write_visit(tmp_path, makers.visit())
    with fits.open(path) as hdus:
        del hdus[5:9]
        hdus.writeto(tmp_path / "bare.fits")
    assert np.isnan(read_sky(tmp_path / "bare.fits").sky).all()
    visit = makers.rest_visit(telluric=np.zeros(8575))
    assert np.isnan(read_sky(write_star(tmp_path, [visit])).sky).all()


def test_sky_of_other_kinds_of_files_is_refused_with_the_reason(tmp_path):
    (path,) = write_exposure(tmp_path, 11_150_048, makers.exposure_images(), chips="a")
    for function in (read_sky, read_line_spread):
        with pytest.raises(UnreadableFile, match="Read the apVisit files"):
            function(path)
    (tmp_path / "x.fits").write_bytes(b"SIMPLE  =" + b" " * 2871)
    with pytest.raises(UnreadableFile):
        read_sky(tmp_path / "x.fits")


# --- stars --------------------------------------------------------------------------

VELOCITIES = (-9.842, 3.472, 613.968)


def star_file(folder, count=3, **changes):
    visits = [
        makers.rest_visit(n, velocity=v, **changes)
        for n, v in zip(range(count), VELOCITIES, strict=False)
    ]
    return write_star(folder, visits)


def test_visits_of_a_star_are_moved_back_to_where_they_were_observed(tmp_path):
    observation = read(star_file(tmp_path))
    assert_sound(observation)
    assert observation.rejected.is_empty()
    assert observation.spectra.frame == "observatory"
    visits, spectra = observation.visits, observation.spectra
    assert visits["status"].to_list() == [0, 0, 0]
    assert visits["night"].to_list() == [56_396, 56_397, 56_398]
    assert visits["fiber"].to_list() == [89, 88, 87]
    assert visits["visit_id"][1] == "apogee-apo25m-5815-56397-213"
    assert visits["snr"].to_list() == [60.0, 61.0, 62.0]
    for row, velocity in enumerate(VELOCITIES):
        at = makers.LINE * (1 + velocity / C_KMS)
        wave = spectra.wave_2d[row]
        found = makers.line_center(wave, spectra.flux[row], spectra.ivar[row], at)
        # Noise: about 0.3 km/s. The survey's 614 km/s was wrong, and no matter.
        assert C_KMS * (found / at - 1) == pytest.approx(0, abs=1.0)


def test_a_visit_has_one_name_in_all_kinds_of_files(tmp_path):
    rest = makers.rest_visit(1, velocity=3.0)
    star = only(read(write_star(tmp_path, [rest])))
    detectors = makers.visit(
        plate=rest.plate, night=rest.night, fiber_id=rest.fiber_id, start=rest.start,
        ra=rest.ra, dec=rest.dec, star=rest.star, exptime=rest.exptime,
        cards={"EXPTIME": rest.exptime},
    )  # fmt: skip
    visit = only(read(write_visit(tmp_path, detectors)))
    mwm = only(read(write_mwm_visit(tmp_path, 42, [rest])))
    for name in ("visit_id", "star_id", "field", "night", "fiber", "exposure_id"):
        assert star[name] == visit[name] == mwm[name]
    for name, unit in (("bjd", 0.5 * SECOND), ("bary_corr", 2e-5)):
        assert star[name] == pytest.approx(visit[name], abs=unit)
        assert mwm[name] == pytest.approx(visit[name], abs=unit)


def test_a_star_of_one_visit_holds_it_in_its_first_row(tmp_path):
    observation = read(star_file(tmp_path, count=1))
    assert_sound(observation)
    row = only(observation)
    assert row["status"] == 0
    assert row["n_good"] > 8000


def test_a_sum_is_read_on_request_at_the_mean_velocity_of_its_header(tmp_path):
    path = star_file(tmp_path, count=2)
    observation = read(path, ReadOptions(coadds=True))
    assert_sound(observation)
    assert observation.spectra.frame == "barycenter"
    row = only(observation)
    assert Status.COADD in Status(row["status"])
    mean = fits.getheader(path)["VHELIO"]
    at = makers.LINE * (1 + mean / C_KMS)
    spectra = observation.spectra
    found = makers.line_center(spectra.wave_2d[0], spectra.flux[0], spectra.ivar[0], at)
    assert C_KMS * (found / at - 1) == pytest.approx(0, abs=1.0)
    assert row["visit_id"] not in read(path).visits["visit_id"]


@pytest.mark.parametrize("value", [999_999.0, "NaN", None])
def test_a_visit_whose_velocity_is_unknown_keeps_its_row_and_says_so(tmp_path, value):
    path = star_file(tmp_path)
    with fits.open(path, mode="update") as hdus:
        if value is None:
            del hdus[0].header["VRAD2"]
        else:
            hdus[0].header["VRAD2"] = value
    observation = read(path)
    assert_sound(observation)
    flags = [Status.NO_DATA in Status(s) for s in observation.visits["status"]]
    assert flags == [False, True, False]
    (reason,) = observation.rejected["reason"]
    assert "VRAD2" in reason


def test_promised_visits_that_are_not_there_are_reported(tmp_path):
    path = star_file(tmp_path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["NVISITS"] = 5
    assert "promises 5 visits, it has 3" in read(path).rejected["reason"][0]


# --- exposures ----------------------------------------------------------------------

NUMBER = 11_150_048
CARDS = {
    "DATE-OBS": "2014-01-20T08:17:25.156",
    "EXPTIME": 500.5,
    "RA": 132.5,
    "DEC": 10.9,
}


def test_three_detectors_of_an_exposure_are_read_as_one(tmp_path):
    images = makers.exposure_images(fibers=300, pixels=64)
    paths = write_exposure(tmp_path, NUMBER, images, cards=CARDS)
    observation = read(paths[0])
    assert_sound(observation)
    assert observation.rejected.is_empty()
    assert observation.spectra.flux.shape == (300, 3 * 64)
    visits = observation.visits
    assert visits["visit_id"][0] == "apogee-apo25m-11150048-300"
    assert visits["fiber"].to_list() == list(range(1, 301))
    assert set(visits["night"]) == {56_677}
    assert set(visits["exposure_id"]) == {"11150048"}
    assert set(visits["field"]) == {"7268"}
    # Which star it was the file does not say, and the field's center is not it.
    assert visits["star_id"].null_count() == 300
    assert visits["ra"].is_nan().all()
    assert set(visits["status"]) == {int(Status.NO_POSITION)}
    middle = mjd_from_text(CARDS["DATE-OBS"]) + 250.25 * SECOND
    bjd, _ = barycentric(middle, 132.5, 10.9, SITES["apo"])
    np.testing.assert_allclose(visits["bjd"], float(bjd), rtol=0, atol=1e-8)
    row = 17
    wave = np.sort(np.concatenate([chip["wave"][row] for chip in images]))
    np.testing.assert_array_equal(observation.spectra.wave_2d[row], wave)


def test_the_other_detectors_say_with_which_file_they_are_read(tmp_path):
    paths = write_exposure(tmp_path, NUMBER, makers.exposure_images(), cards=CARDS)
    for path in paths[1:]:
        with pytest.raises(UnreadableFile, match=f"Read {paths[0].name}"):
            read(path)


@pytest.mark.parametrize("chips", ["a", "b", "c", "bc", "ac"])
def test_an_exposure_is_read_from_those_detectors_that_are_there(tmp_path, chips):
    images = makers.exposure_images()
    paths = write_exposure(tmp_path, NUMBER, images, chips=chips, cards=CARDS)
    observation = read(paths[0])
    assert_sound(observation)
    assert observation.spectra.flux.shape == (12, len(chips) * makers.PIXELS)


def test_a_damaged_detector_does_not_take_the_others_with_it(tmp_path):
    paths = write_exposure(tmp_path, NUMBER, makers.exposure_images(), cards=CARDS)
    paths[1].write_bytes(paths[1].read_bytes()[:9000])
    observation = read(paths[0])
    assert_sound(observation)
    assert observation.spectra.flux.shape == (12, 2 * makers.PIXELS)
    assert str(paths[1]) in observation.rejected["path"].to_list()


def test_detectors_of_different_shapes_are_not_joined(tmp_path):
    images = makers.exposure_images()
    images[2] = makers.exposure_images(fibers=7)[2]
    paths = write_exposure(tmp_path, NUMBER, images, cards=CARDS)
    observation = read(paths[0])
    assert observation.spectra.flux.shape == (12, 2 * makers.PIXELS)
    assert "(7, 256)" in observation.rejected["reason"][0]


def test_an_exposure_without_wavelengths_is_refused(tmp_path):
    (path,) = write_exposure(tmp_path, NUMBER, makers.exposure_images(), chips="a")
    with fits.open(path) as hdus:
        del hdus[4:]
        hdus.writeto(tmp_path / "raw.fits")
    with pytest.raises(UnreadableFile, match="was not calibrated"):
        read(tmp_path / "raw.fits")


# --- SDSS-V -------------------------------------------------------------------------


def mwm_visits():
    return [
        makers.rest_visit(0, velocity=-9.8),
        makers.rest_visit(1, velocity=3.5),
        makers.rest_visit(2, velocity=7.0, telescope="lco25m"),
    ]


@pytest.mark.parametrize("in_stack", [None, [True, True, True]])
def test_visits_of_sdss_v_are_moved_back_too(tmp_path, in_stack):
    path = write_mwm_visit(tmp_path, 42, mwm_visits(), in_stack=in_stack)
    observation = read(path)
    assert_sound(observation)
    assert observation.rejected.is_empty()
    visits, spectra = observation.visits, observation.spectra
    assert visits["telescope"].to_list() == ["apo25m", "apo25m", "lco25m"]
    assert visits["fiber"].to_list() == [89, 88, 301 - 214 + 300]
    assert set(visits["survey"]) == {"sdss-v"}
    assert set(visits["star_id"]) == {"2M17335483-2753043"}
    assert spectra.frame == "observatory"
    for row, velocity in enumerate((-9.8, 3.5, 7.0)):
        at = makers.LINE * (1 + velocity / C_KMS)
        wave = spectra.wave_2d[row]
        found = makers.line_center(wave, spectra.flux[row], spectra.ivar[row], at)
        assert C_KMS * (found / at - 1) == pytest.approx(0, abs=1.0)


def test_times_do_not_come_from_a_julian_date_in_single_precision(tmp_path):
    visit = makers.rest_visit(0)
    path = write_mwm_visit(tmp_path, 42, [visit])
    with fits.open(path) as hdus:
        rounded = float(hdus[3].data["jd"][0])
    middle = mjd_from_text((visit.start + timedelta(seconds=2002)).isoformat())
    assert abs(rounded - 2_400_000.5 - middle) > 100 * SECOND
    bjd, _ = barycentric(middle, visit.ra, visit.dec, SITES["apo"])
    assert only(read(path))["bjd"] == pytest.approx(float(bjd), abs=0.01 * SECOND)


def test_a_visit_outside_the_stack_was_never_moved(tmp_path):
    visits = mwm_visits()
    path = write_mwm_visit(tmp_path, 42, visits, in_stack=[True, False, True])
    spectra = read(path).spectra
    np.testing.assert_allclose(spectra.wave_2d[1], visits[1].wave, rtol=1e-12)
    shifted = visits[0].wave * (1 - 9.8 / C_KMS)
    # v_rel is in single precision.
    np.testing.assert_allclose(spectra.wave_2d[0], shifted, rtol=1e-11)


def test_what_boss_saw_is_listed_as_not_read(tmp_path):
    path = write_mwm_visit(tmp_path, 42, mwm_visits(), boss_visits=2)
    observation = read(path)
    assert len(observation) == 3
    (row,) = observation.rejected.rows(named=True)
    assert row["path"].endswith("[BOSS/APO]")
    assert "BOSS" in row["reason"]


@pytest.mark.parametrize("boss_visits", [0, 2])
def test_a_star_without_apogee_visits_is_refused(tmp_path, boss_visits):
    path = write_mwm_visit(tmp_path, 42, [], boss_visits=boss_visits)
    reason = "BOSS" if boss_visits else "no visit of APOGEE"
    with pytest.raises(UnreadableFile, match=reason):
        read(path)


def test_the_sum_of_sdss_v_is_read_on_request(tmp_path):
    path = write_mwm_visit(tmp_path, 42, mwm_visits()[:1])
    with fits.open(path) as hdus:
        table = hdus[3]
        table.columns.change_name("mjd", "max_mjd")
        hdus.writeto(tmp_path / "mwmStar.fits")
    observation = read(tmp_path / "mwmStar.fits", ReadOptions(coadds=True))
    assert_sound(observation)
    assert observation.spectra.frame == "barycenter"
    assert Status.COADD in Status(only(observation)["status"])
    with pytest.raises(UnreadableFile, match="Try with `coadds`"):
        read(tmp_path / "mwmStar.fits")


def test_two_rows_of_one_visit_are_one_visit_and_a_report(tmp_path):
    visit = makers.rest_visit(0)
    observation = read(write_mwm_visit(tmp_path, 42, [visit, visit]))
    assert_sound(observation)
    assert len(observation) == 1
    assert "two spectra of this visit" in observation.rejected["reason"][0]


def test_only_apogees_files_are_taken_for_apogees(tmp_path):
    from . import makers as other

    reader = ApogeeReader()
    assert not reader.matches(other.lamost_mrs(tmp_path))
    assert not reader.matches(other.image(tmp_path))
    assert reader.matches(write_visit(tmp_path, makers.visit()))
    with pytest.raises(UnreadableFile, match="not the keywords of an APOGEE file"):
        read(other.image(tmp_path, name="other.fits"), ReadOptions(reader="apogee"))


# --- real files ---------------------------------------------------------------------


def visit_files(real_data):
    return sorted((real_data / "apogee").glob("**/apVisit*.fits"))


def test_real_visits_are_read_whole(real_data):
    paths = visit_files(real_data)
    assert len(paths) == 28
    for path in paths:
        observation = read(path)
        assert_sound(observation)
        assert observation.rejected.is_empty()
        row = only(observation)
        assert row["status"] == 0
        header = fits.getheader(path)
        assert row["star_id"] == header["OBJID"]
        assert row["fiber"] == 301 - header["FIBERID"]
        wave = observation.spectra.wave
        gaps = wave[np.flatnonzero(np.diff(wave) > 5)]
        # The two gaps between the detectors (Wilson et al. 2019).
        np.testing.assert_allclose(gaps, [15_810, 16_435], atol=3)


def test_real_barycentric_corrections_agree_but_for_relativity(real_data):
    differences = [
        1e3 * (only(read(path))["bary_corr"] - fits.getheader(path)["BC"])
        for path in visit_files(real_data)
    ]
    # The survey's BC (up to DR16) is n.v alone. The Sun's and the Earth's potential add
    # GM/(rc) = 3.2 m/s, the Earth's motion v^2/(2c) = 1.5 m/s; 1 m/s is left for sites,
    # ephemerides and JD-MID, which is rounded to 0.9 s.
    np.testing.assert_allclose(differences, 4.7, atol=1.1)
    assert np.std(differences) < 0.25


def test_real_corrections_of_dr17_belong_to_the_first_quarter_of_the_visit(real_data):
    for path in sorted((real_data / "apogee").glob("apStar*.fits")):
        header, visits = fits.getheader(path), read(path).visits
        for n, ours in enumerate(visits["bary_corr"], start=1):
            start = mjd_from_text(header[f"DATE{n}"])
            middle = header[f"JD{n}"] - 2_400_000.5
            place = header["RA"], header["DEC"], SITES["apo"]
            _, quarter = barycentric((start + middle) / 2, *place)
            # It has relativity in it, but was computed for a quarter of the way: the
            # start and half of the exposure time of one of two dither positions.
            assert 1e3 * (quarter - header[f"BC{n}"]) == pytest.approx(0, abs=0.5)
            assert abs(1e3 * (ours - header[f"BC{n}"])) > 10


def test_real_sky_images_are_put_in_order(real_data):
    def saw(values):
        lines = values > np.percentile(values, 97)
        curvature = np.abs(np.diff(values, 2))[lines[1:-1]]
        return np.median(curvature) / np.median(values[lines])

    for path in visit_files(real_data)[::3]:
        ours = saw(read_sky(path).sky[0])
        with fits.open(path) as hdus:
            theirs = saw(np.asarray(hdus[5].data[::-1, ::-1], float).ravel())
        # 0.8 to 1.0 as in the file, 0.1 to 0.3 in order.
        assert ours < 0.5 * theirs


def differences(first, second):
    """Two visits' difference over its error, the smooth part taken off, and masks."""
    options = ReadOptions(apogee_mask="")
    a, b = (read(path, options).spectra for path in (first, second))
    mask = read_sky(first).mask[0] | read_sky(second).mask[0]
    usable = (a.ivar[0] > 0) & (b.ivar[0] > 0)
    flux = np.interp(a.wave, b.wave, b.flux[0])
    with np.errstate(divide="ignore"):
        errors = [1 / np.sqrt(s.ivar[0].astype(float)) for s in (a, b)]
    scale = np.median(a.flux[0]) / np.median(b.flux[0])
    difference = np.where(usable, a.flux[0] - scale * flux, 0)
    difference -= median_filter(difference, 151)
    return difference[usable] / np.hypot(errors[0], scale * errors[1])[usable], mask[
        usable
    ]


def test_real_pixels_near_sky_lines_scatter_more_than_their_errors(real_data):
    """Why SIG_SKYLINE is left out, and the other warnings are not."""
    # Neighboring fibers, barycentric corrections within 0.6 km/s.
    pairs = [(10, 16), (10, 17), (13, 7), (16, 17)]
    name = "apogee/visits/apVisit-2M08501918+1056436-{}.fits"
    parts = [
        differences(*(real_data / name.format(number) for number in pair))
        for pair in pairs
    ]
    chi, mask = (np.concatenate(values) for values in zip(*parts, strict=True))

    def scatter(selected):
        return 1.4826 * np.median(np.abs(chi[selected]))

    clean = scatter(mask == 0)
    # Interpolation and two fibers cost some percent.
    assert clean == pytest.approx(1, abs=0.15)
    assert scatter(mask & BITS["SIG_SKYLINE"] != 0) > 1.8 * clean
    for other in ("SIG_TELLURIC", "PERSIST_HIGH", "PERSIST_MED", "PERSIST_LOW"):
        assert scatter(mask & BITS[other] != 0) < 1.2 * clean
