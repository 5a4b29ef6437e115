import numpy as np
import polars as pl

from steadystar.pipeline.gathering import changes


def velocities(raw, rv, star="A") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "visit_id": [f"v{number}" for number in range(len(raw))],
            "method": "marginal",
            "star_id": star,
            "rv_raw": raw,
            "rv": rv,
        }
    )


def test_what_a_night_changed_counts_no_spectrum_without_a_velocity():
    before = velocities([1.0, np.nan, 3.0], [1.5, np.nan, 3.5])
    now = velocities([1.0, np.nan, 3.0, 4.0], [1.75, np.nan, 3.5, 4.5])
    assert changes(before, now) == [
        "1 spectra came",
        "calibrated velocities moved by up to 0.250 km/s (median 0.125)",
    ]


def test_velocities_that_were_measured_anew_are_counted():
    before = velocities([1.0, np.nan, 3.0, 4.0], [1.0, np.nan, 3.0, 4.0])
    now = velocities([1.0, 2.0, np.nan, 4.5], [1.0, np.nan, np.nan, 4.0])
    assert changes(before, now) == ["3 velocities were measured anew and differ"]
    assert changes(None, now) == ["all is new"]
    assert changes(before, before) == []
