import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from polars.testing import assert_frame_equal

from steadystar.data.schema import conform
from steadystar.data.spectra import Spectra
from steadystar.survey.observation import ReadOptions, UnreadableFile
from steadystar.survey.registry import read
from steadystar.survey.shards import read_shard, write_shard

from . import makers
from .test_observation import assert_sound


def assert_same(found: Spectra, written: Spectra) -> None:
    assert found.frame == written.frame
    for name in ("wave", "flux", "ivar", "resolution"):
        one, other = getattr(found, name), getattr(written, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
        assert one.shape == other.shape


def visits_of(count: int) -> pl.DataFrame:
    frame = pl.DataFrame({"visit_id": [f"v{i}" for i in range(count)]})
    return conform(frame.with_columns(pl.col("visit_id").cast(pl.String)), "visits")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 5),
    st.integers(2, 40),
    st.booleans(),
    st.sampled_from(["observatory", "barycenter"]),
    st.data(),
)
def test_what_was_written_is_read_bit_for_bit(
    tmp_path_factory, rows, pixels, shared, frame, data
):
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    flux = data.draw(hnp.arrays(np.float32, (rows, pixels), elements=floats))
    wave = 5000 + np.cumsum(np.full((rows, pixels), np.pi / 7), axis=1)
    spectra = Spectra(
        wave=wave[0] if shared and rows else wave,
        flux=flux,
        ivar=np.abs(flux),
        resolution=np.full(rows, np.nan),
        frame=frame,
    )
    path = tmp_path_factory.mktemp("shards") / "s.parquet"
    write_shard(path, visits_of(rows), spectra)
    visits, found = read_shard(path)
    assert_frame_equal(visits, visits_of(rows))
    assert_same(found, spectra)


def test_extra_columns_of_any_type_survive(tmp_path):
    _, spectra = makers.visits_and_spectra(3)
    visits = visits_of(3).with_columns(
        pl.Series("plate", [1, None, 3], dtype=pl.Int16),
        pl.Series("note", ["a", None, "<script>"]),
        pl.Series("flag", [True, False, None]),
    )
    write_shard(tmp_path / "s.parquet", visits, spectra)
    assert_frame_equal(read_shard(tmp_path / "s.parquet")[0], visits)


def test_equal_spectra_give_equal_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write_shard(tmp_path / name, *makers.visits_and_spectra())
    assert (tmp_path / "a.parquet").read_bytes() == (
        tmp_path / "b.parquet"
    ).read_bytes()


def test_a_shard_is_whole_or_not_there(tmp_path, monkeypatch):
    path = makers.shard(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(
        "steadystar.survey.shards.pq.write_table", lambda *a, **k: 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        write_shard(path, *makers.visits_and_spectra(5))
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_any_parquet_reader_can_use_a_shard(tmp_path):
    visits, spectra = makers.visits_and_spectra()
    frame = pl.read_parquet(makers.shard(tmp_path))
    assert frame["visit_id"].to_list() == visits["visit_id"].to_list()
    assert frame.schema["wave"] == pl.List(pl.Float64)
    assert frame.schema["flux"] == pl.List(pl.Float32)
    np.testing.assert_array_equal(frame["flux"][1].to_numpy(), spectra.flux[1])


def test_a_shard_is_a_file_of_spectra_like_any_other(tmp_path):
    path = makers.shard(tmp_path)
    observation = read(path, ReadOptions(star_id="x"))
    assert_sound(observation)
    assert set(observation.visits["star_id"]) == {"x"}


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    path = makers.shard(tmp_path, 1)
    content = path.read_bytes()
    for at in range(len(content)):
        if at % 7 == 0 or len(content) - at < 300:
            spoiled = bytearray(content)
            spoiled[at] ^= 1 << (at % 8)
            for bad in (bytes(spoiled), content[:at]):
                path.write_bytes(bad)
                with pytest.raises(UnreadableFile):
                    read_shard(path)


def test_other_versions_are_not_guessed_at(tmp_path, monkeypatch):
    path = makers.shard(tmp_path)
    monkeypatch.setattr("steadystar.survey.shards._VERSION", "2")
    with pytest.raises(UnreadableFile, match="another version"):
        read_shard(path)


def test_other_parquet_files_are_no_shards(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(UnreadableFile, match="no shard of spectra"):
        read_shard(path)


def test_a_missing_shard_is_unreadable(tmp_path):
    with pytest.raises(UnreadableFile, match="No such file"):
        read_shard(tmp_path / "none.parquet")


def test_visits_and_spectra_must_belong_together(tmp_path):
    visits, spectra = makers.visits_and_spectra()
    with pytest.raises(ValueError, match="2 visits for 3 spectra"):
        write_shard(tmp_path / "s", visits.head(2), spectra)
    with pytest.raises(ValueError, match="columns flux"):
        write_shard(tmp_path / "s", visits.with_columns(flux=1), spectra)
