"""Labels of stars from single spectra: temperature, gravity, metallicity, rotation.

One spectrum, or all arms of an exposure at once, against an emulator of model spectra
(`models.emulator`) or a model that was trained on stars with known labels. Continuum,
line spread and velocity are fitted along, so what they leave unknown is in the errors;
`measure.label_fit` has the steps. Errors are results: a spectrum that cannot be fitted
keeps its row, NaN, and a status; a label at the edge of the models is marked.
"""

__all__ = ["LabelModel", "measure_labels"]

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.extent import recorded, sharpest, stretch
from steadystar.measure.label_fit import Block, fit_block
from steadystar.measure.label_options import LabelOptions
from steadystar.measure.label_setup import Setup, Source, overlap, piece_nodes, setup_of
from steadystar.measure.label_table import LabelTable
from steadystar.measure.normalize import PixelBatch, Prepared, prepare
from steadystar.measure.prior import rounded_resolution
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.library import (
    LABELS,
    bundled,
    bundled_windows,
)
from steadystar.models.templates import templates_for
from steadystar.models.trained import TrainedSpectra

_BLOCK = 256
_ALIKE = 0.15
_FASTEST = 3000.0
"""km/s: no star is faster; beyond are the -9999 of tables."""
_DEFAULT = LabelOptions()
_SEARCH = VelocityOptions()


@dataclass(frozen=True, eq=False)
class LabelModel:
    """What spectra of stars with given labels look like.

    ``sources``: models of each arm, computed (`models.library`) or trained
    (`fit_labels`). Where none was trained, arms that are not named take the bundled ones
    of their wavelengths, if those have the same ``labels``. ``floors``: errors of
    labels, by name, that are added in quadrature to those of the noise.
    """

    name: str = "bundled"
    sources: Mapping[str, Source] = field(default_factory=dict)
    labels: tuple[str, ...] = LABELS
    floors: Mapping[str, float] = field(default_factory=dict)

    def of(self, arm: str, low: float, high: float) -> tuple[Source, ...]:
        """Return the models of ``arm``, or all the bundled ones that it covers enough of.

        ``low`` to ``high`` Angstrom is what was recorded, or is to be used of it.
        """
        trained = any(isinstance(s, TrainedSpectra) for s in self.sources.values())
        if arm in self.sources:
            every = (self.sources[arm],)
        elif self.labels == LABELS and not trained:
            every = tuple(bundled(window) for window in bundled_windows())
        else:
            every = ()
        return tuple(one for one in every if overlap(one, low, high) > 0)

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
            known: ``(spectrum,)``, or one such by arm. None, NaN and what no star can
            have mean that it is searched for first.

    Returns:
        One row a spectrum, in order: ``teff`` (K), ``logg``, ``feh``, ``vsini`` (km/s),
        each with ``_err``, ``corr_A_B``, the correlations of their errors; ``rv_obs,
        rv_obs_err`` (km/s, in the frame of the wavelengths; the mean of the arms),
        ``n_good, chi2, dof, ivar_scale, snr, model, status``.

    Raises:
        ValueError: numbers of spectra or velocities disagree, or the models do not
            reach over any of the wavelengths.

    Source:
        The quantities are those of Zong et al. 2020, table 3, and rotation; the method
        is in `kernels.labels`.
    """
    model = LabelModel() if model is None else model
    arms = {"": spectra} if isinstance(spectra, Spectra) else dict(spectra)
    number = _check(arms)
    stretches = [
        (name, source, stretch(one, name, options.windows))
        for name, one in arms.items()
        for source in _sources(
            model, name, stretch(one, name, options.windows, recorded)
        )
    ]
    table = LabelTable(number, model.labels)
    with jax.enable_x64(True):
        velocity = _velocities(arms, rv, number, options)
        sharp = {name: _resolutions(one, options) for name, one in arms.items()}
        for known, rows in _alike(sharp):
            setups = _setups(stretches, known, options)
            if not setups:
                table.lost(rows, Status.NO_RESOLUTION)
                continue
            # An arm that cannot be used is missed where it holds something.
            for name in known.keys() - {setup.name for setup in setups}:
                if not known[name] > 0:
                    missed = rows[(arms[name].ivar[rows] > 0).any(axis=1)]
                    table.status[missed] |= int(Status.NO_RESOLUTION)
            for begin in range(0, len(rows), _BLOCK):
                here = rows[begin : begin + _BLOCK]
                _fit_rows(table, here, arms, setups, sharp, velocity, options)
    table.widen(model.floors)
    return table.frame(model.name)


def _alike(sharp: dict[str, NDArray[np.float64]]):
    """Yield resolutions by arm, 0 where unknown, and the rows that nearly have them."""
    # NaN does not equal itself.
    groups = np.nan_to_num(np.stack([_class(one) for one in sharp.values()], axis=1))
    for group in np.unique(groups, axis=0):
        rows = np.flatnonzero((groups == group).all(axis=1))
        yield dict(zip(sharp, group.tolist(), strict=True)), rows


def _setups(
    stretches, known: dict[str, float], options: LabelOptions
) -> tuple[Setup, ...]:
    """Return the arms that can be fitted at these resolutions, ready for it."""
    return tuple(
        setup_of(
            source,
            name,
            *within,
            known[name],
            options.continuum_scale,
            options.resolution_err,
            options.max_vsini,
        )
        for name, source, within in stretches
        # What was learned is as sharp as the spectra are.
        if known[name] > 0 or isinstance(source, TrainedSpectra)
    )


def _sources(model: LabelModel, name: str, within: tuple[float, float]):
    found = model.of(name, *within)
    if not found:
        raise ValueError(
            f"There are no model spectra for {within[0]:.0f} to {within[1]:.0f} A (vacuum) "
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


def _given(arms, rv, number: int) -> dict[str, NDArray[np.float64]]:
    """Velocities that were given, one a spectrum in every arm; NaN where none is known."""
    odd = sorted(set(rv) - set(arms)) if isinstance(rv, Mapping) else []
    if odd:
        raise ValueError(
            f"rv has velocities of {', '.join(odd)}, but the arms are "
            f"{', '.join(name or 'one without a name' for name in arms)}: name them alike."
        )
    out = {}
    for name in arms:
        given = rv.get(name) if isinstance(rv, Mapping) else rv
        try:
            values = np.asarray(np.nan if given is None else given, float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The velocities{f' of {name}' if name else ''} are no numbers: give "
                "km/s, or None to have them searched for."
            ) from error
        if values.shape not in ((), (number,)):
            raise ValueError(
                f"There are {number} spectra{f' of {name}' if name else ''}, but "
                f"velocities of shape {values.shape}: give one a spectrum, NaN where it "
                "is not known."
            )
        possible = np.abs(np.nan_to_num(values, nan=np.inf)) <= _FASTEST
        out[name] = np.where(possible, np.broadcast_to(values, (number,)), np.nan)
    return out


def _velocities(arms, rv, number: int, options: LabelOptions) -> dict:
    """Velocity of every spectrum in every arm; searched for where it is not given."""
    out = _given(arms, rv, number)
    for name, one in arms.items():
        values = out[name]
        open_ = np.flatnonzero(~np.isfinite(values) & (one.ivar > 0).any(axis=1))
        if len(open_):
            spectra = replace(one, resolution=_resolutions(one, options))
            low, high = _searched(stretch(spectra, name, options.windows), name)
            templates = templates_for(low, high, sharpest(spectra))
            if templates is not None:
                search = VelocityOptions(windows={name: (low, high)})
                found = measure_velocities(spectra[open_], templates, search, arm=name)
                values[open_] = found["rv_obs"].to_numpy()
    # A velocity that one arm does not show is that of the others.
    every = np.stack([*out.values()])
    known = np.isfinite(every)
    total = np.where(known, every, 0).sum(axis=0)
    best = np.where(known.any(axis=0), total, np.nan) / np.maximum(known.sum(axis=0), 1)
    return {name: np.where(np.isfinite(v), v, best) for name, v in out.items()}


def _searched(within: tuple[float, float], arm: str) -> tuple[float, float]:
    """Return where a velocity is searched for: the usual window of the arm, if inside.

    A run has measured velocities there before: nothing is compiled for it again.
    """
    low, high = _SEARCH.windows.get(arm, within)
    return (low, high) if within[0] <= low and high <= within[1] else within


def _fit_rows(
    table: LabelTable,
    rows: NDArray[np.intp],
    arms: Mapping[str, Spectra],
    setups: tuple[Setup, ...],
    sharp,
    velocity,
    options: LabelOptions,
) -> None:
    """Prepare and fit some rows of one class of resolutions."""
    pieces = piece_nodes(setups, options.max_vsini)
    pixels, slots, spread, usable = [], [], [], []
    snr = np.full((len(rows), len(setups)), np.nan)
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
        there = (prepared.flags & int(Status.NO_DATA)) == 0
        snr[there, j] = some.snr()[there]
        good = (snr[:, j] >= options.min_snr) & np.isfinite(rv)
        flags |= np.where(good, prepared.flags, 0)
        weight = np.where(good[:, None], prepared.pixels.weight, np.float32(0))
        if isinstance(setup.source, TrainedSpectra):
            weight = _with_scatter(weight, prepared, setup.source)
        pixels.append(PixelBatch(*prepared.pixels[:4], weight))
        slots.append(prepared.slots)
        resolution = sharp[setup.name][rows]
        sigma = C_KMS / np.where(np.isfinite(resolution), resolution, 1e4)
        trained = isinstance(setup.source, TrainedSpectra)
        spread.append(np.zeros(len(rows)) if trained else (sigma / FWHM_PER_SIGMA) ** 2)
        usable.append(good)
    seen = np.stack(usable, axis=1)
    table.snr[rows] = _quadratic(snr)
    anything = seen.any(axis=1)
    table.lost(rows[~anything], _why_lost(snr[~anything], options.min_snr))
    if not anything.any():
        return
    kept = np.flatnonzero(anything)
    longest = max(one.value.shape[1] for one in pixels)
    block = Block(
        tuple(_lengthened(one, longest, kept) for one in pixels),
        (max(slots),) * len(slots),
        tuple(one[kept] for one in spread),
    )
    fitted = fit_block(block, pieces, options.scale_errors)
    rest = np.stack([velocity[s.name][rows] for s in setups], axis=1)[kept]
    parts = setups[0].source.parts
    table.fill(rows[kept], fitted, parts, pieces, seen[kept], rest, flags[kept])


def _why_lost(snr: NDArray[np.float64], least: float) -> NDArray[np.int64]:
    """Say why spectra were not fitted; their S/N in each arm is NaN without usable pixels."""
    there, bright = np.isfinite(snr).any(axis=1), (snr >= least).any(axis=1)
    reasons = [int(Status.NO_VELOCITY), int(Status.LOW_SNR)]
    return np.select([bright, there], reasons, int(Status.NO_DATA))


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
