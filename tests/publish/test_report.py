"""A report can be opened by anybody, anywhere, whatever stood in the files."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from PIL import Image

from steadystar.data import schema
from steadystar.data.status import SENTENCES, Status
from steadystar.publish.facts import gather
from steadystar.publish.figures.errors import error_against_snr
from steadystar.publish.files import safe_name, slug
from steadystar.publish.headlines import headlines
from steadystar.publish.lists import summary_listing
from steadystar.publish.paper import draw
from steadystar.publish.report import ReportInputs, ReportOptions, write_report

QUICK = ReportOptions(paper_figures=False, star_pages=4)

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../../etc/passwd",
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "%{x} <b>bold</b> &lt;",
    "\u2167 星 \u202e \x00\x07 \U0001d6fc",
    "x" * 5000,
    "",
    "CON",
    "var(--blue)",
    "<!--",
    "$\\frac{1}{0}$",
)


class Page(HTMLParser):
    """The links, identifiers, scripts and styles of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links, self.ids, self.scripts, self.tags = [], [], [], []
        self.attributes, self.policy, self.text = set(), "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(values)
        self.links += [values[k] for k in ("href", "src") if k in values]
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "script":
            self.scripts.append(values)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def pages_of(folder: Path) -> dict[Path, Page]:
    found = sorted(folder.rglob("*.html"))
    return {path: Page(path.read_text("utf-8")) for path in found}


def assert_self_contained(folder: Path) -> None:
    """No page runs, loads or links to anything that is not beside it."""
    pages = pages_of(folder)
    for path, page in pages.items():
        assert "default-src 'none'" in page.policy
        assert "unsafe" not in page.policy
        assert page.attributes.isdisjoint({"style", "onclick", "onerror", "onload"})
        assert "style" not in page.tags
        assert "iframe" not in page.tags
        assert len(page.ids) == len(set(page.ids))
        for script in page.scripts:
            assert "src" in script or script.get("type") == "application/json"
        for link in page.links:
            target, _, anchor = link.partition("#")
            assert not re.match(r"[a-z]+:|//|/", target, re.IGNORECASE), link
            file = (path.parent / target).resolve() if target else path.resolve()
            assert file.is_relative_to(folder.resolve()), link
            assert file.is_file(), link
            if anchor:
                assert anchor in pages[file].ids, link
        # Packed numbers are no addresses, whatever letters they happen to give.
        source = re.sub(r'"bdata":"[^"]*"', "", path.read_text("utf-8"))
        assert not re.search(r"https?:|[\"'(=]//", source, re.IGNORECASE)


@pytest.fixture(scope="module")
def report(survey, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, survey, ReportOptions(star_pages=6, star_paper_figures=0))
    return folder


def specs_of(path: Path) -> list[dict]:
    text = path.read_text("utf-8")
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text)
    specs = []
    for block in blocks:
        for item in json.loads(block):
            specs.append(item.get("spec", item))
    return specs


def painted(spec):
    """The specification with the page's color names replaced, as its script does."""
    if isinstance(spec, str):
        return "#808080" if re.fullmatch(r"(fade\()?var\(--[a-z]+\)\)?", spec) else spec
    if isinstance(spec, list):
        return [painted(item) for item in spec]
    if isinstance(spec, dict):
        return {key: painted(item) for key, item in spec.items()}
    return spec


def test_every_figure_is_one_that_plotly_accepts(report):
    for path in [report / "index.html", *sorted((report / "stars").iterdir())[:2]]:
        specs = specs_of(path)
        assert specs
        for spec in specs:
            go.Figure(painted(spec))


def test_a_report_is_self_contained(report):
    assert_self_contained(report)
    assert len(pages_of(report)) == 7


def test_the_colors_of_figures_are_those_of_the_style(report):
    style = (report / "assets" / "report.css").read_text("utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    wanted = set(re.findall(r"var\((--[a-z]+)\)", (report / "index.html").read_text()))
    wanted |= set(
        re.findall(r"var\((--[a-z]+)\)", (report / "assets/report.js").read_text())
    )
    assert wanted
    for name in wanted:
        assert re.search(rf"{name}: #[0-9a-f]{{6}};", light), name
        assert re.search(rf"{name}: #[0-9a-f]{{6}};", dark.split("}")[0]), name


def test_every_figure_is_also_a_file_for_a_paper(report):
    page = Page((report / "index.html").read_text("utf-8"))
    drawn = [link for link in page.links if link.endswith(".pdf")]
    assert len(drawn) >= 12
    for link in drawn:
        assert (report / link).read_bytes().startswith(b"%PDF")
        with Image.open(report / link.replace(".pdf", ".png")) as image:
            width = image.size[0]
        # A column is 3.5 inches, a page 7.1, at 200 dots an inch.
        assert width in (700, 1420)


def test_every_figure_explains_itself(report):
    text = (report / "index.html").read_text("utf-8")
    figures = text.count('<figure id="figure-') - text.count('id="figure-explorer"')
    assert figures == text.count("What good looks like.") == text.count('class="here"')


def test_the_same_inputs_give_the_same_bytes(survey, report, tmp_path):
    options = ReportOptions(star_pages=6, paper_figures=False)
    for name in ("a", "b"):
        write_report(tmp_path / name, survey, options)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) > 10
    for file in files:
        first, second = (tmp_path / name / file for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes(), file


def test_a_figure_drawn_again_has_the_same_bytes(survey, report):
    figure = error_against_snr(gather(survey), ReportOptions())
    again = draw(figure, ReportOptions().dpi)
    for suffix in ("png", "pdf"):
        assert again[suffix] == (report / f"figures/errors.{suffix}").read_bytes()


def test_the_figures_of_a_star_are_drawn_for_a_paper_on_request(invent, tmp_path):
    small = invent(n_stars=6, n_nights=2, per_night=1, n_spectrographs=1, truth=False)
    write_report(tmp_path, small, ReportOptions(star_pages=2, star_paper_figures=1))
    drawn = sorted(p.name for p in (tmp_path / "figures").glob("J*.pdf"))
    assert [name.split("-", 2)[2] for name in drawn] == [
        "spectra-blue.pdf",
        "spectra-red.pdf",
        "velocities.pdf",
    ]
    assert_self_contained(tmp_path)


def test_the_first_page_tells_what_was_observed_and_rejected(survey, report):
    words = Page((report / "index.html").read_text("utf-8")).words
    assert "60 stars in 1,080 spectra, observed in 3 nights" in words
    assert "the gzip stream ends early" in words
    assert "download it again" in words
    assert SENTENCES[Status.LOW_SNR] in words
    assert survey.notes[0] in words
    assert "km/s rms over 36 zero points" in words
    assert "truly constant" in words
    assert "the truth is known" in words


def test_the_first_number_is_what_calibration_gained(survey):
    first, second, *_ = headlines(gather(survey), survey)
    assert "measured → calibrated" in first.meaning
    before, after = re.findall(r"[\d.]+", first.value)
    assert float(after) < 0.6 * float(before)
    # The factory adds 0.05 km/s to 36 offsets: known to 0.05 / sqrt(72), 12%.
    assert float(second.value.split()[0]) == pytest.approx(0.05, rel=0.4)
    assert "truth" in second.meaning
    blind = replace(survey, truth=None)
    assert not any("truth" in h.meaning for h in headlines(gather(blind), blind))


def test_sentences_in_tables_have_room(survey, report):
    """Remarks may wrap; numbers and file names beside them do not."""
    page = next((report / "stars").glob("*.html")).read_text("utf-8")
    head = re.findall(r"<th[^>]*>([^<]*)</th>", page)
    row = re.findall(r"<td([^>]*)>", page.split("<tbody>")[1].split("</tr>")[0])
    wordy = {name for name, cell in zip(head, row, strict=True) if "words" in cell}
    assert wordy == {"remarks"}


def test_no_two_headings_of_the_first_page_are_the_same(report):
    text = (report / "index.html").read_text("utf-8")
    headings = re.findall(r"<h[23]>([^<]*)</h[23]>", text)
    assert len(headings) == len(set(headings)) > 10


def test_what_a_run_says_of_itself_is_punctuated_once():
    listing = summary_listing({"statuses": {"All is well.": 3}, "because": {}})
    assert listing.rows == (
        ("statuses", "All is well: 3"),
        ("because", "\N{EN DASH}"),
    )


def test_a_page_of_a_star_has_its_spectra_and_statuses_in_words(survey, report):
    page = next(p for p in pages_of(report).values() if "blue arm" in p.words)
    stars = [p for path, p in pages_of(report).items() if path.parent.name == "stars"]
    assert page
    assert all("Spectra, red arm" in star.words for star in stars)
    assert any(SENTENCES[Status.LOW_SNR] in star.words for star in stars)


def test_hostile_texts_are_shown_and_never_run(survey, tmp_path):
    many = list(HOSTILE)
    names = {
        old: many[i % len(many)] + (f" {i}" if i >= len(many) else "")
        for i, old in enumerate(survey.stars["star_id"].to_list())
    }
    extra = [s for s in survey.velocities["star_id"].unique() if s not in names]
    names |= {s: s for s in extra}
    dirty = pl.Series([many[i % len(many)] for i in range(len(survey.velocities))])
    velocities = survey.velocities.with_columns(
        pl.col("star_id").replace_strict(names),
        dirty.alias("path"),
        dirty.alias("field"),
        (pl.col("exposure_id") + many[0]).alias("exposure_id"),
        (pl.col("arm") + many[1]).alias("arm"),
        pl.lit(many[4]).alias("telescope"),
    )
    family = "spectrograph+arm+exposure_id"
    inputs = ReportInputs(
        velocities=velocities,
        stars=survey.stars.with_columns(pl.col("star_id").replace_strict(names)),
        offsets={
            family: survey.offsets[family].with_columns(
                (pl.col("exposure_id") + many[0]).alias("exposure_id"),
                (pl.col("arm") + many[1]).alias("arm"),
            ),
            "../../<b>": survey.offsets[family].rename({"exposure_id": "../../<b>"}),
        },
        rejected=pl.DataFrame(
            dict.fromkeys(("path", "reader", "reason", "remedy"), many)
        ),
        notes=many,
        summary={text: text for text in many} | {"nested": {"<i>": many}},
        title=many[0],
        windows={"red" + many[1]: (6400.0, 6700.0)},
    )
    folder = tmp_path / "report"
    write_report(
        folder,
        inputs,
        ReportOptions(star_pages=len(many), star_paper_figures=1, dpi=50),
    )
    assert_self_contained(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report"]
    for path, page in pages_of(folder).items():
        assert all("src" in s or s.get("type") for s in page.scripts)
        assert page.tags.count("script") == len(page.scripts)
        assert "img" not in page.tags or "index" in path.name or path.parent.name
        assert "b" not in page.tags or "What good looks like." in page.text
        for spec in specs_of(path):
            assert "<script" not in json.dumps(spec)
    for file in folder.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_+.-]+", file.name), file
        assert len(file.name) < 160
    shown = Page((folder / "index.html").read_text("utf-8")).words
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7 * 7 }}" in shown


def test_file_names_are_safe_and_distinct():
    names = [safe_name(text) for text in (*HOSTILE, "a", "A", "a ", "a/b", "a:b")]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9+_-]{1,60}", name)
    assert slug("zero-points-telescope+fiber") == "zero-points-telescope+fiber"
    assert slug("../x") != "../x"


def bare(**columns) -> ReportInputs:
    return ReportInputs(velocities=pl.DataFrame(columns))


@pytest.mark.parametrize(
    "inputs",
    [
        ReportInputs(velocities=schema.empty("velocities")),
        ReportInputs(velocities=pl.DataFrame()),
        ReportInputs(
            velocities=schema.empty("velocities"),
            stars=schema.empty("stars"),
            rejected=schema.empty("rejected"),
            offsets={"telescope+fiber": schema.empty("offsets")},
            truth={},
        ),
        bare(star_id=["a"], rv_raw=[1.0]),
        bare(star_id=["a", "a"], rv_raw=[1.0, 2.0]),
        bare(star_id=["a"] * 9, rv_raw=[float("nan")] * 9, rv_raw_err=[None] * 9),
        bare(star_id=["a", "a", "b", "b"], rv=[1.0, 1.0, 2.0, 2.0], rv_err=[0.0] * 4),
        bare(star_id=["a"] * 4, rv_raw=[1.0, -np.inf, 3.0, np.inf], snr=[0.0, -1.0, np.inf, np.nan]),
        bare(star_id=[None, None], rv_raw=[1.0, 2.0], bjd=[1e300, -1e300], night=[10**15, -5]),
        bare(
            star_id=[1, 1, 2, 2],
            rv_raw=[1.0, 2.0, 3.0, 4.0],
            rv_raw_err=[0.1] * 4,
            fiber=["f1", "f2", "f1", "f2"],
            telescope=["apo", "lco", "apo", "lco"],
            status=[-1, 2**62, 0, 1 << 45],
        ),
    ],
    ids=[
        "no rows",
        "no columns",
        "all tables empty",
        "one velocity",
        "one star",
        "only NaN",
        "errors of zero",
        "infinities",
        "absurd times",
        "fibers and stars of other types",
    ],
)  # fmt: skip
def test_any_table_of_velocities_makes_a_report(inputs, tmp_path):
    write_report(tmp_path, inputs, replace(QUICK, star_pages=60))
    assert_self_contained(tmp_path)


def test_absurd_numbers_can_be_drawn_for_a_paper(tmp_path):
    inputs = bare(
        star_id=["a"] * 6 + ["b"] * 6,
        rv_raw=[1.0, -np.inf, 3.0, np.inf, 1e300, np.nan] * 2,
        rv_raw_err=[0.0, -1.0, np.inf, np.nan, 1e300, 0.1] * 2,
        snr=[0.0, -1.0, np.inf, np.nan, 1e300, 1e-300] * 2,
        bjd=[1e300, -1e300, np.nan, 0.0, 2458400.0, np.inf] * 2,
        ra=[400.0] * 12,
        dec=[-95.0] * 12,
        night=[10**15, -5, 0, 1, 2, None] * 2,
        fiber=[None, 1, 2, 3, 4, 5] * 2,
        exposure_id=["e1", "e2", None, "e3", "e4", "e5"] * 2,
    )
    write_report(tmp_path, inputs, ReportOptions(dpi=40))
    assert_self_contained(tmp_path)
    assert list((tmp_path / "figures").glob("*.pdf"))


def test_a_figure_without_data_is_left_out_with_the_reason(tmp_path):
    write_report(tmp_path, bare(star_id=["a", "b"], rv_raw=[1.0, 2.0]), QUICK)
    words = Page((tmp_path / "index.html").read_text("utf-8")).words
    assert "Left out: No star has two velocities" in words
    assert "Left out: No zero points were solved" in words
    assert "This run started from a table: no file of spectra was read." in words
    star = next((tmp_path / "stars").iterdir()).read_text("utf-8")
    assert "there are no spectra" in Page(star).words


def test_offsets_that_could_not_be_determined_are_told(survey, tmp_path):
    family = "spectrograph+arm+exposure_id"
    table = survey.offsets[family]
    lost = table.with_columns(pl.lit(float("nan")).alias("offset"))
    part = table.with_columns(
        pl.when(pl.col("spectrograph") == 1).then("offset").otherwise(float("nan"))
        .alias("offset")
    )  # fmt: skip
    write_report(tmp_path / "a", replace(survey, offsets={family: lost}), QUICK)
    words = Page((tmp_path / "a/index.html").read_text("utf-8")).words
    assert "None of the 36 groups" in words
    write_report(tmp_path / "b", replace(survey, offsets={family: part}), QUICK)
    words = Page((tmp_path / "b/index.html").read_text("utf-8")).words
    assert "18 groups of spectrograph+arm+exposure_id could not be determined" in words


def test_a_smaller_report_removes_its_old_pages_and_nothing_else(survey, tmp_path):
    write_report(tmp_path, survey, QUICK)
    (tmp_path / "stars" / "mine.html").write_text("keep me")
    (tmp_path / "velocities.parquet").write_text("keep me")
    write_report(tmp_path, survey, replace(QUICK, star_pages=1))
    left = sorted(p.name for p in (tmp_path / "stars").iterdir())
    assert len(left) == 2
    assert "mine.html" in left
    assert (tmp_path / "velocities.parquet").exists()


@pytest.mark.parametrize(
    "names",
    ['["../outside.txt"]', '["stars/../../outside.txt"]', '["/tmp/x"]', "{", "[1]"],
)
def test_a_forged_list_of_files_removes_nothing(survey, tmp_path, names):
    outside = tmp_path / "outside.txt"
    outside.write_text("keep me")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "files.json").write_text(names)
    write_report(folder, survey, replace(QUICK, star_pages=0))
    assert outside.exists()


def test_a_large_survey_makes_a_light_report(invent, tmp_path):
    inputs = replace(
        invent(n_stars=2400, n_nights=7, per_night=3, truth=True), spectra=None
    )
    assert len(inputs.velocities) > 100_000
    write_report(tmp_path, inputs, replace(QUICK, star_pages=20))
    # Points alone would take 100 800 x 12 bytes x 5 figures x 4/3: 8 MB.
    assert (tmp_path / "index.html").stat().st_size < 1_500_000
    kinds = {
        trace["type"]
        for spec in specs_of(tmp_path / "index.html")
        for trace in spec["data"]
    }
    assert "heatmap" in kinds
    assert len(list((tmp_path / "stars").iterdir())) == 20
