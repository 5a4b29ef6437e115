"""The yardstick of `labels.py`: rvspecfit, with our models, on the same spectra.

rvspecfit (Koposov 2019, ascl:1907.013) is what DESI's and WEAVE's stellar pipelines are
built on. It correlates a spectrum with templates, walks from the best of them with
Nelder-Mead and BFGS over velocity, rotation and labels, where each trial interpolates in
a grid of spectra, rotates, shifts, and fits a continuum by least squares, then scans the
velocity and takes the labels' errors from the Hessian.

`prepare` writes the grid as `rvs_make_interpol` would, at the nominal resolution and with
pixels as wide as the data's, and has rvspecfit make its templates for the correlation.
`fit` is what its pipelines do with a star: `fitter_ccf.fit`, then `vel_fit.process`, with
both minimizers; errors of v sin i are not given. This differs from rvspecfit's own
recipes for surveys:

- Every 60th template is correlated, at 0, 30, 100 and 300 km/s, not every 30th at 0 and
  300: as many, but from 0 km/s three of 84 mock stars that rotate at 46 to 58 km/s ended
  in a wrong minimum.
- Velocities up to 600 km/s, as far as ours are searched, not 1000.
- A regular grid, with half of PHOENIX's steps in log g and [Fe/H].
- 10 terms of continuum an arm, as for DESI.

rvspecfit knows the line spread only as it is nominally, where ours fits it along.

rvspecfit is no dependency of this project: ``pip install rvspecfit``.
"""

import contextlib
import importlib
import io
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from _velocity_mocks import MODELS, instruments
from numpy.typing import NDArray

from steadystar import Spectra
from steadystar.data.constants import C_KMS
from steadystar.measure.label_options import LabelOptions
from steadystar.models.broadening import broaden

try:
    from rvspecfit import (
        fitter_ccf,
        make_ccf,
        serializer,
        spec_fit,
        spec_inter,
        utils,
        vel_fit,
    )
except ImportError as error:
    raise ImportError(
        f"rvspecfit cannot be imported ({error}): it is not timed; to have it beside "
        "ours run `pip install rvspecfit`."
    ) from error

NAME = f"rvspecfit {importlib.import_module('rvspecfit').__version__}"
LABELS = ("teff", "logg", "feh")
NODES = (46, 21, 13)
"""Steps of 100 K, 0.25 and 0.25 over the models of cool stars."""
OPTIONS = {"npoly": 10}
REACH_KMS = 600.0
PADDING_KMS = 1000.0
EVERY = 60
CCF_VSINI = [0.0, 30.0, 100.0, 300.0]
_BATCH = 64
_FAINT = 1e-3
_LARGE_ERROR = 1e9


def prepare(folder: Path | str, number: tuple[int, int, int] = NODES) -> Path:
    """Write rvspecfit's templates of both arms into ``folder``, which it returns.

    ``number`` is how many nodes the grid has in temperature, log g and [Fe/H]. Templates
    that are there already are kept.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for arm in MODELS.keys() & LabelOptions().windows.keys():
        if (folder / f"ccfmod_{arm}.npy").exists():
            continue
        low, high = LabelOptions().windows[arm]
        wave, axes, specs = _grid(arm, low, high, number)
        nodes = _nodes(axes)
        held = {
            "lam": wave,
            "parnames": LABELS,
            "git_rev": NAME,
            "mapper_module": "rvspecfit.read_grid",
            "mapper_class_name": "LogParamMapper",
            "mapper_args": ([0],),
            "revision": "",
            "cmdline": "",
            "lognorms": np.zeros(len(nodes)),
            "log_step": True,
            "log_spec": True,
        }
        for_ccf = held | {"vec": nodes.T, "specs": specs}
        serializer.save_dict_to_hdf5(str(folder / f"specs_{arm}.h5"), for_ccf)
        # make_nd fails on axes of different lengths; a list among arrays does not.
        scaled = [np.log10(axes[0]), axes[1], axes[2].tolist()]
        held |= {
            "uvecs": scaled,
            "idgrid": np.arange(len(nodes)).reshape(number),
            "vec": _nodes(scaled).T,
            "regular": True,
            "interpolation_type": "regulargrid",
        }
        serializer.save_dict_to_hdf5(str(folder / f"interp_{arm}.h5"), held)
        np.save(folder / f"interpdat_{arm}.npy", specs)
        step = np.median(np.diff(wave))
        setting = make_ccf.get_ccf_config(
            logl0=np.log(low),
            logl1=np.log(high),
            npoints=make_ccf.to_power_two(int((high - low) / step)),
        )
        # They count aloud.
        with contextlib.redirect_stdout(io.StringIO()):
            make_ccf.ccf_executor(
                arm, setting, str(folder), str(folder), EVERY, CCF_VSINI
            )
    return folder


def _grid(
    arm: str, low: float, high: float, number: tuple[int, int, int]
) -> tuple[NDArray, list[NDArray], NDArray]:
    """Return wavelengths, the axes of the grid, and ln(flux) of its nodes as seen."""
    instrument = instruments()[arm]
    models = instrument.models.parts[0]
    axes = [
        np.linspace(*limits, n)
        for limits, n in zip(models.domain.limits.T, number, strict=True)
    ]
    nodes = _nodes(axes)
    padding = 1 + (REACH_KMS + PADDING_KMS) / C_KMS
    step = np.median(np.diff(instrument.wave)) / (0.5 * (low + high))
    wave = np.exp(np.arange(np.log(low / padding), np.log(high * padding), step))
    specs = np.empty((len(nodes), len(wave)), np.float32)
    for begin in range(0, len(nodes), _BATCH):
        here = slice(begin, begin + _BATCH)
        seen = broaden(
            models.wave,
            models(nodes[here]).flux,
            wave,
            resolution=instrument.resolution,
        )
        specs[here] = np.log(np.maximum(seen, _FAINT))
    return wave, axes, specs


def _nodes(axes) -> NDArray:
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


@cache
def _own_folder() -> tuple[Path, TemporaryDirectory]:
    """Templates in a folder that goes when the process ends."""
    folder = TemporaryDirectory(prefix="rvspecfit-")
    return prepare(folder.name), folder


def fit(
    spectra_by_arm: Mapping[str, Spectra], folder: Path | str | None = None
) -> tuple[pl.DataFrame, float]:
    """Fit every exposure, all arms at once.

    ``folder`` is where `prepare` wrote; None prepares a temporary one, which takes
    minutes. Returns a table with ``teff, logg, feh, rv_obs``, each with ``_err``,
    ``vsini``, ``chi2``, ``success`` and the ``seconds`` of each exposure (of them
    ``seconds_ccf`` for the correlation), in order, and the mean of the seconds. They are
    processor time, which does not depend on what else runs; reading the templates, and
    one fit ahead, are not in them.
    """
    folder = _own_folder()[0] if folder is None else folder
    settings = utils.get_default_config() | {
        "template_lib": str(folder),
        "min_vel": -REACH_KMS,
        "max_vel": REACH_KMS,
    }
    config = utils.freezeDict(settings)
    for arm in spectra_by_arm:
        spec_inter.getInterpolator(arm, config, warmup_cache=True)
    number = len(next(iter(spectra_by_arm.values())))
    _fit_one(spectra_by_arm, 0, config)
    table = pl.DataFrame(
        [_fit_one(spectra_by_arm, row, config) for row in range(number)]
    )
    return table, float(table["seconds"].to_numpy().mean())


def _fit_one(spectra: Mapping[str, Spectra], row: int, config) -> dict:
    data = [_specdata(arm, some, row) for arm, some in spectra.items()]
    began = time.process_time()
    guess = fitter_ccf.fit(data, config)
    correlated = time.process_time()
    start = guess["best_par"] | {"vsini": guess["best_vsini"]}
    found = vel_fit.process(data, start, config=config, options=OPTIONS)
    ended = time.process_time()
    out = {}
    for name in LABELS:
        out[name] = float(found["param"][name])
        out[f"{name}_err"] = float(found["param_err"][name])
    return out | {
        "vsini": float(found["vsini"]),
        "rv_obs": float(found["vel"]),
        "rv_obs_err": float(found["vel_err"]),
        "chi2": float(np.sum(found["chisq_array"])),
        "success": bool(found["minimize_success"] and not found["bad_hessian"]),
        "seconds": ended - began,
        "seconds_ccf": correlated - began,
    }


def _specdata(arm: str, some: Spectra, row: int):
    low, high = LabelOptions().windows[arm]
    wave = some.wave_2d[row]
    used = (wave >= low) & (wave <= high)
    flux, ivar = (a[row, used].astype(float) for a in (some.flux, some.ivar))
    bad = ivar <= 0
    error = np.where(bad, _LARGE_ERROR, 1 / np.sqrt(np.where(bad, 1.0, ivar)))
    return spec_fit.SpecData(arm, wave[used], flux, error, badmask=bad)
