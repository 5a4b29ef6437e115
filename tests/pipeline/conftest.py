import shutil
from pathlib import Path

import pytest

from steadystar.measure import relative
from steadystar.pipeline import labeling, measuring, tables
from steadystar.pipeline import results as finished
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.run import run_pipeline
from steadystar.publish import report
from steadystar.simulate.mock import SurveyOptions, simulate_survey

from . import stand_in

TABLES = ("velocities.parquet", "stars.parquet", "rejected.parquet", "summary.json")


@pytest.fixture(scope="session")
def survey(tmp_path_factory) -> Path:
    """Eight small files: four stars on two nights, two exposures each."""
    folder = tmp_path_factory.mktemp("survey")
    options = SurveyOptions(n_stars=4, n_nights=2, n_exposures=2, coadds=False)
    simulate_survey(folder, options, seed=5)
    return folder / "spectra"


@pytest.fixture
def files(survey, tmp_path) -> Path:
    """A copy of the survey that a test may change."""
    return Path(shutil.copytree(survey, tmp_path / "files"))


@pytest.fixture
def stand_ins(monkeypatch):
    """Measure and report with stand-ins: see `stand_in`."""
    monkeypatch.setattr(measuring, "measure_relative", stand_in.measure)
    monkeypatch.setattr(measuring, "measure_absolute", stand_in.measure_absolute)
    monkeypatch.setattr(labeling, "label_visits", stand_in.label)
    monkeypatch.setattr(report, "write_report", stand_in.write_report)
    monkeypatch.setattr(stand_in, "MEASURED", [])
    monkeypatch.setattr(stand_in, "LABELED", [])
    assert relative.measure_relative is not stand_in.measure
    # Modules that were loaded while stand-ins stood would keep them for later tests.
    for module in (finished, tables):
        assert module.write_report is not stand_in.write_report


@pytest.fixture
def go(stand_ins, tmp_path):
    """Run the pipeline with stand-ins, in this process; relative velocities only."""

    def go(*inputs, out="out", velocities="relative", **values):
        run = {"files_per_batch": 3, "shards": 2} | values.pop("run", {})
        values["run"] = {"velocities": velocities} | run
        return run_pipeline(
            inputs, tmp_path / out, Configuration.from_values(values), quiet=True
        )

    return go


def results(directory: Path) -> dict[str, bytes]:
    """Return the bytes of all results: what must not depend on how a run went."""
    paths = [*directory.glob("*.parquet"), *directory.glob("*.json")]
    paths += [path for path in (directory / "report").rglob("*") if path.is_file()]
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(paths)}
