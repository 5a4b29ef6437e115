"""Make the picture of the page on marginalization, from the code that measures.

    python docs/make_marginalization.py

A star of 5500 K in the blue arm of LAMOST. Left: minus twice the logarithm of the
likelihood against velocity at S/N 100, with one template and with all types integrated
over. Right: by how much velocities are off, against the error of the one template's
temperature, at S/N 400 so that noise does not hide it; velocities within 3 km/s.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from _velocity_mocks import instruments, observe_stars

from steadystar.data.constants import C_KMS
from steadystar.kernels import spline, velocity
from steadystar.measure.normalize import prepare
from steadystar.measure.prior import (
    Stretch,
    grid_of,
    line_priors,
    orders_of,
    window_of,
)
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.templates import Templates, bundled_templates

TARGET = Path(__file__).with_name("images") / "marginalization.png"
STAR = np.array([5500.0, 4.5, 0.0])
CHANGES = (-600, -450, -300, -150, 0, 150, 300, 450, 600)
NUMBER, SNR, HIGH_SNR = 96, 100, 400
OFF, ALL = "#c0392b", "#1f4e79"


def one_template(arm, change: float) -> Templates:
    labels = STAR + np.array([change, 0.0, 0.0])
    return Templates.from_models(arm.models, labels, arm.resolution, [4.0])


def curve(spectra, templates, arm):
    """Return trial velocities, and the mean of -2 ln L less each spectrum's own lowest."""
    options = VelocityOptions()
    given = options.windows[arm.name]
    window = window_of(spectra, templates, given, options.margin, options.search_kms)
    grid = grid_of(spectra, arm.resolution, window, options.search_kms)
    orders = orders_of(window, options.continuum_scale)
    stretch = Stretch(templates, grid, window, arm.resolution, orders)
    with jax.enable_x64(True):
        prepared = prepare(spectra, np.zeros(len(spectra)), window, grid)
        (prior,) = line_priors((stretch,), options.rank)
        rows = prepared.pixels.take(np.arange(len(spectra)), len(spectra))
        tenths = jnp.arange(-3, 4)

        @jax.jit
        @jax.vmap
        def objective(*fields):
            pixels = spline.Pixels(*fields)
            zero = jnp.zeros((), pixels.value.dtype)
            equations = spline.normal_equations(
                spline.place(pixels, zero, prepared.slots)
            )
            at_rest = velocity.at_shift(prior, jnp.asarray(0))
            still = velocity.standing(equations, prior, 1 + at_rest[0])
            fit = velocity.marginalize(equations, prior, at_rest, still)
            settled = velocity.standing(equations, prior, 1 + fit.star)

            def trial(t):
                moved = velocity.at_shift(prior, t)
                return velocity.marginalize(equations, prior, moved, settled)

            return jax.lax.map(lambda t: trial(t).objective, tenths)

        found = np.asarray(objective(*map(jnp.asarray, rows)))
    trials = C_KMS * np.expm1(np.asarray(tenths) / 10 * grid.step)
    mean = found.mean(axis=0)
    fit = np.polynomial.Polynomial.fit(trials, mean, 6)
    fine = np.linspace(-0.3, 0.3, 601)
    return fine, fit(fine) - fit(fine).min()


def biases(noiseless, spectra, templates, arm) -> tuple[float, float]:
    """Return the median of measured less true velocity, m/s, and its error."""
    found = measure_velocities(spectra, templates, arm=arm.name)
    off = 1e3 * (found["rv_raw"].to_numpy() - noiseless.velocity)
    return float(np.median(off)), float(1.25 * off.std() / np.sqrt(len(off)))


def make() -> None:
    arm = instruments()["blue"]
    every = bundled_templates("lamost-mrs-blue", arm.resolution)
    moving = observe_stars(arm, NUMBER, 3, labels=STAR, reach=3.0)
    at_rest = observe_stars(arm, NUMBER, 3, labels=STAR, reach=0.0)
    spectra, limit = moving.observe(HIGH_SNR, 4)
    limit = limit * HIGH_SNR / SNR
    still, _ = at_rest.observe(SNR, 5)

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for templates, color, name in (
        (one_template(arm, 300), OFF, "one template, 300 K too hot"),
        (every, ALL, "marginalized over all types"),
    ):
        left.plot(*curve(still, templates, arm), color=color, label=name)
    left.axvline(0, color="0.6", lw=0.8)
    left.set(
        xlabel="trial velocity less true one (km/s)",
        ylabel=r"$-2\,\ln L$, less its lowest",
        xlim=(-0.2, 0.2),
        ylim=(0, 30),
    )
    left.legend(frameon=False, loc="upper center")

    points = [biases(moving, spectra, one_template(arm, c), arm) for c in CHANGES]
    values, errors = np.array(points).T
    all_types = biases(moving, spectra, every, arm)
    print(f"photon limit {1e3 * np.median(limit):.1f} m/s")
    for change, value, error in zip(CHANGES, values, errors, strict=True):
        print(f"{change:+5d} K {value:+7.1f} +- {error:.1f} m/s")
    print(f"all types {all_types[0]:+.1f} +- {all_types[1]:.1f} m/s")
    band = 1e3 * np.median(limit)
    right.axhspan(
        -band, band, color="0.9", label="photon limit of one spectrum at S/N 100"
    )
    right.errorbar(
        CHANGES, values, errors, fmt="o-", color=OFF, label="one template", ms=4
    )
    right.axhline(all_types[0], color=ALL, label="marginalized over all types")
    right.set(
        xlabel="the template's temperature less the star's (K)",
        ylabel="median of measured less true velocity (m/s)",
    )
    right.set_ylim(-110, 110)
    right.legend(frameon=False, loc="upper right")
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    make()
