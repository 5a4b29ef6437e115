import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.solve import Design, solve_offsets
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status

NAME = "spectrograph+arm+exposure_id"


def oracle(visits: pl.DataFrame, truth: dict) -> float:
    """The error of one who knows the constant stars and the errors, km/s."""
    star = visits["star_id"].rank("dense").to_numpy().astype(np.intp) - 1
    use, n = truth["constant"], truth["n_groups"]
    design = Design(
        star[use],
        truth["group"][use][None],
        int(star.max()) + 1,
        n,
        np.zeros(n, np.intp),
    )
    offset = solve_offsets(
        design, truth["sigma"][use] ** -2, visits["rv_raw"].to_numpy()[use]
    )
    return float(np.std(offset - truth["zero"]))


def against_oracle(visits, truth, by):
    found = fit_zeropoints(visits, [by])
    table = found.offsets[by.replace(",", "+")]
    off = table["offset"].to_numpy() - truth["zero"]
    off -= off.mean()
    pull = float(np.std(off / table["offset_err"].to_numpy()))
    return float(np.std(off)) / oracle(visits, truth), pull, found


def xiong_seeds(mocks, seeds, errors):
    return [
        against_oracle(*mocks.xiong(s, errors=errors), NAME.replace("+", ","))
        for s in seeds
    ]


@pytest.mark.parametrize("errors", ["visit", "star"])
def test_xiongs_mock_is_solved_as_if_the_truth_were_known(mocks, errors):
    found = xiong_seeds(mocks, range(4), errors)
    assert np.mean([f[0] for f in found]) < 1.05
    assert max(f[0] for f in found) < 1.25


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["visit", "star"])
def test_the_worst_of_twenty_seeds_is_no_trap(mocks, errors):
    found = xiong_seeds(mocks, range(20), errors)
    ratio, pull = [f[0] for f in found], [f[1] for f in found]
    assert np.mean(ratio) < 1.10
    assert max(ratio) < 1.25
    assert 0.9 < np.sqrt(np.mean(np.square(pull))) < 1.1
    for _, _, zeropoints in found:
        steady = zeropoints.stars.sort("star_id")["p_constant"].to_numpy()[:200] > 0.5
        assert steady.sum() >= 194


@pytest.mark.parametrize(
    "size", [(8000, 90), pytest.param((24_000, 300), marks=pytest.mark.slow)]
)
def test_fibers_with_binaries(mocks, size):
    visits, truth = mocks.fibers(1, *size)
    ratio, _, found = against_oracle(visits, truth, "fiber")
    assert ratio < 1.10
    constant = found.stars["constant"].to_numpy()
    single = truth["amplitude"] == 0
    assert constant[single].mean() > 0.99
    # A binary of 0.2 km/s and S/N 20 is not seen; one above 1 km/s is.
    assert constant[truth["amplitude"] > 1].mean() < 0.01
    assert constant[~single].mean() < 0.10
    assert_allclose(found.errors["scale"], 1.0, atol=0.02)
    assert_allclose(found.errors["floor"], 0.04, atol=0.002)
    # Plain least squares is what binaries with small errors make of it: the control.
    plain = fit_zeropoints(visits, ["fiber"], "linear").offsets["fiber"]["offset"]
    assert np.std(plain.to_numpy() - truth["zero"]) > 20 * oracle(visits, truth)


@pytest.mark.slow
def test_fibers_over_six_seeds(mocks):
    found = [against_oracle(*mocks.fibers(s), "fiber") for s in range(6)]
    assert np.mean([f[0] for f in found]) < 1.05
    assert max(f[0] for f in found) < 1.10


def test_wild_visits_do_not_move_offsets(mocks):
    visits = mocks.field(stars=100, variable=0.1)
    rng = np.random.default_rng(0)
    wild = rng.random(len(visits)) < 0.02
    thrown = visits.with_columns(
        rv_raw=pl.col("rv_raw") + pl.Series(wild * rng.normal(0, 100, len(visits)))
    )
    clean, dirty = (fit_zeropoints(v).offsets[NAME] for v in (visits, thrown))
    change = (clean["offset"] - dirty["offset"]).to_numpy()
    # An offset loses 2% of its visits: it moves by a seventh of its error.
    assert np.std(change) < 0.4 * dirty["offset_err"].mean()
    plain = fit_zeropoints(thrown, method="linear").offsets[NAME]["offset"]
    assert (plain - clean["offset"]).std() > 10 * np.std(change)


def test_wrong_errors_are_found_out(mocks):
    visits, _ = mocks.fibers(2, 6000, 60)
    small = visits.with_columns(pl.col("rv_raw_err") / 1.5)
    found = fit_zeropoints(small, ["fiber"])
    assert_allclose(found.errors["scale"], 1.5, atol=0.03)
    assert_allclose(found.errors["floor"], 0.04, atol=0.002)
    right = fit_zeropoints(visits, ["fiber"])
    a, b = (f.offsets["fiber"] for f in (found, right))
    assert_allclose(a["offset_err"], b["offset_err"], rtol=0.02)


def test_errors_may_differ_between_arms(mocks):
    red = mocks.field(1, stars=120, error=0.2)
    blue = mocks.field(2, stars=120, error=0.2, name="b").with_columns(
        arm=pl.lit("blue"), rv_raw_err=pl.col("rv_raw_err") / 2
    )
    options = ZeroPointOptions(error_by=("arm",))
    errors = fit_zeropoints(pl.concat([red, blue]), options=options).errors
    assert errors["arm"].to_list() == ["blue", "red"]
    assert_allclose(errors["scale"], [2.0, 1.0], rtol=0.1)


def test_errors_that_are_all_equal_still_give_one_answer(mocks):
    visits = mocks.field(stars=100, variable=0).with_columns(rv_raw_err=pl.lit(0.1))
    found = fit_zeropoints(visits)
    noise = found.errors
    total = np.hypot(0.1 * noise["scale"][0], noise["floor"][0])
    # True errors are 0.15 to 0.45 km/s, 0.31 rms.
    assert total == pytest.approx(0.31, rel=0.1)
    assert noise["scale"][0] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("stars", [12, 200])
def test_where_all_stars_vary_nothing_is_calibrated(stars):
    rng = np.random.default_rng(0)
    star = np.repeat(np.arange(stars), 10)
    visits = pl.DataFrame(
        {
            "star_id": star,
            "exposure_id": np.tile(np.arange(10), stars),
            "rv": rng.normal(0, 30, len(star)),
            "rv_err": 0.3,
        }
    )
    found = fit_zeropoints(visits, ["exposure_id"])
    # Not constant stars with a floor of 30 km/s.
    assert not found.stars["constant"].any()
    table = found.offsets["exposure_id"]
    assert (table["status"] & int(Status.UNCALIBRATED) != 0).all()
    assert any("either nearly all of them vary" in note for note in found.notes)
    assert not any(note.startswith("Constant stars scatter") for note in found.notes)


def test_errors_far_too_small_are_still_found_out(mocks):
    visits = mocks.field(stars=100, variable=0.1).with_columns(pl.col("rv_raw_err") / 8)
    found = fit_zeropoints(visits)
    total = np.hypot(found.errors["scale"][0] * 0.3 / 8, found.errors["floor"][0])
    assert total == pytest.approx(0.31, rel=0.1)
    assert found.stars["constant"].mean() > 0.85


def test_too_few_rounds_are_admitted(mocks):
    options = ZeroPointOptions(max_rounds=1)
    found = fit_zeropoints(mocks.field(), options=options)
    assert any("had not settled after 1 rounds" in note for note in found.notes)
