"""What a comparison has to say in sentences: who was matched, who not, and what is odd."""

__all__ = [
    "matched_notes",
    "nobody",
    "nothing_shared",
    "quantity_notes",
    "unmatched",
]

from collections.abc import Sequence

import numpy as np
import polars as pl

from steadystar.data.match import nearest
from steadystar.infer.catalog import Catalog
from steadystar.infer.pairing import COINCIDENCE_ARCSEC, Pairing
from steadystar.infer.residuals import Residuals

_ANYWHERE = 180 * 3600.0
_WAY = 3600.0
"""Arcsec within which the nearest star of the other table is told."""


def nothing_shared(
    a: Catalog, b: Catalog, matched: int | None = None, aside: pl.Series | None = None
) -> str:
    """Say that there is nothing to compare: no column, or no star (``aside``: why)."""
    reasons = [] if aside is None else aside.drop_nulls().unique().sort().to_list()
    if reasons:
        return (
            f"All of the {matched:,} stars in both tables that could be compared are set "
            f"aside ({'; '.join(reasons)}): allow more with --min-visits 1 or a larger "
            "--max-scatter."
        )
    has = [f"{c.name} has {', '.join(c.quantities) or 'none'}" for c in (a, b)]
    if matched is not None:
        return (
            f"None of the {matched:,} stars in both tables has a value in both: "
            f"{'; '.join(has)}. Compare tables of the same quantities."
        )
    return (
        f"The tables share no quantity: {'; '.join(has)}. Say which columns are which, "
        "as in --columns-b teff=T_EFF, or name another with --quantity."
    )


def nobody(
    a: Catalog, b: Catalog, pairs: Pairing, radius_arcsec: float, how: str
) -> str:
    """Say that no star is in both tables, and what may be the reason."""
    size = f"None of the {len(a.frame):,} stars of {a.name} is in {b.name}"
    said = [f"{size} ({len(b.frame):,} stars)"]
    ids = [c.frame["key"].drop_nulls() for c in (a, b)]
    if how != "position" and all(len(i) for i in ids):
        said.append(f"identifiers such as {ids[0][0]} and {ids[1][0]} differ")
        if len(pairs.strangers):
            said[-1] = "stars of the same identifier lie elsewhere on the sky"
    away = _closest(a, b)
    if how == "identifier" or not np.isfinite(away):
        return f"{'; '.join(said)}. Name the columns that identify them, as star_id=ID."
    said.append(
        f"the nearest two are {away:,.1f} arcsec apart, the radius is "
        f"{radius_arcsec:g} arcsec"
    )
    hint = _hours(a, b, radius_arcsec)
    return (
        f"{'; '.join(said)}. {hint or 'Check the positions, or give a larger radius.'}"
    )


def _closest(a: Catalog, b: Catalog) -> float:
    _, away = nearest(*_sky(a), *_sky(b), _ANYWHERE)
    return float(np.min(away, initial=np.inf))


def _sky(catalog: Catalog, factor: float = 1.0):
    return catalog.frame["ra"].to_numpy() * factor, catalog.frame["dec"].to_numpy()


def _hours(a: Catalog, b: Catalog, radius: float) -> str:
    """Say so where right ascensions match once taken as hours, or as radians."""
    for unit, factor in (("h", 15.0), ("rad", 180 / np.pi)):
        for one, other in ((a, b), (b, a)):
            ra, dec = _sky(one, factor)
            if not np.nanmax(ra / factor, initial=0.0) <= 360 / factor + 1e-6:
                continue
            dec = dec * factor if unit == "rad" else dec
            found, _ = nearest(ra, np.clip(dec, -90, 90), *_sky(other), radius)
            if number := int((found >= 0).sum()):
                column = one.columns.get("ra", "ra")
                both = f"ra={column}[{unit}]"
                if unit == "rad":
                    both += f",dec={one.columns.get('dec', 'dec')}[rad]"
                meaning = {"h": "hours", "rad": "radians"}[unit]
                return (
                    f"Taken as {meaning}, the positions of {one.name} match {number:,} "
                    f"stars: say so, as in {both}."
                )
    return ""


def matched_notes(
    a: Catalog, b: Catalog, pairs: Pairing, radius_arcsec: float
) -> list[str]:
    """Say how many stars were matched, how, and what is doubtful."""
    by = pairs.by.count("identifier")
    parts = []
    if by:
        parts.append(f"{by:,} by identifier")
    if len(pairs.by) - by:
        parts.append(
            f"{len(pairs.by) - by:,} by position within {radius_arcsec:g} arcsec"
        )
    notes = [f"{len(pairs.a):,} stars are in both tables: {', '.join(parts)}."]
    if crowded := int(pairs.ambiguous.sum()):
        notes.append(
            f"{crowded:,} of these have more than one star within {radius_arcsec:g} "
            "arcsec: the match may be the wrong one (column ambiguous)."
        )
    if strange := len(pairs.strangers):
        names = a.frame["star_id"][pairs.strangers[:3].tolist()].to_list()
        notes.append(
            f"{strange:,} identifiers are in both tables, but more than "
            f"{COINCIDENCE_ARCSEC:.0f} arcsec apart on the sky, such as "
            f"{', '.join(map(str, names))}: not believed. "
            f"{_hours(a, b, radius_arcsec)}".strip()
        )
    return notes


def unmatched(
    a: Catalog, b: Catalog, pairs: Pairing, radius_arcsec: float, how: str
) -> pl.DataFrame:
    """Return the stars that are in one table only, and why: A's first."""
    strangers = [pairs.strangers, np.zeros(0, np.intp)]
    return pl.concat(
        [
            _lost(one, other, rows, strange, side, (radius_arcsec, how))
            for one, other, rows, strange, side in (
                (a, b, pairs.a, strangers[0], "a"),
                (b, a, pairs.b, strangers[1], "b"),
            )
        ]
    )


def _lost(one: Catalog, other: Catalog, rows, strangers, side: str, rule):
    radius, how = rule
    frame = one.frame.select("star_id", "key", "row", "ra", "dec")
    lost = np.ones(len(frame), bool)
    lost[rows] = False
    _, away = nearest(*_sky(one), *_sky(other), _WAY)
    placed = np.isfinite(frame["ra"].to_numpy())
    has_id = frame["key"].is_not_null().to_numpy()
    reason = np.full(len(frame), f"no star within {radius:g} arcsec", object)
    reason[away <= radius] = "its nearest star belongs to a nearer one"
    reason[~placed & has_id] = "identifier not in the other table, and no position"
    if how == "identifier":
        reason[:] = "identifier not in the other table"
        reason[~has_id] = "no identifier"
    if how == "position":
        reason[~placed] = "no position"
    else:
        reason[~placed & ~has_id] = "neither identifier nor position"
    reason[strangers] = "the same identifier, but elsewhere on the sky"
    return frame.select(
        pl.lit(side).alias("table"),
        "star_id",
        "row",
        "ra",
        "dec",
        nearest=pl.Series(np.where(np.isfinite(away), away, np.nan)),
        reason=pl.Series(reason.tolist(), dtype=pl.String),
    ).filter(pl.Series(lost))


def quantity_notes(found: Residuals, a: str, b: str, level: float) -> list[str]:
    """Say what is remarkable about the differences of one quantity."""
    notes = []
    name, polynomial = found.quantity, found.polynomial
    if found.n < 10:
        notes.append(
            f"{name}: {found.n} stars are compared; that is too few to say much."
        )
    if polynomial is not None and polynomial.significant:
        beyond = " beyond a straight line" if polynomial.p_beyond_line < level else ""
        notes.append(
            f"{name}: the differences have structure{beyond}, of {polynomial.rms:.3g}"
            f"{_unit(found)} rms (probability by chance {_chance(polynomial.p_value)})."
        )
    typical = found.error_both
    if found.n >= 10 and typical > 0 and found.core.sigma < 0.5 * typical:
        notes.append(
            f"{name}: the differences ({found.core.sigma:.3g}{_unit(found)}) are less "
            f"than half of what both errors predict ({typical:.3g}{_unit(found)}): errors "
            "are too large, or the tables are not independent."
        )
    for one, sigma, error in (
        (a, found.sigma_b_if_a, found.error_a),
        (b, found.sigma_a_if_b, found.error_b),
    ):
        nothing = sigma[0] < 2 * sigma[1]
        if found.n >= 10 and nothing and found.core.sigma > 0:
            notes.append(
                f"{name}: the errors of {one} alone ({error:.3g}{_unit(found)}) predict "
                "the differences: they leave nothing for the other table."
            )
    return notes


def _unit(found: Residuals) -> str:
    return f" {found.unit}" if found.unit else ""


def _chance(p: float) -> str:
    return f"{p:.1e}" if p >= 1e-99 else "below 1e-99"


def joined(names: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
