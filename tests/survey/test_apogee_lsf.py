import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import erf, hermitenorm

from steadystar.data.constants import C_KMS
from steadystar.simulate.apogee_files import LSF_TYPICAL, write_visit
from steadystar.survey.apogee import read_line_spread, read_sky
from steadystar.survey.apogee_lsf import LineSpread, line_spread_centroid, unpack
from steadystar.survey.observation import ReadOptions, UnreadableFile
from steadystar.survey.registry import read

from . import apogee_makers as makers

X = np.arange(-120.0, 121.0)
"""Far enough for the widest wings of the tests, 18 pixels sigma."""


def by_quadrature(row, x: float, center: float) -> float:
    """The same profile, integrated over a pixel by brute force."""
    at = center + row[1]
    sigma, *hermite = row[9:19].reshape(5, 2) @ np.array([1, at])
    hermite.append(row[19])
    share, wide = row[24], row[25]

    def profile(t):
        w = t / sigma
        phi = np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) / sigma
        terms = [1.0] + [
            h * hermitenorm(n)(w) / np.sqrt(float(np.prod(range(1, n + 1))))
            for n, h in enumerate(hermite, start=1)
        ]
        wing = np.exp(-((t / wide) ** 2) / 2) / np.sqrt(2 * np.pi) / wide
        return (1 - share) * phi * sum(terms) + share * wing

    half = row[0] / 2
    return quad(profile, x - half, x + half, epsabs=1e-12)[0] / row[0]


@pytest.mark.parametrize("chip", range(3))
@pytest.mark.parametrize("center", [0.0, 2000.3, 4095.0])
def test_the_closed_form_is_the_integral_over_the_pixel(chip, center):
    row = LSF_TYPICAL[chip]
    for x in (-9.0, -2.5, 0.0, 1.3, 6.0):
        # The quadrature's own error.
        expected = by_quadrature(row, x, center)
        assert unpack(row)(x, center) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("chip", range(3))
@given(center=st.floats(0, 4095))
@settings(max_examples=20, deadline=None)
def test_light_is_kept_and_the_centroid_is_where_it_is_said_to_be(chip, center):
    profile = unpack(LSF_TYPICAL[chip])
    offsets = X - (center - np.round(center))
    seen = profile(offsets, center)
    # The wings beyond 120 pixels, 6.6 sigma, are 4e-11 of the light.
    assert seen.sum() == pytest.approx(1, abs=1e-8)
    mean = (seen * offsets).sum()
    assert mean == pytest.approx(float(profile.centroid(center)), abs=1e-6)


def test_without_hermite_terms_and_wings_it_is_a_gaussian_seen_by_a_pixel():
    binned = unpack([2.0, 0.0, 0, 0, 2.5])
    edge = 1 / 2.5 / np.sqrt(2)
    assert float(binned(0.0, 0.0)) == pytest.approx(erf(edge) / 2, rel=1e-12)
    assert float(binned.centroid(7.0)) == 0


def test_a_wider_profile_has_the_greater_width():
    narrow, wide = (unpack([1.0, 0.0, 0, 0, sigma]) for sigma in (1.0, 1.3))
    found = [p.fwhm(np.array([10.0, 20.0]))[0] for p in (narrow, wide)]
    # A Gaussian and the pixel add in quadrature to 2%: sigma^2 + 1/12.
    expected = [np.sqrt(8 * np.log(2) * (s**2 + 1 / 12)) for s in (1.0, 1.3)]
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([], "too few"),
        ([1.0, 0.0, 5, 1, 1, 1, 1, 1, 0, 2.5], "too few"),
        ([1.0, 0.0, 2.5], "no order"),
        ([1.0, 0.0, -1], "no order"),
        ([1.0, 0.0, 1e30], "no order"),
        ([np.nan, 0.0, 0, 0, 2.5], "not finite"),
        ([0.0, 0.0, 0, 0, 2.5], "no width"),
        ([1.0, 0.0, 0, 0, 0.0], "no width"),
        ([1.0, 0.0, 0, 0, 2.5, 2, 2, 0, 0, 0.1, 3.0], "wings of kind 2"),
    ],
)
def test_coefficients_that_make_no_sense_are_refused_with_the_reason(row, reason):
    with pytest.raises(ValueError, match=reason):
        unpack(row)


@pytest.fixture(scope="module")
def visit_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visit")
    return write_visit(folder, makers.visit(pixels=4096))


def test_the_line_spread_is_given_for_the_pixels_of_the_spectrum(visit_file):
    spread, spectra = read_line_spread(visit_file), read(visit_file).spectra
    np.testing.assert_array_equal(spread.wave, spectra.wave_2d[0])
    assert spread.fwhm.shape == spread.wave.shape
    # The published resolving power is about 22 500 (Majewski et al. 2017), changing by
    # some 20% over the detectors (Wilson et al. 2019, figure 16).
    assert 20_000 < spread.resolution.min() < spread.resolution.max() < 28_000
    assert spectra.resolution[0] == pytest.approx(np.median(spread.resolution))
    # Two definitions of one width.
    np.testing.assert_allclose(
        spread.sigma * np.sqrt(8 * np.log(2)), C_KMS / spread.resolution
    )
    assert np.abs(spread.centroid).max() < 1.0


def test_the_matrix_keeps_a_constant_and_gives_a_line_its_width_and_place(visit_file):
    spread = read_line_spread(visit_file)
    fine = np.exp(np.arange(np.log(15_100), np.log(17_000), 2e-6))
    matrix = spread.matrix(fine)
    assert matrix.shape == (len(spread.wave), len(fine))
    np.testing.assert_allclose(matrix @ np.ones(len(fine)), 1, rtol=1e-12)
    for number, at in enumerate((15_500.0, 16_100.0, 16_700.0)):
        line = np.exp(-0.5 * ((fine - at) / 0.02) ** 2)
        seen = matrix @ line
        near = np.abs(spread.wave - at) < 8 * 0.7
        wave, seen = spread.wave[near], seen[near]
        mean = (wave * seen).sum() / seen.sum()
        k = np.searchsorted(spread.wave, at)
        expected = at * (1 + spread.centroid[k] / C_KMS)
        # 5 m/s: what the cut wings, which are symmetric, and the change of the
        # dispersion over the profile leave.
        assert C_KMS * (mean / expected - 1) == pytest.approx(0, abs=0.05), number
        above = wave[seen > seen.max() / 2]
        # To a pixel (0.14 Angstrom) at either end.
        assert above[-1] - above[0] == pytest.approx(spread.fwhm[k], abs=0.3)


def test_pixels_that_the_fine_grid_does_not_cover_have_empty_rows(visit_file):
    spread = read_line_spread(visit_file)
    fine = np.arange(16_000.0, 16_100.0, 0.04)
    total = spread.matrix(fine) @ np.ones(len(fine))
    assert set(np.round(total, 9)) == {0.0, 1.0}
    covered = spread.wave[total > 0.5]
    # The reach is 20 detector pixels, 40 of the interleaved ones, of 0.148 Angstrom.
    assert covered[0] == pytest.approx(16_005.9, abs=0.2)
    assert covered[-1] == pytest.approx(16_094.1, abs=0.2)


def test_a_file_without_a_line_spread_says_so(tmp_path):
    visit = makers.visit(lsf=np.full((3, 26), np.nan))
    path = write_visit(tmp_path, visit)
    with pytest.raises(UnreadableFile, match="not finite"):
        read_line_spread(path)
    observation = read(path)
    assert observation.spectra.resolution[0] == 22_500
    assert "taken to be 22500" in observation.rejected["reason"][0]


# --- real files ---------------------------------------------------------------------

_LINES = "apogee/sky_telluric/airglow_dr14.txt"


def _airglow(folder):
    """Single OH lines of the survey's list that it uses for the line spread."""
    rows = [line.split() for line in (folder / _LINES).read_text().splitlines()]
    rows = [row for row in rows if row[0] != "#"]
    return [float(r[3]) for r in rows if r[8] == "1" and float(r[6]) < 0.1]


def test_real_night_sky_lines_have_the_width_of_the_line_spread(real_data):
    scales = []
    for path in sorted((real_data / "apogee/visits").glob("*08501918*.fits")):
        spread, sky = read_line_spread(path), read_sky(path, ReadOptions()).sky[0]
        size = len(spread.wave) // 3
        for line in _airglow(real_data):
            k = int(np.searchsorted(spread.wave, line))
            if not 40 < k % size < size - 40 or k >= len(spread.wave):
                continue
            part = slice(k - 12, k + 13)
            seen = sky[part] - np.percentile(sky[part], 15)
            pixels = spread.pixels[part]
            if seen.max() < 1000:
                continue
            fine = np.linspace(pixels.min(), pixels.max(), 2001)
            smooth = np.interp(fine, pixels[::-1], seen[::-1])
            above = fine[smooth > seen.max() / 2]
            chip = spread.chips[k // size]
            expected = chip.fwhm(np.array([pixels[12], pixels[12]]))[0]
            scales.append((above[-1] - above[0]) / expected)
    # Lines differ by some percent (blends, close doublets); their median must not.
    assert len(scales) > 50
    assert np.median(scales) == pytest.approx(1, abs=0.06)


def test_real_line_spreads_have_the_published_resolving_power(real_data):
    paths = sorted((real_data / "apogee").glob("**/apVisit*.fits"))
    found = [read(path).spectra.resolution[0] for path in paths]
    assert len(found) == 28
    # 22 500 (Majewski et al. 2017); measured here, 23 200 to 24 600.
    np.testing.assert_allclose(found, 22_500, rtol=0.1)


def fiber(coefficients, falling=False):
    """Three detectors of 4096 pixels at APOGEE's dispersion."""
    pixels = np.tile(np.arange(4096.0)[:: -1 if falling else 1], 3)
    starts = np.repeat([15150.0, 15860.0, 16480.0], 4096)
    wave = starts + 0.11 * np.tile(np.arange(4096.0), 3)
    return LineSpread(wave, [unpack(row) for row in coefficients], pixels)


@pytest.mark.parametrize("falling", [False, True])
def test_the_centroid_of_a_line_is_the_integral_over_its_profile(falling):
    table = line_spread_centroid({7: fiber(LSF_TYPICAL, falling)}, nodes=5)
    assert len(table) == 15
    assert table["fiber"].unique().to_list() == [7]
    assert table["centroid"].abs().min() > 0
    for row in table.rows(named=True):
        chip = unpack(LSF_TYPICAL[row["detector"]])
        start = [15150.0, 15860.0, 16480.0][row["detector"]]
        center = (row["wave"] - start) / 0.11
        center = 4095 - center if falling else center
        # The mean wavelength of the light on pixels far finer than the detector's.
        x = np.arange(-130, 130, 0.01)
        light = np.diff(chip._cumulative(x, center))
        mean = (light * (x[:-1] + 0.005)).sum() / light.sum()
        toward_red = -mean if falling else mean
        # The light on either side of 130 pixels, and steps of a hundredth.
        assert row["centroid"] == pytest.approx(
            C_KMS * toward_red * 0.11 / row["wave"], abs=1e-5
        )


def test_the_same_fiber_has_the_same_centroids_and_another_has_others():
    other = np.array(LSF_TYPICAL)
    other[:, 11] += 0.05
    both = line_spread_centroid({1: fiber(LSF_TYPICAL), 2: fiber(other)}, nodes=4)
    one, two = (both.filter(fiber=k)["centroid"].to_numpy() for k in (1, 2))
    assert (np.abs(one - two) > 0.01).all()
    alone = line_spread_centroid({2: fiber(other)}, nodes=4)
    np.testing.assert_array_equal(alone["centroid"], two)


def test_a_centroid_needs_a_fiber():
    with pytest.raises(ValueError, match="at least one"):
        line_spread_centroid({})
