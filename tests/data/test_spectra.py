import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import LogGrid, Spectra

WAVE = np.linspace(5000, 5100, 50)


def batch(n=3, frame="observatory", wave=WAVE):
    flux = np.arange(n)[:, None] + np.ones((n, wave.shape[-1]))
    return Spectra.from_arrays(wave, flux, np.ones_like(flux), 7500.0, frame=frame)


@given(st.floats(-900, 900), st.floats(3500, 17000))
@settings(max_examples=50, deadline=None)
def test_a_velocity_is_the_same_shift_everywhere(rv, wave):
    grid = LogGrid(3000.0, 2e-5, 100_000)
    moved = grid.position(wave * (1 + rv / C_KMS)) - grid.position(wave)
    assert moved == pytest.approx(grid.shift(rv), abs=1e-7)


def test_grid_covers_what_was_asked():
    grid = LogGrid.covering(5000.0, 5300.0, 10.0)
    assert grid.wave[0] == 5000
    assert 5300 <= grid.wave[-1] < 5300 * (1 + 20 / C_KMS)
    assert grid.step_kms == pytest.approx(10)
    assert_allclose(grid.position(grid.wave), np.arange(grid.size), atol=1e-8)


@pytest.mark.parametrize("bad", [(0.0, 1e-5, 5), (5000.0, 0.0, 5), (5000.0, 1e-5, 1)])
def test_what_is_no_grid_is_refused(bad):
    with pytest.raises(ValueError, match="is no grid"):
        LogGrid(*bad)


def test_unusable_pixels_count_as_missing():
    flux, ivar = np.ones((1, 50)), np.ones((1, 50))
    flux[0, :2] = [np.nan, np.inf]
    ivar[0, 2:6] = [np.nan, -1, np.inf, 0]
    made = Spectra.from_arrays(WAVE, flux, ivar)
    assert (made.ivar[0, :6] == 0).all()
    assert (made.ivar[0, 6:] == 1).all()
    assert np.isfinite(made.flux).all()


def test_downward_wavelengths_are_turned():
    flux = np.arange(50.0)[None]
    made = Spectra.from_arrays(WAVE[::-1], flux, np.ones_like(flux))
    assert_allclose(made.wave, WAVE)
    assert_allclose(made.flux[0], flux[0, ::-1])


@pytest.mark.parametrize(
    ("wave", "sentence"),
    [
        (np.where(np.arange(50) == 7, np.nan, WAVE), "not finite and positive"),
        (WAVE - 5050, "not finite and positive"),
        (np.where(np.arange(50) == 7, 5000, WAVE), "not strictly monotonic"),
        (WAVE[:-1], "one wavelength a pixel"),
    ],
)
def test_wavelengths_that_make_no_sense_are_refused(wave, sentence):
    with pytest.raises(ValueError, match=sentence):
        Spectra.from_arrays(wave, np.ones((2, 50)), np.ones((2, 50)))


@pytest.mark.parametrize("given", [0.0, -5.0, np.inf, np.nan])
def test_a_resolution_that_makes_no_sense_is_unknown(given):
    wave = np.arange(5000.0, 5010.0)
    ones = np.ones((2, 10))
    spectra = Spectra.from_arrays(wave, ones, ones, [given, 7500.0])
    assert np.isnan(spectra.resolution).tolist() == [True, False]


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="must be"):
        Spectra.from_arrays(WAVE, np.ones((2, 50)), np.ones((3, 50)))


def test_selection_keeps_a_batch():
    made = batch()
    assert len(made[1:]) == 2
    assert made[np.array([True, False, True])].flux[1, 0] == 3
    assert made[0].flux.shape == (1, 50)


def test_shorter_spectra_are_padded_with_missing_pixels():
    joined = Spectra.concatenate([batch(1), batch(2, wave=WAVE[:40])])
    assert joined.flux.shape == (3, 50)
    assert (joined.ivar[1:, 40:] == 0).all()
    assert (np.diff(joined.wave_2d) > 0).all()
    assert_allclose(joined.wave_2d[1, :40], WAVE[:40])


def test_frames_do_not_mix():
    with pytest.raises(ValueError, match="cannot be one batch"):
        Spectra.concatenate([batch(), batch(frame="barycenter")])


def test_window_keeps_only_what_lies_inside():
    shifted = np.stack([WAVE, WAVE + 20, WAVE + 300])
    cut = batch(wave=shifted).window(5020.0, 5080.0)
    inside = (cut.wave_2d >= 5020) & (cut.wave_2d <= 5080)
    assert (cut.ivar[~inside] == 0).all()
    assert (cut.ivar > 0).sum(axis=1).tolist() == [
        ((w >= 5020) & (w <= 5080)).sum() for w in shifted
    ]


def test_signal_to_noise_is_the_median_of_usable_pixels():
    made = Spectra.from_arrays(WAVE, np.full((2, 50), 6.0), np.full((2, 50), 4.0))
    assert_allclose(made.snr(), 12)
    made.ivar[1] = 0
    assert np.isnan(made.snr()[1])


def test_signal_to_noise_counts_usable_pixels_only():
    rng = np.random.default_rng(3)
    flux, ivar = rng.normal(3, 1, (6, 49)), rng.uniform(1, 4, (6, 49))
    for row in range(6):
        ivar[row, rng.permutation(49)[: 8 * row]] = 0
    made = Spectra.from_arrays(WAVE[:49], flux, ivar)
    ratio = np.where(ivar > 0, flux * np.sqrt(ivar), np.nan)
    assert_allclose(made.snr(), np.nanmedian(ratio, axis=1), rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-26, 1e-19, 1e22])
def test_any_unit_of_flux_will_do(unit):
    flux, sigma = np.linspace(50, 60, 50)[None], np.full((1, 50), 2.0)
    sigma[0, 7] = 1e-3  # one pixel far from the others
    plain = Spectra.from_arrays(WAVE, flux, sigma**-2)
    made = Spectra.from_arrays(WAVE, unit * flux, (unit * sigma) ** -2)
    assert (made.ivar > 0).all()
    assert np.isfinite(made.ivar).all()
    assert_allclose(made.flux * np.sqrt(made.ivar), plain.flux / sigma, rtol=1e-5)
    assert_allclose(made.flux[0] / made.flux[0, 0], flux[0] / flux[0, 0], rtol=1e-6)


def test_fluxes_in_ordinary_units_stay_as_they_are():
    flux, ivar = np.full((2, 50), 3e-17), np.full((2, 50), 1e34)
    ivar[0, 0] = 1e37
    made = Spectra.from_arrays(WAVE, flux, ivar)
    assert (made.flux == np.float32(3e-17)).all()
    assert (made.ivar == ivar.astype(np.float32)).all()
