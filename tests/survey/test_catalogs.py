import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import Table

from steadystar.data.constants import C_KMS
from steadystar.data.schema import columns
from steadystar.data.status import Status
from steadystar.data.tables import TableError
from steadystar.survey.catalogs import (
    SURVEYS,
    CatalogError,
    parse_columns,
    read_velocity_table,
)

APOGEE = {
    "VISIT_ID": ["v1", "v2", "v3", "v4"],
    "APOGEE_ID": ["2M1", "2M1", "2M2", "2M3"],
    "TELESCOPE": ["apo25m", "lco25m", "apo25m", "apo1m"],
    "PLATE": ["5583", "5584", "5583", "cal"],
    "MJD": np.array([56257, 56300, 56257, 56257], np.int32),
    "FIBERID": np.array([5, 17, 300, 1], np.int16),
    "JD": [2456257.61, 2456300.6, 2456257.61, 2456257.61],
    "RA": [10.0, 10.0, 20.0, -99.999],
    "DEC": [57.0, 57.0, 30.0, -99.999],
    "SNR": np.array([90, 105, 60, 3], np.float32),
    "VREL": [-10.0, -9.0, 120.0, 0.0],
    "VRELERR": [0.06, 0.05, 0.1, -9999.0],
    "VHELIO": [-20.0, -20.5, 139.0, 999999.0],
    "BC": [-10.0, -11.5, 19.0, 0.0],
    "STARFLAG": np.array([0, 512, 1 << 22, 0], np.int32),
}


def write(folder, table, name="t.fits", extension=""):
    path = folder / name
    Table(table).write(path)
    return path


def test_apogee_becomes_ours_and_keeps_its_own_columns(tmp_path):
    frame = read_velocity_table(write(tmp_path, APOGEE))
    assert frame["star_id"].to_list() == APOGEE["APOGEE_ID"]
    assert frame["visit_id"].to_list() == APOGEE["VISIT_ID"]
    assert set(frame["survey"]) == {"apogee"}
    # 301 - FIBERID, 300 more at LCO.
    assert frame["fiber"].to_list() == [296, 584, 1, 300]
    assert frame["exposure_id"].to_list()[:2] == ["5583-56257", "5584-56300"]
    assert frame["rv_obs"].to_list()[:2] == [-10, -9]
    assert frame["rv_raw_err"].to_list()[:2] == [0.06, 0.05]
    assert set(APOGEE) <= set(frame.columns)
    assert frame["VHELIO"].to_list() == APOGEE["VHELIO"]
    assert frame.schema["MJD"] == frame.schema["night"] == pl.Int32


def test_a_velocity_and_its_correction_are_joined_exactly(tmp_path):
    frame = read_velocity_table(write(tmp_path, APOGEE))
    for row in range(2):
        observed, correction = APOGEE["VREL"][row], APOGEE["BC"][row]
        exact = C_KMS * ((1 + observed / C_KMS) * (1 + correction / C_KMS) - 1)
        assert frame["rv_raw"][row] == pytest.approx(exact, abs=1e-9)
        assert frame["rv_raw"][row] != APOGEE["VHELIO"][row]


def test_bad_rows_stay_with_nan_and_a_status_that_says_why(tmp_path):
    frame = read_velocity_table(write(tmp_path, APOGEE))
    status = [Status(s) for s in frame["status"]]
    assert status[0] == status[1] == Status.GOOD
    assert status[2] == Status.SURVEY_FLAG
    assert status[3] == Status.NO_VELOCITY | Status.NO_POSITION
    assert frame["rv_raw"].is_nan().to_list() == [False, False, True, True]
    assert frame["ra"].is_nan().to_list() == [False, False, False, True]


def test_times_are_moved_to_the_barycenter(tmp_path):
    frame = read_velocity_table(write(tmp_path, APOGEE))
    delay = (frame["bjd"].to_numpy()[:3] - APOGEE["JD"][:3]) * 86_400
    # TDB is 67 s ahead of UTC in 2012; light takes up to 499 s.
    assert (np.abs(delay - 67) < 505).all()
    assert (np.abs(delay) > 1).all()
    assert np.isnan(frame["bjd"][3])


def test_the_real_apogee_table(real_data):
    path = real_data / "velocities" / "twoface-test-allVisit.fits"
    frame = read_velocity_table(path)
    assert len(frame) == 256
    assert frame["star_id"].n_unique() == 75 - 1
    assert (frame["fiber"].is_between(1, 300)).all()
    # Their VHELIO is the plain sum; the exact one differs by v b / c.
    sum_ = frame["VREL"].cast(float) + frame["BC"].cast(float)
    assert (sum_ - frame["VHELIO"]).abs().max() < 1e-3
    assert 0.001 < (frame["rv_raw"] - sum_).abs().max() < 0.02


def test_sdss_v(tmp_path):
    table = {
        "sdss_id": [101, 102, -1],
        "mjd": [59_800, 59_801, 59_802],
        "plate": ["a", "a", "b"],
        "telescope": ["apo25m"] * 3,
        "fiber": [1, 2, 3],
        "ra": [10.0, 20.0, 30.0],
        "dec": [1.0, 2.0, 3.0],
        "v_rad": [5.0, np.nan, 7.0],
        "v_rel": [4.0, np.nan, 5.0],
        "e_v_rel": [0.1, 0.1, 0.2],
        "bc": [1.0, 2.0, 2.0],
        "spectrum_flags": [0, 0, 1 << 19],
    }
    frame = read_velocity_table(write(tmp_path, table))
    assert set(frame["survey"]) == {"sdss-v"}
    assert frame["star_id"].to_list()[:2] == ["101", "102"]
    # -1 is not the name of a star; its position is.
    assert frame["star_id"][2].startswith("J0200")
    status = [Status(s) for s in frame["status"]]
    assert status == [Status.GOOD, Status.NO_VELOCITY, Status.SURVEY_FLAG]
    assert frame["fiber"].to_list() == [1, 2, 3]


LAMOST = {
    "obsid": [1, 2, 3],
    "gp_id": [7, 7, -9999],
    "ra": [345.797708, 345.797708, 10.0],
    "dec": [32.226539, 32.226539, 20.0],
    "lmjd": [58408, 58408, 58409],
    "planid": ["TD1"] * 3,
    "spid": [1, 1, 12],
    "fiberid": [15, 15, 250],
    "lmjm": [84107311, 84107335, 84108900],
    "snr": [40.0, 41.0, 5.0],
    "rv_b0": [-50.0, -50.2, -9999.0],
    "rv_b0_err": [0.5, 0.5, -9999.0],
    "rv_b1": [-49.0, -49.2, -9999.0],
    "rv_r0": [-51.0, -51.2, 3.0],
    "rv_r0_err": [0.3, 0.3, 2.0],
}


def test_a_wide_lamost_table_becomes_one_row_an_arm(tmp_path):
    frame = read_velocity_table(write(tmp_path, LAMOST, "t.csv"))
    assert frame["arm"].to_list() == ["blue", "red"] * 3
    assert frame["rv_raw"].to_list()[:4] == [-50.0, -51.0, -50.2, -51.2]
    assert frame["rv_raw_err"].to_list()[:2] == [0.5, 0.3]
    assert Status(frame["status"][4]) == Status.NO_VELOCITY
    assert Status(frame["status"][5]) == Status.GOOD
    assert frame["obsid"].to_list() == [1, 1, 2, 2, 3, 3]
    # As the reader of the spectra names them.
    assert frame["visit_id"][0] == "lamost-84107311-sp01-015-blue"
    assert frame["exposure_id"][2] == "84107335"
    assert frame["star_id"].to_list()[:4] == ["7"] * 4
    assert frame["star_id"][4].startswith("J0040")
    assert frame["bary_corr"].is_finite().all()


def test_lamosts_band_says_which_arm_a_row_is_of(tmp_path):
    table = LAMOST | {"band": ["B", "R", "BR"]}
    frame = read_velocity_table(write(tmp_path, table, "t.csv"))
    assert frame["arm"].to_list() == ["blue", "red", "blue", "red"]
    assert frame["obsid"].to_list() == [1, 2, 3, 3]


def test_desi_velocities_and_fibers_come_from_two_extensions(tmp_path):
    velocities = {
        "TARGETID": [39627, 39628, 39629],
        "VRAD": [10.0, 20.0, 30.0],
        "VRAD_ERR": [0.5, 0.6, 0.7],
        "RVS_WARN": [0, 1, 0],
    }
    fibers = {
        "TARGETID": [39627, 39628, 39629],
        "EXPID": [100, 100, 101],
        "FIBER": [4999, 1, 2],
        "TARGET_RA": [1.0, 2.0, 3.0],
        "TARGET_DEC": [4.0, 5.0, 6.0],
    }
    path = tmp_path / "rvpix.fits"
    hdus = [fits.PrimaryHDU()]
    for name, table in (("RVTAB", velocities), ("FIBERMAP", fibers)):
        hdus.append(fits.BinTableHDU(Table(table), name=name))
    fits.HDUList(hdus).writeto(path)
    frame = read_velocity_table(path)
    assert frame["star_id"].to_list() == ["39627", "39628", "39629"]
    assert frame["visit_id"][0] == "desi-100-39627"
    assert frame["fiber"].to_list() == [4999, 1, 2]
    assert frame["ra"].to_list() == [1, 2, 3]
    expected = [Status.GOOD, Status.SURVEY_FLAG, Status.GOOD]
    assert [Status(s) for s in frame["status"]] == expected


OURS = "star_id,exposure_id,fiber,rv,rv_err\ns1,7,3,1.5,0.1\ns2,8,4,2.5,0.2\n"


def test_our_own_tables_need_no_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(OURS)
    frame = read_velocity_table(path)
    assert frame["rv_raw"].to_list() == [1.5, 2.5]
    assert frame["rv_raw_err"].to_list() == [0.1, 0.2]
    assert "rv" not in frame.columns
    assert frame["visit_id"].to_list() == ["row-0", "row-1"]


def test_group_columns_keep_their_type(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(OURS)
    frame = read_velocity_table(path)
    # The schema has text here; the user's numbers stay numbers.
    assert columns("visits")["exposure_id"].dtype == pl.String
    assert frame.schema["exposure_id"] == pl.Int64


def test_raw_velocities_go_before_calibrated_ones(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("star_id,rv_raw,rv_raw_err,rv,rv_err\ns,1.0,0.1,5.0,0.2\n")
    frame = read_velocity_table(path)
    assert frame["rv_raw"][0] == 1.0
    assert frame["rv"][0] == 5.0


@pytest.mark.parametrize(
    "names",
    ["star_id=ID,rv=V,rv_err=E", {"star_id": "ID", "rv_raw": "V", "rv_raw_err": "E"}],
)
def test_any_other_table_by_naming_its_columns(tmp_path, names):
    path = tmp_path / "t.csv"
    path.write_text("ID,V,E,plate\n1,3.5,0.1,a\n2,x,0.1,b\n,4.5,0.1,b\n")
    frame = read_velocity_table(path, columns=names)
    assert frame["star_id"].to_list() == ["1", "2", "unplaced row-2"]
    assert frame["rv_raw"][0] == 3.5
    assert Status(frame["status"][1]) == Status.NO_VELOCITY
    assert frame["plate"].to_list() == ["a", "b", "b"]
    assert frame["V"].to_list() == ["3.5", "x", "4.5"]


def test_named_columns_overrule_those_of_the_survey(tmp_path):
    path = write(tmp_path, APOGEE)
    frame = read_velocity_table(path, "apogee", "star_id=VISIT_ID")
    assert frame["star_id"].to_list() == APOGEE["VISIT_ID"]
    assert frame["star_id_original"].to_list() == APOGEE["APOGEE_ID"]


def test_case_does_not_matter_for_our_own_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(OURS.upper())
    assert read_velocity_table(path)["rv_raw"].to_list() == [1.5, 2.5]


@pytest.mark.parametrize("rv", ["nan", "999999", "-9999", ""])
def test_what_is_no_velocity_is_none(tmp_path, rv):
    path = tmp_path / "t.csv"
    path.write_text(f"star_id,rv,rv_err\na,{rv},0.1\nb,1.0,0.1\n")
    frame = read_velocity_table(path)
    assert [Status(s) for s in frame["status"]] == [Status.NO_VELOCITY, Status.GOOD]


@pytest.mark.parametrize("error", ["0", "-1", "nan", "1e9", ""])
def test_a_velocity_without_a_usable_error_is_kept_and_says_so(tmp_path, error):
    path = tmp_path / "t.csv"
    path.write_text(f"star_id,rv,rv_err\na,1.5,{error}\nb,1.0,0.1\n")
    frame = read_velocity_table(path)
    assert [Status(s) for s in frame["status"]] == [Status.BAD_ERROR, Status.GOOD]
    assert frame["rv_raw"][0] == 1.5
    assert np.isnan(frame["rv_raw_err"][0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("star_id,rv,rv_err\na,abc,0.1\n", "column rv of .* holds no numbers"),
        ("star_id,rv,rv_err\n", "columns but no rows"),
    ],
)
def test_a_table_without_velocities_is_refused(tmp_path, text, sentence):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(CatalogError, match=sentence):
        read_velocity_table(path)


def test_a_status_that_is_there_is_kept(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("star_id,rv,rv_err,status\na,1.0,0.1,64\nb,nan,0.1,64\n")
    status = [Status(s) for s in read_velocity_table(path)["status"]]
    assert status == [Status.REFERENCE, Status.REFERENCE | Status.NO_VELOCITY]
    path.write_text("star_id,rv,rv_err,status\na,1.0,0.1,fine\n")
    frame = read_velocity_table(path)
    assert frame["status"].to_list() == [0]
    assert frame["status_original"].to_list() == ["fine"]


def test_a_missing_column_is_named_with_those_there_are_and_the_nearest(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,vrad,e_rv,plate\na,1.0,0.1,x\n")
    with pytest.raises(CatalogError) as caught:
        read_velocity_table(path)
    message = str(caught.value)
    assert "lacks a column for star_id, rv, rv_err" in message
    assert "it has name, vrad, e_rv, plate" in message
    assert "perhaps star_id=name,rv=vrad,rv_err=e_rv" in message


def test_a_wrongly_named_column_is_reported_with_the_nearest(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,V,E_V\n1,2.0,0.1\n")
    with pytest.raises(CatalogError, match=r"no column 'EV'.*Nearest are E_V"):
        read_velocity_table(path, columns="star_id=ID,rv=V,rv_err=EV")


@pytest.mark.parametrize("text", ["star_id", "=V", "rv=", "", "rv=V,,"])
def test_a_wrong_list_of_columns_is_refused(text):
    with pytest.raises(CatalogError, match="names no column"):
        parse_columns(text)


def test_an_unknown_survey_is_refused_with_the_nearest(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(OURS)
    with pytest.raises(CatalogError, match=r"no survey 'apoge'. Did you mean 'apogee'"):
        read_velocity_table(path, "apoge")


def test_a_file_that_is_no_table_is_no_table(tmp_path):
    with pytest.raises(TableError):
        read_velocity_table(tmp_path / "none.fits")


def test_every_survey_says_what_it_is():
    assert all(survey.description for survey in SURVEYS.values())
    assert {"steadystar", "apogee", "sdss-v", "sdss-v-drp", "lamost", "desi"} < set(
        SURVEYS
    )
