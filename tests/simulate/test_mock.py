import hashlib

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from steadystar.data.constants import C_KMS
from steadystar.data.schema import conform
from steadystar.models.broadening import broaden
from steadystar.models.library import bundled
from steadystar.simulate.mock import SurveyOptions, simulate_survey

SMALL = {"n_stars": 3, "n_nights": 1, "n_exposures": 2}


def digest(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def open_visit(folder, row):
    """Wavelengths, flux, inverse variance and mask of a row of the truth."""
    path, extension = row["path"].removesuffix("]").split("[")
    with fits.open(folder / path) as hdus:
        table = hdus[extension].data
        order = np.argsort(table["LOGLAM"])
        return (
            10 ** table["LOGLAM"][order].astype(np.float64),
            table["FLUX"][order].astype(np.float64),
            table["IVAR"][order].astype(np.float64),
            table["PIXMASK"][order],
        )


@pytest.fixture(scope="session")
def noiseless(tmp_path_factory):
    """A survey without noise or defects, but with all errors of calibration."""
    folder = tmp_path_factory.mktemp("noiseless")
    options = SurveyOptions.ideal(
        n_stars=14,
        n_nights=2,
        n_exposures=2,
        giants=0.3,
        single_lined=0.2,
        double_lined=0.2,
        pulsators=0.2,
        night_drift=1.0,
        exposure_drift=0.5,
        fiber_offset=0.1,
        alternate_lamp=0.25,
        resolution_scatter=0.05,
    )
    return folder, simulate_survey(folder, options, seed=7), options


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    options = SurveyOptions(**SMALL)
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        simulate_survey(tmp_path / name, options, seed=seed)
    one, two, three = (digest(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert len(one) == 3 + 4
    assert not set(one.values()) & set(three.values())


def test_more_nights_and_more_defects_leave_the_first_night_alone(tmp_path):
    few = SurveyOptions.ideal(**SMALL)
    more = SurveyOptions.ideal(**(SMALL | {"n_nights": 2}))
    simulate_survey(tmp_path / "few", few, seed=3)
    simulate_survey(tmp_path / "more", more, seed=3)
    few_files = digest(tmp_path / "few" / "spectra")
    more_files = digest(tmp_path / "more" / "spectra")
    assert len(more_files) == 2 * len(few_files)
    assert few_files.items() <= more_files.items()


def velocity_in_file(folder, row, star):
    """The velocity of the lines in a noiseless file, by the models' own broadening.

    Another road than the simulator's at every step: real-space convolution, shifted
    wavelengths, and a least-squares fit of velocity and continuum.
    """
    wave, flux, _, _ = open_visit(folder, row)
    models = bundled(f"lamost-mrs-{row['arm']}")
    model = models([row["teff_true"], star["logg_true"], star["feh_true"]])
    x = np.linspace(-1, 1, len(wave))
    smooth = np.polynomial.chebyshev.chebvander(x, 8)

    def residual(rv):
        lines = broaden(
            models.wave,
            model.flux,
            wave / (1 + rv / C_KMS),
            resolution=row["resolution_true"],
            vsini=star["vsini_true"],
        )
        basis = (lines / lines.mean())[:, None] * smooth
        solution = np.linalg.lstsq(basis / flux.mean(), flux / flux.mean(), rcond=None)
        return flux / flux.mean() - basis / flux.mean() @ solution[0]

    trial = row["rv_raw_true"] + np.array([-1.0, 0.0, 1.0])
    left, middle, right = (np.sum(residual(rv) ** 2) for rv in trial)
    vertex = trial[1] + (left - right) / (left - 2 * middle + right) / 2
    return vertex, np.std(residual(vertex))


def test_a_noiseless_file_holds_the_true_velocity(noiseless):
    folder, survey, _ = noiseless
    stars = {row["star_id"]: row for row in survey.stars.iter_rows(named=True)}
    kinds = set()
    # Every third of eight visits a star: both arms, all nights, in a third of the time.
    for row in survey.visits.gather_every(3).iter_rows(named=True):
        star = stars[row["star_id"]]
        if star["double_lined_true"]:
            continue
        found, misfit = velocity_in_file(folder, row, star)
        # float32 rounds log10(wavelength) to 0.05 km/s rms a pixel, which averages out
        # over hundreds of lines; a broad line or two of a rotating star average less.
        slack = 0.01 if star["vsini_true"] < 20 else 0.1
        assert found == pytest.approx(row["rv_raw_true"], abs=slack)
        assert misfit < 3e-3
        kinds.add(star["motion"])
    assert kinds == {"constant", "sb1", "pulsator"}


def test_truth_adds_up(noiseless):
    _, survey, options = noiseless
    visits = survey.visits
    parts = visits["offset_exposure_true"] + visits["offset_fiber_true"]
    np.testing.assert_allclose(visits["correction_true"], parts, atol=1e-12)
    np.testing.assert_allclose(
        visits["rv_raw_true"], visits["rv_true"] + visits["correction_true"], atol=1e-9
    )
    exposures = survey.exposures
    total = (
        exposures["offset_night_true"]
        + exposures["offset_exposure_true"]
        + exposures["offset_lamp_true"]
    )
    np.testing.assert_allclose(exposures["offset_true"], total, atol=1e-12)
    keys = ["spectrograph", "arm", "exposure_id"]
    joined = visits.join(exposures, on=keys, how="left", suffix="_of_exposure")
    np.testing.assert_allclose(joined["offset_exposure_true"], joined["offset_true"])
    by_fiber = survey.offsets.filter(pl.col("family") == "spectrograph+arm+fiber")
    joined = visits.join(by_fiber, on=["spectrograph", "arm", "fiber"], how="left")
    np.testing.assert_allclose(joined["offset_fiber_true"], joined["offset_true"])
    # One exposure of four has the other lamp, in both arms, and reads larger.
    other = exposures.filter(pl.col("lamp") == "lampthar.dat")
    assert other["exposure_id"].n_unique() == 1
    assert set(other["arm"]) == {"blue", "red"}
    assert (other["offset_lamp_true"] == options.alternate_lamp_offset).all()


def test_constant_stars_are_constant_and_only_they(noiseless):
    _, survey, _ = noiseless
    constant = survey.stars.filter("constant_true")
    assert constant["rv_scatter_true"].max() < 1e-9
    assert survey.stars.filter(~pl.col("constant_true"))["rv_scatter_true"].min() > 0
    sb2 = survey.visits.filter(pl.col("rv_2_true").is_not_nan())
    assert set(sb2["star_id"]) == set(
        survey.stars.filter("double_lined_true")["star_id"]
    )
    assert (sb2["light_ratio_true"] > 0).all()


def test_visits_have_the_columns_that_a_reader_gives(noiseless):
    _, survey, _ = noiseless
    table = conform(survey.visits, "visits")
    known = table.select(
        *("visit_id", "star_id", "ra", "dec", "survey", "field", "night"),
        *("exposure_id", "telescope", "spectrograph", "fiber", "arm", "bjd"),
        *("exptime", "snr", "bary_corr", "lamp", "path"),
    )
    assert known.null_count().pipe(lambda t: t.sum_horizontal()).item() == 0
    assert table["visit_id"].n_unique() == len(table) == 14 * 2 * 2 * 2


def test_noise_has_the_variance_that_the_file_says(tmp_path):
    common = SMALL | {"ivar_scale": 0.8, "ivar_scale_scatter": 0.1}
    for name, noise in (("clean", False), ("noisy", True)):
        simulate_survey(
            tmp_path / name, SurveyOptions.ideal(**common, noise=noise), seed=4
        )
    visits = pl.read_parquet(tmp_path / "noisy" / "truth" / "visits.parquet")
    for row in visits.iter_rows(named=True):
        _, clean, _, _ = open_visit(tmp_path / "clean", row)
        _, noisy, ivar, _ = open_visit(tmp_path / "noisy", row)
        pull = (noisy - clean) * np.sqrt(ivar)
        # The standard deviation of N normal deviates is known to 1/sqrt(2N) of itself.
        slack = 4 / np.sqrt(2 * len(pull))
        assert pull.std() == pytest.approx(row["ivar_scale_true"], rel=slack)
        assert abs(pull.mean()) < 4 / np.sqrt(len(pull))
        # White: neighbors are independent.
        assert abs(np.corrcoef(pull[1:], pull[:-1])[0, 1]) < 4 / np.sqrt(len(pull))
    ratio = visits["ivar_scale_true"]
    assert ratio.n_unique() == len(visits)
    assert ratio.mean() == pytest.approx(0.8, rel=0.1)


def test_inverse_variance_does_not_know_where_the_lines_are(tmp_path):
    simulate_survey(tmp_path, SurveyOptions.ideal(**SMALL), seed=4)
    visits = pl.read_parquet(tmp_path / "truth" / "visits.parquet")
    for row in visits.iter_rows(named=True):
        wave, _, ivar, _ = open_visit(tmp_path, row)
        far = np.ones(len(wave), bool)
        for line in (5199.3, 5201.7, 6302, 6365.5, 6500.5, 6534.9, 6555.4, 6566.3):
            far &= np.abs(wave - line) > 4
        for line in (6831.2, 6865.9):
            far &= np.abs(wave - line) > 4
        x = np.linspace(-1, 1, len(wave))
        fit = np.polynomial.Polynomial.fit(x[far], np.log(ivar[far]), 8)
        # The continuum of the model bends at its own sampling of 5 A, by parts in 1000.
        assert np.std(np.log(ivar[far]) - fit(x[far])) < 3e-3


def test_wavelengths_are_float32_and_red_runs_downward(noiseless):
    folder, survey, _ = noiseless
    for arm, sign in (("blue", 1), ("red", -1)):
        row = survey.visits.filter(pl.col("arm") == arm).row(0, named=True)
        path, extension = row["path"].removesuffix("]").split("[")
        with fits.open(folder / path) as hdus:
            table = hdus[extension].data
        assert table["LOGLAM"].dtype == np.dtype(">f4")
        assert len(table) == 4136
        assert np.all(np.sign(np.diff(table["LOGLAM"])) == sign)


def test_the_detector_stays_with_the_observatory(tmp_path):
    """A fiber's pixels in barycentric wavelengths move with the Earth, nothing else."""
    options = SurveyOptions.ideal(n_stars=1, n_nights=12, n_exposures=1)
    survey = simulate_survey(tmp_path, options, seed=1)
    for arm in ("blue", "red"):
        rows = survey.visits.filter(pl.col("arm") == arm).sort("bjd")
        first, last = rows.row(0, named=True), rows.row(-1, named=True)
        assert abs(last["bary_corr"] - first["bary_corr"]) > 5
        ratio = open_visit(tmp_path, last)[0] / open_visit(tmp_path, first)[0]
        shift = C_KMS * np.log(ratio)
        expected = C_KMS * (
            np.log1p(last["bary_corr"] / C_KMS) - np.log1p(first["bary_corr"] / C_KMS)
        )
        # float32 rounds both wavelengths: 0.07 km/s rms a pixel, 1 m/s over 4136.
        assert shift.mean() == pytest.approx(expected, abs=0.005)
        assert shift.std() < 0.1


def test_exposures_of_a_night_follow_each_other_in_the_dark():
    from steadystar.simulate.plan import draw_exposures

    options = SurveyOptions(n_fields=3, n_nights=20, n_exposures=5, n_spectrographs=2)
    exposures = draw_exposures(options, seed=1)
    unique = exposures.unique("exposure_id")
    assert len(unique) == 3 * 20 * 5
    assert len(exposures) == len(unique) * 2 * 2
    for _, night in unique.sort("minute").group_by("field_number", "night"):
        steps = np.diff(night["minute"].to_numpy())
        # 20 minutes of light, a few to read out.
        assert np.all((steps >= 24) & (steps < 30))
        local_hour = (night["minute"].to_numpy() % 1440) / 60
        assert np.all((local_hour >= 19) | (local_hour < 6))
        morning = (night["minute"].to_numpy() + 720) // 1440
        assert np.all(morning == night["night"].to_numpy())


def test_defects_are_those_that_were_asked_for(tmp_path):
    options = SurveyOptions.ideal(
        n_stars=8, n_nights=1, n_exposures=2, cosmic_rays=20.0, dead_fibers=0.4
    )
    survey = simulate_survey(tmp_path, options, seed=2)
    clean = simulate_survey(
        tmp_path / "clean",
        SurveyOptions.ideal(n_stars=8, n_nights=1, n_exposures=2),
        seed=2,
    )
    visits = survey.visits
    # Poisson: four sigma of the mean of 32 spectra.
    assert visits["cosmic_rays_true"].mean() == pytest.approx(
        20, abs=4 * np.sqrt(20 / len(visits))
    )
    dead = visits.filter("dead_true")
    assert 0 < dead["star_id"].n_unique() < 8
    assert (dead["snr"] == 0).all()
    for row in visits.filter(~pl.col("dead_true")).iter_rows(named=True):
        _, flux, _, mask = open_visit(tmp_path, row)
        _, before, _, _ = open_visit(tmp_path / "clean", row)
        extra = flux - before
        assert mask.max() == 0
        assert extra.min() >= 0
        assert np.all(extra < 4 * (5 * np.maximum(before.max(), 400) + 1))
        assert (extra > 0).sum() >= row["cosmic_rays_true"] / 2
    assert clean.visits["cosmic_rays_true"].max() == 0


def test_bad_pixels_are_flagged_and_unflagged_and_stay_with_the_fiber(tmp_path):
    options = SurveyOptions.ideal(
        n_stars=25, n_nights=1, n_exposures=2, bad_pixels=True
    )
    survey = simulate_survey(tmp_path, options, seed=2)
    masks: dict = {}
    flags, absurd = set(), 0
    for row in survey.visits.iter_rows(named=True):
        _, flux, _, mask = open_visit(tmp_path, row)
        flags |= set(np.unique(mask).tolist())
        absurd += int(np.abs(flux[mask == 4]).max(initial=0) > 1e5)
        first = masks.setdefault((row["fiber"], row["arm"]), mask)
        np.testing.assert_array_equal(mask, first)
    assert flags == {0, 1, 4}
    assert absurd > 0


def test_clouds_and_nebulae_and_sky_show(tmp_path):
    options = SurveyOptions.ideal(
        n_stars=6,
        n_nights=1,
        n_exposures=4,
        cloudy=0.5,
        nebulae=1.0,
        sky_residuals=0.05,
    )
    survey = simulate_survey(tmp_path, options, seed=11)
    clear = survey.exposures.unique("exposure_id")["transparency_true"]
    assert clear.min() < 0.5 < clear.max()
    snr = survey.visits.join(
        survey.exposures.unique("exposure_id").select(
            "exposure_id", "transparency_true"
        ),
        on="exposure_id",
    )
    assert (
        snr.select(pl.corr("snr", "transparency_true", method="spearman")).item() > 0.3
    )
    plain = SurveyOptions.ideal(n_stars=6, n_nights=1, n_exposures=4, cloudy=0.5)
    simulate_survey(tmp_path / "plain", plain, seed=11)
    for row in survey.visits.filter(pl.col("arm") == "red").iter_rows(named=True):
        wave, with_sky, _, _ = open_visit(tmp_path, row)
        _, without, _, _ = open_visit(tmp_path / "plain", row)
        extra = with_sky - without
        # Airglow is at rest at the observatory: in a barycentric file it has moved.
        at = 1 + row["bary_corr"] / C_KMS
        at *= 1 + row["correction_true"] / C_KMS
        glow = np.abs(extra) * (np.abs(wave - 6365.54 * at) < 3)
        assert wave[np.argmax(glow)] == pytest.approx(6365.54 * at, abs=0.15)
        # H alpha of the nebula, within three sigma (30 km/s) and its mean (-10 km/s).
        nebula = np.abs(wave - 6564.61) < 1.5
        assert extra[nebula].max() > 1


def test_plans_give_stars_other_fibers(tmp_path):
    options = SurveyOptions.ideal(n_stars=6, n_nights=3, n_exposures=1, n_plans=2)
    survey = simulate_survey(tmp_path, options, seed=1)
    seen = survey.visits.group_by("star_id").agg(
        pl.col("fiber").n_unique(), pl.col("field").n_unique(), pl.len()
    )
    assert (seen["field"] == 2).all()
    assert (seen["fiber"] == 2).sum() >= 5
    assert (seen["len"] == 3 * 2).all()


def test_the_new_layout_holds_the_same_spectra(tmp_path):
    options = {"n_stars": 1, "n_nights": 1, "n_exposures": 1}
    for layout in ("old", "new"):
        simulate_survey(
            tmp_path / layout, SurveyOptions(**options, layout=layout, gzip=False)
        )
    (old,) = (tmp_path / "old" / "spectra").iterdir()
    (new,) = (tmp_path / "new" / "spectra").iterdir()
    with fits.open(old) as one, fits.open(new) as other:
        assert [h.name for h in one] == [h.name for h in other]
        for a, b in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(a.data["FLUX"], b.data["FLUX"][0])
            # Half a step of float32 near 3.7 times ln(10), and half a step near 5000.
            np.testing.assert_allclose(
                10 ** a.data["LOGLAM"].astype(float),
                b.data["WAVELENGTH"][0],
                rtol=3.5e-7,
            )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_spectrographs": 17}, "n_spectrographs is 17.*LAMOST has 16"),
        ({"n_stars": 300}, "n_stars is 300.*250 fibers"),
        ({"giants": 0.9, "hot_stars": 0.3}, "sum to 1.2"),
        ({"single_lined": 1.2}, "single_lined is 1.2"),
        ({"magnitudes": (14.0, 10.0)}, "lower limit, then the upper"),
        ({"cosmic_rays": float("nan")}, "cosmic_rays is nan"),
    ],
)
def test_impossible_options_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        SurveyOptions(**change)


def test_every_option_is_documented():
    from dataclasses import fields
    from typing import get_type_hints

    hints = get_type_hints(SurveyOptions, include_extras=True)
    for option in fields(SurveyOptions):
        (sentence,) = hints[option.name].__metadata__
        assert sentence.endswith(".")
        assert len(sentence) > 15
