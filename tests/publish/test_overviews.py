"""What was observed, as figures: fields, log, magnitudes, S/N, example spectra."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from steadystar.data.constants import C_KMS
from steadystar.models.library import bundled
from steadystar.publish.facts import gather
from steadystar.publish.field_facts import field_nights, field_table
from steadystar.publish.figures.example_spectra import example_spectra
from steadystar.publish.figures.lines import LINES, named_lines
from steadystar.publish.figures.magnitudes import magnitude_columns, magnitudes
from steadystar.publish.figures.plates import (
    exposures_per_field,
    field_listing,
    observing_log,
)
from steadystar.publish.figures.sky import footprints, star_positions
from steadystar.publish.figures.snr import (
    faint_listing,
    snr_distribution,
    snr_listing,
)
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.plot import (
    Bars,
    Density,
    Figure,
    Line,
    Missing,
    Points,
    Shaded,
    Steps,
    Words,
)

from .label_mock import COMING, FIELDS, label_survey

OPTIONS = ReportOptions()


@pytest.fixture(scope="module")
def plates() -> ReportInputs:
    """A survey of three plates, two more of which are still to come."""
    return label_survey(n=150)


@pytest.fixture(scope="module")
def facts(plates):
    return gather(plates)


def marks(figure, kind, panel=None):
    chosen = figure.panels if panel is None else [figure.panels[panel]]
    return [m for one in chosen for m in one.marks if isinstance(m, kind)]


def bare(**columns):
    return gather(ReportInputs(velocities=pl.DataFrame(columns)))


# Fields and nights


def test_a_field_has_its_exposures_once_and_all_its_stars(plates, facts):
    table = field_table(facts)
    visits = plates.velocities
    assert table["field"].to_list() == sorted(FIELDS)
    for row in table.iter_rows(named=True):
        mine = visits.filter(field=row["field"])
        assert row["exposures"] == mine["exposure_id"].n_unique()
        assert row["stars"] == mine["star_id"].n_unique()
        assert row["nights"] == mine["night"].n_unique()
        times = mine.unique("exposure_id")["exptime"]
        assert row["seconds"] == pytest.approx(times.sum())
        ra, dec = FIELDS[row["field"]]
        # 50 stars over a circle of 2.5 degrees: their mean is good to a quarter of one.
        assert row["ra"] == pytest.approx(ra, abs=0.8)
        assert row["dec"] == pytest.approx(dec, abs=0.8)
        assert 2.0 < row["radius"] < 3.2


def test_the_log_is_in_order_of_time_and_adds_up(plates, facts):
    log = field_nights(facts)
    assert log["night"].is_sorted()
    exposures = plates.velocities.select("field", "exposure_id").unique()
    assert log["exposures"].sum() == len(exposures)
    listing = observing_log(facts, OPTIONS)
    assert len(listing.rows) == len(log)
    assert listing.sortable
    assert listing.columns[-1] == "seeing (arcsec)"
    first = log.row(0, named=True)
    assert listing.rows[0][1] == first["field"]
    assert listing.rows[0][2] == str(first["exposures"])
    assert f"{log['exposures'].sum():,} exposures" in listing.note


def test_the_log_says_nothing_of_seeing_that_no_table_has(plates):
    table = plates.velocities.drop("seeing", "exptime")
    listing = observing_log(gather(replace(plates, velocities=table)), OPTIONS)
    assert "seeing (arcsec)" not in listing.columns
    assert {row[3] for row in listing.rows} == {"\N{EN DASH}"}


def test_a_long_log_shows_its_end_and_says_so(facts):
    listing = observing_log(facts, replace(OPTIONS, listed_rows=4))
    every = field_nights(facts)
    assert [row[1] for row in listing.rows] == every["field"].tail(4).to_list()
    assert f"The last 4 of {len(every)} rows" in listing.note


def test_exposures_of_a_field_are_its_bar(facts):
    figure = exposures_per_field(facts)
    (bars,) = marks(figure, Bars)
    table = field_table(facts).sort("exposures", descending=True)
    assert bars.heights.tolist() == table["exposures"].to_list()
    rows = field_listing(facts, OPTIONS).rows
    assert {row[0] for row in rows} == set(FIELDS)


def test_very_many_fields_become_a_histogram():
    names = np.repeat([f"f{i}" for i in range(100)], 2)
    facts = bare(
        star_id=[f"s{i}" for i in range(200)],
        field=names,
        exposure_id=[str(i) for i in range(200)],
        rv_raw=np.zeros(200),
    )
    (steps,) = marks(exposures_per_field(facts), Steps)
    assert steps.heights.sum() == 100


def test_exposures_without_names_are_counted_by_night():
    facts = bare(
        star_id=["a", "b", "a", "b"],
        field=["f"] * 4,
        night=[1, 1, 2, 2],
        rv_raw=[0.0] * 4,
    )
    assert field_table(facts)["exposures"].to_list() == [2]


def test_a_table_without_fields_gets_one_sentence():
    facts = bare(star_id=["a"], rv_raw=[0.0], ra=[1.0], dec=[2.0])
    inputs = ReportInputs(velocities=pl.DataFrame({"star_id": ["a"]}))
    figure = footprints(facts, inputs)
    assert isinstance(figure, Missing)
    assert "`field`" in figure.reason
    assert observing_log(facts, OPTIONS) is None


# The sky


def test_footprints_hold_what_was_observed_and_what_is_still_to_come(plates, facts):
    figure = footprints(facts, plates)
    (fields,) = marks(figure, Shaded)
    numbers = field_table(facts)["exposures"].sort().to_list()
    assert fields.z.tolist() == numbers
    (coming,) = [m for m in marks(figure, Points) if m.label == "still to come"]
    assert {text.split(",")[0] for text in coming.hover} == set(COMING)
    assert "2 fields of the input catalog still to come" in figure.here


def test_without_an_input_catalog_only_the_observed_fields_are_drawn(plates, facts):
    figure = footprints(facts, replace(plates, targets=None))
    assert not marks(figure, Points)
    assert len(figure.panels) == 1
    assert "still to come" not in figure.here


def test_many_stars_on_the_sky_become_counts(facts):
    few = star_positions(facts, OPTIONS)
    many = star_positions(facts, replace(OPTIONS, aggregate_above=20))
    drawn = sum(m.x.size for m in few.marks if isinstance(m, Points))
    (density,) = [m for m in many.marks if isinstance(m, Density)]
    assert drawn == density.counts.sum() == len(facts.stars)


# Magnitudes


def test_targets_are_counted_by_magnitude_and_by_what_became_of_them(plates, facts):
    figure = magnitudes(facts, plates)
    targets, observed, good = marks(figure, Steps)
    assert targets.heights.sum() == len(plates.targets)
    assert observed.heights.sum() == len(facts.stars)
    best = plates.velocities.group_by("star_id").agg(pl.col("snr").max())
    assert good.heights.sum() == (best["snr"] > 10).sum()
    assert np.all(good.heights <= observed.heights)
    assert np.all(observed.heights <= targets.heights)


def test_targets_are_found_by_name_as_by_position(plates, facts):
    by_place = magnitudes(facts, plates)
    ids = facts.stars.select("ra", "dec", "star_id")
    named = plates.targets.join(
        ids, on=["ra", "dec"], how="left", maintain_order="left"
    )
    by_name = magnitudes(facts, replace(plates, targets=named.drop("ra", "dec")))  # fmt: skip
    for one, other in zip(marks(by_place, Steps), marks(by_name, Steps), strict=True):
        assert one.heights.tolist() == other.heights.tolist()


def test_columns_of_magnitudes_are_known_by_their_names():
    table = pl.DataFrame(
        {
            name: [1.0]
            for name in (
                "phot_g_mean_mag",
                "phot_g_mean_mag_error",
                "Jmag",
                "e_Jmag_err",
                "Kp",
                "mag1",
                "magnetic",
                "ra",
                "teff",
            )
        }
    )
    assert magnitude_columns(table)[:4] == ["phot_g_mean_mag", "Jmag", "Kp", "mag1"]
    assert "teff" not in magnitude_columns(table)


@pytest.mark.parametrize(
    ("targets", "word"),
    [
        (pl.DataFrame({"ra": [1.0], "dec": [1.0]}), "magnitude"),
        (pl.DataFrame({"g_mag": [12.0]}), "star_id"),
        (pl.DataFrame({"ra": [1.0], "dec": [1.0], "g_mag": [-999.0]}), "g_mag"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_told_why(plates, facts, targets, word):
    figure = magnitudes(facts, replace(plates, targets=targets))
    assert isinstance(figure, Missing)
    assert word in figure.reason


# Signal to noise


def test_the_shares_of_snr_are_those_of_the_table(plates, facts):
    listing = snr_listing(facts)
    figure = snr_distribution(facts)
    for row, line, steps in zip(
        listing.rows, marks(figure, Line), marks(figure, Steps), strict=True
    ):
        snr = plates.velocities.filter(arm=row[0])["snr"].to_numpy()
        assert row[2].startswith(f"{(snr < 2).sum():,} (")
        assert row[3].startswith(f"{(snr > 10).sum():,} (")
        assert steps.heights.sum() == snr.size
        # The line is drawn at 200 places; between two of them hardly a spectrum lies.
        at = np.interp(10.0, line.x, line.y)
        assert at == pytest.approx(100 * np.mean(snr > 10), abs=2)


def test_spectra_of_dead_fibers_are_counted_with_their_remarks(plates, facts):
    snr = plates.velocities["snr"].to_numpy()
    listing = faint_listing(facts)
    assert listing.rows == (
        (
            "The signal-to-noise ratio is below the configured minimum.",
            f"{(snr < 2).sum():,}",
            "0",
        ),
    )
    assert "all keep their rows" in listing.note


def test_without_snr_there_is_nothing_to_list():
    facts = bare(star_id=["a"], rv_raw=[0.0])
    assert snr_listing(facts) is None
    assert faint_listing(facts) is None
    assert isinstance(snr_distribution(facts), Missing)


# Lines and spectra


def test_named_lines_lie_on_lines_of_model_spectra():
    """Wavelengths in air would be 1.4 to 4.6 A off; blends differ from star to star."""
    stars = np.array([[4800, 2.0, 0.2], [6000, 4.3, 0.0], [9500, 4.0, 0.0], [20_000, 4.0, 0.0]])  # fmt: skip
    seen = 0
    for window in ("lamost-mrs-blue", "lamost-mrs-red", "h-band"):
        model = bundled(window)
        fluxes = [model(labels).flux for labels in stars]
        # The head of a band is an edge, and high Brackett lines have metals in them.
        unclear = ("CO", "H Br 14", "H Br 15", "H Br 16")
        for line in (one for one in LINES if one.name not in unclear):
            for wave in line.waves:
                if not model.wave[0] + 2 < wave < model.wave[-1] - 2:
                    continue
                near = np.abs(model.wave - wave) < 0.9
                at = [model.wave[near][np.argmin(flux[near])] for flux in fluxes]
                # Models are sampled every 0.1 A; lines of hydrogen are broad.
                sharp = 0.32 if line.name.startswith("H Br") else 0.13
                assert min(abs(one - wave) for one in at) < sharp, (line, at)
                seen += 1
    assert seen > 30


@pytest.mark.parametrize(
    "span", [(4900.0, 5400.0), (3700.0, 9000.0), (15150.0, 16950.0)]
)
def test_names_of_lines_do_not_crowd(span):
    lines = named_lines(*span)
    middles = np.array([line.middle for line in lines])
    assert len(lines) >= 5
    assert np.all(np.diff(middles) >= 0.045 * (span[1] - span[0]))
    assert not any(line.name.startswith("He") for line in lines)
    hot = named_lines(*span, hottest=30_000.0, apart=0.0, most=99)
    assert any(line.name.startswith(("He", "H Br")) for line in hot)


def lowest(line: Line, low: float, high: float) -> float:
    inside = (line.x > low) & (line.x < high)
    return float(line.x[inside][np.nanargmin(line.y[inside])])


def spectra_lines(figure):
    return [m for m in marks(figure, Line) if m.hover]


def test_example_spectra_are_at_rest_and_in_order_of_temperature(plates, facts):
    blue, red = example_spectra(facts, plates)
    assert (blue.name, red.name) == ("examples-blue", "examples-red")
    assert "drawn as observed" not in red.here
    lines = spectra_lines(red)
    assert len(lines) >= 5
    for line in lines:
        # A display cell is 0.3 A; velocities of 35 km/s would move the line by 0.8.
        assert lowest(line, 6560, 6570) == pytest.approx(6564.61, abs=0.45)
    kelvin = [float(t.split()[0].replace(",", "")) for _, t in red.panels[0].y.ticks]
    assert kelvin == sorted(kelvin)
    (words,) = marks(red, Words)
    assert any("H" in text for text in words.texts)
    assert words.upright


def test_stars_of_unknown_velocity_are_drawn_as_observed_and_told(plates):
    relative = plates.velocities.with_columns(
        reference_visit_id=pl.lit("v"), method=pl.lit("relative")
    )
    inputs = replace(plates, velocities=relative, labels=None)
    figures = example_spectra(gather(inputs), inputs)
    assert all("as observed, not at rest" in figure.here for figure in figures)


def test_the_velocity_of_the_fit_of_labels_puts_a_spectrum_to_rest(plates):
    relative = plates.velocities.with_columns(
        reference_visit_id=pl.lit("v"), method=pl.lit("relative")
    )
    known = plates.velocities.select("visit_id", "arm", "rv_raw")
    labels = plates.labels.drop("rv_raw").join(known, on=["visit_id", "arm"])
    inputs = replace(plates, velocities=relative, labels=labels)
    _, red = example_spectra(gather(inputs), inputs)
    for line in spectra_lines(red):
        assert lowest(line, 6560, 6570) == pytest.approx(6564.61, abs=0.45)


def test_spectra_as_recorded_at_the_observatory_are_put_to_rest_too(plates):
    """``rv_raw`` is barycentric: what lies in the wavelengths is less the correction."""
    moving = 25.0

    def recorded(star):
        rows, spectra = plates.spectra(star)
        wave = spectra.wave_2d / (1 + moving / C_KMS)
        return rows.with_columns(bary_corr=pl.lit(moving)), replace(
            spectra, wave=wave, frame="observatory"
        )

    inputs = replace(plates, spectra=recorded)
    _, red = example_spectra(gather(inputs), inputs)
    for line in spectra_lines(red):
        assert lowest(line, 6560, 6570) == pytest.approx(6564.61, abs=0.45)


def test_without_temperatures_stars_are_in_order_of_their_absorption(survey):
    figure = example_spectra(gather(survey), survey)[0]
    assert figure.title.startswith("Example spectra")
    assert "those with more absorption lower" in figure.shows
    depth = [
        np.nanmean(1 - np.minimum(line.y - 0.7 * level, 1.0))
        for level, line in enumerate(spectra_lines(figure))
    ]
    # The lines are cut to the panel and at 1.35: nearly the same means.
    assert np.all(np.diff(depth) < 2e-3)


def test_damaged_spectra_do_not_take_the_section_away(plates, facts):
    def damaged(star):
        raise ValueError("shard 7 is damaged")

    (missing,) = example_spectra(facts, replace(plates, spectra=damaged))
    assert isinstance(missing, Missing)
    assert "shard 7" in missing.reason


def test_no_spectra_no_examples(plates, facts):
    assert example_spectra(facts, replace(plates, spectra=None)) == []
    (missing,) = example_spectra(facts, replace(plates, spectra=lambda star: None))
    assert isinstance(missing, Missing)


def test_every_figure_explains_itself(plates, facts):
    every = [
        footprints(facts, plates),
        exposures_per_field(facts),
        magnitudes(facts, plates),
        snr_distribution(facts),
        *example_spectra(facts, plates),
    ]
    for figure in every:
        assert isinstance(figure, Figure)
        assert figure.shows.endswith(".")
        assert figure.good.endswith(".")
        assert figure.here.startswith("Here: ")
        assert figure.here.endswith(".")
