"""What several commands take, each option with its help."""

__all__ = [
    "By",
    "Columns",
    "ColumnsWithUnits",
    "Config",
    "DemoWorkers",
    "Directory",
    "Output",
    "Quiet",
    "Seed",
    "Survey",
    "Table",
    "Workers",
    "example",
]

from pathlib import Path
from typing import Annotated

import typer

Table = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE", help="Velocities: Parquet, FITS, VOTable, ECSV or CSV."
    ),
]
Survey = Annotated[
    str | None, typer.Option(metavar="NAME", help="Whose columns the table has.")
]
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLS",
        help="A family of offsets: columns separated by commas; may be repeated. If "
        "there is none: those usual for the survey.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(metavar="a=B,...", help="Our names of the table's columns."),
]
ColumnsWithUnits = Annotated[
    str | None,
    typer.Option(
        metavar="a=B,...",
        help="Our names of the table's columns; a unit may follow, as in rv=V\\[m/s].",
    ),
]
Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Where the results go.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Options, in TOML; `steadystar run --write-config FILE` writes them all.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same survey.")]
Workers = Annotated[
    int, typer.Option(min=1, metavar="N", help="Processes on this machine.")
]
DemoWorkers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes on this machine; if not given, one a processor, at most 4.",
    ),
]
Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="What -o was, of run or calibrate.")
]


def example(*lines: str) -> str:
    """Return the last lines of a command's help."""
    return "Example:\n\n" + "\n\n".join(f"  [bold]{line}[/bold]" for line in lines)
