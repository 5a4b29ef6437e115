"""How much dust is in front of a star: E(B-V) from its colors.

A star of known temperature has known colors; dust makes it redder in each by a known
factor. In magnitudes of the bands b, relative to each other,

    m_b = mu + I_b(Teff, log g, [Fe/H]) + A_b(Teff, E) + noise_b + v_b x + u_b y

where mu is the brightness that all bands share, I_b the intrinsic magnitudes
(`steadystar.models.intrinsic_colors`), A_b the extinction (`steadystar.models.dust`), and
x and y are numbers of unit variance that say by how many of their errors the temperature
and R_V are wrong; v_b and u_b are what one such error does. Two methods find E:

- ``joint``: generalized least squares for mu and E. The bands' covariance is diagonal
  plus v v^T plus u u^T. As mu is free, this is the best average of all colors, adjacent or
  not, with the covariance that colors have when they share a band, a temperature or a law
  of dust. A_b bends with E (wide bands), so it is solved four times over. A band that fits
  the others badly is left out, one at a time, if four or more are there to tell which it
  is.
- ``published``: Xiang et al. (2021, section 4). Colors of adjacent bands of one survey
  (g-r, r-i, ...; BP-RP; J-H); each over the difference of its coefficients gives one
  E(B-V); they are averaged with weights 1/(s1^2 + s2^2), the errors of the color, at
  least 0.014 mag. All colors count by their own error only, so that one of little leverage
  (J-H: a third of a magnitude a magnitude of E) counts as much as one of much; the error
  of the temperature is in nothing. The coefficients are those of a star of 20 000 K.

Ks is left out unless asked for: disks of stars with emission shine in it. A negative
E(B-V) is what noise makes of no dust; it is kept.
"""

__all__ = ["ExtinctionOptions", "estimate_extinction"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.reddening import Solution, solve
from steadystar.models.dust import Dust, dust, extinction_coefficients
from steadystar.models.intrinsic_colors import IntrinsicColors, intrinsic_colors
from steadystar.models.passbands import BANDS
from steadystar.survey.columns import numbers

Array = NDArray[np.float64]

METHODS = ("joint", "published")
_AT_ONCE = 100_000
_RV_STEP = 0.2

_ADJACENT = (
    *(("u_sdss", "g_sdss"), ("g_sdss", "r_sdss"), ("r_sdss", "i_sdss")),
    *(("i_sdss", "z_sdss"), ("g_ps", "r_ps"), ("r_ps", "i_ps"), ("i_ps", "z_ps")),
    *(("z_ps", "y_ps"), ("b", "v"), ("bp", "rp"), ("j", "h"), ("h", "ks")),
)
"""Colors of the published method: adjacent bands of one survey."""


@dataclass(frozen=True)
class ExtinctionOptions:
    """How E(B-V) is estimated from colors."""

    method: Annotated[
        str,
        "joint: all bands with their covariance; published: the plain weighted mean of "
        "adjacent colors of Xiang et al. (2021).",
    ] = "joint"
    bands: Annotated[
        tuple[str, ...],
        "Bands to use; none named: all that the table has.",
    ] = ()
    use_ks: Annotated[
        bool,
        "Use Ks, in which disks of stars with emission shine, when no bands are named.",
    ] = False
    r_v: Annotated[float, "A_V / E(B-V) of the dust, 2 to 6."] = 3.1
    r_v_err: Annotated[
        float,
        "How far R_V scatters from star to star (Schlafly et al. 2016: 0.18); joint only.",
    ] = 0.18
    floor: Annotated[
        float,
        "Least error of a color, mag (Xiang et al. 2021: 0.014); that of a band is this "
        "over the root of 2.",
    ] = 0.014
    intrinsic_err: Annotated[
        float,
        "How far the true magnitudes of stars of one temperature scatter, a band, mag; "
        "joint only.",
    ] = 0.01
    teff_err_fraction: Annotated[
        float, "Error of the temperature, as a fraction, where teff_err is missing."
    ] = 0.03
    reject: Annotated[
        float, "How many sigma a band may lie off the others before it is left out."
    ] = 5.0
    colors: Annotated[
        str,
        "File of intrinsic colors (isochrones or a sequence); none: the dwarfs that come "
        "with steadystar.",
    ] = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"{self.method!r} is no method of extinction: choose one of "
                f"{', '.join(METHODS)}."
            )
        odd = [band for band in self.bands if band not in BANDS]
        if odd:
            raise ValueError(
                f"{', '.join(odd)} cannot be used for the extinction: bands are named "
                f"{', '.join(BANDS)}."
            )
        for name in ("r_v_err", "floor", "intrinsic_err", "teff_err_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is no error: give a number from 0 "
                    "to below 1."
                )
        if self.floor == 0 and self.method == "published":
            raise ValueError(
                "floor = 0 lets a color without an error have all the weight: give a "
                "number above 0, such as 0.014."
            )
        if not self.reject > 0:
            raise ValueError(
                f"reject = {self.reject} would leave out every band: give a number of "
                "sigma above 0, inf to keep them all."
            )


def estimate_extinction(
    table: pl.DataFrame, options: ExtinctionOptions | None = None
) -> pl.DataFrame:
    """Return ``table`` with the reddening of each row.

    ``table`` has ``teff`` (K), perhaps ``teff_err, logg, feh``, and magnitudes under the
    names of `steadystar.models.passbands.BANDS` with ``BAND_err``. Rows and order stay.
    Added, or replaced: ``ebv, ebv_err`` (mag), ``n_colors`` (independent colors used),
    ``ebv_chi2`` (of the bands about the fit, with ``n_colors - 1`` degrees of freedom),
    ``bands_rejected`` (names, separated by blanks) and ``extinction_status``: empty, or a
    sentence that says why there is no E(B-V) or why to doubt it.

    Raises:
        ValueError: no column ``teff``, or no two bands that have intrinsic colors.
    """
    options = ExtinctionOptions() if options is None else options
    known = (
        IntrinsicColors.load(options.colors) if options.colors else intrinsic_colors()
    )
    bands = _bands(table, options, known)
    parts = [
        _estimate(table.slice(start, _AT_ONCE), bands, known, options)
        for start in range(0, max(len(table), 1), _AT_ONCE)
    ]
    return table.with_columns(pl.concat(parts).get_columns())


def _bands(table: pl.DataFrame, options: ExtinctionOptions, known) -> list[str]:
    if "teff" not in table.columns:
        raise ValueError(
            "The table has no column teff: E(B-V) is the excess over the colors of a star "
            "of known temperature; add teff (K), as spectra or spectral types give it."
        )
    wanted = options.bands or tuple(
        band for band in BANDS if options.use_ks or band != "ks"
    )
    bands = [b for b in wanted if b in table.columns and b in known.bands]
    if len(bands) < 2:
        raise ValueError(
            f"The table has {' and '.join(bands) or 'none'} of the bands "
            f"{', '.join(wanted)} for which {known.name} has colors: at least two are "
            "needed, such as bp and rp."
        )
    return bands


def _estimate(
    table: pl.DataFrame, bands: Sequence[str], known, options: ExtinctionOptions
) -> pl.DataFrame:
    teff = numbers(table, "teff")
    error = numbers(table, "teff_err")
    usable = np.isfinite(error) & (error >= 0)
    error = np.where(usable, error, options.teff_err_fraction * teff)
    labels = [numbers(table, name) for name in ("logg", "feh")]
    labels = [
        np.where(np.isfinite(x), x, y) for x, y in zip(labels, (4.0, 0.0), strict=True)
    ]
    magnitude = np.stack([numbers(table, band) for band in bands], axis=1)
    band_err = np.stack([numbers(table, f"{band}_err") for band in bands], axis=1)
    stars = _Stars(known, bands, teff, error, labels)
    intrinsic = stars.intrinsic(teff)
    usable = (
        np.isfinite(magnitude - intrinsic) & np.isfinite(band_err) & (band_err >= 0)
    )
    magnitude = np.where(usable, magnitude, np.nan)
    if options.method == "joint":
        found = _joint(magnitude, band_err, stars, options)
    else:
        found = _published(magnitude - intrinsic, band_err, bands, options)
    return _table(found, stars, intrinsic, usable)


def _joint(magnitude: Array, band_err: Array, stars: "_Stars", options) -> Solution:
    """Solve for E(B-V) by generalized least squares."""
    scatter = np.maximum(band_err, options.floor / np.sqrt(2))
    scatter = np.hypot(scatter, options.intrinsic_err)
    law = _Law(dust(options.r_v), stars.bands, stars.teff)
    excess = magnitude - stars.intrinsic(stars.teff)
    common = [stars.slope()]
    found = solve(excess, scatter, common, law, options.reject)
    if options.r_v_err == 0:
        return found
    # What an error of R_V does grows with E, which is known well enough by now.
    near = np.maximum(np.nan_to_num(found.ebv), 0)
    common.append(_law_error(options, stars, near))
    return solve(excess, scatter, common, law, options.reject, near)


def _law_error(options: ExtinctionOptions, stars: "_Stars", ebv: Array) -> Array:
    """Return what one error of R_V does to each band at ``ebv``, mag."""
    rows = np.arange(len(ebv))
    low, high = max(options.r_v - _RV_STEP, 2.0), min(options.r_v + _RV_STEP, 6.0)
    up, down = (
        _Law(dust(r_v), stars.bands, stars.teff)(ebv, rows) for r_v in (high, low)
    )
    return (up - down) / (high - low) * options.r_v_err


@dataclass(frozen=True, eq=False)
class _Stars:
    """Rows of stars with what their intrinsic magnitudes depend on."""

    known: IntrinsicColors
    bands: Sequence[str]
    teff: Array
    error: Array
    labels: Sequence[Array]

    def intrinsic(self, teff: Array) -> Array:
        """Return intrinsic magnitudes relative to the first band, ``(star, band)``."""
        each = [
            self.known.color(band, self.bands[0], teff, *self.labels)
            for band in self.bands
        ]
        return np.stack(each, axis=1)

    def slope(self) -> Array:
        """Return what one error of the temperature does to each band, mag.

        It is half the difference between one error hotter and one cooler, which says what
        the error does even where colors bend; at an end of the models the step is shorter.
        """
        low, high = self.known.teff_range
        hot = np.clip(self.teff + self.error, low, high)
        cool = np.clip(self.teff - self.error, low, high)
        apart = np.where(hot > cool, hot - cool, np.inf)
        change = self.intrinsic(hot) - self.intrinsic(cool)
        return np.nan_to_num(change * (self.error / apart)[:, None])


@dataclass(frozen=True, eq=False)
class _Law:
    """The extinction of rows of stars in their bands, as a function of E(B-V)."""

    dust: Dust
    bands: Sequence[str]
    teff: Array

    def __call__(self, ebv: Array, rows: NDArray[np.intp]) -> Array:
        teff = self.teff[rows]
        teff = np.where(np.isfinite(teff) & (teff > 0), teff, 20_000.0)
        return np.stack(
            [self.dust.magnitudes(band, teff, ebv) for band in self.bands], axis=1
        )


def _published(excess, band_err, bands, options: ExtinctionOptions) -> Solution:
    """Average the adjacent colors as Xiang et al. (2021) do."""
    factor = extinction_coefficients(20_000.0, options.r_v)
    index = {band: i for i, band in enumerate(bands)}
    pairs = [p for p in _ADJACENT if p[0] in index and p[1] in index]
    if not pairs:
        raise ValueError(
            f"No two of the bands {', '.join(bands)} are adjacent in one survey, as the "
            "published method wants them: add such a pair (bp and rp, j and h), or "
            "choose the joint method."
        )
    first = [index[a] for a, _ in pairs]
    second = [index[b] for _, b in pairs]
    lever = np.array([factor[a] - factor[b] for a, b in pairs])
    each = (excess[:, first] - excess[:, second]) / lever
    error = np.hypot(band_err[:, first], band_err[:, second])
    error = np.maximum(error, options.floor)
    there = np.isfinite(each)
    weight = np.where(there, 1 / error**2, 0.0)
    total = weight.sum(axis=1)
    alone = np.where(total > 0, total, np.nan)
    ebv = (weight * np.where(there, each, 0)).sum(axis=1) / alone
    var = (weight**2 * np.where(there, (error / lever) ** 2, 0)).sum(axis=1) / alone**2
    off = np.where(there, (each - ebv[:, None]) * lever / error, 0.0)
    none = np.zeros_like(excess, bool)
    chi2 = np.where(total > 0, (off**2).sum(axis=1), np.nan)
    count = there.sum(axis=1)
    return Solution(ebv, np.sqrt(var), count, chi2, none)


def _table(found: Solution, stars: _Stars, intrinsic, usable) -> pl.DataFrame:
    names, teff = np.array(stars.bands, object), stars.teff
    rejected = [" ".join(names[row]) if row.any() else "" for row in found.rejected]
    status = np.full(len(teff), "", object)
    low, high = stars.known.teff_range
    for bad, words in (
        (found.far_off, "The bands disagree by more than their errors allow."),
        (
            usable.sum(axis=1) < 2,
            "Fewer than two bands have a magnitude and its error.",
        ),
        (
            ~np.isfinite(found.ebv) & (usable.sum(axis=1) >= 2),
            "No two adjacent bands have a magnitude and its error.",
        ),
        (
            np.isfinite(teff) & ~np.isfinite(intrinsic).any(axis=1),
            "There are no intrinsic colors for this star's labels "
            + f"({low:.0f} to {high:.0f} K are known).",
        ),
        (~np.isfinite(teff) | (teff <= 0), "The star's temperature is not known."),
    ):
        status[bad] = words
    return pl.DataFrame(
        {
            "ebv": found.ebv,
            "ebv_err": found.ebv_err,
            "n_colors": found.n_colors.astype(np.int64),
            "ebv_chi2": found.chi2,
            "bands_rejected": rejected,
            "extinction_status": pl.Series(status.tolist(), dtype=pl.String),
        }
    )
