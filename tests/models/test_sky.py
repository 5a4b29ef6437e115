"""Priors of what stands still: what they hold, and how they are kept."""

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.measure.components import separate_components
from steadystar.models.factors import fit_factors
from steadystar.models.sky import StillLines, split_continuum

RESOLUTION = 7500.0
WAVE = np.exp(np.linspace(np.log(6400), np.log(6500), 800))
CENTERS = np.array([6412.0, 6431.3, 6455.0, 6456.1, 6480.2])
SIGMA = CENTERS / RESOLUTION / 2.354820045


def profiles(wave=WAVE):
    return np.exp(-(((wave - CENTERS[:, None]) / SIGMA[:, None]) ** 2) / 2)


def fibers(number=40, noise=0.5, seed=1, **given):
    """Sky fibers: two groups of lines that vary on their own, and noise."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(10, 3, (number, 2))
    patterns = np.stack([profiles()[:3].sum(0), profiles()[3:].sum(0)])
    flux = strength @ patterns + rng.normal(0, noise, (number, len(WAVE)))
    ivar = np.full(flux.shape, noise**-2)
    return Spectra.from_arrays(WAVE, flux, ivar, RESOLUTION, **given)


def covariance(prior, wave=WAVE):
    part = prior.component(wave)
    return part.basis.T @ part.basis + np.diag(part.diagonal)


def test_the_covariance_of_the_sky_is_learned_without_that_of_the_noise():
    truth = np.stack([profiles()[:3].sum(0), profiles()[3:].sum(0)])
    # What the 300 nights had.
    strength = np.random.default_rng(1).normal(10, 3, (300, 2))
    expected = truth.T @ np.cov(strength.T) @ truth
    for noise in (0.1, 1.0):
        prior = StillLines.learn(fibers(300, noise), rank=8)
        assert prior.rank == 2
        found = covariance(prior)
        # A pattern of 3 is known to noise / sqrt(300) in each pixel, and its square to
        # six times that; four of these, and a percent for what was interpolated.
        error = 4 * 6 * noise / np.sqrt(300) + 0.01 * expected.max()
        assert np.abs(found - expected).max() < error
        # Far from any line, noise had its way: of its variance nothing is left.
        empty = profiles().max(axis=0) < 1e-6
        assert np.diag(found)[empty].mean() < 0.02 * noise**2
        np.testing.assert_allclose(
            np.asarray(prior.component(WAVE).mean)[~empty],
            (10 * truth.sum(0))[~empty],
            atol=4 * 3 / np.sqrt(300),
        )


def test_noise_alone_has_neither_patterns_nor_a_mean():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(30, 600))
    found = fit_factors(values, np.ones_like(values), 10)
    assert len(found.patterns) == 0
    # Learned noise would stand still in every spectrum that it is taken off.
    assert not found.mean.any()
    assert (found.variance > 0).mean() < 0.02


def test_faint_lines_are_told_from_noise_by_their_width():
    rng = np.random.default_rng(4)
    points = np.arange(600)
    line = np.exp(-(((points - 300) / 2.0) ** 2) / 2)
    values = 0.8 * line + rng.normal(size=(100, 600))
    found = fit_factors(values, np.ones_like(values), 3)
    # 0.8 at a noise of 0.1 a point.
    assert found.mean[300] == pytest.approx(0.8, abs=0.3)
    assert not found.mean[np.abs(points - 300) > 30].any()


@pytest.mark.parametrize(("rays", "gaps"), [(0.01, 0.0), (0.0, 0.02), (0.001, 0.02)])
def test_missing_pixels_and_cosmic_rays_leave_no_trace(rays, gaps):
    clean = fibers(40, 0.2)
    flux, ivar = clean.flux.copy(), clean.ivar.copy()
    rng = np.random.default_rng(4)
    hit = rng.uniform(size=flux.shape) < rays
    flux[hit] += 300
    gone = rng.uniform(size=flux.shape) < gaps
    flux[gone], ivar[gone] = 1e6, 0
    damaged = Spectra.from_arrays(WAVE, flux, ivar, RESOLUTION)
    one, two = (StillLines.learn(s, rank=4) for s in (clean, damaged))
    assert two.rank == 2
    # Six pixels make a point, so up to a tenth of the data are gone.
    scale = one.scatter.max()
    assert np.abs(one.scatter - two.scatter).max() < 0.1 * scale
    assert np.abs(one.mean - two.mean).max() < 0.1 * scale
    assert int(two.source.split("; ")[1].split()[0]) >= hit.sum()


def test_points_that_no_fiber_saw_hold_zero_and_are_counted():
    spectra = fibers(20)
    ivar = np.where((WAVE > 6450) & (WAVE < 6460), 0, spectra.ivar)
    prior = StillLines.learn(Spectra.from_arrays(WAVE, spectra.flux, ivar, RESOLUTION))
    inside = (prior.grid.wave > 6451) & (prior.grid.wave < 6459)
    assert not prior.scatter[inside].any()
    assert not prior.mean[inside].any()
    share = float(prior.source.split("out, ")[1].split("%")[0])
    # And some pixels more, here and at the ends: six make a point.
    assert share == pytest.approx(10.7, abs=0.8)


def test_every_fiber_may_have_its_own_wavelengths():
    shared = fibers(40, 0.2)
    rng = np.random.default_rng(5)
    strength = np.random.default_rng(1).normal(10, 3, (40, 2))
    waves, flux = np.empty((2, 40, len(WAVE)))
    for i in range(40):
        waves[i] = WAVE * (1 + rng.uniform(-3, 3) / C_KMS)
        shapes = profiles(waves[i])
        flux[i] = strength[i] @ np.stack([shapes[:3].sum(0), shapes[3:].sum(0)])
    own = Spectra.from_arrays(
        waves,
        flux + rng.normal(0, 0.2, flux.shape),
        np.full(flux.shape, 25.0),
        RESOLUTION,
    )
    one, two = (StillLines.learn(s, rank=4) for s in (shared, own))
    assert two.rank == 2
    at = WAVE[20:-20]
    # Equal but for the noise of 0.2 and the interpolation of the data.
    np.testing.assert_allclose(
        np.sqrt(np.diag(covariance(two, at))),
        np.sqrt(np.diag(covariance(one, at))),
        atol=0.15,
    )


def test_lines_of_a_list_have_the_instruments_width_and_the_given_strength():
    prior = StillLines.from_lines(CENTERS, [1, 2, 4, 0, 1], RESOLUTION, width=0.3)
    # 6455.0 and 6456.1 are further apart than one resolution element of 0.86 A.
    assert prior.rank == 5
    rows = np.asarray(prior.component(WAVE).basis)
    expected = profiles() * 0.3 * np.array([1, 2, 4, 0, 1])[:, None] / 4
    for line in expected[[0, 1, 2, 4]]:
        # The spline through half standard deviations is true to a thousandth; where the
        # Gaussian is cut off, at six of them, it is 1e-8.
        assert np.abs(rows - line).max(axis=1).min() < 1e-3 * 0.3


def test_unresolved_lines_and_lines_of_a_group_vary_together():
    close = StillLines.from_lines([6412.0, 6412.3], [1, 1], RESOLUTION, width=1.0)
    assert close.rank == 1
    grouped = StillLines.from_lines(
        CENTERS, np.ones(5), RESOLUTION, width=1.0, groups=["a", "b", "a", "b", "a"]
    )
    assert grouped.rank == 2
    first = np.abs(np.asarray(grouped.component(CENTERS).basis))
    np.testing.assert_allclose(first.max(axis=0), 1, atol=0.5)
    assert (first.min(axis=0) < 0.5).all()


def test_faint_lines_take_weight_and_no_pattern():
    prior = StillLines.from_lines(
        CENTERS, [5, 4, 3, 2, 1], RESOLUTION, width=1.0, most=2
    )
    assert prior.rank == 2
    part = prior.component(CENTERS)
    # The variance is linear between points half a standard deviation apart.
    np.testing.assert_allclose(np.sqrt(np.asarray(part.diagonal)[[4]]), 0.2, rtol=0.04)
    assert part.diagonal[0] < 1e-6


def test_absorption_has_the_mean_and_the_changes_of_the_table():
    fine = np.arange(6390, 6510, 0.05)
    depth = np.exp(-(((fine - CENTERS[:, None]) / 0.1) ** 2) / 2)
    airmass = np.array([1, 1.2, 1.5, 2, 2.5])
    table = np.exp(-airmass[:, None] * (0.3 * depth).sum(axis=0))
    prior = StillLines.from_transmission(fine, table, RESOLUTION, rank=2)
    assert prior.multiplies
    level = 200.0
    part = prior.component(WAVE, level)
    basis, mean = np.asarray(part.basis), np.asarray(part.mean)
    kernel = RESOLUTION * 2.354820045
    for row in table:
        # The line spread function by brute force.
        seen = np.array(
            [
                np.average(
                    row - 1, weights=np.exp(-((np.log(fine / w) * kernel) ** 2) / 2)
                )
                for w in WAVE
            ]
        )
        left = level * seen - mean
        strength = np.linalg.lstsq(basis.T, left, rcond=None)[0]
        # Two patterns hold a line that saturates; the kernel's steps are its tenths.
        assert np.abs(left - strength @ basis).max() < 0.01 * np.abs(level * seen).max()
        # Of five strengths with the mean square 1, none exceeds the root of five.
        assert abs(strength[0]) < 5**0.5


def test_a_continuum_is_smooth_and_of_the_given_width():
    prior = StillLines.continuum(6400.0, 6500.0, level=5.0, width=2.0, orders=3)
    part = prior.component(np.linspace(6400, 6500, 50)[1:-1])
    np.testing.assert_allclose(part.mean, 5, atol=1e-9)
    x = np.log(np.linspace(6400, 6500, 50)[1:-1] / 6400) / np.log(6500 / 6400)
    for k in range(3):
        np.testing.assert_allclose(part.basis[k], 2 * np.cos(np.pi * k * x), atol=1e-5)


def test_lines_and_continuum_of_the_sky_sum_to_it():
    spectra = fibers(4, 0.1)
    x = np.linspace(-1, 1, len(WAVE))
    smooth = 20 + 3 * x
    both = Spectra.from_arrays(WAVE, spectra.flux + smooth, spectra.ivar, RESOLUTION)
    lines, continuum = split_continuum(both, 30.0)
    np.testing.assert_allclose(lines.flux + continuum.flux, both.flux, rtol=1e-6)
    # Five lines of ten standard deviations cover a tenth of the pixels: the median of
    # noise and one-sided lines lies some tenths above.
    assert np.abs(continuum.flux - smooth)[:, 60:-60].max() < 0.6


def test_what_a_subtraction_leaves_is_its_share():
    prior = StillLines.learn(fibers(60, 0.3), rank=4)
    left = prior.residual(0.05)
    assert not left.mean.any()
    assert left.rank == prior.rank + 1
    power = prior.mean**2 + prior.scatter**2
    np.testing.assert_allclose(left.scatter**2, 0.05**2 * power, rtol=1e-9)
    own = prior.residual(0.05, each=0.02)
    np.testing.assert_allclose(own.scatter**2, (0.05**2 + 0.02**2) * power, rtol=1e-9)
    only = prior.residual(0.0, each=0.02)
    assert only.rank == 0
    np.testing.assert_allclose(only.scatter**2, 0.02**2 * power, rtol=1e-9)
    np.testing.assert_allclose(prior.scaled(3.0).scatter, 3 * prior.scatter, rtol=1e-12)


def test_a_spectrum_is_taken_apart_into_sky_and_the_rest():
    prior = StillLines.learn(fibers(60, 0.3), rank=4)
    smooth = StillLines.continuum(6400.0, 6500.0, width=20.0, orders=4)
    seen = fibers(1, 0.3, seed=9)
    x = np.linspace(-1, 1, len(WAVE))
    data = Spectra.from_arrays(WAVE, seen.flux + 8 + 2 * x, seen.ivar, RESOLUTION)
    parts = separate_components(data, [prior.component(WAVE), smooth.component(WAVE)])
    truth = np.random.default_rng(9).normal(10, 3, (1, 2)) @ np.stack(
        [profiles()[:3].sum(0), profiles()[3:].sum(0)]
    )
    off = parts.components["sky lines"] - truth
    # Two strengths from some twenty pixels each: 0.1; and what learning left.
    assert np.abs(off).max() < 0.6
    core = profiles().max(axis=0) > 0.3
    pulls = off[:, core] / parts.errors("sky lines")[:, core]
    assert np.abs(pulls).max() < 6
    assert parts.chi2[0] == pytest.approx(len(WAVE), rel=0.15)


def test_a_prior_is_kept_byte_for_byte(tmp_path):
    prior = StillLines.learn(fibers(20), rank=3, name="my sky")
    prior.save(tmp_path / "a.npz")
    again = StillLines.load(tmp_path / "a.npz")
    assert (again.name, again.grid, again.source) == (
        "my sky",
        prior.grid,
        prior.source,
    )
    assert again.multiplies is prior.multiplies
    for field in ("mean", "patterns", "variance"):
        np.testing.assert_array_equal(getattr(again, field), getattr(prior, field))
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert again.describe() == prior.describe()
    assert "2 patterns" in again.describe()
    assert "20 spectra" in again.describe()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"hello"])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"other\.npz holds no prior .*StillLines\.save"
    ):
        StillLines.load(path)


def test_arrays_and_later_versions_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "later.npz", kind="still lines", version=9)
    for name in ("array.npy", "later.npz", "absent.npz"):
        with pytest.raises(ValueError, match=r"StillLines\.save wrote"):
            StillLines.load(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: StillLines.learn(fibers(2)), "at least 3"),
        (lambda: StillLines.learn(fibers(5, frame="barycenter")), "barycentric frame"),
        (
            lambda: StillLines.learn(
                Spectra.from_arrays(WAVE, np.ones((5, 800)), np.ones((5, 800)))
            ),
            "resolution",
        ),
        (
            lambda: StillLines.learn(
                Spectra.from_arrays(WAVE, np.ones((5, 800)), np.zeros((5, 800)), 7500.0)
            ),
            "at least 3",
        ),
        (lambda: StillLines.from_lines([], [], 7500.0, width=1.0), "0 wavelengths"),
        (lambda: StillLines.from_lines([6400], [1], -1.0, width=1.0), "positive"),
        (lambda: StillLines.from_lines([np.nan], [1], 7500.0, width=1.0), "leave them"),
        (lambda: StillLines.from_lines([6400], [-1], 7500.0, width=1.0), "leave them"),
        (
            lambda: StillLines.from_transmission(WAVE, np.full((2, 5), 0.5), 7500.0),
            "give .point",
        ),
        (lambda: StillLines.continuum(6500.0, 6400.0, width=1.0), "low < high"),
        (lambda: split_continuum(fibers(3), 0.0), "more than 0"),
        (lambda: StillLines.learn(fibers(9)).residual(-1.0), "negative"),
        (lambda: StillLines.learn(fibers(9)).loosened(-1.0), "negative"),
        (
            lambda: StillLines(
                "x", LogGrid(5000.0, 1e-4, 9), np.ones(8), np.ones((1, 9)), np.ones(9)
            ),
            "must be",
        ),
        (
            lambda: StillLines(
                "x", LogGrid(5000.0, 1e-4, 9), np.ones(9), np.ones((1, 9)), -np.ones(9)
            ),
            "negative variance",
        ),
    ],
)
def test_bad_input_is_refused_with_reason_and_remedy(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()
