"""A catalog says the same in every format, to any reader, and byte for byte again."""

import csv
import io
import json
import warnings
from datetime import date

import numpy as np
import polars as pl
import pytest
from astropy import units
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data import schema
from steadystar.data.tables import read_metadata, read_table
from steadystar.publish.catalog import (
    FORMATS,
    constant_candidates,
    export,
    relative_catalog,
)
from steadystar.publish.fits_table import LONGEST_TEXT, printable
from steadystar.publish.plain import plain_columns

PROVENANCE = {"configuration": "3f9a", "inputs": "12 files, <hash & more>, naïve"}


@pytest.fixture(scope="module")
def odd() -> pl.DataFrame:
    """Every kind of value that a table of velocities can hold, and some it should not."""
    return schema.conform(
        pl.DataFrame(
            {
                "visit_id": ["a", "b <script>", "naïve ÷ 星", None],
                "star_id": ["s", "s", "", "t\\u0041"],
                "spectrograph": [1, None, 16, -(2**63) + 5],
                "bjd": [2458400.123456789, None, np.nan, 2458401.0],
                "rv": [1.25, -0.1, None, np.inf],
                "status": [0, 5, 2**31, 1],
                "mine": [True, None, False, True],
                "sure": [True, False, False, True],
                "small": pl.Series([1, 2, None, 250], dtype=pl.UInt8),
                "huge": pl.Series([1, 2**63 + 1, None, 3], dtype=pl.UInt64),
                "single": pl.Series([0.1, None, np.nan, -2.0], dtype=pl.Float32),
                "day": [date(2018, 5, 31), None, date(1, 1, 1), date(2020, 2, 29)],
                "list": [[1, 2], None, [], [3]],
                "RV": [1, 2, 3, 4],
            }
        ),
        "velocities",
    )


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


def test_fits_keeps_values_and_nulls(odd, tmp_path):
    path = export(odd, tmp_path / "odd.fits", provenance=PROVENANCE)
    table = Table.read(path)
    assert same(np.ma.getdata(table["bjd"]), odd["bjd"].to_numpy())
    assert same(np.ma.getdata(table["rv"]), odd["rv"].to_numpy())
    assert table["spectrograph"].mask.tolist() == [False, True, False, False]
    assert table["spectrograph"][[0, 2, 3]].tolist() == [1, 16, -(2**63) + 5]
    assert table["mine"].mask.tolist() == [False, True, False, False]
    assert table["mine"][[0, 2, 3]].tolist() == [1, 0, 1]
    assert table["sure"].tolist() == [True, False, False, True]
    assert table["small"].mask.tolist() == [False, False, True, False]
    assert table["single"].dtype.itemsize == 4
    assert table["day"].tolist()[0] == "2018-05-31"
    assert json.loads(table["list"][0]) == [1, 2]
    assert [str(v) for v in table["huge"][[0, 1]]] == ["1", str(2**63 + 1)]


def test_fits_is_ascii_and_reversible_beyond_it(odd, tmp_path):
    path = export(odd, tmp_path / "odd.fits", provenance=PROVENANCE)
    with fits.open(path) as opened:
        header, rows = opened[1].header, opened[1].data
        assert all(ord(c) < 128 for c in header.tostring())
        raw = rows["visit_id"][2]
        assert raw == r"na\xefve \xf7 \u661f"
        assert raw.encode("ascii").decode("unicode_escape") == "naïve ÷ 星"
        assert header["TXTESC1"] is True
        # A column of plain ASCII keeps its backslashes as they are.
        assert "TXTESC2" not in header
        assert rows["star_id"][3] == "t\\u0041"


def test_fits_says_units_ucds_meanings_and_provenance(odd, tmp_path):
    path = export(odd, tmp_path / "odd.fits", provenance=PROVENANCE)
    header = fits.getheader(path, 1)
    names = {header[f"TTYPE{i}"]: i for i in range(1, header["TFIELDS"] + 1)}
    for column in schema.TABLES["velocities"]:
        i = names[column.name]
        assert header.get(f"TUNIT{i}", "") == column.unit
        assert header[f"TUCD{i}"] == column.ucd
        assert header[f"TCOMM{i}"].startswith(column.meaning)
    assert header["PROV1"].startswith("creator: steadystar")
    assert header["PROV2"] == "configuration: 3f9a"
    assert header["PROV3"] == r"inputs: 12 files, <hash & more>, na\xefve"
    # FITS does not tell rv from RV, and rv_2 is taken.
    assert header[f"TCOMM{names['RV_3']}"] == "(called 'RV' in the table)"


def test_fits_passes_the_checks_of_the_standard(odd, tmp_path):
    path = export(odd, tmp_path / "odd.fits", provenance=PROVENANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path) as opened:
            opened.verify("exception")


def test_fits_cuts_absurd_text_and_says_so(tmp_path):
    frame = pl.DataFrame({"note": ["x" * (LONGEST_TEXT + 1), "short"]})
    path = export(frame, tmp_path / "long.fits")
    table = Table.read(path)
    assert len(table["note"][0]) == LONGEST_TEXT
    assert "1 values cut" in fits.getheader(path, 1)["TCOMM1"]


def test_votable_keeps_everything(odd, tmp_path):
    path = export(odd, tmp_path / "odd.vot", provenance=PROVENANCE)
    document = parse(path, verify="exception")
    inner = document.get_first_table()
    table = inner.to_table()
    assert same(np.ma.getdata(table["bjd"]), odd["bjd"].to_numpy())
    assert same(np.ma.getdata(table["rv"]), odd["rv"].to_numpy())
    # astropy takes a null text for an empty one, whatever the file says.
    assert table["visit_id"].tolist() == ["a", "b <script>", "naïve ÷ 星", ""]
    assert table["spectrograph"].mask.tolist() == [False, True, False, False]
    assert table["mine"].mask.tolist() == [False, True, False, False]
    assert table["mine"].tolist() == [True, None, False, True]
    assert table["rv"].unit == units.km / units.s
    assert table["ra"].unit == units.deg
    fields = {field.name: field for field in inner.fields}
    for column in schema.TABLES["velocities"]:
        assert fields[column.name].ucd == column.ucd
        assert " ".join(fields[column.name].description.split()) == column.meaning
    infos = {info.name: info.value for info in document.resources[0].infos}
    assert infos["inputs"] == PROVENANCE["inputs"]


def test_csv_keeps_null_apart_from_nan_and_has_its_columns_beside(odd, tmp_path):
    path = export(odd, tmp_path / "odd.csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    assert rows[2]["visit_id"] == "naïve ÷ 星"
    assert [row["spectrograph"] for row in rows][:3] == ["1", "", "16"]
    assert rows[2]["bjd"] == "NaN"
    assert float(rows[0]["bjd"]) == 2458400.123456789
    described = (tmp_path / "odd-columns.csv").read_text("utf-8")
    listed = {row["column"]: row for row in csv.DictReader(io.StringIO(described))}
    assert listed["rv"]["unit"] == "km/s"
    assert list(listed) == odd.columns


def test_parquet_is_the_table_itself_with_its_columns_described(odd, tmp_path):
    path = export(odd, tmp_path / "odd.parquet", provenance=PROVENANCE)
    assert read_table(path).equals(odd)
    metadata = read_metadata(path)
    assert metadata["configuration"] == "3f9a"
    described = {row["column"]: row for row in json.loads(metadata["columns"])}
    assert described["rv"]["ucd"] == schema.columns("velocities")["rv"].ucd


@pytest.mark.parametrize("format", FORMATS)
def test_equal_tables_give_equal_bytes(odd, tmp_path, format):
    first = export(odd, tmp_path / "a" / "t", format=format, provenance=PROVENANCE)
    second = export(odd, tmp_path / "b" / "t", format=format, provenance=PROVENANCE)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("table", schema.TABLES)
def test_a_table_without_rows_keeps_its_columns(tmp_path, format, table):
    known = {c.name: c.dtype for c in schema.TABLES[table]}
    empty = pl.DataFrame(schema=known)
    path = export(empty, tmp_path / f"empty{FORMATS[format]}", table=table)
    assert read_table(path).columns == list(known)
    assert len(read_table(path)) == 0


@pytest.mark.parametrize("format", ["fits", "votable"])
def test_our_own_reader_takes_an_export_back(survey, tmp_path, format):
    path = export(survey.velocities, tmp_path / f"v{FORMATS[format]}")
    back = schema.conform(read_table(path), "velocities")
    for name in ("visit_id", "spectrograph", "bjd", "rv", "rv_err", "status"):
        assert back[name].equals(survey.velocities[name], null_equal=True), name


def test_every_unit_and_ucd_of_the_schema_is_legal():
    for table, columns in schema.TABLES.items():
        for column in columns:
            assert parse_ucd(column.ucd, check_controlled_vocabulary=True), table
            if column.unit:
                units.Unit(column.unit, format="fits")
                units.Unit(column.unit, format="vounit")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_becomes_printable_and_comes_back(text):
    shown = printable(text.replace("\\", "\\\\"))
    assert all(" " <= c <= "~" for c in shown)
    assert shown.encode("ascii").decode("unicode_escape") == text


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=12)), min_size=1, max_size=5),
    st.text(min_size=1, max_size=12),
)
def test_hostile_names_and_texts_never_break_a_catalog(tmp_path_factory, texts, name):
    folder = tmp_path_factory.mktemp("hostile")
    frame = pl.DataFrame({name: pl.Series(texts, dtype=pl.String)})
    fits.open(export(frame, folder / "t.fits", provenance={name: name})).close()
    path = export(frame, folder / "t.vot", provenance={name: name})
    column = parse(path).get_first_table().to_table().columns[0]
    shown = [text if text and max(text) <= "\uffff" else "" for text in texts]
    found = [
        value if text and max(text) <= "\uffff" else ""
        for value, text in zip(column, texts, strict=True)
    ]
    assert found == shown
    export(frame, folder / "t.csv")


def test_a_thousand_columns_are_refused_for_fits(tmp_path):
    frame = pl.DataFrame({f"c{i}": [i] for i in range(1000)})
    with pytest.raises(ValueError, match="FITS numbers 999 at most"):
        export(frame, tmp_path / "wide.fits")
    assert not (tmp_path / "wide.fits").exists()


def test_an_unknown_format_or_table_is_refused_by_name(odd, tmp_path):
    with pytest.raises(ValueError, match="'parchment'"):
        export(odd, tmp_path / "x", format="parchment")
    with pytest.raises(ValueError, match=r"'x\.txt' does not tell the format"):
        export(odd, tmp_path / "x.txt")
    with pytest.raises(ValueError, match="'velocity'"):
        export(odd, tmp_path / "x.fits", table="velocity")


def test_categories_and_lists_become_text():
    frame = pl.DataFrame(
        {
            "arm": pl.Series(["red", None], dtype=pl.Categorical),
            "more": [{"a": 1}, None],
        }
    )
    arm, more = plain_columns(frame, "velocities")
    assert arm.kind == more.kind == "text"
    assert arm.values.tolist() == ["red", ""]
    assert arm.null.tolist() == [False, True]
    assert more.values[0] == '{"a": 1}'


def visits(**columns) -> pl.DataFrame:
    return schema.conform(pl.DataFrame(columns), "velocities")


def test_table_2_has_a_row_a_star_and_exposure_with_both_arms():
    table = relative_catalog(
        visits(
            star_id=["s", "s", "s", "t"],
            exposure_id=["e2", "e1", "e1", "e1"],
            arm=["red", "blue", "red", "red"],
            bjd=[2458402.0, 2458401.0, 2458401.0, 2458401.0],
            ra=[10.0] * 4,
            dec=[20.0] * 4,
            snr=[30.0, 15.0, 25.0, 9.0],
            rv_raw=[1.0, 2.0, 3.0, 4.0],
            rv_raw_err=[0.1, 0.2, 0.3, 0.4],
            rv=[0.5, 1.5, 2.5, 3.5],
        )
    )
    assert table.columns == list(schema.columns("relative"))
    assert table.select("star_id", "exposure_id").rows() == [
        ("s", "e1"),
        ("s", "e2"),
        ("t", "e1"),
    ]
    first = table.row(0, named=True)
    assert (
        first["SNR_r"],
        first["DRV_r"],
        first["DRV_r_err"],
        first["DRV_r_corr"],
    ) == (
        25.0,
        3.0,
        0.3,
        2.5,
    )
    assert (first["SNR_b"], first["DRV_b"], first["DRV_b_corr"]) == (15.0, 2.0, 1.5)
    assert first["hjd"] == 2458401.0
    assert np.isnan(table.row(1, named=True)["DRV_b"])


def test_table_2_tells_unnamed_exposures_apart_by_time():
    table = relative_catalog(
        visits(star_id=["s", "s"], arm=["red", "red"], bjd=[1.0, 2.0], rv=[0.1, 0.2])
    )
    assert table["DRV_r_corr"].to_list() == [0.1, 0.2]


def test_table_2_says_in_the_file_which_time_it_holds(survey, tmp_path):
    path = export(
        relative_catalog(survey.velocities), tmp_path / "xiong.fits", table="relative"
    )
    header = fits.getheader(path, 1)
    assert header["TTYPE5"] == "hjd"
    assert "BJD_TDB" in header["TCOMM5"]


def test_table_2_needs_a_red_or_a_blue_arm():
    with pytest.raises(ValueError, match="no spectrum is of either"):
        relative_catalog(visits(star_id=["s"], arm=["nir"], rv=[1.0]))


def test_constant_candidates_are_the_stars_classified_so(survey):
    chosen = constant_candidates(survey.stars)
    assert 0 < len(chosen) < len(survey.stars)
    assert chosen["constant"].all()
