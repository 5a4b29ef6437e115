"""What reading a file gives, what reading it may be told, and why it may give nothing.

An `Observation` is the spectra of one file, each with its row of facts, and what could
not be read of it. Whatever a file holds, the values of an observation are sound: flux
is finite, ``ivar`` finite and not negative, wavelengths finite and increasing. A
spectrum that cannot be used keeps its row, with a status that says why; its pixels
have ``ivar = 0``.
"""

__all__ = [
    "Observation",
    "ReadOptions",
    "Recorded",
    "UnreadableFile",
    "observe",
    "rejected_rows",
]

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.schema import columns, conform, empty
from steadystar.data.spectra import Frame, Spectra, as_float32
from steadystar.data.status import Status
from steadystar.survey.apogee_mask import bits_of

_WAVE_RANGE = (1e2, 1e7)
"""Angstrom; what lies outside is no wavelength of a spectrograph."""


@dataclass(frozen=True)
class ReadOptions:
    """How files are read. The defaults find everything out from the file."""

    reader: Annotated[
        str,
        "Name of the reader to use (`steadystar formats` lists them); empty to find "
        "out from each file.",
    ] = ""
    coadds: Annotated[
        bool,
        "Read the coadded spectra of a file instead of its single exposures; never "
        "both, because they are made of the same light.",
    ] = False
    star_id: Annotated[
        str, "Identifier of the star, if all files are of one star; empty to find out."
    ] = ""
    position: Annotated[
        str,
        "Right ascension and declination (ICRS, degrees, separated by a space) of the "
        "star, for files that do not say where it is.",
    ] = ""
    resolution: Annotated[
        float,
        "Resolving power (wavelength over FWHM) of files that do not say theirs; 0 if "
        "unknown.",
    ] = 0.0
    wavelengths: Annotated[
        Literal["auto", "air", "vacuum"],
        "Whether the wavelengths of files of no known survey are in air or in vacuum; "
        "auto believes the file, and takes vacuum if it does not say.",
    ] = "auto"
    frame: Annotated[
        Literal["auto", "observatory", "barycenter"],
        "Whether the wavelengths of files of no known survey are as observed or "
        "corrected to the barycenter; auto believes the file, and takes as observed "
        "if it does not say.",
    ] = "auto"
    apogee_mask: Annotated[
        str,
        "Bits of APOGEE's pixel mask, by name and separated by spaces, whose pixels are "
        "left out besides the bad ones: SIG_SKYLINE, SIG_TELLURIC, LITTROW_GHOST, "
        "PERSIST_HIGH, PERSIST_MED or PERSIST_LOW.",
    ] = "SIG_SKYLINE"
    max_megabytes: Annotated[
        int, "Files larger than this, after decompression, are refused (megabytes)."
    ] = 512

    def __post_init__(self) -> None:
        if not self.max_megabytes > 0:
            raise ValueError(
                f"max_megabytes = {self.max_megabytes}: give a positive number."
            )
        if not (np.isfinite(self.resolution) and self.resolution >= 0):
            raise ValueError(
                f"resolution = {self.resolution} is no resolving power: give a "
                "positive number, or 0 if it is unknown."
            )
        self.coordinates()
        bits_of(self.apogee_mask)

    @property
    def max_bytes(self) -> int:
        """``max_megabytes`` in bytes."""
        return self.max_megabytes * 1_000_000

    def coordinates(self) -> tuple[float, float]:
        """Return ``position`` as ra, dec in degrees; NaN where it is empty.

        Raises:
            ValueError: it is not two numbers, or they are no position.
        """
        if not self.position.strip():
            return float("nan"), float("nan")
        try:
            ra, dec = (float(part) for part in self.position.split())
        except ValueError:
            ra = dec = float("nan")
        if not (0 <= ra <= 360 and -90 <= dec <= 90):
            raise ValueError(
                f"position = {self.position!r} is no position: give right ascension "
                "and declination in degrees, such as '211.097 64.376'."
            )
        return ra, dec


class UnreadableFile(ValueError):
    """A file that cannot be read: which, why, what to do, and what was tried.

    ``tried`` are sentences, one a reader: its name and why it declined.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        reason: str,
        remedy: str = "",
        tried: Sequence[str] = (),
    ) -> None:
        self.path = str(path)
        self.reason = reason
        self.remedy = remedy
        self.tried = tuple(tried)
        super().__init__(self.path, reason, remedy, self.tried)

    def __str__(self) -> str:
        text = f"{self.path} cannot be read: {self.reason}."
        if self.remedy:
            text += f" {self.remedy}"
        if self.tried:
            text += " Tried: " + "; ".join(self.tried) + "."
        return text

    def rejected(self) -> pl.DataFrame:
        """Return the row of the table of rejected files."""
        names = ", ".join(sentence.split(" ", 1)[0] for sentence in self.tried)
        return rejected_rows([(self.path, names, self.reason, self.remedy)])


@dataclass(frozen=True)
class Observation:
    """The spectra of one file.

    ``visits`` has the columns of the schema's table of that name, a row for each of
    ``spectra``, in order. ``rejected`` (schema "rejected") has a row for each part of
    the file that could not be read.

    Raises:
        ValueError: visits and spectra differ in number.
    """

    visits: pl.DataFrame
    spectra: Spectra
    rejected: pl.DataFrame

    def __post_init__(self) -> None:
        if len(self.visits) != len(self.spectra):
            raise ValueError(
                f"There are {len(self.visits)} visits for {len(self.spectra)} spectra: "
                "give one row a spectrum."
            )

    def __len__(self) -> int:
        return len(self.visits)

    @classmethod
    def concatenate(cls, parts: "Sequence[Observation]") -> "Observation":
        """Join observations of equal frame, in order.

        Raises:
            ValueError: there is none, or their frames differ.
        """
        spectra = Spectra.concatenate([part.spectra for part in parts])
        visits = pl.concat([part.visits for part in parts], how="diagonal_relaxed")
        return cls(visits, spectra, pl.concat([part.rejected for part in parts]))


@dataclass(frozen=True)
class Recorded:
    """One spectrum as a file gives it, sound or not, and the facts about it.

    ``facts``: columns of the table of visits. ``wave``: vacuum Angstrom, in either
    direction. The three arrays have one length; an empty one says that the pixels
    could not be read at all. ``wave_range``: where the spectrograph works, for pixels
    without wavelengths of their own.
    """

    facts: dict[str, Any]
    wave: NDArray[np.float64]
    flux: NDArray[np.floating]
    ivar: NDArray[np.floating]
    resolution: float = float("nan")
    wave_range: tuple[float, float] = (4000.0, 7000.0)

    @classmethod
    def lost(
        cls,
        facts: dict[str, Any],
        wave_range: tuple[float, float],
        resolution: float = float("nan"),
    ) -> "Recorded":
        """Return a spectrum of which nothing but the facts could be read."""
        none = np.empty(0)
        return cls(facts, none, none, none, resolution, wave_range)


def observe(
    recorded: Sequence[Recorded],
    frame: Frame,
    rejected: Sequence[tuple[str, str, str, str]] = (),
) -> Observation:
    """Make an observation of spectra as they stand in a file.

    Pixels whose flux or ivar is not finite, or whose ivar is negative, get
    ``ivar = 0``; wavelengths that are not finite, positive and monotonic make the
    spectrum unusable. Both are marked in its status, as are missing times, positions
    and resolutions. Shorter spectra are padded with missing pixels.

    Arguments:
        recorded: at least one spectrum.
        frame: of all wavelengths.
        rejected: path, reader, reason and remedy of each part that could not be read.
    """
    size = max(2, *(len(spectrum.flux) for spectrum in recorded))
    parts, statuses = [], []
    for spectrum in recorded:
        part, status = _sound(spectrum, size, frame)
        parts.append(part)
        statuses.append(status)
    spectra = parts[0] if len(parts) == 1 else Spectra.concatenate(parts)
    return Observation(
        _visits(recorded, spectra, statuses), spectra, rejected_rows(rejected)
    )


def _sound(spectrum: Recorded, size: int, frame: Frame) -> tuple[Spectra, Status]:
    """Return a batch of one, of ``size`` pixels, and what was wrong with it."""
    status = Status.GOOD
    wave, flux, ivar = spectrum.wave, spectrum.flux, spectrum.ivar
    if len(flux) < 2 or not _monotonic(wave):
        status |= Status.BAD_WAVELENGTHS if len(flux) else Status.NO_DATA
        wave = np.linspace(*spectrum.wave_range, max(len(flux), size))
        flux = ivar = np.zeros(len(wave), np.float32)
    if wave[0] > wave[-1]:
        wave, flux, ivar = wave[::-1], flux[::-1], ivar[::-1]
    (flux,), (ivar,) = as_float32(flux[None], ivar[None])
    damaged = ~(np.isfinite(flux) & np.isfinite(ivar) & (ivar >= 0))
    if damaged.any():
        status |= Status.DAMAGED_VALUES
        ivar[damaged] = 0
        flux[~np.isfinite(flux)] = 0
    batch = Spectra(
        wave=np.array(wave, np.float64),
        flux=flux[None],
        ivar=ivar[None],
        resolution=np.array([spectrum.resolution], np.float64),
        frame=frame,
    )
    return batch.pad(size), status


def _monotonic(wave: NDArray[np.float64]) -> bool:
    low, high = _WAVE_RANGE
    # A NaN fails every comparison.
    if not ((wave > low) & (wave < high)).all():
        return False
    step = np.diff(wave)
    return bool((step > 0).all() or (step < 0).all())


def _visits(
    recorded: Sequence[Recorded], spectra: Spectra, statuses: Sequence[Status]
) -> pl.DataFrame:
    facts = [spectrum.facts for spectrum in recorded]
    known = columns("visits")
    names = [name for name in known if any(name in row for row in facts)]
    frame = pl.DataFrame(
        {name: [row.get(name) for row in facts] for name in names},
        schema={name: known[name].dtype for name in names},
        strict=False,
    )
    frame = conform(frame, "visits")

    status = np.array([int(flags) for flags in statuses])
    status |= frame["status"].fill_null(0).to_numpy()
    n_good = (spectra.ivar > 0).sum(axis=1)
    snr = frame["snr"].to_numpy()
    snr = np.where(np.isfinite(snr), snr, spectra.snr())
    position = np.isfinite(frame["ra"].to_numpy()) & np.isfinite(
        frame["dec"].to_numpy()
    )
    for wrong, flag in (
        (n_good == 0, Status.NO_DATA),
        # No configured minimum can be below zero.
        (snr <= 0, Status.LOW_SNR),
        (~np.isfinite(frame["bjd"].to_numpy()) & position, Status.NO_TIME),
        (~position, Status.NO_POSITION),
        (~np.isfinite(spectra.resolution), Status.NO_RESOLUTION),
    ):
        status |= np.where(wrong, int(flag), 0)
    return frame.with_columns(
        pl.Series("snr", snr, dtype=pl.Float64),
        pl.Series("n_good", n_good, dtype=pl.Int64),
        pl.Series("status", status, dtype=pl.Int64),
    )


def rejected_rows(rows: Sequence[tuple[str, str, str, str]] = ()) -> pl.DataFrame:
    """Return the table of rejected files with these rows of path, reader, reason, remedy."""
    return pl.DataFrame(rows, schema=empty("rejected").schema, orient="row")
