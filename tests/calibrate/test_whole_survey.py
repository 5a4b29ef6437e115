"""Zero points, errors and verdicts together, as a survey would use them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate.errors import fit_error_model
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status
from steadystar.infer.summary import summarize_stars

SITES = ("telescope,exposure_id", "telescope,fiber")


def calibrated(visits, by):
    zero = fit_zeropoints(visits, by)
    out = zero.apply(visits)
    model = fit_error_model(out)
    return zero, model.apply(out), model


def test_two_sites_that_share_no_star_are_solved_in_both_families(mocks):
    visits, truth = mocks.two_sites(0)
    zero, out, _ = calibrated(visits, SITES)
    for family in zero.offsets:
        assert zero.offsets[family]["component"].n_unique() == 2
        assert any(f"{family} fall into 2 sets" in note for note in zero.notes)
    miss = out["correction"].to_numpy() - truth["zero"]
    for site in (0, 1):
        here = miss[truth["site"] == site]
        # 0.25 km/s a visit, 100 visits of constant stars in an exposure, 170 in a fiber.
        assert np.std(here) < 0.04
        pull = (here - here.mean()) / out["correction_err"].to_numpy()[
            truth["site"] == site
        ]
        assert np.std(pull) == pytest.approx(1, abs=0.2)


def test_exposures_of_the_alternate_lamp_are_named_among_fiber_offsets(mocks):
    visits, truth = mocks.two_sites(1)
    zero, out, _ = calibrated(visits, SITES)
    named = (out["status"].to_numpy() & int(Status.LAMP_OUTLIER)) != 0
    assert np.array_equal(named, truth["lamp"])
    assert sum("km/s larger than" in note for note in zero.notes) == 1
    # They are corrected like all others.
    miss = out["correction"].to_numpy() - truth["zero"]
    assert abs(miss[named].mean() - miss[~named & (truth["site"] == 1)].mean()) < 0.05


def test_sites_solved_apart_are_as_solved_together(mocks):
    visits, _ = mocks.two_sites(2)
    _, out, _ = calibrated(visits, SITES)
    for name in ("north", "south"):
        here = visits.filter(telescope=name)
        _, alone, _ = calibrated(here, SITES)
        change = alone["correction"] - out.filter(telescope=name)["correction"]
        # Only scale and floor of the errors, and the share of variables, are common:
        # they move an offset by a tenth of its error.
        assert change.std() < 0.1 * out["correction_err"].mean()


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.slow
def test_a_survey_of_300_fibers_is_calibrated_to_its_errors(mocks, quiet):
    options = {"error": 3.0, "floor": 0.02} if quiet else {}
    visits, truth = mocks.fibers(0, **options)
    _, out, model = calibrated(visits, ["fiber"])
    assert model.scale == pytest.approx(1, abs=0.01)
    assert model.floor == pytest.approx(truth["floor"], rel=0.02)
    rows = truth["constant"]
    star = truth["star"][rows]
    rv, err = (out[name].to_numpy()[rows] for name in ("rv", "rv_err"))
    total = np.bincount(star, err**-2)
    mean = np.bincount(star, err**-2 * rv) / np.where(total > 0, total, 1)
    pull = (rv - mean[star]) / np.sqrt(err**2 - 1 / total[star])
    order = np.argsort(visits["snr"].to_numpy()[rows], kind="stable")
    # Bins of 15 000 visits, whose width is uncertain by 0.6%.
    widths = [np.std(p) for p in np.array_split(pull[order], 10)]
    assert min(widths) > 0.98
    assert max(widths) < 1.02
    stars = summarize_stars(out)
    constant = stars["constant"].to_numpy()
    single = truth["amplitude"][stars["star_id"].to_numpy()] == 0
    assert constant[single].mean() > 0.99
    # 6/SNR hides binaries of 0.2 km/s at S/N 20; half of that error does not.
    assert constant[~single].mean() < (0.06 if quiet else 0.09)


def test_all_of_it_survives_rows_in_another_order(mocks):
    visits, _ = mocks.two_sites(3, stars=100)
    visits = visits.with_row_index("row")
    _, out, _ = calibrated(visits, SITES)
    mixed = visits.sample(fraction=1.0, shuffle=True, seed=1)
    _, again, _ = calibrated(mixed, SITES)
    again = again.sort("row")
    for column in ("correction", "correction_err", "rv", "rv_err"):
        assert_allclose(again[column], out[column], atol=1e-6)
    stars, others = summarize_stars(out), summarize_stars(again)
    assert stars["constant"].equals(others["constant"])
