"""Templates of spectra whose lines are placed analytically, and velocities against them."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.against_own import measure_against_own
from steadystar.measure.own_templates import templates_from_spectra
from steadystar.measure.velocities import (
    COLUMNS,
    VelocityOptions,
    measure_velocities,
)
from steadystar.models.templates import Templates
from tests.measure.mock import mock, pulls

SNR = 50.0
NEAR = VelocityOptions(search_kms=60.0)


@cache
def one_star() -> tuple[pl.DataFrame, Spectra]:
    """One star with 300 visits that drift by 30 km/s on the detector."""
    return mock(stars=1, exposures=300, snr=SNR, seed=500, spread=12.0)


def of(visits, spectra, rows):
    return visits["truth"].to_numpy()[rows], spectra[rows]


def without(spectra: Spectra, low, high, rows=slice(None)) -> Spectra:
    """Take the pixels between two wavelengths from some of the spectra."""
    ivar = spectra.ivar.copy()
    for row in np.arange(len(spectra))[rows]:
        wave = spectra.wave_2d[row]
        ivar[row, (wave > low) & (wave < high)] = 0
    return replace(spectra, ivar=ivar)


def level(made) -> np.ndarray:
    return made.templates.flux[0].astype(float)


def test_twenty_visits_make_the_template_of_all_the_others():
    visits, spectra = one_star()
    made, others = np.arange(20), np.arange(20, 300)
    truth, some = of(visits, spectra, made)
    own = templates_from_spectra(some, truth)
    assert own.names == ("",)
    assert own.n_spectra.tolist() == [20]
    assert own.templates.resolution is None
    truth, rest = of(visits, spectra, others)
    found = measure_velocities(rest, own.templates, NEAR)
    miss = (found["rv_raw"] - truth).to_numpy()
    error = found["rv_raw_err"].to_numpy()
    # 280 know the width of their pulls to 4 percent.
    assert ((miss - miss.mean()) / error).std() == pytest.approx(1.0, abs=0.1)
    # All share the zero of the template: as good as twenty visits can make it, and the
    # 280 know it to a quarter of that.
    assert abs(miss.mean()) < 3 * np.median(error) * np.hypot(20**-0.5, 280**-0.5)
    assert (found["status"] == 0).all()


def test_the_template_is_the_star_within_its_noise():
    visits, spectra = one_star()
    truth, some = of(visits, spectra, np.arange(42))
    many = templates_from_spectra(some[10:], truth[10:])
    few = templates_from_spectra(some[:10], truth[:10])
    wave = few.templates.wave[100:-100]
    seen = np.interp(wave, many.templates.wave, level(many))
    noise = (level(few)[100:-100] - seen).std()
    # Ten visits at S/N 50, with 2.2 pixels a line width smoothed over: below 1/150, also
    # with what 32 others add.
    assert noise < 1 / SNR / np.sqrt(10)
    assert (1 - level(many)).max() > 0.3


def test_velocities_are_those_of_the_wavelengths_frame():
    visits, spectra = mock(stars=1, exposures=12, seed=8, frame="observatory")
    bary, truth = visits["bary_corr"].to_numpy(), visits["truth"].to_numpy()
    observed = C_KMS * ((1 + truth / C_KMS) / (1 + bary / C_KMS) - 1)
    wave = spectra.wave_2d * (1 + bary / C_KMS)[:, None]
    moved = replace(spectra, wave=wave, frame="barycenter")
    one = templates_from_spectra(spectra, observed)
    other = templates_from_spectra(moved, truth)
    assert_allclose(one.templates.wave, other.templates.wave, rtol=1e-12)
    # Places are float32: 1e-6 of a grid step.
    assert_allclose(one.templates.flux, other.templates.flux, atol=1e-4)
    # The control: with the barycentric velocity the template is another.
    wrong = templates_from_spectra(spectra, truth)
    seen = np.interp(one.templates.wave, wrong.templates.wave, level(wrong))
    assert np.abs(seen - level(one)).max() > 0.05


def test_gaps_and_bad_pixels_of_some_visits_leave_no_holes():
    visits, spectra = one_star()
    truth, some = of(visits, spectra, np.arange(12))
    whole = templates_from_spectra(some, truth)
    rng = np.random.default_rng(3)
    bad = rng.uniform(size=some.ivar.shape) < 0.1
    holed = replace(some, ivar=np.where(bad, np.float32(0), some.ivar))
    holed = without(holed, 5100, 5112, slice(0, 6))
    holed = without(holed, 5200, 5260, slice(5, 12))
    holed = replace(holed, flux=np.where(holed.ivar > 0, holed.flux, np.float32(-2e4)))
    own = templates_from_spectra(holed, truth)
    # At the very ends there are the visits of one kind of velocity only.
    inside = (own.templates.wave > 4952) & (own.templates.wave < 5348)
    assert own.covered[0, inside].all()
    seen = np.interp(own.templates.wave, whole.templates.wave, level(whole))
    off = np.abs(level(own) - seen)
    # Where half the visits are left, noise is 1.4 times that of twelve: 1/120 a pixel.
    assert off[inside].max() < 6 / 120
    assert off[inside].mean() < 1 / 120


def test_what_nobody_has_seen_is_the_continuum_or_the_fallback_and_said_to_be_so():
    visits, spectra = one_star()
    truth, some = of(visits, spectra, np.arange(12))
    whole = templates_from_spectra(some, truth)
    gap = without(some, 5150, 5175)
    bare = templates_from_spectra(gap, truth)
    wave = bare.templates.wave
    # Visits are up to 30 km/s apart, half an Angstrom: some see the gap's edges.
    inside = (wave > 5153) & (wave < 5172)
    assert not bare.covered[0, inside].any()
    assert bare.covered[0, (wave < 5149) | (wave > 5176)].all()
    assert_allclose(level(bare)[inside], 1, atol=0.02)
    # Lines and all, from a star like it that was seen there; the other is another star.
    other = whole.templates.flux[:, ::-1]
    fallback = Templates.from_arrays(
        whole.templates.wave, np.concatenate([other, whole.templates.flux])
    )
    filled = templates_from_spectra(
        without(some, 5150, 5175), truth, fallback=fallback, window=(4990.0, 5300.0)
    )
    wave = filled.templates.wave
    inside = (wave > 5153) & (wave < 5172)
    assert not filled.covered[0, inside].any()
    expected = np.interp(wave[inside], whole.templates.wave, level(whole))
    # The level that both are divided by is a spline of 50 Angstrom.
    assert_allclose(level(filled)[inside], expected, atol=0.03)
    assert expected.min() < 0.9


def test_a_template_of_each_group_on_common_wavelengths():
    visits, spectra = mock(stars=3, exposures=4, seed=9)
    stars = visits["star_id"].to_list()
    short = without(spectra, 4900, 4980, slice(4, 8))
    own = templates_from_spectra(short, visits["truth"], groups=stars)
    assert own.names == ("s0000", "s0001", "s0002")
    assert own.n_spectra.tolist() == [4, 4, 4]
    assert 4979 < own.templates.wave[0] < 4982
    assert own.covered.all()
    for row, name in enumerate(own.names):
        mine = np.array(stars) == name
        alone = templates_from_spectra(short[mine], visits["truth"].to_numpy()[mine])
        seen = np.interp(own.templates.wave, alone.templates.wave, level(alone))
        # The groups' grids begin at other wavelengths: another spline of the same data.
        assert np.abs(own.templates.flux[row] - seen)[20:-20].max() < 0.02


def test_left_out_of_its_template_a_spectrum_does_not_matter():
    visits, spectra = mock(stars=2, exposures=4, seed=10)
    stars, truth = visits["star_id"].to_list(), visits["truth"].to_numpy()
    flux = spectra.flux.copy()
    flux[2] *= 1 + 0.2 * np.sin(np.arange(flux.shape[1]) / 9)
    changed = replace(spectra, flux=flux)
    before, after = (
        templates_from_spectra(s, truth, groups=stars, leave_one_out=True)
        for s in (spectra, changed)
    )
    assert before.names == tuple(stars)
    assert before.n_spectra.tolist() == [3] * 8
    change = np.abs(after.templates.flux - before.templates.flux).max(axis=1)
    # What pixels are outliers is decided with all of them: a trace.
    assert change[2] < 0.02
    assert change[[0, 1, 3]].min() > 0.05
    assert change[4:].max() == 0


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"rv": [0.0, np.nan, 0.0, 0.0]}, "Spectrum 1 .* has no velocity"),
        ({"rv": [0.0, 0.0]}, r"shape \(2,\), but there are 4"),
        ({"groups": ["a"]}, "1 groups for 4 spectra"),
        ({"groups": ["a", "b", "b", "b"], "leave_one_out": True}, "'a' has one"),
        ({"window": (6000.0, 6100.0)}, "nothing of the spectra"),
        (
            {"groups": ["a", "b", "b", "b"], "cut": slice(0, 1)},
            "group 'a' have no usable",
        ),
        ({"cut": slice(None)}, "nothing to make templates of"),
        ({"groups": ["a", "a", "b", "b"], "halves": True}, "in common"),
        ({"fallback": (5000, 5100)}, "reach over all of them"),
    ],
)
def test_what_makes_no_template_is_refused(change, culprit):
    visits, spectra = mock(stars=1, exposures=4, seed=11)
    given = {"rv": visits["truth"].to_numpy()} | change
    if "cut" in given:
        spectra = without(spectra, 0, 9e9, given.pop("cut"))
    if given.pop("halves", False):
        spectra = without(spectra, 0, 5150, slice(0, 2))
        spectra = without(spectra, 5150, 9e9, slice(2, 4))
    if "fallback" in given:
        wave = np.linspace(*given["fallback"], 400)
        given["fallback"] = Templates.from_arrays(wave, np.ones(400))
    with pytest.raises(ValueError, match=culprit):
        templates_from_spectra(spectra, given.pop("rv"), **given)


def first_guesses(truth, seed, error=1.0):
    return truth + np.random.default_rng(seed).normal(size=len(truth)) * error


def test_velocities_against_the_others_are_right_and_keep_the_groups_mean():
    visits, spectra = mock(stars=5, exposures=6, snr=40.0, seed=12)
    truth, stars = visits["truth"].to_numpy(), visits["star_id"]
    first = first_guesses(truth, 13)
    found = measure_against_own(spectra, first, groups=stars)
    assert (found["status"] == 0).all()
    table = visits.hstack(found.select("rv_raw", "rv_raw_err"))
    # 30 pulls with 25 degrees of freedom know their width to 14 percent: two of these.
    assert pulls(table, visits["truth"]).std() == pytest.approx(1.0, abs=0.28)
    for star in stars.unique():
        own = (stars == star).to_numpy()
        weight = found["rv_raw_err"].to_numpy()[own] ** -2
        kept = np.average((found["rv_raw"] - first).to_numpy()[own], weights=weight)
        # Weights are measured again in each round.
        assert abs(kept) < 0.02
    assert found.columns == list(COLUMNS)


def test_the_zero_is_that_of_the_first_velocities():
    visits, spectra = mock(stars=1, exposures=5, seed=14, frame="observatory")
    bary, truth = (visits[name].to_numpy() for name in ("bary_corr", "truth"))

    def observed(rv):
        return C_KMS * ((1 + rv / C_KMS) / (1 + bary / C_KMS) - 1)

    near, far = (
        measure_against_own(spectra, observed(truth + zero), bary_corr=bary)
        for zero in (0.0, 70.0)
    )
    moved = (far["rv_raw"] - near["rv_raw"]).to_numpy()
    # Doppler factors are multiplied: 5 km/s of scatter times 70 km/s over c.
    assert_allclose(moved, 70.0, atol=0.01)
    assert (near["rv_raw"] - truth).abs().max() < 1
    assert_allclose(near["rv_obs"], observed(near["rv_raw"].to_numpy()), atol=1e-9)


def test_visits_without_a_velocity_or_company_keep_their_rows_and_say_why():
    visits, spectra = mock(stars=4, exposures=3, seed=15, spread=10.0)
    first = visits["truth"].to_numpy().copy()
    first[1] = np.nan  # one of the first star: found by the others
    first[3:6] = np.nan  # the second star: nothing to begin with
    first[7:9] = np.nan  # the third star: one velocity
    spectra = without(spectra, 0, 9e9, slice(10, 11))
    found = measure_against_own(spectra, first, groups=visits["star_id"])
    flags = [Status(s) for s in found["status"]]
    assert flags[:3] == [0, 0, 0]
    assert abs(found["rv_raw"][1] - visits["truth"][1]) < 1
    assert flags[3:6] == [Status.NO_VELOCITY] * 3
    assert flags[6:9] == [Status.SINGLE_EXPOSURE] * 3
    assert [flags[9], flags[10], flags[11]] == [0, Status.NO_DATA, 0]
    assert found["rv_raw"].is_nan().to_list() == [
        *([False] * 3 + [True] * 6 + [False, True, False])
    ]
    assert found["rv_raw_err"].is_nan().equals(found["rv_raw"].is_nan())


def test_a_call_that_makes_no_sense_is_refused():
    visits, spectra = mock(stars=1, exposures=3, seed=16)
    with pytest.raises(ValueError, match=r"velocities of shape \(2,\)"):
        measure_against_own(spectra, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"corrections of shape \(2,\)"):
        measure_against_own(spectra, visits["truth"], bary_corr=[0.0, 1.0])


def test_a_hybrid_measures_the_star_that_models_do_not_know_and_those_they_do():
    visits, spectra = mock(stars=4, exposures=8, seed=17)
    truth, stars = visits["truth"].to_numpy(), visits["star_id"].to_numpy()
    known, odd = stars != "s0003", stars == "s0003"
    models = templates_from_spectra(spectra[known], truth[known], groups=stars[known])
    train = np.flatnonzero(odd)[:4]
    own = templates_from_spectra(spectra[train], truth[train])
    hybrid = Templates.joined([models.templates, own.templates])
    assert len(hybrid) == 4
    assert hybrid.resolution is None
    found = measure_velocities(spectra, hybrid, NEAR)
    pull = np.abs((found["rv_raw"] - truth) / found["rv_raw_err"])
    # Templates of eight and of four visits have zeros of a third and a half of an error.
    assert pull.max() < 4
    # With a star without lines in its place, the odd star is not measured.
    other = Templates(own.templates.wave, np.ones_like(own.templates.flux))
    alone = measure_velocities(
        spectra, Templates.joined([models.templates, other]), NEAR
    )
    lost = np.abs((alone["rv_raw"] - truth) / found["rv_raw_err"]).to_numpy()[odd]
    assert not (lost < 5).any()
