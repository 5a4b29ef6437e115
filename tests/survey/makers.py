"""Good files of every kind, written by astropy: a route independent of our own parser."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
from astropy.io import fits

from steadystar.data.spectra import Spectra
from steadystar.survey.observation import Recorded, observe
from steadystar.survey.shards import write_shard

PIXELS = 400
RANGES = {"B": (4900.0, 5390.0), "R": (6870.0, 6290.0)}
"""Wavelengths of the first and the last pixel; the red arm runs downward."""

PRIMARY = {
    "EXTNAME": "Information",
    "ORIGIN": "NAOC-LAMOST",
    "TELESCOP": "LAMOST",
    "DATE-OBS": "2018-10-16T12:41:00",
    "DATE-BEG": "2018-10-16T20:31:43.0",
    "LMJD": 58408,
    "PLANID": "TD230151N343645T01",
    "RA": 345.797708,
    "DEC": 32.226539,
    "DESIG": "LAMOST J230311.44+321335.5",
    "FIBERID": 15,
    "SPID": 1,
    "OBJNAME": "1886955093649969280",
    "HELIO": True,
    "HELIO_RV": 9.20037,
    "VACUUM": True,
}
MINUTES = (84107311, 84107335, 84107359)


def wavelengths(arm: str, pixels: int = PIXELS) -> np.ndarray:
    """A polynomial of degree 5 in the pixel, as LAMOST's calibration is (in log10)."""
    x = np.linspace(-1, 1, pixels)
    low, high = np.log10(RANGES[arm])
    bends = 1e-3 * (x**2 - 1) + 3e-5 * (x**3 - x) + 1e-5 * (x**5 - x)
    return 10 ** ((low + high) / 2 + (high - low) / 2 * x + bends)


def spectrum(seed: int, pixels: int = PIXELS) -> tuple[np.ndarray, np.ndarray]:
    """Flux with a line and noise, and its inverse variance."""
    rng = np.random.default_rng(seed)
    x = np.arange(pixels)
    shape = 1000 * (1 - 0.5 * np.exp(-(((x - pixels / 2) / 5) ** 2)))
    return shape + rng.normal(0, 20, pixels), np.full(pixels, 1 / 20.0**2)


def mrs_name(suffix: str = ".fits.gz") -> str:
    return f"med-58408-TD230151N343645T01_sp01-015{suffix}"


def write(hdus: fits.HDUList, path: Path) -> Path:
    hdus.writeto(path, output_verify="silentfix")
    return path


def lamost_mrs(
    folder: Path,
    *,
    layout: str = "old",
    arms: str = "BR",
    coadds: bool = True,
    exposures: int = 3,
    primary: dict | None = None,
    name: str = "",
) -> Path:
    """A file in the medium-resolution survey's own layout; gzipped if so named."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update(PRIMARY | (primary or {}))
    for key in [key for key, value in (primary or {}).items() if value is None]:
        del hdus[0].header[key]
    for seed, arm in enumerate(arms):
        if coadds:
            cards = {"LMJMLIS0": "-".join(map(str, MINUTES[:exposures])), "SNR": 90.5}
            hdus.append(mrs_table(f"COADD_{arm}", arm, 100 + seed, layout, cards))
    for seed, arm in enumerate(arms):
        for number, minute in enumerate(MINUTES[:exposures]):
            cards = {"LMJM": str(minute), "EXPTIME": 1200, "SNR": 40.0 + number}
            unit = mrs_table(f"{arm}-{minute}", arm, 10 * number + seed, layout, cards)
            hdus.append(unit)
    return write(hdus, folder / (name or mrs_name()))


def mrs_table(name: str, arm: str, seed: int, layout: str, cards: dict):
    wave = wavelengths(arm)
    flux, ivar = spectrum(seed)
    mask = np.zeros(PIXELS, np.int16)
    mask[[3, 4]] = 1, 4
    names = ("ANDMASK", "ORMASK") if name.startswith("COADD") else ("PIXMASK",)
    columns = {"FLUX": flux.astype(np.float32), "IVAR": ivar.astype(np.float32)}
    if layout == "old":
        columns["LOGLAM"] = np.log10(wave).astype(np.float32)
    else:
        columns["WAVELENGTH"] = wave.astype(np.float32)
        columns["NORMALIZATION"] = (flux / 1000).astype(np.float32)
    columns |= dict.fromkeys(names, mask)
    unit = fits.BinTableHDU.from_columns(
        [_column(key, values, layout) for key, values in columns.items()], name=name
    )
    unit.header.update({"LAMPLIST": "lampsc_med.dat"} | cards)
    return unit


def _column(name: str, values: np.ndarray, layout: str) -> fits.Column:
    letter = {"f": "E", "i": "I"}[values.dtype.kind]
    if layout == "old":
        return fits.Column(name, letter, array=values)
    return fits.Column(name, f"{len(values)}{letter}", array=values[None])


LRS = PRIMARY | {
    "EXTNAME": "Flux",
    "EXTEN0": "Flux, Inverse, Wavelength, Andmask, Ormask",
    "LMJMLIST": "84107311-84107335",
    "EXPTIME": 2400.0,
    "SNRG": 55.5,
    "COEFF0": 3.5682,
    "COEFF1": 0.001,
}


def lamost_lrs(
    folder: Path, *, layout: str = "image", drop: tuple[str, ...] = ()
) -> Path:
    """A low-resolution file: an image of five rows, or a table of one row."""
    cards = {key: value for key, value in LRS.items() if key not in drop}
    wave = 10 ** (3.5682 + 0.001 * np.arange(PIXELS))
    flux, ivar = spectrum(7)
    mask = np.zeros(PIXELS)
    mask[9] = 1
    if layout == "image":
        rows = np.array([flux, ivar, wave, 0 * mask, mask], np.float32)
        hdus = fits.HDUList([fits.PrimaryHDU(rows)])
        hdus[0].header.update(cards)
    else:
        hdus = fits.HDUList([fits.PrimaryHDU()])
        hdus[0].header.update(cards)
        values = {"FLUX": flux, "IVAR": ivar, "WAVELENGTH": wave, "ORMASK": mask}
        columns = [_column(key, v.astype("f4"), "new") for key, v in values.items()]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="COADD"))
    return write(hdus, folder / "spec-58408-TD230151N343645T01_sp01-015.fits")


AMATEUR = {
    "CRVAL1": 6500.0,
    "CDELT1": 0.25,
    "CRPIX1": 1.0,
    "CTYPE1": "Wavelength",
    "CUNIT1": "Angstrom",
    "OBJNAME": "HD 123299",
    "DATE-OBS": "2023-05-04T19:42:41",
    "EXPTIME": 7245,
    "BSS_SITE": "Somewhere",
    "BSS_VHEL": 0,
    "BSS_ITRP": 15000,
    "OBSERVER": "A. Amateur",
    "GEO_LONG": 5.415179,
    "GEO_LAT": 45.431196,
    "GEO_ELEV": 520,
}


def image(folder: Path, name: str = "star.fits", **cards) -> Path:
    """A one-dimensional image in the format of the BeSS network."""
    unit = fits.PrimaryHDU(spectrum(5)[0].astype(np.float32))
    unit.header.update(AMATEUR)
    for key, value in cards.items():
        key = key.replace("_", "-") if key in ("DC_FLAG", "JD_MID") else key
        if value is None:
            del unit.header[key]
        else:
            unit.header[key] = value
    return write(fits.HDUList([unit]), folder / name)


def table(folder: Path, columns: dict[str, np.ndarray], units=None, **cards) -> Path:
    """A FITS table of pixels."""
    unit = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, "D", array=values, unit=(units or {}).get(name))
            for name, values in columns.items()
        ]
    )
    unit.header.update(cards)
    hdus = fits.HDUList([fits.PrimaryHDU(), unit])
    return write(hdus, folder / "table.fits")


def csv(folder: Path, name: str = "star.csv", heading: str = "wave,flux,err") -> Path:
    """Columns of text, with facts in comments."""
    wave = np.linspace(5000, 5100, PIXELS)
    flux, ivar = spectrum(6)
    lines = ["# OBJECT = HD 1", "# RA: 10.5", "# DEC: 41.2", heading]
    separator = "," if "," in heading else " "
    for row in zip(wave, flux, ivar**-0.5, strict=True):
        lines.append(separator.join(f"{value:.8g}" for value in row))
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def shard(folder: Path, rows: int = 3) -> Path:
    """A shard of a few spectra."""
    visits, spectra = visits_and_spectra(rows)
    path = folder / "shard.parquet"
    write_shard(path, visits, spectra)
    return path


def visits_and_spectra(rows: int = 3) -> tuple[pl.DataFrame, Spectra]:
    recorded = []
    for row in range(rows):
        flux, ivar = spectrum(row)
        facts = {"visit_id": f"v{row}", "star_id": "s", "ra": 1.0, "dec": 2.0}
        facts |= {"bjd": 2459000.5 + row, "survey": "test"}
        recorded.append(Recorded(facts, wavelengths("B"), flux, ivar, 7500.0))
    observation = observe(recorded, "barycenter")
    return observation.visits, observation.spectra


def gunzip(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())
