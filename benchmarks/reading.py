"""Reading LAMOST's medium-resolution files: ours beside bare loops of astropy and fitsio.

    python benchmarks/reading.py [FOLDER] [--repeats N]

FOLDER holds files of the survey; without it, twelve are made (four exposures, two arms,
4136 pixels, half of them gzipped). The bare loops open each file and copy flux, inverse
variance, wavelengths and mask of every single exposure, and its four keywords. Ours does
that and more: it restores the wavelengths, checks all values, computes times and
velocities at the barycenter and makes the table. Repeats are interleaved, file by file,
on one core.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
from astropy.io import fits

from steadystar.simulate.lamost_files import Recorded, StarNight, write_star_night
from steadystar.survey.registry import read

KEYS = ("LMJM", "EXPTIME", "SNR", "LAMPLIST")
WAVES = ("LOGLAM", "WAVELENGTH")


def bare_astropy(path: Path) -> list:
    out = []
    with fits.open(path, memmap=False) as hdus:
        out.append((hdus[0].header["RA"], hdus[0].header["DEC"]))
        for unit in hdus[1:]:
            if unit.name.startswith("COADD"):
                continue
            wave = next(name for name in WAVES if name in unit.columns.names)
            names = ("FLUX", "IVAR", wave, "PIXMASK")
            out.append([np.array(unit.data[name]) for name in names])
            out.append([unit.header.get(key) for key in KEYS])
    return out


def bare_fitsio(path: Path) -> list:
    import fitsio

    out = []
    with fitsio.FITS(str(path)) as hdus:
        header = hdus[0].read_header()
        out.append((header["RA"], header["DEC"]))
        for unit in hdus[1:]:
            if unit.get_extname().startswith("COADD"):
                continue
            wave = next(name for name in WAVES if name in unit.get_colnames())
            out.append(unit.read(columns=["FLUX", "IVAR", wave, "PIXMASK"]))
            header = unit.read_header()
            out.append([header.get(key) for key in KEYS])
    return out


def loops() -> dict[str, Callable[[Path], object]]:
    found = {"steadystar": read, "astropy": bare_astropy}
    try:
        import fitsio  # noqa: F401
    except ImportError:
        print("fitsio is not installed: left out")
    else:
        found["fitsio"] = bare_fitsio
    return found


def make_files(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    x = np.linspace(-1, 1, 4136)
    paths = []
    for fiber in range(1, 13):
        exposures = []
        for letter, low, high in (("B", 4900.0, 5390.0), ("R", 6870.0, 6290.0)):
            for minute in range(84107311, 84107408, 24):
                flux = 1000 + rng.normal(0, 20, 4136)
                wave = (low + high) / 2 + (high - low) / 2 * x - 5 * x**2
                exposures.append(
                    Recorded(
                        letter,
                        (minute,),
                        1200.0,
                        50.0,
                        "lampsc_med.dat",
                        wave,
                        flux,
                        np.full(4136, 1 / 400),
                        np.zeros(4136, np.int16),
                    )
                )
        cards = {"RA": 345.8, "DEC": 32.2, "DATE-OBS": "2018-10-16T12:41:00"}
        star = StarNight(58408, "BENCH", 1, fiber, cards, exposures)
        paths.append(write_star_night(folder, star, gzip=fiber % 2 == 0))
    return paths


def measure(paths: list[Path], repeats: int) -> dict[str, float]:
    """Return the median seconds that each loop takes for all files."""
    functions = loops()
    totals: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function(paths[0])
    for _ in range(repeats):
        spent = dict.fromkeys(functions, 0.0)
        for path in paths:
            for name, function in functions.items():
                start = time.perf_counter()
                function(path)
                spent[name] += time.perf_counter() - start
        for name, seconds in spent.items():
            totals[name].append(seconds)
    return {name: statistics.median(values) for name, values in totals.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.folder:
            paths = sorted(p for p in options.folder.iterdir() if p.is_file())
        else:
            paths = make_files(Path(temporary))
        spectra = sum(len(read(path)) for path in paths)
        seconds = measure(paths, options.repeats)
    print(f"{len(paths)} files, {spectra} spectra, median of {options.repeats} repeats")
    for name, value in seconds.items():
        print(
            f"{name:>10}: {1e3 * value / len(paths):7.2f} ms a file, "
            f"{1e3 * value / spectra:6.3f} ms a spectrum, "
            f"throughput {seconds['astropy'] / value:5.2f} of astropy's"
        )


if __name__ == "__main__":
    main()
