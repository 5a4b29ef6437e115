"""Zero points from twilight, the Moon and standards."""

import numpy as np
import polars as pl
import pytest
from astropy.coordinates import get_body_barycentric_posvel
from astropy.time import Time

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.known import zeropoints_from_known
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.sunlight import sunlight
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status
from steadystar.survey.observatory import SITES, barycentric

FIBERS, NIGHTS = 20, 8


def nights(seed, twilights=4, wild=0.01):
    """Fibers that drift from night to night: twilight spectra, then two of a star each."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.3, (NIGHTS, 1)) + rng.normal(0, 0.2, (NIGHTS, FIBERS))
    rows = []
    for night, fiber in np.ndindex(NIGHTS, FIBERS):
        for k in range(twilights):
            error, sun = rng.uniform(0.03, 0.1), rng.normal(0, 0.4)
            rv = sun + drift[night, fiber] + rng.normal(0, np.hypot(error, 0.05))
            rv += 50 * (rng.random() < wild)
            rows.append(("sun", fiber, night, f"t{night}{k}", rv, error, sun, True))
        for k in range(2):
            error, star = rng.uniform(0.1, 0.3), 10.0 * fiber
            rv = star + drift[night, fiber] + rng.normal(0, error)
            rows.append(
                (f"s{fiber}", fiber, night, f"e{night}{k}", rv, error, star, False)
            )
    names = (
        "star_id",
        "fiber",
        "night",
        "exposure_id",
        "rv_raw",
        "rv_raw_err",
        "true",
        "solar",
    )
    table = pl.DataFrame(rows, schema=names, orient="row")
    visit = pl.format("{}-{}-{}", "star_id", "fiber", "exposure_id")
    return table.with_columns(visit_id=visit), drift


def of_the_sun(table):
    return table.filter("solar").select("visit_id", rv="true")


def test_drifts_come_back_with_honest_errors():
    pulls = []
    for seed in range(6):
        table, drift = nights(seed)
        offsets = zeropoints_from_known(table, of_the_sun(table)).offsets["fiber+night"]
        true = drift[offsets["night"].to_numpy(), offsets["fiber"].to_numpy()]
        pulls.append(
            (offsets["offset"].to_numpy() - true) / offsets["offset_err"].to_numpy()
        )
    # 960 offsets tell a width to 2.3%; the noise is inferred from few spectra a group.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.07)
    assert abs(np.mean(pulls)) < 0.1


def test_every_spectrum_of_the_fiber_and_night_is_corrected_better_than_by_exposures():
    table, _ = nights(1)
    stars = table.filter(~pl.col("solar"))
    known = zeropoints_from_known(table, of_the_sun(table)).apply(stars)
    solved = fit_zeropoints(stars, by=["exposure_id"]).apply(stars)

    def scatter(frame):
        rest = pl.col("rv") - pl.col("true")
        return frame.select((rest - rest.mean().over("star_id")).std()).item()

    # Errors are 0.1 to 0.3 km/s, rms 0.21; what a fiber does alone, 0.2, stays with the
    # other.
    assert scatter(known) < 0.23
    assert scatter(solved) > 1.2 * scatter(known)
    pull = (known["rv"] - known["true"]) / known["rv_err"]
    assert pull.std() == pytest.approx(1.0, abs=0.12)  # 320 spectra: 4%, some shared
    assert (known["status"] == 0).all()


def test_wild_spectra_weigh_nothing_and_are_counted():
    clean, _ = nights(2, wild=0.0)
    one = zeropoints_from_known(clean, of_the_sun(clean))
    hit = pl.col("solar") & (pl.int_range(pl.len()) % 97 == 0)
    wild = clean.with_columns(
        rv_raw=pl.col("rv_raw") + pl.when(hit).then(80.0).otherwise(0.0)
    )
    two = zeropoints_from_known(wild, of_the_sun(wild))
    number = wild.filter(hit).height
    assert number > 5
    assert any(note.startswith(f"{number} of them are far") for note in two.notes)
    moved = (
        one.offsets["fiber+night"]["offset"] - two.offsets["fiber+night"]["offset"]
    ).abs()
    assert moved.max() < 0.2


def standards(seed, each=3, spectra=4):
    """Ten fibers, each of which sees a few of six standards whose velocities are vague."""
    rng = np.random.default_rng(seed)
    off, vague = rng.normal(0, 0.3, 10), rng.normal(0, 0.5, 6)
    fiber, star = np.concatenate(
        [[(f, s) for s in rng.choice(6, each, replace=False)] for f in range(10)]
    ).T.repeat(spectra, axis=1)
    rv = off[fiber] + rng.normal(0, 0.05, len(fiber)) - vague[star]
    table = pl.DataFrame({"star_id": star, "fiber": fiber, "rv_raw": rv})
    table = table.with_columns(rv_raw_err=pl.lit(0.05))
    known = pl.DataFrame({"star_id": np.arange(6), "rv": 0.0, "rv_err": 0.5})
    return table, known, off


def test_repeats_of_one_standard_do_not_better_what_is_known_of_it():
    table, known, _ = standards(0, each=1, spectra=50)
    zero = zeropoints_from_known(table, known, by=["fiber"])
    # 0.05 / sqrt(50) = 0.007 km/s of noise beside 0.5.
    assert zero.offsets["fiber"]["offset_err"].to_numpy() == pytest.approx(
        0.5, rel=1e-3
    )
    # Known velocities that are 0.5 km/s wrong alike in every spectrum are no noise.
    assert zero.errors["scale"][0] == pytest.approx(1.0, abs=0.2)
    assert zero.errors["floor"][0] < 0.03


def test_fibers_that_saw_the_same_standards_err_together():
    wrong, predicted = [], []
    for seed in range(300):
        table, known, off = standards(seed)
        zero = zeropoints_from_known(table, known, by=["fiber"])
        wrong.append(zero.offsets["fiber"]["offset"].to_numpy() - off)
        predicted.append(zero.covariance_of("fiber", np.arange(10)))
    single = np.mean([np.diag(c) for c in predicted])
    mean = np.mean([c.mean() for c in predicted])
    # 300 means tell a variance to 8%; ten fibers share six standards.
    assert np.mean(np.square(wrong)) == pytest.approx(single, rel=0.15)
    assert np.mean(np.mean(wrong, axis=1) ** 2) == pytest.approx(mean, rel=0.25)
    assert mean > 3 * single / 10


def test_groups_with_too_few_stay_uncalibrated_with_the_width_of_the_others():
    table, drift = nights(4)
    lost = (pl.col("fiber") == 3) & (pl.col("night") == 2)
    rare = table.filter(~(lost & pl.col("solar") & (pl.col("exposure_id") != "t20")))
    zero = zeropoints_from_known(rare, of_the_sun(rare))
    offsets = zero.offsets["fiber+night"]
    assert len(offsets) == FIBERS * NIGHTS
    row = offsets.filter(lost).row(0, named=True)
    assert np.isnan(row["offset"])
    assert row["status"] == int(Status.UNCALIBRATED | Status.TOO_FEW_VISITS)
    assert row["n_visits"] == 1
    out = zero.apply(rare).filter(lost)
    assert (out["rv"] == out["rv_raw"]).all()
    assert ((out["status"] & int(Status.UNCALIBRATED)) != 0).all()
    # Absolute offsets scatter about zero by that of the drifts.
    assert out["correction_err"][0] == pytest.approx(
        np.sqrt(np.mean(drift**2)), rel=0.1
    )
    assert any("1 of 160 offsets" in note for note in zero.notes)


def test_it_is_the_value_that_solving_gives_and_is_saved_as_such(tmp_path):
    table, _ = nights(5)
    zero = zeropoints_from_known(table, of_the_sun(table))
    assert isinstance(zero, ZeroPoints)
    assert zero.method == "known"
    zero.save(tmp_path / "zero")
    again = ZeroPoints.load(tmp_path / "zero")
    assert again.apply(table).equals(zero.apply(table))
    assert again.stars["star_id"].to_list() == ["sun"]


def test_velocities_in_the_observatory_s_frame_can_be_compared():
    table, _ = nights(6)
    swapped = table.with_columns(
        rv_obs=pl.col("rv_raw"), rv_raw=pl.col("rv_raw") + 20.0
    )
    one = zeropoints_from_known(table, of_the_sun(table))
    two = zeropoints_from_known(swapped, of_the_sun(table), velocity="rv_obs")
    assert two.offsets["fiber+night"].equals(one.offsets["fiber+night"])
    with pytest.raises(CalibrationError, match="no column rv_obs"):
        zeropoints_from_known(table, of_the_sun(table), velocity="rv_obs")


def test_hostile_calls_get_sentences():
    table, _ = nights(7)
    known = of_the_sun(table)
    for visits, these, by, words in (
        (table, known, ["fiber", "night"], "one family of offsets at a time"),
        (table, known, ["plate"], "no column plate"),
        (table, known.rename({"rv": "v"}), ["fiber"], "rv is missing"),
        (table.drop("visit_id"), known, ["fiber"], "visit_id is missing"),
        (table, pl.concat([known, known.head(1)]), ["fiber"], "given 2 times"),
        (table, known.with_columns(visit_id=pl.lit("x") + pl.col("visit_id")), ["fiber"], "None of the 960 visits"),
        (table.with_columns(rv_raw_err=pl.lit(float("nan"))), known, ["fiber"], "None of the 960"),
        (table.with_columns(rv_raw=pl.lit("x")), known, ["fiber"], "should hold numbers"),
    ):  # fmt: skip
        with pytest.raises(CalibrationError, match=words):
            zeropoints_from_known(visits, these, by)
    with pytest.raises(CalibrationError, match="no site 'keck'"):
        sunlight(58_000.0, "keck")


@pytest.mark.parametrize("name", list(SITES))
def test_sunlight_agrees_with_the_barycentric_correction(name):
    # Two routes: astropy's geometry here, ERFA's in `barycentric`, toward the Sun, and
    # the Sun's own 13 m/s about the barycenter.
    mjd = 58_000 + np.linspace(0, 400, 60)
    time = Time(mjd, format="mjd", scale="utc")
    (sun, moving), (earth, _) = (
        get_body_barycentric_posvel(body, time, ephemeris="builtin")
        for body in ("sun", "earth")
    )
    toward = (sun - earth).xyz
    toward = (toward / np.linalg.norm(toward, axis=0)).value
    ra = np.degrees(np.arctan2(toward[1], toward[0])) % 360
    dec = np.degrees(np.arcsin(toward[2]))
    own = np.sum(moving.xyz.to_value("km/s") * toward, axis=0)
    _, correction = barycentric(mjd, ra, dec, SITES[name])
    # The site sees the Sun 8.8 arcsec beside where the Earth's center does: 1.3 m/s of
    # the 30 km/s; UT1 less UTC, which one of them neglects, 20 cm/s.
    assert sunlight(mjd, name) == pytest.approx(own - correction, abs=2e-3)


def test_moonlight_is_faster_or_slower_by_at_most_the_orbit_of_the_moon():
    mjd = 58_000 + np.arange(0, 30, 0.25)
    sky, moon = sunlight(mjd, "lamost"), sunlight(mjd, "lamost", "moon")
    # Lunar orbit 1.02 km/s, its eccentricity and the rotation of the Earth: the path by
    # the Moon changes by no more than twice that more than the direct one.
    assert np.abs(moon - sky).max() < 2.5
    assert np.abs(moon - sky).max() > 0.8


def test_unknown_times_have_no_velocity():
    found = sunlight([58_000.0, np.nan], "apo")
    assert np.isfinite(found).tolist() == [True, False]


def test_reflected_sunlight_of_years_ahead_needs_no_new_tables_of_the_earths_rotation():
    # The Moon's light keeps within what the motions of Earth and Moon can make of it.
    years = np.linspace(60_000, 61_700, 30)
    found = sunlight(years, "lamost", "moon")
    assert (np.abs(found) < 3.5).all()
    assert np.ptp(found) > 0.1
