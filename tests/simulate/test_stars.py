import numpy as np
import polars as pl
import pytest

from steadystar.models.library import bundled
from steadystar.simulate.stars import draw_stars, states

EPOCH = 2_458_400.0
FRACTIONS = {
    "giant": 0.3,
    "hot": 0.1,
    "cool": 0.1,
    "sb1": 0.2,
    "sb2": 0.2,
    "pulsator": 0.2,
    "eclipsing": 0.5,
}


def population(n_stars=400, seed=5, **changes):
    return draw_stars(
        np.random.default_rng(seed),
        n_stars,
        center=(120.0, 40.0),
        radius=1.0,
        fractions=FRACTIONS | changes,
        magnitudes=(10.0, 14.0),
        epoch=EPOCH,
    )


def test_amplitudes_obey_keplers_third_law():
    """From the two amplitudes alone: M sin^3 i = P (K1 + K2)^3 (1 - e^2)^1.5 / 2 pi G."""
    from astropy import constants
    from astropy import units as u

    double = population().filter("double_lined_true")
    assert len(double) > 30
    for star in double.iter_rows(named=True):
        speed = (
            (star["semi_amplitude_true"] + star["semi_amplitude_2_true"]) * u.km / u.s
        )
        speed = speed * np.sqrt(1 - star["eccentricity_true"] ** 2)
        mass = star["period_true"] * u.day * speed**3 / (2 * np.pi * constants.G)
        mass = mass.to_value(u.Msun) / np.sin(np.radians(star["inclination_true"])) ** 3
        ratio = star["semi_amplitude_true"] / star["semi_amplitude_2_true"]
        primary = mass / (1 + ratio)
        # Masses of F, G and K dwarfs; the ratio as drawn.
        assert 0.6 < primary < 1.7
        assert 0.74 < ratio < 1.01
        assert star["teff_2_true"] <= star["teff_true"] + 1


def test_components_keep_their_momentum():
    star = population().filter("double_lined_true").row(0, named=True)
    time = EPOCH + np.linspace(0, 30, 50)
    first, second = states(star, time)
    ratio = star["semi_amplitude_true"] / star["semi_amplitude_2_true"]
    balance = (first.rv - star["rv_mean_true"]) + ratio * (
        second.rv - star["rv_mean_true"]
    )
    np.testing.assert_allclose(balance, 0.0, atol=1e-9)


def test_eclipses_happen_when_stars_are_aligned():
    star = population().filter(
        pl.col("double_lined_true")
        & (pl.col("inclination_true") > 88)
        & (pl.col("axis_true") < 15)
    )
    star = star.row(0, named=True)
    time = EPOCH + np.linspace(0, star["period_true"], 5001)
    first, second = states(star, time)
    hidden, hidden_2 = first.area < 1, second.area < star["area_2_true"]
    assert hidden.any()
    assert hidden_2.any()
    assert not (hidden & hidden_2).any()
    # Aligned stars move across the line of sight: both at the velocity of the whole
    # system, within sin(angle of eclipse) ~ (1 + r2) / axis of the amplitude.
    reach = 2.1 / star["axis_true"]
    assert np.abs(first.rv - star["rv_mean_true"])[hidden].max() < (
        reach * star["semi_amplitude_true"]
    )
    # The farther star is eclipsed: it comes toward us afterwards. Velocity is away.
    middle = np.flatnonzero(hidden)[np.argmin(first.area[hidden])]
    if 0 < middle < len(time) - 1:
        assert first.rv[middle + 1] < first.rv[middle - 1]


def test_every_state_of_every_star_has_a_model_spectrum():
    domain = bundled("lamost-mrs-blue").parts
    time = EPOCH + np.linspace(0, 3, 40)
    for star in population(600, seed=8).iter_rows(named=True):
        for state in states(star, time):
            for teff in (state.teff.min(), state.teff.max()):
                labels = [float(teff), state.logg, state.feh]
                assert any(part.domain.contains(labels) for part in domain)
            assert np.all(state.area >= 0)


def test_pulsators_change_their_temperature_by_up_to_a_thousand_kelvin():
    stars = population(600).filter(pl.col("motion") == "pulsator")
    swing = []
    for star in stars.iter_rows(named=True):
        time = EPOCH + np.linspace(0, star["period_true"], 400)
        (state,) = states(star, time)
        swing.append(np.ptp(state.teff))
        assert np.ptp(state.rv) == pytest.approx(
            2 * star["semi_amplitude_true"], rel=1e-3
        )
    assert max(swing) < 1000
    assert max(swing) > 900
    assert min(swing) > 190


def test_the_mix_is_as_asked():
    stars = population(4000, eclipsing=0.0)
    share = stars["motion"].value_counts(normalize=True)
    share = dict(share.iter_rows())
    for motion, expected in [("sb1", 0.2), ("sb2", 0.2), ("pulsator", 0.2)]:
        # Four sigma of a binomial fraction of 4000.
        assert share[motion] == pytest.approx(expected, abs=4 * np.sqrt(0.16 / 4000))
    constant = stars.filter("constant_true")
    giants = constant.filter(pl.col("kind") == "giant")
    assert len(giants) / len(constant) == pytest.approx(0.3, abs=0.05)
    assert giants["logg_true"].max() <= 3.3
    dwarfs = constant.filter(pl.col("kind") == "fgk")
    assert dwarfs["logg_true"].min() >= 3.7
    assert stars["magnitude"].is_between(10.0, 14.0).all()
    # Brighter half of the range holds 10**-0.6 of the stars, for counts as 10**(0.3 m).
    bright = (stars["magnitude"] < 12.0).mean()
    assert bright == pytest.approx((10**0.6 - 1) / (10**1.2 - 1), abs=0.03)


def test_the_same_seed_gives_the_same_stars():
    assert population(50).equals(population(50))
    assert not population(50).equals(population(50, seed=6))
