"""How well a magnitude from a spectrum agrees with a star's parallax.

A parallax is normally distributed about the truth; a magnitude or a distance made of it is
not. So networks are trained on parallaxes themselves: the likelihood of a star's parallax
as a function of its absolute magnitude, tabulated once on a few nodes (`parallax_nodes`),
is integrated over what the network says the magnitude is. A weak parallax then says little,
a negative one says what it can, and none has to be cut.

What the network predicts is the star that dominates the spectrum; what is seen may be two
stars. `mixture` therefore lets a share of the sample be brighter than predicted by up to
0.753 mag (two equal stars), how often and by how much being learned along, and a small part
be anything (bad parallaxes, subdwarfs, stripped stars): neither pulls on the rest.
"""

__all__ = ["BRIGHTENING", "Mixture", "Nodes", "mixture", "odd_ones", "parallax_nodes"]

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax
from jax.scipy.special import logsumexp
from numpy.typing import NDArray

_NODES = 16
_BRIGHT, _FAINT = -11.0, 7.0
_REACH = 4.0
_FINE = 0.15
_SMALLEST = 1e-3
_EQUAL = 2.5 * float(np.log10(2))
BRIGHTENING = _EQUAL * (np.arange(6) + 0.5) / 6
"""Magnitudes by which a second star brightens a pair, up to that of two equal ones."""


class Nodes(NamedTuple):
    """The likelihood of parallaxes: ``m_ks``, mag, and ``weight``, ``(star, node)``.

    ``error``: of the dereddened magnitude, which moves all nodes of a star together, and
    the width of nodes that are far apart, ``(star,)``.
    """

    m_ks: NDArray[np.float32]
    weight: NDArray[np.float32]
    error: NDArray[np.float32]


class Mixture(NamedTuple):
    """Logarithms: of the shares of single, double and odd stars, and of brightenings."""

    kind: Any
    brightening: Any


def parallax_nodes(
    m_0: NDArray[np.float64],
    m_0_err: NDArray[np.float64],
    parallax: NDArray[np.float64],
    parallax_error: NDArray[np.float64],
    *,
    pairs: bool = False,
) -> Nodes:
    """Tabulate the likelihood of each parallax over the absolute magnitude.

    Arguments:
        m_0: dereddened apparent magnitude and ``m_0_err`` its error, ``(star,)``.
        parallax: zero-point corrected, mas, and ``parallax_error``.
        pairs: over the magnitude of the star that dominates a pair, the second one
            brightening it by anything up to an equal one, all as likely.
    """
    most = _EQUAL if pairs else 0.0
    number = 2 * _NODES if pairs else _NODES
    low = np.maximum(parallax - _REACH * parallax_error, _SMALLEST)
    high = np.maximum(parallax + _REACH * parallax_error, 2 * _SMALLEST)
    ends = m_0[:, None] + 5 * np.log10(np.stack([low, high], axis=1)) - 10
    ends = np.clip(ends, _BRIGHT, _FAINT) + np.array([0.0, most])
    # A star outside of the limits keeps a stretch of nodes at their edge.
    ends[:, 1] = np.maximum(ends[:, 1], ends[:, 0] + 0.05)
    share = (np.arange(number) + 0.5) / number
    m_ks = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * share
    error = parallax_error[:, None]
    density = np.zeros_like(m_ks)
    moves = most * (np.arange(number) + 0.5) / number if pairs else np.zeros(1)
    for move in moves:
        told = 10 ** (0.2 * (m_ks - move - m_0[:, None] + 10))
        density += np.exp(-0.5 * ((parallax[:, None] - told) / error) ** 2) / error
    density /= len(moves)
    spacing = (ends[:, 1:] - ends[:, :1]) / number
    # Where nodes are further apart than stars scatter, each stands for its surroundings.
    blur = 0.6 * np.maximum(spacing[:, 0] - _FINE, 0)
    error = np.hypot(m_0_err, blur)
    return Nodes(*(v.astype(np.float32) for v in (m_ks, density * spacing, error)))


def mixture(nodes: Nodes, mean, sigma, parts: Mixture | None):
    """Return the log likelihood of each star's parallax, ``(star,)``.

    ``parts``: shares; None where all are single.

    ``mean, sigma``: of the predicted magnitude, ``(star,)``, noise included. Numbers are
    as precise as ``mean``.
    """
    mean = jnp.asarray(mean)
    brighter = BRIGHTENING if parts is not None else []
    nodes, parts, sigma, move = jax.tree.map(
        lambda part: jnp.asarray(part, mean.dtype),
        (nodes, parts, sigma, np.array([0.0, *brighter])),
    )
    spread = jnp.sqrt(sigma**2 + nodes.error**2)[:, None]
    log_weight = jnp.log(nodes.weight + 1e-30)
    off = nodes.m_ks[:, None, :] - (mean[:, None] - move[None, :])[:, :, None]
    gauss = -0.5 * (off / spread[:, :, None]) ** 2 - jnp.log(spread)[:, :, None]
    each = logsumexp(gauss + log_weight[:, None, :], axis=2) - 0.5 * jnp.log(2 * jnp.pi)
    if parts is None:
        return each[:, 0]
    kind = log_softmax(parts.kind)
    double = logsumexp(each[:, 1:] + log_softmax(parts.brightening)[None], axis=1)
    odd = odd_ones(nodes)
    return logsumexp(
        jnp.stack([kind[0] + each[:, 0], kind[1] + double, kind[2] + odd]), axis=0
    )


def odd_ones(nodes: Nodes):
    """Return the log likelihood of each star's parallax if it may have any magnitude."""
    log_weight = jnp.log(nodes.weight + 1e-30)
    return logsumexp(log_weight, axis=1) - float(np.log(_FAINT - _BRIGHT))
