"""The zero point of Gaia's parallaxes by release, constant or table."""

import sys

import numpy as np
import polars as pl
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose

from steadystar.survey.columns import CatalogError
from steadystar.survey.parallax_offset import parallax_offsets


@pytest.fixture
def gaia():
    return pl.DataFrame(
        {
            "ra": [83.8, 200.0, 10.0],
            "dec": [-5.4, 40.0, 60.0],
            "g": [9.0, 13.0, 17.5],
            "bp": [9.0, 13.2, 18.0],
            "rp": [9.1, 12.6, 16.9],
            "parallax": [2.0, 1.0, 0.3],
            "nu_eff_used_in_astrometry": [1.75, 1.60, None],
            "pseudocolour": [None, None, 1.45],
            "ecl_lat": [-28.6, 46.0, 49.0],
            "astrometric_params_solved": [31, 31, 95],
        }
    )


def test_dr3_offsets_are_those_of_the_published_recipe(gaia):
    found = parallax_offsets(gaia)
    # Its package, called on these very numbers (Lindegren et al. 2021).
    from zero_point import zpt

    zpt.load_tables()
    expected = [
        zpt.get_zpt(*(np.array([x]) for x in row))[0]
        for row in (
            (9.0, 1.75, np.nan, -28.6, 31),
            (13.0, 1.60, np.nan, 46.0, 31),
            (17.5, np.nan, 1.45, 49.0, 95),
        )
    ]
    assert_allclose(found.offset, expected)
    assert found.notes == ()
    assert ((found.offset > -0.08) & (found.offset < 0.01)).all()


def test_the_ecliptic_latitude_follows_from_the_position(gaia):
    place = SkyCoord(
        gaia["ra"].to_numpy() * units.deg, gaia["dec"].to_numpy() * units.deg
    )
    latitude = place.barycentrictrueecliptic.lat.deg
    given = parallax_offsets(gaia.with_columns(ecl_lat=pl.Series(latitude)))
    # Between the mean ecliptic of 2000 and astropy's lies a hundredth of a degree.
    assert_allclose(
        parallax_offsets(gaia.drop("ecl_lat")).offset, given.offset, atol=1e-5
    )


def test_a_color_stands_in_for_the_wavenumber_and_is_told(gaia):
    plain = parallax_offsets(gaia.drop("nu_eff_used_in_astrometry", "pseudocolour"))
    assert_allclose(plain.offset, parallax_offsets(gaia).offset, atol=0.012)
    assert any("of 2 stars was computed from BP - RP" in note for note in plain.notes)


def test_what_cannot_be_computed_is_a_constant_and_told(gaia):
    bare = gaia.drop("bp", "rp", "nu_eff_used_in_astrometry", "pseudocolour")
    found = parallax_offsets(bare)
    assert found.offset.tolist() == [-0.021] * 3
    assert any("3 parallaxes was taken otherwise" in note for note in found.notes)


def test_without_the_package_a_sentence_says_what_to_install(gaia, monkeypatch):
    monkeypatch.setitem(sys.modules, "zero_point", None)
    found = parallax_offsets(gaia)
    assert found.offset.tolist() == [-0.021] * 3
    assert "pip install gaiadr3-zeropoint" in found.notes[0]


def test_dr2_depends_on_brightness(gaia):
    faint = gaia.with_columns(g=pl.Series([9.0, 15.0, 18.0]))
    assert_allclose(parallax_offsets(faint, "dr2").offset, [-0.05, -0.0395, -0.029])


def test_no_parallax_has_no_offset(gaia):
    lost = gaia.with_columns(parallax=pl.Series([None, 1.0, 2.0]))
    assert np.isnan(parallax_offsets(lost).offset).tolist() == [True, False, False]


def test_a_constant_or_a_table_may_be_given(gaia, tmp_path):
    assert parallax_offsets(gaia, -0.04).offset.tolist() == [-0.04] * 3
    path = tmp_path / "relation.csv"
    path.write_text("g,parallax_offset\n8,-0.06\n18,-0.02\n")
    assert_allclose(parallax_offsets(gaia, path).offset, [-0.056, -0.04, -0.022])


@pytest.mark.parametrize(
    ("source", "words"),
    [("dr9", "say dr3, dr2, a number"), (-50.0, "is not believable")],
)
def test_an_unknown_source_is_refused(gaia, source, words):
    with pytest.raises(CatalogError, match=words):
        parallax_offsets(gaia, source)
