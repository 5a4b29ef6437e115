"""Templates of several sources as one set."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden
from steadystar.models.library import bundled
from steadystar.models.templates import Templates

STARS = np.array([[5600, 4.4, 0.0], [4800, 4.5, -0.5]])


def test_models_are_brought_to_the_resolution_of_the_survey():
    models = bundled("lamost-mrs-blue")
    sharp = Templates.from_models(models, STARS, 15000.0)
    pixels = np.linspace(4950, 5340, 8000)
    seen = broaden(models.wave, models(STARS[:1]).flux, pixels, resolution=7500.0)
    own = Templates.from_arrays(pixels, seen)
    both = Templates.joined([sharp, own], 7500.0)
    assert len(both) == 3
    assert both.resolution is None
    assert both.wave[0] == pytest.approx(4950)
    assert both.wave[-1] == pytest.approx(5340)
    inside = (both.wave > 4955) & (both.wave < 5335)
    # The first model, smoothed, and the survey's spectrum are of the same star.
    assert_allclose(both.flux[0, inside], both.flux[2, inside], atol=2e-3)
    assert np.abs(both.flux[1] - both.flux[2])[inside].max() > 0.05
    spacing = C_KMS * np.diff(np.log(both.wave))
    assert spacing.max() < 1.01 * C_KMS * np.diff(np.log(sharp.wave)).min()


def test_alone_or_alike_templates_stay_what_they_are():
    one = Templates.from_models(bundled("lamost-mrs-blue"), STARS, 9000.0)
    for parts in ([one], [one, one]):
        same = Templates.joined(parts)
        assert same.resolution == 9000.0
        assert len(same) == 2 * len(parts)
        seen = np.interp(one.wave, same.wave, same.flux[1])
        # Straight lines between points a quarter of sigma apart: h^2 / 8 of the depth.
        assert_allclose(seen[5:-5], one.flux[1, 5:-5], atol=5e-3)


def test_the_bluntest_of_known_resolutions_is_that_of_all():
    models = bundled("lamost-mrs-blue")
    first = Templates.from_models(models, STARS[:1], 15000.0)
    second = Templates.from_models(models, STARS[:1], 8000.0)
    both = Templates.joined([first, second])
    assert both.resolution == 8000.0
    assert_allclose(both.flux[0, 50:-50], both.flux[1, 50:-50], atol=2e-3)


WAVE = np.linspace(5000, 5100, 500)
OWN = Templates.from_arrays(WAVE, np.ones(500))
KNOWN = Templates.from_arrays(WAVE, np.ones(500), 9000.0)
RED = Templates.from_arrays(WAVE + 1000, np.ones(500))


@pytest.mark.parametrize(
    ("parts", "resolution", "culprit"),
    [
        ([], None, "no templates to join"),
        ([OWN, KNOWN], None, "give the resolution of the spectra"),
        ([OWN, RED], None, "no wavelengths in common"),
        ([OWN, KNOWN], 20000.0, "at least as sharp"),
    ],
)
def test_what_cannot_be_joined_is_refused(parts, resolution, culprit):
    with pytest.raises(ValueError, match=culprit):
        Templates.joined(parts, resolution)
