"""Emission lines, as what H alpha has above the reconstruction; and broken spectra.

The mean flux around H alpha minus what the clean pixels foretell is compared with its
error: noise, what the coefficients leave unknown, and what stars without emission scatter
anyway. The threshold is not set by eye: stars without emission fall on either side of the
reconstruction alike, so the distribution's lower half, mirrored, says how many of them lie
above any value, and the threshold is where the wanted share of them does. Spectra with
emission are then taken from the training set, and the bases are learned again (Xiang et
al. 2021, section 3).
"""

__all__ = ["Emission", "EmissionOptions", "find_emission", "fit_emission"]

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from steadystar.data.spectra import Spectra
from steadystar.measure.reconstruction import (
    Coefficients,
    Reconstruction,
    fit_reconstruction,
)
from steadystar.measure.rest_frame import clean_pixels

H_ALPHA = 6564.614
"""Vacuum wavelength of H alpha, A (NIST Atomic Spectra Database)."""

_FEW = 300
_ROBUST = 1.4826


@dataclass(frozen=True)
class EmissionOptions:
    """How emission lines are looked for."""

    n_components: Annotated[int, "Principal components, at most."] = 100
    method: Annotated[
        str, '"weighted" by each spectrum\'s noise, or as "published".'
    ] = "weighted"
    false_positives: Annotated[
        float, "Share of the stars without emission that may be called emitters."
    ] = 0.01
    half_widths: Annotated[
        tuple[float, ...], "Half widths of the windows around H alpha, Angstrom."
    ] = (5.0, 12.0)
    rounds: Annotated[int, "How often emitters leave the training set."] = 2
    min_snr: Annotated[float, "Least S/N per pixel of a spectrum to learn from."] = 30.0
    broken_sigma: Annotated[
        float, "Spectra whose residuals are this many sigma too large are set aside."
    ] = 6.0

    def __post_init__(self) -> None:
        if not 0 < self.false_positives < 0.5:
            raise ValueError(
                f"false_positives = {self.false_positives}: give a share between 0 and "
                "0.5."
            )
        if not self.half_widths or min(self.half_widths) <= 0:
            raise ValueError("half_widths: give one width in Angstrom at least.")


@dataclass(frozen=True, eq=False)
class Emission:
    """What was found. ``table``: one row a spectrum, in order, `find_emission`'s columns.

    ``reconstruction``: the bases, learned without emitters. ``threshold``: of
    ``em_snr``. ``members``: spectra it was learned from.
    """

    table: pl.DataFrame
    reconstruction: Reconstruction
    threshold: float
    members: NDArray[np.bool_]
    notes: tuple[str, ...] = field(default=())


def fit_emission(
    spectra: Spectra,
    snr: NDArray[np.float64],
    options: EmissionOptions = EmissionOptions(),
) -> Emission:
    """Learn to foretell spectra from their clean pixels, and find those with emission.

    Arguments:
        spectra: at rest on one grid (`rest_frame.to_rest`).
        snr: S/N per pixel of each, ``(spectrum,)``; bright ones are learned from.
        options: components, false positives, windows.

    Raises:
        ValueError: too few spectra to learn from.
    """
    clean = clean_pixels(spectra.wave)
    bright = snr >= options.min_snr
    if bright.sum() < max(100, 0.1 * len(snr)):
        # A faint survey learns from what it has.
        bright = snr >= np.nanquantile(snr, 0.3)
    members = bright
    for _ in range(max(options.rounds, 0) + 1):
        bases = fit_reconstruction(
            spectra, clean, members, options.n_components, options.method
        )
        coefficients = bases.coefficients(spectra)
        table, threshold = _compare(bases, coefficients, spectra, options)
        normal = (table["em_flag"] == 0) & table["broken"].is_null()
        before, members = members, bright & normal.to_numpy()
        if (before == members).all():
            break
    return Emission(table, bases, threshold, members)


def find_emission(
    bases: Reconstruction,
    coefficients: Coefficients,
    spectra: Spectra,
    options: EmissionOptions = EmissionOptions(),
    threshold: float | None = None,
) -> pl.DataFrame:
    """Compare spectra with their reconstructions.

    Returns:
        One row a spectrum: ``em_excess`` (mean of flux minus reconstruction around H
        alpha, of the continuum), ``em_snr`` (in units of its error; of the window where
        that is largest), ``em_chi2`` (of H alpha's pixels, over their number),
        ``recon_chi2`` (of all clean pixels), ``em_flag`` (1, 0, -1 unknown), ``broken``
        (why a spectrum is set aside, else null).
    """
    return _compare(bases, coefficients, spectra, options, threshold)[0]


def _compare(bases, coefficients, spectra, options, threshold=None):
    far = abs(spectra.wave - H_ALPHA)
    measured = [
        _window(bases, coefficients, spectra, far <= half)
        for half in options.half_widths
    ]
    each = np.stack([m[1] for m in measured])
    each = np.stack([_centered(row) for row in each])
    best = np.where(np.isfinite(each), each, -np.inf).argmax(axis=0)
    at = np.arange(len(spectra))
    snr = each[best, at]
    lowest = np.where(np.isfinite(each), each, np.inf).min(axis=0)
    excess = np.stack([m[0] for m in measured])[best, at]
    chi2 = np.stack([m[2] for m in measured])[-1]
    broken = _broken(coefficients, spectra, options)
    if threshold is None:
        whole = np.array([one is None for one in broken])
        threshold = _threshold(lowest[whole], options.false_positives)
    unknown = ~np.isfinite(snr) | np.array([b is not None for b in broken])
    flag = np.where(unknown, -1, (snr > threshold).astype(int))
    table = pl.DataFrame(
        {
            "em_flag": flag,
            "em_excess": excess,
            "em_snr": snr,
            "em_chi2": chi2,
            "recon_chi2": coefficients.chi2,
            "broken": pl.Series(broken, dtype=pl.String),
        }
    )
    return table, threshold


def _window(bases, coefficients: Coefficients, spectra: Spectra, inside):
    """Mean excess in a window, over its error; and chi2 a pixel."""
    ivar = spectra.ivar[:, inside].astype(float)
    good = ivar > 0
    number = good.sum(axis=1)
    enough = number >= max(0.6 * inside.sum(), 1)
    variance = np.where(good, 1 / np.where(good, ivar, 1), 0)
    told = coefficients.value @ bases.basis[:, inside]
    told = told * bases.scale[inside] + bases.mean[inside]
    residual = np.where(good, spectra.flux[:, inside] - told, 0)
    count = np.maximum(number, 1)
    excess = residual.sum(axis=1) / count
    share = good / count[:, None]
    error2 = (variance * share**2).sum(axis=1)
    if coefficients.covariance is not None:
        lever = (share * bases.scale[inside]) @ bases.basis[:, inside].T
        error2 += np.einsum("ni,nij,nj->n", lever, coefficients.covariance, lever)
    # Residuals of stars go together along the window: their scatters add up linearly.
    error2 += (share @ bases.scatter[inside]) ** 2
    spread = variance + bases.scatter[inside] ** 2
    chi2 = (
        np.where(good, residual**2 / np.where(good, spread, 1), 0).sum(axis=1) / count
    )
    unknown = ~enough | ~np.isfinite(excess)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = excess / np.sqrt(error2)
    return [np.where(unknown, np.nan, values) for values in (excess, snr, chi2)]


def _centered(snr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the stars without emission zero mean and unit scatter, if they are many."""
    known = snr[np.isfinite(snr)]
    if len(known) < _FEW:
        return snr
    middle, width = _core(known)
    return (snr - middle) / max(width, 1.0)


def _core(values: NDArray[np.float64]) -> tuple[float, float]:
    """Middle and scatter of the bulk, whatever lies far above it."""
    kept = values
    for _ in range(20):
        middle = float(np.median(kept))
        below = np.sort(middle - kept[kept <= middle])
        # 68% of half a normal distribution lies within one sigma.
        width = float(np.quantile(below, 0.6827))
        kept, before = values[values < middle + 2.0 * width], len(kept)
        if len(kept) == before:
            break
    # The upper cut at 2 sigma moves the median by this share of the scatter.
    shift = -norm.ppf(0.5 * norm.cdf(2.0))
    return middle + shift * width, width


def _threshold(lowest: NDArray[np.float64], share: float) -> float:
    """Value that this share of the stars without emission exceeds.

    ``lowest``: the smallest of the windows' excesses in units of their errors. Mirrored,
    it is distributed as the largest is; emitters are missing in its far tail only.
    """
    known = lowest[np.isfinite(lowest)]
    if len(known) < _FEW:
        return float(norm.isf(share))
    middle, _ = _core(known)
    # Half of the stars without emission lie below their middle.
    number = 2 * int((known <= middle).sum())
    wanted = max(round(share * number), 1)
    return float(-np.sort(known)[wanted - 1])


def _broken(
    coefficients: Coefficients, spectra: Spectra, options: EmissionOptions
) -> list[str | None]:
    """Say why a spectrum cannot be used, or None."""
    chi2 = coefficients.chi2
    known = np.isfinite(chi2) & (chi2 > 0)
    logs = np.log(np.where(known, chi2, 1))
    middle = np.median(logs[known]) if known.any() else 0.0
    width = _ROBUST * np.median(abs(logs[known] - middle)) if known.any() else 1.0
    # With thousands of pixels chi2 is sharp; models and noise are not known to 10%.
    limit = middle + options.broken_sigma * max(width, 0.1)
    good = (spectra.ivar > 0).mean(axis=1)
    damaged = coefficients.clipped / np.maximum((spectra.ivar > 0).sum(axis=1), 1)
    out: list[str | None] = []
    for i in range(len(spectra)):
        if not known[i]:
            out.append("no usable pixel in the clean stretches")
        elif good[i] < 0.5:
            out.append(f"only {good[i]:.0%} of its pixels are usable")
        elif damaged[i] > 0.05:
            out.append(f"{damaged[i]:.0%} of its pixels are damaged")
        elif logs[i] > limit:
            out.append(f"unlike any other spectrum: chi2 a pixel is {chi2[i]:.1f}")
        else:
            out.append(None)
    return out
