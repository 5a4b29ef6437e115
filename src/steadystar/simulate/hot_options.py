"""What can be chosen about a simulated survey of hot stars."""

__all__ = ["HotSurveyOptions"]

from dataclasses import dataclass
from typing import Annotated, Any

from steadystar.simulate.limits import FRACTION, check_limits, check_ranges


@dataclass(frozen=True)
class HotSurveyOptions:
    """What to simulate: the stars, what is between them and us, the instrument, faults."""

    n_stars: Annotated[int, "Number of stars."] = 600
    seed: Annotated[int, "Seed of everything random; commands have their own."] = 1
    repeats: Annotated[float, "Fraction of stars with two to four spectra."] = 0.15
    temperatures: Annotated[
        tuple[float, float], "Lowest and highest effective temperature, K."
    ] = (8500.0, 39_000.0)
    mass_slope: Annotated[
        float, "Number of stars by mass goes as the mass to minus this."
    ] = 2.35
    evolved: Annotated[
        float, "Fraction of stars drawn below the main sequence's gravity."
    ] = 0.3
    magnitudes: Annotated[tuple[float, float], "Brightest and faintest Gaia G."] = (
        8.0,
        17.0,
    )
    distances: Annotated[tuple[float, float], "Nearest and farthest, pc."] = (
        100.0,
        8000.0,
    )
    sigma_int: Annotated[
        float, "Scatter of M_Ks at given Teff, log g and [Fe/H], mag."
    ] = 0.2

    pairs: Annotated[float, "Fraction of stars that are two, unresolved."] = 0.12
    mass_ratios: Annotated[
        tuple[float, float], "Lowest and highest mass ratio; uniform between."
    ] = (0.2, 1.0)
    emission: Annotated[float, "Fraction of stars with H alpha emission."] = 0.13
    emission_widths: Annotated[
        tuple[float, float],
        "Weakest and strongest emission: equivalent width of H alpha, A; uniform in log.",
    ] = (0.03, 60.0)
    disk: Annotated[bool, "Disks of strong emission stars brighten J, H and Ks."] = True
    broken: Annotated[float, "Fraction of broken spectra."] = 0.01

    reddening: Annotated[float, "Mean E(B-V) per kpc within the dust layer, mag."] = 0.3
    patchiness: Annotated[float, "Scatter of ln E(B-V) at given place."] = 0.4
    zero_point: Annotated[
        bool, "Gaia's parallaxes have their zero point (Lindegren et al. 2021)."
    ] = True
    parallax_error: Annotated[
        float, "True error of parallaxes over the published one."
    ] = 1.0

    snr: Annotated[
        tuple[float, float], "Lowest and highest signal-to-noise ratio in g."
    ] = (20.0, 300.0)
    ivar_scale: Annotated[
        float, "True scatter over what the inverse variance says."
    ] = 1.0
    noise: Annotated[bool, "Add photon and sky noise."] = True
    flux_calibration: Annotated[
        float, "Scatter of the shape of the flux calibration, relative."
    ] = 0.03
    tellurics: Annotated[
        float, "Scatter of what is left of telluric bands, as a fraction of the band."
    ] = 0.1
    bad_pixels: Annotated[float, "Mean number of flagged pixels in a spectrum."] = 2.0
    old_layout: Annotated[float, "Fraction of nights written as before DR3."] = 0.3
    gzip: Annotated[bool, "Compress the files."] = True

    @classmethod
    def ideal(cls, **changes: Any) -> "HotSurveyOptions":
        """Return options of single, steady stars, well calibrated and without noise."""
        ideal: dict[str, Any] = {
            "pairs": 0.0,
            "emission": 0.0,
            "broken": 0.0,
            "noise": False,
            "flux_calibration": 0.0,
            "tellurics": 0.0,
            "bad_pixels": 0.0,
        }
        return cls(**(ideal | changes))

    def __post_init__(self) -> None:
        check_limits(self, _LIMITS)
        check_ranges(self, _RANGES)


_LIMITS = (
    ("n_stars", 1, 1_000_000, "a survey has at least one star"),
    ("seed", 0, 2**32 - 1, "it is a number of 32 bits"),
    ("repeats", 0.0, 1.0, FRACTION),
    ("mass_slope", -5.0, 5.0, "beyond that all stars are alike"),
    ("evolved", 0.0, 1.0, FRACTION),
    ("sigma_int", 0.0, 2.0, "it is a scatter in magnitudes"),
    ("pairs", 0.0, 1.0, FRACTION),
    ("emission", 0.0, 1.0, FRACTION),
    ("broken", 0.0, 1.0, FRACTION),
    ("reddening", 0.0, 3.0, "stars behind more dust would not be seen"),
    ("patchiness", 0.0, 2.0, "it is the sigma of a log-normal"),
    ("parallax_error", 0.0, 100.0, "it is a ratio of standard deviations"),
    ("ivar_scale", 0.01, 100.0, "it is a ratio of standard deviations"),
    ("flux_calibration", 0.0, 0.5, "it is a relative error"),
    ("tellurics", 0.0, 1.0, FRACTION),
    ("bad_pixels", 0.0, 1000.0, "a spectrum has 3909 pixels"),
    ("old_layout", 0.0, 1.0, FRACTION),
)
_RANGES = (
    ("temperatures", 8000.0, 40_000.0),
    ("magnitudes", 3.0, 20.0),
    ("distances", 10.0, 30_000.0),
    ("mass_ratios", 0.15, 1.0),
    ("emission_widths", 1e-4, 1000.0),
    ("snr", 1.0, 1e4),
)
