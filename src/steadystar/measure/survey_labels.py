"""Labels for a survey's visits: arms of an exposure put together, one row a fit.

`label_visits` is to `measure_labels` what a survey is to arrays: it takes the table of
visits with the spectra, finds which spectra are arms of one exposure, fits, and gives
rows in the columns of the table of labels.
"""

__all__ = ["EXPOSURE", "VisitLabels", "label_visits"]

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data import schema
from steadystar.data.doppler import composed, known_motion
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.extent import recorded, stretch
from steadystar.measure.label_options import LabelOptions
from steadystar.measure.labels import LabelModel, measure_labels

TOGETHER, EACH = "all", "each"
EXPOSURE = ("star_id", "survey", "telescope", "spectrograph", "fiber", "exposure_id")
"""What spectra have in common whose labels are fitted together."""
_KEPT = int(
    Status.NO_TIME | Status.NO_POSITION | Status.DAMAGED_VALUES | Status.COADD
    | Status.NO_ERROR | Status.DOUBLE_LINED
)  # fmt: skip
"""What is said of a visit holds for its labels as well."""


_DEFAULT = LabelOptions()


@dataclass(frozen=True)
class VisitLabels:
    """The result: ``table`` (schema "labels") and ``notes``, sentences for people."""

    table: pl.DataFrame
    notes: tuple[str, ...]


def label_visits(
    visits: pl.DataFrame,
    spectra: Spectra,
    velocities: pl.DataFrame | None = None,
    options: LabelOptions = _DEFAULT,
    model: LabelModel | None = None,
) -> VisitLabels:
    """Measure the labels of every visit, arms of an exposure together or each alone.

    Arguments:
        visits: schema "visits", rows aligned with ``spectra``.
        spectra: what was recorded.
        velocities: absolute ones, with ``visit_id``, ``rv_obs``, ``rv_raw`` and
            ``status``, where a fit may begin; spectra that have none are searched first.
            Labels of spectra that show two stars are marked as such.
        options: windows, arms together, limits.
        model: the bundled model spectra if None.

    Returns:
        One row a fit, in order of the first visit of each; ``visit_id`` is then that of
        the first arm, with ``all`` in place of its name. Spectra for whose wavelengths
        there are no models have rows without labels, and a note.

    Raises:
        ValueError: the rows of ``visits`` and ``spectra`` do not agree in number.
    """
    if len(visits) != len(spectra):
        raise ValueError(
            f"There are {len(visits)} visits but {len(spectra)} spectra: pass one row "
            "a spectrum, in the same order."
        )
    visits = schema.conform(visits, "visits").with_columns(
        arm=pl.col("arm").fill_null(TOGETHER)
    )
    model = LabelModel() if model is None else model
    rv = _known(visits, velocities, spectra.frame)
    visits = _with_two_stars(visits, velocities)
    modelled, notes = _modelled(visits, spectra, model, options)
    tables = []
    for rows in _fits(visits.filter(pl.Series(modelled)), modelled, options.together):
        tables.append(_fit(visits, spectra, rv, rows, options, model))
    left = np.flatnonzero(~modelled)
    if len(left):
        lost = visits[left].with_columns(
            method=pl.lit(EACH),
            model=pl.lit(model.name),
            status=pl.col("status").fill_null(0) & _KEPT | int(Status.NO_LABELS),
            _row=pl.Series(left),
        )
        tables.append(_conform(lost))
    if not tables:
        return VisitLabels(schema.empty("labels"), notes)
    table = pl.concat(tables, how="diagonal_relaxed").sort("_row").drop("_row")
    return VisitLabels(table, notes)


def _known(
    visits: pl.DataFrame, velocities: pl.DataFrame | None, frame: str
) -> NDArray[np.float64]:
    """Velocity of each visit in the frame of its wavelengths, NaN where unknown."""
    if velocities is None or not len(velocities):
        return np.full(len(visits), np.nan)
    column = "rv_obs" if frame == "observatory" else "rv_raw"
    found = velocities.filter(pl.col(column).is_finite())
    found = found.select("visit_id", _rv=column).unique("visit_id", keep="first")
    joined = visits.select("visit_id").join(
        found, on="visit_id", how="left", maintain_order="left"
    )
    return joined["_rv"].fill_null(np.nan).to_numpy().astype(float)


def _with_two_stars(
    visits: pl.DataFrame, velocities: pl.DataFrame | None
) -> pl.DataFrame:
    """Take over from velocities which spectra show the lines of two stars."""
    if velocities is None or "status" not in velocities.columns:
        return visits
    flag = int(Status.DOUBLE_LINED)
    two = velocities.filter(pl.col("status") & flag != 0)["visit_id"].implode()
    more = pl.when(pl.col("visit_id").is_in(two)).then(flag).otherwise(0)
    return visits.with_columns(status=pl.col("status").fill_null(0) | more)


def _modelled(
    visits: pl.DataFrame, spectra: Spectra, model: LabelModel, options: LabelOptions
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Say which visits have models for their wavelengths, and what is said of the rest."""
    out, notes = np.zeros(len(visits), bool), []
    # Surveys may give one name to arms of different wavelengths.
    for (_, arm), rows in visits.with_row_index("_at").group_by(
        "survey", "arm", maintain_order=True
    ):
        at = rows["_at"].to_numpy()
        some = spectra[at]
        low, high = stretch(some, str(arm), options.windows, recorded)
        if model.of(str(arm), low, high):
            out[at] = True
        else:
            notes.append(
                f"Spectra of {arm} have no labels: there are no models for {low:.0f} to "
                f"{high:.0f} A."
            )
    return out, tuple(dict.fromkeys(notes))


def _fits(visits: pl.DataFrame, modelled: NDArray[np.bool_], together: bool):
    """Yield for each set of fits the rows of every arm, ``{arm: (fit,)}``, -1 for none."""
    at = np.flatnonzero(modelled)
    frame = visits.with_columns(_row=pl.Series(at))
    if not together:
        for (_, arm), rows in frame.group_by("survey", "arm", maintain_order=True):
            yield {str(arm): rows["_row"].to_numpy()}
        return
    # A second spectrum of the same arm, exposure and fiber is a fit of its own.
    frame = frame.with_columns(
        _turn=pl.int_range(pl.len()).over(*EXPOSURE, "arm"),
        # An exposure without a name is one spectrum's own; so is one of many stars where
        # neither star nor fiber is named.
        _lonely=pl.when(
            pl.col("exposure_id").is_null()
            | (pl.col("star_id").is_null() & pl.col("fiber").is_null())
        )
        .then("_row")
        .otherwise(-1),
    )
    key = [*EXPOSURE, "_turn", "_lonely"]
    arms = sorted(frame["arm"].unique())
    wide = frame.group_by(key, maintain_order=True).agg(
        *(
            pl.col("_row").filter(pl.col("arm") == arm).first().alias(f"arm {arm}")
            for arm in arms
        )
    )
    # Surveys whose arms differ are fitted apart: none lacks an arm that it never has.
    for _, part in wide.group_by("survey", maintain_order=True):
        rows = {
            arm: part[f"arm {arm}"].fill_null(-1).to_numpy().astype(np.intp)
            for arm in arms
        }
        yield {arm: one for arm, one in rows.items() if (one >= 0).any()}


def _fit(visits, spectra, rv, rows, options, model) -> pl.DataFrame:
    arms, speeds = {}, {}
    for arm, at in rows.items():
        some = spectra[np.maximum(at, 0)]
        missing = at < 0
        ivar = np.where(missing[:, None], np.float32(0), some.ivar)
        arms[arm] = replace(some, ivar=ivar)
        speeds[arm] = np.where(missing, np.nan, rv[np.maximum(at, 0)])
    found = measure_labels(arms, model, options, rv=speeds)
    every = np.stack([*rows.values()])
    of_visits = visits["status"].fill_null(0).to_numpy() & _KEPT
    flags = np.zeros(every.shape[1], np.int64)
    for at in every:
        flags |= np.where(at >= 0, of_visits[np.maximum(at, 0)], 0)
    first = np.where(every >= 0, every, len(visits)).min(axis=0)
    mine = visits[first]
    several = (every >= 0).sum(axis=0) > 1
    arm = mine["arm"].to_numpy()
    names = [
        f"{name.removesuffix(f'-{one}')}-{TOGETHER}" if joined and name else name
        for name, one, joined in zip(mine["visit_id"], arm, several, strict=True)
    ]
    table = mine.with_columns(
        *(
            found[name]
            for name in found.columns
            if name not in ("rv_obs", "rv_obs_err", "status", "snr")
        ),
        visit_id=pl.Series(names, dtype=pl.String),
        arm=pl.Series(np.where(several, TOGETHER, arm), dtype=pl.String),
        snr=found["snr"],
        method=pl.Series(np.where(several, "together", EACH), dtype=pl.String),
        rv_raw=pl.Series(_barycentric(found, mine, spectra.frame)),
        rv_raw_err=found["rv_obs_err"],
        status=pl.Series(flags) | found["status"],
        _row=pl.Series(first),
    )
    return _conform(table)


def _barycentric(found, visits, frame: str) -> NDArray[np.float64]:
    rv = found["rv_obs"].to_numpy()
    if frame != "observatory":
        return rv
    return composed(rv, known_motion(visits["bary_corr"].to_numpy(), len(rv)))


def _conform(table: pl.DataFrame) -> pl.DataFrame:
    known = schema.columns("labels")
    kept = [name for name in table.columns if name in known or name == "_row"]
    return schema.conform(table.select(kept), "labels")
