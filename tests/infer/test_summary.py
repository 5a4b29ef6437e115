import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from steadystar.data import schema
from steadystar.data.status import Status
from steadystar.infer.summary import SummaryOptions, discoveries, summarize_stars


def survey(seed=0, stars=400, visits=6, variable=0.0, width=3.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(stars), visits)
    err = 0.2 * rng.uniform(0.5, 2, len(star))
    extra = np.where(np.arange(stars) < variable * stars, width, 0.0)[star]
    rv = rng.normal(0, 30, stars)[star]
    rv = rv + rng.normal(0, 1, len(star)) * np.hypot(err, extra)
    return pl.DataFrame(
        {
            "star_id": [f"s{i:04d}" for i in star],
            "ra": star * 0.5,
            "dec": star * 0.1,
            "rv": rv,
            "rv_err": err,
        }
    )


def test_the_table_keeps_the_contract():
    stars = summarize_stars(survey(stars=5))
    assert stars.schema == schema.empty("stars").schema
    assert stars["star_id"].to_list() == sorted(stars["star_id"])
    for name in ("constant", "variable", "double_lined"):
        assert stars[name].null_count() == 0


def test_mean_and_chi2_are_what_they_are_called():
    visits = survey(stars=30)
    stars = summarize_stars(visits)
    for (name,), rows in visits.group_by("star_id"):
        v, w = rows["rv"].to_numpy(), rows["rv_err"].to_numpy() ** -2
        star = stars.row(by_predicate=pl.col("star_id") == name, named=True)
        mean = np.average(v, weights=w)
        assert star["rv_mean"] == pytest.approx(mean, rel=1e-12)
        assert star["rv_mean_err"] == pytest.approx(w.sum() ** -0.5)
        assert star["chi2"] == pytest.approx(np.sum(w * (v - mean) ** 2))
        assert star["n_visits"] == 6
        assert star["ra"] == pytest.approx(rows["ra"][0])
        assert star["dec"] == pytest.approx(rows["dec"][0])


def test_constant_stars_are_rarely_called_variable():
    found = 0
    for seed in range(10):
        found += summarize_stars(survey(seed))["variable"].sum()
    # Without variables every discovery is false: some of 10 surveys in 100 have one.
    assert found <= 2


def test_the_false_discovery_rate_is_what_was_asked_for():
    false = total = 0
    for seed in range(10):
        visits = survey(seed, stars=1000, variable=0.3, width=0.8)
        called = summarize_stars(visits, SummaryOptions(0.05))["variable"].to_numpy()
        total += called.sum()
        false += called[300:].sum()
    # Benjamini and Hochberg promise 0.05 times the share of constant stars.
    assert false / total == pytest.approx(0.05 * 0.7, abs=0.015)
    assert total > 0.9 * 3000


def test_errors_that_are_too_small_are_noticed():
    visits = survey().with_columns(pl.col("rv_err") / 3)
    # A control that must fail: with wrong errors the rate is not kept.
    assert summarize_stars(visits)["variable"].mean() > 0.5


def test_p_constant_separates_and_means_what_it_says():
    stars = summarize_stars(survey(1, stars=2000, variable=0.25, width=2.0))
    p = stars["p_constant"].to_numpy()
    truth = np.arange(2000) >= 500
    assert np.mean(p[truth] > 0.5) > 0.98
    assert np.mean(p[~truth] > 0.5) < 0.03
    assert p.sum() == pytest.approx(1500, abs=40)
    assert np.array_equal(stars["constant"].to_numpy(), p > 0.5)


def test_one_visit_is_uncertain_and_none_is_a_row():
    visits = pl.DataFrame(
        {
            "star_id": ["a", "b", "b", "c", "c", None],
            "rv": [1.0, 2.0, float("nan"), None, 5.0, 9.0],
            "rv_err": [0.1, 0.1, 0.1, 0.1, 0.0, 0.1],
            "status": [0, 0, int(Status.NO_DATA), 0, 0, 0],
        }
    )
    stars = summarize_stars(visits)
    assert stars["star_id"].to_list() == ["a", "b", "c"]
    assert stars["n_visits"].to_list() == [1, 1, 0]
    assert_allclose(stars["rv_mean"], [1.0, 2.0, np.nan])
    for name in ("rv_scatter", "rv_intrinsic", "chi2", "p_constant"):
        assert stars[name].is_nan().all()
    for name in ("constant", "variable", "double_lined"):
        assert not stars[name].any()


def test_double_lined_is_independent_of_the_rest():
    visits = survey(stars=20, variable=0.2).with_columns(
        status=pl.when(pl.int_range(pl.len()).is_in([3, 100]))
        .then(int(Status.DOUBLE_LINED))
        .otherwise(0)
    )
    stars = summarize_stars(visits)
    assert np.flatnonzero(stars["double_lined"]).tolist() == [0, 16]
    second = survey(stars=20).with_columns(
        rv_2=pl.when(pl.int_range(pl.len()) == 3).then(50.0)
    )
    assert np.flatnonzero(summarize_stars(second)["double_lined"]).tolist() == [0]


def test_repeated_and_flagged_visits_do_not_count():
    visits = survey(stars=4).with_columns(status=pl.lit(0))
    extra = pl.concat(
        [
            visits.head(3).with_columns(status=pl.lit(int(Status.DUPLICATE))),
            visits.head(3).with_columns(
                status=pl.lit(int(Status.TWO_MINIMA)), rv=pl.lit(1e3)
            ),
        ]
    )
    assert_frame_equal(
        summarize_stars(pl.concat([visits, extra])), summarize_stars(visits)
    )


def test_relative_velocities_are_compared_within_their_zero():
    one = survey(stars=60).with_columns(
        arm=pl.lit("red"), reference_visit_id="r" + pl.col("star_id")
    )
    other = survey(7, stars=60)
    away = one.with_columns(
        arm=pl.lit("blue"),
        reference_visit_id="b" + pl.col("star_id"),
        rv=other["rv"] + 500.0,
        rv_err=other["rv_err"],
    )
    both = summarize_stars(pl.concat([one, away]))
    parts = [summarize_stars(v) for v in (one, away)]
    assert_allclose(both["chi2"], parts[0]["chi2"] + parts[1]["chi2"])
    assert not both["variable"].any()
    # As velocities on one scale they differ by 500 km/s: the control.
    tied = pl.concat([one, away]).drop("reference_visit_id")
    assert summarize_stars(tied)["variable"].all()


def test_what_all_visits_share_is_no_variability():
    visits = survey(stars=300, variable=0.3, width=0.7)
    vague = visits.with_columns(
        rv_err=(pl.col("rv_err") ** 2 + 2.0**2).sqrt(),
        correction_common_err=pl.lit(2.0),
    )
    sharp, blurred = summarize_stars(visits), summarize_stars(vague)
    assert_allclose(blurred["chi2"], sharp["chi2"])
    assert blurred["variable"].to_list() == sharp["variable"].to_list()
    assert_allclose(blurred["rv_mean_err"], np.hypot(sharp["rv_mean_err"], 2.0))
    # Errors that are each visit's own would hide the variables: the control.
    own = vague.drop("correction_common_err")
    assert summarize_stars(own)["variable"].sum() < 0.1 * sharp["variable"].sum()


def test_the_order_of_rows_does_not_matter():
    visits = survey(stars=50, variable=0.2)
    shuffled = visits.sample(fraction=1.0, shuffle=True, seed=1)
    a, b = summarize_stars(visits), summarize_stars(shuffled)
    assert_frame_equal(a, b, rel_tol=1e-6, abs_tol=1e-9)


def test_uncalibrated_tables_are_summarized_as_they_are():
    visits = survey(stars=10)
    raw = visits.rename({"rv": "rv_raw", "rv_err": "rv_raw_err"})
    assert_frame_equal(summarize_stars(raw), summarize_stars(visits))


def test_positions_across_the_meridian_are_averaged():
    visits = pl.DataFrame(
        {"star_id": ["a", "a"], "ra": [359.9999, 0.0001], "dec": [10.0, 10.0]}
    ).with_columns(rv=pl.lit(1.0), rv_err=pl.lit(0.1))
    ra = summarize_stars(visits)["ra"][0]
    assert min(ra, 360 - ra) < 1e-9


@pytest.mark.parametrize("missing", ["star_id", "rv"])
def test_a_missing_column_is_named(missing):
    with pytest.raises(ValueError, match="The table has no"):
        summarize_stars(survey(stars=2).drop(missing))


def test_an_empty_table_has_no_stars():
    assert summarize_stars(survey(stars=1).clear()).is_empty()


def test_a_rate_outside_zero_and_one_is_refused():
    with pytest.raises(ValueError, match="false_discovery_rate"):
        SummaryOptions(1.5)


def test_discoveries_step_up():
    p = np.array([0.04, 0.001, np.nan, 0.012, 0.9])
    # Of 4 p-values: 0.001 <= 0.0125, 0.012 <= 0.025, 0.04 > 0.0375.
    assert discoveries(p, 0.05).tolist() == [False, True, False, True, False]
    # 0.03 alone exceeds its limit of 0.025, but 0.04 <= 0.05 takes it along.
    assert discoveries(np.array([0.03, 0.04]), 0.05).tolist() == [True, True]
    assert not discoveries(np.array([]), 0.05).any()


def test_the_mean_is_of_absolute_velocities_and_all_else_of_relative_ones():
    relative = survey().with_columns(
        visit_id=pl.int_range(pl.len()),
        method=pl.lit("joint"),
        reference_visit_id=pl.col("star_id").cast(pl.String),
    )
    absolute = relative.with_columns(
        method=pl.lit("marginal"),
        reference_visit_id=pl.lit(None, pl.String),
        rv=pl.col("rv") + 40.0,
        rv_err=pl.col("rv_err") * 2,
    )
    alone = summarize_stars(relative)
    both = summarize_stars(pl.concat([absolute, relative]))
    means = ["rv_mean", "rv_mean_err"]
    assert_frame_equal(both.drop(means), alone.drop(means))
    assert_allclose(both["rv_mean"] - alone["rv_mean"], 40.0)
    assert_allclose(both["rv_mean_err"] / alone["rv_mean_err"], 2.0)


def test_the_error_of_an_absolute_mean_says_that_the_arms_disagree():
    one = survey(stars=40).with_columns(
        visit_id=pl.int_range(pl.len()),
        method=pl.lit("joint"),
        reference_visit_id=pl.col("star_id").cast(pl.String),
        arm=pl.when(pl.int_range(pl.len()) % 2 == 0)
        .then(pl.lit("blue"))
        .otherwise(pl.lit("red")),
    )
    off = pl.when(pl.col("arm") == "red").then(6.0).otherwise(0.0)
    other = one.with_columns(
        method=pl.lit("marginal"),
        reference_visit_id=pl.lit(None, pl.String),
        rv=pl.col("rv") + off,
    )
    same = other.with_columns(rv=pl.col("rv") - off)
    agree, differ = (summarize_stars(pl.concat([one, t])) for t in (same, other))
    # Two means that are 6 km/s apart: theirs is known to about 3.
    assert differ["rv_mean_err"].min() > 1.5
    assert differ["rv_mean_err"].median() == pytest.approx(3.0, rel=0.2)
    assert agree["rv_mean_err"].median() < 0.2


def test_sums_of_exposures_count_where_there_is_nothing_else():
    one = survey(stars=20).with_columns(
        visit_id=pl.int_range(pl.len()),
        method=pl.lit("joint"),
        reference_visit_id=pl.col("star_id").cast(pl.String),
        status=pl.lit(0),
    )
    other = one.with_columns(
        method=pl.lit("marginal"), reference_visit_id=pl.lit(None, pl.String)
    )
    only = pl.col("star_id") < "s0010"
    coadd = pl.when(only | (pl.col("visit_id") % 6 == 0)).then(int(Status.COADD))
    both = pl.concat([one, other]).with_columns(status=coadd.otherwise(0))
    stars = summarize_stars(both)
    every = other.group_by("star_id", maintain_order=True).agg(
        mean=(pl.col("rv") / pl.col("rv_err") ** 2).sum()
        / (1 / pl.col("rv_err") ** 2).sum()
    )
    lonely = (stars["star_id"] < "s0010").to_numpy()
    assert_allclose(stars["rv_mean"].to_numpy()[lonely], every["mean"].to_numpy()[:10])
    exposures = other.filter(pl.col("visit_id") % 6 != 0)
    mean = exposures.group_by("star_id", maintain_order=True).agg(
        mean=(pl.col("rv") / pl.col("rv_err") ** 2).sum()
        / (1 / pl.col("rv_err") ** 2).sum()
    )
    assert_allclose(stars["rv_mean"].to_numpy()[~lonely], mean["mean"].to_numpy()[10:])
    assert (stars["n_visits"].to_numpy()[lonely] == 0).all()


def test_zero_points_widen_the_scatter_of_raw_velocities_only():
    visits = survey(stars=2000, visits=5).with_columns(rv_err=pl.lit(0.2))
    rng = np.random.default_rng(8)
    zero = pl.Series(rng.normal(0, 0.6, len(visits)))
    visits = visits.with_columns(
        rv=survey(stars=2000, visits=5)["rv"], rv_raw=pl.col("rv") + zero
    )
    stars = summarize_stars(visits)
    added = stars["rv_raw_scatter"].pow(2).mean() - stars["rv_scatter"].pow(2).mean()
    # 10 000 offsets of 0.6 km/s; the raw scatter is about a mean that is known.
    assert np.sqrt(added) == pytest.approx(0.6, rel=0.1)
    alone = summarize_stars(visits.drop("rv_raw"))
    assert_allclose(alone["rv_scatter"], stars["rv_scatter"])
    assert alone["rv_raw_scatter"].mean() < 0.5 * stars["rv_raw_scatter"].mean()
