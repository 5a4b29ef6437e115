"""Hot stars, simulated: emission, magnitudes, error budget, distances, composites, time.

    python benchmarks/hot.py [--number 4000] [--seed 7] [--fresh-labels] [--steps 2000]

A survey is simulated; one star in five teaches nothing and is reported on (of emission
lines: all stars). Both methods of magnitudes, ``mixture`` and ``published``, learn from the
same stars. Velocities and labels are those of the truth with errors (8 km/s, 3% in Teff, 0.1
in log g, 0.12 in [Fe/H]); ``--fresh-labels`` measures them instead, which takes longer.
Errors beside numbers are those of sampling.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.spectra import Spectra
from steadystar.infer.distance import estimate_distances
from steadystar.infer.distance_options import DistanceOptions
from steadystar.infer.extinction import ExtinctionOptions, estimate_extinction
from steadystar.infer.luminosity_errors import (
    ErrorBudget,
    ErrorBudgetOptions,
    fit_luminosity_errors,
)
from steadystar.measure.emission import EmissionModel, fit_emission
from steadystar.measure.hot_labels import measure_hot
from steadystar.measure.luminosity import (
    LuminosityModel,
    LuminosityOptions,
)
from steadystar.measure.luminosity_training import fit_luminosity
from steadystar.measure.rest_frame import to_rest
from steadystar.models.dust import extinction_coefficients
from steadystar.simulate.hot_survey import (
    HotSurveyOptions,
    hot_flux,
    simulate_hot_stars,
)

Array = NDArray[np.float64]
SPENT: dict[str, float] = {}
METHODS = ("mixture", "published")


@contextmanager
def timed(name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    SPENT[name] = round(time.perf_counter() - start, 1)


def say(title: str, **numbers: object) -> None:
    parts = [
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in numbers.items()
    ]
    print(f"{title}: {', '.join(parts)}", flush=True)


def column(table: pl.DataFrame, name: str) -> Array:
    return table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def robust(x: Array) -> float:
    low, high = np.nanpercentile(x, [15.87, 84.13])
    return float(high - low) / 2


def slope(x: Array, y: Array) -> tuple[float, float]:
    """Slope of a straight line and its error, five sigma left out."""
    kept = np.isfinite(x + y)
    kept &= abs(y - np.nanmedian(y)) < 5 * robust(y)
    x, y = x[kept] - x[kept].mean(), y[kept]
    value = float((x * (y - y.mean())).sum() / (x**2).sum())
    left = y - y.mean() - value * x
    return value, float(left.std() / np.sqrt((x**2).sum()))


def observe(number: int, seed: int, fresh: bool):
    """Simulate a survey; return spectra at rest and a table, a row a star."""
    with timed("simulation (not the pipeline's)"):
        survey = simulate_hot_stars(
            HotSurveyOptions(n_stars=number, seed=seed, repeats=0.0)
        )
    truth = survey.truth
    spectra = Spectra(
        survey.wave, survey.flux, survey.ivar, np.full(len(truth), 1800.0)
    )
    rng = np.random.default_rng(seed)
    with timed("velocities and labels"):
        labels = _measured(spectra) if fresh else _told(truth, rng)
    rv = column(labels, "rv")
    with timed("rest frame"):
        spectra = to_rest(spectra, rv)
    clash = [
        name
        for name in truth.columns
        if name in survey.photometry.columns and name != "star_id"
    ]
    table = truth.rename(
        {name: f"true_{name}" for name in ("teff", "logg", "feh", "ebv", "rv", "m_ks")}
    ).drop(clash)
    table = table.join(survey.photometry, on="star_id", how="left").hstack(labels)
    corrected = pl.col("parallax") - pl.col("parallax_offset")
    table = table.with_columns(parallax=corrected).drop("parallax_offset")
    with timed("extinction"):
        table = estimate_extinction(table, ExtinctionOptions(r_v_err=0.0))
    return spectra, table


def _told(truth: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    def near(name: str, error: Array | float) -> Array:
        return column(truth, name) + error * rng.normal(size=len(truth))

    teff = column(truth, "teff")
    return pl.DataFrame(
        {
            "rv": near("rv", 8.0),
            "teff": near("teff", 0.03 * teff),
            "teff_err": 0.03 * teff,
            "logg": near("logg", 0.1),
            "logg_err": np.full(len(truth), 0.1),
            "feh": near("feh", 0.12),
            "feh_err": np.full(len(truth), 0.12),
        }
    )


def _measured(spectra: Spectra) -> pl.DataFrame:
    found = measure_hot(spectra)
    names = ("teff", "teff_err", "logg", "logg_err", "feh", "feh_err")
    return found.select(pl.col("rv_obs").alias("rv"), *names)


def emission(
    spectra: Spectra, table: pl.DataFrame
) -> tuple[EmissionModel, pl.DataFrame]:
    with timed("emission: learning"):
        model = fit_emission(spectra, column(table, "snr"))
    with timed("emission: applying"):
        found = model.apply(spectra)
    flag = found["em_flag"].to_numpy()
    sigma, width = column(table, "emission_snr"), column(table, "emission_ew")
    fault = table["broken"].fill_null("").to_numpy()
    whole = fault == ""
    quiet = whole & (width == 0)
    say(
        "Emission",
        components=len(model.bases.variance),
        threshold=model.threshold,
        false_positives=float((flag[quiet & (flag >= 0)] == 1).mean()),
        error=float(np.sqrt(0.01 / quiet.sum())),
        of=int(quiet.sum()),
    )
    for low, high in ((0, 2), (2, 4), (4, 6), (6, 10), (10, 1e9), (4, 1e9)):
        some = whole & (width > 0) & (sigma > low) & (sigma <= high)
        say(
            f"  {low:g} to {high:g} sigma",
            stars=int(some.sum()),
            found=float((flag[some] == 1).mean()),
            set_aside=float((flag[some] < 0).mean()),
        )
    chi2 = column(found, "recon_chi2")
    snr = column(table, "snr")
    for low, high in ((0, 50), (50, 100), (100, 200), (200, 400)):
        some = quiet & (snr > low) & (snr <= high) & np.isfinite(chi2)
        say(
            f"  chi2 of the reconstruction, S/N {low} to {high}",
            stars=int(some.sum()),
            median=float(np.median(chi2[some])),
            called_broken=float((flag[some] < 0).mean()),
        )
    for name in sorted(set(fault) - {""}):
        some = fault == name
        say(
            f"  broken, {name}",
            of=int(some.sum()),
            named=float((flag[some] < 0).mean()),
        )
    return model, found


def teach(
    spectra: Spectra,
    table: pl.DataFrame,
    model: EmissionModel,
    found: pl.DataFrame,
    steps: int,
) -> tuple[dict[str, LuminosityModel], NDArray[np.bool_]]:
    ratio = extinction_coefficients()["ks"]
    aside = np.random.default_rng(5).uniform(size=len(table)) < 0.2
    rows = np.flatnonzero(found["broken"].is_null().to_numpy() & ~aside)
    lit = (found["em_flag"] == 1).to_numpy()
    models = {}
    for method in METHODS:
        options = LuminosityOptions(method=method, a_ks=ratio, steps=steps)
        with timed(f"{method}: learning"):
            models[method] = fit_luminosity(
                spectra[rows], table[rows], model.bases, lit[rows], options
            )
        say(f"{method}, learned", **_short(models[method].summary["full"]))
    return models, aside


def _short(facts: dict) -> dict:
    return {k: v for k, v in facts.items() if not isinstance(v, list)}


def judge(method: str, told: pl.DataFrame, table: pl.DataFrame) -> None:
    """Print how magnitudes of stars that were held out differ from the truth."""
    off = column(told, "m_ks") - column(table, "true_m_ks")
    pull = off / column(told, "m_ks_err")
    snr, double = column(table, "snr"), table["double"].to_numpy().astype(bool)
    single = ~double & np.isfinite(off)
    for low, high in ((20, 50), (50, 80), (80, 120), (120, 400)):
        some = single & (snr > low) & (snr <= high)
        say(
            f"{method}, M_Ks at S/N {low} to {high}",
            stars=int(some.sum()),
            median=float(np.median(off[some])),
            scatter=robust(off[some]),
            rms=float(off[some].std()),
            pull=robust(pull[some]),
            pull_rms=float(pull[some].std()),
            meas_err=float(np.median(column(told, "m_ks_meas_err")[some])),
        )
    axes = {
        "log Teff": np.log10(column(table, "true_teff")),
        "log g": column(table, "true_logg"),
        "[Fe/H]": column(table, "true_feh"),
        "M_Ks": column(table, "true_m_ks"),
    }
    for name, x in axes.items():
        # The intrinsic scatter is part of M_Ks itself, so the trend with it is not zero
        # for anything that a spectrum tells: the mean relation's is.
        if name == "M_Ks":
            x = column(table, "m_ks_mean")
        value, error = slope(x[single], off[single])
        good = single & (snr > 80)
        bright, its = slope(x[good], off[good])
        say(
            f"  trend with {name}",
            slope=value,
            error=error,
            at_snr_above_80=bright,
            its_error=its,
        )
    say(
        "  pairs less singles",
        median=float(np.nanmedian(off[double]) - np.median(off[single])),
        pull_of_all=robust(pull[np.isfinite(off)]),
    )


def budget(method: str, table: pl.DataFrame) -> ErrorBudget:
    """Sample the error budget of the stars that were held out."""
    options = ErrorBudgetOptions(
        pairs="mixture" if method == "mixture" else "published",
        a_ks=extinction_coefficients()["ks"],
    )
    with timed(f"{method}: error budget"):
        found = fit_luminosity_errors(table, options)
    off = column(table, "m_ks") - column(table, "true_m_ks")
    snr = column(table, "snr")
    single = ~table["double"].to_numpy().astype(bool) & np.isfinite(off)
    single &= abs(off) < 1.5
    true_100, true_int = _split(off[single], snr[single])
    for name in found.samples:
        middle, low, high = found.interval(name)
        say(
            f"{method}, budget, {name}",
            median=middle,
            low=low,
            high=high,
            r_hat=found.r_hat[name],
        )
    say("  of single stars by the truth", sigma_100=true_100, sigma_int=true_int)
    return found


def _split(off: Array, snr: Array) -> tuple[float, float]:
    """Maximum likelihood of both sigmas, the truth known."""
    grid = np.linspace(0.005, 0.5, 100)
    first, second = np.meshgrid(grid, grid, indexing="ij")
    off = off - np.median(off)
    total = np.zeros_like(first)
    for one, s in zip(off, snr, strict=True):
        variance = (first * 100 / s) ** 2 + second**2
        total -= 0.5 * one**2 / variance + 0.5 * np.log(variance)
    i, j = np.unravel_index(total.argmax(), total.shape)
    return float(grid[i]), float(grid[j])


def distances(method: str, table: pl.DataFrame) -> None:
    """Print coverage and errors of distances, flags and probabilities of pairs."""
    pairs = "mixture" if method == "mixture" else "published"
    options = DistanceOptions(pairs=pairs, a_ks_per_ebv=extinction_coefficients()["ks"])
    with timed(f"{method}: distances"):
        found = estimate_distances(table, options)
    truth, double = (
        column(table, "distance_pc"),
        table["double"].to_numpy().astype(bool),
    )
    low, high = column(found, "dis_low"), column(found, "dis_high")
    known = np.isfinite(low)
    inside = (low < truth) & (truth < high)
    say(
        f"{method}, distances",
        stars=int(known.sum()),
        singles_in_68=float(inside[known & ~double].mean()),
        pairs_in_68=float(inside[known & double].mean()),
        all_in_68=float(inside[known].mean()),
        error=float(np.sqrt(0.68 * 0.32 / known.sum())),
        median_error=float(np.median((high - low)[known] / 2 / truth[known])),
    )
    alone = estimate_distances(
        table.with_columns(m_ks=pl.lit(None, pl.Float64)), DistanceOptions()
    )
    far = known & (truth > 3000) & np.isfinite(column(alone, "dis"))
    off = {
        name: np.abs(np.log(column(one, "dis")[far] / truth[far]))
        for name, one in (("both", found), ("parallax", alone))
    }
    ratio = float(np.median(off["both"]) / np.median(off["parallax"]))
    say(
        "  beyond 3 kpc",
        stars=int(far.sum()),
        error=float(np.median(off["both"])),
        parallax_alone=float(np.median(off["parallax"])),
        ratio=ratio,
        rms_ratio=float(off["both"].std() / off["parallax"].std()),
    )
    flag, delta = found["binary_flag"].to_numpy(), column(table, "delta_mag")
    precise = known & (column(table, "parallax") > 20 * column(table, "parallax_error"))
    equal = precise & double & (delta > 0.65)
    say(
        "  flags",
        equal_pairs=int(equal.sum()),
        found=float((flag[equal] == 1).mean()) if equal.any() else float("nan"),
        false=float((flag[known & ~double] == 1).mean()),
    )
    probability = column(found, "p_binary")
    for a, b in (
        (0, 0.05),
        (0.05, 0.1),
        (0.1, 0.2),
        (0.2, 0.4),
        (0.4, 0.7),
        (0.7, 1.01),
    ):
        some = known & (probability >= a) & (probability < b)
        if some.sum() > 10:
            say(
                f"  p_binary {a} to {b}",
                stars=int(some.sum()),
                mean=float(probability[some].mean()),
                pairs=float((double & (delta > 0.05))[some].mean()),
                all_pairs=float(double[some].mean()),
            )


def composites(method: str, model: LuminosityModel, seed: int) -> None:
    """Print M_Ks of the sums of two noiseless dwarfs less that of the brighter one."""
    rng = np.random.default_rng(seed)
    survey = simulate_hot_stars(
        HotSurveyOptions.ideal(n_stars=1200, seed=seed + 1, repeats=0.0, pairs=1.0)
    )
    table = survey.truth
    labels = np.stack([column(table, name) for name in ("teff", "logg", "feh")], axis=1)
    second = np.stack(
        [column(table, "teff_2"), column(table, "logg_2"), labels[:, 2]], axis=1
    )
    m_1, m_2 = column(table, "m_ks_mean"), column(table, "m_ks_2")
    speed = column(table, "vsini")
    one = hot_flux(labels, m_1, vsini=speed)
    both = one + hot_flux(second, m_2, vsini=column(table, "vsini_2"))
    snr = np.full(len(table), 150.0)
    told = []
    for flux in (one, both):
        ivar = (150 / flux) ** 2
        noisy = flux * (1 + rng.normal(size=flux.shape) / 150)
        # A unit of flux at 10 pc is far below float32's inverse squares.
        scale = 1 / np.median(flux, axis=1, keepdims=True)
        spectra = Spectra.from_arrays(
            survey.wave, noisy * scale, ivar / scale**2, 1800.0
        )
        rest = to_rest(spectra, np.zeros(len(table)))
        told.append(column(model.apply(rest, snr, np.zeros(len(table), bool)), "m_ks"))
    moved = told[1] - told[0]
    ratio = 10 ** (-0.4 * (m_2 - m_1))
    say(
        f"{method}, composites: M_Ks of the sum less that of the first alone",
        pairs=len(moved),
    )
    for a, b in ((0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 2)):
        for low, high in (
            (8500, 10500),
            (10500, 14000),
            (14000, 20000),
            (20000, 40000),
        ):
            some = (ratio >= a) & (ratio < b)
            some &= (labels[:, 0] >= low) & (labels[:, 0] < high)
            if some.sum() >= 8:
                say(
                    f"  Ks light {a} to {b} of a star of {low} to {high} K",
                    pairs=int(some.sum()),
                    median=float(np.median(moved[some])),
                    scatter=robust(moved[some]),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description="Hot stars, simulated.")
    parser.add_argument("--number", type=int, default=4000, help="stars, 1000 to 16000")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=LuminosityOptions().steps)
    parser.add_argument("--fresh-labels", action="store_true")
    parser.add_argument("--json", type=Path, help="write the times there")
    chosen = parser.parse_args()
    spectra, table = observe(chosen.number, chosen.seed, chosen.fresh_labels)
    off = column(table, "ebv") - column(table, "true_ebv")
    pull = off / column(table, "ebv_err")
    say(
        "E(B-V)",
        median=float(np.nanmedian(off)),
        scatter=robust(off),
        pull=robust(pull),
    )
    model, found = emission(spectra, table)
    models, aside = teach(spectra, table, model, found, chosen.steps)
    judged = np.flatnonzero(aside & found["broken"].is_null().to_numpy())
    lit = (found["em_flag"] == 1).to_numpy()[judged]
    for method, learned in models.items():
        some = table[judged]
        with timed(f"{method}: applying"):
            told = learned.apply(spectra[judged], column(some, "snr"), lit)
        judge(method, told, some)
        both = some.hstack(told.select("m_ks", "m_ks_err", "m_ks_meas_err"))
        sampled = budget(method, both)
        if method == "published":
            learned = replace(
                learned,
                sigma_100=sampled.interval("sigma_100")[0],
                sigma_int=sampled.interval("sigma_int")[0],
            )
            told = learned.apply(spectra[judged], column(some, "snr"), lit)
            judge("published, errors sampled", told, some)
            both = some.hstack(told.select("m_ks", "m_ks_err", "m_ks_meas_err"))
        distances(method, both)
        composites(method, learned, chosen.seed)
    total = sum(v for k, v in SPENT.items() if "simulation" not in k)
    for name, seconds in SPENT.items():
        say(f"time, {name}", seconds=seconds)
    say("time, all but the simulation, both methods", seconds=round(total, 1))
    if chosen.json:
        chosen.json.write_text(json.dumps(SPENT, indent=1))


if __name__ == "__main__":
    main()
