import numpy as np
import pytest

from steadystar.infer.trends import clipped, fit_line, fit_polynomial


def pair(rng, n, slope=0.9, offset=400.0, a_err=80.0, b_err=130.0, share=0.2):
    """A = offset + slope * truth, B = truth, with noise, and blunders in A."""
    true = rng.normal(5500, 600, n)
    a = offset + slope * true + rng.normal(0, a_err, n)
    a += (rng.random(n) < share) * rng.normal(0, 1500, n)
    return a, true + rng.normal(0, b_err, n)


def test_slope_and_offset_are_recovered_though_both_err_and_a_fifth_is_wrong():
    rng = np.random.default_rng(1)
    slope, offset, level = [], [], []
    for _ in range(150):
        a, b = pair(rng, 500)
        line = fit_line(a, b, np.full(500, 130.0**2))
        assert line is not None
        slope.append((line.slope - 0.9) / line.slope_err)
        offset.append((line.offset - 400) / line.offset_err)
        level.append((line.offset_at - 400 - 0.9 * line.pivot) / line.offset_at_err)
    for pull in (slope, offset, level):
        # 150 pulls: the mean is known to 0.08; clipping leaves some of the blunders.
        assert abs(np.mean(pull)) < 0.35
        assert 0.8 < np.std(pull) < 1.3


def test_errors_of_b_that_are_not_told_flatten_the_line():
    # The control: 0.9 / (1 + 130^2 / 600^2) = 0.860.
    a, b = pair(np.random.default_rng(2), 20_000, share=0.0)
    flat, right = fit_line(a, b), fit_line(a, b, np.full(20_000, 130.0**2))
    assert flat is not None
    assert right is not None
    assert flat.slope == pytest.approx(0.860, abs=0.006)
    assert right.slope == pytest.approx(0.900, abs=0.006)
    assert (flat.with_errors, right.with_errors) == (False, True)


def test_a_line_turned_round_is_the_line_of_the_others():
    a, b = pair(np.random.default_rng(3), 5000, share=0.0)
    line = fit_line(b, a, np.full(5000, 80.0**2))
    assert line is not None
    turned = line.inverted()
    assert turned.slope == pytest.approx(0.9, abs=4 * turned.slope_err)
    assert turned.offset == pytest.approx(400, abs=4 * turned.offset_err)
    assert turned.at(np.array([5000.0]))[0] == pytest.approx(4900, abs=10)
    assert line.at(turned.at(np.array([5000.0])))[0] == pytest.approx(5000)


def test_errors_of_a_line_turned_round_are_honest():
    rng = np.random.default_rng(10)
    pulls = []
    for _ in range(150):
        true = rng.normal(0, 1, 300)
        a, b = 4 * true + 1 + rng.normal(0, 1, 300), true + rng.normal(0, 0.2, 300)
        line = fit_line(b, a, np.full(300, 1.0))
        assert line is not None
        turned = line.inverted()
        pulls.append(
            (
                (turned.slope - 4) / turned.slope_err,
                (turned.offset - 1) / turned.offset_err,
            )
        )
    # 150 pulls: their widths are known to 6%.
    assert np.std(pulls, axis=0) == pytest.approx([1, 1], abs=0.25)


def test_exact_lines_and_no_lines():
    b = np.arange(10.0)
    line = fit_line(3 + 2 * b, b)
    assert line is not None
    assert line.slope == pytest.approx(2, abs=1e-12)
    assert line.offset == pytest.approx(3, abs=1e-12)
    assert fit_line(b, np.full(10, 4.0)) is None
    assert fit_line(b[:4], b[:4]) is None


def test_clipping_a_gaussian_returns_its_width():
    values = np.random.default_rng(4).normal(0, 2, 200_000)
    keep, width = clipped(lambda inside: values, np.ones(200_000, bool), 3.0)
    # The error of the width is 2 / sqrt(2 * 200 000) = 0.003.
    assert width == pytest.approx(2.0, abs=0.012)
    assert np.std(values[keep]) == pytest.approx(2.0 * 0.98658, abs=0.012)


def noise(rng, n):
    """Differences without structure, twice as wide on one side, a fifth far off."""
    x = rng.normal(0, 1, n)
    difference = rng.normal(0, 1, n) * np.where(x > 0, 2.0, 1.0)
    return difference + (rng.random(n) < 0.2) * rng.normal(0, 20, n), x


def test_pure_noise_has_no_structure_as_often_as_was_asked_for():
    rng = np.random.default_rng(5)
    found = [fit_polynomial(*noise(rng, 200), level=0.01) for _ in range(500)]
    chance = np.array([fit.p_value for fit in found if fit is not None])
    assert len(chance) == 500
    # Expected 5 and 50, at most; clipping and few stars make it fewer.
    assert np.count_nonzero(chance < 0.01) <= 10
    assert 18 <= np.count_nonzero(chance < 0.1) <= 65
    assert np.count_nonzero([f.significant for f in found if f is not None]) == (
        np.count_nonzero(chance < 0.01)
    )


def test_outliers_on_one_side_are_no_structure():
    # A fifth at 8 sigma: clipping that starts from all would never let go of them.
    rng = np.random.default_rng(11)
    x = rng.normal(0, 1, 1000)
    odd = rng.random(1000) < np.where(x > 0, 0.3, 0.1)
    fit = fit_polynomial(rng.normal(0, 1, 1000) + 8 * odd, x)
    assert fit is not None
    assert fit.p_value > 1e-3
    assert fit.rms < 0.3


def test_planted_structure_of_the_fourth_order_is_found_with_its_coefficients():
    rng = np.random.default_rng(6)
    pulls = []
    for _ in range(60):
        difference, x = noise(rng, 2000)
        planted = np.array([0.3, -0.2, 0.5, 0.1, 0.4])
        fit = fit_polynomial(difference + np.vander(x, 5, increasing=True) @ planted, x)
        assert fit is not None
        assert fit.significant
        assert fit.p_beyond_line < 1e-3
        # From powers of t to powers of x.
        t = np.polynomial.Polynomial([-fit.center / fit.scale, 1 / fit.scale])
        in_x = sum(c * t**k for k, c in enumerate(fit.coefficients))
        at = np.linspace(-1.5, 1.5, 7)
        assert in_x(at) == pytest.approx(fit.at(at), abs=1e-9)
        true = np.polynomial.Polynomial(planted)(fit.center + 0 * at[:1])
        pulls.append((fit.coefficients[0] - true[0]) / fit.errors[0])
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.4


def test_a_straight_trend_is_structure_but_nothing_beyond_a_line():
    difference, x = noise(np.random.default_rng(7), 3000)
    fit = fit_polynomial(difference + 0.4 * x, x)
    assert fit is not None
    assert fit.significant
    assert fit.p_beyond_line > 1e-3


def test_the_polynomial_stays_at_its_end_value_beyond_its_range():
    difference, x = noise(np.random.default_rng(8), 500)
    fit = fit_polynomial(difference + x**4, x)
    assert fit is not None
    assert fit.at(np.array([1e9]))[0] == fit.at(np.array([fit.high]))[0]
    assert fit.at(np.array([-1e9]))[0] == fit.at(np.array([fit.low]))[0]


def test_nothing_differs_and_too_few_differ():
    x = np.random.default_rng(9).normal(size=100)
    flat = fit_polynomial(np.zeros(100), x)
    assert flat is not None
    assert (flat.p_value, flat.significant, flat.rms) == (1.0, False, 0.0)
    assert fit_polynomial(x[:20], x[:20]) is None
    assert fit_polynomial(x, np.repeat([1.0, 2.0], 50)) is None
