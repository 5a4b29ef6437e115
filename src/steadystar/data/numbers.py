"""What a function accepts where it wants numbers: one, a sequence, an array, a column.

NumPy's own ``ArrayLike`` is written for static checkers: checked at run time it refuses
plain floats and tuples.
"""

__all__ = ["Numbers"]

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl

Numbers: TypeAlias = np.ndarray | np.generic | float | int | Sequence | pl.Series
