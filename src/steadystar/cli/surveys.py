"""The commands of spectra: run, demo, simulate."""

__all__ = ["commands"]

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from steadystar.cli.frame import compiled_programs, in_sentences, read_configuration
from steadystar.cli.options import (
    Config,
    DemoWorkers,
    Output,
    Quiet,
    Seed,
    Workers,
    example,
)

commands = typer.Typer()


def _write_config(path: Path | None) -> None:
    if path is None:
        return
    with in_sentences():
        from steadystar.pipeline.config import Configuration, ConfigurationError

        if path.exists():
            raise ConfigurationError(
                f"{path} exists already. Name another file, or remove that one first."
            )
        path.write_text(Configuration().to_toml(), encoding="utf-8")
        typer.echo(f"Wrote {path}: all options with their defaults.", err=True)
    raise typer.Exit


@commands.command(
    epilog=example(
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
    with in_sentences(output / "run.log"), compiled_programs():
        configuration = read_configuration(config)
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


@commands.command(
    epilog=example(
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
    workers: DemoWorkers = None,
    quiet: Quiet = False,
) -> None:
    """Simulate a small survey, run everything on its files, compare with the truth."""
    with in_sentences(output / "run" / "run.log"), compiled_programs():
        from steadystar.pipeline.demo import shown_only
        from steadystar.pipeline.side_by_side import processors_at_hand

        configuration = read_configuration(config)
        if config is None:
            configuration = shown_only(configuration)
        if hot_stars:
            from steadystar.pipeline.hot import run_hot_demo as run
        else:
            from steadystar.pipeline.demo import run_demo as run

        workers = workers or processors_at_hand(most=4)
        if not quiet:
            typer.echo(f"Simulating a survey in {output}.", err=True)
        run(output, configuration, seed, workers=workers, quiet=quiet)
        typer.echo(output / "run" / "report" / "index.html")


@commands.command(
    epilog=example(
        "steadystar simulate survey/ --seed 7",
        "steadystar simulate hot-survey/ --hot-stars",
        "steadystar simulate large/ --shards --spectra 100000 --workers 2",
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
    shards: Annotated[
        bool,
        typer.Option(
            "--shards",
            help="A survey of any size: steadystar's own files of spectra, made and "
            "written piece by piece; what is there already is kept.",
        ),
    ] = False,
    spectra: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --shards: the number of spectra."),
    ] = None,
    workers: Workers = 1,
    config: Config = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Write a survey that never was: files as LAMOST writes them, and the truth."""
    if shards:
        if hot_stars:
            raise typer.BadParameter("--shards and --hot-stars exclude each other.")
        _simulate_shards(directory, spectra, workers, config, seed, quiet)
        return
    if spectra is not None or workers > 1:
        raise typer.BadParameter("--spectra and --workers need --shards.")
    with in_sentences():
        configuration = read_configuration(config)
        from steadystar.pipeline.demo import simulate as simulate_into
        from steadystar.pipeline.demo import simulate_hot

        write = simulate_hot if hot_stars else simulate_into
        written = write(directory, configuration, seed)
        if not quiet:
            state = "Wrote" if written else "Was there already:"
            typer.echo(f"{state} {directory / 'spectra'} and {directory / 'truth'}")


def _simulate_shards(
    directory: Path,
    spectra: int | None,
    workers: int,
    config: Path | None,
    seed: int,
    quiet: bool,
) -> None:
    with in_sentences():
        options = read_configuration(config).large_survey
        from steadystar.pipeline.config import ConfigurationError
        from steadystar.pipeline.simulated_shards import simulate_shards

        def say(sentence: str) -> None:
            if not quiet:
                typer.echo(sentence, err=True)

        try:
            if spectra is not None:
                options = replace(options, spectra=spectra)
            written = simulate_shards(directory, options, seed, workers, say)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        if not quiet:
            state = "Wrote" if written else "Was there already:"
            typer.echo(f"{state} {directory / 'spectra'} and {directory / 'truth'}")
