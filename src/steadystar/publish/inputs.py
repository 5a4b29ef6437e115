"""What a report is made from, and how large it may become."""

__all__ = ["ReportInputs", "ReportOptions"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import polars as pl

from steadystar.calibrate.errors import ErrorModel
from steadystar.calibrate.label_laws import LabelLaws
from steadystar.calibrate.label_zeropoints import LabelZeroPoints
from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data.spectra import Spectra
from steadystar.infer.period_options import PeriodOptions


@dataclass(frozen=True)
class ReportInputs:
    """The tables and texts of one run; everything but ``velocities`` may be missing.

    ``velocities``, ``stars`` and ``rejected`` are tables of `data.schema`; ``offsets``
    are keyed by family, as ``spectrograph+arm+exposure_id``. ``spectra`` returns the
    visits and spectra of a star, or None; it is called for the stars that get a page.
    ``windows`` are the measuring windows, ``arm: (low, high)`` in vacuum Angstrom.
    ``zeropoints`` and ``error_model`` are what was fitted, for the covariance of offsets
    and the parameters of the errors. ``compared``: zero points of the same table by
    other methods; ``not_compared``: why others could not do it, a sentence each.
    ``truth`` holds the tables of a simulation (``simulate.mock``), any of
    ``"visits"`` (``visit_id, rv_true``), ``"offsets"`` (``family``, its columns and
    ``offset_true``) and ``"stars"`` (``star_id, ra, dec, constant_true``).
    ``labels``: one row a fit of a spectrum's labels (schema "labels"); those of stars are
    columns of ``stars``. ``label_laws``: their laws of uncertainty (`fit_label_laws`);
    fitted for the report if there are none. ``label_zeropoints``: the
    test of their zero points, by label. ``targets``: the input catalog, with ``star_id`` or
    ``ra, dec``, magnitudes, and ``field`` if the plates still to come are to be drawn.
    ``magnitudes``: which of its columns are magnitudes; told by their names if none.
    ``variables``, ``periods``, ``orbits``, ``orbit_samples``: tables of `data.schema` on
    the stars that vary; ``period_options``: how their periods were searched for.
    """

    velocities: pl.DataFrame
    stars: pl.DataFrame | None = None
    offsets: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    rejected: pl.DataFrame | None = None
    notes: Sequence[str] = ()
    summary: Mapping[str, object] = field(default_factory=dict)
    spectra: Callable[[str], tuple[pl.DataFrame, Spectra] | None] | None = None
    truth: Mapping[str, pl.DataFrame] | None = None
    title: str = "Velocities of a survey"
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    zeropoints: ZeroPoints | None = None
    error_model: ErrorModel | None = None
    compared: Mapping[str, ZeroPoints] = field(default_factory=dict)
    not_compared: Mapping[str, str] = field(default_factory=dict)
    labels: pl.DataFrame | None = None
    label_laws: LabelLaws | None = None
    label_zeropoints: Mapping[str, LabelZeroPoints] = field(default_factory=dict)
    targets: pl.DataFrame | None = None
    magnitudes: Sequence[str] = ()
    variables: pl.DataFrame | None = None
    periods: pl.DataFrame | None = None
    orbits: pl.DataFrame | None = None
    orbit_samples: pl.DataFrame | None = None
    period_options: PeriodOptions = field(default_factory=PeriodOptions)


@dataclass(frozen=True)
class ReportOptions:
    """How much goes into a report."""

    star_pages: Annotated[
        int, "Stars that get a page: the most variable, the flagged and the brightest."
    ] = 60
    small_multiples: Annotated[
        int, "Stars whose velocities are drawn side by side on the first page."
    ] = 12
    exposures_per_star: Annotated[
        int, "Spectra of one arm that a star's page draws, spread evenly over time."
    ] = 30
    aggregate_above: Annotated[
        int, "Number of points above which a plot shows how many fall into each cell."
    ] = 20_000
    listed_rows: Annotated[
        int, "Rows that a list on the page shows; the tables beside it hold all."
    ] = 200
    paper_figures: Annotated[
        bool, "Whether each figure is also written as PNG and PDF."
    ] = True
    star_paper_figures: Annotated[
        int, "Stars whose figures are also written as PNG and PDF (a second each)."
    ] = 1
    targets: Annotated[
        str,
        "File of the input catalog (star_id or ra, dec; magnitudes; field), for figures "
        "of what was to be observed beside what was; empty for none.",
    ] = ""
    dpi: Annotated[int, "Resolution of the PNG figures, dots per inch."] = 200
