"""The error budget: what was put into a mock comes out within its intervals."""

from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

from steadystar.infer import luminosity_errors
from steadystar.infer.luminosity_errors import (
    ErrorBudget,
    ErrorBudgetOptions,
    fit_luminosity_errors,
)

TRUTH = {"alpha": -0.05, "beta": 0.05, "sigma_100": 0.12, "sigma_int": 0.2}
FEW: dict[str, Any] = {"warmup": 120, "samples": 150}


@pytest.fixture(autouse=True, scope="module")
def as_numpyro_needs_it():
    """NumPyro itself relies on what the strict settings of the tests forbid."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def mock(number: int, seed: int, pairs: float = 0.0) -> pl.DataFrame:
    """Stars between 200 pc and 4 kpc; a share of them up to twice as bright as told."""
    rng = np.random.default_rng(seed)
    distance = 10 ** rng.uniform(2.3, 3.6, number)
    m_g = rng.uniform(-4, 1.5, number)
    snr = 10 ** rng.uniform(1.3, 2.5, number)
    second = rng.uniform(size=number) < pairs
    brighter = np.where(second, rng.uniform(0, 0.753, number), 0)
    ebv = rng.uniform(0, 0.5, number)
    ks = m_g - brighter + 5 * np.log10(distance / 10) + 0.3 * ebv
    noise = np.hypot(TRUTH["sigma_int"], TRUTH["sigma_100"] * 100 / snr)
    error = 0.03 * 10 ** rng.uniform(-0.2, 0.4, number)
    return pl.DataFrame(
        {
            "m_ks": (1 + TRUTH["alpha"]) * m_g
            + TRUTH["beta"]
            + noise * rng.normal(size=number),
            "snr": snr,
            "ks": ks + 0.025 * rng.normal(size=number),
            "ks_err": np.full(number, 0.025),
            "ebv": ebv + 0.02 * rng.normal(size=number),
            "ebv_err": np.full(number, 0.02),
            "parallax": 1000 / distance + error * rng.normal(size=number),
            "parallax_error": error,
        }
    )


@pytest.fixture(scope="module")
def budget() -> ErrorBudget:
    table = mock(400, 6, pairs=0.12)
    return fit_luminosity_errors(table, ErrorBudgetOptions(**FEW))


@pytest.fixture(scope="module")
def plain() -> ErrorBudget:
    """The same stars as if none were two."""
    options = ErrorBudgetOptions(pairs="none", **FEW)
    return fit_luminosity_errors(mock(400, 6, pairs=0.12), options)


@pytest.mark.parametrize("name", list(TRUTH))
def test_truth_lies_within_its_interval(budget, name):
    # Five numbers, one mock: three sigma is what all may be held to.
    _, low, high = budget.interval(name, 0.997)
    assert low < TRUTH[name] < high
    # A control: the interval says something.
    assert high - low < 0.2


def test_the_share_of_pairs_lies_within_its_interval(budget):
    _, low, high = budget.interval("pairs", 0.997)
    assert low < 0.12 < high


def test_chains_agree(budget):
    # 300 samples know r_hat to some 0.02.
    assert max(budget.r_hat.values()) < 1.05
    assert min(budget.n_eff.values()) > 50
    assert budget.divergences == 0


@pytest.mark.slow
def test_pairs_as_single_stars_bend_the_scale(budget, plain):
    # Pairs are 0.38 mag brighter on average, 12% of them: 0.045 mag of beta.
    shift = plain.interval("beta")[0] - budget.interval("beta")[0]
    assert shift > 0.015
    assert plain.interval("sigma_int")[0] > budget.interval("sigma_int")[0]


def test_intervals_are_quantiles(budget):
    middle, low, high = budget.interval("beta", 0.9)
    values = budget.samples["beta"]
    assert (values < low).mean() == pytest.approx(0.05, abs=0.01)
    assert (values > high).mean() == pytest.approx(0.05, abs=0.01)
    assert middle == pytest.approx(np.median(values))
    assert budget.summary()["beta"]["low"] == pytest.approx(
        budget.interval("beta")[1], abs=1e-5
    )
    assert budget.summary()["stars"] == 400


@pytest.fixture
def known(monkeypatch):
    """Samples are the truth at once; what would have been sampled is kept."""
    seen = []

    def told(kept, options, notes):
        seen.append(kept)
        samples = {name: np.full(10, value) for name, value in TRUTH.items()}
        return ErrorBudget(samples, {}, {}, 0, len(kept["m_ks"]), notes)

    monkeypatch.setattr(luminosity_errors, "_sample", told)
    return seen


def test_the_published_way_removes_what_is_too_bright_by_2_sigma(known):
    table = mock(400, 6, pairs=0.3)
    options = ErrorBudgetOptions(pairs="published", rounds=2)
    found = fit_luminosity_errors(table, options)
    left = {round(float(m), 9) for m in known[-1]["m_ks"]}
    gone = np.array([round(m, 9) not in left for m in table["m_ks"].to_list()])
    # Equation of section 6, in plain numbers.
    truth = (table["m_ks"] - TRUTH["beta"]) / (1 + TRUTH["alpha"])
    a_ks = 0.3 * table["ebv"]
    told = 10 ** (0.2 * (truth - table["ks"] + a_ks + 10))
    noise = (TRUTH["sigma_100"] * 100 / table["snr"]) ** 2 + TRUTH["sigma_int"] ** 2
    noise = noise + table["ks_err"] ** 2 + (0.3 * table["ebv_err"]) ** 2
    error = 0.2 * np.log(10) * told * noise.sqrt()
    off = (told - table["parallax"]) / (error**2 + table["parallax_error"] ** 2).sqrt()
    assert np.array_equal(gone, (off > 2).to_numpy())
    assert found.stars == 400 - gone.sum()
    assert 0 < gone.sum() < 80
    assert any("Over-luminous" in note for note in found.notes)


def test_rows_that_lack_a_number_are_left_out_and_counted(known):
    table = mock(60, 7)
    parallax = table["parallax"].to_numpy().copy()
    parallax[:5] = np.nan
    table = table.with_columns(
        parallax=pl.Series(parallax),
        snr=pl.when(pl.int_range(pl.len()) == 10).then(0.0).otherwise(pl.col("snr")),
        ks=pl.when(pl.int_range(pl.len()) == 20).then(None).otherwise(pl.col("ks")),
    )
    found = fit_luminosity_errors(table, ErrorBudgetOptions(max_stars=40))
    assert found.notes[0].startswith("7 stars lack a number")
    assert found.stars == 40
    assert all(np.isfinite(values).all() for values in known[0].values())


def test_bad_tables_and_options_are_told():
    table = mock(60, 8)
    with pytest.raises(ValueError, match="The table lacks snr, ebv"):
        fit_luminosity_errors(table.drop("snr", "ebv"))
    with pytest.raises(ValueError, match="Only 29 of 29 stars"):
        fit_luminosity_errors(table[:29])
    with pytest.raises(ValueError, match="give one of mixture, published, none"):
        ErrorBudgetOptions(pairs="some")
    with pytest.raises(ValueError, match="chains = 0"):
        ErrorBudgetOptions(chains=0)
