import numpy as np
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.infer.catalog import catalog_of
from steadystar.infer.compare import compare_catalogs
from steadystar.infer.comparison import CompareOptions, Comparison
from steadystar.infer.residuals import Sample, common_value
from steadystar.survey.columns import CatalogError

N = 4000


def two_catalogs(seed=1, n=N, wrong=0.2, quantities=("rv", "teff")):
    """The same stars twice, 0.2 arcsec apart, with biases 1.1 km/s and -20 K.

    A errs by 0.5 km/s and 60 K, B by 1 km/s and 100 K; a fifth is wrong or double.
    """
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 40, n), rng.uniform(-20, 20, n)
    rv, teff = rng.normal(0, 40, n), rng.uniform(4000, 7000, n)
    odd = rng.random(n) < wrong
    a = pl.DataFrame(
        {
            "star_id": [f"A{i}" for i in range(n)],
            "ra": ra,
            "dec": dec,
            "n_visits": np.full(n, 5),
            "rv": rv + 1.1 + rng.normal(0, 0.5, n) + odd * rng.normal(0, 20, n),
            "rv_err": np.full(n, 0.5),
            "teff": teff - 20 + rng.normal(0, 60, n) + odd * rng.normal(0, 1500, n),
            "teff_err": np.full(n, 60.0),
            "ebv": rng.gamma(1, 0.1, n),
        }
    )
    b = pl.DataFrame(
        {
            "ra": ra,
            "dec": dec + 0.2 / 3600,
            "rv": rv + rng.normal(0, 1, n),
            "rv_err": np.full(n, 1.0),
            "teff": teff + rng.normal(0, 100, n),
            "teff_err": np.full(n, 100.0),
        }
    )
    drop = {"rv", "teff"} - set(quantities)
    drop |= {f"{name}_err" for name in drop}
    return a.drop(drop), b.drop(drop)


def test_bias_and_scatter_are_found_though_a_fifth_is_wrong_or_double():
    pulls = []
    for seed in range(25):
        a, b = two_catalogs(seed, 1500)
        found = compare_catalogs(a, b).statistics
        for name, bias, sigma in (
            ("rv", 1.1, np.hypot(0.5, 1)),
            ("teff", -20.0, np.hypot(60, 100)),
        ):
            s = found[name]
            pulls += [
                ((s.bias - bias) / s.bias_err),
                ((s.median - bias) / s.median_err),
                ((s.core.mu - bias) / s.core.mu_err),
                ((s.core.sigma - sigma) / s.core.sigma_err),
            ]
            # What is left of the wings within 3 sigma widens the clipped scatter.
            assert 0.97 * sigma < s.scatter < 1.15 * sigma
            assert s.n_outliers > 0.1 * 1500
    table = np.array(pulls).reshape(-1, 4)
    # 50 pulls each: their mean is known to 0.14, their width to 10%.
    assert np.abs(table.mean(axis=0)).max() < 0.6
    assert (table.std(axis=0) > 0.7).all()
    assert (table.std(axis=0) < 1.4).all()


def test_the_errors_of_each_catalog_follow_from_those_of_the_other():
    a, b = two_catalogs(2)
    for name, sigma_a, sigma_b in (("rv", 0.5, 1.0), ("teff", 60.0, 100.0)):
        s = compare_catalogs(a, b).statistics[name]
        value, error = s.sigma_b_if_a
        assert value == pytest.approx(sigma_b, abs=4 * error)
        assert error < 0.05 * sigma_b
        value, error = s.sigma_a_if_b
        assert value == pytest.approx(sigma_a, abs=4 * error)
        assert s.beyond_both[0] < 4 * s.beyond_both[1]
        assert (s.error_a, s.error_b) == (sigma_a, sigma_b)
        # Robust widths of pulls with a fifth of blunders: 1.25 times one.
        assert s.pull_width == pytest.approx(1.25, abs=0.1)


def test_outliers_on_one_side_do_not_draw_the_bias():
    # A fifth at 8 sigma: clipping that starts from all would never let go of them.
    a, b = two_catalogs(18, 2000, wrong=0)
    shift = pl.Series([900.0] * 400 + [0.0] * 1600)
    s = compare_catalogs(a.with_columns(teff=pl.col("teff") + shift), b).statistics
    assert s["teff"].bias == pytest.approx(-20, abs=4 * s["teff"].bias_err)
    assert s["teff"].n_kept == pytest.approx(1600, abs=10)


def test_the_line_is_not_flattened_whichever_errors_are_known():
    a, b = two_catalogs(19, wrong=0)
    a = a.with_columns(teff=1.2 * pl.col("teff"), teff_err=1.2 * pl.col("teff_err"))
    b = b.with_columns(teff=b["teff"] + np.random.default_rng(19).normal(0, 300, N))
    b = b.with_columns(teff_err=float(np.hypot(100, 300)))
    slopes = [
        compare_catalogs(one, other).statistics["teff"].line
        for one, other in (
            (a, b),
            (a, b.drop("teff_err")),
            (a.drop("teff_err"), b.drop("teff_err")),
        )
    ]
    both, only_a, none = slopes
    assert both is not None
    assert only_a is not None
    assert none is not None
    assert both.slope == pytest.approx(1.2, abs=4 * both.slope_err)
    assert only_a.slope == pytest.approx(1.2, abs=4 * only_a.slope_err)
    # The control: 316 K of noise on 866 K of spread take an eighth off.
    assert none.slope < 1.1


def test_identical_catalogs_differ_by_nothing():
    a, _ = two_catalogs(3, 500)
    found = compare_catalogs(a, a)
    for s in found.statistics.values():
        assert (s.bias, s.scatter, s.median, s.width) == (0, 0, 0, 0)
        assert (s.core.mu, s.core.sigma, s.n_outliers, s.pull_width) == (0, 0, 0, 0)
        assert s.polynomial is not None
        assert not s.polynomial.significant
        assert s.line is not None
        assert s.line.slope == pytest.approx(1, abs=0.02)
    assert "not independent" in " ".join(found.notes)


def test_exchanging_the_catalogs_changes_the_signs():
    a, b = two_catalogs(4)
    one, other = compare_catalogs(a, b), compare_catalogs(b, a)
    for name in ("rv", "teff"):
        s, t = one.statistics[name], other.statistics[name]
        for what in ("bias", "median"):
            assert getattr(t, what) == pytest.approx(-getattr(s, what), rel=1e-9)
        for what in ("scatter", "width", "n_outliers", "pull_width", "n_kept"):
            assert getattr(t, what) == pytest.approx(getattr(s, what), rel=1e-9)
        assert t.core.mu == pytest.approx(-s.core.mu, rel=1e-6)
        assert t.sigma_a_if_b == pytest.approx(s.sigma_b_if_a, rel=1e-6)
        assert s.polynomial is not None
        assert t.polynomial is not None
        assert t.polynomial.coefficients == pytest.approx(
            [-c for c in s.polynomial.coefficients], rel=1e-6, abs=1e-6 * s.scatter
        )


def test_the_order_of_rows_does_not_matter():
    a, b = two_catalogs(5, 800)
    mixed = compare_catalogs(
        a.sample(fraction=1, shuffle=True, seed=1),
        b.sample(fraction=1, shuffle=True, seed=2),
    )
    plain = compare_catalogs(a, b)
    pairs = [
        c.matches.sort("star_id_a")["rv_difference"].to_list() for c in (plain, mixed)
    ]
    assert pairs[0] == pairs[1]
    for name, s in plain.statistics.items():
        t = mixed.statistics[name]
        assert t.bias == pytest.approx(s.bias, rel=1e-9)
        assert t.core.sigma == pytest.approx(s.core.sigma, rel=1e-6)
        assert t.n_outliers == s.n_outliers


def test_noise_makes_no_structure_against_the_mean_but_it_does_against_one_of_them():
    rng = np.random.default_rng(6)
    chance = {"mean": 0, "b": 0}
    for _ in range(60):
        true = rng.normal(0, 1, 400)
        sample = Sample(
            true + rng.normal(0, 0.2, 400),
            true + rng.normal(0, 0.6, 400),
            np.full(400, 0.2),
            np.full(400, 0.6),
        )
        for against in chance:
            x = common_value(sample, against)
            chance[against] += abs(np.corrcoef(x, sample.difference)[0, 1]) > 0.15
    # 0.15 is three times the error of a correlation of 400.
    assert chance["mean"] <= 2
    assert chance["b"] == 60


def test_structure_is_found_and_taken_off_only_on_request():
    a, b = two_catalogs(7)
    t = (b["teff"] - 5500) / 1500
    a = a.with_columns(teff=pl.col("teff") + 100 * t**4 - 60 * t**2)
    found = compare_catalogs(a, b)
    s = found.statistics["teff"]
    assert s.polynomial is not None
    assert s.polynomial.significant
    assert "teff_a_corrected" not in found.matches.columns
    assert not found.corrected
    corrected = compare_catalogs(a, b, CompareOptions(correct=("teff",)))
    after = corrected.corrected["teff"]
    assert after.bias == pytest.approx(0, abs=4 * after.bias_err)
    assert after.polynomial is not None
    assert after.polynomial.rms < 0.3 * s.polynomial.rms
    applied = corrected.apply(a, "teff")["teff"]
    known = corrected.matches.filter(pl.col("teff_a_corrected").is_finite())
    assert len(known) > 0.99 * N
    expected = known["teff_a_corrected"].to_list()
    assert applied[known["row_a"].to_list()].to_list() == pytest.approx(expected)
    assert found.apply(a, "teff")["teff"][0] == pytest.approx(a["teff"][0] - s.bias)
    with pytest.raises(CatalogError, match="choose among rv, teff"):
        found.apply(a, "logg")


def test_stars_with_one_visit_or_that_scatter_do_not_compare_velocities():
    a, b = two_catalogs(8, 300, wrong=0)
    a = a.with_columns(
        n_visits=pl.Series([1] * 50 + [5] * 250),
        rv_scatter=pl.Series([0.1] * 40 + [0.9] * 60 + [0.1] * 200),
        rv=pl.col("rv") + pl.Series([200.0] * 100 + [0.0] * 200),
    )
    found = compare_catalogs(a, b)
    s = found.statistics["rv"]
    assert (s.n, s.n_set_aside) == (200, 100)
    assert found.statistics["teff"].n == 300
    assert s.bias == pytest.approx(1.1, abs=5 * s.bias_err)
    reasons = found.matches["rv_reason"].value_counts().drop_nulls()
    assert dict(reasons.iter_rows()) == {
        "fewer than 2 visits in A": 40,
        "scatter above 0.5 km/s in A": 60,
    }
    for words in ("40 stars are set aside, fewer", "60 stars are set aside, scatter"):
        assert words in " ".join(found.notes)
    every = compare_catalogs(a, b, CompareOptions(min_visits=1, max_scatter=10.0))
    assert every.statistics["rv"].n == 300
    once = compare_catalogs(a, b.with_columns(n_visits=1))
    assert once.statistics["rv"].n == 200
    assert "no star has 2 visits in B" in " ".join(once.notes)
    with pytest.raises(CatalogError, match=r"All of the 300 stars .* set aside"):
        compare_catalogs(
            a.drop("teff"), b.drop("teff"), CompareOptions(max_scatter=0.01)
        )


def test_who_is_in_one_table_only_is_told_with_the_reason():
    a, b = two_catalogs(9, 50, wrong=0)
    b = pl.concat([b.head(40), b.head(1).with_columns(pl.col("dec") + 1 / 3600)])
    a = a.with_columns(ra=pl.Series([*a["ra"][:49], None]))
    found = compare_catalogs(a, b)
    counts = {
        (row["table"], row["reason"]): row["len"]
        for row in found.unmatched.group_by("table", "reason").len().to_dicts()
    }
    assert counts == {
        ("a", "no star within 3 arcsec"): 9,
        ("a", "identifier not in the other table, and no position"): 1,
        ("b", "its nearest star belongs to a nearer one"): 1,
    }
    assert len(found.matches) == 40
    assert found.matches["ambiguous"].sum() == 1
    assert len(found.matches) + 10 == len(a)


def test_candidates_for_high_velocity_and_their_doubts():
    a, b = two_catalogs(10, 60, wrong=0)
    rv = a["rv"].to_list()
    rv[:6] = [500.0, -450.0, 301.0, 400.0, 380.0, 299.0]
    other = b["rv"].to_list()
    other[:6] = [499.0, -10.0, 301.0, 400.0, 380.0, 299.0]
    visits = [5, 5, 5, 1, 5, 5, *[5] * 54]
    scatter = [0.1, 0.1, 0.1, 0.1, 80.0, 0.1, *[0.1] * 54]
    a = a.with_columns(
        rv=pl.Series(rv), n_visits=pl.Series(visits), rv_scatter=pl.Series(scatter)
    )
    fast = compare_catalogs(a, b.with_columns(rv=pl.Series(other))).fast
    assert fast["star_id"].to_list() == ["A0", "A1", "A3", "A4", "A2"]
    assert fast["solid"].to_list() == [True, False, False, False, False]
    assert fast["doubts"].to_list() == [
        "",
        "the other catalog says -10 km/s",
        "one visit",
        "visits scatter by 80 km/s",
        "less than 3 errors above the limit",
    ]


def test_a_third_quantity_that_makes_the_difference_is_seen():
    a, b = two_catalogs(11)
    b = b.with_columns(teff=pl.col("teff") - 400 * a["ebv"])
    found = compare_catalogs(a, b, CompareOptions(color="ebv"))
    teff, rv = found.statistics["teff"], found.statistics["rv"]
    assert teff.color_rank > 0.1
    assert teff.color_p < 1e-6
    assert rv.color_p > 1e-3
    bins = found.bins.filter(pl.col("quantity") == "teff")
    assert bins["n"].to_list() == [800] * 5
    # The mean of the last fifth of ebv is 0.26 above that of the first.
    assert bins["bias"][-1] - bins["bias"][0] == pytest.approx(400 * 0.24, abs=25)


def test_any_other_column_can_be_compared_in_the_unit_of_a():
    a, b = two_catalogs(12, 100)
    a = a.with_columns(alpha=pl.lit(0.5))
    b = b.with_columns(AM=pl.lit(450.0))
    one = catalog_of(a, "A", "alpha=alpha[m]", ("alpha",))
    other = catalog_of(b, "B", "alpha=AM[mm]", ("alpha",))
    options = CompareOptions(quantities=("alpha",))
    s = compare_catalogs(one, other, options).statistics["alpha"]
    assert (s.bias, s.unit) == (pytest.approx(0.05), "m")
    other = catalog_of(b, "B", "alpha=AM[K]", ("alpha",))
    with pytest.raises(CatalogError, match="say the unit of one"):
        compare_catalogs(one, other, options)


def test_limits_of_a_quantity_shape_the_line_but_not_the_bias():
    a, b = two_catalogs(13, wrong=0)
    bent = a.with_columns(
        teff=pl.when(b["teff"] > 6000).then(pl.col("teff") + 300).otherwise("teff")
    )
    options = CompareOptions(ranges={"teff": (0.0, 5800.0)})
    free, limited = compare_catalogs(bent, b), compare_catalogs(bent, b, options)
    s, t = free.statistics["teff"], limited.statistics["teff"]
    assert s.line is not None
    assert t.line is not None
    assert s.line.slope > 1.05
    assert t.line.slope == pytest.approx(1, abs=0.02)
    assert s.bias == t.bias


def test_matches_are_as_the_schema_says():
    a, b = two_catalogs(14, 100)
    options = CompareOptions(color="ebv", correct=("teff",))
    matches = compare_catalogs(a, b, options).matches
    known = schema.columns("compare")
    assert set(matches.columns) <= set(known)
    assert {n for n, c in known.items() if not c.optional} <= set(matches.columns)
    for name, dtype in matches.schema.items():
        assert dtype == known[name].dtype, name


def test_a_comparison_can_be_kept(tmp_path):
    a, b = two_catalogs(15, 200)
    options = CompareOptions(
        color="ebv", correct=("teff",), ranges={"rv": (-50.0, 50.0)}
    )
    found = compare_catalogs(a, b, options)
    found.save(tmp_path / "one.zip")
    again = Comparison.load(tmp_path / "one.zip")
    again.save(tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert again.matches.equals(found.matches)
    assert again.statistics["teff"].line == found.statistics["teff"].line
    assert again.options == found.options
    assert again.summary() == found.summary()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_few_stars_are_compared_as_far_as_they_go(size):
    a, b = two_catalogs(16, size, wrong=0)
    found = compare_catalogs(a, b)
    s = found.statistics["teff"]
    assert s.n == size
    assert s.bias == pytest.approx(found.matches["teff_difference"].mean())
    assert np.isfinite(s.scatter) == (size > 1)
    assert f"{size} stars are compared; that is too few" in " ".join(found.notes)
    assert found.summary()["quantities"]["teff"]["core"]["sigma"] is None


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda b: b.with_columns(ra=pl.col("ra") / 15), {}, r"Taken as hours.*ra=ra\[h\]"),
        (lambda b: b.with_columns(dec=pl.col("dec") + 30), {}, "nearest two are"),
        (lambda b: b.select("ra", "dec"), {}, "share no quantity"),
        (lambda b: b.select("rv"), {}, "Stars cannot be matched"),
        (lambda b: b, {"by": "kic"}, "no column 'kic'"),
        (lambda b: b, {"by": "star_id"}, "B has no identifiers"),
        (lambda b: b, {"quantities": ("ebv",)}, "B has no numbers 'ebv'"),
        (lambda b: b, {"color": "x"}, "Neither table has a column of numbers 'x'"),
        (lambda b: b, {"correct": ("logg",)}, "logg cannot be corrected"),
        (lambda b: b, {"ranges": {"logg": (0.0, 1.0)}}, "cannot be corrected or limited"),
        (lambda b: b.with_columns(rv=None, teff=None), {}, "share no quantity: A .*; B has none"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(change, options, words):
    a, b = two_catalogs(17, 40)
    with pytest.raises(CatalogError, match=words):
        compare_catalogs(a, change(b), CompareOptions(**options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"radius_arcsec": 0.0}, "radius_arcsec = 0"),
        ({"radius_arcsec": float("inf")}, "radius_arcsec = inf"),
        ({"ranges": {"teff": (7000.0, 4000.0)}}, "teff = 7000:4000"),
        ({"n_sigma": 0.5}, "above 1"),
        ({"against": "c"}, "mean, a or b"),
        ({"significance": float("nan")}, "significance"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(CatalogError, match=words):
        CompareOptions(**options)


def test_nidever_and_chubak_agree_as_they_say(real_data):
    from steadystar.data.tables import read_table

    table = read_table(real_data / "velocities" / "rvstandards.fits")
    nidever = pl.col("SRC").str.contains("Nidever")
    found = compare_catalogs(table.filter(nidever), table.filter(~nidever))
    s = found.statistics["rv"]
    assert s.n > 500
    # Chubak et al. (2012) put their velocities on the scale of Nidever et al. (2002).
    assert abs(s.core.mu) < 0.03
    assert 0.05 < s.core.sigma < 0.15
    # Neither HD 4614 B nor HD 147379 B is where the other list has it.
    assert "HD 4614B" in " ".join(found.notes)
    # Those without a velocity are in the file with 0.
    assert "velocities RV of A are exactly 0" in " ".join(found.notes)
    # HD 134439 and 134440 are the well-known fast pair.
    assert found.fast["solid"].to_list() == [True, True]
