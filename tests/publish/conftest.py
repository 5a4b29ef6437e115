"""A small invented survey in tables, with calibration imitated from the truth."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.data.match import name_from_position
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.publish.inputs import ReportInputs

FAMILY = "spectrograph+arm+exposure_id"
LINES = {
    "blue": (5050.0, 5110.0, 5168.7, 5174.1, 5185.0, 5230.0),
    "red": (6496.0, 6564.6),
}


def make_inputs(
    seed: int = 1,
    *,
    n_stars: int = 60,
    n_nights: int = 3,
    per_night: int = 3,
    n_spectrographs: int = 2,
    truth: bool = True,
) -> ReportInputs:
    """Return the inputs of a report on a survey like LAMOST's, as small as wanted."""
    rng = np.random.default_rng(seed)
    stars = _stars(rng, n_stars, n_spectrographs)
    exposures = _exposures(rng, n_nights, per_night, n_spectrographs)
    velocities = _velocities(rng, stars, exposures)
    table = schema.conform(_summary(velocities, stars), "stars")
    offsets = exposures.select(
        "spectrograph",
        "arm",
        "exposure_id",
        (pl.col("offset_true") + rng.normal(0, 0.05, len(exposures))).alias("offset"),
        pl.lit(0.05).alias("offset_err"),
        pl.lit(n_stars // n_spectrographs).alias("n_visits"),
        pl.lit(n_stars // n_spectrographs).alias("n_stars"),
        pl.lit(int(0.8 * n_stars) // n_spectrographs).alias("n_constant"),
        pl.col("spectrograph").alias("component"),
        pl.lit(0).alias("status"),
    )
    return ReportInputs(
        velocities=schema.conform(velocities, "velocities"),
        stars=table,
        offsets={FAMILY: offsets},
        rejected=pl.DataFrame(
            {
                "path": ["night2/broken.fits.gz", "night2/notes.txt"],
                "reader": ["lamost", "all"],
                "reason": ["the gzip stream ends early", "no reader knows this format"],
                "remedy": ["download it again", "leave it out of the input"],
            }
        ),
        notes=("Spectrograph 2 has fewer than 40 constant stars in two exposures.",),
        summary={
            "files": 120,
            "method": "joint",
            "seconds": 12.5,
            "windows": {"blue": 1},
        },
        spectra=_spectra_of(velocities),
        truth=_truth(velocities, stars, exposures) if truth else None,
        title="A small survey in two spectrographs",
        windows={"blue": (5000.0, 5300.0), "red": (6400.0, 6700.0)},
    )


def _stars(rng, n_stars, n_spectrographs):
    ra, dec = rng.normal(290, 0.8, n_stars), rng.normal(42, 0.6, n_stars)
    variable = rng.random(n_stars) < 0.2
    return pl.DataFrame(
        {
            "star_id": [name_from_position(r, d) for r, d in zip(ra, dec, strict=True)],
            "ra": ra,
            "dec": dec,
            "spectrograph": np.arange(n_stars) % n_spectrographs + 1,
            "fiber": np.arange(n_stars) // n_spectrographs + 1,
            "mean": rng.normal(-20, 30, n_stars),
            "amplitude": np.where(variable, rng.uniform(3, 25, n_stars), 0.0),
            "period": rng.uniform(0.5, 8, n_stars),
            "brightness": rng.lognormal(0, 0.7, n_stars),
            "constant_true": ~variable,
        }
    )


def _exposures(rng, n_nights, per_night, n_spectrographs):
    rows = []
    for night in range(n_nights):
        base = rng.normal(0, 1.5, (n_spectrographs, 2))
        for k in range(per_night):
            for s in range(n_spectrographs):
                for a, arm in enumerate(("blue", "red")):
                    rows.append(
                        {
                            "night": 58400 + 17 * night,
                            "exposure_id": str(84_096_000 + 24_480 * night + 25 * k),
                            "bjd": 2458400.1 + 17 * night + 0.0175 * k,
                            "spectrograph": s + 1,
                            "arm": arm,
                            "offset_true": base[s, a] + rng.normal(0, 0.4),
                        }
                    )
    return pl.DataFrame(rows)


def _velocities(rng, stars, exposures):
    rows = stars.join(exposures, on="spectrograph", maintain_order="left_right")
    n = len(rows)
    blue = (rows["arm"] == "blue").to_numpy()
    snr = (
        45
        * rows["brightness"].to_numpy()
        * np.where(blue, 0.5, 1)
        * rng.uniform(0.6, 1.2, n)
    )
    error = np.hypot(np.where(blue, 14, 26) / snr, 0.05)
    phase = 2 * np.pi * rows["bjd"].to_numpy() / rows["period"].to_numpy()
    true = rows["mean"].to_numpy() + rows["amplitude"].to_numpy() * np.sin(phase)
    measured = true + rows["offset_true"].to_numpy() + rng.normal(0, error)
    status = np.zeros(n, np.int64)
    status[snr < 12] |= int(Status.LOW_SNR)
    status[rng.random(n) < 0.03] |= int(Status.COSMIC_RAYS)
    status[rng.random(n) < 0.01] |= int(Status.UNCALIBRATED)
    lost = snr < 12
    correction = rows["offset_true"].to_numpy() + rng.normal(0, 0.05, n)
    nan = np.nan
    return rows.with_columns(
        pl.format(
            "lamost-{}-sp{}-{}-{}", "exposure_id", "spectrograph", "fiber", "arm"
        ).alias("visit_id"),
        pl.lit("lamost-mrs").alias("survey"),
        pl.lit("lamost").alias("telescope"),
        pl.lit("NT193000N420000F01").alias("field"),
        pl.lit("joint").alias("method"),
        pl.Series("snr", snr),
        pl.Series("status", status),
        pl.Series("rv_true", true),
        pl.Series("rv_raw", np.where(lost, nan, measured)),
        pl.Series("rv_raw_err", np.where(lost, nan, error)),
        pl.Series("correction", np.where(lost, nan, correction)),
        pl.Series("correction_err", np.where(lost, nan, 0.05)),
        pl.Series("rv", np.where(lost, nan, measured - correction)),
        pl.Series("rv_err", np.where(lost, nan, np.hypot(error, 0.05))),
        pl.format("spectra/med-{}-sp{}.fits.gz", "night", "spectrograph").alias("path"),
    ).drop("mean", "amplitude", "period", "brightness", "offset_true", "constant_true")


def _summary(velocities, stars):
    grouped = velocities.filter(pl.col("rv").is_finite()).group_by(
        "star_id", maintain_order=True
    )
    seen = grouped.agg(
        pl.len().alias("n_visits"),
        pl.col("rv").mean().alias("rv_mean"),
        pl.col("rv").std().alias("rv_scatter"),
        pl.col("rv_err").median().alias("typical"),
    )
    extra = (pl.col("rv_scatter") ** 2 - pl.col("typical") ** 2).clip(0).sqrt()
    constant = pl.col("rv_scatter") < 2.5 * pl.col("typical")
    return seen.join(stars, on="star_id", maintain_order="left").select(
        "star_id",
        "ra",
        "dec",
        "n_visits",
        "rv_mean",
        "rv_scatter",
        extra.alias("rv_intrinsic"),
        pl.when(constant).then(0.97).otherwise(0.01).alias("p_constant"),
        constant.alias("constant"),
        (pl.col("rv_scatter") > 4 * pl.col("typical")).alias("variable"),
        pl.lit(False).alias("double_lined"),
    )


def _truth(velocities, stars, exposures):
    return {
        "visits": velocities.select("visit_id", "rv_true"),
        "offsets": exposures.select(
            pl.lit(FAMILY).alias("family"),
            "spectrograph",
            "arm",
            "exposure_id",
            "offset_true",
        ),
        "stars": stars.select("star_id", "ra", "dec", "constant_true"),
    }


def _spectra_of(velocities) -> Callable:
    def spectra(star_id: str) -> tuple[pl.DataFrame, Spectra] | None:
        visits = velocities.filter(pl.col("star_id") == star_id)
        if not len(visits):
            return None
        parts = []
        for row in visits.iter_rows(named=True):
            low, high = (4950, 5350) if row["arm"] == "blue" else (6300, 6800)
            wave = np.linspace(low, high, 1500)
            seed = int(row["exposure_id"]) + len(row["arm"])
            rng = np.random.default_rng(seed)
            flux = np.ones_like(wave)
            for line in LINES[row["arm"]]:
                at = line * (1 + row["rv_true"] / 299_792.458)
                flux -= 0.5 * np.exp(-0.5 * ((wave - at) / 0.6) ** 2)
            level = 1000 * (1 + 0.3 * np.sin((wave - low) / (high - low) * 2))
            noise = 1 / max(row["snr"], 1)
            flux = level * (flux + rng.normal(0, noise, wave.size))
            parts.append(
                Spectra.from_arrays(wave, flux, 1 / (level * noise) ** 2, 7500.0)
            )
        return visits, Spectra.concatenate(parts)

    return spectra


@pytest.fixture(scope="session")
def survey() -> ReportInputs:
    """The small survey that most tests look at."""
    return make_inputs()


@pytest.fixture
def invent() -> Callable[..., ReportInputs]:
    """The factory, for tests that need another survey."""
    return make_inputs
