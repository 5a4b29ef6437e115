"""APOGEE's line spread function, from the coefficients in its files.

For each detector the survey describes the profile of a line at pixel ``c`` by a
Gaussian times a sum of Hermite polynomials, and a wide Gaussian for the wings; the
width, the Hermite coefficients and the wings change with ``c`` as polynomials in
``c + X0``. With ``w = (x - c)/s`` and Gaussian ``phi``, cumulative ``Phi``,

    profile = (1 - W) phi(w)/s sum_n h_n He_n(w)/sqrt(n!) + W phi(x - c; S),   h_0 = 1

(`lsf_gh.pro` and `gausshermitebin.pro` of the survey's pipeline; Nidever et al. 2015,
AJ 150, 173, section 4.7). Since ``He_n phi`` is minus the derivative of
``He_(n-1) phi``, the profile has a closed cumulative

    C(w) = (1 - W) [Phi(w) - phi(w) sum_(n>0) h_n He_(n-1)(w)/sqrt(n!)] + W Phi(x - c; S)

and what a pixel sees is its difference between the pixel's sides: the area is one by
construction, and the centroid lies at ``(1 - W) s h_1``. A detector pixel is ``bin``
units of ``x`` wide: one, or two where dithered exposures were interleaved to 4096.
"""

__all__ = ["ChipProfile", "LineSpread", "line_spread_centroid", "unpack"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
import polars as pl
from numpy.polynomial.hermite_e import hermeval
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import ndtr

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers

_MOST_ORDERS = 9
"""The pipeline writes Hermite polynomials up to the ninth, of at most linear change."""
_NODES = 9
"""Centers on a chip at which a width is found; between them it is interpolated. Widths
change by some percent over a chip, almost linearly."""
_REACH = 20.0
"""Detector pixels from the center at which a profile is cut off in a matrix. The broad
wings (5% of the light, up to 35 pixels wide in some files) reach beyond and are lost."""


@dataclass(frozen=True)
class ChipProfile:
    """The profile on one detector, as a function of where its center lies.

    ``bin``: width of a detector pixel in units of ``x``. ``offset``: what is added to
    a center before a polynomial is evaluated. ``sigma``, ``wing``, ``wing_sigma``:
    coefficients of polynomials, lowest first; ``hermite``: one such row for each order
    from the first.
    """

    bin: float
    offset: float
    sigma: NDArray[np.float64]
    hermite: NDArray[np.float64]
    wing: NDArray[np.float64]
    wing_sigma: NDArray[np.float64]

    def __call__(self, offsets: Numbers, centers: Numbers) -> NDArray[np.float64]:
        """Return what pixels see of a line of unit flux.

        Arguments:
            offsets: pixel minus center, in units of ``x``.
            centers: pixel of the center. Both broadcast.

        The sum over all pixels is one.
        """
        offsets = np.asarray(offsets, np.float64)
        half = self.bin / 2
        upper = self._cumulative(offsets + half, centers)
        return np.asarray(
            (upper - self._cumulative(offsets - half, centers)) / self.bin
        )

    def _cumulative(self, x: Numbers, centers: Numbers) -> NDArray[np.float64]:
        at = np.asarray(centers, np.float64) + self.offset
        x = np.asarray(x, np.float64)
        w = x / polyval(at, self.sigma)
        density = np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi)
        core = ndtr(w)
        for order, row in enumerate(self.hermite, start=1):
            he = hermeval(w, [0] * (order - 1) + [1])
            core = core - density * polyval(at, row) * he / np.sqrt(factorial(order))
        if not self.wing.any():
            return np.asarray(core)
        share = polyval(at, self.wing)
        wings = ndtr(x / polyval(at, self.wing_sigma))
        return np.asarray((1 - share) * core + share * wings)

    def centroid(self, centers: Numbers) -> NDArray[np.float64]:
        """Return the mean of the profile minus its center, in units of ``x``."""
        at = np.asarray(centers, np.float64) + self.offset
        if not len(self.hermite):
            return np.zeros_like(at)
        core = polyval(at, self.sigma) * polyval(at, self.hermite[0])
        return np.asarray((1 - polyval(at, self.wing)) * core)

    def fwhm(self, centers: Numbers) -> NDArray[np.float64]:
        """Return the full width at half maximum of what pixels see, in units of ``x``.

        NaN where the profile has no width.
        """
        centers = np.asarray(centers, np.float64)
        nodes = np.linspace(centers.min(), centers.max(), _NODES)
        x = np.linspace(-8, 8, 641) * self.bin
        profiles = self(x, nodes[:, None])
        found = np.array([_full_width(x, profile) for profile in profiles])
        return np.interp(centers, nodes, found)


def _full_width(x: NDArray, profile: NDArray) -> float:
    """Return the distance of the outermost crossings of half of the maximum."""
    if not np.isfinite(profile).all():
        return float("nan")
    half = profile.max() / 2
    above = np.flatnonzero(profile >= half)
    first, last = above[0], above[-1]
    if half <= 0 or first == 0 or last == len(x) - 1:
        return float("nan")
    ends = [
        np.interp(half, profile[[i, j]], x[[i, j]])
        for i, j in ((first - 1, first), (last + 1, last))
    ]
    return float(ends[1] - ends[0])


def unpack(coefficients: Numbers) -> ChipProfile:
    """Read the row of coefficients of one detector.

    The row holds: width of a pixel, offset, highest Hermite order H, H + 1 polynomial
    orders (of sigma, then of each coefficient), the polynomials one after the other,
    kind of wings (1: Gaussian), number of wing parameters (2: share and sigma), their
    polynomial orders, their polynomials. Without the last four there are no wings.

    Raises:
        ValueError: the numbers do not fit each other, or describe no profile.
    """
    row = np.asarray(coefficients, np.float64).ravel()
    if not np.isfinite(row).all():
        raise ValueError("coefficients of the line spread function are not finite")
    reader = _Row(row)
    width, offset = reader.take(2)
    order = reader.count(_MOST_ORDERS)
    sigma, *hermite = reader.polynomials(order + 1)
    wing, wing_sigma = np.zeros(1), np.ones(1)
    if reader.left():
        kind, parameters = reader.count(9), reader.count(9)
        if (kind, parameters) != (1, 2):
            raise ValueError(
                f"wings of kind {kind} with {parameters} parameters are not known"
            )
        wing, wing_sigma = reader.polynomials(2)
    longest = max((len(part) for part in hermite), default=1)
    rows = np.zeros((order, longest))
    for number, part in enumerate(hermite):
        rows[number, : len(part)] = part
    if not 0 < width < 10 or not sigma.any():
        raise ValueError("the line spread function has no width")
    return ChipProfile(float(width), float(offset), sigma, rows, wing, wing_sigma)


@dataclass
class _Row:
    """Numbers of a row, taken from its beginning."""

    numbers: NDArray[np.float64]

    def take(self, count: int) -> NDArray[np.float64]:
        taken, self.numbers = self.numbers[:count], self.numbers[count:]
        if len(taken) < count:
            raise ValueError("there are too few coefficients for their own orders")
        return taken

    def count(self, most: int) -> int:
        value = float(self.take(1)[0])
        if not (value.is_integer() and 0 <= value <= most):
            raise ValueError(f"{value:g} is no order of the line spread function")
        return int(value)

    def polynomials(self, how_many: int) -> list[NDArray[np.float64]]:
        orders = [self.count(_MOST_ORDERS) for _ in range(how_many)]
        return [self.take(order + 1) for order in orders]

    def left(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class LineSpread:
    """The line spread function of one visit, pixel by pixel of its spectrum.

    ``wave``: vacuum Angstrom, increasing, ``(pixel,)``, as in the spectrum. ``chips``:
    detectors from blue to red, of equal numbers of pixels; ``pixels``: the pixel of its
    own detector that each pixel of the spectrum is.
    """

    wave: NDArray[np.float64]
    chips: Sequence[ChipProfile]
    pixels: NDArray[np.float64]

    def _parts(self):
        """Yield profile, wavelengths and detector pixels of each chip, blue to red."""
        size = len(self.wave) // len(self.chips)
        for number, chip in enumerate(self.chips):
            part = slice(number * size, (number + 1) * size)
            yield chip, self.wave[part], self.pixels[part]

    @property
    def fwhm(self) -> NDArray[np.float64]:
        """Full width at half maximum at every pixel, Angstrom."""
        return np.concatenate(
            [
                chip.fwhm(pixels) * np.abs(np.gradient(wave, pixels))
                for chip, wave, pixels in self._parts()
            ]
        )

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Sigma of the Gaussian of that full width, at every pixel, km/s."""
        return C_KMS * self.fwhm / self.wave / np.sqrt(8 * np.log(2))

    @property
    def resolution(self) -> NDArray[np.float64]:
        """Wavelength over full width at half maximum, at every pixel."""
        return self.wave / self.fwhm

    @property
    def centroid(self) -> NDArray[np.float64]:
        """How far the mean of the profile lies red of its center, km/s."""
        return np.concatenate(
            [
                C_KMS * chip.centroid(pixels) * np.gradient(wave, pixels) / wave
                for chip, wave, pixels in self._parts()
            ]
        )

    def matrix(self, wave: Numbers) -> csr_array:
        """Return the matrix that makes observed pixels of a finely sampled spectrum.

        Arguments:
            wave: vacuum Angstrom, increasing, ``(fine,)``; as observed, or shifted to
                where the lines are. Three samples or more a pixel.

        Returns ``(pixel, fine)``, of which every row sums to one: a constant flux
        density stays what it is. A row is empty where ``wave`` does not cover all of
        the profile.
        """
        wave = np.asarray(wave, np.float64)
        blocks = [_block(*part, wave) for part in self._parts()]
        return csr_array(vstack(blocks, format="csr"))


def line_spread_centroid(
    spreads: Mapping[int, LineSpread], nodes: int = 16
) -> pl.DataFrame:
    """Return where the mean of a line lies, against fiber and wavelength.

    Arguments:
        spreads: line spread functions by fiber (`survey.apogee.read_line_spread`).
        nodes: wavelengths on each detector, evenly over its pixels.

    Returns:
        One row a fiber and wavelength: ``fiber``, ``detector`` (0 is the bluest),
        ``wave`` (vacuum Angstrom), ``centroid`` (km/s, positive to the red of where the
        profile says that its center is), ``resolution``. A velocity that is measured with
        a symmetric profile is off by the mean of the centroids, weighted by what the
        lines tell (Saydjari et al. 2025, appendix A and figure 12).

    Raises:
        ValueError: no line spread function, or fewer than two nodes.
    """
    if not spreads or nodes < 2:
        raise ValueError(
            f"{len(spreads)} line spread functions at {nodes} wavelengths: give at least "
            "one, by its fiber, and two."
        )
    parts = []
    for fiber, spread in spreads.items():
        size = len(spread.wave) // len(spread.chips)
        at = np.linspace(0, size - 1, nodes).round().astype(int)
        chosen = (size * np.arange(len(spread.chips))[:, None] + at).ravel()
        parts.append(
            pl.DataFrame(
                {
                    "fiber": np.full(len(chosen), fiber, np.int64),
                    "detector": chosen // size,
                    "wave": spread.wave[chosen],
                    "centroid": spread.centroid[chosen],
                    "resolution": spread.resolution[chosen],
                }
            )
        )
    return pl.concat(parts)


def _block(
    chip: ChipProfile, wave: NDArray, pixels: NDArray, fine: NDArray
) -> csr_array:
    """Return the rows of one chip."""
    position = _extrapolated(fine, wave, pixels)
    reach = _REACH * chip.bin
    rising = pixels[-1] > pixels[0]
    x = position if rising else -position
    centers = pixels if rising else -pixels
    first = np.searchsorted(x, centers - reach)
    last = np.searchsorted(x, centers + reach, side="right")
    # A spectrum that does not cover a profile says nothing about the pixel.
    covered = (x[0] <= centers - reach) & (x[-1] >= centers + reach)
    counts = np.where(covered, last - first, 0)
    rows = np.repeat(np.arange(len(pixels)), counts)
    starts = np.cumsum(counts) - counts
    columns = np.arange(counts.sum()) - np.repeat(starts - first, counts)
    seen = chip(pixels[rows] - position[columns], position[columns])
    weights = seen * np.abs(np.gradient(position))[columns]
    total = np.bincount(rows, weights, minlength=len(pixels))
    weights /= np.where(total > 0, total, 1)[rows]
    return csr_array((weights, (rows, columns)), shape=(len(pixels), len(fine)))


def _extrapolated(fine: NDArray, wave: NDArray, pixels: NDArray) -> NDArray[np.float64]:
    """Return the pixel at which each of ``fine`` falls, on a line beyond the ends."""
    position = np.interp(fine, wave, pixels)
    for beyond, i, j in ((fine < wave[0], 0, 1), (fine > wave[-1], -1, -2)):
        slope = (pixels[j] - pixels[i]) / (wave[j] - wave[i])
        position[beyond] = pixels[i] + slope * (fine[beyond] - wave[i])
    return position
