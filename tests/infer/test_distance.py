"""Distances: right where the truth is known, honest, and the same by a slow twin."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar import DistanceOptions, estimate_distances
from steadystar.infer.distance import RESULTS, infer_distances
from steadystar.infer.distance_grid import room
from steadystar.survey.columns import CatalogError

FOLDER = Path(__file__).parents[2] / "benchmarks"
IGNORE = DistanceOptions(pairs="ignore")

STAR = {
    "star_id": "HD 1",
    "m_ks": -1.0,
    "m_ks_err": 0.25,
    "ks": 10.0,
    "ks_err": 0.02,
    "ebv": 0.3,
    "ebv_err": 0.03,
    "parallax": 0.6,
    "parallax_error": 0.05,
}
NO_MAGNITUDE = {"m_ks": None, "m_ks_err": None}


def table(*changes: dict) -> pl.DataFrame:
    rows = [STAR | change for change in changes or ({},)]
    return pl.DataFrame(rows, infer_schema_length=None)


@pytest.fixture(scope="module")
def mocks():
    """Two tables of 8000 stars, without pairs and with 12%, and what is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        make = importlib.import_module("_distance_mocks").mock_stars
    out = {}
    for name, pairs in (("single", 0.0), ("paired", 0.12)):
        stars = make(8000, 4, pairs)
        out[name] = stars, infer_distances(stars.table)
    return out


def twin(row: dict, options: DistanceOptions = IGNORE, farthest: float = 60_000.0):
    """The paper's way, on a grid of 0.1 pc: mode, 16%, 84%, mean and deviation of log."""
    d = np.arange(0.1, farthest, 0.1)
    log = 2 * np.log(d) if options.prior == "volume" else np.zeros(len(d))
    if row["parallax"] is not None:
        log -= ((row["parallax"] - 1000 / d) / row["parallax_error"]) ** 2 / 2
    if row["m_ks"] is not None:
        modulus = row["ks"] - 0.3 * row["ebv"] - row["m_ks"]
        width = np.sqrt(
            row["m_ks_err"] ** 2 + row["ks_err"] ** 2 + (0.3 * row["ebv_err"]) ** 2
        )
        log -= ((modulus - 5 * np.log10(d / 10)) / width) ** 2 / 2
    p = np.exp(log - log.max())
    # Each point stands for 0.05 pc on either side.
    share = (np.cumsum(p) - p / 2) / p.sum()
    mean = np.average(np.log10(d), weights=p)
    deviation = np.sqrt(np.average((np.log10(d) - mean) ** 2, weights=p))
    return d[p.argmax()], *np.interp([0.16, 0.84], share, d), mean, deviation


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"parallax": 5.0, "ks": 5.3, "parallax_error": 0.02},
        {"parallax": 0.05},
        {"parallax": -0.1},
        {"parallax": 1.2},
        {"parallax": None},
        {"m_ks": None},
        {"m_ks_err": 0.02},
        {"parallax_error": 0.001},
    ],
    ids=str,
)
@pytest.mark.parametrize("prior", ["distance", "volume"])
def test_the_grid_gives_what_a_grid_of_a_tenth_of_a_parsec_gives(change, prior):
    options = replace(IGNORE, prior=prior, max_distance=60_000.0)
    row = STAR | change
    found = estimate_distances(table(change), options).row(0, named=True)
    mode, low, high, mean, deviation = twin(row, options)
    # The twin's own step is 0.1 pc; ours is a tenth of a sigma with parabolas between.
    sigma = (high - low) / 2
    assert found["dis"] == pytest.approx(mode, abs=0.1 + 0.005 * sigma)
    assert found["dis_low"] == pytest.approx(low, abs=0.1 + 0.005 * sigma)
    assert found["dis_high"] == pytest.approx(high, abs=0.1 + 0.005 * sigma)
    assert found["logdis"] == pytest.approx(mean, abs=0.005 * deviation)
    assert found["logdis_err"] == pytest.approx(deviation, rel=0.01)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-5, 5),
    st.floats(0.01, 1.0),
    st.floats(-1, 20),
    st.floats(0.001, 1.0),
    st.sampled_from(["mixture", "published", "ignore"]),
)
def test_any_star_has_a_distance_inside_its_own_interval_of_99_percent(
    m_ks, m_ks_err, parallax, error, pairs
):
    change = {"m_ks": m_ks, "m_ks_err": m_ks_err}
    change |= {"parallax": parallax, "parallax_error": error}
    options = DistanceOptions(pairs=pairs)
    row = estimate_distances(table(change), options).row(0, named=True)
    assert 0 < row["dis_low"] < row["dis_high"]
    assert row["logdis_err"] > 0
    assert 0 <= row["p_binary"] <= 1
    # The mode of a skewed posterior may lie outside of the 68%, not far.
    width = row["dis_high"] - row["dis_low"]
    assert row["dis_low"] - width < row["dis"] < row["dis_high"] + width


def test_the_room_of_a_posterior_holds_both_measurements():
    one = np.ones(1)
    low, high = room(10 * one, 10 * one, 0.2 * one, 0.5 * one, 0.01 * one)
    # 0.5 mas is a modulus of 11.505; the posterior lies between it and 10.
    assert low[0] < 11.4 < high[0]
    assert high[0] - low[0] < 5


@pytest.mark.parametrize("name", ["single", "paired"])
def test_68_percent_intervals_hold_68_percent(mocks, name):
    stars, found = mocks[name]
    inside = stars.inside(found.table)
    # 8000 stars: the sampling error is 0.52%, the margin 2%.
    assert 0.66 < inside.mean() < 0.70
    assert 0.66 < inside[~stars.pair].mean() < 0.70


def test_who_takes_pairs_for_single_is_wrong_about_them(mocks):
    stars, found = mocks["paired"]
    obvious = stars.delta > 0.3
    trusting = stars.inside(estimate_distances(stars.table, IGNORE))
    aware = stars.inside(found.table)
    # 420 such pairs: 2.3% of sampling error each, and the same stars in both.
    assert aware[obvious].mean() > trusting[obvious].mean() + 0.1


def test_beyond_3_kpc_the_error_is_below_0_6_of_that_of_the_parallax(mocks):
    stars, found = mocks["paired"]
    alone = estimate_distances(stars.table.with_columns(m_ks=None))
    far = stars.distance > 3000
    both, only = (
        np.median(np.abs(done["dis"].to_numpy() / stars.distance - 1)[far])
        for done in (found.table, alone)
    )
    assert far.sum() > 1000
    assert both < 0.6 * only


def test_rows_order_and_columns_of_the_input_are_kept(mocks):
    stars, _ = mocks["paired"]
    some = stars.table.sample(500, shuffle=True, seed=1).with_columns(
        color=pl.lit("blue")
    )
    done = estimate_distances(some)
    assert done.columns == [*some.columns, *RESULTS]
    assert done.select(some.columns).equals(some)


def test_order_of_rows_does_not_matter(mocks):
    some = mocks["paired"][0].table.head(300)
    back = estimate_distances(some.reverse()).reverse()
    for name in ("dis", "logdis_err", "p_binary"):
        # Sums in another order: rounding only.
        assert np.allclose(estimate_distances(some)[name], back[name], rtol=1e-9)


def test_columns_named_like_results_are_put_aside_and_said():
    found = infer_distances(table().with_columns(x=pl.lit(7.0), x_original=pl.lit(1)))
    assert found.table["x_original_original"].to_list() == [7.0]
    assert found.table["x_original"].to_list() == [1]
    assert "Column x of the table is x_original_original here." in found.notes


def test_twice_the_same_star_is_twice_the_same_distance_and_one_star():
    done = infer_distances(table({}, {}, {"star_id": None}))
    assert done.table["dis"].n_unique() == 1
    assert "1 rows repeat a star_id" in done.notes[0]


def test_magnitude_alone_has_the_error_of_the_magnitude():
    row = estimate_distances(table({"parallax": None}), IGNORE).row(0, named=True)
    width = np.sqrt(0.25**2 + 0.02**2 + (0.3 * 0.03) ** 2)
    assert row["logdis_err"] == pytest.approx(width / 5, rel=1e-4)
    # Flat in distance: the mean modulus is larger by ln(10)/5 sigma^2, section 6.
    modulus = 10 - 0.09 + 1 + np.log(10) / 5 * width**2
    assert row["logdis"] == pytest.approx(modulus / 5 + 1, abs=1e-6)
    assert row["binary_flag"] == -1
    assert np.isnan(row["snr_dparallax"])
    assert np.isnan(row["p_binary"])
    assert "No parallax" in row["distance_status"]


def test_a_parallax_alone_ends_at_the_largest_distance_and_says_when_it_leans_on_it():
    rows = [NO_MAGNITUDE | {"parallax": p} for p in (0.6, 0.0, -0.5, 0.05)]
    options = DistanceOptions(max_distance=20_000.0)
    done = estimate_distances(table(*rows), options)
    assert (done["dis_high"] < 20_000).all()
    assert (done["dis_low"] > 0).all()
    assert done["dis"][1] == pytest.approx(20_000)
    assert done["dis"][2] == pytest.approx(20_000)
    leans = done["distance_status"].str.contains("max_distance").to_list()
    assert leans == [False, True, True, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"m_ks": float("nan")}, "No magnitude, since m_ks "),
        ({"m_ks_err": 0.0}, "No magnitude, since m_ks_err "),
        ({"m_ks_err": float("inf")}, "No magnitude, since m_ks_err "),
        ({"ks": -9999.0}, "No magnitude, since ks "),
        ({"ks_err": None}, "No magnitude, since ks_err "),
        ({"ebv": None}, "No magnitude, since ebv "),
        ({"ebv_err": -1.0}, "No magnitude, since ebv_err "),
        ({"parallax": -999.0}, "No parallax, since parallax "),
        ({"parallax": float("inf")}, "No parallax, since parallax "),
        ({"parallax_error": 0.0}, "No parallax, since parallax "),
        ({"parallax_error": float("nan")}, "No parallax, since parallax "),
        ({"parallax_error": None}, "No parallax, since parallax "),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_left_out_and_said(change, words):
    done = estimate_distances(table({}, change))
    assert done["distance_status"][0] == ""
    assert done["distance_status"][1].startswith(words)
    assert np.isfinite(done["dis"][1])
    assert done["binary_flag"].to_list() == [0, -1]


def test_neither_is_no_distance():
    row = estimate_distances(table({"parallax": None, "m_ks": None})).row(0, named=True)
    assert all(np.isnan(row[name]) for name in ("dis", "dis_low", "logdis", "x"))
    assert "No magnitude" in row["distance_status"]
    assert "No parallax" in row["distance_status"]


def test_an_empty_table_and_columns_of_nulls_are_tables():
    assert estimate_distances(table().head(0)).columns == [*STAR, *RESULTS]
    nothing = table().with_columns(pl.lit(None).alias(n) for n in list(STAR)[1:])
    assert estimate_distances(nothing)["dis"].is_nan().all()


def test_the_zero_point_of_parallaxes_is_subtracted():
    given_ = table().with_columns(parallax_offset=pl.lit(-0.03))
    done, wanted = (
        estimate_distances(given_),
        estimate_distances(table({"parallax": 0.63})),
    )
    assert done["dis"][0] == pytest.approx(wanted["dis"][0], rel=1e-12)
    assert done["parallax"][0] == 0.6
    unknown = table().with_columns(parallax_offset=pl.lit(None, dtype=pl.Float64))
    done = estimate_distances(unknown)
    assert done["dis"][0] == estimate_distances(table())["dis"][0]
    assert "No parallax_offset" in done["distance_status"][0]


def test_extinction_and_its_error_enter():
    near = estimate_distances(table({"parallax": None}), IGNORE)
    none = estimate_distances(
        table({"parallax": None}), replace(IGNORE, a_ks_per_ebv=0.0)
    )
    assert none["logdis"][0] - near["logdis"][0] == pytest.approx(0.09 / 5, abs=1e-5)
    unsure = estimate_distances(table({"parallax": None, "ebv_err": 1.0}), IGNORE)
    width = np.sqrt(0.25**2 + 0.02**2 + 0.3**2)
    assert unsure["logdis_err"][0] == pytest.approx(width / 5, rel=1e-4)


def test_the_published_way_takes_flagged_stars_by_their_parallax():
    bright = {"ks": 8.5}
    options = DistanceOptions(pairs="published")
    done = estimate_distances(table({}, bright, bright | {"m_ks": None}), options)
    assert done["binary_flag"].to_list() == [0, 1, -1]
    assert done["dis"][1] == done["dis"][2]
    assert "parallax alone" in done["distance_status"][1]
    single = estimate_distances(table(), IGNORE)
    assert done["dis"][0] == single["dis"][0]


def test_galactic_coordinates_of_known_directions():
    places = {"ra": 266.4051, "dec": -28.936175}, {"ra": 192.85948, "dec": 27.12825}
    towards = [place | {"parallax_error": 1e-6} for place in places]
    done = estimate_distances(table(*towards), IGNORE)
    # The center (l, b = 0) and the north pole; positions are rounded to 1e-4 degrees.
    kpc = 1 / 0.6
    assert done.select("x", "y", "z").row(0) == pytest.approx(
        (kpc - 8.2, 0, 0), abs=1e-4
    )
    assert done.select("x", "y", "z").row(1) == pytest.approx((-8.2, 0, kpc), abs=1e-4)
    lost = estimate_distances(table({"ra": None, "dec": 3.0}, {"ra": 1.0, "dec": 99.0}))
    assert lost["x"].is_nan().all()


def test_a_missing_column_is_named_with_a_remedy():
    with pytest.raises(
        CatalogError, match=r"no column ebv and no column ebv_err.*--col"
    ):
        estimate_distances(table().drop("ebv", "ebv_err"))
    words = table().with_columns(ks=pl.lit("bright"))
    with pytest.raises(CatalogError, match=r"Column ks holds no number.*'bright'"):
        estimate_distances(words)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_distance": 0.0},
        {"a_ks_per_ebv": -1.0},
        {"flag_sigma": float("nan")},
        {"pair_fraction": 1.5},
        {"sun_x": float("inf")},
        {"fit_rows": 0},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(CatalogError, match=next(iter(wrong))):
        DistanceOptions(**wrong)
