"""What the tests are strict about is at work: arguments of another type are refused."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.cli.frame import read_configuration
from steadystar.cli.results import export
from steadystar.data.archive import below
from steadystar.infer.summary import summarize_stars
from steadystar.kernels.minimum import parabolic_minimum
from steadystar.measure.velocities import by_resolution
from steadystar.models.dust import extinction_coefficients
from steadystar.pipeline import config
from steadystar.pipeline.rejections import sentences
from steadystar.publish.numbers import counted
from steadystar.simulate.options import SurveyOptions
from steadystar.survey.columns import numbers


@pytest.mark.parametrize(
    "call",
    [
        lambda: below({}, 1),
        lambda: extinction_coefficients(r_v="3.1"),
        lambda: SurveyOptions(n_stars="many"),
        lambda: numbers({}, "ra"),
        lambda: fit_zeropoints([]),
        lambda: summarize_stars([]),
        lambda: counted("three", "star"),
        lambda: sentences(1),
        lambda: export(Path("out"), "fits"),
        lambda: read_configuration("options.toml"),
    ],
)
def test_beartype_refuses_other_types(call):
    with pytest.raises(BeartypeCallHintViolation):
        call()


def test_a_result_of_another_type_is_refused_also_where_it_is_imported_late(
    monkeypatch,
):
    monkeypatch.setattr(config.Configuration, "load", lambda path: path)
    with pytest.raises(BeartypeCallHintViolation):
        read_configuration(Path("options.toml"))


def test_jaxtyping_refuses_other_types_and_shapes():
    with pytest.raises(TypeCheckError):
        by_resolution([])
    with pytest.raises(TypeCheckError):
        parabolic_minimum(jnp.zeros((3, 4)))
