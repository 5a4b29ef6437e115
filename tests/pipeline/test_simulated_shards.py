"""Simulated shards: what is on the disk, again and again, and what a run makes of it."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from steadystar import cli
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.run import run_pipeline
from steadystar.pipeline.simulated_shards import simulate_shards
from steadystar.publish import report
from steadystar.publish.figures.truth import joined_truth
from steadystar.simulate.large_survey import LargeSurveyOptions
from steadystar.survey.shards import number_of_shards, read_shard, shard_of

from . import stand_in

SMALL = LargeSurveyOptions(spectra=600, pixels=1300, n_stars=60, epochs=3.0)


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert simulate_shards(folder, SMALL, seed=4)
    return folder


def test_every_star_is_in_one_file_the_one_where_a_run_looks_for_it(small):
    shards = number_of_shards(SMALL.spectra)
    assert shards > 1
    total = 0
    for path in sorted((small / "spectra").iterdir()):
        visits, spectra = read_shard(path)
        number = int(path.stem.removeprefix("shard-"))
        assert {shard_of(star, shards) for star in visits["star_id"]} == {number}
        assert visits.sort("star_id", "visit_id").equals(visits)
        assert spectra.flux.shape == (len(visits), SMALL.pixels)
        total += len(visits)
    assert total == SMALL.spectra


def test_truth_has_a_row_for_every_spectrum_star_and_zero_point(small):
    parts = [read_shard(path)[0] for path in sorted((small / "spectra").iterdir())]
    visits = pl.concat(parts)
    truth = {p.stem: pl.read_parquet(p) for p in (small / "truth").glob("*.parquet")}
    assert set(truth) == {"visits", "stars", "exposures", "offsets"}
    assert truth["visits"]["visit_id"].equals(visits["visit_id"])
    assert set(truth["stars"]["star_id"]) == set(visits["star_id"])
    groups = visits.select("spectrograph", "arm", "exposure_id").unique()
    offsets = truth["offsets"].filter(pl.col("exposure_id").is_not_null())
    assert len(groups.join(offsets, on=groups.columns)) == len(groups) == len(offsets)


def test_an_interrupted_simulation_goes_on_and_ends_with_the_same_bytes(
    small, tmp_path, monkeypatch
):
    from steadystar.pipeline import simulated_shards

    made = []

    def until_the_second(directory, plan, stars, number):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(number)
        write(directory, plan, stars, number)

    write = simulated_shards.write_piece
    monkeypatch.setattr(simulated_shards, "write_piece", until_the_second)
    with pytest.raises(KeyboardInterrupt):
        simulate_shards(tmp_path, SMALL, seed=4)
    assert len(list((tmp_path / "spectra").iterdir())) == 1
    assert json.loads((tmp_path / "simulation.json").read_text())["complete"] is False

    first = made.pop()
    monkeypatch.setattr(
        simulated_shards, "write_piece", lambda *job: [made.append(job[3]), write(*job)]
    )
    assert simulate_shards(tmp_path, SMALL, seed=4)
    assert first not in made
    assert files(tmp_path) == files(small)
    made.clear()
    assert not simulate_shards(tmp_path, SMALL, seed=4)
    assert not made


def test_a_shard_that_was_lost_is_made_again(small, tmp_path):
    simulate_shards(tmp_path, SMALL, seed=4)
    lost = sorted((tmp_path / "spectra").iterdir())[1]
    lost.unlink()
    assert simulate_shards(tmp_path, SMALL, seed=4)
    assert files(tmp_path) == files(small)


def test_another_survey_in_the_same_place_is_refused(small, tmp_path):
    before = files(small)
    for folder, options, seed in (
        (small, SMALL, 5),
        (small, LargeSurveyOptions(spectra=602, pixels=1300), 4),
    ):
        with pytest.raises(ConfigurationError, match="not of this simulation"):
            simulate_shards(folder, options, seed)
    assert files(small) == before
    (tmp_path / "spectra").mkdir()
    (tmp_path / "spectra" / "mine.fits").write_text("precious")
    with pytest.raises(ConfigurationError, match="holds spectra already"):
        simulate_shards(tmp_path, SMALL, seed=4)


def test_the_command_writes_shards_and_says_what_it_cannot(tmp_path):
    configuration = tmp_path / "c.toml"
    configuration.write_text("[large_survey]\npixels = 1300\n")
    known = ["--config", str(configuration)]

    def simulate(folder: str, *arguments: str):
        given = ["simulate", str(tmp_path / folder), *arguments, *known]
        done = CliRunner().invoke(cli.app, given)
        return done.exit_code, done.stdout, " ".join(done.stderr.split())

    code, said, progress = simulate("new", "--shards", "--spectra", "40")
    assert (code, said[:5]) == (0, "Wrote")
    assert progress == "1 of 1 shards are written."
    code, said, _ = simulate("new", "--shards", "--spectra", "40")
    assert (code, said[:9]) == (0, "Was there")
    code, _, error = simulate("new", "--shards", "--spectra", "41")
    assert (code, "make it 42" in error) == (2, True)
    # The other simulation does not write among the shards.
    code, _, error = simulate("new")
    assert (code, "holds shards of another simulation" in error) == (2, True)
    code, _, error = simulate("other", "--spectra", "40")
    assert (code, "need --shards" in error) == (2, True)


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(small, tmp_path):
    assert simulate_shards(tmp_path, SMALL, seed=4, workers=2)
    assert files(tmp_path) == files(small)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run on 300 spectra: velocities with model spectra, calibrated."""
    folder = tmp_path_factory.mktemp("measured")
    options = LargeSurveyOptions(
        spectra=300,
        epochs=5.0,
        epochs_scatter=0.0,
        hot_stars=0.0,
        single_lined=0.0,
        double_lined=0.0,
        magnitudes=(9.5, 11.5),
        cloudy=0.0,
    )
    simulate_shards(folder, options, seed=1)
    values = {"run": {"velocities": "absolute"}, "labels": {"measure": False}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_report", stand_in.write_report)
        run_pipeline(
            [folder / "spectra"],
            folder / "out",
            Configuration.from_values(values),
            quiet=True,
        )
    return folder


def test_a_run_finds_the_true_velocities(measured):
    velocities = pl.read_parquet(measured / "out" / "velocities.parquet")
    truth = pl.read_parquet(measured / "truth" / "visits.parquet")
    assert len(velocities) == 300
    both = velocities.join(truth, on=["visit_id", "star_id"])
    assert len(both) == 300
    good = both.filter(pl.col("rv_raw").is_finite())
    usable = ~(pl.col("dead_true") | pl.col("broken_true"))
    assert len(good.filter(usable)) == len(both.filter(usable))
    miss = (good["rv_raw"] - good["rv_raw_true"]).to_numpy()
    pull = miss / good["rv_raw_err"].to_numpy()
    # A median and a median absolute deviation of 300 numbers, 4 sigma.
    assert abs(np.median(pull)) < 4 * 1.25 / np.sqrt(len(pull))
    width = 1.4826 * np.median(np.abs(pull))
    assert abs(width - 1) < 4 * 1.17 / np.sqrt(len(pull))


def test_a_run_finds_the_true_zero_points(measured):
    family = "spectrograph+arm+exposure_id"
    table = pl.read_parquet(measured / "out" / f"offsets-{family}.parquet")
    truth = pl.read_parquet(measured / "truth" / "offsets.parquet")
    rows = joined_truth(family, table, truth)
    assert rows is not None
    assert len(rows) == 10
    miss = (rows["offset"] - rows["offset_true"]).to_numpy()
    assert rows["offset_true"].to_numpy().std() > 0.5
    assert np.abs(miss / rows["offset_err"].to_numpy()).max() < 4
    assert np.abs(miss).max() < 0.2
