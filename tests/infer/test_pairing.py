import numpy as np
import polars as pl

from steadystar.infer.catalog import catalog_of
from steadystar.infer.pairing import pair_stars


def stars(ra, dec, ids=None, **more):
    table = {"ra": ra, "dec": dec, "rv": np.zeros(len(ra)), **more}
    if ids is not None:
        table["star_id"] = ids
    return catalog_of(pl.DataFrame(table)).frame


def test_positions_match_one_to_one_whatever_the_order():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    order = rng.permutation(500)
    shift = 0.5 / 3600
    pairs = pair_stars(stars(ra, dec), stars(ra[order], (dec + shift)[order]), 3.0)
    assert len(pairs.a) == 500
    assert np.array_equal(order[pairs.b], pairs.a)
    assert np.allclose(pairs.separation, 0.5, atol=1e-4)
    assert not pairs.ambiguous.any()
    assert set(pairs.by) == {"position"}


def test_two_near_one_are_ambiguous_and_the_nearer_wins():
    pairs = pair_stars(
        stars([10.0, 10.0], [1 / 3600, 2.5 / 3600]), stars([10.0], [0.0]), 3.0
    )
    assert pairs.a.tolist() == [0]
    assert pairs.ambiguous.tolist() == [True]


def test_identifiers_go_before_positions_but_not_across_the_sky():
    a = stars([10.0, 20.0, 30.0], [0.0, 0.0, 0.0], ["HD 00012", "x", "same"])
    b = stars([10.01, 20.0, 130.0], [0.0, 0.0, 0.0], ["hd12", "y", "same"])
    pairs = pair_stars(a, b, 3.0)
    assert pairs.a.tolist() == [0, 1]
    assert pairs.by == ["identifier", "position"]
    assert pairs.strangers.tolist() == [2]
    assert pair_stars(a, b, 3.0, "position").a.tolist() == [1]
    assert pair_stars(a, b, 3.0, "identifier").a.tolist() == [0]


def test_proper_motions_are_followed_in_either_table():
    # Barnard's star: 10 arcsec a year; sixteen years.
    still = stars([269.45], [4.69])
    moved = stars(
        [269.45], [4.69 + 160 / 3600], pmra=[0.0], pmdec=[1e4], epoch=[2016.0]
    )
    assert len(pair_stars(still, moved, 3.0).a) == 1
    assert len(pair_stars(moved, still, 3.0).a) == 1
    assert len(pair_stars(still, moved.with_columns(pmdec=0.0), 3.0).a) == 0


def test_stars_without_a_position_match_nobody_by_position():
    nowhere = stars([np.nan, 0.0], [0.0, 0.0])
    assert len(pair_stars(nowhere, stars([0.0, 5.0], [0.0, 5.0]), 3.0).a) == 0
