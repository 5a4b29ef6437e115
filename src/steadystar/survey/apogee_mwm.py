"""SDSS-V's mwmVisit and mwmStar files: all spectra of a star, by instrument and site.

There is a table for each of BOSS and APOGEE at APO and LCO, often empty, with a row a
visit: flux, inverse variance and pixel flags on a grid of 6e-6 in log10 (CRVAL, CDELT;
or a column of wavelengths), and what is known of the visit beside them. Read are those
of APOGEE; those of BOSS are in another frame and listed as not read.

**Frame.** Visits come from apStar files, where they were put at rest with their own
velocity (``v_rel``); that is undone exactly (see `survey.apogee_star`). A visit that
is not part of the stack (``in_stack`` false) was resampled without any shift, and is as
observed. A mwmStar holds sums, read on request, in the frame of the barycenter by their
mean ``v_rad``.

**Time.** ``jd`` is in single precision, 0.25 days: of no use. The middle is
``date_obs`` and the exposure time (which counts one of two dither positions), without
the pauses between exposures.

Read from the data model (`astra.models.mwm`, versions 0.5 and 0.6); no real file was at
hand.
"""

__all__ = ["read_mwm"]

from collections.abc import Mapping, Sequence
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
)
from steadystar.survey.apogee_mask import bits_of
from steadystar.survey.fitsfile import DamagedFits, Unit
from steadystar.survey.header import integer, number, text
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.observatory import SITES, mjd_from_text

_READER = "apogee"
_FETCH = "Fetch the file again."
_FASTEST = 5000.0  # km/s
_MOST_PIXELS, _MOST_ROWS = 20_000, 5000


def read_mwm(
    path: str | Path, units: Sequence[Unit], ending: str, options: ReadOptions
) -> Observation:
    """Read the APOGEE visits of a star, or on request its sums.

    Arguments:
        units: the units of the file, primary header first.
        ending: why there are no more units; empty if all is well.

    Raises:
        UnreadableFile: there is none.
    """
    rejected = [(str(path), _READER, ending, _FETCH)] if ending else []
    recorded, middles, sites = [], [], []
    seen: set[str] = set()
    for unit in units[1:]:
        where = f"{path}[{unit.name}]"
        try:
            if not unit.is_table or not _rows(unit):
                continue
            if _instrument(unit) != "APOGEE":
                reason = f"spectra of {_instrument(unit) or 'no known instrument'}"
                rejected.append(
                    (where, _READER, reason + " are not read from these files", "")
                )
                continue
            table = _Table.of(unit)
            if table.is_sum != options.coadds:
                continue
        except DamagedFits as error:
            rejected.append((where, _READER, str(error), _FETCH))
            continue
        for row in range(len(table.flux)):
            facts, middle, place = _facts(table, row, units[0].header, path, options)
            facts["path"] = f"{where[:-1]}:{row}]"
            if facts["visit_id"] in seen:
                reason = "the file has two spectra of this visit; the first was read"
                rejected.append((facts["path"], _READER, reason, _FETCH))
                continue
            seen.add(facts["visit_id"])
            recorded.append(table.spectrum(row, facts, bits_of(options.apogee_mask)))
            middles.append(middle)
            sites.append(place)
    if not recorded:
        wanted = "sum of APOGEE spectra" if options.coadds else "visit of APOGEE"
        other = "without" if options.coadds else "with"
        reason = ending or (rejected[-1][2] if rejected else f"it holds no {wanted}")
        raise UnreadableFile(path, reason, f"Try {other} `coadds`.")
    for site in SITES.values():
        mine = [n for n, place in enumerate(sites) if place.site == site]
        if mine:
            add_barycenter(
                [recorded[n] for n in mine], [middles[n] for n in mine], site
            )
    frame = "barycenter" if options.coadds else "observatory"
    return observe(recorded, frame, rejected)


def _rows(unit: Unit) -> int:
    return integer(unit.header, "NAXIS2", high=_MOST_ROWS) or 0


def _instrument(unit: Unit) -> str:
    said = text(unit.header, "INSTRMNT") or unit.name.split("/")[0]
    return said.strip().upper()


class _Table:
    """The table of one instrument at one site."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.site = (text(unit.header, "OBSRVTRY") or unit.name[-3:]).upper()
        self.flux, self.ivar, self.flags = (
            self._pixels(name) for name in ("FLUX", "IVAR", "PIXEL_FLAGS")
        )
        if not self.flux.shape == self.ivar.shape == self.flags.shape:
            raise DamagedFits("its flux, ivar and pixel_flags are not of one shape")
        self.wave = self._wavelengths()

    @classmethod
    def of(cls, unit: Unit) -> "_Table":
        """Read a table.

        Raises:
            DamagedFits: columns are missing or do not fit each other.
        """
        return cls(unit)

    @property
    def is_sum(self) -> bool:
        return "MJD" not in self.unit.columns

    def _pixels(self, name: str) -> NDArray:
        values = self.unit.column(name)
        if values.dtype.kind not in "fiu" or values.ndim != 2:
            raise DamagedFits(f"column {name} does not hold spectra")
        if values.shape[1] > _MOST_PIXELS or values.shape[1] < 2:
            raise DamagedFits(f"column {name} claims {values.shape[1]} pixels")
        return values

    def _wavelengths(self) -> NDArray[np.float64]:
        """Return the grid at rest: ``(pixel,)``, or ``(row, pixel)``."""
        size = self.flux.shape[1]
        first = number(self.unit.header, "CRVAL", "CRVAL1", low=3.0, high=5.0)
        step = number(self.unit.header, "CDELT", "CDELT1", low=1e-8, high=1e-2)
        if np.isfinite(first) and np.isfinite(step):
            # Exact, where a column is in single precision.
            return 10.0 ** (first + step * np.arange(size))
        if "WAVELENGTH" in self.unit.columns:
            wave = self._pixels("WAVELENGTH").astype(np.float64)
            if wave.shape == self.flux.shape:
                return wave
        raise DamagedFits("it has no wavelengths (CRVAL and CDELT, or a column)")

    def value(self, row: int, *names: str) -> Any:
        """Return a cell as text or number; None where there is no such column."""
        for name in names:
            if name not in self.unit.columns:
                continue
            cells = self.unit.column(name)
            if cells.ndim != 1:
                continue
            cell = cells[row]
            if isinstance(cell, bytes):
                return cell.decode("latin-1").strip("\0 ")
            return cell.item()
        return None

    def number(
        self, row: int, *names: str, low: float = -np.inf, high: float = np.inf
    ) -> float:
        """Return a cell as a number in a range, NaN where it is none."""
        return number({"CELL": self.value(row, *names)}, "CELL", low=low, high=high)

    def whole(self, row: int, name: str, low: int, high: int) -> int | None:
        return integer({"CELL": self.value(row, name)}, "CELL", low=low, high=high)

    def text(self, row: int, name: str) -> str:
        return text({"CELL": self.value(row, name)}, "CELL")

    def velocity(self, row: int) -> float:
        """Return by which velocity a row was put at rest, km/s; NaN if unknown."""
        if self.is_sum:
            return self.number(row, "V_RAD", low=-_FASTEST, high=_FASTEST)
        if self.value(row, "IN_STACK") is False:
            return 0.0
        relative = self.number(row, "V_REL", low=-_FASTEST, high=_FASTEST)
        if np.isfinite(relative):
            return relative
        total = self.number(row, "V_RAD", low=-_FASTEST, high=_FASTEST)
        # The survey's v_rad is their plain sum.
        return total - self.number(row, "BC", low=-50.0, high=50.0)

    def spectrum(self, row: int, facts: dict[str, Any], bits: int) -> Recorded:
        """Return a row where it was observed; lost, if that is unknown."""
        velocity = self.velocity(row)
        if not np.isfinite(velocity):
            return Recorded.lost(facts, WAVE_RANGE, RESOLUTION)
        flags = np.clip(np.nan_to_num(self.flags[row], nan=-1), -(2.0**31), 2.0**31)
        masked = (flags.astype(np.int64) & bits) != 0
        wave = self.wave if self.wave.ndim == 1 else self.wave[row]
        return Recorded(
            facts,
            wave * (1 + velocity / C_KMS),
            self.flux[row],
            np.where(masked, 0, self.ivar[row]),
            RESOLUTION,
            WAVE_RANGE,
        )


def _facts(
    table: _Table,
    row: int,
    primary: Mapping[str, Any],
    path: str | Path,
    options: ReadOptions,
) -> tuple[dict[str, Any], float, Place]:
    """Return the facts of a row, the middle of its visit (MJD, UTC), and its place."""
    star, ra, dec = position(primary, options)
    sdss_id = integer(primary, "SDSS_ID", low=1)
    name = table.text(row, "OBJ").replace(" ", "")
    star = options.star_id or name or star or (f"sdss-{sdss_id}" if sdss_id else None)
    telescope = table.text(row, "TELESCOPE").lower()
    if not telescope.startswith(("apo", "lco")):
        telescope = "lco25m" if table.site == "LCO" else "apo25m"
    place = Place(
        telescope,
        table.text(row, "PLATE"),
        table.whole(row, "MJD", 55_000, 80_000),
        table.whole(row, "FIBER", 1, 300),
    )
    stem = Path(path).name.split(".", 1)[0]
    kind = "coadd-" if table.is_sum else ""
    facts = place.row(f"{kind}{star or stem}-{row}") | {
        "star_id": star,
        "ra": ra,
        "dec": dec,
        "survey": "sdss-v",
        "snr": table.number(row, "SNR", low=0.0, high=1e5),
    }
    if table.is_sum:
        return facts | {"status": int(Status.COADD)}, float("nan"), place
    dithered = table.value(row, "DITHERED") is not False
    single = table.number(row, "EXPTIME", low=0.1, high=1e6)
    exptime = 2 * single if dithered else single
    middle = mjd_from_text(table.text(row, "DATE_OBS")) + exptime / 2 / 86_400
    return facts | {"exptime": exptime}, middle, place
