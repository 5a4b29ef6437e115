"""What can be chosen about a run on hot stars, besides what each room offers."""

__all__ = ["HotOptions", "extinction_ratio"]

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from steadystar.data.match import RADIUS_ARCSEC
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
        "Directory of a run whose emission.npz and luminosity.npz are to be used instead "
        "of learning them anew.",
    ] = ""

    def __post_init__(self) -> None:
        if not 0 <= self.a_ks < 2:
            raise ValueError(
                f"a_ks = {self.a_ks}: give A_Ks over E(B-V), such as 0.30, or 0."
            )
        if not 0 <= self.held_out < 0.9:
            raise ValueError(
                f"held_out = {self.held_out}: give a share from 0 to below 0.9."
            )
        if self.learn_from < 100:
            raise ValueError(f"learn_from = {self.learn_from}: give 100 or more.")
        if not 0 < self.match_radius < 3600 or np.isnan(self.match_radius):
            raise ValueError(
                f"match_radius = {self.match_radius}: give arcseconds between 0 and 3600."
            )


def extinction_ratio(options: HotOptions, r_v: float) -> float:
    """Return A_Ks over E(B-V)."""
    return options.a_ks or float(extinction_coefficients(r_v=r_v)["ks"])
