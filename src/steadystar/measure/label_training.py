"""A model of spectra from stars whose labels are known, and from nothing else.

At every point of a grid the normalized spectrum is a polynomial in the labels, fitted by
weighted least squares to the training stars, with a scatter of its own that the noise
does not explain (Ness et al. 2015). Unlike there, no continuum has to be right: each
star's is solved for again with the model that was found, and the model with the continua,
in turns, as a fit of labels does with the result (`measure.labels`).
"""

__all__ = ["TrainingOptions", "fit_labels"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.linalg import solve_banded
from scipy.ndimage import uniform_filter1d

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.data.status import Status
from steadystar.kernels import spline
from steadystar.kernels.velocity import cosines
from steadystar.measure.extent import recorded, stretch
from steadystar.measure.label_options import LabelOptions
from steadystar.measure.label_setup import continuum_widths
from steadystar.measure.labels import LabelModel
from steadystar.measure.normalize import (
    PixelBatch,
    Prepared,
    Window,
    grid_for,
    prepare,
)
from steadystar.measure.prior import orders_of
from steadystar.models.trained import TrainedPart, TrainedSpectra, powers_of

_ROUNDS, _BATCH = 4, 32
_ROOM_KMS = 1500.0
_NODES = 300
_SMOOTH = 1e-3
_LEAST = 10
_PLACEHOLDERS = (-999.0, -9999.0, -9999.9, -9999.99, -99999.0)
"""What catalogs write where they have no label."""
_PRIOR_ROUNDS, _NEIGHBORS = 8, 5


@dataclass(frozen=True)
class TrainingOptions(LabelOptions):
    """How a model of labels is trained."""

    degree: Annotated[int, "Highest total power of the labels, 1 to 4."] = 2
    folds: Annotated[
        int,
        "Parts of the training stars that are measured with a model of the others, to "
        "find the floor of the errors; 0 leaves the errors as the noise gives them.",
    ] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds < 0 or self.folds == 1:
            raise ValueError(f"folds = {self.folds}: give 0, or 2 or more.")
        if not 1 <= self.degree <= 4:
            raise ValueError(f"degree = {self.degree}: give 1, 2, 3 or 4.")


_DEFAULT = TrainingOptions()


def fit_labels(
    spectra: Spectra | Mapping[str, Spectra],
    labels: pl.DataFrame | Mapping[str, Numbers],
    rv: Numbers | Mapping[str, Numbers],
    options: TrainingOptions = _DEFAULT,
    *,
    names: Sequence[str] | None = None,
) -> LabelModel:
    """Train a model of spectra on stars with known labels.

    Arguments:
        spectra: of the training stars: one batch, or one an arm by name.
        labels: their labels, one row a spectrum: columns by name. NaN, and the -9999 of
            catalogs, are none: such a spectrum is not used.
        rv: velocities in the frame of the wavelengths, km/s, ``(spectrum,)``, or one such
            by arm.
        options: windows, degree of the polynomial, limits.
        names: which columns are labels; all of them if None.

    Returns:
        A `LabelModel` whose `apply` measures these labels in other spectra of the same
        survey: as sharp, as wide.

    Raises:
        ValueError: numbers disagree, or fewer usable stars than twice the terms of the
            polynomial have finite labels.

    Source:
        Ness et al. 2015, section 4; the continuum as in Golub and Pereyra 1973.
    """
    arms = {"": spectra} if isinstance(spectra, Spectra) else dict(spectra)
    table = pl.DataFrame(labels) if isinstance(labels, Mapping) else labels
    wanted = tuple(table.columns if names is None else names)
    values = _values(table, wanted)
    speeds = {}
    for name, one in arms.items():
        if isinstance(rv, Mapping) and name not in rv:
            raise ValueError(
                f"There are no velocities of {name or 'these spectra'}: give one array "
                "for all arms, or one for each."
            )
        speed = np.asarray(rv[name] if isinstance(rv, Mapping) else rv, float)
        if len(one) != len(values) or speed.shape != (len(one),):
            raise ValueError(
                f"There are {len(one)} spectra{f' of {name}' if name else ''}, "
                f"{len(values)} rows of labels and velocities of shape {speed.shape}: "
                "give one of each a spectrum."
            )
        speeds[name] = speed
    every = np.arange(len(values))
    model = _model(arms, values, wanted, speeds, options, every)
    floors = _floors(arms, values, wanted, speeds, options)
    return replace(model, floors=floors)


def _model(arms, values, wanted, speeds, options, rows) -> LabelModel:
    known = values[rows]
    with jax.enable_x64(True):
        ready = {
            name: _ready(name, one[rows], known, speeds[name][rows], options)
            for name, one in arms.items()
        }
        # A star's scaled labels must be the same in all arms, whichever it was used in.
        used = np.unique(np.concatenate([one.rows for one in ready.values()]))
        part = TrainedPart.spanning(known[used], _NODES)
        same = part.domain.limits[0] == part.domain.limits[1]
        if same.any():
            raise ValueError(
                f"All training stars have the same {wanted[int(np.argmax(same))]}: leave "
                "it out with `names`, or add stars that differ in it."
            )
        sources = {
            name: _train(one, known, part, options) for name, one in ready.items()
        }
    return LabelModel("trained", sources, wanted)


def _floors(arms, values, wanted, speeds, options) -> dict[str, float]:
    """Return by how much labels of stars that a model does not know miss, beside noise."""
    number = len(values)
    found = np.full((2, *values.shape), np.nan)
    for fold in range(options.folds):
        test = np.arange(number) % options.folds == fold
        rest = np.flatnonzero(~test)
        try:
            model = _model(arms, values, wanted, speeds, options, rest)
        except ValueError as error:
            raise ValueError(
                f"{str(error).rstrip('.')}; or set folds = 0, which trains on all of "
                "them, but leaves the errors without a floor."
            ) from error
        seen = model.apply(
            {name: one[test] for name, one in arms.items()},
            options,
            rv={name: speed[test] for name, speed in speeds.items()},
        )
        for k, name in enumerate(wanted):
            found[:, test, k] = seen[name], seen[f"{name}_err"]
    if not options.folds:
        return {}
    out = {}
    for k, name in enumerate(wanted):
        off, error = found[0, :, k] - values[:, k], found[1, :, k]
        good = np.isfinite(off)
        width = 1.4826 * np.median(np.abs(off[good])) if good.any() else 0.0
        noise = float(np.median(error[good] ** 2)) if good.any() else 0.0
        out[name] = float(np.sqrt(max(width**2 - noise, 0.0)))
    return out


def _values(table: pl.DataFrame, names: tuple[str, ...]) -> NDArray[np.float64]:
    absent = [name for name in names if name not in table.columns]
    if absent or not names:
        raise ValueError(
            f"The training labels have no column {', '.join(absent) or 'at all'}: there "
            f"are {', '.join(table.columns) or 'none'}."
        )
    text = [name for name in names if not table[name].dtype.is_numeric()]
    if text:
        raise ValueError(
            f"The training labels {', '.join(text)} are no numbers: convert them, or "
            "choose the labels with `names`."
        )
    values = table.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    return np.where(np.isin(values, _PLACEHOLDERS), np.nan, values)


class _Training(NamedTuple):
    """Normalized spectra less one at the knots, ``(star, knot)``, and inverse variances."""

    flux: NDArray[np.float64]
    weight: NDArray[np.float64]


class _Ready(NamedTuple):
    """Spectra of one arm, prepared, and which of them can be used."""

    window: Window
    prepared: Prepared
    rows: NDArray[np.intp]


def _whole(spectra: Spectra) -> tuple[float, float]:
    """Return what was recorded, whole Angstrom: nothing can be learned beyond."""
    low, high = recorded(spectra)
    return float(np.floor(low)), float(np.ceil(high))


def _ready(name, spectra: Spectra, values, rv, options: TrainingOptions) -> _Ready:
    window = Window(*stretch(spectra, name, options.windows, _whole), 0.0)
    prepared = prepare(
        replace(spectra, frame="observatory"),
        np.nan_to_num(-rv / (1 + rv / C_KMS)),
        window,
        grid_for(spectra, window, _ROOM_KMS),
        "polynomial",
        options.min_good_fraction,
    )
    good = (prepared.flags & int(Status.NO_DATA)) == 0
    good &= np.isfinite(values).all(axis=1) & np.isfinite(rv)
    good &= np.nan_to_num(spectra.snr()) >= options.min_snr
    terms = len(powers_of(values.shape[1], options.degree))
    if good.sum() < 2 * terms:
        raise ValueError(
            f"{int(good.sum())} of {len(good)} training spectra"
            f"{f' of {name}' if name else ''} are usable (finite labels and velocity, "
            f"S/N of {options.min_snr:g}), but {terms} terms need {2 * terms}: give more "
            "stars, fewer labels, or a lower degree."
        )
    return _Ready(window, prepared, np.flatnonzero(good))


def _train(
    ready: _Ready, values, part: TrainedPart, options: TrainingOptions
) -> TrainedSpectra:
    window, prepared, rows = ready
    grid = prepared.grid
    powers = powers_of(values.shape[1], options.degree)
    scaled = (values[rows] - part.center) / part.scale
    terms = np.prod(scaled[:, None, :] ** powers[None], axis=-1)
    data = _as_splines(prepared.pixels, rows, grid, prepared.slots)
    orders = orders_of(window, options.continuum_scale)
    theta, scatter = _solve(data, terms, grid, orders)
    # From values at the knots to coefficients of splines.
    bands = np.full((3, grid.size), 1 / 6)
    bands[1] = 4 / 6
    bands[1, [0, -1]] = 5 / 6
    theta = solve_banded((1, 1), bands, theta.T).T
    span = (window.low, window.high)
    return TrainedSpectra(
        f"{len(rows)} stars", grid, span, part, powers, theta, scatter
    )


def _as_splines(pixels: PixelBatch, rows, grid: LogGrid, slots: int) -> _Training:
    """Return every spectrum as a spline, hardly smoothed, with the weight of each knot."""
    smooth = spline.difference_bands(grid.size, 2)
    parts = []
    for begin in range(0, len(rows), _BATCH):
        some = rows[begin : begin + _BATCH]
        batch = pixels.take(some, _BATCH)
        found = _spline_batch(
            PixelBatch(*(jnp.asarray(a) for a in batch)),
            jnp.asarray(smooth),
            slots=slots,
        )
        parts.append([np.asarray(a, float)[: len(some)] for a in found])
    return _Training(*(np.concatenate(a) for a in zip(*parts, strict=True)))


@partial(jax.jit, static_argnames=("slots",))
def _spline_batch(batch, smooth, *, slots: int):
    def one(pixels):
        placed = spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
        found = spline.normal_equations(placed)
        bands, rhs = (a.astype(jnp.float64) for a in (found.bands, found.rhs))
        weight = jnp.maximum(spline.matvec(bands, jnp.ones_like(rhs)), 0)
        typical = jnp.maximum(weight.max(), 1e-30)
        held = (bands + _SMOOTH * typical * smooth).at[0].add(1e-9 * typical)
        coefficients = spline.solve(held, rhs)
        beside = jnp.pad(coefficients, 1, mode="edge")
        values = (beside[:-2] + 4 * coefficients + beside[2:]) / 6
        return values, weight / _NOISE

    return jax.vmap(one)(jax.vmap(spline.Pixels)(*batch))


def _noise_of_a_value() -> float:
    """Variance of a least-squares spline at its knot, in units of one over the weight.

    By the transforms of the basis's overlaps, for pixels that are many and alike.
    """
    w = 2 * np.pi * (np.arange(1024) + 0.5) / 1024
    overlap = (2416 + 2382 * np.cos(w) + 240 * np.cos(2 * w) + 2 * np.cos(3 * w)) / 5040
    value = (4 + 2 * np.cos(w)) / 6
    return float(np.mean(value**2 / overlap))


_NOISE = _noise_of_a_value()


def _solve(data: _Training, terms, grid: LogGrid, orders: int):
    """Polynomials and continua in turns; then the scatter that is left."""
    smooth = cosines(grid.size, orders)
    precision = np.diag(continuum_widths(orders) ** -2)
    level = np.ones_like(data.flux)
    recorded = 1 + data.flux
    scatter = np.zeros(grid.size)
    prior = np.full(terms.shape[1], np.inf)
    theta, unsure = np.zeros((terms.shape[1], grid.size)), np.zeros(grid.size)
    for turn in range(_ROUNDS):
        own = data.weight * level**2
        weight = own / (1 + own * scatter**2)
        theta, unsure, prior = _polynomials(terms, recorded / level, weight, prior)
        model = terms @ theta
        scatter = _scatter(recorded / level - model, own)
        if turn == _ROUNDS - 1:
            break
        weight = data.weight / (1 + data.weight * scatter**2)
        for i, (star, w, flux) in enumerate(zip(model, weight, recorded, strict=True)):
            columns = smooth * star
            normal = (columns * w) @ columns.T + precision
            change = np.linalg.solve(normal, (columns * w) @ (flux - star))
            level[i] = 1 + change @ smooth
    # What the training stars leave unknown of the model is noise for every other star.
    return theta, np.sqrt(scatter**2 + unsure)


def _polynomials(terms, flux, weight, prior):
    """Weighted least squares at every knot, with a prior for each term.

    The prior's width is that of a term's coefficients over all knots, as far as their
    errors do not explain it: terms that the spectra do not show go to zero, instead of
    following the noise. Returns coefficients, the mean variance of the model for the
    training stars, and the priors' variances.
    """
    normal = np.einsum("nt,nk,nu->ktu", terms, weight, terms, optimize=True)
    towards = np.einsum("nt,nk->kt", terms, weight * (flux - 1))
    seen = weight.sum(axis=0) > 0
    # A knot that no star shows is continuum.
    normal[~seen] = np.eye(terms.shape[1])
    found, covariance = np.zeros_like(towards), np.zeros_like(normal)
    for _ in range(_PRIOR_ROUNDS):
        held = normal + np.diag(np.where(np.isfinite(prior), 1 / prior, 1e-8))
        covariance = np.linalg.inv(held)
        found = np.einsum("ktu,ku->kt", covariance, towards)
        spread = found[seen] ** 2 + np.diagonal(covariance[seen], axis1=1, axis2=2)
        # Expectation and maximization; the constant term stays free.
        prior = np.maximum(spread.mean(axis=0), 1e-12)
        prior[0] = np.inf
    unsure = np.einsum("nt,ktu,nu->k", terms, covariance, terms, optimize=True)
    theta = found.T.copy()
    theta[0] += 1
    return theta, np.where(seen, unsure / len(terms), 0), prior


def _scatter(left, weight) -> NDArray[np.float64]:
    """Scatter of stars about the model that the noise leaves, robustly, knot by knot."""
    used = weight > 0
    some = used.sum(axis=0) > _LEAST
    out = np.zeros(left.shape[1])
    pull = np.where(used, left * np.sqrt(weight), np.nan)[:, some]
    width = 1.4826 * np.nanmedian(np.abs(pull), axis=0)
    noise = np.nanmedian(
        np.where(used, 1 / np.where(used, weight, 1), np.nan)[:, some], 0
    )
    out[some] = np.sqrt(np.maximum(width**2 - 1, 0) * noise)
    # A few hundred stars tell a knot's scatter to some percent of their noise: the mean
    # of its neighbors tells it better.
    smooth = uniform_filter1d(out**2, _NEIGHBORS, mode="nearest")
    return np.sqrt(np.maximum(smooth, 0))
