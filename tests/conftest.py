"""Strictness that only tests ask for: no silent promotion, no silent broadcasting.

Types of arguments and results are checked as well: with shapes by jaxtyping in the rooms
that state shapes (see ``pyproject.toml``), by beartype alone in all others, where jaxtyping
would look for shapes in every call.

Nearly half of the time of the tests goes into compiling. What one process has compiled is
kept in the cache of pytest, for the others of the same run and for the next one; ``pytest
--cache-clear`` forgets it. ``JAX_COMPILATION_CACHE_DIR`` names another folder.
"""

import importlib.util
import os
import pkgutil
import sys
from pathlib import Path

import jax
import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_packages

SHAPES = ("kernels", "measure")

found = importlib.util.find_spec("steadystar")
rooms = pkgutil.iter_modules(found.submodule_search_locations)
beartype_packages(
    tuple(f"steadystar.{room.name}" for room in rooms if room.name not in SHAPES),
    conf=BeartypeConf(claw_is_pep526=False),
)

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
    """Keep what is compiled where other processes of the tests find it."""
    if not hasattr(config, "cache"):
        return
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # Then the folders of the sources are not ours to write to, and each process would
        # compile them: six seconds.
        prefix = str(config.cache.mkdir("bytecode"))
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = prefix
        sys.dont_write_bytecode = False
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
