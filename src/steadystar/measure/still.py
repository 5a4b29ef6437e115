"""What does not move with the star, made ready for a measurement.

The sky's mean is taken off the spectra, and a mean telluric absorption divided out; what
varies without a pattern takes weight from its pixels; patterns become columns of the
linear problem that every trial velocity solves (`kernels.velocity`). All of it stands
still in the observatory's frame, so spectra whose wavelengths were moved to the barycenter
are moved back first, each by its own correction.
"""

__all__ = ["Standing", "standing_still"]

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.models.sky import StillLines

# Level of a batch of spectra: what faint ones have, so that no prior is too narrow.
_FAINT = 10


class Standing(NamedTuple):
    """Priors with patterns, and the flux (the continuum) that their unit is to be seen in."""

    priors: tuple[StillLines, ...] = ()
    level: float = 1.0

    def columns(self, grid: LogGrid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return patterns on ``grid``, as shares of the continuum, ``(column, knot)``.

        First those that multiply the starlight, then those that add to it.
        """
        none = np.zeros((0, grid.size), np.float32)
        multiply = [p.columns(grid) for p in self.priors if p.multiplies]
        add = [p.columns(grid) / self.level for p in self.priors if not p.multiplies]
        return (
            np.concatenate([none, *multiply]),
            np.concatenate([none, *add]).astype(np.float32),
        )


def standing_still(
    spectra: Spectra,
    still: StillLines | Sequence[StillLines] | None,
    bary_corr: Numbers | None,
) -> tuple[Spectra, Standing]:
    """Return spectra in the observatory's frame without the means, and the patterns.

    Arguments:
        spectra: what was recorded.
        still: priors; additive ones in the unit of the flux.
        bary_corr: barycentric corrections (km/s), ``(spectrum,)``, needed for spectra in
            the barycentric frame.

    The patterns of additive priors are compared with one level of starlight for all:
    that of the fainter ones (10th percentile) among ``spectra``. For brighter ones the
    prior is wider than it need be.

    Raises:
        ValueError: spectra in the barycentric frame without their corrections.
    """
    if still is None:
        return spectra, Standing()
    priors = (still,) if isinstance(still, StillLines) else tuple(still)
    if not priors:
        return spectra, Standing()
    spectra = _at_observatory(spectra, bary_corr)
    levels = _levels(spectra)
    for prior in priors:
        spectra = _without_mean(spectra, prior, levels)
    bright = levels[levels > 0]
    level = float(np.percentile(bright, _FAINT)) if len(bright) else 1.0
    # In steps of ten percent: batches of one survey share what is made of it.
    level = float(np.exp(np.round(np.log(level) / 0.1) * 0.1))
    return spectra, Standing(tuple(p for p in priors if p.rank), level)


def _at_observatory(spectra: Spectra, bary_corr: Numbers | None) -> Spectra:
    if spectra.frame == "observatory":
        return spectra
    given = np.nan if bary_corr is None else bary_corr
    bary = np.broadcast_to(np.asarray(given, float), (len(spectra),))
    unknown = int((~np.isfinite(bary)).sum())
    if unknown:
        raise ValueError(
            f"{unknown} of {len(spectra)} spectra have wavelengths in the barycentric "
            "frame and no barycentric correction, so nobody knows where the sky lines "
            "are in them: pass bary_corr, or measure them without `still`."
        )
    wave = spectra.wave_2d / (1 + bary[:, None] / C_KMS)
    return replace(spectra, wave=wave, frame="observatory")


def _levels(spectra: Spectra) -> NDArray[np.float64]:
    """Median flux of each spectrum's usable pixels; zero if it has none."""
    flux = np.where(spectra.ivar > 0, spectra.flux, np.nan).astype(float)
    flux[~(spectra.ivar > 0).any(axis=1)] = 0
    return np.nanmedian(flux, axis=1)


def _without_mean(
    spectra: Spectra, prior: StillLines, levels: NDArray[np.float64]
) -> Spectra:
    """Take a prior's mean off, and the weight that its variance takes."""
    if not prior.mean.any() and not prior.variance.any():
        return spectra
    level = np.maximum(levels, 0)[:, None]
    same = spectra.wave.ndim == 1
    # A prior without patterns: only mean and variance are wanted here.
    bare = replace(prior, patterns=prior.patterns[:0])
    part = bare.component(spectra.wave if same else spectra.wave_2d)
    flux, ivar = spectra.flux.astype(float), spectra.ivar.astype(float)
    mean, variance = np.asarray(part.mean), np.asarray(part.diagonal)
    if prior.multiplies:
        # Where nothing comes through there is nothing to divide.
        through = np.maximum(1 + mean, 0.05)
        flux, ivar = flux / through, ivar * through**2
        variance = variance * level**2
    else:
        flux = flux - mean
    ivar = ivar / (1 + ivar * variance)
    return replace(spectra, flux=flux.astype(np.float32), ivar=ivar.astype(np.float32))
