"""Tables of intrinsic colors as files give them: bands or colors, by label.

Isochrones list magnitudes and a luminosity; empirical sequences list colors against one
band and a bolometric correction. Here both become magnitudes that share a zero point in
each row, which is all that a color or a bolometric correction needs.
"""

__all__ = ["colors_from_table"]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.models.intrinsic_colors import IntrinsicColors
from steadystar.models.passbands import BANDS

_SUN_M_BOL = 4.74
"""Bolometric magnitude of the Sun (IAU 2015 resolution B2)."""

_LABELS = ("teff", "logg", "feh")
_ABSENT = (-999.0, -99.0, 99.0, 999.0)


def colors_from_table(frame: pl.DataFrame, name: str) -> IntrinsicColors:
    """Make `IntrinsicColors` of a table; see `IntrinsicColors.load` for its columns.

    Rows in which a label, a band or a color is missing are left out.

    Raises:
        ValueError: what is missing, or does not fit together.
    """
    lower = {str(c).strip().casefold().replace(" ", ""): c for c in frame.columns}
    columns = {key: _numbers(frame[theirs]) for key, theirs in lower.items()}
    columns = {key: values for key, values in columns.items() if values is not None}
    if "teff" not in columns and "logteff" in columns:
        columns["teff"] = 10 ** columns["logteff"]
    if "teff" not in columns:
        raise ValueError(
            f"{name} cannot give intrinsic colors: it has no column teff (K) or logteff; "
            "name its columns teff, logg, feh and the bands."
        )
    if "feh" not in columns and "[fe/h]" in columns:
        columns["feh"] = columns["[fe/h]"]
    magnitudes = _magnitudes(columns, name)
    bolometric = _bolometric(columns, magnitudes)
    labels = {axis: columns[axis] for axis in _LABELS if axis in columns}
    parts = [*labels.values(), *magnitudes.values()]
    parts += [] if bolometric is None else [bolometric]
    whole = np.isfinite(np.stack(parts)).all(axis=0) & (labels["teff"] > 0)
    labels = {axis: v[whole] for axis, v in labels.items()}
    labels = {
        axis: v for axis, v in labels.items() if axis == "teff" or len(np.unique(v)) > 1
    }
    _require_models(labels, name, len(whole))
    return IntrinsicColors(
        name,
        labels,
        {band: values[whole] for band, values in magnitudes.items()},
        None if bolometric is None else bolometric[whole],
    )


def _numbers(column: pl.Series) -> NDArray[np.float64] | None:
    values = column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    values = np.where(np.isin(values, _ABSENT), np.nan, values)
    return values if np.isfinite(values).any() else None


def _magnitudes(columns, name: str) -> dict[str, NDArray[np.float64]]:
    """Return the bands with a zero point that each row's bands share."""
    known = {band: columns[band] for band in BANDS if band in columns}
    links = []
    for key, values in columns.items():
        first, minus, second = key.partition("-")
        if minus and first in BANDS and second in BANDS:
            links.append((first, second, values))
    if not known and links:
        known[links[0][0]] = np.zeros_like(links[0][2])
    while True:
        found = [link for link in links if (link[0] in known) != (link[1] in known)]
        if not found:
            break
        for first, second, color in found:
            if first in known:
                known.setdefault(second, known[first] - color)
            else:
                known.setdefault(first, known[second] + color)
    loose = sorted({b for a, c, _ in links for b in (a, c)} - set(known))
    if loose:
        raise ValueError(
            f"The colors of {name} do not hang together: nothing ties "
            f"{', '.join(loose)} to {', '.join(known)}; add a color that does."
        )
    if len(known) < 2:
        raise ValueError(
            f"{name} has no colors: give at least two columns of magnitudes named as "
            f"bands ({', '.join(BANDS)}), or colors such as bp-rp."
        )
    return known


def _bolometric(columns, magnitudes) -> NDArray[np.float64] | None:
    if "m_bol" in columns:
        return columns["m_bol"]
    if "logl" in columns:
        return _SUN_M_BOL - 2.5 * columns["logl"]
    for band, values in magnitudes.items():
        if f"bc_{band}" in columns:
            return values + columns[f"bc_{band}"]
    return None


def _require_models(labels, name: str, rows: int) -> None:
    points = np.stack(list(labels.values()), axis=-1)
    least = 2 if len(labels) == 1 else len(labels) + 2
    if len(points) < least:
        raise ValueError(
            f"{name} has {len(points)} complete models among {rows} rows, too few: fill "
            "its empty cells, or leave out the bands that are mostly empty."
        )
    if len(labels) == 1 and len(np.unique(points)) < len(points):
        raise ValueError(
            f"{name} has several models of one temperature: give logg or feh, which "
            "tell them apart, or one row a temperature."
        )
