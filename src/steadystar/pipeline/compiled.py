"""Compiled programs are kept for the next process, in the user's cache folder.

Compiling the measuring takes about a minute, much longer than measuring a small survey,
and gives the same program each time. JAX can keep programs on disk, but writes them in
place: a process that is killed leaves half a program for ever. So each process gets a
folder of its own, filled with links to the programs that are known, and new programs
are linked back when they are complete. A folder serves one kind of processor and one
version of JAX.
"""

__all__ = ["keep_programs", "leave_programs", "publish_programs"]

import hashlib
import os
import platform
import shutil
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

_LARGEST = 500_000_000
_ABANDONED = 86_400.0
_own: list[tuple[Path, Path]] = []


def keep_programs() -> None:
    """Let this process use and keep compiled programs; call it before JAX compiles.

    It does nothing if the user has chosen a cache (``JAX_COMPILATION_CACHE_DIR``) or
    if the cache folder cannot be written.
    """
    if _own or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        shared = _cache_folder()
        shared.mkdir(parents=True, exist_ok=True)
        _drop_abandoned(shared)
        own = Path(tempfile.mkdtemp(prefix="process-", dir=shared))
        for program in shared.glob("*-cache"):
            _link(program, own / program.name)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(own))
    # What XLA keeps by itself (for GPUs) would make the folder part of a program's name.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    _own.append((own, shared))


def publish_programs() -> None:
    """Offer what this process has compiled to the next; nothing if it keeps none."""
    for own, shared in _own:
        with suppress(OSError):
            for program in own.glob("*-cache"):
                if not (shared / program.name).exists():
                    _link(program, shared / program.name)
            _drop_oldest(shared)


def leave_programs() -> None:
    """Publish, and remove the folder of this process, which is about to end."""
    publish_programs()
    for own, _ in _own:
        shutil.rmtree(own, ignore_errors=True)
    _own.clear()


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given else Path.home() / ".cache"
    return base / "steadystar" / f"programs-{_machine()}"


def _machine() -> str:
    """Name what a compiled program depends on: the processor's abilities, and JAX."""
    abilities = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        abilities = next(
            (line for line in lines if line.startswith(("flags", "Features"))),
            abilities,
        )
    facts = [platform.machine(), abilities, version("jax"), version("jaxlib")]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the same file, or a copy where there are no links; all or nothing."""
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            part = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copyfile(source, part)
            part.replace(target)


def _drop_abandoned(shared: Path) -> None:
    """Remove folders of processes that were killed."""
    for folder in shared.glob("process-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)


def _drop_oldest(shared: Path) -> None:
    programs = sorted(shared.glob("*-cache"), key=lambda p: p.stat().st_mtime)
    total = sum(program.stat().st_size for program in programs)
    for program in programs:
        if total <= _LARGEST:
            break
        total -= program.stat().st_size
        program.unlink(missing_ok=True)
