import numpy as np
import polars as pl
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data.match import assign_stars, name_from_position, nearest


def visits(ra, dec, star_id=None):
    n = len(ra)
    return pl.DataFrame(
        {
            "visit_id": [f"v{i}" for i in range(n)],
            "star_id": star_id or [None] * n,
            "ra": np.asarray(ra, float),
            "dec": np.asarray(dec, float),
        },
        schema_overrides={"star_id": pl.String},
    )


def test_designations_that_differ_by_a_third_of_an_arcsecond_are_one_star():
    ids = assign_stars(visits([292.0587, 292.0588], [43.92535, 43.92543]))["star_id"]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("ra", "dec"),
    [([359.9999, 0.0001], [10.0, 10.0]), ([0.0, 180.0], [89.9998, 89.9998])],
)
def test_the_pole_and_zero_hours_are_no_special_places(ra, dec):
    separation = SkyCoord(ra[0], dec[0], unit="deg").separation(
        SkyCoord(ra[1], dec[1], unit="deg")
    )
    assert (
        assign_stars(visits(ra, dec), None, separation.arcsec * 1.01)[
            "star_id"
        ].n_unique()
        == 1
    )
    assert (
        assign_stars(visits(ra, dec), None, separation.arcsec * 0.99)[
            "star_id"
        ].n_unique()
        == 2
    )


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_order_of_files_names_no_star_otherwise(seed):
    rng = np.random.default_rng(seed)
    center = rng.uniform(0, 0.02, (6, 2))
    where = center[rng.integers(0, 6, 20)] + rng.normal(0, 5e-5, (20, 2))
    table = visits(100 + where[:, 0], where[:, 1])
    order = rng.permutation(20)
    straight = assign_stars(table)
    mixed = assign_stars(table[order]).sort("visit_id")
    assert straight.sort("visit_id")["star_id"].equals(mixed["star_id"])


def test_a_known_star_keeps_its_name_when_a_night_is_added():
    known = pl.DataFrame({"star_id": ["mine"], "ra": [50.0], "dec": [20.0]})
    ids = assign_stars(visits([50.0002, 51.0], [20.0, 20.0]), known)["star_id"]
    assert ids.to_list() == ["mine", name_from_position(51.0, 20.0)]


def test_given_names_and_missing_positions_stay_apart():
    table = visits([10.0, 10.0, np.nan, np.nan], [5.0] * 4, ["a", None, None, None])
    ids = assign_stars(table)["star_id"].to_list()
    assert ids[0] == "a"
    assert ids[2] == "unplaced v2"
    assert len(set(ids)) == 4


@given(st.floats(0, 359.99999), st.floats(-89.9999, 89.9999))
@settings(max_examples=60, deadline=None)
def test_names_hold_the_position(ra, dec):
    name = name_from_position(ra, dec)
    text = f"{name[1:3]}h{name[3:5]}m{name[5:10]}s {name[10:13]}d{name[13:15]}m{name[15:]}s"
    where = SkyCoord(text)
    # Truncated to 0.01 s and 0.1 arcsec.
    assert where.separation(SkyCoord(ra, dec, unit="deg")).arcsec < 0.19


def test_nearest_says_how_far():
    index, separation = nearest([10.0, 20.0], [0.0, 0.0], [20.0, 10.0005], [0.0, 0.0])
    assert index.tolist() == [1, 0]
    assert separation == pytest.approx([1.8, 0], abs=1e-6)
    index, separation = nearest([10.0], [0.0], [10.1], [0.0])
    assert index[0] == -1
    assert np.isinf(separation[0])
