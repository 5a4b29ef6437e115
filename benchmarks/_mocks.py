"""Model stars through LAMOST's medium-resolution arms, exposure by exposure, for benchmarks.

The spectra are the simulator's own: bundled models, its rotation, line spread and pixels,
its smooth noise model, and none of its blemishes. Nothing is shared with the code that
measures. Each exposure falls on pixels of its own, as barycentric motion does it, and its
throughput has a slope and a curvature of its own.
"""

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import brentq

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.models.library import Domain, bundled
from steadystar.simulate.instrument import BLUE, GAIN, RED, Arm, FineSpectrum, log_edges

ARMS = {"blue": BLUE, "red": RED}


@dataclass(frozen=True)
class Star:
    """Labels of a model spectrum; ``vsini`` in km/s."""

    teff: float
    logg: float
    feh: float = 0.0
    vsini: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.teff:.0f} K, log g {self.logg:g}, [Fe/H] {self.feh:g}, "
            f"v sin i {self.vsini:g} km/s"
        )


def nearest_model(star: Star) -> tuple[Star, str]:
    """Return the star that the bundled models reach, and a sentence if it is another."""
    parts = [part.domain for part in bundled(BLUE.models).parts]
    labels = np.array([star.teff, star.logg, star.feh])
    if any(domain.contains(labels) for domain in parts):
        return star, ""

    def moved(domain: Domain) -> NDArray:
        return np.clip(labels, *domain.limits)

    # A thousand kelvin are as far as one dex.
    best = min(parts, key=lambda d: np.abs((moved(d) - labels) / [1000, 1, 1]).sum())
    teff, logg, feh = moved(best).tolist()
    found = replace(star, teff=teff, logg=logg, feh=feh)
    return found, f"The bundled models do not reach {star}; the nearest is {found}."


@dataclass
class Light:
    """A star's light in one arm, ready to be recorded at any velocity."""

    star: Star
    arm: Arm
    fine: FineSpectrum
    broad: NDArray[np.float64]
    wave: NDArray[np.float64]
    continuum: NDArray[np.float64]
    clipped: float
    counts: dict[float, float] = field(default_factory=dict)

    @classmethod
    def of(cls, star: Star, arm: str, resolution: float | None = None) -> "Light":
        """Compute the model, rotation and line spread; nominal resolution if None."""
        instrument = ARMS[arm]
        models = _models(instrument.models)
        found = models((star.teff, star.logg, star.feh))
        fine = FineSpectrum(models.wave, found.flux)
        return cls(
            star=star,
            arm=instrument,
            fine=fine,
            broad=fine.broadened(resolution or instrument.resolution, star.vsini),
            wave=models.wave,
            continuum=found.continuum / found.continuum.mean(),
            clipped=float(found.clipped.mean()),
        )

    def expose(
        self,
        rng: np.random.Generator,
        snr: float,
        rv: float,
        *,
        tilt: float = 0.08,
        noise: bool = True,
    ) -> tuple[NDArray, NDArray, NDArray]:
        """Return wavelengths (barycentric vacuum Angstrom), counts and inverse variance.

        ``snr`` is the median S/N per pixel of the arm, as LAMOST's headers have it. The
        inverse variance is smooth: it does not know where the lines are. ``tilt`` is the
        standard deviation of the slope of ln(throughput) over half an arm.
        """
        arm = self.arm
        edges = log_edges(arm, rng.uniform(*arm.shifts)) + np.log1p(
            rng.uniform(-30, 30) / C_KMS
        )
        wave = np.exp((edges[1:] + edges[:-1]) / 2)
        lines = self.fine.pixels(self.broad, edges, rv)
        shape = np.array(arm.vignetting)
        shape[1:4] += rng.normal(0, tilt, 3)
        x = np.linspace(-1, 1, arm.pixels)
        smooth = np.exp(np.polynomial.polynomial.polyval(x, shape))
        smooth = smooth * wave * np.interp(wave, self.wave, self.continuum)
        smooth = smooth / np.median(smooth)
        if snr not in self.counts:
            self.counts[snr] = _counts(smooth, lines, snr, arm.background)
        light = self.counts[snr] * smooth * lines
        variance = GAIN * self.counts[snr] * smooth * lines.mean() + arm.background
        if noise:
            light = light + rng.normal(size=arm.pixels) * np.sqrt(variance)
        return wave, light, 1 / variance

    def limit(self, snr: float, window: tuple[float, float]) -> float:
        """Return the photon limit in km/s within ``window``, for a known template.

        From the slope of the noiseless spectrum; the continuum is taken as known.
        """
        (wave, up, ivar), (_, down, _) = (
            self.expose(np.random.default_rng(0), snr, rv, noise=False)
            for rv in (0.5, -0.5)
        )
        inside = (wave >= window[0]) & (wave <= window[1])
        return float((ivar * (up - down) ** 2)[inside].sum() ** -0.5)


@cache
def _models(name: str):
    return bundled(name)


def _counts(smooth: NDArray, lines: NDArray, snr: float, background: float) -> float:
    def excess(log_counts: float) -> float:
        counts = np.exp(log_counts)
        variance = GAIN * counts * smooth * lines.mean() + background
        return float(np.median(counts * smooth * lines / np.sqrt(variance))) - snr

    return float(np.exp(brentq(excess, 0.0, 20.0)))


class Survey:
    """Exposures in the order they were added, as ``(visits, spectra)``."""

    def __init__(self, arm: str, snr: float) -> None:
        self.arm, self.snr = arm, snr
        self.rows: list[dict] = []
        self.recorded: list[tuple[NDArray, NDArray, NDArray]] = []

    def add(
        self,
        star_id: str,
        light: Light,
        rng: np.random.Generator,
        rv: float = 0.0,
        *,
        reference: bool = False,
    ) -> None:
        """Expose once; a ``reference`` is the exposure that `published` will choose."""
        self.recorded.append(light.expose(rng, self.snr, rv))
        self.rows.append(
            {
                "visit_id": f"{star_id}-{self.arm}-{len(self.rows):06d}",
                "star_id": star_id,
                "arm": self.arm,
                # The reference is the best by a rounding error: all are as good.
                "snr": self.snr * (1 + 1e-6 * reference),
                "bary_corr": 0.0,
                "truth": rv,
            }
        )

    def tables(self) -> tuple[pl.DataFrame, Spectra]:
        """Return the visits, with the column ``truth``, and the spectra."""
        wave, flux, ivar = (np.array(part) for part in zip(*self.recorded, strict=True))
        resolution = ARMS[self.arm].resolution
        return pl.DataFrame(self.rows), Spectra.from_arrays(
            wave, flux, ivar, resolution, frame="barycenter"
        )
