"""Errors of labels: scale, floor and laws come back, and pulls say whether to trust them."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.label_errors import (
    LabelErrors,
    fit_label_errors,
    label_pulls,
)
from steadystar.calibrate.label_laws import fit_label_laws
from steadystar.calibrate.laws import ZONG_2020, LawOptions
from steadystar.calibrate.options import CalibrationError
from steadystar.data.status import Status

PUBLISHED = (10.0, 20.0, 50.0)


@pytest.fixture(scope="module")
def mock():
    path = Path(__file__).with_name("label_mocks.py")
    spec = importlib.util.spec_from_file_location("label_mocks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def constant_pulls(labels, truth, name):
    pulls = label_pulls(labels, name).join(
        truth.select("star_id", "variable"), on="star_id"
    )
    return pulls.filter(~pl.col("variable"))["pull"].to_numpy()


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"scale": 1.5},
        {"scale": 0.7, "floor": 0.5},
        {"scale": 1.3, "floor": 0.3, "variable": 0.1},
        {"scale": 1.2, "visits": (2, 2)},
    ],
    ids=str,
)
def test_calibrated_errors_make_pulls_of_width_one(mock, kind):
    labels, truth = mock.labels(3, 1500, **kind)
    errors = fit_label_errors(labels)
    calibrated = errors.apply(labels)
    for name in mock.SIGMA_AT_20:
        pull = constant_pulls(calibrated, truth, name)
        # 2000 to 6000 pulls, the two of a pair equal: their width is known to 2%.
        assert 0.95 < pull.std() < 1.05, name
        scale, scale_err, floor, floor_err = (
            errors.models[name].table.row(0, named=True)[column]
            for column in ("scale", "scale_err", "floor", "floor_err")
        )
        assert abs(scale - kind.get("scale", 1.0)) < 4 * scale_err
        true_floor = kind.get("floor", 0.0) * mock.SIGMA_AT_20[name]
        # 0.03 of the typical error where there is no floor: it cannot be negative.
        margin = 4 * floor_err + 0.03 * mock.SIGMA_AT_20[name]
        assert abs(floor - true_floor) < margin


def test_noise_does_not_pass_for_variability(mock):
    widths = []
    for seed in range(4):
        labels, truth = mock.labels(seed, 1500, scale=1.5)
        calibrated = fit_label_errors(labels, names=["teff"]).apply(labels)
        widths.append(constant_pulls(calibrated, truth, "teff").std())
    # The scale is fitted to these very pulls: their width scatters by 0.3% only. Were
    # stars variable that scatter by a third more than the errors, it would be 1.01.
    assert np.mean(widths) == pytest.approx(1, abs=0.006)


def test_without_calibration_the_pulls_show_what_is_wrong(mock):
    labels, truth = mock.labels(3, 1500, scale=1.5)
    assert constant_pulls(labels, truth, "teff").std() == pytest.approx(1.5, abs=0.08)


def test_pulsators_do_not_widen_the_errors_of_all(mock):
    # The control: were all deviations noise, a tenth of pulsators would widen them a lot.
    labels, truth = mock.labels(5, 1500, variable=0.1)
    row = fit_label_errors(labels, names=["teff"]).table.row(0, named=True)
    everything = label_pulls(labels, "teff")["pull"].to_numpy()
    assert everything.std() > 1.5
    assert row["scale"] == pytest.approx(1, abs=0.08)
    assert row["floor"] < 0.2 * mock.SIGMA_AT_20["teff"]
    shares = truth["variable"].mean()
    assert row["n_spectra"] < (1 - shares / 2) * len(labels)


def test_a_pull_compares_a_spectrum_with_the_others_of_its_star(mock):
    labels, _ = mock.labels(1, 30)
    pulls = label_pulls(labels, "teff")
    star = labels.filter(star_id="s000004")
    value, error = star["teff"].to_numpy(), star["teff_err"].to_numpy()
    for i, found in enumerate(pulls.filter(star_id="s000004")["pull"]):
        others = np.arange(len(star)) != i
        weight = error[others] ** -2
        mean = np.sum(weight * value[others]) / np.sum(weight)
        expected = (value[i] - mean) / np.hypot(error[i], np.sum(weight) ** -0.5)
        # Rounding of sums of squares.
        assert found == pytest.approx(expected, rel=1e-9)


def test_arms_may_differ_from_each_other_and_have_errors_of_their_own(mock):
    labels, truth = mock.labels(2, 1500, arms=("blue", "red"))
    red = pl.col("arm") == "red"
    labels = labels.with_columns(
        teff=pl.col("teff") + red * 300.0,
        teff_err=pl.when(red).then(0.5 * pl.col("teff_err")).otherwise("teff_err"),
    )
    errors = fit_label_errors(labels, names=["teff"])
    scale = dict(errors.table.select("arm", "scale").rows())
    # Each is known to 1.5%.
    assert scale["blue"] == pytest.approx(1, abs=0.06)
    assert scale["red"] == pytest.approx(2, abs=0.12)
    pull = constant_pulls(errors.apply(labels), truth, "teff")
    assert 0.95 < pull.std() < 1.05
    together = fit_label_errors(labels, by=[], names=["teff"])
    assert together.models["teff"].by == ()


def test_applied_twice_it_is_applied_once_and_the_fits_errors_are_kept(mock):
    labels, _ = mock.labels(3, 300, scale=1.5)
    errors = fit_label_errors(labels)
    once = errors.apply(labels)
    assert once["teff_fit_err"].equals(labels["teff_err"])
    assert (once["teff_err"] / labels["teff_err"]).median() == pytest.approx(
        1.5, abs=0.1
    )
    assert errors.apply(once).equals(once)
    again = fit_label_errors(once)
    assert again.table.equals(errors.table)
    assert once["visit_id"].equals(labels["visit_id"])


def test_saved_and_loaded_it_is_the_same(mock, tmp_path):
    labels, _ = mock.labels(3, 300, arms=("blue", "red"))
    labels = labels.with_columns(arm=pl.col("arm").cast(pl.Enum(["red", "blue"])))
    errors = fit_label_errors(labels)
    errors.save(tmp_path / "a")
    errors.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = LabelErrors.load(tmp_path / "a")
    assert loaded.table.equals(errors.table)
    assert loaded.apply(labels).equals(errors.apply(labels))
    (tmp_path / "c").write_text("no")
    with pytest.raises(CalibrationError, match="holds no errors of labels"):
        LabelErrors.load(tmp_path / "c")


def test_flagged_rows_have_no_say(mock):
    labels, _ = mock.labels(3, 400)
    wild = labels.head(600).with_columns(
        visit_id=pl.lit("x") + pl.col("visit_id"),
        teff=pl.col("teff") + 1e4,
        status=pl.lit(int(Status.TWO_SOLUTIONS), pl.Int64),
    )
    clean = fit_label_errors(labels).table
    assert fit_label_errors(pl.concat([labels, wild])).table.equals(clean)
    assert not fit_label_errors(pl.concat([labels, wild.with_columns(status=pl.lit(0, pl.Int64))])).table.equals(clean)  # fmt: skip


def test_without_repeats_the_errors_stay_and_that_is_said(mock):
    labels, _ = mock.labels(1, 50, visits=(1, 1))
    errors = fit_label_errors(labels, names=["teff"])
    assert errors.notes == (
        "teff: No star has two spectra with labels: the errors stay as they were given.",
    )
    assert errors.apply(labels)["teff_err"].to_numpy() == pytest.approx(
        labels["teff_err"].to_numpy(), rel=1e-12
    )
    nothing = labels.with_columns(teff=float("nan"))
    assert "No star has two" in fit_label_errors(nothing, names=["teff"]).notes[0]
    assert len(fit_label_errors(labels.head(0)).notes) == 4


def test_small_groups_take_the_errors_of_all(mock):
    labels, _ = mock.labels(1, 300, scale=1.5, arms=("blue", "red"))
    few = (pl.col("arm") == "red") & (pl.int_range(pl.len()) > 20)
    errors = fit_label_errors(labels.filter(~few), names=["teff"])
    scale = errors.table["scale"].to_numpy()
    assert errors.table["arm"].to_list() == ["blue", "red"]
    assert scale[1] == pytest.approx(errors.models["teff"].scale)
    assert "1 of 2 groups have fewer than 30 spectra" in errors.notes[0]


def zong(seed, stars=2500):
    """Repeats that scatter by the published laws; the stated errors are of no use."""
    rng = np.random.default_rng(seed)
    count = rng.integers(3, 9, stars)
    star = np.repeat(np.arange(stars), count)
    snr = np.exp(rng.uniform(np.log(6), np.log(200), stars))[star]
    snr = np.clip(snr * np.exp(rng.normal(0, 0.1, len(star))), 4, 290)
    table = {"star_id": [f"s{i}" for i in star], "snr": snr}
    for name in ("teff", "logg", "feh"):
        sigma = ZONG_2020[name].apply(snr)
        table[name] = rng.normal(0, 30 * sigma.min(), stars)[star] + sigma * rng.normal(
            size=len(star)
        )
        table[f"{name}_err"] = np.full(len(star), sigma.min())
    return pl.DataFrame(table)


@pytest.mark.parametrize("method", ["likelihood", "zong"])
def test_both_methods_return_the_published_laws(method):
    laws = fit_label_laws(zong(1), options=LawOptions(method))
    assert laws.notes == () or method == "zong"
    table = laws.table
    assert table["label"].to_list() == ["teff", "logg", "feh"]
    for row in table.iter_rows(named=True):
        true = ZONG_2020[row["label"]]
        # The law itself is known to 1 or 2%. As published it is wider where it is
        # steep: a window of 6 in S/N averages over the slope (8% at S/N 10), and
        # sqrt(n/(n-1)) is too much for the noisiest of n spectra (1 or 2%).
        allowed = {"likelihood": (0.04, 0.03, 0.03), "zong": (0.12, 0.05, 0.04)}
        for snr, part in zip(PUBLISHED, allowed[method], strict=True):
            expected = true.apply(snr)[0]
            assert row[f"at_{snr:g}"] == pytest.approx(expected, rel=part)
            assert 0 < row[f"at_{snr:g}_err"] < 0.05 * expected
        # Of nine coefficients one is beyond 3 errors in 40 such tests; as published, a
        # and b are off by 1.5 errors in the mean of 8 such mocks.
        limit = 3 if method == "likelihood" else 4.5
        for name in ("a", "b", "c"):
            error = row[f"{name}_err"]
            assert abs(row[name] - getattr(true, name)) < limit * error


def test_laws_are_by_arm_where_arms_differ_and_evaluated_where_asked(mock):
    labels, _ = mock.labels(4, 1200, arms=("blue", "red"))
    laws = fit_label_laws(labels, names=["teff"])
    assert laws.table["arm"].to_list() == ["blue", "red"]
    at = laws.at(30)
    assert at["at_30"].to_numpy() == pytest.approx(55 * 20 / 30, rel=0.06)
    with pytest.raises(CalibrationError, match="2 laws of teff"):
        laws.law("teff")
    with pytest.raises(CalibrationError, match="no law of logg"):
        laws.law("logg")
    one = fit_label_laws(labels, by=[], names=["teff"])
    assert one.law("teff").n_used > 5000
    error = one.apply(labels)["teff_law_err"]
    assert (error / labels["teff_err"]).median() == pytest.approx(1, abs=0.05)


def test_labels_that_have_no_law_are_named(mock):
    labels, _ = mock.labels(4, 200)
    labels = labels.with_columns(vsini=float("nan"))
    laws = fit_label_laws(labels)
    assert laws.table["label"].to_list() == ["teff", "logg", "feh"]
    assert len(laws.notes) == 1
    assert laws.notes[0].startswith("vsini has no law. Only 0")


def test_hostile_tables_get_sentences(mock):
    labels, _ = mock.labels(4, 20)
    for frame, words in (
        (labels.drop("star_id"), "no column star_id"),
        (labels.drop("teff_err"), "no column teff_err"),
        (labels.select("star_id", "snr"), "none of the labels"),
        (labels.with_columns(teff=pl.lit("hot")), "teff should hold numbers"),
    ):
        with pytest.raises(CalibrationError, match=words):
            fit_label_errors(frame)
        with pytest.raises(CalibrationError, match=words):
            fit_label_laws(frame)
    with pytest.raises(CalibrationError, match="no column moon"):
        fit_label_errors(labels, by="moon")
    with pytest.raises(CalibrationError, match="no column snr"):
        fit_label_laws(labels.drop("snr"))


def test_a_handful_of_repeats_calibrates_nothing(mock):
    labels, _ = mock.labels(5, 4, visits=(3, 3))
    errors = fit_label_errors(labels)
    assert any("errors stay as they were given" in note for note in errors.notes)
    assert errors.apply(labels)["teff_err"].equals(labels["teff_err"])
