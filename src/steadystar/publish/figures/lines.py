"""Strong lines of stars by name, with their wavelengths in vacuum.

Wavelengths of metals, helium and the first Balmer lines are those of the Atomic Spectra
Database of NIST in air (Kramida et al., version 5), which `air_to_vacuum` converts; lines
of the H band are those of Smith et al. (2013, ApJ 765, 16, table 3), also in air. Brackett
lines follow from Rydberg's formula, heads of molecular bands from the same paper.
"""

__all__ = ["LINES", "NamedLine", "named_lines"]

from dataclasses import dataclass

import numpy as np

from steadystar.data.air import air_to_vacuum

_RYDBERG_H = 109_677.583_41
"""cm-1: the infinite one (CODATA 2018) for the mass of the proton."""
_A_STARS, _B_STARS = 7500.0, 10_500.0


@dataclass(frozen=True)
class NamedLine:
    """A line, or a few that the eye takes for one group: vacuum Angstrom.

    ``rank``: 1 for what everybody looks for, larger for lines that are left out first.
    ``above``: effective temperature in K from which on it shows.
    """

    name: str
    waves: tuple[float, ...]
    rank: int = 2
    above: float = 0.0

    @property
    def middle(self) -> float:
        """Where the name stands."""
        return float(np.mean(self.waves))


def _air(name: str, *waves: float, rank: int = 2, above: float = 0.0) -> NamedLine:
    return NamedLine(name, tuple(air_to_vacuum(list(waves)).tolist()), rank, above)


def _brackett(upper: int) -> NamedLine:
    wavenumber = _RYDBERG_H * (1 / 16 - 1 / upper**2)
    return NamedLine(f"H Br {upper}", (1e8 / wavenumber,), 3, _A_STARS)


LINES: tuple[NamedLine, ...] = (
    # Near ultraviolet and blue.
    _air("Ca II K", 3933.66, rank=1),
    _air("Ca II H", 3968.47, rank=1),
    _air("H δ", 4101.73, rank=1),
    _air("Ca I", 4226.73),
    _air("H \N{GREEK SMALL LETTER GAMMA}", 4340.47, rank=1),
    _air("Fe I", 4383.54),
    _air("He I", 4471.48, above=_B_STARS),
    _air("Mg II", 4481.23, above=_A_STARS),
    _air("He II", 4685.70, above=_B_STARS),
    _air("H β", 4861.35, rank=1),
    # The blue arm of LAMOST's medium resolution.
    _air("Fe I", 4920.50, rank=3),
    _air("Fe I", 4957.60, rank=2),
    _air("He I", 5015.68, above=_B_STARS),
    _air("Fe II", 5018.44, rank=3),
    _air("Fe I", 5049.82, rank=4),
    _air("Fe I", 5139.46, rank=4),
    _air("Mg b", 5167.32, 5172.68, 5183.60, rank=1),
    _air("Cr I", 5204.51, 5206.04, 5208.42, rank=3),
    _air("Fe I", 5227.19, rank=2),
    _air("Fe I", 5269.54, rank=2),
    _air("Fe I", 5328.04, rank=2),
    _air("Fe I", 5371.49, rank=3),
    # Yellow and red.
    _air("He I", 5875.62, above=_B_STARS),
    _air("Na D", 5889.95, 5895.92, rank=1),
    _air("Ca I", 6122.22, rank=4),
    _air("Ca I", 6162.17, rank=2),
    _air("Fe I", 6400.00, rank=4),
    _air("Ca I", 6439.07, rank=3),
    _air("Ca I", 6462.57, rank=3),
    _air("Fe I", 6494.98, rank=2),
    _air("H \N{GREEK SMALL LETTER ALPHA}", 6562.80, rank=1),
    _air("He I", 6678.15, above=_B_STARS),
    _air("Fe I", 6677.99, rank=3),
    _air("Li I", 6707.81, rank=2),
    _air("Ca I", 6717.68, rank=3),
    _air("Fe I", 6592.91, rank=4),
    _air("K I", 7698.96, rank=2),
    _air("O I", 7771.94, 7774.17, 7775.39, above=_A_STARS),
    _air("Ca II", 8498.02, 8542.09, 8662.14, rank=1),
    # The H band.
    _air("K I", 15163.07, 15168.38, rank=3),
    _air("Fe I", 15294.56, rank=2),
    NamedLine("CO", (15_582.0,), 2),
    _air("Fe I", 15648.51, rank=4),
    _air("Mg I", 15740.72, 15748.99, 15765.80, rank=1),
    _air("Si I", 15888.41, rank=1),
    _air("Si I", 15960.06, rank=2),
    _air("Ca I", 16150.76, 16157.36, rank=3),
    NamedLine("CO", (16_189.0,), 2),
    _air("Si I", 16680.77, rank=2),
    _air("Al I", 16718.96, 16750.56, 16763.36, rank=1),
    *(_brackett(upper) for upper in range(10, 17)),
)


def named_lines(
    low: float,
    high: float,
    *,
    hottest: float = 7000.0,
    most: int = 14,
    apart: float = 0.045,
) -> list[NamedLine]:
    """Return the lines between two wavelengths that can be named without a crowd.

    Arguments:
        low, high: vacuum Angstrom.
        hottest: effective temperature of the hottest star that is drawn.
        most: at most so many, those of low rank first.
        apart: smallest distance of two names, as a share of the range.

    In order of wavelength.
    """
    inside = [
        line
        for line in LINES
        if low < min(line.waves) and max(line.waves) < high and hottest > line.above
    ]
    chosen: list[NamedLine] = []
    for line in sorted(inside, key=lambda one: (one.rank, one.middle)):
        near = apart * (high - low)
        if len(chosen) < most and all(
            abs(line.middle - other.middle) >= near for other in chosen
        ):
            chosen.append(line)
    return sorted(chosen, key=lambda one: one.middle)
