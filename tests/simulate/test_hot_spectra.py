"""Spectra of hot stars on an absolute scale, by another route."""

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden
from steadystar.models.dust import extinction_coefficients
from steadystar.models.hot_grid import bundled_hot, remaining_resolution
from steadystar.models.passbands import passband
from steadystar.simulate.hot_spectra import (
    WAVE,
    hot_flux,
    passed_by_dust,
    smooth_light,
)

V_WAVE, V_ZERO = 5490.0, 3.63e-9  # Bessell et al. (1998), erg/s/cm^2/A


@pytest.mark.parametrize(
    ("labels", "vsini", "rv"),
    [
        ((9500.0, 4.1, 0.0), 0.0, 40.0),
        ((20_000.0, 3.8, -0.2), 220.0, -120.0),
        ((33_000.0, 4.0, 0.2), 60.0, 90.0),
    ],
)
def test_transforms_give_what_convolution_in_real_space_gives(labels, vsini, rv):
    found = hot_flux(labels, 0.0, vsini=vsini, rv=rv)[8:-8]
    models = bundled_hot()
    star = models(labels)
    expected = broaden(
        models.wave * (1 + rv / C_KMS),
        star.flux * star.continuum,
        WAVE[8:-8],
        resolution=remaining_resolution(1800.0),
        vsini=vsini,
    )
    ratio = found / expected
    # The other takes the models as linear between points, and flux as float32 here.
    assert np.abs(ratio / np.median(ratio) - 1).max() < 2e-3


@pytest.mark.parametrize(
    ("teff", "v_ks"),
    [
        (8600, 0.253),
        (9700, 0.041),
        (12_300, -0.254),
        (15_700, -0.380),
        (20_600, -0.602),
    ],
)
def test_light_in_the_visible_fits_the_magnitude_in_the_infrared(teff, v_ks):
    # V-Ks of dwarfs in the table of Pecaut & Mamajek (2013).
    continuum = smooth_light(np.array([[teff, 4.1, 0.0]]), np.zeros(1))[0]
    v = -2.5 * np.log10(np.interp(V_WAVE, WAVE, continuum) / V_ZERO)
    # Vega's zero points differ by a few hundredths; Paschen lines lie in neither.
    assert abs(v - v_ks) < 0.12


def test_a_composite_is_the_sum_and_a_magnitude_is_a_factor():
    labels = np.array([[15_000.0, 4.0, 0.0], [9000.0, 4.2, 0.0], [6500.0, 4.3, 0.0]])
    both = hot_flux(labels, np.array([-0.4, 1.2, 2.3]), vsini=80.0)
    for row, magnitude in enumerate((-0.4, 1.2, 2.3)):
        alone = hot_flux(labels[row], magnitude, vsini=80.0)
        np.testing.assert_allclose(both[row], alone, rtol=1e-5)
    brighter = hot_flux(labels[0], -1.4, vsini=80.0)
    np.testing.assert_allclose(brighter, both[0] * 10**0.4, rtol=1e-5)
    # Blue light tells the hot star, red light the cool one.
    share = both[2] / both.sum(axis=0)
    assert share[WAVE > 8000].mean() > 1.5 * share[WAVE < 4200].mean()


def test_labels_beyond_the_models_are_refused():
    with pytest.raises(ValueError, match="outside"):
        hot_flux([45_000.0, 4.0, 0.0], 0.0)
    with pytest.raises(ValueError, match=r"log g 4\.3"):
        hot_flux([6000.0, 4.0, 0.0], 0.0)


def test_dust_is_that_of_the_bands():
    # The spectra's spline against the package dust_extinction, over a band.
    band = passband("r_ps")
    flux = hot_flux([20_000.0, 4.0, 0.0], 0.0)
    weight = flux * band(WAVE) * WAVE * np.gradient(WAVE)
    dimmed = (weight * passed_by_dust(WAVE, 0.3)).sum() / weight.sum()
    expected = extinction_coefficients(20_000.0, ebv=0.3)["r_ps"]
    # The spline's end conditions are the only freedom; 0.003 mag of difference at most.
    assert abs(-2.5 * np.log10(dimmed) / 0.3 - expected) < 0.01
