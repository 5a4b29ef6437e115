"""Masses from orbits: known systems, exact roots, and astropy's constants."""

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from steadystar.data.constants import DAY_S, GM_SUN, R_SUN_KM
from steadystar.infer.orbit_masses import (
    companion_mass,
    double_lined_masses,
    mass_function,
    projected_axis,
)


def test_constants_are_the_nominal_ones():
    assert constants.GM_sun.to_value("km3/s2") == pytest.approx(GM_SUN, rel=1e-14)
    assert constants.R_sun.to_value("km") == pytest.approx(R_SUN_KM, rel=1e-14)
    assert u.day.to(u.s) == DAY_S


def kepler(m_1, m_2, period, e, inclination):
    """Semi-amplitudes (km/s) of both stars by Kepler's third law, in units of astropy."""
    axis = constants.GM_sun * (m_1 + m_2) * (period * u.d) ** 2 / (4 * np.pi**2)
    speed = 2 * np.pi * np.cbrt(axis) * np.sin(inclination) / (period * u.d)
    total = speed.to_value("km/s") / np.sqrt(1 - e**2)
    return total * m_2 / (m_1 + m_2), total * m_1 / (m_1 + m_2)


def test_a_known_pair_gives_its_masses_back():
    m_1 = np.array([1.0, 0.586, 12.0, 0.3])
    m_2 = np.array([1e-3, 0.390, 40.0, 0.3])
    period = np.array([4332.6, 308.9, 20.0, 0.2])
    e = np.array([0.05, 0.756, 0.5, 0.0])
    tilt = np.radians([90, 107.6, 40, 80])
    k_1, k_2 = kepler(m_1, m_2, period, e, tilt)
    # Rounding only: the formulas are exact.
    exact = {"rtol": 1e-12}
    first, second = double_lined_masses(period, k_1, k_2, e)
    np.testing.assert_allclose(first, m_1 * np.sin(tilt) ** 3, **exact)
    np.testing.assert_allclose(second, m_2 * np.sin(tilt) ** 3, **exact)
    f = mass_function(period, k_1, e)
    np.testing.assert_allclose(companion_mass(f, m_1, tilt), m_2, **exact)
    # Edge on it would be lighter, except where it is seen edge on.
    lightest = companion_mass(f, m_1)
    assert lightest[0] == pytest.approx(m_2[0], rel=1e-12)
    assert (lightest[1:] < m_2[1:]).all()
    axis = np.cbrt(GM_SUN * (m_1 + m_2) * (period * DAY_S / (2 * np.pi)) ** 2)
    of_first = axis * m_2 / (m_1 + m_2) * np.sin(tilt) / R_SUN_KM
    np.testing.assert_allclose(projected_axis(period, k_1, e), of_first, **exact)


@given(st.floats(-12, 6), st.floats(-2, 2))
def test_the_cubic_is_solved_to_rounding(log_ratio, log_mass):
    mass, second = 10**log_mass, 10 ** (log_mass + log_ratio)
    f = second**3 / (mass + second) ** 2
    assert companion_mass(f, mass) == pytest.approx(second, rel=1e-12)


def test_what_has_no_mass_function_has_no_companion():
    found = companion_mass([0.0, -1.0, np.nan, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0, np.nan])
    assert found[0] == 0
    assert np.isnan(found[1:]).all()
    assert np.isnan(companion_mass(1.0, 1.0, 0.0))
