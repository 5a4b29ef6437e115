"""A lamp that is named is found among zero points that drift."""

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status


def visits(shift, lamp="thar"):
    rng = np.random.default_rng(4)
    offsets = np.array([0.6, 0.7, 0.7, -0.1, -0.3, -0.6, -2.8, -2.6, -2.1])
    offsets[1] += shift
    rows = [
        {
            "star_id": f"s{s}",
            "exposure_id": f"e{e}",
            "lamp": lamp if e == 1 else "sc",
            "rv_raw": 10.0 * np.sin(s) + offsets[e] + rng.normal(0, 0.2),
            "rv_raw_err": 0.2,
        }
        for s in range(40)
        for e in range(9)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("shift", "found"), [(6.5, True), (0.0, False)])
def test_an_exposure_of_another_lamp_is_flagged_if_it_reads_larger(shift, found):
    solution = fit_zeropoints(visits(shift), by=[("exposure_id",)])
    status = solution.offsets["exposure_id"].sort("exposure_id")["status"].to_numpy()
    flagged = np.flatnonzero(status & int(Status.LAMP_OUTLIER))
    assert flagged.tolist() == ([1] if found else [])
    assert any("lamp" in note for note in solution.notes) == found
