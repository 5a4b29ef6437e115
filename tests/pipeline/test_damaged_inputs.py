"""Whatever the files hold and are called: each ends in rows or among the rejected."""

import os
from pathlib import Path

import polars as pl
import pytest

from steadystar.pipeline import reading
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.run import run_pipeline
from steadystar.survey.observation import Observation

from ..survey.damage import damage

HOSTILE_NAMES = (
    b"<img src=x onerror=alert(1)>.fits.gz",
    b"new\nline.fits.gz",
    b"\x1b[31mred\x07.fits.gz",
    b"not-utf8-\xff\xfe.fits.gz",
    b"-o.fits.gz",
    b"%s%n{0}$(reboot).fits.gz",
    b"'; DROP TABLE stars; --.fits.gz",
    "ünï©ode-\u202e-reversed.fits.gz".encode(),
    b'quote".fits.gz',
    b"x" * 240 + b".fits.gz",
    b"no-suffix",
    b"[B-1].fits.gz",
    b"*?.fits.gz",
)


def assert_all_are_accounted_for(out: Path, files: list[Path]) -> None:
    """Every file has rows: in the velocities, or among the rejected, with a reason."""
    velocities = pl.read_parquet(out / "velocities.parquet")
    rejected = pl.read_parquet(out / "rejected.parquet")
    assert rejected["reason"].str.len_chars().min() or len(rejected) == 0
    seen = [*velocities["path"], *rejected["path"]]
    for path in files:
        name = f"{path.parent.name}/{path.name}"
        assert any(s == name or s.startswith(name + "[") for s in seen), name
    # A velocity without a reason to doubt it is a number with an error.
    good = velocities.filter(pl.col("status") == 0)
    assert good["rv"].is_finite().all()
    assert (good["rv_err"] > 0).all()
    assert "Traceback" not in (out / "run.log").read_text()


def damaged_files(survey: Path, folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    originals = sorted(survey.iterdir())
    files = []
    for seed in range(number):
        original = originals[seed % len(originals)]
        path = folder / f"{seed:05d}-{original.name}"
        path.write_bytes(damage(original.read_bytes(), seed))
        files.append(path)
    return files


def test_damaged_files_end_in_rows_or_are_rejected(go, survey, tmp_path):
    files = damaged_files(survey, tmp_path / "damaged", 60)
    outcome = go(tmp_path / "damaged", survey)
    assert_all_are_accounted_for(outcome.directory, files)
    rejected = pl.read_parquet(outcome.directory / "rejected.parquet")
    assert len(rejected) > 10  # the damage is real


def test_files_of_any_name_end_in_rows(go, survey, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    content = [path.read_bytes() for path in sorted(survey.iterdir())]
    for number, name in enumerate(HOSTILE_NAMES):
        path = folder / os.fsdecode(name)
        path.write_bytes(content[number % len(content)])
    outcome = go(folder)
    velocities = pl.read_parquet(outcome.directory / "velocities.parquet")
    rejected = pl.read_parquet(outcome.directory / "rejected.parquet")
    assert len(velocities) == 32  # what the eight files hold, under whatever name
    assert rejected["reason"].str.contains("was read already, from").all()
    shown = [*velocities["path"], *rejected["path"]]
    files = {text.split("[B-")[0].split("[R-")[0] for text in shown}
    assert len(files) >= len(HOSTILE_NAMES)
    assert all(text.isprintable() for text in shown)
    assert "\x1b" not in (outcome.directory / "run.log").read_text()


@pytest.mark.slow
def test_two_thousand_damaged_files_never_stop_the_program(
    survey, tmp_path, monkeypatch
):
    """With the real measuring and the real report, each damaged spectrum measured."""
    files = damaged_files(survey, tmp_path / "damaged", 2000)
    real = reading.read

    def read_as_another(path, options):
        # Copies of eight files would be rejected as such, and not be measured.
        observation = real(path, options)
        seed = int(Path(path).name[:5])
        visits = observation.visits.with_columns(
            visit_id=pl.format("{}#{}", pl.lit(str(seed)), pl.int_range(pl.len())),
            star_id=pl.lit(f"star {seed % 4} {seed // 32}"),
        )
        return Observation(visits, observation.spectra, observation.rejected)

    monkeypatch.setattr(reading, "read", read_as_another)
    options = {"report": {"paper_figures": False, "star_pages": 20}}
    outcome = run_pipeline(
        [tmp_path / "damaged"], tmp_path / "out", Configuration.from_values(options)
    )
    assert_all_are_accounted_for(outcome.directory, files)
    velocities = pl.read_parquet(outcome.directory / "velocities.parquet")
    assert len(velocities) > 4000
    assert velocities["rv"].is_finite().sum() > 3000
    pages = list((outcome.directory / "report").rglob("*.html"))
    assert len(pages) == 21
    for page in pages:
        assert "<script>alert" not in page.read_text()
