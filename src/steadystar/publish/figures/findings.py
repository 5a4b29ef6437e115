"""What was found of one star that was judged: its class and why, its period, its orbit."""

__all__ = ["findings"]

from collections.abc import Mapping
from typing import Any

from steadystar.data import schema
from steadystar.publish.lists import Listing
from steadystar.publish.measured import chance, is_known, with_error, with_limits
from steadystar.publish.numbers import DASH
from steadystar.publish.variable_facts import Evidence

_ELEMENTS = {
    "period": "period (d)",
    "k": "K (km/s)",
    "e": "e",
    "omega": "ω (deg)",
    "t_peri": "periastron (BJD)",
    "v0": "velocity (km/s)",
    "jitter": "jitter (km/s)",
    "k_2": "K₂ (km/s)",
    "mass_ratio": "M₂/M₁",
    "a_sin_i": "a sin i (R☉)",
    "mass_function": "f(M) (M☉)",
    "m2_min": "least M₂ (M☉)",
    "m_sin3_i": "M₁ sin³i (M☉)",
    "m_2_sin3_i": "M₂ sin³i (M☉)",
}

_ENDS = ("", "_low", "_high")


def findings(evidence: Evidence) -> Listing | None:
    """The verdict on a star and what it rests on; None where nobody judged."""
    rows = _verdict(evidence.verdict)
    orbit = evidence.orbit
    if orbit:
        rows.append(("orbit", orbit.get("orbit_status") or DASH, _modes(orbit)))
    if orbit and is_known(orbit.get("period")):
        meanings = schema.columns("orbits")
        rows += [
            (
                _in_line(title),
                _in_line(with_limits(*(orbit.get(name + end) for end in _ENDS))),
                meanings[name].meaning,
            )
            for name, title in _ELEMENTS.items()
            if is_known(orbit.get(name))
        ]
    elif len(evidence.periods):
        peak = evidence.periods.row(0, named=True)
        means = (
            "Of the highest peak of the periodogram; chance that noise has such a peak "
            f"(false-alarm probability): {chance(peak['fap'])}"
        )
        rows += [
            (
                _ELEMENTS["period"],
                with_error(peak["period"], peak["period_err"]),
                means,
            ),
            (
                _ELEMENTS["k"],
                with_error(peak["amplitude"], peak["amplitude_err"]),
                "Semi-amplitude of the sine at this period",
            ),
        ]
    if not rows:
        return None
    return Listing(
        "findings",
        "What was found",
        ("", "value", "why, or what it is"),
        tuple(rows),
        numeric=frozenset((1,)),
        wordy=frozenset((2,)),
    )


def _in_line(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _verdict(verdict: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if not verdict:
        return []
    kind = verdict.get("class") or DASH
    if verdict.get("massive_companion"):
        kind += ", massive companion"
    return [("class", kind, verdict.get("evidence") or DASH)]


def _modes(orbit: Mapping[str, Any]) -> str:
    number = orbit.get("n_modes")
    if not number:
        return "No samples of possible orbits"
    if number == 1:
        return (
            "Samples of possible orbits, all of one period; medians and limits of 68%"
        )
    share = orbit.get("mode_share")
    held = f", {share:.0%} of the samples" if is_known(share) else ""
    return (
        f"Samples of possible orbits, of {number} separate periods: what follows is of the "
        f"largest mode{held}"
    )
