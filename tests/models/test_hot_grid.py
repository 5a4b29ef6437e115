"""Hot stars at low resolution, against the models they were made from."""

import numpy as np
import pytest

from steadystar.models.broadening import broaden
from steadystar.models.doppler import doppler_wheel
from steadystar.models.hot_grid import (
    HOT_RESOLUTION,
    bundled_companions,
    bundled_hot,
    make_hot_grid,
    remaining_resolution,
)
from steadystar.models.library import ModelsNotFound, bundled_windows

LRS = 10 ** (3.5682 + 1e-4 * np.arange(3909))
HOT = [(8500, 4.2, 0.3), (12_000, 3.0, -0.5), (21_000, 3.9, 0.0), (38_000, 4.1, -0.2)]
COOL = [(4500, 4.3, 0.0), (6500, 4.3, -0.4)]


@pytest.fixture(scope="session")
def wheel():
    """The full models; tests that need them skip without the package."""
    try:
        return doppler_wheel(3600.0, 9200.0)
    except ModelsNotFound as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("labels", HOT + COOL)
def test_at_low_resolution_they_are_the_full_models(wheel, labels):
    hot = labels[0] >= 8000
    full = wheel.parts[1 if hot else 0]
    ours = bundled_hot() if hot else bundled_companions()
    # Unclipped: clipping before and after a smoothing differs where polynomials overshoot.
    expected = broaden(full.wave, full.unclipped(labels), LRS, resolution=1800.0)
    found = broaden(
        ours.wave,
        ours.unclipped(labels),
        LRS,
        resolution=remaining_resolution(1800.0),
    )
    # Coefficients of 16 bits; 3e-4 and 1.1e-3 were measured on random labels.
    np.testing.assert_allclose(found, expected, atol=5e-4 if hot else 1.5e-3)
    continuum = np.interp(LRS, full.wave, np.log10(full(labels).continuum))
    # A point in four of the continuum's own, except at the Balmer jump.
    np.testing.assert_allclose(
        np.interp(LRS, ours.wave, np.log10(ours(labels).continuum)),
        continuum,
        atol=2e-3,
    )


def test_the_file_is_made_by_the_function_that_says_so(wheel, tmp_path):
    hot, cool = wheel.parts[1], wheel.parts[0]
    make_hot_grid(hot, cool, tmp_path / "grid.npz")
    with np.load(tmp_path / "grid.npz", allow_pickle=False) as arrays:
        step = arrays["hot_step"]
        theta = arrays["hot_theta"] * step[:, None]
    # Half a unit of the last place each.
    assert np.abs(theta - bundled_hot().theta).max() <= 1.01 * step.max()


def test_what_remains_of_the_resolution_adds_up_to_all_of_it():
    left = remaining_resolution(1800.0)
    assert left > 1800
    assert np.isclose(left**-2 + HOT_RESOLUTION**-2, 1800.0**-2)
    with pytest.raises(ValueError, match="doppler_wheel"):
        remaining_resolution(7500.0)


def test_no_choice_by_wavelength_meets_them():
    assert not [name for name in bundled_windows() if "hot" in name or "lrs" in name]


def test_six_points_make_a_pixel_of_the_survey_and_reach_beyond_it():
    wave = bundled_hot().wave
    np.testing.assert_allclose(wave[16 * 6 :: 6][:3909], LRS, rtol=1e-12)
    assert wave[0] < LRS[0] * (1 - 300 / 299_792)
    assert wave[-1] > LRS[-1] * (1 + 300 / 299_792)


def test_companions_join_on_where_hot_stars_begin():
    hot, cool = bundled_hot(), bundled_companions()
    labels = [8000.0, 4.3, -0.2]
    ours, theirs = hot(labels), cool(labels)
    line = np.abs(hot.wave / 4862.7 - 1) < 1e-3
    # Two polynomials at the edges of their domains; in H beta they differ by 0.064.
    assert np.abs(ours.flux - theirs.flux)[line].max() < 0.08
    # Continua differ by 0.098 dex near the Balmer jump, 0.053 redward of 5500 A.
    apart = np.abs(np.log10(ours.continuum / theirs.continuum))
    assert apart.max() < 0.12
    assert apart[hot.wave > 5500].max() < 0.06
    with pytest.raises(ValueError, match="outside"):
        cool([6000.0, 4.0, 0.0])
