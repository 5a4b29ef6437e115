"""The reference of columns is what the schema says, of every column of every table."""

import importlib.util
import re
from pathlib import Path

import pytest

from steadystar.data import schema

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("mc", DOCS / "make_columns.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(maker):
    said = "run `python docs/make_columns.py`"
    assert (DOCS / "columns.md").read_text("utf-8") == maker.page(), said


def test_every_column_has_an_anchor_that_links_reach(maker):
    text = maker.page()
    anchors = re.findall(r'<a id="([^"]+)"></a>', text)
    assert sorted(anchors) == sorted(
        f"{table}-{column.name}" for table, cs in schema.TABLES.items() for column in cs
    )
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert links <= set(anchors)
    assert set(maker.TABLES) == set(schema.TABLES)


def test_each_row_has_five_cells(maker):
    rows = [line for line in maker.page().splitlines() if line.startswith("| <a id")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in rows} == {7}
    assert sum("*optional*" in line for line in rows) == sum(
        column.optional for cs in schema.TABLES.values() for column in cs
    )
