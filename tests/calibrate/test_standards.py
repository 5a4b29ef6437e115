"""The absolute tie: offsets come back, whoever is no standard is left out and named."""

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.standard_groups import location
from steadystar.calibrate.standard_list import normal_name, read_standards
from steadystar.calibrate.standards import StandardsTie, compare_with_standards
from steadystar.data.status import Status
from steadystar.data.tables import write_parquet
from steadystar.survey.catalogs import read_velocity_table

SHIFT = {"apo25m": 0.558, "lco25m": 0.454}
"""km/s; their difference is that of both telescopes of APOGEE, 104 m/s."""


def observed(seed=0, stars=60, both=0.3, own=0.189):
    """Visits of standards by two telescopes, and the list of the standards.

    ``own``: how a star's type makes its velocity wrong, the same at both telescopes
    (Saydjari 2025 finds a scatter of 189 m/s).
    """
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, stars)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, stars)))
    true, odd = rng.normal(0, 40, stars), rng.normal(0, own, stars)
    where = np.where(rng.random(stars) < both, 2, rng.integers(0, 2, stars))
    rows = []
    for star in range(stars):
        for name in [n for i, n in enumerate(SHIFT) if where[star] in (i, 2)]:
            for _ in range(rng.integers(2, 6)):
                error = rng.uniform(0.02, 0.1)
                rv = true[star] + odd[star] + SHIFT[name] + rng.normal(0, error)
                place = ra[star] + rng.normal(0, 1e-4), dec[star] + rng.normal(0, 1e-4)
                rows.append((f"star {star}", *place, name, rv, error, 2_458_000.0))
    names = ("star_id", "ra", "dec", "telescope", "rv", "rv_err", "bjd")
    visits = pl.DataFrame(rows, schema=names, orient="row")
    standards = pl.DataFrame(
        {
            "ID": [f"HD {star}" for star in range(stars)],
            "RA": ra,
            "DEC": dec,
            "RV": true + rng.normal(0, 0.03, stars),
            "RVSIG": np.full(stars, 0.03),
        }
    )
    return visits, standards


def standard_of(star):
    return pl.col("star_id") == f"star {star}"


def test_offsets_of_two_telescopes_come_back_within_their_errors():
    pulls, apart = [], []
    for seed in range(40):
        tie = compare_with_standards(*observed(seed))
        offset, error = (
            tie.groups["offset"].to_numpy(),
            tie.groups["offset_err"].to_numpy(),
        )
        assert tie.groups["telescope"].to_list() == list(SHIFT)
        pulls.append((offset - np.array(list(SHIFT.values()))) / error)
        value, error, common = tie.difference("apo25m", "lco25m")
        assert common > 4
        apart.append((value - 0.104) / error)
    # 40 seeds tell a width to 11%; that of 80 to 8%; the width of a median's error is
    # itself known to 1.17/sqrt(35) = 20% a seed, which widens pulls by 4%.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)
    assert np.std(apart) == pytest.approx(1.0, abs=0.35)
    assert abs(np.mean(apart)) < 0.5


def test_star_by_star_telescopes_are_compared_better_than_by_two_medians():
    tie = compare_with_standards(*observed(both=0.6))
    value, error, _ = tie.difference(("apo25m",), ("lco25m",))
    error_of_medians = np.hypot(*tie.groups["offset_err"])
    # What is odd about a star (189 m/s) is the same at both telescopes.
    assert error < 0.5 * error_of_medians
    assert value == pytest.approx(0.104, abs=4 * error)
    backward = tie.difference("lco25m", "apo25m")
    assert backward[:2] == pytest.approx((-value, error))


def test_the_robust_scatter_is_that_of_the_stars_whatever_a_few_do():
    visits, standards = observed(1, 300)
    for wild in (0.0, 100.0):
        moved = pl.when(standard_of(7) | standard_of(8)).then(wild).otherwise(0.0)
        tie = compare_with_standards(
            visits.with_columns(rv=pl.col("rv") + moved), standards, []
        )
        group = tie.groups.row(0, named=True)
        expected = np.hypot(0.189, np.ptp(list(SHIFT.values())) / 2)
        assert group["scatter"] == pytest.approx(expected, abs=3 * group["scatter_err"])
        assert group["scatter_err"] == pytest.approx(
            1.17 * group["scatter"] / np.sqrt(300), rel=0.01
        )
        assert tie.matches["outlier"].sum() == (0 if wild == 0 else 2 + _twice(tie))
        assert (group["mean_err"] > 0.2) == (wild > 0)


def _twice(tie):
    return len(tie.matches.filter("outlier")) - 2


def test_a_constant_added_to_all_velocities_lands_in_the_offsets():
    visits, standards = observed(2)
    one = compare_with_standards(visits, standards)
    two = compare_with_standards(visits.with_columns(pl.col("rv") + 7.5), standards)
    moved = two.groups["offset"] - one.groups["offset"]
    assert moved.to_list() == pytest.approx([7.5, 7.5])
    assert two.groups["offset_err"].to_list() == pytest.approx(
        one.groups["offset_err"].to_list()
    )
    tied = [
        t.apply(v)["rv"]
        for t, v in ((one, visits), (two, visits.with_columns(pl.col("rv") + 7.5)))
    ]
    assert tied[0].to_list() == pytest.approx(tied[1].to_list())


def test_the_order_of_rows_does_not_matter():
    visits, standards = observed(3)
    one = compare_with_standards(visits, standards)
    two = compare_with_standards(
        visits.sample(fraction=1, shuffle=True, seed=1),
        standards.sample(fraction=1, shuffle=True, seed=2),
    )
    for name in ("offset", "offset_err", "scatter", "chi2"):
        assert one.groups[name].to_list() == pytest.approx(two.groups[name].to_list())


def test_applied_velocities_are_those_of_the_standards_and_errors_grow():
    visits, standards = observed(4)
    tie = compare_with_standards(visits, standards)
    tied = tie.apply(visits)
    again = compare_with_standards(tied, standards)
    # Errors grew by as much for all, and with them the weights within a star changed: by
    # some m/s where it was seen by both telescopes, and nothing else.
    assert again.groups["offset"].to_list() == pytest.approx([0, 0], abs=0.02)
    error = dict(zip(tie.groups["telescope"], tie.groups["offset_err"], strict=True))
    added = tied["telescope"].replace_strict(error)
    assert tied["correction_err"].to_list() == added.to_list()
    expected = np.hypot(visits["rv_err"], added)
    assert tied["rv_err"].to_list() == pytest.approx(expected)
    # A star seen by both telescopes does not share the error of either in all visits.
    alone = tied.select(
        (pl.col("telescope").n_unique() == 1).over("star_id")
    ).to_series()
    common = tied["correction_common_err"]
    assert common.filter(alone).to_list() == added.filter(alone).to_list()
    assert (common.filter(~alone) == 0).all()
    assert tied["tied"].all()


def test_apply_adds_to_earlier_corrections_and_leaves_what_it_does_not_know():
    visits, standards = observed(5)
    tie = compare_with_standards(visits, standards)
    before = visits.with_columns(
        rv_raw=pl.col("rv") + 1.0, rv_raw_err=pl.col("rv_err"),
        correction=1.0, correction_err=0.3, correction_common_err=0.1,
    )  # fmt: skip
    strange = before.head(3).with_columns(telescope=pl.lit("elsewhere"))
    tied = tie.apply(pl.concat([before, strange]))
    assert (tied["rv_raw"] - tied["correction"] - tied["rv"]).abs().max() < 1e-12
    assert (tied["correction_err"].head(len(before)) > 0.3).all()
    assert (
        tied.tail(3)
        .drop("tied", "status")
        .equals(strange.select(tied.drop("tied", "status").columns))
    )
    assert tied["tied"].tail(3).to_list() == [False] * 3


def test_standards_that_vary_are_double_or_flagged_are_left_out_and_named():
    visits, standards = observed(6)
    stars = visits.select("star_id").unique().with_columns(
        variable=standard_of(1), p_constant=pl.when(standard_of(2)).then(0.3).otherwise(0.9),
        double_lined=standard_of(3),
    )  # fmt: skip
    flagged = standards.with_columns(VARIABLE=pl.col("ID") == "HD 4")
    tie = compare_with_standards(visits, flagged, stars=stars)
    left = tie.matches.filter(~pl.col("used")).unique("star_id").sort("star_id")
    assert left["standard_id"].to_list() == ["HD 1", "HD 2", "HD 3", "HD 4"]
    assert left["reason"].to_list() == [
        "variable by these velocities",
        "probably variable by these velocities (p_constant below 0.5)",
        "double-lined",
        "flagged in the list (variable)",
    ]
    rest = visits.filter(~pl.any_horizontal(standard_of(i) for i in (1, 2, 3, 4)))
    clean = compare_with_standards(rest, standards)
    assert clean.groups.equals(tie.groups)
    for name in ("HD 1", "HD 2", "HD 3", "HD 4"):
        assert any(
            f"left out as {r}: {name}." in note
            for r in left["reason"]
            for note in tie.notes
        )
    with pytest.raises(CalibrationError, match=r"All 60 standards .* left out"):
        compare_with_standards(visits, standards.with_columns(flag=1))


def test_one_spectrum_with_two_sets_of_lines_leaves_its_star_out():
    visits, standards = observed(6)
    first = pl.int_range(pl.len()).over("star_id") == 0
    status = pl.when(standard_of(9) & first).then(int(Status.DOUBLE_LINED)).otherwise(0)
    tie = compare_with_standards(visits.with_columns(status=status), standards)
    assert set(tie.matches.filter(~pl.col("used"))["star_id"]) == {"star 9"}


def test_names_agree_whatever_their_spelling():
    for one, other in (
        ("HD 000123", "hd123"),
        ("Gaia DR3 4275035697119244928", "4275035697119244928"),
        ("2M00000032+5737103", "2MASS J00000032+5737103"),
        ("HIP  7", "HIP_7"),
        ("BD +18 4505C", "bd+184505c"),
    ):
        assert normal_name(one) == normal_name(other)
    for one, other in (
        ("Gaia DR2 4275035697119244928", "4275035697119244928"),
        ("HD 12", "HIP 12"),
        ("HD 120", "HD 12"),
    ):
        assert normal_name(one) != normal_name(other)


def test_a_name_finds_a_star_without_a_position_and_a_wrong_place_is_not_believed():
    visits, standards = observed(7, 12)
    named = visits.with_columns(pl.col("star_id").str.replace("star ", "hd"))
    tie = compare_with_standards(named.drop("ra", "dec"), standards)
    assert tie.matches["matched"].unique().to_list() == ["name"]
    assert tie.matches["separation"].is_nan().all()
    assert tie.matches["star_id"].n_unique() == 12
    # HD 3 is called so elsewhere on the sky: a coincidence.
    moved = named.with_columns(dec=pl.when(pl.col("star_id") == "hd3").then(-pl.col("dec")).otherwise("dec"))  # fmt: skip
    tie = compare_with_standards(moved, standards)
    assert "hd3" not in tie.matches["star_id"].to_list()
    assert any("not believed: hd3" in note for note in tie.notes)


def test_neighbors_are_matched_one_to_one_the_nearest_first():
    visits = pl.DataFrame(
        {
            "star_id": ["a", "a", "b", "b"],
            "ra": [10.0, 10.0, 10.0 + 2 / 3600, 10.0 + 2 / 3600],
            "dec": [0.0] * 4,
            "rv": [1.0, 1.1, 2.0, 2.1],
            "rv_err": [0.1] * 4,
        }
    )
    one = pl.DataFrame(
        {"id": ["S"], "ra": [10.0 + 1.5 / 3600], "dec": [0.0], "rv": [2.0]}
    )
    tie = compare_with_standards(visits, one)
    assert tie.matches["star_id"].to_list() == ["b"]
    assert tie.matches["separation"][0] == pytest.approx(0.5, abs=1e-6)
    two = pl.concat(
        [one, one.with_columns(id=pl.lit("T"), ra=pl.lit(10.0 + 1.9 / 3600))]
    )
    pairs = compare_with_standards(visits, two).matches
    assert dict(zip(pairs["star_id"], pairs["standard_id"], strict=True)) == {
        "a": "S",
        "b": "T",
    }


@pytest.mark.parametrize("ra", [0.0, 359.99999, 187.0])
def test_a_star_that_moves_is_found_along_its_path(ra):
    # 10 arcsec in 20 years across 0h, at dec 60: pmra contains cos(dec).
    visits = pl.DataFrame(
        {
            "star_id": ["m"] * 3,
            "ra": [(ra + 10 / 3600 / np.cos(np.radians(60))) % 360] * 3,
            "dec": [60.0] * 3,
            "rv": [5.0, 5.1, 4.9],
            "rv_err": [0.1] * 3,
            "bjd": [2_458_849.5] * 3,  # 2020
        }
    )
    still = {"name": ["x"], "ra": [ra], "dec": [60.0], "rv": [5.0], "epoch": [2000.0]}
    with pytest.raises(CalibrationError, match=r"10\.0 arcsec apart.*larger radius"):
        compare_with_standards(visits, pl.DataFrame(still))
    moving = pl.DataFrame({**still, "pmra": [500.0], "pmdec": [0.0]})
    assert compare_with_standards(visits, moving).matches["separation"][0] < 0.01
    for away in ({"pmra": [-500.0], "pmdec": [0.0]}, {"pmra": [0.0], "pmdec": [500.0]}):
        with pytest.raises(CalibrationError, match="None of the 1 stars"):
            compare_with_standards(visits, pl.DataFrame({**still, **away}))


def test_relative_velocities_are_passed_over_for_absolute_ones():
    visits, standards = observed(8)
    visits = visits.with_columns(
        visit_id=pl.int_range(pl.len()).cast(pl.String), method=pl.lit("templates"),
        reference_visit_id=pl.lit(None, pl.String),
    )  # fmt: skip
    relative = visits.with_columns(
        method=pl.lit("joint"), reference_visit_id=pl.lit("r"), rv=pl.col("rv") * 0 + 99
    )
    tie = compare_with_standards(pl.concat([relative, visits]), standards)
    alone = compare_with_standards(visits, standards)
    assert tie.groups.equals(alone.groups)
    assert any("relative velocities are neither" in note for note in tie.notes)
    tied = tie.apply(pl.concat([relative, visits]))
    assert (tied.filter(pl.col("method") == "joint")["rv"] == 99).all()
    assert not tied.filter(pl.col("method") == "joint")["tied"].any()
    with pytest.raises(
        CalibrationError, match="All velocities of the table are relative"
    ):
        compare_with_standards(relative, standards)


def test_two_methods_have_two_offsets():
    visits, standards = observed(9)
    visits = visits.with_columns(visit_id=pl.int_range(pl.len()).cast(pl.String))
    parts = [
        visits.with_columns(method=pl.lit(m), rv=pl.col("rv") + s)
        for m, s in (("one", 0.0), ("two", 3.0))
    ]
    tie = compare_with_standards(pl.concat(parts), standards)
    assert tie.by == ("telescope", "method")
    offset = dict(
        zip(tie.groups.select(tie.by).rows(), tie.groups["offset"], strict=True)
    )
    assert offset["apo25m", "two"] - offset["apo25m", "one"] == pytest.approx(3)


def test_a_group_without_standards_is_named_and_stays():
    visits, standards = observed(10)
    other = pl.DataFrame(
        {"star_id": ["z"], "telescope": ["apo1m"], "rv": [3.0], "rv_err": [0.1]}
    )
    table = pl.concat([visits, other], how="diagonal")
    tie = compare_with_standards(table, standards)
    assert tie.groups.filter(telescope="apo1m")["n_standards"].to_list() == [0]
    assert any("telescope apo1m: these velocities stay" in note for note in tie.notes)
    last = tie.apply(table).row(-1, named=True)
    assert (last["rv"], last["rv_err"], last["tied"]) == (3.0, 0.1, False)


def test_visits_of_no_group_are_counted():
    visits, standards = observed(10)
    few = visits.with_columns(
        telescope=pl.when(pl.int_range(pl.len()) >= 3).then("telescope")
    )
    tie = compare_with_standards(few, standards)
    said = "3 velocities of standards are not compared: one of telescope is empty."
    assert said in tie.notes
    assert tie.groups["n_visits"].sum() == len(visits) - 3


def test_what_visits_err_together_no_number_of_them_betters():
    visits, standards = observed(12)
    common = visits.with_columns(
        correction_common_err=pl.lit(0.2), rv_err=(pl.col("rv_err") ** 2 + 0.04).sqrt()
    )
    own, both = (
        compare_with_standards(table, standards).matches["rv_err"].to_numpy()
        for table in (visits, common)
    )
    # A star has two to five visits, all with the error of the one fiber.
    assert both == pytest.approx(np.hypot(own, 0.2), rel=1e-9)


def test_few_standards_get_the_scatter_of_all_as_their_error():
    visits, standards = observed(11, 80, both=0.0)
    rare = visits.filter(pl.col("telescope") == "lco25m")["star_id"].unique().sort()[2:]
    table = visits.filter(~pl.col("star_id").is_in(rare.implode()))
    tie = compare_with_standards(table, standards)
    row = tie.groups.filter(telescope="lco25m").row(0, named=True)
    assert row["n_standards"] == 2
    whole = tie.groups.filter(telescope="apo25m")["scatter"][0]
    assert row["offset_err"] >= 0.9 * whole / np.sqrt(2)
    assert any("rests on 2 standards" in note for note in tie.notes)


def test_location_of_few_and_of_none():
    # Of three, the median errs more than the mean by the root of pi / 2.
    three = location(np.zeros(3), np.full(3, 0.3))
    assert three.error == pytest.approx(0.3 * np.sqrt(np.pi / 2) / np.sqrt(3))
    empty = location(np.zeros(0), np.zeros(0))
    assert empty.n == 0
    assert np.isnan(empty.median)
    one = location(np.array([2.0]), np.array([0.3]))
    assert (one.median, one.error) == (2.0, 0.3)
    assert np.isnan(one.scatter)
    assert location(np.array([2.0]), np.array([0.3]), 0.5).error == 0.5


@pytest.mark.parametrize("n", [5, 8, 15, 40])
def test_the_error_of_a_median_is_right_on_average(n):
    rng = np.random.default_rng(n)
    found = [location(rng.normal(size=n), np.ones(n)) for _ in range(3000)]
    error = np.sqrt(np.mean([f.error**2 for f in found]))
    # 3000 draws tell it to 2%; from few quartiles the error is rather too large.
    assert error == pytest.approx(
        np.std([f.median for f in found]), rel=0.25 if n < 10 else 0.08
    )
    assert np.mean([f.scatter for f in found]) == pytest.approx(
        1.0, abs=0.16 if n < 10 else 0.04
    )


def test_any_catalog_serves_also_one_of_visits(tmp_path):
    visits, _ = observed(12)
    other = visits.with_columns(rv=pl.col("rv") - 0.7).rename({"rv": "VHELIO", "rv_err": "VRELERR", "star_id": "APOGEE_ID"})  # fmt: skip
    write_parquet(other, tmp_path / "visits.parquet")
    standards = read_standards(tmp_path / "visits.parquet")
    assert len(standards) == visits["star_id"].n_unique()
    tie = compare_with_standards(visits, standards, by=[])
    assert tie.groups["offset"][0] == pytest.approx(0.7, abs=0.02)
    assert tie.matches["matched"].unique().to_list() == ["name"]


def test_rows_of_one_standard_become_their_mean(tmp_path):
    pl.DataFrame(
        {
            "NAME": ["HD 1", "hd1", "HD 2", "HD 3", "HD 3"],
            "RV": [1.0, 2.0, 5.0, 7.0, 8.0],
            "e_RV": [0.1, 0.1, 0.2, 0.1, None],
        }
    ).write_csv(tmp_path / "list.csv")
    table = read_standards(tmp_path / "list.csv")
    assert table["rv"].to_list() == pytest.approx([1.5, 5.0, 7.5])
    assert table["n_rows"].to_list() == [2, 1, 2]
    # 1 and 2 disagree by 7 sigma: the error is half their distance.
    assert table["rv_err"].to_list() == pytest.approx([0.5, 0.2, 0.5])


def test_units_of_the_list_are_honored_wherever_they_stand(tmp_path):
    from astropy.table import Table

    rows = {
        "ID": ["a", "b"],
        "RA": [1.0, 2.0],
        "DEC": [3.0, 4.0],
        "V": [1500.0, -250.0],
    }
    file = Table(rows)
    file["V"].unit = "m/s"
    file.write(tmp_path / "list.fits")
    assert read_standards(tmp_path / "list.fits")["rv"].to_list() == [1.5, -0.25]
    frame = pl.DataFrame(rows)
    frame.write_csv(tmp_path / "list.csv")
    said = read_standards(tmp_path / "list.csv", "rv=V[m/s]")
    assert said["rv"].to_list() == [1.5, -0.25]
    frame.rename({"V": "RV [m/s]"}).write_csv(tmp_path / "named.csv")
    assert read_standards(tmp_path / "named.csv")["rv"].to_list() == [1.5, -0.25]
    with pytest.raises(
        CalibrationError, match=r"in 'pc', which cannot be turned into km/s"
    ):
        read_standards(tmp_path / "list.csv", "rv=V[pc]")
    frame.with_columns(V=pl.Series([15_00.0, -2500.0])).write_csv(tmp_path / "fast.csv")
    with pytest.raises(CalibrationError, match=r"look like m/s"):
        read_standards(tmp_path / "fast.csv")


def test_hostile_lists_get_sentences(tmp_path):
    for frame, words in (
        (pl.DataFrame({"x": [1.0]}), "no column of velocities"),
        (pl.DataFrame({"rv": [1.0]}), "neither names nor positions"),
        (pl.DataFrame({"id": ["a"], "rv": ["fast"]}), "hold no number"),
        (pl.DataFrame({"id": ["a"]}), "no column of velocities"),
    ):
        frame.write_csv(tmp_path / "list.csv")
        with pytest.raises(CalibrationError, match=words):
            read_standards(tmp_path / "list.csv")
    with pytest.raises(CalibrationError, match="no column 'V', which was named as rv"):
        read_standards(tmp_path / "list.csv", "rv=V")
    (tmp_path / "empty.csv").write_text("id,rv\n")
    with pytest.raises(ValueError, match="no rows"):
        read_standards(tmp_path / "empty.csv")


def test_hostile_velocities_get_sentences():
    visits, standards = observed(13, 10)
    nan = pl.lit(float("nan"))
    for frame, by, words in (
        (visits.drop("star_id"), None, "no column star_id"),
        (visits.with_columns(rv=nan), None, "no velocity that is a number"),
        (visits.with_columns(rv_err=nan), None, "No velocity has an error"),
        (visits.with_columns(rv_err=pl.lit(-1.0)), None, "No velocity has an error"),
        (visits, ["fiber"], "no column fiber"),
        (visits.with_columns(dec=pl.lit(89.0)), None, "None of the 10 stars is one of"),
        (visits.drop("ra"), None, "positions are not in both tables"),
    ):
        with pytest.raises(CalibrationError, match=words):
            compare_with_standards(frame, standards, by)
    with pytest.raises(CalibrationError, match=r"radius of -1.0 arcsec"):
        compare_with_standards(visits, standards, radius_arcsec=-1.0)
    tie = compare_with_standards(visits, standards)
    with pytest.raises(CalibrationError, match="no group palomar: choose among"):
        tie.difference("palomar", "apo25m")
    with pytest.raises(CalibrationError, match="no column telescope, by which"):
        tie.apply(visits.drop("telescope"))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    visits, standards = observed(14)
    tie = compare_with_standards(visits, standards)
    tie.save(tmp_path / "tie")
    tie.save(tmp_path / "again")
    assert (tmp_path / "tie").read_bytes() == (tmp_path / "again").read_bytes()
    loaded = StandardsTie.load(tmp_path / "tie")
    assert loaded.by == tie.by
    assert loaded.notes == tie.notes
    assert loaded.matches.equals(tie.matches)
    assert loaded.apply(visits).equals(tie.apply(visits))
    with pytest.raises(CalibrationError, match="holds no tie to standards"):
        StandardsTie.load(tmp_path)


def test_no_star_of_a_real_table_is_a_standard_and_the_sentence_says_how_near(
    real_data,
):
    folder = real_data / "velocities"
    visits = read_velocity_table(folder / "twoface-test-allVisit.fits")
    for name, count in (("chubak.fits.gz", 2046), ("rvstandards.fits", 2311)):
        standards = read_standards(folder / name)
        assert len(standards) == count
        with pytest.raises(
            CalibrationError, match=r"85 arcmin apart. Give a list whose"
        ):
            compare_with_standards(visits, standards)


def test_a_real_table_agrees_with_the_survey_s_own_means(real_data):
    folder = real_data / "velocities"
    visits = read_velocity_table(folder / "twoface-test-allVisit.fits")
    means = read_standards(folder / "twoface-test-allStar.fits")
    tie = compare_with_standards(visits, means)
    group = tie.groups.filter(telescope="apo25m").row(0, named=True)
    # The mean that a survey publishes is that of its visits, otherwise weighted.
    assert group["n_standards"] == 6
    assert abs(group["offset"]) < 0.02
