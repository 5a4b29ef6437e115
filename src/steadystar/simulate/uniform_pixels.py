"""Many spectra at once, on pixels that are uniform in ln(wavelength).

There a Doppler shift is the same number of pixels everywhere, and to record with pixels
is one more convolution. So a star is broadened once, by rotation, line spread and the
width of a pixel, as a product of Fourier transforms, on a grid four times finer than
the pixels. Each exposure then reads it between the points of that grid, with weights
that are the same for every pixel: Lagrange's polynomial through six points.

`steadystar.simulate.instrument` does the same for pixels of any kind, one spectrum at a
time; the tests compare the two.
"""

__all__ = ["UNIFORM_ARMS", "Broadened", "UniformArm"]

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.models.library import StackedModels, bundled
from steadystar.simulate.instrument import (
    BLUE,
    RED,
    Arm,
    gaussian_transform,
    rotation_transform,
)

_FINER = 4
"""Points of the grid in a pixel."""

_MODEL_FINER = 4
"""Points at which the model, linear between its own, is taken, to one of the grid."""

_TAPS = np.arange(-2, 4)
_REACH = 1000.0
"""Velocities (km/s) by which stars and zero points may move lines."""

_NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class UniformArm:
    """An arm of LAMOST, recorded from ``low`` to ``high`` Angstrom in equal pixels."""

    arm: Arm
    low: float
    high: float
    pixels: int = 3000

    def __post_init__(self) -> None:
        if self.step * C_KMS > 20:
            raise ValueError(
                f"{self.pixels} pixels from {self.low:g} to {self.high:g} A are wider "
                "than 20 km/s, half of a line: make them more."
            )

    @property
    def step(self) -> float:
        """Width of a pixel in ln(wavelength)."""
        return float(np.log(self.high / self.low)) / self.pixels

    @cached_property
    def log_wave(self) -> NDArray[np.float64]:
        """The middle of the pixels, ln of Angstrom, ``(pixel,)``."""
        return np.log(self.low) + self.step * (np.arange(self.pixels) + 0.5)

    @property
    def models(self) -> StackedModels:
        """The model spectra that cover it."""
        margin = 1 + _REACH / C_KMS
        return _models(self.arm.models, self.low / margin, self.high * margin)


UNIFORM_ARMS = (UniformArm(BLUE, 4950.0, 5350.0), UniformArm(RED, 6300.0, 6800.0))
"""Blue and red, within what every fiber of LAMOST records."""


@cache
def _models(name: str, low: float, high: float) -> StackedModels:
    return bundled(name).window(low, high)


class Broadened:
    """Stars as an arm records them at rest, ready to be seen at any velocity.

    ``labels``: ``(star, 3)``, ``vsini`` (km/s): ``(star,)``. ``level``, ``(star,
    pixel)``, is the continuum in photons: wavelength times flux density.

    Raises:
        ValueError: labels lie outside the model spectra.
    """

    def __init__(
        self,
        arm: UniformArm,
        labels: NDArray[np.float64],
        vsini: NDArray[np.float64],
        resolution: float,
    ) -> None:
        self.arm, models = arm, arm.models
        found = models(labels)
        log_wave = np.log(models.wave)
        wave = np.exp(arm.log_wave)
        self.level = wave * _between(wave, models.wave, found.continuum)
        self._start, self._step = float(log_wave[0]), arm.step / _FINER
        size = int((log_wave[-1] - log_wave[0]) / self._step) // _FINER * _FINER
        step = self._step / _MODEL_FINER
        fine = self._start + step * np.arange(size * _MODEL_FINER)
        flux = _between(fine, log_wave, found.flux)
        lines = _broaden(flux, step, vsini, resolution)
        # Every fourth point of the grid, four times over: what the pixels of one
        # exposure read lies side by side.
        shape = (len(labels), size // _FINER, _FINER)
        self._phases = np.ascontiguousarray(lines.reshape(shape).transpose(0, 2, 1))

    def seen(
        self, star: NDArray[np.integer], shift: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what pixels record of ``star[i]``, its lines moved by ``shift[i]``.

        ``shift`` is in ln(wavelength), ``ln(1 + rv/c)`` for a velocity; the result,
        ``(spectrum, pixel)``, is normalized to the continuum.

        Raises:
            ValueError: the model spectra do not reach so far.
        """
        place = (self.arm.log_wave[0] - self._start - shift) / self._step
        first = np.floor(place).astype(int)
        pixels, width = self.arm.pixels, self._phases.shape[2]
        last = (first + _TAPS[-1]) // _FINER + pixels
        if np.any(first + _TAPS[0] < 0) or np.any(last > width):
            raise ValueError(
                f"A line moves by {C_KMS * np.abs(np.expm1(shift)).max():.0f} km/s, but "
                f"the model spectra reach {_REACH:.0f} km/s beyond the arm: use a "
                "smaller velocity."
            )
        weights = _lagrange(place - first)
        out = np.empty((len(star), pixels))
        term = np.empty(pixels)
        for row, mine, begin, weight in zip(out, star, first, weights, strict=True):
            points = self._phases[mine]
            for number, (tap, factor) in enumerate(zip(_TAPS, weight, strict=True)):
                from_, phase = divmod(int(begin + tap), _FINER)
                values = points[phase, from_ : from_ + pixels]
                if number == 0:
                    np.multiply(values, factor, out=row)
                else:
                    np.multiply(values, factor, out=term)
                    row += term
        return out


def resized(arm: UniformArm, pixels: int) -> UniformArm:
    """Return the arm with another number of pixels."""
    return replace(arm, pixels=pixels)


def _between(x, points, values):
    """Interpolate rows of ``values`` linearly from ``points`` to ``x``."""
    index = np.clip(np.searchsorted(points, x) - 1, 0, len(points) - 2)
    part = (x - points[index]) / (points[index + 1] - points[index])
    return values[:, index] * (1 - part) + values[:, index + 1] * part


def _broaden(values, step: float, vsini, resolution: float):
    """Convolve rows with rotation, line spread and a pixel; return them on the grid."""
    size = values.shape[1] // _MODEL_FINER
    # Padding with a straight line between the ends keeps the period continuous.
    padded: int = next_fast_len(size + 1024, real=True)  # pyright: ignore[reportAssignmentType]
    part = np.linspace(0, 1, padded * _MODEL_FINER - values.shape[1])
    bridge = values[:, -1:] * (1 - part) + values[:, :1] * part
    transform = np.asarray(rfft(np.concatenate([values, bridge], axis=1), axis=1))
    # In cycles per km/s, as widths are in km/s.
    frequency = rfftfreq(padded * _MODEL_FINER, step * C_KMS)
    sigma = C_KMS / resolution / FWHM_PER_SIGMA
    spread = gaussian_transform(frequency, sigma)
    kept = int(np.searchsorted(-spread, -_NEGLIGIBLE))
    frequency = frequency[:kept]
    pixel = np.sinc(frequency * step * C_KMS * _MODEL_FINER * _FINER)
    rotation = rotation_transform(frequency, np.asarray(vsini)[:, None])
    transform = transform[:, :kept] * (spread[:kept] * pixel / _MODEL_FINER) * rotation
    return np.asarray(irfft(transform, padded, axis=1))[:, :size]


def _lagrange(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the six points about ``part``, ``(spectrum, 6)``."""
    weights = np.ones((len(part), len(_TAPS)))
    for column, tap in enumerate(_TAPS):
        for other in _TAPS[tap != _TAPS]:
            weights[:, column] *= (part - other) / (tap - other)
    return weights
