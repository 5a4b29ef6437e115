import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data.constants import C_KMS
from steadystar.survey.registry import read
from steadystar.survey.rounding import restore

PIXELS = 4136


def solution(coefficients) -> np.ndarray:
    """Wavelengths of a polynomial in log10, near LAMOST's blue arm."""
    x = np.linspace(-1, 1, PIXELS)
    return 10 ** np.polynomial.chebyshev.chebval(x, [3.7107, 0.0207, *coefficients])


def velocity(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return C_KMS * (found / true - 1)


# LAMOST's solutions bend by 1e-3. A straight one can be in step with the rounding, whose
# errors then are not independent and do not average out.
bend = st.floats(2e-4, 1e-3)
bends = st.tuples(bend, *4 * [st.floats(-1e-3, 1e-3)]).map(list)


@settings(max_examples=30, deadline=None)
@given(bends, st.booleans(), st.booleans())
def test_a_polynomial_comes_back_from_its_rounding(coefficients, log10, downward):
    true = solution(coefficients)[:: -1 if downward else 1]
    stored = (np.log10(true) if log10 else true).astype(np.float32)
    error = velocity(restore(stored, log10=log10), true)
    kept = velocity(
        10.0 ** stored.astype(float) if log10 else stored.astype(float), true
    )
    # Rounding alone is 47 m/s rms (log10) or 8 m/s; 8 coefficients from 4136 pixels
    # leave sqrt(8/4136) = 4% of it, at the ends 64/4136 of the variance: 13%.
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(kept**2))
    assert np.abs(error).max() < 0.35 * np.abs(kept).max()


def test_what_is_no_polynomial_stays_as_it_is():
    true = solution([1e-3]) * (1 + 1e-5 * np.sin(np.arange(PIXELS) / 10))
    stored = true.astype(np.float32)
    np.testing.assert_array_equal(restore(stored, log10=False), stored.astype(float))


def test_float64_wavelengths_stay_as_they_are():
    true = solution([1e-3, 2e-4])
    np.testing.assert_array_equal(restore(true, log10=False), true)


def test_one_pixel_off_by_two_steps_is_not_explained_by_rounding():
    stored = np.log10(solution([1e-3])).astype(np.float32)
    stored[2000] += 2 * np.spacing(stored[2000])
    found = restore(stored, log10=True)
    np.testing.assert_allclose(found, 10.0 ** stored.astype(float), rtol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38, -5.0, 0.0])
@pytest.mark.parametrize("log10", [True, False])
def test_damaged_wavelengths_are_no_error(bad, log10):
    stored = solution([]).astype(np.float32)
    stored[17] = bad
    assert len(restore(stored, log10=log10)) == PIXELS


def test_few_pixels_are_not_fitted():
    stored = np.linspace(5000, 5001, 20).astype(np.float32)
    np.testing.assert_array_equal(restore(stored, log10=False), stored.astype(float))


def test_the_real_files_hold_rounded_polynomials(real_data):
    """What the module's docstring says of them, measured."""
    files = sorted((real_data / "lamost_mrs").iterdir())
    moved = []
    for path in files:
        with fits.open(path) as hdus:
            for unit in hdus[1:]:
                stored = np.array(unit.data["LOGLAM"]).astype(np.float32)
                found = restore(stored, log10=True)
                assert (np.log10(found).astype(np.float32) != stored).mean() < 0.05
                moved.append(velocity(found, 10.0 ** stored.astype(float)))
    # All of them were restored; the jitter taken away is 82 m/s at most, 47 rms.
    assert all(np.abs(one).max() > 0.05 for one in moved)
    assert all(np.sqrt(np.mean(one**2)) < 0.05 for one in moved)


def test_restored_solutions_of_a_night_move_as_the_earth_does(real_data):
    """Two routes to one number: the fitted wavelengths, and our own ephemeris.

    LAMOST calibrates a night once and corrects each exposure for the Earth's motion.
    """
    for path in sorted((real_data / "lamost_mrs").iterdir()):
        observation = read(path)
        correction = observation.visits["bary_corr"].to_numpy()
        for arm in ("blue", "red"):
            rows = np.flatnonzero((observation.visits["arm"] == arm).to_numpy())
            wave = observation.spectra.wave_2d[rows, 1000:3000]
            shift = np.median(velocity(wave, wave[0]), axis=1)
            expected = correction[rows] - correction[rows[0]]
            # Rounding leaves 47 m/s / sqrt(4136 / 6) = 1.8 m/s in either solution.
            np.testing.assert_allclose(shift, expected, atol=0.005)
