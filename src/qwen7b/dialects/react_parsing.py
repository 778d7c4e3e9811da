"""Reads replies of ReAct as they come.

What belongs to a mark is not given out before it is told from it, nor is a thought before it is known to be one.
"""

from __future__ import annotations

from qwen7b.dialects.dialect import CallDelta
from qwen7b.dialects.marks import find_first, split_partial
from qwen7b.dialects.quote_scan import QuoteScan
from qwen7b.dialects.staged_parser import Item, StagedParser

_ACTION, _INPUT, _RESULT = "\nAction:", "\nAction Input:", "\nObservation:"
_ANSWER = "\nFinal Answer:"
_THOUGHT = "Thought:"
_MAX_OPENING = 160
"""A reply that begins like none of ReAct is given out as it comes once it has so many characters without a mark."""
_MAX_FALSE_START = 20
"""An answer with so few characters is dropped if another follows."""


class FirstCallParser(StagedParser):
    """Reads as the original's server does: the first action is the call, and what follows its input is dropped.

    The content is the thought before the action; without an action, what follows "Final Answer:"; without that, all of
    the reply. What stands behind the first "Final Answer:" is never a call. See `CallParser`.
    """

    def __init__(self) -> None:
        super().__init__(self._read_opening)
        self._may_call = True
        self._has_arguments = False
        self._quotes = QuoteScan()

    @property
    def is_quoting(self) -> bool:
        """Whether what comes next is a part of the arguments, whatever it is."""
        is_reading = self._read == self._read_arguments
        return is_reading and self._quotes.is_quoted and not self._held.endswith("\n")

    def flush(self) -> list[Item]:
        """Give out what was held back."""
        self._may_call = False  # an action without its input is none
        given = self.push("")
        rest, self._held = self._held, ""
        if self._read == self._read_arguments:
            return given  # what is held is blank, or the beginning of a result's mark
        if self._read == self._read_answer:
            rest = rest.removeprefix(" ")
        return [*given, rest] if rest else given

    def _read_opening(self, given: list[Item]) -> bool:
        """Hold the reply back until a mark tells what it is."""
        place, mark = find_first(self._held, (_ACTION, _INPUT, _ANSWER) if self._may_call else (_ANSWER,))
        is_thought = self._held[:1].isspace() or self._held.startswith(_THOUGHT)
        if place >= _MAX_OPENING and not is_thought and (mark or place >= _MAX_OPENING + len(_INPUT)):
            return self._go(self._read_plain)
        if mark == _ANSWER:
            self._held = self._held[place + len(mark) :]
            return self._go(self._read_answer)
        if mark == _ACTION:
            return self._read_name(place, _thought_of(self._held[:place]), given)
        return mark == _INPUT and self._refuse_calls()

    def _read_plain(self, given: list[Item]) -> bool:
        """Give out text that is no ReAct, up to an action."""
        marks = (_ACTION, _INPUT) if self._may_call else ()
        place, mark = find_first(self._held, marks)
        if mark == _ACTION:
            return self._read_name(place, self._held[:place].rstrip(), given)
        if mark == _INPUT:
            return self._refuse_calls()
        self._give(len(split_partial(self._held, marks)[0].rstrip()), given)
        return False

    def _read_name(self, place: int, thought: str, given: list[Item]) -> bool:
        """Read the name of an action, which is one line and stands right before the input."""
        after = self._held[place + len(_ACTION) :]
        end = after.find(_INPUT)
        if end >= 0:
            name = after[:end].strip()
            if not name or "\n" in name:
                return self._refuse_calls()
            given += [thought] if thought else []
            given.append(CallDelta(0, "", name))
            self._held = after[end + len(_INPUT) :]
            return self._go(self._read_arguments)
        name, line_break, rest = after.lstrip().partition("\n")
        if line_break and not _INPUT.strip().startswith(rest.lstrip()):
            return self._refuse_calls()
        return False

    def _read_arguments(self, given: list[Item]) -> bool:
        end, mark = find_first(self._held, (_RESULT,))
        settled = self._held[:end] if mark else split_partial(self._held, (_RESULT,))[0]
        text = settled.rstrip()
        if arguments := text if self._has_arguments else text.lstrip():
            given.append(CallDelta(0, arguments))
            self._has_arguments = True
        self._quotes.push(text)
        self._held = self._held[len(text) :]
        return self._go(self._drop) if mark else False

    def _read_answer(self, given: list[Item]) -> bool:
        """Hold the beginning of an answer back, which another one may follow."""
        place = self._held.find(_ANSWER)
        if 0 <= place <= _MAX_FALSE_START:
            self._held = self._held[place + len(_ANSWER) :]
            return True
        if len(self._held) <= _MAX_FALSE_START + len(_ANSWER):
            return False
        self._held = self._held.removeprefix(" ")
        return self._go(self._read_rest)

    def _read_rest(self, given: list[Item]) -> bool:
        self._give(len(self._held), given)
        return False

    def _refuse_calls(self) -> bool:
        """Read on where no action counts: the first of them is none."""
        self._may_call = False
        return True

    def _give(self, length: int, given: list[Item]) -> None:
        if length:
            given.append(self._held[:length])
            self._held = self._held[length:]


class LastCallParser:
    """Reads as the original's demo does: the last action is the call, and the content is all before it, as written.

    So nothing is given out behind the first "Action:" before the reply ends. See `CallParser`.
    """

    def __init__(self) -> None:
        self._held = ""

    @property
    def is_quoting(self) -> bool:
        """Whether what comes next is a part of the arguments, whatever it is."""
        action, input = self._held.rfind(_ACTION), self._held.rfind(_INPUT)
        quotes = QuoteScan()
        quotes.push(self._held[input + len(_INPUT) :] if 0 <= action < input else "")
        return quotes.is_quoted

    def push(self, text: str) -> list[Item]:
        """Take in a stretch, and give out what is settled by it."""
        self._held += text
        place, mark = find_first(self._held, (_ACTION,))
        settled = place if mark else len(split_partial(self._held, (_ACTION,))[0])
        given, self._held = self._held[:settled], self._held[settled:]
        return [given] if given else []

    def flush(self) -> list[Item]:
        """Give out what was held back."""
        text, self._held = self._held, ""
        action, input, result = text.rfind(_ACTION), text.rfind(_INPUT), text.rfind(_RESULT)
        if not 0 <= action < input:
            return [text] if text else []
        name = text[action + len(_ACTION) : input].strip()
        if not name or "\n" in name:
            return [text]
        end = result if result > input else len(split_partial(text, (_RESULT,))[0])
        arguments = text[input + len(_INPUT) : end].strip()
        return [*filter(None, [text[:action]]), CallDelta(0, arguments, name)]


def _thought_of(text: str) -> str:
    _, mark, thought = text.partition(f"{_THOUGHT} ")
    return (thought if mark else text.strip().removeprefix(_THOUGHT)).strip()
