"""What is around each command: its mistakes in sentences, its configuration."""

__all__ = ["compiled_programs", "in_sentences", "read_configuration"]

import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import steadystar.pipeline.config


def read_configuration(path: Path | None) -> "steadystar.pipeline.config.Configuration":
    """Return the options of a file; of no file, the defaults."""
    from steadystar.pipeline.config import Configuration

    return Configuration() if path is None else Configuration.load(path)


@contextmanager
def compiled_programs() -> Iterator[None]:
    """Keep compiled programs for the next time, and let each compute with one thread.

    It comes before NumPy is loaded, which reads then how many threads it has.
    """
    from steadystar.pipeline.compiled import keep_programs, leave_programs
    from steadystar.pipeline.workers import use_one_thread

    use_one_thread()
    keep_programs()
    try:
        yield
    finally:
        leave_programs()


@contextmanager
def in_sentences(log: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong into one sentence and an exit status."""
    from steadystar.pipeline.stopping import stoppable

    try:
        with stoppable():
            yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt as error:
        why = str(error) or "Interrupted"
        typer.echo(f"{why}. Run the same command again to go on.", err=True)
        raise typer.Exit(getattr(error, "status", 130)) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and log is None:
            raise  # who reads, as `head` does, has read enough: typer ends in silence
        sentence, status = _sentence(error, log)
        typer.echo(f"steadystar: {sentence}", err=True)
        raise typer.Exit(status) from None


def _sentence(error: Exception, log: Path | None) -> tuple[str, int]:
    from steadystar.pipeline.mistakes import explain

    said = explain(error, log.parent if log else None)
    if said is not None:
        return said, 2
    details = "".join(traceback.format_exception(error))
    if log is None or not log.exists():
        with tempfile.NamedTemporaryFile(
            "w", prefix="steadystar-error-", suffix=".log", delete=False
        ) as file:
            log = Path(file.name)
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(details)
    return (
        f"An unexpected error: {type(error).__name__}. This is a fault of the program, "
        f"not of yours; {log} has the details."
    ), 1
