"""LAMOST's files, of the medium- and the low-resolution survey.

This is the reader that the registry knows; it looks at the extensions of a file and
hands it to `steadystar.survey.lamost_mrs` or `steadystar.survey.lamost_lrs`. Neither
the name of a file nor its compression matters.
"""

__all__ = ["LamostReader"]

from dataclasses import dataclass
from pathlib import Path

from steadystar.survey.files import load, peek
from steadystar.survey.fitsfile import parse
from steadystar.survey.header import integer
from steadystar.survey.lamost_header import Target
from steadystar.survey.lamost_lrs import find_lrs, read_lrs
from steadystar.survey.lamost_mrs import EXTENSION, read_mrs
from steadystar.survey.observation import Observation, ReadOptions, UnreadableFile

_FETCH = "Fetch the file again."


@dataclass(frozen=True)
class LamostReader:
    """Spectra of LAMOST, medium and low resolution, of all releases."""

    name: str = "lamost"
    description: str = (
        "LAMOST medium- and low-resolution spectra (med-*.fits.gz, spec-*.fits.gz)"
    )

    def matches(self, path: str | Path) -> bool:
        """Whether the file is FITS and its primary header mentions LAMOST."""
        # Four blocks: the longest primary header so far (LRS of DR7) has 127 cards.
        head = peek(path, 11_520)
        return head.startswith(b"SIMPLE  =") and b"LAMOST" in head

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read all single exposures, or the coadds; a low-resolution file is a coadd.

        Raises:
            UnreadableFile: the file is damaged before its first spectrum, or holds none.
        """
        units, ending = parse(load(path, options.max_bytes))
        if not units:
            raise UnreadableFile(path, ending, _FETCH)
        promised = integer(units[0].header, "N_EXTEN", high=1000)
        if not ending and promised is not None and promised > len(units):
            ending = f"its header promises {promised} extensions, it has {len(units)}"
        target = Target.of(units[0].header, path, options)
        if any(EXTENSION.fullmatch(unit.name) for unit in units):
            return read_mrs(path, units, ending, target, options)
        lrs = find_lrs(units)
        if lrs is not None:
            return read_lrs(path, units[0].header, lrs, ending, target, options)
        reason = ending or "it holds neither exposures nor a coadded spectrum"
        raise UnreadableFile(path, reason, _FETCH)
