"""The benchmark of variables measures what it says; small runs agree with theory."""

import importlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def variables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("variables")


@pytest.fixture(scope="module")
def constant_stars(variables):
    visits, _, _ = variables.shared_survey(2500, most=20)
    return visits, variables.find_variables(visits, variables.BY_FIBER)


@pytest.mark.parametrize("column", ["p_value", "p_max_difference"])
@pytest.mark.parametrize("visits", [(3, 8), (9, 20)])
def test_constant_stars_fall_below_a_level_as_often_as_it_says(
    variables, constant_stars, column, visits
):
    table = constant_stars[1].filter(pl.col("n_visits").is_between(*visits))
    for level in variables.LEVELS:
        found, tried, _ = variables.rates(table[column].to_numpy(), level)
        # Four standard errors of a binomial count, and one for its being whole.
        allowed = 4 * np.sqrt(tried * level * (1 - level)) + 1
        assert abs(found - tried * level) < allowed


def test_errors_taken_as_independent_call_too_many(variables, constant_stars):
    # The control that must fail: what visits of a fiber share makes it another's scatter.
    blind = variables.find_variables(constant_stars[0])
    for level in (0.01, 0.001):
        _, _, sigma = variables.rates(blind["p_value"].to_numpy(), level)
        assert sigma > 4


def test_false_discoveries_are_as_rare_as_asked_for(variables):
    called, false, there = variables.discoveries(1500, 2, 0.05)
    # 0.045 of some 250: four standard errors.
    assert false < 0.045 * called + 4 * np.sqrt(0.045 * called)
    assert 0.7 * there < called < 1.1 * there


def test_binaries_are_found_where_they_move_more_than_the_errors(variables):
    share = variables.completeness(8000, 8)
    large = variables.AMPLITUDES[:-1] > 3.0
    small = variables.AMPLITUDES[1:] < 0.2
    # Periods within the three years of the visits.
    assert share[:10, large].mean() > 0.97
    assert share[:10, small].mean() < 0.05


def test_the_interval_of_a_share_is_that_of_the_binomial(variables):
    low, high = variables.interval(38, 40)
    assert 0.88 < low < 0.95 < high < 0.99
    assert variables.interval(0, 40)[0] == 0
    assert variables.interval(40, 40)[1] == 1


def test_xiongs_binaries_are_recovered_through_the_calibration(variables):
    counts = variables.xiong(0)
    assert counts["binary"][1] == 40
    assert counts["binary"][0] >= 38
    assert counts["constant"][0] <= 4
