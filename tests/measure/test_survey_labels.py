"""Which spectra are fitted together, and that every visit is accounted for."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure import survey_labels
from steadystar.measure.label_options import LabelOptions
from steadystar.measure.labels import LabelModel, measure_labels
from steadystar.measure.survey_labels import label_visits

from .star_mock import ARMS, RESOLUTION, clean, fgk, observe

WAVES = {arm: np.linspace(*pixels[[0, -1]], 40) for arm, pixels in ARMS.items()}
WAVES["z"] = np.linspace(8000.0, 8500.0, 40)
EACH = LabelOptions(together=False)


def visits(*rows, **given):
    """Rows of stars and arms, ``"3 blue"``: one exposure of one fiber a star."""
    split = [row.split() for row in rows]
    return pl.DataFrame(
        {
            "visit_id": [f"v-{star}-{arm}" for star, arm in split],
            "star_id": [f"s{star}" for star, _ in split],
            "survey": "lamost-mrs",
            "telescope": "lamost",
            "spectrograph": 1,
            "fiber": [int(star) for star, _ in split],
            "exposure_id": "e1",
            "arm": [arm for _, arm in split],
            "bary_corr": 10.0,
        }
    ).with_columns(**given)


def spectra(*rows, frame="barycenter"):
    """Spectra whose flux is the number of their row, from one on."""
    return Spectra.concatenate(
        [
            Spectra.from_arrays(
                WAVES[row.split()[1]],
                np.full((1, 40), k + 1.0),
                np.ones((1, 40)),
                RESOLUTION,
                frame=frame,
            )
            for k, row in enumerate(rows)
        ]
    )


@pytest.fixture
def fits(monkeypatch):
    """A stand-in for the fit, whose temperature names the rows that it was given.

    The list has the arms of each call, and the velocities that came with them.
    """
    calls = []

    def measure(arms, model, options, *, rv):
        calls.append((list(arms), {k: v.tolist() for k, v in rv.items()}))
        used = {k: np.where(a.ivar[:, 0] > 0, a.flux[:, 0], 0) for k, a in arms.items()}
        total = sum(used[arm] * 100.0**k for k, arm in enumerate(sorted(used)))
        number = len(total)
        lost = total % 7 == 0
        return pl.DataFrame(
            {
                "teff": np.where(lost, np.nan, total),
                "teff_err": np.full(number, 50.0),
                "rv_obs": np.full(number, 30.0),
                "rv_obs_err": np.full(number, 0.5),
                "snr": np.full(number, 44.0),
                "status": np.where(lost, int(Status.NO_LABELS), 0),
                "model": ["stand-in"] * number,
            }
        )

    monkeypatch.setattr(survey_labels, "measure_labels", measure)
    return calls


def run(*rows, options=LabelOptions(), velocities=None, model=None, **given):  # noqa: B008
    return label_visits(
        visits(*rows, **given), spectra(*rows), velocities, options, model
    )


def short(table):
    return table.select("visit_id", "arm", "method", "teff").rows()


def test_arms_of_an_exposure_go_together(fits):
    found = run("1 blue", "1 red", "2 red", "2 blue")
    assert short(found.table) == [
        ("v-1-all", "all", "together", 201.0),
        ("v-2-all", "all", "together", 304.0),
    ]
    assert found.notes == ()
    assert [arms for arms, _ in fits] == [["blue", "red"]]
    assert found.table["star_id"].to_list() == ["s1", "s2"]
    assert set(found.table["snr"]) == {44.0}


def test_or_each_alone(fits):
    found = run("1 blue", "1 red", "2 red", "2 blue", options=EACH)
    assert short(found.table) == [
        ("v-1-blue", "blue", "each", 1.0),
        ("v-1-red", "red", "each", 2.0),
        ("v-2-red", "red", "each", 3.0),
        ("v-2-blue", "blue", "each", 4.0),
    ]


def test_an_exposure_with_one_arm_keeps_its_name(fits):
    found = run("1 blue", "1 red", "2 red", "3 blue")
    assert short(found.table) == [
        ("v-1-all", "all", "together", 201.0),
        ("v-2-red", "red", "each", 300.0),
        ("v-3-blue", "blue", "each", 4.0),
    ]


def test_a_second_spectrum_of_an_arm_is_a_fit_of_its_own(fits):
    found = run("1 blue", "1 red", "1 blue")
    assert [row[1:] for row in short(found.table)] == [
        ("all", "together", 201.0),
        ("blue", "each", 3.0),
    ]


@pytest.mark.parametrize(
    "column", ["star_id", "survey", "telescope", "spectrograph", "fiber", "exposure_id"]
)
def test_arms_that_differ_in_anything_else_are_not_of_one_exposure(fits, column):
    other = 7 if column in ("fiber", "spectrograph") else "other"
    given = {column: pl.when(arm="red").then(pl.lit(other)).otherwise(column)}
    found = run("1 blue", "1 red", **given)
    assert found.table["arm"].to_list() == ["blue", "red"]


def test_without_an_exposure_nothing_goes_together(fits):
    nothing = pl.lit(None, pl.String)
    found = run("1 blue", "1 red", "1 blue", exposure_id=nothing)
    assert found.table["visit_id"].to_list() == ["v-1-blue", "v-1-red", "v-1-blue"]
    assert set(found.table["method"]) == {"each"}
    # Without a star they do: fiber and exposure tell.
    found = run("1 blue", "1 red", star_id=nothing)
    assert found.table["visit_id"].to_list() == ["v-1-all"]
    # Without star and fiber the arms may be of any two stars.
    nobody = pl.lit(None, pl.Int64)
    found = run("1 red", "2 blue", "2 red", star_id=nothing, fiber=nobody)
    assert found.table["visit_id"].to_list() == ["v-1-red", "v-2-blue", "v-2-red"]


def test_an_arm_without_a_name_is_all_there_is(fits):
    found = run("1 blue", arm=pl.lit(None, pl.String))
    assert short(found.table) == [("v-1-blue", "all", "each", 1.0)]


def test_arms_without_models_keep_their_rows_and_are_said(fits):
    found = run("1 blue", "1 z", "2 z", status=pl.lit(int(Status.NO_TIME)))
    assert short(found.table)[0] == ("v-1-blue", "blue", "each", 1.0)
    lost = found.table[1:]
    assert lost["visit_id"].to_list() == ["v-1-z", "v-2-z"]
    assert lost["teff"].is_nan().all()
    assert set(lost["status"]) == {int(Status.NO_LABELS | Status.NO_TIME)}
    assert found.notes == (
        "Spectra of z have no labels: there are no models for 8000 to 8500 A.",
    )
    nothing = run("1 z")
    assert len(nothing.table) == 1
    assert len(fits) == 1


@pytest.mark.parametrize("options", [LabelOptions(), EACH], ids=["together", "each"])
def test_surveys_that_share_the_name_of_an_arm_are_apart(fits, options):
    found = run("1 blue", "2 z", arm=pl.lit("all"), survey=pl.Series(["one", "two"]),
                options=options)  # fmt: skip
    assert short(found.table)[0] == ("v-1-blue", "all", "each", 1.0)
    assert np.isnan(found.table["teff"][1])
    assert len(found.notes) == 1


@pytest.mark.parametrize("options", [LabelOptions(), EACH], ids=["together", "each"])
def test_every_visit_is_accounted_for_in_order_of_the_first(fits, options):
    rng = np.random.default_rng(8)
    rows = [f"{star} {arm}" for star in range(1, 14) for arm in ("blue", "red", "z")]
    rows = [rows[k] for k in rng.permutation(len(rows))[:30]]
    table = run(*rows, options=options).table
    assert table.columns == schema.empty("labels").columns
    names, first = [], []
    for row in table.iter_rows(named=True):
        star = row["visit_id"].split("-")[1]
        mine = [k for k, name in enumerate(rows) if name.split()[0] == star]
        arms = ["blue", "red"] if row["arm"] == "all" else [row["arm"]]
        mine = [k for k in mine if rows[k].split()[1] in arms]
        names += mine
        first.append(min(mine))
    assert sorted(names) == list(range(30))
    assert first == sorted(first)
    if options is EACH:
        assert len(table) == 30


@pytest.mark.parametrize("frame", ["observatory", "barycenter"])
def test_velocities_are_those_of_the_frame(fits, frame):
    rows = ("1 blue", "1 red", "2 blue")
    known = pl.DataFrame(
        {
            "visit_id": ["v-1-red", "v-1-blue", "v-1-blue", "v-9-blue"],
            "rv_obs": [1.0, np.nan, 2.0, 3.0],
            "rv_raw": [11.0, np.nan, 12.0, 13.0],
        }
    )
    found = label_visits(visits(*rows), spectra(*rows, frame=frame), known)
    given = {"observatory": (2.0, 1.0), "barycenter": (12.0, 11.0)}[frame]
    assert fits[0][1]["blue"][0] == given[0]
    assert fits[0][1]["red"][0] == given[1]
    assert np.isnan(fits[0][1]["blue"][1])
    # 30 km/s at the observatory, which moves at 10.
    moved = C_KMS * ((1 + 30 / C_KMS) * (1 + 10 / C_KMS) - 1)
    wanted = moved if frame == "observatory" else 30.0
    np.testing.assert_allclose(found.table["rv_raw"], wanted, rtol=1e-12)
    assert set(found.table["rv_raw_err"]) == {0.5}


def test_without_barycentric_correction_velocities_stay_as_measured(fits):
    # As the table of velocities has them: unknown motion is taken as none.
    rows = ("1 blue", "1 red")
    unknown = visits(*rows, bary_corr=pl.lit(None, pl.Float64))
    table = label_visits(unknown, spectra(*rows, frame="observatory")).table
    assert table["rv_raw"].to_list() == pytest.approx([30.0])
    assert table["teff"].is_finite().all()


def test_what_is_said_of_visits_holds_for_their_labels(fits):
    rows = ("1 blue", "1 red", "2 blue")
    flags = [0, int(Status.COADD | Status.NO_DATA), int(Status.NO_TIME)]
    seen_double = pl.DataFrame(
        {
            "visit_id": ["v-2-blue"],
            "rv_obs": [0.0],
            "rv_raw": [0.0],
            "status": [int(Status.DOUBLE_LINED | Status.TWO_MINIMA)],
        }
    )
    found = run(*rows, velocities=seen_double, status=pl.Series(flags))
    # That a visit has no velocity is no matter of its labels.
    assert found.table["status"].to_list() == [
        int(Status.COADD),
        int(Status.NO_TIME | Status.DOUBLE_LINED),
    ]


def test_a_fit_without_labels_is_a_row(fits):
    # The stand-in fails where its number is a multiple of seven.
    rows = [f"{star} blue" for star in range(1, 9)]
    table = run(*rows).table
    assert len(table) == 8
    assert table["status"].to_list() == [0] * 6 + [int(Status.NO_LABELS), 0]
    assert np.isnan(table["teff"][6])


def test_trained_models_are_for_the_arms_they_have(fits):
    # A model with other labels has nothing to say of arms that it was not trained on.
    found = run("1 blue", model=LabelModel("mine", labels=("age",)))
    assert found.table["status"].to_list() == [int(Status.NO_LABELS)]
    assert found.table["model"].to_list() == ["mine"]
    assert "blue" in found.notes[0]
    assert not fits


def test_nothing_gives_an_empty_table(fits):
    rows = ("1 blue",)
    found = label_visits(visits(*rows)[:0], spectra(*rows)[:0])
    assert found.table.equals(schema.empty("labels"))
    assert found.notes == ()


def test_rows_that_do_not_agree_are_a_sentence():
    with pytest.raises(ValueError, match="1 visits but 2 spectra"):
        label_visits(visits("1 blue"), spectra("1 blue", "2 blue"))


@cache
def real():
    labels, velocity = fgk(3, 3), np.array([40.0, -90.0, 10.0])
    seen = {
        arm: observe(
            clean(labels, velocity, 5.0, pixels, window=f"lamost-mrs-{arm}"),
            *(40.0, len(arm), pixels),
            frame="barycenter",
        )
        for arm, pixels in ARMS.items()
    }
    return labels, velocity, seen


def test_rows_are_what_the_fit_of_their_spectra_says():
    labels, velocity, seen = real()
    rows = ["1 blue", "1 red", "2 red", "3 red", "3 blue"]
    batch = Spectra.concatenate(
        [seen[arm][[int(star) - 1]] for star, arm in map(str.split, rows)]
    )
    known = pl.DataFrame(
        {
            "visit_id": [f"v-{row.replace(' ', '-')}" for row in rows],
            "rv_raw": [velocity[int(row[0]) - 1] for row in rows],
        }
    ).with_columns(rv_obs=pl.lit(None, pl.Float64))
    table = label_visits(visits(*rows), batch, known).table
    lacking = replace(seen["blue"], ivar=seen["blue"].ivar.copy())
    lacking.ivar[1] = 0
    wanted = measure_labels(seen | {"blue": lacking}, rv=velocity)
    assert table["arm"].to_list() == ["all", "red", "all"]
    assert table["status"].to_list() == [0, 0, 0]
    for name in ("teff", "logg", "feh", "vsini"):
        off = (table[name] - wanted[name]) / wanted[f"{name}_err"]
        assert off.abs().max() < 1e-2, name
    off = (table["rv_raw"] - velocity) / table["rv_raw_err"]
    assert off.abs().max() < 4
    off = (table["teff"] - labels[:, 0]) / table["teff_err"]
    assert off.abs().max() < 4
