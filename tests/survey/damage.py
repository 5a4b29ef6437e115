"""Damaged files out of good ones: seeded, so that a failure can be had again.

`damage(content, kind, rng)` returns the bytes of a damaged file. The kinds are what
happens to files: bits that flip on disks and lines, transfers that stop, blocks that
are lost or written twice, numbers that pipelines leave behind, headers that nobody
would write by accident.
"""

import gzip
import zlib

import numpy as np

BLOCK = 2880
HOSTILE = (
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "'; DROP TABLE stars; --",
    "{{7*7}}${7*7}%n%s",
    "\x1b[31mred\x07",
    "=cmd|' /C calc'!A0",
    "A" * 68,
)
ABSURD = (
    *("-1", "0", "1", "999", "2147483647", "9223372036854775807", "1" * 60),
    *("1E400", "-1E-400", "NaN", "T", "'text'", "", "1.5", "1/0"),
)
KEYS = (
    *("NAXIS", "NAXIS1", "NAXIS2", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "TFORM1"),
    *("TFORM3", "TTYPE1", "EXTNAME", "XTENSION", "SIMPLE", "LMJM", "SNR", "EXPTIME"),
    *("RA", "DEC", "LMJD", "SPID", "FIBERID", "PLANID", "DATE-BEG", "DATE-OBS"),
    *("CRVAL1", "CDELT1", "CRPIX1", "CTYPE1", "COEFF0", "COEFF1", "CUNIT1", "BSCALE"),
    *("TSCAL1", "TZERO1", "TDIM1", "THEAP", "ZIMAGE", "GROUPS", "LMJMLIS0", "END"),
    *("GEO_LONG", "GEO_LAT", "BSS_ITRP", "OBJNAME", "TELESCOP", "LMJMLIST"),
    *("OBJID", "MJD5", "PLATE", "JD-MID", "UT-MID", "BUNIT", "NVISITS", "VRAD1"),
    *("VRAD2", "JD1", "SFILE1", "CRVAL", "CDELT", "SDSS_ID", "INSTRMNT", "TFORM15"),
    *("TTYPE15", "PLATEID", "VHELIO", "OBSRVTRY", "SURVEY", "STARFLAG"),
)


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip up to 20 bits anywhere."""
    out = bytearray(content)
    for _ in range(rng.integers(1, 21)):
        out[rng.integers(len(out))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def scramble(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite a run of bytes with random ones."""
    start = int(rng.integers(len(content)))
    size = int(rng.integers(1, 4000))
    return content[:start] + rng.bytes(size) + content[start + size :]


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """Stop early; now and then at once."""
    return content[: int(rng.integers(len(content)) * rng.choice([0.01, 1.0]))]


def lose(content: bytes, rng: np.random.Generator) -> bytes:
    """Lose some bytes or whole blocks."""
    unit = int(rng.choice([1, 80, BLOCK]))
    start = int(rng.integers(len(content) // unit + 1)) * unit
    return content[:start] + content[start + unit * int(rng.integers(1, 4)) :]


def double(content: bytes, rng: np.random.Generator) -> bytes:
    """Write some blocks twice, or swap two stretches of blocks."""
    blocks = [content[i : i + BLOCK] for i in range(0, len(content), BLOCK)]
    first, last = sorted(rng.integers(len(blocks), size=2))
    if rng.random() < 0.5:
        return b"".join(blocks[:last] + blocks[first:])
    return b"".join(blocks[first:last] + blocks[:first] + blocks[last:])


def header(content: bytes, rng: np.random.Generator) -> bytes:
    """Give a keyword an absurd or hostile value, or remove it, once or a few times."""
    out = content
    for _ in range(rng.integers(1, 4)):
        key = str(rng.choice(KEYS)).ljust(8).encode()
        places = [i for i in range(0, len(out), 80) if out[i : i + 8] == key]
        if not places:
            continue
        at = int(rng.choice(places))
        value = str(rng.choice(ABSURD))
        if rng.random() < 0.4:
            value = "'" + str(rng.choice(HOSTILE)).replace("'", "''") + "'"
        card = key + b"= " + value.encode("latin-1")
        if rng.random() < 0.1:
            card = b"COMMENT"
        out = out[:at] + card[:80].ljust(80) + out[at + 80 :]
    return out


def values(content: bytes, rng: np.random.Generator) -> bytes:
    """Write NaN, infinities, negative numbers, zeros or huge ones over float32 data."""
    bad = rng.choice([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e38, -1e38, 1e-45])
    out = bytearray(content)
    size = int(rng.integers(1, 2000))
    start = int(rng.integers(BLOCK, max(BLOCK + 1, len(out)))) // 2 * 2
    stop = min(len(out) - 3, start + 4 * size)
    with np.errstate(over="ignore", under="ignore"):
        number = np.array([bad], ">f4").tobytes()
    for at in range(start, stop, 4 * int(rng.integers(1, 50))):
        out[at : at + 4] = number
    return bytes(out)


def lines(content: bytes, rng: np.random.Generator) -> bytes:
    """Spoil lines of text: fields lost, added, hostile, not numbers."""
    rows = content.split(b"\n")
    for _ in range(rng.integers(1, 30)):
        at = int(rng.integers(len(rows)))
        what = str(rng.choice(["", ",,,", "nan,nan,nan", "1", *HOSTILE, *ABSURD]))
        rows[at] = what.encode()
    return b"\n".join(rows)


def bomb(content: bytes, rng: np.random.Generator) -> bytes:
    """A small file that decompresses to a large one."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabytes = int(rng.integers(60, 100))
    zeros = b"".join(squeeze.compress(bytes(1_000_000)) for _ in range(megabytes))
    return squeeze.compress(content[:BLOCK]) + zeros + squeeze.flush()


def other(content: bytes, rng: np.random.Generator) -> bytes:
    """Another kind of file altogether under this name."""
    return [
        b"",
        b"\0" * 5000,
        b"<html><body>404 Not Found</body></html>",
        b"SIMPLE  =                    T",
        b"\x1f\x8b\x08\x00",
        b"PAR1PAR1",
        b"PAR1" + bytes(20) + b"PAR1",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"{" * 100_000,
        b"," * 100_000,
        b"1,2\n" * 5,
        "# %ECSV 1.0\n# ---\nλ φ\n".encode() * 3,
        gzip.compress(gzip.compress(content)),
        rng.bytes(3000),
    ][rng.integers(14)]


FITS_KINDS = (flip, scramble, truncate, lose, double, header, header, values, values)
KINDS = (flip, scramble, truncate, lose, other, lines, bomb)


def damage(content: bytes, seed: int) -> bytes:
    """Return a damaged version of a good file; equal seeds give equal damage.

    A gzipped file is damaged as it is, or inside of its compression.
    """
    rng = np.random.default_rng(seed)
    if rng.random() < 0.15:
        kinds = KINDS if rng.random() < 0.1 else KINDS[:-1]
        return kinds[rng.integers(len(kinds))](content, rng)
    zipped = content[:2] == b"\x1f\x8b"
    inside = gzip.decompress(content) if zipped else content
    kinds = FITS_KINDS if inside.startswith(b"SIMPLE") else KINDS[:-1]
    spoiled = kinds[rng.integers(len(kinds))](inside, rng)
    return gzip.compress(spoiled, mtime=0) if zipped else spoiled
