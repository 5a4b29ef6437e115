import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.data.resample import overlap_matrix, resample
from steadystar.data.spectra import LogGrid, Spectra

GRID = LogGrid(5000.0, 4e-5, 300)


def spectra(flux, ivar=None, downward=False):
    wave = 4995.0 + 70 * np.linspace(0, 1, 500) ** 1.05
    flux = flux(wave) if callable(flux) else flux
    ivar = np.full(500, 4.0) if ivar is None else ivar
    step = -1 if downward else 1
    return Spectra.from_arrays(wave[::step], flux[::step], ivar[::step], 7500.0)


def test_a_constant_stays_a_constant():
    out = resample(spectra(lambda w: 3.0 + 0 * w), GRID)
    assert_allclose(out.flux, 3, rtol=1e-6)
    assert (out.ivar > 0).all()


def test_the_integral_of_the_flux_is_conserved():
    seen = spectra(lambda w: np.exp(-((w - 5030) ** 2) / 0.5))
    out = resample(seen, GRID)
    # Everything lies inside the grid, and both sums use each pixel's own width.
    before = (seen.flux[0] * np.gradient(seen.wave)).sum()
    after = (out.flux[0] * np.gradient(out.wave)).sum()
    assert after == pytest.approx(before, rel=1e-4)


def test_downward_wavelengths_give_the_same():
    def line(wave):
        return 1 - 0.5 * np.exp(-((wave - 5030) ** 2) / 0.3)

    up, down = (
        resample(spectra(line), GRID),
        resample(spectra(line, downward=True), GRID),
    )
    assert_allclose(up.flux, down.flux, rtol=1e-6)
    assert_allclose(up.ivar, down.ivar, rtol=1e-6)


def test_variance_is_that_of_many_noisy_copies():
    rng = np.random.default_rng(0)
    wave = spectra(lambda w: w).wave
    noise = rng.normal(size=(4000, 500)) / 2
    many = Spectra.from_arrays(wave, noise, np.full_like(noise, 4.0))
    scatter = resample(many, GRID).flux.std(axis=0)
    stated = resample(many[:1], GRID).ivar[0] ** -0.5
    # 4000 copies: 1.1% a pixel, 300 pixels: 3.5 sigma.
    assert_allclose(scatter, stated, rtol=0.04)


def test_the_covariance_of_neighbors_is_what_the_matrix_says():
    rng = np.random.default_rng(1)
    wave = spectra(lambda w: w).wave
    share = overlap_matrix(wave, GRID, np.ones(500, bool)).toarray()
    noise = rng.normal(size=(4000, 500)) / 2
    out = resample(Spectra.from_arrays(wave, noise, np.full_like(noise, 4.0)), GRID)
    sample = np.cov(out.flux.T)
    assert_allclose(sample, share @ share.T / 4, atol=0.02)
    assert np.diag(share @ share.T, 1).max() > 0.05


def test_bad_pixels_leave_no_trace():
    flux, ivar = np.ones(500), np.full(500, 4.0)
    flux[200], ivar[200] = 1e6, 0
    out = resample(spectra(flux, ivar), GRID)
    assert_allclose(out.flux[0][out.ivar[0] > 0], 1, rtol=1e-6)
    wide = ivar.copy()
    wide[190:210] = 0
    assert (resample(spectra(flux, wide), GRID).ivar == 0).sum() >= 8


def test_where_nothing_was_observed_there_is_nothing():
    out = resample(spectra(np.ones(500)), LogGrid(6000.0, 4e-5, 50))
    assert (out.ivar == 0).all()
    assert np.isfinite(out.flux).all()
