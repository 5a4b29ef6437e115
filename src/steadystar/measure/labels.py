"""Labels of stars from single spectra: temperature, gravity, metallicity, rotation.

One spectrum, or all arms of an exposure at once, against an emulator of model spectra
(`models.emulator`) or a model that was trained on stars with known labels. Continuum,
line spread and velocity are fitted along, so what they leave unknown is in the errors;
`measure.label_fit` has the steps. Errors are results: a spectrum that cannot be fitted
keeps its row, NaN, and a status; a label at the edge of the models is marked.
"""

__all__ = [
    "LabelModel",
    "LabelOptions",
    "continuum_widths",
    "measure_labels",
    "usual_span",
]

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.kernels import labels as kernel
from steadystar.kernels.emulation import ROTATION_UNIT
from steadystar.kernels.velocity import cosines
from steadystar.measure.label_fit import Block, Fitted, PieceNodes, fit_block
from steadystar.measure.normalize import PixelBatch, Prepared, Window, prepare
from steadystar.measure.prior import orders_of, rounded_resolution
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.emulator import Pieces, emulators
from steadystar.models.library import (
    LABELS,
    PolynomialModels,
    StackedModels,
    bundled,
    bundled_windows,
)
from steadystar.models.templates import templates_for
from steadystar.models.trained import TrainedPart, TrainedSpectra

_BLOCK = 256
_ALIKE = 0.15
_POOR_FIT = 3.0
_SETTLED = 0.1
_ROOM_KMS = 400.0
_LEAST = 50.0
# Prior widths of the continuum's strengths: broad waves follow the pseudo-continuum's
# mistakes, the shorter ones only what a response leaves.
_BROAD, _BROAD_WIDTH, _SHORT_WIDTH = 5, 1.0, 0.05


@dataclass(frozen=True)
class LabelOptions:
    """How labels are measured."""

    windows: Annotated[
        dict[str, tuple[float, float]],
        "Window of each arm, Angstrom in vacuum; other arms use all they have.",
    ] = field(
        default_factory=lambda: {"blue": (4960.0, 5340.0), "red": (6320.0, 6790.0)}
    )
    together: Annotated[
        bool, "All arms of an exposure give one set of labels; else each its own."
    ] = True
    min_snr: Annotated[
        float, "Spectra with a lower S/N per pixel are kept as rows, not measured."
    ] = 5.0
    resolution_err: Annotated[
        float, "Relative error of the resolving power that the files give."
    ] = 0.05
    fallback_resolution: Annotated[
        float,
        "Resolving power of spectra whose files do not say it; 0 leaves them out.",
    ] = 0.0
    max_vsini: Annotated[float, "Fastest rotation, km/s."] = 300.0
    continuum_scale: Annotated[
        float, "Half waves of this many Angstrom take up what the continuum left."
    ] = 60.0
    min_good_fraction: Annotated[
        float, "Smallest share of usable pixels in the window."
    ] = 0.2
    scale_errors: Annotated[
        bool, "Errors are scaled by the scatter of the residuals (ivar_scale)."
    ] = True

    def __post_init__(self) -> None:
        for name, good, remedy in (
            ("min_snr", not np.isnan(self.min_snr), "a number"),
            (
                "resolution_err",
                0 < self.resolution_err < 0.5,
                "a share between 0 and 0.5",
            ),
            (
                "fallback_resolution",
                0 <= self.fallback_resolution < np.inf,
                "lambda / FWHM, or 0",
            ),
            ("max_vsini", 0 < self.max_vsini <= 1000, "more than 0, up to 1000 km/s"),
            (
                "continuum_scale",
                5 <= self.continuum_scale < np.inf,
                "at least 5 Angstrom: shorter waves would take up lines",
            ),
            (
                "min_good_fraction",
                0 <= self.min_good_fraction <= 1,
                "a share between 0 and 1",
            ),
        ):
            if not good:
                raise ValueError(f"{name} = {getattr(self, name)}: give {remedy}.")
        for arm, (low, high) in self.windows.items():
            if not 0 < low < high < np.inf:
                raise ValueError(
                    f"The window of {arm} is {low} to {high}: give its first and its "
                    "last wavelength, in Angstrom."
                )


_DEFAULT = LabelOptions()


Source = StackedModels | TrainedSpectra


def _overlap(source: Source, low: float, high: float) -> float:
    """Angstrom between ``low`` and ``high`` that a source can model."""
    if isinstance(source, TrainedSpectra):
        first, last = source.window
        return min(high, last) - max(low, first)
    first, last = source.wave[[0, -1]] + np.array([_LEAST, -_LEAST])
    return min(high, last) - max(low, first)


@dataclass(frozen=True, eq=False)
class LabelModel:
    """What spectra of stars with given labels look like.

    ``sources``: models of each arm, computed (`models.library`) or trained
    (`fit_labels`); arms that are not named take the bundled ones of their wavelengths,
    if those have the same ``labels``. ``floors``: errors of labels, by name, that are
    added in quadrature to those of the noise.
    """

    name: str = "bundled"
    sources: Mapping[str, Source] = field(default_factory=dict)
    labels: tuple[str, ...] = LABELS
    floors: Mapping[str, float] = field(default_factory=dict)

    def of(self, arm: str, low: float, high: float) -> tuple[Source, ...]:
        """Return the models of ``arm``, or all the bundled ones that it covers enough of.

        ``low`` to ``high`` Angstrom is what was recorded, or is to be used of it.
        """
        if arm in self.sources:
            every = (self.sources[arm],)
        elif self.labels == LABELS:
            every = tuple(bundled(window) for window in bundled_windows())
        else:
            every = ()
        return tuple(one for one in every if _overlap(one, low, high) > _LEAST)

    def save(self, path: Path | str) -> None:
        """Write a trained model to an ``.npz`` file, the same bytes every time.

        Raises:
            ValueError: the model has nothing trained in it.
        """
        arrays: dict[str, Any] = {"labels": list(self.labels), "title": self.name}
        arrays["floors"] = [self.floors.get(name, 0.0) for name in self.labels]
        for number, (arm, source) in enumerate(self.sources.items()):
            if not isinstance(source, TrainedSpectra):
                raise ValueError(  # noqa: TRY004 - the type is the user's choice
                    f"The models of {arm or 'this arm'} were not trained: they are read "
                    "from where they come from, not saved here."
                )
            arrays[f"arm_{number}"] = arm
            arrays |= {f"{k}_{number}": v for k, v in source.arrays().items()}
        if not self.sources:
            raise ValueError("The bundled models need no file: use LabelModel().")
        part = Path(path).with_name(f".{Path(path).name}.part")
        with part.open("wb") as file:
            np.savez(file, version=1, **arrays)
        part.replace(path)

    @classmethod
    def load(cls, path: Path | str) -> "LabelModel":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is not there, or holds no such model.
        """
        try:
            with (
                Path(path).open("rb") as file,
                np.load(file, allow_pickle=False) as held,
            ):
                if int(held["version"]) != 1:
                    raise ValueError(f"version {int(held['version'])}")
                every = {name: held[name] for name in held.files}
            sources: dict[str, Source] = {}
            for number in range(sum(name.startswith("arm_") for name in every)):
                end = f"_{number}"
                mine = {
                    k.removesuffix(end): v for k, v in every.items() if k.endswith(end)
                }
                sources[str(mine.pop("arm"))] = TrainedSpectra.from_arrays(mine)
            labels = tuple(str(name) for name in every["labels"])
            floors = dict(zip(labels, every["floors"].tolist(), strict=True))
            return cls(str(every["title"]), sources, labels, floors)
        # A bare array is no archive: a TypeError.
        except (
            *(KeyError, ValueError, TypeError),
            *(OSError, EOFError, BadZipFile),
        ) as error:
            raise ValueError(
                f"{path} holds no model of labels ({error}): pass the file that "
                "LabelModel.save wrote."
            ) from error

    def apply(
        self,
        spectra: Spectra | Mapping[str, Spectra],
        options: LabelOptions = _DEFAULT,
        *,
        rv: Numbers | Mapping[str, Numbers] | None = None,
    ) -> pl.DataFrame:
        """Measure the labels of spectra; see `measure_labels`."""
        return measure_labels(spectra, self, options, rv=rv)


def measure_labels(
    spectra: Spectra | Mapping[str, Spectra],
    model: LabelModel | None = None,
    options: LabelOptions = _DEFAULT,
    *,
    rv: Numbers | Mapping[str, Numbers] | None = None,
) -> pl.DataFrame:
    """Fit the labels of every spectrum, or of every exposure in several arms.

    Arguments:
        spectra: one batch, or one an arm by name; row by row they are then of the same
            exposure. An arm that an exposure lacks has ``ivar = 0``.
        model: what stars look like; the bundled model spectra if None.
        options: windows, priors, limits.
        rv: velocity of each spectrum in the frame of its wavelengths, km/s, where it is
            known: ``(spectrum,)``, or one such by arm. NaN, and None, mean that it is
            searched for first.

    Returns:
        One row a spectrum, in order: ``teff`` (K), ``logg``, ``feh``, ``vsini`` (km/s),
        each with ``_err``, ``corr_A_B``, the correlations of their errors; ``rv_obs,
        rv_obs_err`` (km/s, in the frame of the wavelengths; the mean of the arms),
        ``n_good, chi2, dof, ivar_scale, snr, model, status``.

    Raises:
        ValueError: numbers of spectra disagree, or the models do not reach over any of
            the wavelengths.

    Source:
        The quantities are those of Zong et al. 2020, table 3, and rotation; the method
        is in `kernels.labels`.
    """
    model = LabelModel() if model is None else model
    arms = {"": spectra} if isinstance(spectra, Spectra) else dict(spectra)
    number = _check(arms)
    stretches = [
        (name, source, usual_span(one, name, options))
        for name, one in arms.items()
        for source in _sources(model, name, usual_span(one, name, options))
    ]
    with jax.enable_x64(True):
        velocity = _velocities(arms, rv, number, options)
        table = _Table(number, model.labels)
        sharp = {name: _resolutions(one, options) for name, one in arms.items()}
        classes = {name: _class(values) for name, values in sharp.items()}
        groups = np.stack([*classes.values()], axis=1)
        # NaN does not equal itself.
        for group in np.unique(np.nan_to_num(groups), axis=0):
            rows = np.flatnonzero((np.nan_to_num(groups) == group).all(axis=1))
            known = dict(zip(arms, group, strict=True))
            setups = tuple(
                _setup_of(
                    source,
                    name,
                    *span,
                    float(known[name]),
                    options.continuum_scale,
                    options.resolution_err,
                    options.max_vsini,
                )
                for name, source, span in stretches
                if known[name] > 0
            )
            if not setups:
                table.lost(rows, Status.NO_RESOLUTION)
                continue
            for begin in range(0, len(rows), _BLOCK):
                here = rows[begin : begin + _BLOCK]
                _fit_rows(table, here, arms, setups, sharp, velocity, options)
    table.widen(model.floors)
    return table.frame(model.name)


def _sources(model: LabelModel, name: str, span: tuple[float, float]):
    found = model.of(name, *span)
    if not found:
        raise ValueError(
            f"There are no model spectra for {span[0]:.0f} to {span[1]:.0f} A (vacuum) "
            f"of {name or 'these spectra'}: pass a LabelModel of those wavelengths."
        )
    return found


def _check(arms: Mapping[str, Spectra]) -> int:
    if not arms:
        raise ValueError("There are no spectra: give one arm at least.")
    numbers = {name: len(one) for name, one in arms.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            "The arms have different numbers of spectra ("
            + ", ".join(f"{name}: {n}" for name, n in numbers.items())
            + "): row by row they must be of the same exposure; give an arm that one "
            "lacks a row with ivar = 0."
        )
    return next(iter(numbers.values()))


def _resolutions(spectra: Spectra, options: LabelOptions) -> NDArray[np.float64]:
    known = np.isfinite(spectra.resolution)
    fallback = options.fallback_resolution or np.nan
    return np.where(known, spectra.resolution, fallback)


def _class(resolution: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectra of nearly the same resolution share a grid, and what is compiled."""
    return np.array([rounded_resolution(one, _ALIKE) for one in resolution])


def usual_span(
    spectra: Spectra, arm: str, options: LabelOptions
) -> tuple[float, float]:
    """Return the window of an arm, whole Angstrom where it is what was recorded."""
    if arm in options.windows:
        return options.windows[arm]
    used = spectra.ivar > 0
    wave = spectra.wave_2d
    wave = wave[used] if used.any() else wave
    return float(np.floor(wave.min())), float(np.ceil(wave.max()))


def _velocities(arms, rv, number: int, options: LabelOptions) -> dict:
    """Velocity of every spectrum in every arm; searched for where it is not given."""
    out = {}
    for name, spectra in arms.items():
        given = rv.get(name) if isinstance(rv, Mapping) else rv
        values = np.array(
            np.broadcast_to(np.nan if given is None else given, (number,)), float
        )
        open_ = np.flatnonzero(~np.isfinite(values) & (spectra.ivar > 0).any(axis=1))
        if len(open_):
            low, high = usual_span(spectra, name, options)
            known = spectra.resolution[np.isfinite(spectra.resolution)]
            templates = templates_for(low, high, known.max(initial=np.nan))
            if templates is not None:
                windows = VelocityOptions(windows={name: (low, high)})
                found = measure_velocities(spectra[open_], templates, windows, arm=name)
                values[open_] = found["rv_obs"].to_numpy()
        out[name] = values
    # A velocity that one arm does not show is that of the others.
    every = np.stack([*out.values()])
    known = np.isfinite(every)
    total = np.where(known, every, 0).sum(axis=0)
    best = np.where(known.any(axis=0), total, np.nan) / np.maximum(known.sum(axis=0), 1)
    return {name: np.where(np.isfinite(v), v, best) for name, v in out.items()}


@dataclass(frozen=True, eq=False)
class _Setup:
    """One arm at one resolution, ready to be fitted."""

    name: str
    window: Window
    pieces: Pieces
    arms: tuple[kernel.Arm, ...]
    source: Source


def _trained_setup(
    source: TrainedSpectra, name: str, scale: float, resolution_err: float
) -> _Setup:
    """A model that is as sharp as the spectra: its own grid and window."""
    window = Window(*source.window, 0.0)
    made = Pieces(source.grid, (source.emulator(),), 0.0)
    arms = _kernel_arms(made, window, scale, resolution_err)
    return _Setup(name, window, made, arms, source)


def continuum_widths(orders: int) -> NDArray[np.float64]:
    """Return the prior widths of the strengths of a continuum's half waves."""
    return np.where(np.arange(orders) < _BROAD, _BROAD_WIDTH, _SHORT_WIDTH)


def _kernel_arms(
    made: Pieces, window: Window, scale: float, resolution_err: float
) -> tuple[kernel.Arm, ...]:
    orders = orders_of(window, scale)
    width = continuum_widths(orders)
    return tuple(
        kernel.Arm(
            emulator=emulator,
            smooth=jnp.asarray(cosines(made.grid.size, orders), jnp.float32),
            precision=jnp.asarray(width**-2, jnp.float32),
            # The variance changes by twice the relative change of the width.
            excess_precision=jnp.asarray((2 * resolution_err) ** -2, jnp.float32),
        )
        for emulator in made.emulators
    )


@lru_cache(maxsize=16)
def _setup_of(
    source: Source,
    name: str,
    low: float,
    high: float,
    resolution: float,
    scale: float,
    resolution_err: float,
    max_vsini: float,
) -> _Setup:
    if isinstance(source, TrainedSpectra):
        return _trained_setup(source, name, scale, resolution_err)
    room = 1 + (_ROOM_KMS + max_vsini + 6 * C_KMS / resolution) / C_KMS
    first, last = source.wave[0] * room, source.wave[-1] / room
    window = Window(max(low, first), min(high, last), 0.0)
    if not window.low < window.high:
        raise ValueError(
            f"The models {source.name} span {source.wave[0]:.1f} to "
            f"{source.wave[-1]:.1f} A and the spectra of {name or 'this arm'} "
            f"{low:.1f} to {high:.1f} A: nothing is left to fit. Use models of the "
            "spectra's wavelengths (vacuum)."
        )
    made = emulators(source, window.low / room, window.high * room, resolution)
    arms = _kernel_arms(made, window, scale, resolution_err)
    return _Setup(name, window, made, arms, source)


# Where fits may begin: effective temperature, log g, [Fe/H], rotation in km/s.
_COOL = (
    np.arange(3600.0, 8000.0, 350.0),
    (0.8, 1.8, 2.8, 3.8, 4.6),
    (-2.0, -1.0, -0.4, 0.2),
    (5.0, 50.0),
)
_HOT = (
    (8300, 9200, 10500, 12500, 15000, 18000, 22000, 27000, 33000, 38500),
    (3.0, 3.8, 4.6),
    (-1.0, 0.0),
    (20.0, 120.0, 250.0),
)
_NEAR = np.array([700.0, 1.1])
_NEAR_HOT = np.array([0.25, 1.0])
_NEAR_TRAINED = 0.25


@lru_cache(maxsize=16)
def _piece_nodes(
    setups: tuple[_Setup, ...], max_vsini: float
) -> tuple[PieceNodes, ...]:
    """Pieces of the models with the nodes inside of them, for these arms together."""
    out = []
    for i, part in enumerate(setups[0].source.parts):
        if isinstance(part, TrainedPart):
            # It turns as the training stars do.
            nodes = np.concatenate([part.nodes, np.zeros((len(part.nodes), 1))], axis=1)
            kind, fastest = (part.nodes - part.center) / part.scale / _NEAR_TRAINED, 0.0
        else:
            nodes, kind, fastest = *_model_nodes(part, max_vsini), max_vsini
        own = len(setups)
        limits = [
            np.concatenate([edge, [turning], np.tile([excess, speed], own)])
            for edge, turning, excess, speed in zip(
                (part.domain.limits - part.center) / part.scale,
                (0.0, (fastest / ROTATION_UNIT) ** 2),
                (-0.5, 0.5),
                (-4 * _ROOM_KMS, 4 * _ROOM_KMS),
                strict=True,
            )
        ]
        scaled = (nodes[:, :-1] - part.center) / part.scale
        turning = (nodes[:, -1:] / ROTATION_UNIT) ** 2
        starts = np.concatenate([scaled, turning], axis=1)
        arms = tuple(setup.arms[i] for setup in setups)
        out.append(PieceNodes(arms, starts, kind, np.stack(limits)))
    return tuple(out)


def _model_nodes(part: PolynomialModels, max_vsini: float):
    """Return labels and rotation of nodes, and what makes them neighbors."""
    hot = part.domain.teff[1] > 20_000
    axes = _HOT if hot else _COOL
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 4)
    nodes = nodes[part.domain.contains(nodes[:, :3]) & (nodes[:, 3] <= max_vsini)]
    teff = np.log(nodes[:, :1]) / _NEAR_HOT[0] if hot else nodes[:, :1] / _NEAR[0]
    return nodes, np.concatenate([teff, nodes[:, 1:2] / _NEAR[1]], axis=1)


def _fit_rows(
    table: "_Table",
    rows: NDArray[np.intp],
    arms: Mapping[str, Spectra],
    setups: tuple[_Setup, ...],
    sharp,
    velocity,
    options: LabelOptions,
) -> None:
    """Prepare and fit some rows of one class of resolutions."""
    pieces = _piece_nodes(setups, options.max_vsini)
    pixels, slots, spread, speed, usable = [], [], [], [], []
    snr = np.zeros((len(rows), len(setups)))
    flags = np.zeros(len(rows), np.int64)
    for j, setup in enumerate(setups):
        some = arms[setup.name][rows]
        rv = velocity[setup.name][rows]
        # The window is the star's: it moves with it.
        prepared = prepare(
            replace(some, frame="observatory"),
            # Exactly the inverse of 1 + rv/c.
            np.nan_to_num(-rv / (1 + rv / C_KMS)),
            setup.window,
            setup.pieces.grid,
            "polynomial",
            options.min_good_fraction,
        )
        ratio = some.snr()
        good = (prepared.flags & int(Status.NO_DATA)) == 0
        good &= np.isfinite(rv)
        flags |= np.where(good, prepared.flags, 0)
        snr[:, j] = np.where(good, ratio, np.nan)
        good &= ratio >= options.min_snr
        weight = np.where(good[:, None], prepared.pixels.weight, np.float32(0))
        if isinstance(setup.source, TrainedSpectra):
            weight = _with_scatter(weight, prepared, setup.source)
        pixels.append(PixelBatch(*prepared.pixels[:4], weight))
        slots.append(prepared.slots)
        resolution = sharp[setup.name][rows]
        sigma = C_KMS / np.where(np.isfinite(resolution), resolution, 1e4)
        trained = isinstance(setup.source, TrainedSpectra)
        spread.append(np.zeros(len(rows)) if trained else (sigma / FWHM_PER_SIGMA) ** 2)
        speed.append(np.zeros(len(rows)))
        usable.append(good)
    seen = np.stack(usable, axis=1)
    table.snr[rows] = _quadratic(snr)
    anything = seen.any(axis=1)
    faint = ~anything & np.isfinite(snr).any(axis=1)
    table.lost(rows[faint], Status.LOW_SNR)
    table.lost(rows[~anything & ~faint], Status.NO_DATA)
    if not anything.any():
        return
    kept = np.flatnonzero(anything)
    longest = max(one.value.shape[1] for one in pixels)
    block = Block(
        tuple(_lengthened(one, longest, kept) for one in pixels),
        (max(slots),) * len(slots),
        tuple(one[kept] for one in spread),
        np.stack(speed, axis=1)[kept],
    )
    fitted = fit_block(block, pieces, options.scale_errors)
    rest = np.stack([velocity[s.name][rows] for s in setups], axis=1)[kept]
    parts = setups[0].source.parts
    table.fill(rows[kept], fitted, parts, pieces, seen[kept], rest, flags[kept])


def _with_scatter(weight, prepared: Prepared, source: TrainedSpectra):
    """Take into the weights what stars scatter about a trained model."""
    at = np.clip(prepared.pixels.index, 0, source.grid.size - 1)
    more = source.scatter[at] ** 2
    return (weight / (1 + weight * more)).astype(np.float32)


def _lengthened(pixels: PixelBatch, size: int, rows: NDArray[np.intp]) -> PixelBatch:
    """Return some spectra with weightless pixels behind: arms share what is compiled."""
    more = ((0, 0), (0, size - pixels.value.shape[1]))
    index, fraction, inverse, value, weight = (a[rows] for a in pixels)
    return PixelBatch(
        np.pad(index, more, mode="edge"),
        np.pad(fraction, more, mode="edge"),
        inverse,
        np.pad(value, more),
        np.pad(weight, more),
    )


def _quadratic(snr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of the arms' S/N per pixel; NaN where none has any."""
    known = np.isfinite(snr)
    total = np.where(known, snr, 0) ** 2
    return np.sqrt(
        np.where(known.any(1), total.sum(1), np.nan) / np.maximum(known.sum(1), 1)
    )


class _Table:
    """The result, filled group by group."""

    def __init__(self, number: int, labels: tuple[str, ...]) -> None:
        self.labels = labels
        # Rotation is the last parameter of a star, unless it is a label itself.
        self.every = labels if "vsini" in labels else (*labels, "vsini")
        names = [f"{n}{e}" for n in self.every for e in ("", "_err")]
        names += [f"corr_{a}_{b}" for a, b in combinations(self.every, 2)]
        names += ["rv_obs", "rv_obs_err", "chi2", "ivar_scale"]
        self.columns = {name: np.full(number, np.nan) for name in names}
        self.snr = np.full(number, np.nan)
        self.n_good = np.zeros(number, np.int64)
        self.status = np.zeros(number, np.int64)

    def lost(self, rows: NDArray[np.intp], why: Status) -> None:
        """These have no labels."""
        self.status[rows] |= int(why | Status.NO_LABELS)

    def fill(
        self, rows: NDArray[np.intp], fitted: Fitted, parts, pieces, seen, rv, flags
    ) -> None:
        """Take over labels, errors and statuses of one block."""
        out, size = self.columns, len(self.labels)
        centers = np.array([part.center for part in parts])[fitted.piece]
        scales = np.array([part.scale for part in parts])[fitted.piece]
        limits = np.array([piece.limits for piece in pieces])[fitted.piece]
        covariance, stay = _covariance(fitted, limits)
        values = fitted.values
        for k, name in enumerate(self.labels):
            out[name][rows] = centers[:, k] + scales[:, k] * values[:, k]
            out[f"{name}_err"][rows] = scales[:, k] * np.sqrt(covariance[:, k, k])
        if "vsini" not in self.labels and (limits[:, 1, size] > 0).all():
            turning = values[:, size] + np.where(values[:, size] <= 0, stay[:, size], 0)
            speed, speed_err = _speed(turning, np.sqrt(covariance[:, size, size]))
            out["vsini"][rows], out["vsini_err"][rows] = speed, speed_err
        root = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        for (i, one), (j, other) in combinations(enumerate(self.every), 2):
            both = covariance[:, i, j] / (root[:, i] * root[:, j])
            out[f"corr_{one}_{other}"][rows] = both
        self._velocity(rows, values, covariance, seen, rv, size)
        out["chi2"][rows] = fitted.chi2
        self.n_good[rows] = fitted.n_good
        squares = np.where(seen, fitted.scale, 0) ** 2
        out["ivar_scale"][rows] = np.sqrt(squares.sum(axis=1) / seen.sum(axis=1))
        low, high = limits[:, 0, :size], limits[:, 1, :size]
        near = 1e-6 * (high - low)
        edge = (values[:, :size] <= low + near) | (values[:, :size] >= high - near)
        poor = np.where(seen, fitted.scale, 0).max(axis=1) > _POOR_FIT
        for mask, flag in (
            (edge.any(axis=1), Status.LABEL_EDGE),
            (fitted.rival, Status.TWO_SOLUTIONS),
            (fitted.gain > _SETTLED, Status.NOT_CONVERGED),
            (poor, Status.POOR_FIT),
        ):
            flags = flags | np.where(mask, int(flag), 0)
        self.status[rows] |= flags

    def widen(self, floors: Mapping[str, float]) -> None:
        """Add floors to the errors; what has one no longer has all of its correlation."""
        shrink = {}
        for name, floor in floors.items():
            given = self.columns[f"{name}_err"]
            self.columns[f"{name}_err"] = np.hypot(given, floor)
            shrink[name] = given / self.columns[f"{name}_err"]
        for one, other in combinations(self.every, 2):
            both = shrink.get(one, 1.0) * shrink.get(other, 1.0)
            self.columns[f"corr_{one}_{other}"] *= both

    def _velocity(self, rows, values, covariance, seen, rv, size: int) -> None:
        """Mean velocity of the arms that were seen."""
        at = size + 2 + 2 * np.arange(seen.shape[1])
        error = np.sqrt(covariance[:, at, at])
        # Both shifts are along the logarithm of wavelength.
        total = np.log1p(rv / C_KMS) + values[:, at] / C_KMS
        speed = C_KMS * np.expm1(total)
        weight = np.where(seen, error, np.inf) ** -2.0
        sums = weight.sum(axis=1)
        mean = (weight * np.where(seen, speed, 0)).sum(axis=1) / sums
        self.columns["rv_obs"][rows] = mean
        self.columns["rv_obs_err"][rows] = sums**-0.5

    def frame(self, model: str) -> pl.DataFrame:
        """Return the table."""
        free = len(self.every) + 1
        return pl.DataFrame(self.columns).with_columns(
            n_good=pl.Series(self.n_good),
            dof=pl.Series(np.maximum(self.n_good - free, 0)),
            snr=pl.Series(self.snr),
            model=pl.lit(model),
            status=pl.Series(self.status),
        )


def _covariance(fitted: Fitted, limits) -> tuple[NDArray[np.float64], NDArray]:
    """Return the covariance of the parameters, and the step that the limits forbid."""
    size = fitted.normal.shape[1]
    # What an absent arm leaves undetermined must not spoil the rest; what may not
    # change is known.
    held = np.where(limits[:, 1] > limits[:, 0], 1e-10, 1e12)
    normal = fitted.normal + held[:, :, None] * np.eye(size)
    covariance = np.linalg.inv(normal)
    return covariance, np.einsum("sij,sj->si", covariance, fitted.pull)


_SPEEDS = 400


def _speed(
    turning: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the rotation, km/s, in units of its square.

    Rotation enters a spectrum by its square, which has a Gaussian error and may come out
    negative; all speeds from zero on are equally likely before.
    """
    reach = np.sqrt(np.maximum(turning, 0) + 6 * error)
    x = (np.arange(_SPEEDS) + 0.5) / _SPEEDS * reach[:, None]
    pull = (x**2 - turning[:, None]) / error[:, None]
    log = -0.5 * pull**2
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    total = weight.sum(axis=1)
    mean = (weight * x).sum(axis=1) / total
    width = np.sqrt((weight * (x - mean[:, None]) ** 2).sum(axis=1) / total)
    # Fine steps are needed where the error is much smaller than the speed.
    sharp = turning > 25 * error
    root = np.sqrt(np.maximum(turning, 1e-12))
    mean = np.where(sharp, root, mean)
    width = np.where(sharp, error / (2 * root), width)
    return ROTATION_UNIT * mean, ROTATION_UNIT * width
