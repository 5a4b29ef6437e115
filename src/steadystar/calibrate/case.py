"""What a method is given, and what it gives back."""

__all__ = ["Case", "Solution"]

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.noise import Noise
from steadystar.calibrate.problem import Problem
from steadystar.calibrate.solve import Design
from steadystar.calibrate.visitsums import Groups, Vector


@dataclass(frozen=True)
class Case:
    """The part of a problem that enters the solution.

    ``rows``: indices of its visits in the table; all other arrays have one entry for
    each of them. ``y`` and ``err``: velocities and errors, km/s. ``design`` holds the
    offsets that are solved for. ``extra``: variance, km^2/s^2, of offsets that are not.
    """

    problem: Problem
    rows: NDArray[np.intp]
    design: Design
    groups: Groups
    extra: Vector

    @property
    def y(self) -> Vector:
        """Uncalibrated velocities, ``(visit,)``."""
        return self.problem.rv[self.rows]

    @property
    def err(self) -> Vector:
        """Their errors, with those of offsets that are not solved for, ``(visit,)``."""
        return np.sqrt(self.problem.err[self.rows] ** 2 + self.extra)


@dataclass(frozen=True)
class Solution:
    """What a method found.

    ``offset`` (offset,): zero points, in any gauge; NaN where the method refuses.
    ``weight`` (visit,): inverse variances, for the errors of the offsets. ``error``
    (offset,): those errors, if the method has its own. ``p_constant`` (star,).
    ``status`` (offset,): reasons of the method. ``noise``: the error model it fitted.
    """

    offset: Vector
    weight: Vector
    p_constant: Vector
    status: NDArray[np.int64]
    error: Vector | None = None
    notes: tuple[str, ...] = ()
    noise: Noise | None = None
    centered: bool = field(default=False)
