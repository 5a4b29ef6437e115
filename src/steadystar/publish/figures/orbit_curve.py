"""Velocity curves of samples of orbits, as arrays for drawing."""

__all__ = ["orbit_shapes"]

import jax
import numpy as np
import polars as pl

from steadystar.kernels.orbit import orbit_shape
from steadystar.publish.numbers import Array

_BLOCK = 4096

_shape = jax.jit(orbit_shape)


def orbit_shapes(samples: pl.DataFrame, time: Array) -> Array:
    """Return ``cos(omega + nu) + e cos(omega)`` of each sample, ``(sample, time)``.

    Arguments:
        samples: ``period`` (d), ``e``, ``omega`` (deg), ``t_peri`` (BJD).
        time: BJD, ``(time,)``.

    The velocity of the star is ``v0 + k`` times that, that of a second one ``v0 - k_2``
    times that.
    """
    period, e, omega, start = (
        samples[name].cast(pl.Float64).to_numpy()[:, None]
        for name in ("period", "e", "omega", "t_peri")
    )
    phase = (time[None, :] - start) / period
    size = phase.size
    # Blocks of one length: every other would be compiled anew.
    flat = np.zeros((3, -(-size // _BLOCK) * _BLOCK))
    each = (phase - np.round(phase), e, np.radians(omega))
    for row, values in zip(flat, each, strict=True):
        row[:size] = np.broadcast_to(values, phase.shape).ravel()
    with jax.enable_x64(True):
        made = [
            np.asarray(_shape(2 * np.pi * part[0], part[1], part[2]))
            for part in np.split(flat, flat.shape[1] // _BLOCK, axis=1)
        ]
    return np.concatenate(made)[:size].reshape(phase.shape)
