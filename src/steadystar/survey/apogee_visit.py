"""One visit of APOGEE: the apVisit file of a star, a plate and a night.

The exposures of a visit (usually eight, at two dither positions) are already one
spectrum of three detectors, with 4096 pixels each where they were interleaved and 2048
where not; the sky is subtracted, the telluric absorption divided out, and both are
kept in images of their own (`survey.apogee.read_sky`). Wavelengths are in vacuum and as
observed. Here a visit counts as one exposure, and its detectors become one spectrum
with two gaps, from blue to red.

Pixels of interleaved exposures are sums of shifted pixels only where the dither was not
half a pixel; their errors are taken as independent, as the survey gives them.
"""

__all__ = ["NAMES", "line_spread", "read_visit", "visit_planes"]

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadystar.survey.apogee_header import (
    RESOLUTION,
    WAVE_RANGE,
    Place,
    add_barycenter,
    middle_of_visit,
    position,
    survey_of,
)
from steadystar.survey.apogee_lsf import LineSpread, unpack
from steadystar.survey.apogee_mask import bits_of
from steadystar.survey.apogee_planes import Planes, chip_order, coefficients, joined
from steadystar.survey.fitsfile import DamagedFits, Unit
from steadystar.survey.header import number
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)

NAMES = (
    *("flux", "error", "mask", "wavelength"),
    *("sky", "sky error", "telluric", "telluric error"),
)
"""Images of an apVisit, in order."""

_LSF_PLACE = 10
_READER = "apogee"
_FETCH = "Fetch the file again."


def visit_planes(
    path: str | Path, units: Sequence[Unit]
) -> tuple[Planes, NDArray, NDArray[np.intp]]:
    """Return the images of a visit, its wavelengths, and the order of its pixels.

    Raises:
        UnreadableFile: flux, error, mask or wavelengths are missing or damaged.
    """
    try:
        planes = Planes.of(units, NAMES)
        wave = planes.others.get("wavelength")
        if wave is None:
            raise DamagedFits("it has no image of the wavelengths")
        if len(wave) > 3:
            raise DamagedFits(f"it has {len(wave)} rows where detectors are three")
    except DamagedFits as error:
        raise UnreadableFile(path, str(error), _FETCH) from error
    return planes, wave, chip_order(wave)


def read_visit(
    path: str | Path, units: Sequence[Unit], ending: str, options: ReadOptions
) -> Observation:
    """Read the spectrum of an apVisit file: one row.

    Arguments:
        units: the units of the file, primary header first.
        ending: why there are no more units; empty if all is well.

    Raises:
        UnreadableFile: it has no flux, error, mask or wavelengths.
    """
    header = units[0].header
    rejected = [(str(path), _READER, ending, _FETCH)] if ending else []
    planes, wave, order = visit_planes(path, units)
    star, ra, dec = position(header, options)
    place = Place.of(header, path, dec)
    # The header counts one of two dither positions, if there are two.
    dithered = planes.flux.shape[1] > 2048
    exptime = number(header, "EXPTIME", low=0.1, high=1e6) * (2 if dithered else 1)
    facts = place.row(f"{place.night}-{star or Path(path).name.split('.', 1)[0]}") | {
        "star_id": star,
        "ra": ra,
        "dec": dec,
        "survey": survey_of(header),
        "exptime": exptime,
        "snr": number(header, "SNR", low=0.0, high=1e5),
        "path": str(path),
    }
    resolution = RESOLUTION
    try:
        spread = line_spread(units, wave, order)
        resolution = mean_resolution(spread)
    except ValueError as error:
        reason = f"{error}; the resolving power is taken to be {RESOLUTION:.0f}"
        rejected.append((f"{path}[LSF]", _READER, reason, _FETCH))
    spectrum = Recorded(
        facts,
        joined(wave.astype(np.float64), order),
        joined(planes.flux, order),
        joined(planes.ivar(bits_of(options.apogee_mask)), order),
        resolution,
        WAVE_RANGE,
    )
    add_barycenter([spectrum], [middle_of_visit(header, exptime)], place.site)
    return observe([spectrum], "observatory", rejected)


def line_spread(
    units: Sequence[Unit], wave: NDArray, order: NDArray[np.intp]
) -> LineSpread:
    """Return the line spread function of an apVisit, in the order of its spectrum.

    Raises:
        ValueError: the file does not have one that makes sense.
    """
    rows = coefficients(units, _LSF_PLACE)
    if len(rows) != len(wave):
        raise ValueError(
            f"there are line spread functions of {len(rows)} detectors, not of "
            f"{len(wave)}"
        )
    size = wave.shape[1]
    chips = order[::size] // size
    return LineSpread(
        joined(wave.astype(np.float64), order),
        [unpack(rows[chip]) for chip in chips],
        (order % size).astype(np.float64),
    )


def mean_resolution(spread: LineSpread) -> float:
    """Return the median resolving power over the pixels.

    Raises:
        ValueError: it is none of a spectrograph like this.
    """
    with np.errstate(all="ignore"):
        values = spread.resolution
    values = values[np.isfinite(values)]
    median = float(np.median(values)) if len(values) else float("nan")
    if not 1e3 < median < 1e6:
        raise ValueError(f"its line spread function has the resolving power {median:g}")
    return median
