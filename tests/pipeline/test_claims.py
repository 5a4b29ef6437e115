"""Nothing that a command did not write is written over."""

import json

import pytest

from steadystar.pipeline.claims import claim_directory
from steadystar.survey.catalogs import CatalogError

NAMES = {"variables.parquet", "summary.json"}


def claim(directory, table, command="variables"):
    claim_directory(directory, command, ("variables", "orbits"), table, NAMES)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "velocities.csv"
    path.write_text("star_id,rv\n")
    return path


def test_a_new_directory_and_one_of_the_same_commands_are_free(tmp_path, table):
    out = tmp_path / "out"
    claim(out, table)
    (out / "report").mkdir(parents=True)
    (out / "report" / "files.json").write_text("[]")
    (out / "summary.json").write_text(json.dumps({"command": "orbits"}))
    claim(out, table)


@pytest.mark.parametrize("text", ["{}", "no json", '{"command": "run"}', "[1]"])
def test_the_results_of_another_command_are_not_replaced(tmp_path, table, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(CatalogError, match=r"another command.*-o"):
        claim(tmp_path, table)


def test_a_report_of_somebody_else_is_not_removed(tmp_path, table):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(CatalogError, match="report is none"):
        claim(tmp_path, table)


def test_the_table_that_is_read_is_not_written_over(tmp_path):
    table = tmp_path / "variables.parquet"
    table.write_text("velocities")
    with pytest.raises(CatalogError, match="table to be read"):
        claim(tmp_path, table)


def test_a_file_and_a_folder_in_the_way_are_named(tmp_path, table):
    with pytest.raises(CatalogError, match="is a file"):
        claim(table, table)
    (tmp_path / "variables.parquet").mkdir()
    with pytest.raises(CatalogError, match=r"variables.parquet is a folder"):
        claim(tmp_path, table)
