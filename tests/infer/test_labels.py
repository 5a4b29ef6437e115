"""Labels of stars: the published means, those by errors, and no photon counted twice."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2 as chi2_of

from steadystar.calibrate.label_errors import fit_label_errors
from steadystar.calibrate.options import CalibrationError
from steadystar.data import schema
from steadystar.data.status import Status
from steadystar.infer.labels import LabelSummaryOptions, summarize_labels

LABELS = tuple(schema.LABEL_NAMES)


@pytest.fixture(scope="module")
def mock():
    path = Path(__file__).parents[1] / "calibrate" / "label_mocks.py"
    spec = importlib.util.spec_from_file_location("label_mocks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slowly(labels: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The same statistics, star by star and as the formulas are printed."""
    stars = {}
    for (star,), mine in labels.group_by(["star_id"]):
        exposures = {}
        for row in mine.iter_rows(named=True):
            if row["status"] == 0:
                exposures.setdefault(row["exposure_id"], []).append(row)
        used = []
        for rows in exposures.values():
            whole = [row for row in rows if row["arm"] == "all"]
            used += whole or rows
        out = {"n_labels": len(used)}
        for name in LABELS:
            value = np.array([row[name] for row in used])
            error = np.array([row[f"{name}_err"] for row in used])
            w = np.array([row["snr"] for row in used]) ** 2
            n = len(value)
            if n == 0:
                out |= dict.fromkeys([name, f"{name}_err", f"{name}_mean"], np.nan)
                continue
            mean = np.sum(w * value) / np.sum(w)
            sigma = error[0]
            if n > 1:
                sigma = np.sqrt(
                    n / (n - 1) * np.sum(w * (value - mean) ** 2) / np.sum(w)
                )
            effective = np.sum(w) ** 2 / np.sum(w**2)
            v = 1 / error**2
            best = np.sum(v * value) / np.sum(v)
            chi2 = np.sum((value - best) ** 2 * v) if n > 1 else np.nan
            out |= {
                name: mean,
                f"{name}_scatter": sigma,
                f"{name}_err": sigma / np.sqrt(effective),
                f"{name}_mean": best,
                f"{name}_mean_err": np.sum(v) ** -0.5,
                f"{name}_chi2": chi2,
                f"{name}_p_value": chi2_of.sf(chi2, n - 1) if n > 1 else np.nan,
            }
        stars[star] = out
    return stars


def test_it_equals_the_formulas_star_by_star(mock):
    labels, _ = mock.labels(0, 60, visits=(1, 5), arms=("blue", "red", "all"))
    rng = np.random.default_rng(1)
    # Some joint fits failed, and some stars have no good spectrum at all.
    failed = (labels["arm"] == "all").to_numpy() & (rng.random(len(labels)) < 0.3)
    failed |= (labels["star_id"] < "s000004").to_numpy()
    bad = int(Status.NOT_CONVERGED)
    labels = labels.with_columns(status=pl.Series(np.where(failed, bad, 0)))
    labels = labels.sample(fraction=1, shuffle=True, seed=3)
    found, expected = summarize_labels(labels), slowly(labels)
    assert len(found) == len(expected) == 60
    for row in found.iter_rows(named=True):
        for column, value in expected[row["star_id"]].items():
            # Sums in another order.
            assert row[column] == pytest.approx(value, rel=1e-9, nan_ok=True), column


def test_rows_that_name_no_star_are_told():
    labels = pl.DataFrame(
        {
            "star_id": ["a", None, "a", ""],
            "snr": 50.0,
            "teff": [5000.0, 9000.0, 5010.0, 9000.0],
            "teff_err": 10.0,
        }
    )
    with pytest.warns(UserWarning, match="2 of 4 rows of labels name no star"):
        stars = summarize_labels(labels)
    assert stars["star_id"].to_list() == ["a"]
    assert stars["teff"].to_list() == pytest.approx([5005.0])


def test_one_spectrum_has_the_error_of_its_fit(mock):
    labels, _ = mock.labels(0, 20, visits=(1, 1))
    stars = summarize_labels(labels)
    labels = labels.sort("star_id")
    for column in ("teff_scatter", "teff_err", "teff_mean_err"):
        assert stars[column].to_numpy() == pytest.approx(labels["teff_err"].to_numpy())
    assert stars["teff"].to_numpy() == pytest.approx(labels["teff"].to_numpy())
    assert stars["teff_chi2"].is_nan().all()
    assert stars["teff_p_value"].is_nan().all()


def test_calibrated_means_have_pulls_of_one_and_pulsators_are_found(mock):
    labels, truth = mock.labels(
        7, 1500, visits=(3, 8), scale=1.4, floor=0.3, variable=0.1
    )
    stars = summarize_labels(fit_label_errors(labels).apply(labels))
    table = stars.join(truth.rename({n: f"true_{n}" for n in LABELS}), on="star_id")
    table = table.with_columns(varies=truth["variable"])
    quiet = table.filter(~pl.col("varies"))
    for name in LABELS:
        pull = (quiet[name + "_mean"] - quiet["true_" + name]) / quiet[
            name + "_mean_err"
        ]
        # 1350 stars: the width is known to 2%.
        assert 0.92 < pull.std() < 1.08
        p_value = quiet[f"{name}_p_value"].to_numpy()
        # Uniform where nothing varies: 1% below 0.01, 50% below one half.
        assert np.mean(p_value < 0.01) < 0.03
        assert np.mean(p_value < 0.5) == pytest.approx(0.5, abs=0.07)
        pulsators = table.filter(pl.col("varies"))[f"{name}_p_value"].to_numpy()
        assert np.mean(pulsators < 0.01) > 0.7


def test_errors_of_both_means_say_how_far_off_they_are(mock):
    labels, truth = mock.labels(8, 2000, visits=(6, 10))
    stars = summarize_labels(labels)
    away = (stars["teff"] - truth["teff"]).to_numpy()
    best = away / (stars["teff_scatter"] / stars["n_labels"].sqrt()).to_numpy()
    # Errors from 6 to 10 deviations are Student's: wider than 1 by a tenth in the middle.
    assert 1.4826 * np.median(np.abs(best)) == pytest.approx(1.07, abs=0.06)
    # N_eff is right for equal errors of unequal weight; here errors go as 1/(S/N), and the
    # error of the mean is too large by the root of N/N_eff.
    pull = away / stars["teff_err"].to_numpy()
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(0.93, abs=0.06)
    # Neither is sigma_w the error of the mean: it is that of single spectra.
    ratio = (stars["teff_scatter"] / stars["teff_err"]).median()
    assert ratio == pytest.approx(np.sqrt(6.5), rel=0.12)


def test_arms_never_count_beside_their_joint_fit(mock):
    labels, _ = mock.labels(2, 50, arms=("blue", "red", "all"))
    whole = labels.filter(arm="all")
    assert summarize_labels(labels).equals(summarize_labels(whole))
    assert (
        summarize_labels(labels)["n_labels"].sum()
        == whole["exposure_id"].n_unique()
        == len(whole)
    )


def test_arms_stand_in_where_the_joint_fit_failed(mock):
    labels, _ = mock.labels(2, 50, arms=("blue", "red", "all"))
    bad = pl.col("arm") == "all"
    failed = labels.with_columns(
        teff=pl.when(bad).then(float("nan")).otherwise("teff"),
        logg=pl.when(bad).then(float("nan")).otherwise("logg"),
        feh=pl.when(bad).then(float("nan")).otherwise("feh"),
        vsini=pl.when(bad).then(float("nan")).otherwise("vsini"),
    )
    arms = labels.filter(pl.col("arm") != "all")
    assert summarize_labels(failed).equals(summarize_labels(arms))


def test_a_spectrum_that_several_models_fit_counts_once(mock):
    labels, _ = mock.labels(3, 40)
    labels = labels.with_columns(model=pl.lit("cool"))
    hot = labels.head(60).with_columns(
        model=pl.lit("hot"), teff=pl.col("teff") + 9000.0
    )
    alone = labels.tail(3).with_columns(
        model=pl.lit("hot"),
        star_id=pl.lit("hot star"),
        visit_id=pl.lit("h") + pl.col("visit_id"),
        exposure_id=pl.lit("h") + pl.col("exposure_id"),
    )
    both = summarize_labels(pl.concat([hot, labels, alone]))
    assert both.filter(pl.col("star_id") != "hot star").equals(summarize_labels(labels))
    assert both.filter(star_id="hot star")["n_labels"][0] == 3


def test_a_sum_of_exposures_counts_only_where_it_is_all_there_is(mock):
    labels, _ = mock.labels(3, 30)
    coadd = labels.unique("star_id", keep="first", maintain_order=True).with_columns(
        visit_id=pl.lit("sum of ") + pl.col("star_id"),
        exposure_id=pl.lit("sum of ") + pl.col("star_id"),
        teff=pl.lit(4000.0),
        status=pl.lit(int(Status.COADD), pl.Int64),
    )
    last = coadd.tail(1).with_columns(star_id=pl.lit("z"))
    stars = summarize_labels(pl.concat([coadd, labels, last]))
    assert stars.head(30).equals(summarize_labels(labels))
    assert stars["teff"][30] == 4000
    assert stars["n_labels"][30] == 1


def test_the_edge_of_the_models_is_no_measurement_unless_asked_for(mock):
    labels, _ = mock.labels(4, 30, visits=(4, 4))
    edge = labels.with_columns(
        status=pl.when(pl.int_range(pl.len()) % 4 == 0)
        .then(int(Status.LABEL_EDGE))
        .otherwise(0)
        .cast(pl.Int64)
    )
    without = labels.filter(pl.int_range(pl.len()) % 4 != 0)
    assert summarize_labels(edge).equals(summarize_labels(without))
    kept = LabelSummaryOptions(leave_out=("NO_LABELS",))
    assert summarize_labels(edge, options=kept).equals(summarize_labels(labels))


def test_a_label_without_an_error_takes_only_itself_out(mock):
    labels, _ = mock.labels(4, 30, visits=(4, 4))
    here = pl.int_range(pl.len()) % 4 == 0
    still = labels.with_columns(
        vsini_err=pl.when(here).then(float("nan")).otherwise("vsini_err")
    )
    found, without = summarize_labels(still), summarize_labels(labels.filter(~here))
    assert found["teff"].equals(summarize_labels(labels)["teff"])
    assert found["vsini"].equals(without["vsini"])
    assert (found["n_labels"] == 4).all()


def test_stars_keep_their_rows_and_their_order_and_none_is_lost(mock):
    labels, _ = mock.labels(5, 20)
    stars = schema.conform(
        pl.DataFrame(
            {
                "star_id": ["s000007", "nobody", "s000001"],
                "rv_mean": [1.0, 2.0, 3.0],
                "KIC": [1, 2, 3],
                "teff": [1.0, 1.0, 1.0],
            }
        ),
        "stars",
    )
    found = summarize_labels(labels, stars)
    assert found["star_id"].to_list()[:4] == [
        "s000007",
        "nobody",
        "s000001",
        "s000000",
    ]
    assert len(found) == 21
    assert found["KIC"].to_list()[:4] == [1, 2, 3, None]
    assert found["rv_mean"].to_list()[:3] == [1.0, 2.0, 3.0]
    assert found["n_labels"][1] == 0
    assert np.isnan(found["teff"][1])
    assert found["teff"][0] > 1000
    assert found["n_visits"][3] == 0
    again = summarize_labels(labels, found)
    assert again.equals(found)
    assert schema.conform(found, "stars").columns == found.columns


def test_what_was_not_measured_has_no_columns(mock):
    labels, _ = mock.labels(5, 20)
    found = summarize_labels(labels.with_columns(vsini=float("nan")))
    assert "vsini" not in found.columns
    assert "feh" in found.columns
    none = labels.with_columns(status=pl.lit(int(Status.NO_LABELS), pl.Int64))
    assert summarize_labels(none).columns == schema.empty("stars").columns
    assert len(summarize_labels(none)) == 20
    assert summarize_labels(labels.head(0)).columns == schema.empty("stars").columns
    no_snr = labels.with_columns(snr=pl.lit(None, pl.Float64))
    assert "teff" not in summarize_labels(no_snr).columns


def test_what_all_spectra_of_a_star_share_does_not_average_out():
    """Rotation that a line spread of one fiber feigns is the same in every visit."""
    rng = np.random.default_rng(8)
    stars, visits, shared, own = 4000, 9, 3.0, 0.5
    star = np.repeat(np.arange(stars), visits)
    off = shared * rng.normal(size=stars)[star] + own * rng.normal(size=len(star))
    labels = pl.DataFrame(
        {
            "star_id": [f"star {i:04d}" for i in star],
            "snr": 30.0,
            "vsini": 40.0 + off,
            # The noise is said to be 0.4, what is shared is known.
            "vsini_err": np.hypot(shared, 0.4),
            "vsini_common_err": shared,
        }
    )
    labels = fit_label_errors(labels).apply(labels)
    assert labels["vsini_err"][0] == pytest.approx(np.hypot(shared, own), rel=0.01)
    assert fit_label_errors(labels).apply(labels).equals(labels)
    found = summarize_labels(labels)
    pull = (found["vsini_mean"] - 40.0) / found["vsini_mean_err"]
    # A standard deviation of 4000 has an error of 1.1%.
    assert pull.std() == pytest.approx(1, abs=0.04)
    # Constancy is judged by what repeats differ by.
    assert (found["vsini_p_value"] < 0.1).mean() == pytest.approx(0.1, abs=0.02)


def test_tiny_and_huge_numbers_do_no_harm():
    labels = pl.DataFrame(
        {
            "star_id": ["a", "a", "b", "b"],
            "snr": [1e-200, 1e-200, 1e200, 1e200],
            "teff": [5000.0, 5010.0, 5000.0, 5010.0],
            "teff_err": [1e-180, 1e-180, 1e180, 1e180],
        }
    )
    found = summarize_labels(labels)
    assert found["teff"].to_list() == [5005.0, 5005.0]
    assert found["teff_mean"].to_list() == [5005.0, 5005.0]
    assert found["teff_mean_err"][1] == pytest.approx(1e180 / np.sqrt(2))


def test_hostile_tables_get_sentences(mock):
    labels, _ = mock.labels(5, 20)
    for frame, words in (
        (labels.drop("snr"), "no column snr"),
        (labels.drop("star_id"), "no column star_id"),
        (labels.drop(LABELS), "none of the labels"),
        (labels.with_columns(snr=pl.lit("x")), "snr should hold numbers"),
        (labels.with_columns(feh_err=pl.lit("x")), "feh_err should hold numbers"),
    ):
        with pytest.raises(CalibrationError, match=words):
            summarize_labels(frame)
    with pytest.raises(CalibrationError, match="no column star_id"):
        summarize_labels(labels, pl.DataFrame({"name": ["a"]}))
    with pytest.raises(CalibrationError, match="is of type String"):
        summarize_labels(labels, pl.DataFrame({"star_id": [1]}))
    with pytest.raises(CalibrationError, match="MOON, which is no flag"):
        LabelSummaryOptions(leave_out=("MOON",))
