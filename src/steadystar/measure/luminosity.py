"""Absolute magnitudes of hot stars from their spectra, by what parallaxes teach.

Luminosity follows from temperature, gravity and mass, and the spectrum knows them: a
network learns the map from spectra to M_Ks on stars with parallaxes (Xiang et al. 2021).
It sees not pixels but the coefficients of a spectrum's reconstruction, in one of two ways:
``"full"``, of all wavelengths but those of the atmosphere and of Na D, for stars without
emission lines; ``"clean"``, of emission-free stretches alone, for those with.

`fit_luminosity` trains, by one of two methods. ``"published"``: one network a way, least
squares on magnitudes made of parallaxes, over-luminous stars removed in rounds, one error
for all. ``"mixture"`` (the default): an ensemble, trained on the parallaxes themselves, in
which a star is single or a pair with probability, so that pairs bias nothing; each star
gets an error of its own.
"""

__all__ = [
    "LuminosityModel",
    "LuminosityOptions",
    "fit_luminosity",
    "geometric_magnitude",
]

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.archive import below, pack, restore
from steadystar.data.spectra import Spectra
from steadystar.measure.luminosity_likelihood import (
    BRIGHTENING,
    Mixture,
    mixture,
    parallax_nodes,
)
from steadystar.measure.luminosity_network import (
    Network,
    Trained,
    TrainingSet,
    predict,
    train_mixture,
    train_published,
)
from steadystar.measure.option_checks import check_values
from steadystar.measure.reconstruction import Reconstruction, fit_reconstruction
from steadystar.measure.rest_frame import without_sky
from steadystar.survey.columns import numbers

_METHODS = ("mixture", "published")
_WAYS = ("full", "clean")
_KIND = "model of luminosities"
_FAR = 8.0
"""Features further than this many sigma from the training stars' are cut to it."""
_MAD = 1.4826
_NOISE = 0.10
"""mag, error by noise at S/N 100 (Xiang et al. 2021, section 5.3)."""
_STRETCHES = np.round(np.arange(0.7, 3.0, 0.02), 2)


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
class _Way:
    """One way of looking at spectra: bases, network, and what it was trained on."""

    bases: Reconstruction
    network: Network
    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    limit: float
    stretch: float
    """By how much scatter was too small on stars that a member had not seen."""

    def to_arrays(self) -> dict[str, NDArray]:
        out = {f"bases/{name}": v for name, v in self.bases.to_arrays().items()}
        out |= {f"network/{name}": np.asarray(v) for name, v in self.network.items()}
        for name in ("center", "scale", "limit", "stretch"):
            out[name] = np.asarray(getattr(self, name))
        return out

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "_Way":
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
    """What spectra say about M_Ks; made by `fit_luminosity`.

    ``summary``: of the training: numbers of stars, ranges of S/N, parallax and
    magnitude, shares of pairs and odd stars, losses. ``sigma_100, sigma_int``: errors of
    the published method: that at S/N 100, times 100/(S/N), and the intrinsic one, mag.
    """

    method: str
    ways: Mapping[str, _Way]
    summary: Mapping[str, Any] = field(default_factory=dict)
    sigma_100: float = _NOISE
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

    def _tell(self, way: _Way, spectra: Spectra, snr: NDArray[np.float64]):
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
        ways = {name: _Way.from_arrays(below(arrays, f"{name}/")) for name in _WAYS}
        return cls(ways=ways, **facts)


_COLUMNS = ("m_ks", "m_ks_err", "m_ks_meas_err", "outside")


def _features(way: _Way, value: NDArray[np.float32], snr: NDArray[np.float64]):
    """Return what the network sees, and how far a star is from the training stars."""
    raw = _raw(value, snr)
    scaled = (raw - way.center) / way.scale
    size = value.shape[1]
    with np.errstate(invalid="ignore"):
        far = np.sqrt((scaled[:, :size] ** 2).mean(axis=1)) / way.limit
    return np.clip(scaled, -_FAR, _FAR).astype(np.float32), far


def _raw(value: NDArray[np.float32], snr: NDArray[np.float64]):
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


def fit_luminosity(
    spectra: Spectra,
    table: pl.DataFrame,
    clean: Reconstruction,
    emission: NDArray[np.bool_],
    options: LuminosityOptions = LuminosityOptions(),
) -> LuminosityModel:
    """Learn M_Ks from spectra of stars with parallaxes.

    Arguments:
        spectra: at rest, one a star, ``table`` aligned with it.
        table: ``snr``, and what `geometric_magnitude` needs; rows that lack any of it
            teach nothing.
        clean: bases of the emission-free stretches (`emission.fit_emission`).
        emission: which stars have emission lines: they teach the clean way only.
        options: method, ensemble, training.

    Raises:
        ValueError: fewer than 100 stars to learn from.

    Source:
        Xiang et al. 2021, section 5, equation 6; the mixture is ours.
    """
    published = options.method == "published"
    stars = _Stars.of(table, options.a_ks)
    usable = stars.known & (stars.snr >= options.min_snr)
    if published:
        usable &= stars.parallax > options.min_parallax_snr * stars.error
    _enough(int(usable.sum()))
    plain = usable & ~emission
    few, how = (100, "published") if published else (60, "weighted")
    whole = fit_reconstruction(spectra, without_sky(spectra.wave), plain, few, how)
    if clean.method != how:
        clean = fit_reconstruction(spectra, clean.clean, plain, few, how)
    ways, summary = {}, {"method": options.method, "a_ks": options.a_ks}
    for name, bases, taken in (("full", whole, plain), ("clean", clean, usable)):
        ways[name], summary[name] = _taught_way(bases, spectra, stars, taken, options)
    model = LuminosityModel(options.method, ways, summary)
    return model.with_errors(*summary["full"]["errors"]) if published else model


class _Stars(NamedTuple):
    """What is known of stars besides their spectra, ``(star,)``; ``known``: whether all."""

    snr: NDArray[np.float64]
    m_0: NDArray[np.float64]
    m_0_err: NDArray[np.float64]
    parallax: NDArray[np.float64]
    error: NDArray[np.float64]
    m_geo: NDArray[np.float64]
    m_geo_err: NDArray[np.float64]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pl.DataFrame, a_ks: float) -> "_Stars":
        snr, parallax, error = (
            numbers(table, name) for name in ("snr", "parallax", "parallax_error")
        )
        m_0, m_0_err = dereddened(table, a_ks)
        known = np.isfinite(m_0 + parallax + error) & (error > 0)
        geometric = geometric_magnitude(table, a_ks)
        return cls(snr, m_0, m_0_err, parallax, error, *geometric, known)

    def at(self, rows: NDArray[np.intp]) -> "_Stars":
        numbers = (values[rows] for values in self[:-1])
        return _Stars(*numbers, known=self.known[rows])


def _taught_way(bases: Reconstruction, spectra: Spectra, stars: _Stars, taken, options):
    """Train one way of looking at spectra on the stars ``taken``; tell of the training."""
    rows = np.flatnonzero(taken)
    _enough(len(rows))
    value = bases.coefficients(spectra[rows]).value
    seen = np.isfinite(value).all(axis=1)
    value, stars = value[seen], stars.at(rows[seen])
    raw = _raw(value, stars.snr)
    center, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
    if options.method == "published":
        scale[: value.shape[1]] = np.sqrt((raw.std(axis=0) ** 2)[:-1].mean())
    features = np.clip((raw - center) / scale, -_FAR, _FAR).astype(np.float32)
    distance = np.sqrt((features[:, :-1] ** 2).mean(axis=1))
    way = _Way(bases, {}, center, scale, float(np.quantile(distance, 0.999)), 1.0)
    m_geo = np.nan_to_num(stars.m_geo, nan=float(np.nanmedian(stars.m_geo)))
    nodes = parallax_nodes(stars.m_0, stars.m_0_err, stars.parallax, stars.error)
    data = TrainingSet(features, nodes, m_geo.astype(np.float32))
    teach = _published if options.method == "published" else _mixture
    way, facts = teach(way, data, stars.m_geo_err, options)
    return way, facts | _ranges(stars.snr, stars.parallax, m_geo)


def _enough(number: int) -> None:
    if number < 100:
        raise ValueError(
            f"Only {number} stars have a spectrum, Ks, E(B-V) and a parallax to learn "
            "from: 100 are the least. Use a model trained on another survey "
            "(LuminosityModel.load)."
        )


def _ranges(snr, parallax, m_ks) -> dict[str, Any]:
    names = {"snr": snr, "parallax": parallax, "m_ks": m_ks}
    return {
        "stars": len(snr),
        **{
            k: [round(float(v), 3) for v in (x.min(), x.max())]
            for k, x in names.items()
        },
    }


def _held_out(number: int, seed: int) -> NDArray[np.bool_]:
    """One star in five, drawn by the seed."""
    out = np.zeros(number, bool)
    out[np.random.default_rng(seed).permutation(number)[: number // 5]] = True
    return out


def _some(data: TrainingSet, rows) -> TrainingSet:
    nodes = type(data.nodes)(*(part[rows] for part in data.nodes))
    return TrainingSet(data.features[rows], nodes, data.m_geo[rows])


def _mixture(way: _Way, data: TrainingSet, m_geo_err, options: LuminosityOptions):
    found = train_mixture(
        data,
        seed=options.seed,
        members=options.members,
        width=options.width,
        steps=options.steps,
    )
    way = replace(way, network=found.network, stretch=_stretch(found, data))
    facts = {
        "stretch": round(way.stretch, 3),
        "pairs": round(float(found.shares.kind[1]), 4),
        "odd": round(float(found.shares.kind[2]), 4),
        "brightening": [round(float(v), 4) for v in found.shares.brightening],
        "magnitudes": [round(float(v), 4) for v in BRIGHTENING],
        "loss": [round(float(v), 5) for v in found.losses.mean(axis=1)],
    }
    return way, facts


def _stretch(found: Trained, data: TrainingSet) -> float:
    """Factor on the scatter with which parallaxes that a member did not see are likeliest."""
    rows = np.flatnonzero(np.isfinite(found.mean))
    mean, scatter = found.mean[rows], found.scatter[rows]
    logs = Mixture(*(np.log(np.maximum(part, 1e-6)) for part in found.shares))
    nodes = _some(data, rows).nodes
    told = [float(np.sum(mixture(nodes, mean, scatter * c, logs))) for c in _STRETCHES]
    return float(_STRETCHES[int(np.argmax(told))])


def _published(way: _Way, data: TrainingSet, m_geo_err, options: LuminosityOptions):
    aside = _held_out(len(data.features), options.seed)
    pair = np.zeros(len(aside), bool)
    for turn in range(options.rounds):
        network, _, scatter = _taught(data, aside, pair, options, turn)
        off = predict(network, data.features, True)[0][0] - data.m_geo
        pair = off > 2 * np.hypot(scatter, m_geo_err)
    network, losses, scatter = _taught(data, aside, pair, options, options.rounds)
    extra = max(scatter**2 - float(np.median(m_geo_err[aside])) ** 2, 0.0)
    facts = {
        "held_out": int(aside.sum()),
        "removed": int((pair & ~aside).sum()),
        "loss": [round(float(v), 5) for v in losses[-5:]],
        # Until the error budget is sampled: noise as the paper has it, the rest intrinsic.
        "errors": [_NOISE, round(float(np.sqrt(max(extra - _NOISE**2, 0.0025))), 4)],
    }
    return replace(way, network=network), facts


def _taught(data: TrainingSet, aside, pair, options: LuminosityOptions, turn: int):
    """One training without pairs, and the scatter of the stars held out."""
    network, losses = train_published(
        _some(data, ~aside & ~pair), options.seed + turn, options.steps, options.dropout
    )
    off = (predict(network, data.features, True)[0][0] - data.m_geo)[aside]
    return network, losses, _MAD * float(np.median(abs(off - np.median(off))))
