"""Run the Python of a page and write what it prints under each block.

    python docs/make_outputs.py docs/tutorial-demo.md

What is printed stands in a ``text`` block after the ``python`` block that prints it;
``tests/test_docs.py`` compares the two.
"""

import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path

BLOCKS = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
"""Code, and what it printed where that is shown."""


def printed(code: str, namespace: dict, name: str) -> str:
    """Run a block and return what it prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, name, "exec"), namespace)  # noqa: S102
    return said.getvalue()


def refresh(page: Path) -> None:
    """Write the outputs of all blocks into the page."""
    text, made, end = page.read_text("utf-8"), [], 0
    namespace: dict = {"__name__": "page"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in BLOCKS.finditer(text):
            output = printed(block[1], namespace, page.name).rstrip()
            made += [text[end : block.start()], f"```python\n{block[1]}```\n"]
            made += [f"\n```text\n{output}\n```\n"] if output else []
            end = block.end()
    page.write_text("".join([*made, text[end:]]), "utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        refresh(Path(name).resolve())
