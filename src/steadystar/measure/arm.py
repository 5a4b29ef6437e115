"""The stars of one arm whose spectra lie on one grid: chunks out, columns back.

Stars are packed, whole, into chunks of a few sizes, so that few programs are compiled.
What the estimators (`joint`, `published`) say of each exposure becomes a velocity, an
error and a status.
"""

__all__ = ["ArmOnGrid", "rows_by"]

import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.status import FATAL, Status
from steadystar.kernels.minimum import RIVAL_CHI2
from steadystar.kernels.spline import line_forest_precision
from steadystar.measure.batches import batch_size, on_processor
from steadystar.measure.doubles import Double, measure_double, shows_companion
from steadystar.measure.joint import fit_stars, match_stars, solve_gauge
from steadystar.measure.normalize import PixelBatch, Prepared
from steadystar.measure.published import match_references

_CHUNK, _ON_DEVICE = 64, 512
_POOR_FIT = 3.0
# What a double-lined exposure gets for not being like one copy of the template.
_OF_ONE_COPY = int(Status.DOUBLE_LINED | Status.POOR_FIT | Status.TWO_MINIMA)
# Iterations of the first round, and of two more for the few stars that need them.
_ROUNDS = (3, 16, 17)


def rows_by(keys: pl.Series) -> list[tuple[str, NDArray[np.intp]]]:
    """Return every key, in order, with the rows that hold it."""
    values = keys.to_numpy()
    return [(key, np.flatnonzero(values == key)) for key in sorted(keys.unique())]


class ArmOnGrid:
    """Spectra of one arm on one grid, and the columns that are filled for them."""

    def __init__(self, rows, visits, arm, prepared: Prepared, options) -> None:
        n = len(visits)
        self.visits, self.arm, self.prepared, self.options = (
            visits,
            arm,
            prepared,
            options,
        )
        status = visits["status"].to_numpy() | prepared.flags
        low = np.nan_to_num(visits["snr"].to_numpy()) < options.min_snr
        status |= np.where(low, int(Status.LOW_SNR), 0)
        self.columns = {
            "_row": rows,
            "rv": np.full(n, np.nan),
            "rv_raw_err": np.full(n, np.nan),
            "chi2": np.full(n, np.nan),
            "ivar_scale": np.full(n, np.nan),
            "rv_2": np.full(n, np.nan),
            "rv_2_err": np.full(n, np.nan),
            "light_ratio": np.full(n, np.nan),
            "dof": np.zeros(n, np.int64),
            "n_good": prepared.n_good.copy(),
            "status": status,
            "reference_visit_id": np.full(n, None, object),
        }
        self._templates: dict[str, dict] = {}
        self._covariances: dict[str, dict] = {}
        self._doubles: list[tuple[NDArray, NDArray, NDArray]] = []
        self._least = 0
        precision = line_forest_precision(prepared.grid.size, prepared.line_width)
        self.precision = jnp.asarray(precision, jnp.float32)
        reach = np.log1p(options.search_kms / C_KMS) / prepared.grid.step
        self.reach = max(3, int(np.ceil(reach)))

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which spectra have no fatal flag so far."""
        return (self.columns["status"] & int(FATAL)) == 0

    @property
    def templates(self) -> list[dict]:
        """Rows of `StarTemplates` that were made here."""
        return list(self._templates.values())

    @property
    def covariances(self) -> list[dict]:
        """One row a star: its visits and the covariance of their velocities."""
        return list(self._covariances.values())

    def measure(self, known: dict[str, dict]) -> None:
        """Fill the columns; ``known`` are templates by star."""
        stars = self.visits["star_id"].fill_null("").to_numpy()
        groups = [
            members[self.usable[members]]
            for _, members in rows_by(pl.Series(stars, dtype=pl.String))
        ]
        groups = [g for g in groups if len(g)]
        if self.options.method == "published":
            for chunk in _chunks(self._enough(groups)):
                self._published(chunk, known)
            return
        frozen = [g for g in groups if stars[g[0]] in known]
        for chunk in _chunks(frozen):
            self._against(chunk, known)
        pending = [g for g in groups if stars[g[0]] not in known]
        for iterations in _ROUNDS:
            last = iterations == _ROUNDS[-1]
            chunks = list(_chunks(self._enough(pending)))
            # The few stars of later rounds use the program that the first one compiled.
            longest = max((sum(map(len, chunk)) for chunk in chunks), default=0)
            self._least = max(self._least, min(_size(longest), _chunk_size()))
            pending = [g for c in chunks for g in self._joint(c, iterations, last)]
        for group, gain, template in self._doubles:
            self._double(group, gain, template)

    def _enough(self, groups):
        """Return the stars with two exposures or more; flag the others."""
        for group in groups:
            if len(group) == 1:
                self.columns["status"][group] |= int(Status.SINGLE_EXPOSURE)
                for name in ("rv", "rv_raw_err", "chi2", "ivar_scale"):
                    self.columns[name][group] = np.nan
        return [g for g in groups if len(g) > 1]

    def _best(self, group) -> int:
        """Return the exposure with the highest S/N; the first of equals."""
        return int(group[np.argmax(self.visits["snr"].to_numpy()[group])])

    def _take(self, members: NDArray[np.intp], size: int) -> PixelBatch:
        return PixelBatch(*map(jnp.asarray, self.prepared.pixels.take(members, size)))

    def _joint(self, chunk, iterations: int, last: bool) -> list[NDArray[np.intp]]:
        """Fit a chunk of stars; return those to be fitted again.

        An exposure that finds no place spoils its star's template: the star is fitted
        again without it. A star that has not settled gets more iterations. In the
        ``last`` round what did not settle is said so.
        """
        members = np.concatenate(chunk)
        size = max(_size(len(members)), self._least)
        count = max(1, size // 2)
        star = np.repeat(np.arange(len(chunk)), [len(g) for g in chunk])
        begin = np.cumsum([0] + [len(g) for g in chunk[:-1]])
        order = np.concatenate([np.arange(len(g)) for g in chunk])
        reference = np.zeros(count, np.int32)
        for i, group in enumerate(chunk):
            reference[i] = begin[i] + np.flatnonzero(group == self._best(group))[0]
        fill = size - len(members)
        fit = fit_stars(
            self._take(members, size),
            jnp.asarray(np.pad(star, (0, fill), constant_values=count - 1), jnp.int32),
            jnp.asarray(np.pad(order, (0, fill)), jnp.int32),
            jnp.asarray(reference),
            self.precision,
            stars=count,
            slots=self.prepared.slots,
            reach=self.reach,
            iterations=jnp.asarray(iterations),
        )
        fit = type(fit)(*(np.asarray(a, np.float64) for a in fit))
        again = []
        for i, group in enumerate(chunk):
            at = begin[i] + np.arange(len(group))
            flags = self._flags(fit, at)
            lost = (flags & int(Status.GRID_EDGE | Status.FLAT_CHI2)) != 0
            unsettled = (flags & int(Status.NOT_CONVERGED)) != 0
            if lost.any() and not last:
                self._record(group[lost], fit, at[lost], flags[lost])
                again.append(group[~lost])
                continue
            if unsettled.any() and not last:
                again.append(group)
                continue
            self._record(group, fit, at, flags)
            good = ~(lost | unsettled)
            if good.any():
                self._settled(group[good], fit, at[good], flags[good], fit.template[i])
        return again

    def _settled(self, group, fit, at, flags, template) -> None:
        """Fill velocities about the star's mean, and keep its template."""
        information = fit.information[at]
        step, covariance, sigma = solve_gauge(
            fit.fisher[np.ix_(at, at)], information, fit.step[at], fit.response[at[0]]
        )
        shift = fit.shift[at] + np.clip(step, -0.5, 0.5)
        zero = np.average(shift, weights=information)
        self._velocities(group, shift - zero, sigma)
        if (flags & int(Status.DOUBLE_LINED)).any():
            self._doubles.append((group, fit.gain[at], template.astype(np.float32)))
        self._keep(group, self._best(group), zero, template, covariance)

    def _double(self, group, gain, template) -> None:
        """Measure a star again as what it is: two."""
        found = measure_double(
            self._take(group, _size(len(group))),
            len(group),
            template,
            gain,
            self.precision,
            slots=self.prepared.slots,
            reach=self.reach,
        )
        if found is None:
            return
        self._fill_double(group, found)
        reference = (
            self._best(group)
            if found.reference is None
            else int(group[found.reference])
        )
        covariance = np.diag(found.stars.sigma**2)
        self._keep(group, reference, found.zero, found.template, covariance)

    def _fill_double(self, group, found: Double) -> None:
        """Fill the columns of a double-lined star."""
        stars, zero = found.stars, found.zero
        self._velocities(group, stars.shift - zero, stars.sigma)
        velocity, error = self._to_kms(stars.shift_2 - zero, stars.sigma_2)
        for name, values in (
            ("rv_2", velocity),
            ("rv_2_err", error),
            ("light_ratio", stars.light_ratio),
            ("chi2", stars.chi2),
            ("n_good", stars.n_good),
            ("dof", np.maximum(stars.n_good - np.where(stars.double, 4, 1), 0)),
        ):
            self.columns[name][group] = values
        status = self.columns["status"][group] & ~_OF_ONE_COPY
        status |= np.where(stars.double, int(Status.DOUBLE_LINED), 0)
        status |= np.where(stars.alike, int(Status.TWO_MINIMA), 0)
        if found.reference is not None:
            status[found.reference] |= int(Status.REFERENCE)
        self.columns["status"][group] = status

    def _keep(self, group, reference, zero, template, covariance) -> None:
        grid = self.prepared.grid
        ids = self.visits["visit_id"].to_list()
        star_id = self.visits["star_id"].fill_null("")[int(group[0])]
        self.columns["reference_visit_id"][group] = ids[reference]
        self._templates[star_id] = {
            "star_id": star_id,
            "arm": self.arm,
            "reference_visit_id": ids[reference],
            "start": grid.start,
            "step": grid.step,
            "zero_shift": zero,
            "template": template.astype(np.float32).tolist(),
        }
        self._covariances[star_id] = {
            "star_id": star_id,
            "arm": self.arm,
            "visit_ids": [ids[i] for i in group],
            "covariance": (covariance * grid.step_kms**2).ravel().tolist(),
        }

    def _against(self, chunk, known) -> None:
        """Measure stars against their kept templates."""
        members = np.concatenate(chunk)
        size = _size(len(members))
        stars = self.visits["star_id"].fill_null("").to_list()
        rows = [known[stars[i]] for i in members]
        template = np.array([row["template"] for row in rows], np.float32)
        fit = match_stars(
            self._take(members, size),
            jnp.asarray(
                np.pad(template, ((0, size - len(members)), (0, 0)), mode="edge")
            ),
            slots=self.prepared.slots,
            reach=self.reach,
        )
        fit = type(fit)(*(np.asarray(a, np.float64) for a in fit))
        n = len(members)
        at = np.arange(n)
        self._record(members, fit, at, self._flags(fit, at))
        zero = np.array([row["zero_shift"] for row in rows])
        with np.errstate(divide="ignore"):
            sigma = 1 / np.sqrt(fit.information[:n])
        good = self.usable[members]
        shift = (fit.shift + np.clip(fit.step, -0.5, 0.5))[:n] - zero
        self._velocities(members[good], shift[good], sigma[good])
        for i, row in zip(members, rows, strict=True):
            self.columns["reference_visit_id"][i] = row["reference_visit_id"]
        for group in chunk:
            self._double_against(group[self.usable[group]], known[stars[group[0]]])

    def _double_against(self, group, row: dict) -> None:
        """Measure a star's exposures as two, if one of them shows it, and ``row`` allows."""
        if not (self.columns["status"][group] & int(Status.DOUBLE_LINED)).any():
            return
        found = measure_double(
            self._take(group, _size(len(group))),
            len(group),
            np.array(row["template"], np.float32),
            np.zeros(0),
            self.precision,
            slots=self.prepared.slots,
            reach=self.reach,
        )
        if found is not None:
            self._fill_double(group, found._replace(zero=row["zero_shift"]))

    def _published(self, chunk, known) -> None:
        """Measure stars against their best exposure, or the one that earlier runs took."""
        ids = self.visits["visit_id"].to_list()
        stars = self.visits["star_id"].fill_null("").to_list()
        members = np.concatenate(chunk)
        references = []
        for group in chunk:
            row = known.get(stars[group[0]])
            held = [i for i in group if row and ids[i] == row["reference_visit_id"]]
            references += [held[0] if held else self._best(group)] * len(group)
        size = _size(len(members))
        fit = match_references(
            self._take(members, size),
            self._take(np.array(references), size),
            self.precision,
            slots=self.prepared.slots,
            reach=self.reach,
        )
        n = len(members)
        fit = type(fit)(*(np.asarray(a, np.float64)[:n] for a in fit))
        own = members == np.array(references)
        status = fit.flags.astype(np.int64)
        status |= np.where(own, int(Status.REFERENCE), 0)
        self.columns["status"][members] |= status
        good = self.usable[members]
        # Against itself an exposure peaks at zero: what is left is rounding.
        shift = np.where(own, 0.0, fit.shift)
        self._velocities(members[good], shift[good], fit.sigma[good])
        self.columns["chi2"][members] = fit.chi2
        self.columns["dof"][members] = np.maximum(fit.n_good - 1, 0)
        self.columns["n_good"][members] = fit.n_good
        for i, reference in zip(members, references, strict=True):
            self.columns["reference_visit_id"][i] = ids[reference]
        for group in chunk:
            if stars[group[0]] not in known:
                best = references[int(np.flatnonzero(members == group[0])[0])]
                self._templates[stars[group[0]]] = {
                    "star_id": stars[group[0]],
                    "arm": self.arm,
                    "reference_visit_id": ids[best],
                    "start": self.prepared.grid.start,
                    "step": self.prepared.grid.step,
                    "zero_shift": 0.0,
                    "template": [],
                }

    def _flags(self, fit, at: NDArray[np.intp]) -> NDArray[np.int64]:
        """What a joint fit's numbers say of the exposures in its rows ``at``."""
        scale = fit.scale[at]
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = 1 / np.sqrt(fit.information[at])
        sigma_kms = sigma * self.prepared.grid.step_kms
        settled = np.abs(fit.step[at]) <= np.maximum(0.3 * sigma, 0.02)
        hopeless = ~(sigma_kms < self.options.search_kms / 4)
        outside = np.abs(fit.shift[at]) > self.reach
        double = shows_companion(
            fit.gain[at], fit.strength[at], scale, fit.chi2[at] - fit.n_good[at]
        )
        rival = fit.rival[at] < RIVAL_CHI2 * np.maximum(scale, 1) ** 2
        flags = fit.flags[at].astype(np.int64)
        for mask, flag in (
            (~settled & ~hopeless, Status.NOT_CONVERGED),
            (hopeless, Status.FLAT_CHI2),
            (outside, Status.GRID_EDGE),
            (rival, Status.TWO_MINIMA),
            (scale > _POOR_FIT, Status.POOR_FIT),
            (double, Status.DOUBLE_LINED),
        ):
            flags |= np.where(mask, int(flag), 0)
        return flags

    def _record(self, members, fit, at, flags) -> None:
        """Fill what a joint fit says of each exposure, and its flags."""
        self.columns["status"][members] |= flags
        self.columns["chi2"][members] = fit.chi2[at]
        self.columns["n_good"][members] = fit.n_good[at]
        self.columns["dof"][members] = np.maximum(fit.n_good[at] - 1, 0)
        self.columns["ivar_scale"][members] = fit.scale[at]

    def _velocities(self, members, shift, sigma) -> None:
        rv, error = self._to_kms(shift, sigma)
        self.columns["rv"][members] = rv
        self.columns["rv_raw_err"][members] = error

    def _to_kms(self, shift, sigma):
        """Grid steps to km/s: a velocity and its error."""
        ratio = np.exp(shift * self.prepared.grid.step)
        error = C_KMS * ratio * sigma * self.prepared.grid.step
        return C_KMS * (ratio - 1), error


def _chunk_size() -> int:
    """Return how many exposures are fitted at once where stars have no more."""
    return _CHUNK if on_processor() else batch_size(_ON_DEVICE)


def _size(number: int) -> int:
    """Round up to the few sizes that are compiled: a chunk, or a power of two of them."""
    size = 16 if number <= 16 else _chunk_size()
    while size < number:
        size *= 2
    return size


def _chunks(groups):
    """Pack stars, whole, into chunks, where they fit."""
    chunk, total = [], 0
    for group in groups:
        if chunk and total + len(group) > _chunk_size():
            yield chunk
            chunk, total = [], 0
        chunk.append(group)
        total += len(group)
    if chunk:
        yield chunk
