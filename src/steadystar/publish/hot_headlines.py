"""The first sentences and numbers of the report of hot stars."""

__all__ = ["distance_errors", "hot_headlines", "hot_opening", "share_text"]

import numpy as np

from steadystar.publish.headlines import Headline
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.numbers import counted, median, percent, significant


def hot_opening(facts: HotFacts) -> str:
    """What this page is about, and what came out."""
    stars, spectra = len(facts.stars), len(facts.spectra)
    if not spectra:
        return (
            "The table of hot stars has no rows: no spectrum was found, or none usable."
        )
    known = int(np.isfinite(facts["m_ks"]).sum())
    text = (
        f"{counted(stars, 'hot star').capitalize()} in "
        f"{counted(spectra, 'spectrum', 'spectra')}; {known:,} of the stars have an "
        "absolute magnitude from the spectrum."
    )
    ours, alone = distance_errors(facts)
    if np.isfinite(ours):
        text += f" Their distances have a median error of {share_text(ours)}"
        if np.isfinite(alone):
            text += f"; from the parallax alone it would be {share_text(alone)}"
        text += "."
    if facts.inputs.truth is not None:
        text += (
            " The survey was simulated, so that the truth is known: a section near the "
            "end holds the results against it."
        )
    return text


def share_text(share: float) -> str:
    """Write a share as a percentage of two digits."""
    return f"{significant(100 * share, 2)}%"


def distance_errors(facts: HotFacts) -> tuple[float, float]:
    """Median relative error of the distances, and of parallaxes alone, same stars."""
    dis = np.where(facts["dis"] > 0, facts["dis"], np.nan)
    ours = (facts["dis_high"] - facts["dis_low"]) / 2 / dis
    alone = facts["parallax_error"] * dis / 1000
    both = np.isfinite(ours) & np.isfinite(alone)
    return median(ours), median(alone[both])


def hot_headlines(facts: HotFacts) -> list[Headline]:
    """The numbers at the top."""
    flag, pair = facts["em_flag"], facts["binary_flag"]
    found, judged = int((flag == 1).sum()), int((flag >= 0).sum())
    stars = len(facts.stars)
    made = [
        Headline(f"{stars:,}", "stars"),
        Headline(f"{len(facts.spectra):,}", "spectra"),
        Headline(f"{found:,} ({percent(found, judged)})", "stars with emission"),
    ]
    for value, name in (
        (1, "over-luminous"),
        (0, "not over-luminous"),
        (-1, "unknown"),
    ):
        rows = (pair == value) if value >= 0 else ~(pair >= 0)
        number = int(rows.sum())
        made.append(Headline(f"{number:,} ({percent(number, stars)})", name))
    ours, alone = distance_errors(facts)
    if np.isfinite(ours):
        made.append(Headline(share_text(ours), "median error of the distance"))
    if np.isfinite(alone):
        made.append(Headline(share_text(alone), "of the parallax alone, in the median"))
    error = median(facts["m_ks_err"])
    if np.isfinite(error):
        made.append(Headline(f"{error:.2f} mag", "median error of M_Ks"))
    return made
