"""The section on stars that vary, of the report and of the commands' own pages."""

__all__ = ["orbit_section", "variable_section"]

from collections.abc import Mapping

from steadystar.publish.figures.section import Section, present
from steadystar.publish.figures.variable_lists import (
    candidate_listing,
    class_listing,
    massive_listing,
    orbit_listing,
)
from steadystar.publish.figures.variable_stars import (
    amplitude_period,
    differences,
    p_values,
)
from steadystar.publish.inputs import ReportInputs, ReportOptions


def variable_section(
    inputs: ReportInputs, options: ReportOptions, pages: Mapping[str, str]
) -> Section | None:
    """Candidates, and what they were chosen by; None where nothing was judged."""
    if inputs.variables is None:
        return None
    lead = (
        "Which stars vary, at a false-discovery rate over the whole table, and what they "
        "are likely to be. The page of a star has its periodogram, its orbits and its "
        "spectra."
    )
    has_orbits = inputs.orbits is not None and len(inputs.orbits) > 0
    items = present(
        candidate_listing(inputs, pages, options),
        massive_listing(inputs, pages) if has_orbits else None,
        class_listing(inputs),
        amplitude_period(inputs),
        differences(inputs, options),
        p_values(inputs),
    )
    return Section("variables", "Variable stars and binaries", lead, items)


def orbit_section(
    inputs: ReportInputs, options: ReportOptions, pages: Mapping[str, str]
) -> Section | None:
    """All orbits; None where none was asked for."""
    listing = orbit_listing(inputs, pages, options)
    if listing is None:
        return None
    lead = (
        "Samples of the orbits that the velocities allow. Where few visits allow several "
        "periods, all are there, each a mode of its own."
    )
    return Section("orbits", "Orbits", lead, (listing,))
