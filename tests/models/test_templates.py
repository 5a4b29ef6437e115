"""Templates from arrays, models and files."""

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden
from steadystar.models.library import ModelsNotFound, bundled
from steadystar.models.templates import Templates, bundled_templates, templates_for

WAVE = np.linspace(5000, 5100, 200)
FLUX = 1 - 0.3 * np.exp(-0.5 * ((WAVE - 5050) / 2) ** 2)


def test_one_template_may_be_a_row():
    one = Templates.from_arrays(WAVE, FLUX)
    assert len(one) == 1
    assert one.flux.shape == (1, 200)
    assert one.resolution is None


def test_decreasing_wavelengths_are_turned():
    turned = Templates.from_arrays(WAVE[::-1], np.stack([FLUX, FLUX**2])[:, ::-1])
    forward = Templates.from_arrays(WAVE, np.stack([FLUX, FLUX**2]))
    np.testing.assert_array_equal(turned.wave, forward.wave)
    np.testing.assert_array_equal(turned.flux, forward.flux)


@pytest.mark.parametrize(
    ("wave", "flux", "resolution", "culprit"),
    [
        (WAVE[:-1], FLUX, None, r"\(199,\)"),
        (WAVE - 5050, FLUX, None, "not positive"),
        (np.where(WAVE > 5090, np.nan, WAVE), FLUX, None, "not positive"),
        (np.where(WAVE > 5090, 5000, WAVE), FLUX, None, "sort them"),
        (
            WAVE,
            np.stack([FLUX, np.where(WAVE > 5090, np.nan, FLUX)]),
            None,
            "Template 1",
        ),
        (WAVE, FLUX, 0.0, "resolution is 0.0"),
        (WAVE, FLUX, np.nan, "resolution is nan"),
    ],
)
def test_templates_that_cannot_be_are_refused(wave, flux, resolution, culprit):
    with pytest.raises(ValueError, match=culprit):
        Templates.from_arrays(wave, flux, resolution)


def test_templates_of_models_are_as_the_instrument_sees_them():
    models = bundled("lamost-mrs-blue")
    labels = np.array([[5600, 4.4, 0.0], [4800, 4.5, -0.5], [6300, 4.3, 0.1]])
    found = Templates.from_models(models, labels, 7500.0, [0.0, 20.0, 0.0])
    pixels = np.arange(4960, 5340, 0.1)
    for i, speed in enumerate((0.0, 20.0, 0.0)):
        expected = broaden(
            models.wave, models(labels[i]).flux, pixels, resolution=7500.0, vsini=speed
        )
        seen = np.interp(pixels, found.wave, found.flux[i])
        # Pixels of 6 km/s widen lines of sigma 17 by one percent, and the templates are
        # at every quarter of sigma.
        assert np.abs(seen - expected).max() < 0.01
    assert found.resolution == 7500.0
    spacing = C_KMS * np.diff(np.log(found.wave))
    assert spacing.max() < C_KMS / 7500 / 2.35 / 3.9


def test_labels_outside_the_models_are_refused():
    with pytest.raises(ValueError, match="outside"):
        Templates.from_models(bundled("lamost-mrs-blue"), [2000, 4.5, 0.0], 7500.0)


@pytest.mark.parametrize("window", ["lamost-mrs-blue", "lamost-mrs-red", "h-band"])
def test_bundled_templates_span_the_types_and_are_normalized(window):
    templates = bundled_templates(window)
    assert len(templates) > 150
    assert templates.flux.min() >= 0
    assert templates.flux.max() <= 1
    depth = 1 - templates.flux.mean(axis=1)
    # From metal-poor and hot stars to cool ones with hardly a continuum.
    assert depth.min() < 0.02
    assert depth.max() > 0.1


def test_there_are_no_bundled_templates_of_other_windows():
    with pytest.raises(ModelsNotFound, match="lamost-mrs-blue"):
        bundled_templates("k-band", 20000.0)


@pytest.mark.parametrize("resolution", [None, 7500.0])
def test_templates_are_kept_in_a_file(tmp_path, resolution):
    path = tmp_path / "templates.parquet"
    templates = Templates.from_arrays(
        WAVE, np.stack([FLUX * k for k in np.linspace(0.5, 1, 12)]), resolution
    )
    templates.save(path)
    again = Templates.load(path)
    np.testing.assert_array_equal(again.wave, templates.wave)
    np.testing.assert_array_equal(again.flux, templates.flux)
    assert again.resolution == templates.resolution


def test_other_tables_are_refused(tmp_path):
    import polars as pl

    from steadystar.data.tables import write_parquet

    path = tmp_path / "stars.parquet"
    write_parquet(pl.DataFrame({"wave": [1.0]}), path, {"kind": "stars"})
    with pytest.raises(ValueError, match=r"stars\.parquet does not hold templates"):
        Templates.load(path)


@pytest.mark.parametrize(
    ("low", "high", "first"),
    [(4970.0, 5330.0, 4866), (15200.0, 16900.0, 15114)],
)
def test_templates_are_those_of_the_wavelengths_and_sharp_enough(low, high, first):
    found = templates_for(low, high, 7500.0)
    assert found is not None
    assert found.wave[0] == pytest.approx(first, abs=1)
    sharp = templates_for(low, high, 40_000.0)
    assert sharp is not None
    assert 40_000 <= (sharp.resolution or 0) < 45_000
    assert templates_for(8000.0, 8500.0) is None
    assert templates_for(low - 1e4, high, share=0.5) is None
