import numpy as np
import polars as pl
import pytest

from steadystar.pipeline import sorting
from steadystar.pipeline.reading import NO_VISITS
from steadystar.pipeline.sorting import _MatchJob, match_stars


def batch(folder, name, rows):
    """Write a batch's table of visits; rows are (visit_id, ra, dec, star_id)."""
    table = pl.DataFrame(
        [
            {
                "visit_id": visit,
                "ra": ra,
                "dec": dec,
                "star_id": star,
                "path": f"{name}/{n}",
                "_file": n,
                "_source": f"{name}{n}",
                "_group": 0,
                "_row": n,
            }
            for n, (visit, ra, dec, star) in enumerate(rows)
        ],
        schema_overrides={"star_id": pl.String, "ra": pl.Float64, "dec": pl.Float64},
    )
    path = folder / f"{name}.parquet"
    pl.concat([NO_VISITS, table], how="diagonal_relaxed").write_parquet(path)
    return name, path, [(name, n) for n in range(len(rows))]


def match(folder, batches, before=None, radius=3.0, shards=0):
    job = _MatchJob(
        visits=tuple((name, path) for name, path, _ in batches),
        live=tuple(place for *_, live in batches for place in live),
        radius_arcsec=radius,
        shards=shards,
        before=(before.outputs["assigned"], before.outputs["stars"])
        if before
        else None,
        facts_before=before.facts if before else {},
    )
    number = len(list(folder.glob("match-*")))
    return match_stars(job, folder / f"match-{number}")


def stars_of(result):
    assigned = pl.read_parquet(result.outputs["assigned"])
    return dict(assigned.select("visit_id", "star_id").iter_rows())


ARCSEC = 1 / 3600


def test_a_star_keeps_its_name_when_a_nearer_position_comes_first(tmp_path):
    old = batch(tmp_path, "old", [("v2", 10.0, 0.0, None)])
    first = match(tmp_path, [old])
    new = batch(tmp_path, "new", [("v1", 10.0 + 2 * ARCSEC, 0.0, None)])
    second = match(tmp_path, [old, new], first)
    assert set(stars_of(second).values()) == set(stars_of(first).values())
    assert second.facts["moved"] == 0


def test_a_chain_of_new_positions_does_not_merge_known_stars(tmp_path):
    old = batch(
        tmp_path, "old", [("a", 10.0, 0.0, None), ("b", 10.0 + 5 * ARCSEC, 0.0, None)]
    )
    first = match(tmp_path, [old])
    bridge = batch(tmp_path, "new", [("c", 10.0 + 2.4 * ARCSEC, 0.0, None)])
    second = stars_of(match(tmp_path, [old, bridge], first))
    assert second["a"] != second["b"]
    assert second["c"] == second["a"]


def test_another_radius_matches_anew_and_says_who_moved(tmp_path):
    old = batch(
        tmp_path, "old", [("a", 10.0, 0.0, None), ("b", 10.0 + 5 * ARCSEC, 0.0, None)]
    )
    first = match(tmp_path, [old])
    wide = match(tmp_path, [old], first, radius=6.0)
    assert len(set(stars_of(wide).values())) == 1
    assert wide.facts["moved"] == 1


def test_given_names_are_kept_and_attract_what_has_none(tmp_path):
    rows = [
        ("a", 10.0, 0.0, "HD 1"),
        ("b", 10.0 + ARCSEC, 0.0, None),
        ("c", 20.0, 0.0, ""),
    ]
    found = stars_of(match(tmp_path, [batch(tmp_path, "x", rows)]))
    assert found["a"] == found["b"] == "HD 1"
    assert found["c"].startswith("J0120")


def test_spectra_without_a_position_stay_alone(tmp_path):
    rows = [("a", np.nan, np.nan, None), ("b", np.nan, np.nan, None)]
    result = match(tmp_path, [batch(tmp_path, "x", rows)])
    assert stars_of(result) == {"a": "unplaced a", "b": "unplaced b"}
    assert len(pl.read_parquet(result.outputs["stars"])) == 0


def test_only_files_that_count_are_matched(tmp_path):
    name, path, live = batch(
        tmp_path, "x", [("a", 10.0, 0.0, None), ("b", 20.0, 0.0, None)]
    )
    assert set(stars_of(match(tmp_path, [(name, path, live[1:])]))) == {"b"}
    assert stars_of(match(tmp_path, [(name, path, [])])) == {}
    assert stars_of(match(tmp_path, [])) == {}


def test_the_first_of_two_equal_names_is_kept(tmp_path):
    one = batch(tmp_path, "one", [("a", 10.0, 0.0, None)])
    two = batch(tmp_path, "two", [("a", 50.0, 0.0, None)])
    result = match(tmp_path, [one, two])
    assert len(stars_of(result)) == 1
    (row,) = pl.read_parquet(result.outputs["duplicates"]).to_dicts()
    assert row["path"] == "two/0"
    assert "from one/0" in row["reason"]


@pytest.mark.parametrize(
    ("before", "spectra", "shards"),
    [
        *((0, 0, 1), (0, 500, 1), (0, 501, 2), (0, 2_000_000, 4096)),
        *((4, 10, 4), (4, 8000, 4), (4, 8001, 32)),
    ],
)
def test_shards_are_a_power_of_two_and_grow_in_leaps(tmp_path, before, spectra, shards):
    job = _MatchJob((), (), 3.0, 0, None, {"shards": before} if before else {})
    assert sorting._number_of_shards(job, spectra) == shards


def test_a_star_lies_in_one_shard(tmp_path):
    rows = [(f"v{n}", n // 3 * 0.1, 0.0, None) for n in range(300)]
    result = match(tmp_path, [batch(tmp_path, "x", rows)], shards=16)
    assigned = pl.read_parquet(result.outputs["assigned"])
    assert (
        assigned.group_by("star_id").agg(pl.col("shard").n_unique())["shard"].max() == 1
    )
    assert assigned["shard"].n_unique() == 16
