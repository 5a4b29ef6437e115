"""What the tests are strict about is at work: arguments of another type are refused."""

import jax.numpy as jnp
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.archive import below
from steadystar.infer.summary import summarize_stars
from steadystar.kernels.minimum import parabolic_minimum
from steadystar.measure.velocities import by_resolution
from steadystar.models.dust import extinction_coefficients
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
    ],
)
def test_beartype_refuses_other_types(call):
    with pytest.raises(BeartypeCallHintViolation):
        call()


def test_jaxtyping_refuses_other_types_and_shapes():
    with pytest.raises(TypeCheckError):
        by_resolution([])
    with pytest.raises(TypeCheckError):
        parabolic_minimum(jnp.zeros((3, 4)))
