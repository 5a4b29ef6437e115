"""The prior of a star's lines holds its templates, and is kept as it is."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from steadystar.data.spectra import LogGrid
from steadystar.models.lowrank import PHASES, StarLines, smoothed

GRID = LogGrid(5000.0, 4e-5, 200)
WIDTH = 1.43 * GRID.step  # A line spread function on its grid: a step is 0.7 sigma.
LOG_WAVE = np.log(5000.0) + GRID.step * np.arange(-20, 220, 0.2)


def templates(number=12, seed=1):
    rng = np.random.default_rng(seed)
    centers = np.log(5000.0) + GRID.step * rng.uniform(15, 185, 8)
    profile = np.exp(-0.5 * ((LOG_WAVE - centers[:, None]) / WIDTH) ** 2)
    return -rng.uniform(0.1, 0.5, (number, 8)) @ profile


def seen(coefficients, where):
    """Rows of coefficients at positions in grid steps."""
    knots = np.arange(-2, GRID.size + 2, dtype=float)
    return np.stack(
        [BSpline(knots, row.astype(float), 3)(where) for row in coefficients]
    )


def test_mean_and_components_hold_every_template():
    lines = templates()
    prior = StarLines.learn(LOG_WAVE, lines, GRID, rank=8)
    where = np.arange(10, 190, 0.31)
    at = np.log(5000.0) + GRID.step * where
    truth = np.stack([np.interp(at, LOG_WAVE, row) for row in lines])
    mean, *parts = seen(prior.coefficients[0], where)
    parts = np.array(parts)
    left = truth - mean
    fit = left @ np.linalg.pinv(parts) @ parts
    # The spline is true to 0.2 percent of a line's depth.
    assert np.abs(fit - left).max() < 0.002 * np.abs(truth).max()
    assert prior.kept == pytest.approx(1, abs=1e-9)


def test_components_have_coefficients_of_unit_variance_before_inflation():
    lines = templates(40)
    prior = StarLines.learn(LOG_WAVE, lines, GRID, rank=8, inflation=1.0)
    inner = slice(10, 190)
    knots = np.arange(*inner.indices(GRID.size))
    mean, *parts = seen(prior.coefficients[0], knots)
    at = np.log(5000.0) + GRID.step * knots
    left = np.stack([np.interp(at, LOG_WAVE, row) for row in lines]) - mean
    strength = left @ np.linalg.pinv(np.array(parts))
    # Linear interpolation of the truth between points a fifth of a step apart.
    np.testing.assert_allclose((strength**2).mean(axis=0), 1, rtol=0.05)


def test_a_phase_is_the_spectrum_moved_by_a_part_of_a_step():
    prior = StarLines.learn(LOG_WAVE, templates(), GRID, rank=4)
    where = np.arange(15, 185, 0.23)
    for phase in range(PHASES):
        moved = seen(prior.coefficients[phase], where + phase / PHASES)
        still = seen(prior.coefficients[0], where)
        # Each is true to 0.2 percent.
        assert np.abs(moved - still).max() < 0.004 * np.abs(still).max()


def test_fewer_components_are_kept_where_there_are_no_more():
    prior = StarLines.learn(LOG_WAVE, templates(3), GRID, rank=20)
    assert prior.rank == 2
    truncated = StarLines.learn(LOG_WAVE, templates(30), GRID, rank=3)
    assert truncated.rank == 3
    assert 0.3 < truncated.kept < 1


def test_one_template_may_change_its_depth_only():
    prior = StarLines.learn(LOG_WAVE, templates(1), GRID)
    assert prior.rank == 1
    mean, depth = prior.coefficients[0]
    # float32
    np.testing.assert_allclose(3 * depth, mean, atol=1e-6)


def test_anchors_are_templates_far_from_each_other():
    rng = np.random.default_rng(3)
    profile = templates(1)[0]
    other = templates(1, seed=9)[0]
    lines = np.array([profile * s for s in rng.uniform(0.5, 1.5, 20)] + [other])
    prior = StarLines.learn(LOG_WAVE, lines, GRID, anchors=2)
    assert len(prior.anchors) == 2
    where = np.arange(10, 190, 0.5)
    odd = np.interp(np.log(5000.0) + GRID.step * where, LOG_WAVE, other)
    off = np.abs(seen(prior.anchors, where) - odd).max(axis=1)
    assert off.min() < 0.002 * np.abs(odd).max() < off.max()


def test_beyond_the_templates_there_are_no_lines():
    low, high = np.log(GRID.wave[[50, 150]])
    short = (low < LOG_WAVE) & (high > LOG_WAVE)
    prior = StarLines.learn(LOG_WAVE[short], templates()[:, short], GRID, rank=3)
    assert np.isfinite(prior.coefficients).all()
    # The ends' ringing falls by a factor of 3.7 a knot.
    assert np.abs(prior.coefficients[0][:, :35]).max() < 1e-6


def test_a_prior_is_kept_byte_for_byte(tmp_path):
    prior = StarLines.learn(LOG_WAVE, templates(), GRID, rank=4)
    prior.save(tmp_path / "a.npz")
    again = StarLines.load(tmp_path / "a.npz")
    assert again.grid == prior.grid
    assert again.kept == prior.kept
    np.testing.assert_array_equal(again.coefficients, prior.coefficients)
    np.testing.assert_array_equal(again.anchors, prior.anchors)
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"hello"])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.npz holds no prior"):
        StarLines.load(path)


def test_a_file_of_other_arrays_is_refused(tmp_path):
    np.save(tmp_path / "array.npy", WIDTH)
    with pytest.raises(ValueError, match=r"StarLines\.save"):
        StarLines.load(tmp_path / "array.npy")
    np.savez(tmp_path / "arrays.npz", version=1, grid=[5000.0, 4e-5, 200])
    with pytest.raises(ValueError, match=r"StarLines\.save"):
        StarLines.load(tmp_path / "arrays.npz")


def test_sharp_templates_are_brought_to_the_resolution_of_the_spectra():
    narrow, wide = 30000.0, 7500.0
    log_wave = np.log(5000.0) + np.arange(-0.01, 0.01, 1e-6)

    def line(resolution):
        sigma = 1 / resolution / np.sqrt(8 * np.log(2))
        return np.exp(-0.5 * ((log_wave - np.log(5000.0)) / sigma) ** 2) / sigma

    at, flux = smoothed(log_wave, line(narrow)[None, :], narrow, wide)
    expected = np.interp(at, log_wave, line(wide))
    # Sums at a quarter of the width; the kernel is cut at four standard deviations.
    np.testing.assert_allclose(flux[0], expected, atol=1e-3 * expected.max())


def test_blunt_templates_are_refused():
    with pytest.raises(ValueError, match="at least as sharp"):
        smoothed(LOG_WAVE, templates(), 2000.0, 7500.0)


@pytest.mark.parametrize(("own", "wanted"), [(None, 7500.0), (7500.0, np.nan)])
def test_what_is_not_known_is_left_as_it_is(own, wanted):
    lines = templates()
    at, flux = smoothed(LOG_WAVE, lines, own, wanted)
    assert at is LOG_WAVE
    assert flux is lines
