"""Strictness that only tests ask for: no silent promotion, no silent broadcasting."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real spectra and tables; tests that need it skip without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STEADYSTAR_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real data: set STEADYSTAR_DATA to their folder")
    return folder
