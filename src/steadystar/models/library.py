"""Model spectra: stellar labels in, normalized flux and continuum out.

Whatever computes spectra satisfies one small protocol, `ModelSpectra`: it has a name, a
domain of labels and a fine grid of vacuum wavelengths, and called with labels it
returns a `ModelFlux`. The sources here are

- `bundled`: polynomial models that come with steadystar, for the arms of LAMOST's
  medium-resolution spectrographs and for the H band (1.5 to 1.7 micron);
- `steadystar.models.doppler.doppler_wheel`: the same models from 3000 to 18000 A, read
  from the data files of the package ``thedoppler`` if that is installed;
- `steadystar.models.folder.TemplateFolder`: a folder of FITS files, one a model.

The polynomial models (Ness et al. 2015, "The Cannon") give every pixel's flux as a
cubic polynomial in the scaled labels ``(label - median) / (p97.5 - p2.5)``, median and
percentiles being those of the training spectra. A polynomial does not know that flux
is positive and that lines are in absorption: values below zero or above one are
clipped, and `ModelFlux.clipped` says where.
"""

__all__ = [
    "LABELS",
    "Domain",
    "ModelFlux",
    "ModelSpectra",
    "ModelsNotFound",
    "PolynomialModels",
    "StackedModels",
    "bundled",
    "bundled_windows",
]

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from steadystar.data.numbers import Numbers

LABELS = ("teff", "logg", "feh")
"""Order of the labels: effective temperature in K, log g (cgs), [Fe/H] in dex."""

# Exponents of (teff, logg, feh) in the 20 terms of a cubic, in the Cannon's order.
CUBIC = (
    *((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (1, 1, 0), (1, 0, 1)),
    *((0, 2, 0), (0, 1, 1), (0, 0, 2), (3, 0, 0), (2, 1, 0), (2, 0, 1), (1, 2, 0)),
    *((1, 1, 1), (1, 0, 2), (0, 3, 0), (0, 2, 1), (0, 1, 2), (0, 0, 3)),
)

GRIDS = ("coolstars", "hotdwarfs")


class ModelsNotFound(LookupError):
    """No installed source has the model spectra that were asked for."""


@dataclass(frozen=True)
class Domain:
    """The box of labels inside which a source may be trusted, limits included."""

    teff: tuple[float, float]
    logg: tuple[float, float]
    feh: tuple[float, float]

    @classmethod
    def between(cls, low: Numbers, high: Numbers) -> "Domain":
        """Make the box between two corners, each ``(3,)``."""
        limits = np.stack([np.asarray(low, float), np.asarray(high, float)], axis=1)
        return cls(*((row[0], row[1]) for row in limits.tolist()))

    @property
    def limits(self) -> NDArray[np.float64]:
        """Lowest and highest labels, ``(2, 3)``."""
        return np.array([self.teff, self.logg, self.feh]).T

    def contains(self, labels: Numbers) -> NDArray[np.bool_]:
        """Say for each row of ``labels``, ``(..., 3)``, whether it lies inside."""
        low, high = self.limits
        labels = np.asarray(labels, float)
        return np.asarray(np.all((labels >= low) & (labels <= high), axis=-1))


@dataclass(frozen=True)
class ModelFlux:
    """Model spectra of one or several stars at rest, on the source's wavelengths.

    ``flux``: normalized to the continuum, between 0 and 1. ``continuum``: flux density
    per unit wavelength and stellar surface, in units common to all models of a source.
    ``clipped``: where the source's own value lay outside 0 to 1. All have the shape
    ``(pixel,)`` for one star, ``(star, pixel)`` for several.
    """

    flux: NDArray[np.float64]
    continuum: NDArray[np.float64]
    clipped: NDArray[np.bool_]


@runtime_checkable
class ModelSpectra(Protocol):
    """A source of model spectra."""

    @property
    def name(self) -> str:
        """What the models are, for reports."""
        ...

    @property
    def wave(self) -> NDArray[np.float64]:
        """Vacuum wavelengths in Angstrom, increasing, ``(pixel,)``."""
        ...

    @property
    def domain(self) -> Domain:
        """Where the models may be trusted."""
        ...

    def __call__(self, labels: Numbers) -> ModelFlux:
        """Return the spectra of ``labels``, ``(3,)`` or ``(star, 3)``.

        Raises:
            ValueError: labels lie outside the domain.
        """
        ...


@dataclass(frozen=True, eq=False)
class PolynomialModels:
    """Spectra that are cubic polynomials in the scaled labels, pixel by pixel.

    ``theta``: coefficients of the normalized flux, ``(term, pixel)``.
    ``continuum_wave`` and ``continuum_theta``: the same for log10 of the continuum, on
    a coarser grid. ``center`` and ``scale``: how labels are scaled.
    """

    name: str
    wave: NDArray[np.float64]
    domain: Domain
    theta: NDArray[np.float64]
    continuum_wave: NDArray[np.float64]
    continuum_theta: NDArray[np.float64]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    def terms(self, labels: Numbers) -> NDArray[np.float64]:
        """Return the 20 polynomial terms of ``labels``, ``(..., 20)``."""
        scaled = (np.asarray(labels, float) - self.center) / self.scale
        return np.prod(scaled[..., None, :] ** np.array(CUBIC), axis=-1)

    def unclipped(self, labels: Numbers) -> NDArray[np.float64]:
        """Return the polynomial's own values, which may leave the range 0 to 1."""
        return self.terms(labels) @ self.theta

    def __call__(self, labels: Numbers) -> ModelFlux:
        """Return the clipped spectra of ``labels``; see `ModelSpectra`."""
        labels = np.asarray(labels, float)
        _require_inside(self, labels)
        terms = self.terms(labels)
        flux = terms @ self.theta
        coarse = terms @ self.continuum_theta
        continuum = 10 ** np.apply_along_axis(
            lambda row: np.interp(self.wave, self.continuum_wave, row), -1, coarse
        )
        inside = np.clip(flux, 0.0, 1.0)
        return ModelFlux(inside, continuum, inside != flux)

    def window(self, low: float, high: float) -> "PolynomialModels":
        """Keep the pixels of ``low`` to ``high`` Angstrom (vacuum)."""
        first, last = np.searchsorted(self.wave, [low, high])
        coarse = slice(
            max(np.searchsorted(self.continuum_wave, low) - 1, 0),
            np.searchsorted(self.continuum_wave, high) + 1,
        )
        return replace(
            self,
            wave=self.wave[first:last],
            theta=self.theta[:, first:last],
            continuum_wave=self.continuum_wave[coarse],
            continuum_theta=self.continuum_theta[:, coarse],
        )


@dataclass(frozen=True, eq=False)
class StackedModels:
    """Several sources on the same wavelengths: each star takes the first that has it."""

    parts: tuple[PolynomialModels, ...]

    @property
    def name(self) -> str:
        """The names of the parts."""
        return " + ".join(part.name for part in self.parts)

    @property
    def wave(self) -> NDArray[np.float64]:
        """Vacuum wavelengths in Angstrom, ``(pixel,)``."""
        return self.parts[0].wave

    @property
    def domain(self) -> Domain:
        """The smallest box around the domains of the parts."""
        limits = np.array([part.domain.limits for part in self.parts])
        return Domain.between(limits[:, 0].min(axis=0), limits[:, 1].max(axis=0))

    def __call__(self, labels: Numbers) -> ModelFlux:
        """Return the spectra of ``labels``; see `ModelSpectra`."""
        labels = np.asarray(labels, float)
        rows = np.atleast_2d(labels)
        inside = np.array([part.domain.contains(rows) for part in self.parts])
        if not inside.any(axis=0).all():
            _require_inside(self.parts[0], rows[~inside.any(axis=0)])
        chosen = np.argmax(inside, axis=0)
        shape = (len(rows), len(self.wave))
        out = ModelFlux(np.empty(shape), np.empty(shape), np.empty(shape, bool))
        for index in np.unique(chosen):
            found = self.parts[index](rows[chosen == index])
            out.flux[chosen == index] = found.flux
            out.continuum[chosen == index] = found.continuum
            out.clipped[chosen == index] = found.clipped
        if labels.ndim == 1:
            return ModelFlux(out.flux[0], out.continuum[0], out.clipped[0])
        return out

    def window(self, low: float, high: float) -> "StackedModels":
        """Keep the pixels of ``low`` to ``high`` Angstrom (vacuum)."""
        return replace(self, parts=tuple(p.window(low, high) for p in self.parts))


def bundled_windows() -> list[str]:
    """Return the names that `bundled` knows."""
    folder = resources.files("steadystar.models") / "grids"
    return sorted(f.name[:-4] for f in folder.iterdir() if f.name.endswith(".npz"))


@cache
def bundled(window: str) -> StackedModels:
    """Return the models that come with steadystar.

    ``window`` is one of `bundled_windows`: ``"lamost-mrs-blue"``, ``"lamost-mrs-red"``
    or ``"h-band"``. They are the models of `doppler_wheel` with coefficients rounded
    to 16 bits, which moves a flux by at most 2e-4 of the continuum.

    Raises:
        ModelsNotFound: there is no such window.
    """
    if window not in bundled_windows():
        raise ModelsNotFound(
            f"No model spectra called {window!r} come with steadystar, only "
            f"{', '.join(bundled_windows())}. For other wavelengths between 3000 and "
            "18000 A run `pip install --no-deps thedoppler` and use doppler_wheel()."
        )
    packed = (
        resources.files("steadystar.models") / "grids" / f"{window}.npz"
    ).read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return StackedModels(tuple(unpack(arrays, grid) for grid in GRIDS))


def pack(models: StackedModels, path: Path) -> None:
    """Write ``models`` to an ``.npz`` file as `bundled` reads them.

    The files that come with steadystar were written by this from
    ``doppler_wheel(low, high)``: 4862 to 5431, 6232 to 6911 and 15105 to 17014 A.
    """
    arrays = {}
    for grid, part in zip(GRIDS, models.parts, strict=True):
        step = np.abs(part.theta).max(axis=1) / 32767
        arrays |= {
            f"{grid}_theta": np.round(part.theta / step[:, None]).astype(np.int16),
            f"{grid}_step": step,
            f"{grid}_continuum_wave": part.continuum_wave,
            f"{grid}_continuum_theta": part.continuum_theta.astype(np.float32),
            f"{grid}_domain": part.domain.limits,
            f"{grid}_scaling": [part.center, part.scale],
        }
    np.savez_compressed(path, wave=models.wave, **arrays)


def unpack(arrays: Mapping[str, NDArray], grid: str) -> PolynomialModels:
    """Return one grid of a file that `pack` wrote."""
    center, scale = arrays[f"{grid}_scaling"]
    return PolynomialModels(
        name=f"thedoppler {grid}",
        wave=arrays["wave"],
        domain=Domain.between(*arrays[f"{grid}_domain"]),
        theta=arrays[f"{grid}_theta"] * arrays[f"{grid}_step"][:, None],
        continuum_wave=arrays[f"{grid}_continuum_wave"],
        continuum_theta=arrays[f"{grid}_continuum_theta"].astype(np.float64),
        center=center,
        scale=scale,
    )


def _require_inside(source: PolynomialModels, labels: NDArray[np.float64]) -> None:
    rows = np.atleast_2d(labels)
    if rows.shape[-1] != len(LABELS):
        raise ValueError(
            f"Labels have shape {labels.shape}: give {', '.join(LABELS)} for each star."
        )
    outside = ~source.domain.contains(rows)
    if outside.any():
        raise ValueError(
            f"Labels {dict(zip(LABELS, rows[outside][0].tolist(), strict=True))} lie "
            f"outside the models {source.name} ({source.domain}): choose labels "
            "inside, or another source."
        )
