"""Spectra as they were recorded, and the logarithmic grid on which stars are modeled.

Pixels stay where the detector put them: a batch of spectra keeps its own vacuum
wavelengths and independent pixel errors, and nothing is interpolated before it is
measured. What moves is the model. It lives on a `LogGrid`, uniform in
``ln(wavelength)``, where a velocity ``rv`` is the same shift ``ln(1 + rv/c)``
everywhere. A pixel knows its fractional position on the grid; positions are computed
in float64 and are accurate to far below 1 m/s.

`data.resample` puts spectra on a grid for those who need that (plots, stacks, exchange).
"""

__all__ = ["LogGrid", "Spectra", "as_float32"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers

Frame = Literal["observatory", "barycenter"]

_MOST = 1e35
"""Float32 ends at 3e38: pixels may have a thousand times the typical ivar."""


def as_float32(
    flux: NDArray[np.floating], ivar: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return flux and ivar, ``(spectrum, pixel)``, as float32.

    A spectrum whose typical ivar is beyond 1e35, as in W/m^2/Hz, or below 1e-35 is
    multiplied by a power of two; nothing depends on its unit. What does not fit even so
    is infinite.
    """
    with np.errstate(all="ignore"):
        typical = np.ones(len(ivar))
        used = np.isfinite(ivar) & (ivar > 0)
        extreme = used & ~((ivar > 1 / _MOST) & (ivar < _MOST))
        for row in np.flatnonzero(extreme.any(axis=1)):
            typical[row] = np.median(ivar[row][used[row]])
        far = ~((typical > 1 / _MOST) & (typical < _MOST))
        power = np.where(far, np.round(np.log2(typical) / 2), 0).astype(int)[:, None]
        if power.any():
            flux, ivar = np.ldexp(flux, power), np.ldexp(ivar, -2 * power)
        return flux.astype(np.float32), ivar.astype(np.float32)


@dataclass(frozen=True)
class LogGrid:
    """Wavelengths uniform in ``ln(wavelength)``.

    ``start`` is the first wavelength in Angstrom (vacuum), ``step`` the spacing in
    ``ln(wavelength)``, ``size`` the number of grid points.
    """

    start: float
    step: float
    size: int

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.step > 0 and self.size > 1):
            raise ValueError(
                f"LogGrid(start={self.start}, step={self.step}, size={self.size}) is "
                "no grid: give a positive start and step, and at least two points."
            )

    @classmethod
    def covering(cls, low: float, high: float, step_kms: float) -> "LogGrid":
        """Return the grid from ``low`` to at least ``high`` Angstrom in ``step_kms``."""
        step = float(np.log1p(step_kms / C_KMS))
        return cls(float(low), step, int(np.ceil(np.log(high / low) / step)) + 1)

    @property
    def wave(self) -> NDArray[np.float64]:
        """Wavelengths in Angstrom, shape ``(size,)``."""
        return self.start * np.exp(self.step * np.arange(self.size))

    @property
    def step_kms(self) -> float:
        """Spacing of the grid as a velocity, km/s."""
        return C_KMS * float(np.expm1(self.step))

    def position(self, wave: Numbers) -> NDArray[np.float64]:
        """Return the fractional grid index of each wavelength (Angstrom)."""
        return np.asarray(np.log(np.asarray(wave, float) / self.start) / self.step)

    def shift(self, rv: Numbers) -> NDArray[np.float64]:
        """Return ``rv`` (km/s) as a shift in grid points: ``ln(1 + rv/c) / step``."""
        return np.asarray(np.log1p(np.asarray(rv, float) / C_KMS) / self.step)


@dataclass(frozen=True)
class Spectra:
    """A batch of spectra of equal length.

    ``wave``: vacuum wavelength in Angstrom, increasing, float64, shape ``(pixel,)`` if
    all share it, else ``(spectrum, pixel)``. ``flux`` and ``ivar`` (inverse variance):
    float32, shape ``(spectrum, pixel)``; ``ivar`` is finite and zero where a pixel
    cannot be used, and ``flux`` is finite everywhere. ``resolution``: the resolving
    power ``lambda / FWHM``, shape ``(spectrum,)``, NaN where unknown. ``frame`` says
    whether the wavelengths are as recorded at the observatory or already corrected to
    the barycenter of the solar system.
    """

    wave: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    resolution: NDArray[np.float64]
    frame: Frame = "observatory"

    def __post_init__(self) -> None:
        if self.flux.ndim != 2 or self.flux.shape != self.ivar.shape:
            raise ValueError(
                f"Flux has shape {self.flux.shape} and ivar {self.ivar.shape}: both "
                "must be (spectrum, pixel). For one spectrum pass flux[None, :]."
            )
        if self.wave.shape not in (self.flux.shape, self.flux.shape[1:]):
            raise ValueError(
                f"Wavelengths have shape {self.wave.shape} but flux has "
                f"{self.flux.shape}: give one wavelength a pixel, shape (pixel,) or "
                "(spectrum, pixel)."
            )
        if self.resolution.shape != self.flux.shape[:1]:
            raise ValueError(
                f"Resolution has shape {self.resolution.shape}: one number a spectrum "
                f"({len(self.flux)}) is needed."
            )

    @classmethod
    def from_arrays(
        cls,
        wave: Numbers,
        flux: Numbers,
        ivar: Numbers,
        resolution: Numbers | float | None = None,
        *,
        frame: Frame = "observatory",
    ) -> "Spectra":
        """Make spectra from bare arrays.

        Arguments:
            wave: vacuum wavelengths in Angstrom, any spacing, increasing or
                decreasing, ``(pixel,)`` or ``(spectrum, pixel)``.
            flux: any unit, ``(spectrum, pixel)`` or ``(pixel,)`` for one spectrum.
            ivar: inverse variance of ``flux``, same shape.
            resolution: ``lambda / FWHM``, one for all or one a spectrum; None if
                unknown. Values that are not positive and finite count as unknown.
            frame: whether ``wave`` is already barycentric.

        Pixels whose flux or ivar is not finite, or whose ivar is negative, get
        ``ivar = 0`` and count as missing. A spectrum in units so small, or so large,
        that float32 does not hold its ivar is multiplied by a power of two.

        Raises:
            ValueError: shapes disagree, or wavelengths are not positive, finite and
                strictly monotonic.
        """
        wave = np.array(wave, np.float64)
        flux = np.atleast_2d(np.array(flux, np.float64))
        ivar = np.atleast_2d(np.array(ivar, np.float64))
        if flux.shape != ivar.shape:
            raise ValueError(
                f"Flux has shape {flux.shape} and ivar {ivar.shape}: both must be "
                "(spectrum, pixel), one inverse variance for every flux."
            )
        if wave.ndim not in (1, 2) or wave.shape[-1:] != flux.shape[-1:]:
            raise ValueError(
                f"Wavelengths have shape {wave.shape} but flux has {flux.shape}: give "
                "one wavelength a pixel, shape (pixel,) or (spectrum, pixel)."
            )
        if flux.shape[-1] > 1 and np.all(wave[..., 0] > wave[..., -1]):
            wave, flux, ivar = wave[..., ::-1], flux[:, ::-1], ivar[:, ::-1]
        if not (np.isfinite(wave).all() and np.all(wave > 0)):
            raise ValueError(
                "Some wavelengths are not finite and positive: give vacuum "
                "wavelengths in Angstrom for every pixel, also for the masked ones."
            )
        if not np.all(np.diff(wave, axis=-1) > 0):
            raise ValueError(
                "The wavelengths are not strictly monotonic: sort the pixels, or split "
                "overlapping orders into spectra of their own."
            )
        flux32, ivar32 = as_float32(flux, ivar)
        usable = np.isfinite(flux32) & np.isfinite(ivar32) & (ivar32 > 0)
        sharp = np.asarray(np.nan if resolution is None else resolution, np.float64)
        sharp = np.where(np.isfinite(sharp) & (sharp > 0), sharp, np.nan)
        return cls(
            wave=np.ascontiguousarray(wave),
            flux=np.where(usable | np.isfinite(flux32), flux32, np.float32(0)),
            ivar=np.where(usable, ivar32, np.float32(0)),
            resolution=np.broadcast_to(sharp, flux.shape[:1]).copy(),
            frame=frame,
        )

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, index) -> "Spectra":
        """Select spectra by slice, mask or integer array; the result stays a batch."""
        wave = self.wave if self.wave.ndim == 1 else np.atleast_2d(self.wave[index])
        return replace(
            self,
            wave=wave,
            flux=np.atleast_2d(self.flux[index]),
            ivar=np.atleast_2d(self.ivar[index]),
            resolution=np.atleast_1d(self.resolution[index]),
        )

    @property
    def wave_2d(self) -> NDArray[np.float64]:
        """Wavelengths of every spectrum, shape ``(spectrum, pixel)`` (a view)."""
        return np.broadcast_to(self.wave, self.flux.shape)

    @classmethod
    def concatenate(cls, parts: Sequence["Spectra"]) -> "Spectra":
        """Join batches; shorter ones are padded at the red end with missing pixels."""
        if not parts:
            raise ValueError(
                "There is nothing to concatenate: pass at least one batch."
            )
        frames = {part.frame for part in parts}
        if len(frames) > 1:
            raise ValueError(
                "Spectra in the frame of the observatory and of the barycenter cannot "
                "be one batch: concatenate each kind on its own."
            )
        size = max(part.flux.shape[1] for part in parts)
        padded = [part.pad(size) for part in parts]
        same = all(
            part.wave.ndim == 1 and np.array_equal(part.wave, padded[0].wave)
            for part in padded
        )
        return cls(
            wave=padded[0].wave
            if same
            else np.concatenate([p.wave_2d for p in padded]),
            flux=np.concatenate([p.flux for p in padded]),
            ivar=np.concatenate([p.ivar for p in padded]),
            resolution=np.concatenate([p.resolution for p in padded]),
            frame=parts[0].frame,
        )

    def pad(self, size: int) -> "Spectra":
        """Lengthen every spectrum to ``size`` pixels; the new ones have ``ivar = 0``."""
        extra = size - self.flux.shape[1]
        if extra < 0:
            raise ValueError(f"Cannot pad {self.flux.shape[1]} pixels down to {size}.")
        if extra == 0:
            return self
        last = self.wave[..., -1:]
        step = last - self.wave[..., -2:-1] if self.flux.shape[1] > 1 else last * 1e-5
        zeros = np.zeros((len(self), extra), np.float32)
        return replace(
            self,
            wave=np.concatenate([self.wave, last + step * np.arange(1, extra + 1)], -1),
            flux=np.concatenate([self.flux, zeros], -1),
            ivar=np.concatenate([self.ivar, zeros], -1),
        )

    def window(self, low: float, high: float) -> "Spectra":
        """Keep the pixels of ``low`` to ``high`` Angstrom.

        Spectra with wavelengths of their own keep a common number of pixels; those
        outside the window, for a spectrum that has fewer inside, get ``ivar = 0``.
        """
        inside = (self.wave >= low) & (self.wave <= high)
        if self.wave.ndim == 1:
            return replace(
                self,
                wave=self.wave[inside],
                flux=self.flux[:, inside],
                ivar=self.ivar[:, inside],
            )
        size = int(inside.sum(axis=1).max(initial=0))
        first = np.argmax(inside, axis=1)
        first = np.minimum(first, self.flux.shape[1] - size)

        def cut(values):
            pairs = zip(values, first, strict=True)
            rows = [row[begin : begin + size] for row, begin in pairs]
            return np.stack(rows) if rows else values[:, :size]

        return replace(
            self,
            wave=cut(self.wave),
            flux=cut(self.flux),
            ivar=np.where(cut(inside), cut(self.ivar), np.float32(0)),
        )

    def snr(self) -> NDArray[np.float64]:
        """Median signal-to-noise ratio per usable pixel, ``(spectrum,)``; NaN if none."""
        usable = self.ivar > 0
        number = usable.sum(axis=1)
        some = np.flatnonzero(number)
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = self.flux[some] * np.sqrt(self.ivar[some])
        # Those that do not count come last.
        ratio[~usable[some]] = np.inf
        ratio.sort(axis=1)
        rows, last = np.arange(len(some)), number[some] - 1
        middle = ratio[rows, last // 2], ratio[rows, (last + 1) // 2]
        result = np.full(len(self), np.nan)
        result[some] = np.mean(middle, axis=0, dtype=np.float64)
        return result
