"""Files as LAMOST's medium-resolution pipeline writes them.

A file holds one star's night: a primary header with everything about the target and
the plan, a coadded spectrum per arm if wished, and a binary table per exposure and arm.
Releases up to DR7 have one row a pixel and ``LOGLAM``; later ones a single row of
vectors with ``WAVELENGTH`` and ``NORMALIZATION``. Wavelengths are in vacuum and
heliocentric, and the header's ``HELIO_RV`` is minus what was added to the velocities.

The bytes are laid out by `steadystar.simulate.fits_bytes` and hold no date and no name
of a machine: equal spectra make equal files.
"""

__all__ = [
    "Layout",
    "Recorded",
    "StarNight",
    "coadd",
    "file_name",
    "write_star_night",
]

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from steadystar.simulate.fits_bytes import BLOCK, card, gzipped, header

Layout = Literal["old", "new"]


@dataclass(frozen=True)
class Recorded:
    """One recorded spectrum, pixels in the order of the detector.

    ``wave``: vacuum, heliocentric, Angstrom. ``mask``: nonzero where flagged.
    ``exposures``: the minutes (LMJM) of the exposures in it; one unless a coadd.
    """

    arm_letter: str
    exposures: tuple[int, ...]
    exptime: float
    snr: float
    lamp: str
    wave: NDArray[np.float64]
    flux: NDArray[np.float64]
    ivar: NDArray[np.float64]
    mask: NDArray[np.int16]


@dataclass(frozen=True)
class StarNight:
    """Everything in one file."""

    night: int
    plan: str
    spectrograph: int
    fiber: int
    cards: dict[str, Any]
    exposures: list[Recorded]
    coadds: list[Recorded] = field(default_factory=list)


def file_name(night: int, plan: str, spectrograph: int, fiber: int) -> str:
    """Return the name that LAMOST gives to such a file, uncompressed."""
    return f"med-{night}-{plan}_sp{spectrograph:02d}-{fiber:03d}.fits"


def write_star_night(
    directory: Path, star_night: StarNight, *, layout: Layout = "old", gzip: bool = True
) -> Path:
    """Write one file into ``directory`` and return its path."""
    name = file_name(
        star_night.night, star_night.plan, star_night.spectrograph, star_night.fiber
    )
    units = [_primary(star_night, name)]
    for spectrum in star_night.coadds:
        units.append(_table(spectrum, f"COADD_{spectrum.arm_letter}", layout))
    for spectrum in star_night.exposures:
        extension = f"{spectrum.arm_letter}-{spectrum.exposures[0]}"
        units.append(_table(spectrum, extension, layout))
    content = b"".join(units)
    path = directory / (name + ".gz" if gzip else name)
    path.write_bytes(gzipped(content) if gzip else content)
    return path


def coadd(exposures: list[Recorded]) -> list[Recorded]:
    """Return one coadded spectrum per arm, on LAMOST's grid of 1e-5 in log10.

    Neighboring pixels are interpolated and exposures weighted by inverse variance; a
    pixel is masked that is masked in every exposure.
    """
    out = []
    for letter in dict.fromkeys(spectrum.arm_letter for spectrum in exposures):
        parts = [s for s in exposures if s.arm_letter == letter]
        ends = [np.log10(np.sort(s.wave[[0, -1]])) for s in parts]
        low = np.ceil(max(e[0] for e in ends) * 1e5)
        high = np.floor(min(e[1] for e in ends) * 1e5)
        wave = 10 ** (np.arange(low, high + 1) / 1e5)
        weight, total = np.zeros(len(wave)), np.zeros(len(wave))
        masked = np.ones(len(wave), np.int16)
        for part in parts:
            order = (
                slice(None) if part.wave[0] < part.wave[-1] else slice(None, None, -1)
            )
            x, good = part.wave[order], (part.mask == 0)[order]
            ivar = np.interp(wave, x, part.ivar[order])
            total += ivar * np.interp(wave, x[good], part.flux[order][good])
            weight += ivar
            masked &= np.interp(wave, x, ~good) > 0.5
        snr = float(np.median(total / np.sqrt(weight)))
        out.append(
            Recorded(
                arm_letter=letter,
                exposures=tuple(part.exposures[0] for part in parts),
                exptime=sum(part.exptime for part in parts),
                snr=max(0.0, snr),
                lamp=parts[0].lamp,
                wave=wave,
                flux=total / weight,
                ivar=weight,
                mask=masked,
            )
        )
    return out


def _primary(star_night: StarNight, name: str) -> bytes:
    spectra = [*star_night.coadds, *star_night.exposures]
    count = {
        letter: sum(s.arm_letter == letter for s in star_night.exposures)
        for letter in "BR"
    }
    coadded = {s.arm_letter for s in star_night.coadds}
    own: dict[str, Any] = {
        "FILENAME": name,
        "N_EXTEN": len(spectra) + 1,
        "LMJD": star_night.night,
        "MJD": star_night.night - 1,
        "PLANID": star_night.plan,
        "FIBERID": star_night.fiber,
        "SPID": star_night.spectrograph,
        "NEXP_B": count["B"],
        "COMBIN_B": "B" in coadded,
        "NEXP_R": count["R"],
        "COMBIN_R": "R" in coadded,
    }
    known = {key: value for key, value, _ in _CARDS} | star_night.cards | own
    lines = [
        card("SIMPLE", True),
        card("BITPIX", 16),
        card("NAXIS", 0),
        card("EXTEND", True, "Extensions may be present"),
    ]
    for key, value, comment in _CARDS:
        lines.append(card(key, value if key == "COMMENT" else known[key], comment))
    return header(lines)


def _table(spectrum: Recorded, extension: str, layout: Layout) -> bytes:
    coadd = extension.startswith("COADD")
    pixels = len(spectrum.flux)
    columns: list[tuple[str, Any, NDArray]] = [
        ("FLUX", ">f4", spectrum.flux),
        ("IVAR", ">f4", spectrum.ivar),
    ]
    if layout == "old":
        columns.append(("LOGLAM", ">f4", np.log10(spectrum.wave)))
    else:
        columns.append(("WAVELENGTH", ">f4", spectrum.wave))
    masks = ("ANDMASK", "ORMASK") if coadd else ("PIXMASK",)
    columns += [(mask, ">i2", spectrum.mask) for mask in masks]
    if layout == "new":
        columns.append(("NORMALIZATION", ">f4", _normalized(spectrum)))

    rows, repeat = (pixels, "") if layout == "old" else (1, str(pixels))
    shape = () if layout == "old" else (pixels,)
    data = np.empty(rows, np.dtype([(name, kind, shape) for name, kind, _ in columns]))
    for name, _, values in columns:
        data[name] = values
    cards = [
        f"{'XTENSION= ':<10}'BINTABLE' / Binary table".ljust(80),
        card("BITPIX", 8),
        card("NAXIS", 2),
        card("NAXIS1", data.dtype.itemsize, "Number of bytes per row"),
        card("NAXIS2", rows, "Number of rows"),
        card("PCOUNT", 0),
        card("GCOUNT", 1),
        card("TFIELDS", len(columns), "Number of columns in table"),
        card("EXTNAME", extension, "The extension name"),
        *_exposure_cards(spectrum, coadd),
    ]
    for number, (name, kind, _) in enumerate(columns, start=1):
        cards.append(card(f"TTYPE{number}", name))
        cards.append(card(f"TFORM{number}", repeat + {">f4": "E", ">i2": "I"}[kind]))
    body = data.tobytes()
    return header(cards) + body + bytes(-len(body) % BLOCK)


def _exposure_cards(spectrum: Recorded, coadd: bool) -> list[str]:
    snr = card("SNR", round(spectrum.snr, 2), "Signal to noise ratio")
    lamp = card("LAMPLIST", spectrum.lamp, "Arc lamp emission line list")
    minutes = [str(minute) for minute in spectrum.exposures]
    if not coadd:
        return [
            card("LMJM", minutes[0], "Local Modified Julian Minute"),
            card("EXPTIME", int(spectrum.exptime), "[s] Exposure duration time"),
            snr,
            lamp,
        ]
    lists = [
        card(
            f"LMJMLIS{first // 3}",
            "-".join(minutes[first : first + 3]),
            "Local Modified Julian Minute list",
        )
        for first in range(0, len(minutes), 3)
    ]
    return [*lists, snr, lamp]


def _normalized(spectrum: Recorded) -> NDArray[np.float64]:
    """Flux over a low polynomial, as later releases provide for a quick look."""
    x = np.linspace(-1, 1, len(spectrum.flux))
    good = spectrum.mask == 0
    fit = np.polynomial.Polynomial.fit(x[good], spectrum.flux[good], 5, domain=[-1, 1])
    level = fit(x)
    return spectrum.flux / np.where(np.abs(level) > 1e-3, level, 1.0)


# Keywords of the primary header in LAMOST's order, with the value they have unless the
# star's night says otherwise.
_CARDS: tuple[tuple[str, Any, str], ...] = (
    ("COMMENT", "--------FILE INFORMATION", ""),
    ("FILENAME", "", ""),
    ("OBSID", 0, "Unique number ID of this spectrum"),
    ("AUTHOR", "steadystar simulator", "Who compiled the information"),
    ("DATA_V", "LAMOST DR7", "Data release version"),
    ("N_EXTEN", 0, "The extension number"),
    ("EXTNAME", "Information", "The extension name"),
    ("ORIGIN", "simulated", "Organization responsible for creating this file"),
    ("DATE", "2020-01-01T00:00:00", "Time when this HDU is created (UTC)"),
    ("COMMENT", "--------TELESCOPE PARAMETERS", ""),
    ("TELESCOP", "LAMOST", "GuoShouJing Telescope"),
    ("LONGITUD", 117.58, "[deg] Longitude of site"),
    ("LATITUDE", 40.39, "[deg] Latitude of site"),
    ("FOCUS", 19964, "[mm] Telescope focus"),
    ("CAMPRO", "NEWCAM", "Camera program name"),
    ("CAMVER", "v2.0", "Camera program version"),
    ("COMMENT", "--------OBSERVATION PARAMETERS", ""),
    ("DATE-OBS", "", "The observation median UTC"),
    ("DATE-BEG", "", "The observation start local time"),
    ("DATE-END", "", "The observation end local time"),
    ("LMJD", 0, "Local Modified Julian Day"),
    ("MJD", 0, "Modified Julian Day"),
    ("PLANID", "", "Plan ID in use"),
    ("RA", 0.0, "[deg] Right ascension of object"),
    ("DEC", 0.0, "[deg] Declination of object"),
    ("RA_OBS", 0.0, "[deg] Right ascension during observing"),
    ("DEC_OBS", 0.0, "[deg] Declination during observing"),
    ("OFFSET", False, "Whether there's a offset during observing"),
    ("OFFSET_V", 0.0, "Offset value in arcsecond"),
    ("GL", 0.0, "[deg] Galactic longitude of object"),
    ("GB", 0.0, "[deg] Galactic latitude of object"),
    ("DESIG", "", "Designation of LAMOST target"),
    ("FIBERID", 0, "Fiber ID of Object"),
    ("CELL_ID", "F0309", "Fiber Unit ID on the focal plane"),
    ("X_VALUE", 0.0, "[mm] X coordinate of object on the focal plane"),
    ("Y_VALUE", 0.0, "[mm] Y coordinate of object on the focal plane"),
    ("OBJNAME", "", "Name of object"),
    ("OBJTYPE", "Star", "Object type from input catalog"),
    ("TSOURCE", "SIMULATED", "Name of input catalog"),
    ("TCOMMENT", "", "Target information"),
    ("TFROM", "", "Target catalog"),
    ("FIBERTYP", "Obj", "Fiber type of object"),
    ("FIBERMAS", 0, "Bitmask of warning values, 0 means all is well"),
    ("MAGTYPE", "g", "Magnitude type of object"),
    ("MAG1", 99.0, "[mag] Mag1 of object"),
    *((f"MAG{n}", 99.0, f"[mag] Mag{n} of object") for n in range(2, 8)),
    ("OBS_TYPE", "OBJ", "The type of target (OBJ, FLAT, ARC or BIAS)"),
    ("OBSCOMM", "Science", "Science or Test"),
    ("RADECSYS", "FK5", "Equatorial coordinate system"),
    ("EQUINOX", 2000.0, "Equinox in years"),
    ("SKYLIST", "skylines.dat", "Sky emission line list"),
    ("NEXP_B", 0, "Number of valid blue exposures"),
    ("COMBIN_B", False, "Whether the combined data of B band exists"),
    ("NEXP_R", 0, "Number of valid red exposures"),
    ("COMBIN_R", False, "Whether the combined data of R band exists"),
    ("SCAMEAN", 11.0, "[ADU] Mean level of scatter light"),
    ("COMMENT", "--------SPECTROGRAPH PARAMETERS", ""),
    ("SPID", 0, "Spectrograph ID"),
    ("SPRA", 0.0, "[deg] Average RA of this spectrograph"),
    ("SPDEC", 0.0, "[deg] Average DEC of this spectrograph"),
    ("SLIT_MOD", "x2/3", "Slit mode, x1, x2/3 or x1/2"),
    ("COMMENT", "--------WEATHER CONDITION", ""),
    ("SEEING", 3.0, "[arcsec] Seeing during exposure"),
    ("MOONPHA", 7.05, "[day] Moon phase for a 29.53 days period"),
    ("TEMP_AIR", 7.47, "[deg] Temperature outside dome"),
    ("TEMP_FP", 18.9, "[degree celsius] Temperature of the focal plane"),
    ("DEWPOINT", 2.41, "[deg]"),
    ("DUST", "", "Reservation"),
    ("HUMIDITY", 70.23, ""),
    ("WINDD", 108.41, "[deg] Wind direction"),
    ("WINDS", 2.11, "[m/s] Wind speed"),
    ("SKYLEVEL", "", "Reservation"),
    ("COMMENT", "--------DATA REDUCTION PARAMETERS", ""),
    ("EXTRACT", "aperture", "Extraction method"),
    ("SFLATTEN", True, "Super flat has been applied"),
    ("PCASKYSB", True, "PCA sky-subtraction has been applied"),
    ("NSKIES", 22, "Sky fiber number"),
    ("SKYCHI2", 2.3, "Mean chi^2 of sky-subtraction"),
    ("HELIO", True, "Heliocentric correction"),
    ("HELIO_RV", 0.0, "[km/s] Heliocentric correction"),
    ("VACUUM", True, "Wavelengths are in vacuum"),
)
