"""Emission lines, as what H alpha has above the reconstruction; and broken spectra.

The mean flux around H alpha minus what the clean pixels foretell is compared with its
error: noise, what the coefficients leave unknown, and what stars without emission scatter
anyway. The threshold is not set by eye: stars without emission fall on either side of the
reconstruction alike, so the distribution's lower half, mirrored, says how many of them lie
above any value, and the threshold is where the wanted share of them does. Spectra with
emission are then taken from the training set, and the bases are learned again (Xiang et
al. 2021, section 3).
"""

__all__ = ["EmissionModel", "EmissionOptions", "fit_emission"]

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from steadystar.data.archive import below, pack, restore
from steadystar.data.spectra import Spectra
from steadystar.measure.option_checks import check_values
from steadystar.measure.ordinary import Neighbors
from steadystar.measure.reconstruction import Coefficients, Reconstruction
from steadystar.measure.reconstruction_training import fit_reconstruction
from steadystar.measure.rest_frame import clean_pixels, outside_emission

H_ALPHA = 6564.614
"""Vacuum wavelength of H alpha, A (NIST Atomic Spectra Database)."""

_KIND = "model of emission"
_FEW = 300
_CHUNK = 1024
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
        share, widths = self.false_positives, self.half_widths
        checks = (
            ("false_positives", 0 < share < 0.5, "a share between 0 and 0.5"),
            (
                "half_widths",
                bool(widths) and min(widths) > 0,
                "one width in Angstrom at least",
            ),
        )
        check_values(self, checks)


class _Windows(NamedTuple):
    """In each window, ``(window, spectrum)``: excess, its error by noise, and chi2."""

    excess: NDArray[np.float64]
    error: NDArray[np.float64]
    chi2: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EmissionModel:
    """What spectra look like without emission, and how far they may be off.

    ``bases``: learned without emitters. ``half_widths``: of the windows around H alpha,
    A. ``neighbors``: a sample of spectra and their excesses, for what is ordinary.
    ``threshold``: of the largest, above which a star is an emitter.
    ``broken_chi2``: the same for chi2 a pixel of the clean stretches and for that of all
    pixels, above which a spectrum is broken. ``summary``: of the training.
    """

    bases: Reconstruction
    half_widths: tuple[float, ...]
    neighbors: Neighbors
    threshold: float
    broken_chi2: tuple[float, float]
    summary: dict[str, Any] = field(default_factory=dict)

    def apply(self, spectra: Spectra) -> pl.DataFrame:
        """Compare spectra, at rest on the model's grid, with their reconstructions.

        Returns:
            One row a spectrum: ``em_excess`` (mean of flux minus reconstruction around H
            alpha, of the continuum), ``em_snr`` (in units of its error; of the window
            where that is largest), ``em_chi2`` (of H alpha's pixels, over their number),
            ``recon_chi2`` (of all clean pixels), ``em_flag`` (1, 0, -1 unknown),
            ``broken`` (why a spectrum is set aside, else null).

        Raises:
            ValueError: the spectra are on other wavelengths.
        """
        coefficients = self.bases.coefficients(spectra)
        windows = _look(self.bases, coefficients, spectra, self.half_widths)
        snr = self._normalized(windows, coefficients.value)
        best = np.where(np.isfinite(snr), snr, -np.inf).argmax(axis=0)
        at = np.arange(len(spectra))
        broken = _why_broken(
            coefficients, _whole_chi2(self.bases, coefficients, spectra), spectra, self
        )
        largest = snr[best, at]
        unknown = ~np.isfinite(largest) | np.array(
            [b is not None for b in broken], bool
        )
        flag = np.where(unknown, -1, (largest > self.threshold).astype(int))
        return pl.DataFrame(
            {
                "em_flag": flag,
                "em_excess": windows.excess[best, at],
                "em_snr": largest,
                "em_chi2": windows.chi2[-1],
                "recon_chi2": coefficients.chi2,
                "broken": pl.Series(broken, dtype=pl.String),
            }
        )

    def _normalized(self, windows: _Windows, value) -> NDArray[np.float64]:
        """Excesses less what is ordinary among the like, in units of their errors."""
        middle, extra = self.neighbors.ordinary(_place(self.bases, value))
        return (windows.excess - middle) / np.hypot(windows.error, extra)

    def save(self, path: Path | str) -> None:
        """Write the model to one file, the same bytes every time."""
        facts = dict(vars(self))
        bases, neighbors = facts.pop("bases"), facts.pop("neighbors")
        arrays = {f"bases/{name}": v for name, v in bases.to_arrays().items()}
        arrays |= {f"neighbors/{name}": v for name, v in neighbors.to_arrays().items()}
        pack(Path(path), _KIND, facts, {}, arrays)

    @classmethod
    def load(cls, path: Path | str) -> "EmissionModel":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds no such model.
        """
        return restore(Path(path), _KIND, cls._restored)

    @classmethod
    def _restored(cls, facts, _, arrays) -> "EmissionModel":
        for name in ("half_widths", "broken_chi2"):
            facts[name] = tuple(facts[name])
        return cls(
            bases=Reconstruction.from_arrays(below(arrays, "bases/")),
            neighbors=Neighbors.from_arrays(below(arrays, "neighbors/")),
            **facts,
        )


def fit_emission(
    spectra: Spectra,
    snr: NDArray[np.float64],
    options: EmissionOptions = EmissionOptions(),
) -> EmissionModel:
    """Learn to foretell spectra from their clean pixels, and what emission is.

    Arguments:
        spectra: at rest on one grid (`rest_frame.to_rest`).
        snr: S/N per pixel of each, ``(spectrum,)``; bright ones are learned from.
        options: components, false positives, windows.

    Raises:
        ValueError: too few spectra to learn from, none with H alpha, or numbers of
            spectra and S/N that disagree.

    Source:
        Xiang et al. 2021, section 3; the threshold is ours.
    """
    if len(spectra) != len(snr):
        raise ValueError(
            f"There are {len(spectra)} spectra but {len(snr)} values of S/N: give one a "
            "spectrum."
        )
    near = abs(spectra.wave - H_ALPHA) <= min(options.half_widths)
    if not (spectra.ivar[:, near] > 0).any():
        raise ValueError(
            f"No spectrum has a usable pixel at H alpha ({H_ALPHA:.0f} A): emission "
            "cannot be looked for. Give spectra that reach it."
        )
    clean = clean_pixels(spectra.wave)
    bright = snr >= options.min_snr
    if bright.sum() < max(100, 0.1 * len(snr)):
        # A faint survey learns from what it has.
        bright = snr >= np.nanquantile(snr, 0.3)
    members = bright
    for left in reversed(range(max(options.rounds, 0) + 1)):
        bases = fit_reconstruction(
            spectra, clean, members, options.n_components, options.method
        )
        model, table = _calibrate(bases, spectra, options)
        normal = (table["em_flag"] == 0) & table["broken"].is_null()
        before, members = members, bright & normal.to_numpy()
        if not left or (before == members).all():
            return replace(model, summary=_summary(model, before, table, options))
    raise AssertionError("The last round returns.")


def _summary(model: EmissionModel, members, table: pl.DataFrame, options):
    return {
        "spectra": len(table),
        "learned_from": int(members.sum()),
        "components": len(model.bases.variance),
        "emitters": int((table["em_flag"] == 1).sum()),
        "broken": int((table["em_flag"] == -1).sum()),
        "false_positives": options.false_positives,
    }


def _calibrate(bases: Reconstruction, spectra: Spectra, options: EmissionOptions):
    """Find what is normal among many spectra, and judge them by it."""
    coefficients = bases.coefficients(spectra)
    windows = _look(bases, coefficients, spectra, options.half_widths)
    every = _whole_chi2(bases, coefficients, spectra)
    limits = (
        _limit(coefficients.chi2, options.broken_sigma),
        _limit(every, options.broken_sigma),
    )
    model = EmissionModel(
        bases,
        tuple(options.half_widths),
        Neighbors.of(_place(bases, coefficients.value), windows.excess, windows.error),
        float(norm.isf(options.false_positives)),
        limits,
    )
    whole = model.apply(spectra)["broken"].is_null().to_numpy()
    snr = model._normalized(windows, coefficients.value)
    model = replace(model, threshold=_threshold(snr[:, whole], options.false_positives))
    return model, model.apply(spectra)


def _look(
    bases: Reconstruction,
    coefficients: Coefficients,
    spectra: Spectra,
    half_widths: tuple[float, ...],
) -> _Windows:
    far = abs(spectra.wave - H_ALPHA)
    parts = [_window(bases, coefficients, spectra, far <= half) for half in half_widths]
    return _Windows(*(np.stack(part) for part in zip(*parts, strict=True)))


def _whole_chi2(bases, coefficients: Coefficients, spectra: Spectra):
    """Chi2 a pixel of the reconstruction in all pixels that emission leaves alone.

    A few pixels are allowed to be anything: cosmic rays. Counted are squares of at most
    what six sigma would give.
    """
    out = np.full(len(spectra), np.nan)
    pixels = np.flatnonzero(outside_emission(spectra.wave))
    for begin in range(0, len(spectra), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        told = bases.rebuild(coefficients.value[rows], pixels)
        ivar = spectra.ivar[rows][:, pixels]
        weight = ivar / (1 + ivar * bases.scatter[pixels] ** 2)
        square = (spectra.flux[rows][:, pixels] - told) ** 2 * weight
        number = np.maximum((ivar > 0).sum(axis=1), 1)
        out[rows] = np.minimum(square, 36.0).sum(axis=1) / number
    return out


def _limit(chi2: NDArray[np.float64], sigma: float) -> float:
    known = chi2[np.isfinite(chi2) & (chi2 > 0)]
    if not len(known):
        return float("inf")
    middle = np.median(np.log(known))
    width = _ROBUST * np.median(abs(np.log(known) - middle))
    # With thousands of pixels chi2 is sharp; noise is not known to 5%.
    return float(np.exp(middle + sigma * max(width, 0.05)))


def _window(bases, coefficients: Coefficients, spectra: Spectra, inside):
    """Mean excess in a window, its error by noise, and chi2 a pixel."""
    ivar = spectra.ivar[:, inside].astype(float)
    good = ivar > 0
    number = good.sum(axis=1)
    enough = number >= max(0.6 * inside.sum(), 1)
    variance = np.where(good, 1 / np.where(good, ivar, 1), 0)
    told = bases.rebuild(coefficients.value, inside)
    residual = np.where(good, spectra.flux[:, inside] - told, 0)
    count = np.maximum(number, 1)
    excess = residual.sum(axis=1) / count
    share = good / count[:, None]
    error2 = (variance * share**2).sum(axis=1)
    if coefficients.covariance is not None:
        own = bases.basis[: len(bases.variance), inside]
        lever = (share * bases.scale[inside]) @ own.T
        error2 += np.einsum("ni,nij,nj->n", lever, coefficients.covariance, lever)
    spread = variance + bases.scatter[inside] ** 2
    chi2 = (
        np.where(good, residual**2 / np.where(good, spread, 1), 0).sum(axis=1) / count
    )
    unknown = ~enough | ~np.isfinite(excess)
    found = (excess, np.sqrt(error2), chi2)
    return [np.where(unknown, np.nan, values) for values in found]


def _place(bases: Reconstruction, value: NDArray[np.float32]) -> NDArray:
    """Where spectra lie among the others: coefficients in units of the stars' spread."""
    return value / np.sqrt(np.maximum(bases.variance, 1e-12))


def _threshold(snr: NDArray[np.float64], share: float) -> float:
    """Value that this share of the stars without emission exceeds.

    ``snr``: excesses in each window, ``(window, spectrum)``. The smallest of a star's,
    mirrored, is distributed as its largest is; emitters are missing in its far tail only.
    """
    known = snr[:, np.isfinite(snr).all(axis=0)]
    # Half of the stars without emission lie below zero.
    number = 2 * int((known[0] < 0).sum())
    if number < _FEW:
        return float(norm.isf(share))
    return float(-np.sort(known.min(axis=0))[max(round(share * number), 1) - 1])


def _why_broken(
    coefficients: Coefficients,
    whole: NDArray[np.float64],
    spectra: Spectra,
    model: EmissionModel,
) -> list[str | None]:
    """Say why a spectrum cannot be used, or None."""
    usable = spectra.ivar > 0
    good = usable.mean(axis=1)
    damaged = coefficients.clipped / np.maximum(usable.sum(axis=1), 1)
    out: list[str | None] = []
    for clean, every, share, lost in zip(
        coefficients.chi2, whole, good, damaged, strict=True
    ):
        if not np.isfinite(clean):
            out.append("No usable pixel in the clean stretches.")
        elif share < 0.5:
            out.append(f"Only {share:.0%} of its pixels are usable.")
        elif lost > 0.02:
            out.append(f"{lost:.0%} of its pixels are damaged.")
        elif clean > model.broken_chi2[0] or every > model.broken_chi2[1]:
            out.append(
                f"Unlike any other spectrum: chi2 a pixel is {max(clean, every):.1f}."
            )
        else:
            out.append(None)
    return out
