"""Trained spectra: polynomials whose every number a test can choose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steadystar.data.spectra import LogGrid
from steadystar.kernels.emulation import Parameters, emulate
from steadystar.models.trained import TrainedPart, TrainedSpectra, powers_of

GRID = LogGrid.covering(5000.0, 5020.0, 12.0)


@pytest.mark.parametrize(("labels", "degree", "number"), [(1, 3, 4), (3, 2, 10), (3, 3, 20), (5, 1, 6)])  # fmt: skip
def test_every_term_is_there_once_the_constant_first(labels, degree, number):
    powers = powers_of(labels, degree)
    assert powers.shape == (number, labels)
    assert len(np.unique(powers, axis=0)) == number
    assert powers.sum(axis=1).max() == degree
    assert not powers[0].any()
    # By total power: a model of a lower degree is its beginning.
    assert (np.diff(powers.sum(axis=1)) >= 0).all()


def stars(number=200, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(4000, 6000, number), rng.normal(3, 1, number)], 1)


def test_labels_are_scaled_by_their_central_range_and_boxed_by_all():
    labels = stars()
    labels[0] = 12_000.0, 3.0
    part = TrainedPart.spanning(labels, 50)
    np.testing.assert_array_equal(part.domain.limits[1, 0], 12_000.0)
    # One odd star moves the box, not the scale.
    assert part.scale[0] == pytest.approx(0.95 * 2000, rel=0.03)
    assert part.center[0] == pytest.approx(5000, abs=150)
    assert part.domain.contains(labels).all()
    assert not part.domain.contains(labels.max(axis=0) + 1)


@pytest.mark.parametrize("number", [7, 50, 1000])
def test_nodes_are_training_stars_all_along_the_first_label(number):
    labels = stars()
    part = TrainedPart.spanning(labels, number)
    assert len(part.nodes) == min(number, len(labels))
    assert {tuple(row) for row in part.nodes} <= {tuple(row) for row in labels}
    assert part.nodes[0, 0] == labels[:, 0].min()
    assert part.nodes[-1, 0] == labels[:, 0].max()


def model():
    rng = np.random.default_rng(3)
    powers = powers_of(2, 2)
    theta = 0.1 * rng.normal(size=(len(powers), GRID.size))
    theta[0] += 0.8
    part = TrainedPart.spanning(stars(), 20)
    return TrainedSpectra(
        "200 stars", GRID, (5002.0, 5018.0), part, powers, theta, np.full(GRID.size, 0.01)
    )  # fmt: skip


def test_it_emulates_its_own_polynomial():
    trained = model()
    scaled = (np.array([5200.0, 2.2]) - trained.part.center) / trained.part.scale
    zero = jnp.zeros((), np.float32)
    star = Parameters(jnp.asarray(scaled, np.float32), zero, zero, zero, zero)
    see = jax.jit(emulate)
    seen = see(trained.emulator(), star)
    wanted = np.prod(scaled**trained.powers, axis=1) @ trained.theta - 1
    # Float32, there and back by way of transforms; nothing is clipped, unlike computed
    # models.
    assert wanted.max() > 0
    np.testing.assert_allclose(seen.lines, wanted, atol=3e-6)
    # It is as sharp as it is: nothing to broaden.
    by_excess = seen.slopes[-2]
    np.testing.assert_array_equal(by_excess, 0)
    # A whole step of the grid is a velocity.
    moved = star._replace(velocity=jnp.float32(GRID.step_kms))
    there = see(trained.emulator(), moved).lines
    np.testing.assert_allclose(there, np.roll(seen.lines, 1), atol=1e-4)


def test_it_comes_back_from_its_arrays():
    trained = model()
    held = {name: np.asarray(value) for name, value in trained.arrays().items()}
    back = TrainedSpectra.from_arrays(held)
    assert (back.name, back.grid, back.window) == ("200 stars", GRID, (5002.0, 5018.0))
    for name, value in trained.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], value)
    np.testing.assert_array_equal(back.wave, GRID.wave)
    assert back.parts == (back.part,)
    with pytest.raises(KeyError):
        TrainedSpectra.from_arrays({k: v for k, v in held.items() if k != "theta"})
