"""Spectra as polynomials in labels, learned from stars whose labels are known.

What `models.library` has for computed spectra, this has for recorded ones: at every
point of a grid the normalized spectrum is a polynomial in the scaled labels, and stars
scatter about it by an amount of its own (Ness et al. 2015, "The Cannon"). It is as sharp
as the spectra it was learned from, and turns as they do.
"""

__all__ = ["TrainedPart", "TrainedSpectra", "powers_of"]

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid
from steadystar.kernels.emulation import Emulator


def powers_of(labels: int, degree: int) -> NDArray[np.int64]:
    """Return the powers of every label in each term up to ``degree``, constant first."""
    rows = [
        np.bincount(np.array(chosen, int), minlength=labels)
        for total in range(degree + 1)
        for chosen in combinations_with_replacement(range(labels), total)
    ]
    return np.array(rows)


@dataclass(frozen=True, eq=False)
class _Box:
    """The labels that the training stars span, ``(2, label)``."""

    limits: NDArray[np.float64]

    def contains(self, labels: Numbers) -> NDArray[np.bool_]:
        """Say for each row whether it lies inside."""
        low, high = self.limits
        labels = np.asarray(labels, float)
        return np.asarray(np.all((labels >= low) & (labels <= high), axis=-1))


@dataclass(frozen=True, eq=False)
class TrainedPart:
    """How labels enter: ``(label - center) / scale``, inside ``domain``.

    ``nodes``: labels of stars at which a fit may begin, ``(node, label)``.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    domain: _Box
    nodes: NDArray[np.float64]

    @classmethod
    def spanning(cls, labels: NDArray[np.float64], nodes: int) -> "TrainedPart":
        """Scale by the central 95% of training labels, as the Cannon does."""
        edges = np.percentile(labels, [2.5, 97.5], axis=0)
        width = np.where(edges[1] > edges[0], edges[1] - edges[0], 1.0)
        box = _Box(np.stack([labels.min(axis=0), labels.max(axis=0)]))
        chosen = np.linspace(0, len(labels) - 1, min(nodes, len(labels))).astype(int)
        # In the order of the first label, so that the choice spans it.
        order = np.lexsort(labels.T[::-1])
        return cls(np.median(labels, axis=0), width, box, labels[order[chosen]])


@dataclass(frozen=True, eq=False)
class TrainedSpectra:
    """One arm of a survey, learned.

    ``grid``: of the spline coefficients ``theta``, ``(term, knot)``. ``powers``: of each
    label in each term. ``scatter``: of the training stars about it, of the continuum,
    ``(knot,)``. ``window``: Angstrom, where it was learned.
    """

    name: str
    grid: LogGrid
    window: tuple[float, float]
    part: TrainedPart
    powers: NDArray[np.int64]
    theta: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @property
    def parts(self) -> tuple[TrainedPart, ...]:
        """The pieces of the labels' domain: one."""
        return (self.part,)

    @property
    def wave(self) -> NDArray[np.float64]:
        """Wavelengths of the knots, vacuum Angstrom."""
        return self.grid.wave

    def emulator(self) -> Emulator:
        """Return it as what a fit takes."""
        size = self.grid.size
        step = self.grid.step_kms
        number = size // 2 + 1
        return Emulator(
            theta=jnp.asarray(self.theta, jnp.float32),
            first=jnp.arange(size, dtype=jnp.int32),
            taps=jnp.ones((1, size), jnp.float32),
            powers=jnp.asarray(self.powers, jnp.float32),
            frequency=jnp.asarray(
                2 * np.pi * np.arange(number) / (size * step), jnp.float32
            ),
            sharpness=jnp.ones(number, jnp.float32),
            floor=-np.inf,
            top=np.inf,
            knots=size,
        )

    def arrays(self) -> dict[str, Any]:
        """Return what a file holds of it."""
        return {
            "name": self.name,
            "grid": [self.grid.start, self.grid.step, self.grid.size],
            "window": self.window,
            "center": self.part.center,
            "scale": self.part.scale,
            "limits": self.part.domain.limits,
            "nodes": self.part.nodes,
            "powers": self.powers,
            "theta": self.theta,
            "scatter": self.scatter,
        }

    @classmethod
    def from_arrays(cls, held: dict[str, Any]) -> "TrainedSpectra":
        """Return what `arrays` described.

        Raises:
            KeyError: something is missing.
        """
        start, step, size = np.asarray(held["grid"], float).tolist()
        low, high = np.asarray(held["window"], float).tolist()
        part = TrainedPart(
            held["center"], held["scale"], _Box(held["limits"]), held["nodes"]
        )
        return cls(
            str(held["name"]),
            LogGrid(start, step, int(size)),
            (low, high),
            part,
            held["powers"],
            held["theta"],
            held["scatter"],
        )
