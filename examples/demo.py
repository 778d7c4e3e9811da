"""Two short conversations with the demo model, in Chinese and in English, and how fast they were."""

from __future__ import annotations

import time

import qwen7b

CONVERSATIONS = [
    ["你好！你是谁？用一句话回答。", "请用 Python 写一个判断素数的函数，只要代码，不要解释。"],
    ["What is the capital of France?", "Which river runs through it? Answer in one sentence."],
]


def answer(qwen: qwen7b.Qwen, messages: list[dict[str, str]]) -> tuple[qwen7b.Reply, float]:
    """Print the reply as it is made; return it with the seconds to its first piece."""
    start = time.perf_counter()
    seconds_to_first = 0.0
    for piece in qwen.stream(messages, sampling=qwen7b.Greedy(), max_new_tokens=120):
        seconds_to_first = seconds_to_first or time.perf_counter() - start
        print(piece.text, end="", flush=True)
    assert piece.reply is not None
    writing = time.perf_counter() - start - seconds_to_first
    num_tokens = piece.reply.usage.completion_tokens
    print(f"\n[{num_tokens} tokens, {(num_tokens - 1) / writing:.1f} tokens/s]\n")
    return piece.reply, seconds_to_first


def main() -> None:
    start = time.perf_counter()
    qwen = qwen7b.load("demo")  # on a CPU packed at the first start, mapped from the cache at the next
    loading = time.perf_counter() - start
    waits = []
    for questions in CONVERSATIONS:
        messages: list[dict[str, str]] = []
        for question in questions:
            print(f"> {question}\n")
            messages.append({"role": "user", "content": question})
            reply, seconds_to_first = answer(qwen, messages)
            messages.append({"role": "assistant", "content": reply.text})
            waits.append(seconds_to_first)
    print(f"Loaded in {loading:.1f} s; the first token came after {waits[0]:.2f} s.")


if __name__ == "__main__":
    main()
