"""Stars that are too bright for their spectra: unresolved pairs.

The spectrum tells the magnitude of the brighter star; a companion of nearly its mass adds
up to 0.753 mag to what photometry sees. Such a pair seems nearer by its magnitudes than
by its parallax (Xiang et al. 2021, section 6; parallaxes in mas):

    plx_spec = 10^(0.2 (M_Ks - Ks + A_K + 10))
    err_spec = 0.2 ln(10) plx_spec sigma
    snr_dparallax = (plx_spec - parallax) / sqrt(err_spec^2 + parallax_error^2)

sigma is the error of the modulus, to which m_ks_err, ks_err and that of A_K add up. The
published flag is snr_dparallax > 2. Beyond it, `steadystar.infer.pair_mixture` learns how
common pairs are, and says of each star how likely it is one.
"""

__all__ = ["find_overluminous", "flag_of", "learn_pairs", "parallax_excess"]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.distance_components import batches, likelihoods
from steadystar.infer.distance_inputs import Measured, measured
from steadystar.infer.distance_options import DistanceOptions
from steadystar.infer.pair_mixture import Mixture, fit_pairs, shares_of

Vector = NDArray[np.float64]


def parallax_excess(data: Measured) -> Vector:
    """Return snr_dparallax, NaN where parallax or magnitude is unknown."""
    expected = 10 ** (0.2 * (10 - data.modulus))
    error = 0.2 * np.log(10) * expected * data.width
    return (expected - data.parallax) / np.hypot(error, data.error)


def flag_of(excess: Vector, sigma: float) -> NDArray[np.int64]:
    """Return the published flag: 1 beyond ``sigma``, 0 if not, -1 unknown."""
    return np.where(np.isfinite(excess), excess > sigma, -1).astype(np.int64)


def find_overluminous(
    table: pl.DataFrame, options: DistanceOptions | None = None
) -> pl.DataFrame:
    """Return ``table`` with ``snr_dparallax, binary_flag, p_binary`` beside its columns.

    The columns that `steadystar.infer.distance.estimate_distances` needs, and the same
    numbers, without the distances. Columns of these names are replaced.

    Raises:
        CatalogError: a column is missing, or holds no numbers.
    """
    options = options or DistanceOptions()
    data = measured(table, options)
    excess = parallax_excess(data)
    mixture = learn_pairs(data, table["star_id"], options)
    single = data.shifted(mixture.zero)
    probability = np.full(len(table), np.nan)
    for rows in batches(np.flatnonzero(np.isfinite(excess))):
        shares = shares_of(likelihoods(single[rows], options.slope)[0], mixture)
        probability[rows] = shares[:, 1:-1].sum(axis=1)
    return table.with_columns(
        pl.Series("snr_dparallax", excess),
        pl.Series("binary_flag", flag_of(excess, options.flag_sigma)),
        pl.Series("p_binary", probability),
    )


def learn_pairs(
    data: Measured, star_id: pl.Series, options: DistanceOptions
) -> Mixture:
    """Return how common pairs are among the stars with both parallax and magnitude.

    A star in n rows counts once. Of more than ``options.fit_rows`` rows, that many are
    used, spread evenly over the table.
    """
    both = np.flatnonzero(data.has_modulus & data.has_parallax)
    if len(both) > options.fit_rows:
        both = both[np.linspace(0, len(both) - 1, options.fit_rows).astype(int)]
    names = star_id.gather(both)
    times = names.to_frame("id").select(pl.len().over("id"))["len"].to_numpy()
    weight = np.where(names.is_null().to_numpy(), 1.0, 1.0 / np.maximum(times, 1))
    data = data[both]
    # A fifth of how well a modulus is known: ln L is a parabola within.
    known = np.hypot(data.width, 2.17 * data.error / np.maximum(data.parallax, 1e-3))
    step = 0.2 * float(np.clip(np.median(known), 0.05, 0.5)) if len(both) else 0.05
    found, units = np.ones((3, len(both), 14)), np.zeros((3, len(both)))
    for shift in range(3):
        moved = data.shifted((shift - 1) * step)
        for rows in batches(np.arange(len(both))):
            found[shift, rows], units[shift, rows] = likelihoods(
                moved[rows], options.slope
            )
    # One unit for all three, or the shifts could not be compared.
    found *= np.exp(np.clip(units - units[1], -300, 300))[:, :, None]
    return fit_pairs(found, step, weight, options.pair_fraction)
