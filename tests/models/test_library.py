import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.models import library
from steadystar.models.library import (
    CUBIC,
    Domain,
    ModelsNotFound,
    PolynomialModels,
    StackedModels,
    bundled,
    bundled_windows,
)

# Normalized flux and continuum at these wavelengths in air, computed once by the label
# vector of the Cannon's own code (annieslasso 0.2.96, PolynomialVectorizer) on the
# coefficients in the wheel of thedoppler 1.1.32.
AIR = {
    "lamost-mrs-blue": (5183.6, 5170.0),
    "lamost-mrs-red": (6562.8, 6400.0),
    "h-band": (16000.0,),
}
PACKAGE = {
    (5777.0, 4.44, 0.0): (
        (0.082401, 0.853903, 0.360111, 0.270478, 0.988496),
        (795673.0, 798102.0, 576868.0, 599668.0, 96204.8),
    ),
    (4300.0, 1.5, -0.7): (
        (0.009697, 0.793003, 0.49219, 0.160808, 0.96199),
        (147322.0, 147259.0, 143626.0, 144929.0, 62830.7),
    ),
    (3600.0, 1.0, 0.2): (
        (0.021605, 0.367627, 0.769659, 0.138529, 0.802723),
        (53315.7, 53187.2, 61887.9, 61341.0, 50790.8),
    ),
    (7500.0, 4.0, -2.0): (
        (0.389717, 1.005519, 0.34067, 0.958214, 0.982249),
        (2218410.0, 2230230.0, 1328730.0, 1407890.0, 122436.0),
    ),
    (9500.0, 4.0, 0.0): (
        (0.38178, 0.997185, 0.290522, 0.819923, 0.989152),
        (5224250.0, 5264080.0, 2603080.0, 2807440.0, 162861.0),
    ),
    (30000.0, 4.2, -0.5): (
        (0.942591, 0.998994, 0.621438, 0.966908, 0.99802),
        (40671800.0, 41063600.0, 17063000.0, 18729200.0, 590218.0),
    ),
}
# Rounding coefficients to 16 bits moved no flux by more (measured on 200 random labels
# in each domain and window).
ROUNDING = 1.2e-4


def vacuum(air):
    # Not the package's own conversion: Ciddor's index at the air wavelength.
    s = (1e4 / air) ** 2
    return air * (1 + 0.05792105 / (238.0185 - s) + 0.00167917 / (57.362 - s))


@pytest.mark.parametrize("labels", PACKAGE)
def test_the_package_predicts_the_same(labels):
    flux, continuum = [], []
    for window, wavelengths in AIR.items():
        found = bundled(window)(list(labels))
        wave = bundled(window).wave
        for air in wavelengths:
            nearest = np.argmin(np.abs(wave - vacuum(air)))
            # A pixel is 0.1 A; both conversions must agree on which one it is.
            assert abs(wave[nearest] - vacuum(air)) < 1e-3
            flux.append(found.flux[nearest])
            continuum.append(found.continuum[nearest])
    expected, expected_continuum = PACKAGE[labels]
    np.testing.assert_allclose(flux, np.minimum(expected, 1.0), atol=ROUNDING)
    # float32 coefficients; the package interpolates the continuum in flux, we in log10.
    np.testing.assert_allclose(continuum, expected_continuum, rtol=2e-4)


def test_values_outside_zero_to_one_are_clipped_and_flagged():
    models = bundled("lamost-mrs-blue")
    found = models([3600.0, 1.0, 0.2])
    raw = models.parts[0].unclipped([3600.0, 1.0, 0.2])
    assert (raw < 0).any()
    assert (raw > 1).any()
    np.testing.assert_array_equal(found.clipped, (raw < 0) | (raw > 1))
    assert found.flux.min() == 0
    assert found.flux.max() == 1
    np.testing.assert_array_equal(found.flux[~found.clipped], raw[~found.clipped])


MODELS = {name: bundled(name) for name in ("lamost-mrs-blue", "lamost-mrs-red")}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(list(MODELS)),
    st.floats(3500.0, 40000.0),
    st.floats(2.5, 5.0),
    st.floats(-2.5, 0.5),
)
def test_every_star_of_the_domain_has_a_spectrum(window, teff, logg, feh):
    found = MODELS[window]([teff, logg, feh])
    assert np.isfinite(found.flux).all()
    assert np.all((found.flux >= 0) & (found.flux <= 1))
    assert np.all(found.continuum > 0)


def test_a_batch_equals_a_loop_across_both_grids():
    models = bundled("lamost-mrs-red")
    labels = np.array([[9000.0, 4.0, 0.0], [5000.0, 2.0, -1.0], [8000.0, 4.0, 0.2]])
    batch = models(labels)
    for row, one in enumerate(labels):
        alone = models(one)
        # The same products, summed in another order by the linear algebra library.
        np.testing.assert_allclose(batch.flux[row], alone.flux, atol=1e-13)
        np.testing.assert_allclose(batch.continuum[row], alone.continuum, rtol=1e-12)
        assert alone.flux.shape == models.wave.shape


def test_a_window_changes_nothing_inside_it():
    models = bundled("lamost-mrs-red")
    part = models.window(6500.0, 6600.0)
    inside = (models.wave >= 6500.0) & (models.wave < 6600.0)
    np.testing.assert_array_equal(part.wave, models.wave[inside])
    labels = [6000.0, 4.0, 0.0]
    # The same sums of 20 products, in blocks of another size.
    np.testing.assert_allclose(
        part(labels).flux, models(labels).flux[inside], atol=1e-14
    )
    np.testing.assert_allclose(
        part(labels).continuum, models(labels).continuum[inside], rtol=1e-13
    )


@pytest.mark.parametrize(
    "labels", [[3400.0, 4.0, 0.0], [9000.0, 1.0, 0.0], [5000.0, 4.0, float("nan")]]
)
def test_labels_outside_the_domain_are_refused_by_name(labels):
    with pytest.raises(ValueError, match="lie outside the models thedoppler"):
        bundled("lamost-mrs-blue")(labels)


def test_too_few_labels_are_refused():
    with pytest.raises(ValueError, match="teff, logg, feh"):
        bundled("lamost-mrs-blue").parts[0]([5000.0, 4.0])


def test_an_unknown_window_names_the_known_ones_and_the_way_out():
    with pytest.raises(
        ModelsNotFound, match=r"h-band.*pip install --no-deps thedoppler"
    ):
        bundled("lamost-lrs")


def test_the_bundled_windows_cover_the_arms_with_room_for_fast_stars():
    assert bundled_windows() == ["h-band", "lamost-mrs-blue", "lamost-mrs-red"]
    # Ends of the arms in public files, and 500 km/s of star and Earth beyond them.
    for window, low, high in [
        ("lamost-mrs-blue", 4893.9, 5391.0),
        ("lamost-mrs-red", 6270.2, 6873.0),
        ("h-band", 15140.0, 16960.0),
    ]:
        wave = bundled(window).wave
        assert wave[0] < low * (1 - 500 / 299_792.458)
        assert wave[-1] > high * (1 + 500 / 299_792.458)
        assert np.all(np.diff(wave) > 0)


def test_the_license_travels_with_the_coefficients():
    folder = library.resources.files("steadystar.models") / "grids"
    notice = (folder / "LICENSE-thedoppler.txt").read_text()
    assert "MIT License" in notice
    assert "Copyright (c) 2019 David Nidever" in notice


def test_packing_rounds_to_half_a_step(tmp_path):
    rng = np.random.default_rng(0)
    wave = np.linspace(5000, 5010, 50)

    def invent(low, high):
        return PolynomialModels(
            name="invented",
            wave=wave,
            domain=Domain.between(low, high),
            theta=rng.normal(size=(len(CUBIC), 50)),
            continuum_wave=wave[::10],
            continuum_theta=rng.normal(size=(len(CUBIC), 5)),
            center=np.array([5000.0, 3.0, 0.0]),
            scale=np.array([4000.0, 5.0, 3.0]),
        )

    models = StackedModels(
        (invent([3500, 0, -2], [8000, 5, 1]), invent([8000, 3, -2], [9000, 5, 1]))
    )
    library.pack(models, tmp_path / "invented.npz")
    with np.load(tmp_path / "invented.npz") as arrays:
        for grid, part in zip(library.GRIDS, models.parts, strict=True):
            back = library.unpack(arrays, grid)
            step = np.abs(part.theta).max(axis=1, keepdims=True) / 32767
            assert np.all(np.abs(back.theta - part.theta) <= step * 0.5001)
            assert back.domain == part.domain
            np.testing.assert_array_equal(back.wave, part.wave)
