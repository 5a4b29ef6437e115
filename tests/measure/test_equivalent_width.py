"""Equivalent widths: known profiles, errors that mean what they say, gaps and edges."""

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.measure.equivalent_width import H_ALPHA, equivalent_widths

WAVE = np.linspace(6500.0, 6640.0, 1400)


def spectra(rv, depth=0.6, width=1.5, snr=np.inf, seed=1, slope=0.3):
    """A Gaussian line of known width on a sloped continuum of 1000 counts."""
    rv, rng = np.atleast_1d(np.asarray(rv, float)), np.random.default_rng(seed)
    x = WAVE / (1 + rv[:, None] / C_KMS) - H_ALPHA
    flux = 1 - depth * np.exp(-0.5 * (x / width) ** 2)
    level = 1000 * (1 + slope * (WAVE - H_ALPHA) / 70)
    noise = np.broadcast_to(level / min(snr, 1e4), flux.shape)
    flux = level * flux + (noise * rng.normal(size=flux.shape) if snr < 1e9 else 0)
    return Spectra.from_arrays(WAVE, flux, noise**-2.0, 7500.0)


@pytest.mark.parametrize("depth", [0.6, 0.05, -1.5])
@pytest.mark.parametrize("rv", [-250.0, 0.0, 180.0])
def test_a_line_has_its_width_whatever_the_velocity(depth, rv):
    found = equivalent_widths(spectra(rv, depth), rv)
    true = depth * 1.5 * np.sqrt(2 * np.pi)
    # Sums over pixels of 0.1 A of a line of 1.5 A; float32 flux: 6e-8 over 20 A.
    assert found.width[0] == pytest.approx(true, abs=2e-4)


def test_a_wrong_velocity_loses_a_part_of_a_wide_line():
    wide = spectra(0.0, width=4.0)
    right = equivalent_widths(wide, 0.0).width[0]
    assert equivalent_widths(wide, 250.0).width[0] < 0.95 * right


def test_errors_are_the_scatter_of_noisy_spectra():
    noisy = spectra(np.zeros(400), snr=30.0)
    found = equivalent_widths(noisy, 0.0)
    true = 0.6 * 1.5 * np.sqrt(2 * np.pi)
    pull = (found.width - true) / found.error
    # The scatter of 400 unit normals is known to 3.5%, their mean to 5%.
    assert np.std(pull) == pytest.approx(1, abs=0.14)
    assert abs(np.mean(pull)) < 0.2
    # Without the continuum's part the error would be too small.
    pixel = (WAVE[1] - WAVE[0]) / 30 * np.sqrt(20 / (WAVE[1] - WAVE[0]))
    assert np.median(found.error) > 1.1 * 0.9 * pixel


def test_gaps_and_edges_leave_no_width_but_single_pixels_do():
    whole = spectra(np.zeros(4), snr=100.0)
    ivar = whole.ivar.copy()
    middle = np.searchsorted(WAVE, H_ALPHA)
    ivar[1, middle - 6 : middle + 6] = 0  # 1.2 A of 20
    ivar[2, middle + 3] = 0
    ivar[3, WAVE > H_ALPHA + 9] = 0
    found = equivalent_widths(Spectra.from_arrays(WAVE, whole.flux, ivar, 7500.0))
    assert np.isfinite(found.width).tolist() == [True, False, True, False]
    one = found.width[2] - equivalent_widths(whole[2:3]).width[0]
    assert 0 < abs(one) < 0.03  # a pixel of 0.1 A, its value that of its neighbors
    short = Spectra.from_arrays(WAVE[:600], whole.flux[:, :600], ivar[:, :600], 7500.0)
    assert np.isnan(equivalent_widths(short).width).all()


def test_lines_beside_do_not_lower_the_continuum():
    plain = spectra(0.0, snr=300.0)
    flux = plain.flux.copy()
    for line in (-21.0, -14.0, 13.0, 19.0):
        flux *= 1 - 0.4 * np.exp(-0.5 * ((WAVE - H_ALPHA - line) / 0.4) ** 2)
    crowded = Spectra.from_arrays(WAVE, flux, plain.ivar, 7500.0)
    # Four lines of 0.4 A on 30 A lower a mean by 5%, a width by an Angstrom.
    found = equivalent_widths(crowded).width - equivalent_widths(plain).width
    assert np.abs(found).max() < 0.03


def test_a_continuum_below_zero_leaves_no_width():
    dark = Spectra.from_arrays(
        WAVE, np.full((1, WAVE.size), -5.0), np.ones((1, WAVE.size))
    )
    assert np.isnan(equivalent_widths(dark).width[0])


def test_a_window_that_is_none_is_refused():
    with pytest.raises(ValueError, match="positive half width"):
        equivalent_widths(spectra(0.0), half_width=0.0)
