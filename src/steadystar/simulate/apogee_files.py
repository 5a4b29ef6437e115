"""Files as APOGEE's pipeline and SDSS-V's Astra write them.

Written from their data models, with astropy, and knowing nothing of the readers:

apVisit      one star, plate and night; an image of three rows (detectors a, b, c: red,
             green, blue, each running from red to blue) for each quantity, without
             names (`apvisit_output.pro`); in the images of sky and telluric absorption
             the interleaved pixels are swapped in pairs, as in the real files
apStar       all visits of a star at rest on a grid of 6e-6 in log10: two sums, then the
             visits; of one visit, that one and a row of zeros (DR17)
ap1D         one exposure, a file a detector, 300 fibers (`ap2dproc.pro`)
mwmVisit     a table for BOSS and APOGEE, APO and LCO, a row a visit (`astra.models.mwm`)

Equal contents make equal bytes.
"""

__all__ = [
    "LSF_TYPICAL",
    "Visit",
    "detector_wavelengths",
    "rest_grid",
    "write_exposure",
    "write_mwm_visit",
    "write_star",
    "write_visit",
]

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

_CHIPS = "abc"
_MJD0 = datetime(1858, 11, 17)
_UNIT = "(10^-17 erg/s/cm^2/Ang)"

_WAVE_COEFFICIENTS = (16157.0, -423.77, -23.21, 0.3980)
_CHIP_OFFSETS = (-6429.0, -2046.0, 2357.0)
"""Wavelength as a cubic in (pixel + offset)/3000, rounded from a real file."""

_LSF_FORM = (2, 2048, 5, 1, 1, 1, 1, 1, 0)
"""Width of a pixel, offset, Hermite order, orders of six polynomials."""
_LSF_SHAPES = (
    (2.87, -3.6e-5, -0.071, 7.7e-6, 0.139, -4.8e-5, -0.144, 1.4e-5, 0.044, 3.0e-5),
    (2.45, -4.8e-5, -0.129, 2.4e-5, -0.075, 9.2e-7, -0.040, 1.5e-6, 0.160, -7.9e-6),
    (2.24, -4.5e-5, 0.093, -2.3e-5, -0.113, -1.6e-5, -0.071, 6.9e-6, 0.264, -1.4e-6),
)
_LSF_ENDS = (
    (-0.049, 1, 2, 0, 0, 0.019, 13.5),
    (0.083, 1, 2, 0, 0, 0.026, 7.5),
    (0.023, 1, 2, 0, 0, 0.024, 18.1),
)
"""The last Hermite coefficient, then the wings: Gaussian, share and sigma."""

LSF_TYPICAL: NDArray[np.float64] = np.array(
    [
        (*_LSF_FORM, *shape, *end)
        for shape, end in zip(_LSF_SHAPES, _LSF_ENDS, strict=True)
    ],
    np.float64,
)
"""Coefficients of the line spread function, detectors a, b, c of interleaved pixels,
rounded from a real file."""


def detector_wavelengths(pixels: int = 4096) -> NDArray[np.float64]:
    """Return vacuum wavelengths of the detectors, ``(3, pixel)``, falling along each."""
    x = np.arange(pixels) * (4096 / pixels)
    cubic = np.polynomial.Polynomial(_WAVE_COEFFICIENTS)
    return np.array([cubic((x + offset) / 3000) for offset in _CHIP_OFFSETS])


def rest_grid(size: int = 8575) -> NDArray[np.float64]:
    """Return the wavelengths of apStar and mwmVisit files."""
    return np.power(10.0, 4.179 + 6e-6 * np.arange(size))


@dataclass(frozen=True)
class Visit:
    """One visit: what is known of it, and its pixels.

    ``wave``, ``flux``, ``error``, ``mask``: ``(3, pixel)`` as on the detectors; or
    ``(pixel,)`` at rest, for apStar and mwmVisit. ``start``: UTC. ``exptime``: open
    shutter in s, of both dither positions. ``velocity``: of the star against the
    observatory, as the survey found it, ``bary_corr`` likewise, km/s. ``cards``: put
    into the header over what is there.
    """

    star: str
    ra: float
    dec: float
    plate: str
    night: int
    fiber_id: int
    start: datetime
    exptime: float
    wave: NDArray[np.float64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    mask: NDArray[np.integer]
    sky: NDArray[np.float64] | None = None
    sky_error: NDArray[np.float64] | None = None
    telluric: NDArray[np.float64] | None = None
    telluric_error: NDArray[np.float64] | None = None
    lsf: NDArray[np.float64] = field(default_factory=lambda: LSF_TYPICAL)
    velocity: float = 0.0
    bary_corr: float = 0.0
    snr: float = 100.0
    telescope: str = "apo25m"
    cards: dict[str, Any] = field(default_factory=dict)

    @property
    def middle(self) -> datetime:
        """Middle of the exposures, without pauses between them."""
        return self.start + timedelta(seconds=self.exptime / 2)

    @property
    def prefix(self) -> str:
        """How the names of files begin: as at LCO, ap elsewhere."""
        return "as" if self.telescope.startswith("lco") else "ap"

    @property
    def file_name(self) -> str:
        """The name of the visit's own file."""
        place = f"{self.plate}-{self.night}-{self.fiber_id:03d}"
        return f"{self.prefix}Visit-sim-{place}.fits"

    def image(self, name: str, default: float) -> NDArray[np.float64]:
        """Return a quantity, ``default`` in all pixels where there is none."""
        values = getattr(self, name)
        if values is None:
            return np.full(self.flux.shape, default)
        return np.asarray(values, np.float64)


def _julian(moment: datetime) -> float:
    return (moment - _MJD0).total_seconds() / 86_400 + 2_400_000.5


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def write_visit(directory: Path, visit: Visit) -> Path:
    """Write an apVisit file and return its path."""
    primary = fits.PrimaryHDU()
    dithers = 2 if visit.flux.shape[1] > 2048 else 1
    primary.header.update(
        {
            "LOCID": 4162,
            "PLATE": visit.plate,
            # So it stands in the files of LCO, too.
            "TELESCOP": "apo1m" if visit.telescope == "apo1m" else "apo25m",
            "MJD5": visit.night,
            "FIBERID": visit.fiber_id,
            "DATE-OBS": _iso(visit.start),
            "EXPTIME": visit.exptime / dithers,
            "JD-MID": round(_julian(visit.middle), 5),
            "UT-MID": visit.middle.isoformat(timespec="milliseconds")[:-2],
            "NCOMBINE": 4 * dithers,
            "NPAIRS": "4",
            "OBJID": visit.star,
            "OBJTYPE": "STAR",
            "RA": visit.ra,
            "DEC": visit.dec,
            "SNR": visit.snr,
            "SURVEY": "apogee2",
            "STARFLAG": 0,
            "V_APRED": "simulated",
            "BC": visit.bary_corr,
            "VRAD": visit.velocity,
            "VHELIO": visit.velocity + visit.bary_corr,
        }
        | visit.cards
    )
    others = [
        _swapped(visit.image("sky", 0.0)),
        _swapped(visit.image("sky_error", 1.0)),
        _swapped(visit.image("telluric", 1.0)),
        _swapped(visit.image("telluric_error", 0.01)),
    ]
    units = [
        _image(visit.flux, ">f4", f"Flux {_UNIT}"),
        _image(visit.error, ">f4", f"Flux Error {_UNIT}"),
        _image(visit.mask, ">i2", "Flag Mask (bitwise)"),
        _image(visit.wave, ">f8", "Wavelength (Ang)"),
        _image(others[0], ">f4", f"Sky {_UNIT}"),
        _image(others[1], ">f4", f"Sky Error {_UNIT}"),
        _image(others[2], ">f4", "Telluric"),
        _image(others[3], ">f4", "Telluric Error"),
        _image(np.zeros((3, 14)), ">f8", "Wavelength Coefficients"),
        _image(visit.lsf, ">f8", "LSF Coefficients"),
    ]
    return _write([primary, *units], directory / visit.file_name)


def _swapped(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interleave the two dither positions the wrong way around."""
    if image.shape[1] <= 2048:
        return image
    return image.reshape(len(image), -1, 2)[:, :, ::-1].reshape(image.shape)


def _image(values: NDArray, kind: str, unit: str) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.asarray(values).astype(kind))
    hdu.header["CTYPE1"] = "Pixel"
    if unit:
        hdu.header["BUNIT"] = unit
    return hdu


def _write(units: Sequence[Any], path: Path) -> Path:
    fits.HDUList(list(units)).writeto(path, overwrite=True)
    return path


def write_star(
    directory: Path, visits: Sequence[Visit], *, cards: dict[str, Any] | None = None
) -> Path:
    """Write an apStar file of visits at rest on the grid, and return its path."""
    first = visits[0]
    size = first.flux.shape[-1]
    primary = fits.PrimaryHDU()
    weights = np.array([visit.snr for visit in visits])
    velocities = [visit.velocity + visit.bary_corr for visit in visits]
    primary.header.update(
        {
            "CRVAL1": 4.179,
            "CDELT1": 6e-6,
            "CRPIX1": 1,
            "CTYPE1": "LOG-LINEAR",
            "NWAVE": size,
            "FIELD": "K04_083+13",
            "OBJID": first.star,
            "SNR": float(np.hypot.reduce(weights)),
            "RA": first.ra,
            "DEC": first.dec,
            "NVISITS": len(visits),
            "STARFLAG": 0,
            "VHELIO": float(np.average(velocities, weights=weights)),
        }
    )
    for n, visit in enumerate(visits, start=1):
        primary.header.update(
            {
                f"SFILE{n}": visit.file_name,
                f"DATE{n}": _iso(visit.start),
                f"JD{n}": round(_julian(visit.middle), 5),
                f"FIBER{n}": visit.fiber_id,
                f"BC{n}": visit.bary_corr,
                f"VRAD{n}": visit.velocity,
                f"VHELIO{n}": velocities[n - 1],
                f"SNRVIS{n}": visit.snr,
            }
        )
    primary.header.update(cards or {})
    units = [
        _image(_stacked(visits, "flux", 0.0), ">f8", f"Flux {_UNIT}"),
        _image(_stacked(visits, "error", 0.0), ">f8", f"Err {_UNIT}"),
        _image(_stacked(visits, "mask", 0.0), ">i8", "Pixel bitmask"),
        _image(_stacked(visits, "sky", 0.0), ">f8", f"Sky {_UNIT}"),
        _image(_stacked(visits, "sky_error", 0.0), ">f8", f"Sky error {_UNIT}"),
        _image(_stacked(visits, "telluric", 1.0), ">f8", "Telluric"),
        _image(_stacked(visits, "telluric_error", 0.0), ">f8", "Telluric error"),
    ]
    name = f"{first.prefix}Star-sim-{first.star}.fits"
    return _write([primary, *units], directory / name)


def _stacked(visits: Sequence[Visit], name: str, default: float) -> NDArray[np.float64]:
    """Return the sums and the visits; of one visit, that and a row of zeros."""
    rows = np.array([visit.image(name, default) for visit in visits], np.float64)
    if len(rows) == 1:
        return np.concatenate([rows, np.zeros_like(rows)])
    if name == "error":
        with np.errstate(divide="ignore"):
            total = 1 / np.sqrt((1 / rows**2).sum(axis=0))
    else:
        total = rows.min(axis=0) if name == "mask" else rows.mean(axis=0)
    return np.concatenate([[total, total], rows])


def write_exposure(
    directory: Path,
    number: int,
    images: Sequence[dict[str, NDArray]],
    *,
    chips: str = _CHIPS,
    prefix: str = "ap",
    cards: dict[str, Any] | None = None,
) -> list[Path]:
    """Write the ap1D files of one exposure and return their paths.

    Arguments:
        number: of the exposure, eight digits: days since MJD 55562, and a counter.
        images: flux, error, mask, wave of each detector, each ``(fiber, pixel)``.
        chips: which of the files to write.
        cards: of the headers.
    """
    paths = []
    for chip, parts in zip(_CHIPS, images, strict=True):
        if chip not in chips:
            continue
        primary = fits.PrimaryHDU()
        primary.header.update(
            {
                "TELESCOP": "SDSS 2-5m",
                "FILENAME": f"apR-{number:08d}.apz",
                "EXPTYPE": "OBJECT",
                "PLATEID": 7268,
                "PSFFILE": "apPSF-11150000.fits",
                "EXTRTYPE": 4,
                "V_APRED": "simulated",
            }
            | (cards or {})
        )
        units = [
            _image(parts["flux"], ">f4", ""),
            _image(parts["error"], ">f4", ""),
            _image(parts["mask"], ">i2", ""),
            _image(parts["wave"], ">f8", ""),
            _image(np.zeros((14, len(parts["flux"]))), ">f8", ""),
        ]
        name = f"{prefix}1D-{chip}-{number:08d}.fits"
        paths.append(_write([primary, *units], directory / name))
    return paths


def write_mwm_visit(
    directory: Path,
    sdss_id: int,
    visits: Sequence[Visit],
    *,
    in_stack: Sequence[bool] | None = None,
    boss_visits: int = 0,
    cards: dict[str, Any] | None = None,
) -> Path:
    """Write a mwmVisit file and return its path.

    Arguments:
        visits: at rest on the grid; a table for each site is made of them.
        in_stack: whether each was put at rest; None leaves the column out, as
            version 0.5 does.
        boss_visits: rows, of zeros, in the table of BOSS at APO.
    """
    primary = fits.PrimaryHDU()
    primary.header.update(
        {
            "V_ASTRA": "0.6.0",
            "SDSS_ID": sdss_id,
            "APOGEEID": visits[0].star if visits else "",
            "RA": visits[0].ra if visits else 0.0,
            "DEC": visits[0].dec if visits else 0.0,
        }
        | (cards or {})
    )
    stacked = [None] * len(visits) if in_stack is None else list(in_stack)
    rows = list(zip(visits, stacked, strict=True))
    units: list[Any] = [primary]
    for site, count in (("APO", boss_visits), ("LCO", 0)):
        units.append(_boss_table(site, count))
    for site in ("APO", "LCO"):
        mine = [row for row in rows if row[0].telescope.upper().startswith(site)]
        units.append(_apogee_table(site, mine, sdss_id))
    return _write(units, directory / f"mwmVisit-0.6.0-{sdss_id}.fits")


def _boss_table(site: str, count: int) -> fits.BinTableHDU:
    pixels = 4648 if count else 0
    zeros = np.zeros((count, pixels), ">f4")
    columns = [fits.Column("telescope", "6A", array=["apo25m"] * count)]
    columns += [
        fits.Column(name, f"{pixels}E", dim=f"({pixels})", array=zeros)
        for name in ("flux", "ivar", "pixel_flags")
    ]
    return _table(columns, "BOSS", site, 3.5523, 1e-4, 4648)


def _apogee_table(
    site: str, rows: Sequence[tuple[Visit, bool | None]], sdss_id: int
) -> fits.BinTableHDU:
    visits = [visit for visit, _ in rows]
    pixels = visits[0].flux.shape[-1] if visits else 0

    def scalar(name: str, form: str, values: Sequence[Any]) -> fits.Column:
        return fits.Column(name, form, array=np.array(list(values)))

    def spectra(name: str, values: Sequence[NDArray]) -> fits.Column:
        array = np.array(list(values), np.float32).reshape(len(visits), pixels)
        return fits.Column(name, f"{pixels}E", dim=f"({pixels})", array=array)

    with np.errstate(divide="ignore"):
        ivars = [1 / np.asarray(v.error, np.float64) ** 2 for v in visits]
    columns = [
        scalar("sdss_id", "K", [sdss_id] * len(visits)),
        scalar("plate", "6A", [v.plate for v in visits]),
        scalar("telescope", "6A", [v.telescope for v in visits]),
        scalar("fiber", "J", [v.fiber_id for v in visits]),
        scalar("mjd", "J", [v.night for v in visits]),
        scalar("obj", "18A", [v.star for v in visits]),
        scalar("date_obs", "26A", [v.start.isoformat() for v in visits]),
        scalar("jd", "E", [_julian(v.middle) for v in visits]),
        scalar("exptime", "E", [v.exptime / 2 for v in visits]),
        scalar("dithered", "L", [True for _ in visits]),
        scalar("snr", "E", [v.snr for v in visits]),
        scalar("v_rad", "E", [v.velocity + v.bary_corr for v in visits]),
        scalar("v_rel", "E", [v.velocity for v in visits]),
        scalar("bc", "E", [v.bary_corr for v in visits]),
        spectra("flux", [v.flux for v in visits]),
        spectra("ivar", [np.where(np.isfinite(i), i, 0) for i in ivars]),
        spectra("pixel_flags", [v.mask for v in visits]),
    ]
    if any(stacked is not None for _, stacked in rows):
        columns.append(scalar("in_stack", "L", [bool(s) for _, s in rows]))
    return _table(columns, "APOGEE", site, 4.179, 6e-6, 8575)


def _table(
    columns: Sequence[fits.Column],
    instrument: str,
    site: str,
    first: float,
    step: float,
    pixels: int,
) -> fits.BinTableHDU:
    table = fits.BinTableHDU.from_columns(list(columns), name=f"{instrument}/{site}")
    table.header.update(
        {
            "OBSRVTRY": site,
            "INSTRMNT": instrument,
            "CRVAL": first,
            "CDELT": step,
            "CTYPE": "LOG-LINEAR",
            "CUNIT": "Angstrom (Vacuum)",
            "CRPIX": 1,
            "NPIXELS": pixels,
        }
    )
    return table
