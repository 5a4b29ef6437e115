"""E(B-V) from colors: right on mocks with errors that say so, sane on real stars."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.infer.extinction import ExtinctionOptions, estimate_extinction
from steadystar.models.dust import dust
from steadystar.models.intrinsic_colors import intrinsic_colors
from steadystar.survey.parallax_offset import parallax_offsets
from steadystar.survey.photometry import open_photometry

BANDS = ("g", "bp", "rp", "j", "h")
TEFF_ERR, RV_ERR, SCATTER, FLOOR = 0.03, 0.18, 0.01, 0.014

# Temperatures of the classes of the real stars, K, and how wide the classes are.
CLASSES = {
    "O": (35_000.0, 3000.0),
    "B0/B2": (25_500.0, 4000.0),
    "B3/B5": (16_500.0, 1500.0),
    "B5/B7": (14_800.0, 1000.0),
    "B7/B9": (12_200.0, 1200.0),
    "B9/A": (10_000.0, 900.0),
    "FGK": (6300.0, 700.0),
}


def make(bands=BANDS, size=4000, seed=1, ebv=None, rv_err=RV_ERR):
    """Stars whose temperatures, R_V, magnitudes and dust vary as the options assume."""
    rng = np.random.default_rng(seed)
    teff = np.exp(rng.uniform(np.log(9000), np.log(33_000), size))
    ebv = rng.exponential(0.5, size) if ebv is None else np.full(size, ebv)
    r_v = rng.normal(scale=rv_err, size=size)
    columns = {"truth": ebv, "teff": teff * (1 + TEFF_ERR * rng.normal(size=size))}
    columns["teff_err"] = TEFF_ERR * columns["teff"]
    for band in bands:
        error = rng.uniform(0.003, 0.03, size)
        low, middle, high = (
            dust(r).magnitudes(band, teff, ebv) for r in (2.9, 3.1, 3.3)
        )
        magnitude = 12 + intrinsic_colors().color(band, "v", teff) + middle
        magnitude += (high - low) / 0.4 * r_v
        noise = np.hypot(np.maximum(error, FLOOR / np.sqrt(2)), SCATTER)
        columns[band] = magnitude + rng.normal(size=size) * noise
        columns[f"{band}_err"] = error
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def mock():
    return make()


def pulls(table):
    return ((table["ebv"] - table["truth"]) / table["ebv_err"]).to_numpy()


@pytest.mark.parametrize(
    "bands", [BANDS, ("bp", "rp"), (*BANDS, "g_sdss", "r_sdss", "i_sdss")]
)
def test_errors_mean_what_they_say_whatever_bands_there_are(bands):
    found = pulls(estimate_extinction(make(bands)))
    # 4000 stars give the deviation to 0.011 and the mean to 0.016; the law's error grows
    # with the measured E(B-V), which pulls the mean down by 0.1 sigma.
    assert 0.93 < found.std() < 1.07
    assert abs(found.mean()) < 0.13


def test_a_law_that_is_known_exactly_has_smaller_errors_that_are_honest_too():
    table = make(rv_err=0.0)
    exact = estimate_extinction(table, ExtinctionOptions(r_v_err=0.0))
    assert 0.93 < pulls(exact).std() < 1.07
    ratio = exact["ebv_err"] / estimate_extinction(table)["ebv_err"]
    assert ratio.median() < 0.8
    # E(B-V) differs a little between the two, and with it the leverage of wide bands.
    assert ratio.max() < 1.03


def test_more_bands_give_smaller_errors(mock):
    few = estimate_extinction(mock, ExtinctionOptions(bands=("bp", "rp")))
    ratio = estimate_extinction(mock)["ebv_err"] / few["ebv_err"]
    assert ratio.median() < 0.95
    # The error of the law goes with E(B-V), which the two measure differently.
    assert (ratio < 1).mean() > 0.9


def test_the_joint_fit_beats_the_published_mean_in_scatter_and_in_bias(mock):
    joint = estimate_extinction(mock)
    plain = estimate_extinction(mock, ExtinctionOptions(method="published"))
    off = [(t["ebv"] - t["truth"]).to_numpy() for t in (joint, plain)]
    assert off[0].std() < 0.5 * off[1].std()
    assert abs(off[0].mean()) < 0.2 * abs(off[1].mean())


def test_the_published_mean_weighs_colors_by_their_own_errors():
    stars = make(size=1, rv_err=0.0)
    stars = stars.with_columns(bp_err=pl.lit(0.03), rp_err=pl.lit(0.04))
    stars = stars.with_columns(j_err=pl.lit(0.001), h_err=pl.lit(0.001))
    alone = [
        estimate_extinction(stars, ExtinctionOptions(method="published", bands=bands))
        for bands in (("bp", "rp"), ("j", "h"))
    ]
    both = estimate_extinction(stars, ExtinctionOptions(method="published"))
    weight = np.array([1 / 0.05**2, 1 / 0.014**2])
    mean = np.average([t["ebv"][0] for t in alone], weights=weight)
    assert_allclose(both["ebv"][0], mean)
    error = np.array([t["ebv_err"][0] for t in alone])
    assert_allclose(both["ebv_err"][0], np.hypot(*(weight * error)) / weight.sum())
    assert both["n_colors"].to_list() == [2]


@pytest.mark.parametrize("band", BANDS)
def test_a_band_that_is_wrong_is_named_and_left_out(mock, band):
    spoiled = estimate_extinction(mock.with_columns(pl.col(band) + 0.8))
    # Stars behind much dust may lay it on R_V: not all are named, but nearly.
    assert (spoiled["bands_rejected"] == band).mean() > 0.97
    named = spoiled.filter(pl.col("bands_rejected") == band)
    assert np.abs(np.median(pulls(named))) < 0.1
    assert (named["n_colors"] == len(BANDS) - 2).all()


def test_good_bands_are_kept(mock):
    found = estimate_extinction(mock)
    assert (found["bands_rejected"] != "").sum() <= 4
    assert (found["extinction_status"] != "").sum() <= 4


def test_of_three_bands_none_can_be_called_wrong_but_doubt_is_said():
    table = make(("bp", "rp", "j"), size=50, rv_err=0.0).with_columns(pl.col("j") + 2.0)
    found = estimate_extinction(table)
    assert (found["bands_rejected"] == "").all()
    assert found["extinction_status"].str.contains("bands disagree").all()


def test_without_dust_half_of_the_stars_are_a_little_negative():
    found = estimate_extinction(make(ebv=0.0))
    assert 0.45 < (found["ebv"] < 0).mean() < 0.55


def test_ks_is_used_only_when_it_is_asked_for(mock):
    bright = make((*BANDS, "ks"), size=200).with_columns(pl.col("ks") - 0.3)
    left_out = estimate_extinction(bright)
    assert (left_out["n_colors"] == len(BANDS) - 1).all()
    asked = estimate_extinction(bright, ExtinctionOptions(use_ks=True))
    assert (asked["bands_rejected"] == "ks").mean() > 0.8


def test_rows_that_cannot_be_used_keep_their_place_and_say_why(mock):
    table = mock.head(5).with_columns(
        teff=pl.Series([None, 2000.0, 2e4, 2e4, 2e4]),
        **{b: pl.Series([12.0, 12, None, 12, 12]) for b in ("g", "bp", "rp", "h")},
        j_err=pl.Series([0.02, 0.02, 0.02, None, 0.02]),
    )
    found = estimate_extinction(table, ExtinctionOptions(reject=np.inf))
    assert found["ebv"].is_nan().to_list() == [True, True, True, False, False]
    said = found["extinction_status"].to_list()
    assert "temperature is not known" in said[0]
    assert "no intrinsic colors" in said[1]
    assert "Fewer than two bands" in said[2]
    assert found["n_colors"].to_list() == [0, 0, 0, 3, 4]
    assert found["truth"].to_list() == table["truth"].to_list()


def test_an_empty_table_gets_empty_columns(mock):
    found = estimate_extinction(mock.clear())
    assert len(found) == 0
    assert {"ebv", "ebv_err", "n_colors", "bands_rejected"} <= set(found.columns)


def test_the_answer_does_not_depend_on_how_rows_are_batched(mock, monkeypatch):
    whole = estimate_extinction(mock.head(100))
    monkeypatch.setattr("steadystar.infer.extinction._AT_ONCE", 7)
    assert estimate_extinction(mock.head(100)).equals(whole)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pl.DataFrame({"bp": [1.0], "rp": [1.0]}), "has no column teff"),
        (pl.DataFrame({"bp": [1.0], "teff": [1e4]}), "at least two are needed"),
    ],
)
def test_a_table_without_what_is_needed_is_refused(table, words):
    with pytest.raises(ValueError, match=words):
        estimate_extinction(table)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "magic"}, "'magic' is no method"),
        ({"bands": ("w1",)}, "w1 cannot be used"),
        ({"floor": -1.0}, "floor = -1.0 is no error"),
        ({"reject": 0.0}, "would leave out every band"),
    ],
)
def test_options_out_of_range_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        ExtinctionOptions(**wrong)


def test_isochrones_replace_the_sequence(tmp_path, mock):
    colors, teff = intrinsic_colors(), np.geomspace(6000, 50_000, 200)
    path = tmp_path / "bluer.csv"
    columns = {b: colors.color(b, "v", teff) for b in ("bp", "rp")}
    columns["bp"] = columns["bp"] - 0.165
    pl.DataFrame({"teff": teff, **columns}).write_csv(path)
    ours, theirs = (
        estimate_extinction(mock, ExtinctionOptions(bands=("bp", "rp"), colors=c))
        for c in ("", str(path))
    )
    # Bluer by 0.165 mag, where E(BP-RP) is some 1.6 E(B-V).
    assert_allclose((theirs["ebv"] - ours["ebv"]).median(), 0.1, atol=0.02)


@pytest.fixture(scope="module")
def hot_stars(real_data):
    table = open_photometry(real_data / "hot_stars" / "lamost_hot_stars_gaia_2mass.csv")
    teff, error = ({name: pair[i] for name, pair in CLASSES.items()} for i in (0, 1))
    return table, table.frame.with_columns(
        teff=pl.col("sp").replace_strict(teff),
        teff_err=pl.col("sp").replace_strict(error),
    )


def test_real_hot_stars_are_read_with_all_their_bands(hot_stars):
    table, frame = hot_stars
    assert len(frame) == 527
    assert (
        frame.select("g", "bp", "rp", "j", "h", "ks").null_count().sum_horizontal()[0]
        < 30
    )
    assert frame["gaia_id"].n_unique() > 500
    assert sum("errors of" in note for note in table.notes) == 3
    offset = parallax_offsets(frame).offset
    # Lindegren et al. (2021): from -0.07 to -0.01 mas for such stars.
    assert -0.075 < np.nanmin(offset) < np.nanmax(offset) < 0.0


def test_real_hot_stars_lie_behind_dust_and_not_in_front_of_it(hot_stars):
    found = estimate_extinction(hot_stars[1])
    hot = found.filter(pl.col("sp") != "FGK")
    assert hot["ebv"].is_finite().all()
    # All are farther than 1 kpc, in the plane: dust is there, seldom beyond 1.5 mag.
    assert 0.3 < hot["ebv"].median() < 0.9
    assert hot["ebv"].quantile(0.99) < 1.8
    # The bluest show that the zero of the colors is right.
    assert -0.1 < hot["ebv"].min() < 0.05
    assert (hot["ebv"] < -2 * hot["ebv_err"]).sum() <= 3


def test_colors_of_real_hot_stars_agree_on_the_dust(hot_stars):
    hot = hot_stars[1].filter(pl.col("sp") != "FGK")
    optical, mixed, infrared = (
        estimate_extinction(hot, ExtinctionOptions(bands=bands))["ebv"]
        for bands in (("bp", "rp"), ("g", "j"), ("j", "h"))
    )
    # G-J asks for a tenth more than BP-RP: the law of R_V = 3.1 is not all of it.
    assert abs((mixed - optical).median()) < 0.08
    assert (mixed - optical).std() < 0.12
    # J-H has a third of a magnitude a magnitude, and errors of 0.03 mag are assumed.
    assert abs((infrared - optical).median()) < 0.12
    assert np.corrcoef(infrared, optical)[0, 1] > 0.8
    both = estimate_extinction(hot)
    assert both["extinction_status"].str.contains("disagree").mean() < 0.05
