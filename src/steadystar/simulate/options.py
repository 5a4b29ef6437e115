"""What can be chosen about a simulated survey."""

__all__ = ["SurveyOptions"]

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from steadystar.simulate.common_options import CommonOptions
from steadystar.simulate.lamost_files import Layout
from steadystar.simulate.limits import FRACTION, Limits


@dataclass(frozen=True)
class _Plan:
    n_fields: Annotated[int, "Number of fields, each with stars of its own."] = 1
    n_nights: Annotated[int, "Nights on which each field is observed."] = 3
    n_plans: Annotated[
        int, "Plans per field, used in turn; each gives the stars other fibers."
    ] = 1


@dataclass(frozen=True)
class SurveyOptions(CommonOptions, _Plan):
    """What to simulate: the plan, the stars, the instrument and what goes wrong.

    Raises:
        ValueError: an option is not within its limits.
    """

    pulsators: Annotated[float, "Fraction of pulsating stars."] = 0.03
    night_range: Annotated[
        float,
        "If positive, the zero points of nights are uniform within plus and minus "
        "this instead, km/s.",
    ] = 0.0
    resolution_error: Annotated[
        float, "Relative error of the nominal resolving power 7500: 0.1 is R = 8250."
    ] = 0.0
    resolution_scatter: Annotated[
        float, "Relative scatter of the resolving power from fiber to fiber."
    ] = 0.03
    bad_pixels: Annotated[bool, "Add bad pixels, flagged and unflagged."] = True
    sky_residuals: Annotated[
        float, "Scatter of what is left of sky lines, as a fraction of the line."
    ] = 0.02
    nebulae: Annotated[float, "Fraction of stars behind nebular emission."] = 0.03

    coadds: Annotated[bool, "Write coadded spectra beside the exposures."] = True
    layout: Annotated[Layout, "Table layout: old (to DR7) or new."] = "old"
    gzip: Annotated[bool, "Compress the files."] = True

    limits: ClassVar[Limits] = (
        ("n_fields", 1, 10_000, "a survey has at least one field"),
        ("n_nights", 1, 1000, "a field is observed at least once"),
        ("n_plans", 1, 99, "a plan's number has two digits"),
        ("n_exposures", 1, 24, "24 exposures fill a night"),
        ("exptime", 1.0, 7200.0, "exposures last between a second and two hours"),
        *CommonOptions.limits,
        ("pulsators", 0.0, 1.0, FRACTION),
        ("night_range", 0.0, 50.0, "models reach a few hundred km/s beyond the arms"),
        ("resolution_error", -0.5, 1.0, "pixels would undersample a sharper line"),
        ("resolution_scatter", 0.0, 0.2, "pixels would undersample a sharper line"),
        ("sky_residuals", 0.0, 1.0, FRACTION),
        ("nebulae", 0.0, 1.0, FRACTION),
    )
    shares: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("giants", "hot_stars", "cool_stars"),
        ("single_lined", "double_lined", "pulsators"),
    )

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
        super().__post_init__()
        if self.layout not in ("old", "new"):
            raise ValueError(f"Option layout is {self.layout!r}: choose old or new.")
