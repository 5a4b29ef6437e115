"""Coadded spectra of LAMOST's low-resolution survey.

A file is one star's night, both arms and all exposures joined. Up to DR8 it is an image
of five rows: flux, inverse variance, the wavelengths (before DR3: the flux without its
continuum), and two masks; the header gives the wavelengths as ``COEFF0 + COEFF1 i`` in
log10. Later it is a table with one row of vectors. Wavelengths are in vacuum and
heliocentric. Resolving power: 1800 (Zhao et al. 2012, RAA 12, 723).
"""

__all__ = ["find_lrs", "read_lrs"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.data.status import Status
from steadystar.survey.fitsfile import DamagedFits, Unit
from steadystar.survey.header import number, text
from steadystar.survey.lamost_header import Target, exposure_start, frame_of, minutes
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.observatory import SITES, barycentric, mjd_from_text
from steadystar.survey.rounding import restore

_READER = "lamost"
_RESOLUTION = 1800.0
_WAVE_RANGE = (3700.0, 9100.0)
_MOST_PIXELS = 20_000  # 3909 in all releases so far
_FETCH = "Fetch the file again."


def find_lrs(units: Sequence[Unit]) -> Unit | None:
    """Return the unit that holds a low-resolution spectrum, None if there is none."""
    for unit in units:
        if len(unit.axes) == 2 and unit.axes[1] >= 2:
            return unit
        try:
            if unit.is_table and {"FLUX", "IVAR", "WAVELENGTH"} <= set(unit.columns):
                return unit
        except DamagedFits:
            continue
    return None


def read_lrs(
    path: str | Path,
    primary: Mapping[str, Any],
    unit: Unit,
    ending: str,
    target: Target,
    options: ReadOptions,
) -> Observation:
    """Read the spectrum of a file: one row, with the status COADD.

    Raises:
        UnreadableFile: its arrays are damaged.
    """
    header = {**primary, **unit.header}
    try:
        wave, flux, ivar, mask = _table(unit) if unit.is_table else _image(unit, header)
    except DamagedFits as error:
        raise UnreadableFile(path, str(error), _FETCH) from error
    if not len(wave) == len(flux) == len(ivar) == len(mask):
        raise UnreadableFile(path, "its columns are not of one length", _FETCH)
    if len(flux) > _MOST_PIXELS:
        raise UnreadableFile(path, f"it claims {len(flux)} pixels", _FETCH)
    middle, exptime = _times(header)
    bjd, correction = barycentric(middle, target.ra, target.dec, SITES["lamost"])
    name = target.place or Path(path).name.split(".", 1)[0]
    row = target.row(options) | {
        "visit_id": f"lamost-lrs-{target.night}-{target.plan}-{name}",
        "survey": "lamost-lrs",
        "exposure_id": f"coadd-{target.plan}-{target.night}",
        "arm": "all",
        "bjd": float(bjd),
        "exptime": exptime,
        # The g band, as LAMOST's catalogs are usually cut by; SN_G before DR3.
        "snr": number(header, "SNRG", "SN_G", low=0.0, high=1e5),
        "bary_corr": float(correction),
        "lamp": text(header, "LAMPLIST") or None,
        "status": int(Status.COADD),
        "path": str(path),
    }
    # A set bit of ORMASK says that at least one exposure was bad there.
    ivar = np.where(mask == 0, ivar, 0)
    spectrum = Recorded(row, wave, flux, ivar, _RESOLUTION, _WAVE_RANGE)
    rejected = [(str(path), _READER, ending, _FETCH)] if ending else []
    return observe([spectrum], frame_of(header), rejected)


def _times(header: Mapping[str, Any]) -> tuple[float, float]:
    """Return the mean middle of the exposures (MJD, UTC) and the sum of their lengths."""
    exptime = number(header, "EXPTIME", "EXPT_B", "EXPT_R", low=0.1, high=1e6)
    lists = [text(header, f"LMJMLIS{n}") for n in range(10)]
    starts = minutes(text(header, "LMJMLIST"), *lists)
    if starts and np.isfinite(exptime):
        begin = np.mean([exposure_start(minute, header) for minute in starts])
        return float(begin + exptime / len(starts) / 2 / 86_400), exptime
    # DATE-OBS is the median UTC, to a minute.
    return mjd_from_text(text(header, "DATE-OBS")), exptime


def _image(
    unit: Unit, header: Mapping[str, Any]
) -> tuple[NDArray[np.float64], NDArray, NDArray, NDArray]:
    rows = unit.image()
    size = rows.shape[1]
    wave = np.full(size, np.nan)
    first, step = number(header, "COEFF0"), number(header, "COEFF1")
    if np.isfinite(first) and np.isfinite(step):
        with np.errstate(all="ignore"):
            wave = 10.0 ** (first + step * np.arange(size))
    elif len(rows) >= 3 and "wave" in text(header, "EXTEN0").casefold():
        wave = restore(rows[2], log10=False)
    mask = rows[-1] if len(rows) >= 4 else np.zeros(size)
    return wave, rows[0], rows[1], mask


def _table(unit: Unit) -> tuple[NDArray[np.float64], NDArray, NDArray, NDArray]:
    vectors = {}
    for name in ("FLUX", "IVAR", "WAVELENGTH", "ORMASK"):
        if name == "ORMASK" and name not in unit.columns:
            continue
        values = unit.column(name)
        vectors[name] = values[0] if values.ndim == 2 and len(values) == 1 else values
        if vectors[name].ndim != 1 or values.dtype.kind not in "fiu":
            raise DamagedFits(f"column {name} is no vector of numbers")
    flux = vectors["FLUX"]
    mask = vectors.get("ORMASK", np.zeros(len(flux)))
    wave = restore(vectors["WAVELENGTH"], log10=False)
    return wave, flux, vectors["IVAR"], mask
