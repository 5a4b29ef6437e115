"""Whatever happens to a file, it ends as a sound observation or as a clear refusal."""

import resource
import time

import numpy as np
import pytest

from steadystar.survey.apogee import read_line_spread, read_sky
from steadystar.survey.observation import Observation, ReadOptions, UnreadableFile
from steadystar.survey.registry import read

from . import apogee_makers, makers
from .damage import damage
from .test_observation import assert_sound

OPTIONS = ReadOptions(max_megabytes=50)
SECONDS = 20.0
"""What no file of the tests' size may take: for a hang, not for speed. Importing
specutils alone takes five on a busy machine."""


@pytest.fixture(scope="module")
def good(tmp_path_factory, request):
    """Good files of every kind, and the real ones where they are."""
    folder = tmp_path_factory.mktemp("good")
    columns = {"WAVE": np.linspace(5000, 5100, makers.PIXELS)}
    columns |= {"FLUX": makers.spectrum(1)[0], "ERR": np.full(makers.PIXELS, 20.0)}
    files = [
        makers.lamost_mrs(folder),
        makers.lamost_mrs(folder, layout="new", name="new.fits"),
        makers.lamost_lrs(folder),
        makers.image(folder),
        makers.table(folder, columns),
        makers.csv(folder),
        makers.shard(folder),
    ]
    files += apogee_makers.one_of_each_kind(folder)
    (folder / "lrs").mkdir()
    files.append(makers.lamost_lrs(folder / "lrs", layout="table"))
    return [(path, path.read_bytes()) for path in files]


def outcome(path) -> Observation | UnreadableFile:
    try:
        return read(path, OPTIONS)
    except UnreadableFile as error:
        return error


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check(path, content: bytes, seed: int, folder) -> bool:
    """Damage a file, read it, and say whether anything was left of it."""
    victim = folder / f"victim{''.join(path.suffixes)}"
    victim.write_bytes(damage(content, seed))
    start = time.monotonic()
    found = outcome(victim)
    assert time.monotonic() - start < SECONDS
    rejected = found.rejected if isinstance(found, Observation) else found.rejected()
    assert all(rejected["reason"].str.len_chars() > 3)
    if isinstance(found, Observation):
        assert_sound(found)
        return True
    assert str(victim) in str(found)
    return False


def test_undamaged_files_are_read_whole(good):
    for path, _ in good:
        observation = read(path, OPTIONS)
        assert_sound(observation)
        assert observation.rejected.is_empty()


@pytest.mark.parametrize("seed", range(96))
def test_a_damaged_file_is_sound_or_refused(good, tmp_path, seed):
    path, content = good[seed % len(good)]
    survived = check(path, content, seed, tmp_path)
    assert isinstance(survived, bool)


@pytest.mark.parametrize("seed", [*range(300_000, 300_040), 201_800])
def test_what_is_beside_a_damaged_spectrum_is_read_or_refused(tmp_path, seed):
    visit, star, *_ = apogee_makers.one_of_each_kind(tmp_path)
    for path, function in (
        (visit, read_sky),
        (visit, read_line_spread),
        (star, read_sky),
    ):
        victim = tmp_path / "victim.fits"
        victim.write_bytes(damage(path.read_bytes(), seed))
        found = None
        try:
            found = function(victim, OPTIONS)
        except UnreadableFile as error:
            reason = str(error)
        if found is None:
            assert reason.startswith(f"{victim} cannot be read: ")
        else:
            assert found.wave.shape[-1] > 1


@pytest.mark.slow
@pytest.mark.parametrize("part", range(24))
def test_thousands_of_damaged_files_are_sound_or_refused(good, tmp_path, part):
    before = peak_megabytes()
    survived = [
        check(*good[seed % len(good)], seed, tmp_path)
        for seed in range(1000 + 100 * part, 1100 + 100 * part)
    ]
    # Specutils, when it is imported, takes 150 MB; a bomb 100 MB twice.
    assert peak_megabytes() - before < 800
    # Damage must bite, and must leave something to be checked.
    assert 20 < sum(survived) < 95


@pytest.mark.slow
def test_hundreds_of_damaged_real_files_are_sound_or_refused(real_data, tmp_path):
    paths = [
        *sorted((real_data / "lamost_mrs").iterdir()),
        *sorted((real_data / "lamost_lrs").iterdir())[:4],
        *sorted((real_data / "alphadra").iterdir())[:4],
        *sorted((real_data / "apogee").glob("ap*.fits")),
    ]
    survived = [
        check(
            paths[seed % len(paths)],
            paths[seed % len(paths)].read_bytes(),
            seed,
            tmp_path,
        )
        for seed in range(50_000, 50_420)
    ]
    assert 80 < sum(survived) < 400


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "../../../etc/passwd"])
def test_hostile_texts_arrive_as_they_are_and_do_nothing(tmp_path, text):
    before = sorted(tmp_path.parent.iterdir())
    path = makers.image(tmp_path, OBJNAME=text, OBSERVER=text)
    (visit,) = read(path).visits.rows(named=True)
    assert visit["telescope"] == text
    assert visit["star_id"] == text.casefold()
    assert sorted(tmp_path.parent.iterdir()) == before
    assert [item.name for item in tmp_path.iterdir()] == ["star.fits"]
