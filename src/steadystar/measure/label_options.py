"""How labels are measured."""

__all__ = ["LabelOptions"]

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from steadystar.measure.option_checks import (
    LONGER_WAVES,
    SHARE,
    SHORTEST_WAVE,
    check_values,
    check_windows,
)


@dataclass(frozen=True)
class LabelOptions:
    """How labels are measured."""

    windows: Annotated[
        dict[str, tuple[float, float]],
        "Window of each arm, Angstrom in vacuum; other arms use all they have.",
    ] = field(
        default_factory=lambda: {"blue": (4960.0, 5340.0), "red": (6320.0, 6790.0)}
    )
    together: Annotated[
        bool, "All arms of an exposure give one set of labels; else each its own."
    ] = True
    min_snr: Annotated[
        float, "Spectra with a lower S/N per pixel are kept as rows, not measured."
    ] = 5.0
    resolution_err: Annotated[
        float, "Relative error of the resolving power that the files give."
    ] = 0.05
    fallback_resolution: Annotated[
        float,
        "Resolving power of spectra whose files do not say it; 0 leaves them out.",
    ] = 0.0
    max_vsini: Annotated[float, "Fastest rotation, km/s."] = 300.0
    continuum_scale: Annotated[
        float, "Half waves of this many Angstrom take up what the continuum left."
    ] = 60.0
    min_good_fraction: Annotated[
        float, "Smallest share of usable pixels in the window."
    ] = 0.2
    scale_errors: Annotated[
        bool, "Errors are scaled by the scatter of the residuals (ivar_scale)."
    ] = True

    def __post_init__(self) -> None:
        check_values(
            self,
            (
                ("min_snr", not np.isnan(self.min_snr), "a number"),
                (
                    "resolution_err",
                    0 < self.resolution_err < 0.5,
                    "a share between 0 and 0.5",
                ),
                (
                    "fallback_resolution",
                    0 <= self.fallback_resolution < np.inf,
                    "lambda / FWHM, or 0",
                ),
                (
                    "max_vsini",
                    0 < self.max_vsini <= 1000,
                    "more than 0, up to 1000 km/s",
                ),
                (
                    "continuum_scale",
                    SHORTEST_WAVE <= self.continuum_scale < np.inf,
                    LONGER_WAVES,
                ),
                ("min_good_fraction", 0 <= self.min_good_fraction <= 1, SHARE),
            ),
        )
        check_windows(self.windows)
