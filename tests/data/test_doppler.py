"""Doppler factors multiply."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadystar.data.constants import C_KMS
from steadystar.data.doppler import composed, known_motion, without

speeds = st.floats(-3000.0, 3000.0)


@given(speeds, speeds, st.floats(3000.0, 20_000.0))
def test_wavelengths_move_by_one_factor_after_the_other(rv, other, wave):
    moved = wave * (1 + rv / C_KMS) * (1 + other / C_KMS)
    # float64 holds a ratio near one to 2e-16, 0.1 micrometers per second.
    assert composed(rv, other) == pytest.approx(C_KMS * (moved / wave - 1), abs=1e-9)
    assert without(composed(rv, other), other) == pytest.approx(rv, abs=1e-9)


def test_a_sum_would_be_ten_meters_per_second_off():
    assert composed(100.0, 30.0) - 130.0 == pytest.approx(0.0100, abs=1e-4)


def test_arrays_and_columns_are_the_same_numbers():
    rv, other = np.array([-50.0, 0.0, 120.0]), np.array([10.0, -20.0, 30.0])
    table = pl.DataFrame({"rv": rv, "other": other})
    found = table.select(
        both=composed(pl.col("rv"), pl.col("other")),
        left=without(pl.col("rv"), pl.col("other")),
    )
    np.testing.assert_array_equal(found["both"], composed(rv, other))
    np.testing.assert_array_equal(found["left"], without(rv, other))


def test_unknown_motion_is_none():
    np.testing.assert_array_equal(known_motion(None, 2), [0.0, 0.0])
    np.testing.assert_array_equal(known_motion([np.nan, 3.0], 2), [0.0, 3.0])
    np.testing.assert_array_equal(known_motion(4.0, 2), [4.0, 4.0])
