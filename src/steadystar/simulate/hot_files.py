"""Files as LAMOST's low-resolution survey writes them, one a star and night.

Three layouts: ``dr1``, an image of five rows of which the third is the flux without its
continuum, S/N under SN_G; ``dr5``, the same image with wavelengths in the third row, S/N
under SNRG; ``dr8``, an extension COADD that is a table with one row of vectors. In the
first two the header gives wavelengths as well, ``log10(wave) = COEFF0 + COEFF1 i``.
Equal spectra make equal files.
"""

__all__ = ["LAYOUTS", "file_name", "write_spectrum"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.simulate import sky
from steadystar.simulate.fits_bytes import BLOCK, card, gzipped, header
from steadystar.simulate.hot_spectra import WAVE

LAYOUTS = ("dr1", "dr5", "dr8")

_EXPOSURES, _LENGTH = 3, 1500.0  # s, as most plates have
_START = 21 * 60 + 24  # minute of local time at which the night's first exposure begins


def file_name(row: Mapping[str, Any]) -> str:
    """Return the name that LAMOST gives to the file of a spectrum, uncompressed."""
    place = f"sp{row['spectrograph']:02d}-{row['fiber']:03d}"
    return f"spec-{row['night']}-{row['plan']}_{place}.fits"


def write_spectrum(
    directory: Path,
    row: Mapping[str, Any],
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
    *,
    gzip: bool = True,
) -> Path:
    """Write the file of one spectrum into ``directory`` and return its path.

    ``row``: of the table of spectra, with ``layout``, ``night, plan, spectrograph,
    fiber``, ``ra, dec``, magnitude ``g_true``, ``rv_header`` and ``teff``.
    """
    name = file_name(row)
    cards = _cards(row, flux, ivar)
    if row["layout"] == "dr8":
        content = _table(cards, name, flux, ivar)
    else:
        content = _image(cards, name, row["layout"], flux, ivar)
    path = directory / (name + ".gz" if gzip else name)
    path.write_bytes(gzipped(content) if gzip else content)
    return path


def _image(cards: list[str], name: str, layout: str, flux, ivar) -> bytes:
    if layout == "dr1":
        middle, third = "Flux Inverse Subcontinuum Andmask Ormask", _flat(flux, ivar)
    else:
        middle, third = "Flux, Inverse, Wavelength, Andmask, Ormask", WAVE
    rows = np.zeros((5, len(flux)), ">f4")
    rows[0], rows[1], rows[2] = flux, ivar, third
    rows[3] = rows[4] = ivar == 0
    lines = [
        card("SIMPLE", True),
        card("BITPIX", -32),
        card("NAXIS", 2),
        card("NAXIS1", len(flux)),
        card("NAXIS2", 5),
        card("EXTEND", True),
        card("FILENAME", name),
        card("EXTEN0", middle),
        *cards,
    ]
    body = rows.tobytes()
    return header(lines) + body + bytes(-len(body) % BLOCK)


def _table(cards: list[str], name: str, flux, ivar) -> bytes:
    primary = [
        card("SIMPLE", True),
        card("BITPIX", 8),
        card("NAXIS", 0),
        card("EXTEND", True),
        card("FILENAME", name),
        *cards,
    ]
    flagged = ivar == 0
    columns = {
        "FLUX": flux,
        "IVAR": ivar,
        "WAVELENGTH": WAVE,
        "ANDMASK": flagged,
        "ORMASK": flagged,
        "NORMALIZATION": _flat(flux, ivar),
    }
    data = np.zeros(1, [(key, ">f4", (len(flux),)) for key in columns])
    for key, values in columns.items():
        data[key] = values
    table = [
        f"{'XTENSION= ':<10}'BINTABLE' / Binary table".ljust(80),
        card("BITPIX", 8),
        card("NAXIS", 2),
        card("NAXIS1", data.dtype.itemsize, "Number of bytes per row"),
        card("NAXIS2", 1, "Number of rows"),
        card("PCOUNT", 0),
        card("GCOUNT", 1),
        card("TFIELDS", len(columns), "Number of columns in table"),
        card("EXTNAME", "COADD", "The extension name"),
    ]
    for number, key in enumerate(columns, start=1):
        table.append(card(f"TTYPE{number}", key))
        table.append(card(f"TFORM{number}", f"{len(flux)}E"))
    body = data.tobytes()
    return header(primary) + header(table) + body + bytes(-len(body) % BLOCK)


def _flat(flux, ivar) -> NDArray[np.float64]:
    """Return flux over a low polynomial, as the files provide for a quick look."""
    x = np.linspace(-1, 1, len(flux))
    weight = np.sqrt(ivar / ivar.max())
    fit = np.polynomial.Polynomial.fit(x[::8], flux[::8], 5, w=weight[::8])
    level = fit(x)
    return flux / np.where(np.abs(level) > 1e-3, level, 1.0)


def _cards(row: Mapping[str, Any], flux, ivar) -> list[str]:
    night = int(row["night"])
    # A night bears the date of its morning: it begins the evening before.
    first = (night - 1) * 1440 + _START
    gap = round(_LENGTH / 60) + 3
    minutes = [first + gap * n for n in range(_EXPOSURES)]
    begin = float(sky.minute_to_utc(first))
    end = float(sky.minute_to_utc(minutes[-1])) + _LENGTH / 86_400
    _, correction = sky.barycentric((begin + end) / 2, row["ra"], row["dec"])
    old = row["layout"] == "dr1"
    cards: list[tuple[str, Any, str]] = [
        ("AUTHOR", "steadystar simulator", "Who compiled the information"),
        *([] if old else [("DATA_V", f"LAMOST {row['layout'].upper()}", "Release")]),
        ("ORIGIN", "simulated", "Organization responsible for creating this file"),
        ("DATE", "2020-01-01T00:00:00", "Time when this HDU is created (UTC)"),
        ("TELESCOP", "LAMOST", "GuoShouJing Telescope"),
        ("LONGITUD", 117.58, "[deg] Longitude of site"),
        ("LATITUDE", 40.39, "[deg] Latitude of site"),
        ("DATE-OBS", sky.utc_time((begin + end) / 2), "The observation median UTC"),
        ("DATE-BEG", sky.local_time(begin), "The observation start local time"),
        ("DATE-END", sky.local_time(end), "The observation end local time"),
        ("LMJD", night, "Local Modified Julian Day"),
        ("MJD", night - 1, "Modified Julian Day"),
        ("LMJMLIST", "-".join(map(str, minutes)), "Local Modified Julian Minute list"),
        ("PLANID", row["plan"], "Plan ID in use"),
        ("RA", row["ra"], "[deg] Right ascension of object"),
        ("DEC", row["dec"], "[deg] Declination of object"),
        ("DESIG", f"LAMOST {row['star_id']}", "Designation of LAMOST target"),
        ("FIBERID", int(row["fiber"]), "Fiber ID of Object"),
        ("OBJNAME", row["star_id"], "Name of object"),
        ("OBJTYPE", "Star", "Object type from input catalog"),
        ("FIBERTYP", "Obj", "Fiber type of object"),
        ("FIBERMAS", 0, "Bitmask of warning values, 0 means all is well"),
        ("MAGTYPE", "g", "Magnitude type of object"),
        ("MAG1", round(row["g_true"], 2), "[mag] Mag1 of object"),
        ("OBS_TYPE", "OBJ", "The type of target (OBJ, FLAT, ARC or BIAS)"),
        ("RADECSYS", "FK5", "Equatorial coordinate system"),
        ("EQUINOX", 2000.0, "Equinox in years"),
        ("LAMPLIST", "lamphgcdne.dat", "Arc lamp emission line list"),
        ("NEXP", _EXPOSURES, "Number of valid exposures"),
        ("EXPTIME", _EXPOSURES * _LENGTH, "[s] Minimum of exposure times"),
        ("SPID", int(row["spectrograph"]), "Spectrograph ID"),
        ("SLIT_MOD", "x2/3", "Slit mode, x1, x2/3 or x1/2"),
        ("HELIO", True, "Heliocentric correction"),
        # LAMOST writes the velocity of the observatory away from the star.
        ("HELIO_RV", round(-float(correction), 5), "[km/s] Heliocentric correction"),
        ("VACUUM", True, "Wavelengths are in vacuum"),
        ("NWORDER", 2, "Number of linear-log10 coefficients"),
        ("WFITTYPE", "LOG-LINEAR", "Linear-log10 dispersion"),
        ("COEFF0", 3.5682, "Central wavelength (log10) of first pixel"),
        ("COEFF1", 0.0001, "Log10 dispersion per pixel"),
        ("DC-FLAG", 1, "Log-linear flag"),
        ("CLASS", "STAR", "Class of object"),
        ("SUBCLASS", _subclass(row["teff"]), "Subclass of object"),
        ("Z", round(row["rv_header"] / 299_792.458, 8), "Redshift of object"),
        *_ratios(flux, ivar, "SN_" if old else "SNR"),
    ]
    return [card(*one) for one in cards]


def _ratios(flux, ivar, key: str) -> list[tuple[str, Any, str]]:
    """Return the median signal-to-noise ratios within the bands of SDSS."""
    ratio = flux * np.sqrt(ivar)
    out = []
    for band, low, high in (
        *(("U", 3700, 3900), ("G", 4000, 5500), ("R", 5600, 7000)),
        *(("I", 6900, 8200), ("Z", 8200, 9000)),
    ):
        median = float(np.median(ratio[(low < WAVE) & (high > WAVE)]))
        out.append(
            (f"{key}{band}", round(max(median, 0.0), 2), f"SNR of {band} filter")
        )
    return out


def _subclass(teff: float) -> str:
    """Return the class by temperature that the survey's own pipeline might give."""
    limits = ((33_000, "O9"), (20_000, "B1"), (15_000, "B4"), (11_000, "B8"))
    return next((name for limit, name in limits if teff > limit), "A1V")
