"""One star through one fiber: from labels and motion to pixels with errors.

The inverse variance in a file comes from a smooth model of the light: the continuum
times the star's mean depth of lines, background and sky. Were it made from the
spectrum itself it would repeat the lines, and a measurement could read the velocity off
the weights.
"""

__all__ = ["Observer", "Seen"]

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.models.library import ModelSpectra
from steadystar.simulate import blemishes, instrument, sky, stars
from steadystar.simulate.instrument import Arm, FineSpectrum
from steadystar.simulate.lamost_files import Recorded
from steadystar.simulate.options import SurveyOptions
from steadystar.simulate.plan import generator


@dataclass(frozen=True)
class Seen:
    """A recorded spectrum and what only the simulator knows about it."""

    spectrum: Recorded
    bjd: float
    bary_corr: float
    snr: float
    truth: dict


@dataclass(frozen=True)
class _Fine:
    """A model spectrum, ready to be broadened, and its continuum."""

    spectrum: FineSpectrum
    continuum: NDArray[np.float64]


class Observer:
    """Observes one star, a row of the table of stars, as often as asked."""

    def __init__(
        self,
        options: SurveyOptions,
        seed: int,
        models: Mapping[str, ModelSpectra],
        star: dict,
    ) -> None:
        self.options, self.seed, self.models, self.star = options, seed, models, star
        # A number of the star's own, from its position.
        self.identity = round(star["ra"] * 1e6) * 10**9 + round(star["dec"] * 1e6 + 9e7)
        self._fine: dict[tuple, _Fine] = {}
        self._broad: dict[tuple, NDArray[np.float64]] = {}
        self._photons = self._blue_photons()
        draw = generator(seed, "dead fiber", self.identity).uniform()
        self.dead = bool(draw < options.dead_fibers)

    def expose(self, arm: Arm, exposure: dict, fiber: dict) -> Seen:
        """Record the star; ``exposure`` and ``fiber`` are rows of the plan's tables."""
        star = self.star
        mid = exposure["start"] + exposure["exptime"] / 2 / 86_400
        bjd, bary_corr = map(float, sky.barycentric(mid, star["ra"], star["dec"]))
        offset = exposure["offset_true"] + fiber["offset_true"]
        log_edges = instrument.log_edges(arm, fiber["shift"]) + np.log1p(
            bary_corr / C_KMS
        )
        log_wave = (log_edges[1:] + log_edges[:-1]) / 2
        components = stars.states(star, bjd)
        light, smooth, levels = self._starlight(
            arm, components, log_edges, offset, fiber
        )

        # Fiber and arm first: what stays between exposures is drawn from these alone.
        key = (
            fiber["spectrograph"],
            fiber["fiber"],
            ord(arm.letter),
            exposure["minute"],
        )
        scale = self._scale(arm, exposure, fiber, key)
        light, smooth = scale * light, scale * smooth
        extra, glow = self._emission(
            arm, exposure, log_wave, bary_corr, offset, fiber, key
        )
        variance = instrument.GAIN * (smooth + glow) + arm.background
        spectrum, rays, ivar_scale = self._detect(
            arm, exposure, np.exp(log_wave), light + extra, variance, key
        )
        return Seen(
            spectrum=spectrum,
            bjd=bjd,
            bary_corr=bary_corr,
            snr=spectrum.snr,
            truth={
                "rv_true": float(components[0].rv[0]),
                "rv_2_true": float(components[1].rv[0]) if components[1:] else np.nan,
                "light_ratio_true": levels[1] / levels[0] if levels[1:] else 0.0,
                "teff_true": float(components[0].teff[0]),
                "offset_exposure_true": exposure["offset_true"],
                "offset_fiber_true": fiber["offset_true"],
                "correction_true": offset,
                "rv_raw_true": float(components[0].rv[0]) + offset,
                "resolution_true": fiber["resolution_true"],
                "ivar_scale_true": ivar_scale,
                "cosmic_rays_true": rays,
                "dead_true": self.dead,
            },
        )

    def _starlight(self, arm, components, log_edges, offset, fiber):
        """Return light and smooth light in relative units, and each one's share."""
        wave = np.exp((log_edges[1:] + log_edges[:-1]) / 2)
        light, smooth, levels = np.zeros(arm.pixels), np.zeros(arm.pixels), []
        for component in components:
            fine, broad = self._broadened(arm, component, fiber["resolution_true"])
            lines = fine.spectrum.pixels(
                broad, log_edges, float(component.rv[0]) + offset
            )
            # Photons per pixel: wavelength times flux density, to a common factor.
            level = float(component.area[0]) * wave / self._photons
            level = level * np.interp(wave, self.models[arm.name].wave, fine.continuum)
            light += level * lines
            smooth += level * np.mean(lines)
            levels.append(float(np.mean(level)))
        return light, smooth, levels

    def _broadened(self, arm: Arm, state: stars.StarState, resolution: float):
        model = (arm.name, float(state.teff[0]), state.logg, state.feh)
        if model not in self._fine:
            found = self.models[arm.name](model[1:])
            spectrum = FineSpectrum(self.models[arm.name].wave, found.flux)
            self._fine[model] = _Fine(spectrum, found.continuum)
        fine = self._fine[model]
        key = (*model, state.vsini, resolution)
        if key not in self._broad:
            self._broad[key] = fine.spectrum.broadened(resolution, state.vsini)
        return fine, self._broad[key]

    def _blue_photons(self) -> float:
        """Return the star's mean photon flux in the blue arm, at its mean temperature.

        Magnitudes are blue, so a red star is brighter in the red arm.
        """
        star = self.star
        labels = [[star["teff_true"], star["logg_true"], star["feh_true"]]]
        areas = [1.0]
        if star["motion"] == "sb2":
            labels.append([star["teff_2_true"], star["logg_2_true"], star["feh_true"]])
            areas.append(star["area_2_true"])
        source = self.models[instrument.BLUE.name]
        photons = np.mean(source.wave * source(labels).continuum, axis=1)
        return float(np.dot(areas, photons))

    def _scale(self, arm: Arm, exposure: dict, fiber: dict, key: tuple[int, ...]):
        """Return the throughput in counts, with slow wiggles of the continuum."""
        x = np.linspace(-1, 1, arm.pixels)
        own = generator(self.seed, "shape", self.identity, *key[:3]).normal(0, 0.08, 3)
        now = generator(self.seed, "shape", *key).normal(0, 0.02, 3)
        shape = np.array(arm.vignetting)
        shape[1:4] += own + now
        counts = (
            arm.efficiency
            * 10 ** (-0.4 * (self.star["magnitude"] - 11.4))
            * exposure["transparency_true"]
            * fiber["throughput_true"]
            * exposure["exptime"]
            / 1200
            * (not self.dead)
        )
        return counts * np.exp(np.polynomial.polynomial.polyval(x, shape))

    def _emission(self, arm, exposure, log_wave, bary_corr, offset, fiber, key):
        """Return light of nebulae and sky residuals, and the sky that was subtracted."""
        resolution = fiber["resolution_true"]
        rng = generator(self.seed, "sky", *key)
        # Airglow is at rest at the observatory, in a file of barycentric wavelengths.
        at_rest = C_KMS * ((1 + bary_corr / C_KMS) * (1 + offset / C_KMS) - 1)
        residual, glow = np.zeros(arm.pixels), np.zeros(arm.pixels)
        for line, counts in arm.sky_lines:
            profile = counts * exposure["exptime"] / 1200 * rng.lognormal(0, 0.3)
            profile = profile * blemishes.emission(log_wave, line, at_rest, resolution)
            glow += profile
            residual += self.options.sky_residuals * rng.normal() * profile
        behind = generator(self.seed, "nebula", self.identity)
        if arm is instrument.RED and behind.uniform() < self.options.nebulae:
            velocity, height = behind.normal(-10, 10), 10 ** behind.uniform(1.5, 3.0)
            height *= exposure["transparency_true"] * exposure["exptime"] / 1200
            residual += height * blemishes.nebular_lines(
                log_wave, velocity + offset, resolution
            )
        return residual, glow

    def _detect(self, arm, exposure, wave, light, variance, key):
        """Add noise and defects; return the spectrum, its rays and its ivar's error."""
        options, flux = self.options, light.copy()
        if options.noise:
            noise = generator(self.seed, "noise", *key).normal(size=arm.pixels)
            flux += noise * np.sqrt(variance)
        error = generator(self.seed, "ivar", *key).normal()
        ivar_scale = options.ivar_scale * np.exp(options.ivar_scale_scatter * error)
        ivar = ivar_scale**2 / variance
        snr = max(0.0, float(np.median(light * np.sqrt(ivar))))
        rays = blemishes.add_cosmic_rays(
            generator(self.seed, "cosmic rays", *key),
            flux,
            light,
            options.cosmic_rays * exposure["exptime"] / 1200,
        )
        mask = np.zeros(arm.pixels, np.int16)
        if options.bad_pixels:
            fixed = generator(self.seed, "bad pixels", *key[:3])
            now = generator(self.seed, "bad readings", *key)
            blemishes.add_bad_pixels(fixed, now, flux, light, mask)
        spectrum = Recorded(
            arm_letter=arm.letter,
            exposures=(exposure["minute"],),
            exptime=exposure["exptime"],
            snr=round(snr, 2),
            lamp=exposure["lamp"],
            wave=wave,
            flux=flux,
            ivar=ivar,
            mask=mask,
        )
        return spectrum, rays, float(ivar_scale)
