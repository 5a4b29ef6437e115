"""Spectra taken apart in batches: names, shapes, errors, and what the errors mean."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.data.spectra import Spectra
from steadystar.measure import components as module
from steadystar.measure.components import Component, separate_components

PIXELS = 60
WAVE = np.linspace(5000.0, 5030.0, PIXELS)
X = np.linspace(-1, 1, PIXELS)

# Smooth in wavelength, like a continuum; a forest of lines; a few pixels of sky.
CONTINUUM = np.polynomial.legendre.legvander(X, 2).T * [[0.3], [0.1], [0.05]]
LINES = np.array([np.exp(-(((X - c) / 0.06) ** 2) / 2) for c in (-0.6, -0.1, 0.45)])
SKY = np.where(np.abs(X - 0.2) < 0.05, 0.04, 0.0)


def priors(mean=1.0):
    return [
        Component("continuum", mean=np.full(PIXELS, mean), basis=CONTINUUM),
        Component("star lines", basis=-0.1 * LINES),
        Component("sky", diagonal=SKY),
    ]


def draw(number, given, seed=0, noise=0.02, gap=None):
    """Draw spectra from the priors; returns them and the truth by component."""
    rng = np.random.default_rng(seed)
    truth = {}
    for prior in given:
        value = np.zeros((number, PIXELS))
        if prior.mean is not None:
            value = value + prior.mean
        if prior.basis is not None:
            value = value + rng.normal(size=(number, prior.rank)) @ prior.basis
        if prior.diagonal is not None:
            value = value + rng.normal(size=value.shape) * np.sqrt(prior.diagonal)
        truth[prior.name] = value
    truth["residual"] = rng.normal(size=(number, PIXELS)) * noise
    ivar = np.full((number, PIXELS), noise**-2)
    if gap is not None:
        ivar[:, gap] = 0
    return Spectra.from_arrays(WAVE, sum(truth.values()), ivar), truth


def test_components_sum_to_the_data_and_are_named():
    spectra, _ = draw(7, priors())
    apart = separate_components(spectra, priors())
    assert list(apart.components) == ["continuum", "star lines", "sky", "residual"]
    assert len(apart) == 7
    total = sum(apart.components.values())
    assert total.dtype == np.float64
    assert_allclose(total, spectra.flux.astype(float), rtol=1e-10)


def test_float32_sums_to_the_data_too():
    spectra, _ = draw(7, priors())
    apart = separate_components(spectra, priors(), precision="float32")
    total = sum(apart.components.values())
    assert total.dtype == np.float32
    assert apart.chi2.dtype == np.float64
    assert_allclose(total, spectra.flux, rtol=1e-5)


def test_posterior_covariances_are_the_scatter_about_the_truth():
    number = 4000
    spectra, truth = draw(number, priors(), gap=slice(20, 28))
    apart = separate_components(spectra, priors())
    names = ["continuum", "star lines", "sky"]
    off = {name: apart.components[name] - truth[name] for name in names}
    one = apart[0]
    for k, a in enumerate(names):
        for b in names[k:]:
            sampled = off[a].T @ off[b] / number
            expected = one.covariance(a, b)[0]
            # The sampling error of a covariance is at most this, (s_a s_b) sqrt(2 / n).
            error = np.outer(one.errors(a)[0], one.errors(b)[0]) * np.sqrt(2 / number)
            # 21600 numbers, few of them independent: 5 sigma is not expected once.
            assert np.all(np.abs(sampled - expected) <= 5 * error + 1e-12)
    # The control: the prior is not the posterior.
    spread = off["star lines"].std(axis=0).max()
    assert spread < 0.5 * np.abs(0.1 * LINES).max()


def test_a_gap_is_reconstructed_within_its_errors():
    number, gap = 2000, slice(20, 28)
    spectra, truth = draw(number, priors(), seed=1, gap=gap)
    flux = spectra.flux.copy()
    flux[:, gap] = 1e4
    hidden = Spectra(WAVE, flux, spectra.ivar, spectra.resolution)
    apart = separate_components(hidden, priors())
    known = truth["continuum"] + truth["star lines"] + truth["sky"]
    predicted = sum(apart.components[n] for n in ("continuum", "star lines", "sky"))
    off = (known - predicted)[:, gap]
    # What the others predict is wrong by as much as the residual is uncertain.
    covariance = apart[0].covariance("residual")[0][gap, gap]
    # Six patterns reach into the eight pixels: the covariance has that rank at most.
    strength, axes = np.linalg.eigh(covariance)
    kept = strength > 1e-9 * strength.max()
    chi2 = ((off @ axes[:, kept]) ** 2 / strength[kept]).sum(axis=1)
    degrees = kept.sum()
    assert degrees >= 3
    # Mean of chi squared: its sampling error is sqrt(2 / (n degrees)).
    assert chi2.mean() / degrees == pytest.approx(
        1, abs=5 * (2 / number / degrees) ** 0.5
    )
    # The flux in the gap was never looked at.
    assert np.abs(off).max() < 0.5
    assert_allclose(sum(apart.components.values()), flux, rtol=1e-10)


def test_chi2_expects_the_number_of_good_pixels():
    spectra, _ = draw(2000, priors(), seed=2, gap=slice(0, 10))
    apart = separate_components(spectra, priors())
    assert set(apart.n_good) == {PIXELS - 10}
    degrees = PIXELS - 10
    error = (2 * degrees / 2000) ** 0.5
    assert apart.chi2.mean() == pytest.approx(degrees, abs=5 * error)


def test_errors_of_all_components_add_up_to_nothing():
    spectra, _ = draw(2, priors(), gap=slice(3, 9))
    apart = separate_components(spectra, priors())
    names = list(apart.components)
    assert_allclose(
        apart.covariance("sky", "residual"),
        apart.covariance("residual", "sky").swapaxes(1, 2),
    )
    halves = [(a, b) for k, a in enumerate(names) for b in names[k:]]
    one_way = [apart.covariance(a, b) / (1 + (a == b)) for a, b in halves]
    total = sum(half + half.swapaxes(1, 2) for half in one_way)
    # Their sum is the flux, which is known.
    assert_allclose(total, 0, atol=1e-14)
    assert_allclose(
        apart.errors("sky") ** 2, np.einsum("spp->sp", apart.covariance("sky"))
    )


def test_two_stars_of_the_same_kind_at_two_velocities():
    moved = np.array([np.interp(X - 0.13, X, row) for row in LINES])
    both = [
        Component("star lines", basis=0.1 * LINES),
        Component("companion lines", basis=0.1 * moved),
    ]
    spectra, truth = draw(500, both, noise=0.005)
    apart = separate_components(spectra, both)
    for name in ("star lines", "companion lines"):
        pull = (apart.components[name] - truth[name]) / apart.errors(name)
        seen = np.abs(truth[name]).max(axis=0) > 0.01
        # About 20 pixels of 3 patterns, 500 times: 2% sampling error.
        assert pull[:, seen].std() == pytest.approx(1, abs=0.08)


def test_priors_of_each_spectrum_its_own():
    rng = np.random.default_rng(3)
    number = 5
    shift = rng.uniform(-0.1, 0.1, number)
    own = np.array([[np.interp(X - s, X, row) for row in LINES] for s in shift])
    mean = rng.uniform(0.8, 1.2, (number, PIXELS))
    spectra, _ = draw(number, priors())
    whole = separate_components(
        spectra,
        [
            Component("continuum", mean=mean, basis=CONTINUUM),
            Component("star lines", basis=own, diagonal=np.full(PIXELS, 1e-4)),
        ],
    )
    for i in range(number):
        alone = separate_components(
            spectra[i : i + 1],
            [
                Component("continuum", mean=mean[i], basis=CONTINUUM),
                Component("star lines", basis=own[i], diagonal=np.full(PIXELS, 1e-4)),
            ],
        )
        assert whole.chi2[i] == pytest.approx(alone.chi2[0], rel=1e-10)
        picked = whole[i]
        for name in alone.components:
            assert_allclose(picked.components[name], alone.components[name], atol=1e-12)
            assert_allclose(picked.errors(name), alone.errors(name), atol=1e-12)


def test_batches_change_nothing(monkeypatch):
    spectra, _ = draw(11, priors())
    at_once = separate_components(spectra, priors(), covariances=["sky"])
    monkeypatch.setattr(module, "_BATCH_BYTES", 8 * PIXELS * 80)
    in_parts = separate_components(spectra, priors(), covariances=["sky"])
    # Batches of another size are multiplied in another order.
    assert_allclose(in_parts.log_likelihood, at_once.log_likelihood, rtol=1e-12)
    for name, values in at_once.components.items():
        assert_allclose(in_parts.components[name], values, atol=1e-13)
    assert_allclose(
        in_parts.covariances["sky", "sky"],
        at_once.covariances["sky", "sky"],
        atol=1e-14,
    )


def test_covariances_in_advance_are_those_made_later():
    spectra, _ = draw(3, priors())
    pair = ("star lines", "continuum")
    early = separate_components(spectra, priors(), covariances=["sky", pair])
    late = separate_components(spectra, priors())
    assert set(early.covariances) == {("sky", "sky"), pair}
    assert_allclose(early.covariance(*pair), late.covariance(*pair))
    assert_allclose(early[1:].covariance(*pair), late.covariance(*pair)[1:])
    assert_allclose(early.errors("sky"), late.errors("sky"))


def test_covariances_that_would_fill_the_memory_are_refused(monkeypatch):
    spectra, _ = draw(9, priors())
    apart = separate_components(spectra, priors())
    monkeypatch.setattr(module, "_MOST_BYTES", 8 * PIXELS**2 * 5)
    with pytest.raises(ValueError, match="select spectra first"):
        apart.covariance("sky")
    assert apart[:5].covariance("sky").shape == (5, PIXELS, PIXELS)
    assert apart.covariance("sky", diagonal=True).shape == (9, PIXELS)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "cannot be called ''"),
        ({"name": "residual"}, "is what the pixels' noise is called"),
        ({"mean": np.zeros((2, 2, 2))}, r"The mean of component 'sky' has shape"),
        ({"basis": np.zeros(4)}, r"give \(rank, pixel\) or"),
        ({"mean": [0.0, 1.0], "diagonal": [0.0]}, "must lie on the same ones"),
        ({"diagonal": [1.0, -1e-9]}, "is negative in 1 pixels"),
        ({"diagonal": [1.0, np.inf]}, "1 values that are not finite"),
        ({"basis": [[1.0, np.nan]]}, "The basis of component 'sky' has 1 values"),
    ],
)
def test_bad_components_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Component(**({"name": "sky"} | fields))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "There are no components"),
        ([Component("a"), Component("b"), Component("a")], "components are called 'a'"),
        ([Component("a", mean=np.zeros(4))], r"has shape \(4,\), but there are 3"),
        ([Component("a", basis=np.zeros((2, 1, PIXELS)))], "one for each"),
        ([Component("a", diagonal=np.zeros((4, PIXELS)))], "one for each"),
    ],
)
def test_priors_that_do_not_fit_are_refused(given, sentence):
    spectra, _ = draw(3, priors())
    with pytest.raises(ValueError, match=sentence):
        separate_components(spectra, given)


def test_bad_spectra_and_names_are_refused():
    spectra, _ = draw(3, priors())
    broken = Spectra(
        WAVE, np.full((3, PIXELS), np.nan, "f4"), spectra.ivar, spectra.resolution
    )
    with pytest.raises(ValueError, match=r"Spectrum 0 has flux.*from_arrays"):
        separate_components(broken, priors())
    with pytest.raises(ValueError, match="There are no spectra"):
        separate_components(spectra[:0], priors())
    with pytest.raises(ValueError, match="no component 'telluric' among continuum"):
        separate_components(spectra, priors(), covariances=["telluric"])
    with pytest.raises(ValueError, match="no component 'telluric' among continuum"):
        separate_components(spectra, priors()).errors("telluric")


def test_patterns_that_cannot_be_told_apart_are_named():
    spectra, _ = draw(2, priors())
    wide = Component("star lines", basis=1e12 * np.concatenate([LINES, LINES]))
    with pytest.raises(ValueError, match="'star lines' some are so alike"):
        separate_components(spectra, [wide])
