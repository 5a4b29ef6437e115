"""``steadystar hot``, from files to a catalog: a small survey, run, disturbed and run again."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest

from steadystar.data.hot_columns import HOT
from steadystar.data.tables import read_metadata
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.hot import run_hot
from steadystar.pipeline.inputs import InputError
from steadystar.pipeline.rejections import sentence_counts, sentences
from steadystar.pipeline.results import NoResults, export_tables, rewrite_report
from steadystar.pipeline.run import run_pipeline
from steadystar.pipeline.state_words import describe_state
from steadystar.publish import hot_report
from steadystar.publish.catalog import columns_of
from steadystar.simulate.hot_options import HotSurveyOptions
from steadystar.simulate.hot_survey import write_hot_survey

SMALL = {
    "luminosity": {"members": 1, "steps": 40},
    "hot": {"held_out": 0.05},
}
QUICK = ("hot.parquet", "luminosity.zip", "emission.zip", "composites.parquet")
TABLE_1 = (
    "specid fitsname ra dec uniqflag star_id snr_g rv rv_err m_ks m_ks_err m_ks_geo "
    "m_ks_geo_err dis dis_low dis_high logdis logdis_err ebv ebv_err snr_dparallax "
    "binary_flag em_flag gaia_id parallax parallax_error parallax_offset pmra pmra_error "
    "pmdec pmdec_error ruwe j j_err h h_err ks ks_err x y z"
)
"""Columns of Xiang et al. (2021), table 1, in lower case."""


def told(directory: Path, inputs: hot_report.HotReportInputs, options=None) -> Path:
    """Stand in for the report, which has its own tests."""
    directory.mkdir(parents=True)
    page = directory / "index.html"
    page.write_text(f"{len(inputs.hot)} {inputs.truth is not None}")
    return page


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(hot_report, "write_hot_report", told)


@pytest.fixture(scope="session")
def survey(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hot")
    write_hot_survey(
        folder, HotSurveyOptions(n_stars=114, repeats=0.04, emission=0.06, seed=3)
    )
    return folder


def go(survey: Path, out: Path, *, spectra=None, photometry=None, **values):
    """Run on the survey, in this process, as quickly as it goes."""
    more = {
        key: values.pop(key) for key in ("model", "columns", "truth") & values.keys()
    }
    # As users have it: the strictness of other tests is not that of a command.
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        return run_hot(
            [spectra or survey / "spectra"],
            photometry or survey / "photometry.parquet",
            out,
            Configuration.from_values(SMALL | values),
            **more,
        )


@pytest.fixture(scope="session")
def whole(survey, tmp_path_factory) -> Path:
    """A run over the whole survey; tests may look, and copy it to change it."""
    directory = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot_report, "write_hot_report", told)
        go(survey, directory, truth=survey / "truth")
    return directory


@pytest.fixture
def again(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "again"))


@pytest.fixture
def few(survey, tmp_path) -> Path:
    """Three of its files."""
    (tmp_path / "few").mkdir()
    for path in sorted((survey / "spectra").iterdir())[:3]:
        shutil.copy(path, tmp_path / "few")
    return tmp_path / "few"


def hot_of(directory: Path) -> pl.DataFrame:
    return pl.read_parquet(directory / "hot.parquet")


def test_the_catalog_has_the_columns_of_the_paper_and_a_row_a_spectrum(survey, whole):
    hot = hot_of(whole)
    assert set(TABLE_1.split()) <= set(hot.columns)
    assert hot.columns[: len(HOT)] == [column.name for column in HOT]
    assert len(hot) == len(list((survey / "spectra").iterdir()))
    assert hot["specid"].is_unique().all()
    assert pl.Null not in hot.dtypes
    best = hot.filter(uniqflag=1)
    assert best["star_id"].is_unique().all()
    assert len(best) == hot["star_id"].n_unique() == 114
    worse = hot.filter(pl.col("uniqflag") > 1).join(best, on="star_id")
    assert (worse["snr_g"] <= worse["snr_g_right"]).all()


def test_what_is_found_is_the_truth(survey, whole):
    truth = pl.read_parquet(survey / "truth" / "stars.parquet")
    both = hot_of(whole).filter(uniqflag=1).join(truth, on="star_id", suffix="_true")
    assert len(both) == 114
    good = both.filter(pl.col("problems").is_null() & (pl.col("double") == 0))
    assert len(good) > 40
    # Errors of the reddening are floored at 0.014 mag a color; a disk may add to it.
    assert np.median(np.abs(good["ebv"] - good["ebv_true"])) < 0.03
    ratio = (good["dis"] / good["distance_pc"]).log()
    assert abs(ratio.median()) < 0.03
    assert (np.abs(ratio) < 0.5).mean() > 0.9


def test_every_table_says_its_units(whole):
    for name, column, unit in (
        ("hot", "dis", "pc"),
        ("composites", "m_ks_pair", "mag"),
    ):
        frame = pl.read_parquet(whole / f"{name}.parquet")
        described = columns_of(read_metadata(whole / f"{name}.parquet"), frame)
        units = {column.name: column.unit for column in described}
        assert units[column] == unit


def test_nothing_is_done_again(survey, again):
    before = {
        path: path.read_bytes() for path in again.glob("*.*") if path.name != "run.log"
    }
    outcome = go(survey, again, truth=survey / "truth")
    assert set(outcome.done.values()) == {0}
    assert before == {path: path.read_bytes() for path in before}


def test_other_photometry_leaves_the_spectra_alone(survey, again, tmp_path):
    table = pl.read_parquet(survey / "photometry.parquet")
    fainter = table.with_columns(pl.col("parallax") * 0.5)
    fainter.write_parquet(tmp_path / "other.parquet")
    outcome = go(
        survey, again, photometry=tmp_path / "other.parquet", model=again, truth=None
    )
    names = [name for name, number in outcome.done.items() if number]
    assert not {"read", "match", "shard", "rest"} & set(names)
    assert {"extinction", "results", "catalog"} <= set(names)


def test_an_interrupted_run_gives_the_same_bytes(survey, whole, again, tmp_path):
    # As a kill leaves it: the last stages without records, a file half written.
    for stage in ("magnitudes", "results", "catalog", "report"):
        shutil.rmtree(again / "work" / "ledger" / stage)
    (again / "hot.parquet").unlink()
    (again / "work" / "results" / ".all.part-1234.parquet").write_bytes(b"PAR1")
    outcome = go(survey, again, truth=survey / "truth")
    assert {n for n, d in outcome.done.items() if d} == {
        *("magnitudes", "results", "catalog", "report")
    }
    for name in QUICK:
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert not list((again / "work").rglob("*.part-*"))


def test_few_stars_use_the_models_of_others(survey, few, whole, tmp_path):
    outcome = go(survey, tmp_path / "out", spectra=few, model=whole)
    hot = hot_of(tmp_path / "out")
    known = hot_of(whole).filter(pl.col("specid").is_in(hot["specid"].to_list()))
    assert len(hot) == 3
    told = {name: hot.sort("specid")[name] for name in ("m_ks", "em_flag", "teff")}
    for name, values in told.items():
        # Sums over other batches round differently: float32 in the networks.
        np.testing.assert_allclose(values, known.sort("specid")[name], rtol=1e-3)
    assert outcome.records["learn"]["all"].facts["given"] == str(whole)


def test_without_models_few_stars_keep_parallax_distances(survey, few, tmp_path):
    table = pl.read_parquet(survey / "photometry.parquet")
    odd = table.select(
        *(pl.col("ra").alias("RAdeg"), pl.col("dec").alias("DEdeg"), "parallax"),
        *("parallax_error", pl.lit(11.0).alias("ks_m")),
        *(pl.lit(7.0).alias("Teff"), pl.lit("?").alias("problems")),
    )
    odd.write_csv(tmp_path / "odd.csv")
    out = tmp_path / "out"
    go(survey, out, spectra=few, photometry=tmp_path / "odd.csv", columns="dec=DEdeg")
    hot = hot_of(out)
    assert len(hot) == 3
    assert hot["dis"].is_finite().all()
    assert hot["m_ks"].is_nan().all()
    assert (hot["em_flag"] == -1).all()
    assert (hot["Teff_photometry"] == 7).all()
    summary = json.loads((out / "summary.json").read_text())
    assert (
        summary["problems"]["Fewer than two bands have a magnitude and its error."] == 3
    )
    notes = " ".join(summary["notes"])
    assert "Emission lines were not looked for" in notes
    assert "NAME_photometry" in notes


def test_what_is_wrong_is_said_once(whole):
    problems = hot_of(whole)["problems"].drop_nulls()
    assert len(problems)
    for text in problems:
        assert "  " not in text
        assert text[-1] == "."
        assert len(sentences(text)) == len(set(sentences(text)))
        assert " ".join(sentences(text)) == text


def test_sentences_are_counted_by_kind():
    texts = [
        "12% is bad. No M_Ks.",
        None,
        "29.5% is bad. No M_Ks. No M_Ks.",
        "chi2 is 3.",
    ]
    assert sentence_counts(texts) == {
        "12 to 29.5% is bad.": 2,
        "No M_Ks.": 2,
        "chi2 is 3.": 1,
    }


def test_status_report_and_exports_know_such_a_run(again):
    lines = describe_state(again)
    assert any(line.startswith("rest        1 unit in ") for line in lines)
    assert not any(line.startswith("zeropoints") for line in lines)
    assert any(line.startswith("Stars       114:") for line in lines)
    shutil.rmtree(again / "report")
    page = rewrite_report(again, Configuration())
    assert page.read_text() == f"{len(hot_of(again))} True"
    written = export_tables(again, "fits")
    assert {path.name for path in written} >= {
        "hot.fits",
        "rejected.fits",
        "composites.fits",
    }


def test_a_run_of_another_kind_is_refused(survey, again):
    before = (again / "summary.json").read_bytes()
    with pytest.raises(ConfigurationError, match=r"another kind .*choose another dir"):
        run_pipeline([survey / "spectra"], again)
    assert (again / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"photometry": Path("nowhere.csv")}, "--photometry: .*no such file"),
        ({"model": Path("nowhere")}, r"--model: .*emission\.zip is not there"),
        ({"columns": "ks=NOT_THERE"}, "--photometry: .*NOT_THERE"),
    ],
)
def test_what_is_not_there_is_said_before_all_reading(
    survey, tmp_path, given, sentence
):
    with pytest.raises(ConfigurationError, match=sentence):
        go(survey, tmp_path / "out", **given)
    assert not (tmp_path / "out" / "work" / "read").exists()


def test_damaged_models_and_tables_without_positions_are_refused(
    survey, again, tmp_path
):
    model = (again / "luminosity.zip").read_bytes()
    (again / "luminosity.zip").write_bytes(model[:3000])
    with pytest.raises(ConfigurationError, match=r"luminosity\.zip is damaged"):
        go(survey, tmp_path / "out", model=again)
    table = pl.read_parquet(survey / "photometry.parquet").drop("ra", "dec")
    table.write_parquet(tmp_path / "lost.parquet")
    with pytest.raises(ConfigurationError, match="no positions"):
        go(survey, tmp_path / "out", photometry=tmp_path / "lost.parquet")


def test_files_without_spectra_are_listed(survey, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.fits").write_bytes(b"not FITS")
    with pytest.raises(InputError, match="no spectrum to measure"):
        go(survey, tmp_path / "out", spectra=tmp_path / "files")
    assert len(pl.read_parquet(tmp_path / "out" / "rejected.parquet")) == 1


def test_a_directory_without_results_is_said(tmp_path):
    with pytest.raises(NoResults, match="hot"):
        export_tables(tmp_path, "fits")
