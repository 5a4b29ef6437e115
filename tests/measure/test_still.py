"""Velocities beneath a sky: what stands still does not pull at the star."""

from functools import cache

import numpy as np
import pytest

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.measure.still import standing_still
from steadystar.measure.velocities import measure_velocities
from steadystar.models.broadening import broaden
from steadystar.models.library import bundled
from steadystar.models.sky import StillLines
from steadystar.models.templates import Templates, bundled_templates

RESOLUTION = 7500.0
PIXELS = np.exp(np.linspace(np.log(6335), np.log(6785), 3000))
WINDOW = "lamost-mrs-red"
NUMBER, SNR = 128, 80.0
# Sky and absorption lines, in units of the continuum, on an average night.
_RNG = np.random.default_rng(8)
CENTERS = _RNG.uniform(6340, 6780, 60)
AIRGLOW, TELLURIC = CENTERS[:20], CENTERS[20:]
BRIGHT, DEEP = _RNG.uniform(0.02, 0.3, 20), _RNG.uniform(0.02, 0.2, 40)


@cache
def templates() -> Templates:
    return bundled_templates(WINDOW, RESOLUTION)


def gaussians(centers, wave=PIXELS):
    sigma = centers[:, None] / RESOLUTION / 2.354820045
    return np.exp(-(((wave - centers[:, None]) / sigma) ** 2) / 2)


@cache
def mock():
    """A G star at barycentric rest, seen from an Earth that moves by up to 30 km/s.

    Returns bary_corr, spectra with sky and without, and how much of their pixels is sky.
    """
    rng = np.random.default_rng(1)
    bary = rng.uniform(-30, 30, NUMBER)
    models = bundled(WINDOW)
    rest = models([5300.0, 4.4, 0.0]).flux
    star = np.stack(
        [
            broaden(
                models.wave / (1 + b / C_KMS),
                rest,
                PIXELS,
                resolution=RESOLUTION,
                vsini=3.0,
            )
            for b in bary
        ]
    )
    absorbed = 1 - rng.uniform(0.5, 1.5, (NUMBER, 1)) * (DEEP @ gaussians(TELLURIC))
    airglow = rng.uniform(0, 2, (NUMBER, 1)) * (BRIGHT @ gaussians(AIRGLOW))
    noise = rng.normal(size=star.shape) / SNR
    ivar = np.full(star.shape, SNR**2)
    clean, seen = (
        Spectra.from_arrays(PIXELS, 500 * (f + noise), ivar / 500**2, RESOLUTION)
        for f in (star, star * absorbed + airglow)
    )
    covered = BRIGHT @ gaussians(AIRGLOW) + 0.5 * DEEP @ gaussians(TELLURIC) > 1 / SNR
    return bary, clean, seen, covered


@cache
def priors() -> tuple[StillLines, StillLines]:
    """Airglow from other nights' sky fibers; absorption from a table of two airmasses."""
    rng = np.random.default_rng(2)
    sky = 500 * rng.uniform(0, 2, (30, 1)) * (BRIGHT @ gaussians(AIRGLOW))
    sky = sky + 500 / SNR * rng.normal(size=sky.shape)
    ivar = np.full(sky.shape, (SNR / 500) ** 2)
    airglow = StillLines.learn(Spectra.from_arrays(PIXELS, sky, ivar, RESOLUTION))
    fine = np.arange(6330, 6790, 0.02)
    sharp = DEEP @ gaussians(TELLURIC, fine)
    # Seen already: a resolution that changes nothing.
    table = 1 - np.array([0.5, 1.0, 1.5])[:, None] * sharp
    return airglow, StillLines.from_transmission(fine, table, 1e6, rank=2)


@cache
def deviation(which: str):
    """Velocity less truth, km/s, and its error."""
    bary, clean, seen, covered = mock()
    masked = Spectra.from_arrays(
        PIXELS, seen.flux, np.where(covered, 0, seen.ivar), RESOLUTION
    )
    spectra, still = {
        "clean": (clean, None),
        "ignored": (seen, None),
        "prior": (seen, priors()),
        "masked": (masked, None),
    }[which]
    found = measure_velocities(
        spectra, templates(), arm="red", bary_corr=bary, still=still
    )
    return found["rv_raw"].to_numpy(), found["rv_raw_err"].to_numpy()


def slope(off):
    """Change of the deviation with the observed velocity, and its error."""
    observed = -mock()[0]
    x = observed - observed.mean()
    found = (x @ off) / (x @ x)
    return found, (off - off.mean() - found * x).std() / np.sqrt(x @ x)


def test_without_a_prior_the_velocity_depends_on_the_observed_one():
    found, error = slope(deviation("ignored")[0])
    assert abs(found) > 5 * error


def test_with_it_nothing_is_left_of_the_dependence():
    found, error = slope(deviation("prior")[0])
    assert abs(found) < 2 * error
    # Over the 60 km/s of a year, less than half of one spectrum's error.
    assert abs(found) * 60 < 0.5 * np.median(deviation("prior")[1])
    off, errors = deviation("prior")
    # 128 spectra know their median to 0.11 errors: three of these.
    assert abs(np.median(off)) < 0.33 * np.median(errors)
    # And their width to 6 percent.
    assert (off / errors).std() == pytest.approx(1, abs=0.2)


def test_no_more_precision_is_lost_than_with_the_covered_pixels():
    clean, prior, masked = (deviation(k)[0].std() for k in ("clean", "prior", "masked"))
    assert 0.1 < mock()[3].mean() < 0.4
    # The noise is the same in all: what differs is what is made of it.
    assert prior < 1.04 * masked
    assert prior < 1.25 * clean


def test_the_errors_say_what_the_sky_cost():
    clean, prior = (np.median(deviation(k)[1]) for k in ("clean", "prior"))
    assert 1.0 < prior / clean < 1.25


def test_barycentric_wavelengths_are_moved_back_to_where_the_sky_stands():
    bary, _, seen, _ = mock()
    some = slice(0, 32)
    moved = Spectra.from_arrays(
        PIXELS * (1 + bary[some, None] / C_KMS),
        seen.flux[some],
        seen.ivar[some],
        RESOLUTION,
        frame="barycenter",
    )
    found = measure_velocities(
        moved, templates(), arm="red", bary_corr=bary[some], still=priors()
    )
    # The same pixels but for rounding, in batches of another size.
    np.testing.assert_allclose(
        found["rv_raw"],
        deviation("prior")[0][some],
        atol=0.05 * deviation("prior")[1][0],
    )
    z = (1 + found["rv_obs"].to_numpy() / C_KMS) * (1 + bary[some] / C_KMS)
    np.testing.assert_allclose(found["rv_raw"], C_KMS * (z - 1), atol=1e-9)


def test_without_the_correction_nobody_knows_where_the_sky_is():
    _, _, seen, _ = mock()
    moved = Spectra(
        seen.wave, seen.flux, seen.ivar, seen.resolution, frame="barycenter"
    )
    with pytest.raises(ValueError, match=r"128 of 128 spectra .* pass bary_corr"):
        measure_velocities(moved, templates(), arm="red", still=priors())
    some = np.where(np.arange(NUMBER) < 3, np.nan, 1.0)
    with pytest.raises(ValueError, match="3 of 128 spectra"):
        measure_velocities(moved, templates(), bary_corr=some, still=priors())


def test_no_priors_change_nothing():
    _, _, seen, _ = mock()
    for nothing in (None, [], ()):
        spectra, standing = standing_still(seen, nothing, None)
        assert spectra is seen
        assert standing.priors == ()


def flat(**given):
    """A prior on the pixels' range with one value everywhere."""
    grid = LogGrid.covering(6300.0, 6800.0, 10.0)
    parts = {"mean": np.zeros(grid.size), "variance": np.zeros(grid.size)}
    parts |= {k: np.full(grid.size, v) for k, v in given.items() if k in parts}
    pattern = np.zeros((0, grid.size))
    return StillLines(
        "flat",
        grid,
        patterns=pattern,
        multiplies=given.get("multiplies", False),
        **parts,
    )


def test_a_mean_is_taken_off_and_a_variance_takes_weight():
    _, _, seen, _ = mock()
    added, standing = standing_still(seen, flat(mean=20.0, variance=9.0), None)
    assert standing.priors == ()
    np.testing.assert_allclose(added.flux, seen.flux - 20, rtol=1e-5)
    np.testing.assert_allclose(1 / added.ivar, 1 / seen.ivar + 9, rtol=1e-5)
    through, _ = standing_still(
        seen, flat(mean=-0.2, variance=0.01**2, multiplies=True), None
    )
    np.testing.assert_allclose(through.flux, seen.flux / 0.8, rtol=1e-5)
    level = np.median(seen.flux, axis=1, keepdims=True)
    np.testing.assert_allclose(
        1 / through.ivar, 1 / (0.8**2 * seen.ivar) + (0.01 * level) ** 2, rtol=1e-5
    )


def test_patterns_that_add_are_seen_in_the_light_of_faint_stars():
    _, _, seen, _ = mock()
    airglow, telluric = priors()
    _, standing = standing_still(seen, [telluric, airglow], None)
    # 500, in steps of ten percent.
    assert standing.level == pytest.approx(500, rel=0.06)
    grid = LogGrid.covering(6300.0, 6800.0, 10.0)
    multiply, add = standing.columns(grid)
    assert (len(multiply), len(add)) == (telluric.rank, airglow.rank)
    # Means of the airglow of 0.2 at most, varying by 1/sqrt(3) of it; off the coarse
    # grid's points there may be less.
    peak = np.abs(add).max()
    assert 0.3 * BRIGHT.max() / 3**0.5 < peak < 2.5 * BRIGHT.max() / 3**0.5


def test_a_batch_without_data_is_kept_as_rows():
    _, _, seen, _ = mock()
    empty = Spectra(seen.wave, seen.flux[:4], 0 * seen.ivar[:4], seen.resolution[:4])
    found = measure_velocities(empty, templates(), arm="red", still=priors())
    assert len(found) == 4
    assert np.isnan(found["rv_raw"].to_numpy()).all()
    assert (found["status"].to_numpy() != 0).all()
