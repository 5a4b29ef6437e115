"""How groups of visits are called: in words, in short, and many of them at once."""

__all__ = ["group_names", "short_names", "spoken", "together"]

from collections.abc import Sequence

import polars as pl

from steadystar.publish.numbers import DASH, counted

_LISTED = 3


def spoken(family: str) -> str:
    """Return the columns of a family in words: ``spectrograph, arm and exposure``."""
    words = [c.replace("exposure_id", "exposure") for c in family.split("+")]
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def group_names(table: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return each row's group in words: ``telescope lco25m, fiber 12``."""
    words = [
        pl.format("{} arm", _text(c))
        if c == "arm"
        else pl.format("{} {}", pl.lit(spoken(c)), _text(c))
        for c in columns
    ]
    return table.select(pl.concat_str(words, separator=", ")).to_series().to_list()


def short_names(table: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return each row's group without the names of columns that are clear: ``lco25m 12``.

    Columns with the same value everywhere are left out, unless nothing would be left.
    """
    telling = [c for c in columns if table[c].n_unique() > 1] or list(columns)
    words = [_text(c) for c in telling]
    return table.select(pl.concat_str(words, separator=" ")).to_series().to_list()


def together(table: pl.DataFrame, columns: Sequence[str]) -> str:
    """Return many groups in a few words: ``arm blue; fiber 1 to 30 (30 of them)``."""
    said = []
    for column in columns:
        values = table[column].drop_nulls().unique().sort()
        texts = values.cast(pl.String).to_list()
        name = spoken(column)
        if len(texts) <= _LISTED:
            values = ", ".join(texts) or DASH
            said.append(f"{values} arm" if name == "arm" else f"{name} {values}")
        else:
            span = f"{texts[0]} to {texts[-1]}"
            said.append(f"{counted(len(texts), name)} ({span})")
    return "; ".join(said)


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).fill_null(DASH)
