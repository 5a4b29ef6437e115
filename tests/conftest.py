"""Strictness that only tests ask for: no silent promotion, no silent broadcasting.

Nearly half of the time of the tests goes into compiling. What one process has compiled is
kept in the cache of pytest, for the others of the same run and for the next one; ``pytest
--cache-clear`` forgets it. ``JAX_COMPILATION_CACHE_DIR`` names another folder.
"""

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


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs where other processes of the tests find them."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        if not hasattr(config, "cache"):
            return
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
