"""Errors that are a user's to repair: each message says what, why and what to do."""

__all__ = ["MISTAKES", "explain"]

from pathlib import Path

from steadystar.calibrate.options import CalibrationError
from steadystar.data.tables import TableError
from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.faults import explain_os_error, machine_error, out_of_memory
from steadystar.pipeline.inputs import InputError
from steadystar.pipeline.lock import AlreadyRunning, LostDirectory
from steadystar.pipeline.results import NoResults
from steadystar.survey.observation import UnreadableFile
from steadystar.survey.surveys import CatalogError

MISTAKES = (
    AlreadyRunning,
    CalibrationError,
    CatalogError,
    ConfigurationError,
    InputError,
    LostDirectory,
    NoResults,
    TableError,
    UnreadableFile,
)


def explain(error: BaseException, directory: Path | None = None) -> str | None:
    """Return one sentence for what a user can repair; None for faults of the program.

    ``directory``: where the results go.
    """
    fault = machine_error(error)
    if fault is not None:
        return explain_os_error(fault, directory)
    if isinstance(error, MISTAKES):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return explain_os_error(error, directory)
    if out_of_memory(error):
        return (
            "The machine is out of memory. Use fewer --workers, or a larger machine; for a "
            "GPU a smaller device_batch in the section run of the configuration. Then run "
            "the same command again: it goes on where it stopped."
        )
    return None
