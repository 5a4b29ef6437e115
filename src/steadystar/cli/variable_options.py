"""The options of ``steadystar variables`` and ``steadystar orbits``."""

__all__ = [
    "Mass",
    "OrbitSeed",
    "Periods",
    "PriorSamples",
    "Rate",
    "Stars",
    "Velocities",
]

from pathlib import Path
from typing import Annotated

import typer

Velocities = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE",
        help="Calibrated velocities of any survey, also velocities.parquet of a run: "
        "Parquet, FITS, VOTable, ECSV or CSV.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="False-discovery rate: expected share of constant stars among those called "
        "variable.",
        show_default="0.01",
    ),
]
Periods = Annotated[
    bool,
    typer.Option(
        "--periods/--no-periods",
        help="Look for periods of the stars that vary, or not.",
    ),
]
Stars = Annotated[
    list[str] | None,
    typer.Option(
        "--star",
        metavar="ID",
        help="A star by its star_id; may be repeated. If none is given, all that vary.",
    ),
]
Mass = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN|NUMBER",
        help="Mass of the stars, solar masses, for the least mass of their companions.",
    ),
]
PriorSamples = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Samples of the prior that are tried, at most; in multiples of 4096.",
    ),
]
OrbitSeed = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="The same seed draws the same samples."),
]
