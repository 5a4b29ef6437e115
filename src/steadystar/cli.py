"""The command line: a skin over the library, one short function a command.

Nothing heavy is imported before a command needs it. What a user got wrong ends in one
sentence and exit status 2; what we got wrong, in one sentence that names the file with
the details, and status 1.
"""

__all__ = ["app", "main"]

import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steadystar import compare_arguments as compares
from steadystar import variable_arguments as takes

if TYPE_CHECKING:
    from steadystar.pipeline.config import Configuration

app = typer.Typer(
    name="steadystar",
    help="Velocities that can be trusted, from multi-epoch multi-fiber surveys.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class Method(StrEnum):
    """Methods of solving zero points."""

    joint = "joint"
    xiong = "xiong"
    common_constant = "common-constant"
    linear = "linear"


class Pairs(StrEnum):
    """What is done with stars that may be unresolved pairs."""

    mixture = "mixture"
    published = "published"
    ignore = "ignore"


class Prior(StrEnum):
    """What is as likely everywhere before anything is measured."""

    distance = "distance"
    volume = "volume"


class Format(StrEnum):
    """Formats of catalogs."""

    fits = "fits"
    votable = "votable"
    csv = "csv"
    parquet = "parquet"


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
Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="What -o was, of run or calibrate.")
]


def main() -> None:
    """Run the command line; the entry point ``steadystar``."""
    app()


def _example(*lines: str) -> str:
    return "Example:\n\n" + "\n\n".join(f"  [bold]{line}[/bold]" for line in lines)


def _write_config(path: Path | None) -> None:
    if path is None:
        return
    with _in_sentences():
        from steadystar.pipeline.config import Configuration, ConfigurationError

        if path.exists():
            raise ConfigurationError(
                f"{path} exists already. Name another file, or remove that one first."
            )
        path.write_text(Configuration().to_toml(), encoding="utf-8")
        typer.echo(f"Wrote {path}: all options with their defaults.", err=True)
    raise typer.Exit


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


@app.command(
    epilog=_example(
        "steadystar run my_fits/ -o out/",
        "steadystar run night1/ night2/ -o out/ --workers 8",
    )
)
def run(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Files and folders: together, the whole survey."
        ),
    ],
    output: Output,
    config: Config = None,
    workers: Workers = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="A Dask scheduler to use instead: tcp://HOST:PORT."
        ),
    ] = None,
    quiet: Quiet = False,
    write_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            is_eager=True,
            callback=_write_config,
            help="Write a documented configuration file with all defaults, and stop.",
        ),
    ] = None,
) -> None:
    """Read spectra, measure and calibrate velocities, write catalogs and a report.

    Run again to go on after an interruption, or after files were added: only what is
    new is read and measured.
    """
    with _in_sentences(output / "run.log"), _programs():
        configuration = _configuration(config)
        from steadystar.pipeline.run import run_pipeline

        outcome = run_pipeline(
            inputs,
            output,
            configuration,
            workers=workers,
            scheduler=scheduler,
            quiet=quiet,
        )
        outcome.require_spectra()


@app.command(
    epilog=_example(
        "steadystar demo -o demo/", "steadystar demo --hot-stars -o hot-demo/"
    )
)
def demo(
    output: Output = Path("demo"),
    hot_stars: Annotated[
        bool,
        typer.Option(
            "--hot-stars", help="A survey of hot stars: magnitudes, distances, pairs."
        ),
    ] = False,
    seed: Seed = 1,
    config: Config = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Simulate a small survey, run everything on its files, compare with the truth."""
    with _in_sentences(output / "run" / "run.log"), _programs():
        from steadystar.pipeline.demo import shown_only

        configuration = _configuration(config)
        if config is None:
            configuration = shown_only(configuration)
        if hot_stars:
            from steadystar.pipeline.hot import run_hot_demo as run
        else:
            from steadystar.pipeline.demo import run_demo as run

        if not quiet:
            typer.echo(f"Simulating a survey in {output}.", err=True)
        run(output, configuration, seed, workers=workers, quiet=quiet)
        typer.echo(output / "run" / "report" / "index.html")


@app.command(
    epilog=_example(
        "steadystar simulate survey/ --seed 7",
        "steadystar simulate hot-survey/ --hot-stars",
    )
)
def simulate(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where spectra/ and truth/ go.")
    ],
    hot_stars: Annotated[
        bool,
        typer.Option(
            "--hot-stars",
            help="Low-resolution spectra of O, B and A stars, with photometry.parquet: "
            "magnitudes and parallaxes.",
        ),
    ] = False,
    config: Config = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Write a survey that never was: files as LAMOST writes them, and the truth."""
    with _in_sentences():
        configuration = _configuration(config)
        from steadystar.pipeline.demo import simulate as simulate_into
        from steadystar.pipeline.demo import simulate_hot

        write = simulate_hot if hot_stars else simulate_into
        written = write(directory, configuration, seed)
        if not quiet:
            state = "Wrote" if written else "Was there already:"
            typer.echo(f"{state} {directory / 'spectra'} and {directory / 'truth'}")


@app.command(
    epilog=_example(
        "steadystar calibrate allVisit.fits --survey apogee -o out/ --by telescope,fiber",
        "steadystar calibrate my.csv -o out/ --by night --columns star_id=ID,rv=V\\[m/s]",
    )
)
def calibrate(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="Velocities: Parquet, FITS, VOTable, ECSV or CSV."
        ),
    ],
    output: Output,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLS",
            help="A family of offsets: columns separated by commas; may be repeated. If "
            "there is none: those usual for the survey.",
        ),
    ] = None,
    survey: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose columns the table has.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="a=B,...",
            help="Our names of the table's columns; a unit may follow: rv=V\\[m/s].",
        ),
    ] = None,
    method: Annotated[Method, typer.Option(help="How to solve.")] = Method.joint,
    compare: Annotated[
        list[Method] | None,
        typer.Option(help="Another method to compare with; may be repeated."),
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Solve the zero points of a table of velocities that somebody else measured."""
    with _in_sentences(output / "run.log"):
        configuration = _configuration(config)
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


@app.command(
    epilog=_example(
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
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLS",
            help="A family of offsets: columns separated by commas; may be repeated. If "
            "not given, those usual for the survey.",
        ),
    ] = None,
    survey: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose columns the table has.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="a=B,...", help="Our names of the table's columns."),
    ] = None,
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
    with _in_sentences(output / "run.log"):
        configuration = _configuration(config)
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


@app.command(
    epilog=_example(
        "steadystar standards allVisit.fits --against standards.fits -o out/",
        "steadystar standards my.csv --against list.csv -o out/ --by telescope "
        "--against-columns star_id=NAME,rv=V",
    )
)
def standards(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="Velocities: Parquet, FITS, VOTable, ECSV or CSV."
        ),
    ],
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
    survey: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose columns the table has.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="a=B,...", help="Our names of the table's columns."),
    ] = None,
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
    with _in_sentences(output / "run.log"):
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


@app.command(
    epilog=_example(
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
    with _in_sentences(output / "run.log"):
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


@app.command(
    epilog=_example(
        "steadystar variables out/velocities.parquet -o variables/",
        "steadystar variables my.csv -o variables/ --columns star_id=ID,rv=V\\[m/s]",
    )
)
def variables(
    table: takes.Velocities,
    output: Output,
    survey: takes.Survey = None,
    columns: takes.Columns = None,
    rate: takes.Rate = None,
    periods: takes.Periods = True,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Say which stars vary, with which period, and what they are likely to be."""
    with _in_sentences(output / "run.log"):
        configuration = _configuration(config)
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


@app.command(
    epilog=_example(
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
    survey: takes.Survey = None,
    columns: takes.Columns = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Sample the orbits that a star's velocities allow, with all their periods."""
    with _in_sentences(output / "run.log"), _programs():
        configuration = _configuration(config)
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


@app.command(
    epilog=_example(
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
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="a=B,...",
            help="Our names of the table's columns; a unit may follow in brackets.",
        ),
    ] = None,
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
    with _in_sentences(output / "run.log"):
        from steadystar.infer.distance_options import DistanceOptions
        from steadystar.pipeline.distances import measure_distances

        options = DistanceOptions(
            pairs=pairs.value,
            prior=prior.value,
            max_distance=max_distance,
            a_ks_per_ebv=a_ks,
        )
        measure_distances(table, output, options, columns=columns, quiet=quiet)


@app.command(
    epilog=_example(
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
    with _in_sentences(output / "run.log"), _programs():
        configuration = _configuration(config)
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


@app.command(epilog=_example("steadystar status out/"))
def status(directory: Directory) -> None:
    """Say how far a run is, and what it found."""
    with _in_sentences():
        from steadystar.pipeline.results import describe_state

        for line in describe_state(directory):
            typer.echo(line)


@app.command(epilog=_example("steadystar report out/"))
def report(directory: Directory, config: Config = None, quiet: Quiet = False) -> None:
    """Write the report of a run anew, for example with other options."""
    with _in_sentences():
        configuration = _configuration(config)
        from steadystar.pipeline.results import rewrite_report

        page = rewrite_report(directory, configuration)
        if not quiet:
            typer.echo(page)


@app.command(epilog=_example("steadystar export out/ --format fits"))
def export(
    directory: Directory,
    format: Annotated[Format, typer.Option(help="Format of the files.")],
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="One table; all if not given.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the tables of a run in another format, into DIR/export."""
    with _in_sentences():
        from steadystar.pipeline.results import export_tables

        for path in export_tables(directory, format.value, table):
            if not quiet:
                typer.echo(path)


@app.command(epilog=_example("steadystar formats"))
def formats() -> None:
    """List the formats of spectra that can be read, and of catalogs."""
    with _in_sentences():
        from steadystar.pipeline.results import describe_formats

        for line in describe_formats():
            typer.echo(line)


def _configuration(path: Path | None) -> "Configuration":
    from steadystar.pipeline.config import Configuration

    return Configuration() if path is None else Configuration.load(path)


@contextmanager
def _programs() -> Iterator[None]:
    """Keep compiled programs for the next time."""
    from steadystar.pipeline.compiled import keep_programs, leave_programs

    keep_programs()
    try:
        yield
    finally:
        leave_programs()


@contextmanager
def _in_sentences(log: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong into one sentence and an exit status."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        typer.echo("Interrupted. Run the same command again to go on.", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and log is None:
            raise  # who reads, as `head` does, has read enough: typer ends in silence
        sentence, status = _sentence(error, log)
        typer.echo(f"steadystar: {sentence}", err=True)
        raise typer.Exit(status) from None


def _sentence(error: Exception, log: Path | None) -> tuple[str, int]:
    from steadystar.pipeline.mistakes import MISTAKES, explain_os_error

    if isinstance(error, MISTAKES):
        return str(error), 2
    if isinstance(error, OSError) and error.filename is not None:
        return explain_os_error(error), 2
    details = "".join(traceback.format_exception(error))
    if log is None or not log.exists():
        with tempfile.NamedTemporaryFile(
            "w", prefix="steadystar-error-", suffix=".log", delete=False
        ) as file:
            log = Path(file.name)
    with log.open("a", encoding="utf-8") as file:
        file.write(details)
    return (
        f"An unexpected error: {type(error).__name__}. This is a fault of the program, "
        f"not of yours; {log} has the details."
    ), 1


if __name__ == "__main__":
    sys.exit(main())
