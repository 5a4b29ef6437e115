"""Velocities against templates of all types, on real spectra of LAMOST and APOGEE."""

import numpy as np
import polars as pl
import pytest

from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.against_own import measure_against_own
from steadystar.measure.relative import measure_relative
from steadystar.measure.velocities import measure_velocities
from steadystar.models.library import bundled
from steadystar.models.templates import Templates, bundled_templates
from steadystar.survey.folder import read_folder
from steadystar.survey.registry import read


@pytest.fixture(scope="module")
def lamost(real_data):
    """LAMOST visits with velocities in the system of the templates."""
    seen = read_folder(real_data / "lamost_mrs")
    parts = []
    for arm in ("blue", "red"):
        mine = (seen.visits["arm"] == arm).to_numpy()
        found = measure_velocities(
            seen.spectra[mine],
            bundled_templates(f"lamost-mrs-{arm}"),
            arm=arm,
            bary_corr=seen.visits["bary_corr"].to_numpy()[mine],
        )
        about = seen.visits.filter(pl.Series(mine)).select("field", "night", "arm")
        parts.append(about.hstack(found))
    return pl.concat(parts)


def test_lamosts_binary_shows_two_velocities_about_one_mean(lamost):
    split = lamost.filter(pl.col("night").is_in([58644, 58646]), arm="blue")
    assert len(split) == 7
    assert ((split["status"] & int(Status.DOUBLE_LINED)) != 0).all()
    before = split.filter(night=58644)
    after = split.filter(night=58646)
    assert (before["rv_raw"] < -50).all()
    assert (before["rv_2"] > 50).all()
    assert (after["rv_raw"] > 50).all()
    assert (after["rv_2"] < -70).all()
    # Wilson's line: the mass ratio follows from the two nights, and is that of a pair
    # whose fainter star is the lighter one.
    swing = after["rv_raw"].mean() - before["rv_raw"].mean()
    assert 0.75 < swing / (before["rv_2"].mean() - after["rv_2"].mean()) < 1


def test_lamosts_steady_star_repeats_in_both_arms(lamost):
    # Against itself the star scatters by 0.12 and 0.27 km/s (test_real.py), which the
    # zero points of its exposures do; models of other stars may add a little.
    for arm, scatter in (("blue", 0.12), ("red", 0.27)):
        steady = lamost.filter(field="TD230151N343645T01", arm=arm)
        assert len(steady) == 7
        assert steady["rv_raw"].std() < 1.4 * scatter
        assert (steady["rv_raw_err"] < 0.25).all()
        assert (steady["status"] & int(Status.DOUBLE_LINED) == 0).all()


def test_a_cool_star_of_apogee_has_its_published_velocity(real_data):
    seen = read(real_data / "apogee" / "apVisit-r13-9518-57729-104.fits")
    found = measure_velocities(
        seen.spectra, bundled_templates("h-band"), bary_corr=seen.visits["bary_corr"]
    )
    assert found["rv_raw"][0] == pytest.approx(-82.05, abs=0.5)
    observed = (1 + found["rv_obs"][0] / 299792.458) * (
        1 + seen.visits["bary_corr"][0] / 299792.458
    )
    assert 299792.458 * (observed - 1) == pytest.approx(found["rv_raw"][0], abs=1e-9)


@pytest.mark.slow
def test_apogees_pair_shows_both_stars_at_quadrature(real_data):
    name = "visit_spectra_ap_id_2M06133561+2433362_.npz"
    with np.load(real_data / "apogee" / name) as held:
        flux, error = held["spectra"], held["spec_errs"]
    # The pixels of the combined grid that APOGEE's pipeline fits (Holtzman et al. 2015).
    used = np.r_[322:3242, 3648:6048, 6412:8306]
    spectra = Spectra.from_arrays(
        10 ** (4.179 + 6e-6 * used), flux, error**-2, 22500.0, frame="barycenter"
    )
    found = measure_velocities(spectra, bundled_templates("h-band"))
    first = found.row(0, named=True)
    assert first["status"] & int(Status.DOUBLE_LINED)
    assert first["rv_raw"] == pytest.approx(15, abs=3)
    assert first["rv_2"] == pytest.approx(-101.5, abs=3)
    assert 0.5 < first["light_ratio"] < 1


@pytest.mark.slow
def test_a_star_too_cool_for_the_models_repeats_against_itself(real_data):
    seen = read_folder(real_data / "apogee" / "visits")
    one = (seen.visits["star_id"] == "2M08501918+1056436").to_numpy()
    found = measure_relative(
        seen.visits.filter(pl.Series(one)), seen.spectra[one]
    ).table
    assert len(found) == 12
    # The survey's own velocities of these visits scatter by 0.76 km/s and follow the
    # barycentric correction with a slope of 0.035.
    assert found["rv_raw"].std() < 0.16
    slope = np.polyfit(found["bary_corr"], found["rv_raw"], 1)[0]
    assert abs(slope) < 0.006


@pytest.mark.slow
def test_cool_stars_repeat_against_templates_of_their_other_visits(real_data):
    seen = read_folder(real_data / "apogee" / "visits")
    first = measure_relative(seen.visits, seen.spectra).table
    found = measure_against_own(
        seen.spectra,
        first["rv_obs"],
        groups=seen.visits["star_id"],
        bary_corr=seen.visits["bary_corr"],
    )
    table = seen.visits.select("star_id", "bary_corr").hstack(found)
    # As measured: 0.13, 0.03, 0.31 and (at S/N 4 to 10) 0.5 km/s. The headers' velocities
    # scatter by 0.76, 2.3, 474 and 300.
    for star, number, scatter in (
        ("2M08501918+1056436", 12, 0.16),
        ("2M05392474+4038437", 3, 0.06),
        ("2M00452143+1634446", 3, 0.4),
        ("2M12241699+2453335", 6, 0.7),
    ):
        own = table.filter(pl.col("rv_raw").is_finite(), star_id=star)
        assert len(own) == number
        assert own["rv_raw"].std() < scatter
        assert (own["ivar_scale"] < 1.35).all()
        if number == 12:
            # The header's follow the barycentric correction with a slope of 0.035.
            slope = np.polyfit(own["bary_corr"], own["rv_raw"], 1)[0]
            assert abs(slope) < 0.006


@pytest.mark.slow
def test_a_fast_rotator_differs_from_its_published_velocity_by_the_published_template(
    real_data,
):
    seen = read(real_data / "apogee" / "apVisit-r13-5095-55844-128.fits")
    bary = seen.visits["bary_corr"]

    def measured(templates):
        found = measure_velocities(seen.spectra, templates, bary_corr=bary)
        return found.row(0, named=True)

    # Published, in the header: VHELIO -33.12, VRADERR 0.18, VSCATTER 3.3 km/s, against a
    # model of 6500 K, log g 5, [Fe/H] -0.5 that does not rotate.
    every = measured(bundled_templates("h-band"))
    error = np.hypot(every["rv_raw_err"], 0.18)
    assert every["rv_raw"] == pytest.approx(-33.12, abs=3 * error)
    models = bundled("h-band")
    still, turning = (
        measured(Templates.from_models(models, [6500, 5.0, -0.5], 25500.0, [speed]))
        for speed in (0.0, 20.0)
    )
    assert still["rv_raw"] == pytest.approx(-33.12, abs=0.5)
    # The star does: chi squared says so by far, and the velocity moves with it.
    assert still["chi2"] - turning["chi2"] > 500
    assert turning["rv_raw"] < still["rv_raw"] - 0.1
    assert turning["rv_raw"] == pytest.approx(every["rv_raw"], abs=0.25)
