"""The page on formats runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def test_the_python_of_the_page_runs_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 8
    (tmp_path / "page.py").write_text("\n".join(blocks))
    # In a process of its own: a reader's Python, without the strictness of the tests.
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # What the text around the blocks promises.
    assert "- The file gives no errors; they were estimated" in done.stdout
    assert "no reader recognizes it; it looks like a PNG image" in done.stdout
    assert "alf Dra [15000.]" in done.stdout
    assert "NaN" in done.stdout
