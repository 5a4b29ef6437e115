"""The networks behind absolute magnitudes, and their training.

`Network` maps the coefficients of a spectrum's reconstruction to a magnitude and, in the
heteroscedastic kind, to its scatter. `train_published` is the network of Xiang et al. 2021
(equation 6): two hidden layers of 100 sigmoid neurons, dropout, least squares on magnitudes.
`train_mixture` trains an ensemble on parallaxes (`luminosity_likelihood`), all members in
one compiled step; each sees its own resampling of the stars, and keeps the weights with
which it foretold best the parallaxes of stars that it did not see.
"""

__all__ = ["Network", "TrainingSet", "predict", "train_mixture", "train_published"]

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from steadystar.measure.luminosity_likelihood import (
    BRIGHTENING,
    Mixture,
    Nodes,
    mixture,
)

_LOWEST = 0.02
"""mag; no scatter is smaller, or one star could pin the network."""
_BATCH = 512
_CHECKS = 10

Network = dict[str, Any]
"""Weights by name, each with the members of the ensemble in front."""


class TrainingSet(NamedTuple):
    """``features (star, feature)``, standardized; ``nodes`` of their parallaxes.

    ``m_geo``: magnitude from the parallax, for the published method.
    """

    features: NDArray[np.float32]
    nodes: Nodes
    m_geo: NDArray[np.float32]


def _start(key, widths: tuple[int, ...]) -> Network:
    out = {}
    for i, (before, after) in enumerate(pairwise(widths)):
        key, part = jax.random.split(key)
        out[f"w{i}"] = jax.random.normal(part, (before, after)) / jnp.sqrt(before)
        out[f"b{i}"] = jnp.zeros(after)
    return out


def _hidden(network: Network, x, activation, drop: float = 0.0, key: Any = None):
    for i in range(2):
        x = activation(x @ network[f"w{i}"] + network[f"b{i}"])
        if drop:
            key, part = jax.random.split(key)
            x = jnp.where(
                jax.random.bernoulli(part, 1 - drop, x.shape), x / (1 - drop), 0
            )
    return x @ network["w2"] + network["b2"]


def _magnitude(network: Network, x):
    out = _hidden(network, x, jnp.tanh)
    # The straight part is learned on its own: networks saturate, luminosities do not.
    mean = out[:, 0] + (x @ network["line"])
    return mean, _LOWEST + jax.nn.softplus(out[:, 1])


@partial(jax.jit, static_argnames="published")
def _predict(network: Network, features, published: bool):
    if published:
        mean = jax.vmap(lambda n: _hidden(n, features, jax.nn.sigmoid)[:, 0])(network)
        return mean, jnp.zeros_like(mean)
    return jax.vmap(lambda n: _magnitude(n, features))(network)


def predict(network: Network, features, published: bool):
    """Return mean and scatter of the magnitude, each ``(member, star)``, and d mean / d x.

    The derivative, ``(star, feature)``, is that of the members' mean.
    """
    mean, scatter = _predict(network, features, published)
    slope = _slope(network, features, published)
    return np.asarray(mean), np.asarray(scatter), np.asarray(slope)


@partial(jax.jit, static_argnames="published")
def _slope(network: Network, features, published: bool):
    def total(x):
        return _predict(network, x, published)[0].mean(axis=0).sum()

    return jax.grad(total)(features)


def train_published(
    data: TrainingSet, seed: int, steps: int, dropout: float
) -> tuple[Network, NDArray[np.float64]]:
    """Fit magnitudes by least squares; returns the network and the losses."""
    begin, key = jax.random.split(jax.random.key(seed))
    network = _start(begin, (data.features.shape[1], 100, 100, 1))
    network["b2"] = network["b2"] + data.m_geo.mean()

    def loss(n, x, y, part):
        told = _hidden(n, x, jax.nn.sigmoid, dropout, part)[:, 0]
        return jnp.mean((told - y) ** 2)

    network, losses = _descend(loss, network, (data.features, data.m_geo), key, steps)
    return jax.tree.map(lambda w: np.asarray(w)[None], network), losses


def _descend(loss, network, arrays, key, steps: int):
    """Adam with a rate that falls to nothing along a cosine."""
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    number = len(arrays[0])
    held = tuple(jnp.asarray(a) for a in arrays)

    def step(carry, part):
        network, state = carry
        pick, drop = jax.random.split(part)
        rows = jax.random.randint(pick, (min(_BATCH, number),), 0, number)
        value, slope = jax.value_and_grad(loss)(network, *(a[rows] for a in held), drop)
        change, state = optimizer.update(slope, state, network)
        return (optax.apply_updates(network, change), state), value

    start = (network, optimizer.init(network))
    run = jax.jit(lambda c, k: jax.lax.scan(step, c, k))
    (network, _), losses = run(start, jax.random.split(key, steps))
    return network, np.asarray(losses, float)


def train_mixture(
    train: TrainingSet,
    check: TrainingSet,
    *,
    seed: int,
    members: int,
    width: int,
    steps: int,
) -> tuple[Network, Mixture, NDArray[np.float64]]:
    """Train an ensemble on parallaxes.

    Arguments:
        train: stars to learn from.
        check: stars that decide when a member is at its best.
        seed, members, width, steps: of the ensemble and its training.

    Returns:
        The members' weights; the shares of single, double and odd stars and of
        brightenings (mean of the members); the loss of ``check``, ``(round, member)``.
    """
    keys = jax.random.split(jax.random.key(seed), members)
    size = train.features.shape[1]
    networks = jax.vmap(lambda k: _wide(k, size, width, float(train.m_geo.mean())))(
        keys
    )
    optimizer = optax.adamw(optax.cosine_decay_schedule(4e-3, steps), weight_decay=1e-4)
    states = jax.vmap(optimizer.init)(networks)
    held = jax.tree.map(jnp.asarray, (train.features, train.nodes))
    aside = jax.tree.map(jnp.asarray, (check.features, check.nodes))
    number = len(train.features)

    def step(carry, key):
        network, state, own = carry
        # A member's own bootstrap: it draws from what it was dealt.
        rows = own[jax.random.randint(key, (min(_BATCH, number),), 0, number)]
        some = jax.tree.map(lambda a: a[rows], held)
        value, slope = jax.value_and_grad(_loss)(network, some[0], some[1])
        change, state = optimizer.update(slope, state, network)
        return (optax.apply_updates(network, change), state, own), value

    @jax.jit
    @jax.vmap
    def rounds(network, state, own, keys):
        carry, _ = jax.lax.scan(step, (network, state, own), keys)
        return carry[0], carry[1], _loss(carry[0], aside[0], aside[1], 0.0)

    draws = jax.vmap(lambda k: jax.random.randint(k, (number,), 0, number))(keys)
    best, least = networks, np.full(members, np.inf)
    losses = []
    for turn in range(_CHECKS):
        parts = jax.vmap(
            lambda k, turn=turn: jax.random.split(
                jax.random.fold_in(k, turn + 1), steps // _CHECKS
            )
        )(keys)
        networks, states, loss = rounds(networks, states, draws, parts)
        better = np.asarray(loss) < least
        least = np.where(better, loss, least)
        best = jax.tree.map(partial(_where, better), networks, best)
        losses.append(np.asarray(loss, float))
    weights = jax.tree.map(np.asarray, best)
    kind = jax.nn.softmax(weights.pop("kind"), axis=1).mean(axis=0)
    bright = jax.nn.softmax(weights.pop("brightening"), axis=1).mean(axis=0)
    return weights, Mixture(np.asarray(kind), np.asarray(bright)), np.stack(losses)


def _where(better: NDArray[np.bool_], new, old):
    return jnp.where(better.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)


def _wide(key, size: int, width: int, middle: float) -> Network:
    network = _start(key, (size, width, width, 2))
    network["w2"] = network["w2"] * 0.1
    network["b2"] = jnp.array([middle, -1.0])
    network["line"] = jnp.zeros(size)
    # Most stars are single, a tenth are pairs, one in a hundred is odd.
    network["kind"] = jnp.log(jnp.array([0.89, 0.10, 0.01]))
    network["brightening"] = jnp.zeros(len(BRIGHTENING))
    return network


def _loss(network: Network, features, nodes: Nodes, prior: float = 1.0):
    mean, sigma = _magnitude(network, features)
    parts = Mixture(network["kind"], network["brightening"])
    told = mixture(nodes, mean, sigma, parts)
    # Shares are known to within a factor before any star is seen.
    known = jnp.log(jnp.array([0.89, 0.10, 0.01]))
    off = jax.nn.log_softmax(parts.kind) - known
    flat = jax.nn.log_softmax(parts.brightening) + jnp.log(float(len(BRIGHTENING)))
    return -told.mean() + prior * (off @ off + flat @ flat) / (2 * 1000)
