"""A star's lines as a Gaussian: a mean and a few principal components.

What a star of unknown type may look like, learned from templates across the types
(Saydjari et al. 2023, section 2). The components are scaled so that each has a
coefficient of unit variance. They are stored as splines on the grid on which velocities
are measured, at ten phases of its step: a shift to any tenth of a step is then a choice
of phase and a move by whole steps, exact, and nothing sampled in pixels is interpolated.
"""

__all__ = ["PHASES", "StarLines", "as_spline", "learn_together", "smoothed"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded
from scipy.ndimage import gaussian_filter1d

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid

PHASES = 10
"""Shifts are tried in tenths of a step."""


@dataclass(frozen=True)
class StarLines:
    """The prior of a star's lines, ``flux / continuum - 1``, at rest.

    ``coefficients``: of cubic B-splines on ``grid``, ``(phase, 1 + rank, knot)``; row 0
    of each phase is the mean, the others are components. ``anchors``: templates that
    span the types, ``(anchor, knot)``, for a search of all velocities. ``kept``: share
    of the templates' variance that the components hold.
    """

    grid: LogGrid
    coefficients: NDArray[np.float32]
    anchors: NDArray[np.float32]
    kept: float

    @property
    def rank(self) -> int:
        """Number of components."""
        return self.coefficients.shape[1] - 1

    @classmethod
    def learn(
        cls,
        log_wave: Numbers,
        lines: Numbers,
        grid: LogGrid,
        *,
        rank: int = 20,
        anchors: int = 12,
        inflation: float = 2.0,
    ) -> "StarLines":
        """Learn the prior from templates.

        Arguments:
            log_wave: logarithms of the templates' wavelengths, increasing ``(point,)``.
            lines: ``flux / continuum - 1`` of each, ``(template, point)``.
            grid: the grid of the measurement.
            rank: number of components at most.
            anchors: number of templates kept for the search.
            inflation: factor on the standard deviation of each component, because real
                stars are more various than templates.
        """
        stretch = np.asarray(log_wave), np.atleast_2d(np.asarray(lines, float)), grid
        return learn_together(
            [stretch], rank=rank, anchors=anchors, inflation=inflation
        )[0]

    def save(self, path: Path) -> None:
        """Write the prior to an ``.npz`` file, byte for byte the same every time."""
        with Path(path).open("wb") as file:
            np.savez(
                file,
                version=1,
                grid=[self.grid.start, self.grid.step, self.grid.size],
                coefficients=self.coefficients,
                anchors=self.anchors,
                kept=self.kept,
            )

    @classmethod
    def load(cls, path: Path) -> "StarLines":
        """Read what `save` wrote; raises ValueError for any other file."""
        try:
            with (
                Path(path).open("rb") as file,
                np.load(file, allow_pickle=False) as held,
            ):
                if int(held["version"]) != 1:
                    raise ValueError(f"version {int(held['version'])}")
                start, step, size = held["grid"].tolist()
                return cls(
                    LogGrid(start, step, int(size)),
                    held["coefficients"],
                    held["anchors"],
                    float(held["kept"]),
                )
        # A bare array is no archive: a TypeError.
        except (
            *(KeyError, ValueError, TypeError),
            *(OSError, EOFError, BadZipFile),
        ) as error:
            raise ValueError(
                f"{path} holds no prior of star lines ({error}): pass the file that "
                "StarLines.save wrote."
            ) from error


def learn_together(
    stretches: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], LogGrid]],
    *,
    rank: int = 20,
    anchors: int = 12,
    inflation: float = 2.0,
) -> list[StarLines]:
    """Learn one prior for several stretches of wavelength; see `StarLines.learn`.

    Each stretch: logarithms of wavelengths ``(point,)``, lines ``(template, point)`` and
    a grid. Row ``i`` is the same star in all of them; so is coefficient ``k`` of the
    priors, and anchor ``j``.

    Raises:
        ValueError: the stretches differ in the number of templates.
    """
    number = len(stretches[0][1])
    if any(len(lines) != number for _, lines, _ in stretches):
        raise ValueError(
            "The stretches of wavelength have different numbers of templates: row by "
            "row they must be of the same stars."
        )
    means = [lines.mean(axis=0) for _, lines, _ in stretches]
    if number == 1:
        # One template: its depth is all that may vary, by a third.
        mixing, kept = None, 1.0
    else:
        # By the small side: there are fewer templates than points.
        square = sum(
            (lines - mean) @ (lines - mean).T
            for (_, lines, _), mean in zip(stretches, means, strict=True)
        )
        power, sides = np.linalg.eigh(square)
        held = min(rank, int((power > 1e-10 * power[-1]).sum()))
        mixing = inflation / np.sqrt(number) * sides[:, ::-1][:, :held].T
        kept = float(power[::-1][:held].sum() / power.sum())
    chosen = _spread(np.concatenate([lines for _, lines, _ in stretches], 1), anchors)
    priors = []
    for (log_wave, lines, grid), mean in zip(stretches, means, strict=True):
        parts = mean[None] / 3 if mixing is None else mixing @ (lines - mean)
        rows = np.concatenate([mean[None], parts])
        phases = np.arange(PHASES) / PHASES
        priors.append(
            StarLines(
                grid,
                _splines(log_wave, rows, grid, phases).astype(np.float32),
                as_spline(log_wave, lines[chosen], grid).astype(np.float32),
                kept,
            )
        )
    return priors


def smoothed(
    log_wave: NDArray[np.float64],
    flux: NDArray[np.float64],
    own: float | None,
    wanted: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring templates of resolution ``own`` to the resolution ``wanted``.

    Returns:
        Logarithms of wavelengths, uniform, and flux on them.

    Raises:
        ValueError: the templates are less sharp than the spectra.
    """
    if own is None or not np.isfinite(wanted):
        return log_wave, flux
    if own < wanted * 0.999:
        raise ValueError(
            f"The templates have resolution {own:.0f} and the spectra {wanted:.0f}: "
            "templates must be at least as sharp as the spectra."
        )
    width = np.sqrt(max(wanted**-2 - own**-2, 0)) / FWHM_PER_SIGMA
    if width * C_KMS < 0.3:
        return log_wave, flux
    step = min(width / 4, float(np.median(np.diff(log_wave))))
    uniform = np.arange(log_wave[0], log_wave[-1], step)
    fine = CubicSpline(log_wave, flux, axis=-1)(uniform)
    return uniform, gaussian_filter1d(fine, width / step, axis=-1, mode="nearest")


def as_spline(
    log_wave: NDArray[np.float64], rows: NDArray[np.float64], grid: LogGrid
) -> NDArray[np.float64]:
    """Return coefficients on ``grid`` of the splines through ``rows``, zero beyond them."""
    return _splines(log_wave, rows, grid, np.zeros(1))[0]


def _splines(log_wave, rows, grid: LogGrid, phases) -> NDArray[np.float64]:
    """Coefficients of ``rows`` moved to the red by ``phases`` of a grid step.

    ``(phase, row, knot)``; zero beyond the ends of ``log_wave``.
    """
    knots = np.arange(grid.size) - phases[:, None]
    at = np.log(grid.start) + grid.step * knots
    inside = (at >= log_wave[0]) & (at <= log_wave[-1])
    values = np.zeros((*at.shape, len(rows)))
    values[inside] = CubicSpline(log_wave, rows, axis=-1)(at[inside]).T
    # The spline's values at its knots are (a[k-1] + 4 a[k] + a[k+1]) / 6.
    bands = np.full((3, grid.size), 1 / 6)
    bands[1] = 4 / 6
    columns = values.transpose(1, 0, 2).reshape(grid.size, -1)
    solved = solve_banded((1, 1), bands, columns)
    return solved.reshape(grid.size, len(phases), len(rows)).transpose(1, 2, 0)


def _spread(lines: NDArray[np.float64], number: int) -> NDArray[np.intp]:
    """Choose templates far from each other: begin with the mean's neighbor, add the one
    that is the furthest from all chosen, in angle."""
    unit = lines / np.maximum(np.linalg.norm(lines, axis=1, keepdims=True), 1e-12)
    chosen = [int(np.argmax(unit @ unit.mean(axis=0)))]
    nearest = unit @ unit[chosen[0]]
    while len(chosen) < min(number, len(lines)):
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, unit @ unit[chosen[-1]])
    return np.array(chosen)
