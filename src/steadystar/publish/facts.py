"""The numbers that the figures and the sentences of a report share.

A `Facts` holds the visits of one method in a tidy form, whatever the input lacked: every
visit has a star, an arm, a ``unit`` (its spectrograph, else its telescope) and an
``exposure`` with its place in time; ``value`` is the calibrated velocity where there is
one and the measured one elsewhere. Residuals are taken about the weighted mean of a star
in one arm, so that relative velocities, whose zero is each star's own, can be compared.
Absolute velocities of the same spectra are a table beside it, in the same form.
"""

__all__ = ["Facts", "arms_of", "drawn_columns", "gather", "rows_of", "usable"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.bins import with_bins
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import STAYS_OUT
from steadystar.data import schema
from steadystar.data.status import Status
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.label_facts import tidy_labels, with_star_labels
from steadystar.publish.methods import ABSOLUTE, of_method, shown_method

_GROUPS = ("field", "night", "exposure_id", "telescope", "spectrograph", "fiber", "arm")
_DRAWN = (
    *("ra", "dec", "bjd", "snr", "rv_raw", "rv_raw_err", "rv", "rv_err"),
    *("rv_obs", "rv_limit", "correction", "correction_err", "exptime"),
)
_NOT_DRAWN = (
    *("survey", "lamp", "n_good", "bary_corr", "chi2", "dof"),
    *("rv_2", "rv_2_err", "light_ratio"),
)
_SEEING = "seeing"
"""Not of the schema: full width at half maximum in arcsec, where a table has it."""
_ARM_ORDER = {"blue": 0, "red": 1}


@dataclass(frozen=True)
class Facts:
    """What a report talks about.

    ``visits``: the tidy table (see `gather`), rows in the order of the input.
    ``stars``: one row a star, with ``snr``, ``scatter_before``, ``scatter_after``,
    ``flagged`` and ``interest`` beside the columns of the stars table. ``arms`` from
    short to long wavelengths where named. ``steady_words`` says who is taken for
    constant. ``other_methods``: rows of velocities by methods that are not shown.
    ``absolute``: the absolute velocities in the form of ``visits``, no rows if there are
    none; the visits themselves where these are what is shown. ``groups``: for each
    family of offsets the row of every visit's group in its table, -1 if it has none.
    ``filled``: columns of the velocities that hold something. ``labels``: those of
    spectra, as `label_facts.tidy_labels` returns them, no rows if there are none; those
    of stars are columns of ``stars``.
    """

    visits: pl.DataFrame
    absolute: pl.DataFrame
    stars: pl.DataFrame
    arms: tuple[str, ...]
    method: str
    other_methods: dict[str, int]
    steady_words: str
    relative: bool
    groups: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    labels: pl.DataFrame = field(default_factory=lambda: tidy_labels(None))

    @property
    def both(self) -> bool:
        """Whether there are absolute velocities beside the ones that are shown."""
        return self.method != ABSOLUTE and len(self.absolute) > 0

    @property
    def measured(self) -> pl.DataFrame:
        """The visits that have a velocity."""
        return self.visits.filter("measured")

    def columns_measured(self, *names: str) -> pl.DataFrame:
        """Some columns of the same: all of a large survey's are its memory once more."""
        return self.visits.select(*names, "measured").filter("measured")

    def of_arm(self, arm: str) -> pl.DataFrame:
        """The visits with a velocity in one arm."""
        return self.visits.filter(pl.col("measured") & (pl.col("arm") == arm))


def drawn_columns(available: Iterable[str], groups: Iterable[str]) -> list[str]:
    """Return the columns of velocities that a report looks at, of those ``available``.

    ``groups``: columns by which offsets or errors differ, also several joined by ``+``.
    Tables of large surveys have hundreds of columns, each of millions of numbers.
    """
    wanted = {*schema.columns("velocities"), *schema.LABEL_NAMES, _SEEING}
    for family in groups:
        columns = family.split("+")
        wanted |= set(columns) | {name.rpartition("@")[0] for name in columns}
    return [name for name in available if name in wanted]


def gather(inputs: ReportInputs) -> Facts:
    """Bring the tables of a run into the form that the figures need.

    The visits gain ``unit, exposure, place`` (rank of the exposure in time, from 1),
    ``raw, raw_error, value, error`` (NaN together where there is no velocity),
    ``measured, reference, steady, before, after`` (residuals about the star's mean in
    the arm, before and after calibration; NaN for stars with one velocity) and
    ``pull`` (``after`` over its expected scatter; constant stars only) and
    ``pull_given`` (the same with the errors as measured, before they were rescaled).
    """
    by = inputs.error_model.by if inputs.error_model else ()
    drawn = drawn_columns(inputs.velocities.columns, [*inputs.offsets, *by])
    frame = inputs.velocities.select(drawn)
    frame = schema.conform(frame, "velocities", keep_dtype=_GROUPS)
    filled = tuple(
        name for name in schema.columns("velocities") if _filled(frame[name])
    )
    grouped = "+".join([*inputs.offsets, *by]).split("+")
    frame = frame.drop(name for name in _NOT_DRAWN if name not in grouped)
    frame = frame.with_columns(_sane(name) for name in _DRAWN)
    method, others = shown_method(frame)
    shown = of_method(frame, method)
    beside = frame.filter(pl.col("method") == ABSOLUTE) if method != ABSOLUTE else None
    groups = {
        family: rows_of(shown, table, family.split("+"))
        for family, table in inputs.offsets.items()
    }
    del frame  # Of a large survey no table is kept that is not drawn.
    shown = _tidy(shown)
    visits = _residuals(shown)
    del shown
    absolute = visits if beside is None else _residuals(_tidy(beside))
    every = pl.concat([visits["star_id"], absolute["star_id"]]).unique()
    steady, words = _steady(every, inputs.stars)
    visits, absolute = (_pulls(table, steady) for table in (visits, absolute))
    labels = tidy_labels(inputs.labels)
    return Facts(
        visits=visits,
        absolute=absolute,
        stars=with_star_labels(
            _stars(visits, inputs.stars), (visits, absolute), labels
        ),
        labels=labels,
        arms=arms_of(visits),
        method=method,
        other_methods=others,
        steady_words=words,
        relative=bool(visits["reference_visit_id"].is_not_null().any()),
        groups=groups,
        filled=filled,
    )


def rows_of(
    visits: pl.DataFrame, table: pl.DataFrame, columns: Sequence[str]
) -> NDArray[np.intp]:
    """Return the row of ``table`` whose ``columns`` are those of each visit, else -1."""
    try:
        visits = with_bins(visits, columns)
    except CalibrationError:
        return np.full(len(visits), -1)
    if not set(columns) <= set(visits.columns) & set(table.columns):
        return np.full(len(visits), -1)
    alike = all(visits[c].dtype == table[c].dtype for c in columns)
    keys = [pl.col(c) if alike else pl.col(c).cast(pl.String) for c in columns]
    groups = table.select(keys).with_row_index("_row").unique(columns, keep="first")
    found = visits.select(keys).join(
        groups, on=list(columns), how="left", maintain_order="left"
    )["_row"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy().astype(np.intp)


def _sane(name: str) -> pl.Expr:
    """Take numbers that can only be a mistake (infinite, or over 1e9) for unknown."""
    return pl.when(pl.col(name).abs() < 1e9).then(name).otherwise(float("nan"))


def _filled(series: pl.Series) -> bool:
    known = series.is_finite() if series.dtype.is_float() else series.is_not_null()
    return bool(known.any())


def usable(visits: pl.DataFrame) -> pl.DataFrame:
    """The velocities that no flag keeps out of a star's mean."""
    flags = int(STAYS_OUT | Status.DUPLICATE | Status.DOUBLE_LINED)
    return visits.filter("measured", (pl.col("status") & flags) == 0)


def arms_of(visits: pl.DataFrame) -> tuple[str, ...]:
    """The arms of some visits, from short to long wavelengths where named."""
    names = visits["arm"].unique().to_list()
    return tuple(sorted(names, key=lambda arm: (_ARM_ORDER.get(arm, 2), arm)))


def _pulls(visits: pl.DataFrame, steady: pl.Series) -> pl.DataFrame:
    """Add who is taken for constant, and the deviations of these in units of errors."""
    visits = visits.with_columns(
        pl.col("star_id").is_in(steady.implode()).fill_null(False).alias("steady")
    )
    return visits.with_columns(
        pl.when(pl.col("steady") & ~pl.col("reference"))
        .then(pl.col("after") / pl.col(expected))
        .otherwise(float("nan"))
        .alias(name)
        for name, expected in (
            ("pull", "expected_steady"),
            ("pull_given", "expected_given"),
        )
    )


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    text = pl.String
    calibrated = pl.col("rv").is_finite()
    unit = (
        pl.when(pl.col("spectrograph").is_not_null())
        .then(pl.format("spectrograph {}", pl.col("spectrograph").cast(text)))
        .otherwise(pl.col("telescope").cast(text))
    )
    number = pl.int_range(pl.len()).cast(text)
    frame = frame.with_columns(
        pl.col("arm").cast(text).fill_null("all"),
        pl.coalesce("visit_id", pl.format("row {}", number)).alias("visit_id"),
        pl.coalesce(
            "star_id", pl.format("unmatched {}", pl.coalesce("visit_id", number))
        ).alias("star_id"),
        unit.fill_null("").alias("unit"),
        pl.col("exposure_id").cast(text).alias("exposure"),
        pl.when(calibrated).then("rv").otherwise("rv_raw").alias("value"),
        pl.when(calibrated).then("rv_err").otherwise("rv_raw_err").alias("error"),
        # A table that has only calibrated velocities has nothing before.
        pl.col("rv_raw").alias("raw"),
        pl.col("rv_raw_err").alias("raw_error"),
        pl.col("status").fill_null(0),
    )
    first = frame.group_by("exposure").agg(pl.col("bjd").fill_nan(None).min())
    first = first.drop_nulls("exposure").sort("bjd", "exposure", nulls_last=True)
    places = first.select("exposure", pl.int_range(1, pl.len() + 1).alias("place"))
    return frame.join(places, on="exposure", how="left", maintain_order="left").select(
        pl.all(),
        pl.col("value").is_finite().alias("measured"),
        (pl.col("status") & int(Status.REFERENCE) != 0).alias("reference"),
    )


def _residuals(frame: pl.DataFrame) -> pl.DataFrame:
    """Add ``before`` and ``after``, and the scatter that the errors lead to expect."""

    def weight(value: str, error: str) -> pl.Expr:
        usable = pl.col(value).is_finite() & pl.col(error).is_finite()
        return pl.when(usable & (pl.col(error) > 0)).then(pl.col(error) ** -2)

    keys = ("star_id", "arm")
    frame = frame.with_columns(
        weight("value", "error").fill_null(0.0).alias("_w"),
        weight("raw", "raw_error").fill_null(0.0).alias("_w_raw"),
    )
    for value, weights in (("value", "_w"), ("raw", "_w_raw")):
        # Where no error is known every velocity of the star counts the same.
        some = pl.col(weights).sum().over(keys) > 0
        even = pl.col(value).is_finite().cast(pl.Float64)
        frame = frame.with_columns(
            pl.when(some).then(pl.col(weights)).otherwise(even).alias(weights)
        )

    def mean(value: str, weights: str) -> pl.Expr:
        product = pl.when(pl.col(weights) > 0).then(pl.col(value) * pl.col(weights))
        total = pl.col(weights).sum().over(keys)
        several = (pl.col(weights) > 0).sum().over(keys) >= 2
        centre = product.sum().over(keys) / total
        return pl.when(several & (pl.col(weights) > 0)).then(pl.col(value) - centre)

    def square(name: str) -> pl.Expr:
        return pl.col(name).fill_nan(0.0).fill_null(0.0) ** 2

    # The noise of a velocity alone, calibrated and as given, without its correction.
    noise = pl.col("error") ** 2 - square("correction_err")
    noise = pl.when(noise > 0).then(noise).otherwise(pl.col("error") ** 2)
    # A correction that was solved from the very visits of constant stars has followed
    # their noise, by what the visits of a star do not share; a missing one has not.
    followed = square("correction_err") - square("correction_common_err")
    lacking = pl.col("status") & int(Status.UNCALIBRATED | Status.TOO_FEW_STARS) != 0
    sign = pl.when(lacking).then(1.0).otherwise(-1.0)
    followed = sign * followed.clip(lower_bound=0.0)
    used = pl.col("_w") > 0

    def expected(variance: pl.Expr, moved: pl.Expr) -> pl.Expr:
        # The mean contains the velocity itself, so that it is nearer than its error.
        # Where it is almost the mean itself, nothing is left to compare.
        usable = used & (variance > 0) & variance.is_finite()
        weights = pl.when(usable).then(1 / variance)
        rest = variance + moved - 1 / weights.sum().over(keys)
        clear = rest > 1e-3 * variance
        return pl.when(usable & clear).then(rest.sqrt()).otherwise(float("nan"))

    none = pl.lit(0.0)
    return frame.with_columns(
        mean("value", "_w").fill_null(float("nan")).alias("after"),
        mean("raw", "_w_raw").fill_null(float("nan")).alias("before"),
        expected(pl.col("error") ** 2, none).alias("expected"),
        expected(noise, followed).alias("expected_steady"),
        expected(pl.col("raw_error") ** 2, followed).alias("expected_given"),
    ).drop("_w", "_w_raw")


def _steady(every: pl.Series, stars: pl.DataFrame | None) -> tuple[pl.Series, str]:
    """The stars that are taken for constant, and the sentence that says so."""
    if stars is None or not {"star_id", "constant"} <= set(stars.columns):
        return every, "No star was classified: all of them are used as if constant."
    constant = stars.filter(pl.col("constant").fill_null(False))["star_id"]
    if len(constant):
        return constant.cast(pl.String), "Constant stars are those classified so."
    if "variable" in stars.columns and stars["variable"].is_not_null().any():
        quiet = stars.filter(~pl.col("variable").fill_null(False))["star_id"]
        return quiet.cast(pl.String), (
            "No star was classified as constant: all that are not known to vary are "
            "used."
        )
    return every, "No star was classified as constant: all of them are used."


def _stars(visits: pl.DataFrame, stars: pl.DataFrame | None) -> pl.DataFrame:
    finite = pl.col("snr").is_finite()
    seen = visits.group_by("star_id", maintain_order=True).agg(
        pl.col("ra").fill_nan(None).first().alias("ra_seen"),
        pl.col("dec").fill_nan(None).first().alias("dec_seen"),
        pl.len().alias("n_spectra"),
        pl.col("measured").sum().alias("n_measured"),
        pl.col("snr").filter(finite).median().alias("snr"),
        pl.col("before").fill_nan(None).std().alias("scatter_before"),
        pl.col("after").fill_nan(None).std().alias("scatter_after"),
        (~pl.col("measured")).sum().alias("n_lost"),
        (pl.col("status") & int(Status.DOUBLE_LINED) != 0).any().alias("double_seen"),
    )
    if stars is not None and "star_id" in stars.columns:
        known = schema.conform(stars, "stars").unique("star_id", keep="first")
        known = known.with_columns(pl.col("star_id").cast(pl.String))
        seen = seen.join(known, on="star_id", how="left", maintain_order="left")
    else:
        seen = schema.conform(seen, "stars")
    place = [
        pl.coalesce(pl.col(name).fill_nan(None), f"{name}_seen").alias(name)
        for name in ("ra", "dec")
    ]
    seen = seen.with_columns(
        *place,
        pl.coalesce(pl.col("n_visits"), "n_measured").alias("n_visits"),
        pl.coalesce("double_lined", "double_seen").alias("double_lined"),
    )
    return seen.with_columns(_interest(seen)).drop("ra_seen", "dec_seen", "double_seen")


def _interest(stars: pl.DataFrame) -> pl.Series:
    """How soon a star deserves a page: variable, flagged and bright ones in turn."""
    scatter = stars["rv_intrinsic"].fill_nan(None).to_numpy()
    seen = stars["scatter_after"].to_numpy()
    scatter = np.where(np.isfinite(scatter), scatter, np.nan_to_num(seen, nan=-1.0))
    sure = stars["variable"].fill_null(False).to_numpy().astype(float)
    double = stars["double_lined"].fill_null(False).to_numpy()
    flagged = stars["n_lost"].to_numpy() + np.where(double, 1e3, 0.0)
    bright = np.nan_to_num(stars["snr"].to_numpy().astype(float), nan=-1.0)
    best = np.full(len(stars), np.inf)
    names = np.array(stars["star_id"].to_list(), dtype=str)
    for turn, keys in enumerate(((scatter, sure), (flagged,), (bright,))):
        order = np.lexsort((names, *(-key for key in keys)))
        rank = np.empty(len(stars))
        rank[order] = 3 * np.arange(len(stars)) + turn
        if turn == 1:
            rank[flagged == 0] = np.inf
        best = np.minimum(best, rank)
    return pl.Series("interest", best)
