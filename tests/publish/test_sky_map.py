"""Maps put every star where it belongs, at 0h and at the poles too."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from steadystar.data.match import unit_vectors
from steadystar.publish.sky_map import SkyMap, degrees_of

RA, DEC = st.floats(0, 359.999), st.floats(-90, 90)


def apart(ra, dec, ra0, dec0):
    cosine = unit_vectors(np.atleast_1d(ra), np.atleast_1d(dec)) @ unit_vectors(
        ra0, dec0
    )
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))  # fmt: skip


def around(ra0, dec0, radius, n=40):
    """Positions within a circle on the sky."""
    rng = np.random.default_rng(1)
    sky = SkyMap("chart", ra0, dec0, radius)
    rings = [sky.circle(ra0, dec0, r) for r in radius * np.sqrt(rng.random(3))]
    ra, dec = (np.concatenate(part)[:n] for part in zip(*rings, strict=True))
    return ra, dec


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(RA, DEC), min_size=1, max_size=30))
def test_every_position_lies_within_the_axes(positions):
    ra, dec = np.array(positions).T
    sky = SkyMap.holding(ra, dec)
    x, y = sky.xy(ra, dec)
    for place, axis in zip((x, y), sky.axes, strict=True):
        # Rounding of a turn.
        assert np.all(place >= axis.low - 1e-6)
        assert np.all(place <= axis.high + 1e-6)


@settings(max_examples=100, deadline=None)
@given(RA, st.floats(-89.9, 89.9), st.floats(0.3, 8.0))
def test_a_small_field_keeps_its_distances_wherever_it_is(ra0, dec0, radius):
    ra, dec = around(ra0, dec0, radius)
    sky = SkyMap.holding(ra, dec)
    assert sky.kind in ("straight", "chart")
    x, y = sky.xy(ra, dec)
    x0, y0 = sky.xy(np.array([ra0]), np.array([dec0]))
    drawn = np.hypot(x - x0, y - y0)
    true = apart(ra, dec, ra0, dec0)
    # With straight axes right ascension is drawn with the scale of the middle: the
    # change of cos(dec) over the field is what it misses by.
    bent = np.radians(radius) * abs(np.tan(np.radians(min(abs(dec0) + radius, 75))))
    assert np.all(np.abs(drawn - true) <= (0.02 + bent) * radius + 1e-6)


def test_stars_on_both_sides_of_0h_are_neighbors():
    sky = SkyMap.holding(np.array([359.5, 0.5]), np.array([10.0, 10.0]))
    x, _ = sky.xy(np.array([359.5, 0.5]), np.array([10.0, 10.0]))
    assert x[1] - x[0] == pytest.approx(np.cos(np.radians(10)), rel=1e-3)
    assert sky.radius < 1
    texts = [text for _, text in sky.axes[0].ticks]
    assert "0" in texts
    assert all(0 <= float(text) < 360 for text in texts)


def test_east_is_to_the_left():
    for dec in (0.0, 80.0):
        sky = SkyMap.holding(np.array([10.0, 12.0]), np.array([dec, dec]))
        x, _ = sky.xy(np.array([10.0, 12.0]), np.array([dec, dec]))
        assert x[1] > x[0]
        assert sky.axes[0].reverse


@settings(max_examples=100, deadline=None)
@given(RA, st.floats(75, 90), st.floats(1, 20))
def test_a_chart_of_a_pole_has_true_distances_from_its_middle(ra0, dec0, radius):
    sky = SkyMap("chart", ra0, dec0, radius)
    ra, dec = sky.circle(ra0, dec0, radius)
    x, y = sky.xy(ra, dec)
    assert np.hypot(x, y) == pytest.approx(np.full(len(x), radius), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(RA, DEC, st.floats(0.01, 60))
def test_a_circle_is_as_far_from_its_middle_everywhere(ra0, dec0, radius):
    ra, dec = SkyMap("sky", 0.0, 0.0, 180.0).circle(ra0, dec0, radius)
    # arccos of a number near 1 keeps half of the digits.
    assert apart(ra, dec, ra0, dec0) == pytest.approx(np.full(len(ra), radius), abs=1e-4)  # fmt: skip


def test_equal_areas_of_the_whole_sky_are_equal():
    """Half of the sky's area lies within 30 degrees of the equator, as sin(30) says."""
    sky = SkyMap("sky", 0.0, 0.0, 180.0)
    edge = 30.0
    _, (top,) = sky.xy(np.array([0.0]), np.array([edge]))
    # The ellipse has half axes 180 and 90: area below y by the circle's formula.
    u = top / 90
    share = (2 / np.pi) * (u * np.sqrt(1 - u**2) + np.arcsin(u))
    assert share == pytest.approx(np.sin(np.radians(edge)), abs=1e-9)
    x, y = sky.xy(np.array([0.0, 179.0]), np.array([90.0, -90.0]))
    assert x == pytest.approx([0, 0], abs=1e-6)
    assert y == pytest.approx([90, -90])


def test_a_survey_of_the_whole_sky_is_cut_where_nothing_is():
    ra = np.linspace(20, 300, 200)
    sky = SkyMap.holding(ra, np.zeros(200))
    assert sky.kind == "sky"
    # Opposite to the middle of the map there is no star within 20 degrees.
    cut = (sky.ra + 180) % 360
    assert np.abs((ra - cut + 180) % 360 - 180).min() > 20


def test_lines_do_not_run_across_the_map():
    sky = SkyMap("sky", 180.0, 0.0, 180.0)
    line = sky.line(np.linspace(90, 270, 91) + 180, np.full(91, 20.0))
    steps = np.abs(np.diff(line.x))[np.isfinite(np.diff(line.y))]
    assert steps.max() < 10


@settings(max_examples=100, deadline=None)
@given(RA, st.floats(-89, 89))
def test_directions_become_degrees_again(ra, dec):
    assume(abs(dec) < 89)
    back = degrees_of(unit_vectors(np.array([ra]), np.array([dec])))
    assert (back[0][0] - ra + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert back[1][0] == pytest.approx(dec, abs=1e-6)
