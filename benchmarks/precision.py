"""How precise relative velocities are, and how honest their errors: four measurements.

    python benchmarks/precision.py types        scatter of seven types of stars
    python benchmarks/precision.py temperature  a star that is 500 or 1000 K hotter
    python benchmarks/precision.py pulls        (velocity - truth) / error of F, G, K stars
    python benchmarks/precision.py mock         zero points from a table of velocities

Each writes its numbers (CSV, JSON) and figures (PNG, PDF) to the folder ``-o`` and
prints a table. ``--quick`` is a small run of the same. A part of the work
(``--arms blue``, ``--stars O B``, ``--snr 20``) is added to the numbers that are there already.
`types`, `temperature` and `mock` are figures 8, 9, 1 and 2 of Xiong et al. (2021, RAA 21,
265, sections 3.3 and 5), measured with the published estimator and with ours on the very
same spectra or tables.
"""

import argparse
import json
import sys
import time
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

import _precision_figures as figures
from _mocks import ARMS, Light, Star, Survey, nearest_model

from steadystar import RelativeOptions, fit_zeropoints, measure_relative
from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.simulate.table_mock import TableMock, xiong_mock

METHODS = ("published", "joint")
SNRS = (5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
PULL_SNRS = (5.0, 10.0, 20.0, 50.0, 100.0)
QUICK_SNRS = (10.0, 100.0)
PER_STAR = 10
"""Exposures of a mock star besides the one that `published` takes for the reference."""

# Dwarfs. Temperatures and gravities are rounded from the sequence of Pecaut & Mamajek
# (2013, ApJS 208, 9); rotation is a choice: round numbers, fast above the Kraft break.
TYPES = {
    "O": Star(33_000.0, 4.0, vsini=100.0),
    "B": Star(17_000.0, 4.1, vsini=100.0),
    "A": Star(9_700.0, 4.2, vsini=100.0),
    "F": Star(6_550.0, 4.3, vsini=20.0),
    "G": Star(5_770.0, 4.44, vsini=3.0),
    "K": Star(4_600.0, 4.6, vsini=3.0),
    "M": Star(3_660.0, 4.75, vsini=3.0),
}
TEMPERATURES = (6000, 6500, 7000)
# Temperature, log g and v sin i (km/s) of stars whose pulls are asked for, uniform
# between limits; every second K star is a giant. [Fe/H] is -1 to 0.3 for all.
KINDS = {
    "F": [((6000, 7200), (3.8, 4.5), (5, 60))],
    "G": [((5300, 6000), (3.8, 4.6), (2, 10))],
    "K": [((3900, 5300), (4.4, 4.7), (1, 6)), ((4100, 5000), (1.5, 3.2), (2, 6))],
}
FAMILY = ("spectrograph", "arm", "exposure_id")


def random(*key) -> np.random.Generator:
    """Return a generator of its own for every cell, whatever else is run."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def deviations(table: pl.DataFrame, truth: pl.Series, stars: int) -> NDArray:
    """Return measured less true velocity, km/s, ``(star, exposure)``; NaN if none.

    Velocities are compared as ``c ln(1 + z)``, in which a star's unknown zero is a
    constant; as ``c z`` it would be multiplied by each velocity.
    """
    log = [C_KMS * np.log1p(v.to_numpy() / C_KMS) for v in (table["rv_raw"], truth)]
    return (log[0] - log[1]).reshape(stars, -1)


def about_mean(d: NDArray, weight: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Return deviations from each star's (weighted) mean, and how many there are."""
    good = np.isfinite(d)
    w = np.where(good, 1.0 if weight is None else weight, 0.0)
    total = w.sum(1, keepdims=True)
    mean = (w * np.where(good, d, 0)).sum(1, keepdims=True) / np.where(total, total, 1)
    n = good.sum(1)
    return np.where(good & (n[:, None] > 1), d - mean, np.nan), n


def spread(d: NDArray) -> dict[str, float]:
    """Return the standard deviation within stars, a robust one, and its error.

    The error is that of a bootstrap over stars: exposures of a star are not independent.
    """
    away, n = about_mean(d)
    squares, dof = np.nansum(away**2, axis=1), np.maximum(n - 1, 0)
    if not dof.sum():
        return dict.fromkeys(("scatter", "scatter_err", "robust"), np.nan)
    draws = random("bootstrap").integers(0, len(d), (300, len(d)))
    again = np.sqrt(squares[draws].sum(1) / np.maximum(dof[draws].sum(1), 1))
    scaled = away * np.sqrt(n / np.maximum(n - 1, 1))[:, None]
    return {
        "scatter": float(np.sqrt(squares.sum() / dof.sum())),
        "scatter_err": float(again.std()),
        "robust": 1.4826 * float(np.nanmedian(np.abs(scaled))),
    }


def summary(table: pl.DataFrame, truth: pl.Series, stars: int, skip: int) -> dict:
    """Return what figures 8 and 9 need of the exposures after the first ``skip``.

    ``bias`` is the mean of these less the mean of those, and its error is from the
    scatter among stars.
    """
    every = deviations(table, truth, stars)
    d, others = every[:, skip:], every[:, :skip]
    error = table["rv_raw_err"].to_numpy().reshape(stars, -1)[:, skip:]
    two = (table["status"].to_numpy() & int(Status.TWO_MINIMA)).reshape(stars, -1)
    both = np.isfinite(d).any(1) & np.isfinite(others).any(1)
    offset = np.array(
        [
            np.nanmean(a) - np.nanmean(b)
            for a, b in zip(d[both], others[both], strict=True)
        ]
        or [np.nan]
    )
    return {
        "spectra": d.size,
        "measured": float(np.isfinite(d).mean()),
        "two_minima": float((two[:, skip:] != 0).mean()),
        "bias": float(offset.mean()),
        "bias_err": float(offset.std() / np.sqrt(len(offset))),
        "median_error": float(np.nanmedian(error)) if both.any() else np.nan,
        **spread(d),
    }


def types(options: argparse.Namespace) -> Iterator[dict]:
    """Yield the scatter of every type, arm, S/N and method."""
    stars = (options.number or (40 if options.quick else 1000)) // PER_STAR
    for arm, name in cells(options, TYPES):
        star, note = nearest_model(TYPES[name])
        if note:
            print(f"{name}: {note}")
        light = Light.of(star, arm)
        for snr in options.snr or (QUICK_SNRS if options.quick else SNRS):
            survey = Survey(arm, snr)
            rng = random("types", arm, name, snr)
            for i in range(stars):
                for j in range(PER_STAR + 1):
                    survey.add(f"{name}{i:03d}", light, rng, reference=j == 0)
            visits, spectra = survey.tables()
            for method in METHODS:
                found = measure_relative(visits, spectra, RelativeOptions(method))
                yield {
                    "type": name,
                    "model": str(star),
                    "arm": arm,
                    "snr": snr,
                    "method": method,
                    **summary(found.table, visits["truth"], stars, 1),
                    "limit": light.limit(snr, RelativeOptions().windows[arm]),
                }


def temperature(options: argparse.Namespace) -> Iterator[dict]:
    """Yield the scatter and bias of hot exposures against those of 6000 K.

    `published` has one exposure at 6000 K as the reference, `kept` the template of
    earlier exposures at 6000 K, and `joint` fits a template to both kinds together, as
    many of the one as of the other. All have the same S/N.
    """
    stars = (options.number or (40 if options.quick else 1000)) // PER_STAR
    joint, published = RelativeOptions(), RelativeOptions("published")
    for arm, teff in cells(options, [str(t) for t in TEMPERATURES]):
        hot = int(teff)
        light = {t: Light.of(Star(t, 2.5, -1.0), arm) for t in (6000, hot)}
        for snr in options.snr or (QUICK_SNRS if options.quick else SNRS):
            rng = random("temperature", arm, hot, snr)
            survey = Survey(arm, snr)
            for i in range(stars):
                for j in range(2 * PER_STAR):
                    teff = 6000 if j < PER_STAR else hot
                    survey.add(f"s{i:03d}", light[teff], rng, reference=j == 0)
            visits, spectra = survey.tables()
            order = np.arange(len(visits)) % (2 * PER_STAR)
            cold, after = order < PER_STAR, (order == 0) | (order >= PER_STAR)
            kept = measure_relative(visits.filter(cold), spectra[cold]).templates
            late = visits.filter(after), spectra[after]
            for method, found, skip in (
                ("published", measure_relative(*late, published), 1),
                ("kept", measure_relative(*late, joint, kept), 1),
                ("joint", measure_relative(visits, spectra, joint), PER_STAR),
            ):
                truth = visits["truth"] if skip > 1 else late[0]["truth"]
                yield {
                    "teff": hot,
                    "arm": arm,
                    "snr": snr,
                    "method": method,
                    **summary(found.table, truth, stars, skip),
                }


def draw_kind(kind: str, number: int) -> list[Star]:
    """Draw stars of one kind."""
    rng = random("kind", kind)
    return [
        Star(*(float(rng.uniform(*box[k])) for k in (0, 1)),
             feh=float(rng.uniform(-1, 0.3)), vsini=float(rng.uniform(*box[2])))
        for box in (KINDS[kind][i % len(KINDS[kind])] for i in range(number))
    ]  # fmt: skip


def pulls_of(d: NDArray, error: NDArray) -> NDArray:
    """Return deviations from the star's weighted mean over their errors.

    Quoted errors are such that visits of a star may be taken as independent (the
    difference of two has the sum of their variances), so the deviation of one from the
    weighted mean of all has the variance ``error^2 - 1 / sum(error^-2)``. Each
    velocity counts once, and the star's unknown zero not at all.
    """
    weight = np.where(np.isfinite(d), error, np.inf) ** -2.0
    away, _ = about_mean(d, weight)
    total = weight.sum(1, keepdims=True)
    left = error**2 - 1 / np.where(total > 0, total, np.inf)
    return away / np.sqrt(np.where(left > 0, left, np.nan))


def width(z: NDArray, statistic) -> tuple[float, float]:
    """Return a width of pulls ``(star, visit)`` and its error, bootstrapped over stars."""
    draws = random("bootstrap").integers(0, len(z), (300, len(z)))
    return statistic(z), float(np.std([statistic(z[rows]) for rows in draws]))


def rms(z: NDArray) -> float:
    return float(np.sqrt(np.nanmean(z**2)))


def central(z: NDArray) -> float:
    """Half the range of the central 68%: the width that outliers do not move."""
    low, high = np.nanpercentile(z, [15.865, 84.135])
    return float(high - low) / 2


def whitened(found, visits: pl.DataFrame, d: NDArray) -> float:
    """Return chi squared per degree of freedom by the full covariances of the stars."""
    flat = dict(zip(visits["visit_id"], d.ravel(), strict=True))
    chi2, dof = 0.0, 0
    for row in found.covariances.iter_rows(named=True):
        own = np.array([flat[v] for v in row["visit_ids"]])
        c = np.array(row["covariance"]).reshape(len(own), -1)
        # The covariance knows no common velocity; nor do deviations, after this.
        project = c @ np.linalg.pinv(c, rcond=1e-6, hermitian=True)
        own = project @ (own - own.mean())
        chi2 += float(own @ np.linalg.pinv(c, rcond=1e-6, hermitian=True) @ own)
        dof += len(own) - 1
    return chi2 / max(dof, 1)


def pulls(options: argparse.Namespace) -> Iterator[dict]:
    """Yield the width of the pulls of every kind of star, arm, S/N and number of visits."""
    # A few at S/N 5 find no velocity: 3000 should be left.
    spectra_each = options.number or (48 if options.quick else 3120)
    for arm, kind in cells(options, KINDS):
        pool = [Light.of(s, arm) for s in draw_kind(kind, 8 if options.quick else 120)]
        for snr in options.snr or (QUICK_SNRS if options.quick else PULL_SNRS):
            for exposures in (3, 8):
                rng = random("pulls", arm, kind, snr, exposures)
                survey, stars = Survey(arm, snr), -(-spectra_each // exposures)
                for i in range(stars):
                    for velocity in rng.uniform(-30, 30, exposures):
                        survey.add(f"{i:04d}", pool[i % len(pool)], rng, velocity)
                visits, spectra = survey.tables()
                found = measure_relative(visits, spectra)
                d = deviations(found.table, visits["truth"], stars)
                error = found.table["rv_raw_err"].to_numpy().reshape(d.shape)
                z = pulls_of(d, error)
                status = found.table["status"].to_numpy().reshape(d.shape)
                alone = (status & int(Status.TWO_MINIMA)) == 0
                pair = np.diff(d, axis=1) / np.hypot(error[:, 1:], error[:, :-1])
                robust, robust_err = width(z, central)
                deviation, deviation_err = width(z, rms)
                yield {
                    "type": kind,
                    "arm": arm,
                    "snr": snr,
                    "visits": exposures,
                    "velocities": int(np.isfinite(z).sum()),
                    "unmeasured": int((~np.isfinite(d)).sum()),
                    "robust": robust,
                    "robust_err": robust_err,
                    "rms": deviation,
                    "rms_err": deviation_err,
                    "rms_differences": rms(pair),
                    "rms_covariance": np.sqrt(whitened(found, visits, d)),
                    "rms_one_minimum": rms(np.where(alone, z, np.nan)),
                    "two_minima": int((~alone).sum()),
                    "beyond_4": int((np.abs(z) > 4).sum()),
                    "median_error": float(np.nanmedian(error)),
                    "scatter": spread(d)["scatter"],
                }


def cells(options: argparse.Namespace, names) -> Iterator[tuple[str, str]]:
    """Yield arms and stars that were asked for."""
    wanted = [name for name in names if name in (options.stars or names)]
    for arm in options.arms:
        for name in wanted:
            print(f"{arm} {name} ...", file=sys.stderr, flush=True)
            yield arm, name


def zero_points(mock: TableMock, method: str) -> pl.DataFrame:
    """Return every visit of the mock, calibrated, in the gauge of the truth.

    Only differences between exposures can be known, so the mean of the true offsets is
    taken out of everything: ``raw`` and ``rv`` are what would be plotted over the truth.
    """
    fitted = fit_zeropoints(mock.visits, [FAMILY], method)
    family = mock.offsets.join(fitted.offsets["+".join(FAMILY)], on=list(FAMILY))
    known = family.filter(pl.col("offset").is_finite())
    shift = (known["offset_true"] - known["offset"]).mean()
    return (
        fitted.apply(mock.visits)
        .join(mock.truth.drop("star_id"), on="visit_id", maintain_order="left")
        .join(mock.stars, on="star_id", maintain_order="left")
        .join(family, on=list(FAMILY), maintain_order="left")
        .with_columns(
            method=pl.lit(method),
            raw=pl.col("rv_raw") - shift,
            rv=pl.col("rv") - shift,
            offset_error=pl.col("offset") - pl.col("offset_true") + shift,
        )
    )


def mock(options: argparse.Namespace) -> Iterator[dict]:
    """Yield how well the zero points of Xiong's mock are recovered, seed by seed."""
    for seed in range(3 if options.quick else 20):
        made = xiong_mock(seed)
        for method in ("xiong", "joint"):
            table = zero_points(made, method)
            constant = table.filter("constant_true").with_columns(
                before=pl.col("raw") - pl.col("rv_true"),
                after=pl.col("rv") - pl.col("rv_true"),
            )
            each = constant.group_by("exposure_id", maintain_order=True).agg(
                pl.col("before", "after").mean(), pl.col("offset_error").first()
            )
            binary = table.filter(pl.col("kind") == "binary")
            yield {
                "seed": seed,
                "method": method,
                "rms_offset_error": rms(each["offset_error"].to_numpy()),
                "worst_offset_error": each["offset_error"].abs().max(),
                "worst_mean_before": each["before"].abs().max(),
                "worst_mean_after": each["after"].abs().max(),
                "rms_binaries_before": rms((binary["raw"] - binary["rv_true"]).to_numpy()),
                "rms_binaries_after": rms((binary["rv"] - binary["rv_true"]).to_numpy()),
                "rms_binaries_errors": rms(binary["rv_raw_err"].to_numpy()),
            }  # fmt: skip


KEYS = {
    "types": ["arm", "type", "method", "snr"],
    "temperature": ["arm", "teff", "method", "snr"],
    "pulls": ["arm", "type", "visits", "snr"],
    "mock": ["method", "seed"],
}
MEASURE = {"types": types, "temperature": temperature, "pulls": pulls, "mock": mock}


def record(part: str, row: dict, folder: Path) -> pl.DataFrame:
    """Add a row to the numbers in ``folder``; one that is there already is replaced."""
    path = folder / f"{part}.csv"
    table = pl.DataFrame([row])
    if path.exists():
        old = pl.read_csv(path)
        old = old.cast({k: v for k, v in table.schema.items() if k in old.columns})
        table = pl.concat(
            [old.join(table, on=KEYS[part], how="anti"), table], how="diagonal"
        )
    table = table.sort(KEYS[part]).with_columns(cs.float().round_sig_figs(6))
    table.write_csv(path)
    return table


def log(part: str, folder: Path, command: str, rows: int) -> None:
    """Keep the command beside the numbers."""
    path = folder / f"{part}.json"
    runs = json.loads(path.read_text()) if path.exists() else []
    runs.append({"command": command, "rows": rows, "steadystar": version("steadystar")})
    path.write_text(json.dumps(runs, indent=1) + "\n")


def draw(part: str, table: pl.DataFrame, folder: Path) -> list[Path]:
    """Draw the figures of one part from its numbers."""
    if part == "mock":
        made = xiong_mock(0)
        tables = {m: zero_points(made, m) for m in ("xiong", "joint")}
        return [
            *figures.save(figures.figure_1(tables), folder / "figure-1"),
            *figures.save(figures.figure_2(tables["joint"]), folder / "figure-2"),
        ]
    figure, name = {
        "types": (figures.figure_8, "figure-8"),
        "temperature": (figures.figure_9, "figure-9"),
        "pulls": (figures.pull_widths, "pulls"),
    }[part]
    return figures.save(figure(table), folder / name)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    for name, measure in MEASURE.items():
        part = parts.add_parser(name, help=(measure.__doc__ or "").splitlines()[0])
        part.add_argument("-o", type=Path, default=Path("precision"), help="folder")
        part.add_argument("--quick", action="store_true", help="a small run")
        part.add_argument("--redraw", action="store_true", help="figures only")
        if name != "mock":
            part.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
            known = {"types": TYPES, "pulls": KINDS}.get(name, TEMPERATURES)
            known = [str(star) for star in known]
            part.add_argument("--stars", nargs="+", choices=known, default=None)
            part.add_argument("--snr", nargs="+", type=float, default=None)
            part.add_argument("--number", type=int, help="of spectra in every cell")
    options = parser.parse_args(arguments)
    folder = options.o
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    table = pl.DataFrame()
    if options.redraw:
        table = pl.read_csv(folder / f"{options.part}.csv")
    else:
        count = 0
        for row in MEASURE[options.part](options):
            table = record(options.part, row, folder)
            count += 1
        words = sys.argv[1:] if arguments is None else arguments
        command = " ".join(["python benchmarks/precision.py", *words])
        log(options.part, folder, command, count)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, float_precision=3):
        print(table)
    for path in draw(options.part, table, folder):
        print(path)
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
