"""The examples below the help of each verb: commands to type as they are, or with one's own file names."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "qwen7b chat",
        'qwen7b chat "Why is the sky blue?"',
        "qwen7b doctor ./Qwen-7B-Chat",
        "qwen7b --install-completion",
    ),
    "chat": (
        "qwen7b chat",
        "qwen7b chat --continue",
        'qwen7b chat "Why is the sky blue?" --temperature 0.7 --seed 1',
        'qwen7b chat --system "Answer in one sentence." < question.txt',
        "qwen7b chat --model ./Qwen-7B-Chat --quantize q4",
        'qwen7b chat --system "$(cat handbook.md)" --prompt-cache prompts "May I bring a dog?"',
        "qwen7b chat --tools tools.py --mcp mcp-server-time",
        "qwen7b chat --input requests.jsonl --output answers.jsonl",
    ),
    "complete": (
        'qwen7b complete "The capital of Mongolia is" --max-new-tokens 8',
        'qwen7b complete --stop ";" --json < start.sql',
        "qwen7b complete --control-tokens < chatml.txt",
        "qwen7b complete --input prompts.jsonl --output answers.jsonl --temperature 0",
    ),
    "pull": ("qwen7b pull demo", "qwen7b pull Qwen/Qwen2.5-0.5B-Instruct"),
    "models": ("qwen7b models", "qwen7b models --json", "qwen7b models rm demo-q8", "qwen7b models prune"),
    "rm": ("qwen7b models rm demo-q8", "qwen7b models rm demo smollm2 --yes"),
    "prune": ("qwen7b models prune --dry-run", "qwen7b models prune --yes --json"),
    "tokenize": ('qwen7b tokenize "Hello, 世界"', "qwen7b tokenize --model ./qwen.tiktoken --json < text.txt"),
    "convert": (
        "qwen7b convert ./Qwen-7B-Chat ./Qwen-7B-Chat-as-Qwen2 --to qwen2",
        "qwen7b convert ./Qwen-7B-Chat qwen-7b-chat.gguf --to gguf --quantize q8_0",
    ),
    "quantize": (
        "qwen7b quantize ./Qwen-7B-Chat ./qwen-7b-chat-q8 --format q8",
        "qwen7b quantize demo ./demo-q4 --format q4 --gptq --calibrate text.txt",
    ),
    "doctor": (
        "qwen7b doctor ./Qwen-7B-Chat",
        "qwen7b doctor ./Qwen-7B-Chat --fix ./Qwen-7B-Chat-mended",
        "qwen7b doctor < traceback.txt",
    ),
    "perplexity": (
        "qwen7b perplexity text.txt",
        "qwen7b perplexity text.txt --quantize none,q8,q4 --max-tokens 20000",
        "qwen7b perplexity text.txt --lengths 1024,4096 --methods none,ntk+logn --plot table.png",
    ),
    "bench": ("qwen7b bench", "qwen7b bench --shape 7b --quantize q4", "qwen7b bench --model ./Qwen-7B-Chat --json"),
    "vocab": (
        "qwen7b vocab measure texts --model demo --model smollm2",
        "qwen7b vocab extend greek.txt --tokens 2000 --script Greek --model ./qwen.tiktoken --out qwen_extra.tiktoken",
    ),
    "measure": (
        "qwen7b vocab measure greek.txt code=src --model ./qwen.tiktoken",
        "qwen7b vocab measure texts --model demo --model smollm2 --baseline smollm2 --plot figure.png",
        "qwen7b vocab measure texts --model original=./qwen.tiktoken --model ./tokenizer.json --json",
    ),
    "extend": (
        "qwen7b vocab extend greek --tokens 2000 --script Greek --model ./qwen.tiktoken --out qwen_extra.tiktoken",
        "qwen7b vocab extend greek.txt --tokens 2000 --keep english.txt --check held-out.txt --json",
        "qwen7b vocab extend laws.txt --tokens 500 --min-frequency 50 --model demo --out tokenizer.json",
        "qwen7b vocab extend greek.txt --tokens 2000 --script Greek --model ./Qwen-7B --out ./Qwen-7B-greek",
    ),
    "eval": (
        "qwen7b eval --fetch mmlu",
        "qwen7b eval mmlu --limit 20",
        "qwen7b eval ceval --data ceval --procedure original-2023-08 --model ./Qwen-7B --out results",
        "qwen7b eval needle --haystack text.txt",
    ),
    "mmlu": (
        "qwen7b eval mmlu --data mmlu --limit 20",
        "qwen7b eval mmlu --data mmlu --procedure original-2023-08 --model ./Qwen-7B --out results --resume",
        "qwen7b eval mmlu --data mmlu --subjects anatomy,virology --dry-run",
    ),
    "ceval": (
        "qwen7b eval ceval --data ceval",
        "qwen7b eval ceval --data ceval --chat --procedure original-2023-12 --model ./Qwen-7B-Chat --out results",
        "qwen7b eval ceval --data ceval --procedure original-2023-08 --model ./Qwen-7B --submission answers.json",
    ),
    "cmmlu": ("qwen7b eval cmmlu --data cmmlu", "qwen7b eval cmmlu --data cmmlu --subjects agronomy --json"),
    "gsm8k": (
        "qwen7b eval gsm8k --data gsm8k --limit 20",
        "qwen7b eval gsm8k --data gsm8k --procedure original-2023-08 --model ./Qwen-7B --out results",
        "qwen7b eval gsm8k --data gsm8k --chat --procedure original-2023-12 --shots 4 --model ./Qwen-7B-Chat",
    ),
    "humaneval": (
        "qwen7b eval humaneval --data HumanEval --allow-code --limit 20",
        "qwen7b eval humaneval --data HumanEval --allow-code --chat --procedure original-2023-08 --out results",
        "qwen7b eval humaneval --data HumanEval --allow-code --samples 20 --temperature 0.8 --seed 1",
    ),
    "wmt22-en-zh": (
        "qwen7b eval wmt22-en-zh --data wmt22 --procedure original-2023-08 --limit 100",
        "qwen7b eval wmt22-en-zh --src news.en --ref news.zh --chat --model ./Qwen-7B-Chat --out results",
        "qwen7b eval wmt22-en-zh --data wmt22 --shots-src other.en --shots-ref other.zh --dry-run",
    ),
    "wmt22-zh-en": (
        "qwen7b eval wmt22-zh-en --data wmt22 --procedure original-2023-08 --limit 100",
        "qwen7b eval wmt22-zh-en --src news.zh --ref news.en --json",
    ),
    "lm-eval": (
        "qwen7b eval lm-eval run --model qwen7b --model_args pretrained=demo,quantize=q8 --tasks hellaswag --limit 100",
        "qwen7b eval lm-eval run --model qwen7b --tasks gsm8k --apply_chat_template --output_path results",
        "qwen7b eval lm-eval ls tasks",
    ),
    "plugin": (
        "qwen7b eval plugin --write-data plugin",
        "qwen7b eval plugin --data plugin --limit 10 --procedure original-2023-12 --out results",
        "qwen7b eval plugin --data exam --split v1 --procedure original-2023-08 --model ./Qwen-7B-Chat",
    ),
    "bfcl": (
        "qwen7b eval bfcl --data bfcl --limit 10 --out results",
        "qwen7b eval bfcl --data bfcl --categories parallel,live_simple --dialect react-api --unconstrained",
    ),
    "hf-agent": (
        "qwen7b eval hf-agent --allow-code --limit 6",
        "qwen7b eval hf-agent --allow-code --prompt run_prompt_template.txt --procedure original-2023-08 --out results",
    ),
    "explain": (
        "qwen7b eval explain results/original results/standard",
        "qwen7b eval explain results/standard lm-eval-output --json",
    ),
    "train": (
        "qwen7b train labels conversations.jsonl",
        "qwen7b train sft conversations.jsonl --lora --out run",
        "qwen7b train recipe tiny > recipe.toml",
        "qwen7b train pretrain recipe.toml --out run",
        "qwen7b train report run",
    ),
    "sft": (
        "qwen7b train sft conversations.jsonl --model demo --lora --rank 8 --steps 100 --out run",
        "qwen7b train sft conversations.jsonl --model ./Qwen-7B --lora --max-length 512 --out run",
        "qwen7b train sft conversations.jsonl --model ./Qwen-7B --lora --quantize q4 --out run",
    ),
    "dpo": (
        "qwen7b train dpo preferences.jsonl --model demo --lora --steps 100 --out run",
        "qwen7b train dpo preferences.jsonl --model ./Qwen-7B-Chat --lora --quantize q4 --beta 0.2 --out run",
    ),
    "merge": (
        "qwen7b train merge run ./Qwen-7B-tuned",
        "qwen7b train merge run tuned.gguf --quantize q8_0",
        "qwen7b train merge run ./qwen-7b-tuned-q4 --quantize q4",
    ),
    "pretrain": ("qwen7b train pretrain recipe.toml --out run", "qwen7b train pretrain recipe.toml --out run --json"),
    "recipe": ("qwen7b train recipe tiny > recipe.toml", "qwen7b train recipe memo"),
    "train report": ("qwen7b train report run", "qwen7b train report run --compressors 0 --out report.html"),
    "report": (
        "qwen7b eval report results",
        "qwen7b eval report results/original results/standard --out report",
    ),
    "all": (
        "qwen7b eval all --limit 20 --out results",
        "qwen7b eval all --data benchmarks --tasks mmlu,ceval --procedure original-2023-08 --model ./Qwen-7B --json",
    ),
    "data": (
        "qwen7b data clean crawl/ books.jsonl.gz --out clean",
        "qwen7b data dedup clean/ --out deduplicated",
        "qwen7b data tokenize deduplicated/ --tokenizer tokenizer.json --out shards",
    ),
    "data tokenize": (
        "qwen7b data tokenize deduplicated/ --tokenizer tokenizer.json --out shards --held-out 0.01",
        "qwen7b data tokenize books.jsonl.gz --tokenizer ./qwen.tiktoken --errors skip --out shards --json",
    ),
    "vocab train": (
        "qwen7b vocab train deduplicated/ --tokens 4096 --out tokenizer.json",
        "qwen7b vocab train src/ --format text --tokens 2048 --out code/tokenizer.json --json",
    ),
    "clean": (
        "qwen7b data clean crawl/ books.jsonl.gz --out clean",
        "qwen7b data clean web=crawl/ code=src/ --languages zh,en,code --benchmarks benchmarks/ --out clean",
        "qwen7b data clean dump.parquet --text-field content --errors skip --without c4 --out clean",
    ),
    "dedup": (
        "qwen7b data dedup clean/ --out deduplicated",
        "qwen7b data dedup clean/ --weights wiki=2,web:en=0.5 --out mixture --json",
    ),
    "labels": (
        "qwen7b train labels conversations.jsonl --limit 3",
        "qwen7b train labels conversations.json --mode original --tokenizer ./Qwen-7B-Chat --max-length 512 --json",
        "qwen7b train labels conversations.jsonl --html labels.html",
    ),
    "needle": (
        "qwen7b eval needle --haystack text.txt",
        "qwen7b eval needle --haystack text.txt --lengths 2048,8192 --methods none,ntk --resume results.jsonl",
    ),
}


def examples(verb: str) -> str:
    """A verb's examples as typer's epilog; the \\b keeps typer from joining the lines."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in EXAMPLES[verb])])
