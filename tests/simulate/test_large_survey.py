"""The survey of any size: its spectra, made all at once, are those made one by one."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.schema import columns
from steadystar.data.status import Status
from steadystar.simulate import stars
from steadystar.simulate.instrument import GAIN, FineSpectrum
from steadystar.simulate.large_survey import (
    LargeSurveyOptions,
    draw_plan,
    make_shard,
)
from steadystar.simulate.uniform_pixels import UNIFORM_ARMS, Broadened, resized

CLEAN = LargeSurveyOptions(
    spectra=40,
    epochs=3.0,
    double_lined=0.3,
    noise=False,
    steps_per_sigma=0.0,
    cosmic_rays=0.0,
    bad_pixels=0.0,
    dead_fibers=0.0,
    broken=0.0,
)


@pytest.fixture(scope="module")
def noisy():
    """About 600 spectra of everything, as they come by default."""
    plan = draw_plan(LargeSurveyOptions(spectra=600), seed=3)
    return plan, make_shard(plan, plan.stars, 0)


def one_by_one(plan, row: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return light and smooth light of a spectrum, before wiggles, the obvious way."""
    star = plan.stars.row(by_predicate=pl.col("star_id") == row["star_id"], named=True)
    blue, arm = (
        UNIFORM_ARMS[0],
        next(a for a in UNIFORM_ARMS if a.arm.name == row["arm"]),
    )
    edges = np.log(arm.low) + arm.step * np.arange(arm.pixels + 1)
    if plan.options.own_wavelengths:
        edges = edges + np.log1p(row["bary_corr"] / C_KMS)
    wave = np.exp(arm.log_wave)
    light, smooth, photons = np.zeros(arm.pixels), np.zeros(arm.pixels), 0.0
    for number, state in enumerate(stars.states(star, row["bjd"])):
        labels = [float(state.teff[0]), state.logg, state.feh]
        model = arm.models(labels)
        fine = FineSpectrum(arm.models.wave, model.flux, step=0.25)
        lines = fine.pixels(
            fine.broadened(arm.arm.resolution, state.vsini),
            edges,
            float(state.rv[0]) + row["correction_true"],
        )
        level = wave * np.interp(wave, arm.models.wave, model.continuum)
        light += state.area[0] * level * lines
        smooth += state.area[0] * level * lines.mean()
        # Magnitudes are those of the stars side by side, also in eclipse.
        area = star["area_2_true"] if number else 1.0
        in_blue = blue.models(labels).continuum
        photons += area * np.mean(blue.models.wave * in_blue)
    return light / photons, smooth / photons


@pytest.mark.parametrize("own_wavelengths", [False, True])
def test_all_at_once_equals_one_by_one(own_wavelengths):
    plan = draw_plan(replace(CLEAN, own_wavelengths=own_wavelengths), seed=5)
    assert plan.stars["double_lined_true"].any()
    shard = make_shard(plan, plan.stars, 0)
    rows = shard.visits.join(shard.truth, on=["visit_id", "star_id"])
    rows = rows.join(
        plan.exposures.select(
            "exposure_id", "spectrograph", "arm", "transparency_true"
        ),
        on=["exposure_id", "spectrograph", "arm"],
        maintain_order="left",
    ).join(
        plan.fibers.select("spectrograph", "arm", "fiber", "throughput_true"),
        on=["spectrograph", "arm", "fiber"],
        maintain_order="left",
    )
    magnitudes = dict(plan.stars.select("star_id", "magnitude").iter_rows())
    assert rows["visit_id"].equals(shard.visits["visit_id"])
    x = np.linspace(-1, 1, plan.options.pixels)
    for index, row in enumerate(rows.iter_rows(named=True)):
        light, smooth = one_by_one(plan, row)
        arm = next(a for a in UNIFORM_ARMS if a.arm.name == row["arm"])
        # What is left is the throughput: ln is a polynomial of degree 4, and its
        # constant is known. The tolerance is a grid's, of eight points in the model's
        # own pixel: measured 2.3e-4 at most, where lines are narrowest.
        ratio = np.log(shard.spectra.flux[index] / light)
        shape = np.polynomial.polynomial.polyfit(x, ratio, 4)
        residual = np.expm1(ratio - np.polynomial.polynomial.polyval(x, shape))
        assert np.abs(residual * light / smooth).max() < 3e-4
        level = arm.arm.efficiency * 10 ** (-0.4 * (magnitudes[row["star_id"]] - 11.4))
        level *= row["transparency_true"] * row["throughput_true"]
        assert np.exp(shape[0]) == pytest.approx(level, rel=2e-4)
        # Eight bits of mantissa: within half of 2**-8.
        counts = np.exp(np.polynomial.polynomial.polyval(x, shape))
        variance = GAIN * smooth * counts + arm.arm.background
        said = shard.spectra.ivar[index] * variance / row["ivar_scale_true"] ** 2
        np.testing.assert_allclose(said, 1, atol=2**-9 + 3e-4)


def test_wavelengths_are_shared_unless_they_are_each_spectrums_own():
    plan = draw_plan(CLEAN, seed=5)
    shared = make_shard(plan, plan.stars, 0)
    own = make_shard(
        replace(plan, options=replace(CLEAN, own_wavelengths=True)), plan.stars, 0
    )
    blue = (shared.visits["arm"] == "blue").to_numpy()
    assert len(np.unique(shared.spectra.wave[blue], axis=0)) == 1
    assert len(np.unique(shared.spectra.wave, axis=0)) == 2
    ratio = own.spectra.wave / shared.spectra.wave
    factor = 1 + own.visits["bary_corr"].to_numpy() / C_KMS
    # They are rounded to 2**-16 A, half of which is 1.6e-9 of 4950 A.
    np.testing.assert_allclose(ratio, factor[:, None] * np.ones_like(ratio), rtol=2e-9)


def test_a_shard_depends_on_its_number_and_on_nothing_that_was_made_before():
    plan = draw_plan(LargeSurveyOptions(spectra=80, epochs=4.0), seed=2)
    first = make_shard(plan, plan.stars[:4], 7)
    other = make_shard(plan, plan.stars[4:], 8)
    again = make_shard(plan, plan.stars[:4].reverse(), 7)
    assert again.visits.equals(first.visits)
    assert again.truth.equals(first.truth, null_equal=True)
    np.testing.assert_array_equal(again.spectra.flux, first.spectra.flux)
    np.testing.assert_array_equal(again.spectra.ivar, first.spectra.ivar)
    assert not np.array_equal(other.spectra.flux[0], first.spectra.flux[0])
    renumbered = make_shard(plan, plan.stars[:4], 8)
    assert not np.array_equal(renumbered.spectra.flux, first.spectra.flux)


@pytest.mark.parametrize("spectra", [2, 18, 1000, 12_000])
def test_there_are_as_many_spectra_as_asked_for_half_of_them_blue(spectra):
    options = LargeSurveyOptions(spectra=spectra, n_stars=20, pixels=1300)
    plan = draw_plan(options, seed=4)
    assert 2 * plan.stars["n_exposures"].sum() == spectra
    assert plan.stars["star_id"].is_unique().all()
    if spectra <= 1000:
        visits = make_shard(plan, plan.stars, 0).visits
        assert (visits["arm"] == "blue").sum() == spectra / 2
        assert visits["visit_id"].is_unique().all()


def test_epochs_spread_about_their_mean():
    plan = draw_plan(
        LargeSurveyOptions(spectra=100_000, n_stars=10, n_spectrographs=2), seed=1
    )
    epochs = plan.stars["n_exposures"].to_numpy()
    fields = plan.stars["field_number"].n_unique()
    # The mean over fields of a log-normal of sigma 0.5, known to 4 sigma of its
    # scatter 0.53; the tenth that exposures are whole numbers is within it.
    assert epochs.mean() == pytest.approx(8, rel=4 * 0.53 / np.sqrt(fields))
    assert epochs.std() > 2


def test_one_telescope_sees_one_field_at_a_time_in_the_dark():
    plan = draw_plan(LargeSurveyOptions(spectra=20_000, n_stars=10), seed=1)
    seen = plan.exposures.unique(["field_number", "number"]).sort("minute")
    # 20 minutes of light, 4 to read out.
    assert np.diff(seen["minute"].to_numpy()).min() >= 24
    hour = (seen["minute"] % 1440) / 60
    assert ((hour >= 18) | (hour < 6)).all()
    assert ((seen["minute"] + 720) // 1440).equals(seen["night"])
    assert seen["exposure_id"].equals(seen["minute"].cast(pl.String))


def test_visits_hold_what_a_file_of_lamost_gives(noisy):
    plan, shard = noisy
    visits = shard.visits
    assert visits.columns == [c.name for c in columns("visits").values()]
    assert visits.sort("star_id", "visit_id").equals(visits)
    known = visits.drop("ivar_scale")
    assert known.null_count().sum_horizontal().item() == 0
    numbers = known.select(pl.selectors.float())
    assert np.isfinite(numbers.to_numpy()).all()
    row = visits.row(0, named=True)
    place = f"sp{row['spectrograph']:02d}-{row['fiber']:03d}"
    assert row["visit_id"] == f"lamost-{row['exposure_id']}-{place}-{row['arm']}"
    assert shard.spectra.frame == "barycenter"
    # All stars of a field and spectrograph are in each of its exposures.
    in_exposure = visits.group_by("exposure_id", "spectrograph", "arm").len()
    assert (
        in_exposure["len"].max()
        == plan.stars.group_by("spectrograph").len()["len"].max()
    )


def test_noise_is_what_the_inverse_variance_says_and_rounding_adds_no_bias():
    options = replace(CLEAN, spectra=160, double_lined=0.0)
    plan = draw_plan(options, seed=6)
    clean = make_shard(plan, plan.stars, 0)
    rounded = replace(options, noise=True, steps_per_sigma=10.0)
    noisy = make_shard(replace(plan, options=rounded), plan.stars, 0)
    # The noise of the blue arm is drawn first: until then, random numbers are equal.
    blue = (clean.visits["arm"] == "blue").to_numpy()
    scale = clean.truth["ivar_scale_true"].to_numpy()[blue, None]
    error = scale / np.sqrt(clean.spectra.ivar[blue])
    pull = ((noisy.spectra.flux - clean.spectra.flux)[blue] / error).ravel()
    np.testing.assert_array_equal(noisy.spectra.ivar[blue], clean.spectra.ivar[blue])
    # Sampling errors of 240 000 numbers, 4 sigma; rounding widens by at most 1/2400.
    assert abs(pull.mean()) < 4 / np.sqrt(len(pull))
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * len(pull)) + 1 / 2400


def test_flux_is_rounded_to_steps_below_a_tenth_of_the_noise(noisy):
    _, shard = noisy
    scale = shard.truth["ivar_scale_true"].to_numpy()
    for flux, ivar, error in zip(
        shard.spectra.flux, shard.spectra.ivar, scale, strict=True
    ):
        if not (ivar > 0).any():
            continue
        step = 2.0 ** np.floor(np.log2(error / np.sqrt(ivar.max()) / 10))
        # The pixel of smallest error may be a flagged one: a step finer by a factor.
        assert np.array_equal(flux / step * 2, np.rint(flux / step * 2))
        assert len(np.unique(flux)) > 40
    # A mantissa of 8 bits: the lower 15 of float32 are zero.
    assert not np.any(shard.spectra.ivar.view(np.uint32) & 0x7FFF)


def test_what_is_broken_or_dark_says_so():
    options = LargeSurveyOptions(
        spectra=400, broken=0.2, dead_fibers=0.2, cosmic_rays=0.0
    )
    plan = draw_plan(options, seed=2)
    shard = make_shard(plan, plan.stars, 0)
    visits, truth = shard.visits, shard.truth
    lost = (shard.spectra.ivar > 0).sum(axis=1)
    np.testing.assert_array_equal(visits["n_good"], lost)
    status = visits["status"].to_numpy()
    np.testing.assert_array_equal((status & Status.NO_DATA) > 0, lost == 0)
    broken = truth["broken_true"].to_numpy()
    np.testing.assert_array_equal((status & Status.DAMAGED_VALUES) > 0, broken)
    assert set(np.unique(np.round(lost[broken] / 3000, 1))) == {0.0, 0.5}
    dead = truth["dead_true"].to_numpy()
    assert 0 < dead.sum() < len(dead)
    np.testing.assert_array_equal((status & Status.LOW_SNR) > 0, dead)
    assert np.abs(np.median(shard.spectra.flux[dead & ~broken])) < 2


def test_cosmic_rays_come_at_their_rate():
    options = replace(CLEAN, spectra=160, cosmic_rays=5.0)
    plan = draw_plan(options, seed=2)
    rays = make_shard(plan, plan.stars, 0)
    clean = make_shard(
        replace(plan, options=replace(options, cosmic_rays=0.0)), plan.stars, 0
    )
    blue = (rays.visits["arm"] == "blue").to_numpy()
    number = rays.truth["cosmic_rays_true"].to_numpy()[blue]
    # Poisson: four sigma of the mean of 80 spectra.
    assert number.mean() == pytest.approx(5, abs=4 * np.sqrt(5 / blue.sum()))
    extra = (rays.spectra.flux - clean.spectra.flux)[blue]
    assert extra.min() >= 0
    hit = (extra > 0).sum(axis=1)
    assert np.all(hit <= 4 * number)
    np.testing.assert_array_equal(hit > 0, number > 0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"spectra": 7}, "make it 8"),
        ({"epochs": 0.5}, "epochs is 0.5"),
        ({"n_stars": 300}, "250 fibers"),
        ({"giants": 0.8, "hot_stars": 0.4}, "sum to 1.2"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        LargeSurveyOptions(**values)


def test_pixels_wider_than_half_a_line_are_refused():
    with pytest.raises(ValueError, match="make them more"):
        resized(UNIFORM_ARMS[0], 1000)


def test_a_velocity_beyond_the_models_is_refused():
    arm = UNIFORM_ARMS[0]
    seen = Broadened(arm, np.array([[5770.0, 4.4, 0.0]]), np.array([2.0]), 7500.0)
    with pytest.raises(ValueError, match="use a smaller velocity"):
        seen.seen(np.array([0]), np.array([1100 / C_KMS]))
