"""Reports: what they show of a run, and that no text of a model can do anything in them."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from qwen7b.errors import SettingError
from qwen7b.results import read_runs, write_report
from saved_runs import record, write_run

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> "
    "<!--<script> \u202eright to left\u2066 \x00 \x1b[31m \ud800 ]]> {{ 7 * 7 }} {% raw %} | `code` \u2028 &lt;"
)


class Page(HTMLParser):
    """The elements of a page, with the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        (self.scripts if self._in_script else self.texts).append(data)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    @property
    def data(self) -> list[dict[str, Any]]:
        return [json.loads(script) for script in self.scripts[:-1]]


def report_of(folder: Path, out: Path | None = None) -> tuple[str, Page]:
    markdown, page = write_report([folder], out or folder)
    return markdown.read_text("utf-8"), Page(page.read_text("utf-8"))


def test_a_report_shows_the_score_with_all_that_must_be_known(tmp_path: Path) -> None:
    records = [record(0), record(1, "B"), record(2, tie=True), record(3, truncated=True)]
    markdown, page = report_of(write_run(tmp_path, records))
    shown = " ".join(page.texts)
    for text in (markdown, shown):
        assert "75.00" in text and "30.1 to 95.4" in text
        assert "decided by a tie" in text and "with a prompt that was cut" in text
        assert "the run of 4" in text and "versions" in text and "STEM" in text
    (data,) = page.data
    assert [(item["id"], item["correct"]) for item in data["items"]] == [
        (f"anatomy/{row}", row != 1) for row in range(4)
    ]
    prompt = data["beginnings"][0] + data["items"][2]["prompt"]
    assert prompt == records[2]["prompt"] and data["items"][2]["flags"] == ["tie"]


def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    _, page = report_of(write_run(tmp_path, [record(0)]))
    attributes = [name for _, attributes in page.elements for name in attributes]
    assert not {"src", "srcset", "data", "action", "onclick"} & set(attributes)
    links = [attributes["href"] for tag, attributes in page.elements if "href" in attributes]
    assert links and all(str(link).startswith("#") for link in links)
    assert not {"link", "iframe", "img", "object", "base"} & set(page.tags)
    (policy,) = [own["content"] for tag, own in page.elements if own.get("http-equiv") == "Content-Security-Policy"]
    assert policy and "default-src 'none'" in policy and "unsafe" not in policy
    assert "innerHTML" not in page.scripts[-1] and "fetch(" not in page.scripts[-1]


def test_no_text_of_a_model_does_anything(tmp_path: Path) -> None:
    harmless = write_run(tmp_path / "harmless", [record(0, output="ok", predicted="A")])
    changes = {"output": HOSTILE, "predicted": HOSTILE, "prompt": HOSTILE, "answer": HOSTILE, "id": HOSTILE}
    hostile = write_run(
        tmp_path / "hostile",
        [record(0, **changes, subject=HOSTILE), record(1, output="ok", predicted="A")],
        model=HOSTILE,
        remark=HOSTILE,
    )
    markdown, page = report_of(hostile)
    plain = report_of(harmless)[1]
    assert page.tags.count("script") == plain.tags.count("script") and "img" not in page.tags
    text = (hostile / "report.html").read_text("utf-8")
    for sign in ("\x00", "\x1b", "\u202e", "\u2066"):
        assert sign not in text and sign not in markdown
    (data,) = page.data
    item = next(item for item in data["items"] if item["id"] == HOSTILE)
    assert item["output"] == item["predicted"] == HOSTILE
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    kinds = [child.type for token in tokens for child in token.children or ()]
    assert "html_inline" not in kinds and "image" not in kinds and not any(t.type == "html_block" for t in tokens)


def test_fourteen_thousand_items_make_a_page_in_seconds(tmp_path: Path) -> None:
    start = "The same examples stand before each question.\n" * 60
    records = [record(row, prompt=f"{start}Question: What is bone {row}?\nAnswer:") for row in range(14042)]
    folder = write_run(tmp_path, records)
    begin = time.perf_counter()
    _, page = report_of(folder)
    assert time.perf_counter() - begin < 60
    assert (folder / "report.html").stat().st_size < 14042 * 400
    assert len(page.data[0]["items"]) == 14042 and page.tags.count("details") < 10


def test_a_report_has_several_runs_in_order(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [record(0)])
    write_run(tmp_path / "first", [record(0), record(1)], task="cmmlu")
    second = write_run(tmp_path / "second", [record(0)], procedure="original-2023-08", items=14042)
    markdown, page = write_report([first, second], tmp_path / "out")
    lines = [line for line in markdown.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert [line.split(":")[0] for line in lines[:3]] == ["## CMMLU", "## MMLU", "## MMLU"]
    assert [len(data["items"]) for data in Page(page.read_text("utf-8")).data] == [2, 1, 1]
    assert "| **this run** | **100.0** |" in markdown.read_text("utf-8")


def test_a_run_that_is_not_finished_has_no_score(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [record(0)])
    summary = json.loads((folder / "mmlu.json").read_text("utf-8"))
    (folder / "mmlu.json").write_text(json.dumps({"signature": summary["signature"]}), "utf-8")
    markdown, page = report_of(folder)
    assert "Not finished" in markdown and "Not finished" in " ".join(page.texts)


def test_translations_have_a_score_and_no_percentages(tmp_path: Path) -> None:
    own: dict[str, Any] = {"output": "你好", "predicted": "你好", "correct": None}
    folder = write_run(tmp_path, [record(0, **own)], task="wmt22-en-zh")
    summary = json.loads((folder / "wmt22-en-zh.json").read_text("utf-8"))
    summary |= {"score": 30.6, "interval": [28.0, 33.0], "more": {"chrF": 25.0}, "remark": "By words.", "groups": {}}
    (folder / "wmt22-en-zh.json").write_text(json.dumps(summary), "utf-8")
    markdown, _ = report_of(folder)
    assert "30.60 (95 %: 28.0 to 33.0)" in markdown and "By words\\." not in markdown and "By words." in markdown
    assert "| score chrF | 25.00 |" in markdown and "### Subjects" not in markdown


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [record(0)])
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(SettingError, match=r"the report cannot be written to .*file"):
        write_report([folder], tmp_path / "file")


@pytest.mark.parametrize(("field", "value"), [("procedure", "mine"), ("shots", "five"), ("chat", None), ("split", 3)])
def test_a_signature_that_was_edited_is_refused(tmp_path: Path, field: str, value: object) -> None:
    write_run(tmp_path, [record(0)], **{field: value})
    with pytest.raises(SettingError, match=f"mmlu.json has a signature without a sound '{field}'"):
        read_runs(tmp_path)


def test_an_item_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, [record(0), record(1), record(0)])
    with pytest.raises(SettingError, match=r"line 3 of .*mmlu.jsonl has the item 'anatomy/0' again"):
        read_runs(tmp_path)
