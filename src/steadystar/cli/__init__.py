"""The command line: a skin over the library, one short function a command.

Nothing heavy is imported before a command needs it. What a user got wrong ends in one
sentence and exit status 2; what we got wrong, in one sentence that names the file with
the details, and status 1.

    surveys        run, demo, simulate: files of spectra
    velocities     calibrate, forecast, standards: tables of velocities
    stars          compare, variables, orbits, distances, hot: what is known of stars
    results        status, report, export, formats: what a run has left
    options        what several commands take
    frame          what is around each of them: sentences, configuration, programs
"""

__all__ = ["app", "main"]

from typing import Annotated

import typer

from steadystar.cli import results, stars, surveys, velocities

app = typer.Typer(
    name="steadystar",
    help="Velocities that can be trusted, from multi-epoch multi-fiber surveys.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

for _group in (surveys, velocities, stars, results):
    app.registered_commands += _group.commands.registered_commands


def main() -> None:
    """Run the command line; the entry point ``steadystar``."""
    app()


def _version(wanted: bool | None) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"steadystar {version('steadystar')}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool | None,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Say it and stop."
        ),
    ] = None,
) -> None:
    """Velocities that can be trusted, from multi-epoch multi-fiber surveys."""
