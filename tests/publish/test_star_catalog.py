"""The catalog of stars opens anywhere, with the units of what was brought along."""

import io
import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits, votable
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from steadystar.data import schema
from steadystar.data.tables import read_metadata, read_table
from steadystar.infer.labels import summarize_labels
from steadystar.publish.catalog import columns_of, described, export
from steadystar.survey.crossmatch import cross_match

VOTABLE = "IVOA.VOTable-Parquet.content"
BROUGHT = {"kic_id": "", "kic_separation": "arcsec", "kic_kpmag": "mag", "kic_pm": ""}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Stars with labels and counterparts, and what the columns of the latter are."""
    rng = np.random.default_rng(1)
    size = 40
    ra, dec = rng.uniform(285, 295, size), rng.uniform(40, 50, size)
    folder = tmp_path_factory.mktemp("kic")
    Table(
        {
            "KIC": np.arange(size - 5) + 8_000_000,
            "RAJ2000": ra[5:] * u.deg,
            "DEJ2000": dec[5:] * u.deg,
            "Kpmag": rng.normal(13, 1, size - 5) * u.mag,
            "PM": [f"naïve {i}" for i in range(size - 5)],
        }
    ).write(folder / "kic.vot", format="votable")
    star = np.repeat(np.arange(size), 3)
    labels = pl.DataFrame(
        {
            "star_id": [f"J{i:03d}" for i in star],
            "ra": ra[star],
            "dec": dec[star],
            "snr": rng.uniform(10, 100, len(star)),
            "teff": rng.normal(5500, 50, len(star)),
            "teff_err": np.full(len(star), 50.0),
            "feh": rng.normal(0, 0.05, len(star)),
            "feh_err": np.full(len(star), 0.05),
        }
    )
    stars = summarize_labels(labels)
    return cross_match(stars, folder / "kic.vot", "kic", bring=["Kpmag", "PM"])


def written(catalog, path):
    return export(
        catalog.stars,
        path,
        table="stars",
        provenance={"configuration": "3f9a", "inputs": "12 files"},
        columns=catalog.columns,
    )


def test_fits_has_units_ucds_and_meanings_of_all_columns(catalog, tmp_path):
    path = written(catalog, tmp_path / "stars.fits")
    header = fits.getheader(path, 1)
    said = {
        header[f"TTYPE{i}"]: (
            header.get(f"TUNIT{i}", ""),
            header.get(f"TUCD{i}", ""),
            header[f"TCOMM{i}"],
        )
        for i in range(1, header["TFIELDS"] + 1)
    }
    assert list(said) == catalog.stars.columns
    for column in schema.TABLES["stars"]:
        if column.name in said:
            assert said[column.name] == (column.unit, column.ucd, column.meaning)
    assert {name: said[name][0] for name in BROUGHT} == BROUGHT
    assert said["kic_kpmag"][2] == "Kpmag, as kic has it"
    assert said["kic_id"][1] == "meta.id.cross"
    table = Table.read(path)
    assert table["kic_id"].mask.sum() == 5
    assert table["teff"].unit == u.K
    assert table["kic_kpmag"].unit == u.mag


def test_the_votable_has_no_violations_and_a_frame_for_its_positions(catalog, tmp_path):
    path = written(catalog, tmp_path / "stars.vot")
    report = io.StringIO()
    assert votable.validate(str(path), output=report), report.getvalue()
    document = votable.parse(path, verify="exception")
    fields = {field.name: field for field in document.get_first_table().fields}
    assert list(fields) == catalog.stars.columns
    assert [name for name, field in fields.items() if field.ref == "icrs"] == [
        "ra",
        "dec",
    ]
    (frame,) = document.resources[0].coordinate_systems
    assert frame.system == "ICRS"
    assert {n: str(fields[n].unit or "") for n in BROUGHT} == BROUGHT
    main = [n for n, field in fields.items() if "meta.main" in (field.ucd or "")]
    assert main == ["star_id", "ra", "dec"]
    table = Table.read(path)
    assert np.ma.getdata(table["teff_err"]).tolist() == pytest.approx(
        catalog.stars["teff_err"].to_list(), rel=0
    )


def test_parquet_says_what_its_columns_are_in_the_words_of_each_reader(
    catalog, tmp_path
):
    path = written(catalog, tmp_path / "stars.parquet")
    assert read_table(path).equals(catalog.stars)
    metadata = read_metadata(path)
    # TOPCAT: a VOTable without rows, whose fields are the columns, in order.
    inside = votable.parse(io.BytesIO(metadata[VOTABLE].encode()), verify="exception")
    fields = inside.get_first_table().fields
    assert [field.name for field in fields] == pq.read_schema(path).names
    kinds = {field.name: (field.datatype, field.arraysize) for field in fields}
    assert kinds["star_id"] == ("unicodeChar", "*")
    assert kinds["constant"] == ("boolean", None)
    assert kinds["kic_id"] == ("long", None)
    assert {f.name: str(f.unit or "") for f in fields if f.name in BROUGHT} == BROUGHT
    assert "<DATA" not in metadata[VOTABLE]
    infos = {info.name: info.value for info in inside.resources[0].infos}
    assert infos["inputs"] == "12 files"
    # astropy: units and descriptions as its own writer puts them.
    header = get_header_from_yaml(metadata["table_meta_yaml"].split("\n"))
    said = {row["name"]: row for row in header["datatype"]}
    assert str(said["teff"]["unit"]) == "K"
    assert said["kic_kpmag"]["description"] == "Kpmag, as kic has it"
    assert metadata["table::len::star_id"] == "4"
    # LSDB and others: degrees under the names that they expect.
    assert catalog.stars.schema["ra"] == catalog.stars.schema["dec"] == pl.Float64


def test_astropy_reads_the_parquet_with_its_units(catalog, tmp_path):
    pytest.importorskip("pandas", reason="astropy reads Parquet by way of pandas")
    path = written(catalog, tmp_path / "stars.parquet")
    for how in ("parquet", "parquet.votable"):
        table = Table.read(path, format=how)
        assert table["kic_kpmag"].unit == u.mag
        assert table["teff"].tolist() == catalog.stars["teff"].to_list()


def test_duckdb_reads_the_parquet(catalog, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = written(catalog, tmp_path / "stars.parquet")
    found = duckdb.sql(f"select count(*), sum(kic_id), avg(teff) from '{path}'")
    count, total, mean = found.fetchall()[0]
    assert (count, total) == (40, catalog.stars["kic_id"].sum())
    assert mean == pytest.approx(catalog.stars["teff"].mean())


def test_what_a_file_says_of_its_columns_comes_back(catalog, tmp_path):
    path = written(catalog, tmp_path / "stars.parquet")
    stars, metadata = read_table(path), read_metadata(path)
    again = columns_of(metadata, stars)
    ours = {column.name: column for column in catalog.columns}
    found = {column.name: column for column in again}
    assert {n: (c.unit, c.ucd, c.meaning) for n, c in ours.items()} == {
        n: (found[n].unit, found[n].ucd, found[n].meaning) for n in ours
    }
    # A second export from the file, which passes its metadata on, is as the first.
    second = export(
        stars,
        tmp_path / "again.fits",
        table="stars",
        provenance=metadata,
        columns=again,
    )
    first = written(catalog, tmp_path / "stars.fits")
    assert first.read_bytes() == second.read_bytes()
    for damaged in ("no json", "[1]", '[{"column": "ra"}]', "{}"):
        assert columns_of({"columns": damaged}, stars) == []
    assert columns_of({}, stars) == []


def test_a_table_of_a_run_can_be_described_when_it_is_written(catalog):
    metadata = described(catalog.stars, "stars", {"a": "b"}, catalog.columns)
    rows = {row["column"]: row for row in json.loads(metadata["columns"])}
    assert rows["kic_kpmag"]["unit"] == "mag"
    assert rows["teff_p_value"]["meaning"] == (
        schema.columns("stars")["teff_p_value"].meaning
    )
    empty = described(catalog.stars.head(0), "stars")
    assert empty["table::len::star_id"] == "1"


def test_the_same_catalog_gives_the_same_bytes(catalog, tmp_path):
    for name in ("stars.fits", "stars.vot", "stars.parquet", "stars.csv"):
        first = written(catalog, tmp_path / name).read_bytes()
        assert written(catalog, tmp_path / name).read_bytes() == first
    rows = (tmp_path / "stars-columns.csv").read_text().splitlines()
    assert 'kic_kpmag,mag,,"Kpmag, as kic has it"' in rows
