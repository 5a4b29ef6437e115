"""The surveys whose tables are known: how to recognize one, how to make it ours.

What their columns mean is in `tables_sdss`, `tables_lamost` and `tables_desi`.
"""

__all__ = ["SURVEYS", "CatalogError", "Survey", "parse_columns"]

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import polars as pl

from steadystar.data.tables import Table, TableError, open_table
from steadystar.survey.columns import CatalogError, parse_columns
from steadystar.survey.tables_desi import desi
from steadystar.survey.tables_lamost import lamost_lrs, lamost_mrs
from steadystar.survey.tables_sdss import apogee, sdss_v, sdss_v_drp


@dataclass(frozen=True)
class Survey:
    """How to recognize the table of a survey, and how to make it ours.

    ``signature``: columns of which each must be there (one of several where they are in
    a tuple); of any case if ``any_case``. ``convert`` adds our columns, and notes to a
    list. ``extensions``: of a FITS file, tables whose rows are the same as the first
    one's and whose columns belong to it; ``keys`` tell that they are.
    """

    name: str
    description: str
    signature: tuple[str | tuple[str, ...], ...]
    convert: Callable[[pl.DataFrame, list[str]], pl.DataFrame]
    extensions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    any_case: bool = False

    def recognizes(self, frame: pl.DataFrame) -> bool:
        """Whether a table has the columns of this survey."""
        names = set(frame.columns)
        if self.any_case:
            names = {name.casefold() for name in names}
        return not self.lacks(names)

    def lacks(self, names: set[str]) -> list[str]:
        """Return the columns of the signature that are not among ``names``."""
        each = [(one,) if isinstance(one, str) else one for one in self.signature]
        return [" or ".join(some) for some in each if not names & set(some)]

    def join_extensions(
        self, path: str | PathLike[str], table: Table, notes: list[str]
    ) -> tuple[pl.DataFrame, dict[str, str]]:
        """Put the columns of the other extensions beside those of the first.

        Returns all columns and their units. An extension whose keys disagree with the
        first table's is left out, and a note says so.
        """
        frame, units = table.frame, dict(table.units)
        for extension in self.extensions:
            try:
                other = open_table(path, extension)
            except TableError:
                continue
            same = [key for key in self.keys if key in other.frame.columns]
            same = [key for key in same if key in frame.columns]
            if len(other.frame) != len(frame) or any(
                not frame[key].equals(other.frame[key]) for key in same
            ):
                notes.append(
                    f"Extension {extension} is not row by row that of the velocities "
                    f"({len(other.frame)} rows, {len(frame)} velocities, other "
                    f"{' or '.join(self.keys)}): its columns were left out."
                )
                continue
            new = [name for name in other.frame.columns if name not in frame.columns]
            frame = frame.hstack(other.frame.select(new))
            units |= {name: other.units[name] for name in new if name in other.units}
        return frame, units


def _own(frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    return frame


SURVEYS: dict[str, Survey] = {
    survey.name: survey
    for survey in (
        Survey("steadystar", "our own tables", ("star_id", ("rv", "rv_raw")), _own),
        Survey("apogee", "APOGEE allVisit", ("APOGEE_ID", "VHELIO", "VRELERR"), apogee),
        Survey("sdss-v", "SDSS-V mwmAllVisit", ("sdss_id", "v_rad", "e_v_rel"), sdss_v),
        Survey(
            "sdss-v-drp",
            "SDSS-V allVisit of APOGEE's pipeline",
            ("apogee_id", ("vheliobary", "vrad"), "vrelerr"),
            sdss_v_drp,
            any_case=True,
        ),
        Survey(
            "lamost",
            "LAMOST medium-resolution catalogs",
            (("obsid", "lmjm"), ("rv_b0", "rv_r0")),
            lamost_mrs,
        ),
        Survey(
            "lamost-lrs",
            "LAMOST low-resolution stellar catalogs",
            ("obsid", "lmjd", "planid", "spid", "fiberid", "rv", "rv_err"),
            lamost_lrs,
        ),
        Survey(
            "desi",
            "DESI stellar velocities",
            ("TARGETID", "VRAD", "VRAD_ERR"),
            desi,
            ("FIBERMAP",),
            ("TARGETID", "EXPID"),
        ),
    )
}
"""Surveys whose tables are known, by name; the order in which they are asked."""
