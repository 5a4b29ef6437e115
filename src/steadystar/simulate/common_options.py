"""What can be chosen about simulated surveys of whatever size."""

__all__ = ["CommonOptions", "DoubleLined", "SingleLined"]

from dataclasses import dataclass
from typing import Annotated, ClassVar

from steadystar.simulate.limits import (
    FRACTION,
    Limits,
    check_limits,
    check_ranges,
    check_shares,
)

SingleLined = Annotated[float, "Fraction of single-lined binaries."]
DoubleLined = Annotated[float, "Fraction of double-lined binaries."]

_MODELS = "models reach a few hundred km/s beyond the arms"


@dataclass(frozen=True)
class CommonOptions:
    """Stars, instrument and what goes wrong, the same in every simulated survey.

    ``limits`` are those of all fields, ``shares`` the groups of fractions of the same
    stars; both are the subclass's own to complete.
    """

    n_spectrographs: Annotated[int, "Spectrographs in use, 1 to 16."] = 1
    n_stars: Annotated[int, "Stars per field and spectrograph, 1 to 250."] = 130
    n_exposures: Annotated[int, "Exposures of a field in a night."] = 3
    first_night: Annotated[int, "First night, local modified Julian day."] = 58408
    exptime: Annotated[float, "Exposure time, s."] = 1200.0
    magnitudes: Annotated[
        tuple[float, float], "Brightest and faintest g magnitude of the stars."
    ] = (9.5, 13.3)

    giants: Annotated[float, "Fraction of G and K giants."] = 0.3
    hot_stars: Annotated[float, "Fraction of A stars."] = 0.06
    cool_stars: Annotated[float, "Fraction of M dwarfs."] = 0.04
    single_lined: SingleLined = 0.12
    double_lined: DoubleLined = 0.04
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
    cosmic_rays: Annotated[float, "Mean number of cosmic rays in 1200 s."] = 2.0
    dead_fibers: Annotated[float, "Fraction of stars whose fiber gets no light."] = 0.01
    cloudy: Annotated[float, "Fraction of exposures through clouds."] = 0.1

    limits: ClassVar[Limits] = (
        ("n_spectrographs", 1, 16, "LAMOST has 16"),
        ("n_stars", 1, 250, "a spectrograph has 250 fibers"),
        ("first_night", 51_544, 70_000, "nights are modified Julian days after 1999"),
        ("giants", 0.0, 1.0, FRACTION),
        ("hot_stars", 0.0, 1.0, FRACTION),
        ("cool_stars", 0.0, 1.0, FRACTION),
        ("single_lined", 0.0, 1.0, FRACTION),
        ("double_lined", 0.0, 1.0, FRACTION),
        ("eclipsing", 0.0, 1.0, FRACTION),
        ("night_drift", 0.0, 50.0, _MODELS),
        ("exposure_drift", 0.0, 50.0, _MODELS),
        ("fiber_offset", 0.0, 50.0, _MODELS),
        ("alternate_lamp", 0.0, 1.0, FRACTION),
        ("ivar_scale", 0.01, 100.0, "it is a ratio of standard deviations"),
        ("ivar_scale_scatter", 0.0, 1.0, "it is the sigma of a log-normal"),
        ("cosmic_rays", 0.0, 1000.0, "it is a number of hits in a spectrum"),
        ("dead_fibers", 0.0, 1.0, FRACTION),
        ("cloudy", 0.0, 1.0, FRACTION),
    )
    shares: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("giants", "hot_stars", "cool_stars"),
        ("single_lined", "double_lined"),
    )

    def __post_init__(self) -> None:
        check_limits(self, self.limits)
        check_ranges(self, (("magnitudes", 5.0, 20.0),))
        for names in self.shares:
            check_shares(self, names)
