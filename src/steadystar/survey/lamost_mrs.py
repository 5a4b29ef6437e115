"""Single exposures and coadds of LAMOST's medium-resolution survey.

A file is one star's night: an extension ``B-<LMJM>`` or ``R-<LMJM>`` for each exposure
and arm, ``COADD_B`` and ``COADD_R`` for their sums. Releases up to DR8 have tables of
one row a pixel with FLUX, IVAR, LOGLAM and PIXMASK (coadds: ANDMASK, ORMASK); later
ones a single row of vectors, with WAVELENGTH instead of LOGLAM, and NORMALIZATION, which
is not used. Wavelengths are in vacuum and heliocentric; the red run downward.

The survey's correction is heliocentric; the Sun moves about the barycenter by up to
16 m/s, the same for all stars of a field, so that is left to the zero points.
Resolving power: 7500 (Zong et al. 2020, ApJS 251, 15).
"""

__all__ = ["EXTENSION", "read_mrs"]

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.data.status import Status
from steadystar.survey.fitsfile import DamagedFits, Unit
from steadystar.survey.header import number, text
from steadystar.survey.lamost_header import (
    Target,
    exposure_start,
    frame_of,
    minutes,
    night_of,
)
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.observatory import SITES, barycentric
from steadystar.survey.rounding import restore

EXTENSION = re.compile(r"(COADD_[BR]|[BR]-\d{1,12})")
"""Names of the extensions that hold spectra."""

_READER = "lamost"
_SURVEY = "lamost-mrs"
_RESOLUTION = 7500.0
_ARMS = {"B": "blue", "R": "red"}
_WAVE_RANGE = {"blue": (4900.0, 5400.0), "red": (6250.0, 6900.0)}
_MOST_PIXELS = 20_000  # 4136 in all releases so far
_FETCH = "Fetch the file again."


def read_mrs(
    path: str | Path,
    units: Sequence[Unit],
    ending: str,
    target: Target,
    options: ReadOptions,
) -> Observation:
    """Read the exposures (or, on request, the coadds) of a file, blue before red.

    Arguments:
        units: the units of the file, primary header first.
        ending: why there are no more units; empty if all is well.

    Raises:
        UnreadableFile: there is none.
    """
    rejected = [(str(path), _READER, ending, _FETCH)] if ending else []
    recorded, names = [], set()
    for unit in units[1:]:
        where = f"{path}[{unit.name}]"
        if EXTENSION.fullmatch(unit.name) is None:
            reason = "its name is not that of an exposure or a coadd"
            rejected.append((where, _READER, reason, _FETCH))
            continue
        if unit.name.startswith("COADD") != options.coadds:
            continue
        if unit.name in names:
            reason = "the file has two extensions of this name; the first was read"
            rejected.append((where, _READER, reason, _FETCH))
            continue
        names.add(unit.name)
        facts = target.row(options) | _facts(unit, units, target, where)
        try:
            recorded.append(_spectrum(unit, facts))
        except DamagedFits as error:
            rejected.append((where, _READER, str(error), _FETCH))
            wave_range = _WAVE_RANGE[facts["arm"]]
            recorded.append(Recorded.lost(facts, wave_range, _RESOLUTION))
    if not recorded:
        wanted = "coadded spectrum" if options.coadds else "single exposure"
        other = "without" if options.coadds else "with"
        raise UnreadableFile(
            path, ending or f"it holds no {wanted}", f"Try {other} `coadds`."
        )
    _add_barycenter(recorded, target)
    recorded.sort(key=lambda spectrum: spectrum.facts["arm"])
    return observe(recorded, frame_of(units[0].header), rejected)


def _facts(
    unit: Unit, units: Sequence[Unit], target: Target, where: str
) -> dict[str, Any]:
    """Return what is known of a spectrum, but for times at the barycenter."""
    coadd = unit.name.startswith("COADD")
    arm = _ARMS[unit.name[-1] if coadd else unit.name[0]]
    stem = Path(where).name.split(".", 1)[0]
    place = target.place or stem
    if coadd:
        lists = [text(unit.header, f"LMJMLIS{n}") for n in range(10)]
        starts = minutes(text(unit.header, "LMJMLIST"), *lists)
        exposure = f"coadd-{target.plan}-{target.night}"
        visit = f"lamost-coadd-{target.night}-{target.plan}-{place}-{arm}"
    else:
        # Two places say it; the first believable one is taken.
        starts = minutes(text(unit.header, "LMJM"), unit.name)[:1]
        exposure = str(starts[0]) if starts else unit.name
        visit = f"lamost-{exposure}-{place}-{arm}"
    night = target.night
    if night is None and starts:
        night = night_of(starts[0])
    return {
        "visit_id": visit,
        "survey": _SURVEY,
        "night": night,
        "exposure_id": exposure,
        "arm": arm,
        "exptime": _exptime(unit, units, coadd, starts),
        "snr": number(unit.header, "SNR", low=0.0, high=1e5),
        "lamp": text(unit.header, "LAMPLIST", "LAMP") or None,
        "status": int(Status.COADD) if coadd else 0,
        "path": where,
        "begin": [exposure_start(m, unit.header, units[0].header) for m in starts],
    }


def _exptime(
    unit: Unit, units: Sequence[Unit], coadd: bool, starts: Sequence[int]
) -> float:
    """Return the exposure time in s: the extension's own, or its neighbors'."""
    own = number(unit.header, "EXPTIME", low=0.1, high=1e6)
    if np.isfinite(own):
        return own
    others = [number(other.header, "EXPTIME", low=0.1, high=1e6) for other in units]
    known = [value for value in others if np.isfinite(value)]
    if not known:
        return float("nan")
    typical = float(np.median(known))
    return typical * max(1, len(starts)) if coadd else typical


def _spectrum(unit: Unit, facts: dict[str, Any]) -> Recorded:
    """Read the pixels of an extension.

    Raises:
        DamagedFits: columns are missing, or not of one length.
    """
    names = unit.columns
    flux, ivar = _vector(unit, "FLUX"), _vector(unit, "IVAR")
    if "LOGLAM" in names:
        wave = restore(_vector(unit, "LOGLAM"), log10=True)
    else:
        wave = restore(_vector(unit, "WAVELENGTH"), log10=False)
    # Every bit of these masks means a pixel not to be used: bad on the CCD, without
    # sky, outside of the trace. ORMASK is set where any of the exposures has one.
    mask_name = next((name for name in ("PIXMASK", "ORMASK") if name in names), None)
    mask = _vector(unit, mask_name) if mask_name else np.zeros(len(flux))
    if not len(flux) == len(ivar) == len(wave) == len(mask):
        raise DamagedFits("its columns are not of one length")
    if len(flux) > _MOST_PIXELS:
        raise DamagedFits(f"it claims {len(flux)} pixels")
    ivar = np.where(mask == 0, ivar, 0)
    arm = facts["arm"]
    return Recorded(facts, wave, flux, ivar, _RESOLUTION, _WAVE_RANGE[arm])


def _vector(unit: Unit, name: str) -> NDArray:
    values = unit.column(name)
    if values.dtype.kind not in "fiu":
        raise DamagedFits(f"column {name} is not of numbers")
    if values.ndim == 2 and len(values) == 1:
        return values[0]
    if values.ndim == 2:
        raise DamagedFits(f"column {name} has {len(values)} rows of vectors")
    return values


def _add_barycenter(recorded: Sequence[Recorded], target: Target) -> None:
    """Fill in times and corrections of all spectra, in one call."""
    middles = []
    for spectrum in recorded:
        facts = spectrum.facts
        begin = facts.pop("begin")
        single = facts["exptime"] / max(1, len(begin))
        middles.append(np.mean(begin) + single / 2 / 86_400 if begin else np.nan)
    bjd, correction = barycentric(middles, target.ra, target.dec, SITES["lamost"])
    for spectrum, time, velocity in zip(recorded, bjd, correction, strict=True):
        spectrum.facts["bjd"] = float(time)
        spectrum.facts["bary_corr"] = float(velocity)
