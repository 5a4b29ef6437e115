"""What figures on the page are written with: colors, safe text, packed numbers."""

__all__ = [
    "COLORS",
    "DIVERGING",
    "SEQUENTIAL",
    "SHADES",
    "escape",
    "numbers",
    "whole_numbers",
]

import base64
from typing import Any

import numpy as np

COLORS = {
    "ink": "var(--ink)",
    "muted": "var(--muted)",
    "blue": "var(--blue)",
    "red": "var(--red)",
    "green": "var(--green)",
    "orange": "var(--orange)",
    "purple": "var(--purple)",
    "sky": "var(--sky)",
}

DIVERGING = (
    (0.0, "#2166ac"),
    (0.25, "#92c5de"),
    (0.5, "#f7f7f7"),
    (0.75, "#f4a582"),
    (1.0, "#b2182b"),
)
"""ColorBrewer's RdBu, which remains readable with the common color deficiencies."""


SEQUENTIAL = (
    (0.0, "#d9ecef"),
    (0.25, "#8fc7cf"),
    (0.5, "#3f95ab"),
    (0.75, "#1a5f86"),
    (1.0, "#0b2a4f"),
)
"""From light to dark blue: more is darker."""

SHADES = (
    (0.0, "#2f7fd8"),
    (0.25, "#8b78d0"),
    (0.5, "#c667a8"),
    (0.75, "#ea704a"),
    (1.0, "#eda51c"),
)
"""From blue over pink to orange, all of them clear of a light and of a dark background;
blue and orange stay apart for eyes with the common color deficiencies."""


def escape(text: str) -> str:
    """Make text safe for plotly's labels: no markup, no template, at most 120 signs."""
    if len(text) > 120:
        text = text[:119] + "…"
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return (
        clean.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("%{", "% {")
    )


def numbers(values: Any, *, wide: bool = False) -> dict[str, str]:
    """Numbers in plotly's base64 form: 4 bytes each, 8 where ``wide`` (times).

    Infinities, and what 4 bytes cannot hold, become NaN, which plotly leaves out.
    """
    array = np.asarray(values, np.float64)
    array = np.where(np.abs(array) < 1e38, array, np.nan)
    array = array.astype("<f8" if wide else "<f4")
    spec = {
        "dtype": "f8" if wide else "f4",
        "bdata": base64.b64encode(array.tobytes()).decode("ascii"),
    }
    if array.ndim > 1:
        spec["shape"] = ", ".join(str(size) for size in array.shape)
    return spec


def whole_numbers(values: np.ndarray, kind: str) -> dict[str, str]:
    """Whole numbers in plotly's base64 form, of ``kind`` u1, u2 or u4."""
    data = np.ascontiguousarray(values, f"<{kind}").tobytes()
    return {
        "dtype": kind,
        "bdata": base64.b64encode(data).decode("ascii"),
        "shape": ", ".join(str(size) for size in values.shape),
    }
