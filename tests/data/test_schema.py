import astropy.units as u
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.data.status import SENTENCES, Status, explain

COLUMNS = [(t, c) for t, cs in schema.TABLES.items() for c in cs]


@pytest.mark.parametrize(
    ("table", "column"), COLUMNS, ids=lambda x: getattr(x, "name", x)
)
def test_every_column_has_a_meaning_and_a_unit_that_astropy_reads(table, column):
    assert column.meaning
    assert column.ucd
    u.Unit(column.unit)
    assert table in schema.TABLES


def test_a_name_means_one_thing():
    seen = {}
    for table, column in COLUMNS:
        other = seen.setdefault(column.name, column)
        assert (other.dtype, other.unit) == (column.dtype, column.unit), (
            f"{column.name} of {table} differs from the column of that name elsewhere"
        )


def test_conform_adds_what_is_missing_and_keeps_what_is_more():
    table = schema.conform(pl.DataFrame({"star_id": ["a"], "mine": [1]}), "visits")
    assert list(table.columns) == [*schema.columns("visits"), "mine"]
    assert table["ra"].is_nan().all()
    assert table["field"].is_null().all()


def test_conform_keeps_the_dtype_of_group_columns():
    frame = pl.DataFrame({"fiber": ["A1"]})
    assert schema.conform(frame, "visits", keep_dtype=("fiber",))["fiber"][0] == "A1"
    with pytest.raises(ValueError, match="values of the wrong kind"):
        schema.conform(frame, "visits")


def test_every_status_has_its_sentence():
    assert set(SENTENCES) == set(Status) - {Status.GOOD}
    assert all(s.endswith(".") for s in SENTENCES.values())
    assert explain(int(Status.NO_DATA | Status.LOW_SNR)) == [
        SENTENCES[Status.NO_DATA],
        SENTENCES[Status.LOW_SNR],
    ]
    assert explain(0) == []
