"""What the bits of APOGEE's pixel mask mean, and which pixels are left out.

Names and bits are those of the survey (APOGEE_PIXMASK: Holtzman et al. 2015, AJ 150,
148, table 5; sdss.org, "APOGEE bitmasks"). The survey calls nine of them bad; those are
always left out. The others say that something is near, and are a matter of choice.

Measured on four pairs of visits of one star (in neighboring fibers, with almost the
same barycentric correction, their difference over its error): pixels with SIG_SKYLINE
scatter by 2.2 of their errors, and 11% of them by more than 5, because what is left of
a subtracted sky line is no photon noise; pixels near telluric lines, in the Littrow
ghost, and in the regions of persistence scatter by 1.0 to 1.1, as do those without any
bit. So SIG_SKYLINE is left out unless told otherwise. (The survey's own stacks, apStar,
give such pixels errors ten times as large, and those with persistence errors larger by
1.7 to 2.2.)
"""

__all__ = ["ALWAYS", "BITS", "bits_of", "names_of"]

BITS: dict[str, int] = {
    name: 1 << bit
    for bit, name in enumerate(
        (
            "BADPIX",  # bad in the bad-pixel mask, or a strong jump of persistence
            "CRPIX",  # cosmic ray
            "SATPIX",  # saturated
            "UNFIXABLE",
            "BADDARK",
            "BADFLAT",
            "BADERR",  # error set very high
            "NOSKY",  # no sky from the sky fibers
            "LITTROW_GHOST",
            "PERSIST_HIGH",  # in a region of persistence
            "PERSIST_MED",
            "PERSIST_LOW",
            "SIG_SKYLINE",  # near a sky line that is significant next to the star
            "SIG_TELLURIC",  # near a telluric line with significant absorption
            "NOT_ENOUGH_PSF",  # under half of the profile in good pixels
        )
    )
}
"""Bits by name."""

_BAD = (
    *("BADPIX", "CRPIX", "SATPIX", "UNFIXABLE", "BADDARK", "BADFLAT", "BADERR"),
    *("NOSKY", "NOT_ENOUGH_PSF"),
)

ALWAYS = sum(BITS[name] for name in _BAD)
"""The bits that the survey calls bad: 16639."""


def bits_of(names: str) -> int:
    """Return the bits to leave out: those always left out, and the named ones.

    Arguments:
        names: separated by spaces or commas.

    Raises:
        ValueError: a name is none of a bit.
    """
    bits = ALWAYS
    for name in names.replace(",", " ").upper().split():
        if name not in BITS:
            raise ValueError(
                f"{name!r} is no bit of APOGEE's pixel mask: give some of "
                f"{', '.join(BITS)}, separated by spaces."
            )
        bits |= BITS[name]
    return bits


def names_of(value: int) -> list[str]:
    """Return the names of the bits that are set in ``value``, in order of bits."""
    return [name for name, bit in BITS.items() if int(value) & bit]
