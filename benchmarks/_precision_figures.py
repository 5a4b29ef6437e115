"""The figures of `precision.py`, in the style of the report's paper figures."""

import io
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from scipy.stats import gaussian_kde

from steadystar.publish import paper
from steadystar.publish.numbers import MINUS
from steadystar.publish.paper import COLORS
from steadystar.simulate.orbits import orbital_velocity

STYLE = Path(paper.__file__).with_name("paper.mplstyle")
WIDTH = 7.1
"""Width of a page in inches."""
TYPE_COLORS = {
    "O": "purple",
    "B": "blue",
    "A": "sky",
    "F": "green",
    "G": "orange",
    "K": "red",
    "M": "ink",
}
DASHES = {"published": (0, (4, 1.5)), "joint": "-", "kept": (0, (1, 1.2))}
MEANINGS = {
    "published": "published",
    "joint": "joint",
    "kept": "joint, kept template of 6000 K",
}
NEARLY_ALL = 0.95
"""Share of spectra with a velocity below which a point is drawn open."""


def canvas(
    rows: int, columns: int, height: float, **keywords
) -> tuple[Figure, np.ndarray]:
    with mpl.rc_context(fname=STYLE):
        figure = Figure(figsize=(WIDTH, height))
        return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem.png`` and ``stem.pdf``; equal figures give equal bytes."""
    with mpl.rc_context(fname=STYLE):
        png, pdf = io.BytesIO(), io.BytesIO()
        figure.set_dpi(125)
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
        figure.set_layout_engine("none")
        FigureCanvasPdf(figure).print_pdf(
            pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None}
        )
    paths = [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    for path, content in zip(paths, (png, pdf), strict=True):
        path.write_bytes(content.getvalue())
    return paths


def snr_axis(
    axes: Axes, snrs: Iterable[float], *, room: float = 1.0, margin: float = 1.15
) -> None:
    """A logarithmic S/N axis with the S/N that were run as ticks."""
    snrs = sorted(set(snrs))
    axes.set_xscale("log")
    axes.set_xlim(snrs[0] / margin, snrs[-1] * margin * room)
    # 60 and 80 stand too close to 100 to be written.
    shown = [s for s in snrs if s not in (60, 80)]
    axes.set_xticks(shown, [f"{s:g}" for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("S/N per pixel")


def plain_log(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def curve(axes: Axes, rows: pl.DataFrame, color: str, method: str) -> None:
    """Scatter against S/N; open points where many spectra gave no velocity."""
    rows = rows.sort("snr").filter(pl.col("scatter").is_finite())
    x, y = rows["snr"].to_numpy(), rows["scatter"].to_numpy()
    axes.plot(x, y, ls=DASHES[method], color=COLORS[color], lw=1.1)
    for some, face in (
        (rows["measured"].to_numpy() >= NEARLY_ALL, COLORS[color]),
        (rows["measured"].to_numpy() < NEARLY_ALL, "white"),
    ):
        axes.plot(
            x[some],
            y[some],
            "o",
            ms=2.8,
            mec=COLORS[color],
            mfc=face,
            mew=0.7,
            zorder=3,
        )


def beside(
    axes: Axes, at: float, labels: list[tuple[str, float, str]], gap: float
) -> None:
    """Write labels at the right end of curves, moved apart by ``gap`` dex, and led to."""
    labels = sorted(labels, key=lambda label: label[1])
    places = np.log10([value for _, value, _ in labels])
    for _ in range(200):
        for i in range(len(places) - 1):
            lack = gap - (places[i + 1] - places[i])
            if lack > 1e-6:
                places[i] -= lack / 2
                places[i + 1] += lack / 2
    for (text, value, color), place in zip(labels, places, strict=True):
        axes.plot(
            [at * 1.05, at * 1.22], [value, 10**place], color=COLORS[color], lw=0.5
        )
        axes.text(
            at * 1.27, 10**place, text, color=COLORS[color], va="center", weight="bold"
        )


def method_legend(axes: Axes, methods: Iterable[str], loc: str) -> None:
    ink = COLORS["ink"]
    lines = [
        *(Line2D([], [], color=ink, ls=DASHES[m], label=MEANINGS[m]) for m in methods),
        Line2D(
            [], [], color=ink, ls="", marker="o", mfc="white", mew=0.7, ms=2.8,
            label=f"under {NEARLY_ALL:.0%} measured",
        ),
    ]  # fmt: skip
    axes.legend(handles=lines, loc=loc, handlelength=2.4)


def figure_8(table: pl.DataFrame) -> Figure:
    """Scatter against S/N for every type: Xiong's figure 8, both estimators."""
    with mpl.rc_context(fname=STYLE):
        figure, grid = canvas(1, 2, 3.6, sharey=True)
        for axes, arm in zip(grid[0], ("blue", "red"), strict=True):
            rows = table.filter(pl.col("arm") == arm)
            axes.set_title(f"{arm} arm")
            if not len(rows):
                continue
            labels = []
            for name, color in TYPE_COLORS.items():
                for method in ("published", "joint"):
                    mine = rows.filter(type=name, method=method)
                    curve(axes, mine, color, method)
                last = mine.filter(pl.col("scatter").is_finite()).sort("snr")
                if len(last):
                    labels.append((name, last["scatter"][-1], color))
            plain_log(axes)
            snr_axis(axes, rows["snr"], room=1.3)
            beside(axes, rows["snr"].max(), labels, 0.13)
        grid[0, 0].set_ylabel("scatter of the velocities (km/s)")
        method_legend(grid[0, 0], ("published", "joint"), "lower left")
    return figure


def figure_9(table: pl.DataFrame) -> Figure:
    """Scatter and bias of hotter exposures against a template of 6000 K."""
    colors = {6000: "muted", 6500: "blue", 7000: "red"}
    with mpl.rc_context(fname=STYLE):
        figure, grid = canvas(
            2,
            2,
            4.6,
            sharex="col",
            sharey="row",
            gridspec_kw={"height_ratios": [1.5, 1]},
        )
        for column, arm in enumerate(("blue", "red")):
            rows = table.filter(pl.col("arm") == arm)
            top, bottom = grid[:, column]
            top.set_title(f"{arm} arm")
            if not len(rows):
                continue
            labels = []
            for teff, color in colors.items():
                for method, dashes in DASHES.items():
                    mine = rows.filter(teff=teff, method=method).sort("snr")
                    curve(top, mine, color, method)
                    move = {"published": 0.97, "kept": 1.0, "joint": 1.03}[method]
                    # Means that are known to half a km/s: the others are only noise.
                    known = mine.filter(pl.col("bias_err") < 0.5)
                    bottom.errorbar(
                        known["snr"] * move,
                        known["bias"],
                        known["bias_err"],
                        color=COLORS[color],
                        ls=dashes,
                        lw=0.9,
                        elinewidth=0.6,
                        marker="o",
                        ms=2.2,
                    )
                mine = rows.filter(teff=teff, method="joint").sort("snr")
                labels.append((f"{teff} K", mine["scatter"][-1], color))
            plain_log(top)
            snr_axis(bottom, rows["snr"], room=2.1)
            beside(top, rows["snr"].max(), labels, 0.13)
            bottom.axhline(0, color=COLORS["ink"], lw=0.5)
            bottom.set_ylim(-2, 1)
        grid[0, 0].set_ylabel("scatter (km/s)")
        grid[1, 0].set_ylabel("velocity change (km/s)")
        method_legend(grid[0, 1], DASHES, "lower left")
    return figure


def pull_widths(table: pl.DataFrame) -> Figure:
    """Widths of the pulls against S/N, 0.95 to 1.05 shaded: all, and the central 68%."""
    with mpl.rc_context(fname=STYLE):
        figure, grid = canvas(2, 2, 4.4, sharex="col", sharey=True)
        kinds = table["type"].unique().sort().to_list()
        for (row, column), axes in np.ndenumerate(grid):
            rows = table.filter(pl.col("arm") == ("blue", "red")[column])
            axes.axhspan(0.95, 1.05, color=COLORS["muted"], alpha=0.15, lw=0)
            axes.axhline(1, color=COLORS["ink"], lw=0.5)
            axes.set_ylim(0.84, 1.26)
            if not len(rows):
                continue
            for number, (kind, visits) in enumerate(
                (k, v) for k in kinds for v in (3, 8)
            ):
                mine = rows.filter(type=kind, visits=visits).sort("snr")
                mine = mine.with_columns(x=pl.col("snr") * 1.07 ** (number - 2.5))
                color = COLORS[TYPE_COLORS[kind]]
                face = "white" if visits == 3 else color
                widths(axes, mine, ("rms", "robust")[row], color, face)
            snr_axis(axes, rows["snr"], margin=1.35)
        for axes, arm in zip(grid[0], ("blue", "red"), strict=True):
            axes.set_title(f"{arm} arm")
            axes.set_xlabel("")
        grid[0, 0].set_ylabel(
            f"standard deviation of\n(velocity {MINUS} truth) / error"
        )
        grid[1, 0].set_ylabel("half the range of its\ncentral 68%")
        handles = [Patch(color=COLORS[TYPE_COLORS[k]], label=k) for k in kinds]
        for visits, face in ((3, "white"), (8, COLORS["ink"])):
            handles.append(
                Line2D(
                    [], [], ls="", marker="o", ms=3.2, mew=0.7, mfc=face,
                    color=COLORS["ink"], label=f"{visits} visits",
                )
            )  # fmt: skip
        grid[0, 0].legend(handles=handles, ncols=5, loc="upper right", columnspacing=1)
    return figure


def widths(axes: Axes, rows: pl.DataFrame, name: str, color: str, face: str) -> None:
    """Widths with errors; those beyond the panel are written at its upper edge."""
    low, high = axes.get_ylim()
    inside = rows.filter(pl.col(name) < high)
    axes.errorbar(
        inside["x"], inside[name], inside[f"{name}_err"], color=color, mfc=face,
        marker="o", ms=3.2, mew=0.7, ls="", elinewidth=0.7,
    )  # fmt: skip
    beyond = rows.filter(pl.col(name) >= high)
    edge = high - 0.025 * (high - low)
    axes.plot(beyond["x"], [edge] * len(beyond), "^", color=color, mfc=face, ms=3.6)
    for x, value in zip(beyond["x"], beyond[name], strict=True):
        axes.text(
            x, edge - 0.03 * (high - low), f"{value:.2f}", color=color, fontsize=5.5,
            ha="center", va="top", rotation=90,
        )  # fmt: skip


def figure_1(tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Constant stars before and after, and the zero points less their truth."""
    joint = tables["joint"].filter("constant_true")
    exposures = joint["exposure_id"].unique().sort().to_list()
    nights = joint.unique("exposure_id").sort("exposure_id")["night"].to_list()
    number = np.arange(1, len(exposures) + 1)
    with mpl.rc_context(fname=STYLE):
        figure, grid = canvas(3, 1, 5.4, sharex=True, gridspec_kw={
            "height_ratios": [1.5, 1, 1]})  # fmt: skip
        before, after, error = grid[:, 0]
        for axes in grid[:, 0]:
            shade_nights(axes, nights)
            axes.grid(visible=False, axis="x")
        violins(before, joint, "raw", "red")
        first = joint.unique("exposure_id").sort("exposure_id")
        shift = (first["offset_true"] - first["offset"]).mean()
        before.plot(
            number, first["offset_true"] - shift, "_", color=COLORS["ink"], ms=7, mew=1.2,
            label="true zero point",
        )  # fmt: skip
        before.plot(
            number, first["offset"], "D", color=COLORS["blue"], ms=2.4,
            label="recovered (joint)",
        )  # fmt: skip
        before.legend(loc="best")
        before.set_ylabel(f"measured {MINUS} true\nvelocity (km/s)")
        violins(after, joint, "rv", "blue")
        for axes, level in ((after, 0.5), (error, 0.1)):
            axes.axhline(0, color=COLORS["ink"], lw=0.5)
            for sign in (-1, 1):
                axes.axhline(sign * level, color=COLORS["muted"], lw=0.6, ls=":")
        after.set_ylim(-5, 5)
        after.set_ylabel(f"corrected {MINUS} true\nvelocity (km/s)")
        for method, color, marker, move in (
            ("xiong", "red", "o", -0.12),
            ("joint", "blue", "D", 0.12),
        ):
            mine = tables[method].unique("exposure_id").sort("exposure_id")
            error.errorbar(
                number + move, mine["offset_error"], mine["offset_err"].fill_nan(0),
                fmt=marker, ms=2.6, color=COLORS[color], elinewidth=0.6,
                mfc="white" if method == "xiong" else COLORS[color], mew=0.7,
                label=f"{method}, rms {np.std(mine['offset_error'].to_numpy()):.3f} km/s",
            )  # fmt: skip
        reach = max(abs(np.array(error.get_ylim()))) * 1.15
        error.set_ylim(-reach, reach)
        error.legend(loc="upper right", ncols=2)
        error.set_ylabel(f"recovered {MINUS} true\nzero point (km/s)")
        error.set_xlabel("exposure (shades: nights)")
        error.set_xlim(0.4, len(exposures) + 0.6)
        for axes, letter in zip(grid[:, 0], "abc", strict=True):
            axes.text(0.008, 0.93, f"({letter})", transform=axes.transAxes, va="top")
        figure.align_ylabels()
    return figure


def shade_nights(axes: Axes, nights: list[int]) -> None:
    edges = [0, *(np.flatnonzero(np.diff(nights)) + 1), len(nights)]
    for low, high in list(pairwise(edges))[::2]:
        axes.axvspan(low + 0.5, high + 0.5, color=COLORS["muted"], alpha=0.12, lw=0)


def violins(axes: Axes, constant: pl.DataFrame, column: str, color: str) -> None:
    """One distribution of constant stars' residuals an exposure, with its mean."""
    for number, (_, rows) in enumerate(
        constant.sort("exposure_id").group_by("exposure_id", maintain_order=True), 1
    ):
        residual = (rows[column] - rows["rv_true"]).drop_nulls().to_numpy()
        residual = residual[np.isfinite(residual)]
        y = np.linspace(residual.min(), residual.max(), 80)
        density = gaussian_kde(residual, 0.25)(y)
        half = 0.42 * density / density.max()
        axes.fill_betweenx(
            y, number - half, number + half, color=COLORS[color], alpha=0.3, lw=0
        )
        if column == "rv":
            axes.plot(number, residual.mean(), "o", color=COLORS[color], ms=2.4)


def figure_2(table: pl.DataFrame) -> Figure:
    """Folded curves of the paper's three binaries before and after the correction."""
    binaries = table.filter(pl.col("kind") == "binary")
    ids = binaries["star_id"].unique(maintain_order=True).to_list()[:3]
    with mpl.rc_context(fname=STYLE):
        figure, grid = canvas(
            3, 3, 5.0, sharex=True, sharey="row",
            gridspec_kw={"height_ratios": [2, 1, 1]},
        )  # fmt: skip
        for column, star_id in enumerate(ids):
            star = binaries.filter(star_id=star_id)
            one_binary(grid[:, column], star)
            row = star.row(0, named=True)
            grid[0, column].set_title(
                f"({'abc'[column]})  P = {row['period_true']:.4f} d, "
                f"K = {row['semi_amplitude_true']:.2f} km/s"
            )
            grid[2, column].set_xlabel("phase")
        grid[0, 0].set_ylabel("velocity (km/s)")
        grid[1, 0].set_ylabel("residual (km/s)")
        grid[2, 0].set_ylabel("residual,\ncorrected (km/s)")
        reach = max(abs(np.array(grid[2, 0].get_ylim())))
        grid[2, 0].set_ylim(-reach, reach)
        low, high = grid[0, 0].get_ylim()
        grid[0, 0].set_ylim(low, high + 0.22 * (high - low))
        grid[0, 0].legend(loc="upper right", ncols=1)
        figure.align_ylabels()
    return figure


def one_binary(panels: np.ndarray, star: pl.DataFrame) -> None:
    row = star.row(0, named=True)
    period, start = row["period_true"], row["periastron_true"]
    phase = ((star["bjd"] - start) / period % 1).to_numpy()
    fine = np.linspace(0, 1, 400)
    model = orbital_velocity(
        start + fine * period,
        period=period,
        semi_amplitude=row["semi_amplitude_true"],
        periastron=start,
    )
    panels[0].plot(fine, model, color=COLORS["ink"], lw=0.9, label="truth")
    for name, column, color, marker, size in (
        ("as measured", "raw", "red", "o", 3.0),
        ("corrected", "rv", "blue", "*", 4.6),
    ):
        face = "white" if column == "raw" else COLORS[color]
        keywords = {
            "fmt": marker, "color": COLORS[color], "ms": size, "mfc": face,
            "mew": 0.6, "elinewidth": 0.5,
        }  # fmt: skip
        error = star["rv_raw_err" if column == "raw" else "rv_err"]
        residual = star[column] - star["rv_true"]
        panels[0].errorbar(phase, star[column], error, label=name, **keywords)
        panels[1].errorbar(phase, residual, error, **keywords)
        if column == "rv":
            panels[2].errorbar(phase, residual, error, **keywords)
    for axes in panels[1:]:
        axes.axhline(0, color=COLORS["ink"], lw=0.6)
