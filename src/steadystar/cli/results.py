"""The commands of what a run has left: status, report, export, formats."""

__all__ = ["commands"]

from enum import StrEnum
from typing import Annotated

import typer

from steadystar.cli.frame import in_sentences, read_configuration
from steadystar.cli.options import Config, Directory, Quiet, example

commands = typer.Typer()


class Format(StrEnum):
    """Formats of catalogs."""

    fits = "fits"
    votable = "votable"
    csv = "csv"
    parquet = "parquet"


@commands.command(
    epilog=example("steadystar status out/", "steadystar status out/ --watch")
)
def status(
    directory: Directory,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it until the run ends, or Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say it as JSON, for programs.")
    ] = False,
) -> None:
    """Say how far a run is, whether it is at work, and what it found."""
    with in_sentences():
        from rich.console import Console

        from steadystar.pipeline import state_words as words

        console = Console()
        if as_json:
            typer.echo(words.state_as_json(directory))
        elif watch and console.is_terminal:
            words.watch(directory, console)
        else:
            for line in words.describe_state(directory):
                typer.echo(line)


@commands.command(epilog=example("steadystar report out/"))
def report(directory: Directory, config: Config = None, quiet: Quiet = False) -> None:
    """Write the report of a run anew, for example with other options."""
    with in_sentences():
        configuration = read_configuration(config)
        from steadystar.pipeline.results import rewrite_report

        page = rewrite_report(directory, configuration)
        if not quiet:
            typer.echo(page)


@commands.command(epilog=example("steadystar export out/ --format fits"))
def export(
    directory: Directory,
    format: Annotated[Format, typer.Option(help="Format of the files.")],
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="One table; all if not given.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the tables of a run in another format, into DIR/export."""
    with in_sentences():
        from steadystar.pipeline.results import export_tables

        for path in export_tables(directory, format.value, table):
            if not quiet:
                typer.echo(path)


@commands.command(epilog=example("steadystar formats"))
def formats() -> None:
    """List the formats of spectra that can be read, and of catalogs."""
    with in_sentences():
        from steadystar.pipeline.results import describe_formats

        for line in describe_formats():
            typer.echo(line)
