"""An accelerator gives the numbers that the processor gives, within single precision."""

from functools import cache

import jax
import numpy as np
import pytest

from steadystar.measure import arm, batches, velocities
from steadystar.measure.absolute import measure_absolute
from steadystar.measure.relative import measure_relative
from steadystar.measure.survey_labels import label_visits
from steadystar.simulate.large_options import LargeSurveyOptions
from steadystar.simulate.large_survey import draw_plan, make_shard

# Sums in single precision, in another order: of the error of a velocity.
SMALL = 0.02


@cache
def survey(stars=12):
    options = LargeSurveyOptions(spectra=1000, n_stars=20)
    plan = draw_plan(options, 5)
    some = make_shard(plan, plan.stars.head(stars), 0)
    return some.visits, some.spectra


def relative():
    table = measure_relative(*survey()).table
    return table["rv_raw"].to_numpy(), table["rv_raw_err"].to_numpy()


def absolute():
    table = measure_absolute(*survey()).table
    return table["rv_raw"].to_numpy(), table["rv_raw_err"].to_numpy()


def labels():
    table = label_visits(*survey()).table
    return table["teff"].to_numpy(), table["teff_err"].to_numpy()


def agree(here, there) -> None:
    value, error = here
    measured = np.isfinite(value)
    assert measured.mean() > 0.7
    assert (np.isfinite(there[0]) == measured).all()
    off = (there[0] - value)[measured] / error[measured]
    assert np.abs(off).max() < SMALL
    np.testing.assert_allclose(there[1][measured], error[measured], rtol=SMALL)


@pytest.mark.gpu
@pytest.mark.parametrize("measure", [relative, absolute, labels])
def test_a_gpu_measures_what_the_processor_measures(measure):
    try:
        gpu = jax.devices("gpu")[0]
    except RuntimeError:
        pytest.skip("no GPU")
    with jax.default_device(jax.devices("cpu")[0]):
        here = measure()
    with jax.default_device(gpu):
        there = measure()
    agree(here, there)


@pytest.mark.slow
@pytest.mark.parametrize("measure", [relative, absolute])
def test_large_batches_give_what_small_groups_give(measure, monkeypatch):
    here = measure()
    for module in (arm, batches):
        monkeypatch.setattr(module, "on_processor", lambda: False)
    jax.clear_caches()
    with batches.at_most(64):
        assert batches.batch_size(velocities._ON_DEVICE) == 64
        there = measure()
    jax.clear_caches()
    agree(here, there)


def test_batches_on_an_accelerator_are_as_large_as_the_configuration_lets_them(
    monkeypatch,
):
    assert batches.batch_size(2048) == 32
    monkeypatch.setattr(batches, "on_processor", lambda: False)
    assert batches.batch_size(2048) == 2048
    with batches.at_most(100):
        assert batches.batch_size(2048) == 100
        assert batches.batch_size(64) == 64
        rows = np.arange(250)
        assert [len(some) for some, _ in batches.chunks(rows, 2048)] == [100, 100, 50]
        assert {len(full) for _, full in batches.chunks(rows, 2048)} == {100}
    assert batches.batch_size(2048) == 2048
