import numpy as np
import polars as pl
import pytest

from steadystar.data.schema import columns
from steadystar.simulate.table_mock import fiber_mock, xiong_mock


@pytest.fixture(scope="module")
def mock():
    return xiong_mock(3)


def test_it_is_the_mock_of_the_paper(mock):
    assert mock.visits["exposure_id"].n_unique() == 30
    assert mock.visits["night"].n_unique() == 7
    assert len(mock.visits) == 250 * 30
    kinds = dict(mock.stars["kind"].value_counts().iter_rows())
    assert kinds == {"constant": 200, "irregular": 10, "binary": 40}
    assert list(mock.visits.columns) == list(columns("velocities"))
    truth = mock.truth.join(mock.stars, on="star_id")
    constant = truth.filter("constant_true")
    assert constant["rv_true"].abs().max() <= 0.1
    spread = (
        truth.filter(pl.col("kind") == "irregular")
        .group_by("star_id")
        .agg(pl.col("rv_true").max() - pl.col("rv_true").min())["rv_true"]
    )
    assert spread.max() <= 10
    # 30 uniform draws leave 1/31 of their range open at either end.
    assert spread.min() > 2 * 0.6
    errors = mock.visits["rv_raw_err"]
    assert errors.min() >= 0.01
    assert errors.max() <= 2.0
    assert errors.mean() == pytest.approx(1.0, abs=4 * 2 / np.sqrt(12 * 250))


def test_its_first_binaries_are_those_of_table_1(mock):
    first = mock.stars.filter(pl.col("kind") == "binary").head(3)
    assert first["period_true"].to_list() == [0.6894, 0.6373, 2.9098]
    assert first["semi_amplitude_true"].to_list() == [13.23, 13.01, 5.91]
    assert first["inclination_true"].to_list() == [88.65, 88.15, 81.79]
    rest = mock.stars.filter(pl.col("kind") == "binary").tail(37)
    assert rest["period_true"].is_between(0.5, 3).all()
    assert rest["semi_amplitude_true"].is_between(3, 15).all()
    for star in first.iter_rows(named=True):
        seen = mock.visits.with_columns(mock.truth["rv_true"]).filter(
            pl.col("star_id") == star["star_id"]
        )
        phase = (
            2 * np.pi * (seen["bjd"] - star["periastron_true"]) / star["period_true"]
        )
        # Circular: a cosine from periastron (omega is zero).
        np.testing.assert_allclose(
            seen["rv_true"], star["semi_amplitude_true"] * np.cos(phase), atol=1e-6
        )


def test_visits_are_truth_and_correction_and_noise(mock):
    pull = (
        mock.visits["rv_raw"] - mock.truth["rv_true"] - mock.truth["correction_true"]
    ) / mock.visits["rv_raw_err"]
    size = len(pull)
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * size))
    assert pull.mean() == pytest.approx(0.0, abs=4 / np.sqrt(size))
    offset = mock.visits.join(mock.offsets, on="exposure_id", how="left")
    np.testing.assert_allclose(offset["offset_true"], mock.truth["correction_true"])


def test_zero_points_scatter_as_published():
    nights, exposures = [], []
    for seed in range(20):
        mock = xiong_mock(seed, n_constant=1, n_irregular=0, n_binaries=0)
        table = mock.visits.with_columns(mock.truth["correction_true"])
        by_night = table.group_by("night").agg(
            pl.col("correction_true").mean(),
            pl.col("correction_true").var().alias("var"),
        )
        nights += by_night["correction_true"].to_list()
        exposures += by_night["var"].to_list()
    # Uniform within 7: standard deviation 7/sqrt(3), and 0.5/sqrt(4) of exposures.
    assert np.std(nights) == pytest.approx(7 / np.sqrt(3), rel=0.15)
    assert np.sqrt(np.mean(exposures)) == pytest.approx(0.5, rel=0.1)


def test_the_right_answer_is_as_good_as_the_errors_allow():
    """An oracle that knows the constant stars finds zero points to 0.02 km/s."""
    rms = []
    for seed in range(5):
        mock = xiong_mock(seed)
        table = mock.visits.with_columns(mock.truth["correction_true"]).join(
            mock.stars, on="star_id"
        )
        table = table.filter("constant_true").with_columns(
            weight=1 / (pl.col("rv_raw_err") ** 2 + 0.1**2 / 3)
        )
        error = table.group_by("exposure_id").agg(
            ((pl.col("rv_raw") - pl.col("correction_true")) * pl.col("weight")).sum()
            / pl.col("weight").sum()
        )["rv_raw"]
        rms.append(error.std())
    # The sum of weights of 200 stars with errors uniform in 0 to 2 and 0.058 of their
    # own: 0.019 km/s on average.
    assert np.mean(rms) == pytest.approx(0.019, abs=0.005)


def test_seeds_decide():
    assert xiong_mock(1).visits.equals(xiong_mock(1).visits)
    assert not xiong_mock(1).visits.equals(xiong_mock(2).visits)
    assert fiber_mock(1, n_stars=50).visits.equals(fiber_mock(1, n_stars=50).visits)


def test_fibers_have_offsets_and_telescopes_share_stars():
    mock = fiber_mock(
        2, n_fibers=40, n_stars=1500, telescopes=("north", "south"), shared=0.2
    )
    truth = mock.visits.with_columns(
        mock.truth["rv_true"], mock.truth["correction_true"]
    ).join(mock.offsets, on=["telescope", "fiber"], how="left")
    np.testing.assert_allclose(truth["correction_true"], truth["offset_true"])
    both = mock.visits.group_by("star_id").agg(pl.col("telescope").n_unique())
    # Binomial, four sigma.
    assert (both["telescope"] == 2).mean() == pytest.approx(
        0.2, abs=4 * np.sqrt(0.16 / 1500)
    )
    assert (~mock.stars["constant_true"]).mean() == pytest.approx(
        0.12, abs=4 * np.sqrt(0.12 * 0.88 / 1500)
    )
    scatter = (
        truth.group_by("star_id")
        .agg(pl.col("rv_true").std())
        .join(mock.stars, on="star_id")
    )
    assert scatter.filter("constant_true")["rv_true"].max() < 1e-9
    assert scatter.filter(~pl.col("constant_true"))["rv_true"].min() > 0
    assert mock.offsets["offset_true"].std() > 0.2


@pytest.mark.parametrize(
    "call",
    [
        lambda: xiong_mock(1, n_exposures=3),
        lambda: xiong_mock(1, n_constant=0, n_irregular=0, n_binaries=0),
        lambda: fiber_mock(1, n_stars=0),
        lambda: fiber_mock(1, telescopes=()),
    ],
)
def test_no_survey_at_all_is_refused(call):
    with pytest.raises(ValueError, match="at least one"):
        call()
