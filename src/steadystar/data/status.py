"""Why a measurement is trustworthy, or not.

Errors are results: a spectrum that cannot be measured keeps its row, NaN values and
the flags that say why. Flags combine; zero means that nothing is wrong. Each flag has
one sentence, which reports and catalogs print: ``SENTENCES``.
"""

__all__ = ["FATAL", "SENTENCES", "Status", "explain"]

from enum import IntFlag


class Status(IntFlag):
    """Outcome of one measurement; zero means nothing is wrong."""

    GOOD = 0
    NO_DATA = 1 << 0
    LOW_SNR = 1 << 1
    GRID_EDGE = 1 << 2
    FLAT_CHI2 = 1 << 3
    TWO_MINIMA = 1 << 4
    NOT_CONVERGED = 1 << 5
    REFERENCE = 1 << 6
    SINGLE_EXPOSURE = 1 << 7
    COSMIC_RAYS = 1 << 8
    POOR_FIT = 1 << 9
    DOUBLE_LINED = 1 << 10
    NO_TIME = 1 << 11
    NO_POSITION = 1 << 12
    DAMAGED_VALUES = 1 << 13
    BAD_WAVELENGTHS = 1 << 14
    UNCALIBRATED = 1 << 15
    TOO_FEW_STARS = 1 << 16
    TOO_FEW_VISITS = 1 << 17
    LAMP_OUTLIER = 1 << 18
    PLATE_REFUSED = 1 << 19
    INCONSISTENT_SCATTER = 1 << 20
    COADD = 1 << 21
    NO_ERROR = 1 << 22
    NO_RESOLUTION = 1 << 23
    USER_EXCLUDED = 1 << 24
    INTERNAL_ERROR = 1 << 25
    DUPLICATE = 1 << 26
    REDUNDANT = 1 << 27
    AMBIGUOUS = 1 << 28
    NO_VELOCITY = 1 << 29
    SURVEY_FLAG = 1 << 30
    BAD_ERROR = 1 << 31
    LABEL_EDGE = 1 << 32
    TWO_SOLUTIONS = 1 << 33
    NO_LABELS = 1 << 34


FATAL = (
    Status.NO_DATA
    | Status.LOW_SNR
    | Status.GRID_EDGE
    | Status.FLAT_CHI2
    | Status.NOT_CONVERGED
    | Status.SINGLE_EXPOSURE
    | Status.BAD_WAVELENGTHS
    | Status.INTERNAL_ERROR
    | Status.NO_VELOCITY
)
"""Flags after which there is no velocity: the row holds NaN."""

SENTENCES: dict[Status, str] = {
    Status.NO_DATA: "No usable pixel in the measuring window.",
    Status.LOW_SNR: "The signal-to-noise ratio is below the configured minimum.",
    Status.GRID_EDGE: "The best velocity lies on the edge of the search range.",
    Status.FLAT_CHI2: "The likelihood has no peak: the spectrum holds no velocity.",
    Status.TWO_MINIMA: "Two velocities fit equally well.",
    Status.NOT_CONVERGED: "The iteration did not settle.",
    Status.REFERENCE: "This exposure is the star's reference: its velocity is zero by "
    "definition, and its own error is part of all the others.",
    Status.SINGLE_EXPOSURE: "The only usable exposure of this star in this arm: a "
    "relative velocity needs two.",
    Status.COSMIC_RAYS: "Pixels hit by cosmic rays were found and left out.",
    Status.POOR_FIT: "The spectrum differs from the star's template by far more than "
    "its noise.",
    Status.DOUBLE_LINED: "The spectrum shows the lines of two stars.",
    Status.NO_TIME: "The time of the exposure is unknown.",
    Status.NO_POSITION: "The position of the star is unknown.",
    Status.DAMAGED_VALUES: "Some flux or inverse variance values were not finite or "
    "negative; those pixels were left out.",
    Status.BAD_WAVELENGTHS: "The wavelengths are not finite, positive and monotonic.",
    Status.UNCALIBRATED: "No zero point could be determined: the velocity is as "
    "measured, and correction_err holds the width of the prior.",
    Status.TOO_FEW_STARS: "Too few constant stars to determine this offset.",
    Status.TOO_FEW_VISITS: "Too few visits to determine this offset.",
    Status.LAMP_OUTLIER: "This exposure's zero point differs from its neighbors' as "
    "after a change of the arc lamp.",
    Status.PLATE_REFUSED: "The plate has too few spectra for this method.",
    Status.INCONSISTENT_SCATTER: "The scatter of this spectrograph's constant stars is "
    "inconsistent with that of the other spectrographs.",
    Status.COADD: "A coadded spectrum, not a single exposure.",
    Status.NO_ERROR: "The file gives no errors; they were estimated from the scatter "
    "of neighboring pixels.",
    Status.NO_RESOLUTION: "The file does not say the resolution of the spectrum.",
    Status.USER_EXCLUDED: "Excluded on request.",
    Status.INTERNAL_ERROR: "An unexpected error ended this measurement; the log of the "
    "run has the details.",
    Status.DUPLICATE: "The same velocity of the same visit occurs more than once in the "
    "table; only the first enters a solution or a mean.",
    Status.REDUNDANT: "The offsets of another family contain this one: it is counted "
    "there, and zero here.",
    Status.AMBIGUOUS: "The families of offsets cannot be told apart along a direction "
    "that runs through this one; their sum is determined, the parts are by convention.",
    Status.NO_VELOCITY: "There is no velocity, in the table or from the spectrum.",
    Status.BAD_ERROR: "The table gives no positive error for this velocity: it is kept "
    "as it was, and takes no part in anything.",
    Status.LABEL_EDGE: "A label lies on the edge of the model spectra: the star may be "
    "beyond it, and the errors are those of the labels that are free.",
    Status.TWO_SOLUTIONS: "Two different sets of labels fit almost equally well.",
    Status.NO_LABELS: "No labels could be measured.",
    Status.SURVEY_FLAG: "The survey that published this velocity marks it as failed.",
}


def explain(status: int) -> list[str]:
    """Return the sentence of every flag that is set in ``status``, in order of bits."""
    return [SENTENCES[flag] for flag in Status(status)]
