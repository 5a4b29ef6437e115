import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden, rotation_profile
from steadystar.models.library import bundled
from steadystar.simulate.instrument import (
    ARMS,
    BLUE,
    RED,
    FineSpectrum,
    gaussian_transform,
    log_edges,
    pixel_average,
    rotation_transform,
)

REST = 6000.0


def line(sigma=4.0, depth=0.8):
    """One Gaussian line at rest, and edges of pixels of 6.3 km/s around it."""
    velocity = np.arange(-3000, 3000.1, 0.5)
    flux = 1 - depth * np.exp(-0.5 * (velocity / sigma) ** 2)
    edges = np.log(REST) + np.arange(-2000, 2000, 6.3) / C_KMS
    return FineSpectrum(REST * np.exp(velocity / C_KMS), flux), edges


def moments(edges, flux):
    """Equivalent width, centroid and variance of an absorption line, in km/s."""
    width = np.diff(edges) * C_KMS
    velocity = ((edges[1:] + edges[:-1]) / 2 - np.log(REST)) * C_KMS
    depth = (1 - flux) * width
    mean = (depth * velocity).sum() / depth.sum()
    return depth.sum(), mean, (depth * (velocity - mean) ** 2).sum() / depth.sum()


@settings(max_examples=40, deadline=None)
@given(st.floats(-800.0, 800.0), st.floats(3000.0, 12000.0), st.floats(0.0, 150.0))
def test_a_line_moves_by_its_velocity_and_widens_by_its_profiles(rv, resolution, vsini):
    fine, edges = line()
    seen = fine.pixels(fine.broadened(resolution, vsini), edges, rv)
    area, mean, variance = moments(edges, seen)
    assert area == pytest.approx(0.8 * 4.0 * np.sqrt(2 * np.pi), rel=1e-5)
    # In ln(wavelength) the shift is ln(1 + rv/c), exactly; 1 m/s is 1.6e-4 pixels.
    assert mean == pytest.approx(C_KMS * np.log1p(rv / C_KMS), abs=1e-3)
    sigma = C_KMS / resolution / np.sqrt(8 * np.log(2))
    disk = (0.4 / 4 + 0.6 * 2 / 15) / (1 - 0.6 / 3)
    expected = 4.0**2 + sigma**2 + vsini**2 * disk + 6.3**2 / 12
    # Drawing the model as linear between points 0.5 and 2 km/s apart adds 0.4.
    assert variance == pytest.approx(expected, rel=2e-3, abs=0.5)


@pytest.mark.parametrize("rv", [-300.0, 0.0, 4.2])
def test_an_arm_read_downward_records_the_same(rv):
    fine, edges = line()
    broad = fine.broadened(7500.0, 10.0)
    upward = fine.pixels(broad, edges, rv)
    np.testing.assert_allclose(
        fine.pixels(broad, edges[::-1], rv)[::-1], upward, atol=1e-13
    )


def test_two_roads_from_a_model_to_pixels_meet():
    """Fourier space and cumulative light here, real space in the models' room."""
    models = bundled("lamost-mrs-blue")
    found = models([5500.0, 4.5, 0.0])
    fine = FineSpectrum(models.wave, found.flux, step=1.0)
    pixels = np.exp(np.arange(np.log(5000.0), np.log(5300.0), 7.0 / C_KMS))
    middle = (np.log(pixels)[1:] + np.log(pixels)[:-1]) / 2
    for resolution, vsini in [(7500.0, 0.0), (7500.0, 40.0), (20000.0, 5.0)]:
        ours = fine.pixels(fine.broadened(resolution, vsini), middle, 0.0)
        theirs = broaden(
            models.wave, found.flux, pixels, resolution=resolution, vsini=vsini
        )[1:-1]
        # Steps of 1 km/s: (step / sigma)^2 / 12 of a line's depth, and sigma is 6.4
        # at the highest of these resolutions.
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
        assert np.std(ours - theirs) < 3e-4


@settings(max_examples=30, deadline=None)
@given(st.floats(5.0, 200.0), st.floats(0.0, 1.0), st.floats(0.0, 0.05))
def test_the_transform_of_rotation_is_that_of_the_profile(vsini, epsilon, frequency):
    profile = rotation_profile(vsini, 0.05, epsilon)
    velocity = (np.arange(len(profile)) - len(profile) // 2) * 0.05
    numeric = np.sum(profile * np.cos(2 * np.pi * frequency * velocity))
    # The profile is averaged over steps of 0.05 km/s: (pi f step)^2 / 6.
    assert rotation_transform(frequency, vsini, epsilon) == pytest.approx(
        numeric, abs=1e-4
    )


def test_transforms_are_one_at_rest_and_even():
    frequency = np.linspace(-0.1, 0.1, 201)
    for transform in (
        rotation_transform(frequency, 30.0),
        gaussian_transform(frequency, 17.0),
    ):
        assert transform[100] == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(transform, transform[::-1], atol=1e-12)
        # No jump where the series takes over from the closed form.
        assert np.abs(np.diff(transform, 3)).max() < 0.05


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5.0, 5.0), min_size=4, max_size=4), st.floats(0.2, 3.0))
def test_pixels_average_cubics_exactly(coefficients, width):
    poly = np.polynomial.Polynomial(coefficients, domain=[0, 60])
    position = np.arange(4.0, 55.0, width)
    exact = np.diff(poly.integ()(position)) / width
    found = pixel_average(poly(np.arange(61.0)), position)
    # Whole steps are integrated exactly; within one the quartic integral is drawn as
    # a cubic, which misses its fourth derivative (24 a3 / 30^3) times 1/384.
    slack = 24 * abs(coefficients[3]) / 30**3 / 384 * 4 / width + 1e-9
    np.testing.assert_allclose(found, exact, atol=slack)


@pytest.mark.parametrize(
    ("arm", "low", "high"), [(BLUE, 4899.7, 5391.0), (RED, 6308.0, 6873.0)]
)
def test_the_arms_cover_what_real_files_cover(arm, low, high):
    wave = np.exp(log_edges(arm))
    assert len(wave) == 4137
    assert wave.min() == pytest.approx(low, abs=2.0)
    assert wave.max() == pytest.approx(high, abs=2.0)
    steps = np.diff(wave)
    assert np.all(steps > 0) if arm is BLUE else np.all(steps < 0)
    # Pixels of 5 to 8 km/s, as measured in real files.
    width = np.abs(np.diff(np.log(wave))) * C_KMS
    assert width.min() > 4.8
    assert width.max() < 8.0


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_models_reach_beyond_the_arms_of_all_spectrographs(arm):
    wave = bundled(arm.models).wave
    for shift in arm.shifts:
        edges = np.exp(log_edges(arm, shift))
        # 600 km/s: fast stars, the Earth, and the wings of the line spread.
        assert wave[0] < edges.min() * (1 - 600 / C_KMS)
        assert wave[-1] > (edges.max() + 1.5) * (1 + 600 / C_KMS)


def test_a_star_faster_than_the_models_is_refused():
    fine, edges = line()
    with pytest.raises(ValueError, match="does not cover the arm"):
        fine.pixels(fine.broadened(7500.0, 0.0), edges, 2000.0)
