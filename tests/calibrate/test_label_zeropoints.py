"""Zero points of labels: planted ones are found and taken off, others are called noise."""

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.label_zeropoints import (
    LabelZeroPointOptions,
    label_zeropoints,
)
from steadystar.calibrate.laws import ZONG_2020
from steadystar.calibrate.options import CalibrationError
from steadystar.data.status import Status

BY = [("spectrograph", "exposure_id")]
METHODS = ("joint", "common-constant")


def plate(seed, width, *, label="teff", stars=300, exposures=16, variable=0.05):
    """One plate as in appendix B, whose labels scatter by Zong's law, and its offsets.

    ``width``: of the offsets of spectrograph and exposure, in units of the error at S/N
    20. Errors are stated as 1/(S/N), which is not the law: the fit has to find out.
    """
    rng = np.random.default_rng(seed)
    star, exposure = (grid.ravel() for grid in np.mgrid[:stars, :exposures])
    spectrograph = star % 3
    snr = np.exp(rng.normal(3.3, 0.5, stars))[star]
    snr = snr * np.exp(rng.normal(0, 0.2, exposures))[exposure]
    law = ZONG_2020[label]
    typical = law.apply(20.0)[0]
    offsets = width * typical * rng.normal(size=(3, exposures))
    varies = rng.random(stars) < variable
    value = (
        rng.normal(0, 10 * typical, stars)[star]
        + offsets[spectrograph, exposure]
        + law.apply(snr) * rng.normal(size=len(star))
        + np.where(varies, 5 * typical, 0)[star] * rng.normal(size=len(star))
    )
    table = pl.DataFrame(
        {
            "star_id": [f"s{i:03d}" for i in star],
            "visit_id": [f"{i}-{e}" for i, e in zip(star, exposure, strict=True)],
            "field": ["K2d4"] * len(star),
            "spectrograph": spectrograph,
            "exposure_id": [f"e{e:02d}" for e in exposure],
            "snr": snr,
            label: value,
            f"{label}_err": 20 * typical / snr,
        }
    )
    return table, offsets


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("label", ["teff", "logg", "feh"])
def test_planted_zero_points_are_found_with_their_width(method, label):
    table, offsets = plate(1, 0.5, label=label)
    # Without the shifts of exposures that are common to one spectrograph's stars.
    offsets = offsets - offsets.mean(axis=1, keepdims=True)
    options = LabelZeroPointOptions(method=method)
    found = label_zeropoints(table, BY, label, options)
    assert found.significant
    assert found.worthwhile
    assert "are real and worth taking off" in found.sentence
    assert found.gain > 10 * found.gain_err
    assert found.p_value < 1e-10
    # 48 offsets: their width is known to 10%.
    assert found.width == pytest.approx(offsets.std(), rel=0.15)
    table_of = found.offsets["spectrograph+exposure_id"]
    true = offsets[
        table_of["spectrograph"].to_numpy(),
        [int(e[1:]) for e in table_of["exposure_id"]],
    ]
    pull = (table_of["offset"].to_numpy() - true) / table_of["offset_err"].to_numpy()
    # The errors of the published method are those of weights alone: twice too small.
    assert pull.std() < (1.3 if method == "joint" else 3)
    # An offset of half an error at S/N 20 is most of the error at S/N 50.
    before, after = (found.laws[name].to_numpy() for name in ("before", "after"))
    assert after == pytest.approx(ZONG_2020[label].apply([10, 20, 50]), rel=0.1)
    assert before[2] > 1.25 * after[2]
    assert found.held_out < 0.95 * found.before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(2))
def test_without_zero_points_they_are_declared_negligible(method, seed):
    table, _ = plate(seed, 0.0)
    found = label_zeropoints(table, BY, "teff", LabelZeroPointOptions(method=method))
    assert not found.significant
    assert not found.worthwhile
    assert "are not significant" in found.sentence
    # The trap: the spectra that were fitted scatter less than others, corrected alike.
    assert found.after < found.held_out
    assert found.gain < 0
    if method == "joint":
        assert found.p_value > 1e-3


def test_small_ones_among_many_spectra_are_real_but_negligible():
    table, _ = plate(1, 0.1, stars=3000)
    found = label_zeropoints(table, BY, "teff")
    assert found.significant
    assert not found.worthwhile
    assert "are real, but negligible" in found.sentence


def test_taken_off_they_are_gone_and_their_errors_are_added():
    table, offsets = plate(2, 0.5)
    found = label_zeropoints(table, BY, "teff")
    corrected = found.apply(table)
    again = label_zeropoints(corrected, BY, "teff")
    # What is left are rounds of the iteration, of offsets of 28 K.
    assert again.width < 0.1 * found.width
    moved = (table["teff"] - corrected["teff"]).to_numpy()
    assert corrected["teff_correction"].to_numpy() == pytest.approx(moved, abs=1e-9)
    true = offsets - offsets.mean(axis=1, keepdims=True)
    planted = true[
        table["spectrograph"].to_numpy(), [int(e[1:]) for e in table["exposure_id"]]
    ]
    # 100 stars of 55 K in each offset: 6 K, and as much for the mean that is zero.
    assert np.std(moved - planted) < 8
    assert (corrected["teff_err"] > table["teff_err"]).all()
    other = table.with_columns(exposure_id=pl.lit("another night"))
    unknown = found.apply(other)
    assert unknown["teff"].equals(table["teff"])
    assert (unknown["teff_err"] > found.width / 2).all()


def test_flagged_rows_and_photons_that_count_twice_stay_out():
    table, _ = plate(3, 0.3, stars=120)
    table = table.with_columns(status=pl.lit(0, pl.Int64), arm=pl.lit("all"))
    wild = table.with_columns(
        teff=pl.col("teff") * 3 + 1e4,
        visit_id=pl.lit("w") + pl.col("visit_id"),
        status=pl.lit(int(Status.LABEL_EDGE), pl.Int64),
    )
    arms = table.with_columns(arm=pl.lit("blue"), teff=pl.col("teff") + 100.0)
    alone = label_zeropoints(table, BY, "teff")
    beside = label_zeropoints(pl.concat([table, wild, arms]), BY, "teff")
    assert beside.n_spectra == alone.n_spectra == len(table)
    assert beside.gain == pytest.approx(alone.gain, rel=1e-9)


def test_without_signal_to_noise_there_are_no_laws_but_a_verdict():
    table, _ = plate(3, 0.5, stars=90)
    found = label_zeropoints(table.drop("snr"), BY, "teff")
    assert len(found.laws) == 0
    assert found.worthwhile


def test_hostile_tables_get_sentences():
    table, _ = plate(3, 0.5, stars=30)
    once = table.unique("star_id")
    for frame, words in (
        (table.drop("exposure_id"), "no column exposure_id"),
        (table.drop("teff_err"), "no column teff_err"),
        (once, "No star has two spectra with a trusted teff"),
        (table.head(0), "No star has two"),
        (table.with_columns(teff=pl.lit("x")), "should hold numbers"),
    ):
        with pytest.raises(CalibrationError, match=words):
            label_zeropoints(frame, BY, "teff")
    with pytest.raises(CalibrationError, match="no method 'xiong'"):
        LabelZeroPointOptions(method="xiong")
    with pytest.raises(CalibrationError, match="leaves no star out"):
        LabelZeroPointOptions(folds=1)
