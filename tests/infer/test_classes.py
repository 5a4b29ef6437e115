import numpy as np
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.infer.classes import CLASSES, ClassOptions, classify_stars


def star(**columns) -> pl.DataFrame:
    row = {
        "star_id": "a",
        "n_visits": 8,
        "n_nights": 8,
        "chi2": 90.0,
        "dof": 7,
        "p_value": 1e-12,
        "q_value": 1e-11,
        "rv_intrinsic": 3.0,
        "rv_intrinsic_low": 2.0,
        "rv_intrinsic_high": 5.0,
        "p_constant": 0.0,
        "constant": False,
        "variable": True,
        "double_lined": False,
        "n_double_lined": 0,
        "n_moonlight": 0,
        "n_teff": 0,
    }
    return schema.conform(pl.DataFrame([row | columns]), "variables")


ORBIT = pl.DataFrame(
    {
        "star_id": ["a"],
        "period": [12.5],
        "mass_function": [0.2],
        "m2_min": [float("nan")],
        "orbit_status": ["good"],
    }
)

PERIOD = pl.DataFrame(
    {
        "star_id": ["a", "a"],
        "rank": [2, 1],
        "period": [0.9, 12.4],
        "period_err": [0.1, 0.2],
        "fap": [1e-2, 1e-6],
    }
)


def classified(table, **options):
    given = {k: options.pop(k, None) for k in ("periods", "orbits")}
    found = classify_stars(table, **given, options=ClassOptions(**options))
    return found.row(0, named=True)


@pytest.mark.parametrize(
    ("columns", "given", "wanted"),
    [
        ({"double_lined": True, "n_double_lined": 3}, {}, "double-lined binary"),
        ({"double_lined": True, "n_double_lined": 1}, {}, "variable"),
        ({"p_teff_constant": 1e-9}, {"orbits": ORBIT}, "single-lined binary"),
        ({"p_teff_constant": 1e-9, "p_teff_rv": 0.2}, {}, "variable"),
        (
            {"p_teff_constant": 1e-9, "p_teff_rv": 0.02},
            {"orbits": ORBIT},
            "likely pulsator",
        ),
        ({"p_teff_constant": 0.1, "p_teff_rv": 0.02}, {}, "variable"),
        ({"p_teff_constant": 0.1, "p_teff_rv": 1e-4}, {}, "likely pulsator"),
        ({}, {"orbits": ORBIT}, "single-lined binary"),
        ({}, {"periods": PERIOD}, "single-lined binary"),
        ({}, {"periods": PERIOD.with_columns(fap=pl.lit(0.1))}, "variable"),
        (
            {},
            {"orbits": ORBIT.with_columns(orbit_status=pl.lit("too few"))},
            "variable",
        ),
        ({"variable": False, "constant": True}, {"orbits": ORBIT}, "constant"),
        ({"variable": False, "p_constant": 0.4}, {}, "uncertain"),
    ],
)
def test_the_class_follows_the_evidence(columns, given, wanted):
    found = classified(star(**columns), **given)
    assert found["class"] == wanted
    assert wanted in CLASSES
    assert found["evidence"]


def test_period_and_masses_come_from_the_tables():
    found = classified(star(), periods=PERIOD)
    assert (found["period"], found["period_err"], found["period_fap"]) == (
        12.4,
        0.2,
        1e-6,
    )
    found = classified(star(), periods=PERIOD, orbits=ORBIT)
    assert (found["period"], found["mass_function"]) == (12.5, 0.2)
    assert "orbit of 12.5 d" in found["evidence"]


@pytest.mark.parametrize(
    ("peak", "error", "kept"),
    [(12.4, 0.001, True), (12.0, 0.2, True), (12.0, 0.1, False), (6.2, 0.2, False)],
)
def test_the_error_is_the_orbits_and_the_chance_stays_at_its_own_period(
    peak, error, kept
):
    orbit = ORBIT.with_columns(period_low=pl.lit(12.4), period_high=pl.lit(12.44))
    period = PERIOD.with_columns(period=pl.lit(peak), period_err=pl.lit(error))
    found = classified(star(), periods=period, orbits=orbit)
    assert found["period"] == 12.5
    assert found["period_err"] == pytest.approx(0.02)
    assert found["period_fap"] == pytest.approx(1e-6 if kept else np.nan, nan_ok=True)
    assert found["class"] == "single-lined binary"
    bad = orbit.with_columns(orbit_status=pl.lit("too few"))
    found = classified(star(), periods=period, orbits=bad)
    assert (found["period"], found["period_err"], found["period_fap"]) == (
        peak,
        error,
        1e-6,
    )


@pytest.mark.parametrize(
    ("columns", "massive"),
    [
        ({"mass_function": 0.2}, False),
        ({"mass_function": 1.2}, True),
        # 1.2 solar masses beside a star of one: m^3 = 1.2 (1 + m)^2 has m = 2.5.
        ({"mass_function": 1.2, "mass": 1.0}, True),
        # The companion outweighs its limit, not the star: it may be outshone.
        ({"mass_function": 0.3, "mass": 3.0}, False),
        ({"m2_min": 1.5}, True),
        ({"m2_min": 1.5, "mass": 2.0}, False),
        ({"m2_min": 0.8}, False),
    ],
)
def test_a_companion_that_should_be_seen_and_is_not_is_listed(columns, massive):
    orbit = ORBIT.with_columns(**{k: pl.lit(v) for k, v in columns.items()})
    found = classified(star(), orbits=orbit)
    assert found["massive_companion"] is massive
    assert ("solar masses" in found["evidence"]) is massive
    hot = classified(star(p_teff_rv=1e-9), orbits=orbit)
    assert (hot["class"], hot["massive_companion"]) == ("likely pulsator", massive)
    two = classified(star(double_lined=True, n_double_lined=4), orbits=orbit)
    assert not two["massive_companion"]
    assert classified(star(), orbits=orbit, massive=50.0)["massive_companion"] is False


def test_the_least_mass_is_that_of_the_mass_function_where_the_mass_is_known():
    orbit = ORBIT.with_columns(mass=pl.lit(1.0), mass_function=pl.lit(1.2))
    least = classified(star(), orbits=orbit)["m2_min"]
    assert least**3 / (1 + least) ** 2 == pytest.approx(1.2)


def test_stars_without_period_or_orbit_keep_their_rows():
    other = star(star_id="b", variable=False, constant=True)
    found = classify_stars(pl.concat([star(), other]), PERIOD, ORBIT)
    assert found["star_id"].to_list() == ["a", "b"]
    assert found["period"].is_nan().to_list() == [False, True]
    assert found.schema == schema.empty("variables").schema


def test_a_companion_is_massive_only_if_its_lower_limit_is():
    orbit = ORBIT.with_columns(mass_function=pl.lit(3.0))
    sure = orbit.with_columns(mass_function_low=pl.lit(2.0))
    unsure = orbit.with_columns(mass_function_low=pl.lit(0.1))
    assert classified(star(), orbits=sure)["massive_companion"] is True
    assert classified(star(), orbits=unsure)["massive_companion"] is False
    # Beside a star of one solar mass m^3 = f (1 + m)^2: 4.5 for f = 3, 0.65 for 0.1.
    with_mass = unsure.with_columns(mass=pl.lit(1.0))
    found = classified(star(), orbits=with_mass)
    assert found["m2_min"] == pytest.approx(4.48, abs=0.02)
    assert found["massive_companion"] is False


@pytest.mark.parametrize(
    "bad", [{"pulsator_p": 2.0}, {"double_lined_visits": 0}, {"massive": -1.0}]
)
def test_options_without_meaning_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ClassOptions(**bad)
