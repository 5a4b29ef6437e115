import json

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal
from scipy.optimize import minimize

from steadystar.calibrate.errors import ErrorModel, ErrorModelOptions, fit_error_model
from steadystar.calibrate.noise import Noise
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status


def repeats(seed=0, stars=1500, scale=1.5, floor=0.04, variable=0.1, **columns):
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(stars), 6)
    err = 6.0 / np.exp(rng.uniform(np.log(20), np.log(300), stars))[star]
    width = np.where(np.arange(stars) < variable * stars, 5.0, 0.0)[star]
    sigma = np.sqrt((scale * err) ** 2 + floor**2 + width**2)
    rv = rng.normal(0, 30, stars)[star] + rng.normal(0, 1, len(star)) * sigma
    return pl.DataFrame(
        {"star_id": star, "rv": rv, "rv_err": err, "steady": width == 0}
    ).with_columns(**columns)


def test_scale_and_floor_are_recovered():
    table = fit_error_model(repeats()).table
    for name, truth in (("scale", 1.5), ("floor", 0.04)):
        off = table[name][0] - truth
        assert abs(off) < 4 * table[f"{name}_err"][0]
    # 8100 visits: scale to 1%, floor to 2 m/s.
    assert table["scale_err"][0] < 0.02
    assert table["floor_err"][0] < 0.002


def test_calibrated_pulls_have_unit_width_at_every_error():
    visits = repeats(3, stars=6000)
    out = fit_error_model(visits).apply(visits)
    out = out.filter("steady").with_columns(weight=pl.col("rv_err") ** -2)
    total = pl.col("weight").sum().over("star_id")
    mean = (pl.col("rv") * pl.col("weight")).sum().over("star_id") / total
    out = out.with_columns(
        pull=(pl.col("rv") - mean) / (pl.col("rv_err") ** 2 - 1 / total).sqrt()
    )
    sixth = 6 * pl.col("rv_raw_err").rank("ordinal").cast(int) // (len(out) + 1)
    for part in out.with_columns(part=sixth).partition_by("part"):
        assert len(part) >= 3000
        assert part["pull"].std() == pytest.approx(1.0, abs=0.03)
    # A control that must fail: the errors as they were given.
    raw = out["pull"] * out["rv_err"] / out["rv_raw_err"]
    assert raw.std() > 1.4


def test_groups_have_errors_of_their_own():
    apo = repeats(1, scale=1.2, floor=0.03, telescope=pl.lit("apo"))
    lco = repeats(2, scale=2.0, floor=0.08, telescope=pl.lit("lco"))
    visits = pl.concat([apo, lco]).with_columns(
        star_id=pl.col("star_id").cast(str) + pl.col("telescope")
    )
    model = fit_error_model(visits)
    assert model.by == ("telescope",)
    assert_allclose(model.table["scale"], [1.2, 2.0], rtol=0.05)
    assert_allclose(model.table["floor"], [0.03, 0.08], atol=0.006)
    assert len(fit_error_model(visits, by=()).table) == 1


def test_errors_and_zero_points_break_their_circle(mocks):
    visits, truth = mocks.fibers(3, 6000, 60)
    visits = visits.with_columns(pl.col("rv_raw_err") / 1.5)
    corrected = fit_zeropoints(visits, ["fiber"]).apply(visits)
    model = fit_error_model(corrected)
    assert model.scale == pytest.approx(1.5, rel=0.02)
    assert model.floor == pytest.approx(0.04, rel=0.05)
    out = model.apply(corrected)
    want = np.hypot(truth["sigma"], corrected["correction_err"])
    assert_allclose(out["rv_err"], want, rtol=0.03)
    assert_frame_equal(out.drop("rv_err"), corrected.drop("rv_err"))


def test_a_step_of_scoring_leads_to_the_maximum_of_the_likelihood():
    rng = np.random.default_rng(0)
    err = rng.uniform(0.05, 2, 4000)
    square = ((1.3 * err) ** 2 + 0.3**2) * rng.standard_normal(4000) ** 2
    group, weight = np.zeros(4000, np.intp), rng.uniform(0, 1, 4000)
    noise = Noise.starting(1, 0.1)
    for _ in range(60):
        noise, _ = noise.improved(err, group, square, weight, np.inf)

    def loss(p):
        v = p[0] * err**2 + p[1]
        # The prior of the module, in the same units of twice ln L.
        return np.sum(weight * (np.log(v) + square / v)) + (p[0] - 1) ** 2

    best = minimize(loss, [1.0, 0.1], method="Nelder-Mead", options={"xatol": 1e-8})
    assert_allclose([noise.scale[0] ** 2, noise.floor[0] ** 2], best.x, rtol=1e-3)


def test_bare_errors_come_back_where_nothing_can_be_fitted():
    visits = repeats(stars=20).unique("star_id", maintain_order=True)
    model = fit_error_model(visits)
    assert "No star has two calibrated visits" in model.notes[0]
    assert_allclose(model.apply(visits)["rv_err"], visits["rv_err"])


def test_small_groups_take_the_errors_of_all():
    many, few = repeats(1, arm=pl.lit("red")), repeats(2, stars=3, arm=pl.lit("blue"))
    few = few.with_columns(pl.col("star_id") + 10_000)
    model = fit_error_model(pl.concat([many, few]))
    assert any("1 of 2 groups have fewer" in note for note in model.notes)
    blue, red = model.table.sort("arm").to_dicts()
    assert blue["scale"] == pytest.approx(red["scale"], rel=0.02)


def test_what_cannot_be_trusted_stays_out():
    visits = repeats()
    worse = visits.with_columns(
        rv=pl.when(pl.int_range(pl.len()) % 6 == 0)
        .then(pl.col("rv") + 1e3)
        .otherwise(pl.col("rv")),
        status=pl.when(pl.int_range(pl.len()) % 6 == 0)
        .then(int(Status.UNCALIBRATED))
        .otherwise(0),
    )
    model = fit_error_model(worse)
    assert model.scale == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), None])
def test_impossible_errors_stay_impossible(bad):
    visits = repeats(stars=200).with_columns(
        rv_err=pl.when(pl.int_range(pl.len()) == 7).then(bad).otherwise("rv_err")
    )
    model = fit_error_model(visits)
    out = model.apply(visits)["rv_err"].to_numpy()
    assert np.isnan(out[7])
    assert np.isfinite(np.delete(out, 7)).all()


def test_saved_and_loaded_models_are_the_same(tmp_path):
    visits = repeats(stars=300, telescope=pl.lit("apo"), spectrograph=pl.lit(4))
    model = fit_error_model(visits, by=["telescope", "spectrograph"])
    path = tmp_path / "errors.json"
    model.save(path)
    again = ErrorModel.load(path)
    assert again.by == model.by
    assert_frame_equal(again.table, model.table)
    assert_frame_equal(again.apply(visits), model.apply(visits))
    assert json.loads(path.read_text())["groups"][0]["telescope"] == "apo"
    for content in ("", "[]", "{}", '{"kind": "other"}'):
        path.write_text(content)
        with pytest.raises(CalibrationError, match="holds no error model"):
            ErrorModel.load(path)


def test_wrong_calls_are_refused():
    with pytest.raises(CalibrationError, match="no column lamp"):
        fit_error_model(repeats(stars=5), by=["lamp"])
    with pytest.raises(CalibrationError, match="max_rounds"):
        ErrorModelOptions(max_rounds=0)
    model = fit_error_model(repeats(stars=50, arm=pl.lit("red")))
    with pytest.raises(CalibrationError, match="no column arm"):
        model.apply(repeats(stars=5))
    with pytest.raises(CalibrationError, match="another kind"):
        model.apply(repeats(stars=5, arm=pl.lit(3)))


def test_an_empty_table_is_no_trouble():
    visits = repeats(stars=2).clear()
    assert fit_error_model(visits).apply(visits).is_empty()


def test_methods_have_errors_of_their_own():
    visits = repeats(visit_id=pl.int_range(9000), method=pl.lit("joint"))
    halved = visits.with_columns(method=pl.lit("marginal"), rv_err=pl.col("rv_err") / 2)
    both = fit_error_model(pl.concat([halved, visits])).table
    alone = fit_error_model(visits).table
    assert_frame_equal(both.filter(method="joint").drop("method"), alone)
    ratio = both.filter(method="marginal")["scale"] / alone["scale"]
    # Not exactly: the widths that variables may have begin at those of the errors.
    assert ratio.item() == pytest.approx(2.0, rel=0.03)
