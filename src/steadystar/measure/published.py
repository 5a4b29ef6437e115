"""The published relative velocity (Xiong et al. 2021, section 3.1).

A star's exposure with the highest S/N is its reference, per arm. For every other exposure

    ln p(v) = sum [ -(f_t(v) - f_ref)^2 / (2 (s_t^2 + s_ref^2))
                    - ln(s_t^2 + s_ref^2) / 2 - ln(2 pi) / 2 ]

is sampled in ``v``; the velocity is that of the peak and the error the standard deviation
of the Gaussian that fits ``p(v)`` best. The paper does not say how spectra are
interpolated. Noisy pixels interpolated lose variance by an amount that depends on the
sub-pixel shift, and a likelihood made of them is drawn to half pixels: so the reference,
the better of the two, is what is shifted, as the spline that fits it best.
"""

__all__ = ["PublishedFit", "match_references"]

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from steadystar.kernels import spline
from steadystar.kernels.minimum import gaussian_peak, parabolic_minimum
from steadystar.measure.normalize import PixelBatch

_TRIAL_STEP = 0.1
_TRIALS = 61


class PublishedFit(NamedTuple):
    """Arrays over exposures: shift and its standard deviation in grid steps."""

    shift: Float[Array, " exposure"]
    sigma: Float[Array, " exposure"]
    chi2: Float[Array, " exposure"]
    n_good: Float[Array, " exposure"]
    flags: Int[Array, " exposure"]


@partial(jax.jit, static_argnames=("slots", "reach"))
def match_references(
    pixels: PixelBatch,
    reference: PixelBatch,
    precision: Float[Array, "4 knot"],
    *,
    slots: int,
    reach: int,
) -> PublishedFit:
    """Measure exposures against their references, row by row.

    ``precision`` is the prior of the spline that stands for the reference, weak enough
    to bridge masked pixels only.
    """

    def one(pixels, reference):
        zero = jnp.zeros((), pixels.value.dtype)
        variance = jnp.where(reference.weight > 0, 1 / reference.weight, 0)
        seen = (reference.weight > 0).astype(zero.dtype)

        def fit(value, weight):
            equations = spline.normal_equations(
                spline.place(
                    spline.Pixels(
                        reference.index,
                        reference.fraction,
                        reference.inverse,
                        value,
                        weight,
                    ),
                    zero,
                    slots,
                )
            )
            return spline.solve(equations.bands + precision, equations.rhs)

        lines = fit(reference.value, reference.weight)
        noise = fit(variance, seen)
        coverage = fit(seen, jnp.ones_like(seen))

        at_rest = spline.normal_equations(spline.place(pixels, zero, slots))
        curve = spline.chi2_at_lags(at_rest, lines, reach)
        coarse = parabolic_minimum(curve)
        found = jnp.where(
            jnp.isnan(coarse.position),
            jnp.argmin(curve).astype(curve.dtype),
            coarse.position,
        )
        center = (found - reach).astype(zero.dtype)
        half = _TRIALS // 2

        def log_p(trial):
            placed = spline.place(pixels, center + (trial - half) * _TRIAL_STEP, slots)
            model, _ = spline.evaluate(lines, placed.u)
            extra, _ = spline.evaluate(noise, placed.u)
            covered, _ = spline.evaluate(coverage, placed.u)
            good = (placed.weight > 0) & (covered > 0.5)
            total = 1 / jnp.where(good, placed.weight, 1) + jnp.maximum(extra, 0)
            total = jnp.where(good, total, 1)
            square = jnp.where(good, (placed.value - model) ** 2 / total, 0)
            terms = -square / 2 - jnp.where(good, jnp.log(2 * jnp.pi * total) / 2, 0)
            return (
                terms.sum(dtype=jnp.float64),
                square.sum(dtype=jnp.float64),
                good.sum(dtype=jnp.float64),
            )

        values, chi2, n_good = jax.lax.map(log_p, jnp.arange(_TRIALS, dtype=zero.dtype))
        # A pixel that comes or goes with the shift must not count for or against it.
        values = values / n_good * n_good.max()
        peak = gaussian_peak(values)
        best = jnp.argmax(values)
        return PublishedFit(
            shift=center.astype(jnp.float64) + (peak.position - half) * _TRIAL_STEP,
            sigma=peak.sigma * _TRIAL_STEP,
            chi2=chi2[best],
            n_good=n_good[best],
            flags=coarse.status | peak.status,
        )

    return jax.vmap(one)(
        jax.vmap(spline.Pixels)(*pixels), jax.vmap(spline.Pixels)(*reference)
    )
