"""The columns of the velocities that say something of the stars.

Others tell where a spectrum came from and how well it was fitted: the stages that judge
stars leave them on the disk, for they are a third of the memory that a survey takes.
"""

__all__ = ["read_for_stars"]

from collections.abc import Iterable
from pathlib import Path

import polars as pl

_OF_SPECTRA = (
    *("path", "lamp", "exptime", "n_good", "ivar_scale"),
    *("rv_obs", "rv_limit", "chi2", "dof"),
)


def read_for_stars(path: Path, families: Iterable[str] = ()) -> pl.DataFrame:
    """Read a table of velocities without what tells of single spectra only.

    ``families``: columns by which zero points differ, as joined by ``+``; they are read.
    """
    asked = {
        name.rpartition("@")[0] or name
        for family in families
        for name in family.split("+")
    }
    names = pl.read_parquet_schema(path)
    wanted = [name for name in names if name in asked or name not in _OF_SPECTRA]
    return pl.read_parquet(path, columns=wanted)
