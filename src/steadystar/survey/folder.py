"""A whole folder at once: for a notebook, and for surveys that fit into memory.

`steadystar run` and `pipeline.run_pipeline` do the same for folders of any size and of
several surveys, and remember what they have read.
"""

__all__ = ["read_folder"]

from dataclasses import replace
from os import PathLike
from pathlib import Path

import polars as pl

from steadystar.data.match import RADIUS_ARCSEC, assign_stars
from steadystar.survey.observation import Observation, ReadOptions, UnreadableFile
from steadystar.survey.registry import read

_DEFAULTS = ReadOptions()


def read_folder(
    folder: str | PathLike[str],
    options: ReadOptions = _DEFAULTS,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> Observation:
    """Read every file below ``folder``, and find which spectra are of the same star.

    Arguments:
        folder: searched to any depth, in the order of names; hidden files are passed
            over.
        options: how each file is read.
        radius_arcsec: positions within this radius are one star.

    Returns:
        All spectra, with ``star_id`` filled. Files that cannot be read have a row in
        ``rejected``, with the reason.

    Raises:
        ValueError: ``folder`` is not a folder, none of its files can be read, or they
            are of surveys whose wavelengths cannot stand in one table.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder. Check its name, or use `read` for a single file."
        )
    parts, refused = [], []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.is_dir():
            continue
        try:
            parts.append(read(path, options))
        except UnreadableFile as error:
            refused.append(error)
    if not parts:
        why = f" The first: {refused[0]}" if refused else ""
        raise ValueError(
            f"None of the {len(refused)} files in {folder} can be read.{why} Name a "
            "folder with spectra; `steadystar formats` lists what can be read."
        )
    if len({part.spectra.frame for part in parts}) > 1:
        raise ValueError(
            f"The files in {folder} give wavelengths in different frames, so that they "
            "cannot stand in one table. Read one survey at a time, or use run_pipeline, "
            "which keeps them apart."
        )
    seen = Observation.concatenate(parts)
    return replace(
        seen,
        visits=assign_stars(seen.visits, radius_arcsec=radius_arcsec),
        rejected=pl.concat([seen.rejected, *(error.rejected() for error in refused)]),
    )
