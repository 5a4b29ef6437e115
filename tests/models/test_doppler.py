import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from steadystar.data.air import air_to_vacuum
from steadystar.models import doppler
from steadystar.models.doppler import doppler_wheel, read_doppler_pickle
from steadystar.models.library import CUBIC, ModelsNotFound, bundled

TERMS = [
    [(label, power) for label, power in enumerate(exponents) if power]
    for exponents in CUBIC[1:]
]


def state(**changes):
    """A file of thedoppler in small: the same keys, 11 pixels."""
    rng = np.random.default_rng(3)
    training = rng.uniform([4000, 0, -2], [7000, 5, 0.5], (40, 3)).astype(np.float32)
    model = {
        "vectorizer": ("PolynomialVectorizer", {"terms": TERMS}),
        "dispersion": np.linspace(5000.0, 5001.0, 11),
        "theta": rng.normal(size=(11, 20)),
        "training_set_labels": training,
        "regularization": np.int64(0),
        "continuum": {
            "dispersion": np.array([5000.0, 5001.0]),
            "theta": rng.normal(size=(2, 20)) * 0.01,
        },
    }
    return model | changes


def write(path: Path, content) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=3))
    return path


def test_a_file_of_arrays_is_read(tmp_path):
    content = state()
    models = read_doppler_pickle(write(tmp_path / "m.pkl", content), "small")
    labels = np.array([5500.0, 3.0, -0.5])
    training = content["training_set_labels"].astype(float)
    low, high = np.percentile(training, [2.5, 97.5], axis=0)
    scaled = (labels - np.median(training, axis=0)) / (high - low)
    # The slow, obvious twin of the polynomial, from the file's own list of terms.
    terms = [1.0]
    for term in TERMS:
        product = 1.0
        for label, power in term:
            product *= scaled[label] ** power
        terms.append(product)
    np.testing.assert_allclose(
        models.unclipped(labels), content["theta"] @ terms, rtol=1e-12
    )
    np.testing.assert_array_equal(models.wave, air_to_vacuum(content["dispersion"]))
    assert models.domain.teff == (training[:, 0].min(), training[:, 0].max())


class Trap:
    """Unpickled without care, this would call a function."""

    def __reduce__(self):
        return os.getenv, ("HOME",)


@pytest.mark.parametrize(
    "content",
    [
        Trap(),
        state(theta=Trap()),
        state(vectorizer=Path("elsewhere")),
        np.array([print], dtype=object),
    ],
    ids=["function", "nested", "class", "object array"],
)
def test_anything_but_arrays_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="no safe pickle"):
        read_doppler_pickle(write(tmp_path / "bad.pkl", content), "bad")


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "cut.pkl", state())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.pkl is no safe pickle"):
        read_doppler_pickle(path, "cut")


@pytest.mark.parametrize(
    "content",
    [
        {"theta": np.zeros((2, 20))},
        [1, 2, 3],
        state(vectorizer=("PolynomialVectorizer", {"terms": TERMS[::-1]})),
    ],
    ids=["no labels", "a list", "another order of terms"],
)
def test_another_model_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="no polynomial model of thedoppler"):
        read_doppler_pickle(write(tmp_path / "other.pkl", content), "other")


class Listed:
    """What importlib.metadata lists for an installed file."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def locate(self) -> Path:
        return self.path


def test_the_installed_package_is_found_and_never_imported(tmp_path, monkeypatch):
    listed = []
    for grid, low in (("coolstars", 4000), ("hotdwarfs", 7000)):
        content = state()
        content["training_set_labels"] = content["training_set_labels"] + np.float32(
            [low - 4000, 0, 0]
        )
        name = f"cannongrid_3000_18000_{grid}_norm_cubic_model.pkl"
        listed.append(Listed(write(tmp_path / name, content)))
    monkeypatch.setattr(doppler.importlib.metadata, "files", lambda name: listed)
    models = doppler_wheel(5001.0, 5002.0)
    assert models.domain.teff[1] > 9000
    assert models.wave[0] >= 5001.0
    assert "doppler" not in sys.modules
    assert "thedoppler" not in sys.modules


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise doppler.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doppler.importlib.metadata, "files", missing)
    with pytest.raises(ModelsNotFound, match="pip install --no-deps thedoppler"):
        doppler_wheel()


@pytest.mark.parametrize("window", ["lamost-mrs-blue", "lamost-mrs-red", "h-band"])
def test_bundled_models_are_those_of_the_wheel(window):
    models = bundled(window)
    try:
        wheel = doppler_wheel(models.wave[0] - 1e-6, models.wave[-1] + 1e-6)
    except ModelsNotFound:
        pytest.skip("thedoppler is not installed")
    np.testing.assert_allclose(wheel.wave, models.wave, rtol=1e-12)
    labels = np.array([[5777.0, 4.44, 0.0], [20000.0, 4.0, -1.0]])
    # Coefficients rounded to 16 bits.
    np.testing.assert_allclose(wheel(labels).flux, models(labels).flux, atol=1.2e-4)
