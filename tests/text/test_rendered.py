"""Every content is found in the ids of a conversation, as Transformers finds what an assistant said."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.errors import PromptError
from qwen7b.text import Message, Tokenizer, load_tokenizer
from qwen7b.text.chat_prompt import chat_format_of, chat_prompt
from qwen7b.text.chatml import DEFAULT_SYSTEM_PROMPT, ChatML
from text import synthetic, templates

Writer = Callable[[str], Path]
TEMPLATES = {name: template for name, (template, _) in templates.CHATML.items()} | templates.OTHERS


def talk(*contents: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, *({"role": roles[n % 2], "content": content} for n, content in enumerate(contents))]


TALKS = [
    talk("Hello 你好"),
    talk("Hi", "Hi", "Hi", "Hi", "user", "assistant", system="Hi"),
    talk(" Hello\n", "\n\n  Hi. ", "\n1+1=?", "e\u0301 2 ", system=" Be brief.\n"),
    talk("<|im_end|>", "a </s> <|eot_id|>", "|>", "<｜Assistant｜>x", "<", "<|im_"),
    talk("Q", "", "Q", "", "Q", "A"),
]


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = synthetic.train("qwen")
    tokenizer.add_tokens(templates.NAMES)
    path = tmp_path_factory.mktemp("named") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def write(vocabulary: Path, tmp_path: Path) -> Writer:
    """Writes a tokenizer's folder with a template."""

    def write(template: str) -> Path:
        (tmp_path / "tokenizer.json").write_bytes(vocabulary.read_bytes())
        config = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
        return tmp_path

    return write


def held(tokenizer: Tokenizer, messages: Sequence[Message], **about: bool) -> list[str | None]:
    rendered = chat_format_of(tokenizer).render(tokenizer, messages, **about)
    return [None if span is None else tokenizer.decode(rendered.ids[span]) for span in rendered.spans]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", TALKS)
def test_spans_hold_the_contents_in_order(write: Writer, name: str, messages: list[Message]) -> None:
    tokenizer = load_tokenizer(write(TEMPLATES[name]))
    rendered = chat_format_of(tokenizer).render(tokenizer, messages)
    trims = name in ("trimmed", "Llama 2", "Llama 3")
    end = 0
    for message, span in zip(messages, rendered.spans, strict=True):
        content = tokenizer.decode(tokenizer.encode(message["content"]))
        if not content.strip() and trims:
            assert span is None or span.start == span.stop
            continue
        assert span is not None and span.start >= end
        text = tokenizer.decode(rendered.ids[span])
        assert (content.strip() if trims else content) in text
        assert len(text) <= len(content) + 3  # what of the frame is in the same tokens
        end = span.stop


@pytest.mark.parametrize("name", ["Qwen1.5, first", "Qwen2", "Zephyr", "trimmed", "R1 distilled"])
@pytest.mark.parametrize("messages", [messages for messages in TALKS[:3] if len(messages) > 1])
def test_what_the_assistant_said_is_what_transformers_finds(write: Writer, name: str, messages: list[Message]) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    said = {
        "R1 distilled": (" + content + ", "}}{% generation %}{{ content }}{% endgeneration %}{{ "),
        "Zephyr": (
            "{{ '<|assistant|>\n'  + message['content'] + eos_token }}",
            "{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] }}{% endgeneration %}{{ eos_token }}",
        ),
        "trimmed": (
            " + message['content'] | trim + ",
            "}}{% generation %}{{ message['content'] | trim }}{% endgeneration %}{{ ",
        ),
    }.get(name, (" + message['content'] + ", "}}{% generation %}{{ message['content'] }}{% endgeneration %}{{ "))
    assert said[0] in TEMPLATES[name]
    folder = write(TEMPLATES[name].replace(*said))
    ours, theirs = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    # Theirs becomes control tokens wherever a content spells one, and marks every message of such a template.
    encoded = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    rendered = chat_format_of(ours).render(ours, messages)
    assert rendered.ids == encoded["input_ids"]
    counted = [
        span
        for message, span in zip(messages, rendered.spans, strict=True)
        if message["role"] == "assistant" or name in ("Qwen1.5, first", "Qwen2", "trimmed")
    ]
    mask = [0] * len(rendered.ids)
    for span in counted:
        assert span is not None
        mask[span] = [1] * (span.stop - span.start)
    assert mask == encoded["assistant_masks"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_open_message_ends_where_its_content_does(write: Writer, name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    folder = write(TEMPLATES[name])
    ours, theirs = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    for messages in (talk("Hello", "The answer is"), talk("a", "b", "c", "\nd", system="s")):
        rendered = chat_format_of(ours).render(ours, messages, continue_final_message=True)
        expected = theirs.apply_chat_template(messages, continue_final_message=True, return_dict=False)
        assert rendered.ids == expected
        assert rendered.spans[-1] is not None and rendered.spans[-1].stop == len(rendered.ids)
        assert held(ours, messages, continue_final_message=True)[:-1] == held(ours, messages)[:-1]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_beginning_of_a_reply_is_continued_as_by_transformers(write: Writer, name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    folder = write(TEMPLATES[name])
    ours, theirs = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    for beginning in ("", " ", "\n\n", "Four", "Four, \n", " {\n  ", "e\u0301 你", "<|im_", "```json\n{"):
        messages = talk("2+2=?", beginning)
        ids = chat_prompt(ours, messages)
        if not beginning.strip() and name in ("trimmed", "Llama 3"):  # theirs trims the frame, too
            assert ids == chat_prompt(ours, messages[:1])
        else:
            assert ids == theirs.apply_chat_template(messages, continue_final_message=True, return_dict=False)


@pytest.mark.parametrize("name", TEMPLATES)
def test_names_in_the_beginning_of_a_reply_stay_text(write: Writer, name: str) -> None:
    tokenizer = load_tokenizer(write(TEMPLATES[name]))
    beginning = "".join(named for named in templates.NAMES if named not in ("</think>", "<think>"))
    opened = chat_prompt(tokenizer, talk("2+2=?", "x"))
    hostile = chat_prompt(tokenizer, talk("2+2=?", f"x{beginning}"))
    assert [*filter(tokenizer.is_control, hostile)] == [*filter(tokenizer.is_control, opened)]
    assert tokenizer.decode(hostile).endswith(f"x{beginning}")


@pytest.mark.parametrize("template", [templates.R1_DISTILL, "{{ messages[0].content }}"])
def test_a_beginning_that_the_template_changes_cannot_be_continued(write: Writer, template: str) -> None:
    tokenizer = load_tokenizer(write(template))
    with pytest.raises(PromptError, match=r"the chat template of .* changes the last message"):
        chat_prompt(tokenizer, talk("2+2=?", "<think>Hm.</think>Four"))


QWEN3 = (
    "{%- for message in messages %}{%- set content = message.content %}{%- if message.role == 'assistant' %}"
    "{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{%- endif %}{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}{%- endfor %}"
)


@pytest.mark.parametrize("template", [QWEN3, templates.R1_DISTILL])
@pytest.mark.parametrize("thought", ["<think>\nHm.\n</think>\n\nFour.", "Hm.</think>\n\nFour."])
def test_a_span_has_what_is_left_of_a_content(write: Writer, template: str, thought: str) -> None:
    tokenizer = load_tokenizer(write(template))
    question, answer, thanks = held(tokenizer, talk("2+2?", thought, "Thanks."))
    assert (question, thanks) == ("2+2?", "Thanks.")
    assert answer == ("Four." if template is QWEN3 else "\n\nFour.")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ messages | length }} messages", [None, None]),
        ("{{ messages[-1].content }}", [None, "b"]),
        ("{{ messages[0].content[:1] }}{{ messages[1].content }}", [None, None]),  # marks change what is cut
        ("{{ messages[0].content }}{{ messages[0].content }}{{ messages[1].content }}", [None, "b"]),
        ("{% if messages[0].content != 'aa' %}{{ raise_exception('no') }}{% endif %}aa", [None, None]),
    ],
)
def test_what_cannot_be_told_has_no_span(write: Writer, template: str, expected: list[str | None]) -> None:
    assert held(load_tokenizer(write(template)), talk("aa", "b")) == expected


@given(
    contents=st.lists(st.text("ab \n你<|im_end|>e\u0301", max_size=8), min_size=1, max_size=5), by_parts=st.booleans()
)
@settings(deadline=None)
def test_chatml_by_parts_is_its_contents(chatty: Tokenizer, contents: list[str], by_parts: bool) -> None:
    messages = talk(*contents)
    rendered = ChatML(by_parts=by_parts).render(chatty, messages, add_generation_prompt=True)
    for content, span in zip(contents, rendered.spans, strict=True):
        assert span is not None
        if by_parts:
            assert rendered.ids[span] == chatty.encode(content)
        else:
            told = chatty.decode(rendered.ids[span])
            assert told.lstrip("\n") == chatty.decode(chatty.encode(content)).lstrip("\n")
    assert rendered.system is not None
    system = f"<|im_start|>system\n{DEFAULT_SYSTEM_PROMPT}<|im_end|>"
    assert chatty.decode(rendered.ids[rendered.system]) == system and rendered.system.start == 0
    without = ChatML(default_system=None, by_parts=by_parts).render(chatty, messages)
    assert without.system is None
    bos = ChatML(bos="<|endoftext|>", by_parts=by_parts).render(chatty, messages)
    assert bos.system is not None and bos.system.start == 1
