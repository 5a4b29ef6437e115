"""Invented labels of repeated spectra, whose true errors are known."""

import numpy as np
import polars as pl

SIGMA_AT_20 = {"teff": 55.0, "logg": 0.08, "feh": 0.048, "vsini": 4.0}
"""About Zong's at S/N 20; that of the rotation is invented."""

TRUE = {"teff": (5500, 600), "logg": (4, 0.5), "feh": (-0.2, 0.3), "vsini": (30, 5)}


def labels(
    seed: int,
    stars: int = 800,
    *,
    visits: tuple[int, int] = (2, 6),
    scale: float = 1.0,
    floor: float = 0.0,
    variable: float = 0.0,
    arms: tuple[str, ...] = ("blue",),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return labels and the true ones of the stars.

    The error that a row states falls as 1/S/N; the true one is
    ``sqrt((scale * stated)^2 + (floor * typical)^2)``, typical being that at S/N 20. Arms
    of an exposure have noise of their own. A share ``variable`` of stars pulsates: their
    labels move by several typical errors.
    """
    rng = np.random.default_rng(seed)
    count = rng.integers(visits[0], visits[1] + 1, stars)
    star = np.repeat(np.repeat(np.arange(stars), count), len(arms))
    exposure = np.repeat(np.arange(count.sum()), len(arms))
    arm = np.tile(arms, count.sum())
    brightness = np.exp(rng.uniform(np.log(8), np.log(120), stars))
    snr = brightness[star] * np.exp(rng.normal(0, 0.3, len(star)))
    pulsates = rng.random(stars) < variable
    phase = np.sin(rng.uniform(0, 2 * np.pi, exposure.max() + 1))[exposure]
    table = {
        "visit_id": [f"v{e}-{a}" for e, a in zip(exposure, arm, strict=True)],
        "star_id": [f"s{i:06d}" for i in star],
        "exposure_id": exposure.astype(str),
        "arm": arm,
        "snr": snr,
        "status": np.zeros(len(star), np.int64),
    }
    truth = {"star_id": [f"s{i:06d}" for i in range(stars)], "variable": pulsates}
    for name, typical in SIGMA_AT_20.items():
        center, spread = TRUE[name]
        true = rng.normal(center, spread, stars)
        stated = typical * 20 / snr
        sigma = np.hypot(scale * stated, floor * typical)
        moved = np.where(pulsates, 5 * typical, 0.0)[star] * phase
        table[name] = true[star] + moved + sigma * rng.normal(size=len(star))
        table[f"{name}_err"] = stated
        truth[name] = true
    return pl.DataFrame(table), pl.DataFrame(truth)
