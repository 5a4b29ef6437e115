import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mocks():
    """The module of invented tables beside this file."""
    path = Path(__file__).with_name("mocks.py")
    spec = importlib.util.spec_from_file_location("calibration_mocks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
