"""Teaching a `LuminosityModel`: spectra of stars with parallaxes.

``"published"``: one network a way, least squares on magnitudes made of parallaxes,
over-luminous stars removed in rounds, one error for all. ``"mixture"`` (the default): an
ensemble, trained on the parallaxes themselves, in which a star is single or a pair with
probability, so that pairs bias nothing; each star gets an error of its own.
"""

__all__ = ["fit_luminosity"]

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.spectra import Spectra
from steadystar.measure.luminosity import (
    FAR,
    NOISE,
    LuminosityModel,
    LuminosityOptions,
    Way,
    dereddened,
    geometric_magnitude,
    raw_features,
)
from steadystar.measure.luminosity_likelihood import (
    BRIGHTENING,
    Mixture,
    mixture,
    parallax_nodes,
)
from steadystar.measure.luminosity_network import (
    Trained,
    TrainingSet,
    predict,
    train_mixture,
    train_published,
)
from steadystar.measure.reconstruction import Reconstruction
from steadystar.measure.reconstruction_training import fit_reconstruction
from steadystar.measure.rest_frame import without_sky
from steadystar.survey.columns import numbers

_MAD = 1.4826
_STRETCHES = np.round(np.arange(0.7, 3.0, 0.02), 2)


def fit_luminosity(
    spectra: Spectra,
    table: pl.DataFrame,
    clean: Reconstruction,
    emission: NDArray[np.bool_],
    options: LuminosityOptions | None = None,
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
    options = options or LuminosityOptions()
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
    raw = raw_features(value, stars.snr)
    center, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
    if options.method == "published":
        scale[: value.shape[1]] = np.sqrt((raw.std(axis=0) ** 2)[:-1].mean())
    features = np.clip((raw - center) / scale, -FAR, FAR).astype(np.float32)
    distance = np.sqrt((features[:, :-1] ** 2).mean(axis=1))
    way = Way(bases, {}, center, scale, float(np.quantile(distance, 0.999)), 1.0)
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


def _mixture(way: Way, data: TrainingSet, m_geo_err, options: LuminosityOptions):
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


def _published(way: Way, data: TrainingSet, m_geo_err, options: LuminosityOptions):
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
        "errors": [NOISE, round(float(np.sqrt(max(extra - NOISE**2, 0.0025))), 4)],
    }
    return replace(way, network=network), facts


def _taught(data: TrainingSet, aside, pair, options: LuminosityOptions, turn: int):
    """One training without pairs, and the scatter of the stars held out."""
    network, losses = train_published(
        _some(data, ~aside & ~pair), options.seed + turn, options.steps, options.dropout
    )
    off = (predict(network, data.features, True)[0][0] - data.m_geo)[aside]
    return network, losses, _MAD * float(np.median(abs(off - np.median(off))))
