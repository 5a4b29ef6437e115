"""Mock spectra of model stars, each computed at its velocity, rotation and labels.

The models are moved, rotated, broadened and averaged over pixels in real space
(`models.broadening`): none of the transforms that measuring uses.
"""

import numpy as np

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.models.broadening import broaden
from steadystar.models.library import bundled

RESOLUTION = 7500.0
WINDOW = "lamost-mrs-blue"
# Every shape is compiled anew, which takes longer than measuring: tests share pixels.
ARMS = {"blue": np.arange(4950, 5350, 0.12), "red": np.arange(6300, 6800, 0.14)}


def fgk(number, seed):
    """Temperature, log g, [Fe/H] of F, G, K dwarfs, and of giants below 5200 K."""
    rng = np.random.default_rng(seed)
    teff = rng.uniform(4000, 7000, number)
    dwarf = 4.68 - 0.55 * np.clip((teff - 4400) / 2600, 0, 1)
    giant = 1.6 + (np.minimum(teff, 5200) - 4000) / 1200 * 1.8
    evolved = (teff < 5200) & (rng.uniform(size=number) < 0.5)
    logg = np.where(evolved, giant, dwarf) + rng.uniform(-0.1, 0.1, number)
    return np.stack([teff, logg, rng.uniform(-1.0, 0.3, number)], axis=1)


def clean(labels, velocity, vsini, pixels, *, window=WINDOW, resolution=RESOLUTION):
    """Noiseless normalized spectra, one a row; the last four may be one for all."""
    models = bundled(window)
    number = len(velocity)
    vsini, resolution = (np.broadcast_to(one, (number,)) for one in (vsini, resolution))
    return np.stack(
        [
            broaden(
                models.wave * (1 + v / C_KMS),
                models(one).flux,
                pixels,
                resolution=sharp,
                vsini=speed,
            )
            for one, v, speed, sharp in zip(
                labels, velocity, vsini, resolution, strict=True
            )
        ]
    )


def observe(flux, snr, seed, pixels, resolution: float | None = RESOLUTION, **given):
    """Return normalized spectra with a continuum and noise; ``snr`` is the continuum's."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, len(pixels))
    bend = rng.uniform(-0.3, 0.3, (2, len(flux), 1))
    counts = 1e4 * flux * (1 + bend[0] * x + bend[1] * x**2)
    sigma = 1e4 / snr
    noisy = counts + rng.normal(size=counts.shape) * sigma
    ivar = np.full(counts.shape, sigma**-2)
    return Spectra.from_arrays(pixels, noisy, ivar, resolution, **given)
