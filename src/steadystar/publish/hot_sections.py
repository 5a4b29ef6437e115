"""The sections of the report of hot stars, in reading order, with their sentences."""

__all__ = ["hot_headlines", "hot_opening", "hot_sections"]

import numpy as np

from steadystar.publish.figures.hot_emission import emission_excess, emission_shares
from steadystar.publish.figures.hot_magnitudes import (
    against_labels,
    flux_weighted_gravity,
    magnitudes_compared,
)
from steadystar.publish.figures.section import Section
from steadystar.publish.headlines import Headline
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import counted, percent


def hot_opening(facts: HotFacts) -> str:
    """What this page is about."""
    stars, spectra = len(facts.stars), len(facts.spectra)
    known = int(np.isfinite(facts["m_ks"]).sum())
    return (
        f"{counted(stars, 'hot star').capitalize()} in "
        f"{counted(spectra, 'spectrum', 'spectra')}; {known:,} with an absolute magnitude "
        "from the spectrum."
    )


def hot_headlines(facts: HotFacts) -> list[Headline]:
    """The numbers at the top."""
    flag = facts["em_flag"]
    found, judged = int((flag == 1).sum()), int((flag >= 0).sum())
    return [
        Headline(f"{len(facts.stars):,}", "stars"),
        Headline(percent(found, judged), "of the stars have emission"),
    ]


def hot_sections(facts: HotFacts, options: ReportOptions) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section(
            "emission",
            "Emission lines",
            "H alpha is compared with what the rest of the spectrum foretells.",
            (emission_excess(facts, options), emission_shares(facts)),
        ),
        Section(
            "magnitudes",
            "Magnitudes",
            "Absolute magnitudes from spectra are held against those from parallaxes.",
            (
                magnitudes_compared(facts, options),
                against_labels(facts, options),
                flux_weighted_gravity(facts, options),
            ),
        ),
    ]
