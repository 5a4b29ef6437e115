"""The polynomial models in the package ``thedoppler``, without that package.

Its wheel (46 MB) holds two models, for cool stars and hot dwarfs, from 3000 to 18000 A
every 0.1 A in air, as pickles of dictionaries and arrays. Importing the package would
need some fifteen others and fails with recent ones, so only its data files are used:
they are found through the installed package's metadata, and reading them can create
nothing but NumPy arrays and plain containers. Wavelengths are converted from air to
vacuum here, once.

The models are by D. Nidever (MIT license), trained on synthetic spectra with the Cannon
(Ness et al. 2015; Casey et al. 2016).
"""

__all__ = ["doppler_wheel", "read_doppler_pickle"]

import importlib.metadata
import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from steadystar.data.air import air_to_vacuum
from steadystar.models.library import (
    CUBIC,
    GRIDS,
    Domain,
    ModelsNotFound,
    PolynomialModels,
    StackedModels,
)


def doppler_wheel(low: float = 3000.0, high: float = 18000.0) -> StackedModels:
    """Return the models in the data files of the installed package ``thedoppler``.

    Cool stars: 3500 to 8000 K, log g 0 to 5; hot dwarfs: 8000 to 40 000 K, log g 2.5
    to 5; [Fe/H] -2.5 to 0.5; every 0.1 A (in air) from ``low`` to ``high`` Angstrom
    (vacuum). Only the data files are used; the package is not imported, and need not be
    importable.

    Raises:
        ModelsNotFound: the package or its data files are not installed.
        ValueError: a data file holds anything but arrays and plain containers.
    """
    try:
        files = importlib.metadata.files("thedoppler") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    parts = []
    for grid in GRIDS:
        path = next(
            (Path(str(f.locate())) for f in files if f"18000_{grid}_norm" in f.name),
            None,
        )
        if path is None or not path.is_file():
            raise ModelsNotFound(
                f"The {grid} models of the package thedoppler are not installed. Run "
                "`pip install --no-deps thedoppler` (46 MB; its dependencies are not "
                "needed)."
            )
        parts.append(read_doppler_pickle(path, f"thedoppler {grid}").window(low, high))
    return StackedModels(tuple(parts))


def read_doppler_pickle(path: Path, name: str) -> PolynomialModels:
    """Read one of thedoppler's polynomial models.

    Raises:
        ValueError: the file holds anything but arrays and plain containers, or is not
            such a model.
    """
    with path.open("rb") as file:
        try:
            state = _ArraysOnly(file, encoding="latin1").load()
        except (pickle.UnpicklingError, EOFError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{path} is no safe pickle of arrays: {error}. Reinstall thedoppler."
            ) from error
    try:
        training = np.asarray(state["training_set_labels"], np.float64)
        edges = np.percentile(training, [2.5, 97.5], axis=0)
        _require_cubic(state["vectorizer"])
        return PolynomialModels(
            name=name,
            wave=air_to_vacuum(state["dispersion"]),
            domain=Domain.between(training.min(axis=0), training.max(axis=0)),
            theta=np.ascontiguousarray(state["theta"].T),
            continuum_wave=air_to_vacuum(state["continuum"]["dispersion"]),
            continuum_theta=np.ascontiguousarray(state["continuum"]["theta"].T),
            center=np.percentile(training, 50, axis=0),
            scale=edges[1] - edges[0],
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path} is no polynomial model of thedoppler: {error!r} is missing or of "
            "the wrong kind. Versions 1.1.30 to 1.1.32 are known to work."
        ) from error


def _require_cubic(vectorizer: Any) -> None:
    """Check that the terms of a file are those of `CUBIC`, in that order."""
    exponents: list[tuple[int, ...]] = [(0, 0, 0)]
    for term in vectorizer[1]["terms"]:
        powers = [0, 0, 0]
        for label, power in term:
            powers[label] += int(power)
        exponents.append(tuple(powers))
    if tuple(exponents) != CUBIC:
        raise KeyError("a cubic in three labels")


class _ArraysOnly(pickle.Unpickler):
    """Unpickle containers, numbers, strings and NumPy arrays; refuse all else."""

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 moved these; the files were written by NumPy 1.
        match module, name:
            case "numpy.core.multiarray" | "numpy._core.multiarray", (
                "_reconstruct" | "scalar"
            ):
                return getattr(import_module("numpy._core.multiarray"), name)
            case "numpy", "ndarray" | "dtype":
                return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
