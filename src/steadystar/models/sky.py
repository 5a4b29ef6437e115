"""What stands still while stars move: airglow, the sky's continuum, telluric absorption.

In the observer's frame these are the same night after night but for their strengths. A
`StillLines` is a Gaussian prior of one of them: a mean, a few patterns of unit variance,
and a variance of every wavelength for what no pattern holds. It comes from sky fibers or
from what a survey subtracted (`StillLines.learn`), from a list of airglow lines
(`from_lines`), from tables of transmission (`from_transmission`), or is a smooth continuum
(`continuum`); `residual` is what a subtraction leaves of it. It becomes a `Component` for
`measure.components` on any pixels, and columns that do not move for
`measure.velocities`. Strong lines are better given a variance, which takes weight from
their pixels, than a pattern each.
"""

__all__ = ["StillLines", "split_continuum"]

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d, median_filter

from steadystar.data.component import Component
from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.models.factors import fit_factors
from steadystar.models.lowrank import as_spline

# A cubic spline through points half a standard deviation apart has a line to 0.1%.
_STEP_PER_SIGMA = 0.5
_REACH = 6.0
_VERSION = 1


@dataclass(frozen=True, eq=False)
class StillLines:
    """Gaussian prior of what stands still in the observer's frame.

    ``mean`` and ``variance`` ``(point,)`` and ``patterns`` ``(rank, point)`` lie on
    ``grid`` (vacuum Angstrom), as the instrument sees them; beyond it all are zero. The
    unit is that of the spectra's flux, or, if ``multiplies``, a share of the starlight
    (absorption is negative). ``source``: where it comes from, a sentence.
    """

    name: str
    grid: LogGrid
    mean: NDArray[np.float64]
    patterns: NDArray[np.float64]
    variance: NDArray[np.float64]
    multiplies: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        size = self.grid.size
        shapes = (self.mean.shape, self.patterns.shape[1:], self.variance.shape)
        if self.patterns.ndim != 2 or set(shapes) != {(size,)}:
            raise ValueError(
                f"The prior {self.name!r} has a mean of shape {self.mean.shape}, patterns "
                f"{self.patterns.shape} and variance {self.variance.shape}: on a grid of "
                f"{size} points they must be ({size},), (rank, {size}) and ({size},)."
            )
        held = (self.mean, self.patterns, self.variance)
        if not all(np.isfinite(a).all() for a in held) or (self.variance < 0).any():
            raise ValueError(
                f"The prior {self.name!r} has values that are not finite, or a negative "
                "variance: where nothing is known, zero says that nothing is there."
            )

    @property
    def rank(self) -> int:
        """Number of patterns."""
        return len(self.patterns)

    @property
    def scatter(self) -> NDArray[np.float64]:
        """Standard deviation of all of it at every point of the grid, ``(point,)``."""
        return np.sqrt((self.patterns**2).sum(axis=0) + self.variance)

    def describe(self) -> str:
        """Return what this is, in a sentence or two."""
        wave, scatter = self.grid.wave, self.scatter
        strongest = int(np.argmax(scatter))
        unit = "of the starlight" if self.multiplies else "in the unit of the flux"
        # Wings of lines go on for ever.
        share = (self.variance > 1e-6 * scatter[strongest] ** 2).mean()
        text = (
            f"{self.name}, {wave[0]:.1f} to {wave[-1]:.1f} A: {self.rank} patterns, and "
            f"a variance of its own at {share:.0%} of the points. It varies most at "
            f"{wave[strongest]:.2f} A, by {scatter[strongest]:.3g} {unit}."
        )
        return f"{text} {self.source}".strip()

    # ------------------------------------------------------------------ where it is from

    @classmethod
    def learn(
        cls,
        spectra: Spectra,
        *,
        name: str = "sky lines",
        rank: int = 12,
        multiplies: bool = False,
    ) -> "StillLines":
        """Learn from spectra that hold nothing else: sky fibers, or a survey's own sky.

        Arguments:
            spectra: in the observatory's frame, one row an exposure and fiber; take
                the continuum off first (`split_continuum`). For ``multiplies``,
                transmission less one.
            name: of the component.
            rank: patterns at most; the noise of the spectra is not in them.
            multiplies: whether it is a share of the starlight.

        Raises:
            ValueError: fewer than three spectra with data; they are in the barycentric
                frame; no resolution is known.
        """
        if spectra.frame != "observatory":
            raise ValueError(
                f"The {name} cannot be learned from spectra in the barycentric frame, in "
                "which the sky moves: undo the correction of their wavelengths first."
            )
        used = np.flatnonzero((spectra.ivar > 0).any(axis=1))
        sharp = spectra.resolution[np.isfinite(spectra.resolution)]
        if not len(sharp):
            raise ValueError(
                f"The {name} cannot be learned from {len(spectra)} spectra of unknown "
                "resolution: pass resolution to Spectra.from_arrays."
            )
        step = _STEP_PER_SIGMA * C_KMS / float(np.median(sharp)) / FWHM_PER_SIGMA
        wave = spectra.wave_2d[used]
        wave = wave if len(used) else spectra.wave_2d
        grid = LogGrid.covering(float(wave.min()), float(wave.max()), step)
        rows = [_on_grid(spectra, int(i), grid) for i in used]
        values, ivar = np.array(rows).reshape(len(rows), 2, grid.size).swapaxes(0, 1)
        found = fit_factors(values, ivar, rank, 1 / _STEP_PER_SIGMA)
        without = len(spectra) - len(used)
        source = (
            f"Learned from {len(used)} spectra"
            + (f" ({without} had no data)" if without else "")
            + f"; {found.clipped} outlying values left out, "
            f"{(~found.known).mean():.1%} of the points are not known and hold zero."
        )
        return cls(
            *(name, grid, found.mean, found.patterns, found.variance),
            *(multiplies, source),
        )

    @classmethod
    def from_lines(
        cls,
        wave: Numbers,
        strength: Numbers,
        resolution: float,
        *,
        width: float,
        groups: Sequence[Hashable] | None = None,
        most: int = 30,
        name: str = "sky lines",
    ) -> "StillLines":
        """Make a prior of a list of airglow lines: one Gaussian pattern a line or group.

        Arguments:
            wave: vacuum Angstrom, ``(line,)``.
            strength: relative fluxes, ``(line,)``.
            resolution: of the instrument, ``lambda / FWHM``.
            width: how much the peak of the brightest pattern varies, standard deviation.
            groups: lines with the same label vary together; without it, lines that the
                instrument does not resolve do.
            most: the brightest groups have patterns; fainter ones only a variance.
            name: of the component.

        Raises:
            ValueError: no lines; a wavelength, strength, width or resolution that is not
                positive; not one group a line.
        """
        wave, strength = (np.atleast_1d(np.asarray(a, float)) for a in (wave, strength))
        labels = _blends(wave, resolution) if groups is None else list(groups)
        fine = len(wave) and len(wave) == len(strength) == len(labels)
        if not fine or not (resolution > 0 and width > 0):
            raise ValueError(
                f"No prior of sky lines is made of {len(wave)} wavelengths, "
                f"{len(strength)} strengths, {len(labels)} groups, resolution "
                f"{resolution} and width {width}: give one of each for every line, and "
                "positive numbers."
            )
        if not (np.isfinite(wave) & (wave > 0) & np.isfinite(strength)).all() or not (
            (strength >= 0).all() and strength.any()
        ):
            raise ValueError(
                "Some airglow lines have no positive wavelength, or a strength that is "
                "negative or not finite: leave them out of the list."
            )
        sigma = 1 / resolution / FWHM_PER_SIGMA
        grid = _around(wave.min(), wave.max(), sigma)
        number = {label: k for k, label in enumerate(dict.fromkeys(labels))}
        rows = np.zeros((len(number), grid.size))
        at = np.log(grid.wave)
        for center, flux, label in zip(np.log(wave), strength, labels, strict=True):
            rows[number[label]] += flux * np.exp(-(((at - center) / sigma) ** 2) / 2)
        peaks = rows.max(axis=1)
        rows *= width / peaks.max()
        order = np.argsort(-peaks, kind="stable")
        patterns, faint = rows[order[:most]], rows[order[most:]]
        source = (
            f"{len(wave)} lines in {len(rows)} groups at resolution {resolution:.0f}."
        )
        zeros = np.zeros(grid.size)
        return cls(name, grid, zeros, patterns, (faint**2).sum(axis=0), False, source)

    @classmethod
    def from_transmission(
        cls,
        wave: Numbers,
        transmission: Numbers,
        resolution: float,
        *,
        rank: int = 4,
        name: str = "telluric absorption",
    ) -> "StillLines":
        """Make a prior of telluric absorption from a table of transmissions.

        Arguments:
            wave: vacuum Angstrom, increasing, ``(point,)``, finer than the instrument.
            transmission: ``(sample, point)``, for example at airmasses and amounts of
                water, as often as they are likely; one alone may vary by a third.
            resolution: of the instrument, ``lambda / FWHM``.
            rank: patterns at most.
            name: of the component.

        Raises:
            ValueError: shapes disagree; a value is not finite.
        """
        wave = np.asarray(wave, float)
        through = np.atleast_2d(np.asarray(transmission, float))
        good = wave.ndim == 1 and through.shape[1:] == wave.shape and len(wave) > 1
        if not good or not (np.isfinite(through).all() and (np.diff(wave) > 0).all()):
            raise ValueError(
                f"Wavelengths of shape {wave.shape} and transmissions of shape "
                f"{through.shape} make no prior of {name}: give (point,), increasing, and "
                "(sample, point), finite."
            )
        sigma = 1 / resolution / FWHM_PER_SIGMA
        log_wave = np.log(wave)
        fine = min(sigma / 4, float(np.median(np.diff(log_wave))))
        at = np.arange(log_wave[0], log_wave[-1], fine)
        seen = np.array([np.interp(at, log_wave, row) - 1 for row in through])
        seen = gaussian_filter1d(seen, sigma / fine, axis=1, mode="nearest")
        step = _STEP_PER_SIGMA * sigma
        grid = LogGrid(float(wave[0]), step, int((at[-1] - at[0]) / step))
        rows = CubicSpline(at, seen, axis=1)(np.log(grid.wave))
        mean = rows.mean(axis=0)
        left = rows - mean if len(rows) > 1 else mean[None] / 3
        _, strength, directions = np.linalg.svd(left, full_matrices=False)
        parts = strength[:, None] * directions / np.sqrt(len(left))
        rest = (parts[rank:] ** 2).sum(axis=0)
        kept = 1 - rest.sum() / max((parts**2).sum(), 1e-300)
        source = (
            f"{len(rows)} transmissions at resolution {resolution:.0f}; the patterns hold "
            f"{kept:.2%} of their variance."
        )
        return cls(name, grid, mean, parts[:rank], rest, True, source)

    @classmethod
    def continuum(
        cls,
        low: float,
        high: float,
        *,
        level: float = 0.0,
        width: float,
        orders: int = 5,
        name: str = "sky continuum",
    ) -> "StillLines":
        """Make a prior of a smooth sky: half waves around a level.

        Arguments:
            low, high: vacuum Angstrom.
            level: its mean, in the unit of the flux.
            width: how much it varies, standard deviation of each half wave's strength.
            orders: half waves, the constant included.
            name: of the component.

        Raises:
            ValueError: ``low`` is not below ``high``, no orders, no positive width.
        """
        if not (0 < low < high and orders > 0 and width > 0):
            raise ValueError(
                f"No sky continuum goes from {low} to {high} A in {orders} half waves of "
                f"width {width}: give low < high, at least one, and a positive width."
            )
        # Forty points a half wave: a spline has it to 1e-7.
        size = 40 * orders + 1
        grid = LogGrid(low, float(np.log(high / low)) / (size - 1), size)
        x = np.linspace(0, 1, size)
        waves = width * np.cos(np.pi * np.arange(orders)[:, None] * x)
        source = f"{orders} half waves around {level:g}."
        return cls(
            *(name, grid, np.full(size, float(level)), waves, np.zeros(size), False),
            source,
        )

    # ---------------------------------------------------------------------- what it is for

    def residual(self, share: float, each: float = 0.0) -> "StillLines":
        """Return what is left of it after a subtraction, or a division.

        Arguments:
            share: by which share the subtraction was wrong, one factor for the mean and
                one for each pattern.
            each: by which share it was wrong at every point on its own, see `loosened`.

        Its mean is zero: where the old one was, there is a pattern more.

        Raises:
            ValueError: a share is negative.
        """
        if not share >= 0:
            raise ValueError(f"A share of {share}: it must not be negative.")
        loose = self.loosened(each)
        patterns = np.concatenate([self.mean[None], self.patterns])
        patterns = patterns[np.abs(patterns).max(axis=1) > 0]
        own = loose.variance - self.variance
        return replace(
            loose,
            mean=np.zeros_like(self.mean),
            patterns=share * patterns if share > 0 else patterns[:0],
            variance=share**2 * self.variance + own,
            source=f"{loose.source} What a subtraction right to {share:.1%} leaves.",
        )

    def loosened(self, each: float) -> "StillLines":
        """Return the same with every point uncertain by a share of its strength.

        The strength is mean and scatter in quadrature. Deep and strong lines lose
        weight: their profiles are never known as well as their strengths, and a
        narrow absorption line takes from the star before the instrument blurs both.

        Raises:
            ValueError: the share is negative.
        """
        if not each >= 0:
            raise ValueError(f"A share of {each}: it must not be negative.")
        own = each**2 * (self.mean**2 + self.scatter**2)
        source = f"{self.source} Each point is uncertain by {each:.1%} of its strength."
        return replace(
            self,
            variance=self.variance + own,
            source=source if each > 0 else self.source,
        )

    def scaled(self, factor: float) -> "StillLines":
        """Return the same in another unit, or ``factor`` times as strong."""
        return replace(
            self,
            mean=factor * self.mean,
            patterns=factor * self.patterns,
            variance=factor**2 * self.variance,
        )

    def component(self, wave: Numbers, level: Numbers = 1.0) -> Component:
        """Return the prior on the pixels of spectra.

        Arguments:
            wave: vacuum Angstrom in the observatory's frame, ``(pixel,)`` or
                ``(spectrum, pixel)``.
            level: starlight that is absorbed, in the unit of the flux, of a shape that
                broadcasts with ``wave``; used only if this ``multiplies``.
        """
        wave = np.asarray(wave, float)
        factor = np.asarray(level, float) if self.multiplies else np.ones(())
        parts = self._at(wave, np.concatenate([self.mean[None], self.patterns]))
        # A spline through variances could go below zero.
        variance = np.interp(
            *(np.log(wave), np.log(self.grid.wave), self.variance), left=0, right=0
        )
        scaled = np.moveaxis(parts * factor, 0, -2)
        return Component(
            self.name,
            mean=scaled[..., 0, :],
            basis=scaled[..., 1:, :] if self.rank else None,
            diagonal=variance * factor**2,
        )

    def _at(self, wave: NDArray[np.float64], rows) -> NDArray[np.float64]:
        """Rows at wavelengths of any shape, ``(row, *wave)``; zero beyond the grid."""
        own = np.log(self.grid.wave)
        at = np.log(wave)
        inside = (at >= own[0]) & (at <= own[-1])
        values = CubicSpline(own, rows, axis=-1)(np.clip(at, own[0], own[-1]))
        return np.where(inside, values, 0)

    def columns(self, grid: LogGrid) -> NDArray[np.float32]:
        """Return the patterns as cubic B-splines on ``grid``, ``(rank, knot)``."""
        if not self.rank:
            return np.zeros((0, grid.size), np.float32)
        rows = as_spline(np.log(self.grid.wave), self.patterns, grid)
        return rows.astype(np.float32)

    # ---------------------------------------------------------------------------- kept

    def save(self, path: Path) -> None:
        """Write the prior to an ``.npz`` file, byte for byte the same every time."""
        with Path(path).open("wb") as file:
            np.savez(
                file,
                version=_VERSION,
                kind="still lines",
                name=self.name,
                grid=[self.grid.start, self.grid.step, self.grid.size],
                mean=self.mean,
                patterns=self.patterns,
                variance=self.variance,
                multiplies=self.multiplies,
                source=self.source,
            )

    @classmethod
    def load(cls, path: Path) -> "StillLines":
        """Read what `save` wrote; raises ValueError for any other file."""
        try:
            with (
                Path(path).open("rb") as file,
                np.load(file, allow_pickle=False) as held,
            ):
                kind, version = str(held["kind"]), int(held["version"])
                if (kind, version) != ("still lines", _VERSION):
                    raise ValueError(f"{kind}, version {version}")
                start, step, size = held["grid"].tolist()
                return cls(
                    name=str(held["name"]),
                    grid=LogGrid(start, step, int(size)),
                    mean=np.asarray(held["mean"], float),
                    patterns=np.asarray(held["patterns"], float),
                    variance=np.asarray(held["variance"], float),
                    multiplies=bool(held["multiplies"]),
                    source=str(held["source"]),
                )
        # A bare array is no archive: a TypeError or an IndexError.
        except (
            *(KeyError, ValueError, TypeError, IndexError),
            *(OSError, EOFError, BadZipFile),
        ) as error:
            raise ValueError(
                f"{path} holds no prior of what stands still ({error}): pass the file "
                "that StillLines.save wrote."
            ) from error


def split_continuum(spectra: Spectra, scale: float = 60.0) -> tuple[Spectra, Spectra]:
    """Take sky spectra apart into lines and a smooth continuum.

    The continuum is a running median over ``scale`` Angstrom, smoothed by a Gaussian of
    a quarter of that. Where lines crowd, as in the heads of OH bands, the median lies
    above the true continuum; lines and continuum still sum to the spectrum.

    Raises:
        ValueError: ``scale`` is not positive.
    """
    if not scale > 0:
        raise ValueError(
            f"A continuum cannot be smooth over {scale} A: give more than 0."
        )
    smooth = np.zeros_like(spectra.flux)
    for i, wave in enumerate(spectra.wave_2d):
        good = spectra.ivar[i] > 0
        if not good.any():
            continue
        pixels = max(3, int(scale / float(np.median(np.diff(wave)))))
        # Missing pixels have no say: the median runs over the others.
        middle = median_filter(spectra.flux[i][good], pixels, mode="nearest")
        middle = gaussian_filter1d(middle.astype(float), pixels / 4, mode="nearest")
        smooth[i] = np.interp(wave, wave[good], middle)
    return replace(spectra, flux=spectra.flux - smooth), replace(spectra, flux=smooth)


def _on_grid(spectra: Spectra, row: int, grid: LogGrid):
    """Flux and inverse variance of one spectrum at the points of ``grid``.

    Polynomials through the six nearest pixels, so that a cosmic ray stays where it is. A
    point has data if all six have, and the weight of the nearer two.
    """
    log_wave, at = np.log(spectra.wave_2d[row]), np.log(grid.wave)
    last = len(log_wave) - 1
    place = np.interp(at, log_wave, np.arange(last + 1.0))
    before = np.floor(place).astype(int)
    taps = before[:, None] + np.arange(-2, 4)
    inside = (at >= log_wave[0]) & (taps[:, 0] >= 0) & (taps[:, -1] <= last)
    taps = np.clip(taps, 0, last)
    # Detectors have gaps; six pixels in a row are about as far apart as any others.
    span = log_wave[taps[:, -1]] - log_wave[taps[:, 0]]
    inside &= span < 10 * float(np.median(np.diff(log_wave)))
    weights = np.ones(taps.shape)
    for j in range(6):
        for k in range(6):
            if k != j:
                weights[:, j] *= (place - before + 2 - k) / (j - k)
    ivar = spectra.ivar[row][taps].astype(float)
    good = inside & (ivar > 0).all(axis=1)
    flux = (weights * spectra.flux[row][taps]).sum(axis=1)
    return np.where(good, flux, 0), np.where(good, ivar[:, 2:4].min(axis=1), 0)


def _around(low: float, high: float, sigma: float) -> LogGrid:
    """Return a grid fine enough for lines of ``sigma`` (in ln wavelength), with room."""
    room = float(np.exp(_REACH * sigma))
    size = int(np.log(high * room**2 / low) / (_STEP_PER_SIGMA * sigma)) + 2
    return LogGrid(low / room, _STEP_PER_SIGMA * sigma, size)


def _blends(wave: NDArray[np.float64], resolution: float) -> list[int]:
    """Number the lines so that those nearer than a resolution element share a number."""
    order = np.argsort(wave, kind="stable")
    apart = np.diff(np.log(wave[order])) * resolution > 1
    numbers = np.concatenate([[0], np.cumsum(apart)]) if len(wave) else []
    labels = np.empty(len(wave), int)
    labels[order] = numbers
    return labels.tolist()
