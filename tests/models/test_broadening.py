import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden, rotation_profile

REST = 6000.0


def line(width_kms=0.0, depth=0.8):
    """A model with one line in the middle, on a fine grid, and pixels of 5 km/s."""
    velocity = np.arange(-1500, 1500.1, 0.5)
    sigma = max(width_kms, 1.5)
    flux = 1 - depth * np.exp(-0.5 * (velocity / sigma) ** 2)
    pixels = REST * np.exp(np.arange(-1000, 1000.1, 5.0) / C_KMS)
    return REST * np.exp(velocity / C_KMS), flux, pixels


def moments(pixels, flux):
    """Equivalent width, centroid and variance of an absorption line, km/s."""
    velocity = C_KMS * np.log(pixels / REST)
    depth = 1 - flux
    area = depth.sum() * 5.0
    mean = (depth * velocity).sum() / depth.sum()
    return area, mean, (depth * (velocity - mean) ** 2).sum() / depth.sum()


@settings(max_examples=25, deadline=None)
@given(st.floats(2000.0, 30000.0), st.floats(0.0, 150.0), st.floats(0.0, 1.0))
def test_lines_keep_their_strength_and_place_and_variances_add(
    resolution, vsini, epsilon
):
    wave, flux, pixels = line()
    seen = broaden(
        wave, flux, pixels, resolution=resolution, vsini=vsini, epsilon=epsilon
    )
    area, mean, variance = moments(pixels, seen)
    # The integral of the Gaussian line itself: depth sigma sqrt(2 pi).
    assert area == pytest.approx(0.8 * 1.5 * np.sqrt(2 * np.pi), rel=1e-6)
    assert mean == pytest.approx(0.0, abs=1e-6)
    sigma = C_KMS / resolution / np.sqrt(8 * np.log(2))
    # Second moments of sqrt(1 - x^2) and of 1 - x^2 are 1/4 and 1/5 of their areas
    # pi/2 and 4/3.
    disk = ((1 - epsilon) / 4 + epsilon * 2 / 15) / (1 - epsilon / 3)
    expected = 1.5**2 + sigma**2 + vsini**2 * disk + 5.0**2 / 12
    # Averages over steps of 1 km/s (twice 1/12, and 1/6 for linear interpolation of
    # the model) add at most 0.4 (km/s)^2; the tail beyond 6 sigma is 1e-8.
    assert variance == pytest.approx(expected, rel=2e-3, abs=0.45)


def test_neither_profile_leaves_a_straight_line_as_it_is():
    wave = np.linspace(5990, 6010, 400)
    pixels = np.linspace(5992, 6008, 100)
    seen = broaden(wave, wave / 6000, pixels, resolution=np.inf)
    # Pixels average over ln(wavelength), edges halfway in it: second order in a pixel.
    np.testing.assert_allclose(seen[1:-1], pixels[1:-1] / 6000, atol=1e-9)


def test_a_batch_equals_a_loop():
    wave, flux, pixels = line()
    both = np.stack([flux, 1 - (1 - flux) / 2])
    batch = broaden(wave, both, pixels, resolution=7500.0, vsini=20.0)
    for row in range(2):
        alone = broaden(wave, both[row], pixels, resolution=7500.0, vsini=20.0)
        np.testing.assert_allclose(batch[row], alone, atol=1e-14)


def test_a_star_that_hardly_rotates_is_a_spike():
    profile = rotation_profile(1e-3, 1.0)
    assert profile.sum() == pytest.approx(1.0)
    assert profile.max() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"resolution": 0.0}, "resolution is 0.0"),
        ({"resolution": 7500.0, "vsini": 5.0, "epsilon": 2.0}, "epsilon=2.0"),
    ],
)
def test_impossible_widths_are_refused(kwargs, message):
    wave, flux, pixels = line()
    with pytest.raises(ValueError, match=message):
        broaden(wave, flux, pixels, **kwargs)


def test_pixels_beyond_the_model_are_refused():
    wave, flux, _ = line()
    with pytest.raises(ValueError, match="use a wider model"):
        broaden(wave, flux, np.linspace(5900, 6000, 50), resolution=7500.0)
