"""The photon limit against analytic spectra, the textbook number, and mock measurements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from steadystar.data.component import Component
from steadystar.data.constants import C_KMS
from steadystar.measure.information import (
    limit_from_quality,
    photon_limit,
    quality_factor,
)
from steadystar.measure.noiseless import looks_noisy
from steadystar.measure.snr import compare_snr, snr_definitions
from steadystar.models.templates import Templates

RESOLUTION = 7500.0
SIGMA = 1 / RESOLUTION / 2.354820045030949
FWHM_PIXELS = 3.0
WAVE = 5000 * np.exp(np.arange(1500) * SIGMA * 2.354820045030949 / FWHM_PIXELS)
RNG = np.random.default_rng(0)
CENTERS = RNG.uniform(np.log(5000.0) - 0.001, np.log(WAVE[-1]) + 0.001, 250)
DEPTHS = RNG.uniform(0.02, 0.3, 250)


def forest(wave, shift=0.0, sigma=SIGMA):
    """Gaussian lines in ln(wavelength), and their exact derivative by it."""
    z = (np.log(wave)[..., None] - shift - CENTERS) / sigma
    # Sharper lines keep their area.
    lines = DEPTHS * SIGMA / sigma * np.exp(-(z**2) / 2)
    return 1 - lines.sum(-1), (lines * z / sigma).sum(-1)


def exact_limit(ivar, wave=WAVE):
    return C_KMS / np.sqrt((ivar * forest(wave)[1] ** 2).sum(-1))


def fine_model(sigma=SIGMA):
    wave = np.exp(np.arange(np.log(4960), np.log(WAVE[-1]) + 0.008, sigma / 4))
    return wave, forest(wave, sigma=sigma)[0]


def test_a_forest_of_gaussian_lines():
    ivar = RNG.uniform(0.5, 2.0, (3, len(WAVE))) * 50.0**2
    expected = exact_limit(ivar)
    flux = np.broadcast_to(forest(WAVE)[0], ivar.shape)
    # The spline through pixels is 0.02% off for lines of 3 pixels FWHM, 0.04% in 1500.
    assert_allclose(photon_limit(WAVE, flux, ivar), expected, rtol=1e-3)
    # On a grid of four points a sigma it is exact.
    found = photon_limit(WAVE, None, ivar, fine_model())
    assert found.shape == (3,)
    assert_allclose(found, expected, rtol=1e-7)
    # The control: differences of pixels are 16% off.
    slope = np.gradient(forest(WAVE)[0], np.log(WAVE))
    assert np.all(C_KMS / np.sqrt((ivar * slope**2).sum(-1)) > 1.1 * expected)


@pytest.mark.parametrize("sharper", [2.0, 5.0])
def test_a_sharp_model_is_put_through_the_instrument(sharper):
    ivar = np.full((1, len(WAVE)), 50.0**2)
    own = SIGMA / sharper
    # What arrives is a Gaussian again, seen by pixels of a third of its FWHM: as a box,
    # to second order, a Gaussian of that over sqrt(12).
    pixel = np.diff(np.log(WAVE))[0]
    width = np.sqrt(SIGMA**2 - own**2 - pixel**2 / 12)
    resolution = 1 / width / 2.354820045030949
    found = photon_limit(WAVE, None, ivar, fine_model(own), resolution=resolution)
    # The fourth order of the box, and linear interpolation of 1 km/s.
    assert_allclose(found, exact_limit(ivar), rtol=5e-3)
    table = Templates.from_arrays(*fine_model(own), resolution=RESOLUTION * sharper)
    seen = RESOLUTION
    same = photon_limit(WAVE, None, ivar, table, resolution=seen)
    # With its pixels, the instrument is a little less sharp than the forest.
    assert exact_limit(ivar)[0] < same[0] < 1.05 * exact_limit(ivar)[0]


def test_templates_as_sharp_as_the_data_need_no_resolution():
    ivar = np.full((2, len(WAVE)), 50.0**2)
    plain = Templates.from_arrays(*fine_model())
    # Templates are float32: 6e-8 of the flux between points a quarter sigma apart.
    assert_allclose(photon_limit(WAVE, None, ivar, plain), exact_limit(ivar), rtol=1e-5)
    sharp = Templates.from_arrays(*fine_model(), resolution=RESOLUTION)
    found = photon_limit(WAVE, None, ivar, sharp, resolution=RESOLUTION)
    assert_allclose(found, exact_limit(ivar), rtol=1e-5)


def test_the_recorded_flux_gives_the_level_of_a_normalized_model():
    rng = np.random.default_rng(1)
    x = np.linspace(-1, 1, len(WAVE))
    throughput = 3000 * (1 + 0.5 * x - 0.3 * x**2)
    ivar = np.full((1, len(WAVE)), 1 / 60.0**2)
    flux = throughput * forest(WAVE)[0] + rng.normal(size=ivar.shape) * 60
    found = photon_limit(WAVE, flux, ivar, fine_model(), level=2)
    expected = C_KMS / np.sqrt((ivar * (throughput * forest(WAVE)[1]) ** 2).sum())
    # The level is known to 1 / (S/N sqrt(pixels)), about 5e-4.
    assert_allclose(found, expected, rtol=3e-3)


def test_a_moving_star_takes_its_model_along():
    rv = np.array([-300.0, 0.0, 120.0])
    shift = np.log1p(rv / C_KMS)
    ivar = np.broadcast_to(np.exp(-(((WAVE - 5050) / 30) ** 2)), (3, len(WAVE)))
    expected = [
        C_KMS / np.sqrt((ivar[0] * forest(WAVE, s)[1] ** 2).sum()) for s in shift
    ]
    found = photon_limit(WAVE, None, ivar, fine_model(), rv=rv)
    assert_allclose(found, expected, rtol=1e-7)


def test_the_textbook_number():
    assert limit_from_quality(1100, 8000, 100) * 1000 == pytest.approx(
        30.470741601352298, rel=1e-14
    )


def test_quality_and_errors_agree_for_photon_noise():
    flux = 40.0 * forest(WAVE)[0]
    quality = quality_factor(WAVE, flux)
    limit = photon_limit(WAVE, flux, 1 / flux)
    rms = snr_definitions(flux, 1 / flux)["snr_rms"].to_numpy()
    assert_allclose(limit_from_quality(quality, len(WAVE), rms), limit, rtol=1e-12)
    # It does not depend on brightness, nor on how finely it is sampled.
    assert_allclose(quality_factor(WAVE, 7 * flux), quality, rtol=1e-12)
    wave, fine = fine_model()
    inside = (wave > WAVE[0]) & (wave < WAVE[-1])
    assert_allclose(quality_factor(wave[inside], fine[inside]), quality, rtol=2e-3)


def test_measurements_scatter_by_the_limit():
    rng = np.random.default_rng(2)
    number, snr = 3000, 50.0
    wave = WAVE[:300]
    flux, slope = forest(wave)
    ivar = np.full(len(wave), snr**2)
    data = flux + rng.normal(size=(number, len(wave))) / snr
    x = np.linspace(-1, 1, len(wave))
    free = np.polynomial.legendre.legvander(x, 2) * flux[:, None]
    lines = rng.normal(size=(2, len(wave))) * 0.02 * slope * SIGMA
    data_too = data + rng.normal(size=(number, 2)) @ lines
    cases = {
        "alone": (data, -slope[:, None], {}),
        "continuum": (data, np.c_[-slope, free], {"continuum": 2}),
        "type": (data_too, np.c_[-slope, free], {"continuum": 2, "nuisance": lines}),
    }
    for y, design, unknown in cases.values():
        covariance = np.eye(len(wave)) / snr**2
        if "nuisance" in unknown:
            covariance = covariance + lines.T @ lines
            unknown["nuisance"] = [Component("type", basis=lines)]
        weight = np.linalg.inv(covariance)
        fit = np.linalg.solve(design.T @ weight @ design, design.T @ weight)
        scatter = C_KMS * (fit @ (y - flux).T)[0].std()
        limit = photon_limit(wave, None, ivar, fine_model(), **unknown)[0]
        # Sampling error of a standard deviation: 1 / sqrt(2 n), 1.3%.
        assert scatter == pytest.approx(limit, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([None, 0, 3]), st.floats(0.01, 100))
def test_what_is_unknown_costs_what_the_dense_covariance_says(seed, degree, width):
    rng = np.random.default_rng(seed)
    wave = WAVE[:120]
    flux, slope = forest(wave)
    ivar = rng.uniform(0, 1e4, len(wave)) * (rng.uniform(size=len(wave)) > 0.2)
    basis = rng.normal(size=(3, len(wave))) * 0.01 * width
    diagonal = rng.uniform(0, 1e-3, len(wave))
    unknown = [Component("a", basis=basis), Component("b", diagonal=diagonal)]
    found = photon_limit(
        wave, None, ivar, fine_model(), continuum=degree, nuisance=unknown
    )
    good = ivar > 0
    dense = np.diag(1 / ivar[good] + diagonal[good]) + basis[:, good].T @ basis[:, good]
    inverse = np.linalg.inv(dense)
    x = 2 * np.log(wave / wave[0]) / np.log(wave[-1] / wave[0]) - 1
    columns = slope[good][:, None]
    if degree is not None:
        free = np.polynomial.legendre.legvander(x, degree) * flux[:, None]
        columns = np.c_[columns, free[good]]
    fisher = columns.T @ inverse @ columns
    expected = C_KMS * np.sqrt(np.linalg.inv(fisher)[0, 0])
    # The condition of the dense matrices, up to 1e8.
    assert_allclose(found, expected, rtol=1e-6)
    assert found[0] >= photon_limit(wave, None, ivar, fine_model())[0]


def test_pixels_of_each_spectrum_its_own():
    wave = np.stack([WAVE, WAVE * 1.0003])
    ivar = np.full(wave.shape, 1e4)
    ivar[1, :200] = 0
    expected = [exact_limit(ivar[0], wave[0]), exact_limit(ivar[1], wave[1])]
    flux = forest(wave)[0]
    assert_allclose(photon_limit(wave, None, ivar, fine_model()), expected, rtol=1e-7)
    assert_allclose(photon_limit(wave, flux, ivar), expected, rtol=1e-3)


def test_a_gap_between_detectors_disturbs_nobody():
    here = (WAVE < 5060) | (WAVE > 5090)
    ivar = np.full(here.sum(), 1e4)
    expected = exact_limit(ivar, WAVE[here])
    flux = forest(WAVE[here])[0]
    # The ends of a spline are less well known: one in 300 pixels is an end.
    assert_allclose(photon_limit(WAVE[here], flux, ivar), expected, rtol=5e-3)
    sharp = photon_limit(
        WAVE, None, np.where(here, 1e4, 0), fine_model(SIGMA / 3), resolution=9000.0
    )
    apart = photon_limit(
        WAVE[here], None, ivar, fine_model(SIGMA / 3), resolution=9000.0
    )
    assert_allclose(apart, sharp, rtol=1e-6)


def test_no_information_is_no_limit():
    flux = np.ones((3, 200))
    flux[1] = forest(WAVE[:200])[0]
    ivar = np.ones((3, 200))
    ivar[1] = 0
    assert np.all(np.isinf(photon_limit(WAVE[:200], flux, ivar)))
    assert np.all(np.isinf(photon_limit(WAVE[:200], flux, ivar, continuum=2)))
    # Three pixels cannot tell a shift from a parabola.
    few = np.zeros(200)
    few[[50, 60, 70]] = 1e4
    found = photon_limit(WAVE[:200], None, few, fine_model(), continuum=2)
    assert np.isinf(found[0])


@pytest.mark.parametrize("snr", [3.0, 10.0, 30.0, 100.0])
@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.0])
def test_a_noisy_spectrum_is_refused(snr, wrong):
    rng = np.random.default_rng(3)
    clean = np.broadcast_to(forest(WAVE)[0], (40, len(WAVE)))
    noisy = clean + rng.normal(size=clean.shape) / snr
    # Stated errors are wrong by a factor, and vary from pixel to pixel.
    ivar = snr**2 / wrong**2 * rng.uniform(0.5, 1.5, clean.shape)
    ivar[rng.uniform(size=ivar.shape) < 0.02] = 0
    assert looks_noisy(noisy, ivar).all()
    assert not looks_noisy(clean, ivar).any()
    with pytest.raises(ValueError, match=r"Spectrum 0 \(40 in all\) has the noise"):
        photon_limit(WAVE, noisy, ivar)
    # As a recorded flux beside a model it is welcome.
    assert np.isfinite(photon_limit(WAVE, noisy, ivar, fine_model())).all()


@pytest.mark.parametrize("snr", [300.0, 1000.0, 3000.0])
def test_noise_that_is_let_through_does_not_matter(snr):
    noise = np.random.default_rng(4).normal(size=len(WAVE)) / snr
    ivar = np.full(len(WAVE), snr**2)
    flux = forest(WAVE)[0] + noise
    assert not looks_noisy(flux[None], ivar[None])[0]
    assert_allclose(photon_limit(WAVE, flux, ivar), exact_limit(ivar), rtol=0.02)


@pytest.mark.parametrize("snr", [1.0, 10.0, 100.0, 1e3, 1e4, 1e5])
@pytest.mark.parametrize("pixels", [2.0, 2.5, 4.0, 8.0])
def test_a_noiseless_spectrum_is_not_taken_for_noisy(snr, pixels):
    wave = 5000 * np.exp(np.arange(1200) * SIGMA * 2.354820045030949 / pixels)
    flux = forest(wave)[0]
    assert not looks_noisy(flux[None], np.full((1, 1200), snr**2))[0]
    rounded = flux.astype(np.float32).astype(float)
    assert not looks_noisy(rounded[None], np.full((1, 1200), snr**2))[0]


def test_definitions_of_the_signal_to_noise_ratio():
    flux = np.tile([3.0, 4.0, 12.0, 5.0], (2, 1))
    ivar = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 4.0, np.nan, -1.0]])
    table = snr_definitions(flux, ivar, detector=[0, 0, 1, 1])
    assert_allclose(table["snr_rms"], [np.sqrt((9 + 16 + 144 + 25) / 4), 8])
    assert_allclose(table["snr_median"], [4.5, 8])
    assert_allclose(table["snr_median_0"], [3.5, 8])
    assert_allclose(table["snr_median_1"], [8.5, np.nan])
    names = snr_definitions(flux, ivar, detector=["a", "a", "b", "b"])
    assert names.columns[2:] == ["snr_median_a", "snr_median_b"]


def test_the_root_mean_square_predicts_the_limit_of_photon_noise():
    x = np.linspace(-1, 1, len(WAVE))
    flux = 900 * (1 + 0.8 * x) * forest(WAVE)[0]
    table = compare_snr(WAVE, flux, 1 / flux, np.where(x < 0, "blue", "red"))
    assert table["limit_over_rms"][0] == pytest.approx(1, abs=1e-10)
    # Half of the pixels are brighter than the mean or darker.
    assert table["limit_over_median_blue"][0] > 1.1
    assert table["limit_over_median_red"][0] < 0.9
    # With read noise no definition is exact.
    reads = compare_snr(WAVE, flux, 1 / (flux + 900))
    assert abs(reads["limit_over_rms"][0] - 1) > 0.01


ONES = np.ones(20)
LINEAR = np.linspace(5000, 5010, 20)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((LINEAR, None, ONES), "neither flux nor model"),
        ((LINEAR, ONES[1:], ONES), "one inverse variance for every flux"),
        ((LINEAR[1:], ONES, ONES), "Wavelengths have shape"),
        ((LINEAR[::-1], ONES, ONES), "not increasing"),
        ((-LINEAR, ONES, ONES), "not finite and positive"),
        ((LINEAR, ONES * np.nan, ONES), "no noiseless spectrum"),
        ((LINEAR[:5], ONES[:5], ONES[:5]), "no slope to speak of"),
        ((LINEAR, None, ONES, (LINEAR, ONES, 1)), "has 3 parts"),
        (
            (LINEAR, None, ONES, (LINEAR, ONES[1:])),
            "The model has wavelengths of shape",
        ),
        ((LINEAR, None, ONES, (LINEAR[::-1], ONES)), "are not increasing"),
        ((LINEAR, None, ONES, (LINEAR, ONES * np.inf)), "cut those wavelengths off"),
        ((LINEAR, None, ONES, (LINEAR + 1, ONES)), "use a wider model"),
        ((LINEAR, ONES * np.nan, ONES, (LINEAR, ONES)), "not finite in pixels"),
    ],
)
def test_wrong_calls_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        photon_limit(*arguments)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"level": -1}, "degree of the level is -1"),
        ({"continuum": -1}, "continuum's degree is -1"),
        ({"rv": np.nan}, "the star's velocity"),
        ({"resolution": -5.0}, "FWHM > 0"),
        ({"nuisance": [Component("sky", diagonal=[1.0])]}, "component 'sky' has shape"),
    ],
)
def test_wrong_options_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        photon_limit(LINEAR, ONES, ONES, (LINEAR, ONES), **options)


def test_a_model_that_is_not_sharp_enough_is_refused():
    dull = Templates.from_arrays(*fine_model(), resolution=RESOLUTION)
    with pytest.raises(ValueError, match="less than the instrument's"):
        photon_limit(WAVE, None, np.ones(len(WAVE)), dull, resolution=2 * RESOLUTION)


def test_wrong_definitions_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        limit_from_quality(1000, 0, 10)
    with pytest.raises(ValueError, match="one for each"):
        snr_definitions(ONES, ONES, detector=[1])
    with pytest.raises(ValueError, match="give one for each pixel"):
        snr_definitions(ONES, ONES[1:])
