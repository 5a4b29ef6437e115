"""The sections of the report of hot stars, in reading order, with their sentences."""

__all__ = ["hot_sections"]

import numpy as np

from steadystar.publish.figures.hot_distances import (
    distance_figures,
    distance_histogram,
)
from steadystar.publish.figures.hot_emission import emission_excess, emission_shares
from steadystar.publish.figures.hot_errors import (
    budget_corner,
    budget_listing,
    magnitude_pulls,
)
from steadystar.publish.figures.hot_extinction import (
    neighbors_agree,
    reddening,
    reddening_sky,
)
from steadystar.publish.figures.hot_gallery import gallery, lines_close
from steadystar.publish.figures.hot_magnitudes import (
    against_labels,
    flux_weighted_gravity,
    magnitudes_compared,
)
from steadystar.publish.figures.hot_pairs import (
    composite_test,
    excess_of_good,
    ruwe_of_pairs,
)
from steadystar.publish.figures.hot_problems import coverage, problem_listing, used
from steadystar.publish.figures.hot_repeats import (
    object_figure,
    object_listing,
    repeat_pulls,
)
from steadystar.publish.figures.hot_truth import truth_items
from steadystar.publish.figures.section import Item, Section, present
from steadystar.publish.hot_headlines import distance_errors, share_text
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import summary_listing
from steadystar.publish.numbers import (
    MINUS,
    counted,
    median,
    percent,
    robust_width,
    significant,
)


def hot_sections(facts: HotFacts, options: ReportOptions) -> list[Section]:
    """Return the sections of the page."""
    distances = distance_figures(facts, options)
    return [
        _input(facts),
        _emission(facts, options),
        _extinction(facts),
        _magnitudes(facts, options),
        _budget(facts),
        _pairs(facts, distances),
        _composites(facts),
        _distances(facts, distances),
        _repeats(facts),
        *_truth(facts),
        _broken(facts),
        _run(facts),
    ]


def _input(facts: HotFacts) -> Section:
    broken = int((facts.spectra["em_flag"] == -1).sum())
    bands = int((facts.spectra["bands_rejected"].fill_null("") != "").sum())
    no_ks = int((~np.isfinite(facts["ks"])).sum())
    no_parallax = int((~np.isfinite(facts["parallax"])).sum())
    lead = (
        f"Nothing is dropped in silence. Of {len(facts.spectra):,} spectra {broken:,} were "
        "set aside as broken or could not be judged; "
        f"{counted(no_ks, 'star has', 'stars have')} no Ks, {no_parallax:,} have no parallax; in "
        f"{counted(bands, 'row')} a band was left out of the reddening as an outlier."
    )
    items = (used(facts), coverage(facts), problem_listing(facts))
    return Section("input", "What came in, and what is wrong", lead, items)


def _emission(facts: HotFacts, options: ReportOptions) -> Section:
    flag = facts["em_flag"]
    found, judged = int((flag == 1).sum()), int((flag >= 0).sum())
    lead = (
        "H alpha is compared with what the rest of the spectrum, free of emission, "
        f"foretells. {found:,} of {judged:,} stars ({percent(found, judged)}) have more "
        "light there than the threshold, which is set by the rate of false alarms."
    )
    items = (
        gallery(
            facts,
            "ordinary",
            "hot-ordinary",
            "Ordinary spectra and their reconstructions",
            "Flux over the smoothed continuum (gray), and as principal components of the "
            "clean windows (green, at the foot) rebuild it (red). Xiang et al. 2021, "
            "figure 2.",
            "Red on gray everywhere, in the windows and between them.",
        ),
        gallery(
            facts,
            "emission",
            "hot-emitters",
            "Spectra with emission",
            "As above, for stars with emission at H alpha. The reconstruction shows how "
            "they would look without.",
            "Observed flux above the reconstruction in the hydrogen lines only.",
        ),
        lines_close(facts, "emission", "hot-lines", "H alpha of these stars"),
        emission_excess(facts, options),
        emission_shares(facts),
    )
    return Section("emission", "Emission lines", lead, items)


def _extinction(facts: HotFacts) -> Section:
    ebv = facts["ebv"]
    known = int(np.isfinite(ebv).sum())
    lead = (
        f"{known:,} of {len(facts.stars):,} stars have a reddening, "
        f"{significant(median(ebv), 2)} mag in the median with an error of "
        f"{significant(median(facts['ebv_err']), 2)} mag. It follows from colors of "
        "neighboring bands and the intrinsic colors of a star's labels."
    )
    items = (reddening(facts), neighbors_agree(facts), reddening_sky(facts))
    return Section("extinction", "Extinction", lead, items)


def _magnitudes(facts: HotFacts, options: ReportOptions) -> Section:
    rows = facts.geometric & facts.judge & ~facts.emission
    off = (facts["m_ks"] - facts["m_ks_geo"])[rows]
    lead = "Absolute magnitudes from spectra are held against those from parallaxes."
    if len(off) >= 4:
        shift = f"{np.median(off):+.3f}".replace("-", MINUS)
        lead += (
            f" For {counted(len(off), 'star')} without emission and with good parallaxes "
            f"they differ by {shift} mag in the median and scatter by "
            f"{significant(robust_width(off), 2)} mag (quartiles; errors of both, and pairs, "
            "are in this)."
        )
    items = (
        magnitudes_compared(facts, options),
        against_labels(facts, options),
        flux_weighted_gravity(facts, options),
    )
    return Section("magnitudes", "Magnitudes", lead, items, _taught(facts))


def _taught(facts: HotFacts) -> tuple[str, ...]:
    """What the model says of its training."""
    said = facts.part("luminosity")
    parts = []
    if isinstance(said.get("method"), str):
        parts.append(f"The magnitudes are by the method {said['method']}.")
    for way, what in (("full", "All wavelengths"), ("clean", "Clean windows alone")):
        own = said.get(way)
        if isinstance(own, dict) and isinstance(own.get("stars"), int):
            text = f"{what}: learned from {counted(own['stars'], 'star')}"
            if isinstance(own.get("pairs"), int | float):
                text += (
                    f", {percent(own['pairs'], 1)} of them pairs by their parallaxes"
                )
            parts.append(text + ".")
    return tuple(parts)


def _budget(facts: HotFacts) -> Section:
    table = facts.inputs.budget
    lead = (
        "The scatter of magnitudes from spectra has two parts: noise, sigma_100 at S/N 100 "
        "and inversely as S/N, and what no spectrum shows, sigma_int."
    )
    if table is not None and {"sigma_100", "sigma_int"} <= set(table.columns):
        noise, own = (median(table[name]) for name in ("sigma_100", "sigma_int"))
        lead += (
            f" Here they are {significant(noise, 2)} and {significant(own, 2)} mag in the "
            "median of the posterior."
        )
    items = (budget_listing(facts), budget_corner(facts), magnitude_pulls(facts))
    return Section("budget", "Error budget", lead, items)


def _pairs(facts: HotFacts, distances: dict[str, Item]) -> Section:
    flag = facts["binary_flag"]
    found, judged = int((flag == 1).sum()), int((flag >= 0).sum())
    lead = (
        "A pair is brighter than its spectrum says, so that its spectroscopic parallax is "
        f"too large. {found:,} of {judged:,} stars with both ({percent(found, judged)}) "
        "are over-luminous by more than 2 sigma."
    )
    items = present(
        excess_of_good(facts),
        distances.get("distances-excess"),
        distances.get("distances-pairs"),
        ruwe_of_pairs(facts),
        gallery(
            facts,
            "over-luminous",
            "hot-over",
            "Spectra of over-luminous stars",
            "The stars that are over-luminous most clearly, as above.",
            "Ordinary spectra: pairs of equal stars look like one. Lines that the "
            "reconstruction misses tell of companions of another kind.",
        ),
        distances.get("distances-brightest"),
    )
    return Section("pairs", "Over-luminous stars", lead, items)


def _composites(facts: HotFacts) -> Section:
    lead = (
        "What does the model say of two stars in one spectrum? Pairs were made of spectra "
        "of single stars."
    )
    shown = facts.inputs.examples
    drawn = shown is not None and "kind" in shown.columns
    made = gallery(
        facts,
        "composite",
        "hot-composite-spectra",
        "Composite spectra",
        "Sums of two spectra (gray), and their reconstructions. Xiang et al. 2021, "
        "figure 16.",
        "Sums of alike stars look like one star; cool companions fill the Balmer lines.",
    )
    has = drawn and shown is not None and (shown["kind"] == "composite").any()
    return Section(
        "composites", "Composite spectra", lead, present(composite_test(facts), made if has else None)
    )  # fmt: skip


def _distances(facts: HotFacts, distances: dict[str, Item]) -> Section:
    ours, alone = distance_errors(facts)
    known = int((facts["dis"] > 0).sum())
    lead = f"{counted(known, 'star has', 'stars have').capitalize()} a distance"
    if np.isfinite(ours):
        lead += f", with a median error of {share_text(ours)}"
    if np.isfinite(alone):
        lead += f" where parallaxes alone would give {share_text(alone)}"
    far = facts["dis"] > 3000
    if far.any():
        lead += f"; {counted(int(far.sum()), 'star is', 'stars are')} beyond 3 kpc"
    items = present(
        distance_histogram(facts),
        *(distances.get(f"distances-{n}") for n in ("errors", "both", "map")),
    )
    return Section("distances", "Distances and map", f"{lead}.", items)


def _repeats(facts: HotFacts) -> Section:
    rows = facts.spectra.filter(facts.spectra["star_id"].is_not_null())
    counts = rows.group_by("star_id").len()["len"]
    many = int((counts > 1).sum())
    lead = (
        f"{counted(many, 'star has', 'stars have').capitalize()} more than one spectrum. "
        "The catalog lists them all (uniqflag 2, 3, ...), and takes the one of highest S/N "
        "for the star."
    )
    if many:
        lead += f" The most spectra of one star are {int(counts.max()):,}."  # pyright: ignore[reportArgumentType]
    items = present(repeat_pulls(facts), object_figure(facts), object_listing(facts))
    return Section("repeats", "Stars with several spectra", lead, items)


def _truth(facts: HotFacts) -> list[Section]:
    items = truth_items(facts)
    if not items:
        return []
    lead = (
        "This survey was simulated, so the truth is known. None of it was used above; "
        "here the results are held against it."
    )
    return [Section("truth", "Held against the truth", lead, tuple(items))]


def _broken(facts: HotFacts) -> Section:
    number = int((facts.spectra["em_flag"] == -1).sum())
    lead = (
        f"{counted(number, 'spectrum was', 'spectra were').capitalize()} set aside as "
        "broken, or could not be judged. Examples, each with its reason."
    )
    made = gallery(
        facts,
        "broken",
        "hot-broken",
        "Broken spectra",
        "Flux over the smoothed continuum (gray) and its reconstruction (red). Xiang et "
        "al. 2021, figure 15.",
        "Faults that one sees: jumps, missing parts, lines at wrong places. A good "
        "spectrum of a rare star here means that the limit is too strict.",
    )
    return Section("broken", "Broken spectra", lead, (made,))


def _run(facts: HotFacts) -> Section:
    summary = facts.inputs.summary
    notes = summary.get("notes")
    said = [str(n) for n in notes] if isinstance(notes, list | tuple) else []
    flat = {k: v for k, v in summary.items() if k != "notes"}
    return Section(
        "run",
        "The run",
        "What the run says of itself; hot.parquet and summary.json beside this report "
        "hold all of it.",
        (summary_listing(flat),) if flat else (),
        (*said, *(str(n) for n in facts.inputs.notes)),
    )
