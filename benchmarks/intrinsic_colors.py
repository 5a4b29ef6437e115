"""Make the tables of intrinsic colors and of spectral shapes that come with steadystar.

    python benchmarks/intrinsic_colors.py EEM_dwarf_UBVIJHK_colors_Teff.txt VEGA.fits DIR

The first file is the sequence of dwarfs of Pecaut & Mamajek (2013), version 2024.05.15,
from its author's page; the second CALSPEC's ``alpha_lyr_stis_011.fits``; the models are in
the package ``thedoppler`` (`steadystar.models.doppler`). DIR gets ``intrinsic_colors.csv``
and ``hot_shapes.csv``; how they come about is told in `steadystar.models.intrinsic_colors`
and `steadystar.models.dust`.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.interpolate import PchipInterpolator, make_smoothing_spline

from steadystar.models.doppler import doppler_wheel
from steadystar.models.passbands import BANDS, passband

C_AA = 2.99792458e18
AB_ZERO = 3.631e-20
SMOOTHING = 3e-7
JOIN, PURE = 24_500.0, 32_000.0
TEFFS = np.array(
    (
        *(5400, 5700, 6000, 6500, 7000, 7500, 7990, 8100, 8500, 9000, 9500, 10_000),
        *(11_000, 12_000, 13_000, 14_000, 15_500, 17_000, 19_000, 21_000, 23_000),
        *(24_500, 26_000, 28_000, 30_000, 32_000),
    ),
    float,
)
SHAPE_TEFFS = (5500, 6500, 7500, 8500, 10000, 12000, 15000, 20000, 25000, 32000)
EDGES = np.concatenate(
    (
        *(np.arange(3000.0, 4200, 30), np.arange(4200.0, 7000, 100)),
        *(np.arange(7000.0, 9000, 200), np.arange(9000.0, 17_700, 300), [17_900.0]),
    )
)


def planck(wave, teff):
    return 1 / (wave**5 * np.expm1(1.438776877e8 / wave / teff))


@cache
def models():
    return doppler_wheel()


@cache
def spectrum(teff: float):
    """A model every 1 A, continued beyond 18 000 A as its continuum over Planck goes."""
    model = models()(np.array([teff, 4.1 if teff > 8000 else 4.35, 0.0]))
    wave, flux = models().wave, model.flux * model.continuum
    size = len(wave) // 10 * 10
    red = (wave > 16_500) & (wave < 17_900)
    ratio = np.log(model.continuum[red] / planck(wave[red], teff))
    beyond = np.arange(18_000.0, 30_000.0, 10.0)
    tail = np.exp(np.polyval(np.polyfit(np.log(wave[red]), ratio, 1), np.log(beyond)))
    wave, flux = (x[:size].reshape(-1, 10).mean(axis=1) for x in (wave, flux))
    return (
        np.concatenate([wave, beyond]),
        np.concatenate([flux, tail * planck(beyond, teff)]),
    )


def magnitudes(wave, flux, vega) -> dict[str, float]:
    """AB in SDSS and Pan-STARRS1, Vega is zero in the others."""
    out = {}
    for name in BANDS:
        grid = passband(name).grid(1.0)
        weight = passband(name)(grid) * grid
        if name.endswith(("_sdss", "_ps")):
            zero = AB_ZERO * C_AA / grid**2
        else:
            zero = np.interp(grid, *vega)
        seen = np.trapezoid(np.interp(grid, wave, flux) * weight, grid)
        out[name] = -2.5 * np.log10(seen / np.trapezoid(zero * weight, grid))
    return out


def sequence(path: Path) -> dict[str, np.ndarray]:
    """Numbers of the dwarfs O to K2; NaN where the table has dots."""
    rows = [line.split() for line in path.read_text().splitlines()]
    wanted = [
        p
        for p in rows
        if len(p) > 30
        and p[0].endswith("V")
        and (p[0][0] in "OBAFG" or p[0] in ("K0V", "K1V", "K2V"))
    ]

    def column(index: int):
        return np.array(
            [float("nan") if "..." in p[index] else float(p[index]) for p in wanted]
        )

    v_ks, j_h, h_ks = column(18), column(19), column(20)
    return {
        "teff": column(1),
        "bc_v": column(3),
        "b": -column(8),
        "j": v_ks - j_h - h_ks,
        "h": v_ks - h_ks,
        "ks": v_ks,
    }


def smooth(table, name: str):
    """V minus a band (or BC_V) as a smooth function of log Teff."""
    known = np.isfinite(table[name])
    x, y = np.log10(table["teff"][known]), table[name][known]
    order = np.argsort(x)
    curve = make_smoothing_spline(x[order], y[order], lam=SMOOTHING)
    rms = np.std(curve(x) - y)
    print(
        f"{name}: smoothed with rms {rms:.4f} mag, at most {np.abs(curve(x) - y).max():.3f}"
    )
    return curve


def model_colors(vega):
    """V minus band of the models, and beyond PURE linear in 1/Teff."""
    rows = [magnitudes(*spectrum(t), vega) for t in TEFFS]
    curves = {}
    for name in BANDS:
        inner = PchipInterpolator(np.log10(TEFFS), [r["v"] - r[name] for r in rows])
        low, high = inner(np.log10([26_000.0, PURE]))
        rate = (high - low) / (1 / PURE - 1 / 26_000.0)

        def curve(teff, inner=inner, rate=rate, high=high):
            near = inner(np.log10(np.clip(teff, TEFFS[0], PURE)))
            return np.where(teff <= PURE, near, high + rate * (1 / teff - 1 / PURE))

        curves[name] = curve
    return curves


def bent(table, model, teff):
    """The models' V minus band, moved to the sequence in B, V, J, H, Ks."""
    fade = np.clip((1 / teff - 1 / PURE) / (1 / JOIN - 1 / PURE), 0, 1)
    inside = np.clip(teff, TEFFS[0], JOIN)
    plain = {
        name: smooth(table, name)(np.log10(inside)) - model[name](inside)
        for name in ("b", "j", "h", "ks")
    }
    # In H the two differ alike at all temperatures, as zero points do: that part stays.
    middle = (plain["j"] + plain["ks"]) / 2
    off = {name: plain[name] * fade for name in ("b", "j", "ks")}
    off["h"] = plain["h"] - middle * (1 - fade)
    off["v"] = np.zeros_like(teff)
    known = sorted(off, key=lambda name: 1 / passband(name).pivot)
    place = [1 / passband(name).pivot for name in known]
    out = {}
    for name in BANDS:
        at = 1 / passband(name).pivot
        shift = np.array(
            [
                np.interp(at, place, column)
                for column in np.array([off[n] for n in known]).T
            ]
        )
        out[name] = model[name](teff) + shift
    return out


def write_colors(table, vega, path: Path) -> None:
    grid = np.round(np.arange(3.73, 4.7801, 0.01), 2)
    teff = 10**grid
    top = np.log10(45_900.0)
    curve, hot = smooth(table, "bc_v"), table["teff"] > 28_000
    rate = np.polyfit(np.log10(table["teff"][hot]), table["bc_v"][hot], 1)[0]
    bc = curve(np.minimum(grid, top)) + rate * np.maximum(grid - top, 0)
    colors = bent(table, model_colors(vega), teff)
    names = [name for name in BANDS if name not in ("v", "u_sdss")]
    with path.open("w") as file:
        file.write(
            "# Smoothed intrinsic colors of dwarfs; sources in intrinsic_colors.py\n"
        )
        file.write("teff,bc_v," + ",".join(f"v-{name}" for name in names) + "\n")
        for i, t in enumerate(teff):
            cells = [f"{t:.1f}", f"{bc[i]:.3f}"]
            cells += [f"{colors[name][i] + 0.0:.3f}" for name in names]
            file.write(",".join(cells) + "\n")


def write_shapes(path: Path) -> None:
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    columns = []
    for teff in SHAPE_TEFFS:
        wave, flux = spectrum(float(teff))
        ratio = flux / planck(wave, teff)
        bins = np.digitize(wave, EDGES) - 1
        mean = np.array([ratio[bins == i].mean() for i in range(len(middle))])
        columns.append(mean / np.interp(5500, middle, mean))
    with path.open("w") as file:
        file.write(
            "# Model flux over the Planck function of its Teff, 1 at 5500 A; see dust.py\n"
        )
        file.write("wave," + ",".join(str(t) for t in SHAPE_TEFFS) + "\n")
        for i, wave in enumerate(middle):
            file.write(f"{wave:.0f}," + ",".join(f"{c[i]:.4f}" for c in columns) + "\n")


def main(dwarfs: str, vega: str, folder: str) -> None:
    table = fits.getdata(vega)
    star = tuple(np.asarray(table[c], float) for c in ("WAVELENGTH", "FLUX"))
    write_colors(sequence(Path(dwarfs)), star, Path(folder) / "intrinsic_colors.csv")
    write_shapes(Path(folder) / "hot_shapes.csv")


if __name__ == "__main__":
    main(*sys.argv[1:4])
