"""What a fit of labels needs to know of an arm before it sees a spectrum.

The models on a grid for the spectra's resolution, the columns of the continuum with the
widths of their priors, and the stars at which fits may begin.
"""

__all__ = ["Setup", "Source", "continuum_widths", "overlap", "piece_nodes", "setup_of"]

from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.kernels import labels as kernel
from steadystar.kernels.emulation import ROTATION_UNIT
from steadystar.kernels.velocity import cosines
from steadystar.measure.label_fit import PieceNodes
from steadystar.measure.normalize import Window
from steadystar.measure.prior import orders_of
from steadystar.models.emulator import Pieces, emulators
from steadystar.models.library import PolynomialModels, StackedModels
from steadystar.models.trained import TrainedPart, TrainedSpectra

_ROOM_KMS = 400.0
_LEAST = 50.0
# Prior widths of the continuum's strengths: broad waves follow the pseudo-continuum's
# mistakes, the shorter ones only what a response leaves.
_BROAD, _BROAD_WIDTH, _SHORT_WIDTH = 5, 1.0, 0.05
Source = StackedModels | TrainedSpectra


def overlap(source: Source, low: float, high: float) -> float:
    """Angstrom between ``low`` and ``high`` that a source can model; 0 if not enough."""
    if isinstance(source, TrainedSpectra):
        first, last = source.window
    else:
        # With room for velocity, rotation and line spread at either end.
        first, last = source.wave[[0, -1]] + np.array([_LEAST, -_LEAST])
    return max(min(high, last) - max(low, first) - _LEAST, 0.0)


@dataclass(frozen=True, eq=False)
class Setup:
    """One arm at one resolution, ready to be fitted."""

    name: str
    window: Window
    pieces: Pieces
    arms: tuple[kernel.Arm, ...]
    source: Source


def _trained_setup(
    source: TrainedSpectra, name: str, scale: float, resolution_err: float
) -> Setup:
    """A model that is as sharp as the spectra: its own grid and window."""
    window = Window(*source.window, 0.0)
    made = Pieces(source.grid, (source.emulator(),))
    arms = _kernel_arms(made, window, scale, resolution_err)
    return Setup(name, window, made, arms, source)


def continuum_widths(orders: int) -> NDArray[np.float64]:
    """Return the prior widths of the strengths of a continuum's half waves."""
    return np.where(np.arange(orders) < _BROAD, _BROAD_WIDTH, _SHORT_WIDTH)


def _kernel_arms(
    made: Pieces, window: Window, scale: float, resolution_err: float
) -> tuple[kernel.Arm, ...]:
    orders = orders_of(window, scale)
    width = continuum_widths(orders)
    return tuple(
        kernel.Arm(
            emulator=emulator,
            smooth=jnp.asarray(cosines(made.grid.size, orders), jnp.float32),
            precision=jnp.asarray(width**-2, jnp.float32),
            # The variance changes by twice the relative change of the width.
            excess_precision=jnp.asarray((2 * resolution_err) ** -2, jnp.float32),
        )
        for emulator in made.emulators
    )


@lru_cache(maxsize=16)
def setup_of(
    source: Source,
    name: str,
    low: float,
    high: float,
    resolution: float,
    scale: float,
    resolution_err: float,
    max_vsini: float,
) -> Setup:
    """Return an arm at one resolution, ready for fits.

    ``low`` to ``high``: what is to be used, Angstrom; ``scale``: half waves of the
    continuum, Angstrom.

    Raises:
        ValueError: the models reach over none of it.
    """
    if isinstance(source, TrainedSpectra):
        return _trained_setup(source, name, scale, resolution_err)
    room = 1 + (_ROOM_KMS + max_vsini + 6 * C_KMS / resolution) / C_KMS
    first, last = source.wave[0] * room, source.wave[-1] / room
    window = Window(max(low, first), min(high, last), 0.0)
    if not window.low < window.high:
        raise ValueError(
            f"The models {source.name} span {source.wave[0]:.1f} to "
            f"{source.wave[-1]:.1f} A and the spectra of {name or 'this arm'} "
            f"{low:.1f} to {high:.1f} A: nothing is left to fit. Use models of the "
            "spectra's wavelengths (vacuum)."
        )
    made = emulators(source, window.low / room, window.high * room, resolution)
    arms = _kernel_arms(made, window, scale, resolution_err)
    return Setup(name, window, made, arms, source)


# Where fits may begin: effective temperature, log g, [Fe/H], rotation in km/s.
_COOL = (
    np.arange(3600.0, 8000.0, 350.0),
    (0.8, 1.8, 2.8, 3.8, 4.6),
    (-2.0, -1.0, -0.4, 0.2),
    (5.0, 50.0),
)
_HOT = (
    (8300, 9200, 10500, 12500, 15000, 18000, 22000, 27000, 33000, 38500),
    (3.0, 3.8, 4.6),
    (-1.0, 0.0),
    (20.0, 120.0, 250.0),
)
_NEAR = np.array([700.0, 1.1])
_NEAR_HOT = np.array([0.25, 1.0])
_NEAR_TRAINED = 0.25


@lru_cache(maxsize=16)
def piece_nodes(setups: tuple[Setup, ...], max_vsini: float) -> tuple[PieceNodes, ...]:
    """Pieces of the models with the nodes inside of them, for these arms together."""
    out = []
    for i, part in enumerate(setups[0].source.parts):
        if isinstance(part, TrainedPart):
            # It turns as the training stars do.
            nodes = np.concatenate([part.nodes, np.zeros((len(part.nodes), 1))], axis=1)
            kind, fastest = (part.nodes - part.center) / part.scale / _NEAR_TRAINED, 0.0
        else:
            nodes, kind, fastest = *_model_nodes(part, max_vsini), max_vsini
        own = len(setups)
        limits = [
            np.concatenate([edge, [turning], np.tile([excess, speed], own)])
            for edge, turning, excess, speed in zip(
                (part.domain.limits - part.center) / part.scale,
                (0.0, (fastest / ROTATION_UNIT) ** 2),
                (-0.5, 0.5),
                (-4 * _ROOM_KMS, 4 * _ROOM_KMS),
                strict=True,
            )
        ]
        scaled = (nodes[:, :-1] - part.center) / part.scale
        turning = (nodes[:, -1:] / ROTATION_UNIT) ** 2
        starts = np.concatenate([scaled, turning], axis=1)
        arms = tuple(setup.arms[i] for setup in setups)
        out.append(PieceNodes(arms, starts, kind, np.stack(limits)))
    return tuple(out)


def _model_nodes(part: PolynomialModels, max_vsini: float):
    """Return labels and rotation of nodes, and what makes them neighbors."""
    hot = part.domain.teff[1] > 20_000
    axes = _HOT if hot else _COOL
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 4)
    nodes = nodes[part.domain.contains(nodes[:, :3]) & (nodes[:, 3] <= max_vsini)]
    teff = np.log(nodes[:, :1]) / _NEAR_HOT[0] if hot else nodes[:, :1] / _NEAR[0]
    return nodes, np.concatenate([teff, nodes[:, 1:2] / _NEAR[1]], axis=1)
