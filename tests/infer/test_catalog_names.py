"""Catalogs of others: names, units, rows of one star, and what is refused."""

import numpy as np
import polars as pl
import pytest

from steadystar.infer.catalog import catalog_of, read_catalog
from steadystar.survey.columns import CatalogError


def some(**more):
    return pl.DataFrame({"ra": [10.0, 20.0], "dec": [1.0, 2.0], **more})


def test_usual_names_are_found_and_errors_with_them():
    found = catalog_of(
        some(
            radial_velocity=[1.0, 2.0],
            radial_velocity_error=[0.1, 0.2],
            TEFF=[5000.0, 6000.0],
            E_TEFF=[50.0, 60.0],
            **{"[Fe/H]": [0.0, -1.0]},
        )
    )
    assert found.quantities == ("rv", "teff", "feh")
    assert found.columns["feh"] == "[Fe/H]"
    assert found.frame["rv_err"].to_list() == [0.1, 0.2]
    assert found.frame["teff_err"].to_list() == [50.0, 60.0]
    assert found.frame["feh_err"].is_nan().all()


def test_names_and_units_that_are_told_overrule():
    table = some(V=[1000.0, 2000.0], V_ERR=[100.0, 200.0], T=[5.0, 6.0], rv=[0.0, 0.0])
    found = catalog_of(table, "X", "rv=V[m/s],teff=T[kK]")
    assert found.frame["rv"].to_list() == [1.0, 2.0]
    assert found.frame["rv_err"].to_list() == pytest.approx([0.1, 0.2])
    assert found.frame["teff"].to_list() == pytest.approx([5000.0, 6000.0])


def test_units_of_the_file_are_honored():
    table = some(teff=[5.0, 6.0], vsini=[9000.0, 8000.0])
    found = catalog_of(table, units={"teff": "1000 K", "vsini": "m/s"})
    assert found.frame["teff"].to_list() == pytest.approx([5000.0, 6000.0])
    assert found.frame["vsini"].to_list() == pytest.approx([9.0, 8.0])


def test_hours_in_texts_and_in_units():
    table = pl.DataFrame({"ra": ["01:00:00", "12:30:00"], "dec": ["-01:30:00", "2"], "rv": [1.0, 2.0]})  # fmt: skip
    found = catalog_of(table)
    assert found.frame["ra"].to_list() == pytest.approx([15.0, 187.5])
    assert found.frame["dec"].to_list() == pytest.approx([-1.5, 2.0])
    hours = catalog_of(some(rv=[1.0, 2.0]), "X", "ra=ra[h]")
    assert hours.frame["ra"].to_list() == [150.0, 300.0]


def test_placeholders_and_texts_are_missing_and_said():
    table = some(rv=["-9999", "n/a"], teff=[-9999.0, 5000.0], teff_err=[0.0, -1.0], AG=[-9999.99, 0.1])  # fmt: skip
    found = catalog_of(table, "X", also=("AG",))
    assert "rv" not in found.quantities
    assert "1 values of rv of X are no numbers, such as 'n/a'" in found.notes[0]
    assert found.frame["teff"].to_list() == [pytest.approx(np.nan, nan_ok=True), 5000.0]
    assert found.frame["teff_err"].is_nan().all()
    assert found.frame["AG"].is_nan().to_list() == [True, False]


def test_velocities_of_exactly_zero_are_remarked_on_and_kept():
    found = catalog_of(pl.DataFrame({"id": range(1, 9), "rv": [0.0] * 5 + [1.0] * 3}))
    assert "5 velocities rv of the table are exactly 0" in found.notes[0]
    assert found.frame["rv"].to_list() == [0.0] * 5 + [1.0] * 3


def test_rows_of_one_star_become_its_mean_with_scatter_and_number():
    table = pl.DataFrame(
        {
            "star_id": ["a", "b", "A ", "b"],
            "ra": [np.nan, 2.0, 1.0, 2.0],
            "dec": [np.nan, 2.0, 1.0, 2.0],
            "rv": [10.0, 5.0, 12.0, 5.0],
            "rv_err": [1.0, 2.0, 1.0, 1.0],
            "teff": [5000.0, 6000.0, np.nan, 6100.0],
        }
    )
    found = catalog_of(table, "visits")
    assert found.frame["star_id"].to_list() == ["a", "b"]
    assert found.frame["ra"].to_list() == [1.0, 2.0]
    assert found.frame["rv"].to_list() == pytest.approx([11.0, 5.0])
    # chi2 of a is 2 for one degree of freedom: its error grows by sqrt(2).
    assert found.frame["rv_err"].to_list() == pytest.approx([1.0, np.sqrt(0.8)])
    assert found.frame["rv_scatter"].to_list() == pytest.approx([np.sqrt(2), 0.0])
    assert found.frame["n_visits"].to_list() == [2.0, 2.0]
    assert found.frame["teff"].to_list() == pytest.approx([5000.0, 6050.0])
    assert "4 rows are of 2 stars" in found.notes[-1]


def test_one_repeated_star_does_not_make_a_list_a_table_of_visits():
    table = pl.DataFrame({"star_id": ["a", "b", "c", "c"], "rv": [1.0, 2.0, 3.0, 4.0]})
    assert catalog_of(table).frame["n_visits"].is_nan().all()


def test_numbers_are_names_only_with_their_catalog_and_without_loss():
    found = catalog_of(pl.DataFrame({"HD": [12, -9999], "rv": [1.0, 2.0]}))
    assert found.frame["star_id"].to_list() == ["HD12", None]
    lost = catalog_of(pl.DataFrame({"source_id": [1e17, 2e17], "rv": [1.0, 2.0]}))
    assert lost.frame["star_id"].is_null().all()
    assert "lost digits" in lost.notes[0]


def test_relative_velocities_are_left_out_or_refused():
    table = pl.DataFrame({"star_id": ["a", "b"], "rv": [1.0, 2.0], "reference_visit_id": ["v", None]})  # fmt: skip
    found = catalog_of(table)
    assert found.frame["star_id"].to_list() == ["b"]
    assert "1 relative velocities" in found.notes[0]
    with pytest.raises(CatalogError, match="All velocities of the table are relative"):
        catalog_of(table.head(1))


def test_the_directory_of_a_run_is_its_stars(tmp_path):
    stars = pl.DataFrame({"star_id": ["a"], "rv_mean": [5.0], "rv_mean_err": [0.1]})
    stars.write_parquet(tmp_path / "stars.parquet")
    found = read_catalog(tmp_path)
    assert found.frame["rv"].to_list() == [5.0]
    assert not found.notes
    visits = pl.DataFrame({"star_id": ["a"], "reference_visit_id": ["v"]})
    visits.write_parquet(tmp_path / "velocities.parquet")
    assert "relative" in read_catalog(tmp_path).notes[0]
    failed = {"rv_raw": [1.0, np.nan], "reference_visit_id": ["v", None]}
    pl.DataFrame(failed).write_parquet(tmp_path / "velocities.parquet")
    assert "relative" in read_catalog(tmp_path).notes[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match=r"without stars\.parquet"):
        read_catalog(tmp_path / "empty")


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        (some(rv=[1.0, 2.0]).head(0), None, "no rows"),
        (some(rv=[1.0, 2.0]), "rv=RVEL", "no column 'RVEL'"),
        (some(T_EFF=[1.0, 2.0]), "teff=TEFF", "Did you mean T_EFF"),
        (some(rv=[1.0, 2.0]), "rv", "names no column"),
        (some(rv=[1.0, 2.0]), "rv=rv[Jy]", "cannot be turned into km/s"),
        (some(rv=[1.0, 2.0]), "ra=ra[m]", "none of deg, h and rad"),
        (some(x=["hot", "cold"]), "teff=x", "holds no number; it has 'hot'"),
        (some(rv=[1.2e4, -3e4]), None, "look like m/s"),
        (some(rv=[1.0, 2.0], t=[True, False]), "star_id=t", "cannot identify stars"),
    ],
)
def test_mistakes_are_sentences(table, columns, words):
    with pytest.raises(CatalogError, match=words.replace("[", r"\[")):
        catalog_of(table, "X", columns)


def test_what_apogee_publishes_is_read(real_data):
    folder = real_data / "velocities"
    stars = read_catalog(folder / "twoface-test-allStar.fits")
    assert stars.columns["rv"] == "VHELIO_AVG"
    assert stars.columns["rv_err"] == "VERR"
    visits = read_catalog(folder / "twoface-test-allVisit.fits")
    assert len(visits.frame) == 74
    assert visits.frame["n_visits"].sum() == 256
