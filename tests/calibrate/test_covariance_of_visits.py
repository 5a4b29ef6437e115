"""Covariance between visits that share offsets, and between telescopes."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status

_BY = (("exposure_id",), ("fiber",))


@pytest.fixture(scope="module")
def two_families(mocks) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    visits = mocks.field(3, stars=60, exposures=8)
    return visits.with_columns(fiber=pl.Series(rng.integers(0, 6, len(visits))))


def test_the_diagonal_is_the_error_of_the_correction(two_families):
    zero = fit_zeropoints(two_families, _BY)
    out = zero.apply(two_families)
    some = out.sample(80, seed=1)
    matrix = zero.correction_covariance(some)
    assert_allclose(np.sqrt(np.diag(matrix)), some["correction_err"], rtol=1e-6)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


def _product(zero, visits) -> np.ndarray:
    """The slow twin: which offsets each visit has, times their covariance, twice."""
    rows = [
        visits.join(
            zero.offsets["+".join(by)].with_row_index("_row"),
            on=list(by),
            how="left",
            maintain_order="left",
        )["_row"]
        for by in zero.by
    ]
    starts = np.cumsum([0] + [len(zero.offsets["+".join(by)]) for by in zero.by])
    share = np.zeros((len(visits), int(starts[-1])))
    for row, start in zip(rows, starts, strict=False):
        share[np.arange(len(visits)), row.to_numpy() + start] = 1.0
    return share @ zero.covariance.matrix(np.arange(int(starts[-1]))) @ share.T


@pytest.mark.parametrize("limit", [2500, 3])
@pytest.mark.parametrize("by", [_BY, _BY[:1]])
def test_covariances_star_by_star_are_those_of_the_whole_matrix(
    two_families, monkeypatch, by, limit
):
    monkeypatch.setattr("steadystar.calibrate.covariance.DENSE_LIMIT", limit)
    monkeypatch.setattr("steadystar.calibrate.visitcovariance._CELLS", 3000)
    zero = fit_zeropoints(two_families, by)
    assert zero.covariance.sampled == [limit == 3]
    rows = np.arange(len(two_families) // 5 * 5).reshape(-1, 5)
    found = zero.covariances_of_visits(two_families).of(rows)
    whole = _product(zero, two_families)
    # The same sums in another order: rounding.
    each = whole[rows[:, :, None], rows[:, None, :]]
    assert_allclose(found, each, rtol=1e-9, atol=1e-12 * np.diag(whole).max())


def test_offsets_of_blocks_of_their_own_know_only_themselves(two_families):
    zero = fit_zeropoints(two_families, _BY[:1], "xiong")
    assert all(len(member) == 1 for member in zero.covariance.members)
    rows = np.arange(24).reshape(-1, 8)
    found = zero.covariances_of_visits(two_families).of(rows)
    whole = _product(zero, two_families)
    assert_allclose(found, whole[rows[:, :, None], rows[:, None, :]])
    assert np.count_nonzero(found) == 24


def test_visits_that_share_all_offsets_share_all_of_their_error(two_families):
    zero = fit_zeropoints(two_families, _BY)
    same = two_families.filter(exposure_id="f02", fiber=3)
    matrix = zero.correction_covariance(same)
    assert len(same) > 1
    assert_allclose(matrix, matrix[0, 0])


def test_covariance_of_visits_is_how_they_scatter_together(mocks):
    """Repeated noise on one design: what the corrections really do."""
    rng = np.random.default_rng(0)
    base = mocks.field(4, stars=30, exposures=5, variable=0.0)
    some = base.group_by("exposure_id", maintain_order=True).first()
    clean = base["rv_raw"].to_numpy()
    drawn = []
    for _ in range(300):
        noisy = clean + rng.normal(0, 1, len(base)) * base["rv_raw_err"].to_numpy()
        visits = base.with_columns(rv_raw=pl.Series(noisy))
        zero = fit_zeropoints(visits, ["exposure_id"], "linear")
        drawn.append(zero.apply(some.clone())["correction"].to_numpy())
    found = fit_zeropoints(base, ["exposure_id"], "linear").correction_covariance(some)
    # Of 300 draws, an entry of the sample covariance is uncertain by 8% of a variance.
    assert_allclose(np.cov(np.array(drawn).T), found, atol=0.3 * found[0, 0])
    assert found[0, 1] < 0


def test_uncalibrated_visits_share_the_prior_width_of_their_group(mocks):
    visits = mocks.field(1, stars=30, exposures=6)
    options = ZeroPointOptions(by=(("exposure_id",),), prior_width=0.5)
    few = visits.filter((pl.col("exposure_id") != "f02") | (pl.col("star_id") < "f002"))
    zero = fit_zeropoints(few, options=options)
    lost = few.filter(exposure_id="f02")
    width = zero.prior_widths["exposure_id"]
    assert len(lost) == 2
    assert width > 0
    assert_allclose(zero.correction_covariance(lost), np.full((2, 2), width**2))
    unseen = pl.concat([lost, lost]).with_columns(exposure_id=pl.lit("elsewhere"))
    matrix = zero.correction_covariance(unseen)
    assert_allclose(matrix, width**2 * np.eye(4))


def _telescopes(seed: int, shared: int, offset: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(300), 8)
    north = star < 150
    both = star >= 300 - shared
    telescope = np.where(both, rng.integers(0, 2, len(star)), north)
    fiber = rng.integers(0, 10, len(star))
    bias = rng.normal(0, 0.05, (2, 10))
    bias -= bias.mean(axis=1, keepdims=True)
    rv = rng.normal(0, 30, 300)[star] + bias[telescope, fiber] + offset * telescope
    return pl.DataFrame(
        {
            "star_id": star,
            "telescope": np.where(telescope == 1, "apo", "lco"),
            "fiber": fiber,
            "rv": rv + rng.normal(0, 0.1, len(star)),
            "rv_err": np.full(len(star), 0.1),
        }
    )


def test_telescopes_differ_by_what_was_added_within_the_error():
    pulls = []
    for seed in range(30):
        zero = fit_zeropoints(
            _telescopes(seed, 20, 0.104), ["telescope,fiber"], "linear"
        )
        row = zero.compare("telescope").row(0, named=True)
        assert (row["first"], row["second"]) == ("apo", "lco")
        assert (row["n_first"], row["n_second"]) == (10, 10)
        pulls.append((row["difference"] - 0.104) / row["difference_err"])
    assert abs(np.mean(pulls)) < 3 / np.sqrt(30)
    # The width of 30 pulls is uncertain by 13%.
    assert np.std(pulls) == pytest.approx(1, abs=0.4)


def test_the_difference_between_telescopes_is_said():
    zero = fit_zeropoints(_telescopes(1, 20, 0.104), ["telescope,fiber"])
    (said,) = [note for note in zero.notes if note.startswith("telescope apo reads")]
    row = zero.compare("telescope").row(0, named=True)
    error = 1000 * row["difference_err"]
    assert f"{1000 * row['difference']:.0f} +- {error:.0f} m/s more than lco" in said
    # 20 stars, 80 visits on either side: the errors of two means of stars.
    assert 5 < error < 40


def test_telescopes_that_share_no_star_are_not_compared():
    zero = fit_zeropoints(_telescopes(0, 0, 0.104), ["telescope,fiber"])
    assert len(zero.compare("telescope")) == 0
    fibers = zero.compare("fiber")
    assert set(fibers["component"]) == {0, 1}
    assert len(fibers) == 2 * 45


def test_a_column_of_no_family_is_refused():
    zero = fit_zeropoints(_telescopes(0, 20, 0.1), ["telescope,fiber"])
    with pytest.raises(CalibrationError, match="No family of offsets has a column arm"):
        zero.compare("arm")


def test_the_variance_of_a_combination_is_that_of_the_matrix(two_families, monkeypatch):
    exact = fit_zeropoints(two_families, _BY)
    monkeypatch.setattr("steadystar.calibrate.covariance.DENSE_LIMIT", 3)
    sampled = fit_zeropoints(two_families, _BY)
    assert sampled.covariance.sampled == [True]
    which = np.arange(8)
    weights = np.array([1, -1, 0.5, 0, 0, 0, 0, -0.5])
    want = weights @ exact.covariance.matrix(which) @ weights
    found = exact.covariance.of_combination(which, weights)
    assert found == pytest.approx(want)
    # 200 samples know a variance to 10%.
    assert sampled.covariance.of_combination(which, weights) == pytest.approx(
        want, rel=0.3
    )


def test_rows_that_a_family_does_not_have_are_refused(two_families):
    zero = fit_zeropoints(two_families, _BY)
    for rows in ([-1], [0, 8]):
        with pytest.raises(CalibrationError, match="rows 0 to 7"):
            zero.covariance_of("exposure_id", rows)


def test_an_exposure_that_was_not_solved_is_flagged_though_its_fiber_was(two_families):
    zero = fit_zeropoints(two_families, _BY)
    later = two_families.with_columns(exposure_id=pl.lit("next night"))
    later = pl.concat([two_families, later])
    out = zero.apply(later).tail(len(two_families))
    assert (out["status"] & int(Status.TOO_FEW_STARS) != 0).all()
    assert (out["correction_err"] >= zero.prior_widths["exposure_id"]).all()
