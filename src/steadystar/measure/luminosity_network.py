"""The networks behind absolute magnitudes, and their training.

`Network` maps the coefficients of a spectrum's reconstruction to a magnitude and, in the
heteroscedastic kind, to its scatter. `train_published` is the network of Xiang et al. 2021
(equation 6): two hidden layers of 100 sigmoid neurons, dropout, least squares on magnitudes.
`train_mixture` trains an ensemble on parallaxes (`luminosity_likelihood`), all members in
one compiled step; each leaves a fold of the stars out, and keeps the weights with which it
foretold their parallaxes best. What members say of stars that they did not see is also
how their errors are judged.
"""

__all__ = [
    "Network",
    "Trained",
    "TrainingSet",
    "predict",
    "train_mixture",
    "train_published",
]

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
_CHECKS = 20
_LEAST_STEPS = 400
_EPOCHS, _STARS_A_NEURON = 100, 40

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


class Trained(NamedTuple):
    """An ensemble: ``network`` and ``shares`` (of kinds and brightenings, not logarithms).

    ``mean, scatter``: of each star by the member that did not learn from it; NaN where
    all did. ``losses``: of these stars, ``(round, member)``.
    """

    network: Network
    shares: Mixture
    mean: NDArray[np.float32]
    scatter: NDArray[np.float32]
    losses: NDArray[np.float64]


def train_mixture(
    data: TrainingSet, *, seed: int, members: int, width: int, steps: int
) -> Trained:
    """Train an ensemble on parallaxes.

    The stars are cut into folds, one a member (three at least). Each member learns from
    the others' and keeps the weights with which it foretold its own fold best. Few stars
    get fewer neurons and fewer steps than ``width`` and ``steps``: they would be learned
    by heart.
    """
    width = int(np.clip(len(data.features) // _STARS_A_NEURON, 8, width))
    steps = int(
        np.clip(_EPOCHS * len(data.features) // _BATCH, min(_LEAST_STEPS, steps), steps)
    )
    keys = jax.random.split(jax.random.key(seed), members)
    number, size = data.features.shape
    line = _line(data)
    networks = jax.vmap(lambda k: _wide(k, size, width, line))(keys)
    optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, steps))
    states = jax.vmap(optimizer.init)(networks)
    held = jax.tree.map(jnp.asarray, (data.features, data.nodes))
    own, fold = _folds(number, members, seed)

    def step(carry, key):
        network, state, own = carry
        rows = own[jax.random.randint(key, (min(_BATCH, len(own)),), 0, len(own))]
        features, nodes = jax.tree.map(lambda a: a[rows], held)
        value, slope = jax.value_and_grad(_loss)(network, features, nodes, number)
        change, state = optimizer.update(slope, state, network)
        return (optax.apply_updates(network, change), state, own), value

    @jax.jit
    @jax.vmap
    def rounds(network, state, own, fold, keys):
        carry, _ = jax.lax.scan(step, (network, state, own), keys)
        features, nodes = jax.tree.map(lambda a: a[fold], held)
        return carry[0], carry[1], -_told(carry[0], features, nodes).mean()

    best, least = networks, np.full(members, np.inf)
    losses = []
    for turn in range(_CHECKS):
        parts = jax.vmap(partial(_parts, turn=turn, number=max(steps // _CHECKS, 1)))(
            keys
        )
        networks, states, loss = rounds(networks, states, own, fold, parts)
        better = np.asarray(loss) < least
        least = np.where(better, loss, least)
        best = jax.tree.map(partial(_where, better), networks, best)
        losses.append(np.asarray(loss, float))
    weights = jax.tree.map(np.asarray, best)
    kind = jax.nn.softmax(weights.pop("kind"), axis=1).mean(axis=0)
    bright = jax.nn.softmax(weights.pop("brightening"), axis=1).mean(axis=0)
    every = [np.asarray(part) for part in _predict(weights, data.features, False)]
    mean, scatter = (np.full(number, np.nan, np.float32) for _ in range(2))
    for member, rows in enumerate(fold):
        mean[rows], scatter[rows] = every[0][member, rows], every[1][member, rows]
    shares = Mixture(np.asarray(kind), np.asarray(bright))
    return Trained(weights, shares, mean, scatter, np.stack(losses))


def _folds(number: int, members: int, seed: int):
    """Rows that each member learns from, and those that it does not; equally many each."""
    count = max(members, 3)
    order = np.random.default_rng(seed).permutation(number)
    size = number // count
    folds = order[: size * count].reshape(count, size)
    own = [np.delete(folds, one, axis=0).ravel() for one in range(members)]
    return np.stack(own), folds[:members]


def _parts(key, turn: int, number: int):
    return jax.random.split(jax.random.fold_in(key, turn + 1), number)


def _where(better: NDArray[np.bool_], new, old):
    return jnp.where(better.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)


def _line(data: TrainingSet) -> NDArray[np.float64]:
    """Return offset and slopes of a straight relation: where the training begins.

    Ridge regression on the means of the parallaxes' likelihoods, weighed by their widths
    and the scatter that stars have (0.3 mag).
    """
    weight = data.nodes.weight / data.nodes.weight.sum(axis=1, keepdims=True)
    mean = (weight * data.nodes.m_ks).sum(axis=1)
    variance = (weight * (data.nodes.m_ks - mean[:, None]) ** 2).sum(axis=1)
    certain = 1 / (variance + data.nodes.error**2 + 0.3**2)
    x = np.column_stack([np.ones(len(mean)), data.features]).astype(float)
    normal = (x.T * certain) @ x + np.diag([0.0, *np.ones(data.features.shape[1])])
    return np.linalg.solve(normal, x.T @ (certain * mean))


def _wide(key, size: int, width: int, line: NDArray[np.float64]) -> Network:
    network = _start(key, (size, width, width, 2))
    network["w2"] = network["w2"] * 0.1
    network["b2"] = jnp.array([line[0], -1.0])
    network["line"] = jnp.asarray(line[1:], jnp.float32)
    # Most stars are single, a tenth are pairs, one in a hundred is odd.
    network["kind"] = jnp.log(jnp.array([0.89, 0.10, 0.01]))
    network["brightening"] = jnp.zeros(len(BRIGHTENING))
    return network


def _told(network: Network, features, nodes: Nodes):
    mean, sigma = _magnitude(network, features)
    return mixture(nodes, mean, sigma, Mixture(network["kind"], network["brightening"]))


def _loss(network: Network, features, nodes: Nodes, number: int):
    # Shares are known to within a factor before any star is seen,
    known = jnp.log(jnp.array([0.89, 0.10, 0.01]))
    off = jax.nn.log_softmax(network["kind"]) - known
    even = jax.nn.log_softmax(network["brightening"]) + jnp.log(float(len(BRIGHTENING)))
    # and weights are normally distributed about zero: few stars bend the network little.
    weights = [network[f"w{i}"] for i in range(3)]
    prior = off @ off + even @ even + sum((w**2).sum() for w in weights)
    return -_told(network, features, nodes).mean() + prior / (2 * number)
