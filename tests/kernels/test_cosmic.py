import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.kernels.cosmic import cosmic_rays

find = jax.jit(cosmic_rays, static_argnums=2)

SIGMA, REACH, NUMBER = 2.5, 2, 400
PIXEL = np.arange(NUMBER)


def lines(rng, count, depth):
    centers = rng.uniform(10, NUMBER - 10, count)
    profile = np.exp(-((PIXEL[:, None] - centers) ** 2) / (2 * SIGMA**2))
    return np.exp(-(profile * rng.uniform(0, depth, count)).sum(1)) - 1


def found_in(value, snr):
    weight = np.full(NUMBER, float(snr) ** 2)
    return np.array(find(jnp.array(value), jnp.array(weight), REACH))


@given(seed=st.integers(0, 10_000), height=st.floats(0.8, 5), width=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_hit_sharper_than_the_instrument_is_found(seed, height, width):
    rng = np.random.default_rng(seed)
    value = lines(rng, 20, 0.6) + rng.normal(size=NUMBER) / 60
    at = int(rng.integers(20, NUMBER - 20))
    value[at : at + width] += height
    assert found_in(value, 60)[at : at + width].all()


@given(seed=st.integers(0, 10_000), snr=st.floats(5, 200))
@settings(max_examples=60, deadline=None)
def test_crowded_lines_and_noise_are_not_cosmic_rays(seed, snr):
    rng = np.random.default_rng(seed)
    value = lines(rng, 30, 1.0) + rng.normal(size=NUMBER) / snr
    assert not found_in(value, snr).any()


def test_resolved_emission_stays():
    emission = 3 * np.exp(-((PIXEL - 200) ** 2) / (2 * SIGMA**2))
    assert not found_in(emission, 100).any()


def test_what_stands_in_pixels_without_weight_is_no_neighbor():
    rng = np.random.default_rng(3)
    value = lines(rng, 20, 0.6) + rng.normal(size=NUMBER) / 60
    weight = np.full(NUMBER, 3600.0)
    dead = rng.uniform(size=NUMBER) < 0.1
    weight[dead] = 0
    garbage = np.where(dead, rng.choice([-9e9, 9e9], NUMBER), value)
    assert not find(jnp.array(garbage), jnp.array(weight), REACH).any()
    at = int(np.flatnonzero(~dead[100:])[0]) + 100
    garbage[at] += 3
    assert find(jnp.array(garbage), jnp.array(weight), REACH)[at]
