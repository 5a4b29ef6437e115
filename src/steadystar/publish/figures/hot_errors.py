"""The error budget: what the sampler found, and whether errors hold.

Counterpart of figure 8 of Xiang et al. (2021).
"""

__all__ = ["budget_corner", "budget_listing", "magnitude_pulls"]

from itertools import combinations, pairwise

import numpy as np

from steadystar.publish.hot_inputs import GOOD_PARALLAX, HotFacts, values
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import DASH, Array, counted, robust_width, significant
from steadystar.publish.plot import Axis, Figure, Line, Missing, Panel, Points, Steps

_FEWEST = 5
_NAMES = {
    "alpha": ("alpha", "slope of M_Ks less one"),
    "beta": ("beta (mag)", "offset of M_Ks"),
    "sigma_100": ("sigma_100 (mag)", "error from noise at S/N 100"),
    "sigma_int": ("sigma_int (mag)", "scatter that no spectrum shows"),
    "pairs": ("share of pairs", "stars that are two"),
    "odd": ("share of odd stars", "stars that follow no relation"),
}
_CORNER = ("alpha", "beta", "sigma_100", "sigma_int")
_DRAWN = 800
_PULLS = np.linspace(-5, 5, 41)


def _samples(facts: HotFacts) -> dict[str, Array]:
    table = facts.inputs.budget
    found = {name: values(table, name) for name in _NAMES}
    return {
        name: v
        for name, v in found.items()
        if np.isfinite(v).sum() >= 20 and np.nanstd(v) > 0
    }


def budget_listing(facts: HotFacts) -> Listing:
    """Each parameter with its interval and the sampler's diagnostics."""
    said, rows = facts.part("budget"), []
    for name, (label, meaning) in _NAMES.items():
        sample = values(facts.inputs.budget, name)
        sample = sample[np.isfinite(sample)]
        own = said.get(name)
        own = own if isinstance(own, dict) else {}
        if sample.size:
            low, middle, high = np.percentile(sample, [15.87, 50, 84.13])
        else:
            low, middle, high = (_number(own.get(k)) for k in ("low", "median", "high"))
        if not np.isfinite(middle):
            continue
        rows.append(
            (
                *(label, meaning, significant(middle, 3)),
                f"{significant(low, 3)} to {significant(high, 3)}",
                *(f"{v:.3f}" if np.isfinite(v := _number(own.get("r_hat"))) else DASH,),
                significant(_number(own.get("n_eff")), 3),
            )
        )
    note = "The error budget was not sampled."
    if rows:
        note = "Chains agree where r_hat is below 1.01."
        if isinstance(said.get("stars"), int):
            note = f"From {counted(said['stars'], 'star')}. {note}"
        if isinstance(said.get("divergences"), int):
            note += f" Divergences of the sampler: {said['divergences']:,}."
    return Listing(
        "hot-budget",
        "The error budget in numbers",
        ("parameter", "meaning", "median", "68% interval", "r_hat", "n_eff"),
        tuple(rows),
        note=note,
        numeric=frozenset({2, 3, 4, 5}),
        wordy=frozenset({1}),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def budget_corner(facts: HotFacts) -> Figure | Missing:
    """Each parameter alone, and each two of the four against each other."""
    title = "Posterior of the error budget"
    samples = _samples(facts)
    if not samples:
        return Missing("hot-corner", title, "There are no samples of the error budget.")
    panels = []
    for name, sample in samples.items():
        known = sample[np.isfinite(sample)]
        counts, edges = np.histogram(known, 30)
        low, middle, high = np.percentile(known, [15.87, 50, 84.13])
        top = float(counts.max())
        marks = (
            Steps(edges, counts.astype(float), "blue"),
            Line(np.full(2, middle), np.array([0, top]), "ink"),
            Line(np.full(2, low), np.array([0, top]), "ink", dash="dash"),
            Line(np.full(2, high), np.array([0, top]), "ink", dash="dash"),
        )
        panels.append(Panel(Axis(_NAMES[name][0]), Axis("samples"), marks, tall=1.1))
    pairs = combinations([name for name in _CORNER if name in samples], 2)
    panels += [_two(samples, x, y) for x, y in pairs]
    tilt = _strongest(samples)
    middle = "; ".join(
        f"{_NAMES[name][0]} {significant(np.nanmedian(v), 2)} ± "
        f"{significant(robust_width(v), 2)}"
        for name, v in samples.items()
    )
    return Figure(
        "hot-corner",
        title,
        tuple(panels),
        shows="Samples of the hierarchical model. Histograms: median and 68% interval. "
        "Below, parameters by twos: a sample of the samples, with the ellipses that hold "
        "39% and 86% of a Gaussian (1 and 2 sigma). Xiang et al. 2021, figure 8.",
        good="One peak each. alpha and beta about zero: magnitudes from spectra have the "
        "scale of those from parallaxes.",
        here=f"Here: {middle}.{tilt}",
        columns=3,
        wide=True,
    )


def _two(samples: dict[str, Array], x: str, y: str) -> Panel:
    both = np.column_stack([samples[x], samples[y]])
    both = both[np.isfinite(both).all(axis=1)]
    step = max(len(both) // _DRAWN, 1)
    center, spread = both.mean(axis=0), np.cov(both.T)
    length, axes = np.linalg.eigh(spread)
    turn = np.linspace(0, 2 * np.pi, 73)
    ring = (axes * np.sqrt(np.maximum(length, 0))) @ np.array(
        [np.cos(turn), np.sin(turn)]
    )
    rings = [center[:, None] + k * ring for k in (1, 2)]
    marks = (
        Points(both[::step, 0], both[::step, 1], "blue", size=3, opacity=0.3),
        *(Line(one[0], one[1], "ink", width=1.2) for one in rings),
    )
    return Panel(Axis(_NAMES[x][0]), Axis(_NAMES[y][0]), marks, tall=1.1)


def _strongest(samples: dict[str, Array]) -> str:
    names = [name for name in _CORNER if name in samples]
    if len(names) < 2:
        return ""
    found = [
        (float(np.corrcoef(samples[a], samples[b])[0, 1]), a, b)
        for a, b in combinations(names, 2)
        if np.isfinite(samples[a] + samples[b]).all()
    ]
    if not found:
        return ""
    value, a, b = max(found, key=lambda one: abs(one[0]))
    return f" The strongest correlation is {significant(value, 2)}, of {a} and {b}."


def magnitude_pulls(facts: HotFacts) -> Figure | Missing:
    """Differences of magnitudes in units of their errors, all and by S/N."""
    title = "Do the errors of M_Ks hold?"
    rows = facts.geometric & facts.judge & ~facts.emission
    error = np.hypot(facts["m_ks_err"], facts["m_ks_geo_err"])
    rows &= error > 0
    if rows.sum() < 20:
        reason = "Fewer than 20 stars have both magnitudes with errors."
        return Missing("hot-pulls", title, reason)
    pull = (facts["m_ks"] - facts["m_ks_geo"])[rows] / error[rows]
    counts, _ = np.histogram(pull, _PULLS)
    x = np.linspace(-5, 5, 201)
    bell = (
        len(pull) * (_PULLS[1] - _PULLS[0]) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    )
    panels = [
        Panel(
            Axis("(M_Ks spectrum - geometric) / error"),
            Axis("stars"),
            (
                Steps(_PULLS, counts.astype(float), "blue", "stars"),
                Line(x, bell, "ink", "Gaussian", dash="dash"),
            ),
        )
    ]
    panels += _by_snr(facts["snr_g"][rows], pull)
    lower, whole = _faint_side(pull), robust_width(pull)
    which = "that did not teach the network, " if facts.held_out else ""
    return Figure(
        "hot-pulls",
        title,
        tuple(panels),
        shows=f"Stars {which}without emission and with parallaxes above "
        f"{GOOD_PARALLAX:.0f} times their errors. Pairs make a tail on the right."
        + " Beside it the width by S/N, from the left side of the distribution, which pairs "
        "do not reach." * (len(panels) > 1),
        good="A width of 1, at every S/N: errors are neither too large nor too small. A "
        "width of 0.9 means errors 11% too large.",
        here=f"Here: {counted(len(pull), 'star')}; width {significant(whole, 3)} "
        f"(quartiles), {significant(lower, 3)} of the left side; median "
        f"{significant(float(np.median(pull)), 2)}.",
        columns=2,
        wide=True,
    )


def _faint_side(pull: Array) -> float:
    """Sigma from the left side: 15.87th to 50th percentile; pairs move the median a bit."""
    low, middle = np.percentile(pull, [15.87, 50])
    return float(middle - low)


def _by_snr(snr: Array, pull: Array) -> list[Panel]:
    known = np.isfinite(snr) & (snr > 0)
    if known.sum() < 100:
        return []
    edges = np.quantile(snr[known], np.linspace(0, 1, 9))
    made = []
    for low, high in pairwise(edges):
        inside = known & (snr >= low) & (snr <= high)
        if inside.sum() >= 20:
            width = _faint_side(pull[inside])
            # Of a Gaussian these percentiles differ by 1 with an error of 1.5 / sqrt(n).
            error = 1.5 * width / np.sqrt(inside.sum())
            made.append((np.median(snr[inside]), width, error))
    if not made:
        return []
    x, y, error = np.array(made).T
    ends = np.array([x.min() * 0.9, x.max() * 1.1])
    return [
        Panel(
            Axis("S/N per pixel", log=True, low=ends[0], high=ends[1]),
            Axis("width of the left side", low=0, high=max(1.6, 1.1 * float((y + error).max()))),
            (
                Line(ends, np.ones(2), "ink", dash="dash"),
                Points(x, y, "blue", error=error, size=7),
            ),
        )
    ]  # fmt: skip
