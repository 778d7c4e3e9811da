"""Chat templates as checkpoints of several families carry them, written out as test data."""

from __future__ import annotations

_LOOP = (
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

QWEN15_FIRST = "{% for message in messages %}" + _LOOP
QWEN15 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}" + _LOOP
)
QWEN2 = QWEN15.replace("helpful assistant<", "helpful assistant.<")
SMOLLM2 = QWEN15.replace(
    "You are a helpful assistant<", "You are a helpful AI assistant named SmolLM, trained by Hugging Face<"
)
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {{- "# Tools" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or \
(message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN25_MATH = QWEN25.replace(
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "Please reason step by step, and put your final answer within \\\\boxed{}.",
)
CHATML_WITH_BOS = "{{ bos_token }}" + QWEN2
TRIMMED = QWEN2.replace("message['content']", "message['content'] | trim")

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
    "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
R1_DISTILL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% else %}"
    "{% set content = message['content'] %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)

CHATML = {
    "Qwen1.5, first": (QWEN15_FIRST, None),
    "Qwen1.5": (QWEN15, "You are a helpful assistant"),
    "Qwen2": (QWEN2, "You are a helpful assistant."),
    "Qwen2.5": (QWEN25, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "Qwen2.5-Math": (QWEN25_MATH, "Please reason step by step, and put your final answer within \\boxed{}."),
    "SmolLM2": (SMOLLM2, "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "with BOS": (CHATML_WITH_BOS, "You are a helpful assistant."),
}
"""Each with its default system prompt."""
OTHERS = {
    "trimmed": TRIMMED,
    "Llama 2": LLAMA2,
    "Llama 3": LLAMA3,
    "Zephyr": ZEPHYR,
    "R1 distilled": R1_DISTILL,
}
"""Each ends a reply with one of `ENDS`."""
NAMES = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eot_id|>", "<|user|>", "<|system|>", "<|assistant|>", "<｜User｜>", "<｜Assistant｜>"),
    *("<｜end▁of▁sentence｜>", "<think>", "</think>", "<tool_call>"),
]
"""Control tokens that these templates use; <think> and what follows it are not special."""
ENDS = {
    "trimmed": "<|im_end|>",
    "Llama 2": "</s>",
    "Llama 3": "<|eot_id|>",
    "Zephyr": "</s>",
    "R1 distilled": "<｜end▁of▁sentence｜>",
}
