"""E(B-V) on stars whose dust is known: scatter, bias, pulls, outliers, speed.

    python benchmarks/extinction.py [--number 20000] [--real FILE]

Mock stars of 8500 to 34 000 K behind an exponential distribution of E(B-V) (mean 0.5 mag)
have the colors that come with steadystar, an R_V that scatters by 0.18, magnitudes with
errors of 2 to 30 mmag and a scatter of 10 mmag of their own, and a temperature that is
wrong by the fraction named. FILE is a table of real stars with columns of Gaia and 2MASS
and a class in ``sp`` (O, B0/B2, ... FGK), which gives the temperature.
"""

import argparse
import time

import numpy as np
import polars as pl

from steadystar.infer.extinction import ExtinctionOptions, estimate_extinction
from steadystar.models.dust import dust
from steadystar.models.intrinsic_colors import intrinsic_colors
from steadystar.survey.photometry import open_photometry

SETS = {
    "BP RP": ("bp", "rp"),
    "G BP RP J H": ("g", "bp", "rp", "j", "h"),
    "the same, g r i": ("g", "bp", "rp", "j", "h", "g_sdss", "r_sdss", "i_sdss"),
}
CLASSES = {
    "O": (35_000.0, 3000.0),
    "B0/B2": (25_500.0, 4000.0),
    "B3/B5": (16_500.0, 1500.0),
    "B5/B7": (14_800.0, 1000.0),
    "B7/B9": (12_200.0, 1200.0),
    "B9/A": (10_000.0, 900.0),
    "FGK": (6300.0, 700.0),
}


def mock(bands, number: int, fraction: float, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    teff = np.exp(rng.uniform(np.log(8500), np.log(34_000), number))
    ebv, r_v = rng.exponential(0.5, number), rng.normal(scale=0.18, size=number)
    columns = {"truth": ebv, "teff": teff * (1 + fraction * rng.normal(size=number))}
    columns["teff_err"] = fraction * columns["teff"]
    for band in bands:
        error = rng.uniform(0.002, 0.03, number)
        low, middle, high = (
            dust(r).magnitudes(band, teff, ebv) for r in (2.9, 3.1, 3.3)
        )
        magnitude = 12 + intrinsic_colors().color(band, "v", teff) + middle
        noise = np.hypot(np.maximum(error, 0.014 / np.sqrt(2)), 0.01)
        magnitude += (high - low) / 0.4 * r_v + rng.normal(size=number) * noise
        columns[band], columns[f"{band}_err"] = magnitude, error
    return pl.DataFrame(columns)


def show_mocks(number: int) -> None:
    print("bands             Teff err  method     rms     bias    pull  median pull")
    for name, bands in SETS.items():
        for fraction in (0.005, 0.03, 0.08):
            table = mock(bands, number, fraction)
            for method in ("joint", "published"):
                found = estimate_extinction(table, ExtinctionOptions(method=method))
                off = (found["ebv"] - found["truth"]).to_numpy()
                pull = off / found["ebv_err"].to_numpy()
                print(
                    f"{name:17} {fraction:<9} {method:9} {off.std():7.4f} {off.mean():7.4f}"
                    f" {pull.std():7.3f} {np.median(pull):7.3f}"
                )


def show_outliers(number: int) -> None:
    bands = SETS["G BP RP J H"]
    table = mock(bands, number, 0.03)
    for band in bands:
        for size in (0.3, 1.0):
            found = estimate_extinction(table.with_columns(pl.col(band) + size))
            named = (found["bands_rejected"] == band).mean()
            print(f"{band} off by {size} mag: named and left out in {named:.1%}")
    kept = (estimate_extinction(table)["bands_rejected"] == "").mean()
    print(f"nothing off: nothing left out in {kept:.2%}")


def show_speed(number: int) -> None:
    table = mock(SETS["G BP RP J H"], number, 0.03)
    start = time.perf_counter()
    estimate_extinction(table)
    spent = time.perf_counter() - start
    print(f"{number} stars in five bands: {spent:.1f} s")


def show_real(path: str) -> None:
    frame = open_photometry(path).frame
    for i, name in enumerate(("teff", "teff_err")):
        values = {c: pair[i] for c, pair in CLASSES.items()}
        frame = frame.with_columns(pl.col("sp").replace_strict(values).alias(name))
    sets = {"all": (), "BP-RP": ("bp", "rp"), "G-J": ("g", "j"), "J-H": ("j", "h")}
    found = {
        name: estimate_extinction(frame, ExtinctionOptions(bands=bands))
        for name, bands in sets.items()
    }
    print(
        "class   stars   E(B-V) 5, 50, 95%     error   less that of BP-RP: all, G-J, J-H"
    )
    for name in CLASSES:
        here = (frame["sp"] == name).to_numpy()
        ebv = {key: table["ebv"].to_numpy()[here] for key, table in found.items()}
        low, middle, high = np.nanpercentile(ebv["all"], [5, 50, 95])
        error = np.nanmedian(found["all"]["ebv_err"].to_numpy()[here])
        less = [np.nanmedian(ebv[key] - ebv["BP-RP"]) for key in ("all", "G-J", "J-H")]
        print(
            f"{name:7} {here.sum():5} {low:7.3f} {middle:7.3f} {high:7.3f} {error:9.3f}   "
            + " ".join(f"{x:7.3f}" for x in less)
        )
    hot = (frame["sp"] != "FGK").to_numpy()
    for r_v in (2.9, 3.1, 3.3, 3.5):
        options = ExtinctionOptions(r_v=r_v, r_v_err=0.0, reject=np.inf)
        table = estimate_extinction(frame, options)
        chi2 = table["ebv_chi2"] / (table["n_colors"] - 1)
        print(
            f"R_V = {r_v}: median chi2 a degree {np.nanmedian(chi2.to_numpy()[hot]):.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=20_000)
    parser.add_argument("--real")
    arguments = parser.parse_args()
    if arguments.real:
        show_real(arguments.real)
        return
    show_mocks(arguments.number)
    show_outliers(arguments.number)
    show_speed(10 * arguments.number)


if __name__ == "__main__":
    main()
