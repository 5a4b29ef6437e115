"""The commands of what is known of stars.

They are compare, variables, orbits, distances and hot.
"""

__all__ = ["commands"]

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from steadystar.cli import compare_options as compares
from steadystar.cli import variable_options as takes
from steadystar.cli.frame import compiled_programs, in_sentences, read_configuration
from steadystar.cli.options import (
    ColumnsWithUnits,
    Config,
    Output,
    Quiet,
    Survey,
    Workers,
    example,
)

commands = typer.Typer()


class Pairs(StrEnum):
    """What is done with stars that may be unresolved pairs."""

    mixture = "mixture"
    published = "published"
    ignore = "ignore"


class Prior(StrEnum):
    """What is as likely everywhere before anything is measured."""

    distance = "distance"
    volume = "volume"


@commands.command(
    epilog=example(
        "steadystar compare out/ gaia.fits -o against_gaia/ --color ag_gspphot",
        "steadystar compare a.csv b.fits -o ab/ --columns-b teff=T_EFF,rv=V\\[m/s]",
    )
)
def compare(
    a: compares.TableA,
    b: compares.TableB,
    output: Output,
    by: compares.By = "auto",
    radius: compares.Radius = 3.0,
    quantity: compares.Quantity = None,
    color: compares.Color = None,
    columns_a: compares.ColumnsA = None,
    columns_b: compares.ColumnsB = None,
    limits: compares.Ranges = None,
    against: compares.Against = "mean",
    correct: compares.Correct = None,
    min_visits: compares.MinVisits = 2,
    max_scatter: compares.MaxScatter = 0.5,
    outlier: compares.Outlier = 5.0,
    fast: compares.Fast = 300.0,
    quiet: Quiet = False,
) -> None:
    """Compare two catalogs: bias, scatter, slope, structure, outliers, fast stars."""
    with in_sentences(output / "run.log"):
        from steadystar.infer.comparison import CompareOptions
        from steadystar.pipeline.compare import compare_tables, parse_range

        options = CompareOptions(
            by=by,
            radius_arcsec=radius,
            quantities=tuple(quantity or ()),
            color=color,
            outlier=outlier,
            min_visits=min_visits,
            max_scatter=max_scatter,
            high_velocity=fast,
            against=against,
            ranges=dict(parse_range(words) for words in limits or ()),
            correct=tuple(correct or ()),
        )
        compare_tables(
            a,
            b,
            output,
            options,
            columns_a=columns_a,
            columns_b=columns_b,
            quiet=quiet,
        )


@commands.command(
    epilog=example(
        "steadystar variables out/velocities.parquet -o variables/",
        "steadystar variables my.csv -o variables/ --columns star_id=ID,rv=V\\[m/s]",
    )
)
def variables(
    table: takes.Velocities,
    output: Output,
    survey: Survey = None,
    columns: ColumnsWithUnits = None,
    rate: takes.Rate = None,
    periods: takes.Periods = True,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Say which stars vary, with which period, and what they are likely to be."""
    with in_sentences(output / "run.log"):
        configuration = read_configuration(config)
        from steadystar.pipeline.variables import find_table_variables

        find_table_variables(
            table,
            output,
            configuration,
            survey=survey,
            columns=columns,
            periods=periods,
            rate=rate,
            quiet=quiet,
        )


@commands.command(
    epilog=example(
        "steadystar orbits out/velocities.parquet -o orbits/ --mass 1.0",
        "steadystar orbits my.csv -o orbits/ --star 'HD 1' --star 'HD 2' --mass MASS",
    )
)
def orbits(
    table: takes.Velocities,
    output: Output,
    star: takes.Stars = None,
    mass: takes.Mass = None,
    prior_samples: takes.PriorSamples = None,
    seed: takes.OrbitSeed = None,
    survey: Survey = None,
    columns: ColumnsWithUnits = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Sample the orbits that a star's velocities allow, with all their periods."""
    with in_sentences(output / "run.log"), compiled_programs():
        configuration = read_configuration(config)
        from steadystar.pipeline.orbits import fit_table_orbits

        fit_table_orbits(
            table,
            output,
            configuration,
            stars=star or (),
            mass=mass,
            prior_samples=prior_samples,
            seed=seed,
            survey=survey,
            columns=columns,
            quiet=quiet,
        )


@commands.command(
    epilog=example(
        "steadystar distances hot_stars.fits -o out/",
        "steadystar distances my.csv -o out/ --columns m_ks=MK,parallax=PLX\\[arcsec]",
    )
)
def distances(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Stars: star_id, m_ks, m_ks_err, ks, ks_err, ebv, ebv_err (mag), "
            "parallax, parallax_error (mas); perhaps parallax_offset, ra, dec. Parquet, "
            "FITS, VOTable, ECSV or CSV.",
        ),
    ],
    output: Output,
    columns: ColumnsWithUnits = None,
    pairs: Annotated[
        Pairs,
        typer.Option(
            help="Unresolved pairs: each star is one with some probability, or flagged "
            "ones go by their parallax alone, or none is."
        ),
    ] = Pairs.mixture,
    prior: Annotated[
        Prior,
        typer.Option(help="As likely everywhere: every distance or every volume."),
    ] = Prior.distance,
    max_distance: Annotated[
        float,
        typer.Option(metavar="PC", help="Largest distance where only a parallax is."),
    ] = 30_000.0,
    a_ks: Annotated[
        float, typer.Option(metavar="RATIO", help="A_Ks over E(B-V).")
    ] = 0.30,
    quiet: Quiet = False,
) -> None:
    """Estimate distances from parallaxes and magnitudes, and find over-luminous pairs."""
    with in_sentences(output / "run.log"):
        from steadystar.infer.distance_options import DistanceOptions
        from steadystar.pipeline.distances import measure_distances

        options = DistanceOptions(
            pairs=pairs.value,
            prior=prior.value,
            max_distance=max_distance,
            a_ks_per_ebv=a_ks,
        )
        measure_distances(table, output, options, columns=columns, quiet=quiet)


@commands.command(
    epilog=example(
        "steadystar hot lrs/ --photometry gaia_2mass.fits -o out/",
        "steadystar hot lrs/ --photometry my.csv --columns ks=KMAG,ks_err=EK -o out/",
    )
)
def hot(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Files and folders of low-resolution spectra."
        ),
    ],
    photometry: Annotated[
        Path,
        typer.Option(
            metavar="TABLE",
            help="Magnitudes and parallaxes (Gaia, 2MASS, optical) with positions: "
            "Parquet, FITS, VOTable, ECSV or CSV.",
        ),
    ],
    output: Output,
    columns: Annotated[
        str | None,
        typer.Option(metavar="a=B,...", help="Our names of the photometry's columns."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A run whose models are used, not learned anew."
        ),
    ] = None,
    config: Config = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Find emission lines, extinction, absolute magnitudes and distances of hot stars.

    Run again to go on after an interruption, or after files were added.
    """
    with in_sentences(output / "run.log"), compiled_programs():
        configuration = read_configuration(config)
        from steadystar.pipeline.hot import run_hot

        outcome = run_hot(
            inputs,
            photometry,
            output,
            configuration,
            columns=columns,
            model=model,
            workers=workers,
            quiet=quiet,
        )
        outcome.require_spectra()
