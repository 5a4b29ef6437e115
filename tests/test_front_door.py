import subprocess
import sys

import pytest

import steadystar


@pytest.mark.parametrize("name", steadystar.__all__)
def test_every_name_opens_and_is_in_the_table_of_contents(name):
    assert getattr(steadystar, name).__doc__
    contents = [
        line.split()[0]
        for line in steadystar.__doc__.splitlines()
        if line[:4] == "    "
    ]
    assert name in contents


def test_the_door_lists_what_it_opens():
    assert set(steadystar._ROOMS) == set(steadystar.__all__)
    assert set(steadystar.__all__) <= set(dir(steadystar))
    assert steadystar.__version__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'measure_relativ'"):
        _ = steadystar.measure_relativ


def loaded(statement, modules):
    """Those of the modules that a new interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys; print(sorted({modules!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


HEAVY = {"jax", "numpy", "polars", "astropy", "dask", "scipy", "matplotlib"}
HELP = """
from typer.testing import CliRunner
from steadystar.cli import app
for command in app.registered_commands:
    help = CliRunner().invoke(app, [command.callback.__name__, "--help"])
    assert help.exit_code == 0, help.output
"""


@pytest.mark.parametrize("statement", ["import steadystar", "import steadystar.cli"])
def test_importing_loads_nothing_heavy(statement):
    assert loaded(statement, HEAVY | {"pydantic"}) == "[]"


def test_helping_loads_nothing_heavy():
    assert loaded(HELP, HEAVY) == "[]"  # typer itself may load pydantic


def test_a_run_loads_what_draws_only_where_it_draws():
    assert loaded("import steadystar.pipeline.run", {"matplotlib", "plotly"}) == "[]"
