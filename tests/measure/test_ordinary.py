"""What is ordinary among like stars, whatever stands out."""

import numpy as np
import pytest

from steadystar.measure.ordinary import Neighbors, _bulk

NUMBER = 3000


@pytest.fixture(scope="module")
def sample():
    """Stars in a plane; what is measured bends across it and scatters by 0.3."""
    rng = np.random.default_rng(5)
    place = rng.uniform(-1, 1, (NUMBER, 2)).astype(np.float32)
    truth = 0.4 * place[:, 0] ** 2
    error = rng.uniform(0.1, 0.3, NUMBER)
    value = truth + np.hypot(0.3, error) * rng.normal(size=NUMBER)
    return place, value, error


def test_scatter_is_right_in_one_neighborhood():
    rng = np.random.default_rng(0)
    error = rng.uniform(0.1, 0.3, (4000, 150))
    value = np.hypot(0.3, error) * rng.normal(size=error.shape)
    mean, extra = _bulk(value, error)
    # 600 000 numbers: known to 0.2%.
    assert np.sqrt((extra**2).mean()) == pytest.approx(0.3, rel=0.005)
    assert mean.std() == pytest.approx(0.36 / np.sqrt(150), rel=0.1)
    far = np.where(rng.uniform(size=error.shape) < 0.1, 20, 0)
    assert np.median(_bulk(value + far, error)[1]) == pytest.approx(0.3, rel=0.01)


def test_mean_and_scatter_beyond_the_errors_come_back(sample):
    place, value, error = sample
    inside = np.abs(place).max(axis=1) < 0.8
    mean, extra = Neighbors.of(place, value[None], error[None]).ordinary(place)
    off = mean[0] - 0.4 * place[:, 0] ** 2
    # 150 neighbors: 0.36 / sqrt(150) = 0.03 each.
    assert off[inside].std() < 0.045
    # Neighborhoods overlap, twenty are independent: 0.3 is known to 2%. The slope within
    # one adds 2%.
    assert np.median(extra[0]) == pytest.approx(0.306, rel=0.06)


def test_one_in_ten_far_above_does_not_matter(sample):
    place, value, error = sample
    lit = value + np.where(np.arange(NUMBER) % 10 == 0, 20, 0)
    mean, extra = Neighbors.of(place, lit[None], error[None]).ordinary(place)
    want = Neighbors.of(place, value[None], error[None]).ordinary(place)
    assert np.median(abs(mean - want[0])) < 0.03
    assert np.median(extra) == pytest.approx(0.306, rel=0.07)


def test_errors_that_explain_all_leave_no_scatter(sample):
    place, _, error = sample
    noise = error * np.random.default_rng(6).normal(size=NUMBER)
    _, extra = Neighbors.of(place, noise[None], error[None]).ordinary(place)
    # The root of a small difference of squares: of 0.2 at most a third.
    assert np.median(extra) < 0.07


def test_too_few_say_nothing():
    few = Neighbors.of(np.zeros((20, 3)), np.ones((2, 20)), np.ones((2, 20)))
    mean, extra = few.ordinary(np.zeros((5, 3)))
    assert mean.shape == extra.shape == (2, 5)
    assert (mean == 0).all()
    assert (extra == 0).all()


def test_unknown_stars_are_not_kept(sample):
    place, value, error = (part.copy() for part in sample)
    value[:10], place[10:20] = np.nan, np.nan
    kept = Neighbors.of(place, value[None], error[None])
    assert len(kept.place) == NUMBER - 20
    assert np.isfinite(kept.value).all()
