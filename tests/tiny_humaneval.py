"""A file like HumanEval's, with functions of our own."""

from __future__ import annotations

import json
from pathlib import Path

FUNCTIONS = [
    {
        "task_id": "Test/0",
        "prompt": 'def add(a: int, b: int) -> int:\n    """Return the sum of a and b."""\n',
        "entry_point": "add",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert add(-1, 1) == 0\n",
    },
    {
        "task_id": "Test/1",
        "prompt": (
            "import re\n\n\ndef shout(text: str,\ttimes: int = 1) -> str:  \n"
            "    ''' Return text in capitals.\n\n    >>> shout('a')\n    'A'\n    '''\n"
        ),
        "entry_point": "shout",
        "canonical_solution": "    return text.upper() * times\n",
        "test": "METADATA = {}\n\n\ndef check(candidate):\n    assert candidate('ab') == 'AB'\n",
    },
]


def write_functions(folder: Path) -> Path:
    lines = "".join(json.dumps(function) + "\n" for function in FUNCTIONS)
    (folder / "HumanEval.jsonl").write_text(lines, "utf-8")
    return folder
