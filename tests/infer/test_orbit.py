"""Orbits of single-lined binaries: the likelihood, its samples, and what is told of them."""

from dataclasses import replace

import jax
import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest, multivariate_normal

from steadystar.data.schema import columns
from steadystar.infer.orbit import fit_orbit, fit_orbits
from steadystar.infer.orbit_likelihood import (
    Elements,
    StarVelocities,
    fitted,
    ln_likelihoods,
)
from steadystar.infer.orbit_modes import modes_of
from steadystar.infer.orbit_prior import (
    CHUNK,
    OrbitOptions,
    forget_batches,
    prior_batch,
)
from steadystar.infer.orbit_sampling import Posterior, sample_orbit
from steadystar.infer.orbit_summary import (
    limits_of,
    samples_table,
    summary_row,
    velocities_of,
)
from steadystar.simulate.orbits import orbital_velocity

EPOCH = 2_458_000.0
QUICK = OrbitOptions(
    min_period=2.0,
    max_period=300.0,
    jitter=0.0,
    n_prior=2**16,
    max_prior=2**16,
    n_samples=256,
    min_survivors=1,
)
WELL = replace(QUICK, min_survivors=16)
"""For stars whose orbit is known so well that samples of the prior miss it."""


def visits(time, *, period, k, e=0.2, omega=1.0, t_peri=3.0, v0=20.0, err=0.3, seed=1):
    """Visits of one binary, observed with noise."""
    time = np.asarray(time, float)
    rv = v0 + orbital_velocity(
        time,
        period=period,
        eccentricity=e,
        periastron=t_peri,
        semi_amplitude=k,
        omega=omega,
    )
    noise = np.random.default_rng(seed).normal(0, err, len(time))
    return pl.DataFrame(
        {
            "star_id": ["binary"] * len(time),
            "bjd": EPOCH + time,
            "rv": rv + noise,
            "rv_err": np.full(len(time), err),
        }
    )


def star(count=6, constants=2, seed=3):
    """Velocities of a star in two groups, as the likelihood takes them."""
    rng = np.random.default_rng(seed)
    group = np.arange(count) % 2 == 1
    design = np.stack([np.ones(count), group.astype(float)], axis=1)[:, :constants]
    return StarVelocities(
        np.sort(rng.uniform(-50, 50, count)),
        rng.normal(0, 8, count),
        rng.uniform(0.3, 1.0, count),
        design,
        np.array([100.0**2, 2.0**2])[:constants],
        ("v0", "offset_1")[:constants],
        EPOCH,
        0.0,
    )


def some_elements(options, rows=5):
    batch = prior_batch(options, 0)
    taken = [np.asarray(values).ravel()[:rows].astype(float) for values in batch[:5]]
    frequency, phase, e, cosine, sine = taken
    jitter = np.full(rows, batch.jitter[0])
    return Elements(1 / frequency, e, np.arctan2(sine, cosine), phase, jitter)


# By benchmarks/orbit.py agreement: 3596 samples; quantiles of ln P (d), e, K and v0 (km/s).
SHARES = np.array([0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95])
THEJOKER = {
    "period": [0.9421, 1.7744, 1.8112, 2.4874, 3.369, 3.396, 3.4367],
    "e": [0.0099, 0.0389, 0.0678, 0.1676, 0.3114, 0.3923, 0.5696],
    "k": [9.563, 10.797, 11.4715, 12.9354, 15.3532, 18.2002, 36.6032],
    "v0": [17.2372, 18.7752, 19.6208, 21.553, 23.8093, 25.1767, 32.2798],
}


@pytest.fixture(scope="module")
def uncertain():
    """Five visits that fit many periods; the same as thejoker was given."""
    return pl.DataFrame(
        {
            "star_id": ["a"] * 5,
            "bjd": EPOCH + np.array([13.512, 18.01, 37.506, 46.541, 53.833]),
            "rv": [27.95, 12.35, 32.6, 17.3, 11.14],
            "rv_err": [2.0, 2.5, 2.0, 3.0, 2.5],
        }
    )


@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_what_is_integrated_out_is_the_covariance_of_a_normal_distribution(jitter):
    """The slow way: every sample's full covariance, constants and K in it."""
    options = replace(QUICK, jitter=jitter, n_prior=CHUNK)
    one, elements = star(), some_elements(options)
    found = fitted(one, elements, options)
    quick = ln_likelihoods(one, prior_batch(options, 0))[0]
    shape = elements.shape_at(one.time)
    variance = options.k_variance(elements.period, elements.e)
    for row in range(5):
        covariance = np.diag(one.err**2 + elements.jitter[row] ** 2)
        covariance += (one.design * one.variance) @ one.design.T
        covariance += variance[row] * np.outer(shape[row], shape[row])
        expected = multivariate_normal(np.zeros(6), covariance).logpdf(one.rv)
        assert found.ln_likelihood[row] == pytest.approx(expected, abs=1e-8)
        # Shapes in single precision: 1e-6 of K / error.
        assert quick[row] == pytest.approx(expected, abs=2e-3)


@pytest.mark.gpu
def test_a_gpu_finds_the_likelihoods_that_the_processor_finds():
    try:
        gpu = jax.devices("gpu")[0]
    except RuntimeError:
        pytest.skip("no GPU")
    one, options = star(), replace(QUICK, n_prior=CHUNK)
    with jax.default_device(gpu):
        forget_batches()
        there = ln_likelihoods(one, prior_batch(options, 0))
    with jax.default_device(jax.devices("cpu")[0]):
        forget_batches()
        here = ln_likelihoods(one, prior_batch(options, 0))
    # Shapes are single precision on both: see the test above.
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=5e-3)


def test_semi_amplitude_and_constants_are_drawn_from_what_visits_leave_of_them():
    """The slow way: the mean and covariance of a linear model, one sample at a time."""
    one, elements = star(), some_elements(QUICK, 1)
    many = Elements(*(np.repeat(values, 20_000) for values in elements))
    found = fitted(one, many, QUICK)
    drawn = found.drawn(np.random.default_rng(1))
    design = np.column_stack([elements.shape_at(one.time)[0], one.design])
    k_variance = QUICK.k_variance(elements.period, elements.e)
    prior = np.diag(1 / np.append(k_variance, one.variance))
    covariance = np.linalg.inv(design.T @ np.diag(one.err**-2) @ design + prior)
    mean = covariance @ (design.T @ (one.rv / one.err**2))
    np.testing.assert_allclose(found.mean[0], mean, rtol=1e-9)
    # Of 20 000 draws a mean is known to 0.7% of the width, a variance to 1%.
    width = np.sqrt(np.diag(covariance))
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - mean), 0.035 * width)
    np.testing.assert_allclose(
        np.cov(drawn.T), covariance, atol=0.06 * width.max() ** 2
    )


def test_five_visits_have_the_posterior_that_thejoker_finds(uncertain):
    """Quantiles by thejoker 1.3.1 with the same prior and 4 000 000 samples of it."""
    options = replace(
        QUICK, n_prior=2**18, max_prior=2**20, v0_mean=0.0, n_samples=2000, seed=2
    )
    found = fit_orbit(uncertain, options)
    assert found.summary["method"] == "rejection"
    # Error of a share of both: sqrt(p (1 - p) / n); three and a half of them.
    both = 1 / len(found.samples) + 1 / 3596
    allowed = 3.5 * np.sqrt(SHARES * (1 - SHARES) * both)
    for name, quantiles in THEJOKER.items():
        values = np.sort(found.samples[name].to_numpy())
        values = np.log(values) if name == "period" else values
        share = np.searchsorted(values, quantiles) / len(values)
        assert (np.abs(share - SHARES) < allowed).all(), (name, share)


def test_the_prior_of_the_semi_amplitude_is_that_of_one_prior_of_masses():
    options = OrbitOptions(k_sigma=30.0)
    variance = options.k_variance(np.array([365.25, 8 * 365.25]), np.array([0.0, 0.6]))
    # P^(-1/3) is a half, and sqrt(1 - e^2) is 0.8.
    np.testing.assert_allclose(np.sqrt(variance), [30.0, 30.0 / 2 / 0.8], rtol=1e-12)


def test_samples_with_a_negative_amplitude_are_the_same_curves():
    one, elements = star(), some_elements(QUICK, 4)
    k = np.array([7.0, -7.0, 3.0, -9.0])
    linear = np.column_stack([k, np.full(4, 2.0), np.zeros(4)])
    nothing = np.zeros(4)
    found = Posterior(elements, linear, nothing, nothing, "rejection", 4, 0.0, notes=[])
    samples = samples_table("a", one, found)
    assert (samples["k"] > 0).all()
    # Times of 2.4 million days are known to 4e-10 d: 1e-9 of a turn or so.
    expected = 2.0 + k[:, None] * elements.shape_at(one.time)
    curves = velocities_of(samples, EPOCH + one.time)
    np.testing.assert_allclose(curves, expected, atol=1e-5)


def test_limits_of_angles_and_times_do_not_know_where_a_turn_begins():
    rng = np.random.default_rng(1)
    wide = rng.normal(size=2000)
    values = {
        "period": np.full(2000, 10.0),
        "omega": (2.0 + 5 * wide) % 360,
        "t_peri": EPOCH + 0.3 * wide + 10.0 * rng.integers(-3, 4, 2000),
    }
    row = limits_of(values)
    # Of 2000 a limit is known to 3% of the width.
    assert row["omega"] == pytest.approx(2.0, abs=0.5)
    assert row["omega_low"] == pytest.approx(-3.0, abs=0.7)
    assert row["omega_high"] == pytest.approx(7.0, abs=0.7)
    turns = (row["t_peri"] - EPOCH) / 10.0
    assert turns == pytest.approx(round(turns), abs=0.005)
    half = (row["t_peri_high"] - row["t_peri_low"]) / 2
    assert half == pytest.approx(0.3, rel=0.1)


@pytest.fixture(scope="module")
def both_ways(uncertain):
    """The same visits by rejection, and by sampling their sixty modes by themselves."""
    some = replace(QUICK, min_period=5.0, max_period=60.0, n_samples=1000)
    rejected = replace(some, n_prior=2**18, max_prior=2**20)
    by_modes = replace(some, n_prior=2**17, max_prior=2**17, min_survivors=1000)
    return [fit_orbit(uncertain, options) for options in (rejected, by_modes)]


def test_modes_sampled_by_themselves_give_the_posterior_that_rejection_gives(both_ways):
    methods = [orbit.summary["method"] for orbit in both_ways]
    assert methods == ["rejection", "importance"]
    for name in ("period", "e", "k", "v0"):
        one, other = (np.sort(orbit.samples[name]) for orbit in both_ways)
        share = np.searchsorted(one, other) / len(one)
        # Importance samples are worth fewer than their number: half of it is allowed.
        assert kstest(share, "uniform").statistic < 0.08, name


def test_both_ways_find_the_same_evidence_of_an_orbit(both_ways):
    one, other = (orbit.summary["ln_evidence_ratio"] for orbit in both_ways)
    # Some 700 samples of the prior matter: an error of 0.04.
    assert one == pytest.approx(other, abs=0.15)


def test_modes_too_many_to_sample_leave_the_few_samples_of_all(uncertain, monkeypatch):
    monkeypatch.setattr("steadystar.infer.orbit_modes._MOST", 4)
    options = replace(QUICK, min_period=5.0, max_period=60.0, n_prior=2**13)
    options = replace(options, max_prior=2**13, n_samples=1000, min_survivors=1000)
    found = fit_orbit(uncertain, options)
    row = found.summary
    assert (row["method"], row["n_prior"]) == ("rejection", 2**13)
    assert 0 < row["n_samples"] == len(found.samples) < 1000
    assert row["n_modes"] > 1
    assert any("too many modes" in note for note in found.notes)


def test_a_constant_star_has_no_evidence_of_an_orbit():
    rng = np.random.default_rng(12)
    table = visits(rng.uniform(0, 200, 8), period=12.0, k=0.0, err=0.5)
    row = fit_orbit(table, QUICK).summary
    assert row["ln_evidence_ratio"] < 0
    assert row["orbit_status"] == "no evidence of an orbit"


def test_noise_far_beyond_the_errors_is_no_good_orbit():
    rng = np.random.default_rng(13)
    when = rng.uniform(0, 300, 30)
    for noise, said in (
        (1.0, "no evidence of an orbit"),
        (20.0, "scatter beyond the orbit"),
    ):
        table = visits(when, period=12.0, k=0.0, err=noise)
        table = table.with_columns(rv_err=pl.lit(0.1))
        row = fit_orbit(table, replace(WELL, jitter=0.05)).summary
        assert row["orbit_status"] == said, noise


def test_six_visits_of_a_wide_binary_are_evidence_of_an_orbit_though_of_many():
    rng = np.random.default_rng(16)
    table = visits(rng.uniform(0, 300, 6), period=70.0, k=25.0, err=0.2)
    options = replace(QUICK, jitter=0.05, n_prior=2**17, max_prior=2**18)
    row = fit_orbit(table, replace(options, min_survivors=128)).summary
    assert row["ln_evidence_ratio"] > 3
    assert row["orbit_status"] in ("several periods", "few samples", "good")


@pytest.mark.parametrize("period", [320.0, 1.0])
def test_an_orbit_beyond_the_periods_that_were_searched_is_not_good(period):
    rng = np.random.default_rng(14)
    table = visits(rng.uniform(0, 900, 20), period=period, k=20.0, err=0.1)
    row = fit_orbit(table, replace(WELL, jitter=0.05)).summary
    assert row["orbit_status"] != "good"


def test_samples_of_few_visits_have_all_the_jitters_of_the_prior():
    """A jitter is that of a chunk of prior samples: survivors come from all chunks."""
    table = visits([0.0, 30.0, 55.0], period=12.0, k=2.0, err=2.0)
    options = replace(QUICK, jitter=0.05, n_prior=2**18, max_prior=2**18)
    jitter = fit_orbit(table, options).samples["jitter"].to_numpy()
    assert len(np.unique(jitter)) > 40
    shape = kstest(np.log(jitter / 0.05) / 1.5, "norm")
    # Errors of 2 km/s say nothing of 0.05: the prior comes back, from 64 chunks.
    assert shape.statistic < 0.15


def test_what_all_visits_share_is_in_the_error_of_the_mean_velocity_alone():
    table = visits(range(0, 90, 9), period=12.7, k=10.0, err=0.3)
    alone = fit_orbit(table, WELL).summary
    shared = table.with_columns(
        rv_err=np.hypot(0.3, 2.0), correction_common_err=pl.lit(2.0)
    )
    both = fit_orbit(shared, WELL).summary
    assert (both["v0_high"] - both["v0_low"]) / 2 == pytest.approx(2.0, rel=0.2)
    assert both["k"] == pytest.approx(alone["k"], abs=0.02)


def test_a_star_with_three_blends_keeps_the_orbit_of_its_other_visits():
    rng = np.random.default_rng(15)
    table = visits(rng.uniform(0, 120, 18), period=12.7, k=10.0, err=0.1)
    blend = np.arange(len(table)) < 3
    table = table.with_columns(
        rv=pl.Series(np.where(blend, -70.0, table["rv"].to_numpy())),
        rv_2=pl.Series(np.where(blend, 90.0, np.nan)),
        rv_2_err=pl.Series(np.where(blend, 1.0, np.nan)),
    )
    found = fit_orbit(table, WELL)
    assert found.summary["period"] == pytest.approx(12.7, abs=0.05)
    assert found.summary["n_visits"] == len(table) - 3
    assert any("3 visits that show the lines of two" in note for note in found.notes)


def test_days_of_visits_do_not_make_a_period_of_months_sure():
    """All periods far longer than the baseline are one mode, and still unknown."""
    table = visits(np.linspace(0, 6, 8), period=90.0, k=30.0, err=0.1)
    row = fit_orbit(table, WELL).summary
    assert row["orbit_status"] in ("uncertain period", "several periods")


def test_limits_hold_the_truth_as_often_as_they_say():
    """Binaries drawn from the prior: the rank of the truth among samples is uniform."""
    options = replace(QUICK, max_prior=2**17)
    rng = np.random.default_rng(8)
    ranks = []
    for number in range(24):
        period = float(np.exp(rng.uniform(np.log(2), np.log(300))))
        e = min(float(rng.beta(0.867, 3.03)), 0.95)
        variance = options.k_variance(np.array([period]), np.array([e]))[0]
        k = float(rng.normal(0, np.sqrt(variance)))
        table = visits(
            rng.uniform(0, 200, 4),
            period=period,
            e=e,
            k=k,
            omega=rng.uniform(0, 6.28),
            t_peri=rng.uniform(0, period),
            v0=0.0,
            err=3.0,
            seed=number,
        )
        found = fit_orbit(table, replace(options, v0_mean=0.0, v0_sigma=5.0)).samples
        ranks.append(
            [
                (found["period"] < period).mean(),
                (found["e"] < e).mean(),
                (found["k"] < abs(k)).mean(),
            ]
        )
    for column, name in zip(np.array(ranks).T, ("period", "e", "k"), strict=True):
        assert kstest(column, "uniform").pvalue > 0.002, name


def test_a_well_observed_binary_has_one_period_and_its_elements_within_errors():
    rng = np.random.default_rng(4)
    table = visits(rng.uniform(0, 300, 14), period=10.0, k=20.0, err=0.1)
    found = fit_orbit(table, replace(WELL, jitter=0.05))
    row = found.summary
    assert row["orbit_status"] == "good"
    assert (row["n_modes"], row["mode_share"]) == (1, 1.0)
    truth = {"period": 10.0, "k": 20.0, "e": 0.2, "v0": 20.0, "omega": np.degrees(1.0)}
    for name, value in truth.items():
        width = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
        assert abs(row[name] - value) < 3.5 * width, name
    turns = (row["t_peri"] - EPOCH - 3.0) / 10.0
    assert abs(turns - round(turns)) < 0.02
    # Kepler's third law: P K^3 (1 - e^2)^(3/2) / 2 pi G, by hand.
    assert row["mass_function"] == pytest.approx(
        1.0361e-7 * 10 * 20**3 * (1 - 0.04) ** 1.5, rel=0.03
    )
    assert row["chi2"] / row["dof"] < 3
    assert row["ln_evidence_ratio"] > 20


def test_orbits_go_through_the_velocities():
    rng = np.random.default_rng(5)
    table = visits(rng.uniform(0, 300, 12), period=25.0, k=15.0, e=0.5, err=0.1)
    found = fit_orbit(table, WELL)
    curves = found.velocity(table["bjd"].to_numpy())
    assert curves.shape == (len(found.samples), 12)
    assert np.abs(np.median(curves, axis=0) - table["rv"].to_numpy()).max() < 0.4


def test_arms_with_zeros_of_their_own_do_not_bend_the_orbit():
    rng = np.random.default_rng(6)
    table = visits(rng.uniform(0, 200, 14), period=12.0, k=10.0, v0=0.0, err=0.1)
    arm = np.where(np.arange(14) % 2, "red", "blue")
    table = table.with_columns(
        pl.col("rv") + pl.Series(np.where(arm == "red", 7.0, 0.0)),
        arm=pl.Series(arm),
        reference_visit_id=pl.Series(arm),
    )
    row = fit_orbit(table, WELL).summary
    assert row["period"] == pytest.approx(12.0, abs=0.02)
    assert row["k"] == pytest.approx(10.0, abs=0.4)


def test_a_telescope_whose_zero_is_in_doubt_is_given_one():
    rng = np.random.default_rng(7)
    table = visits(rng.uniform(0, 200, 16), period=12.0, k=10.0, err=0.1)
    site = np.where(np.arange(16) % 2, "lco", "apo")
    table = table.with_columns(
        pl.col("rv") + pl.Series(np.where(site == "lco", 1.5, 0.0)),
        telescope=pl.Series(site),
    )
    options = replace(WELL, offset_by=("telescope",), offset_sigma=2.0)
    found = fit_orbit(table, options)
    assert found.samples["offset_1"].median() == pytest.approx(1.5, abs=0.3)
    assert found.summary["k"] == pytest.approx(10.0, abs=0.4)
    assert found.summary["chi2"] < 4 * found.summary["dof"]


def test_jitter_takes_up_what_the_errors_do_not_explain():
    rng = np.random.default_rng(9)
    table = visits(rng.uniform(0, 200, 20), period=12.0, k=10.0, err=1.0)
    table = table.with_columns(rv_err=pl.lit(0.05))
    row = fit_orbit(table, replace(WELL, jitter=0.3)).summary
    assert row["jitter_low"] < 1.0 < row["jitter_high"] * 1.3
    width = (row["k_high"] - row["k_low"]) / 2
    assert 0.15 < width < 0.8


def test_modes_are_periods_that_do_not_stay_in_step():
    period = np.array([10.0, 10.05, 20.0, 10.02, 3.0])
    # Over 100 d these make 10, 9.95, 5, 9.98 and 33.3 turns.
    assert modes_of(period, 100.0).tolist() == [0, 0, 1, 0, 2]
    assert modes_of(np.empty(0), 100.0).tolist() == []


def test_modes_are_told_with_their_shares_and_the_row_is_of_the_largest(both_ways):
    for orbit in both_ways:
        modes, samples, row = orbit.modes, orbit.samples, orbit.summary
        assert modes.columns == list(columns("orbit-modes"))
        assert len(modes) == row["n_modes"] > 1
        assert modes["share"].sum() == pytest.approx(1.0)
        assert (modes["share"].diff().drop_nulls() <= 0).all()
        first = samples.filter(pl.col("mode") == 0)
        for name in ("period", "k", "e", "v0"):
            assert modes[f"{name}_low"][0] <= modes[name][0] <= modes[f"{name}_high"][0]
            assert row[name] == modes[name][0] == first[name].median()


def test_chi_squared_is_that_of_the_largest_mode():
    """The best sample is of another mode, of which there are few."""
    one, elements = star(), some_elements(QUICK, 4)
    elements = elements._replace(period=np.array([10.0, 10.0, 10.0, 90.0]))
    found = Posterior(
        elements,
        linear=np.ones((4, 3)),
        ln_likelihood=np.array([-3.0, -1.0, -2.0, 0.0]),
        chi2=np.array([6.0, 2.0, 4.0, 1.0]),
        method="rejection",
        n_prior=4,
        ln_evidence_ratio=9.0,
        notes=[],
    )
    row = summary_row(samples_table("a", one, found), one, found)
    assert (row["n_modes"], row["chi2"]) == (2, 2.0)


def test_the_prior_is_drawn_in_whole_batches_of_whole_chunks():
    """Five thousand at a time are two chunks; a batch more than that is not tried."""
    options = replace(QUICK, n_prior=5000, max_prior=8000, n_samples=4096)
    assert (options.chunks, options.batches) == (2, 1)
    table = visits([0.0, 30.0, 55.0], period=12.0, k=2.0, err=2.0)
    assert fit_orbit(table, options).summary["n_prior"] == 2 * CHUNK
    more = replace(options, max_prior=9000)
    assert fit_orbit(table, more).summary["n_prior"] == 4 * CHUNK


def test_batches_are_drawn_once_for_all_stars_however_many_there_are(monkeypatch):
    options = replace(QUICK, n_prior=CHUNK, max_prior=7 * CHUNK, seed=11)
    first = [prior_batch(options, index) for index in range(7)]
    # Of other options that draw the same, those batches are taken.
    same = replace(options, n_samples=9, v0_sigma=7.0)
    again = [prior_batch(same, index) for index in range(7)]
    assert all(one is other for one, other in zip(first, again, strict=True))
    other = prior_batch(replace(options, jitter=0.1), 0)
    assert other.jitter[0] > 0 == first[0].jitter[0]
    # What is beyond the limit is drawn anew, and the same.
    monkeypatch.setattr("steadystar.infer.orbit_prior._KEPT", 2 * CHUNK)
    forget_batches()
    assert prior_batch(options, 1) is prior_batch(options, 1)
    beyond = prior_batch(options, 2)
    assert beyond is not prior_batch(options, 2)
    np.testing.assert_array_equal(beyond.frequency, first[2].frequency)


def test_the_same_star_has_the_same_orbit_whoever_stands_beside_it():
    rng = np.random.default_rng(10)
    one = visits(rng.uniform(0, 200, 4), period=12.0, k=10.0)
    other = one.with_columns(star_id=pl.lit("other"), rv=pl.col("rv") * 1.3)
    alone = fit_orbit(one, QUICK)
    both = fit_orbits(pl.concat([other, one]), options=QUICK)
    again = both.samples.filter(pl.col("star_id") == "binary")
    assert again["period"].to_list() == alone.samples["period"].to_list()
    assert both.orbits["star_id"].to_list() == ["other", "binary"]


def test_every_star_that_was_asked_for_has_a_row_that_says_why():
    table = pl.concat(
        [
            visits([0.0, 3.0], period=12.0, k=10.0),
            visits(range(0, 60, 12), period=12.7, k=10.0).with_columns(
                star_id=pl.lit("fine")
            ),
            visits([0.0, 3.0, 9.0], period=12.0, k=10.0).with_columns(
                star_id=pl.lit("timeless"), bjd=pl.lit(float("nan"))
            ),
        ]
    )
    found = fit_orbits(table, options=QUICK)
    assert found.orbits["star_id"].to_list() == ["binary", "fine", "timeless"]
    status = found.orbits["orbit_status"].to_list()
    assert status[0] == status[2] == "fewer than 3 visits"
    assert np.isnan(found.orbits["period"].to_numpy()[[0, 2]]).all()
    assert found.samples["star_id"].unique().to_list() == ["fine"]
    assert any("3 visits without a time" in note for note in found.notes)


def test_a_star_whose_numbers_do_not_work_out_costs_no_other_its_orbit(monkeypatch):
    def fails(star, options, seed):
        if star.rv[0] == 0:
            raise np.linalg.LinAlgError("not positive definite")
        return sample_orbit(star, options, seed)

    monkeypatch.setattr("steadystar.infer.orbit.sample_orbit", fails)
    fine = visits(range(0, 60, 12), period=12.7, k=10.0)
    odd = fine.with_columns(star_id=pl.lit("odd"), rv=pl.lit(1.0))
    found = fit_orbits(pl.concat([odd, fine]), options=QUICK).orbits
    assert found["orbit_status"][0] == "the fit failed: not positive definite"
    assert found["n_samples"].to_list() == [None, QUICK.n_samples]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pl.DataFrame({"star_id": ["a", "b"], "bjd": [1.0, 2.0]}), "has 2"),
        (pl.DataFrame({"star_id": ["a"], "rv": [1.0], "rv_err": [1.0]}), "bjd"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused_in_a_sentence(table, words):
    with pytest.raises(ValueError, match=words):
        fit_orbit(table, QUICK)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_period": 0.0},
        {"max_period": 0.1},
        {"jitter": -1.0},
        {"n_samples": 0},
        {"v0_mean": float("nan")},
        {"k_sigma": float("inf")},
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OrbitOptions(**wrong)


def test_a_group_that_the_table_does_not_have_is_named():
    table = visits([0.0, 3.0, 9.0], period=12.0, k=10.0)
    with pytest.raises(ValueError, match="'site'"):
        fit_orbit(table, replace(QUICK, offset_by=("site",)))
