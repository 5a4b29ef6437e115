"""Velocities against templates: of model stars that are computed at their velocities."""

from functools import cache

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure import normalize, velocities
from steadystar.measure.information import photon_limit
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.library import bundled
from steadystar.models.templates import Templates, bundled_templates

from . import star_mock

RESOLUTION = 7500.0
PIXELS = np.exp(np.linspace(np.log(4955), np.log(5345), 3000))
WINDOW = "lamost-mrs-blue"
# Every shape is compiled anew, which takes longer than all measurements: nearly all tests
# share the pixels.
COLUMNS = (
    *("rv_obs", "rv_raw", "rv_raw_err", "rv_limit", "chi2", "dof", "n_good", "snr"),
    *("ivar_scale", "rv_2", "rv_2_err", "light_ratio", "status"),
)


@cache
def templates() -> Templates:
    return bundled_templates(WINDOW, RESOLUTION)


def labels(number, seed):
    """FGK dwarfs between the nodes of the templates."""
    rng = np.random.default_rng(seed)
    teff = rng.uniform(4600, 6700, number)
    logg = 4.65 - 0.3 * (teff - 4600) / 2100
    return np.stack([teff, logg, rng.uniform(-0.8, 0.3, number)], axis=1)


def stars(velocity, which, vsini=4.0):
    """Noiseless model stars, one a row, computed at their velocities."""
    return star_mock.clean(which, velocity, vsini, PIXELS)


def observe(clean, snr, seed, resolution: float | None = RESOLUTION, **given):
    """A continuum and noise on top of normalized spectra."""
    return star_mock.observe(clean, snr, seed, PIXELS, resolution, **given)


def has(table, flag):
    return (table["status"].to_numpy() & int(flag)) != 0


@cache
def one_hundred():
    velocity = np.random.default_rng(2).uniform(-300, 300, 96)
    return velocity, stars(velocity, labels(96, 3))


@pytest.mark.parametrize("velocity", [300.0, -300.0])
def test_velocities_are_c_z_exactly(velocity):
    # (1 + v/c) against exp(v/c) would be off by 150 m/s at 300 km/s.
    spectra = observe(stars([velocity] * 8, labels(8, 1)), 2000.0, 1)
    found = measure_velocities(spectra, templates())
    assert found.columns == list(COLUMNS)
    np.testing.assert_allclose(found["rv_raw"], found["rv_obs"], atol=1e-9)
    # Twenty components of all types leave some 20 m/s; the photons allow 2.
    assert np.abs(found["rv_raw"] - velocity).max() < 0.06
    assert np.abs(np.median(found["rv_raw"] - velocity)) < 0.02


@pytest.mark.parametrize("snr", [10.0, 50.0])
def test_errors_are_honest(snr):
    velocity, clean = one_hundred()
    found = measure_velocities(observe(clean, snr, int(snr)), templates())
    assert found["status"].to_list() == [0] * 96
    pulls = (found["rv_raw"] - velocity) / found["rv_raw_err"]
    # 96 of them know their width to 7 percent, and their mean to 0.1: three of each.
    assert pulls.std() == pytest.approx(1.0, abs=0.22)
    assert abs(pulls.median()) < 0.38
    assert found["ivar_scale"].median() == pytest.approx(1.0, abs=0.02)


def test_the_photon_limit_of_a_spectrum_is_that_of_its_star_without_noise():
    _, clean = one_hundred()
    noise = np.random.default_rng(7).normal(size=clean.shape) / 50
    ivar = np.full(clean.shape, 50.0**2)
    spectra = Spectra.from_arrays(PIXELS, clean + noise, ivar, RESOLUTION)
    found = measure_velocities(spectra, templates())
    # As far as the templates reach with room for the search.
    first, last = templates().wave[[0, -1]]
    inside = (first * (1 + 600 / C_KMS) < PIXELS) & (last / (1 + 600 / C_KMS) > PIXELS)
    ratio = found["rv_limit"] / photon_limit(PIXELS, clean, np.where(inside, ivar, 0))
    # What is fitted of a star has noise of its own.
    np.testing.assert_allclose(ratio, 1.0, atol=0.06)
    assert ratio.median() == pytest.approx(1.0, abs=0.015)
    assert (found["rv_raw_err"] > 0.97 * found["rv_limit"]).all()


def test_wrong_inverse_variances_are_noticed_and_scaled():
    velocity, clean = one_hundred()
    right = observe(clean, 40.0, 7)
    wrong = Spectra.from_arrays(PIXELS, right.flux, 4 * right.ivar, RESOLUTION)
    first, second = (measure_velocities(s, templates()) for s in (right, wrong))
    ratio = second["ivar_scale"] / first["ivar_scale"]
    assert ratio.median() == pytest.approx(2.0, rel=0.02)
    # The prior weighs less against more certain data: not exactly the same error.
    assert (second["rv_raw_err"] / first["rv_raw_err"]).median() == pytest.approx(
        1.0, rel=0.05
    )
    assert np.abs(second["rv_raw"] - velocity).median() < 0.2


def test_barycentric_corrections_are_multiplied():
    velocity, clean = one_hundred()
    spectra = observe(clean[:8], 200.0, 8)
    bary = np.array([30.0, -30.0, 0.0, np.nan, 10.0, -10.0, 5.0, 1.0])
    table = measure_velocities(spectra, templates(), bary_corr=bary)
    z = (1 + table["rv_obs"].to_numpy() / C_KMS) * (1 + np.nan_to_num(bary) / C_KMS)
    np.testing.assert_allclose(table["rv_raw"], C_KMS * (z - 1), atol=1e-9)
    assert np.abs(table["rv_obs"] - velocity[:8]).max() < 0.2
    done = observe(clean[:8], 200.0, 8, frame="barycenter")
    other = measure_velocities(done, templates(), bary_corr=bary)
    assert other["rv_raw"].to_list() == table["rv_obs"].to_list()
    z = (1 + other["rv_obs"].to_numpy() / C_KMS) * (1 + np.nan_to_num(bary) / C_KMS)
    np.testing.assert_allclose(other["rv_raw"], C_KMS * (z - 1), atol=1e-9)


def test_beyond_the_search_there_is_no_velocity():
    far = np.random.default_rng(1).uniform(700, 1500, 29) * np.resize([-1, 1], 29)
    velocity = np.concatenate([[650.0, -650.0], far, [100.0]])
    found = measure_velocities(
        observe(stars(velocity, labels(32, 4)), 50, 9), templates()
    )
    away = np.abs(velocity) > 600
    assert found["rv_raw"].is_nan().to_list() == away.tolist()
    # Where chance has a minimum inside, it is one of several.
    no_number = int(Status.GRID_EDGE | Status.FLAT_CHI2 | Status.NOT_CONVERGED)
    assert ((found["status"].to_numpy()[away] & no_number) != 0).all()
    assert has(found, Status.GRID_EDGE)[:2].all()


@pytest.mark.parametrize(
    ("snr", "number"),
    [(4.0, 64), (30.0, 64), (300.0, 64)]
    + [pytest.param(snr, 640, marks=pytest.mark.slow) for snr in (4.0, 30.0, 300.0)],
)
def test_noise_holds_no_velocity(snr, number):
    spectra = observe(np.ones((number, len(PIXELS))), snr, 10)
    found = measure_velocities(spectra, templates())
    # Of 640 at each of five S/N none had more contrast than 18.8; 20 are asked for.
    assert found["rv_raw"].is_nan().all()
    assert has(found, Status.FLAT_CHI2).all()


def test_spectra_that_cannot_be_measured_keep_their_rows_and_say_why():
    _, clean = one_hundred()
    good = observe(clean[:4], 40.0, 11)
    flux, ivar = good.flux.copy(), good.ivar.copy()
    ivar[0] = 0
    ivar[1, 300:] = 0
    ivar[2] *= (2.0 / 40.0) ** 2
    found = measure_velocities(
        Spectra.from_arrays(PIXELS, flux, ivar, RESOLUTION), templates()
    )
    assert has(found, Status.NO_DATA).tolist() == [True, True, False, False]
    assert has(found, Status.LOW_SNR).tolist()[2:] == [True, False]
    assert found["rv_raw"].is_nan().to_list() == [True, True, True, False]
    assert found["rv_raw_err"].is_nan().to_list() == [True, True, True, False]


def test_spectra_without_a_pixel_in_the_window_keep_their_rows():
    _, clean = one_hundred()
    seen = observe(clean[:2], 40.0, 11)
    # Few pixels, none of them where it is measured or next to it.
    for part in (slice(0, 10), slice(0, 3)):
        spectra = Spectra.from_arrays(
            PIXELS[part], seen.flux[:, part], seen.ivar[:, part], RESOLUTION
        )
        low, high = PIXELS[len(PIXELS) // 2], PIXELS[-1]
        options = VelocityOptions(windows={"a": (low, high)}, margin=5.0)
        found = measure_velocities(spectra, templates(), options, arm="a")
        assert has(found, Status.NO_DATA).all()
        assert found["rv_raw"].is_nan().all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"search_kms": 0.0}, "search_kms = 0.0: give more than 0"),
        ({"search_kms": -5.0}, "search_kms = -5.0"),
        ({"rank": 0}, "rank = 0: give 1 or more"),
        ({"continuum_scale": 0.0}, "continuum_scale = 0.0: give at least 5"),
        ({"margin": -1.0}, "margin = -1.0"),
        ({"min_good_fraction": 1.5}, "a share between 0 and 1"),
        ({"min_snr": float("nan")}, "min_snr = nan"),
        ({"windows": {"blue": (5300.0, 5000.0)}}, "window of blue is 5300.0 to 5000.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        VelocityOptions(**values)


def test_cosmic_rays_that_nobody_flagged_do_no_harm():
    velocity, clean = one_hundred()
    spectra = observe(clean, 50.0, 12)
    rng = np.random.default_rng(13)
    flux = spectra.flux.copy()
    for row in flux:
        for at in rng.integers(150, 2850, 6):
            row[at : at + rng.integers(1, 4)] += 1e4 * rng.uniform(0.3, 5)
    hit = Spectra.from_arrays(PIXELS, flux, spectra.ivar, RESOLUTION)
    before, after = (measure_velocities(s, templates()) for s in (spectra, hit))
    assert after["rv_raw"].is_finite().all()
    moved = np.abs(after["rv_raw"] - before["rv_raw"]) / before["rv_raw_err"]
    # Six hits take less than a percent of the pixels.
    assert moved.median() < 0.3
    pulls = (after["rv_raw"] - velocity) / after["rv_raw_err"]
    assert pulls.abs().max() < 4.5


def test_two_stars_are_found_with_both_velocities_and_their_light():
    which = labels(32, 14)
    other = which - np.array([300.0, -0.03, 0.0])
    for ratio in (0.3, 0.8):
        sum_of_two = stars([60.0] * 32, which) + ratio * stars([-60.0] * 32, other)
        found = measure_velocities(
            observe(sum_of_two / (1 + ratio), 60.0, 15), templates()
        )
        assert has(found, Status.DOUBLE_LINED).all()
        both = np.sort(found.select("rv_raw", "rv_2").to_numpy(), axis=1)
        # The lines of both are those fitted to the sum as one star, with a trace of the
        # second: it puts the fainter one 1.5 km/s too far away.
        assert np.median(both[:, 1]) == pytest.approx(60, abs=0.5)
        assert np.median(both[:, 0]) == pytest.approx(-60, abs=2.5)
        assert np.abs(both - [-60, 60]).max() < 5
        light = found["light_ratio"].median()
        # Cooler stars have deeper lines: the strengths' ratio is not quite the light's.
        assert light == pytest.approx(ratio, rel=0.25)
        if ratio == 0.3:
            assert found["rv_raw"].median() == pytest.approx(60, abs=0.5)
            assert (found["rv_2_err"] > found["rv_raw_err"]).all()


def test_two_stars_are_where_they_are_and_not_in_the_middle_of_the_probability(
    monkeypatch,
):
    which = labels(8, 14)
    both = (stars([60.0] * 8, which) + 0.5 * stars([-60.0] * 8, which)) / 1.5
    spectra = observe(both, 60.0, 15)
    before = measure_velocities(spectra, templates())
    assert has(before, Status.DOUBLE_LINED).all()
    integrate = velocities._integrate

    def halfway(*given):
        integrate(*given)
        given[-1].shift[:] += 4

    monkeypatch.setattr(velocities, "_integrate", halfway)
    found = measure_velocities(spectra, templates())
    assert found.select("rv_raw", "rv_2").equals(before.select("rv_raw", "rv_2"))


def test_single_stars_are_not_called_double():
    velocity, clean = one_hundred()
    found = measure_velocities(observe(clean, 100.0, 16), templates())
    assert has(found, Status.DOUBLE_LINED).sum() == 0
    assert np.abs(found["rv_raw"] - velocity).max() < 0.5


def test_one_template_will_do_for_its_own_star():
    which = labels(1, 17)
    one = Templates.from_models(bundled(WINDOW), which, RESOLUTION, [4.0])
    velocity = np.linspace(-200, 200, 32)
    spectra = observe(stars(velocity, np.repeat(which, 32, 0)), 50.0, 18)
    found = measure_velocities(spectra, one)
    pulls = (found["rv_raw"] - velocity) / found["rv_raw_err"]
    assert pulls.std() == pytest.approx(1.0, abs=0.38)  # three of 1 / sqrt(64)
    turned = Templates.from_arrays(one.wave[::-1], one.flux[:, ::-1], one.resolution)
    again = measure_velocities(spectra, turned)
    assert again["rv_raw"].to_list() == found["rv_raw"].to_list()


def test_templates_that_do_not_fit_the_spectra_are_refused():
    _, clean = one_hundred()
    spectra = observe(clean[:2], 50.0, 19)
    blunt = Templates.from_models(bundled(WINDOW), labels(2, 1), 2000.0)
    with pytest.raises(ValueError, match="at least as sharp"):
        measure_velocities(spectra, blunt)
    red = Templates.from_models(bundled("lamost-mrs-red"), labels(2, 1), RESOLUTION)
    with pytest.raises(ValueError, match="nothing is left"):
        measure_velocities(spectra, red)


def test_sharper_templates_serve():
    velocity, clean = one_hundred()
    sharp = bundled_templates(WINDOW, 20000.0)
    known = measure_velocities(observe(clean[:16], 50.0, 20), sharp)
    assert np.abs((known["rv_raw"] - velocity[:16]) / known["rv_raw_err"]).max() < 4.5


def test_templates_of_the_spectra_s_own_resolution_are_sharp_enough():
    _, clean = one_hundred()
    # Resolutions are grouped to 2 percent: 7410 counts as 7480. Both share their grid.
    for resolution in (7410.0, 7500.0):
        own = bundled_templates(WINDOW, resolution)
        found = measure_velocities(observe(clean[:2], 50.0, 20, resolution), own)
        assert found["rv_raw"].is_finite().all()
    with pytest.raises(ValueError, match="at least as sharp"):
        measure_velocities(
            observe(clean[:2], 50.0, 20, 7800.0), bundled_templates(WINDOW, 7500.0)
        )


@pytest.mark.slow
def test_spectra_of_unknown_resolution_are_measured_as_sharp_as_the_templates():
    velocity, clean = one_hundred()
    unknown = observe(clean[:16], 50.0, 20, resolution=None)
    found = measure_velocities(unknown, templates())
    assert np.abs((found["rv_raw"] - velocity[:16]) / found["rv_raw_err"]).max() < 4.5


def test_batches_do_not_change_what_is_measured():
    _, clean = one_hundred()
    spectra = observe(clean[:40], 30.0, 21)
    together = measure_velocities(spectra, templates())
    alone = measure_velocities(spectra[np.array([37])], templates())
    # Sums in another order, in float32.
    assert alone["rv_raw"][0] == pytest.approx(together["rv_raw"][37], abs=2e-3)


def test_spectra_that_need_more_rounds_get_them_whichever_batch_they_are_in(
    monkeypatch,
):
    # Where the search begins is good enough for FGK stars; of hot ones many go far.
    velocity = np.random.default_rng(23).uniform(-200, 200, 96)
    label = np.tile([15000.0, 4.0, 0.0], (96, 1))
    spectra = observe(stars(velocity, label, vsini=100.0), 30.0, 24)
    together = measure_velocities(spectra, templates())
    open_ = has(together, Status.NOT_CONVERGED)
    with monkeypatch.context() as few:
        few.setattr(velocities, "_HELD", 1)  # a batch at a time
        assert measure_velocities(spectra, templates()).equals(together)
    monkeypatch.setattr(velocities, "_MORE_ROUNDS", 0)
    hurried = has(measure_velocities(spectra, templates()), Status.NOT_CONVERGED)
    assert set(np.flatnonzero(hurried & ~open_) // 32) == {0, 1, 2}
    assert open_.sum() < hurried.sum() / 3
    assert not hurried.all()


def test_curves_are_kept_on_request():
    velocity, clean = one_hundred()
    found = measure_velocities(
        observe(clean[:4], 50.0, 22), templates(), keep_curves=True
    )
    for row, true in zip(found.iter_rows(named=True), velocity, strict=False):
        best = row["search_rv"][int(np.argmin(row["search_chi2"]))]
        # A step of the grid is 12 km/s.
        assert best == pytest.approx(true, abs=12)


def test_hot_stars_have_errors_as_large_as_what_they_do_not_say(monkeypatch):
    # Few and broad lines: noise looks like narrow ones, at many velocities.
    velocity = np.random.default_rng(11).uniform(-200, 200, 128)
    label = np.tile([15000.0, 4.0, 0.0], (128, 1))
    spectra = observe(stars(velocity, label, vsini=100.0), 30, 12)

    def scatter(found):
        pulls = (found["rv_raw"] - velocity) / found["rv_raw_err"]
        return pulls.filter(pulls.is_finite()).std()

    found = measure_velocities(spectra, templates())
    measured = found["rv_raw"].is_finite()
    assert measured.sum() > 120
    # Steps that would go on for long end in the integral, not in a refusal.
    assert not has(found, Status.NOT_CONVERGED).any()
    assert scatter(found) < 2.4
    # The width of the deepest minimum is that of noise as well, and some have none.
    monkeypatch.setattr(velocities, "_BROAD", np.inf)
    deepest = measure_velocities(spectra, templates())
    assert deepest["rv_raw"].is_finite().sum() < 0.9 * measured.sum()
    assert scatter(deepest) > 1.1 * scatter(found)
    assert found["rv_raw_err"].filter(measured).median() > 3.0


def test_no_spectra_have_no_velocities():
    none = observe(one_hundred()[1][:2], 30, 5)[[]]
    assert measure_velocities(none, templates()).columns == list(COLUMNS)
    assert len(measure_velocities(none, templates())) == 0


def test_a_velocity_does_not_depend_on_what_else_is_measured():
    # Half of them say no resolution, with two kinds of pixels; some have data in a
    # hundredth of the window, so that their continuum is another one.
    _, clean = one_hundred()
    sharp = observe(clean[:6], 60, 21)
    sharp.ivar[3:, (PIXELS < 5100) | (PIXELS > 5195)] = 0
    unknown = observe(clean[6:12], 60, 22, None)
    coarse = Spectra(
        unknown.wave[::2], unknown.flux[:, ::2], unknown.ivar[:, ::2],
        unknown.resolution, unknown.frame,
    )  # fmt: skip
    together = Spectra.concatenate([sharp, unknown, coarse])

    def measured(some):
        options = VelocityOptions(windows={"blue": (4990.0, 5300.0)})
        return measure_velocities(some, templates(), options, arm="blue")

    found = measured(together)
    assert found["rv_raw"].is_finite().sum() >= 15
    for number in (0, 4, 8, 14):
        alone = measured(together[[number]])
        assert alone["status"].item() == found["status"][number]
        # Of other lengths the sums are taken in another order.
        for name in ("rv_raw", "rv_raw_err"):
            a, b = alone[name].item(), found[name][number]
            np.testing.assert_allclose(a, b, atol=1e-4, equal_nan=True)


def test_pixels_that_lie_close_in_a_few_places_cost_no_others():
    _, clean = one_hundred()
    spectra = observe(clean[:8], 100, 23)
    # An order that begins where another one has not ended, sorted together.
    more = np.linspace(5100.003, 5101.003, 8)
    wave = np.sort(np.concatenate([PIXELS, more]))
    wave[np.searchsorted(wave, 5100.5)] = wave[np.searchsorted(wave, 5100.5) - 1] + 1e-6
    again = Spectra.from_arrays(
        wave,
        np.stack([np.interp(wave, PIXELS, row) for row in spectra.flux]),
        np.where(np.isin(wave, PIXELS), spectra.ivar[0, 0], 0) * np.ones((8, 1)),
        RESOLUTION,
    )
    found = [measure_velocities(s, templates())["rv_raw"] for s in (spectra, again)]
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
    window = normalize.Window(4990.0, 5300.0)
    grid = normalize.grid_for(again, window, 600.0)
    made = normalize.prepare(again, np.zeros(8), window, grid)
    # Some ten pixels a step of the grid's, not a thousand.
    assert made.slots < 30
