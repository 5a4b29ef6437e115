"""What clean pixels foretell: against brute force, plain equations, and stars."""

from dataclasses import replace

import numpy as np
import pytest

from steadystar.data.spectra import LogGrid, Spectra
from steadystar.measure.reconstruction import Reconstruction
from steadystar.measure.reconstruction_training import fit_reconstruction

GRID = LogGrid(6300.0, 2.3e-4, 240)
LINE = slice(90, 130)
CLEAN = np.ones(240, bool)
CLEAN[LINE] = False
KINDS = 4
RNG = np.random.default_rng(11)
# Four ways in which stars differ, smooth over a few pixels as lines are.
SHAPES = (
    np.stack(
        [
            np.convolve(RNG.normal(size=248), np.hanning(9) / 4, mode="same")[4:-4]
            for _ in range(KINDS)
        ]
    )
    * np.array([0.08, 0.05, 0.03, 0.02])[:, None]
)


def stars(
    number: int, seed: int, error: float | np.ndarray = 0.01
) -> tuple[Spectra, np.ndarray]:
    """Spectra with noise, and what they would be without."""
    rng = np.random.default_rng(seed)
    true = 1 + rng.normal(size=(number, KINDS)) @ SHAPES
    error = np.broadcast_to(error, (number,))[:, None]
    flux = true + error * rng.normal(size=true.shape)
    ivar = np.broadcast_to(error**-2, true.shape)
    return Spectra.from_arrays(GRID.wave, flux, ivar), true


@pytest.fixture(scope="module")
def learned() -> Reconstruction:
    return fit_reconstruction(stars(4000, 1)[0], CLEAN, n_components=30)


def test_only_what_stars_differ_in_is_kept(learned):
    assert len(learned.variance) == KINDS
    assert learned.members == 4000


def test_weighted_coefficients_are_a_ridge_regression(learned):
    spectra, _ = stars(30, 2, error=np.geomspace(0.003, 0.1, 30))
    ivar = spectra.ivar.copy()
    ivar[::3, 40:60] = 0
    spectra = replace(spectra, ivar=ivar)
    found = learned.coefficients(spectra)
    scale = learned.scale[CLEAN].astype(float)
    design = learned.components.astype(float).T
    assert found.covariance is not None
    for row in range(30):
        x = (spectra.flux[row, CLEAN].astype(float) - learned.mean[CLEAN]) / scale
        known = spectra.ivar[row, CLEAN] > 0
        noise = 1 / spectra.ivar[row, CLEAN][known].astype(float)
        weight = scale[known] ** 2 / (noise + learned.scatter[CLEAN][known] ** 2.0)
        part = design[known]
        normal = part.T * weight @ part + np.diag(1 / learned.variance.astype(float))
        covariance = np.linalg.inv(normal)
        value = covariance @ (part.T @ (weight * x[known]))
        # float32 sums over 200 pixels against float64.
        sigma = np.sqrt(np.diag(covariance))
        assert np.abs((found.value[row] - value) / sigma).max() < 1e-2
        assert np.allclose(found.covariance[row], covariance, rtol=1e-3, atol=1e-6)
        chi2 = (weight * (x[known] - part @ value) ** 2).sum() / known.sum()
        assert found.chi2[row] == pytest.approx(chi2, rel=1e-3)
    assert (found.clipped == 0).all()


def test_the_line_is_foretold_to_within_the_error_of_the_coefficients(learned):
    spectra, true = stars(500, 3, error=np.repeat([0.01, 0.05], 250))
    found = learned.coefficients(spectra)
    told = learned.rebuild(found.value)[:, LINE]
    lever = learned.basis[:KINDS, LINE] * learned.scale[LINE]
    error = np.sqrt(np.einsum("ip,nij,jp->np", lever, found.covariance, lever))
    pull = (told - true[:, LINE]) / error
    for rows in (slice(250), slice(250, None)):
        # 250 stars, 4 numbers each: the width is known to 2%. The basis has 14 numbers a
        # pixel, learned from 4000 spectra with 1% of noise: 0.06% beside the 0.14% of the
        # coefficients, 9%; less at lower S/N.
        assert 0.95 < np.sqrt((pull[rows] ** 2).mean()) < 1.15
    # The line itself stands far above: foretelling the mean would be this much off.
    assert true[:, LINE].std() > 3 * (told - true[:, LINE])[:250].std()


def test_what_is_in_the_line_does_not_reach_the_reconstruction(learned):
    spectra, _ = stars(5, 4)
    flux = spectra.flux.copy()
    flux[:, LINE] += 3
    lit = learned.coefficients(replace(spectra, flux=flux)).value
    assert np.array_equal(lit, learned.coefficients(spectra).value)


def test_a_cosmic_ray_is_clipped_and_counted(learned):
    spectra, _ = stars(20, 5)
    flux = spectra.flux.copy()
    flux[::2, 50] += 1.0
    hit = learned.coefficients(replace(spectra, flux=flux))
    dead = spectra.ivar.copy()
    dead[::2, 50] = 0
    masked = learned.coefficients(replace(spectra, ivar=dead))
    assert hit.clipped[::2].min() >= 1
    assert hit.clipped[1::2].max() == 0
    # Clipping is told from a first solution that the ray pulled on: neighbors may go too.
    assert (
        np.abs(hit.value - masked.value).max()
        < 0.5 * np.sqrt(learned.variance).max() * 0.1
    )


def test_published_follows_the_equations_of_the_paper():
    # Spectra of very different noise count alike there.
    spectra, _ = stars(400, 6, error=np.geomspace(0.002, 0.03, 400))
    few = KINDS
    found = fit_reconstruction(spectra, CLEAN, n_components=few, method="published")
    flux = spectra.flux.astype(float)
    mean, scale = flux.mean(axis=0), flux.std(axis=0)
    x = (flux - mean) / scale
    clean = x[:, CLEAN]
    values, vectors = np.linalg.eigh(clean.T @ clean / len(clean))
    vectors = vectors[:, ::-1][:, :few]
    weights = clean @ vectors
    basis = np.linalg.lstsq(weights, x, rcond=None)[0]
    told = (weights @ basis) * scale + mean
    assert np.allclose(found.mean, mean, atol=1e-5)
    assert np.allclose(found.scale, scale, rtol=1e-4)
    assert np.allclose(found.variance, values[::-1][:few], rtol=1e-3)
    # The sign of an eigenvector is free; a thousandth is what 15 sweeps leave.
    overlap = np.abs((found.components * vectors.T).sum(axis=1))
    assert (overlap > 1 - 1e-3).all()
    coefficients = found.coefficients(spectra)
    assert coefficients.covariance is None
    assert np.abs(found.rebuild(coefficients.value) - told).max() < 1e-3


def test_weighted_beats_published_for_noisy_spectra():
    spectra, _ = stars(600, 7, error=0.01)
    new, true = stars(300, 8, error=0.08)
    off = {}
    for method in ("weighted", "published"):
        found = fit_reconstruction(spectra, CLEAN, n_components=30, method=method)
        told = found.rebuild(found.coefficients(new).value)
        off[method] = float((told - true).std())
    # 30 components of which 26 are noise, against 4 that are shrunk.
    assert off["weighted"] < 0.7 * off["published"]


def test_a_garbled_spectrum_does_not_become_a_component(learned):
    spectra, _ = stars(600, 1)
    flux = spectra.flux.copy()
    flux[:5] = np.random.default_rng(0).normal(size=(5, 240)).cumsum(axis=1)
    found = fit_reconstruction(replace(spectra, flux=flux), CLEAN, n_components=30)
    assert found.members == 595
    assert len(found.variance) == KINDS
    new, _ = stars(200, 9)
    a = found.rebuild(found.coefficients(new).value)
    b = learned.rebuild(learned.coefficients(new).value)
    # 595 stars against 4000: a fifth of the noise of 0.01.
    assert np.abs(a - b).std() < 0.002


def test_a_spectrum_without_clean_pixels_has_no_coefficients(learned):
    spectra, _ = stars(3, 10)
    ivar = spectra.ivar.copy()
    ivar[1][CLEAN] = 0
    found = learned.coefficients(replace(spectra, ivar=ivar))
    assert np.isnan(found.value[1]).all()
    assert np.isnan(found.chi2[1])
    assert np.isfinite(found.value[[0, 2]]).all()


def test_saved_and_loaded_says_the_same(learned, tmp_path):
    learned.save(tmp_path / "a.zip")
    learned.save(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    again = Reconstruction.load(tmp_path / "a.zip")
    spectra, _ = stars(10, 11)
    before, after = learned.coefficients(spectra), again.coefficients(spectra)
    assert np.array_equal(before.value, after.value)
    assert np.array_equal(learned.rebuild(before.value), again.rebuild(after.value))
    assert (again.method, again.members) == (learned.method, learned.members)


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_files_that_hold_nothing_are_named(learned, tmp_path, keep):
    path = tmp_path / "cut.zip"
    learned.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(ValueError, match=r"cut\.zip holds no reconstruction"):
        Reconstruction.load(path)


def test_bad_input_is_told_in_a_sentence(learned):
    spectra, _ = stars(60, 12)
    with pytest.raises(ValueError, match="use one of weighted, published"):
        fit_reconstruction(spectra, CLEAN, method="best")
    with pytest.raises(ValueError, match="Only 19 spectra"):
        fit_reconstruction(spectra[:19], CLEAN)
    same = replace(spectra, flux=np.ones_like(spectra.flux))
    with pytest.raises(ValueError, match="all the same"):
        fit_reconstruction(same, CLEAN)
    other = replace(spectra, wave=spectra.wave * 1.01)
    with pytest.raises(ValueError, match="same grid"):
        learned.coefficients(other)
