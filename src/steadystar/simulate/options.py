"""What can be chosen about a simulated survey."""

__all__ = ["SurveyOptions"]

from dataclasses import dataclass
from typing import Annotated, Any

from steadystar.simulate.lamost_files import Layout
from steadystar.simulate.limits import FRACTION, check_limits, check_ranges


@dataclass(frozen=True)
class SurveyOptions:
    """What to simulate: the plan, the stars, the instrument and what goes wrong."""

    n_fields: Annotated[int, "Number of fields, each with stars of its own."] = 1
    n_spectrographs: Annotated[int, "Spectrographs in use, 1 to 16."] = 1
    n_stars: Annotated[int, "Stars per field and spectrograph, 1 to 250."] = 130
    n_nights: Annotated[int, "Nights on which each field is observed."] = 3
    n_exposures: Annotated[int, "Exposures of a field in a night."] = 3
    n_plans: Annotated[
        int, "Plans per field, used in turn; each gives the stars other fibers."
    ] = 1
    first_night: Annotated[int, "First night, local modified Julian day."] = 58408
    exptime: Annotated[float, "Exposure time, s."] = 1200.0
    magnitudes: Annotated[
        tuple[float, float], "Brightest and faintest g magnitude of the stars."
    ] = (9.5, 13.3)

    giants: Annotated[float, "Fraction of G and K giants."] = 0.3
    hot_stars: Annotated[float, "Fraction of A stars."] = 0.06
    cool_stars: Annotated[float, "Fraction of M dwarfs."] = 0.04
    single_lined: Annotated[float, "Fraction of single-lined binaries."] = 0.12
    double_lined: Annotated[float, "Fraction of double-lined binaries."] = 0.04
    eclipsing: Annotated[
        float, "Fraction of the double-lined binaries that are seen nearly edge-on."
    ] = 0.3
    pulsators: Annotated[float, "Fraction of pulsating stars."] = 0.03

    night_drift: Annotated[
        float, "Scatter of the zero point from night to night (Gaussian sigma), km/s."
    ] = 1.0
    night_range: Annotated[
        float,
        "If positive, the zero points of nights are uniform within plus and minus "
        "this instead, km/s.",
    ] = 0.0
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

    resolution_error: Annotated[
        float, "Relative error of the nominal resolving power 7500: 0.1 is R = 8250."
    ] = 0.0
    resolution_scatter: Annotated[
        float, "Relative scatter of the resolving power from fiber to fiber."
    ] = 0.03
    noise: Annotated[bool, "Add photon and read noise."] = True
    ivar_scale: Annotated[
        float, "True scatter over what the file's inverse variance says."
    ] = 0.9
    ivar_scale_scatter: Annotated[
        float, "Relative scatter of that ratio from spectrum to spectrum."
    ] = 0.1
    cosmic_rays: Annotated[float, "Mean number of cosmic rays in 1200 s."] = 2.0
    bad_pixels: Annotated[bool, "Add bad pixels, flagged and unflagged."] = True
    dead_fibers: Annotated[float, "Fraction of stars whose fiber gets no light."] = 0.01
    sky_residuals: Annotated[
        float, "Scatter of what is left of sky lines, as a fraction of the line."
    ] = 0.02
    nebulae: Annotated[float, "Fraction of stars behind nebular emission."] = 0.03
    cloudy: Annotated[float, "Fraction of exposures through clouds."] = 0.1

    coadds: Annotated[bool, "Write coadded spectra beside the exposures."] = True
    layout: Annotated[Layout, "Table layout: old (to DR7) or new."] = "old"
    gzip: Annotated[bool, "Compress the files."] = True

    @classmethod
    def ideal(cls, **changes: Any) -> "SurveyOptions":
        """Return options without noise, defects, clouds and errors of calibration."""
        ideal: dict[str, Any] = {
            "night_drift": 0.0,
            "exposure_drift": 0.0,
            "fiber_offset": 0.0,
            "alternate_lamp": 0.0,
            "resolution_scatter": 0.0,
            "noise": False,
            "ivar_scale": 1.0,
            "ivar_scale_scatter": 0.0,
            "cosmic_rays": 0.0,
            "bad_pixels": False,
            "dead_fibers": 0.0,
            "sky_residuals": 0.0,
            "nebulae": 0.0,
            "cloudy": 0.0,
        }
        return cls(**(ideal | changes))

    def __post_init__(self) -> None:
        check_limits(self, _LIMITS)
        check_ranges(self, (("magnitudes", 5.0, 20.0),))
        for names in (
            ("giants", "hot_stars", "cool_stars"),
            ("single_lined", "double_lined", "pulsators"),
        ):
            total = sum(getattr(self, name) for name in names)
            if total > 1:
                raise ValueError(
                    f"Options {', '.join(names)} sum to {total:.3g}, but are fractions "
                    "of the same stars: make their sum at most 1."
                )
        if self.layout not in ("old", "new"):
            raise ValueError(f"Option layout is {self.layout!r}: choose old or new.")


_LIMITS = (
    ("n_fields", 1, 10_000, "a survey has at least one field"),
    ("n_spectrographs", 1, 16, "LAMOST has 16"),
    ("n_stars", 1, 250, "a spectrograph has 250 fibers; add spectrographs or fields"),
    ("n_nights", 1, 1000, "a field is observed at least once"),
    ("n_exposures", 1, 24, "24 exposures fill a night"),
    ("n_plans", 1, 99, "a plan's number has two digits"),
    ("first_night", 51_544, 70_000, "nights are modified Julian days after 1999"),
    ("exptime", 1.0, 7200.0, "exposures last between a second and two hours"),
    ("giants", 0.0, 1.0, FRACTION),
    ("hot_stars", 0.0, 1.0, FRACTION),
    ("cool_stars", 0.0, 1.0, FRACTION),
    ("single_lined", 0.0, 1.0, FRACTION),
    ("double_lined", 0.0, 1.0, FRACTION),
    ("eclipsing", 0.0, 1.0, FRACTION),
    ("pulsators", 0.0, 1.0, FRACTION),
    ("night_drift", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("night_range", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("exposure_drift", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("fiber_offset", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
    ("alternate_lamp", 0.0, 1.0, FRACTION),
    ("resolution_error", -0.5, 1.0, "pixels would undersample a sharper line"),
    ("resolution_scatter", 0.0, 0.2, "pixels would undersample a sharper line"),
    ("ivar_scale", 0.01, 100.0, "it is a ratio of standard deviations"),
    ("ivar_scale_scatter", 0.0, 1.0, "it is the sigma of a log-normal"),
    ("cosmic_rays", 0.0, 1000.0, "it is a number of hits in 4136 pixels"),
    ("dead_fibers", 0.0, 1.0, FRACTION),
    ("sky_residuals", 0.0, 1.0, FRACTION),
    ("nebulae", 0.0, 1.0, FRACTION),
    ("cloudy", 0.0, 1.0, FRACTION),
)
