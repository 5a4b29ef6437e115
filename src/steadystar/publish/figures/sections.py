"""The first page as a list that can be read aloud: sections of figures and tables."""

__all__ = ["Section", "overview_sections"]

from collections.abc import Mapping

from steadystar.publish.comparison import compare_methods
from steadystar.publish.facts import Facts
from steadystar.publish.figures.against_relative import against_relative
from steadystar.publish.figures.compared import method_figure, method_listing
from steadystar.publish.figures.constancy import before_and_after, variability
from steadystar.publish.figures.distributions import by_exposure, by_spectrograph
from steadystar.publish.figures.efficiency import efficiency, kiel_diagram
from steadystar.publish.figures.error_models import error_model_figure
from steadystar.publish.figures.errors import error_against_snr, pulls
from steadystar.publish.figures.fiber_limits import limit_by_fiber
from steadystar.publish.figures.fibers import fiber_remainders
from steadystar.publish.figures.offset_times import offset_times
from steadystar.publish.figures.precision import precision_by_snr
from steadystar.publish.figures.runs import precision_by_run
from steadystar.publish.figures.section import Section
from steadystar.publish.figures.survey_sections import (
    observed_section,
    parameter_section,
)
from steadystar.publish.figures.ties import ties
from steadystar.publish.figures.timeline import small_multiples
from steadystar.publish.figures.traces import observed_frame
from steadystar.publish.figures.truth import (
    classification,
    velocity_residuals,
    zero_point_recovery,
)
from steadystar.publish.figures.variable_section import variable_section
from steadystar.publish.figures.zeropoints import offset_figures
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import (
    Listing,
    absolute_listing,
    absolute_status_listing,
    confusion_listing,
    rejected_listing,
    status_listing,
)
from steadystar.publish.offset_lists import (
    component_listing,
    set_aside_listing,
    telescope_listing,
)
from steadystar.publish.plot import Figure, Missing


def overview_sections(
    facts: Facts,
    inputs: ReportInputs,
    options: ReportOptions,
    pages: Mapping[str, str] | None = None,
) -> list[Section]:
    """Return the sections of the first page, in reading order.

    ``pages``: the files of the stars that have a page.
    """
    sections = [
        observed_section(facts, inputs, options),
        _rejected(facts, inputs, options),
        _velocities(facts, options),
        _errors(facts, inputs, options),
        _zero_points(facts, inputs, options),
        _gain(facts, options),
    ]
    variables = variable_section(inputs, options, pages or {})
    if variables:
        sections.append(variables)
    parameters = parameter_section(facts, inputs, options)
    if parameters:
        sections.append(parameters)
    if inputs.compared or inputs.not_compared:
        sections.append(_compared(inputs, options))
    if len(facts.absolute):
        sections.append(_absolute(facts, inputs, options))
    if inputs.truth:
        sections.append(_truth(facts, inputs, options))
    return sections


def _rejected(facts: Facts, inputs: ReportInputs, options: ReportOptions) -> Section:
    lead = (
        "Nothing is dropped in silence: a file that cannot be read is listed with the "
        "reason, and a spectrum that gives no velocity keeps its row in the tables, "
        "with a status."
    )
    return Section(
        "rejected",
        "What was set aside, and why",
        lead,
        (rejected_listing(inputs.rejected, options), status_listing(facts)),
    )


def _velocities(facts: Facts, options: ReportOptions) -> Section:
    lead = (
        "Velocities are barycentric and in km/s; a positive velocity means that the "
        "star moves away."
    )
    if facts.relative:
        lead = (
            "These velocities are relative: the zero is each star's own, and only "
            "changes have a meaning. They are drawn about the star's mean in each arm."
        )
    if facts.other_methods:
        others = ", ".join(f"{m} ({n:,} rows)" for m, n in facts.other_methods.items())
        lead += (
            f" Everything here and in the sections on errors, zero points and gain is by "
            f"the method {facts.method} alone; the table also holds the same spectra by "
            f"other methods: {others}."
            + " Absolute velocities (marginal) have a section of their own."
            * facts.both
        )
    return Section("velocities", "Velocities", lead, (small_multiples(facts, options),))


def _errors(facts: Facts, inputs: ReportInputs, options: ReportOptions) -> Section:
    lead = (
        "An error is what one velocity is expected to miss by. Constant stars tell "
        "whether it does."
    )
    model = error_model_figure(facts, inputs.error_model)
    items = (
        error_against_snr(facts, options),
        *((model,) if model else ()),
        pulls(facts, options),
    )
    return Section("errors", "Errors", lead, items)


def _zero_points(facts: Facts, inputs: ReportInputs, options: ReportOptions) -> Section:
    lead = (
        "The wavelength scale of an exposure, a spectrograph or a fiber can be off, for "
        "all stars alike. Constant stars show by how much: this zero point is "
        "subtracted from all velocities measured there."
    )
    sets = component_listing(inputs.offsets, options)
    aside = set_aside_listing(inputs.offsets, options)
    telescopes = telescope_listing(inputs.zeropoints)
    items = (
        *offset_figures(facts, inputs.offsets),
        *offset_times(facts, inputs.offsets),
        *((telescopes,) if telescopes else ()),
        *((sets,) if sets else ()),
        *((aside,) if aside else ()),
        *ties(facts, inputs),
        by_spectrograph(facts),
        by_exposure(facts),
    )
    return Section(
        "zero-points", "Zero points", lead, items, tuple(str(n) for n in inputs.notes)
    )


def _gain(facts: Facts, options: ReportOptions) -> Section:
    lead = (
        "If the zero points are right, constant stars come to rest, in every fiber, and "
        "the stars that still move are variable: binaries or pulsators."
    )
    items = (
        before_and_after(facts, options),
        precision_by_snr(facts),
        precision_by_run(facts),
        *fiber_remainders(facts),
        variability(facts, options),
    )
    return Section("gain", "What calibration gained", lead, items)


def _compared(inputs: ReportInputs, options: ReportOptions) -> Section:
    lead = (
        "The same table was also calibrated by other methods, as they were published. "
        "Nothing else in this report, nor in the tables, comes from them."
    )
    notes = tuple(inputs.not_compared.values())
    items: tuple[Figure | Missing | Listing, ...] = ()
    if inputs.zeropoints is not None and inputs.compared:
        numbers = compare_methods(inputs.velocities, inputs.zeropoints, inputs.compared)
        notes += tuple(
            f"{name}: {note}"
            for name, zero in inputs.compared.items()
            if numbers[name]["undetermined"]
            for note in zero.notes
        )
        items = (
            method_listing(numbers),
            method_figure(inputs, numbers, options),
        )
    return Section("methods", "Methods compared", lead, items, notes)


def _absolute(facts: Facts, inputs: ReportInputs, options: ReportOptions) -> Section:
    lead = (
        "An absolute velocity says how fast a star recedes, not only how that changes. "
        "Each spectrum was held, on its own, against spectra of stars of all types; "
        "what type the star is, and what is left of its continuum, was averaged over "
        "(marginalized), so that the error contains it. The photon limit is the error "
        "that would remain if all but the velocity were known: no method can do better. "
        "The page of a star shows its best spectrum taken apart."
    )
    if facts.both:
        lead += (
            " The zero points above, which the relative velocities have shown, are "
            "taken off these too: they are of the same exposures."
        )
    kiel = kiel_diagram(facts)
    pair = (against_relative(facts),) if facts.both else ()
    items = (
        absolute_listing(facts),
        efficiency(facts, options),
        *((kiel,) if kiel else ()),
        observed_frame(facts, inputs.offsets, options),
        *pair,
        *limit_by_fiber(facts),
        *((absolute_status_listing(facts),) if pair else ()),
    )
    return Section("absolute", "Absolute velocities", lead, items)


def _truth(facts: Facts, inputs: ReportInputs, options: ReportOptions) -> Section:
    lead = (
        "This survey was simulated, so the truth is known. None of it was used above; "
        "here the results are held against it."
    )
    residuals = velocity_residuals(facts, inputs, options)
    confusion = classification(facts, inputs.truth or {})
    items = (
        *zero_point_recovery(facts, inputs),
        *((residuals,) if residuals else ()),
        *((confusion_listing(confusion),) if confusion else ()),
    )
    return Section("truth", "Held against the truth", lead, items)
