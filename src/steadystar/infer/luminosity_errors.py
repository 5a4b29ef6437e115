"""How good magnitudes from spectra are: scale, offset, noise and intrinsic scatter.

A hierarchical model, sampled by the No-U-Turn sampler of NumPyro. A star's geometric
magnitude is known as well as its parallax is; the spectroscopic one scatters about
``(1 + alpha) M_g + beta`` by ``sigma_int``, and its noise is ``sigma_100`` at a
signal-to-noise ratio of 100 and goes as its inverse (Xiang et al. 2021, section 5.4). The
star's own magnitude is integrated out on a few nodes of its parallax's likelihood, so four
numbers are sampled, not four and as many as there are stars.

Pairs are brighter than their spectrum says. The paper removes what is over-luminous by 2
sigma, which bends the slope; here pairs are part of the model (``pairs="mixture"``): their
share is sampled along.
"""

__all__ = ["ErrorBudget", "ErrorBudgetOptions", "fit_luminosity_errors"]

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.distance_inputs import Measured
from steadystar.infer.overluminous import parallax_excess
from steadystar.measure.luminosity import dereddened
from steadystar.measure.luminosity_likelihood import mixture, odd_ones, parallax_nodes
from steadystar.measure.option_checks import check_values
from steadystar.survey.columns import numbers

PARAMETERS = ("alpha", "beta", "sigma_100", "sigma_int")
_PAIRS = ("mixture", "published", "none")


@dataclass(frozen=True)
class ErrorBudgetOptions:
    """How the error budget is sampled."""

    pairs: Annotated[
        str, '"mixture": part of the model; "published": cut at 2 sigma; or "none".'
    ] = "mixture"
    a_ks: Annotated[float, "Extinction in Ks over E(B-V)."] = 0.30
    chains: Annotated[int, "Chains of the sampler."] = 2
    warmup: Annotated[int, "Steps a chain to adapt in."] = 300
    samples: Annotated[int, "Samples a chain."] = 400
    max_stars: Annotated[int, "Most stars that are used, drawn by the seed."] = 1000
    rounds: Annotated[int, "Rounds of removing pairs (published)."] = 2
    seed: Annotated[int, "Seed of the chains."] = 1

    def __post_init__(self) -> None:
        checks = [("pairs", self.pairs in _PAIRS, f"one of {', '.join(_PAIRS)}")]
        for name in ("chains", "warmup", "samples", "max_stars"):
            checks.append((name, getattr(self, name) >= 1, "at least 1"))
        check_values(self, checks)


@dataclass(frozen=True, eq=False)
class ErrorBudget:
    """Posterior samples, ``{parameter: (sample,)}``, and whether they can be trusted.

    ``alpha``: slope less one; ``beta`` (mag); ``sigma_100`` and ``sigma_int`` (mag);
    ``pairs``: share of pairs, where that was sampled. ``r_hat`` (below 1.01 when chains
    agree) and ``n_eff`` by parameter; ``divergences`` of the sampler. ``stars`` used.
    """

    samples: dict[str, NDArray[np.float64]]
    r_hat: dict[str, float]
    n_eff: dict[str, float]
    divergences: int
    stars: int
    notes: tuple[str, ...] = field(default=())

    def interval(self, name: str, share: float = 0.6827) -> tuple[float, float, float]:
        """Return the median and both ends of the central interval of a parameter."""
        half = 50 * share
        low, middle, high = np.percentile(
            self.samples[name], [50 - half, 50, 50 + half]
        )
        return float(middle), float(low), float(high)

    def summary(self) -> dict[str, Any]:
        """Return everything but the samples, for tables and JSON."""
        return {
            name: {
                **dict(
                    zip(
                        ("median", "low", "high"),
                        (round(v, 5) for v in self.interval(name)),
                        strict=True,
                    )
                ),
                "r_hat": round(self.r_hat[name], 4),
                "n_eff": round(self.n_eff[name], 1),
            }
            for name in self.samples
        } | {"stars": self.stars, "divergences": self.divergences}


def fit_luminosity_errors(
    table: pl.DataFrame, options: ErrorBudgetOptions = ErrorBudgetOptions()
) -> ErrorBudget:
    """Sample the error budget of magnitudes from spectra.

    Arguments:
        table: one row a star: ``m_ks`` (from the spectrum), ``snr``, ``ks, ks_err, ebv,
            ebv_err`` (mag), ``parallax, parallax_error`` (mas, zero-point corrected).
            Stars that taught the network flatter it: give others. Rows that lack a
            number are left out, and counted in ``notes``.
        options: treatment of pairs, sampler.

    Raises:
        ValueError: a column is missing, or fewer than 30 stars are left.

    Source:
        Xiang et al. 2021, section 5.4.
    """
    columns = _columns(table, options.a_ks)
    good = np.isfinite(np.stack([*columns.values()])).all(axis=0)
    good &= (columns["snr"] > 0) & (columns["parallax_error"] > 0)
    rows = np.flatnonzero(good)
    if len(rows) < 30:
        raise ValueError(
            f"Only {len(rows)} of {len(table)} stars have a magnitude, S/N, Ks, E(B-V) "
            "and a parallax: 30 are the least for an error budget."
        )
    notes = []
    if len(rows) < len(table):
        notes.append(f"{len(table) - len(rows)} stars lack a number and are left out.")
    if len(rows) > options.max_stars:
        rng = np.random.default_rng(options.seed)
        rows = np.sort(rng.choice(rows, options.max_stars, replace=False))
    kept = {name: values[rows] for name, values in columns.items()}
    rounds = options.rounds if options.pairs == "published" else 0
    budget = _sample(kept, options, tuple(notes))
    for _ in range(rounds):
        off = _over_luminous(kept, budget)
        if not off.any():
            break
        kept = {name: values[~off] for name, values in kept.items()}
        budget = _sample(kept, options, (*notes, "Over-luminous stars are removed."))
    return budget


def _columns(table: pl.DataFrame, a_ks: float) -> dict[str, NDArray[np.float64]]:
    """Return magnitudes from spectra, S/N, dereddened Ks and parallaxes, ``(star,)``."""
    needed = ("m_ks", "snr", "ks", "ks_err", "ebv", "ebv_err", "parallax")
    needed = (*needed, "parallax_error")
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(
            f"The table lacks {', '.join(missing)}: an error budget needs "
            f"{', '.join(needed)}."
        )
    m_0, m_0_err = dereddened(table, a_ks)
    # Without an error of Ks or E(B-V), that of the dereddened magnitude is unknown.
    known = np.isfinite(numbers(table, "ks_err") + numbers(table, "ebv_err"))
    given = ("m_ks", "snr", "parallax", "parallax_error")
    return {
        **{name: numbers(table, name) for name in given},
        "m_0": m_0,
        "m_0_err": np.where(known, m_0_err, np.nan),
    }


def _over_luminous(kept, budget: ErrorBudget) -> NDArray[np.bool_]:
    """Stars whose spectroscopic parallax is 2 sigma too large (section 6 of the paper)."""
    at = {name: float(np.median(v)) for name, v in budget.samples.items()}
    truth = (kept["m_ks"] - at["beta"]) / (1 + at["alpha"])
    noise = np.hypot(at["sigma_100"] * 100 / kept["snr"], at["sigma_int"])
    stars = Measured(
        kept["m_0"] - truth,
        np.hypot(noise, kept["m_0_err"]),
        kept["parallax"],
        kept["parallax_error"],
        np.full(len(truth), "", object),
    )
    return parallax_excess(stars) > 2


def _sample(kept, options: ErrorBudgetOptions, notes: tuple[str, ...]) -> ErrorBudget:
    # NumPyro takes half a second to import; most runs never need it.
    import jax
    from numpyro.diagnostics import summary
    from numpyro.infer import MCMC, NUTS

    mixed = options.pairs == "mixture"
    with jax.enable_x64(True):
        sampler = MCMC(
            # sigma_100 and sigma_int trade against each other: a dense mass follows.
            NUTS(_model(kept, mixed), dense_mass=True),
            num_warmup=options.warmup,
            num_samples=options.samples,
            num_chains=options.chains,
            chain_method="vectorized",
            progress_bar=False,
        )
        sampler.run(jax.random.key(options.seed), extra_fields=("diverging",))
        chains = {
            name: np.asarray(values, float)
            for name, values in sampler.get_samples(group_by_chain=True).items()
        }
        lost = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    names = [*PARAMETERS, *(("pairs", "odd") if mixed else ())]
    facts = summary({name: chains[name] for name in names})
    return ErrorBudget(
        {name: chains[name].ravel() for name in names},
        {name: float(facts[name]["r_hat"]) for name in names},
        {name: float(facts[name]["n_eff"]) for name in names},
        lost,
        len(kept["m_ks"]),
        notes,
    )


def _model(kept, mixed: bool) -> Callable[[], None]:
    """Return the model of the stars' magnitudes; of single stars and pairs if ``mixed``."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from jax.scipy.special import logsumexp

    seen_with = [kept[n] for n in ("m_0", "m_0_err", "parallax", "parallax_error")]
    nodes = parallax_nodes(*seen_with, pairs=False)
    # What pairs do is averaged once, not in each of the sampler's steps.
    paired = parallax_nodes(*seen_with, pairs=True) if mixed else nodes
    # Magnitudes need no more than float32; only sums over stars do.
    seen = jnp.asarray(kept["m_ks"], jnp.float32)
    noise = jnp.asarray(100 / kept["snr"], jnp.float32)

    def model() -> None:
        alpha: Any = numpyro.sample("alpha", dist.Uniform(-0.5, 0.5))
        beta: Any = numpyro.sample("beta", dist.Uniform(-2.0, 2.0))
        sigma_100: Any = numpyro.sample("sigma_100", dist.Uniform(0.0, 2.0))
        sigma_int: Any = numpyro.sample("sigma_int", dist.Uniform(0.0, 2.0))
        sigma = jnp.sqrt(sigma_int**2 + (sigma_100 * noise) ** 2)
        # What a spectrum of this magnitude says of the star's own, and how well.
        told = ((seen - beta) / (1 + alpha)).astype(jnp.float32)
        spread = sigma / (1 + alpha)
        each = mixture(nodes, told, spread, None)
        if mixed:
            share: Any = numpyro.sample("pairs", dist.Beta(2.0, 14.0))
            odd: Any = numpyro.sample("odd", dist.Beta(1.0, 99.0))
            double = mixture(paired, told, spread, None)
            kinds = [(1 - share) * (1 - odd), share * (1 - odd), odd]
            parts = [each, double, odd_ones(nodes)]
            each = logsumexp(
                jnp.stack([jnp.log(k) + p for k, p in zip(kinds, parts, strict=True)]),
                axis=0,
            )
        each = each - jnp.log1p(alpha)
        numpyro.factor("parallaxes", jnp.sum(each, dtype=jnp.float64))

    return model
