"""Spectra as cubic B-splines on a logarithmic grid, and their least-squares fit.

A star's spectrum is ``T(x) = sum_k a_k B(x - k)`` with ``x`` the position on a
`LogGrid` in units of its step: a velocity moves every pixel by the same ``shift``, exact
and without interpolating any data.

Pixels are handed over once as they stand (`Pixels`) and sorted into the intervals of
the grid at every trial shift (`place`): interval ``k`` holds the few pixels that fall
between grid points ``k`` and ``k + 1``. All that follows is then slices and sums. A
pixel's position is an integer and a small fraction, and only the latter is moved:
float32 places a pixel to better than 1 m/s.

The fit of ``a`` to any number of exposures needs only the right-hand side
``sum w y B_j`` and the seven-diagonal matrix ``sum w B_j B_k``. These are also all that
is needed for chi squared at every whole-step shift at once (`chi2_at_lags`).
"""

__all__ = [
    "APART",
    "Lags",
    "NormalEquations",
    "Pixels",
    "Placed",
    "Transformed",
    "chi2_at_lags",
    "companion_at_lags",
    "curvature",
    "difference_bands",
    "evaluate",
    "evaluate_at",
    "keep_only",
    "line_forest_precision",
    "matvec",
    "normal_equations",
    "place",
    "solve",
]

from math import comb, factorial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

APART = 4
"""Grid steps: two copies of a template that are nearer than this, 1.2 times the width of
an unresolved line, are seen as one that is wider."""


class Pixels(eqx.Module):
    """One spectrum and where its pixels lie on the grid.

    ``index + fraction`` is the position of each pixel in grid steps, increasing;
    ``inverse[k]`` is the (fractional) pixel number at grid point ``k``. ``weight`` is
    the inverse variance of ``value``, zero where a pixel does not count.
    """

    index: Int[Array, " pixel"]
    fraction: Float[Array, " pixel"]
    inverse: Float[Array, " knot"]
    value: Float[Array, " pixel"]
    weight: Float[Array, " pixel"]


class Placed(eqx.Module):
    """Pixels sorted into the intervals of the grid: row ``s`` has each interval's s-th.

    ``u`` is the place within the interval, 0 to 1. Empty places have ``weight`` 0.
    """

    u: Float[Array, "slot knot"]
    value: Float[Array, "slot knot"]
    weight: Float[Array, "slot knot"]


class NormalEquations(eqx.Module):
    """``bands[k, j] = sum w B_j B_(j+k)`` and ``rhs[j] = sum w y B_j``."""

    bands: Float[Array, "4 knot"]
    rhs: Float[Array, " knot"]


def place(pixels: Pixels, shift: Float[Array, ""], slots: int) -> Placed:
    """Sort the pixels, moved by ``-shift`` grid steps, into the intervals of the grid.

    ``slots`` is the largest number of pixels that one interval can hold. Each pixel is
    placed exactly once; those within three intervals of the ends, where the spline has
    not all of its four terms, are left out.
    """
    size, number = pixels.inverse.size, pixels.value.size
    whole = jnp.floor(shift)
    padded = jnp.pad(pixels.inverse, size // 2, mode="edge")
    moved = jax.lax.dynamic_slice(
        padded, (size // 2 + whole.astype(pixels.index.dtype),), (size + 1,)
    )
    border = moved[:-1] + (shift - whole) * (moved[1:] - moved[:-1])
    first = jnp.clip(jnp.ceil(border), 0.0, float(number)).astype(pixels.index.dtype)
    knot = jnp.arange(size, dtype=pixels.index.dtype)
    last = jnp.append(first[1:], first[-1:])
    inside = (knot >= 1) & (knot <= size - 3)
    wanted = first[None, :] + jnp.arange(slots, dtype=first.dtype)[:, None]
    held = (wanted < last[None, :]) & inside[None, :]
    at = jnp.minimum(wanted, number - 1)
    steps = (pixels.index[at] - knot[None, :]).astype(shift.dtype)
    u = steps + (pixels.fraction[at] - shift)
    return Placed(
        u=jnp.where(held, u, 0),
        value=jnp.where(held, pixels.value[at], 0),
        weight=jnp.where(held, pixels.weight[at], 0),
    )


def keep_only(placed: Placed, kept: Bool[Array, "slot knot"]) -> Placed:
    """Take the weight of all pixels but ``kept``."""
    return Placed(placed.u, placed.value, jnp.where(kept, placed.weight, 0))


def _weights(u):
    """Return the four B-splines that reach into an interval, at ``u``."""
    v = 1 - u
    return (
        v**3 / 6,
        (3 * u**3 - 6 * u**2 + 4) / 6,
        (3 * v**3 - 6 * v**2 + 4) / 6,
        u**3 / 6,
    )


def _slope_weights(u):
    v = 1 - u
    return (-(v**2) / 2, (3 * u**2 - 4 * u) / 2, (4 * v - 3 * v**2) / 2, u**2 / 2)


def _curve_weights(u):
    return (1 - u, 3 * u - 2, 1 - 3 * u, u)


def _combine(coefficients, weights):
    padded = jnp.pad(coefficients, (1, 2))
    taps = [padded[k : k + coefficients.size] for k in range(4)]
    return jnp.asarray(sum(t[None, :] * w for t, w in zip(taps, weights, strict=True)))


def evaluate(
    coefficients: Float[Array, " knot"], u: Float[Array, "slot knot"]
) -> tuple[Float[Array, "slot knot"], Float[Array, "slot knot"]]:
    """Return the spline and its slope (per grid step) at ``u`` of every interval."""
    return _combine(coefficients, _weights(u)), _combine(
        coefficients, _slope_weights(u)
    )


def evaluate_at(
    coefficients: Float[Array, " knot"],
    index: Int[Array, " pixel"],
    u: Float[Array, " pixel"],
) -> tuple[Float[Array, " pixel"], Float[Array, " pixel"]]:
    """Return the spline and its slope at places ``index + u`` in any order.

    Beyond the ends of the grid both are zero. Slower than `evaluate`, which has its
    pixels sorted.
    """
    taps = index[None, :] + jnp.arange(-1, 3, dtype=index.dtype)[:, None]
    inside = (taps >= 0) & (taps < coefficients.size)
    taken = coefficients[jnp.clip(taps, 0, coefficients.size - 1)]
    taken = jnp.where(inside, taken, 0)
    value = (taken * jnp.stack(_weights(u))).sum(0)
    return value, (taken * jnp.stack(_slope_weights(u))).sum(0)


def curvature(
    coefficients: Float[Array, " knot"], u: Float[Array, "slot knot"]
) -> Float[Array, "slot knot"]:
    """Return the spline's second derivative (per grid step squared)."""
    return _combine(coefficients, _curve_weights(u))


def normal_equations(placed: Placed) -> NormalEquations:
    """Accumulate one spectrum's least-squares problem for the coefficients."""
    w = _weights(placed.u)
    weighted = [placed.weight * x for x in w]

    def moved(terms, by):
        # The term a of interval k belongs to coefficient k - 1 + a.
        return jnp.pad(terms.sum(0), (2, 4))[3 - by : 3 - by + terms.shape[1]]

    rhs = sum(moved(weighted[a] * placed.value, a) for a in range(4))
    bands = [
        sum(moved(weighted[a] * w[a + k], a) for a in range(4 - k)) for k in range(4)
    ]
    return NormalEquations(jnp.stack(bands), jnp.asarray(rhs))


def matvec(
    bands: Float[Array, "4 knot"], vector: Float[Array, " knot"]
) -> Float[Array, " knot"]:
    """Multiply the symmetric seven-diagonal matrix by ``vector``."""
    result = bands[0] * vector
    for k in range(1, 4):
        upper = bands[k, :-k]
        result = result + jnp.pad(upper * vector[k:], (0, k))
        result = result + jnp.pad(upper * vector[:-k], (k, 0))
    return result


def difference_bands(size: int, order: int) -> Float[np.ndarray, "4 knot"]:
    """Return ``D.T @ D`` for the ``order``-th difference ``D`` (0 to 3), as bands."""
    stencil = np.array([(-1.0) ** k * comb(order, k) for k in range(order + 1)])
    bands = np.zeros((4, size))
    for i in range(order + 1):
        for k in range(order + 1 - i):
            bands[k, i : i + size - order] += stencil[i] * stencil[i + k]
    return bands


def line_forest_precision(size: int, width: float) -> Float[np.ndarray, "4 knot"]:
    """Return the prior precision of a spectrum of unit variance, as bands.

    The prior: a forest of unresolved lines seen through a Gaussian line spread function
    of standard deviation ``width`` grid steps. Its power spectrum is
    ``2 sqrt(pi) width exp(-(width omega)^2)``; the inverse is expanded to third order in
    ``omega^2``, each power of which is one order of differences.
    """
    terms = [
        width ** (2 * m) / factorial(m) * difference_bands(size, m) for m in range(4)
    ]
    return sum(terms) / (2 * np.sqrt(np.pi) * width)


def solve(
    bands: Float[Array, "4 knot"], rhs: Float[Array, " knot"]
) -> Float[Array, " knot"]:
    """Solve ``matrix @ x = rhs`` for a positive definite matrix given as bands.

    By factorizing into ``L D L.T`` row by row, which is exact; the work grows linearly.
    """
    # Row j of the lower triangle: the entries at columns j-1, j-2 and j-3.
    below = jnp.stack([jnp.pad(bands[k, :-k], (k, 0)) for k in (1, 2, 3)], axis=-1)
    zero = jnp.zeros((), bands.dtype)
    one = jnp.ones((), bands.dtype)

    def eliminate(carry, row):
        (d1, d2, d3), (p1, p2, q1), (z1, z2, z3) = carry
        diagonal, (a1, a2, a3), b = row
        l3 = a3 / d3
        l2 = (a2 - l3 * d3 * q1) / d2
        l1 = (a1 - l2 * d2 * p1 - l3 * d3 * p2) / d1
        d = diagonal - l1**2 * d1 - l2**2 * d2 - l3**2 * d3
        z = b - l1 * z1 - l2 * z2 - l3 * z3
        return ((d, d1, d2), (l1, l2, p1), (z, z1, z2)), (
            z / d,
            jnp.stack([l1, l2, l3]),
        )

    start = ((one, one, one), (zero, zero, zero), (zero, zero, zero))
    _, (scaled, lower) = jax.lax.scan(eliminate, start, (bands[0], below, rhs))

    # Back substitution needs, at row j, the factor's entries in column j.
    columns = jnp.stack([jnp.pad(lower[k:, k - 1], (0, k)) for k in (1, 2, 3)], axis=-1)

    def substitute(carry, row):
        x1, x2, x3 = carry
        value, (c1, c2, c3) = row
        x = value - c1 * x1 - c2 * x2 - c3 * x3
        return (x, x1, x2), x

    _, x = jax.lax.scan(substitute, (zero, zero, zero), (scaled, columns), reverse=True)
    return x


class Lags(NamedTuple):
    """All whole shifts from ``-reach`` to ``reach`` of templates of ``size`` knots.

    What is a correlation at every lag is a product of transforms; sums of correlations
    are transformed back once.
    """

    size: int
    reach: int

    @property
    def length(self) -> int:
        """Power of two that no lag wraps around in."""
        return 1 << (self.size + 2 * self.reach - 1).bit_length()

    def transform(self, values: Float[Array, "*row knot"]) -> Array:
        """Return the Fourier transforms along the knots."""
        return jnp.fft.rfft(values, self.length)

    def back(self, transformed: Array) -> Float[Array, "*row lag"]:
        """Return the correlations at ``2 reach + 1`` lags, the most negative first."""
        curve = jnp.fft.irfft(transformed, self.length)
        blue = curve[..., self.length - self.reach :]
        return jnp.concatenate([blue, curve[..., : self.reach + 1]], -1)

    def transformed(self, templates: Float[Array, "*row knot"]) -> "Transformed":
        """Return what correlations with ``templates`` need of them."""
        products = [
            self.transform(templates[..., : self.size - k] * templates[..., k:])
            for k in range(4)
        ]
        products = jnp.stack(products, axis=-2)
        return Transformed(self.transform(templates).conj(), products.conj())

    def squares(self, bands: Float[Array, "4 knot"], template: "Transformed") -> Array:
        """Return the transform of ``a_k . M a_k``, with ``a_k`` the shifted template."""
        share = self.transform(bands) * template.products
        return share[0] + 2 * (share[1] + share[2] + share[3])


class Transformed(NamedTuple):
    """Conjugate transforms of templates and of their products with their neighbors.

    Those of many spectra's templates are made once: ``lines``, ``(*row, frequency)``,
    and ``products``, ``(*row, 4, frequency)``.
    """

    lines: Any
    products: Any


def chi2_at_lags(
    spectrum: NormalEquations,
    template: Float[Array, " knot"],
    reach: int,
) -> Float[Array, " lag"]:
    """Return chi squared, less that of no template, at every whole shift.

    ``spectrum`` holds the normal equations of one exposure at shift zero. Entry ``i`` is
    the shift ``i - reach`` grid steps, ``2 reach + 1`` in all. Exact:
    ``chi2(k) = -2 b . a_k + a_k . M a_k`` with ``a_k`` the shifted coefficients.
    """
    lags = Lags(template.size, reach)
    seen = lags.transformed(template)
    linear = lags.transform(spectrum.rhs) * seen.lines
    return lags.back(lags.squares(spectrum.bands, seen) - 2 * linear)


def _central(values):
    """Central differences, zero beyond the ends."""
    padded = jnp.pad(values, 1)
    return (padded[2:] - padded[:-2]) / 2


def companion_at_lags(
    spectrum: NormalEquations,
    template: Float[Array, " knot"],
    reach: int,
    apart: int = APART,
    model: Float[Array, " knot"] | None = None,
) -> tuple[Float[Array, " lag"], Float[Array, " lag"]]:
    """Look for a second copy of ``template`` in what is left of a spectrum.

    Arguments:
        spectrum: normal equations of one exposure, placed at its shift.
        template: coefficients of the star's lines.
        reach: the second copy is searched from ``-reach`` to ``reach`` grid steps.
        apart: nearer than this it cannot be told from a change of the first.
        model: what is taken off the spectrum; the template if it is not given.

    Returns:
        At every lag the fall of chi squared that a second copy of free strength brings,
        and that strength, at most 1 where the two are alike; zero where it would be
        negative. A template that is too deep, misplaced or too sharp also leaves
        residuals: the fall is what those three cannot bring.
    """
    model = template if model is None else model
    left = spectrum.rhs - matvec(spectrum.bands, model)
    slope = _central(template)
    changes = jnp.stack([template, slope, _central(slope)])
    images = jax.vmap(lambda a: matvec(spectrum.bands, a))(changes)
    normal = changes @ images.T
    # A template without lines has no changes either: nothing to project out.
    normal = normal + 1e-6 * jnp.trace(normal) * jnp.eye(3, dtype=normal.dtype)
    normal = jnp.where(jnp.trace(normal) > 0, normal, jnp.eye(3, dtype=normal.dtype))
    left = left - jnp.linalg.solve(normal, changes @ left) @ images

    lags = Lags(template.size, reach)
    seen = lags.transformed(template)
    linear = lags.back(lags.transform(left) * seen.lines)
    shared = lags.back(lags.transform(images) * seen.lines[None])
    norm = lags.back(lags.squares(spectrum.bands, seen))
    own = norm - (shared * jnp.linalg.solve(normal, shared)).sum(0)
    lag = jnp.abs(jnp.arange(2 * reach + 1) - reach)
    # What is nearly a change of the first copy holds no evidence for a second one.
    usable = (own > 0.1 * norm) & (linear > 0) & (lag >= apart)
    safe = jnp.where(usable, own, 1)
    return jnp.where(usable, linear**2 / safe, 0), jnp.where(usable, linear / safe, 0)
