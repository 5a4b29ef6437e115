"""Units of foreign tables: those of the file, those that a user says, none."""

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import Table

from steadystar.data.status import Status
from steadystar.survey.catalogs import (
    CatalogError,
    open_velocity_table,
    read_velocity_table,
)
from steadystar.survey.units import (
    UnitError,
    bjd_of,
    degrees_of,
    split_unit,
    velocity_factor,
)

NAMES = "star_id=ID,rv=V,rv_err=E"


def table(factor=1.0, **units):
    made = Table(
        {
            "ID": ["a", "a", "b"],
            "V": factor * np.array([10.5, 10.6, -3.2]),
            "E": factor * np.array([0.1, 0.2, 0.1]),
        }
    )
    for name, unit in units.items():
        made[name].unit = unit
    return made


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.fits", {}),
        ("t.vot", {"format": "votable"}),
        ("t.ecsv", {"format": "ascii.ecsv"}),
    ],
)
@pytest.mark.parametrize(("unit", "factor"), [("m/s", 1000.0), ("km/s", 1.0)])
def test_the_unit_of_the_file_is_honored(tmp_path, name, options, unit, factor):
    path = tmp_path / name
    table(factor, V=unit, E=unit).write(path, **options)
    found = open_velocity_table(path, columns=NAMES)
    assert found.frame["rv_raw"].to_list() == pytest.approx([10.5, 10.6, -3.2])
    assert found.frame["rv_raw_err"].to_list() == pytest.approx([0.1, 0.2, 0.1])
    # The table's own column stays as it was, and the conversion is said.
    assert found.frame["V"].to_list() == pytest.approx(
        [factor * 10.5, factor * 10.6, factor * -3.2]
    )
    assert any("converted" in note for note in found.notes) == (unit == "m/s")


@pytest.mark.parametrize("unit", ["cm/s", "pc", "Angstrom"])
def test_another_unit_is_refused_with_a_remedy(tmp_path, unit):
    path = tmp_path / "t.fits"
    table(V=unit, E="km/s").write(path)
    with pytest.raises(CatalogError, match=r"Column V .* neither km/s.*rv=V\[km/s\]"):
        read_velocity_table(path, columns=NAMES)
    # The user knows better.
    frame = read_velocity_table(path, columns="star_id=ID,rv=V[km/s],rv_err=E")
    assert frame["rv_raw"][0] == 10.5


def test_a_unit_in_brackets_of_the_option_or_of_the_name(tmp_path):
    path = tmp_path / "t.csv"
    table(1000.0).write(path)
    frame = read_velocity_table(path, columns="star_id=ID,rv=V[m/s],rv_err=E[m/s]")
    assert frame["rv_raw"].to_list() == pytest.approx([10.5, 10.6, -3.2])
    path.write_text("star_id,rv [m/s],rv_err (m/s)\na,10500,100\nb,-3200,100\n")
    frame = read_velocity_table(path)
    assert frame["rv_raw"].to_list() == [10.5, -3.2]
    assert frame["rv_raw_err"].to_list() == [0.1, 0.1]


def test_an_error_without_a_unit_has_that_of_its_velocity(tmp_path):
    path = tmp_path / "t.fits"
    table(1000.0, V="m/s").write(path)
    found = open_velocity_table(path, columns=NAMES)
    assert found.frame["rv_raw_err"].to_list() == pytest.approx([0.1, 0.2, 0.1])
    assert any("rv_err has no unit" in note for note in found.notes)


def test_numbers_that_cannot_be_km_s_are_refused_with_the_words_to_say(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,V,E\na,-17486,136\nb,-17486,136\nc,22000,90\n")
    with pytest.raises(CatalogError, match=r"such as -17486.*rv=V\[m/s\]"):
        read_velocity_table(path, columns=NAMES)
    path.write_text("ID,V,E\na,-486,136\nb,-86,136\nc,220,90\n")
    found = open_velocity_table(path, columns=NAMES)
    assert any("rv_err=E[m/s]" in note for note in found.notes)


def test_units_of_a_known_survey_are_honored_and_its_columns_kept(tmp_path):
    made = Table(
        {
            "APOGEE_ID": ["2M1", "2M1"],
            "TELESCOPE": ["apo25m"] * 2,
            "FIBERID": [5, 6],
            "VHELIO": [-20_000.0, -20_500.0],
            "VRELERR": [60.0, 50.0],
        }
    )
    made["VHELIO"].unit = made["VRELERR"].unit = "m/s"
    path = tmp_path / "t.fits"
    made.write(path)
    found = open_velocity_table(path)
    assert found.frame["rv_raw"].to_list() == [-20.0, -20.5]
    assert found.frame["rv_raw_err"].to_list() == [0.06, 0.05]
    assert found.frame["VHELIO"].to_list() == [-20_000.0, -20_500.0]
    assert "VHELIO is in m s-1: it was converted to km/s." in found.notes
    made["VRELERR"].unit = "cm/s"
    made.write(path, overwrite=True)
    with pytest.raises(CatalogError, match=r"VRELERR .* neither km/s nor m/s"):
        read_velocity_table(path)


def test_hours_and_sexagesimal_positions(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "star_id,rv,rv_err,alpha,delta,ra,dec\n"
        "a,1.5,0.1,14.07,64.4,14:04:23.3,+64:22:33\n"
    )
    frame = read_velocity_table(path)
    assert frame["ra"][0] == pytest.approx(15 * (14 + 4 / 60 + 23.3 / 3600))
    assert frame["dec"][0] == pytest.approx(64 + 22 / 60 + 33 / 3600)
    frame = read_velocity_table(path, columns="ra=alpha[h],dec=delta")
    assert frame["ra"][0] == pytest.approx(15 * 14.07)
    with pytest.raises(CatalogError, match=r"none of deg, h and rad.*ra=alpha\[deg\]"):
        read_velocity_table(path, columns="ra=alpha[pc],dec=delta")


@pytest.mark.parametrize(
    ("said", "value", "bjd"),
    [
        ("T[MJD]", 57000.25, 2457000.75),
        ("T[JD-2450000]", 7000.75, 2457000.75),
        ("T[RJD]", 57000.75, 2457000.75),
        ("T", 2457000.75, 2457000.75),
        ("T[d]", 2457000.75, 2457000.75),
    ],
)
def test_dates_of_any_zero(tmp_path, said, value, bjd):
    path = tmp_path / "t.csv"
    path.write_text(f"star_id,rv,rv_err,T\na,1.5,0.1,{value}\n")
    found = open_velocity_table(path, columns=f"bjd={said}")
    assert found.frame["bjd"][0] == bjd
    assert not found.notes


def test_dates_of_unknown_zero_are_left_out_and_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("star_id,rv,rv_err,T\na,1.5,0.1,57000.25\n")
    found = open_velocity_table(path, columns="bjd=T")
    assert np.isnan(found.frame["bjd"][0])
    assert "bjd=T[MJD]" in found.notes[0]


def test_a_column_called_mjd_holds_what_it_is_called():
    dates, note = bjd_of(np.array([57000.25, np.nan]), None, "MJD")
    assert dates[0] == 2457000.75
    assert np.isnan(dates[1])
    assert not note


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[
            (u, 1.0)
            for u in ("km/s", "km s-1", "km s^-1", "km.s**-1", "KM/S", "km/sec")
        ],
        *[(u, 1e-3) for u in ("m/s", "m s-1", "m.s^-1", "m/sec")],
        *[(u, None) for u in (None, "", " ", "-")],
    ],
)
def test_spellings_of_velocities(unit, factor):
    assert velocity_factor(unit) == factor


@pytest.mark.parametrize(
    "unit", ["Mm/s", "M/S", "cm/s", "ms", "km", "furlong/fortnight"]
)
def test_what_is_no_velocity_is_refused(unit):
    with pytest.raises(UnitError, match="neither km/s nor m/s"):
        velocity_factor(unit)


def test_brackets_belong_to_the_name_only_where_they_end_it():
    assert split_unit("V[m/s]") == ("V", "m/s")
    assert split_unit("V (km/s)") == ("V", "km/s")
    assert split_unit("[Fe/H]_err") == ("[Fe/H]_err", None)
    assert split_unit("[Fe/H]") == ("[Fe/H]", None)


def test_radians_are_angles():
    found = degrees_of(pl.Series([np.pi]), "rad", hours=True)
    assert found[0] == pytest.approx(180.0)


# What is doubtful about the columns of surveys.


def test_lamosts_coadds_stay_and_stay_out(tmp_path):
    path = tmp_path / "t.csv"
    pl.DataFrame(
        {
            "obsid": [1, 1, 1],
            "gp_id": [7, 7, 7],
            "planid": ["TD1"] * 3,
            "spid": [1] * 3,
            "fiberid": [15] * 3,
            "lmjd": [58408] * 3,
            "lmjm": [84107311, 84107335, 84107335],
            "coadd": [0, 0, 1],
            "rv_b0": [-50.0, -50.2, -50.1],
            "rv_b0_err": [0.5, 0.5, 0.3],
        }
    ).write_csv(path)
    found = open_velocity_table(path)
    status = [Status(s) for s in found.frame["status"]]
    assert status == [Status.GOOD, Status.GOOD, Status.COADD]
    assert found.frame["visit_id"].n_unique() == 3
    assert "1 of 3 velocities are of coadded spectra" in found.notes[0]


def test_velocities_that_lamost_corrected_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("gp_id,rv_b1,e\n1,10.5,0.1\n1,11.5,0.1\n")
    found = open_velocity_table(path, columns="star_id=gp_id,rv=rv_b1,rv_err=e")
    assert any("took zero points already; rv_b0" in note for note in found.notes)


def test_lamosts_low_resolution(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "obsid,gp_id,lmjd,planid,spid,fiberid,ra,dec,snrg,rv,rv_err\n"
        "1,7,55862,B6212,6,10,10.0,20.0,30.0,-12.5,4.5\n"
    )
    frame = read_velocity_table(path)
    row = frame.row(0, named=True)
    assert (row["survey"], row["arm"], row["spectrograph"]) == ("lamost-lrs", "all", 6)
    assert (row["exposure_id"], row["rv_raw"], row["snr"]) == ("B6212-55862", -12.5, 30)


@pytest.mark.parametrize("case", [str.lower, str.upper])
@pytest.mark.parametrize("total", ["vheliobary", "vrad"])
def test_the_table_of_apogees_pipeline_in_sdss_v(tmp_path, case, total):
    columns = {
        "apogee_id": ["2M1", "2M1"],
        "telescope": ["apo25m", "lco25m"],
        "fiberid": [5, 5],
        "plate": ["1", "1"],
        "mjd": [59800, 59801],
        "starflag": [0, 1 << 22],
        "vrel": [4.0, 5.0],
        "vrelerr": [0.1, 0.1],
        "bc": [1.0, 2.0],
        total: [5.0, 7.0],
    }
    path = tmp_path / "t.fits"
    Table({case(name): values for name, values in columns.items()}).write(path)
    frame = read_velocity_table(path)
    assert set(frame["survey"]) == {"sdss-v"}
    assert frame["fiber"].to_list() == [296, 596]
    assert frame["telescope"].to_list() == ["apo25m", "lco25m"]
    assert frame["rv_raw"][0] == pytest.approx(5.0, abs=1e-3)
    assert Status(frame["status"][1]) == Status.SURVEY_FLAG


def desi(path, targets, **fibers):
    velocities = {
        "TARGETID": [1, 2],
        "EXPID": [100, 100],
        "VRAD": [10.0, 20.0],
        "VRAD_ERR": [0.5, 0.6],
        "RVS_WARN": [0, 0],
        "SUCCESS": [True, False],
        "FIBER": [4999, 1],
    }
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(Table(velocities), name="RVTAB")]
    more = {"TARGETID": targets, **fibers}
    hdus.append(fits.BinTableHDU(Table(more), name="FIBERMAP"))
    fits.HDUList(hdus).writeto(path)
    return path


def test_desis_petals_are_spectrographs_and_failures_flags(tmp_path):
    path = desi(tmp_path / "t.fits", [1, 2], PETAL_LOC=[9, 0], NIGHT=[20210101] * 2)
    frame = read_velocity_table(path)
    assert frame["spectrograph"].to_list() == [9, 0]
    assert frame["exposure_id"].to_list() == [100, 100]
    assert Status(frame["status"][1]) == Status.SURVEY_FLAG


def test_an_extension_of_other_targets_is_not_joined(tmp_path):
    path = desi(tmp_path / "t.fits", [2, 1], PETAL_LOC=[3, 3], NIGHT=[20210101] * 2)
    found = open_velocity_table(path)
    assert "NIGHT" not in found.frame.columns
    assert any("not row by row" in note for note in found.notes)
    # 500 fibers a petal.
    assert found.frame["spectrograph"].to_list() == [9, 0]


def test_desis_coadds_are_told_apart_from_exposures(tmp_path):
    made = Table({"TARGETID": [1], "VRAD": [10.0], "VRAD_ERR": [0.5]})
    made.write(tmp_path / "t.fits")
    found = open_velocity_table(tmp_path / "t.fits")
    assert any("rvpix_exp" in note for note in found.notes)


def test_the_second_table_of_a_file_is_found_if_it_is_a_surveys(tmp_path):
    boss = Table({"sdss_id": [5], "xcsao_v_rad": [3.0]})
    apogee = Table(
        {"sdss_id": [5, 6], "v_rad": [1.5, 2.5], "e_v_rel": [0.1, 0.2], "fiber": [1, 2]}
    )
    path = tmp_path / "mwmAllVisit.fits"
    hdus = [fits.BinTableHDU(t) for t in (boss, apogee)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    found = open_velocity_table(path)
    assert found.frame["rv_raw"].to_list() == [1.5, 2.5]
    assert found.notes[0] == "Read table 2 of the file: it is SDSS-V mwmAllVisit."


def test_a_text_in_quotes_is_the_value_of_every_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("rv,rv_err\n1.5,0.1\n2.5,0.1\n")
    with pytest.raises(CatalogError, match="star_id='HD 1'"):
        read_velocity_table(path)
    frame = read_velocity_table(path, columns="star_id='HD 9'")
    assert frame["star_id"].to_list() == ["HD 9", "HD 9"]
