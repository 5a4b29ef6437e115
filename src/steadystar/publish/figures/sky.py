"""Where the survey looked: stars and footprints of fields on the sky.

Zong et al. (2020), figure 2: the plates that were observed, and those still to come.
"""

__all__ = ["footprints", "star_positions"]

from typing import Literal

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.field_facts import centers, field_table
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import (
    MINUS,
    Array,
    counted,
    finite,
    scatter_or_density,
)
from steadystar.publish.plot import (
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Shaded,
    Words,
)
from steadystar.publish.sky_map import SkyMap

_TITLE = "Fields on the sky"
_MOST_CIRCLES = 150
_MOST_NAMES = 15
_LONGEST_NAME = 12


def star_positions(facts: Facts, options: ReportOptions) -> Panel | None:
    """The stars on a map that suits them; None where no position is known."""
    placed = facts.stars.filter(
        pl.col("ra").is_not_null() & pl.col("dec").is_not_null()
    )
    if not len(placed):
        return None
    ra, dec = placed["ra"].to_numpy(), placed["dec"].to_numpy()
    sky = SkyMap.holding(ra, dec)
    x, y = sky.xy(ra, dec)
    few = len(placed) <= options.aggregate_above
    marks: list[Mark] = [*sky.grid, *sky.planes]
    varying = placed["variable"].fill_null(False).to_numpy()
    if few:
        names = placed["star_id"].to_list()
        for chosen, color, label in (
            (~varying, "ink", "stars"),
            (varying, "orange", "variable"),
        ):
            rows = np.flatnonzero(chosen)
            if rows.size:
                marks.append(
                    Points(
                        x[rows],
                        y[rows],
                        color,
                        label,
                        hover=[f"{names[i]}, {_place(ra[i], dec[i])}" for i in rows],
                        size=4 if color == "ink" else 5,
                        bare=True,
                    )
                )
    else:
        edges = _edges(sky)
        limit = options.aggregate_above
        counts = scatter_or_density(x, y, limit, color="ink", edges=edges, unit="stars")
        marks = [counts, *marks]
    return Panel(*sky.axes, tuple(marks), title="Positions", equal=True)


def _edges(sky: SkyMap) -> tuple[Array, Array]:
    """Cells of a map that are square."""
    x, y = sky.axes
    size = (float(x.high or 0) - float(x.low or 0)) / 90
    return (
        np.arange(float(x.low or 0), float(x.high or 0) + size, size),
        np.arange(float(y.low or 0), float(y.high or 0) + size, size),
    )


def _place(ra: float, dec: float) -> str:
    return f"{ra:.3f}° {dec:+.3f}°".replace("-", MINUS)


def footprints(facts: Facts, inputs: ReportInputs) -> Figure | Missing:
    """Each field as a circle about its targets, colored by its number of exposures."""
    fields = field_table(facts)
    if not len(fields):
        return Missing(
            "footprints",
            _TITLE,
            "The table of velocities does not say fields (plates, plans) in its column "
            "`field`.",
        )
    placed = fields.filter(pl.col("ra").is_finite())
    if not len(placed):
        return Missing(
            "footprints", _TITLE, "No star of any field has a known position."
        )
    coming = _still_to_come(fields, inputs.targets)
    closer = len(coming) and _map_of(placed).kind != _map_of(placed, coming).kind
    panels = [_panel(placed, coming, shaded=not closer)]
    if closer:
        panels.append(_panel(placed, coming.head(0), "Those observed"))
    whole = len(panels) > 1 or _map_of(placed, coming).kind == "sky"
    return Figure(
        name="footprints",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=whole,
        shows="Each field (plate, plan) as a circle that holds 99% of its stars; the "
        "color of its middle is the number of exposures"
        + ("; fields of the input catalog that were not observed are gray" * bool(len(coming)))
        + " (Zong et al. 2020, figure 2). East is to the left.",
        good="Fields that overlap share stars, and tie their zero points together; a "
        "field that stands alone, with few exposures, must be calibrated by itself.",
        here=_sentence(fields, placed, coming),
    )  # fmt: skip


def _panel(
    placed: pl.DataFrame, coming: pl.DataFrame, title: str = "", *, shaded: bool = True
) -> Panel:
    sky = _map_of(placed, coming)
    marks: list[Mark] = [*sky.grid, *sky.planes]
    if len(placed) + len(coming) <= _MOST_CIRCLES:
        marks += _circles(sky, coming, "muted", "dot")
        marks += _circles(sky, placed, "ink", "solid")
    if len(coming):
        x, y = sky.xy(coming["ra"].to_numpy(), coming["dec"].to_numpy())
        names = [f"{f}, still to come" for f in coming["field"]]
        marks.append(
            Points(x, y, "muted", "still to come", hover=names, symbol="open", size=7, bare=True)
        )  # fmt: skip
    fields = _exposed(sky, placed)
    if not shaded:
        # The panel beside it has the colors, and room for their bar.
        fields = Points(fields.x, fields.y, "blue", "observed", hover=fields.hover, size=7, bare=True)  # fmt: skip
    marks.append(fields)
    if len(placed) <= _MOST_NAMES and sky.kind != "sky":
        marks.append(_names(sky, placed))
    tall = 0.85 if sky.kind == "sky" else 1.15
    return Panel(*sky.axes, tuple(marks), title, tall, equal=True)


def _map_of(*tables: pl.DataFrame) -> SkyMap:
    """A map with room for the circles and not only for their middles."""
    every = pl.concat([table.select("ra", "dec", "radius") for table in tables])
    ra, dec, radius = (every[name].to_numpy() for name in every.columns)
    rim_ra, rim_dec = [ra], [dec]
    squeeze = np.maximum(np.cos(np.radians(dec)), 0.02)
    for side in (-1, 1):
        rim_ra += [ra, ra + side * np.minimum(radius / squeeze, 90)]
        rim_dec += [np.clip(dec + side * radius, -90, 90), dec]
    return SkyMap.holding(np.concatenate(rim_ra), np.concatenate(rim_dec))


def _still_to_come(fields: pl.DataFrame, targets: pl.DataFrame | None) -> pl.DataFrame:
    """The fields of the input catalog that nobody has looked at."""
    if targets is None or not {"field", "ra", "dec"} <= set(targets.columns):
        return centers(fields.head(0))
    wanted = targets.select(
        pl.col("field").cast(pl.String),
        pl.col("ra").cast(pl.Float64, strict=False),
        pl.col("dec").cast(pl.Float64, strict=False),
    ).drop_nulls("field")
    return centers(wanted.join(fields.select("field"), on="field", how="anti")).sort(
        "field"
    )


def _circles(
    sky: SkyMap, fields: pl.DataFrame, color: str, dash: Literal["solid", "dot"]
) -> list[Line]:
    """All circles as one line with gaps."""
    xs: list[Array] = []
    ys: list[Array] = []
    for row in fields.iter_rows(named=True):
        ra, dec = sky.circle(row["ra"], row["dec"], max(row["radius"], 1e-3))
        line = sky.line(ra, dec)
        xs.append(np.append(line.x, np.nan))
        ys.append(np.append(line.y, np.nan))
    if not xs:
        return []
    return [Line(np.concatenate(xs), np.concatenate(ys), color, dash=dash, width=1.2)]


def _exposed(sky: SkyMap, fields: pl.DataFrame) -> Shaded:
    # Fields with most exposures on top of others.
    fields = fields.sort("exposures", "field")
    x, y = sky.xy(fields["ra"].to_numpy(), fields["dec"].to_numpy())
    number = fields["exposures"].to_numpy().astype(float)
    hover = [
        f"{row['field']}: {counted(row['exposures'], 'exposure')} in "
        f"{counted(row['nights'], 'night')}, {counted(row['stars'], 'star')}, "
        f"{_place(row['ra'], row['dec'])}"
        for row in fields.iter_rows(named=True)
    ]
    return Shaded(
        x,
        y,
        number,
        "exposures",
        float(number.min()),
        float(max(number.max(), number.min() + 1)),
        hover=hover,
        size=11 if len(fields) <= 100 else 6,
        opacity=1.0,
        bare=True,
    )


def _names(sky: SkyMap, fields: pl.DataFrame) -> Words:
    """Names of the fields, shortened at the front."""
    x, y = sky.xy(fields["ra"].to_numpy(), fields["dec"].to_numpy())
    low, high = (float(end or 0) for end in (sky.axes[1].low, sky.axes[1].high))
    radius = fields["radius"].to_numpy()
    # Below the middle of large circles, below small ones themselves.
    large = radius > 0.12 * (high - low)
    drop = np.where(large, 0.05 * (high - low), radius + 0.03 * (high - low))
    short = [
        name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}"
        for name in fields["field"].to_list()
    ]
    return Words(x, np.maximum(y - drop, low + 0.02 * (high - low)), short)


def _sentence(fields: pl.DataFrame, placed: pl.DataFrame, coming: pl.DataFrame) -> str:
    number = fields["exposures"].to_numpy()
    here = f"Here: {counted(len(fields), 'field')} with {number.sum():,} exposures"
    if len(fields) > 1:
        here += f" ({number.min():,} to {number.max():,} a field)"
    hours = finite(fields["seconds"]).sum() / 3600
    if hours > 0:
        here += f", {hours:,.3g} hours of open shutter"
    here += f"; a field holds {int(np.median(fields['stars'])):,} stars (median)"
    if len(coming):
        here += f"; {counted(len(coming), 'field')} of the input catalog still to come"
    lost = len(fields) - len(placed)
    if lost:
        here += f"; {counted(lost, 'field')} without positions not drawn"
    return here + "."
