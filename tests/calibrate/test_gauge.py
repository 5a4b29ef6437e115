import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.calibrate.gauge import Gauged, components, determine
from steadystar.calibrate.solve import Design
from steadystar.data.status import Status


def design_of(star, *families) -> Design:
    """A design from the star of each visit and its group in each family."""
    unknown, family, start = [], [], 0
    for f, index in enumerate(families):
        index = np.asarray(index)
        unknown.append(np.where(index >= 0, index + start, -1))
        size = int(index.max()) + 1
        family += [f] * size
        start += size
    star = np.asarray(star)
    return Design(
        star, np.stack(unknown), int(star.max()) + 1, start, np.array(family, np.intp)
    )


def same_component_by_svd(design: Design, f: int) -> np.ndarray:
    """The slow obvious twin: is c_a - c_b fixed by the data of families up to f?"""
    n, last = len(design.zero), int(np.flatnonzero(design.family == f)[-1]) + 1
    matrix = np.zeros((n, design.zeros + last))
    matrix[np.arange(n), design.zero] = 1
    for index in design.unknown[: f + 1]:
        has = index >= 0
        matrix[np.flatnonzero(has), design.zeros + index[has]] = 1
    _, value, right = np.linalg.svd(matrix, full_matrices=True)
    rank = int((value > 1e-9 * value[0]).sum())
    null = right[rank:, design.zeros :].T[design.family[:last] == f]
    return np.abs(null[:, None] - null[None]).max(axis=-1) < 1e-9


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 3), st.integers(6, 40))
def test_components_are_what_singular_values_say(seed, families, visits):
    rng = np.random.default_rng(seed)
    star = rng.integers(0, 6, visits)
    groups = [rng.integers(0, rng.integers(1, 6), visits) for _ in range(families)]
    groups = [np.unique(g, return_inverse=True)[1] for g in groups]
    star = np.unique(star, return_inverse=True)[1]
    design = design_of(star, *groups)
    label, _ = components(design)
    for f in range(families):
        mine = label[design.family == f]
        assert np.array_equal(
            mine[:, None] == mine[None], same_component_by_svd(design, f)
        )


def grid(stars: int, exposures: int):
    star, exposure = np.divmod(np.arange(stars * exposures), exposures)
    return star, exposure


def test_a_fiber_that_no_star_leaves_is_undetermined_but_harmless():
    star, exposure = grid(8, 5)
    design = design_of(star, exposure, star % 4)
    found = determine(design, star, 3)
    assert found.rows.all()
    assert np.array_equal(found.active, design.family == 0)
    assert (found.status[design.family == 1] & int(Status.UNCALIBRATED)).all()


def test_an_exposure_of_one_star_is_refused_and_its_visits_leave():
    star, exposure = grid(1, 6)
    found = determine(design_of(star, exposure), star, 3)
    assert not found.active.any()
    assert not found.rows.any()
    assert (found.status & int(Status.TOO_FEW_STARS)).all()


def test_refusing_one_group_can_undo_another():
    # Stars 0 to 2 tie exposures 0 and 1; stars 1 and 2 alone tie exposure 2 to 1.
    star = np.array([0, 0, 1, 1, 2, 2, 1, 2])
    exposure = np.array([0, 1, 0, 1, 0, 1, 2, 2])
    found = determine(design_of(star, exposure), star, 3)
    assert found.active.tolist() == [True, True, False]
    assert found.rows.tolist() == [True] * 6 + [False] * 2


def test_a_refused_fiber_is_noise_for_the_exposures():
    star, exposure = grid(6, 4)
    fiber = star.copy()
    fiber[(star == 0) & (exposure > 1)] = 1
    found = determine(design_of(star, exposure, fiber), star, 3)
    assert found.rows.all()
    assert found.active[:4].all()
    assert not found.active[4:].any()
    # Star 0 moves between fibers 0 and 1; the star that stays in fiber 1 does not.
    assert np.array_equal(found.unmodeled[1], star == 0)
    assert not found.unmodeled[0].any()


def test_nights_are_redundant_beside_exposures_and_lead_when_named_first():
    star, exposure = grid(6, 8)
    night = exposure // 4
    _, redundant = components(design_of(star, exposure, night))
    assert redundant.tolist() == [False] * 8 + [True] * 2
    label, redundant = components(design_of(star, night, exposure))
    assert not redundant.any()
    assert len(set(label[:2])) == 1
    assert len(set(label[2:6])) == len(set(label[6:])) == 1
    assert label[2] != label[6]


def test_the_offsets_of_nested_families_add_up_whatever_the_order():
    rng = np.random.default_rng(4)
    star, exposure = grid(6, 8)
    night = exposure // 4
    y = rng.normal(0, 1, len(star)) + rng.normal(0, 5, 8)[exposure]
    weight = rng.uniform(0.5, 2, len(star))
    totals = []
    for first, second in ((exposure, night), (night, exposure)):
        design = design_of(star, first, second)
        label, _ = components(design)
        gauged = Gauged(design, weight, label)
        offset, ambiguous = gauged.center(y, np.ones(design.size)), gauged.ambiguous
        assert not ambiguous.any()
        total = design.total(offset)
        totals.append(total - total.mean())
        for one in np.unique(label):
            # Mean zero in every component, to the rounding of sums of km/s.
            assert abs(offset[label == one].mean()) < 1e-9
    np.testing.assert_allclose(totals[0], totals[1], atol=1e-6)


def test_a_trend_shared_by_two_families_is_called_ambiguous():
    # Each star moves up one fiber in every exposure: fiber = star + exposure, so that
    # a trend over fibers is a trend over exposures and stars.
    star, exposure = grid(5, 6)
    design = design_of(star, exposure, star + exposure)
    label, _ = components(design)
    rng = np.random.default_rng(0)
    y = rng.normal(0, 1, len(star))
    weight = np.ones(len(star))
    gauged = Gauged(design, weight, label)
    offset, ambiguous = gauged.center(y, np.ones(design.size)), gauged.ambiguous
    assert ambiguous.tolist() == [False, True]
    matrix = np.zeros((len(star), 5 + design.size))
    matrix[np.arange(len(star)), star] = 1
    for index in design.unknown:
        matrix[np.arange(len(star)), 5 + index] = 1
    best = y - matrix @ np.linalg.lstsq(matrix, y, rcond=None)[0]
    left = y - design.total(offset)
    left -= (np.bincount(star, left) / 6)[star]
    np.testing.assert_allclose(left, best, atol=1e-7)


@pytest.mark.parametrize("visits", [0, 1])
def test_nothing_is_no_trouble(visits):
    design = design_of([0] * visits, [0] * visits) if visits else None
    if design is None:
        empty = np.zeros(0, np.intp)
        design = Design(empty, empty[None], 0, 0, empty)
    found = determine(design, design.zero, 3)
    label, redundant = components(design)
    assert len(label) == len(redundant) == len(found.active) == visits
