import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from steadystar.data.schema import columns
from steadystar.data.status import Status
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)

WAVE = np.linspace(5000.0, 5100.0, 50)
FACTS = {"visit_id": "v", "ra": 1.0, "dec": 2.0, "bjd": 2459000.5, "snr": 12.0}


def recorded(wave=WAVE, flux=None, ivar=None, **facts) -> Recorded:
    flux = np.ones(len(wave)) if flux is None else flux
    ivar = np.ones(len(wave)) if ivar is None else ivar
    return Recorded(FACTS | facts, wave, flux, ivar, 7500.0)


def status(observation: Observation) -> Status:
    return Status(observation.visits["status"][0])


def assert_sound(observation: Observation) -> None:
    """What every observation promises, whatever the file held."""
    spectra = observation.spectra
    assert np.isfinite(spectra.flux).all()
    assert np.isfinite(spectra.ivar).all()
    assert (spectra.ivar >= 0).all()
    assert np.isfinite(spectra.wave).all()
    assert (np.diff(spectra.wave, axis=-1) > 0).all()
    visits = observation.visits
    for name, column in columns("visits").items():
        assert visits.schema[name] == column.dtype
    assert len(visits) == len(spectra)
    assert visits["visit_id"].null_count() == 0
    assert visits["visit_id"].is_unique().all()
    assert (visits["n_good"].to_numpy() == (spectra.ivar > 0).sum(axis=1)).all()
    unusable = visits["n_good"].to_numpy() == 0
    flagged = (visits["status"].to_numpy() & int(Status.NO_DATA)) != 0
    assert (unusable == flagged).all()
    for text in visits.select(pl.col(pl.String)).iter_columns():
        assert all(value is None or value.isprintable() for value in text)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, (3, 20), elements=st.floats(width=64)),
    hnp.arrays(np.float64, (3, 20), elements=st.floats(width=64)),
)
def test_any_numbers_whatsoever_give_sound_values(flux, ivar):
    spectra = [
        recorded(WAVE[:20], flux[i], ivar[i], visit_id=f"v{i}") for i in range(3)
    ]
    assert_sound(observe(spectra, "barycenter"))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, 20, elements=st.floats(width=64)))
def test_any_wavelengths_whatsoever_give_sound_values(wave):
    assert_sound(observe([recorded(wave)], "observatory"))


def test_a_good_spectrum_stays_as_it_is():
    flux = np.arange(50.0) + 1
    observation = observe([recorded(flux=flux, ivar=flux / 7)], "observatory")
    assert status(observation) == Status.GOOD
    np.testing.assert_array_equal(observation.spectra.flux[0], flux.astype(np.float32))
    np.testing.assert_array_equal(
        observation.spectra.ivar[0], (flux / 7).astype(np.float32)
    )
    np.testing.assert_array_equal(observation.spectra.wave_2d[0], WAVE)


def test_wavelengths_that_run_downward_are_turned_with_their_pixels():
    flux = np.arange(50.0)
    up = observe([recorded(flux=flux)], "observatory")
    down = observe([recorded(WAVE[::-1], flux[::-1])], "observatory")
    np.testing.assert_array_equal(up.spectra.flux, down.spectra.flux)
    np.testing.assert_array_equal(up.spectra.wave_2d, down.spectra.wave_2d)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_damaged_flux_loses_its_pixel_and_shows_in_the_status(bad):
    flux = np.ones(50)
    flux[7] = bad
    observation = observe([recorded(flux=flux)], "observatory")
    assert status(observation) == Status.DAMAGED_VALUES
    assert observation.visits["n_good"][0] == 49
    assert observation.spectra.ivar[0, 7] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, -np.inf, 1e300])
def test_a_damaged_ivar_loses_its_pixel_and_shows_in_the_status(bad):
    ivar = np.ones(50)
    ivar[7] = bad
    observation = observe([recorded(ivar=ivar)], "observatory")
    assert status(observation) == Status.DAMAGED_VALUES
    assert observation.visits["n_good"][0] == 49


def test_a_masked_pixel_is_no_damage():
    ivar = np.ones(50)
    ivar[7] = 0
    assert status(observe([recorded(ivar=ivar)], "observatory")) == Status.GOOD


@pytest.mark.parametrize(
    "wave",
    [
        np.full(50, 5000.0),
        np.r_[WAVE[:20], np.nan, WAVE[21:]],
        np.r_[WAVE[:20], 1.0, WAVE[21:]],
        -WAVE,
        np.r_[WAVE[:25], WAVE[:25]],
    ],
)
def test_a_spectrum_without_sound_wavelengths_keeps_its_row(wave):
    good = recorded(visit_id="good")
    observation = observe([recorded(wave), good], "observatory")
    assert_sound(observation)
    assert status(observation) == Status.BAD_WAVELENGTHS | Status.NO_DATA
    assert observation.visits["status"][1] == 0


def test_a_spectrum_that_could_not_be_read_keeps_its_row():
    lost = Recorded.lost(FACTS | {"visit_id": "lost", "snr": np.nan}, (4900.0, 5400.0))
    observation = observe([lost, recorded()], "observatory")
    assert_sound(observation)
    assert status(observation) & Status.NO_DATA
    assert np.isnan(observation.visits["snr"][0])
    assert 4900 <= observation.spectra.wave_2d[0, 0] < 5400


def test_what_is_unknown_shows_in_the_status():
    spectrum = Recorded({"visit_id": "v"}, WAVE, np.ones(50), np.ones(50))
    observation = observe([spectrum], "observatory")
    assert status(observation) == Status.NO_POSITION | Status.NO_RESOLUTION
    spectrum = recorded(bjd=np.nan)
    assert status(observe([spectrum], "observatory")) == Status.NO_TIME


def test_no_signal_at_all_shows_in_the_status():
    observation = observe([recorded(snr=0.0)], "observatory")
    assert status(observation) == Status.LOW_SNR


def test_the_signal_to_noise_ratio_comes_from_the_pixels_if_it_is_not_given():
    observation = observe([recorded(ivar=np.full(50, 9.0), snr=np.nan)], "observatory")
    assert observation.visits["snr"][0] == pytest.approx(3.0)


def test_spectra_of_unequal_length_are_padded_with_missing_pixels():
    short = recorded(WAVE[:30], visit_id="short")
    observation = observe([short, recorded()], "observatory")
    assert_sound(observation)
    assert observation.visits["n_good"].to_list() == [30, 50]


def test_observations_join_in_order():
    parts = [observe([recorded(visit_id=f"v{i}")], "observatory") for i in range(3)]
    joined = Observation.concatenate(parts)
    assert joined.visits["visit_id"].to_list() == ["v0", "v1", "v2"]
    assert len(joined.spectra) == 3


def test_visits_and_spectra_must_belong_together():
    observation = observe([recorded()], "observatory")
    with pytest.raises(ValueError, match="0 visits for 1 spectra"):
        Observation(
            observation.visits.head(0), observation.spectra, observation.rejected
        )


def test_an_unreadable_file_says_which_why_and_what_to_do():
    error = UnreadableFile("a.fits", "it is empty", "Fetch it.", ["fits (it is empty)"])
    assert str(error) == (
        "a.fits cannot be read: it is empty. Fetch it. Tried: fits (it is empty)."
    )
    row = error.rejected().row(0, named=True)
    assert row == {
        "path": "a.fits",
        "reader": "fits",
        "reason": "it is empty",
        "remedy": "Fetch it.",
    }


def test_an_unreadable_file_travels_between_processes():
    error = UnreadableFile("a.fits", "it is empty", "Fetch it.", ["fits (empty)"])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.tried == error.tried


@pytest.mark.parametrize("text", ["1", "1 2 3", "400 0", "10 91", "a b", "nan 1"])
def test_a_wrong_position_is_refused(text):
    with pytest.raises(ValueError, match="no position"):
        ReadOptions(position=text)


def test_a_position_is_two_numbers_of_degrees():
    assert ReadOptions(position=" 211.5  64.25 ").coordinates() == (211.5, 64.25)


@pytest.mark.parametrize("wrong", [{"max_megabytes": 0}, {"resolution": -1.0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReadOptions(**wrong)
