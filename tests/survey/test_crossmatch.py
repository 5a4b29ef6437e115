"""Counterparts in other catalogs: nearest, one to one, wherever on the sky they moved."""

import numpy as np
import polars as pl
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data.tables import TableError
from steadystar.survey.columns import CatalogError
from steadystar.survey.crossmatch import (
    CrossMatchOptions,
    cross_match,
    cross_match_all,
)
from steadystar.survey.neighbors import mutual_neighbors


def sky(seed, size, patch=None):
    rng = np.random.default_rng(seed)
    if patch is None:
        return rng.uniform(0, 360, size), np.degrees(
            np.arcsin(rng.uniform(-1, 1, size))
        )
    ra, dec, width = patch
    return ra + rng.uniform(-width, width, size), dec + rng.uniform(-width, width, size)


def table(ra, dec, **more):
    names = [f"J{i:05d}" for i in range(len(ra))]
    return pl.DataFrame({"star_id": names, "ra": ra, "dec": dec, **more})


def catalog_of(ra, dec, first=1000, **more):
    return pl.DataFrame(
        {"kic": first + np.arange(len(ra)), "ra": ra, "dec": dec, **more}
    )


def by_brute_force(ours, theirs, radius):
    """Every pair, by astropy; mutual nearest ones."""
    a, b = (SkyCoord(*place, unit="deg") for place in (ours, theirs))
    away = np.array([one.separation(b).arcsec for one in a])
    best, back = away.argmin(axis=1), away.argmin(axis=0)
    near = away.min(axis=1) <= radius
    return np.where(near & (back[best] == np.arange(len(a))), best, -1), away


@pytest.mark.parametrize("patch", [(150.0, 20.0, 0.02), (0.0, -0.01, 0.02)])
def test_it_equals_all_pairs_by_brute_force(patch):
    # 120 stars in 144 arcsec: most have several others within 10 arcsec.
    ours, theirs = sky(1, 120, patch), sky(2, 150, patch)
    expected, away = by_brute_force(ours, theirs, 10.0)
    found = mutual_neighbors(ours, theirs, 10.0)
    assert np.array_equal(found.index, expected)
    assert (expected >= 0).sum() > 60
    assert found.outdone.sum() > 5
    hit = expected >= 0
    # Unit vectors hold 1e-16 rad, or 2e-11 arcsec.
    assert found.separation[hit] == pytest.approx(
        away[hit, expected[hit]], rel=0, abs=1e-8
    )
    assert np.isnan(found.separation[~hit]).all()


def test_it_equals_astropy_on_the_whole_sky():
    ra, dec = sky(3, 20_000)
    rng = np.random.default_rng(4)
    near = (
        ra + rng.normal(0, 1.5, len(ra)) / 3600 / np.cos(np.radians(dec)),
        np.clip(dec + rng.normal(0, 1.5, len(ra)) / 3600, -90, 90),
    )
    order = rng.permutation(len(ra))
    theirs = near[0][order], near[1][order]
    index, away, _ = match_coordinates_sky(
        SkyCoord(ra, dec, unit="deg"), SkyCoord(*theirs, unit="deg")
    )
    found = mutual_neighbors((ra, dec), theirs, 3.7)
    inside = away.arcsec <= 3.7
    # Stars of 2 per square degree: nobody has two candidates.
    assert np.array_equal(found.index >= 0, inside)
    assert np.array_equal(found.index[inside], index[inside])
    assert found.separation[inside] == pytest.approx(away.arcsec[inside], abs=1e-8)
    assert 0.9 < inside.mean() < 0.99


@pytest.mark.parametrize("dec", [90.0, -90.0, 89.9999, 0.0])
def test_poles_and_0h_are_no_special_places(dec):
    ours = np.array([359.9999, 120.0]), np.array([dec, 10.0])
    theirs = np.array([120.0, 0.0001]), np.array([10.0, dec])
    found = mutual_neighbors(ours, theirs, 3.7)
    assert found.index.tolist() == [1, 0]


def test_the_order_of_either_table_does_not_matter():
    ours, theirs = sky(5, 200, (10.0, 80.0, 0.05)), sky(6, 300, (10.0, 80.0, 0.05))
    found = mutual_neighbors(ours, theirs, 20.0).index
    p, q = np.random.default_rng(1).permutation(200), np.random.default_rng(2).permutation(300)  # fmt: skip
    again = mutual_neighbors((ours[0][p], ours[1][p]), (theirs[0][q], theirs[1][q]), 20.0).index  # fmt: skip
    assert np.array_equal(np.where(again >= 0, q[again], -1), found[p])
    back = mutual_neighbors(theirs, ours, 20.0).index
    pairs = {(i, j) for i, j in enumerate(found) if j >= 0}
    assert pairs == {(i, j) for j, i in enumerate(back) if i >= 0}


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 360),
    st.floats(-89, 89),
    st.floats(-10_000, 10_000),
    st.floats(-10_000, 10_000),
    st.sampled_from([2000.0, 2015.5, 2016.0]),
)
def test_a_star_is_found_wherever_it_moved(ra, dec, pmra, pmdec, epoch):
    there = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        frame="icrs",
    )
    motion = np.array([pmra]), np.array([pmdec])
    for years in (2019.5 - epoch, 2000.0 - epoch):
        # Motion along a great circle; astropy asks for a distance to do more.
        total = np.hypot(pmra, pmdec) / 1000 * years * u.arcsec
        now = there.directional_offset_by(np.arctan2(pmra, pmdec) * u.rad, total)
        found = mutual_neighbors(
            (np.array([now.ra.deg]), np.array([now.dec.deg])),
            (np.array([ra]), np.array([dec])),
            3.7,
            motion,
            epoch,
            2019.5,
        )
        assert found.index[0] == 0
        # tan(200 arcsec) is 6e-5 arcsec longer than the arc.
        assert found.separation[0] < 1e-3


def test_a_fast_star_is_lost_without_its_motion_and_takes_nobody_elses_place():
    # 2 arcsec a year from 2000 to 2018: 36 arcsec to the east.
    east = 36 / 3600 / np.cos(np.radians(40.0))
    stars = table([100 + east, 100 + east / 2], [40.0, 40.0 + 1 / 3600])
    catalog = catalog_of(
        [100.0, 100 + east / 2],
        [40.0, 40.0 + 1.5 / 3600],
        pmra=[2000.0, np.nan],
        pmdec=[0.0, np.nan],
    )
    when = 2_451_545.0 + 18 * 365.25
    found = cross_match(stars, catalog, "kic", observed=when).stars
    # The second star of ours lies 1 arcsec from the path of the fast one, and 0.5 from
    # its own counterpart.
    assert found["kic_id"].to_list() == [1000, 1001]
    # Here 36 arcsec to the east along the parallel end 0.0026 from the great circle.
    assert found["kic_separation"].to_numpy() == pytest.approx([0, 0.5], abs=3e-3)
    without = cross_match(stars, catalog.drop("pmra", "pmdec"), "kic", observed=when)
    assert without.stars["kic_id"].to_list() == [None, 1001]
    early = cross_match(stars, catalog, "kic", observed=2_451_545.0)
    assert early.stars["kic_id"].to_list() == [None, 1001]
    timed = stars.with_columns(bjd=pl.Series([when, None]))
    assert cross_match(timed, catalog, "kic").stars["kic_id"].to_list() == [1000, 1001]
    # Seen in 2000, a star cannot be what passed there in 2018, whenever others were seen.
    timed = stars.with_columns(bjd=pl.Series([2_451_545.0, when]))
    assert cross_match(timed, catalog, "kic").stars["kic_id"].to_list() == [None, 1001]


def test_one_to_one_and_what_is_left_is_counted_and_said():
    arcsec = 1 / 3600
    stars = table(
        [10.0, 10.0, 50.0, 80.0, np.nan, 50.0],
        [0.0, 2 * arcsec, 5.0, 5.0, 1.0, 5.0],
    )
    catalog = catalog_of(
        [10.0, 50.0, 50.0, np.nan], [0.5 * arcsec, 5 + arcsec, 5 + arcsec, 0.0]
    )
    out = cross_match(stars, catalog, "kic")
    assert out.stars["kic_id"].to_list() == [1000, None, 1001, None, None, None]
    assert out.matched == {"kic": 2}
    said = (
        "kic: 2 of 6 stars have a counterpart within 3.7 arcsec; 2 have none because it "
        "is nearer to another of our stars; 1 have none near; 1 have no position; 1 of 4 "
        "stars of the catalog have no position; 1 rows of the catalog repeat the "
        "position of an earlier one and were left aside."
    )
    assert out.notes == (said,)
    assert out.stars.select(stars.columns).equals(stars)


def test_many_stars_in_one_place_do_not_multiply():
    size = 30_000
    stars = table(np.full(size, 30.0), np.full(size, 60.0))
    catalog = catalog_of(np.full(size, 30.0), np.full(size, 60.0))
    out = cross_match(stars, catalog, "kic")
    assert out.stars["kic_id"].to_list()[:2] == [1000, None]
    assert out.matched == {"kic": 1}


def test_a_crowd_is_searched_to_its_end():
    # 500 stars of the catalog within the radius of one of ours: the nearest is found.
    rng = np.random.default_rng(3)
    angle, away = rng.uniform(0, 2 * np.pi, 500), rng.uniform(0.5, 3, 500)
    away[437] = 0.3
    ra = 20 + away * np.cos(angle) / 3600
    out = cross_match(table([20.0], [0.0]), catalog_of(ra, away * np.sin(angle) / 3600), "kic")  # fmt: skip
    assert out.stars["kic_id"][0] == 1437
    # And of 500 of ours the one that is nearest gets the one star.
    out = cross_match(table(ra, away * np.sin(angle) / 3600), catalog_of([20.0], [0.0]), "kic")  # fmt: skip
    assert out.stars["kic_id"].is_not_null().arg_true().to_list() == [437]


def test_columns_are_brought_along_with_their_units(tmp_path):
    ra, dec = sky(7, 40, (290.0, 44.0, 0.5))
    Table(
        {
            "KIC": np.arange(40),
            "_RAJ2000": ra * u.deg,
            "_DEJ2000": dec * u.deg,
            "Kpmag": np.linspace(9, 15, 40) * u.mag,
            "Teff": np.linspace(4000, 7000, 40) * u.K,
            "Flag": ["a"] * 40,
        }
    ).write(tmp_path / "kic.fits")
    stars = table(ra[::-1], dec[::-1]).with_columns(
        ra=pl.when(pl.int_range(pl.len()) == 3).then(0.0).otherwise("ra")
    )
    out = cross_match(stars, tmp_path / "kic.fits", "kic", bring=["kpmag", "Teff", "Flag"])  # fmt: skip
    assert out.stars["kic_id"].to_list() == [
        None if i == 36 else i for i in range(39, -1, -1)
    ]
    assert out.stars["kic_kpmag"][0] == 15
    assert np.isnan(out.stars["kic_kpmag"][3])
    assert out.stars["kic_flag"][3] is None
    units = {column.name: column.unit for column in out.columns}
    assert units == {
        "kic_id": "",
        "kic_separation": "arcsec",
        "kic_kpmag": "mag",
        "kic_teff": "K",
        "kic_flag": "",
    }
    again = cross_match(out.stars, tmp_path / "kic.fits", "kic", bring=["Kpmag"])
    assert again.stars["kic_id"].equals(out.stars["kic_id"])
    assert again.stars.columns.count("kic_kpmag") == 1


@pytest.mark.parametrize(
    ("columns", "scale"),
    [
        (("kic", "ra", "dec"), 1),
        (("kepid", "RAJ2000", "DEJ2000"), 1),
        (("EPIC", "RA (J2000)", "Dec (J2000)"), 1),
        (("source_id", "_RA", "_DE"), 1),
        (("DESIGNATION", "ra", "dec"), 1),
        (("kic_kepler_id", "kic_ra[h]", "kic_dec"), 15),
        (("ID", "RA_ICRS", "DE_ICRS"), 1),
    ],
)
def test_usual_names_are_recognized(columns, scale):
    ra, dec = sky(8, 20, (290.0, 44.0, 0.5))
    one, two, three = columns
    catalog = pl.DataFrame({one: np.arange(20), two: ra / scale, three: dec})
    out = cross_match(table(ra, dec), catalog, "kic")
    assert out.stars["kic_id"].to_list() == list(range(20))


def test_hours_are_told_from_degrees_or_refused():
    ra, dec = sky(9, 50, (200.0, 10.0, 1.0))
    stars = table(ra, dec)
    hours = catalog_of(ra / 15, dec)
    out = cross_match(stars, hours, "kic")
    assert out.matched == {"kic": 50}
    assert "were taken as hours, for so 50 of our stars are among them" in out.notes[1]
    low = ra - 190
    out = cross_match(table(low, dec), catalog_of(low, dec), "kic")
    assert "taken as degrees" in out.notes[1]
    for names in ("ra=ra[h]", {"ra": "ra[h]"}):
        out = cross_match(stars, hours, "kic", names=names)
        assert out.matched == {"kic": 50}
        assert len(out.notes) == 1
    # As degrees the other half of these stars are among them.
    both = pl.concat([catalog_of(low, dec), catalog_of(low, dec, first=5)])
    stars = table(np.r_[low[:25], 15 * low[25:]], dec)
    with pytest.raises(CatalogError, match="as degrees 25 of our stars"):
        cross_match(stars, both, "kic")
    with pytest.raises(CatalogError, match="hours or degrees"):
        cross_match(table(ra, -dec), hours, "kic")


def test_texts_of_hours_and_degrees_are_read():
    place = SkyCoord("14:03:12.5 +54:20:56", unit=("hourangle", "deg"))
    catalog = pl.DataFrame(
        {"name": ["a", ""], "ra": ["14:03:12.5", ""], "dec": ["+54:20:56", ""]}
    )
    out = cross_match(table([place.ra.deg], [place.dec.deg]), catalog, "other")
    assert out.stars["other_id"].to_list() == ["a"]
    assert out.stars["other_separation"][0] < 1e-6


def test_epochs_of_gaia_are_known_by_release_and_said():
    # 1 arcsec a year; the position of 2015.5 or 2016, ours of 2000.
    ours = table([100.0], [0.0])
    for name, year in (("Gaia DR2 123", 15.5), ("Gaia DR3 123", 16.0)):
        catalog = pl.DataFrame(
            {
                "designation": [name],
                "ra": [100 + year / 3600],
                "dec": [0.0],
                "pmra": [1000.0],
                "pmdec": [0.0],
            }
        )
        out = cross_match(ours, catalog, "gaia")
        assert out.stars["gaia_separation"][0] < 1e-3
        assert out.notes[1] == (
            f"gaia: Its positions are taken as those of {2000 + year:g}, as those of "
            f"{name[:8]} are."
        )
    dated = catalog.with_columns(ref_epoch=pl.lit(2016.0))
    assert len(cross_match(ours, dated, "gaia").notes) == 1
    told = cross_match(ours, catalog, "gaia", epoch=2016.0)
    assert told.stars["gaia_separation"][0] < 1e-3
    assert len(told.notes) == 1


def test_proper_motions_of_unknown_unit_are_not_guessed():
    ra, dec = sky(9, 50, (200.0, 10.0, 1.0))
    catalog = catalog_of(ra, dec, pmra=np.full(50, 0.01), pmdec=np.full(50, -0.02))
    out = cross_match(table(ra, dec), catalog, "kic")
    assert "may be arcsec or mas a year" in out.notes[1]
    said = "pmra=pmra[arcsec/yr],pmdec=pmdec[arcsec/yr]"
    moved = ra + 0.01 * 100 / 3600 / np.cos(np.radians(dec)), dec - 0.02 * 100 / 3600
    when = 2_451_545.0 + 100 * 365.25
    out = cross_match(table(*moved), catalog, "kic", names=said, observed=when)
    assert out.stars["kic_separation"].max() < 1e-3
    assert out.notes[1:] == (
        "kic: Its positions are taken as those of 2000, for nothing says another year.",
    )


def test_a_configuration_names_several_catalogs(tmp_path):
    ra, dec = sky(10, 30, (60.0, 20.0, 1.0))
    catalog_of(ra, dec, mag=ra).write_parquet(tmp_path / "a.parquet")
    catalog_of(ra[:5], dec[:5]).write_csv(tmp_path / "b.csv")
    options = CrossMatchOptions(
        catalogs={"kic": str(tmp_path / "a.parquet"), "epic": str(tmp_path / "b.csv")},
        bring={"kic": ("mag",)},
    )
    stars = table(ra, dec)
    visits = pl.DataFrame(
        {"star_id": ["J00001", "J00001", "x"], "bjd": [2458000.0, 2458100.0, np.nan]}
    )
    out = cross_match_all(stars, options, visits)
    assert out.matched == {"kic": 30, "epic": 5}
    assert [c.name for c in out.columns] == [
        "kic_id",
        "kic_separation",
        "kic_mag",
        "epic_id",
        "epic_separation",
    ]
    assert len(out.notes) == 2
    assert cross_match_all(stars, CrossMatchOptions()).stars.equals(stars)
    files = {"kic": str(tmp_path / "a.parquet"), "kic_kic": str(tmp_path / "b.csv")}
    clash = CrossMatchOptions(catalogs=files, bring={"kic": ("kic_id",)})
    renamed = pl.read_parquet(tmp_path / "a.parquet").with_columns(kic_id=pl.lit(1))
    renamed.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match="kic_kic_id of kic_kic is a column of"):
        cross_match_all(stars, clash)


def test_nothing_matches_nothing():
    catalog = catalog_of(
        [1.0],
        [1.0],
    ).head(0)
    out = cross_match(table([1.0], [1.0]), catalog, "kic")
    assert out.stars["kic_id"].to_list() == [None]
    assert out.stars["kic_id"].dtype == pl.Int64
    out = cross_match(table([], []), catalog_of([100.0], [1.0]), "kic")
    assert out.stars.columns[-2:] == ["kic_id", "kic_separation"]


def test_infinite_positions_are_none():
    catalog = catalog_of([100.0], [1.0]).with_columns(ra=np.inf)
    assert cross_match(table([100.0], [1.0]), catalog, "kic").matched == {"kic": 0}


def test_hostile_tables_get_sentences(tmp_path):
    stars, catalog = table([100.0], [1.0]), catalog_of([100.0], [1.0])
    for words, call in (
        ("no column that is known as ra", lambda: cross_match(stars, catalog.drop("ra"))),
        ("known as id", lambda: cross_match(stars, catalog.drop("kic"))),
        ("no column 'x', which was named as id", lambda: cross_match(stars, catalog, names="id=x")),
        ("moon cannot be named", lambda: cross_match(stars, catalog, names="moon=kic")),
        ("no column mag, which was to be", lambda: cross_match(stars, catalog, bring=["mag"])),
        ("no column dec: a match", lambda: cross_match(stars.drop("dec"), catalog)),
        ("cannot begin the name", lambda: cross_match(stars, catalog, "My KIC")),
        ("no matching radius", lambda: cross_match(stars, catalog, radius_arcsec=0.0)),
        ("along twice", lambda: cross_match(stars, catalog, "kic", bring=["kic", "KIC"])),
        ("name of two columns", lambda: cross_match(stars, catalog.with_columns(mean=1), "rv", bring=["mean"])),
        ("none of deg, h and rad", lambda: cross_match(stars, catalog, names="ra=ra[parsec]")),
        ("has a position on the sky", lambda: cross_match(stars, catalog.with_columns(dec=-9999.0))),
        ("cannot be read", lambda: cross_match(stars, catalog.with_columns(pmra=1.0, pmdec=1.0), names="pmra=pmra[K]")),
        ("bring speaks of gaia", lambda: CrossMatchOptions(bring={"gaia": ("x",)})),
    ):  # fmt: skip
        with pytest.raises(CatalogError, match=words):
            call()
    with pytest.raises(TableError, match="no such file"):
        cross_match(stars, tmp_path / "none.fits")
