"""What can be chosen about a simulated survey of any size."""

__all__ = ["LargeSurveyOptions"]

from dataclasses import dataclass
from typing import Annotated, ClassVar

from steadystar.simulate.common_options import CommonOptions, DoubleLined, SingleLined
from steadystar.simulate.limits import FRACTION, Limits


@dataclass(frozen=True)
class _Plan:
    spectra: Annotated[int, "Number of spectra, half of them of each arm; even."] = (
        1_000_000
    )
    pixels: Annotated[int, "Pixels of a spectrum, in either arm."] = 3000
    epochs: Annotated[float, "Mean number of exposures of a star."] = 8.0
    epochs_scatter: Annotated[
        float, "Scatter of that number from field to field (sigma of its logarithm)."
    ] = 0.5


@dataclass(frozen=True)
class LargeSurveyOptions(CommonOptions, _Plan):
    """A simulated survey of any size, written as shards: plan, stars, instrument.

    Raises:
        ValueError: an option is not within its limits.
    """

    n_spectrographs: Annotated[int, "Spectrographs in use, 1 to 16."] = 4
    n_stars: Annotated[int, "Stars per field and spectrograph, 1 to 250."] = 120
    single_lined: SingleLined = 0.03
    double_lined: DoubleLined = 0.01

    own_wavelengths: Annotated[
        bool,
        "Whether every spectrum has wavelengths of its own, as pixels that are at rest "
        "at the observatory have at the barycenter; else all of an arm share theirs.",
    ] = False
    steps_per_sigma: Annotated[
        float,
        "Flux is rounded to a power of two, at most the smallest error of a pixel over "
        "this number; 0 rounds nothing.",
    ] = 10.0
    bad_pixels: Annotated[float, "Mean number of flagged pixels of a fiber."] = 4.0
    broken: Annotated[
        float, "Fraction of spectra of which nothing, or only half, can be read."
    ] = 0.005

    limits: ClassVar[Limits] = (
        ("spectra", 2, 200_000_000, "the table of stars is held in memory"),
        ("pixels", 100, 20_000, "arms of 500 Angstrom have about 3000"),
        ("epochs", 1.0, 100.0, "a star is observed at least once"),
        ("epochs_scatter", 0.0, 1.5, "it is the sigma of a log-normal"),
        ("n_exposures", 1, 5, "four fields share a night"),
        ("exptime", 1.0, 1200.0, "exposures begin every 24 minutes"),
        *CommonOptions.limits,
        ("steps_per_sigma", 0.0, 1e6, "float32 has 24 bits"),
        ("bad_pixels", 0.0, 50.0, "it is a number of pixels of a spectrum"),
        ("broken", 0.0, 1.0, FRACTION),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spectra % 2:
            raise ValueError(
                f"Option spectra is {self.spectra}, but every exposure gives a blue and "
                f"a red spectrum: make it {self.spectra + 1}."
            )
