"""An invented survey of several plates whose spectra have labels, by published laws."""

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.data.match import name_from_position
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.infer.labels import summarize_labels
from steadystar.models.library import bundled
from steadystar.publish.inputs import ReportInputs

LAWS = {
    "teff": (1109.0, -1.105, 14.24),
    "logg": (1.241, -0.951, 0.012),
    "feh": (0.893, -1.032, 0.008),
    "vsini": (60.0, -0.9, 0.5),
}
FIELDS = {"TD085754N225914K01": (134.5, 23.0), "TD084844N123545K01": (132.2, 12.6), "TD103827N055449K01": (159.6, 5.9)}  # fmt: skip
COMING = {"TD222850S085522K01": (337.2, -8.9), "TD045606N225422T02": (74.0, 22.9)}


def make_stars(rng, n, fields=FIELDS):
    names = list(fields)
    field = rng.integers(0, len(names), n)
    radius, turn = 2.5 * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    center = np.array([fields[name] for name in names])[field]
    dec = center[:, 1] + radius * np.sin(turn)
    ra = center[:, 0] + radius * np.cos(turn) / np.cos(np.radians(dec))
    giant = rng.random(n) < 0.35
    teff = np.where(giant, rng.normal(4800, 250, n), rng.normal(5900, 500, n))
    hot = rng.random(n) < 0.03
    teff = np.where(hot & ~giant, rng.uniform(7000, 7900, n), np.clip(teff, 3700, 7900))
    feh = np.clip(rng.normal(-0.15, 0.25, n) - 0.5 * (rng.random(n) < 0.1), -2.4, 0.45)
    logg = np.where(
        giant,
        2.5 + (teff - 4800 + 300 * feh) / 500 + rng.normal(0, 0.08, n),
        4.3 - np.clip((teff - 5500) / 4000, -0.1, 0.5) + rng.normal(0, 0.05, n),
    )
    return pl.DataFrame(
        {
            "star_id": [
                name_from_position(r, d) for r, d in zip(ra % 360, dec, strict=True)
            ],
            "ra": ra % 360,
            "dec": dec,
            "field": [names[i] for i in field],
            "fiber": rng.integers(1, 251, n),
            "spectrograph": rng.integers(1, 17, n),
            "teff_true": teff,
            "logg_true": np.clip(logg, 0.1, 4.9),
            "feh_true": feh,
            "vsini_true": np.where(teff > 6500, rng.uniform(20, 90, n), 6.0),
            "rv_true": np.where(
                rng.random(n) < 0.005,
                rng.normal(0, 350, n),
                rng.normal(5, 35, n),
            ),
            "phot_g_mean_mag": np.clip(15 - rng.exponential(1.3, n), 8, 16),
            "pulsates": rng.random(n) < 0.02,
        }
    ).unique("star_id", maintain_order=True)


def make_visits(rng, stars, nights=4):
    rows = []
    for number, field in enumerate(stars["field"].unique(maintain_order=True)):
        for night in range(nights + number):
            for k in range(int(rng.integers(2, 5))):
                mjd = 58400 + 11 * night + 3 * number
                rows.append((field, mjd, str(84096000 + 1440 * (mjd - 58400) + 25 * k), mjd + 0.6 + 0.017 * k, 600.0 if k == 3 else 1200.0, 2.5 + rng.gamma(2, 0.4)))  # fmt: skip
    exposures = pl.DataFrame(
        rows,
        ["field", "night", "exposure_id", "bjd", "exptime", "seeing"],
        orient="row",
    )
    exposures = exposures.with_columns(pl.col("bjd") + 2_400_000.5)
    visits = stars.join(exposures, on="field", maintain_order="left_right")
    parts = []
    for arm, gain in (("blue", 0.6), ("red", 1.0)):
        n = len(visits)
        bright = 10 ** (-0.32 * (visits["phot_g_mean_mag"].to_numpy() - 13.5))
        snr = 40 * gain * bright * rng.uniform(0.5, 1.3, n)
        dead = (visits["fiber"] % 6 == 0).to_numpy()
        snr = np.where(dead, np.abs(rng.normal(0.6, 0.5, n)), snr)
        error = np.hypot(np.where(arm == "blue", 14, 26) / np.maximum(snr, 0.1), 0.05)
        value = visits["rv_true"].to_numpy() + rng.normal(0, error)
        lost = snr < 5
        nan = np.nan
        parts.append(
            visits.with_columns(
                arm=pl.lit(arm),
                visit_id=pl.format("lamost-{}-sp{}-{}-" + arm, "exposure_id", "spectrograph", "fiber"),
                snr=pl.Series(snr),
                survey=pl.lit("lamost-mrs"),
                telescope=pl.lit("lamost"),
                method=pl.lit("marginal"),
                rv_raw=pl.Series(np.where(lost, nan, value)),
                rv_raw_err=pl.Series(np.where(lost, nan, error)),
                status=pl.Series(np.where(lost, int(Status.LOW_SNR), 0)),
            )
        )  # fmt: skip
    return pl.concat(parts)


def make_labels(rng, visits, scale=1.25):
    """Fits of each arm above S/N 8; the errors that they claim are too small by ``scale``."""
    frame = visits.with_columns(model=pl.lit("bundled"), method=pl.lit("emulator"))
    snr = frame["snr"].to_numpy()
    lost = snr < 8
    edge = rng.random(len(frame)) < 0.01
    wave = frame["pulsates"].to_numpy() * np.sin(2 * np.pi * frame["bjd"].to_numpy() / 0.7)  # fmt: skip
    columns = {}
    for name, (a, b, c) in LAWS.items():
        error = a * np.maximum(snr, 1.0) ** b + c
        error = error * np.where(frame["arm"] == "red", 1.4, 1.0)
        value = frame[f"{name}_true"].to_numpy() + rng.normal(0, error)
        value = value + (250 * wave if name == "teff" else 0)
        value = np.maximum(value, 0) if name == "vsini" else value
        columns[name] = pl.Series(np.where(lost, np.nan, value))
        columns[f"{name}_err"] = pl.Series(np.where(lost, np.nan, error / scale))
    status = np.where(lost, int(Status.NO_LABELS | Status.LOW_SNR), 0)
    status = np.where(edge & ~lost, int(Status.LABEL_EDGE), status)
    frame = frame.with_columns(**columns, status=pl.Series(status))
    keep = [c for c in schema.columns("labels") if c in frame.columns]
    return schema.conform(frame.select(keep), "labels")


def spectra_of(visits):
    """A function that makes the spectra of a star from models at its labels."""
    models = {arm: bundled(f"lamost-mrs-{arm}") for arm in ("blue", "red")}
    limits = {"blue": (4900, 5400), "red": (6250, 6880)}

    def spectra(star):
        mine = visits.filter(pl.col("star_id") == star)
        if not len(mine):
            return None
        parts = []
        for row in mine.iter_rows(named=True):
            wave = np.geomspace(*limits[row["arm"]], 3000)
            labels = [row["teff_true"], row["logg_true"], row["feh_true"]]
            model = models[row["arm"]]
            rest = model(labels).flux
            sharp = np.convolve(rest, np.ones(7) / 7, "same")
            flux = np.interp(wave / (1 + row["rv_true"] / 299_792.458), model.wave, sharp)  # fmt: skip
            snr = max(row["snr"], 0.3)
            rng = np.random.default_rng(int(row["exposure_id"]) + len(row["arm"]))
            level = 800 * (1 + 0.2 * np.sin((wave - wave[0]) / 150))
            flux = level * (flux + rng.normal(0, 1 / snr, wave.size))
            parts.append(Spectra.from_arrays(wave, flux, np.full(wave.size, (snr / level) ** 2), 7500.0, frame="barycenter"))  # fmt: skip
        return mine, Spectra.concatenate(parts)

    return spectra


def label_survey(seed=3, n=400, fields=FIELDS, coming=COMING, scale=1.25):
    """Return the inputs of a report on such a survey."""
    rng = np.random.default_rng(seed)
    stars = make_stars(rng, n, fields)
    visits = make_visits(rng, stars)
    labels = make_labels(rng, visits, scale)
    absolute = visits.filter(pl.col("rv_raw").is_finite())
    table = stars.select("star_id", "ra", "dec").join(
        absolute.group_by("star_id").agg(
            n_visits=pl.len().cast(pl.Int64),
            rv_mean=pl.col("rv_raw").mean(),
            rv_scatter=pl.col("rv_raw").std(),
            constant=pl.lit(True),
        ),
        on="star_id",
        how="left",
        maintain_order="left",
    )
    table = summarize_labels(labels, schema.conform(table, "stars"))
    extra = make_stars(rng, n // 2, fields)
    later = make_stars(rng, n // 2, coming)
    return ReportInputs(
        velocities=visits.drop([c for c in visits.columns if c.endswith("_true")]),
        stars=table,
        labels=labels,
        targets=pl.concat([stars, extra, later]).select(
            "field", "ra", "dec", "phot_g_mean_mag"
        ),
        spectra=spectra_of(visits),
        title="A survey of labels",
    )
