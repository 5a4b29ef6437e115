"""All visits of a star on one grid: the apStar files of APOGEE.

Rows 0 and 1 are two sums of the visits (weighted pixel by pixel, and as a whole); the
visits follow. A file of one visit holds it in row 0, and in DR17 a row 1 of zeros. All
rows are on a grid of 6e-6 in log10, resampled by a windowed sinc, so that neighboring
pixels are correlated: an apVisit, where it can be had, is the better measurement.

**Frame.** The survey put each visit on the grid at rest, by its own velocity: what
stands at the wavelength L of the grid was observed at ``L (1 + VRADn/c)`` (`visitcomb`
in its pipeline). That is undone here exactly, with the same number, whether it was
right or not; what is measured then owes nothing to it. A sum is of visits at rest and
cannot be undone: it is given the mean velocity of its header, in the frame of the
barycenter, and velocities measured on it are as good as that.

**Errors.** The survey has made those near sky lines (SIG_SKYLINE) ten times as large,
and those with persistence 1.7 to 2.2 times.
"""

__all__ = ["read_star", "star_rows"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.survey.apogee_header import (
    RESOLUTION,
    WAVE_RANGE,
    Place,
    add_barycenter,
    position,
    survey_of,
)
from steadystar.survey.apogee_mask import bits_of
from steadystar.survey.apogee_planes import Planes
from steadystar.survey.fitsfile import DamagedFits, Unit
from steadystar.survey.header import number, text
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.observatory import mjd_from_text

_NAMES = (
    *("flux", "error", "mask"),
    *("sky", "sky error", "telluric", "telluric error"),
)
_READER = "apogee"
_FETCH = "Fetch the file again."
_FASTEST = 5000.0
"""km/s; the survey writes 999999 where it found no velocity."""
_JD0 = 2_400_000.5


@dataclass(frozen=True)
class StarRow:
    """A row of an apStar that is read: ``number`` of the visit, 0 for the sum."""

    row: int
    number: int
    velocity: float


def star_rows(
    path: str | Path, units: Sequence[Unit], options: ReadOptions
) -> tuple[Planes, NDArray[np.float64], list[StarRow]]:
    """Return the images of an apStar, the grid at rest, and the rows to be read.

    Raises:
        UnreadableFile: images or the grid are missing or damaged.
    """
    try:
        planes = Planes.of(units, _NAMES)
    except DamagedFits as error:
        raise UnreadableFile(path, str(error), _FETCH) from error
    grid = _grid(units, planes.flux.shape[1])
    if grid is None:
        reason = "its header does not say the wavelengths (CRVAL1, CDELT1)"
        raise UnreadableFile(path, reason, _FETCH)
    header, rows = units[0].header, len(planes.flux)
    if options.coadds:
        mean = number(header, "VHELIO", "VHBARY", low=-_FASTEST, high=_FASTEST)
        return planes, grid, [StarRow(0, 0, mean)]
    first = 2 if rows > 2 else 0
    count = rows - 2 if rows > 2 else 1
    return (
        planes,
        grid,
        [StarRow(first + n, n + 1, _velocity(header, n + 1)) for n in range(count)],
    )


def _velocity(header: Mapping[str, Any], visit: int) -> float:
    return number(header, f"VRAD{visit}", low=-_FASTEST, high=_FASTEST)


def _grid(units: Sequence[Unit], size: int) -> NDArray[np.float64] | None:
    for unit in units:
        first = number(unit.header, "CRVAL1", low=3.0, high=5.0)
        step = number(unit.header, "CDELT1", low=1e-8, high=1e-2)
        start = number(unit.header, "CRPIX1", low=-1e5, high=1e5)
        if np.isfinite(first) and np.isfinite(step):
            start = start if np.isfinite(start) else 1.0
            exponent = first + step * (np.arange(size) + 1 - start)
            return np.power(10.0, exponent)
    return None


def observed(grid: NDArray[np.float64], velocity: float) -> NDArray[np.float64]:
    """Return where the pixels of a grid at rest were observed."""
    return grid * (1 + velocity / C_KMS)


def read_star(
    path: str | Path, units: Sequence[Unit], ending: str, options: ReadOptions
) -> Observation:
    """Read the visits of an apStar file, or on request their sum.

    Arguments:
        units: the units of the file, primary header first.
        ending: why there are no more units; empty if all is well.

    Raises:
        UnreadableFile: it has no flux, error, mask or wavelengths.
    """
    header = units[0].header
    rejected = [(str(path), _READER, ending, _FETCH)] if ending else []
    planes, grid, rows = star_rows(path, units, options)
    promised = number(header, "NVISITS", low=1.0, high=1e4)
    if not options.coadds and np.isfinite(promised) and promised != len(rows):
        reason = f"its header promises {promised:.0f} visits, it has {len(rows)}"
        rejected.append((str(path), _READER, reason, _FETCH))
    ivar = planes.ivar(bits_of(options.apogee_mask))
    recorded, middles, sites = [], [], []
    for row in rows:
        facts, middle, place = _facts(header, row, path, options)
        sites.append(place.site)
        middles.append(middle)
        if not np.isfinite(row.velocity):
            key = "VHELIO" if row.number == 0 else f"VRAD{row.number}"
            reason = f"its velocity ({key}) is unknown, so it cannot be moved back"
            rejected.append((facts["path"], _READER, reason, "Read its apVisit file."))
            recorded.append(Recorded.lost(facts, WAVE_RANGE, RESOLUTION))
            continue
        recorded.append(_spectrum(planes, ivar, grid, row, facts))
    # A star is seen from one site in one file.
    add_barycenter(recorded, middles, sites[0])
    frame = "barycenter" if options.coadds else "observatory"
    return observe(recorded, frame, rejected)


def _spectrum(
    planes: Planes,
    ivar: NDArray[np.float64],
    grid: NDArray[np.float64],
    row: StarRow,
    facts: dict[str, Any],
) -> Recorded:
    flux, weight = planes.flux[row.row], ivar[row.row]
    # Between the detectors DR17 writes NaN into its sums.
    off = np.isnan(flux) & ~(planes.error[row.row] > 0)
    flux, weight = np.where(off, 0, flux), np.where(off, 0, weight)
    wave = observed(grid, row.velocity)
    return Recorded(facts, wave, flux, weight, RESOLUTION, WAVE_RANGE)


def _facts(
    header: Mapping[str, Any], row: StarRow, path: str | Path, options: ReadOptions
) -> tuple[dict[str, Any], float, Place]:
    """Return the facts of a row, the middle of its visit (MJD, UTC), and its place."""
    star, ra, dec = position(header, options)
    stem = Path(path).name.split(".", 1)[0]
    facts: dict[str, Any] = {
        "star_id": star,
        "ra": ra,
        "dec": dec,
        "survey": survey_of(header),
        "path": f"{path}[{row.row}]",
    }
    if row.number == 0:
        place = Place.of({"TELESCOP": header.get("TELESCOP", "")}, path, dec)
        name = f"coadd-{star or stem}"
        facts = place.row(name) | facts
        facts["field"] = text(header, "FIELD") or None
        facts["snr"] = number(header, "SNR", low=0.0, high=1e5)
        facts["status"] = int(Status.COADD)
        return facts, float("nan"), place
    n = row.number
    # The name of the visit's own file says plate, night, fiber and site.
    file = text(header, f"SFILE{n}")
    backup = {"FIBERID": header.get(f"FIBER{n}", ""), "TELESCOP": ""}
    place = Place.of(backup, Path(path).parent / Path(file or stem).name, dec)
    jd = number(header, f"JD{n}", low=2_440_000.5, high=2_488_000.0)
    middle = jd - _JD0
    facts = place.row(f"{file.split('.', 1)[0] or stem}-{n}") | facts
    snr = number(header, f"SNRVIS{n}", low=0.0, high=1e5)
    if snr > 0:  # DR17 writes zero into files of one visit
        facts["snr"] = snr
    start = mjd_from_text(text(header, f"DATE{n}"))
    if not np.isfinite(middle):
        middle = start
    return facts, middle, place
