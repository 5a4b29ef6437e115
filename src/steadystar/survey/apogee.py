"""APOGEE's files: visits, stars, single exposures, and what SDSS-V makes of them.

This is the reader that the registry knows. It looks at the keywords of a file, not at
its name, and hands it to `survey.apogee_visit`, `apogee_star`, `apogee_exposure` or
`apogee_mwm`. What a visit holds besides its spectrum is read by two functions of their
own, in rows and pixels as in the spectra: `read_sky`, the sky that was subtracted and
the telluric absorption that was divided out; `read_line_spread`, the line spread
function.
"""

__all__ = ["ApogeeReader", "ApogeeSky", "read_line_spread", "read_sky"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadystar.survey.apogee_exposure import read_exposure
from steadystar.survey.apogee_lsf import LineSpread
from steadystar.survey.apogee_mwm import read_mwm
from steadystar.survey.apogee_planes import in_order, joined
from steadystar.survey.apogee_star import observed, read_star, star_rows
from steadystar.survey.apogee_visit import line_spread, read_visit, visit_planes
from steadystar.survey.files import load, peek
from steadystar.survey.fitsfile import Unit, parse
from steadystar.survey.observation import Observation, ReadOptions, UnreadableFile

_FETCH = "Fetch the file again."
_OTHERS = ("sky", "sky error", "telluric", "telluric error")
_DEFAULTS = ReadOptions()
_HEAD = 28_800
"""Bytes that are looked at: 360 cards. The headers of ap1D files tell their history."""

_KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mwm", ("V_ASTRA", "SDSS_ID")),
    ("star", ("NVISITS", "OBJID", "STARFLAG")),
    ("visit", ("MJD5", "OBJID", "V_APRED")),
    ("exposure", ("PSFFILE", "EXTRTYPE")),
)
"""Keywords by which each kind of file is known, in the order in which they are asked."""

_READ: dict[str, Callable[[str | Path, Sequence[Unit], str, ReadOptions], Observation]]
_READ = {
    "mwm": read_mwm,
    "star": read_star,
    "visit": read_visit,
    "exposure": read_exposure,
}


def _kind(head: bytes) -> str:
    """Return which kind of APOGEE file begins with ``head``; empty if it is none."""
    if not head.startswith(b"SIMPLE  ="):
        return ""
    keys = {head[at : at + 8].rstrip() for at in range(0, len(head) - 80, 80)}
    for kind, wanted in _KEYS:
        if all(key.encode() in keys for key in wanted):
            return kind
    return ""


@dataclass(frozen=True)
class ApogeeReader:
    """Spectra of APOGEE, of SDSS-III, IV and V."""

    name: str = "apogee"
    description: str = (
        "APOGEE visits, stars and exposures (apVisit-*.fits, apStar-*.fits, "
        "ap1D-*.fits) and SDSS-V's mwmVisit-*.fits and mwmStar-*.fits"
    )

    def matches(self, path: str | Path) -> bool:
        """Whether the file is FITS and has the keywords of one of these kinds."""
        return bool(_kind(peek(path, _HEAD)))

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read all visits of a file, or on request its sums.

        Raises:
            UnreadableFile: the file is damaged before its first spectrum, or holds none.
        """
        kind, units, ending = _open(path, options)
        if options.coadds and kind in ("visit", "exposure"):
            raise UnreadableFile(
                path, "it holds no coadded spectrum", "Try without `coadds`."
            )
        return _READ[kind](path, units, ending, options)


def _open(path: str | Path, options: ReadOptions) -> tuple[str, list[Unit], str]:
    content = load(path, options.max_bytes)
    units, ending = parse(content)
    if not units:
        raise UnreadableFile(path, ending, _FETCH)
    kind = _kind(content[:_HEAD])
    if not kind:
        raise UnreadableFile(
            path,
            "it has not the keywords of an APOGEE file",
            "Let the reader be found out: leave `reader` empty.",
        )
    return kind, units, ending


@dataclass(frozen=True)
class ApogeeSky:
    """What the survey took away from each spectrum of a file, and its pixel masks.

    All ``(spectrum, pixel)``, in the rows and pixels of the spectra that
    `steadystar.survey.registry.read` gives. ``wave``: vacuum Angstrom, as observed.
    ``sky`` was subtracted, in the unit of the flux; ``telluric`` is the transmission
    that the flux was divided by; ``*_err`` their errors. NaN where the file has none.
    ``mask``: bits as in `steadystar.survey.apogee_mask`.
    """

    wave: NDArray[np.float64]
    sky: NDArray[np.float64]
    sky_err: NDArray[np.float64]
    telluric: NDArray[np.float64]
    telluric_err: NDArray[np.float64]
    mask: NDArray[np.int64]


def read_sky(path: str | Path, options: ReadOptions = _DEFAULTS) -> ApogeeSky:
    """Read sky and telluric absorption of an apVisit or apStar file.

    In apVisit files of interleaved exposures these images have neighboring pixels
    swapped; they are put in order (`survey.apogee_planes.in_order`). The images in
    apStar files were resampled from the swapped ones, which cannot be undone: their
    lines are shallow and ragged, good for a look and no more.

    Raises:
        UnreadableFile: it is another kind of file, or its images are damaged.
    """
    # Damaged numbers overflow on their way; they come out as they are, or as NaN.
    with np.errstate(all="ignore"):
        return _read_sky(path, options)


def _read_sky(path: str | Path, options: ReadOptions) -> ApogeeSky:
    kind, units, _ = _open(path, options)
    if kind == "visit":
        planes, wave, order = visit_planes(path, units)
        images = in_order({name: planes.other(name) for name in _OTHERS})
        images = {name: joined(image, order)[None] for name, image in images.items()}
        waves = joined(wave.astype(np.float64), order)[None]
        return _sky(waves, images, joined(planes.mask, order)[None])
    if kind == "star":
        planes, grid, rows = star_rows(path, units, options)
        index = [row.row for row in rows]
        images = {name: planes.other(name)[index] for name in _OTHERS}
        # Of a star with one visit, DR17 wrote zeros.
        empty = ~(images["telluric"] != 0).any(axis=1)
        for image in images.values():
            image[empty] = np.nan
        waves = np.array([observed(grid, row.velocity) for row in rows])
        return _sky(waves, images, planes.mask[index])
    raise UnreadableFile(
        path,
        "it has no images of the sky and of telluric absorption",
        "Read the apVisit files of the same visits.",
    )


def _sky(wave: NDArray, images: dict[str, NDArray], mask: NDArray) -> ApogeeSky:
    sky, sky_err, telluric, telluric_err = (images[name] for name in _OTHERS)
    return ApogeeSky(wave, sky, sky_err, telluric, telluric_err, mask)


def read_line_spread(path: str | Path, options: ReadOptions = _DEFAULTS) -> LineSpread:
    """Read the line spread function of an apVisit file.

    Raises:
        UnreadableFile: it is another kind of file, or its coefficients make no sense.
    """
    kind, units, _ = _open(path, options)
    if kind != "visit":
        raise UnreadableFile(
            path,
            "it has no line spread function",
            "Read the apVisit files of the same visits.",
        )
    _, wave, order = visit_planes(path, units)
    try:
        with np.errstate(all="ignore"):
            return line_spread(units, wave, order)
    except ValueError as error:
        raise UnreadableFile(path, str(error), _FETCH) from error
