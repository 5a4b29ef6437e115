"""Absolute magnitudes of hot stars from their spectra, by what parallaxes teach.

Luminosity follows from temperature, gravity and mass, and the spectrum knows them: a
network learns the map from spectra to M_Ks on stars with parallaxes (Xiang et al. 2021).
It sees not pixels but the coefficients of a spectrum's reconstruction, in one of two ways:
``"full"``, of all wavelengths but those of the atmosphere and of Na D, for stars without
emission lines; ``"clean"``, of emission-free stretches alone, for those with.

`luminosity_training` teaches it, by one of two methods.
"""

__all__ = [
    "FAR",
    "NOISE",
    "LuminosityModel",
    "LuminosityOptions",
    "Way",
    "dereddened",
    "geometric_magnitude",
    "raw_features",
]

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.archive import below, pack, restore
from steadystar.data.spectra import Spectra
from steadystar.measure.luminosity_network import Network, predict
from steadystar.measure.option_checks import check_values
from steadystar.measure.reconstruction import Reconstruction
from steadystar.survey.columns import numbers

_METHODS = ("mixture", "published")
_WAYS = ("full", "clean")
_KIND = "model of luminosities"
FAR = 8.0
"""Features further than this many sigma from the training stars' are cut to it."""
NOISE = 0.10
"""mag, error by noise at S/N 100 (Xiang et al. 2021, section 5.3)."""


@dataclass(frozen=True)
class LuminosityOptions:
    """How spectra are taught to say absolute magnitudes."""

    method: Annotated[str, '"mixture", or as "published".'] = "mixture"
    a_ks: Annotated[float, "Extinction in Ks over E(B-V)."] = 0.30
    min_snr: Annotated[float, "Least S/N per pixel of the training stars."] = 20.0
    min_parallax_snr: Annotated[
        float, "Least parallax over error (published method; the other takes all)."
    ] = 5.0
    members: Annotated[int, "Networks in the ensemble."] = 5
    width: Annotated[int, "Neurons in each of the two hidden layers, at most."] = 48
    steps: Annotated[int, "Steps of the training, at most."] = 2000
    dropout: Annotated[float, "Share of neurons dropped (published method)."] = 0.2
    rounds: Annotated[
        int, "How often over-luminous stars are removed (published method)."
    ] = 2
    seed: Annotated[int, "Seed of first weights, batches and held-out stars."] = 1

    def __post_init__(self) -> None:
        checks = [("method", self.method in _METHODS, f"one of {', '.join(_METHODS)}")]
        for name in ("members", "width", "steps"):
            checks.append((name, getattr(self, name) >= 1, "at least 1"))
        check_values(self, checks)


@dataclass(frozen=True, eq=False)
class Way:
    """One way of looking at spectra: bases, network, and what it was trained on."""

    bases: Reconstruction
    network: Network
    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    limit: float
    stretch: float
    """By how much scatter was too small on stars that a member had not seen."""

    def to_arrays(self) -> dict[str, NDArray]:
        """Return its fields, as arrays by name."""
        out = {f"bases/{name}": v for name, v in self.bases.to_arrays().items()}
        out |= {f"network/{name}": np.asarray(v) for name, v in self.network.items()}
        for name in ("center", "scale", "limit", "stretch"):
            out[name] = np.asarray(getattr(self, name))
        return out

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "Way":
        """Make it of what `to_arrays` returned."""
        return cls(
            Reconstruction.from_arrays(below(arrays, "bases/")),
            below(arrays, "network/"),
            arrays["center"],
            arrays["scale"],
            float(arrays["limit"]),
            float(arrays["stretch"]),
        )


@dataclass(frozen=True, eq=False)
class LuminosityModel:
    """What spectra say about M_Ks; made by `luminosity_training.fit_luminosity`.

    ``summary``: of the training: numbers of stars, ranges of S/N, parallax and
    magnitude, shares of pairs and odd stars, losses. ``sigma_100, sigma_int``: errors of
    the published method: that at S/N 100, times 100/(S/N), and the intrinsic one, mag.
    """

    method: str
    ways: Mapping[str, Way]
    summary: Mapping[str, Any] = field(default_factory=dict)
    sigma_100: float = NOISE
    sigma_int: float = 0.25

    def apply(
        self, spectra: Spectra, snr: NDArray[np.float64], emission: NDArray[np.bool_]
    ) -> pl.DataFrame:
        """Tell the absolute magnitude of stars from their spectra.

        Arguments:
            spectra: at rest (`rest_frame.to_rest`), on the model's wavelengths.
            snr: S/N per pixel, ``(spectrum,)``.
            emission: which have emission lines: these are looked at in clean stretches.

        Returns:
            One row a spectrum: ``m_ks, m_ks_err`` (mag; the error holds noise, intrinsic
            scatter and what the networks disagree on), ``m_ks_meas_err`` (of noise
            alone), ``outside`` (how far beyond the training stars, 1 being their edge),
            ``warning`` (a sentence, or null).

        Raises:
            ValueError: other wavelengths, or numbers of rows that disagree.
        """
        snr, emission = np.asarray(snr, float), np.asarray(emission, bool)
        if not len(spectra) == len(snr) == len(emission):
            raise ValueError(
                f"There are {len(spectra)} spectra, {len(snr)} values of S/N and "
                f"{len(emission)} of emission: give one of each a spectrum."
            )
        out = {name: np.full(len(spectra), np.nan) for name in _COLUMNS}
        for name, rows in (
            ("full", np.flatnonzero(~emission)),
            ("clean", np.flatnonzero(emission)),
        ):
            if len(rows):
                told = self._tell(self.ways[name], spectra[rows], snr[rows])
                for column, values in zip(_COLUMNS, told, strict=True):
                    out[column][rows] = values
        warning = [
            _warning(m, far) for m, far in zip(out["m_ks"], out["outside"], strict=True)
        ]
        return pl.DataFrame(out | {"warning": pl.Series(warning, dtype=pl.String)})

    def _tell(self, way: Way, spectra: Spectra, snr: NDArray[np.float64]):
        found = way.bases.coefficients(spectra)
        features, outside = _features(way, found.value, snr)
        good = np.asarray(np.isfinite(features).all(axis=1))
        safe = np.where(good[:, None], features, 0)
        mean, scatter, slope = predict(way.network, safe, self.method == "published")
        size = found.value.shape[1]
        slope = slope[:, :size] / way.scale[:size]
        if found.covariance is None:
            noise = self.sigma_100 * 100 / np.maximum(snr, 1e-3)
            error = np.hypot(noise, self.sigma_int)
        else:
            noise = np.sqrt(np.einsum("ni,nij,nj->n", slope, found.covariance, slope))
            spread = np.square(scatter).mean(axis=0) * way.stretch**2
            error = np.sqrt(spread + np.var(mean, axis=0))
        # Noise that the prior of the coefficients has shrunk is no part of the error.
        told = (mean.mean(axis=0), error, np.minimum(noise, error), outside)
        return tuple(np.where(good, values, np.nan) for values in told)

    def with_errors(self, sigma_100: float, sigma_int: float) -> "LuminosityModel":
        """Return the model with other errors of the published kind."""
        return replace(self, sigma_100=sigma_100, sigma_int=sigma_int)

    def save(self, path: Path | str) -> None:
        """Write the model to one file, the same bytes every time."""
        facts = dict(vars(self))
        ways = facts.pop("ways")
        arrays = {
            f"{name}/{key}": value
            for name, way in ways.items()
            for key, value in way.to_arrays().items()
        }
        pack(Path(path), _KIND, facts, {}, arrays)

    @classmethod
    def load(cls, path: Path | str) -> "LuminosityModel":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds no such model.
        """
        return restore(Path(path), _KIND, cls._restored)

    @classmethod
    def _restored(cls, facts, _, arrays) -> "LuminosityModel":
        ways = {name: Way.from_arrays(below(arrays, f"{name}/")) for name in _WAYS}
        return cls(ways=ways, **facts)


_COLUMNS = ("m_ks", "m_ks_err", "m_ks_meas_err", "outside")


def _features(way: Way, value: NDArray[np.float32], snr: NDArray[np.float64]):
    """Return what the network sees, and how far a star is from the training stars."""
    raw = raw_features(value, snr)
    scaled = (raw - way.center) / way.scale
    size = value.shape[1]
    with np.errstate(invalid="ignore"):
        far = np.sqrt((scaled[:, :size] ** 2).mean(axis=1)) / way.limit
    return np.clip(scaled, -FAR, FAR).astype(np.float32), far


def raw_features(value: NDArray[np.float32], snr: NDArray[np.float64]):
    """Return coefficients ``(star, component)`` and the logarithm of S/N beside them."""
    return np.column_stack([value, np.log10(np.clip(snr, 1, 1000))]).astype(np.float32)


def _warning(m_ks: float, outside: float) -> str | None:
    if not np.isfinite(m_ks):
        return "There are too few usable pixels to tell a magnitude."
    if outside > 1:
        return (
            f"The spectrum is unlike those of the training stars ({outside:.1f} times "
            "their edge): the magnitude is extrapolated."
        )
    if m_ks > 2:
        # Xiang et al. 2021, section 5.2.
        return (
            "M_Ks is fainter than 2: subdwarfs and white dwarfs are not in the model."
        )
    return None


def geometric_magnitude(
    table: pl.DataFrame, a_ks: float = 0.30
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return M_Ks from the parallax, ``Ks - A_Ks + 5 log10(parallax) - 10``, and its error.

    ``table`` has ``ks, ks_err, ebv, ebv_err, parallax, parallax_error`` (mag, mas; the
    parallax corrected for its zero point). NaN without a positive parallax.

    Source: Xiang et al. 2021, section 5.
    """
    parallax, error = numbers(table, "parallax"), numbers(table, "parallax_error")
    m_0, m_0_err = dereddened(table, a_ks)
    positive = parallax > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        value = m_0 + 5 * np.log10(np.where(positive, parallax, np.nan)) - 10
        spread = np.hypot(m_0_err, 5 / np.log(10) * error / parallax)
    return value, np.where(positive, spread, np.nan)


def dereddened(
    table: pl.DataFrame, a_ks: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Ks less its extinction ``a_ks E(B-V)``, and the error; a lost error is none.

    ``table`` has ``ks, ks_err, ebv, ebv_err``, mag.
    """
    ks_err, ebv_err = (np.nan_to_num(numbers(table, n)) for n in ("ks_err", "ebv_err"))
    m_0 = numbers(table, "ks") - a_ks * numbers(table, "ebv")
    return m_0, np.hypot(ks_err, a_ks * ebv_err)
