import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm

from steadystar.calibrate.constancy import (
    Classes,
    class_widths,
    judge,
    posterior,
    settled_shares,
    updated_shares,
)
from steadystar.calibrate.visitsums import Groups

NEVER_WILD = 1e-300


def stars(seed=0, count=30, visits=6, width=0.0, error=0.3):
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(count), visits)
    err = error * rng.uniform(0.5, 2, len(star))
    rv = rng.normal(0, 20, count)[star] + rng.normal(0, 1, len(star)) * np.hypot(
        err, width
    )
    return rv, err, Groups.of_stars(star)


def test_likelihoods_are_integrals_over_the_mean():
    rv, err, groups = stars(count=4, visits=3, width=0.5)
    rv = rv - groups.medians(rv)[groups.zero]
    classes = Classes(np.array([0.0, 0.7]), np.array([0.6, 0.4]), NEVER_WILD)
    log = judge(rv, err**2, groups, classes).log_like
    for star in range(4):
        mine = groups.zero == star
        integral = [
            quad(
                lambda v, w=w, mine=mine: norm.pdf(
                    rv[mine], v, np.hypot(err[mine], w)
                ).prod(),
                -8,
                8,
                epsabs=0,
                epsrel=1e-9,
            )[0]
            for w in (0.0, 0.7)
        ]
        # Constants that are the same in both classes are left out.
        assert log[star, 1] - log[star, 0] == pytest.approx(
            np.log(integral[1] / integral[0]), abs=1e-6
        )


def test_a_star_of_two_zeros_has_the_product_of_their_likelihoods():
    rv, err, one = stars(count=2, visits=4)
    both = Groups(one.zero, np.zeros(2, np.intp), 1)
    classes = Classes.starting(class_widths(0.3, 0.3))
    apart, together = (judge(rv, err**2, g, classes) for g in (one, both))
    assert_allclose(together.log_like[0], apart.log_like.sum(axis=0))


def test_constant_stars_are_believed_and_variables_are_not():
    steady = stars(1, count=200)
    moving = stars(2, count=200, width=5.0)
    rv = np.concatenate([steady[0], moving[0]])
    err = np.concatenate([steady[1], moving[1]])
    groups = Groups.of_stars(np.concatenate([steady[2].zero, 200 + moving[2].zero]))
    classes = Classes.starting(class_widths(0.3, 0.3))
    for _ in range(20):
        verdicts = judge(rv, err**2, groups, classes)
        classes = updated_shares(classes, verdicts, groups)
    constant = verdicts.probability[:, 0]
    assert np.mean(constant[:200] > 0.5) > 0.98
    assert np.mean(constant[200:] > 0.5) < 0.03
    assert classes.share[0] == pytest.approx(0.5, abs=0.05)
    # Probabilities mean what they say: their sum is the number of constant stars.
    assert constant.sum() == pytest.approx(200, abs=10)


def test_a_single_wild_visit_loses_its_weight_and_not_the_star():
    rv, err, groups = stars(3, visits=8)
    rv[5] += 40.0
    classes = Classes.starting(class_widths(0.3, 0.3))
    verdicts = judge(rv, err**2, groups, classes)
    assert verdicts.probability[0, 0] > 0.5
    assert verdicts.wild[5] > 0.999
    assert verdicts.weight[5] < 1e-2 * verdicts.weight[4]
    strict = judge(
        rv, err**2, groups, Classes(classes.width, classes.share, NEVER_WILD)
    )
    assert strict.probability[0, 0] < 1e-6


def test_shares_settle_where_repeated_judging_leads():
    rv, err, groups = stars(4, count=100, width=0.4)
    classes = Classes(class_widths(0.3, 0.3), np.zeros(0), NEVER_WILD)
    classes = Classes(classes.width, Classes.starting(classes.width).share, NEVER_WILD)
    first = judge(rv, err**2, groups, classes)
    settled = settled_shares(classes, first, groups)
    slow = classes
    for _ in range(600):
        probability = posterior(first.log_like, slow.share)
        counts = probability.sum(axis=0) + 2 * Classes.starting(slow.width).share
        slow = Classes(slow.width, counts / counts.sum(), NEVER_WILD)
    # The loop stops when no share moves by 1e-5 a round.
    assert_allclose(settled.share, slow.share, atol=5e-3)


def test_widths_begin_at_three_floors():
    width = class_widths(0.2, 0.05)
    assert width[0] == 0
    assert width[1] == pytest.approx(0.6)
    assert_allclose(width[2:] / width[1:-1], 3)
    assert width[-1] > 30
    assert class_widths(0.01, 0.05)[1] == pytest.approx(0.15)
    assert len(class_widths(0.01, 0.05)) == len(width)


def test_zeros_without_visits_favor_no_class():
    rv, err, groups = stars(5, count=3)
    more = Groups(groups.zero, np.arange(5), 5)
    classes = Classes.starting(class_widths(0.3, 0.3))
    few, many = (judge(rv, err**2, g, classes) for g in (groups, more))
    assert_allclose(many.probability[:3], few.probability, atol=1e-12)
    assert_allclose(many.probability[3], classes.share)
