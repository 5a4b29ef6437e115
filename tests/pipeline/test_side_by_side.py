"""Work done side by side gives what it gives alone."""

import threading

import pytest

from steadystar.pipeline.side_by_side import processors_at_hand, side_by_side

needs_two = pytest.mark.skipif(processors_at_hand(2) < 2, reason="one processor")


@pytest.fixture(params=["", "1"], ids=["threads", "alone"])
def threads(request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", request.param)


@pytest.mark.usefixtures("threads")
def test_results_have_their_names():
    assert side_by_side({"a": lambda: 1, "b": lambda: 2}) == {"a": 1, "b": 2}
    assert side_by_side({}) == {}


@pytest.mark.usefixtures("threads")
def test_an_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        side_by_side({"a": lambda: 1, "b": lambda: 1 / 0})


@needs_two
def test_both_are_done_at_once_unless_one_thread_was_asked_for(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    # Each waits for the other: alone, neither would come to its end.
    meet = threading.Barrier(2, timeout=30)
    assert set(side_by_side({"a": meet.wait, "b": meet.wait}).values()) == {0, 1}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = threading.get_ident()
    assert side_by_side(dict.fromkeys("ab", threading.get_ident)) == {
        "a": here,
        "b": here,
    }
