"""What can be chosen about a run on hot stars, besides what each room offers."""

__all__ = ["HotOptions", "extinction_ratio"]

from dataclasses import dataclass
from typing import Annotated

from steadystar.data.match import RADIUS_ARCSEC
from steadystar.measure.option_checks import check_values
from steadystar.models.dust import extinction_coefficients


@dataclass(frozen=True)
class HotOptions:
    """Hot stars: photometry, parallaxes, what is learned from whom."""

    photometry: Annotated[
        str, "Table of magnitudes and parallaxes; --photometry sets it."
    ] = ""
    photometry_columns: Annotated[
        str, "Our names of its columns, as ks=KMAG,ks_err=EK; --columns sets it."
    ] = ""
    zero_point: Annotated[
        str,
        "Zero point of the parallaxes: dr3, dr2, a number of mas, or a file of g and "
        "parallax_offset.",
    ] = "dr3"
    match_radius: Annotated[
        float, "Photometry within this distance is the star's, arcsec."
    ] = RADIUS_ARCSEC
    a_ks: Annotated[
        float, "A_Ks over E(B-V); 0 for that of the law of dust that gives E(B-V)."
    ] = 0.0
    learn_from: Annotated[int, "Stars to learn from, at most; each takes 30 kB."] = (
        20_000
    )
    held_out: Annotated[
        float, "Share of the stars that teach nothing, and so can judge."
    ] = 0.2
    model: Annotated[
        str,
        "Directory of a run whose emission.zip and luminosity.zip are to be used instead "
        "of learning them anew.",
    ] = ""

    def __post_init__(self) -> None:
        checks = (
            ("a_ks", 0 <= self.a_ks < 2, "A_Ks over E(B-V), such as 0.30, or 0"),
            ("held_out", 0 <= self.held_out < 0.9, "a share from 0 to below 0.9"),
            ("learn_from", self.learn_from >= 100, "100 or more"),
            (
                "match_radius",
                0 < self.match_radius < 3600,
                "arcseconds between 0 and 3600",
            ),
        )
        check_values(self, checks)


def extinction_ratio(options: HotOptions, r_v: float) -> float:
    """Return A_Ks over E(B-V)."""
    return options.a_ks or float(extinction_coefficients(r_v=r_v)["ks"])
