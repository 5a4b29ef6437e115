"""Maps of the sky: positions as points of a plane, east to the left.

A small field away from the poles keeps right ascension and declination as its axes,
counted on across 0h. One that comes near a pole is seen as on a chart centered on it
(zenithal, distances from the center are true), with lines of the grid drawn in. A survey
of half the sky is an ellipse in which equal areas are equal (Mollweide).
"""

__all__ = ["SkyMap", "degrees_of"]

from dataclasses import dataclass
from typing import Literal

import numpy as np

from steadystar.data.match import unit_vectors
from steadystar.publish.numbers import MINUS, Array
from steadystar.publish.plot import Axis, Line, Mark, Words

_SMALL = 30.0
"""Radius in degrees up to which a field is drawn with straight axes."""
_HALF = 55.0
"""Radius from which on the whole sky is drawn."""
_HIGHEST = 75.0
"""Declination up to which straight axes mislead nobody."""
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60)
_ECLIPTIC = 23.439_281
"""Obliquity of the ecliptic at J2000 in degrees (IAU 2006)."""
_GALAXY = (192.859_48, 27.128_25)
"""North pole of the galaxy in degrees, ICRS (Hipparcos catalogue, vol. 1, 1.5.3)."""


def degrees_of(vectors: Array) -> tuple[Array, Array]:
    """Return right ascension and declination of directions ``(n, 3)``, degrees."""
    ra = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360
    return ra, np.degrees(np.arctan2(vectors[:, 2], np.hypot(*vectors[:, :2].T)))


@dataclass(frozen=True)
class SkyMap:
    """A map about ``ra, dec`` (degrees) that reaches ``radius`` degrees."""

    kind: Literal["straight", "chart", "sky"]
    ra: float
    dec: float
    radius: float

    @classmethod
    def holding(cls, ra: Array, dec: Array, least: float = 0.05) -> "SkyMap":
        """Return the map that suits some positions, in degrees; at least one is known."""
        known = np.isfinite(ra) & np.isfinite(dec)
        points = unit_vectors(ra[known], dec[known])
        center = points.mean(axis=0)
        length = float(np.linalg.norm(center))
        # Positions all over the sky have no middle.
        center = center / length if length > 0.05 else np.array([1.0, 0.0, 0.0])
        apart = np.degrees(np.arccos(np.clip(points @ center, -1, 1)))
        radius = max(1.08 * float(apart.max(initial=0.0)), least)
        at_ra, at_dec = (float(one[0]) for one in degrees_of(center[None]))
        if radius > _HALF:
            return cls("sky", _emptiest(ra[known]), 0.0, 180.0)
        if radius <= _SMALL and abs(at_dec) + radius < _HIGHEST:
            return cls("straight", at_ra, at_dec, radius)
        return cls("chart", at_ra, at_dec, radius)

    def xy(self, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return the places of positions (degrees), x growing to the east."""
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        # Not beyond half a turn from the middle, whichever way is shorter.
        east = (ra - self.ra + 180) % 360 - 180
        if self.kind == "straight":
            return east * np.cos(np.radians(self.dec)), dec
        if self.kind == "sky":
            return _mollweide(east, dec)
        return self._chart(east, dec)

    def _chart(self, east: Array, dec: Array) -> tuple[Array, Array]:
        east, dec, mid = np.radians(east), np.radians(dec), np.radians(self.dec)
        x = np.cos(dec) * np.sin(east)
        y = np.sin(dec) * np.cos(mid) - np.cos(dec) * np.sin(mid) * np.cos(east)
        along = np.sin(dec) * np.sin(mid) + np.cos(dec) * np.cos(mid) * np.cos(east)
        apart = np.arctan2(np.hypot(x, y), along)
        scale = np.degrees(apart) / np.maximum(np.hypot(x, y), 1e-12)
        return x * scale, y * scale

    def line(self, ra: Array, dec: Array, color: str = "muted", **look) -> Line:
        """Return a line through positions, interrupted where it leaves the map's edge."""
        x, y = self.xy(ra, dec)
        limit = 1.2 * self.radius
        if self.kind == "sky":
            torn = np.abs(np.diff(x, prepend=x[0])) > 90
            y = np.where(torn, np.nan, y)
        else:
            y = np.where(
                np.maximum(np.abs(x), np.abs(y - self._middle)) > limit, np.nan, y
            )
        return Line(x, y, color, **look)  # fmt: skip

    def circle(self, ra: float, dec: float, radius: float) -> tuple[Array, Array]:
        """Return the positions (degrees) of a circle on the sky."""
        turn = np.radians(np.linspace(0, 360, 49))
        out = unit_vectors(ra, dec)
        north = unit_vectors(ra, dec + 90)
        side = np.cross(north, out)
        size = np.radians(radius)
        ring = np.cos(turn)[:, None] * north + np.sin(turn)[:, None] * side
        return degrees_of(np.cos(size) * out + np.sin(size) * ring)

    @property
    def _middle(self) -> float:
        return self.dec if self.kind == "straight" else 0.0

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The axes of the panel; those of a chart have no ticks, its grid has words."""
        if self.kind == "sky":
            return Axis("right ascension", low=-185, high=185, ticks=(), reverse=True), Axis(
                "declination", low=-95, high=95, ticks=())  # fmt: skip
        low, high = self._middle - self.radius, self._middle + self.radius
        if self.kind == "chart":
            return (
                Axis("right ascension", low=low, high=high, ticks=(), reverse=True),
                Axis("declination", low=low, high=high, ticks=()),
            )
        squeeze = float(np.cos(np.radians(self.dec)))
        step = _step(2 * self.radius / squeeze)
        first = np.ceil((self.ra - self.radius / squeeze) / step) * step
        at = np.arange(first, self.ra + self.radius / squeeze, step)
        ticks = tuple(
            ((float(one) - self.ra) * squeeze, f"{round(float(one) % 360, 3) % 360:g}")
            for one in at
        )
        return (
            Axis(
                "right ascension (deg)", low=-self.radius, high=self.radius, ticks=ticks, reverse=True
            ),
            Axis("declination (deg)", low=low, high=high),
        )  # fmt: skip

    @property
    def grid(self) -> list[Mark]:
        """Lines of equal right ascension and declination with words, where needed."""
        if self.kind == "straight":
            return []
        step_ra, step_dec = (60.0, 30.0) if self.kind == "sky" else self._steps
        marks: list[Mark] = []
        turn, climb = np.linspace(0, 360, 91), np.linspace(-90, 90, 91)
        if self.kind == "sky":
            # Begin at the edge, so that circles of declination do not tear.
            turn = self.ra + np.linspace(-179.99, 179.99, 91)
            for edge in (-179.99, 179.99):
                marks.append(self.line(np.full(91, self.ra + edge), climb, width=1))
        decs = np.arange(-90 + step_dec, 90, step_dec)
        ras = np.arange(0, 360, step_ra)
        marks += [self.line(turn, np.full(91, dec), width=0.6) for dec in decs]
        marks += [self.line(np.full(91, ra), climb, width=0.6) for ra in ras]
        marks.append(self._words(ras, decs))
        return marks

    @property
    def _steps(self) -> tuple[float, float]:
        near = abs(self.dec) + self.radius >= 90
        return (45.0 if near else 30.0), _step(2 * self.radius)

    def _words(self, ras: Array, decs: Array) -> Words:
        """The numbers of the grid: along a meridian, and along a circle far out."""
        ring = 0.0
        if self.kind == "chart":
            sign = np.sign(self.dec) or 1.0
            inside = [d for d in decs if abs(d - self.dec) < self.radius]
            ring = min(inside, key=lambda d: sign * d) if inside else self.dec
        spine = self.ra if self.kind == "chart" else self.ra + 179.0
        east = np.append(ras, np.full(len(decs), spine))
        north = np.append(np.full(len(ras), ring), decs)
        # On the whole sky the equator has the numbers of right ascension already.
        texts = [f"{ra:g}°" for ra in ras]
        texts += [f"{d:g}°" if d or self.kind == "chart" else "" for d in decs]
        x, y = self.xy(east, north)
        reach = 0.97 * self.radius if self.kind == "chart" else 180.0
        seen = (np.abs(x) < reach) & (np.abs(y) < reach)
        chosen = [texts[i].replace("-", MINUS) for i in np.flatnonzero(seen)]
        return Words(x[seen], y[seen], chosen, "muted")

    @property
    def planes(self) -> list[Mark]:
        """The ecliptic and the plane of the galaxy, where the whole sky is seen."""
        if self.kind != "sky":
            return []
        along = np.radians(np.linspace(0, 360, 181))
        tilt = np.radians(_ECLIPTIC)
        ecliptic = np.stack(
            [
                np.cos(along),
                np.sin(along) * np.cos(tilt),
                np.sin(along) * np.sin(tilt),
            ],
            axis=-1,
        )
        galaxy = _great_circle(*_GALAXY)
        return [
            self.line(*degrees_of(ecliptic), "orange", label="ecliptic", dash="dash"),
            self.line(*galaxy, "purple", label="galactic plane", dash="dot"),
        ]


def _great_circle(ra: float, dec: float) -> tuple[Array, Array]:
    """Return the positions of the great circle about a pole."""
    along = np.radians(np.linspace(0, 360, 181))
    pole, side = unit_vectors(ra, dec), unit_vectors(ra + 90, 0.0)
    up = np.cross(pole, side)
    return degrees_of(np.cos(along)[:, None] * side + np.sin(along)[:, None] * up)


def _step(span: float) -> float:
    """A step that parts a span in four to ten."""
    return float(next((step for step in _STEPS if span / step <= 7), 90.0))


def _emptiest(ra: Array) -> float:
    """The right ascension opposite to the widest gap: the map is cut where nothing is."""
    edges = np.arange(0, 361, 15)
    counts, _ = np.histogram(ra % 360, edges)
    around = counts + np.roll(counts, 1) + np.roll(counts, -1)
    return float((edges[int(np.argmin(around))] + 7.5 + 180) % 360)


def _mollweide(east: Array, dec: Array) -> tuple[Array, Array]:
    """Return Mollweide's places, in degrees along the equator and half of it upwards."""
    want = np.pi * np.sin(np.radians(dec))
    theta = np.radians(dec)
    for _ in range(40):
        # Newton's step vanishes at the poles, where theta is known.
        slope = 2 + 2 * np.cos(2 * theta)
        theta = theta - (2 * theta + np.sin(2 * theta) - want) / np.maximum(slope, 1e-9)
        theta = np.clip(theta, -np.pi / 2, np.pi / 2)
    return east * np.cos(theta), 90 * np.sin(theta)
