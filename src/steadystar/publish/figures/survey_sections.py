"""The sections that show a survey as a whole: what was observed, and the stars.

They are the counterparts of figures 1 to 8 of Zong et al. (2020) and of their figure A2,
each from the user's own run; figures 9 to 13 compare catalogs (`steadystar compare`).
"""

__all__ = ["observed_section", "parameter_section"]

from steadystar.publish.facts import Facts
from steadystar.publish.figures.example_spectra import example_spectra
from steadystar.publish.figures.kiel import star_kiel
from steadystar.publish.figures.label_constancy import (
    changing_listing,
    label_constancy,
)
from steadystar.publish.figures.label_errors import (
    label_laws_figure,
    label_pulls,
    label_repeats,
    law_listing,
    laws_of,
)
from steadystar.publish.figures.label_zeropoints import label_zeropoint_figure
from steadystar.publish.figures.labels import (
    error_histograms,
    fast_listing,
    label_histograms,
    label_status_listing,
)
from steadystar.publish.figures.magnitudes import magnitudes
from steadystar.publish.figures.observed import observed
from steadystar.publish.figures.plates import (
    exposures_per_field,
    field_listing,
    observing_log,
)
from steadystar.publish.figures.section import Item, Section, present
from steadystar.publish.figures.sky import footprints
from steadystar.publish.figures.snr import faint_listing, snr_distribution, snr_listing
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.label_facts import label_names
from steadystar.publish.lists import arm_listing


def observed_section(
    facts: Facts, inputs: ReportInputs, options: ReportOptions
) -> Section:
    """Where, when, how often and how well."""
    lead = (
        "A spectrum is one exposure of one star in one arm of a spectrograph. A star is "
        "observed again and again, so that what its steady neighbors seem to do "
        "together can be recognized as the instrument's doing."
    )
    items = present(
        observed(facts, options),
        arm_listing(facts),
        *_fields(facts, inputs, options),
        magnitudes(facts, inputs),
        *_signal(facts),
        *example_spectra(facts, inputs),
    )
    return Section("observations", "What was observed", lead, items)


def _fields(
    facts: Facts, inputs: ReportInputs, options: ReportOptions
) -> tuple[Item, ...]:
    """Footprints and log; a table without fields gets one sentence for all of it."""
    where = footprints(facts, inputs)
    log = observing_log(facts, options)
    if log is None:
        return (where,)
    return present(
        where, exposures_per_field(facts), field_listing(facts, options), log
    )


def _signal(facts: Facts) -> tuple[Item, ...]:
    """Nothing where no S/N is known: the first figure shows already that it is not."""
    listing = snr_listing(facts)
    if listing is None:
        return ()
    return present(snr_distribution(facts), listing, faint_listing(facts))


def parameter_section(
    facts: Facts, inputs: ReportInputs, options: ReportOptions
) -> Section | None:
    """What the stars are; None where neither the run nor the table says anything."""
    fitted = len(facts.labels) > 0
    if not fitted and not label_names(facts.stars):
        return None
    lead = (
        "Temperature, surface gravity, metallicity and rotation were fitted to every "
        "spectrum; a star's own are means of those of its spectra, with weights S/N²."
        if fitted
        else "Temperatures, gravities and the like of the stars are those of the table "
        "that was given; this run measured none."
    )
    items = present(
        star_kiel(facts, options),
        label_histograms(facts),
        error_histograms(facts) if fitted else None,
        label_status_listing(facts),
        *(_repeats(facts, inputs, options) if fitted else ()),
        label_zeropoint_figure(facts, inputs.label_zeropoints),
        fast_listing(facts, options),
    )
    return Section("parameters", "The stars and their parameters", lead, items)


def _repeats(
    facts: Facts, inputs: ReportInputs, options: ReportOptions
) -> tuple[Item, ...]:
    """What repeated spectra say of the errors of labels, and of stars that change."""
    groups = laws_of(facts, inputs)
    if not any(len(group.rows) for group in groups):
        # One sentence for all that needs repeats.
        return (label_repeats(facts, groups, options),)
    return present(
        label_repeats(facts, groups, options),
        label_laws_figure(facts, groups),
        law_listing(groups),
        label_pulls(facts),
        label_constancy(facts, options),
        changing_listing(facts, options),
    )
