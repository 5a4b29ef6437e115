"""Errors that are a user's to repair: each message says what, why and what to do."""

__all__ = ["MISTAKES", "explain_os_error"]

from pathlib import Path

from steadystar.calibrate.options import CalibrationError
from steadystar.data.tables import TableError
from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.inputs import InputError, printable
from steadystar.pipeline.lock import AlreadyRunning
from steadystar.pipeline.results import NoResults
from steadystar.survey.observation import UnreadableFile
from steadystar.survey.surveys import CatalogError

MISTAKES = (
    AlreadyRunning,
    CalibrationError,
    CatalogError,
    ConfigurationError,
    InputError,
    NoResults,
    TableError,
    UnreadableFile,
)


def explain_os_error(error: OSError) -> str:
    """Return one sentence for what the operating system refuses."""
    name = printable(str(error.filename))
    if isinstance(error, NotADirectoryError | FileExistsError):
        path = Path(str(error.filename))
        files = [part for part in (path, *path.parents) if part.is_file()]
        if files:
            return (
                f"{printable(str(files[0]))} is a file, so nothing can be written into "
                "it. Name a folder, or move the file out of the way."
            )
    reason = error.strerror or type(error).__name__
    return f"{name}: {reason}. Check the name, your rights, and the space on the disk."
