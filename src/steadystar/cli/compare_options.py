"""What the command ``compare`` takes, each option with its help."""

__all__ = [
    "Against",
    "By",
    "Color",
    "ColumnsA",
    "ColumnsB",
    "Correct",
    "Fast",
    "MaxScatter",
    "MinVisits",
    "Outlier",
    "Quantity",
    "Radius",
    "Ranges",
    "TableA",
    "TableB",
]

from pathlib import Path
from typing import Annotated

import typer

TableA = Annotated[
    Path,
    typer.Argument(
        metavar="A",
        help="A catalog of stars: Parquet, FITS, VOTable, ECSV or CSV; or what -o was "
        "of run or calibrate.",
    ),
]
TableB = Annotated[Path, typer.Argument(metavar="B", help="Another of the same stars.")]
By = Annotated[
    str,
    typer.Option(
        metavar="COL",
        help="How stars are matched: auto (identifiers, then positions), position, or "
        "a column of identifiers.",
    ),
]
Radius = Annotated[
    float, typer.Option(metavar="ARCSEC", help="How far apart positions may be.")
]
Quantity = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL",
        help="A column to compare besides the usual; may be repeated.",
    ),
]
Color = Annotated[
    str | None, typer.Option(metavar="COL", help="A third quantity, as color.")
]
ColumnsA = Annotated[
    str | None,
    typer.Option(metavar="a=B,...", help="Our names of the columns of A."),
]
ColumnsB = Annotated[
    str | None,
    typer.Option(metavar="a=B,...", help="Our names of the columns of B."),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="COL=LOW:HIGH",
        help="Stars within shape line and polynomial: teff=:7000; may be repeated.",
    ),
]
Against = Annotated[
    str,
    typer.Option(help="Differences are looked at against a, b or their mean."),
]
Correct = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL", help="Take the fourth-order fit off A; may be repeated."
    ),
]
MinVisits = Annotated[
    int, typer.Option(min=1, help="For velocities: stars with fewer are set aside.")
]
MaxScatter = Annotated[
    float,
    typer.Option(
        metavar="KMS", help="For velocities: stars that scatter more are set aside."
    ),
]
Outlier = Annotated[
    float, typer.Option(metavar="N", help="Outliers: beyond N robust widths.")
]
Fast = Annotated[
    float, typer.Option(metavar="KMS", help="Candidates for high velocity: faster.")
]
