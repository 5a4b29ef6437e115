"""Velocities of several spectra of a star: of model stars computed at their velocities."""

from functools import cache

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.information import photon_limit
from steadystar.measure.together import Together, measure_together
from steadystar.measure.velocities import measure_velocities
from steadystar.models.broadening import broaden
from steadystar.models.library import bundled
from steadystar.models.templates import Templates, bundled_templates

from .test_velocities import PIXELS, RESOLUTION, labels, one_hundred, templates

RED = np.exp(np.linspace(np.log(6320), np.log(6800), 3000))
STARS = 48


@cache
def red_templates() -> Templates:
    return bundled_templates("lamost-mrs-red", RESOLUTION)


@cache
def seen_in_red():
    """The stars of `one_hundred`, as the red arm sees them."""
    velocity, _ = one_hundred()
    models = bundled("lamost-mrs-red")
    return np.stack(
        [
            broaden(
                models.wave * (1 + v / C_KMS),
                models(label).flux,
                RED,
                resolution=RESOLUTION,
                vsini=4.0,
            )
            for v, label in zip(velocity[:STARS], labels(96, 3)[:STARS], strict=True)
        ]
    )


def noisy(wave, clean, snr, seed, **given):
    noise = np.random.default_rng(seed).normal(size=clean.shape) / snr
    ivar = np.full(clean.shape, float(snr) ** 2)
    return Spectra.from_arrays(wave, clean + noise, ivar, RESOLUTION, **given)


def test_rows_of_the_bundled_templates_are_the_same_stars_in_both_arms():
    # Cooler stars have shallower Balmer lines, in every arm alike: rank by H alpha, and
    # the metal lines of the blue arm must be ranked too.
    blue, red = templates(), red_templates()
    assert len(blue) == len(red)
    alpha = red.flux[:, np.argmin(np.abs(red.wave - 6564.6))]
    magnesium = blue.flux[:, np.argmin(np.abs(blue.wave - 5185.0))]
    hot = alpha < np.quantile(alpha, 0.1)
    assert magnesium[hot].min() > np.median(magnesium)


def test_two_arms_are_as_precise_as_their_photons_together():
    velocity, clean = one_hundred()
    blue = noisy(PIXELS, clean[:STARS], 12, 1)
    red = noisy(RED, seen_in_red(), 12, 2)
    found = measure_together(
        [
            Together(blue, templates(), range(STARS)),
            Together(red, red_templates(), range(STARS)),
        ]
    )
    assert found["status"].to_list() == [0] * STARS
    assert found["n_spectra"].to_list() == [2] * STARS
    information = sum(
        photon_limit(wave, flux, np.full(flux.shape, 144.0)) ** -2
        for wave, flux in ((PIXELS, clean[:STARS]), (RED, seen_in_red()))
    )
    off = found["rv_raw"].to_numpy() - velocity[:STARS]
    # 48 stars know their width to a tenth: three of those.
    assert (off * np.sqrt(information)).std() == pytest.approx(1.05, abs=0.3)
    assert (off / found["rv_raw_err"].to_numpy()).std() == pytest.approx(1, abs=0.3)
    assert np.abs(np.median(off * np.sqrt(information))) < 0.5


def test_one_spectrum_alone_is_measured_as_on_its_own():
    _, clean = one_hundred()
    spectra = noisy(PIXELS, clean[:8], 40, 3)
    alone = measure_velocities(spectra, templates())
    found = measure_together([Together(spectra, templates(), list("abcdefgh"))])
    assert found["visit"].to_list() == list("abcdefgh")
    apart = (found["rv_raw"] - alone["rv_raw"]) / alone["rv_raw_err"]
    assert np.abs(apart).max() < 0.1
    np.testing.assert_allclose(found["rv_raw_err"], alone["rv_raw_err"], rtol=0.05)
    np.testing.assert_allclose(found["rv_limit"], alone["rv_limit"], rtol=0.05)


def test_exposures_too_faint_to_be_measured_have_a_velocity_together():
    velocity, clean = one_hundred()
    faint = noisy(PIXELS, np.repeat(clean[:2], 9, axis=0), 1.5, 4)
    alone = measure_velocities(faint, templates())
    assert alone["rv_raw"].is_nan().all()
    found = measure_together([Together(faint, templates(), np.repeat([0, 1], 9))])
    both = np.sqrt((faint.snr().reshape(2, 9) ** 2).sum(axis=1))
    assert found["snr"].to_numpy() == pytest.approx(both)
    pulls = (found["rv_raw"] - velocity[:2]) / found["rv_raw_err"]
    assert np.abs(pulls).max() < 4


def test_the_motion_of_the_earth_and_known_zero_points_are_taken_off_each_spectrum():
    velocity, clean = one_hundred()
    star = clean[:1].repeat(2, axis=0)
    bary, zero = np.array([-30.0, 20.0]), np.array([5.0, -5.0])
    moved = (1 + zero / C_KMS) / (1 + bary / C_KMS)
    spectra = [
        noisy(PIXELS * factor, row[None], 200, i, frame="observatory")
        for i, (factor, row) in enumerate(zip(moved, star, strict=True))
    ]
    parts = [
        Together(one, templates(), ["it"], "", bary[i], zero[i])
        for i, one in enumerate(spectra)
    ]
    found = measure_together(parts)
    assert found["n_spectra"].to_list() == [2]
    # Photons leave 14 m/s, the templates 20: three of both.
    assert found["rv_raw"][0] == pytest.approx(velocity[0], abs=0.075)
    # Were one of them not taken off, the lines would be smeared, and the fit poor.
    assert found["ivar_scale"][0] == pytest.approx(1, abs=0.05)


def test_a_cosmic_ray_in_one_exposure_does_no_harm():
    _, clean = one_hundred()
    spectra = noisy(PIXELS, clean[:1].repeat(3, axis=0), 50, 5)
    flux = spectra.flux.copy()
    flux[1, 1400:1403] += 3.0
    struck = Spectra.from_arrays(PIXELS, flux, spectra.ivar, RESOLUTION)
    before, after = (
        measure_together([Together(s, templates(), ["it"] * 3)])
        for s in (spectra, struck)
    )
    change = after["rv_raw"][0] - before["rv_raw"][0]
    assert abs(change) < 0.5 * before["rv_raw_err"][0]
    assert before["n_good"][0] - 12 < after["n_good"][0] < before["n_good"][0]


def test_what_cannot_be_measured_says_so_and_spoils_nothing():
    velocity, clean = one_hundred()
    spectra = noisy(PIXELS, clean[:3], 30, 6)
    ivar = np.array(spectra.ivar)
    ivar[1] = 0
    flux = np.array(spectra.flux)
    flux[2] = 1 + np.random.default_rng(7).normal(size=len(PIXELS)) / 30
    spectra = Spectra.from_arrays(PIXELS, flux, ivar, RESOLUTION)
    found = measure_together([Together(spectra, templates(), [0, 1, 2])])
    assert found["rv_raw"].is_nan().to_list() == [False, True, True]
    assert abs(found["rv_raw"][0] - velocity[0]) < 4 * found["rv_raw_err"][0]
    assert found["status"][1] & int(Status.NO_DATA)
    assert found["status"][2] & int(Status.FLAT_CHI2)


def test_calls_that_cannot_be_answered_are_refused():
    _, clean = one_hundred()
    spectra = noisy(PIXELS, clean[:2], 30, 6)
    with pytest.raises(ValueError, match="no spectra to measure together"):
        measure_together([])
    with pytest.raises(ValueError, match="has 2 spectra, but names 1"):
        measure_together([Together(spectra, templates(), ["a"])])
    few = Templates.from_arrays(RED, np.ones((3, len(RED))) - 0.1, RESOLUTION)
    red = noisy(RED, seen_in_red()[:2], 30, 6)
    with pytest.raises(ValueError, match="different numbers of templates"):
        measure_together(
            [Together(spectra, templates(), [0, 1]), Together(red, few, [0, 1])]
        )
