import bz2
import gzip
import lzma
import warnings

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from steadystar.data.tables import (
    TableError,
    open_table,
    read_metadata,
    read_table,
    write_parquet,
)


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "star_id": ["a", "bb", "c c"],
            "fiber": [1, 2, 300],
            "rv": [1.5, float("nan"), -7.25],
            "good": [True, False, True],
        }
    )


def as_astropy() -> AstropyTable:
    return AstropyTable({name: frame()[name].to_numpy() for name in frame().columns})


def write(kind: str, path) -> None:
    if kind == "parquet":
        write_parquet(frame(), path)
    elif kind == "csv":
        frame().write_csv(path)
    elif kind == "semicolon":
        frame().write_csv(path, separator=";")
    else:
        table = as_astropy()
        for name in ("star_id",):
            table[name] = table[name].astype(str)
        table.write(path, format={"ecsv": "ascii.ecsv"}.get(kind, kind), overwrite=True)


KINDS = ["parquet", "csv", "semicolon", "fits", "votable", "ecsv"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_table_whatever_the_suffix(kind, tmp_path):
    path = tmp_path / "table.wrong"
    write(kind, path)
    got = read_table(path)
    assert_frame_equal(got, frame(), check_dtypes=False)
    assert got["fiber"].dtype.is_integer()
    assert got["good"].dtype == pl.Boolean


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("squeeze", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_opened(kind, squeeze, tmp_path):
    path = tmp_path / "table"
    write(kind, path)
    path.write_bytes(squeeze(path.read_bytes()))
    assert_frame_equal(read_table(path), frame(), check_dtypes=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused_in_one_sentence(kind, tmp_path):
    path = tmp_path / "table"
    write(kind, path)
    whole = path.read_bytes()
    # Cut inside the last row or record: a CSV cut at a line's end is a whole table.
    cut = {"fits": 2890, "votable": len(whole) // 2}.get(kind, len(whole) - 6)
    path.write_bytes(whole[:cut])
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02\x03" * 100,
        b"PAR1" + b"\x00" * 50,
        b"SIMPLE  =" + b" " * 100,
        b"<VOTABLE><RESOURCE></VOTABLE>",
        b"<html><body>404</body></html>",
        b'{"a": 1}',
        b"\x1f\x8bnot gzip at all",
        b"# %ECSV 1.0\n# ---\n# datatype: [\na b\n1 2\n",
        b"a,b\n1,2\n3\n",
        b"a,b\n1,2,3\n",
        b'a,b\n"x,y",2\n3\n',
        b"\n\n\n",
        b"# only a comment\n",
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(content, tmp_path):
    path = tmp_path / "thing.fits"
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"thing\.fits cannot be read as a table"):
        read_table(path)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(TableError, match="it is a folder"):
        read_table(tmp_path)
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "nothing.csv")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(KINDS))
    path = folder / "table"
    write(kind, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert isinstance(read_table(path), pl.DataFrame)
    except TableError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_fits_strings_bytes_nulls_and_arrays(tmp_path):
    path = tmp_path / "t.fits"
    columns = [
        fits.Column("name", "6A", array=np.array([b"ab  ", b"c\x00junk", b"d"])),
        fits.Column("night", "J", null=-99, array=np.array([5, -99, 7])),
        fits.Column("counts", "J", bzero=2**31, array=np.array([1, 2, 3], np.uint32)),
        fits.Column("spectrum", "4E", array=np.ones((3, 4))),
        fits.Column("rv", "D", unit="m/s", array=np.array([1.0, 2.0, 3.0])),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(
        path
    )
    table = open_table(path)
    assert table.frame["name"].to_list() == ["ab", "c", "d"]
    assert table.frame["night"].to_list() == [5, None, 7]
    assert table.frame["counts"].to_list() == [1, 2, 3]
    assert "spectrum" not in table.frame.columns
    assert any("spectrum was left out" in note for note in table.notes)
    assert table.units == {"rv": "m/s"}


def test_the_first_table_of_a_fits_file_is_read_and_the_others_named(tmp_path):
    path = tmp_path / "t.fits"
    hdus = [
        fits.BinTableHDU.from_columns([fits.Column(n, "J", array=[1])], name=n.upper())
        for n in ("rvtab", "fibermap")
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones(3)), *hdus]).writeto(path)
    assert open_table(path).frame.columns == ["rvtab"]
    assert "FIBERMAP" in open_table(path).notes[0]
    assert read_table(path, "FIBERMAP").columns == ["fibermap"]
    with pytest.raises(TableError, match="no table"):
        read_table(path, 1)
    with pytest.raises(TableError):
        read_table(path, "SCORES")


def test_masked_entries_and_times_survive(tmp_path):
    path = tmp_path / "t.ecsv"
    table = AstropyTable()
    table["n"] = MaskedColumn([1, 2, 3], mask=[False, True, False])
    table["s"] = MaskedColumn(["a", "b", "c"], mask=[True, False, False])
    table["t"] = Time([58000.0, 58001.0, 58002.0], format="mjd", scale="tdb")
    table.write(path, format="ascii.ecsv")
    got = open_table(path)
    assert got.frame["n"].to_list() == [1, None, 3]
    assert got.frame["s"].to_list() == [None, "b", "c"]
    assert got.frame["t"][0] == 2458000.5
    assert any("TDB" in note for note in got.notes)


def text(tmp_path, content: str) -> pl.DataFrame:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    return read_table(path)


def test_text_keeps_names_that_look_like_numbers(tmp_path):
    got = text(tmp_path, "a,b,c\n007,99999999999999999999,1\n012,1,nan\n")
    assert got["a"].to_list() == ["007", "012"]
    assert got["b"].to_list() == ["99999999999999999999", "1"]
    assert got["c"].dtype == pl.Float64


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "\ufeffa,b\r\n1,x\r\n2,y\r\n",
        "# a comment\na,b\n1,x\n\n# more\n2,y\n",
        "#a,b\n1,x\n2,y",
        "# a  b\n 1  x \n 2  y\n",
        "a  b\n1\tx\n  2 y \n",
        "a|b\n1|x\n2|y\n",
        ' a , b \n"1","x"\n 2 , y \n',
    ],
)
def test_dialects_of_text(tmp_path, content):
    want = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert_frame_equal(text(tmp_path, content), want)


def test_columns_that_occur_twice_get_names_of_their_own(tmp_path):
    assert text(tmp_path, "a,a,a\n1,2,3\n").columns == ["a", "a_2", "a_3"]


def test_a_header_without_rows_is_an_empty_table(tmp_path):
    got = text(tmp_path, "a,b\n")
    assert got.columns == ["a", "b"]
    assert got.is_empty()


@pytest.mark.parametrize("n", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_absurdly_many_columns_are_read(tmp_path, n):
    names = ",".join(f"c{i}" for i in range(n))
    got = text(tmp_path, names + "\n" + ",".join(["1"] * n) + "\n")
    assert got.shape == (1, n)


def test_equal_tables_give_equal_bytes_and_metadata_returns(tmp_path):
    whole = frame()
    pieces = pl.concat([whole[:1], whole[1:]], rechunk=False)
    for name, table in (("a", whole), ("b", pieces)):
        write_parquet(table, tmp_path / name, {"version": "1", "by": "fiber"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_metadata(tmp_path / "a") == {"version": "1", "by": "fiber"}
    assert open_table(tmp_path / "a").metadata["by"] == "fiber"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    write_parquet(frame(), path)
    before = path.read_bytes()

    def fail(table, where, **_):
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("steadystar.data.tables.pq.write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_parquet(frame().head(1), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_metadata_of_what_is_not_parquet_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    with pytest.raises(TableError, match="Parquet"):
        read_metadata(path)


def test_real_tables_are_read(real_data):
    folder = real_data / "velocities"
    visits = read_table(folder / "twoface-test-allVisit.fits")
    assert len(visits) == 256
    assert visits["APOGEE_ID"].n_unique() == 74
    assert visits["VHELIO"].dtype.is_float()
    assert len(read_table(folder / "chubak.fits.gz")) == 2046
    assert len(read_table(folder / "rvstandards.fits")) == 2828
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        orbit = read_table(folder / "sb2_orbits" / "41Dra_rv.dat")
        assert orbit.columns == ["JD", "RV", "err", "res", "comp"]
        assert read_table(folder / "sb2_orbits" / "Gl570BC_rv1.txt").columns == [
            "date",
            "rv",
            "err",
        ]
        assert open_table(folder / "thejoker" / "data.ecsv").units["rv"] == "km / s"
