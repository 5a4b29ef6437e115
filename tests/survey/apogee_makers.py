"""Visits of APOGEE with a line in them, for files that the simulator writes."""

from datetime import datetime, timedelta

import numpy as np

from steadystar.data.constants import C_KMS
from steadystar.simulate.apogee_files import (
    LSF_TYPICAL,
    Visit,
    detector_wavelengths,
    rest_grid,
    write_exposure,
    write_mwm_visit,
    write_star,
    write_visit,
)

LINE = 15_900.0
"""Angstrom at rest: on the middle detector."""
START = datetime(2014, 1, 20, 8, 17, 25)
MIDDLE_MJD = 56_677 + (8 * 3600 + 17 * 60 + 25 + 2002.0) / 86_400
PIXELS = 256
"""A detector of the tests has 256 pixels, or 4096 where the line spread matters."""


def continuum(wave, depth=0.5, at=LINE, width=0.4):
    return 800.0 * (1 - depth * np.exp(-0.5 * ((wave - at) / width) ** 2))


def visit(*, pixels=PIXELS, seed=0, velocity=0.0, **changes) -> Visit:
    """A visit as on the detectors, the line shifted by ``velocity``."""
    rng = np.random.default_rng(seed)
    wave = detector_wavelengths(pixels)
    lsf = LSF_TYPICAL
    if pixels <= 2048:
        lsf = lsf.copy()
        lsf[:, 0], lsf[:, 1] = 1, pixels // 2
    error = np.full(wave.shape, 10.0)
    flux = continuum(wave, at=LINE * (1 + velocity / C_KMS)) + rng.normal(
        0, 10, wave.shape
    )
    telluric = 1 - 0.3 * np.exp(-0.5 * ((wave - 15_750.0) / 1.5) ** 2)
    values = {
        "star": "2M08501918+1056436",
        "ra": 132.579937,
        "dec": 10.945469,
        "plate": "7268",
        "night": 56_677,
        "fiber_id": 142,
        "start": START,
        "exptime": 4004.0 if pixels > 2048 else 2002.0,
        "wave": wave,
        "flux": flux,
        "error": error,
        "mask": np.zeros(wave.shape, np.int16),
        "sky": 20 + 5000 * np.exp(-0.5 * ((wave - 15_600.0) / 0.4) ** 2),
        "sky_error": np.full(wave.shape, 2.0),
        "telluric": telluric,
        "telluric_error": np.full(wave.shape, 0.01),
        "lsf": lsf,
        "velocity": velocity,
        "snr": 92.6,
    }
    return Visit(**(values | changes))


def rest_visit(number=0, *, velocity=0.0, **changes) -> Visit:
    """A visit that the survey put at rest with ``velocity``; the line stands at rest."""
    grid = rest_grid()
    rng = np.random.default_rng(number)
    error = np.full(grid.shape, 10.0)
    gap = (grid > 15_810) & (grid < 15_857)
    error[gap] = 0.0
    flux = np.where(gap, 0.0, continuum(grid) + rng.normal(0, 10, grid.shape))
    values = {
        "star": "2M17335483-2753043",
        "ra": 263.478474,
        "dec": -27.884539,
        "plate": "5815",
        "night": 56_396 + number,
        "fiber_id": 212 + number,
        "start": START + timedelta(days=number),
        "exptime": 4004.0,
        "wave": grid,
        "flux": flux,
        "error": error,
        "mask": np.zeros(grid.shape, np.int64),
        "velocity": velocity,
        "bary_corr": 10.0 - number,
        "snr": 60.0 + number,
    }
    return Visit(**(values | changes))


def line_center(wave, flux, ivar, near=LINE) -> float:
    """Where the line is: the centroid of what is missing, within 2.5 Angstrom."""
    inside = (np.abs(wave - near) < 2.5) & (ivar > 0)
    missing = np.clip(760 - flux[inside], 0, None)
    return float(np.sum(wave[inside] * missing) / np.sum(missing))


def exposure_images(fibers=12, pixels=PIXELS, seed=0) -> list[dict[str, np.ndarray]]:
    """Images of the three detectors of one exposure."""
    rng = np.random.default_rng(seed)
    images = []
    for chip in detector_wavelengths(pixels):
        # Fibers lie a little apart along the detector.
        wave = chip + 0.01 * np.arange(fibers)[:, None]
        images.append(
            {
                "wave": wave,
                "flux": continuum(wave) + rng.normal(0, 10, wave.shape),
                "error": np.full(wave.shape, 10.0),
                "mask": np.zeros(wave.shape, np.int16),
            }
        )
    return images


def one_of_each_kind(folder) -> list:
    """Small files: a visit, a star, an exposure's first detector, a mwmVisit."""
    grid = rest_grid()[4000:4400]
    visits = [
        rest_visit(
            number,
            velocity=5.0 * number,
            wave=grid,
            flux=continuum(grid),
            error=np.full(len(grid), 10.0),
            mask=np.zeros(len(grid), np.int64),
        )
        for number in range(2)
    ]
    images = exposure_images(fibers=6, pixels=64)
    return [
        write_visit(folder, visit()),
        write_star(folder, visits),
        *write_exposure(folder, 11_150_048, images, chips="a"),
        write_mwm_visit(folder, 42, visits, in_stack=[True, False]),
    ]
