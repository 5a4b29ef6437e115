"""Hostile tables through the command line: a clear answer each time, no row lost.

The report is left out: it has tests of its own, and takes longer than all else here.
"""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from steadystar.cli import app

RNG = np.random.default_rng(1)
STAR, EXPOSURE = (x.ravel() for x in np.indices((12, 6)))
COUNT = len(STAR)
RV = RNG.uniform(-50, 50, 12)[STAR] + 0.4 * EXPOSURE + RNG.normal(0, 0.1, COUNT)
ERR = RNG.uniform(0.1, 0.11, COUNT)
BASE = pl.DataFrame(
    {
        "star_id": [f"s{i}" for i in STAR],
        "exposure": EXPOSURE,
        "rv": RV,
        "rv_err": ERR,
    }
)


def instead(column, values):
    return BASE.with_columns(pl.Series(column, values))


def at(values, rows, value):
    out = np.array(values, float)
    out[rows] = value
    return out


NOT_OURS = {
    name: pl.lit("x")
    for name in ("correction", "offset", "component", "status", "rv_obs", "n_visits")
}

ANSWERED = {
    "plain": (BASE, ""),
    "nan": (instead("rv", at(RV, [0, 5], np.nan)), "2 of 72 visits stay out"),
    "infinite": (instead("rv", at(RV, [0, 5], np.inf)), "2 of 72 visits stay out"),
    "1e300": (instead("rv", at(RV, 0, 1e300)), "1 of 72 visits stay out"),
    "errors of zero": (instead("rv_err", at(ERR, [0, 1], 0)), "not a positive number"),
    "negative errors": (instead("rv_err", at(ERR, [0, 1], -1)), "not a positive"),
    "one error of nothing": (instead("rv_err", at(ERR, 0, 1e-300)), "1 of 72"),
    "equal errors": (instead("rv_err", [0.1] * COUNT), "placeholder"),
    "large errors": (instead("rv_err", ERR * 1000), "rv_err=rv_err[m/s]"),
    "every row twice": (pl.concat([BASE, BASE]), "72 of 144 rows repeat another"),
    "one star": (BASE.head(6), "one star cannot fix zero points"),
    "one visit": (BASE.head(1), "None of the 1 offsets"),
    "all variable": (
        instead("rv", RNG.normal(0, 50, COUNT)),
        "nearly all of them vary",
    ),
    "numbers as text": (instead("rv", [f"{v:.3f}" for v in RV]), ""),
    "some text": (instead("rv", ["x", *[f"{v:.3f}" for v in RV[1:]]]), "1 of 72"),
    "whole numbers": (instead("rv", RV.astype(int)), "whole numbers"),
    "stars without names": (instead("star_id", [None] * COUNT), "no star was seen"),
    "stars are NaN": (instead("star_id", at(STAR, [0, 1], np.nan)), ""),
    "huge stars": (instead("star_id", STAR.astype(np.uint64) + np.uint64(2**63)), ""),
    "group a visit": (instead("exposure", np.arange(COUNT)), "None of the 72 offsets"),
    "empty groups": (instead("exposure", [None] * COUNT), "exposure is empty"),
    "boolean groups": (instead("exposure", EXPOSURE > 2), ""),
    "huge groups": (
        instead("exposure", EXPOSURE.astype(np.uint64) + np.uint64(2**63)),
        "",
    ),
    "control characters": (
        instead("exposure", [f"é\0\n\u202e{e}" for e in EXPOSURE]),
        "",
    ),
    "names of results": (BASE.with_columns(**NOT_OURS), "status_original"),
    "negative status": (BASE.with_columns(status=pl.lit(-1)), "status_original"),
    "another case": (BASE.with_columns(RV=pl.lit(3.0), Star_ID=pl.lit("z")), ""),
    "arrays": (BASE.with_columns(arm=pl.concat_list("exposure")), "arm was left out"),
    "3000 columns": (BASE.with_columns(**{f"c{i}": 1.0 for i in range(3000)}), ""),
}

REFUSED = {
    "no velocity": (instead("rv", RV * np.nan), "holds no velocity"),
    "no velocity below 1e300": (instead("rv", [1e300] * COUNT), "holds no velocity"),
    "no errors": (instead("rv_err", ERR * np.nan), "no velocity errors"),
    "errors of nothing": (instead("rv_err", ERR * 1e-300), "no velocity errors"),
    "text": (instead("rv", ["abc"] * COUNT), "holds no numbers; it begins with 'abc'"),
    "decimal commas": (instead("rv", ["1,5"] * COUNT), "decimal points"),
    "true and false": (instead("rv", RV > 0), "holds true and false"),
    "stars true and false": (instead("star_id", STAR > 3), "not names of stars"),
    "m/s": (instead("rv", RV * 1000 + 20_000), "rv=rv[m/s]"),
    "two candidates": (
        BASE.rename({"rv": "RV"}).with_columns(Rv=pl.lit(2.0)),
        "2 columns that may be rv: RV, Rv",
    ),
    "no rows": (BASE.head(0), "no rows"),
    "arrays of velocities": (BASE.with_columns(rv=pl.concat_list("rv")), "lacks a"),
}

FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "no header line"),
    "header": (b"star_id,exposure,rv,rv_err\n", "no rows"),
    "one name twice": (
        b"star_id,exposure,rv,rv,rv_err\na,1,2.5,3.5,.1\n",
        "two columns called rv",
    ),
    "cut": (BASE.write_csv().encode() + b"a,b\n", "row 73 .* 2 entries"),
    "noise": (RNG.bytes(3000), "format is unknown"),
    "archive": (b"PK\x03\x04" + bytes(50), "NumPy"),
}


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """Call the command on a table or a file; the exit status and what it said."""

    def no_report(folder, *_):
        folder.mkdir()
        (folder / "files.json").write_text("[]")

    monkeypatch.setattr("steadystar.pipeline.tables.write_report", no_report)

    def call(table, *arguments, name="table.parquet"):
        path = tmp_path / name
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            table.write_parquet(path)
        words = ["calibrate", str(path), "-o", str(tmp_path / "out"), "-q", *arguments]
        result = CliRunner().invoke(app, words)
        return result.exit_code, " ".join(result.output.split()), tmp_path / "out"

    return call


@pytest.mark.parametrize("case", ANSWERED)
def test_a_hostile_table_is_answered_and_keeps_its_rows(calibrate, case):
    table, said = ANSWERED[case]
    status, output, out = calibrate(table, "--by", "exposure")
    assert (status, output) == (0, "")
    velocities = pl.read_parquet(out / "velocities.parquet")
    assert len(velocities) == len(table)
    notes = json.loads((out / "summary.json").read_text())["notes"]
    assert said in " ".join(notes)
    # Rows keep their order: those that have a velocity have theirs.
    given = table["rv"].cast(pl.Float64, strict=False).to_numpy()
    kept = np.isfinite(velocities["rv_raw"].to_numpy())
    assert (velocities["rv_raw"].to_numpy()[kept] == given[kept]).all()


@pytest.mark.parametrize("case", REFUSED)
def test_a_hopeless_table_is_refused_in_a_sentence(calibrate, case):
    table, said = REFUSED[case]
    status, output, out = calibrate(table, "--by", "exposure")
    assert status == 2
    assert said in output
    assert "Traceback" not in output
    assert not (out / "velocities.parquet").exists()


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(calibrate, case):
    content, said = FILES[case]
    status, output, _ = calibrate(content, "--by", "exposure", name="table.csv")
    assert status == 2
    assert pl.Series([output]).str.contains(said).all()


@pytest.mark.parametrize("by", ["rv", "rv_raw", "star_id", "status", "correction"])
def test_families_that_are_no_groups_are_refused(calibrate, by):
    status, output, _ = calibrate(BASE, "--by", by)
    assert status == 2
    assert f"Offsets by {by} have no meaning" in output


def test_without_by_and_survey_the_option_is_asked_for(calibrate):
    status, output, _ = calibrate(BASE)
    assert status == 2
    assert "--by telescope,fiber" in output
    known = BASE.rename({"exposure": "fiber"}).with_columns(
        survey=pl.lit("apogee"), telescope=pl.lit("apo25m")
    )
    status, output, out = calibrate(known)
    assert (status, output) == (0, "")
    assert len(pl.read_parquet(out / "offsets-telescope+fiber.parquet")) == 6


def test_units_in_brackets_change_the_numbers_not_the_result(calibrate):
    answers = []
    for factor, unit in ((1, "km/s"), (1000, "m/s")):
        table = BASE.with_columns(rv=pl.col("rv") * factor, rv_err=ERR * factor)
        columns = f"rv=rv[{unit}],rv_err=rv_err[{unit}]"
        status, output, out = calibrate(table, "--by", "exposure", "--columns", columns)
        assert (status, output) == (0, "")
        answers.append(pl.read_parquet(out / "velocities.parquet")["rv"].to_numpy())
    assert np.allclose(*answers, atol=1e-9)


@pytest.mark.slow
def test_one_hundred_thousand_columns_are_one_table(calibrate):
    wide = BASE.hstack(pl.DataFrame({f"c{i}": [1.0] * COUNT for i in range(100_000)}))
    status, output, out = calibrate(wide, "--by", "exposure")
    assert (status, output) == (0, "")
    assert len(pl.read_parquet(out / "velocities.parquet", columns=["rv"])) == COUNT
    # What there is to choose from is not said a hundred thousand times.
    status, output, _ = calibrate(wide.drop("rv"), "--by", "exposure")
    assert status == 2
    assert "c30" in output
    assert len(output) < 1500


REAL = {
    "twoface-test-allVisit.fits": "",
    "twoface-test-allStar.fits": "rv=VHELIO_AVG,rv_err=VERR",
    "chubak.fits.gz": "rv_err=SIGMARV",
    "rvstandards.fits": "rv_err=RVSIG",
    "rv_stable_data.npz": "NumPy",
    "sb2_orbits/41Dra_rv.dat": "star_id='HD 1'",
    "sb2_orbits/Gl570BC_rv1.txt": "star_id='HD 1'",
    "sb2_orbits/HD10009_rv2.txt": "star_id='HD 1'",
    "thejoker/data.ecsv": "star_id='HD 1'",
    "thejoker/data-survey1.ecsv": "star_id='HD 1'",
}


@pytest.mark.parametrize("name", REAL)
def test_published_tables_give_a_result_or_say_what_is_missing(
    calibrate, real_data, tmp_path, name
):
    path = real_data / "velocities" / name
    out = tmp_path / "real"
    result = CliRunner().invoke(app, ["calibrate", str(path), "-o", str(out), "-q"])
    said = " ".join(result.output.split())
    if REAL[name]:
        assert result.exit_code == 2
        assert REAL[name] in said
    else:
        assert (result.exit_code, said) == (0, "")
        assert len(pl.read_parquet(out / "offsets-telescope+fiber.parquet")) == 133


@pytest.mark.parametrize(
    ("name", "columns", "rows"),
    [
        ("sb2_orbits/41Dra_rv.dat", "star_id=comp,rv_err=err,bjd=JD", 141),
        ("sb2_orbits/Gl570BC_rv2.txt", "star_id='B',rv_err=err,bjd=date[RJD]", 22),
        ("thejoker/data-triple.ecsv", "star_id='J'", 257),
        ("rvstandards.fits", "star_id=ID,rv_err=RVSIG", 2828),
    ],
)
def test_published_tables_with_their_columns_named(
    calibrate, real_data, tmp_path, name, columns, rows
):
    path = str(real_data / "velocities" / name)
    out = tmp_path / "real"
    words = ["calibrate", path, "-o", str(out), "-q", "--by", "bjd"]
    words += ["--columns", columns]
    if "rvstandards" in name:
        words[words.index("bjd")] = "SRC"
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.output) == (0, "")
    velocities = pl.read_parquet(out / "velocities.parquet")
    assert len(velocities) == rows
    # Nothing ties one date, or one list of standards, to another.
    assert (velocities["rv"] == velocities["rv_raw"]).all()
