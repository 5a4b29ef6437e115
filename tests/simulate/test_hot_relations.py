"""Masses and magnitudes of invented hot stars against published ones."""

import numpy as np
import pytest

from steadystar.models.intrinsic_colors import intrinsic_colors
from steadystar.simulate.hot_relations import (
    MassLuminosity,
    MassTable,
    bolometric_magnitude,
    main_sequence,
)
from steadystar.simulate.hot_stars import absolute_ks, lowest_gravity

# Temperature, M_bol and M_Ks of dwarfs, from the table of Pecaut & Mamajek (2013).
DWARFS = {
    "O9V": (33_300, -7.31, -3.20),
    "B0V": (31_400, -6.89, -2.942),
    "B1V": (26_000, -5.58, -2.126),
    "B2V": (20_600, -3.83, -1.198),
    "B5V": (15_700, -2.19, -0.376),
    "B8V": (12_300, -0.73, 0.254),
    "A0V": (9700, 0.78, 0.949),
    "A3V": (8600, 1.66, 1.447),
}


@pytest.mark.parametrize("kind", DWARFS)
def test_the_main_sequence_has_the_magnitudes_of_dwarfs(kind):
    teff, m_bol, m_ks = DWARFS[kind]
    star = main_sequence(teff=np.array([teff]))
    found = absolute_ks(star.teff, star.logg, np.zeros(1))[0]
    mass = MassLuminosity()(star.teff, star.logg, np.zeros(1))
    # Temperatures of neighboring classes jump by up to 9 percent, 0.2 mag in M_bol.
    assert abs(bolometric_magnitude(star.teff, star.logg, mass)[0] - m_bol) < 0.2
    assert abs(found - m_ks) < 0.25


def test_masses_of_dwarfs_are_those_of_the_table():
    # Temperatures of A0 V, B5 V, B0 V; masses 2.35, 4.7, 17.5 in Pecaut & Mamajek (2013).
    star = main_sequence(teff=np.array([9700.0, 15_700.0, 31_400.0]))
    mass = MassLuminosity()(star.teff, star.logg, np.zeros(3))
    np.testing.assert_allclose(mass, [2.35, 4.7, 17.5], rtol=0.12)
    again = main_sequence(mass=mass)
    np.testing.assert_allclose(again.teff, star.teff, rtol=1e-3)
    np.testing.assert_allclose(again.logg, star.logg, atol=1e-3)


@pytest.mark.parametrize(
    ("teff", "logg"), [(9700, 4.1), (14_000, 4.1), (17_000, 3.5), (12_000, 3.0)]
)
def test_flux_weighted_gravity_gives_the_published_luminosity(teff, logg):
    # Kudritzki et al. (2020, ApJ 890, 28): M_bol = 3.20 (log g_F - 1.5) - 7.90.
    weighted = logg - 4 * np.log10(teff / 1e4)
    mass = MassLuminosity()(teff, logg, 0.0)
    found = bolometric_magnitude(teff, logg, mass)
    # That relation is of supergiants; a single line over ten magnitudes.
    assert abs(found - (3.20 * (weighted - 1.5) - 7.90)) < 0.35


def test_gravity_luminosity_and_mass_agree():
    # The equation of the issue in solar units, with a radius in between.
    teff, logg = 20_000.0, 3.7
    mass = float(MassLuminosity()(teff, logg, 0.0))
    radius = np.sqrt(mass / 10 ** (logg - 4.438))
    luminosity = radius**2 * (teff / 5772) ** 4
    expected = 4.74 - 2.5 * np.log10(luminosity)
    assert np.isclose(bolometric_magnitude(teff, logg, mass), expected, atol=1e-9)
    assert np.isclose(
        np.log10(luminosity), MassLuminosity().luminosity(mass), atol=1e-3
    )


def test_a_table_of_isochrones_takes_the_relations_place():
    teff, logg = (
        grid.ravel()
        for grid in np.meshgrid(np.geomspace(8000, 40_000, 40), np.linspace(2.5, 5, 40))
    )
    relation = MassLuminosity()
    table = MassTable(teff, logg, np.zeros(1600), relation(teff, logg, 0.0))
    at = (np.array([9000.0, 25_000.0]), np.array([4.0, 3.6]), np.zeros(2))
    np.testing.assert_allclose(table(*at), relation(*at), rtol=0.02)
    ours, theirs = absolute_ks(*at), absolute_ks(*at, table)
    np.testing.assert_allclose(theirs, ours, atol=0.03)
    with pytest.raises(ValueError, match="outside the table"):
        table(np.array([50_000.0]), np.array([4.0]), np.zeros(1))


def test_a_relation_in_which_a_spectrum_has_two_masses_is_refused():
    with pytest.raises(ValueError, match="two masses"):
        MassLuminosity(mass=(1.0, 2.0, 3.0), log_luminosity=(0.0, 1.0, 1.05))


def test_gravities_stay_where_there_are_models():
    teff = np.geomspace(8000, 40_000, 200)
    low = lowest_gravity(teff)
    assert (low >= 2.5).all()
    assert (low[teff > 18_000] >= 3.0).all()
    mass = MassLuminosity()(teff, low, np.zeros(200))
    assert mass.max() < 37


def test_colder_than_the_bundled_colors_magnitudes_go_on_smoothly():
    lowest = intrinsic_colors().teff_range[0]
    teff = np.array([lowest * 0.999, lowest * 1.001, 4440.0, 3850.0])
    logg = np.full(4, 4.3)
    mass = np.array([0.85, 0.85, 0.7, 0.6])
    m_bol = bolometric_magnitude(teff, logg, mass)
    found = absolute_ks(teff, logg, np.zeros(4), lambda *_: mass)
    correction = m_bol - found
    assert abs(correction[0] - correction[1]) < 0.01
    # M_bol - M_Ks of K5 V and M0 V.
    np.testing.assert_allclose(correction[2:], [2.25, 2.50], atol=1e-9)
