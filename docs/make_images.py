"""Make the picture of the README from the report of the demo.

    steadystar demo -o demo
    python docs/make_images.py demo/run/report

It shows the blue arm of two of the report's own figures, one above the other: constant
stars in each exposure as measured, and their scatter before and after calibration.
"""

import sys
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).with_name("images") / "demo.png"
WIDTH, GAP = 1200, 24


def upper_half(path: Path) -> Image.Image:
    """Return the row of the blue arm, at the width of the picture."""
    drawn = Image.open(path).convert("RGB")
    row = drawn.crop((0, 0, drawn.width, drawn.height // 2))
    return row.resize(
        (WIDTH, row.height * WIDTH // row.width), Image.Resampling.LANCZOS
    )


def make(report: Path) -> None:
    """Write the picture, in few colors, so that it stays small."""
    rows = [
        upper_half(report / "figures" / f"{n}.png") for n in ("exposures", "constancy")
    ]
    size = (WIDTH, sum(row.height for row in rows) + GAP)
    picture = Image.new("RGB", size, "white")
    top = 0
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height + GAP
    TARGET.parent.mkdir(exist_ok=True)
    picture.quantize(64, dither=Image.Dither.NONE).save(TARGET, optimize=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
