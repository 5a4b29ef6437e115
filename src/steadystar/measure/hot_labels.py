"""Velocities and labels of hot stars, from the blue of low-resolution spectra.

Between 3840 and 4800 A stand H delta, H gamma and most lines of He I, He II and Mg II that
tell temperature and gravity; H beta and H alpha, which emission fills first, do not.
Velocities are marginalized over types (`measure.velocities`), labels are fitted from there
(`measure.labels`), both against the bundled hot models.
"""

__all__ = ["HOT_WINDOW", "measure_hot"]

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
from scipy.ndimage import gaussian_filter1d

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.measure.label_options import LabelOptions
from steadystar.measure.labels import LabelModel, measure_labels
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.hot_grid import bundled_hot, remaining_resolution
from steadystar.models.library import StackedModels
from steadystar.models.templates import Templates

HOT_WINDOW = (3850.0, 4800.0)
"""Vacuum wavelengths in which hot stars are measured, A."""

_ARM = "blue"
_USUAL_RESOLUTION = 1800.0
"""Of LAMOST's low-resolution spectra (Xiang et al. 2021, section 2)."""
_ROTATION = (100.0, 250.0)
"""km/s; for a velocity it is enough that lines are as wide, whatever their shape."""
_KEPT = (
    *("rv_obs", "rv_obs_err"),
    *("teff", "teff_err", "logg", "logg_err", "feh", "feh_err"),
    *("vsini", "vsini_err", "status"),
)


def measure_hot(spectra: Spectra) -> pl.DataFrame:
    """Measure velocity, temperature, gravity, metallicity and rotation of hot stars.

    Arguments:
        spectra: as recorded; a resolution that is not known is taken as 1800.

    Returns:
        One row a spectrum: ``rv_obs, rv_obs_err`` (km/s, in the frame of the
        wavelengths), ``teff`` (K), ``logg, feh, vsini``, each with ``_err``, ``status``.
    """
    known = np.isfinite(spectra.resolution) & (spectra.resolution > 0)
    sharp = np.where(known, spectra.resolution, _USUAL_RESOLUTION)
    # The models are smooth already: what the spectrograph adds is less than all.
    left = np.array([remaining_resolution(min(float(r), 4500.0)) for r in sharp])
    some = replace(spectra, resolution=left)
    velocities = measure_velocities(
        some, _templates(), VelocityOptions(windows={_ARM: HOT_WINDOW}), arm=_ARM
    )
    rv = velocities["rv_obs"].to_numpy()
    # Where no velocity stood out the fit begins at rest: lines are wider than stars move.
    labels = measure_labels(
        {_ARM: some},
        LabelModel("bundled hot models", {_ARM: StackedModels((bundled_hot(),))}),
        LabelOptions(windows={_ARM: HOT_WINDOW}, continuum_scale=200.0),
        rv=np.nan_to_num(rv),
    )
    return labels.select(_KEPT)


@cache
def _templates() -> Templates:
    """Model spectra over the whole domain, temperatures spaced by their logarithm."""
    models = bundled_hot()
    low, high = models.domain.limits
    grid = np.array(
        [
            (teff, logg, feh)
            for teff in np.geomspace(low[0] * 1.02, high[0] * 0.98, 16)
            for logg in (3.0, 3.5, 4.0, 4.5)
            for feh in (-0.7, 0.0)
        ]
    )
    hot = grid[:, 0] > 18_000
    # There are no models of low gravity above 18 000 K.
    grid = grid[~(hot & (grid[:, 1] < 3.5))]
    flux = models(grid).flux
    step = C_KMS * float(np.log(models.wave[1] / models.wave[0]))
    turning = [gaussian_filter1d(flux, vsini / 2 / step, axis=1) for vsini in _ROTATION]
    return Templates.from_arrays(models.wave, np.concatenate([flux, *turning]))
