"""Stop strings in a stream."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from qwen7b.generate.stopping import StopStrings


@given(
    text=st.text("abc", max_size=30),
    stop=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    data=st.data(),
)
def test_any_split_gives_the_text_before_the_first_stop_string(text: str, stop: list[str], data: st.DataObject) -> None:
    watcher = StopStrings(stop)
    shown, rest = "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += watcher.push(rest[:size])
        rest = rest[size:]
        # Nothing is shown that a stop string would have to take back.
        assert text.startswith(shown)
    shown += watcher.flush()
    # What a reader of single characters would see.
    ends = [end for end in range(len(text) + 1) if text[:end].endswith(tuple(stop))] if stop else []
    if ends:
        found = max((string for string in stop if text[: ends[0]].endswith(string)), key=len)
        assert (watcher.found, shown) == (found, text[: ends[0] - len(found)])
    else:
        assert (watcher.found, shown) == (None, text)


def test_text_is_held_back_only_while_a_stop_string_may_begin() -> None:
    watcher = StopStrings(["Observation:"])
    assert [watcher.push(text) for text in ("see Obs", "cure", " Observ", "ation: x")] == ["see ", "Obscure", " ", ""]
    assert watcher.found == "Observation:" and watcher.flush() == ""


def test_long_stop_strings_take_time_by_the_length_of_the_text() -> None:
    # Each character might begin, and does not finish, a stop string of 100,000.
    watchers = [StopStrings(["ab" * 50_000 + "c"]), StopStrings(["a" * 100_000 + "b"] * 4)]
    start = time.process_time()
    for watcher, text in zip(watchers, ("ab" * 20_000 + "b", "a" * 20_000 + "c"), strict=True):
        shown = "".join(map(watcher.push, text)) + watcher.flush()
        assert shown == text and watcher.found is None
    assert time.process_time() - start < 20  # looking anew at each character would take minutes
