"""Sky lines and telluric absorption in spectra, with and without a prior of them.

    python benchmarks/still_lines.py [--arms red apogee] [--number 600] [--snr 100]

One star is seen at barycentric corrections from -30 to 30 km/s, so that its lines pass over
what stands still. Airglow lines (the bundled list, each group with a strength of its own)
are added to its spectra, and they are multiplied by an absorption of two species, invented
lines whose depths follow airmass and water. The priors do not know these: they are learned
from other realizations, sky fibers with noise and a coarse table of transmissions. Measured
without a prior, with it, with the covered pixels masked, and without any sky. `deviation`
is the velocity less the truth; `slope` is against the observed velocity; `swing` the root
mean square over 12 bins of the observed velocity, less what noise alone makes.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from _velocity_mocks import WINDOWS, Instrument, instruments
from numpy.typing import NDArray

from steadystar import Spectra
from steadystar.data.constants import C_KMS
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.broadening import broaden
from steadystar.models.sky import StillLines
from steadystar.models.templates import bundled_templates
from steadystar.survey.atmosphere import airglow_lines

MODELS = {"red": "lamost-mrs-red", "apogee": "h-band"}
OPTIONS = VelocityOptions(windows=WINDOWS)
BRIGHTEST = 0.3
"""Peak of the brightest sky line, in units of the continuum, on an average night."""
COVERED = 1.0
"""Pixels where sky and absorption vary by more than this many sigma count as covered."""
LOOSE = 0.1
"""Share of their strength by which lines are uncertain at every point."""
STAR = (5300.0, 4.4, 0.0)


@dataclass(frozen=True)
class Sky:
    """The atmosphere over one instrument: what one night adds and what it lets through."""

    arm: Instrument
    seed: int = 11

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        low, high = self.arm.wave[[0, -1]]
        object.__setattr__(self, "lines", airglow_lines(low, high))
        # About one absorption line in 8 A, half of them of water.
        count = int((high - low) / 8)
        object.__setattr__(self, "centers", rng.uniform(low, high, count))
        object.__setattr__(self, "depths", 0.25 * rng.beta(0.5, 3, count))
        object.__setattr__(self, "water", rng.uniform(size=count) < 0.5)

    def emission(self, number: int, rng: np.random.Generator) -> NDArray:
        """Sky spectra of nights, (night, pixel), before noise.

        All lines by a common factor, and each stretch of 100 A by one more.
        """
        wave = self.lines["wave"].to_numpy()
        group = ((wave - wave[0]) // 100).astype(int)
        sigma = wave / self.arm.resolution / 2.354820045
        profiles = np.exp(
            -(((self.arm.wave - wave[:, None]) / sigma[:, None]) ** 2) / 2
        )
        patterns = np.zeros((group.max() + 1, len(self.arm.wave)))
        np.add.at(
            patterns, group, self.lines["strength"].to_numpy()[:, None] * profiles
        )
        patterns *= BRIGHTEST / patterns.max()
        night = rng.lognormal(0, 0.4, (number, 1))
        return (night * rng.lognormal(0, 0.2, (number, len(patterns)))) @ patterns

    def transmission(self, airmass: NDArray, water: NDArray) -> NDArray:
        """Return transmissions at `fine`, (night, point): lines of 2 km/s, as they are."""
        sigma = 2.0 / C_KMS * self.centers
        shape = ((self.fine - self.centers[:, None]) / sigma[:, None]) ** 2
        tau = 5 * self.depths[:, None] * np.exp(-shape / 2)
        dry = tau[~self.water].sum(axis=0)
        wet = tau[self.water].sum(axis=0)
        return np.exp(-airmass[:, None] * (dry + water[:, None] * wet))

    @property
    def fine(self) -> NDArray:
        low, high = self.arm.wave[0] - 5, self.arm.wave[-1] + 5
        return np.exp(np.arange(np.log(low), np.log(high), 0.7 / C_KMS))


@dataclass(frozen=True)
class Mock:
    """Spectra with and without sky, the truth, and priors that were learned elsewhere."""

    clean: Spectra
    seen: Spectra
    velocity: NDArray
    bary: NDArray
    priors: tuple[StillLines, ...]
    covered: NDArray


def observe(arm: Instrument, number: int, snr: float, seed: int, vsini=3.0) -> Mock:
    rng = np.random.default_rng(seed)
    sky = Sky(arm)
    bary = rng.uniform(-30, 30, number)
    velocity = C_KMS * (1 / (1 + bary / C_KMS) - 1)
    airmass, water = rng.uniform(1, 2, number), rng.lognormal(0, 0.4, number)
    through = sky.transmission(airmass, water)
    rest = arm.models(np.array([STAR])).flux[0]
    clean, seen = np.empty((2, number, len(arm.wave)))
    for i, v in enumerate(velocity):
        at = arm.models.wave * (1 + v / C_KMS)
        # Multiplied before the instrument sees it, as in nature.
        sharp = broaden(at, rest, sky.fine, resolution=3e5, vsini=vsini)
        for into, star in ((clean, sharp), (seen, sharp * through[i])):
            into[i] = broaden(sky.fine, star, arm.wave, resolution=arm.resolution)
    added = sky.emission(number, rng)
    x = np.linspace(-1, 1, len(arm.wave))
    bend = 1 + rng.uniform(-0.2, 0.2, (number, 1)) * x
    noise = rng.normal(size=clean.shape)
    spectra = []
    for flux in (clean * bend, seen * bend + added):
        # Photons of star and sky; the mean sky makes the noise, not its own accident.
        variance = (1 + sky.emission(50, np.random.default_rng(0)).mean(0)) / snr**2
        variance = np.broadcast_to(variance, flux.shape)
        noisy = flux + noise * np.sqrt(variance)
        spectra.append(
            Spectra.from_arrays(arm.wave, noisy, 1 / variance, arm.resolution)
        )
    priors = learn(sky, snr, seed + 1)
    scatter = np.hypot(
        *(np.interp(arm.wave, p.grid.wave, np.hypot(p.scatter, p.mean)) for p in priors)
    )
    return Mock(*spectra, velocity, bary, priors, scatter * snr > COVERED)


def learn(sky: Sky, snr: float, seed: int, fibers: int = 60) -> tuple[StillLines, ...]:
    """Sky fibers with noise; transmissions at 4 airmasses and 4 amounts of water."""
    rng = np.random.default_rng(seed)
    arm = sky.arm
    flux = sky.emission(fibers, rng)
    flux = flux + rng.normal(size=flux.shape) / snr
    ivar = np.full(flux.shape, float(snr) ** 2)
    emission = StillLines.learn(
        Spectra.from_arrays(arm.wave, flux, ivar, arm.resolution), rank=20
    )
    airmass, water = np.meshgrid([1, 1.3, 1.6, 2], [0.4, 0.8, 1.5, 2.5])
    table = sky.transmission(airmass.ravel(), water.ravel())
    absorption = StillLines.from_transmission(sky.fine, table, arm.resolution, rank=4)
    return emission, absorption


def masked(spectra: Spectra, covered: NDArray) -> Spectra:
    ivar = np.where(covered, 0, spectra.ivar)
    return Spectra.from_arrays(spectra.wave, spectra.flux, ivar, spectra.resolution)


def dependence(observed: NDArray, off: NDArray, bins: int = 12):
    """Slope with its error, and the swing of the means of bins; m/s, from km/s."""
    x, y = observed - observed.mean(), 1e3 * off
    slope = (x @ (y - y.mean())) / (x @ x)
    error = (y - y.mean() - slope * x).std() / np.sqrt(x @ x)
    which = np.clip(((x + 30) / 60 * bins).astype(int), 0, bins - 1)
    means = np.array([y[which == b].mean() for b in range(bins)])
    chance = np.mean([y[which == b].var() / (which == b).sum() for b in range(bins)])
    return slope, error, np.sqrt(max(means.var() - chance, 0)), np.sqrt(chance)


def report(arm: Instrument, number: int, snr: float, seed: int = 1) -> None:
    mock = observe(arm, number, snr, seed)
    templates = bundled_templates(MODELS[arm.name], arm.resolution)
    low, high = arm.window
    inside = (arm.wave >= low) & (arm.wave <= high)
    print(
        f"{arm.name}: {number} spectra at S/N {snr:g}; "
        f"{mock.covered[inside].mean():.1%} of the pixels covered"
    )
    for prior in mock.priors:
        print("   ", prior.describe())
    cases = {
        "no sky at all": (mock.clean, None),
        "sky, no prior": (mock.seen, None),
        "sky, prior": (mock.seen, mock.priors),
        "prior, loosened": (mock.seen, [p.loosened(LOOSE) for p in mock.priors]),
        "sky, masked": (masked(mock.seen, mock.covered), None),
        "no sky, masked": (masked(mock.clean, mock.covered), None),
    }
    print(
        f"{'':16s} scatter m/s    median     slope m/s per km/s   swing m/s (chance)  "
        "pulls  lost"
    )
    for name, (spectra, still) in cases.items():
        found = measure_velocities(
            spectra, templates, OPTIONS, arm=arm.name, still=still
        )
        off = found["rv_obs"].to_numpy() - mock.velocity
        good = np.isfinite(off)
        pulls = off[good] / found["rv_raw_err"].to_numpy()[good]
        slope, error, swing, chance = dependence(mock.velocity[good], off[good])
        spread = 1e3 * off[good].std()
        print(
            f"{name:16s} {spread:6.1f}+-{spread / np.sqrt(2 * good.sum()):.1f}  "
            f"{1e3 * np.median(off[good]):+8.1f}  {slope:+8.3f} +- {error:.3f}    "
            f"{swing:8.1f} ({chance:.1f})      {pulls.std():.2f}  {(~good).mean():.1%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", nargs="+", default=["red", "apogee"])
    parser.add_argument("--number", type=int, default=600)
    parser.add_argument("--snr", type=float, default=100)
    given = parser.parse_args()
    for name in given.arms:
        report(instruments()[name], given.number, given.snr)


if __name__ == "__main__":
    main()
