"""The commands of tables of velocities: calibrate, forecast, standards."""

__all__ = ["commands"]

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from steadystar.cli.frame import in_sentences, read_configuration
from steadystar.cli.options import (
    By,
    Columns,
    ColumnsWithUnits,
    Config,
    Output,
    Quiet,
    Survey,
    Table,
    example,
)

commands = typer.Typer()


class Method(StrEnum):
    """Methods of solving zero points."""

    joint = "joint"
    xiong = "xiong"
    common_constant = "common-constant"
    linear = "linear"


@commands.command(
    epilog=example(
        "steadystar calibrate allVisit.fits --survey apogee -o out/ --by telescope,fiber",
        "steadystar calibrate my.csv -o out/ --by night --columns star_id=ID,rv=V\\[m/s]",
    )
)
def calibrate(
    table: Table,
    output: Output,
    by: By = None,
    survey: Survey = None,
    columns: ColumnsWithUnits = None,
    method: Annotated[Method, typer.Option(help="How to solve.")] = Method.joint,
    compare: Annotated[
        list[Method] | None,
        typer.Option(help="Another method to compare with; may be repeated."),
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Solve the zero points of a table of velocities that somebody else measured."""
    with in_sentences(output / "run.log"):
        configuration = read_configuration(config)
        from steadystar.pipeline.tables import calibrate_table, with_families

        calibrate_table(
            table,
            output,
            with_families(configuration, by or (), method.value),
            survey=survey,
            columns=columns,
            compare=[other.value for other in compare or []],
            quiet=quiet,
        )


@commands.command(
    epilog=example(
        "steadystar forecast plan.parquet -o out/ --by telescope,fiber",
        "steadystar forecast plan.csv -o out/ --by fiber --error-law 6,-1,0.04",
    )
)
def forecast(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Planned visits, with the expected error of each (rv_err, km/s): "
            "Parquet, FITS, VOTable, ECSV or CSV.",
        ),
    ],
    output: Output,
    by: By = None,
    survey: Survey = None,
    columns: Columns = None,
    error_law: Annotated[
        str | None,
        typer.Option(metavar="a,b,c", help="Errors are a S/N^b + c, km/s, instead."),
    ] = None,
    floor: Annotated[
        float, typer.Option(min=0, metavar="KMS", help="Floor of the errors, km/s.")
    ] = 0.0,
    variable_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of stars that will not help.")
    ] = 0.0,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Say how well planned visits would calibrate a survey, before it is observed."""
    with in_sentences(output / "run.log"):
        configuration = read_configuration(config)
        from steadystar.calibrate.forecast import ForecastOptions
        from steadystar.pipeline.forecast import forecast_table

        forecast_table(
            table,
            output,
            by or (),
            ForecastOptions(variable_share=variable_share, floor=floor),
            configuration,
            law=error_law,
            survey=survey,
            columns=columns,
            quiet=quiet,
        )


@commands.command(
    epilog=example(
        "steadystar standards allVisit.fits --against standards.fits -o out/",
        "steadystar standards my.csv --against list.csv -o out/ --by telescope "
        "--against-columns star_id=NAME,rv=V",
    )
)
def standards(
    table: Table,
    against: Annotated[
        Path,
        typer.Option(
            metavar="TABLE", help="Stars of known velocity, or another catalog."
        ),
    ],
    output: Output,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLS",
            help="Columns whose groups have offsets of their own, separated by commas; "
            "telescope and arm if not given; '' for one offset of all.",
        ),
    ] = None,
    survey: Survey = None,
    columns: Columns = None,
    against_columns: Annotated[
        str | None,
        typer.Option(metavar="a=B,...", help="Our names of the standards' columns."),
    ] = None,
    radius: Annotated[
        float,
        typer.Option(
            metavar="ARCSEC", help="How far apart a star and a standard may be."
        ),
    ] = 3.0,
    quiet: Quiet = False,
) -> None:
    """Tie a table of velocities to stars whose velocities are known."""
    with in_sentences(output / "run.log"):
        from steadystar.pipeline.standards import tie_to_standards

        names = None
        if by is not None:
            names = [name.strip() for name in by.split(",")] if by.strip() else []
        tie_to_standards(
            table,
            against,
            output,
            by=names,
            survey=survey,
            columns=columns,
            against_columns=against_columns,
            radius_arcsec=radius,
            quiet=quiet,
        )
