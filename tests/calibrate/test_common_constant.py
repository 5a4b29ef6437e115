import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status

NAME = "spectrograph+arm+exposure_id"
SMALL = ZeroPointOptions(method="common-constant", min_plate_spectra=100)


def plate(mocks, seed=0, **kwargs) -> pl.DataFrame:
    """Zero points of a few hundred m/s, as the paper finds them."""
    return mocks.field(seed, **{"spread": 0.3, "stars": 60, "error": 0.2, **kwargs})


def by_hand(visits: pl.DataFrame, rounds: int, limit=1.0) -> np.ndarray:
    """Appendix A in loops over stars and exposures, for one plate and spectrograph."""
    exposures = sorted(visits["exposure_id"].unique())
    offset = dict.fromkeys(exposures, 0.0)
    for _ in range(rounds):
        up, down = dict.fromkeys(exposures, 0.0), dict.fromkeys(exposures, 0.0)
        for _, rows in visits.group_by("star_id"):
            rows = rows.to_dicts()
            if len({r["exposure_id"] for r in rows}) < len(exposures):
                continue
            v = np.array([r["rv_raw"] - offset[r["exposure_id"]] for r in rows])
            if np.std(v, ddof=1) >= limit:
                continue
            w = np.array([r["rv_raw_err"] ** -2 for r in rows])
            deviation = v - np.average(v, weights=w)
            for r, d, x in zip(rows, deviation, w, strict=True):
                up[r["exposure_id"]] += x * d
                down[r["exposure_id"]] += x
        offset = {t: offset[t] + up[t] / down[t] for t in exposures}
    return np.array([offset[t] for t in exposures])


@pytest.mark.parametrize("rounds", [1, 3])
def test_offsets_are_those_of_the_appendix(mocks, rounds):
    visits = plate(mocks).filter(pl.int_range(pl.len()) % 97 != 5)
    options = ZeroPointOptions(
        method="common-constant", min_plate_spectra=100, rounds=rounds
    )
    table = fit_zeropoints(visits, options=options).offsets[NAME]
    want = by_hand(visits, rounds)
    want -= np.average(want, weights=table["n_visits"])
    assert_allclose(table["offset"], want, atol=1e-12)


def test_one_round_is_enough(mocks):
    visits = plate(mocks)
    truth = visits.group_by("exposure_id").agg(pl.col("true_zero").first())
    truth = truth.sort("exposure_id")["true_zero"].to_numpy()
    for rounds in (1, 3):
        options = ZeroPointOptions(
            method="common-constant", min_plate_spectra=100, rounds=rounds
        )
        got = fit_zeropoints(visits, options=options).offsets[NAME]["offset"].to_numpy()
        # 51 stars of 0.2 km/s: 0.03 km/s.
        assert np.std(got - truth) < 0.06


def test_plates_with_few_spectra_are_refused_by_name(mocks):
    good, poor = plate(mocks, name="a"), plate(mocks, 1, name="b", stars=8)
    visits = pl.concat([good, poor])
    found = fit_zeropoints(visits, options=SMALL)
    table = found.offsets[NAME]
    refused = table.filter(pl.col("exposure_id").str.starts_with("b"))
    assert refused["offset"].is_nan().all()
    assert (refused["status"] == int(Status.PLATE_REFUSED | Status.UNCALIBRATED)).all()
    assert table.filter(pl.col("exposure_id").str.starts_with("a"))["status"].sum() == 0
    assert any(
        "field b, arm red has 80 spectra, fewer than 100" in n for n in found.notes
    )
    out = found.apply(visits).filter(field="b")
    assert (out["status"] & int(Status.PLATE_REFUSED)).to_numpy().all()
    assert (out["rv"] == out["rv_raw"]).all()


def test_the_published_limit_is_the_default(mocks):
    assert ZeroPointOptions().min_plate_spectra == 540
    found = fit_zeropoints(plate(mocks, stars=53), method="common-constant")
    assert any("530 spectra, fewer than 540" in note for note in found.notes)


def test_a_spectrograph_of_inconsistent_scatter_is_set_aside(mocks):
    parts = [
        plate(mocks, s, spectrograph=s, error=2.0 if s == 3 else 0.2).with_columns(
            star_id=pl.format("{}-{}", pl.lit(s), "star_id"),
            visit_id=pl.format("{}-{}", pl.lit(s), "visit_id"),
        )
        for s in range(1, 6)
    ]
    visits = pl.concat(parts)
    found = fit_zeropoints(visits, options=SMALL)
    table = found.offsets[NAME]
    aside = (table["status"] & int(Status.INCONSISTENT_SCATTER)) != 0
    assert table.filter(aside)["spectrograph"].unique().to_list() == [3]
    assert table.filter(aside)["offset"].is_nan().all()
    assert aside.sum() == 10
    assert any("spectrograph 3 scatter far more" in note for note in found.notes)
    # A control: alike spectrographs stay.
    alike = fit_zeropoints(visits.filter(pl.col("spectrograph") != 3), options=SMALL)
    assert (alike.offsets[NAME]["status"] == 0).all()


def test_stars_that_miss_an_exposure_do_not_count(mocks):
    visits = plate(mocks, variable=0.0)
    missing = pl.col("star_id").is_in(["f001", "f002"]) & (
        pl.col("exposure_id") == "f04"
    )
    ruined = visits.with_columns(
        rv_raw=pl.when(pl.col("star_id").is_in(["f001", "f002"]))
        .then(pl.col("rv_raw") + 0.5 * (pl.col("exposure_id") < "f03"))
        .otherwise(pl.col("rv_raw"))
    ).filter(~missing)
    clean = visits.filter(~pl.col("star_id").is_in(["f001", "f002"]))
    a = fit_zeropoints(ruined, options=SMALL).offsets[NAME]["offset"].to_numpy()
    b = fit_zeropoints(clean, options=SMALL).offsets[NAME]["offset"].to_numpy()
    assert_allclose(a - a.mean(), b - b.mean(), atol=1e-9)


def test_a_plate_without_constant_stars_is_uncalibrated(mocks):
    visits = plate(mocks, variable=1.0)
    found = fit_zeropoints(visits, options=SMALL)
    table = found.offsets[NAME]
    assert (table["status"] == int(Status.TOO_FEW_STARS | Status.UNCALIBRATED)).all()
    assert any(note.startswith("None of the 10 offsets") for note in found.notes)
