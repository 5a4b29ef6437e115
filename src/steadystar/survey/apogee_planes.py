"""The images of an APOGEE file: flux, error, mask, wavelength, sky, telluric.

They follow each other without names in files up to DR16, and with names later; what
each one is stands in BUNIT, which is asked first. So an image that was lost shows as
missing, and never as its neighbor.
"""

__all__ = ["Planes", "chip_order", "coefficients", "in_order", "joined"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from steadystar.survey.fitsfile import DamagedFits, Unit
from steadystar.survey.header import text

_MOST_PIXELS = 20_000  # 8575 in an apStar, 4096 on a detector
_MOST_ROWS = 2000  # visits of the star with most of them: about 60; fibers: 300


@dataclass(frozen=True)
class Planes:
    """The images of a file, of one shape ``(row, pixel)``.

    ``flux``, ``error`` and ``mask`` are always there; ``others`` has those of
    wavelength, sky, sky error, telluric and telluric error that are.
    """

    flux: NDArray
    error: NDArray
    mask: NDArray[np.int64]
    others: dict[str, NDArray] = field(default_factory=dict)

    @classmethod
    def of(cls, units: Sequence[Unit], names: Sequence[str]) -> "Planes":
        """Find the images of a file.

        Arguments:
            units: the units of the file, primary header first.
            names: of the images in the order of the file, of `WORDS`.

        Raises:
            DamagedFits: flux, error or mask is missing, or not like the flux.
        """
        found: dict[str, NDArray] = {}
        for place, name in enumerate(names, start=1):
            unit = _find(units, place, name)
            if unit is None and name in ("flux", "error", "mask"):
                raise DamagedFits(f"it has no image of the {name}")
            if unit is None:
                continue
            image = _image(unit, name)
            if "flux" in found and image.shape != found["flux"].shape:
                raise DamagedFits(
                    f"the {name} has the shape {image.shape} and the flux "
                    f"{found['flux'].shape}"
                )
            found[name] = image
        flux, error, mask = (found.pop(name) for name in ("flux", "error", "mask"))
        whole = np.clip(np.nan_to_num(mask, nan=-1), -(2.0**31), 2.0**31)
        return cls(flux, error, whole.astype(np.int64), found)

    def ivar(self, bits: int) -> NDArray[np.float64]:
        """Return inverse variances, zero where a bit of ``bits`` is set in the mask.

        An error of zero is how these files say that a pixel does not exist.
        """
        with np.errstate(all="ignore"):
            ivar = 1 / self.error.astype(np.float64) ** 2
        missing = (self.error == 0) | ((self.mask & bits) != 0)
        return np.where(missing, 0.0, ivar)

    def other(self, name: str) -> NDArray[np.float64]:
        """Return another image, NaN where the file does not have it."""
        if name in self.others:
            return self.others[name].astype(np.float64)
        return np.full(self.flux.shape, np.nan)


WORDS: dict[str, tuple[str, ...]] = {
    "flux": ("flux",),
    "error": ("flux error", "err", "error"),
    "mask": ("flag mask", "pixel bitmask", "mask", "bitmask"),
    "wavelength": ("wavelength",),
    "sky": ("sky",),
    "sky error": ("sky error",),
    "telluric": ("telluric",),
    "telluric error": ("telluric error",),
    "lsf": ("lsf coefficients",),
}
"""What BUNIT calls each image, without its units and in lower case."""


def _find(units: Sequence[Unit], place: int, name: str) -> Unit | None:
    labels = [
        text(unit.header, "BUNIT").split("(")[0].strip().lower() for unit in units
    ]
    for unit, label in zip(units, labels, strict=True):
        if label in WORDS[name]:
            return unit
    if place < len(units) and not labels[place] and units[place].axes:
        return units[place]
    return None


def _image(unit: Unit, name: str) -> NDArray:
    image = np.atleast_2d(unit.image())
    if image.ndim != 2 or image.shape[1] < 2:
        raise DamagedFits(f"the {name} has the shape {image.shape}")
    if image.shape[1] > _MOST_PIXELS or image.shape[0] > _MOST_ROWS:
        raise DamagedFits(f"the {name} claims the shape {image.shape}")
    return image


def coefficients(units: Sequence[Unit], place: int) -> NDArray:
    """Return the rows of coefficients of the line spread function.

    Raises:
        DamagedFits: they are not there.
    """
    unit = _find(units, place, "lsf")
    if unit is None:
        raise DamagedFits("it has no coefficients of the line spread function")
    return np.atleast_2d(unit.image())


def in_order(images: dict[str, NDArray]) -> dict[str, NDArray]:
    """Put the pixels of sky and telluric images in order, if they are not.

    In all 28 real apVisit files at hand (DR13 to DR16) the two dither positions were
    interleaved the other way around in these images than in the flux: pixels 0 and 1
    are swapped, 2 and 3, and so on, and a sky line is a saw. Swapped back, the sum of
    the curvature falls to 0.13 to 0.17 of what it was (telluric) and 0.16 to 0.38
    (sky), where that of the flux would rise. What is done is decided by the images
    themselves: they are swapped if that halves it.

    Arguments:
        images: by name, ``(chip, pixel)``.
    """
    for name in ("telluric", "sky"):
        before = _roughness(images[name])
        if before > 0:
            if _roughness(_swapped(images[name])) < before / 2:
                return {key: _swapped(image) for key, image in images.items()}
            return images
    return images


def _swapped(image: NDArray) -> NDArray:
    whole = image.shape[1] // 2 * 2
    pairs = image[:, :whole].reshape(len(image), -1, 2)[:, :, ::-1]
    return np.concatenate([pairs.reshape(len(image), whole), image[:, whole:]], axis=1)


def _roughness(image: NDArray) -> float:
    """Return the sum of the curvature over all pixels."""
    image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    curvature = np.abs(image[:, 2:] - 2 * image[:, 1:-1] + image[:, :-2])
    return float(curvature.sum())


def chip_order(wave: NDArray) -> NDArray[np.intp]:
    """Return where the pixels of detectors go in one spectrum, from blue to red.

    Arguments:
        wave: ``(chip, pixel)``, each chip running up or down.

    Returns indices into the flattened image.
    """
    index = np.arange(wave.size).reshape(wave.shape)
    chips = np.argsort(wave[:, wave.shape[1] // 2], kind="stable")
    parts = []
    for chip in chips:
        falls = wave[chip, 0] > wave[chip, -1]
        parts.append(index[chip, ::-1] if falls else index[chip])
    return np.concatenate(parts)


def joined(image: NDArray, order: NDArray[np.intp]) -> NDArray:
    """Return the pixels of all detectors as one spectrum."""
    return image.ravel()[order]
