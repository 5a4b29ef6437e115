"""Colors without dust: the sequence of dwarfs, and tables that take its place."""

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline

from steadystar.models.intrinsic_colors import IntrinsicColors, intrinsic_colors

# Pecaut & Mamajek (2013, version 2024.05.15): Teff, BC_V, B-V, V-Ks, J-H.
DWARFS = {
    "B2V": (20_600, -2.03, -0.215, -0.602, -0.113),
    "B5V": (15_700, -1.34, -0.156, -0.380, -0.084),
    "B8V": (12_300, -0.73, -0.109, -0.254, -0.067),
    "A0V": (9_700, -0.21, 0.000, 0.041, -0.032),
    "A5V": (8_100, 0.00, 0.160, 0.403, 0.031),
    "F5V": (6_550, -0.02, 0.440, 1.079, 0.173),
    "G2V": (5_770, -0.085, 0.650, 1.564, 0.293),
}


@pytest.mark.parametrize("spt", DWARFS)
def test_the_sequence_holds_the_published_dwarfs(spt):
    teff, bc, b_v, v_ks, j_h = DWARFS[spt]
    colors = intrinsic_colors()
    # Smoothing moves single types by 0.02 mag at most, the correction by 0.04.
    assert_allclose(colors.bolometric_correction("v", teff), bc, atol=0.04)
    assert_allclose(colors.color("b", "v", teff), b_v, atol=0.02)
    assert_allclose(colors.color("v", "ks", teff), v_ks, atol=0.02)
    assert_allclose(colors.color("j", "h", teff), j_h, atol=0.01)


def test_hotter_stars_are_bluer_in_every_color_to_the_end_of_the_table():
    teff = np.geomspace(5400, 60_000, 300)
    colors = intrinsic_colors()
    for blue, red in (("bp", "rp"), ("v", "ks"), ("g_sdss", "i_sdss"), ("g", "j")):
        steps = np.diff(colors.color(blue, red, teff))
        # Rounding to a mmag and the join at 24 500 K may leave a ripple of 2 mmag.
        assert steps.max() < 2e-3
        assert colors.color(blue, red, teff)[-1] < -0.2


def test_colors_add_up_and_change_sign_with_their_order():
    colors, teff = intrinsic_colors(), np.array([8000.0, 20_000.0])
    summed = colors.color("bp", "g", teff) + colors.color("g", "rp", teff)
    assert_allclose(summed, colors.color("bp", "rp", teff))
    assert_allclose(colors.color("rp", "bp", teff), -colors.color("bp", "rp", teff))


def test_bolometric_corrections_of_bands_differ_by_their_color():
    colors = intrinsic_colors()
    # M_a - M_b = BC_b - BC_a, as M = M_bol - BC.
    difference = colors.bolometric_correction("ks", 2e4) - colors.bolometric_correction(
        "j", 2e4
    )
    assert_allclose(difference, colors.color("j", "ks", 2e4))


def test_outside_the_models_there_is_no_color():
    teff = [3000.0, np.nan, -1.0, 80_000.0]
    assert np.isnan(intrinsic_colors().color("bp", "rp", teff)).all()
    low, high = intrinsic_colors().teff_range
    assert np.isfinite(intrinsic_colors().color("bp", "rp", [low, high])).all()


def test_a_band_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="has no band 'w1', only"):
        intrinsic_colors().color("bp", "w1", 1e4)


@pytest.fixture
def isochrones(tmp_path):
    """Scattered models whose colors are linear in log Teff, log g and [Fe/H]."""
    rng = np.random.default_rng(3)
    log_teff, logg = rng.uniform(3.8, 4.5, 400), rng.uniform(2.0, 5.0, 400)
    feh = rng.choice([-1.0, 0.0, 0.5], 400)
    m_bol = rng.uniform(-8, 4, 400)
    g = m_bol - log_teff
    frame = pl.DataFrame(
        {
            "logTeff": log_teff,
            "logg": logg,
            "[Fe/H]": feh,
            "logL": (4.74 - m_bol) / 2.5,
            "bp": g + 0.1 * logg,
            "rp": g + log_teff + 0.2 * feh,
        }
    )
    path = tmp_path / "isochrones.csv"
    frame.write_csv(path)
    return path


def test_isochrones_take_the_place_of_the_sequence(isochrones):
    colors = IntrinsicColors.load(isochrones)
    teff, logg, feh = (
        np.array([9000.0, 2e4]),
        np.array([3.0, 4.0]),
        np.array([0.2, -0.5]),
    )
    expected = 0.1 * logg - np.log10(teff) - 0.2 * feh
    # Linear interpolation is exact for a plane.
    assert_allclose(colors.color("bp", "rp", teff, logg, feh), expected, atol=1e-9)
    assert_allclose(
        colors.bolometric_correction("bp", teff, logg, feh),
        np.log10(teff) - 0.1 * logg,
        atol=1e-9,
    )


def test_a_label_just_outside_takes_the_nearest_model_and_far_outside_none(isochrones):
    colors = IntrinsicColors.load(isochrones)
    near, far = colors.color("bp", "rp", 1.2e4, [5.1, 9.0], 0.0)
    assert abs(near - (0.51 - np.log10(1.2e4))) < 0.1
    assert np.isnan(far)


def test_a_table_of_colors_gives_all_combinations(tmp_path):
    path = tmp_path / "sequence.csv"
    path.write_text(
        "teff,bc_v,v-g,bp-rp,g-rp\n10000,-.3,.1,.2,.05\n20000,-2,.3,-.2,-.1\n"
    )
    colors = IntrinsicColors.load(path)
    assert_allclose(colors.color("bp", "g", 10_000.0), 0.15)
    assert_allclose(colors.bolometric_correction("rp", 20_000.0), -2 + 0.3 - 0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("teff,bp\n9000,1\n8000,2\n", "has no colors"),
        ("bp,rp\n1,2\n2,3\n", "no column teff"),
        ("teff,bp-rp,j-h\n9000,1,1\n8000,2,2\n", "do not hang together"),
        ("teff,bp,rp\n9000,1,1\n9000,2,2\n", "several models of one temperature"),
        ("teff,bp,rp\n9000,1,1\n8000,,2\n", "has 1 complete models among 2"),
    ],
)
def test_a_table_that_cannot_give_colors_is_refused(tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        IntrinsicColors.load(path)


def test_gaia_colors_agree_with_nodes_made_by_others(real_data):
    """The unlabeled file of splines holds BP, RP, J, H, Ks minus G in 5040 K/Teff."""
    colors = intrinsic_colors()
    teff = np.array([14_000, 12_000, 11_000, 10_000, 9000, 8000, 7000, 6000.0])
    with fits.open(real_data / "hot_stars" / "colorteff_gaiaedr3_2mass.fits") as file:
        nodes = {}
        for number, band in enumerate(("bp", "rp", "j", "h", "ks"), start=1):
            table = file[number].data
            spline = BSpline(*(np.array(table[c], float) for c in "tc"), 3)
            nodes[band] = spline(5040 / teff)
    ours = {band: colors.color(band, "g", teff) for band in nodes}
    # Which is which: each of their colors is nearest to ours of that name.
    for band, value in nodes.items():
        rms = {other: np.std(value - ours[other]) for other in ours if other != "h"}
        assert band == "h" or min(rms, key=rms.__getitem__) == band
    assert np.abs(nodes["bp"] - ours["bp"]).max() < 0.025
    assert np.abs(nodes["rp"] - ours["rp"]).max() < 0.035
    assert np.abs(nodes["ks"] - ours["ks"]).max() < 0.11
