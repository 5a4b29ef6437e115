"""Passbands keep their published shape, and dust its published strength."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.models.dust import dust, extinction_coefficients
from steadystar.models.passbands import BANDS, passband

# Pivot wavelengths of the full published curves, Angstrom.
PIVOTS = {
    "g": 6217.6,
    "bp": 5109.7,
    "rp": 7769.0,
    "j": 12355.1,
    "h": 16457.5,
    "ks": 21603.0,
    "g_sdss": 4702.5,
    "z_sdss": 8946.5,
    "g_ps": 4849.1,
    "y_ps": 9627.8,
    "v": 5477.7,
}


@pytest.mark.parametrize(("name", "pivot"), PIVOTS.items())
def test_thinned_bands_keep_the_published_pivot_wavelength(name, pivot):
    # Thinning to 40 or 60 nodes moves a mean wavelength by up to 0.6 A.
    assert_allclose(passband(name).pivot, pivot, atol=1.0)


def test_a_band_is_zero_outside_itself():
    band = passband("ks")
    outside = band([band.wave[0] - 1, band.wave[-1] + 1])
    assert outside.tolist() == [0.0, 0.0]
    assert band(21_600.0) > 0.5


def test_an_unknown_band_is_named_with_what_is_known():
    with pytest.raises(ValueError, match=r"'w1' is no band .* bp, rp, j, h, ks"):
        passband("w1")


def test_optical_and_near_infrared_coefficients_are_those_of_schlafly_and_finkbeiner():
    # Their table 6 (ApJ 737, 103; F99, R_V = 3.1) is a magnitude of the SFD map, 0.86 of
    # E(B-V) of the law; 4 percent covers that this factor is rounded and holds at 1 micron.
    published = {
        "j": 0.723,
        "h": 0.460,
        "ks": 0.310,
        "g_sdss": 3.303,
        "r_sdss": 2.285,
        "i_sdss": 1.698,
        "g_ps": 3.172,
        "r_ps": 2.271,
    }
    ours = extinction_coefficients(7000.0, ebv=0.4)
    for band, value in published.items():
        assert_allclose(ours[band] * 0.86, value, rtol=0.04)


def test_johnson_colors_of_a_hot_star_redden_as_their_name_says():
    of_law = extinction_coefficients(20_000.0, ebv=0.1)
    # E(B-V) of the bands is near that of the law: F99 was made for such stars.
    assert_allclose(of_law["b"] - of_law["v"], 1.0, atol=0.02)
    assert_allclose(of_law["v"], 3.1, atol=0.03)


def test_wide_bands_see_less_dust_where_there_is_more_and_narrow_ones_hardly():
    thin, thick = (extinction_coefficients(20_000.0, ebv=e) for e in (0.05, 2.0))
    assert thick["g"] < 0.85 * thin["g"]
    assert thick["bp"] < 0.92 * thin["bp"]
    assert thick["ks"] > 0.99 * thin["ks"]


def test_a_spectrum_that_is_given_replaces_the_models():
    wave = np.arange(3000.0, 11_000.0, 1.0)
    red, blue = (extinction_coefficients(spectrum=(wave, wave**p)) for p in (2.0, -4.0))
    assert red["g"] < blue["g"] - 0.5
    # Beyond its last pixel it goes on as a Planck function, so that Ks is no nonsense.
    assert_allclose(red["ks"], blue["ks"], atol=0.01)


@pytest.mark.parametrize(
    ("teff", "ebv"), [(9300.0, 0.1), (13_500.0, 0.6), (38_000.0, 1.7)]
)
def test_the_grid_for_many_stars_is_the_integral_for_one(teff, ebv):
    one = extinction_coefficients(teff, ebv=ebv)
    for band in BANDS:
        # Linear interpolation between nodes; 3 mmag is a third of the least error.
        assert_allclose(dust().magnitudes(band, teff, ebv), one[band] * ebv, atol=3e-3)


def test_negative_reddening_brightens_as_much_as_positive_dims():
    bright, dim = dust().magnitudes("bp", 20_000.0, [-0.01, 0.01])
    assert_allclose(bright, -dim)
    assert dim > 0.03


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"r_v": 1.0}, "r_v = 1.0 is outside"),
        ({"teff": 0.0}, "is no hot star"),
        ({"ebv": -1.0}, "is no amount of dust"),
    ],
)
def test_impossible_dust_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        extinction_coefficients(**wrong)
