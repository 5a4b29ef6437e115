"""Single exposures of APOGEE: ap1D files, one a detector, with 300 spectra each.

``ap1D-a-NUMBER``, ``-b-`` and ``-c-`` are the red, green and blue detector of one
exposure. Where they lie side by side they are read together, with the first of them,
as one spectrum a fiber; the others then say that they are read already. The sky is
still in these spectra and nothing is calibrated but the wavelengths.

Which star a fiber looked at stands in the plate's plug map, not in these files. So the
spectra have no star and no position, only plate and fiber, and the barycentric
correction is unknown. Their time is that of the center of the field, right to 13 s
(1.5 degrees at one astronomical unit).

Read from the data model (`ap2dproc.pro` of the survey's pipeline: header, flux, error,
mask, wavelengths); no real file was at hand.
"""

__all__ = ["read_exposure"]

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.survey.apogee_header import (
    RESOLUTION,
    WAVE_RANGE,
    middle_of_visit,
    survey_of,
    telescope_of,
)
from steadystar.survey.apogee_mask import bits_of
from steadystar.survey.apogee_planes import Planes, chip_order, joined
from steadystar.survey.files import load
from steadystar.survey.fitsfile import DamagedFits, Unit, parse
from steadystar.survey.header import degrees, integer, number, text
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.observatory import SITES, barycentric

_NAMES = ("flux", "error", "mask", "wavelength")
_NAME = re.compile(r"(ap|as)1D-([abc])-(\d{8})(.*)", re.DOTALL)
_READER = "apogee"
_FETCH = "Fetch the file again."


def read_exposure(
    path: str | Path, units: Sequence[Unit], ending: str, options: ReadOptions
) -> Observation:
    """Read all fibers of an exposure: one row a fiber, whatever was in it.

    Arguments:
        units: the units of the file, primary header first.
        ending: why there are no more units; empty if all is well.

    Raises:
        UnreadableFile: no detector can be read, or this one is read with another.
    """
    path = Path(path)
    siblings = _siblings(path)
    if siblings[0] != path:
        raise UnreadableFile(
            path,
            "it is one of the detectors of an exposure, which are read together",
            f"Read {siblings[0].name}, which lies beside it.",
        )
    rejected = [(str(path), _READER, ending, _FETCH)] if ending else []
    chips: list[Planes] = []
    for sibling in siblings:
        try:
            mine = units if sibling == path else _parsed(sibling, options, rejected)
            chips.append(_chip(mine, chips))
        except UnreadableFile as error:
            rejected.append((str(sibling), _READER, error.reason, error.remedy))
        except DamagedFits as error:
            rejected.append((str(sibling), _READER, str(error), _FETCH))
    if not chips:
        raise UnreadableFile(path, rejected[-1][2], _FETCH)
    recorded = _fibers(chips, _facts(units[0].header, path), path, options)
    return observe(recorded, "observatory", rejected)


def _siblings(path: Path) -> list[Path]:
    """Return the files of the detectors of an exposure that are there, in order."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        return [path]
    prefix, _, number, rest = name.groups()
    files = [path.with_name(f"{prefix}1D-{c}-{number}{rest}") for c in "abc"]
    return [file for file in files if file == path or file.is_file()]


def _parsed(
    path: Path, options: ReadOptions, rejected: list[tuple[str, str, str, str]]
) -> list[Unit]:
    units, ending = parse(load(path, options.max_bytes))
    if ending:
        rejected.append((str(path), _READER, ending, _FETCH))
    return units


def _chip(units: Sequence[Unit], before: Sequence[Planes]) -> Planes:
    """Return the images of a detector, which must be like those read before it.

    Raises:
        DamagedFits: they are missing, damaged or of another shape.
    """
    planes = Planes.of(units, _NAMES)
    if "wavelength" not in planes.others:
        raise DamagedFits("it has no wavelengths: its exposure was not calibrated")
    if before and planes.flux.shape != before[0].flux.shape:
        raise DamagedFits(
            f"it has the shape {planes.flux.shape}, another detector "
            f"{before[0].flux.shape}"
        )
    return planes


def _facts(header: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return what all fibers of the exposure share."""
    name = _NAME.fullmatch(path.name)
    exposure = name[3] if name else text(header, "FRAMENUM", "EXPNUM")
    exposure = exposure or path.name.split(".", 1)[0]
    exptime = number(header, "EXPTIME", low=0.1, high=1e6)
    middle = middle_of_visit(header, exptime)
    ra, dec = degrees(header, "RA"), degrees(header, "DEC", high=90.0)
    telescope = telescope_of(text(header, "TELESCOP"), path, dec)
    site = SITES["lco" if telescope.startswith("lco") else "apo"]
    bjd, _ = barycentric(middle, ra, dec, site)
    # Exposures are numbered by day: the first four digits count from MJD 55562.
    day = int(exposure[:-4]) + 55_562 if re.fullmatch(r"\d{8}", exposure) else None
    night = integer(header, "MJD5", low=55_000, high=80_000)
    return {
        "survey": survey_of(header),
        "field": text(header, "PLATEID", "PLATE", "CONFIGID") or None,
        "night": day if night is None else night,
        "exposure_id": exposure,
        "telescope": telescope,
        "arm": "h",
        "exptime": exptime,
        "bjd": float(bjd),
        "path": str(path),
    }


def _fibers(
    chips: Sequence[Planes],
    common: Mapping[str, Any],
    path: Path,
    options: ReadOptions,
) -> list[Recorded]:
    """Return the spectra of all fibers, from the first row of the detector on."""
    bits = bits_of(options.apogee_mask)
    # (fiber, chip, pixel)
    wave, flux, ivar = (
        np.stack(images, axis=1)
        for images in (
            [chip.others["wavelength"].astype(np.float64) for chip in chips],
            [chip.flux for chip in chips],
            [chip.ivar(bits) for chip in chips],
        )
    )
    count, south = len(flux), common["telescope"].startswith("lco")
    recorded = []
    for row in range(count):
        # Row 0 is FIBERID 300.
        fiber = row + 1 + (300 if south else 0)
        facts = dict(common) | {
            "visit_id": f"apogee-{common['telescope']}-{common['exposure_id']}"
            f"-{300 - row:03d}",
            "fiber": fiber,
            "path": f"{path}[{row}]",
        }
        recorded.append(_spectrum(wave[row], flux[row], ivar[row], facts))
    return recorded


def _spectrum(
    wave: NDArray, flux: NDArray, ivar: NDArray, facts: dict[str, Any]
) -> Recorded:
    order = chip_order(wave)
    wave, flux, ivar = (joined(image, order) for image in (wave, flux, ivar))
    return Recorded(facts, wave, flux, ivar, RESOLUTION, WAVE_RANGE)
