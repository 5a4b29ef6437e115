"""The report of hot stars: whole, partial and hostile tables; numbers that are the table's."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from steadystar.data.hot_columns import HOT
from steadystar.publish import hot_report
from steadystar.publish.figures.hot_distances import distance_figures
from steadystar.publish.figures.hot_problems import problem_listing
from steadystar.publish.hot_inputs import HotReportInputs, gather_hot
from steadystar.publish.hot_report import write_hot_report
from steadystar.publish.hot_sections import hot_sections
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.plot import Figure, Missing

from .hot_mock import BROKEN, make_hot

QUICK = ReportOptions(paper_figures=False)
SECTIONS = (
    *("input", "emission", "extinction", "magnitudes", "budget", "pairs"),
    *("composites", "distances", "repeats", "truth", "broken", "run"),
)


@pytest.fixture(scope="module")
def inputs() -> HotReportInputs:
    return make_hot(300)


@pytest.fixture(scope="module")
def items(inputs):
    sections = hot_sections(gather_hot(inputs), QUICK)
    return {item.name: item for section in sections for item in section.items}


def page(directory, inputs, options=QUICK) -> str:
    return write_hot_report(directory, inputs, options).read_text("utf-8")


def test_page_has_every_section_and_asks_nobody(inputs, tmp_path):
    text = page(tmp_path, inputs)
    for name in SECTIONS:
        assert f'<section id="{name}">' in text
    # Neighbors in space are too few among so few stars.
    assert text.count("Left out:") == 1
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert len(text) < 1_500_000


def test_figures_for_papers_are_beside_the_page(inputs, tmp_path, monkeypatch):
    chosen = {"hot-object", "hot-excess"}
    monkeypatch.setattr(hot_report, "_FOR_PAPER", chosen)
    text = page(tmp_path, inputs, ReportOptions(dpi=40))
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.pdf")}
    assert drawn == chosen
    assert all(f'href="figures/{name}.pdf"' in text for name in drawn)


def test_numbers_in_words_are_those_of_the_table(inputs, tmp_path):
    text = page(tmp_path, inputs)
    stars = inputs.hot.filter(pl.col("uniqflag") == 1)
    emission = int((stars["em_flag"] == 1).sum())
    judged = int((stars["em_flag"] >= 0).sum())
    assert f"{emission} of {judged} stars ({100 * emission / judged:.3g}%)" in text
    bright = int((stars["binary_flag"] == 1).sum())
    assert f"<dd>{bright} ({100 * bright / len(stars):.3g}%)</dd>" in text
    error = ((stars["dis_high"] - stars["dis_low"]) / 2 / stars["dis"]).median()
    assert f"median error of {100 * error:.2g}%" in text
    broken = int((inputs.hot["em_flag"] == -1).sum())
    assert f"{broken} spectra were set aside" in text


def test_compared_magnitudes_are_of_stars_that_did_not_teach(inputs, items):
    stars = inputs.hot.filter(
        (pl.col("uniqflag") == 1) & pl.col("held_out") & (pl.col("em_flag") != 1),
        (pl.col("parallax") - pl.col("parallax_offset"))
        > 10 * pl.col("parallax_error"),
        pl.col("m_ks").is_finite() & pl.col("m_ks_geo").is_finite(),
    )
    figure = items["hot-magnitudes"]
    assert len(figure.panels[0].marks[0].x) == len(stars)
    off = (stars["m_ks"] - stars["m_ks_geo"]).median()
    assert f"{off:+.3f}".replace("-", "\N{MINUS SIGN}") in figure.here


def test_the_star_with_most_spectra_has_its_weighted_mean(inputs, items):
    star = inputs.hot["star_id"].value_counts(sort=True)["star_id"][0]
    own = inputs.hot.filter((pl.col("star_id") == star) & pl.col("m_ks").is_finite())
    weight = own["m_ks_meas_err"] ** -2
    mean = (own["m_ks"] * weight).sum() / weight.sum()
    chi2 = ((own["m_ks"] - mean) ** 2 * weight).sum()
    figure = items["hot-object"]
    assert star in figure.title
    shown = f"weighted mean {mean:.2f} ± {weight.sum() ** -0.5:.3f} mag"
    assert shown.replace("-", "\N{MINUS SIGN}") in figure.here
    assert f"chi2 {chi2:.1f} for {len(own) - 1} degrees" in figure.here


def test_truth_tells_coverage_and_false_alarms(inputs, items):
    rows = {row[0]: row[1:] for row in items["hot-truth-numbers"].rows}
    stars = inputs.hot.filter(pl.col("uniqflag") == 1).join(inputs.truth, on="specid")
    inside = stars.filter(
        pl.col("distance_pc").is_between(pl.col("dis_low"), pl.col("dis_high"))
    )
    share, number = rows["68% intervals of distance hold the truth: all"]
    assert share == f"{100 * len(inside) / len(stars):.3g}%"
    assert number == f"{len(stars)}"
    quiet = stars.filter((pl.col("emission_ew") == 0) & (pl.col("em_flag") >= 0))
    false = 100 * float((quiet["em_flag"] == 1).mean())
    assert rows["stars without emission called emitters"][0] == f"{false:.3g}%"


def test_truth_of_stars_is_found_by_their_names(inputs):
    truth = inputs.truth.drop("specid").unique("star_id")
    both = [
        {i.name: i for i in section.items}
        for given in (inputs, replace(inputs, truth=truth))
        for section in hot_sections(gather_hot(given), QUICK)
        if section.name == "truth"
    ]
    assert both[0]["hot-truth-numbers"].rows == both[1]["hot-truth-numbers"].rows


def test_remarks_are_counted_by_sentence_whatever_their_numbers(inputs):
    said = [None] * len(inputs.hot)
    said[:3] = ["Chi2 is 9.  No magnitude.", "Chi2 is 12.75. Faint!", "No magnitude."]
    hot = inputs.hot.with_columns(problems=pl.Series(said, dtype=pl.String))
    listing = problem_listing(gather_hot(replace(inputs, hot=hot)))
    assert [row[:2] for row in listing.rows] == [
        ("Chi2 is 9.", "2"),
        ("No magnitude.", "2"),
        ("Faint!", "1"),
    ]
    assert listing.note.startswith(f"3 spectra of {len(hot)} ")


def test_extinction_ratio_of_the_run_is_that_of_the_figures(inputs):
    def middle(ratio):
        summary = {"luminosity": {"a_ks": ratio}}
        found = distance_figures(gather_hot(replace(inputs, summary=summary)), QUICK)
        return np.median(np.log10(found["distances-both"].panels[0].marks[0].y))

    ebv = float(inputs.hot["ebv"].median())
    # Moduli fall by the change of A_Ks; stars with good parallaxes are less reddened.
    assert middle(0.7) - middle(0.3) == pytest.approx(-0.2 * 0.4 * ebv, rel=0.5)
    assert middle("odd") == middle(0.3)


def test_budget_is_the_samples(inputs, items):
    rows = {row[0]: row for row in items["hot-budget"].rows}
    sample = inputs.budget["sigma_int"]
    assert rows["sigma_int (mag)"][2] == f"{np.percentile(sample, 50):.3f}"
    assert len(items["hot-corner"].panels) == 5 + 6


def test_gaps_of_a_spectrum_stay_gaps(items):
    observed = items["hot-broken"].panels[1].marks[0]
    wave = np.geomspace(3800.0, 8800.0, 3700)
    gap = (observed.x > wave[503]) & (observed.x < wave[796])
    assert gap.sum() > 50
    assert np.isnan(observed.y[gap]).all()
    assert np.isfinite(observed.y[observed.x < wave[490]]).all()
    assert BROKEN in items["hot-broken"].panels[1].title


def drop_each():
    """Tables that lack some columns, whole or in part."""
    groups = {
        "labels": ("teff", "logg", "feh"),
        "photometry": ("ks", "j", "h", "g", "bp", "rp", "ebv", "ebv_err", "m_ks_geo"),
        "parallaxes": ("parallax", "parallax_error", "ruwe", "snr_dparallax"),
        "distances": ("dis", "dis_low", "dis_high", "x", "y", "p_binary"),
        "magnitudes": ("m_ks", "m_ks_err", "m_ks_meas_err"),
        "emission": ("em_flag", "em_snr", "em_chi2"),
        "names": ("star_id", "specid", "ra", "dec", "uniqflag"),
        "everything": tuple(column.name for column in HOT if column.name != "specid"),
    }
    return [pytest.param(names, id=name) for name, names in groups.items()]


@pytest.mark.parametrize("names", drop_each())
def test_missing_and_empty_columns_leave_a_page_with_reasons(names, inputs, tmp_path):
    gone = inputs.hot.drop(names, strict=False)
    none = inputs.hot.with_columns(
        *(pl.lit(None, inputs.hot[n].dtype).alias(n) for n in names if n in inputs.hot)
    )
    bare = {"budget": None, "examples": None, "composites": None, "truth": None}
    first = page(tmp_path, replace(inputs, hot=gone, summary={}, **bare))
    assert 'id="broken"' in first
    assert "Left out:" in first
    second = page(tmp_path, replace(inputs, hot=none))
    assert 'id="truth"' in second
    assert not re.search(r"[ (]nan[ ,.);%]", first + second, re.IGNORECASE)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_tiny_tables(rows, inputs, tmp_path):
    few = replace(
        inputs,
        hot=inputs.hot.head(rows),
        budget=inputs.budget.head(rows),
        composites=inputs.composites.head(rows),
        examples=inputs.examples.head(rows),
    )
    text = page(tmp_path, few)
    assert text.count("<section id=") >= len(SECTIONS) - 1
    assert "nan mag" not in text


def test_odd_values_do_not_stop_the_page(inputs, tmp_path):
    hot = inputs.hot.with_columns(
        *(
            pl.when(pl.int_range(pl.len()) % 3 == k)
            .then(pl.lit(value))
            .otherwise(pl.col(name))
            .alias(name)
            for k, value in enumerate((float("inf"), -9999.0, 0.0))
            for name in ("m_ks", "parallax_error", "dis", "teff", "em_chi2")[k::3]
        ),
        ks=pl.lit("twelve"),
    )
    text = page(tmp_path, replace(inputs, hot=hot))
    assert 'with 2MASS Ks</td><td class="number">0<' in text
    stars = hot.filter(pl.col("uniqflag") == 1)
    faint = int((stars["m_ks"].is_finite() & (stars["m_ks"] > 2)).sum())
    assert f'fainter than 2</td><td class="number">{faint}<' in text


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_hostile_strings_are_text(inputs, tmp_path):
    bad = "</script><img src=x onerror=alert(1)>\"'${7*7}{{7*7}}%{x}$\\frac$\x00"
    hot = inputs.hot.with_columns(
        specid=pl.lit(bad) + pl.int_range(pl.len()).cast(pl.String),
        star_id=pl.lit(bad) + pl.col("star_id"),
        problems=pl.lit(bad),
        bands_rejected=pl.lit(bad),
    )
    examples = inputs.examples.with_columns(specid=pl.lit(bad), reason=pl.lit(bad))
    given = replace(
        inputs,
        hot=hot,
        examples=examples,
        summary={"notes": [bad], bad: {bad: bad}, "emission": bad, "budget": [bad]},
        title=bad,
        notes=[bad],
    )
    text = page(tmp_path, given)
    parsed = _Tags()
    parsed.feed(text)
    assert "img" not in parsed.tags
    assert "onerror" not in parsed.attributes
    assert text.count("</script>") == text.count("<script")
    assert "49" not in re.findall(r"\$?\{?\{?7\*7|49", text.split("<main>")[0])


def test_every_item_says_what_it_shows(items):
    for item in items.values():
        if isinstance(item, Figure):
            assert item.shows
            assert item.good
            assert item.here.endswith(".")
        else:
            assert isinstance(item, Listing | Missing)
    assert len(items) == len(set(items)) > 30
