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


@pytest.mark.parametrize("statement", ["import steadystar", "import steadystar.cli"])
def test_importing_loads_nothing_heavy(statement):
    heavy = "{'jax', 'numpy', 'polars', 'astropy', 'dask', 'scipy', 'pydantic'}"
    code = f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
