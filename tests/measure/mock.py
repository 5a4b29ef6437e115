"""A mock of its own for the measuring code: Gaussian lines placed analytically.

Nothing is shifted or interpolated: the line centers are moved and the profile is evaluated
at each pixel's own wavelength.
"""

import numpy as np
import polars as pl

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra

LOW, HIGH, PIXELS = 4950.0, 5350.0, 3440
RESOLUTION = 7500.0


def mock(
    stars=4,
    exposures=5,
    snr=50.0,
    *,
    seed=0,
    spread=5.0,
    velocities=None,
    ivar_factor=1.0,
    hits=0,
    frame="barycenter",
):
    """Return ``(visits, spectra)``; the true velocity is the column ``truth``.

    ``ivar_factor`` makes the stated inverse variance wrong; ``hits`` cosmic rays fall on
    every exposure.
    """
    rng = np.random.default_rng(seed)
    sky = np.random.default_rng(seed + 1)
    line_spread = 1 / RESOLUTION / 2.3548
    fraction = np.linspace(0, 1, PIXELS)
    rows, waves, fluxes, ivars = [], [], [], []
    for star in range(stars):
        centers = rng.uniform(np.log(LOW), np.log(HIGH), 300)
        depths = rng.exponential(0.15, 300).clip(0, 0.9)
        width = np.hypot(line_spread, rng.uniform(4, 8) / C_KMS)
        for exposure in range(exposures):
            truth = rng.normal() * spread
            offset = rng.uniform(-30, 30)
            noise = rng.normal(size=PIXELS)
            if velocities is not None:
                truth = velocities[exposure]
            bary = 20.0 * np.sin(exposure) if frame == "observatory" else 0.0
            # A spectrograph's pixels drift; every exposure has its own wavelengths.
            log_wave = np.log(LOW) + np.log(HIGH / LOW) * (
                fraction + 0.02 * fraction * (1 - fraction)
            )
            log_wave = log_wave + offset / C_KMS
            seen = centers + np.log1p(truth / C_KMS) - np.log1p(bary / C_KMS)
            depth = np.zeros(PIXELS)
            begin = np.searchsorted(log_wave, seen - 7 * width)
            end = np.searchsorted(log_wave, seen + 7 * width)
            for c, d, a, b in zip(seen, depths, begin, end, strict=True):
                depth[a:b] += d * np.exp(-((log_wave[a:b] - c) ** 2) / (2 * width**2))
            continuum = 1e4 * (1 + 0.1 * fraction - 0.2 * fraction**2)
            sigma = 1e4 / snr
            flux = continuum * np.exp(-depth) + sigma * noise
            for _ in range(hits):
                at = sky.integers(800, PIXELS - 800)
                flux[at : at + sky.integers(1, 4)] += sky.uniform(0.5, 4) * 1e4
            waves.append(np.exp(log_wave))
            fluxes.append(flux)
            ivars.append(np.full(PIXELS, ivar_factor / sigma**2))
            rows.append(
                {
                    "visit_id": f"v{star:04d}-{exposure:03d}",
                    "star_id": f"s{star:04d}",
                    "arm": "blue",
                    "snr": float(snr),
                    "bary_corr": float(bary),
                    "truth": float(truth),
                }
            )
    spectra = Spectra.from_arrays(
        np.array(waves), np.array(fluxes), np.array(ivars), RESOLUTION, frame=frame
    )
    return pl.DataFrame(rows), spectra


def pulls(table: pl.DataFrame, truth: pl.Series) -> np.ndarray:
    """Return (velocity - truth) / error, each star's mean taken out with its dof."""
    out = []
    table = table.with_columns(truth=truth).filter(pl.col("rv_raw").is_finite())
    for _, star in table.group_by("star_id", maintain_order=True):
        d = (star["rv_raw"] - star["truth"]).to_numpy()
        e, n = star["rv_raw_err"].to_numpy(), len(star)
        out.append((d - np.average(d, weights=e**-2)) / e * np.sqrt(n / (n - 1)))
    return np.concatenate(out)
