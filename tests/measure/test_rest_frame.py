"""Spectra at rest: waves and noise survive the move, bad pixels stay bad."""

import numpy as np
import pytest
from scipy.ndimage import median_filter

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.measure.rest_frame import (
    HOT_GRID,
    clean_pixels,
    outside_emission,
    to_rest,
    without_sky,
)

STEP = np.log(10) * 1e-4
WAVE = np.power(10.0, 3.5682 + 1e-4 * np.arange(3909)).astype(np.float64)
SPEEDS = np.array([-400.0, -31.0, 0.0, 7.5, 123.4, 500.0])
# The level is fainter beyond the last clean pixel; before it, waves are known exactly.
INNER = slice(60, 3300)


def waves(period: float, at: np.ndarray) -> np.ndarray:
    """A wave of 5% that is at rest, ``period`` pixels long, on vacuum wavelengths."""
    return 1 + 0.05 * np.sin(2 * np.pi / period * np.log(at / 5000) / STEP)


def moving(period: float, speeds=SPEEDS, error=0.01) -> Spectra:
    flux = waves(period, WAVE / (1 + speeds[:, None] / C_KMS))
    return Spectra.from_arrays(WAVE, flux, np.full_like(flux, error**-2))


@pytest.mark.parametrize(("period", "lost"), [(3.0, 0.012), (4.0, 0.006), (6.0, 0.006)])
def test_a_wave_at_rest_is_where_it_was_sent_out(period, lost):
    moved = to_rest(moving(period), SPEEDS)
    good = moved.ivar > 0
    want = np.broadcast_to(waves(period, HOT_GRID.wave), good.shape)
    ratio = np.where(good, moved.flux / want, 1)
    # The level has ripples of its own where clean pixels are few, but no fast ones.
    off = (ratio - median_filter(ratio, (1, 41)))[:, INNER][good[:, INNER]]
    # Measured: 0.9% of the wave at 3 pixels, 0.4% from 4 on; what the median leaves of
    # the level is 2e-4.
    assert np.abs(off).max() < lost * 0.05 + 3e-4


def test_beyond_nyquist_over_1_2_the_wave_is_lost_and_we_say_so():
    moved = to_rest(moving(2.2), SPEEDS)
    off = (moved.flux - waves(2.2, HOT_GRID.wave))[:, INNER]
    # A control: if this were small the tolerance above would show nothing.
    assert np.abs(off).max() > 0.2 * 0.05


def test_the_velocity_is_undone_with_its_sign():
    moved = to_rest(moving(8.0), -SPEEDS)
    off = (moved.flux - waves(8.0, HOT_GRID.wave))[:, INNER]
    assert np.abs(off[SPEEDS != 0]).max() > 0.05


def test_noise_keeps_its_variance_and_stays_nearly_white():
    rng = np.random.default_rng(3)
    speeds = rng.uniform(-300, 300, 200)
    flux = 700 * (1 + 0.02 * rng.normal(size=(200, len(WAVE))))
    moved = to_rest(
        Spectra.from_arrays(WAVE, flux, np.full_like(flux, 14.0**-2)), speeds
    )
    pull = (moved.flux - 1) * np.sqrt(moved.ivar)
    clean = clean_pixels(HOT_GRID.wave) & (moved.ivar > 0).all(axis=0)
    # 7% is lost near Nyquist; with half a million pixels the rest is known to 0.2%.
    assert 0.92 < pull[:, clean].var() < 0.94
    pairs = clean[1:] & clean[:-1]
    lag = (pull[:, 1:] * pull[:, :-1])[:, pairs].mean()
    assert abs(lag) < 0.05
    # And nowhere, not beside windows without a level either, is it anything else:
    # a pixel's variance over 200 stars is known to 10%, the level adds its own.
    seen = (moved.ivar > 0).all(axis=0)
    assert (pull[:, seen].var(axis=0) < 1.5).all()


def test_units_do_not_matter():
    one = moving(8.0)
    other = Spectra.from_arrays(
        WAVE, one.flux * 1e-3, np.full(one.flux.shape, 1e4 * 1e6)
    )
    a, b = to_rest(one, SPEEDS), to_rest(other, SPEEDS)
    assert np.allclose(a.flux, b.flux, atol=1e-5)
    assert np.allclose(a.ivar, b.ivar, rtol=1e-4)


def test_bad_pixels_stay_bad_and_do_not_spoil_others():
    one = moving(8.0)
    ivar = one.ivar.copy()
    flux = one.flux.copy()
    ivar[:, 1500:1503], flux[:, 1500:1503] = 0, 1e6
    moved = to_rest(Spectra(WAVE, flux, ivar, one.resolution), SPEEDS)
    place = HOT_GRID.position(WAVE[1500:1503] / (1 + SPEEDS[:, None] / C_KMS))
    for row, (first, last) in enumerate(place[:, [0, 2]]):
        lost = np.arange(int(np.floor(first)), int(np.ceil(last)) + 1)
        inside = lost[(lost > first - 1) & (lost < last + 1)]
        assert (moved.ivar[row, inside] == 0).all()
        assert (moved.flux[row, inside] == 1).all()
    # Two neighbors make a pixel: four or five go with three.
    lost = (moved.ivar == 0) & (to_rest(one, SPEEDS).ivar > 0)
    assert set(lost.sum(axis=1).tolist()) <= {4, 5}
    off = np.where(moved.ivar > 0, moved.flux - to_rest(one, SPEEDS).flux, 0)
    # What stands in for three pixels reaches six taps further: of waves of 5% some 1%,
    # never anything of the 1e6.
    assert np.abs(off).max() < 0.02


def test_a_strong_emission_line_does_not_move_the_level_beside_it():
    flat = np.ones((1, len(WAVE)))
    line = flat + 8 * np.exp(-0.5 * ((WAVE - 6564.6) / 5) ** 2)
    ivar = np.full_like(flat, 1e4)
    a = to_rest(Spectra.from_arrays(WAVE, flat, ivar), np.zeros(1))
    b = to_rest(Spectra.from_arrays(WAVE, line, ivar), np.zeros(1))
    beside = outside_emission(HOT_GRID.wave)
    assert np.allclose(a.flux[:, beside], b.flux[:, beside], atol=2e-5)
    near = abs(HOT_GRID.wave - 6564.6) < 1.5
    assert (b.flux[:, near] > 8).all()


def test_where_the_air_and_emission_are_left_out():
    told = {7605.0: (False, True), 6565.0: (True, False), 4500.0: (True, True)}
    for wave, (sky, line) in told.items():
        assert without_sky([wave])[0] == sky
        assert outside_emission([wave])[0] == line
        assert clean_pixels([wave])[0] == (sky and line)


def test_a_spectrum_without_light_or_far_away_is_all_unusable():
    flux = np.ones((4, len(WAVE)))
    ivar = np.ones_like(flux)
    flux[0] = -1
    ivar[1] = 0
    speeds = np.array([0.0, 0.0, -np.inf, np.inf])
    moved = to_rest(Spectra.from_arrays(WAVE, flux, ivar), speeds)
    assert (moved.ivar == 0).all()
    assert (moved.flux == 1).all()


def test_an_unknown_velocity_counts_as_zero():
    one = moving(8.0, np.zeros(2))
    moved = to_rest(one, np.array([np.nan, 0.0]))
    assert np.array_equal(moved.flux[0], moved.flux[1])


def test_velocities_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="6 spectra but velocities of shape"):
        to_rest(moving(8.0), np.zeros(5))
