"""A spectrum taken apart: the parts sum to it, and each is what was put in."""

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.measure.taken_apart import CONTINUUM, STAR_LINES, taken_apart
from steadystar.models.templates import Templates

WINDOW = (5100.0, 5250.0)
RV, SNR = -71.3, 60.0
TEMPLATE_WAVE = np.arange(5050.0, 5300.0, 0.03)
CENTERS = np.arange(5060.0, 5290.0, 4.7)


def lines(wave, depths, rv=0.0):
    """Gaussian lines of some depths, broadened as at R 7500, ``flux / continuum - 1``."""
    at = CENTERS * (1 + rv / C_KMS)
    return -(depths * np.exp(-0.5 * ((wave[:, None] - at) / 0.3) ** 2)).sum(axis=1)


@pytest.fixture(scope="module")
def templates():
    """Stars whose lines weaken with temperature, each line at its own pace."""
    rng = np.random.default_rng(2)
    cool, warm = rng.uniform(0.05, 0.5, (2, len(CENTERS)))
    flux = [
        1 + lines(TEMPLATE_WAVE, (1 - t) * cool + t * warm)
        for t in np.linspace(0, 1, 12)
    ]
    star = 0.43 * cool + 0.57 * warm
    return Templates.from_arrays(TEMPLATE_WAVE, flux), star


@pytest.fixture(scope="module")
def observed(templates):
    rng = np.random.default_rng(5)
    wave = np.arange(5080.0, 5270.0, 0.12)
    x = (wave - 5080) / 190
    continuum = 900 * (1 + 0.4 * x - 0.5 * x**2)
    truth = continuum * lines(wave, templates[1], RV)
    noise = continuum / SNR
    flux = continuum + truth + rng.normal(0, noise)
    return Spectra.from_arrays(wave, flux, noise**-2.0), truth, noise


def inside(spectra):
    return (spectra.wave >= WINDOW[0]) & (spectra.wave <= WINDOW[1])


def test_the_parts_sum_to_the_spectrum(observed, templates):
    spectra, _, _ = observed
    found = taken_apart(spectra, templates[0], RV, WINDOW)
    assert list(found.components) == [CONTINUUM, STAR_LINES, "residual"]
    total = sum(found.components.values())
    # float64 rounding of sums of a few thousand.
    np.testing.assert_allclose(total, spectra.flux.astype(float), rtol=1e-12, atol=1e-9)
    assert int(found.n_good[0]) == int(inside(spectra).sum())


def test_lines_and_noise_are_what_was_put_in(observed, templates):
    spectra, truth, noise = observed
    found = taken_apart(spectra, templates[0], RV, WINDOW)
    used = inside(spectra)
    pull = (found.components["residual"][0] / noise)[used]
    # 1250 pixels give the rms to 2%; a handful of them is fitted away.
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.08)
    # The level of the continuum is by convention: lines are compared about their mean.
    miss = ((found.components[STAR_LINES][0] - truth) / noise)[used]
    assert np.std(miss) < 0.5
    assert np.std(truth[used] / noise[used]) > 5


def test_at_a_wrong_velocity_the_lines_stay_in_the_residual(observed, templates):
    spectra, _, _ = observed
    right = taken_apart(spectra, templates[0], RV, WINDOW)
    wrong = taken_apart(spectra, templates[0], RV + 40, WINDOW)
    assert wrong.chi2[0] > 5 * right.chi2[0]


def test_a_cosmic_ray_is_left_in_the_residual_and_moves_nothing_else(
    observed, templates
):
    spectra, _, noise = observed
    clean = taken_apart(spectra, templates[0], RV, WINDOW)
    flux = spectra.flux.copy()
    flux[0, 700] += 200 * noise[700]
    hit = Spectra.from_arrays(spectra.wave, flux, spectra.ivar)
    found = taken_apart(hit, templates[0], RV, WINDOW)
    assert found.components["residual"][0, 700] / noise[700] > 150
    change = found.components[STAR_LINES] - clean.components[STAR_LINES]
    # A pixel of 1250 less: far below the noise.
    assert np.abs(change[0] / noise)[inside(spectra)].max() < 0.5
    assert int(found.n_good[0]) == int(clean.n_good[0]) - 1


def test_what_cannot_be_taken_apart_says_why(observed, templates):
    spectra, _, _ = observed
    with pytest.raises(ValueError, match="velocity is not finite"):
        taken_apart(spectra, templates[0], np.nan, WINDOW)
    with pytest.raises(ValueError, match="nothing is left"):
        taken_apart(spectra, templates[0], RV, (6300.0, 6500.0))
    empty = Spectra.from_arrays(spectra.wave, spectra.flux, 0 * spectra.ivar)
    with pytest.raises(ValueError, match="no usable pixel"):
        taken_apart(empty, templates[0], RV, WINDOW)
    sharp = Spectra.from_arrays(spectra.wave, spectra.flux, spectra.ivar, 7500.0)
    blunt = Templates.from_arrays(TEMPLATE_WAVE, templates[0].flux, 2000.0)
    with pytest.raises(ValueError, match="at least as sharp"):
        taken_apart(sharp, blunt, RV, WINDOW)
