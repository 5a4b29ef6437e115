"""What the errors of a star's corrections have in common."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate.errors import ErrorModelOptions, fit_error_model
from steadystar.calibrate.zeropoint import fit_zeropoints


def _bundles(seed: int, stars: int = 400, visits: int = 8) -> pl.DataFrame:
    """Six bundles of ten fibers; one star in fifty roams, so that bundles hang loosely."""
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(stars), visits)
    bundle = np.where(star % 50 == 0, rng.integers(0, 6, len(star)), star % 6)
    fiber = 10 * bundle + rng.integers(0, 10, len(star))
    rv = rng.normal(0, 30, stars)[star] + rng.normal(0, 0.3, 60)[fiber]
    return pl.DataFrame(
        {
            "star_id": star,
            "fiber": fiber,
            "rv": rv + rng.normal(0, 0.1, len(star)),
            "rv_err": 0.1,
        }
    )


def _plain(visits: pl.DataFrame, zero) -> np.ndarray:
    """Mean covariance of each correction with those of the star's other visits."""
    out = np.zeros(len(visits))
    table = visits.with_row_index("row")
    for _, mine in table.group_by("star_id"):
        rows = mine["row"].to_numpy()
        weight = mine["rv_err"].to_numpy() ** -2
        matrix = zero.correction_covariance(mine)
        for i, row in enumerate(rows):
            others = np.arange(len(rows)) != i
            out[row] = np.average(matrix[i][others], weights=weight[others])
    return np.sqrt(np.maximum(out, 0))


@pytest.mark.parametrize("sampled", [False, True])
def test_what_visits_share_is_their_mean_covariance(monkeypatch, sampled):
    visits = _bundles(0, stars=60)
    rng = np.random.default_rng(5)
    visits = visits.with_columns(rv_err=pl.Series(rng.uniform(0.05, 0.2, len(visits))))
    if sampled:
        monkeypatch.setattr("steadystar.calibrate.covariance.DENSE_LIMIT", 3)
    monkeypatch.setattr("steadystar.calibrate.within._CELLS", 500)
    zero = fit_zeropoints(visits, ["fiber"], "linear")
    out = zero.apply(visits)
    assert_allclose(out["correction_common_err"], _plain(visits, zero), atol=1e-9)
    assert (out["correction_common_err"] <= out["correction_err"]).all()


def test_a_loose_bundle_is_common_to_the_stars_in_it():
    visits = _bundles(1)
    out = fit_zeropoints(visits, ["fiber"], "linear").apply(visits)
    stays = out.filter(pl.col("star_id") % 50 != 0)
    # Bundles hang by eight stars, to 0.03; within one, fifty visits a fiber.
    common = stays["correction_common_err"].median()
    own = (stays["correction_err"] ** 2 - stays["correction_common_err"] ** 2).sqrt()
    assert common > 1.5 * own.median()
    assert own.median() == pytest.approx(0.1 / np.sqrt(50), rel=0.25)


def test_a_single_visit_has_all_of_its_error_in_common_with_itself():
    visits = _bundles(2)
    alone = visits.head(1).with_columns(star_id=pl.lit(-5, pl.Int64))
    out = fit_zeropoints(visits, ["fiber"]).apply(pl.concat([visits, alone])).tail(1)
    assert out["correction_common_err"].item() == out["correction_err"].item() > 0


def test_many_offsets_do_not_raise_the_floor():
    """The corrections have followed the noise by what visits of a star do not share."""
    floors = []
    for seed in range(6):
        visits = _bundles(seed).with_columns(rv_err=pl.lit(0.08))
        out = fit_zeropoints(visits, ["fiber"]).apply(visits)
        model = fit_error_model(out)
        floors.append(np.hypot(0.08 * model.scale, model.floor))
    # 3200 visits, six times; the noise is 0.1.
    assert np.mean(floors) == pytest.approx(0.1, rel=0.015)


def test_corrections_from_another_table_add_noise_and_do_not_follow_it():
    floors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(6):
        # The zero points of 90 stars, applied to all the others.
        few = _bundles(seed).filter(pl.col("star_id") < 90)
        rest = _bundles(seed).filter(pl.col("star_id") >= 90)
        out = fit_zeropoints(few, ["fiber"], "linear").apply(rest)
        for own, found in floors.items():
            model = fit_error_model(out, options=ErrorModelOptions(own_corrections=own))
            found.append(float(np.hypot(0.1 * model.scale, model.floor)))
    # The noise is 0.1; offsets of ten visits add 0.03, twice if thought to have followed
    # it. 15 000 visits know the noise to 0.6%.
    assert np.mean(floors[False]) == pytest.approx(0.1, rel=0.02)
    assert np.mean(floors[True]) > 0.105
