"""A spectrum and its derivatives from labels, rotation, line spread and velocity.

Without noise and pixels a star's spectrum is a polynomial in its labels at each of the
model's own wavelengths, clipped to the range that lines can have, and linear between
them. Everything between the star and the detector is then a product in Fourier space:
the rotation of a limb-darkened disk (Gray 2008, equation 18.14, transformed), a Gaussian
line spread function, the shift by a velocity, and the change to coefficients of cubic
B-splines on a coarser grid (`kernels.spline`), on which spectra are compared. All
derivatives come with it: a star costs one transform forward for each label and one back
for each parameter.

The grid is periodic; what wraps around at its ends is not used.
"""

__all__ = [
    "ROTATION_UNIT",
    "Emulator",
    "Parameters",
    "Seen",
    "emulate",
    "lines_of",
    "rotation",
]

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import j1

from steadystar.data.constants import LIMB_DARKENING

ROTATION_UNIT = 20.0
"""km/s: rotation enters as ``(v sin i / 20)**2``, in which spectra are analytic."""
_TABLE_STEP, _TABLE_SIZE = 0.05, 8192


class Emulator(eqx.Module):
    """One polynomial in the labels, on one grid.

    ``theta``: coefficients at the model's own wavelengths, ``(term, point)``. ``first``
    and ``taps``: a point of the fine grid, which is uniform in ``ln(wavelength)``, is the
    sum of ``taps`` times the model's points from ``first`` on. ``powers``: of each label
    in each term; labels enter scaled. ``floor, top``: what flux is clipped to. ``frequency``: of the modes that are kept, radians per km/s.
    ``sharpness``: what turns modes into those of spline coefficients. ``knots`` of the
    coarse grid span the same wavelengths as the fine one.
    """

    theta: Float[Array, "term point"]
    first: Int[Array, " fine"]
    taps: Float[Array, "tap fine"]
    powers: Float[Array, "term label"]
    frequency: Float[Array, " mode"]
    sharpness: Float[Array, " mode"]
    floor: float = eqx.field(static=True)
    top: float = eqx.field(static=True)
    knots: int = eqx.field(static=True)


class Parameters(NamedTuple):
    """Of one star in one spectrum.

    ``labels``: scaled. ``rotation``: ``(v sin i / ROTATION_UNIT)**2``. ``spread``:
    variance of the line spread function, (km/s)^2, and ``excess``: the relative change
    of it. ``velocity``: as ``c ln(wavelength ratio)``, km/s.
    """

    labels: Float[Array, " label"]
    rotation: Float[Array, ""]
    spread: Float[Array, ""]
    excess: Float[Array, ""]
    velocity: Float[Array, ""]


class Seen(NamedTuple):
    """Spline coefficients of ``flux - 1``, and derivatives of them.

    ``slopes``: by each label, by ``rotation``, by ``excess``, by ``velocity``.
    """

    lines: Float[Array, " knot"]
    slopes: Float[Array, "parameter knot"]


def _rotation_table() -> tuple[np.ndarray, np.ndarray]:
    """Transform of the rotation profile at ``x = k v``, and its derivative by ``x^2``."""
    x = _TABLE_STEP * np.arange(_TABLE_SIZE)
    eps = LIMB_DARKENING
    with np.errstate(divide="ignore", invalid="ignore"):
        disk = 2 * (1 - eps) * j1(x) / x
        dark = 2 * eps * (np.sin(x) - x * np.cos(x)) / x**3
    small = x < 0.2
    disk[small] = (1 - eps) * (1 - x[small] ** 2 / 8 + x[small] ** 4 / 192)
    dark[small] = 2 * eps * (1 / 3 - x[small] ** 2 / 30 + x[small] ** 4 / 840)
    value = (disk + dark) / (1 - eps / 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.gradient(value, x) / (2 * x)
    first = -((1 - eps) / 8 + 2 * eps / 30) / (1 - eps / 3)
    second = ((1 - eps) / 192 + 2 * eps / 840) / (1 - eps / 3)
    slope[small] = first + 2 * second * x[small] ** 2
    return value.astype(np.float32), slope.astype(np.float32)


_ROTATION, _ROTATION_SLOPE = _rotation_table()


def rotation(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return the transform of the rotation profile at ``x``, and its slope by ``x^2``."""
    at = jnp.clip(x / _TABLE_STEP, 0, _TABLE_SIZE - 2)
    below = at.astype(jnp.int32)
    part = at - below.astype(at.dtype)
    table = jnp.asarray(np.stack([_ROTATION, _ROTATION_SLOPE]), at.dtype)
    left, right = table[:, below], table[:, below + 1]
    value, slope = left + part[None] * (right - left)
    return value, slope


def terms(
    powers: Float[Array, "term label"], labels: Float[Array, " label"]
) -> Float[Array, " term"]:
    """Return the products of powers of the scaled labels."""
    # Powers are small whole numbers: a product has derivatives at zero, a power has not.
    highest = 4
    grown = jnp.cumprod(
        jnp.concatenate([jnp.ones_like(labels)[None], jnp.tile(labels, (highest, 1))]),
        axis=0,
    )
    chosen = grown[powers.astype(jnp.int32), jnp.arange(labels.size)[None, :]]
    return chosen.prod(axis=1)


def _on_modes(emulator: Emulator, rows: Float[Array, "row point"]):
    """Return transforms of curves that are linear between the model's wavelengths."""
    taps = emulator.taps[:, None]
    even = sum(tap * rows[:, emulator.first + i] for i, tap in enumerate(taps))
    return jnp.fft.rfft(jnp.asarray(even))[:, : emulator.frequency.size]


def _passed(emulator: Emulator, star: Parameters):
    """Return what line spread, shift and spline make of each mode; and rotation, and its
    slope by ``rotation``."""
    k = emulator.frequency
    speed = ROTATION_UNIT * jnp.sqrt(jnp.maximum(star.rotation, 0))
    turned, by_square = rotation(k * speed)
    spread = jnp.exp(-(k**2) * star.spread * (1 + star.excess) / 2)
    size, angle = spread * emulator.sharpness, k * star.velocity
    passed = jax.lax.complex(size * jnp.cos(angle), -size * jnp.sin(angle))
    by_rotation = by_square * (k * ROTATION_UNIT) ** 2
    return passed, *(one.astype(passed.dtype) for one in (turned, by_rotation))


def lines_of(emulator: Emulator, star: Parameters) -> Float[Array, " knot"]:
    """Return the spline coefficients of ``flux - 1``."""
    dtype = emulator.theta.dtype
    star = Parameters(*(one.astype(dtype) for one in star))
    fine = terms(emulator.powers, star.labels) @ emulator.theta
    flux = jnp.clip(fine, emulator.floor, emulator.top)
    passed, turned, _ = _passed(emulator, star)
    modes = _on_modes(emulator, flux[None] - 1)[0] * (passed * turned)
    return jnp.fft.irfft(modes, emulator.knots).astype(dtype)


def emulate(emulator: Emulator, star: Parameters) -> Seen:
    """Return what a star looks like on the coarse grid, and how that changes."""
    dtype = emulator.theta.dtype
    star = Parameters(*(one.astype(dtype) for one in star))

    def of_labels(labels):
        return terms(emulator.powers, labels)

    every = jnp.concatenate(
        [of_labels(star.labels)[None], jax.jacfwd(of_labels)(star.labels).T]
    )
    fine = every @ emulator.theta
    flux = jnp.clip(fine[0], emulator.floor, emulator.top)
    # Where the polynomial leaves the range that lines can have, nothing changes.
    fine = jnp.where((fine[0] == flux)[None], fine, 0).at[0].set(flux - 1)
    modes = _on_modes(emulator, fine)
    passed, turned, by_rotation = _passed(emulator, star)
    k = emulator.frequency
    zero = jnp.zeros_like(k)
    by_spread = jax.lax.complex(-(k**2) * star.spread / 2, zero)
    by_velocity = jax.lax.complex(zero, -k)
    seen = modes * (turned * passed)[None]
    others = [modes[0] * (by_rotation * passed)]
    others += [seen[0] * by_spread, seen[0] * by_velocity]
    rows = jnp.concatenate([seen, jnp.stack(others)])
    curves = jnp.fft.irfft(rows, emulator.knots).astype(dtype)
    return Seen(curves[0], curves[1:])
