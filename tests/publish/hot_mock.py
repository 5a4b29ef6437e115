"""What a run of ``steadystar hot`` leaves, imitated from the truth of a simulation."""

import numpy as np
import polars as pl

from steadystar.infer.distance import estimate_distances
from steadystar.publish.hot_inputs import HotReportInputs
from steadystar.simulate.hot_options import HotSurveyOptions
from steadystar.simulate.hot_photometry import observe_photometry
from steadystar.simulate.hot_stars import draw_hot_stars, draw_snr

BROKEN = "Unlike any other spectrum: chi2 a pixel is 9.1."


def make_hot(n_stars: int = 400, seed: int = 3) -> HotReportInputs:
    """Return the inputs of a report; magnitudes are the truth with noise of 0.2 mag."""
    rng = np.random.default_rng(seed)
    options = HotSurveyOptions(n_stars=n_stars, seed=seed)
    stars = draw_hot_stars(options)
    photometry = observe_photometry(stars, options)
    times = np.where(rng.uniform(size=n_stars) < 0.15, rng.integers(2, 5, n_stars), 1)
    times[n_stars // 2] = 9
    star = np.repeat(np.arange(n_stars), times)
    truth = stars[star].with_columns(
        specid=pl.Series([f"58500-HOT-sp01-{k:05d}" for k in range(len(star))]),
    )
    hot = _table(rng, truth, photometry[star], options)
    found = estimate_distances(hot)
    hot = found.drop("distance_status").with_columns(
        problems=pl.when(pl.col("em_flag") == -1)
        .then(pl.lit(BROKEN))
        .when(pl.col("m_ks") > 2)
        .then(pl.lit("M_Ks is fainter than 2."))
    )
    return HotReportInputs(
        hot=hot,
        summary={
            "luminosity": {"method": "mixture", "full": {"stars": 300}},
            "emission": {"threshold": 2.4, "false_positives": 0.01, "components": 60},
            "budget": {"stars": 300, "divergences": 0},
            "notes": ["2 files could not be read."],
        },
        budget=_budget(rng),
        examples=_examples(rng, hot),
        composites=_composites(rng),
        truth=truth,
    )


def _table(rng, truth, photometry, options) -> pl.DataFrame:
    size = len(truth)
    snr = draw_snr(rng, truth["g_true"].to_numpy(), options.snr)
    best = pl.DataFrame({"star": truth["star_id"], "snr": snr}).select(
        pl.col("snr").rank("ordinal", descending=True).over("star")
    )["snr"]
    noise = 0.1 * 100 / snr
    m_ks = truth["m_ks_mean"].to_numpy() + noise * rng.normal(size=size)
    strength = truth["emission_ew"].to_numpy() * snr / 60
    strength = np.minimum(strength, 200) + rng.normal(size=size)
    broken = rng.uniform(size=size) < 0.01
    lost = rng.uniform(size=size) < 0.05
    table = truth.select("specid", "star_id", "ra", "dec", "teff", "logg", "feh", "rv")
    table = table.with_columns(
        uniqflag=best.cast(pl.Int64),
        snr_g=pl.Series(snr),
        rv_err=pl.lit(8.0),
        m_ks=pl.Series(np.where(broken, np.nan, m_ks)),
        m_ks_err=pl.Series(np.hypot(noise, options.sigma_int)),
        m_ks_meas_err=pl.Series(noise),
        ebv=(truth["ebv"] + pl.Series(0.02 * rng.normal(size=size))),
        ebv_err=pl.lit(0.02),
        em_flag=pl.Series(np.where(broken, -1, strength > 2.4)).cast(pl.Int64),
        em_snr=pl.Series(strength),
        em_excess=pl.Series(strength / snr),
        em_chi2=pl.Series(1 + np.maximum(strength, 0) ** 2 / 20 + 0.1 * rng.normal(size=size)),
        recon_chi2=pl.Series(np.where(broken, 9.0, 1 + 0.05 * rng.normal(size=size))),
        held_out=pl.Series(rng.uniform(size=size) < 0.3),
        bands_rejected=pl.Series(np.where(rng.uniform(size=size) < 0.03, "j", "")),
    )  # fmt: skip
    seen = photometry.drop("star_id", "ra", "dec").with_columns(
        ks=pl.when(pl.Series(lost)).then(None).otherwise(pl.col("ks"))
    )
    table = pl.concat([table, seen], how="horizontal")
    parallax = (pl.col("parallax") - pl.col("parallax_offset")).clip(1e-3)
    table = table.with_columns(
        m_ks_geo=pl.col("ks") - 0.3 * pl.col("ebv") + 5 * parallax.log10() - 10,
        m_ks_geo_err=2.17 * pl.col("parallax_error") / parallax,
    )
    return table.with_columns(pl.col(pl.Float64).fill_null(np.nan))


def _budget(rng, size: int = 1000) -> pl.DataFrame:
    means = {"alpha": 0.02, "beta": 0.01, "sigma_100": 0.1, "sigma_int": 0.2}
    made = {name: m + 0.01 * rng.normal(size=size) for name, m in means.items()}
    return pl.DataFrame(made | {"pairs": rng.beta(12, 88, size)})


def _examples(rng, hot: pl.DataFrame, each: int = 4) -> pl.DataFrame:
    wave = np.geomspace(3800.0, 8800.0, 3700)
    model = np.ones_like(wave)
    for line in (4102.9, 4341.7, 4862.7, 6564.6):
        model -= 0.4 * np.exp(-(((wave - line) / 15) ** 2))
    rows = []
    for kind in ("ordinary", "emission", "broken", "over-luminous"):
        for k in range(each):
            flux = model + 0.01 * rng.normal(size=wave.size)
            if kind == "emission":
                flux += (0.2 + k) * np.exp(-(((wave - 6564.6) / 6) ** 2))
            if kind == "broken":
                flux[500 * k : 500 * k + 300] = np.nan
                flux += 0.3 * np.sin(wave / 200)
            rows.append(
                {
                    "specid": hot["specid"][len(rows) % len(hot)],
                    "kind": kind,
                    "reason": BROKEN if kind == "broken" else None,
                    "wave": wave.tolist(),
                    "flux": flux.tolist(),
                    "model": model.tolist(),
                    "clean": ((wave < 4800) | (wave > 6700)).tolist(),
                }
            )
    floats = dict.fromkeys(("wave", "flux", "model"), pl.List(pl.Float32))
    return pl.DataFrame(rows, schema_overrides=floats)


def _composites(rng, size: int = 300) -> pl.DataFrame:
    first = rng.uniform(10_000, 25_000, size)
    second = rng.uniform(4500, first)
    m_ks = 1.5 - (first - 10_000) / 6000
    ratio = (second / first) ** 4
    noise = 0.05 * rng.normal(size=size)
    return pl.DataFrame(
        {
            "teff_1": first,
            "teff_2": second,
            "m_ks_1": m_ks,
            "m_ks_2": m_ks - 2.5 * np.log10(ratio),
            "m_ks_pair": m_ks + 0.3 * ratio * (1 - ratio) + noise,
            "flux_ratio": ratio,
        }
    )
