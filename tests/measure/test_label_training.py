"""A model of stars with known labels measures those of others, and knows how well."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from numpy.polynomial.chebyshev import chebfit, chebval

from steadystar.data.status import Status
from steadystar.measure.label_training import TrainingOptions, fit_labels
from steadystar.measure.labels import LabelModel

from .star_mock import ARMS, RESOLUTION, clean, observe

NAMES = ("teff", "logg", "feh")
BLUE = ARMS["blue"]
TRAINING, TEST = 128, 48
NO_FOLDS = TrainingOptions(folds=0)


def dwarfs(number, seed, inside=0.0):
    """Labels of G and K dwarfs; ``inside`` leaves out so much of each range."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(inside, 1 - inside, (3, number))
    teff = 4800 + 1400 * share[0]
    logg = 4.65 - 0.3 * (teff - 4600) / 2100 + 0.4 * (share[1] - 0.5)
    return np.stack([teff, logg, -0.6 + 0.9 * share[2]], axis=1)


@cache
def seen(number, seed, snr, inside=0.0):
    rng = np.random.default_rng(seed + 100)
    labels, velocity = dwarfs(number, seed, inside), rng.uniform(-100, 100, number)
    flux = clean(labels, velocity, rng.uniform(2, 6, number), BLUE)
    return labels, velocity, observe(flux, snr, seed, BLUE)


def known(labels):
    return dict(zip(NAMES, labels.T, strict=True))


def train(rows=slice(None), options=NO_FOLDS, **given):
    labels, velocity, spectra = seen(TRAINING, 1, 60.0)
    given = {"labels": known(labels[rows]), "rv": velocity[rows]} | given
    return fit_labels({"blue": spectra[rows]}, given.pop("labels"), given.pop("rv"),
                      options, **given)  # fmt: skip


@cache
def trained():
    return train(options=TrainingOptions(folds=3))


@cache
def applied():
    _, velocity, spectra = seen(TEST, 2, 40.0, 0.1)
    return trained().apply({"blue": spectra}, rv=velocity)


def test_labels_of_other_stars_are_recovered_with_honest_errors():
    labels, velocity, _ = seen(TEST, 2, 40.0, 0.1)
    found = applied()
    spread = labels.std(axis=0)
    for k, name in enumerate(NAMES):
        off = found[name].to_numpy() - labels[:, k]
        pulls = off / found[f"{name}_err"].to_numpy()
        # 48 know their width to 10 percent; the floor, from 128 stars, is known to 6.
        assert pulls.std() == pytest.approx(1.0, abs=0.38), name
        assert abs(pulls.mean()) < 0.45, name
        assert np.abs(pulls).max() < 5, name
        assert off.std() < 0.5 * spread[k], name
    pulls = (found["rv_obs"].to_numpy() - velocity) / found["rv_obs_err"].to_numpy()
    assert pulls.std() == pytest.approx(1.0, abs=0.35)
    # It rotates as the training stars do: nothing is said of it.
    assert found["vsini"].is_nan().all()
    assert set(found["model"]) == {"trained"}
    assert ((found["status"] & ~int(Status.LABEL_EDGE)) == 0).all()
    assert (found["status"] != 0).sum() <= 2


def test_stars_that_were_left_out_find_the_floor_of_the_errors():
    floors = trained().floors
    assert set(floors) == set(NAMES)
    assert 5 < floors["teff"] < 100
    assert train().floors == {}
    for name in NAMES:
        assert (applied()[f"{name}_err"] > floors[name]).all()


@cache
def degrees():
    return {n: train(options=TrainingOptions(degree=n, folds=0)) for n in (1, 2, 3)}


def missed(source):
    """Root mean square difference of the model from stars without noise.

    Levels are divided by smooth ones: a model knows no continuum.
    """
    labels = dwarfs(12, 7)
    wave = source.wave[(source.wave > 4970) & (source.wave < 5330)]
    inside = np.isin(source.wave, wave)
    truth = clean(labels, np.zeros(12), 4.0, wave)
    scaled = (labels - source.part.center) / source.part.scale
    coefficients = np.prod(scaled[:, None] ** source.powers, axis=-1) @ source.theta
    beside = np.pad(coefficients, ((0, 0), (1, 1)), mode="edge")
    found = (beside[:, :-2] + 4 * coefficients + beside[:, 2:])[:, inside] / 6
    x = np.linspace(-1, 1, len(wave))
    ratio = found / truth
    smooth = chebval(x, chebfit(x, ratio.T, 8))
    return np.sqrt(np.mean((ratio / smooth - 1) ** 2))


def test_a_higher_degree_describes_stars_better():
    found = []
    for degree, terms in ((1, 4), (2, 10), (3, 20)):
        source = degrees()[degree].sources["blue"]
        assert source.theta.shape == (terms, source.grid.size)
        assert source.powers.sum(axis=1).max() == degree
        found.append(missed(source))
    # At S/N 60, 128 stars and 4 to 20 terms leave noise of 3e-3 to 6e-3 if terms are free.
    assert found[1] < 0.8 * found[0]
    assert found[2] < 1.05 * found[1]
    assert found[2] < 6e-3


def test_a_label_that_spectra_do_not_show_goes_nowhere():
    labels = seen(TRAINING, 1, 60.0)[0]
    luck = np.random.default_rng(9).uniform(0, 1, TRAINING)
    with_luck = train(labels=known(labels) | {"luck": luck})
    assert with_luck.labels == (*NAMES, "luck")
    source, plain = with_luck.sources["blue"], degrees()[2].sources["blue"]
    size = np.sqrt(np.mean(source.theta**2, axis=1))
    linear = {name: size[np.flatnonzero(row)] for name, row in zip(
        with_luck.labels, (source.powers[:, :] == np.eye(4, dtype=int)[:, None]).all(-1),
        strict=True)}  # fmt: skip
    for name in NAMES:
        assert linear["luck"] < 0.1 * linear[name], name
    # The rest of the model is as it is without.
    same = (source.powers[:, 3] == 0).nonzero()[0]
    np.testing.assert_array_equal(source.powers[same, :3], plain.powers)
    off = source.theta[same] - plain.theta
    assert np.sqrt(np.mean(off**2)) < 2e-3


def test_it_is_saved_and_loaded_as_it_was(tmp_path):
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    trained().save(one)
    back = LabelModel.load(one)
    back.save(two)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]
    assert (back.labels, back.floors) == (trained().labels, trained().floors)
    _, velocity, spectra = seen(TEST, 2, 40.0, 0.1)
    assert back.apply({"blue": spectra}, rv=velocity).equals(applied())


def test_stars_without_labels_velocities_or_light_are_left_out():
    labels, velocity, spectra = seen(TRAINING, 1, 60.0)
    unknown, still = labels.copy(), velocity.copy()
    unknown[:10, 1] = np.nan
    unknown[10:20, 1] = -9999.0
    still[20:30] = np.nan
    ivar = spectra.ivar.copy()
    ivar[30:35] = 0
    ivar[35:40] /= 400  # S/N 3
    table = pl.DataFrame(known(unknown)).with_columns(pl.col("logg").fill_nan(None))
    dim = replace(spectra, ivar=ivar)
    model = fit_labels({"blue": dim}, table, still, NO_FOLDS)
    assert model.sources["blue"].name == "88 stars"
    part, alone = model.sources["blue"].part, train(slice(40, None)).sources["blue"]
    np.testing.assert_array_equal(part.domain.limits, alone.part.domain.limits)
    np.testing.assert_allclose(model.sources["blue"].theta, alone.theta, atol=1e-6)


def test_scaled_labels_are_the_same_in_all_arms():
    labels, velocity, spectra = seen(TRAINING, 1, 60.0)
    ivar = spectra.ivar.copy()
    ivar[np.argsort(labels[:, 0])[:40]] = 0  # no cool stars in one of them
    arms = {"blue": spectra, "other": replace(spectra, ivar=ivar)}
    options = replace(NO_FOLDS, windows=dict.fromkeys(arms, (4960.0, 5340.0)))
    model = fit_labels(arms, known(labels), velocity, options)
    one, other = (model.sources[arm] for arm in arms)
    assert (one.name, other.name) == ("128 stars", "88 stars")
    np.testing.assert_array_equal(one.part.center, other.part.center)
    np.testing.assert_array_equal(one.part.scale, other.part.scale)
    np.testing.assert_array_equal(
        one.part.domain.limits, [labels.min(axis=0), labels.max(axis=0)]
    )


def test_no_resolution_is_needed_to_learn_from_spectra_or_to_use_it():
    labels, velocity, spectra = seen(TEST, 2, 40.0, 0.1)
    unknown = replace(spectra, resolution=np.full(TEST, np.nan))
    found = trained().apply({"blue": unknown}, rv=velocity)
    off = (found["teff"] - applied()["teff"]) / applied()["teff_err"]
    assert off.abs().max() < 1e-3
    _, velocity, spectra = seen(TRAINING, 1, 60.0)
    unknown = replace(spectra, resolution=np.full(TRAINING, np.nan))
    labels = seen(TRAINING, 1, 60.0)[0]
    model = fit_labels({"blue": unknown}, known(labels), velocity, NO_FOLDS)
    assert model.sources["blue"].name == "128 stars"


def test_arms_that_were_not_trained_are_refused():
    _, velocity, spectra = seen(TEST, 2, 40.0, 0.1)
    assert trained().of("blue", 4960.0, 5340.0) == (trained().sources["blue"],)
    assert trained().of("red", 6320.0, 6790.0) == ()
    # Bundled models of the same labels are another model.
    with pytest.raises(ValueError, match="no model spectra for 4950 to 5350 A"):
        trained().apply(spectra, rv=velocity)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rows": slice(15)}, "15 of 15 training spectra of blue.*10 terms need 20"),
        (
            {"rows": slice(24), "options": TrainingOptions()},
            "18 of 18 training.*set folds = 0",
        ),
        ({"labels": {"name": ["a"] * TRAINING}}, "labels name are no numbers"),
        ({"names": ["age"]}, "no column age: there are teff, logg, feh"),
        ({"labels": {}}, "no column at all: there are none"),
        ({"labels": {"teff": np.ones(5)}}, "128 spectra of blue, 5 rows of labels"),
        ({"rv": 0.0}, r"velocities of shape \(\)"),
        ({"rv": {"red": np.zeros(TRAINING)}}, "no velocities of blue"),
        (
            {"labels": {"teff": np.full(TRAINING, 5e3)}, "options": NO_FOLDS},
            "All training stars have the same teff",
        ),
    ],
)
def test_a_wrong_call_is_a_sentence(given, words):
    with pytest.raises(ValueError, match=words):
        train(**given)


def test_labels_are_chosen_by_name():
    model = train(
        labels=pl.DataFrame(known(seen(TRAINING, 1, 60.0)[0])).with_columns(
            comment=pl.lit("bright")
        ),
        names=["feh", "teff"],
    )
    assert model.labels == ("feh", "teff")
    assert model.sources["blue"].theta.shape[0] == 6


@pytest.mark.parametrize("values", [{"degree": 0}, {"degree": 5}, {"folds": 1}, {"folds": -1}])  # fmt: skip
def test_a_wrong_option_is_a_sentence(values):
    ((name, value),) = values.items()
    with pytest.raises(ValueError, match=f"{name} = {value}: give"):
        TrainingOptions(**values)


def test_the_mock_is_as_sharp_as_it_says():
    assert set(seen(TRAINING, 1, 60.0)[2].resolution) == {RESOLUTION}
