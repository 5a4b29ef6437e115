"""Tables of magnitudes under our names, and their match with stars."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.survey.columns import CatalogError
from steadystar.survey.photometry import open_photometry, read_photometry
from steadystar.survey.photometry_match import matched_photometry

ARCSEC = 1 / 3600


def test_gaias_archive_is_recognized_with_errors_from_the_flux():
    table = pl.DataFrame(
        {
            "source_id": [3376778299723392512],
            "ra": [95.27],
            "dec": [22.17],
            "phot_g_mean_mag": [11.0],
            "phot_g_mean_flux_over_error": [1000.0],
            "phot_bp_mean_mag": [11.3],
            "phot_bp_mean_flux": [500.0],
            "phot_bp_mean_flux_error": [5.0],
            "parallax": [0.5],
            "parallax_error": [0.02],
        }
    )
    row = read_photometry(table).row(0, named=True)
    assert row["gaia_id"] == "3376778299723392512"
    # sqrt((2.5 / ln 10 / snr)^2 + zero point^2), the zero points as Gaia gives them.
    assert_allclose(row["g_err"], np.hypot(1.0857362 / 1000, 0.0027553202), rtol=1e-6)
    assert_allclose(row["bp_err"], np.hypot(1.0857362 / 100, 0.00279017), rtol=1e-6)
    assert row["parallax"] == 0.5


@pytest.mark.parametrize(
    ("names", "band"),
    [
        (("j_m", "j_msigcom"), "j"),
        (("k_m", "k_msigcom"), "ks"),
        (("Jmag", "e_Jmag"), "j"),
        (("Kmag", "e_Kmag"), "ks"),
        (("Ks", "Ks_err"), "ks"),
        (("BPmag", "e_BPmag"), "bp"),
        (("gMeanPSFMag", "gMeanPSFMagErr"), "g_ps"),
        (("psfMag_r", "psfMagErr_r"), "r_sdss"),
        (("g'mag", "e_g'mag"), "g_sdss"),
        (("Vmag", "e_Vmag"), "v"),
    ],
)
def test_common_names_of_magnitudes_and_errors_are_known(names, band):
    table = pl.DataFrame({names[0]: [12.5], names[1]: [0.04], "source_id": [12345]})
    frame = read_photometry(table)
    assert frame[band].to_list() == [12.5]
    assert frame[f"{band}_err"].to_list() == [0.04]


def test_a_bare_g_is_of_gaia_or_of_sdss_by_its_company():
    sdss = read_photometry(pl.DataFrame({"g": [15.0], "r": [15.2], "i": [15.3]}))
    assert sdss["g_sdss"].to_list() == [15.0]
    assert sdss["i_sdss"].to_list() == [15.3]
    assert "g" not in sdss.columns
    gaia = read_photometry(pl.DataFrame({"g": [15.0], "bp": [15.2], "rp": [14.8]}))
    assert gaia["g"].to_list() == [15.0]


def test_upper_limits_and_unmeasured_magnitudes_of_2mass_are_missing_and_told():
    table = pl.DataFrame(
        {
            "j_m": [10.0, 10.0, 10.0],
            "h_m": [10.0, 10.0, 10.0],
            "k_m": [10.0, 10.0, 10.0],
            "ph_qual": ["AAU", "XBA", None],
        }
    )
    found = open_photometry(table)
    assert found.frame["ks"].to_list() == [None, 10.0, 10.0]
    assert found.frame["j"].to_list() == [10.0, None, 10.0]
    assert any("upper limits" in n and "k_m" in n for n in found.notes)


def test_what_is_no_magnitude_is_missing_and_counted():
    values = [-9999.0, 99.0, float("nan"), None, 12.0, -1.4]
    found = open_photometry(pl.DataFrame({"ks": values, "ks_err": [0.02] * 6}))
    assert found.frame["ks"].to_list() == [None, None, None, None, 12.0, -1.4]
    assert any(n.startswith("2 values of ks are no magnitudes") for n in found.notes)


def test_a_magnitude_without_a_usable_error_is_told():
    table = pl.DataFrame({"j": [10.0, 11.0], "j_err": [0.0, 0.02]})
    found = open_photometry(table)
    assert found.frame["j_err"].to_list() == [None, 0.02]
    assert any(
        n.startswith("1 magnitudes in j have no usable error") for n in found.notes
    )


def test_errors_that_the_table_lacks_are_assumed_aloud():
    table = pl.DataFrame({"j_m": [10.0, 10.0], "ph_qual": ["AAA", "CAA"]})
    found = open_photometry(table)
    first, second = found.frame["j_err"].to_list()
    assert first == 0.03
    assert second > 0.1
    assert any("0.03 mag are assumed" in note for note in found.notes)


def test_identifiers_that_lost_digits_are_not_trusted():
    table = pl.DataFrame({"source_id": [3.376778299723392e18], "ks": [9.0]})
    found = open_photometry(table)
    assert found.frame["gaia_id"].to_list() == [None]
    assert any("floating-point" in note for note in found.notes)


def test_designations_give_their_number():
    table = pl.DataFrame({"designation": ["Gaia DR3 4295806720"], "ks": [9.0]})
    assert read_photometry(table)["gaia_id"].to_list() == ["4295806720"]


def test_columns_can_be_told_and_others_stay():
    table = pl.DataFrame({"KX": [9.0], "EK": [0.1], "class": ["B2"]})
    frame = read_photometry(table, "ks=KX,ks_err=EK")
    assert frame.columns == ["ks", "ks_err", "class"]
    assert frame.row(0) == (9.0, 0.1, "B2")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (None, "has no magnitudes that are known"),
        ("ks=KMAG", "has no column 'KMAG', which was named as ks"),
        ("mass=x", "mass cannot be named"),
    ],
)
def test_a_table_without_magnitudes_says_what_to_do(columns, words):
    with pytest.raises(CatalogError, match=words):
        open_photometry(pl.DataFrame({"x": [1.0]}), columns)


@pytest.fixture
def photometry():
    return pl.DataFrame(
        {
            "gaia_id": ["11", "22", "22", "33"],
            "ra": [10.0, 20.0, 20.0, 30.0],
            "dec": [0.0, 40.0, 40.0, -60.0],
            "ks": [1.0, None, 2.0, 3.0],
        }
    )


def test_identifiers_come_before_positions_and_the_fuller_row_is_taken(photometry):
    stars = pl.DataFrame(
        {
            "gaia_id": ["22", None, "11"],
            "ra": [0.0, 30.0, 99.0],
            "dec": [0.0, -60.0, 9.0],
        }
    )
    table, notes = matched_photometry(stars, photometry)
    assert table["ks"].to_list() == [2.0, 3.0, 1.0]
    assert table["photometry_separation"][0] == 0.0
    assert notes == []


def test_all_spectra_of_a_star_get_its_photometry_and_strangers_none(photometry):
    stars = pl.DataFrame(
        {
            "star_id": ["a", "b", "a"],
            "ra": [10.0 + ARCSEC, 200.0, 10.0 + 1.2 * ARCSEC],
            "dec": [0.0, 0.0, 0.0],
        }
    )
    table, notes = matched_photometry(stars, photometry)
    assert table["ks"].to_list() == [1.0, None, 1.0]
    assert_allclose(table["photometry_separation"].to_list()[0], 1.0, rtol=1e-3)
    assert any("1 of 3 rows have no photometry" in note for note in notes)


def test_two_counterparts_are_told_and_the_nearer_is_taken():
    twins = pl.DataFrame(
        {"ra": [10.0, 10.0 + 2 * ARCSEC], "dec": [0.0, 0.0], "ks": [1.0, 2.0]}
    )
    star = pl.DataFrame({"ra": [10.0 + 1.6 * ARCSEC], "dec": [0.0]})
    table, notes = matched_photometry(star, twins)
    assert table["ks"].to_list() == [2.0]
    assert any("several rows of photometry within 3 arcsec" in note for note in notes)


def test_proper_motion_is_followed_to_the_stars_of_2000():
    fast = pl.DataFrame(
        {"gaia_id": ["1"], "ra": [10.0], "dec": [0.0], "pmra": [1000.0], "pmdec": [0.0]}
    ).with_columns(ks=pl.lit(9.0))
    star = pl.DataFrame({"ra": [10.0 - 16 * ARCSEC], "dec": [0.0]})
    table, _ = matched_photometry(star, fast)
    assert table["ks"].to_list() == [9.0]


def test_tables_that_share_nothing_cannot_be_matched(photometry):
    with pytest.raises(CatalogError, match="share neither gaia_id nor positions"):
        matched_photometry(pl.DataFrame({"star_id": ["a"]}), photometry)


def test_no_photometry_at_all_gives_empty_columns(photometry):
    stars = pl.DataFrame({"gaia_id": ["11"], "ra": [10.0], "dec": [0.0]})
    table, notes = matched_photometry(stars, photometry.clear())
    assert table["ks"].to_list() == [None]
    assert len(notes) == 1
