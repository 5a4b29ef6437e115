"""Documentation runs as it stands, and says what there is."""

import re
from pathlib import Path

import polars as pl
import pytest

from steadystar.publish import paper

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


BLOCKS = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
"""Python, and the block of what it prints where the page shows that."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_the_page_runs_and_prints_what_is_shown(
    page, tmp_path, monkeypatch, capsys
):
    blocks = BLOCKS.findall(page.read_text(encoding="utf-8"))
    if not blocks:
        pytest.skip("a page without Python")
    monkeypatch.chdir(tmp_path)
    # Figures for papers are drawn by tests/publish.
    monkeypatch.setattr(paper, "draw", lambda *_: {"png": b"", "pdf": b""})
    namespace: dict = {"__name__": "page"}
    with pl.Config():
        for number, (code, shown) in enumerate(blocks, 1):
            exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)  # noqa: S102
            printed = capsys.readouterr().out
            if shown:
                assert_alike(printed, shown)
    assert namespace["__name__"] == "page"


def assert_alike(printed: str, shown: str) -> None:
    """The words are equal, and numbers nearly: processors round differently.

    A velocity of a faint star may move by some of its error of about 0.5 km/s where an
    iteration stops elsewhere. ``python docs/make_outputs.py PAGE`` writes them anew.
    """
    found, wanted = printed.split(), shown.split()
    assert len(found) == len(wanted), printed
    for one, other in zip(found, wanted, strict=True):
        try:
            number = float(one.rstrip(",;"))
            assert number == pytest.approx(float(other.rstrip(",;")), rel=0.05, abs=0.1)
        except ValueError:
            assert re.sub("-+", "-", one) == re.sub("-+", "-", other), printed


def test_a_page_that_shows_another_output_is_noticed():
    assert_alike("offset | 1.23 |----|", "offset | 1.24 |---|")
    assert_alike("bias 1.23, width 4.56;", "bias 1.24, width 4.55;")
    for wrong in ("offset | 1.63 |", "correction | 1.23 |", "offset | 1.23 | red"):
        with pytest.raises(AssertionError):
            assert_alike("offset | 1.23 |", wrong)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: p.stem)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    missing = [
        link
        for link in links
        if not link.startswith("https://") and not (page.parent / link).exists()
    ]
    assert not missing


def test_the_readme_begins_with_two_commands():
    blocks = re.findall(
        r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 2
    assert "steadystar demo" in blocks[0]
    assert re.search(r"^pytest", blocks[1], re.MULTILINE)


def test_the_picture_of_the_readme_is_small_and_can_be_made_again():
    text = (ROOT / "README.md").read_text()
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert (ROOT / picture).stat().st_size < 200_000
    assert Path(picture).name in (ROOT / "docs" / "make_images.py").read_text()
    assert text.index("steadystar demo -o demo") < text.index(picture)
