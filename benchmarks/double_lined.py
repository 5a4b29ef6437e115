"""Orbits of pairs whose both velocities were measured: published ones, and a new one.

    python benchmarks/double_lined.py --data FOLDER      the real ones (a minute or two)
    python benchmarks/double_lined.py --pulls 200        coverage on mocks
    python benchmarks/double_lined.py --exchanged 20     mocks with exchanged velocities

FOLDER holds ``velocities/sb2_orbits`` and ``lamost_mrs``.

Published elements. 41 Dra: Tokovinin et al. 2003, A&A 409, 245: e and P from its abstract.
All other numbers as the tests of PSOAP (github.com/iancze/PSOAP, where the velocities come
from) quote them; that those of Gl 570 BC are of Forveille et al. 1999, and its period, is
from memory. Masses times sin^3 i follow from the masses and inclinations quoted there, and
the period of HD 10009 from its axis, distance and masses.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.infer.double_lined_orbit import (
    DoubleLined,
    DoubleLinedOptions,
    fit_double_lined,
)
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import RefinementOptions, curves_of, refine

KEPLER_PERIOD = 4.3059
"""Days between eclipses of KIC 8098300 in the Kepler catalog (from memory)."""


@dataclass(frozen=True)
class Published:
    """Elements in days, degrees and km/s; masses (solar) and inclination."""

    period: float
    e: float
    omega: float
    t_peri: float
    v0: float
    masses: tuple[float, float]
    inclination: float

    def minimum_masses(self) -> tuple[float, float]:
        """Return both masses times sin^3 i."""
        tilt = np.sin(np.radians(self.inclination)) ** 3
        return self.masses[0] * tilt, self.masses[1] * tilt


PUBLISHED = {
    "41 Dra": Published(
        3.413 * 365.25, 0.9754, 127.31, 2449571.037, 5.76, (1.28, 1.20), 49.7
    ),
    "Gl 570 BC": Published(
        308.884, 0.7559, 127.56, 2450270.220, 28.665, (0.586, 0.390), 107.6
    ),
    # The axis of 0.324 arcsec at 37.03 pc and the masses give the period: 28 years.
    "HD 10009": Published(10227, 0.798, 71.6, 2447862.3, 47.8, (1.2, 1.0), 96.0),
}


def published_velocities(folder: Path) -> dict[str, pl.DataFrame]:
    """Read the three sets as tables of visits."""
    lines = (folder / "41Dra_rv.dat").read_text().splitlines()[1:]
    rows = [line.split() for line in lines if line.strip()]
    dra = pl.DataFrame(
        {
            "bjd": [float(row[0]) for row in rows],
            "rv": [float(row[1]) for row in rows],
            "err": [float(row[2]) for row in rows],
            "star": [row[4] for row in rows],
        }
    )
    out = {"41 Dra": _paired(*(dra.filter(star=one).drop("star") for one in "ab"))}
    for name, label in (("Gl570BC", "Gl 570 BC"), ("HD10009", "HD 10009")):
        both = []
        for star in "12":
            table = pl.read_csv(folder / f"{name}_rv{star}.txt")
            table = table.rename({c: c.strip() for c in table.columns})
            text = table.select(pl.all().cast(pl.String).str.strip_chars())
            numbers = text.cast(pl.Float64).rename({"date": "bjd"})
            both.append(numbers.with_columns(pl.col("bjd") + 2400000))
        out[label] = _paired(*both)
    # The velocities of Gl 570 B from 1997 on are of another spectrograph (ELODIE).
    late = (pl.col("bjd") > 2450000).cast(pl.Int64)
    return {
        n: t.with_columns(
            star_id=pl.lit(n),
            instrument=late if n == "Gl 570 BC" else pl.lit(0, dtype=pl.Int64),
        )
        for n, t in out.items()
    }


def _paired(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Put velocities of one time into a row; times without the first star are dropped."""
    first = first.rename({"err": "rv_err"})
    second = second.rename({"rv": "rv_2", "err": "rv_2_err"})
    unique = second.unique("bjd", keep="first", maintain_order=True)
    once = first.unique("bjd", keep="first", maintain_order=True)
    return once.join(unique, on="bjd", how="left").fill_null(np.nan).sort("bjd")


def told(name: str, found: DoubleLined, published: Published | None) -> None:
    """Print an orbit beside the published one."""
    row = found.summary
    print(
        f"{name}: {row['n_visits']} visits with both velocities, {row['orbit_status']}"
    )
    truth = {}
    if published:
        low, high = published.minimum_masses()
        truth = {n: getattr(published, n) for n in ("period", "e", "omega", "v0")}
        truth |= {"m_sin3_i": low, "m_2_sin3_i": high}
        truth["mass_ratio"] = published.masses[1] / published.masses[0]
        truth["t_peri"] = published.t_peri
    names = ("period", "e", "omega", "t_peri", "k", "k_2", "v0", "mass_ratio")
    for one in (*names, "a_sin_i", "m_sin3_i", "m_2_sin3_i", "jitter"):
        if row[one] is None or not np.isfinite(row[one]):
            continue
        beside = f"   published {truth[one]:.5g}" if one in truth else ""
        if one == "t_peri" and published:
            turns = round((row[one] - truth[one]) / row["period"])
            expected = truth[one] + turns * published.period
            beside = f"   published {expected:.3f} ({turns} orbits on)"
        digits = 3 if one == "t_peri" else 5
        values = [row[one], row[f"{one}_low"] - row[one], row[f"{one}_high"] - row[one]]
        text = f"{values[0]:.{digits}f} {values[1]:+.{digits}f} {values[2]:+.{digits}f}"
        print(f"  {one:12s} {text}{beside}")
    if found.wilson:
        w = found.wilson
        print(
            f"  Wilson's line: q {w.q:.4f} +- {w.q_err:.4f}, "
            f"center {w.gamma:.2f} +- {w.gamma_err:.2f} km/s"
        )
    for note in found.notes:
        print(f"  {note}")
    with pl.Config(
        tbl_rows=40, tbl_cols=20, tbl_width_chars=200, tbl_hide_column_data_types=True
    ):
        print(found.modes.head(40))


def fit_published(name: str, visits: pl.DataFrame) -> DoubleLined:
    """Fit one of the published sets, with all velocities of the first star."""
    options = OrbitOptions(
        min_period=2.0, max_period=20000.0, offset_by=("instrument",)
    )
    return fit_double_lined(visits, options, DoubleLinedOptions(single="first"))


def lamost_velocities(folder: Path) -> pl.DataFrame:
    """Measure KIC 8098300 in LAMOST's medium-resolution spectra, both arms."""
    from steadystar.measure.absolute import measure_absolute
    from steadystar.survey.folder import read_folder

    seen = read_folder(folder)
    mine = (seen.visits["field"] != "TD230151N343645T01").to_numpy()
    found = measure_absolute(seen.visits.filter(pl.Series(mine)), seen.spectra[mine])
    # A second velocity to 5 km/s, with a tenth of the light, is a fluctuation.
    doubtful = (pl.col("rv_2_err") > 6) | (pl.col("light_ratio") < 0.15)
    nan = pl.lit(float("nan"))
    # Nothing is calibrated: what was measured counts.
    return found.table.drop("rv", "rv_err").with_columns(
        rv_2=pl.when(doubtful).then(nan).otherwise("rv_2"),
        rv_2_err=pl.when(doubtful).then(nan).otherwise("rv_2_err"),
    )


def fit_lamost(visits: pl.DataFrame, single: str, max_period: float) -> DoubleLined:
    """Fit KIC 8098300: a zero point for each arm."""
    options = OrbitOptions(
        min_period=1.0,
        max_period=max_period,
        offset_by=("arm",),
        offset_sigma=5.0,
        n_samples=2048,
    )
    return fit_double_lined(
        visits, options, DoubleLinedOptions(single=single, starts=120)
    )


def mock_pair(rng, visits: int = 24, span: float = 400.0) -> tuple[dict, dict]:
    """Draw a pair: elements (radians), and its velocities."""
    from steadystar.infer.orbit_curves import numbers_of

    truth = {
        "period": float(np.exp(rng.uniform(np.log(2), np.log(100)))),
        "e": float(rng.uniform(0.05, 0.6)),
        "omega": float(rng.uniform(0, 2 * np.pi)),
        "t_peri": 2458000.0 + float(rng.uniform(0, 100)),
    }
    k, k_2, v0 = rng.uniform(20, 60), rng.uniform(20, 60), rng.uniform(-50, 50)
    t = 2458000 + np.sort(rng.uniform(0, span, visits))
    err, err_2 = rng.uniform(0.3, 1, visits), rng.uniform(0.5, 2, visits)
    curves = curves_of(t, np.zeros(visits), err, rv_2=np.zeros(visits), err_2=err_2)
    four = numbers_of(truth, curves.middle)
    model = curves.model(np.concatenate([four, [k, k_2, v0]]))[0]
    noise = np.hypot(np.concatenate([err, err_2]), 0.5) * rng.standard_normal(
        2 * visits
    )
    rv, rv_2 = np.split(model + noise, 2)
    data = {"t": t, "rv": rv, "err": err, "rv_2": rv_2, "err_2": err_2}
    return truth | {"k": float(k), "k_2": float(k_2), "v0": float(v0)}, data


def pulls(number: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Return (found - truth) / error of all elements on mocks with a jitter of 0.5 km/s."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[float]] = {}
    for _ in range(number):
        truth, data = mock_pair(rng)
        start = {n: truth[n] for n in ("period", "e", "omega", "t_peri")}
        found = refine(**data, start=start, options=RefinementOptions())
        for name, value in truth.items():
            off = found.elements[name] - value
            if name == "omega":
                off = np.mod(off + np.pi, 2 * np.pi) - np.pi
            if name == "t_peri":
                turns = np.round(off / truth["period"])
                # Many orbits on, the error of the period counts as well.
                middle = {**truth, "t_peri": value + turns * truth["period"]}
                off = found.elements[name] - middle["t_peri"]
            out.setdefault(name, []).append(off / found.errors[name])
    return {name: np.array(values) for name, values in out.items()}


def exchanged(number: int, seed: int = 2) -> tuple[int, int, int]:
    """Exchange 30% of the velocities; return periods right, visits right, visits."""
    rng = np.random.default_rng(seed)
    right = told_apart = total = 0
    for _ in range(number):
        truth, data = mock_pair(rng, visits=16)
        swap = rng.uniform(size=16) < 0.3
        names = ("rv", "rv_2"), ("err", "err_2")
        table = {"star_id": ["mock"] * 16, "bjd": data["t"]}
        for (a, b), (to_a, to_b) in zip(
            names, (("rv", "rv_2"), ("rv_err", "rv_2_err")), strict=True
        ):
            table[to_a] = np.where(swap, data[b], data[a])
            table[to_b] = np.where(swap, data[a], data[b])
        found = fit_double_lined(pl.DataFrame(table), OrbitOptions(n_samples=256))
        close = abs(found.summary["period"] / truth["period"] - 1) < 2e-2
        right += close
        same = found.exchanged == swap
        told_apart += max(int(same.sum()), int((~same).sum()))
        total += 16
    return right, told_apart, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pulls", type=int, default=0)
    parser.add_argument("--exchanged", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.pulls:
        for name, values in pulls(arguments.pulls).items():
            print(
                f"  {name:8s} mean {values.mean():+.2f}, width {values.std(ddof=1):.2f}"
            )
    if arguments.exchanged:
        right, apart, total = exchanged(arguments.exchanged)
        print(f"periods right {right} of {arguments.exchanged}, ", end="")
        print(f"visits told apart {apart} of {total}")
    if arguments.data:
        sets = published_velocities(arguments.data / "velocities" / "sb2_orbits")
        for name, visits in sets.items():
            told(name, fit_published(name, visits), PUBLISHED[name])
        visits = lamost_velocities(arguments.data / "lamost_mrs")
        for single in ("out", "blend"):
            found = fit_lamost(visits, single, 30.0)
            told(f"KIC 8098300, one velocity: {single}", found, None)


if __name__ == "__main__":
    main()
