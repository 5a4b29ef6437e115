"""Make the picture of the tutorial on APOGEE, from the code of that page.

    python docs/make_apogee.py

Left: a stretch of one visit of the dwarf, divided by its continuum, with the models' best
fit and the template of its other visits. Right: its velocities less the true one.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from make_outputs import BLOCKS

from steadystar.data.constants import C_KMS
from steadystar.measure.own_templates import templates_from_spectra
from steadystar.measure.taken_apart import taken_apart

PAGE = Path(__file__).with_name("tutorial-apogee.md")
TARGET = Path(__file__).with_name("images") / "apogee.png"
MODELS, OWN = "#c0392b", "#1f4e79"
LOW, HIGH = 15_885.0, 15_925.0


def run_page() -> dict:
    """Run the page and return its variables."""
    page: dict = {"__name__": "page"}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        for block in BLOCKS.finditer(PAGE.read_text("utf-8")):
            exec(compile(block[1], PAGE.name, "exec"), page)  # noqa: S102
    return page


def normalized(spectrum, templates, rv):
    """Return the spectrum and the star's lines over the continuum of a fit."""
    parts = taken_apart(spectrum, templates, rv).components
    level = parts["continuum"][0]
    return spectrum.flux[0] / level, 1 + parts["star lines"][0] / level


def draw_spectrum(axis, page: dict) -> None:
    """Draw one visit, with either fit."""
    first, own = page["first"]["rv_obs"].to_numpy(), page["own"]["rv_obs"].to_numpy()
    spectra = page["spectra"]
    one = spectra[:1]
    others = templates_from_spectra(spectra[1:], own[1:]).templates
    wave, used = one.wave_2d[0], one.ivar[0] > 0
    seen, fit = normalized(one, page["models"], first[0])
    inside = (wave > LOW) & (wave < HIGH)
    shown = np.where(used, seen, np.nan)[inside]
    axis.plot(wave[inside], shown, ".", color="0.6", ms=3, label="one visit")
    axis.plot(wave[inside], fit[inside], color=MODELS, lw=1.2, label="models, best fit")
    # The template of the others, on the continuum of the models' fit.
    moved = others.wave * (1 + own[0] / C_KMS)
    there = (moved > LOW) & (moved < HIGH)
    lines = others.flux[0, there]
    scale = np.nanmedian(shown) / np.median(lines)
    axis.plot(
        moved[there], scale * lines, color=OWN, lw=1.2, label="its other four visits"
    )
    axis.set(
        xlabel="vacuum wavelength as observed (Å)",
        ylabel="flux over continuum",
        xlim=(LOW, HIGH),
        ylim=(0.45, 1.15),
    )
    axis.legend(frameon=False, loc="lower right")


def draw_velocities(axis, page: dict) -> None:
    """Draw what the velocities are off by, against the motion of the Earth."""
    bary, truth = page["visits"]["bary_corr"], page["dwarf"].rv
    for name, color, label in (
        ("first", MODELS, "against models"),
        ("own", OWN, "against its other visits"),
    ):
        table = page[name]
        axis.errorbar(
            *(bary, 1000 * (table["rv_raw"] - truth), 1000 * table["rv_raw_err"]),
            fmt="o",
            color=color,
            label=label,
        )
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set(
        xlabel="barycentric correction (km/s)",
        ylabel="velocity less the true one (m/s)",
        ylim=(-60, 340),
    )
    axis.legend(frameon=False, loc="upper right")


def make() -> None:
    """Write the picture."""
    page = run_page()
    figure, axes = plt.subplots(
        *(1, 2), figsize=(10, 4), width_ratios=(1.5, 1), layout="constrained"
    )
    draw_spectrum(axes[0], page)
    draw_velocities(axes[1], page)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    make()
