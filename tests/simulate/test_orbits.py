import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.simulate.orbits import covered, kepler, orbital_velocity


@settings(max_examples=200, deadline=None)
@given(st.floats(-50.0, 50.0), st.floats(0.0, 0.99))
def test_keplers_equation_is_inverted(eccentric_anomaly, eccentricity):
    mean = eccentric_anomaly - eccentricity * np.sin(eccentric_anomaly)
    found = kepler(mean, eccentricity)
    # Near e = 1 and E = 0 the equation is flat: an error of 1e-14 in M (rounding at
    # M = 50) becomes as much over 1 - e cos E.
    slope = 1 - eccentricity * np.cos(eccentric_anomaly)
    assert found == pytest.approx(eccentric_anomaly, abs=1e-12 + 2e-14 / slope)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.9), st.floats(0.0, 2 * np.pi), st.floats(0.5, 50.0))
def test_an_orbit_goes_nowhere_and_has_its_amplitude(eccentricity, omega, period):
    time = np.linspace(0, period, 20_001)[:-1]
    velocity = orbital_velocity(
        time, period=period, semi_amplitude=10.0, eccentricity=eccentricity, omega=omega
    )
    # The mean over a period is the drift of the star: none. Equal steps integrate a
    # smooth periodic function exactly.
    assert velocity.mean() == pytest.approx(0.0, abs=1e-6)
    # A fast passage of periastron is sampled in steps of 1e-3 of its length.
    assert np.ptp(velocity) == pytest.approx(20.0, rel=1e-4)
    again = orbital_velocity(
        time + 7 * period,
        period=period,
        semi_amplitude=10.0,
        eccentricity=eccentricity,
        omega=omega,
    )
    np.testing.assert_allclose(again, velocity, atol=1e-8)


@pytest.mark.parametrize("radius_in_front", [0.4, 1.0, 1.7])
def test_the_covered_part_is_that_of_random_points(radius_in_front):
    rng = np.random.default_rng(2)
    points = rng.uniform(-1, 1, (400_000, 2))
    points = points[np.hypot(*points.T) < 1]
    for separation in (0.0, 0.3, 0.9, 1.2, 2.0, 3.0):
        hit = np.hypot(points[:, 0] - separation, points[:, 1]) < radius_in_front
        # Four sigma of a binomial fraction of 314 000 points.
        assert covered(separation, 1.0, radius_in_front) == pytest.approx(
            hit.mean(), abs=4 * 0.5 / np.sqrt(len(points))
        )
