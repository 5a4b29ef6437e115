"""Mock spectra for `velocity.py`, and the velocity error that their photons allow.

Every spectrum is computed at its own velocity from a finely sampled model: moved, rotated,
broadened, then averaged over pixels. The photon limit comes from two more of these, moved
by half a km/s to either side: the slope is taken before pixels and noise.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from steadystar import Spectra
from steadystar.data.constants import C_KMS
from steadystar.measure.limits import survey_arms
from steadystar.models.broadening import broaden
from steadystar.models.library import ModelSpectra

MODELS = {"blue": "lamost-mrs-blue", "red": "lamost-mrs-red", "apogee": "h-band"}
WINDOWS = {"blue": (4970.0, 5330.0), "red": (6330.0, 6790.0)}
RANGE_KMS = 300.0


@dataclass(frozen=True)
class Instrument:
    """Pixels of an arm (Angstrom), its resolution, and where velocities are measured."""

    name: str
    wave: NDArray[np.float64]
    resolution: float
    models: ModelSpectra

    @property
    def window(self) -> tuple[float, float]:
        return WINDOWS.get(self.name, (self.wave[0], self.wave[-1]))


def instruments() -> dict[str, Instrument]:
    """LAMOST's two arms and APOGEE, by the name of the arm."""
    return {
        arm.name: Instrument(arm.name, arm.wave, arm.resolution, arm.models)
        for arm in survey_arms()
    }


@dataclass(frozen=True)
class Mismatch:
    """How the stars differ from what the templates and the headers say.

    ``rotation``: limits of v sin i, km/s. ``resolution``: factor on the true resolving
    power. ``depth``: factor on all lines. ``lines``: relative scatter of single lines'
    depths. ``spectrum``: wavelengths and flux of a star that is not among the models.
    """

    rotation: tuple[float, float] = (0.0, 8.0)
    resolution: float = 1.0
    depth: float = 1.0
    lines: float = 0.0
    spectrum: tuple[NDArray, NDArray] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Noiseless:
    """Spectra before noise: ``flux`` and its ``slope`` by velocity (per km/s)."""

    arm: Instrument
    flux: NDArray[np.float64]
    slope: NDArray[np.float64]
    velocity: NDArray[np.float64]

    def observe(self, snr: float, seed: int) -> tuple[Spectra, NDArray[np.float64]]:
        """Return noisy spectra and the photon limit of each (km/s).

        The noise is that of the photons; ``snr`` holds at the median pixel.
        """
        middle = np.median(self.flux, axis=1, keepdims=True)
        variance = np.maximum(self.flux, 1e-3 * middle) * middle / snr**2
        rng = np.random.default_rng(seed)
        noisy = self.flux + rng.normal(size=self.flux.shape) * np.sqrt(variance)
        low, high = self.arm.window
        inside = (self.arm.wave >= low) & (self.arm.wave <= high)
        information = (self.slope**2 / variance * inside).sum(axis=1)
        spectra = Spectra.from_arrays(
            self.arm.wave, noisy, 1 / variance, self.arm.resolution
        )
        return spectra, 1 / np.sqrt(information)


def fgk_labels(number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return temperature, log g, [Fe/H] of dwarfs, and of giants below 5200 K."""
    teff = rng.uniform(4000, 7000, number)
    dwarf = 4.68 - 0.55 * np.clip((teff - 4400) / 2600, 0, 1)
    giant = 1.6 + (np.minimum(teff, 5200) - 4000) / 1200 * 1.8
    evolved = (teff < 5200) & (rng.uniform(size=number) < 0.5)
    logg = np.where(evolved, giant, dwarf) + rng.uniform(-0.1, 0.1, number)
    return np.stack([teff, logg, rng.uniform(-1.0, 0.3, number)], axis=1)


def observe_stars(
    arm: Instrument,
    number: int,
    seed: int,
    mismatch: Mismatch = Mismatch(),
    labels=None,
    reach: float = RANGE_KMS,
) -> Noiseless:
    """Return ``number`` stars of different types at random velocities, without noise."""
    rng = np.random.default_rng(seed)
    if mismatch.spectrum is not None:
        wave, one = mismatch.spectrum
        rest = np.broadcast_to(one, (number, len(one)))
    else:
        wave = arm.models.wave
        chosen = fgk_labels(number, rng) if labels is None else labels
        rest = arm.models(np.broadcast_to(chosen, (number, 3))).flux
    velocity = rng.uniform(-reach, reach, number)
    speed = rng.uniform(*mismatch.rotation, number)
    flux, slope = (np.empty((number, len(arm.wave))) for _ in range(2))
    for i, line in enumerate(rest):
        wrong = mismatch.depth + mismatch.lines * _each_line(wave, rng)
        star = 1 + wrong * (line - 1)
        level = _continuum(arm.wave, rng)
        below, here, above = (
            broaden(
                wave * (1 + (velocity[i] + step) / C_KMS),
                star,
                arm.wave,
                resolution=arm.resolution * mismatch.resolution,
                vsini=speed[i],
            )
            for step in (-0.5, 0.0, 0.5)
        )
        flux[i], slope[i] = level * here, level * (above - below)
    return Noiseless(arm, flux, slope, velocity)


def _continuum(wave: NDArray, rng: np.random.Generator) -> NDArray:
    """A slope, a bend and ripples: up to 30, 20 and 2 percent."""
    x = np.linspace(-1, 1, len(wave))
    ripple = np.sin(rng.uniform(2, 6) * x + rng.uniform(0, 2 * np.pi))
    return (
        1 + rng.uniform(-0.3, 0.3) * x + rng.uniform(-0.2, 0.2) * x**2 + 0.02 * ripple
    )


def _each_line(wave: NDArray, rng: np.random.Generator) -> NDArray:
    """Random numbers of unit variance that change from line to line (30 km/s)."""
    spacing = C_KMS * float(np.median(np.diff(np.log(wave))))
    smooth = gaussian_filter1d(rng.normal(size=len(wave)), 30 / spacing)
    return smooth / smooth.std()
