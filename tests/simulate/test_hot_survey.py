"""A simulated survey of hot stars: what is written, read back and true."""

import hashlib

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

from steadystar.data.constants import C_KMS
from steadystar.simulate import hot_defects as defects
from steadystar.simulate.hot_photometry import observe_photometry
from steadystar.simulate.hot_spectra import WAVE, hot_flux, passed_by_dust
from steadystar.simulate.hot_stars import absolute_ks, draw_hot_stars, lowest_gravity
from steadystar.simulate.hot_survey import (
    HotSurveyOptions,
    simulate_hot_stars,
    write_hot_survey,
)
from steadystar.survey.parallax_offset import parallax_offsets
from steadystar.survey.photometry import read_photometry
from steadystar.survey.registry import read


@pytest.fixture(scope="session")
def stars():
    """Many stars, without their spectra."""
    return draw_hot_stars(HotSurveyOptions(n_stars=4000, seed=5))


@pytest.fixture(scope="session")
def survey():
    """A survey with everything that can go wrong, more often than usual."""
    return simulate_hot_stars(
        HotSurveyOptions(
            n_stars=300, seed=9, broken=0.05, emission=0.3, pairs=0.3, repeats=0.4
        )
    )


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Files of a small survey, and the same in memory."""
    folder = tmp_path_factory.mktemp("hot")
    options = HotSurveyOptions(n_stars=90, seed=4, repeats=0.3)
    truth = write_hot_survey(folder, options)
    return folder, truth, simulate_hot_stars(options)


def digest(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_of_all_layouts_give_back_what_was_simulated(written):
    folder, truth, memory = written
    rows = {name: row for row, name in enumerate(truth["visit_id"])}
    assert set(truth["layout"]) == {"dr1", "dr5", "dr8"}
    files = sorted((folder / "spectra").iterdir())
    assert len(files) == len(truth)
    for path in files:
        found = read(path)
        assert found.rejected.is_empty()
        visit = found.visits.row(0, named=True)
        row = rows.pop(visit["visit_id"])
        wave = np.ravel(found.spectra.wave)
        np.testing.assert_allclose(wave, memory.wave, rtol=1e-7)
        good = memory.ivar[row] > 0
        np.testing.assert_array_equal(
            found.spectra.flux[0][good], memory.flux[row][good]
        )
        np.testing.assert_array_equal(found.spectra.ivar[0], memory.ivar[row])
        # Headers have two decimals; the survey's median leaves out no pixel.
        assert visit["snr"] == pytest.approx(max(truth["snr"][row], 0), abs=0.3)
        assert visit["ra"] == pytest.approx(truth["ra"][row], abs=1e-6)
        assert visit["night"] == truth["night"][row]
    assert not rows


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones(tmp_path):
    options = HotSurveyOptions(n_stars=8, seed=4)
    for name, chosen in (
        ("first", options),
        ("again", options),
        ("other", HotSurveyOptions(n_stars=8, seed=5)),
    ):
        write_hot_survey(tmp_path / name, chosen)
    first = digest(tmp_path / "first")
    assert len(first) >= 8 + 3
    assert digest(tmp_path / "again") == first
    assert digest(tmp_path / "other") != first


def test_photometry_is_read_as_from_the_archives(written):
    folder, _, memory = written
    found = read_photometry(folder / "photometry.parquet")
    ours = memory.photometry
    assert found["gaia_id"].to_list() == ours["gaia_id"].to_list()
    for name in ("g", "bp", "rp", "j", "h", "ks", "g_ps", "y_ps", "parallax", "ruwe"):
        np.testing.assert_array_equal(found[name].to_numpy(), ours[name].to_numpy())
    for name in ("g_err", "ks_err", "g_ps_err"):
        np.testing.assert_allclose(
            found[name].to_numpy(), ours[name].to_numpy(), rtol=1e-3
        )


def test_labels_stay_where_models_and_stars_are(stars):
    teff, logg = stars["teff"].to_numpy(), stars["logg"].to_numpy()
    assert teff.min() > 8000
    assert teff.max() < 40_000
    assert (logg > lowest_gravity(teff)).all()
    assert logg.max() < 5
    feh = stars["feh"].to_numpy()
    # Standard errors of mean and deviation of 4000 stars are 0.003 and 0.002.
    assert abs(feh.mean() + 0.2) < 0.015
    assert abs(feh.std() - 0.2) < 0.015
    # All of them: B stars mostly, some O and A stars.
    shares = [((teff > a) & (teff <= b)).mean() for a, b in ((1e4, 3e4), (3e4, 4e4))]
    assert shares[0] > 0.5
    assert 0.01 < shares[1] < 0.1


def test_magnitudes_scatter_by_what_spectra_do_not_know(stars):
    labels = [stars[name].to_numpy() for name in ("teff", "logg", "feh")]
    np.testing.assert_allclose(
        stars["m_ks_mean"].to_numpy(), absolute_ks(*labels), atol=1e-12
    )
    apart = (stars["m_ks"] - stars["m_ks_mean"]).to_numpy()
    # A magnitude limit prefers bright stars a little (Malmquist), 0.02 mag here.
    assert abs(apart.mean()) < 0.05
    assert apart.std() == pytest.approx(0.2, abs=0.01)


def test_pairs_are_as_many_and_as_bright_as_said(stars):
    double = stars.filter("double")
    # The limit in magnitude admits a few more of them than 12 percent; 1 sigma is 0.5.
    assert 0.10 < len(double) / len(stars) < 0.16
    light = sum(10 ** (-0.4 * double[name].to_numpy()) for name in ("m_ks", "m_ks_2"))
    np.testing.assert_allclose(double["m_ks_system"], -2.5 * np.log10(light), atol=1e-9)
    np.testing.assert_allclose(
        double["delta_mag"], double["m_ks"] - double["m_ks_system"], atol=1e-12
    )
    ratio = double["q"].to_numpy()
    # Flat, but for the few that only their companion makes bright enough.
    assert kstest(ratio, "uniform", (0.2, 0.8)).pvalue > 1e-3
    # Equal companions of main-sequence stars add 0.75 mag, scattered by 0.2 each.
    twins = double.filter(pl.col("q") > 0.97)["delta_mag"].to_numpy()
    assert np.median(twins) == pytest.approx(0.72, abs=0.12)
    single = stars.filter(~pl.col("double"))
    assert single["delta_mag"].abs().max() == 0
    assert single["q"].null_count() == len(single)


def test_parallaxes_scatter_by_their_errors_around_the_zero_point():
    options = HotSurveyOptions(n_stars=1500, seed=2)
    drawn = draw_hot_stars(options)
    table = observe_photometry(drawn, options)
    corrected = table["parallax"] - table["parallax_offset"]
    pull = (corrected - drawn["parallax_true"]) / table["parallax_error"]
    # 1500 stars: 0.026 and 0.018 are the standard errors.
    assert abs(pull.mean()) < 0.09
    assert pull.std() == pytest.approx(1.0, abs=0.06)


def test_zero_points_are_those_that_users_compute(written):
    folder, _, memory = written
    table = read_photometry(folder / "photometry.parquet")
    found = parallax_offsets(table).offset
    ours = memory.photometry["parallax_offset"].to_numpy()
    # Magnitudes and wavenumbers are rounded, and noise may cross a node.
    np.testing.assert_allclose(found, ours, atol=1e-4)
    assert -0.08 < ours.min() < ours.max() < 0.02


def test_apparent_magnitudes_follow_from_distance_dust_and_light():
    options = HotSurveyOptions.ideal(n_stars=200, repeats=0.0, seed=3)
    memory = simulate_hot_stars(options)
    truth, table = memory.truth, memory.photometry
    modulus = 5 * np.log10(truth["distance_pc"].to_numpy() / 10)
    # A_Ks of Fitzpatrick (1999): 0.35 E(B-V).
    expected = truth["m_ks"].to_numpy() + modulus + 0.35 * truth["ebv"].to_numpy()
    pull = (table["ks"].to_numpy() - expected) / table["ks_err"].to_numpy()
    # Coefficients vary by 0.01 with temperature and dust.
    assert abs(pull.mean()) < 0.3
    assert pull.std() == pytest.approx(1.0, abs=0.2)


def test_noise_is_what_the_inverse_variances_say():
    loud = HotSurveyOptions.ideal(n_stars=12, seed=6, noise=True)
    quiet = simulate_hot_stars(HotSurveyOptions.ideal(n_stars=12, seed=6))
    noisy = simulate_hot_stars(loud)
    np.testing.assert_array_equal(noisy.ivar, quiet.ivar)
    pull = (noisy.flux.astype(float) - quiet.flux) * np.sqrt(noisy.ivar)
    # Some 50 000 pixels: 0.003 is the standard error.
    assert pull.std() == pytest.approx(1.0, abs=0.02)
    ratio = np.median(
        (quiet.flux * np.sqrt(quiet.ivar))[:, (WAVE > 4000) & (WAVE < 5500)]
    )
    assert 20 < ratio < 300


def test_inverse_variances_tell_nothing_of_lines():
    memory = simulate_hot_stars(HotSurveyOptions.ideal(n_stars=20, seed=6))
    for line in (4862.7, 4341.7, 6564.6):
        near = np.abs(WAVE - line) < 25
        error = memory.ivar[:, near].astype(float) ** -0.5
        x = np.linspace(-1, 1, near.sum())
        for row in error:
            smooth = np.polynomial.Polynomial.fit(x, row, 3)(x)
            # Light in H beta falls by half; kinks of the sensitivity are below 1 percent.
            assert np.abs(row / smooth - 1).max() < 0.01


def test_emission_is_the_light_that_was_added():
    quiet = HotSurveyOptions.ideal(n_stars=60, seed=8, emission=0.5, repeats=0.0)
    memory = simulate_hot_stars(quiet)
    truth = memory.truth
    assert truth["emission"].mean() == 0.5
    with_it = truth["emission"].to_numpy() & (truth["emission_ew_seen"].to_numpy() > 3)
    near = np.abs(WAVE - defects.H_ALPHA) < 40
    labels = truth.select("teff", "logg", "feh").to_numpy()
    plain = hot_flux(
        labels, 0.0, vsini=truth["vsini"].to_numpy(), rv=truth["rv"].to_numpy()
    )
    for row in np.flatnonzero(with_it):
        ratio = memory.flux[row][near] / plain[row][near]
        x = np.linspace(-1, 1, near.sum())
        wings = np.abs(x) > 0.8
        level = np.polyval(np.polyfit(x[wings], ratio[wings], 1), x)
        step = np.gradient(WAVE[near])
        star = plain[row][near]
        width = np.sum((ratio / level - 1) * star / np.median(star) * step)
        # Broad lines leave a few percent of their light in the wings.
        assert width == pytest.approx(truth["emission_ew_seen"][int(row)], rel=0.2)


def test_emission_significance_is_its_light_over_the_noise_of_the_window():
    light, ivar = np.zeros((2, len(WAVE))), np.full((2, len(WAVE)), 4.0)
    near = np.flatnonzero(np.abs(WAVE - defects.H_ALPHA) < defects.WINDOW)
    light[1, near[:9]] = 2.0
    found = defects.emission_significance(light, ivar)
    np.testing.assert_allclose(found, [0, 18 / (0.5 * np.sqrt(len(near)))])


def test_disks_brighten_the_infrared_only_if_wished():
    chosen = {"n_stars": 60, "seed": 8, "emission": 1.0, "repeats": 0.0}
    magnitudes = {
        disk: simulate_hot_stars(HotSurveyOptions.ideal(disk=disk, **chosen))
        for disk in (True, False)
    }
    with_disk, without = magnitudes[True], magnitudes[False]
    apart = (without.photometry["ks"] - with_disk.photometry["ks"]).to_numpy()
    strength = with_disk.truth["disk_ks"].to_numpy()
    # Magnitudes are rounded to 1e-4; their errors change a little with brightness.
    np.testing.assert_allclose(apart, strength, atol=0.01)
    assert strength.max() > 0.1
    np.testing.assert_array_equal(with_disk.photometry["g"], without.photometry["g"])


@pytest.mark.parametrize("fault", defects.FAULTS)
def test_every_fault_breaks_a_spectrum(fault):
    flux = hot_flux([12_000.0, 4.0, 0.0], 0.0)
    found = defects.break_spectrum(np.random.default_rng(1), flux, fault)
    assert np.isfinite(found).all()
    # Faults of a tenth of the light at least, somewhere.
    assert np.abs(found / flux - 1).max() > 0.1


def test_repeats_are_of_the_same_star_on_other_nights(survey):
    truth = survey.truth
    assert survey.flux.shape == survey.ivar.shape == (len(truth), len(survey.wave))
    assert survey.flux.dtype == survey.ivar.dtype == np.float32
    assert truth["visit_id"].is_unique().all()
    stars = truth.group_by("star_id").agg(
        pl.len(), pl.col("night").n_unique(), pl.col("m_ks", "rv", "teff").n_unique()
    )
    assert len(stars) == 300
    assert stars["len"].max() == 4
    assert (stars["night"] == stars["len"]).all()
    assert stars.select("m_ks", "rv", "teff").max().row(0) == (1, 1, 1)
    assert truth["broken"].is_not_null().mean() == pytest.approx(0.05, abs=0.03)
    assert survey.photometry["star_id"].is_unique().all()
    assert set(survey.photometry["gaia_id"]) == set(truth["gaia_id"])


def test_a_pairs_spectrum_is_the_sum_of_two():
    options = HotSurveyOptions.ideal(n_stars=60, seed=9, pairs=1.0, repeats=0.0)
    memory = simulate_hot_stars(options)
    truth = memory.truth
    parts = [
        hot_flux(
            truth.select(f"teff{end}", f"logg{end}", "feh").to_numpy(),
            truth[f"m_ks{end}"].to_numpy(),
            vsini=truth[f"vsini{end}"].to_numpy(),
            rv=truth[f"rv{end}"].to_numpy(),
        )
        for end in ("", "_2")
    ]
    dust = passed_by_dust(WAVE, truth["ebv"].to_numpy())
    ratio = memory.flux / ((parts[0] + parts[1]) * dust)
    # Left are the part of the light in the fiber, one number, and sodium.
    clean = np.abs(WAVE - 5895) > 30
    level = np.median(ratio[:, clean], axis=1, keepdims=True)
    assert np.abs(ratio[:, clean] / level - 1).max() < 1e-4


def test_velocities_move_lines_as_they_should():
    options = HotSurveyOptions.ideal(n_stars=30, seed=9, repeats=0.0)
    memory = simulate_hot_stars(options)
    truth = memory.truth
    labels = truth.select("teff", "logg", "feh").to_numpy()
    still = hot_flux(labels, 0.0, vsini=truth["vsini"].to_numpy())
    near = np.abs(WAVE - 4862.7) < 60
    for row in range(30):
        seen = memory.flux[row][near] / np.median(memory.flux[row][near])
        moved = [
            np.interp(WAVE[near], WAVE * (1 + v / C_KMS), still[row] / seen.max())
            for v in (truth["rv"][row] - 60, truth["rv"][row], truth["rv"][row] + 60)
        ]
        misfit = [
            np.var(
                np.log(seen / m)
                - np.polyval(np.polyfit(WAVE[near], np.log(seen / m), 2), WAVE[near])
            )
            for m in moved
        ]
        assert np.argmin(misfit) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pairs": 1.5}, "pairs is 1.5"),
        ({"temperatures": (7000.0, 30_000.0)}, "temperatures"),
        ({"snr": (100.0, 50.0)}, "snr"),
        ({"n_stars": 0}, "n_stars"),
    ],
)
def test_options_out_of_range_are_refused_by_name(wrong, words):
    with pytest.raises(ValueError, match=words):
        HotSurveyOptions(**wrong)


def test_stars_that_no_survey_sees_are_said_to_be_so():
    with pytest.raises(ValueError, match="widen the options"):
        draw_hot_stars(HotSurveyOptions(n_stars=5, magnitudes=(3.0, 3.001)))
