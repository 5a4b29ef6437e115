"""Files that are complete or not there, under names that are safe everywhere."""

__all__ = ["safe_name", "slug", "write_bytes"]

import hashlib
import re
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def safe_name(text: str) -> str:
    """Return a file name for any text whatsoever, different for different texts.

    The readable part keeps letters, digits, ``+`` and ``-`` and ends after 40 of them;
    a short hash tells apart what this made equal, also where a file system does not
    distinguish upper from lower case.
    """
    readable = re.sub(r"[^A-Za-z0-9+-]+", "_", text)[:40].strip("_-+") or "star"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}"


def slug(text: str) -> str:
    """Return ``text`` if it is a plain name, else a safe one."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,79}", text)
    return text if plain else safe_name(text)
