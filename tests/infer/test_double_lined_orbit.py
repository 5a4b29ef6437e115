"""Orbits of pairs: mass ratio without an orbit, exchanged stars, published orbits."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steadystar.infer.double_lined_candidates import Candidate
from steadystar.infer.double_lined_exchange import by_sign, ln_odds
from steadystar.infer.double_lined_orbit import DoubleLinedOptions, fit_double_lined
from steadystar.infer.double_lined_pair import pair_of
from steadystar.infer.double_lined_tables import (
    best_of_modes,
    modes_table,
    summary_of,
)
from steadystar.infer.orbit import fit_orbit
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import RefinementOptions, refine_curves
from steadystar.infer.orbit_summary import status_of
from steadystar.infer.star_visits import usable_visits
from steadystar.infer.wilson import mass_ratio

_FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(
        "double_lined", _FOLDER / "double_lined.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FEW = OrbitOptions(n_samples=256, min_period=2.0, max_period=60.0)
QUICK = DoubleLinedOptions(starts=8)


def table(data: dict, swap=None) -> pl.DataFrame:
    swap = np.zeros(len(data["t"]), bool) if swap is None else swap
    return pl.DataFrame(
        {
            "star_id": "pair",
            "bjd": data["t"],
            "rv": np.where(swap, data["rv_2"], data["rv"]),
            "rv_err": np.where(swap, data["err_2"], data["err"]),
            "rv_2": np.where(swap, data["rv"], data["rv_2"]),
            "rv_2_err": np.where(swap, data["err"], data["err_2"]),
        }
    )


def test_wilsons_line_has_honest_errors():
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(300):
        motion = rng.uniform(-1, 1, 12)
        err, err_2 = rng.uniform(0.3, 1, 12), rng.uniform(0.5, 3, 12)
        rv = 5 + 30 * motion + err * rng.normal(size=12)
        rv_2 = 5 - 40 * motion + err_2 * rng.normal(size=12)
        line = mass_ratio(rv, err, rv_2, err_2)
        pulls.append([(line.q - 0.75) / line.q_err, (line.gamma - 5) / line.gamma_err])
    # A width from 300 is known to 4%.
    np.testing.assert_allclose(np.std(pulls, axis=0), 1, atol=0.15)
    assert (np.abs(np.mean(pulls, axis=0)) < 0.2).all()


def test_wilsons_line_finds_who_changed_places():
    rng = np.random.default_rng(2)
    motion = rng.uniform(-1, 1, 20)
    one, two = 5 + 30 * motion, 5 - 60 * motion
    swap = rng.uniform(size=20) < 0.3
    rv, rv_2 = np.where(swap, two, one), np.where(swap, one, two)
    line = mass_ratio(rv, np.full(20, 0.1), rv_2, np.full(20, 0.1), exchange=True)
    assert line.q == pytest.approx(0.5, abs=0.01)
    apart = np.abs(one - two) > 3
    assert (line.exchanged == swap)[apart].all()
    with pytest.raises(ValueError, match="two at least"):
        mass_ratio(rv[:1], rv[:1], rv_2[:1], rv_2[:1])


def test_wilsons_line_knows_zeros_of_instruments_that_move_both_velocities():
    rng = np.random.default_rng(3)
    motion, arm = rng.uniform(-1, 1, 40), np.arange(40) % 2
    off, err = 6.0 * arm, np.full(40, 0.3)
    rv = 5 + 30 * motion + off + err * rng.normal(size=40)
    rv_2 = 5 - 60 * motion + off + err * rng.normal(size=40)
    blind = mass_ratio(rv, err, rv_2, err)
    free = mass_ratio(rv, err, rv_2, err, family=arm, sigma=np.array([1e4]))
    held = mass_ratio(rv, err, rv_2, err, family=arm, sigma=np.array([1e-6]))
    # Within 4 sigma: 0.01 in q, 0.07 km/s in the zero.
    assert free.q == pytest.approx(0.5, abs=4 * free.q_err)
    assert free.gamma == pytest.approx(5, abs=4 * free.gamma_err)
    assert free.offsets == pytest.approx([0, 6], abs=0.4)
    assert free.chi2 < 2 * free.dof < 0.1 * blind.chi2
    assert free.dof == blind.dof - 1
    # A zero that is known to be none is none.
    assert (held.q, held.chi2) == pytest.approx((blind.q, blind.chi2), rel=1e-6)


@pytest.fixture(scope="module")
def in_two_arms(mock):
    """The visits in two arms; one of each five shows a blend."""
    bare = pl.int_range(pl.len()) % 5 == 1
    pair, _ = pair_of(
        usable_visits(
            table(mock[1]).with_columns(
                arm=pl.Series(["blue", "red"] * 8),
                light_ratio=pl.lit(0.25),
                rv_2=pl.when(bare).then(float("nan")).otherwise("rv_2"),
            )
        ),
        OrbitOptions(offset_by=("arm",)),
        DoubleLinedOptions(single="blend"),
    )
    return pair


def test_a_blend_has_the_light_of_both_and_an_error_of_its_own(mock, in_two_arms):
    blend = ~in_two_arms.both
    assert blend.sum() == 3
    # A quarter of the first star's light is a fifth of all; 3 km/s by default.
    expected = np.where(blend, 0.2, 0.0)
    np.testing.assert_allclose(in_two_arms.share_2, expected, rtol=1e-12)
    err = np.hypot(mock[1]["err"], np.where(blend, 3.0, 0.0))
    np.testing.assert_allclose(in_two_arms.err, err, rtol=1e-12)


def test_a_pair_turned_is_that_of_exchanged_columns(mock, in_two_arms):
    some = np.arange(16) % 3 == 0
    turned, data = in_two_arms.turned(some), mock[1]
    both = in_two_arms.both & some
    for name, other in (("rv", "rv_2"), ("err", "err_2")):
        assert (getattr(turned, name)[both] == data[other][both]).all()
        assert (getattr(turned, other)[both] == data[name][both]).all()
        rest = in_two_arms.both & ~some
        assert (getattr(turned, name)[rest] == data[name][rest]).all()
    # A blend stays one; the other star has the other share of its light.
    blend = some & ~in_two_arms.both
    assert blend.any()
    assert (turned.share_2 + in_two_arms.share_2)[blend] == pytest.approx(1.0)
    assert (turned.rv == in_two_arms.rv)[blend].all()
    again = turned.turned(some)
    for name in ("rv", "err", "rv_2", "err_2", "share_2"):
        ours, theirs = getattr(again, name), getattr(in_two_arms, name)
        # One less one less a share is rounded.
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_signs_of_a_search_tell_who_is_exchanged_whichever_star_is_first(mock):
    pair, _ = pair_of(usable_visits(table(mock[1])), FEW, QUICK)
    swap = np.isin(np.arange(16), [2, 5, 6, 11])
    high = pair.rv > pair.rv_2
    for found in (high, ~high):
        assert (by_sign(pair.turned(swap), found) == swap).all()


def test_an_exchange_costs_what_is_thought_of_it_before():
    two = np.arange(16) < 2
    rare = DoubleLinedOptions(exchange_share=0.1)
    assert ln_odds(two, rare) == pytest.approx(-2 * np.log(9))
    assert ln_odds(two, DoubleLinedOptions(assignment="free")) == 0


def test_an_orbit_predicts_the_curves_that_it_was_fitted_to(in_two_arms):
    curves = in_two_arms.curves()
    start = {"period": 20.0, "e": 0.3, "omega": 1.0, "t_peri": 2458010.0}
    found = refine_curves(curves, start, RefinementOptions(steps=5))
    first, both = in_two_arms.share_2 == 0, in_two_arms.both
    model = curves.model(found.numbers)[0]
    for second, rows in ((0.0, first), (1.0, both)):
        expected = model[curves.second == second]
        mine = found.predicted(in_two_arms.t[rows], second, in_two_arms.family[rows])
        np.testing.assert_allclose(mine, expected, rtol=1e-12)


@pytest.fixture(scope="module")
def mock(benchmark):
    return benchmark.mock_pair(np.random.default_rng(11), visits=16)


@pytest.fixture(scope="module")
def plain(mock):
    return fit_double_lined(table(mock[1]), FEW, QUICK)


def test_a_pair_gets_its_orbit(mock, plain):
    truth = mock[0]
    row = plain.summary
    assert row["orbit_status"] == "good"
    for name in ("period", "e", "k", "k_2", "v0"):
        half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
        # Five numbers within 3.5 sigma.
        assert row[name] == pytest.approx(truth[name], abs=3.5 * half), name
    assert row["mass_ratio"] == pytest.approx(truth["k"] / truth["k_2"], rel=0.1)
    assert row["m_2_sin3_i"] / row["m_sin3_i"] == pytest.approx(
        row["mass_ratio"], rel=1e-2
    )
    assert row["a_2_sin_i"] > 0
    assert plain.wilson.q == pytest.approx(row["mass_ratio"], rel=0.1)
    assert len(plain.samples) == 256
    assert plain.modes["share"][0] > 0.99
    assert not plain.exchanged.any()


def test_a_pairs_row_says_how_its_samples_came_about(plain):
    assert plain.summary["method"] == "importance"
    told = {}
    for worth, converged in ((500.0, True), (50.0, True), (500.0, False)):
        best = replace(plain.best, converged=converged)
        row = summary_of("pair", 16, plain.samples, best, FEW, worth)
        told[worth, converged] = row["orbit_status"]
    assert told == {
        (500.0, True): "good",
        (50.0, True): "few samples",
        (500.0, False): "the fit did not settle",
    }
    narrow = replace(FEW, max_period=float(plain.summary["period"] * 1.05))
    row = summary_of("pair", 16, plain.samples, plain.best, narrow, 500.0)
    assert row["orbit_status"] == "at the limit of the periods"
    # A jitter that drowns one star's orbit may leave the other's.
    for k_2, said in ((30.0, "good"), (1.5, "scatter beyond the orbit")):
        loud = plain.summary | {"k": 1.0, "k_2": k_2, "jitter": 0.9}
        assert status_of(loud, FEW, few=False) == said


def test_modes_of_a_pair_are_those_of_its_samples(plain):
    """A third of the samples in step with another period, that fits better at its best."""
    period = plain.summary["period"]
    other = pl.int_range(pl.len()) % 3 == 0
    samples = plain.samples.with_columns(
        mode=other.cast(pl.Int64),
        period=pl.when(other).then(2 * pl.col("period")).otherwise("period"),
    )
    found = [
        Candidate(
            replace(plain.best, elements=plain.best.elements | {"period": by * period}),
            plain.exchanged,
            -float(by),
        )
        for by in (2, 3, 1)
    ]
    best = best_of_modes(found, samples, 400.0)
    assert [one.orbit.elements["period"] / period for one in best] == [1, 2]
    modes = modes_table(best, samples)
    share = [(samples["mode"] == m).mean() for m in (0, 1)]
    assert modes["share"].to_list() == pytest.approx(share)
    row = summary_of("pair", 16, samples, best[0].orbit, FEW, 500.0)
    assert row["mode_share"] == modes["share"][0]
    assert (row["n_modes"], row["orbit_status"]) == (2, "several periods")


def test_exchanged_velocities_give_the_same_orbit(mock, plain):
    swap = np.zeros(16, bool)
    swap[[2, 5, 6, 11]] = True
    found = fit_double_lined(table(mock[1], swap), FEW, QUICK)
    apart = np.abs(mock[1]["rv"] - mock[1]["rv_2"]) > 5
    assert (found.exchanged == swap)[apart].all()
    assert any("were exchanged" in note for note in found.notes)
    half = plain.summary["period_high"] - plain.summary["period"]
    assert found.summary["period"] == pytest.approx(plain.summary["period"], abs=half)
    assert found.summary["k"] == pytest.approx(plain.summary["k"], rel=0.02)


def test_blends_are_left_out_and_said(mock, plain):
    visits = table(mock[1])
    blend = visits[:3].with_columns(rv=pl.lit(500.0), rv_2=np.nan, rv_2_err=np.nan)
    found = fit_double_lined(
        pl.concat([visits, blend.with_columns(pl.col("bjd") + 0.3)]), FEW, QUICK
    )
    assert found.summary["period"] == pytest.approx(plain.summary["period"], rel=1e-6)
    assert any("3 visits with one velocity" in note for note in found.notes)


def test_too_few_visits_have_no_orbit(mock):
    found = fit_double_lined(table(mock[1])[:3], FEW)
    assert found.summary["orbit_status"] == "3 visits with both velocities: too few"
    assert found.best is None
    assert len(found.samples) == 0
    assert np.isnan(found.summary["period"])


def test_two_arms_of_three_visits_are_three_epochs(mock):
    three = table(mock[1])[:3]
    arms = pl.concat([three.with_columns(arm=pl.lit(a)) for a in ("blue", "red")])
    found = fit_double_lined(arms, FEW)
    assert found.summary["orbit_status"] == "3 visits with both velocities: too few"
    assert found.summary["n_visits"] == 6
    told = fit_orbit(arms, FEW)
    assert any("6 visits that show the lines of two" in note for note in told.notes)


def test_bad_calls_are_told(mock):
    visits = table(mock[1])
    two = visits.with_columns(star_id=pl.Series(["a", "b"] * 8))
    with pytest.raises(ValueError, match="of 2 stars"):
        fit_double_lined(two, FEW)
    with pytest.raises(ValueError, match="lens"):
        fit_double_lined(visits, OrbitOptions(offset_by=("lens",)))
    with pytest.raises(ValueError, match="assignment"):
        DoubleLinedOptions(assignment="maybe")


@pytest.mark.slow
def test_published_pairs_have_their_published_orbits(real_data, benchmark):
    sets = benchmark.published_velocities(real_data / "velocities" / "sb2_orbits")
    # As measured: 41 Dra P 1246.681 d, e 0.9756; Gl 570 BC P 308.855 d, e 0.7568.
    for name, e_limit, period_limit in (
        ("41 Dra", 5e-4, 1e-4),
        ("Gl 570 BC", 4e-3, 2e-4),
    ):
        found = benchmark.fit_published(name, sets[name]).summary
        published = benchmark.PUBLISHED[name]
        assert found["orbit_status"] == "good"
        assert found["period"] == pytest.approx(published.period, rel=period_limit)
        assert found["e"] == pytest.approx(published.e, abs=e_limit)
        assert found["omega"] == pytest.approx(published.omega, abs=1.0)
        masses = found["m_sin3_i"], found["m_2_sin3_i"]
        assert masses == pytest.approx(published.minimum_masses(), rel=0.03)


@pytest.mark.slow
def test_keplers_period_is_among_those_of_the_eclipsing_pair(real_data, benchmark):
    visits = benchmark.lamost_velocities(real_data / "lamost_mrs")
    found = benchmark.fit_lamost(visits, "blend", 30.0)
    modes = found.modes.filter(pl.col("share") > 0.05)
    assert len(modes) > 1  # two nights of split lines leave aliases
    nearest = np.abs(modes["period"].to_numpy() - benchmark.KEPLER_PERIOD).min()
    # 0.0013 d as measured, with an error of 0.0009.
    assert nearest < 0.003
    assert found.summary["mass_ratio"] == pytest.approx(0.84, abs=0.03)
