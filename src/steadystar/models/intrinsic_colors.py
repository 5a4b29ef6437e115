"""Colors and bolometric corrections of stars without dust, by temperature.

`intrinsic_colors` is the sequence of dwarfs that comes with steadystar, 5370 to
60 260 K every 0.01 dex. Its facts and where they come from:

- B-V, V-J, V-H, V-Ks up to 24 500 K (B1.5 V) and the bolometric correction of V up to
  45 900 K (O3 V): Pecaut & Mamajek (2013, ApJS 208, 9), in the table's version
  2024.05.15, smoothed (rms 0.002, 0.004, 0.005, 0.005 and 0.008 mag).
- Gaia DR3, SDSS and Pan-STARRS1 bands: model spectra (D. Nidever's polynomial models,
  see `steadystar.models.doppler`; log g 4.1, 4.35 below 8000 K; solar) through the
  bands of `steadystar.models.passbands`, bent so that their B, V, J, H, Ks meet the
  sequence above: the difference is interpolated in 1/wavelength. Vega is zero in Gaia,
  2MASS, B, V; AB magnitudes in SDSS, Pan-STARRS1.
- 24 500 to 32 000 K: the difference fades out; up to there the sequence's own near
  infrared is an extrapolation, as its notes say, and from 30 000 K on bluer than models
  allow (V-Ks = -1.00 at O9 V against -0.87). In H the two differ by 0.04 mag at all
  temperatures, as zero points do; that stays.
- 32 000 K and hotter: continued as colors near the Rayleigh-Jeans limit go, linear in
  1/Teff with the models' slope from 26 000 to 32 000 K; above 45 900 K the bolometric
  correction is linear in log Teff.

They are colors of dwarfs of solar composition: `color` takes log g and [Fe/H], and
these change nothing here. The same models from log g 3.2 to 4.4 differ by 0.01 mag in
BP-RP at 20 000 K and 0.02 mag at 12 000 K. Isochrones, or any other table, take the
place of the sequence by `IntrinsicColors.load`.
"""

__all__ = ["IntrinsicColors", "intrinsic_colors"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from os import PathLike, fspath

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay, KDTree

from steadystar.data.numbers import Numbers
from steadystar.data.tables import read_table

# What counts as one step of log10 Teff, log g and [Fe/H] between scattered models.
_STEP = {"teff": 0.05, "logg": 0.3, "feh": 0.5}
_USUAL = {"logg": 4.0, "feh": 0.0}


@dataclass(frozen=True, eq=False)
class IntrinsicColors:
    """Magnitudes of stars without dust, by temperature and perhaps log g and [Fe/H].

    ``name``: what it is, for reports. ``labels``: ``teff`` (K) and perhaps ``logg``,
    ``feh`` of the models, each ``(model,)``. ``magnitudes``: by band, ``(model,)``,
    each model with a zero point of its own that all its bands share. ``bolometric``:
    bolometric magnitude with that same zero point, ``(model,)``, or None.
    """

    name: str
    labels: Mapping[str, NDArray[np.float64]]
    magnitudes: Mapping[str, NDArray[np.float64]]
    bolometric: NDArray[np.float64] | None = None

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(self.magnitudes)

    @property
    def teff_range(self) -> tuple[float, float]:
        """Lowest and highest temperature, K."""
        teff = self.labels["teff"]
        return float(teff.min()), float(teff.max())

    def color(
        self,
        name_a: str,
        name_b: str,
        teff: Numbers,
        logg: Numbers | None = None,
        feh: Numbers | None = None,
    ) -> NDArray[np.float64]:
        """Return the intrinsic color ``name_a - name_b`` in mag, in the shape of ``teff``.

        NaN where a label is not finite or lies outside the models. Where the models
        differ by log g or [Fe/H] and none is given, log g 4 and [Fe/H] 0 are taken.

        Raises:
            ValueError: a band is not known.
        """
        return self._at(self._band(name_a) - self._band(name_b), teff, logg, feh)

    def bolometric_correction(
        self,
        band: str,
        teff: Numbers,
        logg: Numbers | None = None,
        feh: Numbers | None = None,
    ) -> NDArray[np.float64]:
        """Return ``BC`` in mag such that ``M_band = M_bol - BC``.

        Raises:
            ValueError: the band is not known, or the table had no bolometric magnitudes.
        """
        if self.bolometric is None:
            raise ValueError(
                f"{self.name} has no bolometric magnitudes: give a table with a column "
                "m_bol, logl (log10 of luminosity over the Sun's) or bc_v."
            )
        return self._at(self.bolometric - self._band(band), teff, logg, feh)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "IntrinsicColors":
        """Read a table of isochrones or of an empirical sequence.

        Any format of `read_table`. Columns: ``teff`` (K) or ``logteff``; ``logg`` and
        ``feh`` if the colors depend on them; magnitudes under the names of our bands,
        or colors such as ``v-ks``, or both; ``m_bol``, ``logl`` or ``bc_BAND`` if
        bolometric corrections are wanted. Models may be scattered (isochrones) or on a
        grid; between them it is interpolated linearly in log Teff, log g and [Fe/H],
        and up to 0.3 dex in log g or 12 percent in Teff outside the nearest is taken.

        Raises:
            ValueError: no temperatures or bands, or colors that do not hang together.
            steadystar.data.tables.TableError: the file is no table.
        """
        from steadystar.models.color_tables import colors_from_table

        frame = read_table(path)
        return colors_from_table(frame, fspath(path))

    def _band(self, name: str) -> NDArray[np.float64]:
        try:
            return self.magnitudes[name]
        except KeyError:
            raise ValueError(
                f"{self.name} has no band {name!r}, only {', '.join(self.bands)}: leave "
                "it out, or give a table of intrinsic colors that has it."
            ) from None

    def _at(self, values, teff, logg, feh) -> NDArray[np.float64]:
        given = {"teff": _log(teff), "logg": logg, "feh": feh}
        parts = [
            np.asarray(_USUAL[axis] if given[axis] is None else given[axis], float)
            for axis in self.labels
        ]
        if len(parts) == 1:
            order = np.argsort(self._points[:, 0])
            nodes = self._points[order, 0]
            # Rounding shall not push the ends of the range out of it.
            at = parts[0] / _STEP["teff"]
            at = np.where(np.isclose(at, nodes[0], 0, 1e-9), nodes[0], at)
            at = np.where(np.isclose(at, nodes[-1], 0, 1e-9), nodes[-1], at)
            return np.asarray(np.interp(at, nodes, values[order], np.nan, np.nan))
        steps = [_STEP[axis] for axis in self.labels]
        points = np.stack(np.broadcast_arrays(*parts), axis=-1) / steps
        return self._between(values, points)

    def _between(self, values, points) -> NDArray[np.float64]:
        """Interpolate among scattered models; just outside, take the nearest."""
        mesh, tree = self._mesh
        out = np.full(points.shape[:-1], np.nan)
        known = np.isfinite(points).all(axis=-1)
        inside = LinearNDInterpolator(mesh, values)(points[known])
        missing = np.isnan(inside)
        distance, index = tree.query(points[known][missing])
        inside[missing] = np.where(distance <= 1, values[index], np.nan)
        out[known] = inside
        return out

    @cached_property
    def _points(self) -> NDArray[np.float64]:
        columns = {**self.labels, "teff": _log(self.labels["teff"])}
        return np.stack([columns[axis] / _STEP[axis] for axis in self.labels], axis=-1)

    @cached_property
    def _mesh(self) -> tuple[Delaunay, KDTree]:
        return Delaunay(self._points), KDTree(self._points)


@cache
def intrinsic_colors() -> IntrinsicColors:
    """Return the sequence of dwarfs that comes with steadystar (see the module)."""
    from steadystar.models.color_tables import colors_from_table

    path = resources.files("steadystar.models") / "intrinsic_colors.csv"
    frame = pl.read_csv(path.read_bytes(), comment_prefix="#")
    return colors_from_table(frame, "The sequence of dwarfs (Pecaut & Mamajek 2013)")


def _log(teff) -> NDArray[np.float64]:
    teff = np.asarray(teff, float)
    return np.asarray(np.log10(np.where(teff > 0, teff, np.nan)))
