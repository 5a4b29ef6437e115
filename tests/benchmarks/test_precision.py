"""The precision benchmark measures what it says; small runs have the expected shape."""

import argparse
import importlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def precision(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("precision")


def small(**options):
    return argparse.Namespace(
        **{"quick": True, "arms": ["blue"], "stars": None, "snr": None, "number": None}
        | options
    )


def test_pulls_are_one_wide_when_errors_are_honest_however_they_differ(precision):
    rng = np.random.default_rng(1)
    error = 10 ** rng.uniform(-1, 1, (4000, 3))
    zero = rng.normal(0, 100, (4000, 1))
    z = precision.pulls_of(zero + error * rng.normal(size=error.shape), error)
    # 8000 degrees of freedom: 0.008 is one standard deviation.
    assert precision.rms(z) == pytest.approx(1, abs=0.03)
    assert precision.central(z) == pytest.approx(1, abs=0.05)
    halved = precision.pulls_of(zero + error * rng.normal(size=error.shape), error / 2)
    assert precision.rms(halved) == pytest.approx(2, abs=0.06)


def test_a_visit_without_velocity_does_not_touch_the_others(precision):
    d, error = np.array([[1.0, 3.0, np.nan]]), np.array([[1.0, 1.0, np.nan]])
    z = precision.pulls_of(d, error)
    np.testing.assert_allclose(z, [[-(2**0.5), 2**0.5, np.nan]])


def test_scatter_ignores_the_zero_of_each_star(precision):
    rng = np.random.default_rng(2)
    d = rng.normal(0, 2, (500, 11)) + rng.normal(0, 50, (500, 1))
    d[3, 4:] = np.nan
    found = precision.spread(d)
    # 5000 degrees of freedom: 2 / sqrt(10 000) is one standard deviation.
    assert found["scatter"] == pytest.approx(2, abs=0.08)
    assert found["robust"] == pytest.approx(2, abs=0.1)
    assert found["scatter_err"] == pytest.approx(0.02, rel=0.3)


def test_joint_is_at_the_photon_limit_where_published_is_not(precision):
    rows = pl.DataFrame(precision.types(small(stars=["A", "G"])))
    assert rows["measured"].min() > 0.5
    sun = rows.filter(type="G", snr=10.0)
    joint, published = (sun.row(by_predicate=pl.col("method") == m, named=True)
                        for m in ("joint", "published"))  # fmt: skip
    # Forty velocities tell a scatter to 11%; the published one is 1.7 times the limit.
    assert joint["scatter"] == pytest.approx(joint["limit"], rel=0.4)
    assert published["scatter"] > 1.2 * joint["scatter"]
    best = rows.filter(method="joint", snr=100.0)
    # Few lines, and those broad, in an A star: the sun is twenty times as precise.
    assert best.filter(type="A")["scatter"][0] > 5 * best.filter(type="G")["scatter"][0]
    for _, each in rows.group_by("type", "method"):
        assert each.sort("snr")["scatter"].is_sorted(descending=True)


def test_a_hotter_star_is_measured_less_well(precision):
    hot = small(stars=["6000", "7000"], snr=[100.0])
    rows = pl.DataFrame(precision.temperature(hot))
    assert set(rows["method"]) == {"published", "kept", "joint"}
    for _, each in rows.group_by("method"):
        scatter = dict(zip(each["teff"], each["scatter"], strict=True))
        assert scatter[7000] > 1.2 * scatter[6000]
        bias = dict(zip(each["teff"], each["bias"], strict=True))
        # Blends change: half a km/s at 7000 K, nothing without a change.
        assert abs(bias[6000]) < 0.1
        assert 0.2 < abs(bias[7000]) < 0.8


def test_errors_of_model_stars_are_about_right(precision):
    rows = pl.DataFrame(precision.pulls(small(stars=["K"], snr=[20.0])))
    assert rows["visits"].to_list() == [3, 8]
    assert rows["unmeasured"].sum() == 0
    # 32 and 42 degrees of freedom: a width is known to 12%.
    for statistic in ("rms", "rms_covariance", "rms_differences"):
        assert rows[statistic].to_numpy() == pytest.approx(1, abs=0.4)
    np.testing.assert_allclose(rows["rms"], rows["rms_covariance"], rtol=0.02)


def test_the_joint_calibration_beats_the_published_one(precision):
    rows = pl.DataFrame(precision.mock(small()))
    worst = rows.group_by("method").agg(pl.col("rms_offset_error").max())
    worst = dict(worst.iter_rows())
    assert worst["joint"] < 0.05 < worst["xiong"] < 0.15
    # "Essentially between +-0.50 km/s" (section 3.3), from several km/s.
    assert rows["worst_mean_after"].max() < 0.5 < rows["worst_mean_before"].min()


def test_types_beyond_the_models_are_replaced_and_said_to_be(precision):
    star, note = precision.nearest_model(precision.Star(2900.0, 5.2))
    assert (star.teff, star.logg) == (3500, 5.0)
    assert "do not reach 2900 K" in note
    for inside in precision.TYPES.values():
        assert precision.nearest_model(inside) == (inside, "")


def test_numbers_of_a_part_replace_their_own_and_keep_the_rest(precision, tmp_path):
    for seed, value in ((0, 1.0), (1, 2.0), (0, 3.0)):
        row = {"seed": seed, "method": "joint", "rms_offset_error": value}
        table = precision.record("mock", row, tmp_path)
    assert table["rms_offset_error"].to_list() == [3.0, 2.0]
    assert pl.read_csv(tmp_path / "mock.csv").equals(table)


def test_every_part_draws_its_figures(precision, tmp_path):
    precision.main(["mock", "--quick", "-o", str(tmp_path)])
    common = {
        "arm": "blue",
        "snr": [10.0, 100.0],
        "spectra": 10,
        "measured": [0.9, 1.0],
    }
    rows = pl.DataFrame(common | {"scatter": [2.0, 0.2], "bias": 0.1, "bias_err": 0.1})
    made = {
        "types": [{"type": t, "method": m} for t in precision.TYPES for m in precision.METHODS],
        "temperature": [{"teff": t, "method": m} for t in precision.TEMPERATURES
                        for m in ("published", "kept", "joint")],
        "pulls": [{"type": t, "visits": v, "rms": 1.0, "rms_err": 0.1, "robust": 2.0,
                   "robust_err": 0.1}
                  for t in precision.KINDS for v in (3, 8)],
    }  # fmt: skip
    for part, cells in made.items():
        table = pl.concat(
            [rows.with_columns(**{k: pl.lit(v) for k, v in c.items()}) for c in cells]
        )
        precision.draw(part, table, tmp_path)
    for name in ("figure-1", "figure-2", "figure-8", "figure-9", "pulls"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
