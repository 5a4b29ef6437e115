"""A survey's absolute velocities: which templates, which window, whose row."""

import numpy as np
import polars as pl
import pytest

from steadystar.data.schema import conform
from steadystar.data.spectra import Spectra
from steadystar.measure.absolute import measure_absolute

from . import star_mock

BLUE = np.exp(np.linspace(np.log(4955), np.log(5345), 3000))
RED = np.exp(np.linspace(np.log(6310), np.log(6790), 3000))
LABEL = np.array([[5400.0, 4.4, -0.1]])


def files(pixels, velocities, seed):
    """Spectra of one star, each in a file that names no arm."""
    labels = np.tile(LABEL, (len(velocities), 1))
    window = "lamost-mrs-blue" if pixels[0] < 6000 else "lamost-mrs-red"
    clean = star_mock.clean(labels, np.asarray(velocities), 4.0, pixels, window=window)
    return star_mock.observe(clean, 80, seed, pixels, 7500.0)


def visits(number):
    return conform(
        pl.DataFrame({"visit_id": [f"v{n}" for n in range(number)]}), "visits"
    )


def test_both_arms_are_measured_where_no_file_names_one():
    blue, red = files(BLUE, [40.0, -20.0], 1), files(RED, [10.0, 70.0], 2)
    both = Spectra.concatenate([blue, red])
    found = measure_absolute(visits(4), both).table
    assert found["visit_id"].to_list() == ["v0", "v1", "v2", "v3"]
    assert (found["status"] == 0).all()
    np.testing.assert_allclose(found["rv_raw"], [40, -20, 10, 70], atol=2)
    # And no night that is added changes what was measured before.
    alone = measure_absolute(visits(2), blue).table
    assert alone["rv_raw"].to_list() == found["rv_raw"][:2].to_list()


def test_orders_of_an_echelle_are_measured_each_by_itself():
    orders = [
        files(BLUE[first : first + 750], [30.0], number)
        for number, first in enumerate((200, 950, 1700))
    ]
    found = measure_absolute(visits(3), Spectra.concatenate(orders)).table
    pulls = (found["rv_raw"] - 30) / found["rv_raw_err"]
    assert found["rv_raw"].is_finite().all()
    assert (pulls.abs() < 4).all()


def test_rows_and_spectra_must_agree():
    with pytest.raises(ValueError, match="3 visits but 2 spectra"):
        measure_absolute(visits(3), files(BLUE, [0.0, 0.0], 1))
