"""Writes docs/replies.md: what the demo model answers to a dozen prompts, greedily.

    .venv/bin/python examples/replies.py > docs/replies.md

Each prompt is asked alone, as a stream and in one batch with the others; the page is written only if all agree.
"""

from __future__ import annotations

import sys

import qwen7b

PROMPTS = [
    "你好，请用一句话介绍你自己。",
    "蒙古国的首都是哪里？",
    "用中文解释什么是递归，不超过五十字。",
    "把“今天天气很好”翻译成英文。",
    "写一个判断素数的 Python 函数。",
    "从一加到一百等于多少？",
    "What is the capital of Mongolia?",
    "Explain recursion in one sentence.",
    "Write a SQL query that counts the orders of each customer.",
    "Translate to Chinese: the early bird catches the worm.",
    "What does HTTP status code 404 mean?",
    "Write a haiku about the sea.",
]


def main() -> None:
    qwen = qwen7b.load("demo", quantize="q8")
    settings = {"sampling": qwen7b.Greedy(), "max_new_tokens": 96}
    replies = qwen.chat_batch(PROMPTS, **settings)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        streamed = "".join(piece.text for piece in qwen.stream(prompt, **settings))
        if not reply.text == streamed == qwen.chat(prompt, **settings).text:
            sys.exit(f"batch, stream and single call differ for {prompt!r}")
    print("# Replies of the demo model\n")
    print("Qwen2.5-Coder-0.5B-Instruct (Q4_K_M, packed as q8), greedy, at most 96 tokens. Written by\n")
    print("    .venv/bin/python examples/replies.py > docs/replies.md\n")
    print("which asks each prompt alone, as a stream and in a batch of twelve, and stops if any two replies differ.")
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ending = "" if reply.finish_reason == "stop" else f" *({reply.finish_reason})*"
        quoted = "\n".join(f"> {line}".rstrip() for line in reply.text.splitlines())
        print(f"\n## {prompt}\n\n{quoted}\n\n{reply.usage.completion_tokens} tokens{ending}")


if __name__ == "__main__":
    main()
