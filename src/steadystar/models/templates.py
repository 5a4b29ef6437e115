"""Templates: normalized spectra of stars at rest, which velocities are measured against.

They may come from anywhere: model spectra (`Templates.from_models`), the survey's own
spectra moved to rest (`measure.own_templates`), both (`Templates.joined`), a file of
somebody else's. What a measurement needs of them, mean and principal components on its
own grid, is learned from them (`models.lowrank`).
"""

__all__ = ["Templates", "bundled_templates", "templates_for"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers
from steadystar.data.tables import read_metadata, read_table, write_parquet
from steadystar.models.broadening import broaden
from steadystar.models.library import ModelSpectra, bundled, bundled_windows
from steadystar.models.lowrank import smoothed

_KIND = "templates"


@dataclass(frozen=True, eq=False)
class Templates:
    """Normalized spectra at rest.

    ``wave``: vacuum wavelengths in Angstrom, increasing, ``(pixel,)``. ``flux``: one at
    the continuum, ``(template, pixel)``. ``resolution``: their own resolving power,
    None if they are as sharp as the spectra that are to be measured.
    """

    wave: NDArray[np.float64]
    flux: NDArray[np.float32]
    resolution: float | None = None

    @classmethod
    def from_arrays(
        cls, wave: Numbers, flux: Numbers, resolution: float | None = None
    ) -> "Templates":
        """Make templates from bare arrays.

        Arguments:
            wave: vacuum wavelengths in Angstrom, increasing or decreasing, ``(pixel,)``.
            flux: normalized to the continuum, ``(template, pixel)`` or ``(pixel,)``.
            resolution: ``lambda / FWHM`` of the templates; None if it is that of the
                spectra.

        Raises:
            ValueError: shapes disagree, a value is not finite, or the wavelengths are
                not positive and strictly monotonic.
        """
        wave = np.array(wave, np.float64)
        flux = np.atleast_2d(np.array(flux, np.float64))
        if wave.ndim != 1 or flux.ndim != 2 or flux.shape[1] != len(wave):
            raise ValueError(
                f"Templates have wavelengths of shape {wave.shape} and flux of shape "
                f"{flux.shape}: give (pixel,) and (template, pixel)."
            )
        if len(wave) > 1 and wave[0] > wave[-1]:
            wave, flux = wave[::-1].copy(), flux[:, ::-1]
        if not (np.isfinite(wave).all() and (wave > 0).all()):
            raise ValueError("Some wavelengths of the templates are not positive.")
        if not (np.diff(wave) > 0).all():
            raise ValueError(
                "The wavelengths of the templates are not strictly monotonic: sort them."
            )
        if not np.isfinite(flux).all():
            row = int(np.flatnonzero(~np.isfinite(flux).all(axis=1))[0])
            raise ValueError(
                f"Template {row} has values that are not finite: cut the wavelengths "
                "that it lacks off all of them, or leave it out."
            )
        if resolution is not None and not resolution > 0:
            raise ValueError(
                f"The templates' resolution is {resolution}: give lambda / FWHM > 0."
            )
        return cls(wave, np.ascontiguousarray(flux, np.float32), resolution)

    @classmethod
    def from_models(
        cls,
        models: ModelSpectra,
        labels: Numbers,
        resolution: float,
        vsini: Sequence[float] | None = None,
    ) -> "Templates":
        """Compute templates from model spectra.

        Arguments:
            models: a source of model spectra.
            labels: effective temperature (K), log g, [Fe/H], ``(template, 3)``.
            resolution: resolving power to which they are broadened, ``lambda / FWHM``.
            vsini: rotation of each in km/s, zero if None.

        Raises:
            ValueError: labels outside the models' domain.
        """
        labels = np.atleast_2d(np.asarray(labels, float))
        speed = np.zeros(len(labels)) if vsini is None else np.asarray(vsini, float)
        sigma = C_KMS / resolution / FWHM_PER_SIGMA
        # Four points a standard deviation; the profiles' wings stay off the ends.
        reach = 1 + (6 * sigma + speed.max(initial=0) + 5) / C_KMS
        low, high = np.log(models.wave[[0, -1]]) + np.array([1, -1]) * np.log(reach)
        wave = np.exp(np.arange(low, high, sigma / 4 / C_KMS))
        flux = np.empty((len(labels), len(wave)), np.float32)
        exact = models(labels).flux
        for speed_here in np.unique(speed):
            rows = speed == speed_here
            flux[rows] = broaden(
                models.wave,
                exact[rows],
                wave,
                resolution=resolution,
                vsini=float(speed_here),
            )
        return cls(wave, flux, resolution)

    @classmethod
    def joined(
        cls, parts: Sequence["Templates"], resolution: float | None = None
    ) -> "Templates":
        """Put templates of several sources on common wavelengths, as one set.

        A hybrid of models and a survey's own spectra covers the types that models know
        and those that they do not (Saydjari et al. 2025, section 3.1).

        Arguments:
            parts: each with its own wavelengths; they are cut to those that all have.
            resolution: to which those of known resolution are brought; those that are as
                sharp as the spectra (None) stay as they are. It must be given if both
                kinds are there: it is that of the spectra. None: the lowest of the parts.

        Returns:
            All templates in the order given, on the finest of the parts' spacings. Their
            resolution is None if that of any part is.

        Raises:
            ValueError: no parts, no common wavelengths, a resolution that is missing or
                higher than that of a part.
        """
        if not parts:
            raise ValueError("There are no templates to join: give one set at least.")
        known = [part.resolution for part in parts if part.resolution is not None]
        if resolution is None:
            if known and len(known) < len(parts):
                raise ValueError(
                    "Some templates are as sharp as the spectra and some have a "
                    f"resolution of their own ({max(known):.0f}): give the resolution of "
                    "the spectra, to which these are brought."
                )
            resolution = min(known, default=None)
        low = max(float(part.wave[0]) for part in parts)
        high = min(float(part.wave[-1]) for part in parts)
        if not low < high:
            raise ValueError(
                "The templates have no wavelengths in common: they span "
                + ", ".join(f"{p.wave[0]:.1f} to {p.wave[-1]:.1f}" for p in parts)
                + " Angstrom (vacuum)."
            )
        step = min(float(np.diff(np.log(part.wave)).min()) for part in parts)
        number = int(np.log(high / low) / step)
        log_wave = np.log(low) + np.log(high / low) * np.arange(number + 1) / number
        rows = [_resampled(part, log_wave, resolution) for part in parts]
        alike = resolution if len(known) == len(parts) else None
        wave = np.clip(np.exp(log_wave), low, high)
        return cls.from_arrays(wave, np.concatenate(rows), alike)

    def __len__(self) -> int:
        return len(self.flux)

    def save(self, path: Path | str) -> None:
        """Write the templates to a Parquet file, one column a template."""
        columns = {"wave": self.wave} | {
            f"flux_{i}": row for i, row in enumerate(self.flux)
        }
        sharp = "" if self.resolution is None else repr(float(self.resolution))
        write_parquet(
            pl.DataFrame(columns), Path(path), {"kind": _KIND, "resolution": sharp}
        )

    @classmethod
    def load(cls, path: Path | str) -> "Templates":
        """Read what `save` wrote; raises ValueError for any other file."""
        path = Path(path)
        notes = read_metadata(path)
        if notes.get("kind") != _KIND:
            raise ValueError(
                f"{path} does not hold templates: pass the file that Templates.save "
                "wrote."
            )
        table = read_table(path)
        flux = table.drop("wave").to_numpy().T
        sharp = notes["resolution"]
        return cls(
            table["wave"].to_numpy(),
            np.ascontiguousarray(flux, np.float32),
            float(sharp) if sharp else None,
        )


def _resampled(
    part: Templates, log_wave: NDArray[np.float64], resolution: float | None
) -> NDArray[np.float64]:
    """Return templates at ``resolution`` on other wavelengths; they are sampled finely."""
    own, flux = smoothed(
        np.log(part.wave),
        part.flux.astype(np.float64),
        part.resolution,
        np.nan if resolution is None else resolution,
    )
    # Smoothing may lose the last point.
    at = np.clip(log_wave, own[0], own[-1])
    return CubicSpline(own, flux, axis=-1)(at)


# Stars as surveys see them: main sequence, giants, and the hot ones. Effective
# temperature, log g; after Pecaut and Mamajek 2013 (dwarfs) and the giant branch of a
# solar-metallicity isochrone of 4 Gyr, rounded.
_DWARFS = (
    *((3600, 4.8), (4000, 4.65), (4500, 4.6), (5000, 4.55), (5500, 4.5)),
    *((6000, 4.4), (6500, 4.3), (7000, 4.25), (7500, 4.2)),
)
_GIANTS = ((3800, 0.8), (4200, 1.6), (4600, 2.4), (4900, 3.0), (5100, 3.5))
_HOT = ((9000, 4.1), (11000, 4.1), (14000, 4.1), (19000, 4.1), (26000, 4.1))
_FEH = (-2.0, -1.0, -0.5, 0.0, 0.4)
_VSINI = (0.0, 15.0, 40.0)
_VSINI_HOT = (10.0, 60.0, 150.0)


_SHARPER = 0.05
# Somewhat sharper than the surveys' spectra, which vary from fiber to fiber.
_RESOLUTION = {"lamost-mrs-blue": 9000.0, "lamost-mrs-red": 9000.0, "h-band": 30000.0}


@cache
def bundled_templates(window: str, resolution: float | None = None) -> Templates:
    """Return templates across the types of stars, from the bundled model spectra.

    ``window`` is one of `models.bundled_windows`; dwarfs and giants of five
    metallicities and three speeds of rotation, and hot dwarfs. Without ``resolution``
    they are somewhat sharper than the spectra of the survey.

    Raises:
        ModelsNotFound: there is no such window.
    """
    models = bundled(window)
    resolution = _RESOLUTION[window] if resolution is None else resolution
    rows = [
        (teff, logg, feh, speed)
        for teff, logg in (*_DWARFS, *_GIANTS)
        for feh in _FEH
        for speed in _VSINI
        if speed < 40 or logg > 4.1
    ]
    rows += [(*star, 0.0, speed) for star in _HOT for speed in _VSINI_HOT]
    table = np.array(rows)
    parts = models.domain.contains(table[:, :3])
    table = table[parts]
    return Templates.from_models(models, table[:, :3], resolution, table[:, 3].tolist())


def templates_for(
    low: float, high: float, resolution: float = float("nan"), share: float = 0.0
) -> Templates | None:
    """Return the bundled templates that cover most of ``low`` to ``high`` Angstrom.

    They are as sharp as spectra of ``resolution`` (``lambda / FWHM``) need them. None
    if none cover more than ``share`` of the wavelengths.
    """
    covered = {}
    for window in bundled_windows():
        first, last = bundled(window).wave[[0, -1]]
        covered[window] = (min(high, last) - max(low, first)) / max(high - low, 1e-9)
    best = max(covered, key=covered.__getitem__)
    if not covered[best] > share:
        return None
    if not resolution > _RESOLUTION[best]:
        return bundled_templates(best)
    # To 5 percent upward: what is computed for one spectrum serves those alike.
    sharp = np.exp(_SHARPER * np.ceil(np.log(resolution) / _SHARPER + 0.2))
    return bundled_templates(best, float(sharp))
