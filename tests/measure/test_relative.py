import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.data.status import FATAL, Status
from steadystar.measure.relative import (
    RelativeOptions,
    StarTemplates,
    measure_relative,
)

from .mock import mock, pulls

PUBLISHED = RelativeOptions(method="published")


def differences(table, truth):
    """Velocities less truth, less the first exposure's: what a relative velocity says."""
    d = (table["rv_raw"] - truth).to_numpy()
    return d - d[0]


@pytest.mark.parametrize("options", [RelativeOptions(), PUBLISHED])
def test_shifts_come_out_exactly_as_c_times_z(options):
    velocities = [0.0, 150.0, -150.0, 3.25, 250.0]
    visits, spectra = mock(1, 5, snr=1e5, velocities=velocities)
    found = measure_relative(visits, spectra, options).table
    # Relative to the first exposure: (1 + v) / (1 + v_0) in units of c. The relativistic
    # form differs by 38 m/s at 150 km/s, ln(1 + v/c) as a velocity by 37.
    # 5 m/s: normalization follows other pixels when lines cross its windows by 250 km/s.
    ratio = (1 + found["rv_raw"].to_numpy() / C_KMS) / (1 + found["rv_raw"][0] / C_KMS)
    assert_allclose(C_KMS * (ratio - 1), velocities, atol=5e-3)


def test_wavelengths_of_the_observatory_are_moved_to_the_barycenter():
    visits, spectra = mock(1, 4, snr=1e5, frame="observatory", velocities=[0.0] * 4)
    found = measure_relative(visits, spectra).table
    assert_allclose(found["rv_raw"], 0, atol=2e-3)
    observed = (1 + found["rv_raw"] / C_KMS) / (1 + found["bary_corr"] / C_KMS) - 1
    assert_allclose(found["rv_obs"], C_KMS * observed, atol=1e-9)
    # Without the correction the earth's own motion is what would be measured.
    still = visits.with_columns(bary_corr=pl.lit(0.0))
    moving = measure_relative(still, spectra).table
    assert moving["rv_raw"].std() > 5


# 4% of a standard deviation is 2.5 times the sampling error of 300 velocities. 3000 a
# bin are in the benchmark, where the widths are 0.98 to 1.01 at S/N 5 to 100.
@pytest.mark.parametrize("snr", [5.0, 20.0, 100.0])
def test_error_bars_mean_what_they_say(snr):
    visits, spectra = mock(60, 5, snr=snr, seed=int(snr))
    z = pulls(measure_relative(visits, spectra).table, visits["truth"])
    assert len(z) == 300
    assert np.std(z) == pytest.approx(1, abs=2.5 / np.sqrt(2 * len(z)))


def test_pulls_tell_when_the_stated_noise_is_wrong_by_two():
    visits, spectra = mock(60, 5, snr=30, ivar_factor=4.0)
    found = measure_relative(visits, spectra).table
    assert np.std(pulls(found, visits["truth"])) > 1.7
    assert found["ivar_scale"].median() == pytest.approx(2, abs=0.15)


def test_joint_scatters_less_than_the_published_estimator():
    visits, spectra = mock(40, 6, snr=15, seed=3)
    scatter = {}
    for options in (RelativeOptions(), PUBLISHED):
        found = measure_relative(visits, spectra, options).table
        d = found.with_columns(d=pl.col("rv_raw") - visits["truth"])
        centered = d["d"] - d.select(pl.col("d").mean().over("star_id"))["d"]
        scatter[options.method] = centered.std()
    assert scatter["joint"] < 0.85 * scatter["published"]


def test_cosmic_rays_are_found_and_followed_by_no_velocity():
    clean = mock(6, 5, snr=100, seed=5)
    hit = mock(6, 5, snr=100, seed=5, hits=6)
    before = measure_relative(*clean).table
    after = measure_relative(clean[0], hit[1]).table
    assert (after["status"] & int(Status.COSMIC_RAYS)).ne(0).mean() > 0.9
    # The zero of a star's velocities is free: only what moves within a star counts.
    moved = after.with_columns(by=after["rv_raw"] - before["rv_raw"]).select(
        (pl.col("by") - pl.col("by").mean().over("star_id")) / pl.col("rv_raw_err")
    )["by"]
    # Up to forty of 2600 pixels are lost: 1% of the information, 0.1 sigma of movement.
    assert moved.abs().max() < 0.5


def test_no_exposure_is_zero_without_an_error_in_the_joint_fit():
    found = measure_relative(*mock(3, 4)).table
    assert (found["rv_raw"] != 0).all()
    assert (found["rv_raw_err"] > 0).all()
    assert (
        found.filter(pl.col("star_id") == "s0000")["reference_visit_id"].n_unique() == 1
    )


def test_published_reference_is_zero_by_definition_and_says_so():
    visits, spectra = mock(2, 4)
    snr = np.where(np.arange(8) % 4 == 2, 60.0, 50.0)
    found = measure_relative(
        visits.with_columns(snr=pl.Series(snr)), spectra, PUBLISHED
    )
    own = (found.table["status"] & int(Status.REFERENCE)) != 0
    assert found.table.filter(own)["visit_id"].to_list() == ["v0000-002", "v0001-002"]
    assert (found.table.filter(own)["rv_raw"] == 0).all()
    assert (found.table.filter(~own)["rv_raw"] != 0).all()


def test_covariance_says_that_the_difference_of_two_has_both_variances():
    visits, spectra = mock(1, 4, snr=60)
    found = measure_relative(visits, spectra)
    covariance = np.array(found.covariances["covariance"][0]).reshape(4, 4)
    error = found.table["rv_raw_err"].to_numpy()
    assert found.covariances["visit_ids"][0].to_list() == visits["visit_id"].to_list()
    difference = np.diag(covariance)[:, None] + np.diag(covariance) - 2 * covariance
    expected = error[:, None] ** 2 + error**2
    off = ~np.eye(4, dtype=bool)
    assert_allclose(difference[off], expected[off], rtol=0.02)
    # The gauge: the weighted mean has no variance, and is zero.
    weights = error**-2 / (error**-2).sum()
    assert weights @ covariance @ weights < 1e-3 * error.min() ** 2
    assert abs(weights @ found.table["rv_raw"].to_numpy()) < 0.02 * error.min()


def test_a_star_does_not_depend_on_its_company():
    visits, spectra = mock(9, 4)
    all_together = measure_relative(visits, spectra).table
    one = visits["star_id"] == "s0004"
    alone = measure_relative(visits.filter(one), spectra[one.to_numpy()]).table
    # The batch is another, so sums are rounded otherwise: float32 in pixels.
    assert_allclose(alone["rv_raw"], all_together.filter(one)["rv_raw"], atol=1e-4)
    assert_allclose(
        alone["rv_raw_err"], all_together.filter(one)["rv_raw_err"], rtol=1e-4
    )


def test_order_of_rows_is_kept_and_does_not_matter():
    visits, spectra = mock(4, 3)
    order = np.random.default_rng(0).permutation(12)
    straight = measure_relative(visits, spectra).table
    mixed = measure_relative(visits[order], spectra[order]).table
    assert mixed["visit_id"].to_list() == visits["visit_id"][order].to_list()
    joined = mixed.join(straight, on="visit_id", suffix="_straight")
    assert_allclose(joined["rv_raw"], joined["rv_raw_straight"], atol=1e-3)


def test_unusable_spectra_keep_their_rows_and_say_why():
    visits, spectra = mock(3, 4)
    ivar = spectra.ivar.copy()
    ivar[1] = 0
    spectra = Spectra.from_arrays(
        spectra.wave, spectra.flux, ivar, 7500.0, frame="barycenter"
    )
    snr = np.full(12, 50.0)
    snr[2] = 1.0
    snr[4:7] = 0.3
    found = measure_relative(visits.with_columns(snr=pl.Series(snr)), spectra).table
    assert len(found) == 12
    status = found["status"].to_numpy()
    assert status[1] & Status.NO_DATA
    assert (status[[2, 4, 5, 6]] & Status.LOW_SNR).all()
    assert status[7] & Status.SINGLE_EXPOSURE
    fatal = (status & int(FATAL)) != 0
    assert np.flatnonzero(fatal).tolist() == [1, 2, 4, 5, 6, 7]
    assert found["rv_raw"].is_nan().to_numpy()[fatal].all()
    assert found["rv_raw"].is_finite().to_numpy()[~fatal].all()


def test_noise_has_no_velocity():
    visits, spectra = mock(2, 4)
    flux = 1e4 + 200 * np.random.default_rng(0).normal(size=spectra.flux.shape)
    noise = Spectra.from_arrays(
        spectra.wave, flux, spectra.ivar, 7500.0, frame="barycenter"
    )
    found = measure_relative(visits, noise).table
    weak = found["rv_raw"].is_nan() | (found["rv_raw_err"] > 1)
    doubtful = (found["status"] & int(Status.TWO_MINIMA | FATAL)) != 0
    assert (weak | doubtful).all()


def test_beyond_the_search_range_is_an_edge_not_a_velocity():
    # 400 km/s are searched.
    visits, spectra = mock(1, 6, velocities=[0.0, 1, -1, 2, -2, 450.0])
    found = measure_relative(visits, spectra).table
    assert np.isnan(found["rv_raw"].to_numpy()[5])
    assert found["status"][5] & Status.GRID_EDGE
    others = differences(found, visits["truth"])[:5]
    assert_allclose(others, 0, atol=5 * found["rv_raw_err"][0])


def test_kept_templates_keep_the_zero_when_a_night_is_added(tmp_path):
    visits, spectra = mock(3, 6, snr=40)
    old = np.arange(18) % 6 < 4
    first = measure_relative(visits.filter(old), spectra[old])
    first.templates.save(tmp_path / "templates.parquet")
    kept = StarTemplates.load(tmp_path / "templates.parquet")
    second = measure_relative(visits.filter(~old), spectra[~old], templates=kept)
    assert len(second.templates.table) == 0
    both = pl.concat([first.table, second.table]).sort("visit_id")
    truth = visits["truth"]
    z = pulls(both, truth)
    assert np.abs(z).max() < 4
    assert second.table["reference_visit_id"].to_list() == [
        f"v{s:04d}-{first.table['reference_visit_id'][4 * s][6:]}"
        for s in (0, 0, 1, 1, 2, 2)
    ]


def test_files_that_hold_no_templates_are_refused(tmp_path):
    from steadystar.data.tables import write_parquet

    write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "x.parquet", {})
    with pytest.raises(ValueError, match="does not hold star templates"):
        StarTemplates.load(tmp_path / "x.parquet")


def test_rows_and_spectra_must_agree():
    visits, spectra = mock(1, 3)
    with pytest.raises(ValueError, match="3 visits but 2 spectra"):
        measure_relative(visits, spectra[:2])


def test_no_visits_give_an_empty_table():
    visits, spectra = mock(1, 3)
    found = measure_relative(visits[:0], spectra[np.zeros(0, int)])
    assert len(found.table) == 0
    assert "rv_raw" in found.table.columns
