"""What can be chosen when zero points are solved."""

__all__ = ["METHODS", "CalibrationError", "ZeroPointOptions"]

from dataclasses import dataclass, field
from typing import Annotated

METHODS = ("joint", "linear", "xiong", "common-constant")


class CalibrationError(ValueError):
    """A table or a wish that cannot be calibrated: culprit, reason, remedy."""


@dataclass(frozen=True)
class ZeroPointOptions:
    """How zero points are solved, and when an offset counts as determined."""

    by: Annotated[
        tuple[tuple[str, ...], ...],
        "Families of offsets, each a list of columns; all are solved together. Where two "
        "families contain the same offset, it is given to the one named first. Empty: "
        "those usual for the survey, such as spectrograph, arm, exposure_id for LAMOST and "
        "telescope, fiber for APOGEE.",
    ] = ()
    method: Annotated[
        str,
        "joint (constancy inferred), linear (Saydjari 2025), xiong (Xiong 2021) or "
        "common-constant (Zong 2020).",
    ] = "joint"
    min_stars: Annotated[
        int,
        "Stars that must have visits in a group and outside it; with fewer, a star that "
        "varies cannot be told from an offset.",
    ] = 3
    min_constant: Annotated[
        int, "Constant stars among them (method joint, when it has converged)."
    ] = 2
    prior_width: Annotated[
        float,
        "Width of the offsets, km/s, for groups that stay undetermined when too few "
        "others are determined to measure it. 0.5 is LAMOST's per exposure and arm; "
        "where families are the usual ones of another survey, so is the width.",
    ] = 0.5
    fiber_prior_width: Annotated[
        float,
        "The same for families with fibers but no exposures, km/s (Xiong 2021: 0.1).",
    ] = 0.1
    exclude_stars: Annotated[
        tuple[str, ...], "Stars that stay out of the solution; they are corrected."
    ] = ()
    error_by: Annotated[
        tuple[str, ...],
        "Columns by which scale and floor of the errors may differ (method joint).",
    ] = ()
    max_rounds: Annotated[int, "Most iterations of the methods joint and xiong."] = 100
    xiong_threshold: Annotated[
        float, "Xiong's iteration stops when means and their changes are below, km/s."
    ] = 0.01
    min_plate_spectra: Annotated[
        int, "common-constant: plates with fewer spectra in an arm are refused."
    ] = 540
    max_scatter: Annotated[
        float, "common-constant: largest scatter of a constant star, km/s."
    ] = 1.0
    rounds: Annotated[int, "common-constant: rounds of selection and correction."] = 1
    inconsistent_scatter: Annotated[
        float,
        "common-constant: a spectrograph is set aside on a plate where its typical "
        "scatter exceeds that of all others by this factor.",
    ] = 3.0
    lamp_shift: Annotated[
        float,
        "Shift of exposures calibrated with the alternate lamp, km/s (Zong 2020).",
    ] = 6.5
    lamp_tolerance: Annotated[
        float, "How far from that shift an exposure may be and still be named, km/s."
    ] = 1.0
    lamp_columns: Annotated[
        tuple[str, ...],
        "Columns that name an exposure: only families with one of them are searched for "
        "changes of the lamp.",
    ] = field(default=("exposure_id", "exposure", "expid", "lmjm"))

    def assumed_width(self, family: tuple[str, ...]) -> float:
        """Return the width of a family's offsets, km/s, while they are not measured."""
        fibers = "fiber" in family and not set(family) & set(self.lamp_columns)
        return self.fiber_prior_width if fibers else self.prior_width

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise CalibrationError(
                f"There is no method {self.method!r}: choose one of "
                f"{', '.join(METHODS)}."
            )
        positive = {
            "prior_width": self.prior_width,
            "fiber_prior_width": self.fiber_prior_width,
            "xiong_threshold": self.xiong_threshold,
            "max_scatter": self.max_scatter,
            "max_rounds": self.max_rounds,
            "rounds": self.rounds,
            "min_stars": self.min_stars,
        }
        for name, value in positive.items():
            if not value > 0:
                raise CalibrationError(
                    f"{name} = {value} has no meaning: give a positive number."
                )
