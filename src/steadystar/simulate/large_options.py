"""What can be chosen about a simulated survey of any size."""

__all__ = ["LargeSurveyOptions"]

from dataclasses import dataclass
from typing import Annotated

from steadystar.simulate.limits import FRACTION, check_limits, check_ranges


@dataclass(frozen=True)
class LargeSurveyOptions:
    """A simulated survey of any size, written as shards: plan, stars, instrument."""

    spectra: Annotated[int, "Number of spectra, half of them of each arm; even."] = (
        1_000_000
    )
    pixels: Annotated[int, "Pixels of a spectrum, in either arm."] = 3000
    epochs: Annotated[float, "Mean number of exposures of a star."] = 8.0
    epochs_scatter: Annotated[
        float, "Scatter of that number from field to field (sigma of its logarithm)."
    ] = 0.5
    n_spectrographs: Annotated[int, "Spectrographs in use, 1 to 16."] = 4
    n_stars: Annotated[int, "Stars per field and spectrograph, 1 to 250."] = 120
    n_exposures: Annotated[int, "Exposures of a field in a night, 1 to 5."] = 3
    first_night: Annotated[int, "First night, local modified Julian day."] = 58408
    exptime: Annotated[float, "Exposure time, s."] = 1200.0
    magnitudes: Annotated[
        tuple[float, float], "Brightest and faintest g magnitude of the stars."
    ] = (9.5, 13.3)
    own_wavelengths: Annotated[
        bool,
        "Whether every spectrum has wavelengths of its own, as pixels that are at rest "
        "at the observatory have at the barycenter; else all of an arm share theirs.",
    ] = False

    giants: Annotated[float, "Fraction of G and K giants."] = 0.3
    hot_stars: Annotated[float, "Fraction of A stars."] = 0.06
    cool_stars: Annotated[float, "Fraction of M dwarfs."] = 0.04
    single_lined: Annotated[float, "Fraction of single-lined binaries."] = 0.03
    double_lined: Annotated[float, "Fraction of double-lined binaries."] = 0.01
    eclipsing: Annotated[
        float, "Fraction of the double-lined binaries that are seen nearly edge-on."
    ] = 0.3

    night_drift: Annotated[
        float, "Scatter of the zero point from night to night (Gaussian sigma), km/s."
    ] = 1.0
    exposure_drift: Annotated[
        float, "Scatter of the zero point from exposure to exposure in a night, km/s."
    ] = 0.5
    fiber_offset: Annotated[float, "Scatter of the zero points of fibers, km/s."] = 0.1
    alternate_lamp: Annotated[
        float, "Fraction of exposures calibrated with the alternate arc lamp."
    ] = 0.1
    alternate_lamp_offset: Annotated[
        float, "What velocities of the alternate lamp read too large, km/s."
    ] = 6.5

    noise: Annotated[bool, "Add photon and read noise."] = True
    ivar_scale: Annotated[
        float, "True scatter over what the inverse variance says."
    ] = 0.9
    ivar_scale_scatter: Annotated[
        float, "Relative scatter of that ratio from spectrum to spectrum."
    ] = 0.1
    steps_per_sigma: Annotated[
        float,
        "Flux is rounded to a power of two, at most the smallest error of a pixel over "
        "this number; 0 rounds nothing.",
    ] = 10.0
    cosmic_rays: Annotated[float, "Mean number of cosmic rays in 1200 s."] = 2.0
    bad_pixels: Annotated[float, "Mean number of flagged pixels of a fiber."] = 4.0
    dead_fibers: Annotated[float, "Fraction of stars whose fiber gets no light."] = 0.01
    broken: Annotated[
        float, "Fraction of spectra of which nothing, or only half, can be read."
    ] = 0.005
    cloudy: Annotated[float, "Fraction of exposures through clouds."] = 0.1

    def __post_init__(self) -> None:
        check_limits(self, _LIMITS)
        check_ranges(self, (("magnitudes", 5.0, 20.0),))
        if self.spectra % 2:
            raise ValueError(
                f"Option spectra is {self.spectra}, but every exposure gives a blue and "
                f"a red spectrum: make it {self.spectra + 1}."
            )
        for names in (
            ("giants", "hot_stars", "cool_stars"),
            ("single_lined", "double_lined"),
        ):
            total = sum(getattr(self, name) for name in names)
            if total > 1:
                raise ValueError(
                    f"Options {', '.join(names)} sum to {total:.3g}, but are fractions "
                    "of the same stars: make their sum at most 1."
                )


_LIMITS = (
    ("spectra", 2, 200_000_000, "the table of stars is held in memory"),
    ("pixels", 100, 20_000, "arms of 500 Angstrom have about 3000"),
    ("epochs", 1.0, 100.0, "a star is observed at least once"),
    ("epochs_scatter", 0.0, 1.5, "it is the sigma of a log-normal"),
    ("n_spectrographs", 1, 16, "LAMOST has 16"),
    ("n_stars", 1, 250, "a spectrograph has 250 fibers"),
    ("n_exposures", 1, 5, "four fields share a night"),
    ("first_night", 51_544, 70_000, "nights are modified Julian days after 1999"),
    ("exptime", 1.0, 1200.0, "exposures begin every 24 minutes"),
    ("giants", 0.0, 1.0, FRACTION),
    ("hot_stars", 0.0, 1.0, FRACTION),
    ("cool_stars", 0.0, 1.0, FRACTION),
    ("single_lined", 0.0, 1.0, FRACTION),
    ("double_lined", 0.0, 1.0, FRACTION),
    ("eclipsing", 0.0, 1.0, FRACTION),
    ("night_drift", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("exposure_drift", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("fiber_offset", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("alternate_lamp", 0.0, 1.0, FRACTION),
    ("ivar_scale", 0.01, 100.0, "it is a ratio of standard deviations"),
    ("ivar_scale_scatter", 0.0, 1.0, "it is the sigma of a log-normal"),
    ("steps_per_sigma", 0.0, 1e6, "float32 has 24 bits"),
    ("cosmic_rays", 0.0, 1000.0, "it is a number of hits in a spectrum"),
    ("bad_pixels", 0.0, 50.0, "it is a number of pixels of a spectrum"),
    ("dead_fibers", 0.0, 1.0, FRACTION),
    ("broken", 0.0, 1.0, FRACTION),
    ("cloudy", 0.0, 1.0, FRACTION),
)
