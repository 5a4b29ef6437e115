"""Zero points by linear least squares, all stars taken as constant (Saydjari 2025, 5.1).

This is "ubercalibration": the offsets that minimize the scatter of every star's visits,
weighted by the given errors. It is exact and it is not robust: a binary with small
errors pulls the offsets of all the groups in which it was seen. Use `joint` unless the
variable stars have been taken out.
"""

__all__ = ["solve"]

import numpy as np

from steadystar.calibrate.case import Case, Solution
from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.solve import bounded, solve_offsets


def solve(case: Case, options: ZeroPointOptions) -> Solution:
    """Return offsets by weighted least squares; constancy is assumed, not inferred."""
    del options
    weight = bounded(case.err**-2.0)
    design = case.design
    return Solution(
        offset=solve_offsets(design, weight, case.y),
        weight=weight,
        p_constant=np.full(case.groups.n_stars, np.nan),
        status=np.zeros(design.size, np.int64),
        notes=("Every star was taken as constant (method linear).",),
    )
