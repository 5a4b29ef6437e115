import weakref
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.visitsums import Groups
from steadystar.data import schema
from steadystar.data.status import Status
from steadystar.infer import variability, variability_covariance
from steadystar.infer.summary import discoveries, summarize_stars
from steadystar.infer.variability import (
    VariabilityOptions,
    find_variables,
    q_values,
)
from steadystar.infer.variability_covariance import Shared, exact_covariance

BY_FIBER = VariabilityOptions(by=("fiber",))


def survey(seed=0, stars=300, most=12, width=0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(stars), rng.integers(2, most + 1, stars))
    err = 0.3 * np.exp(rng.normal(0, 0.4, len(star)))
    extra = np.where(np.arange(stars) % 3 == 0, width, 0.0)[star]
    rv = rng.normal(0, 30, stars)[star] + rng.normal(size=len(star)) * np.hypot(
        err, extra
    )
    return pl.DataFrame(
        {
            "star_id": [f"s{i:04d}" for i in star],
            "visit_id": [f"v{i}" for i in range(len(star))],
            "bjd": 2_458_000 + rng.uniform(0, 500, len(star)),
            "rv": rv,
            "rv_err": err,
        }
    )


def through_fibers(seed=0, stars=60, unknown=0.2, width=0.0):
    """Stars through two to four fibers whose zero points have errors, or are not known."""
    rng = np.random.default_rng([seed, 5])
    star = np.repeat(np.arange(stars), rng.integers(3, 13, stars))
    fiber = 4 * star + rng.integers(0, 4, len(star))
    error = rng.uniform(0.2, 0.6, 4 * stars)
    known = rng.random(4 * stars) >= unknown
    true = rng.normal(0, 0.5, 4 * stars)
    offset = np.where(known, true + error * rng.normal(size=4 * stars), np.nan)
    zero = ZeroPoints(
        by=(("fiber",),),
        method="joint",
        offsets={
            "fiber": pl.DataFrame(
                {
                    "fiber": np.arange(4 * stars),
                    "offset": offset,
                    "offset_err": np.where(known, error, np.nan),
                    "status": np.where(known, 0, int(Status.UNCALIBRATED)),
                }
            )
        },
        stars=pl.DataFrame(),
        prior_widths={"fiber": 0.5},
        covariance=OffsetCovariance.diagonal(np.where(known, error**2, np.nan)),
    )
    noise = 0.2 * np.exp(rng.normal(0, 0.3, len(star)))
    rv = true[fiber] + np.hypot(noise, width) * rng.normal(size=len(star))
    visits = pl.DataFrame(
        {"star_id": star, "fiber": fiber, "rv_raw": rv, "rv_raw_err": noise}
    )
    sigma = np.where(known, error, 0.5)[fiber]
    return zero.apply(visits), zero, sigma


def twin(visits: pl.DataFrame, sigma: np.ndarray) -> list[dict]:
    """Return chi2, the largest difference and ln L of the scatter, star by star."""
    rows = []
    for one in visits["star_id"].unique().sort():
        mine = (visits["star_id"] == one).to_numpy()
        v, n = visits["rv"].to_numpy()[mine], mine.sum()
        fiber, s = visits["fiber"].to_numpy()[mine], sigma[mine]
        noise = np.diag(visits["rv_raw_err"].to_numpy()[mine] ** 2)
        full = noise + np.outer(s, s) * (fiber[:, None] == fiber)

        def parts(tau, v=v, n=n, full=full):
            inverse = np.linalg.inv(full + tau**2 * np.eye(n))
            mean = inverse.sum(axis=0) @ v / inverse.sum()
            chi2 = (v - mean) @ inverse @ (v - mean)
            return chi2, 0.5 * (
                np.linalg.slogdet(inverse)[1] - np.log(inverse.sum()) - chi2
            )

        best = max(
            (
                abs(v[i] - v[j]) / np.sqrt(full[i, i] + full[j, j] - 2 * full[i, j]),
                abs(v[i] - v[j]),
            )
            for i in range(n)
            for j in range(i)
        )
        tau = np.linspace(0, 2, 201)
        log = np.array([parts(t)[1] for t in tau])
        near = tau[log > log.max() - 0.5]
        rows.append(
            {
                "chi2": parts(0.0)[0],
                "rv_max_difference_snr": best[0],
                "rv_max_difference": best[1],
                "rv_intrinsic": tau[np.argmax(log)],
                "rv_intrinsic_low": near[0],
                "rv_intrinsic_high": near[-1],
            }
        )
    return rows


@pytest.mark.parametrize("how", ["columns", "matrices"])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_sums_over_groups_equal_a_dense_covariance_star_by_star(how, unknown):
    visits, zero, sigma = through_fibers(unknown=unknown, stars=15, width=0.3)
    if how == "columns":
        found = find_variables(visits, BY_FIBER)
    else:
        found = find_variables(visits, zeropoints=zero)
    slow = pl.DataFrame(twin(visits, sigma))
    # Velocities and variances are of order one: sums in another order, 1e-9 of them.
    for name in ("chi2", "rv_max_difference_snr", "rv_max_difference"):
        assert_allclose(found[name], slow[name], rtol=1e-7)
    # The twin's steps are 0.01 km/s wide.
    for name in ("rv_intrinsic", "rv_intrinsic_low", "rv_intrinsic_high"):
        assert_allclose(found[name], slow[name], atol=0.012)
    assert (slow["rv_intrinsic_low"] > 0).any()
    assert (slow["rv_intrinsic"] == 0).any()


def test_what_all_zero_points_have_in_common_is_found_in_the_table():
    # Fibers tied to each other better than to the rest: one error of 0.7 km/s for all.
    visits, zero, _ = through_fibers(unknown=0.0, stars=40)
    matrix = zero.covariance.matrix(np.arange(160)) + 0.7**2
    tied = replace(
        zero, covariance=OffsetCovariance(160, [np.arange(160)], [matrix], [False])
    )
    visits = tied.apply(visits.drop("rv", "rv_err"))
    found, exact = (
        find_variables(visits, BY_FIBER),
        find_variables(visits, zeropoints=tied),
    )
    # The common error is taken out of sums of squares, which costs digits.
    for name in ("chi2", "rv_max_difference_snr"):
        assert_allclose(found[name], exact[name], rtol=1e-6)
    # And it is not noticed, whatever it is.
    alone = find_variables(zero.apply(visits.drop("rv", "rv_err")), BY_FIBER)
    assert_allclose(found["chi2"], alone["chi2"], rtol=1e-6)


def test_visits_that_share_nothing_are_judged_as_in_the_summary():
    visits = survey(stars=600, width=1.0)
    found, stars = find_variables(visits), summarize_stars(visits)
    assert found["star_id"].to_list() == stars["star_id"].to_list()
    assert_allclose(found["chi2"], stars["chi2"], rtol=1e-9, atol=1e-12)
    for name in ("n_visits", "rv_mean", "rv_mean_err", "p_constant", "variable"):
        assert_frame_equal(found.select(name), stars.select(name))
    assert 50 < found["variable"].sum() < 250
    # Groups of one visit each share nothing either.
    alone = visits.with_columns(
        correction_err=pl.col("rv_err") / 2, fiber=pl.int_range(pl.len())
    )
    assert_frame_equal(find_variables(alone, BY_FIBER), found)


def test_the_table_keeps_the_contract():
    found = find_variables(survey(stars=5))
    assert found.schema == schema.empty("variables").schema
    for name in ("constant", "variable", "double_lined", "class", "evidence"):
        assert found[name].null_count() == 0


def test_an_unknown_zero_point_that_a_group_shares_makes_no_variable():
    # Ten visits through one fiber and ten through another, 1 km/s apart, noise 0.1;
    # neither zero point is known better than 0.5 km/s.
    rng = np.random.default_rng(1)
    fiber = np.repeat([1, 2], 10)
    visits = pl.DataFrame(
        {
            "star_id": ["a"] * 20,
            "fiber": fiber,
            "rv": (fiber == 2) * 1.0 + rng.normal(0, 0.1, 20),
            "rv_err": np.full(20, np.hypot(0.1, 0.5)),
            "correction_err": np.full(20, 0.5),
        }
    )
    shared = find_variables(visits, BY_FIBER).row(0, named=True)
    assert shared["p_value"] > 0.05
    # A star that moves within a fiber is found though its zero point is unknown.
    moved = visits.with_columns(rv=pl.col("rv") + 1.0 * (pl.int_range(20) % 2))
    assert find_variables(moved, BY_FIBER)["p_value"][0] < 1e-10
    # The control takes 0.5 km/s for the error of every visit, and sees little.
    assert find_variables(moved)["p_value"][0] > 1e-3


def test_scatter_limits_hold_the_truth_as_often_as_they_say():
    visits = survey(4, stars=1500, most=20, width=0.6)
    found = find_variables(visits)[::3]
    inside = (found["rv_intrinsic_low"] <= 0.6) & (found["rv_intrinsic_high"] >= 0.6)
    # 500 stars: 68% within 2.1%; few visits make the likelihood a little narrow.
    assert inside.mean() == pytest.approx(0.68, abs=0.06)
    still = find_variables(survey(5, stars=400, most=20))
    assert (still["rv_intrinsic_low"] == 0).mean() > 0.75
    assert (still["rv_intrinsic_high"] > 0).all()


def test_double_lined_spectra_are_counted_and_do_not_enter():
    visits = survey(stars=30, most=8)
    first = visits["star_id"].is_first_distinct()
    moved = visits.with_columns(
        rv=pl.when(first).then(pl.col("rv") + 40).otherwise("rv"),
        status=pl.when(first).then(int(Status.DOUBLE_LINED)).otherwise(0),
    )
    found = find_variables(moved)
    assert found["n_double_lined"].to_list() == [1] * 30
    assert found["double_lined"].all()
    rest = find_variables(visits.filter(~first))
    judged = rest["star_id"].to_list()
    again = found.filter(pl.col("star_id").is_in(judged))
    for name in ("n_visits", "chi2", "rv_mean", "p_constant", "rv_intrinsic"):
        assert_allclose(again[name], rest[name], rtol=1e-9, atol=1e-9)
    assert found["evidence"].str.contains("lines of two stars in only 1 visit").all()
    asked = find_variables(moved, VariabilityOptions(use_double_lined=True))
    several = asked.filter(pl.col("dof") > 0)
    assert several["variable"].all()
    assert several["n_double_lined"].min() == 1


def test_q_values_are_the_rates_at_which_stars_are_discovered():
    p = np.r_[np.random.default_rng(0).random(50), [1e-5, 1e-3, 1e-3, np.nan, 2e-4]]
    q = q_values(p)
    assert np.isnan(q[-2])
    for rate in (0.001, 0.01, 0.05, 0.3):
        assert_allclose(np.nan_to_num(q, nan=2) <= rate, discoveries(p, rate))


def test_stars_without_a_comparison_keep_their_rows():
    visits = pl.DataFrame(
        {
            "star_id": ["a", "b", "b", "c", "c"],
            "rv": [1.0, 2.0, np.nan, None, 5.0],
            "rv_err": [0.1, 0.1, 0.1, 0.1, 0.0],
            "status": [0, 0, int(Status.NO_DATA), 0, 0],
        }
    )
    found = find_variables(visits)
    assert found["n_visits"].to_list() == [1, 1, 0]
    for name in ("chi2", "p_value", "rv_intrinsic", "p_max_difference"):
        assert found[name].is_nan().all()
    assert found["class"].to_list() == ["uncertain"] * 3
    assert found["evidence"].to_list() == [
        "1 visit: nothing to compare",
        "1 visit: nothing to compare",
        "no visit can be used",
    ]
    assert len(find_variables(visits.head(0))) == 0


def test_nights_are_counted_by_name_or_by_gaps():
    visits = pl.DataFrame(
        {
            "star_id": ["a"] * 5,
            "bjd": [2_458_000.3, 2_458_000.6, 2_458_001.3, 2_458_009.4, None],
            "rv": [1.0] * 5,
            "rv_err": [0.1] * 5,
        }
    )
    star = find_variables(visits).row(0, named=True)
    assert (star["n_nights"], star["n_visits"]) == (3, 5)
    assert star["baseline"] == pytest.approx(9.1)
    named = visits.with_columns(night=pl.Series([1, 2, 3, 4, 5]))
    assert find_variables(named)["n_nights"][0] == 5


def test_relative_velocities_are_compared_within_their_zero():
    one = survey(stars=60).with_columns(
        arm=pl.lit("red"), reference_visit_id="r" + pl.col("star_id")
    )
    away = one.with_columns(
        arm=pl.lit("blue"),
        reference_visit_id="b" + pl.col("star_id"),
        rv=pl.col("rv") + 500.0,
        visit_id="b" + pl.col("visit_id"),
    )
    alone, both = find_variables(one), find_variables(pl.concat([one, away]))
    assert_allclose(both["chi2"], 2 * alone["chi2"])
    assert_allclose(both["rv_max_difference_snr"], alone["rv_max_difference_snr"])
    # Two arms have twice the chances.
    p = alone["p_max_difference"].to_numpy()
    assert_allclose(both["p_max_difference"], 1 - (1 - p) ** 2, atol=1e-9)


def test_temperatures_come_from_labels_and_are_tested():
    rng = np.random.default_rng(2)
    visits = survey(stars=40, most=12, width=3.0)
    mean = visits.select(pl.col("rv").mean().over("star_id")).to_series()
    pulsates = visits["star_id"].is_in(["s0000", "s0003", "s0006"])
    teff = 7000 + 100 * (visits["rv"] - mean) * pulsates
    labels = visits.select("visit_id").with_columns(
        teff=teff + pl.Series(rng.normal(0, 20, len(visits))), teff_err=pl.lit(20.0)
    )
    found = find_variables(visits, labels=labels).filter(pl.col("dof") > 3)
    moved = found["star_id"].is_in(["s0000", "s0003", "s0006"])
    assert found.filter(moved)["p_teff_constant"].max() < 1e-6
    assert found.filter(moved)["teff_rv_correlation"].min() > 0.9
    assert found.filter(~moved)["p_teff_constant"].min() > 1e-4
    with pytest.raises(ValueError, match="no column teff_err"):
        find_variables(visits, labels=labels.drop("teff_err"))


def test_covariances_are_held_for_some_stars_at_a_time(monkeypatch):
    visits, zero, _ = through_fibers(stars=60)
    whole = find_variables(visits, BY_FIBER), find_variables(visits, zeropoints=zero)
    sizes = []
    covariance = Shared.covariance

    def counted(self, rows):
        sizes.append(rows.size * rows.shape[1])
        return covariance(self, rows)

    held = []

    def forgotten(*arguments):
        for rows, matrix in exact_covariance(*arguments):
            held.append(weakref.ref(matrix))
            yield rows, matrix
            del rows, matrix
            # The caller has the last one until it asks for the next, and no other.
            assert sum(one() is not None for one in held) <= 1

    monkeypatch.setattr(variability_covariance, "_CELLS", 300)
    monkeypatch.setattr(Shared, "covariance", counted)
    monkeypatch.setattr(variability, "exact_covariance", forgotten)
    parts = find_variables(visits, BY_FIBER), find_variables(visits, zeropoints=zero)
    assert max(sizes) <= 300
    assert len(held) > 10
    for one, other in zip(parts, whole, strict=True):
        # Sums of other shapes: rounding.
        assert_frame_equal(one.drop("evidence"), other.drop("evidence"), rel_tol=1e-9)


def two_arms(seed=6, stars=200, offset=60.0):
    """Variable stars of constant temperature, of which the red arm says 60 K less."""
    rng = np.random.default_rng(seed)
    star, visit, arm = (grid.ravel() for grid in np.mgrid[:stars, :5, :2])
    rv = np.repeat(rng.normal(0, 5, (stars, 5)).ravel(), 2)
    teff_err = np.where(arm, 30.0, 10.0)
    return pl.DataFrame(
        {
            "star_id": star,
            "visit_id": [
                f"{s}-{v}-{a}" for s, v, a in zip(star, visit, arm, strict=True)
            ],
            "bjd": 2_458_000.0 + visit * 7.3,
            "arm": np.where(arm, "red", "blue"),
            "rv": rv + 0.5 * arm + rng.normal(0, 0.2, len(star)),
            "rv_err": np.full(len(star), 0.2),
            "teff": 6000 - offset * arm + teff_err * rng.normal(size=len(star)),
            "teff_err": teff_err,
        }
    )


def test_arms_that_disagree_on_the_temperature_make_no_pulsator():
    visits = two_arms()
    found = find_variables(visits)
    assert found["variable"].all()
    assert found["n_teff"].to_list() == [10] * 200
    for name in ("p_teff_constant", "p_teff_rv"):
        # 200 chances of no effect: standard error of the share 0.035.
        assert (found[name] < 0.5).mean() == pytest.approx(0.5, abs=0.12)
        assert (found[name] < 0.05).sum() <= 22
    assert (found["class"] == "likely pulsator").sum() <= 2
    # The offset is nowhere in the answer.
    same = find_variables(two_arms(offset=0.0))
    for name in ("p_teff_constant", "teff_rv_correlation"):
        assert_allclose(found[name], same[name], rtol=1e-6, atol=1e-9)
    # The control: without the names of arms many temperatures are not constant.
    blind = find_variables(visits.drop("arm"))
    assert (blind["p_teff_constant"] < 0.001).mean() > 0.3
    one = find_variables(visits.filter(pl.col("bjd") == pl.col("bjd").min()))
    assert one["p_teff_constant"].is_nan().all()
    assert one["p_teff_rv"].is_nan().all()


def test_a_bad_temperature_weighs_little_in_the_correlation():
    visits = two_arms(stars=1).filter(pl.col("arm") == "blue")
    pulsates = visits.with_columns(teff=6000 + 30 * pl.col("rv"))
    bad = pl.int_range(pl.len()) == 2
    spoiled = pulsates.with_columns(
        teff=pl.when(bad).then(9000.0).otherwise("teff"),
        teff_err=pl.when(bad).then(1e4).otherwise("teff_err"),
    )
    assert find_variables(spoiled)["teff_rv_correlation"][0] > 0.9
    equal = spoiled.with_columns(teff_err=pl.lit(10.0))
    assert find_variables(equal)["teff_rv_correlation"][0] < 0.9


def test_what_cannot_be_done_says_why():
    visits = survey(stars=3).with_columns(correction_err=pl.lit(0.1))
    with pytest.raises(ValueError, match="no column fiber, by which errors"):
        find_variables(visits, BY_FIBER)
    with pytest.raises(ValueError, match=r"false_discovery_rate = 1\.5 is no rate"):
        VariabilityOptions(1.5)


def _of_zeros_one_by_one(rows, covariance, zero):
    """The slow twin: every zero of every star has a turn of its own."""
    found = {}
    for mine, matrix in zip(rows, covariance, strict=True):
        for one in np.unique(zero[mine]):
            at = np.flatnonzero(zero[mine] == one)
            found[int(one)] = mine[at].tolist(), matrix[np.ix_(at, at)]
    return found


def test_zeros_of_many_stars_are_taken_together_as_one_by_one():
    rng = np.random.default_rng(9)
    rows = rng.permutation(40 * 6).reshape(40, 6)
    # One to three zeros a star, in any order of the visits.
    zero = np.empty(rows.size, int)
    for number, mine in enumerate(rows):
        zero[mine] = 3 * number + rng.integers(0, 1 + number % 3, 6)
    covariance = rng.normal(size=(40, 6, 6))
    groups = Groups(zero, np.repeat(np.arange(40), 3), 40)
    wanted = _of_zeros_one_by_one(rows, covariance, zero)
    parts = list(variability._of_zeros([(rows, covariance)], groups))
    assert len(parts) < len(wanted) / 1.5
    found = {
        int(zero[mine[0]]): (mine.tolist(), matrix)
        for visits, matrices in parts
        for mine, matrix in zip(visits, matrices, strict=True)
    }
    assert found.keys() == wanted.keys()
    for one, (visits, matrix) in wanted.items():
        assert found[one][0] == visits
        assert np.array_equal(found[one][1], matrix)
