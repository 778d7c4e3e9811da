"""The rooms of src/qwen7b, lowest first: imports go only down, and rooms of one floor do not import each other.

The one source of what tests/test_imports.py enforces and of the lists in README.md, README_CN.md and CONTRIBUTING.md,
which docs/code.py writes.
"""

FLOORS: list[dict[str, tuple[str, str]]] = [
    {"installation": ("how qwen7b was installed", "qwen7b 是怎么安装的")},
    {"errors": ("what can go wrong", "可能出的错")},
    {"system": ("what machine and user give: memory, files, environment", "机器与用户所给的：内存、文件、环境变量")},
    {"config": ("a model's settings and their checks", "模型的设置及其检查")},
    {
        "files": ("tensors in files, by rows", "文件里的张量，按行读取"),
        "kernels": (
            "native CPU kernels (C++ in /kernels), each beside its readable twin",
            "原生 CPU 内核（C++ 源码在 /kernels），各有可读的对照实现",
        ),
    },
    {
        "hub": ("a name in, a path out", "名称进，路径出"),
        "model": (
            "token ids → logits: the readable PyTorch model and its cache",
            "词元 id → logits：可读的 PyTorch 模型及其缓存",
        ),
        "sampling": ("logits → the id that is picked", "logits → 选中的 id"),
        "sandbox": (
            "code that a model wrote, run behind walls: code in, outcome out",
            "在隔墙之后运行模型写的代码：代码进，结果出",
        ),
        "tasks": (
            "benchmarks: files → questions → prompts; a reply → what it answers",
            "评测：文件 → 题目 → 提示；回复 → 答案",
        ),
        "text": ("text ⇄ token ids; ChatML", "文本 ⇄ 词元 id；ChatML"),
    },
    {
        "dialects": (
            "how a family writes and reads tool calls",
            "各模型系列如何书写与读取工具调用",
        ),
        "packed": ("the same model in 8 or 4 bits", "同一个模型，8 比特或 4 比特"),
        "results": (
            "runs of benchmarks, read again: what differs between two, and reports",
            "评测结果，重新读取：两次运行有何不同，以及报告",
        ),
    },
    {"checkpoint": ("what a checkpoint says", "权重目录说了什么")},
    {
        "adapters": (
            "low-rank adapters in PEFT's format: what training writes and loading takes",
            "PEFT 格式的低秩适配器：训练写出，加载读入",
        ),
        "packing": ("checkpoint → packed tensors, and what is kept of them", "权重 → 打包的张量，以及缓存里留下的"),
    },
    {"loading": ("checkpoint → filled model", "权重 → 可用的模型")},
    {
        "data": (
            "raw text → clean documents → token shards, and their order",
            "原始文本 → 干净的文档 → 词元分片，及其读取次序",
        ),
        "generate": (
            "logits → token ids → text: the engine, speculation, stopping, chat",
            "logits → 词元 id → 文本：引擎、推测解码、停止、聊天",
        ),
        "vocab": ("vocabularies measured and extended", "词表的度量与扩充"),
    },
    {
        "batch": ("many requests in, an answer to each out: files of them", "许多请求进，逐个回答出：请求文件"),
        "convert": ("checkpoint → another on the disk", "权重 → 磁盘上的另一种权重"),
        "doctor": (
            "what is wrong with an artefact, and the remedy; what old tracebacks mean",
            "模型文件有什么毛病、怎么办；旧报错是什么意思",
        ),
        "evals": ("scores of tasks, perplexity, retrieval and speed", "任务得分、困惑度、检索与速度"),
        "tools": (
            "tools for chats: schemas, MCP servers, agents, a code interpreter",
            "聊天所用的工具：模式、MCP 服务器、智能体、代码解释器",
        ),
        "hf": ("Transformers 5 and ModelScope", "Transformers 5 与 ModelScope"),
    },
    {
        "train": (
            "conversations and token shards → trained weights: labels, the loop, runs",
            "对话与词元分片 → 训练好的权重：标签、训练循环、运行记录",
        )
    },
    {"__init__": ("the public face", "公开的接口")},
    {"terminal": ("the conversation at a terminal", "终端里的对话")},
    {"cli": ("parses, calls one library function, prints", "解析参数，调用一个库函数，打印")},
    {"__main__": ("python -m qwen7b", "python -m qwen7b")},
]

WAY: list[tuple[str, str]] = [
    ("cli", "reads the arguments and calls one library function"),
    ("hub", "turns the model's name into a path, fetching what is not here yet"),
    (
        "checkpoint",
        "says what lies there: the settings, which it gives to `config`, and each tensor's place in the model",
    ),
    ("files", "reads a tensor's rows when they are asked for"),
    ("packing", "rounds them to 4 or 8 bits, where the model is not packed yet, by the rules of `packed`"),
    ("loading", "fills the model, or maps what was packed before"),
    ("text", "turns the conversation into token ids"),
    ("generate", "asks the model for the next tokens, lets them be picked and stops"),
    ("model", "makes logits of ids, layer by layer"),
    ("packed", "does the same on packed weights, all layers in one call"),
    ("kernels", "are what that call runs"),
    ("sampling", "picks a token by its logits"),
    ("terminal", "shows the reply while `text` turns its ids back into characters"),
]
"""The way of a question through the rooms, from `qwen7b chat` to the reply."""

READING: dict[str, str] = {
    "system": (
        "environment importing memory container storage regular_file whole_file json_file appended_lines progress "
        "deadline in_thread jinja signals workers torch_threads figure"
    ),
    "config": "model_config family rotary_scaling long_context checked fields",
    "files": (
        "stored views safetensors_file checksums tensor_file tensor_folder pickled_file zip_records tensor_pickle "
        "gguf_header gguf_file gguf_parts gptq file_names weight_files"
    ),
    "kernels": "matrix linear training native structures constants limits",
    "hub": (
        "locate known official address repository protocol huggingface modelscope streaming wheels fetch archives "
        "listing saved_steps"
    ),
    "model": (
        "transformer rows layers adapter_weights rotary masks cache sequence_cache parameter_shapes empty_model "
        "rebuilding"
    ),
    "text": (
        "tokenizer vocabulary patterns normalization merging long_pieces name_finder detokenizer messages tool_calls "
        "chat_format chatml rendered token_spans content_marks chat_template format_detection chat_prompt "
        "completion_prompt reading tokenizer_files qwen_tiktoken tokenizer_json vocab_json gguf_vocabulary "
        "tokenizer_settings endings pattern_forms export"
    ),
    "sampling": "sampling sampling_keywords picking token_logprob",
    "sandbox": (
        "running outcome limits protected starting bubblewrap private_user work_folder unprotected launcher forking "
        "confinement landlock seccomp denied_calls system_call program values checking watching usage session "
        "session_process session_files session_launcher exchange cells figures"
    ),
    "tasks": (
        "task registry procedure item homes table_files choice mmlu chinese_choice ceval cmmlu gsm8k humaneval wmt22 "
        "plugin hf_agent tool_script bfcl bfcl_checker translation_scores choice_reading number_reading code_reading "
        "react_reading rouge cuts intervals"
    ),
    "dialects": (
        "dialect definition function_schema plain_schema tool_prompt registry lark masked_schema schema_references "
        "react react_parsing staged_parser react_grammar react_api react_demo react_page react_zh function_turns "
        "tool_call coder call_text call_object json_scan quote_scan arguments qwen_fn qwen_fn_parsing marks"
    ),
    "packed": (
        "formats rounding compensation layout modules unpacking packed_model key_balance packed_cache runner version"
    ),
    "checkpoint": (
        "checkpoint folders upstream_config position_fields tensor_names parameters checks "
        "generation_settings chat_verdict senses packed_folder packed_file own_config"
    ),
    "adapters": "settings adapter adapted_modules adapted placed beside tensor_roles adapter_files",
    "packing": (
        "automatic packing calibration kept_weights verdicts kept_tokenizer kept_vocabulary places cached removal"
    ),
    "loading": "loading placement packed_weights streamed named_tokenizer",
    "generate": (
        "loader qwen prompt_ids call_settings offered_tools "
        "response_format speculate_setting grammar grammar_matcher answers reply_builder "
        "stopping reply scorer continuations scoring hidden_states shared_engine engine admission scheduler pace slots "
        "cache_memory prefixes saved_prefixes request request_state outcome choosing verification speculation "
        "ngram_drafter model_drafter named_adapters"
    ),
    "data": (
        "corpus document intake reading byte_files json_lines text_files html_pages parquet_files sources json_parts "
        "cleaning rules own_rules language published_rules words contamination shingles weights parallel tally dedup "
        "copies minhash scratch card card_plots datatrove_steps tokenizing shards order"
    ),
    "vocab": (
        "text_groups compression table compression_plot pieces continued_merges token_rules "
        "extended_vocabulary extension row_initials new_rows byte_pairs"
    ),
    "batch": "answering request_files request_line request_body reply_objects",
    "convert": (
        "converting planning target_format target metadata companions remarks encoding target_files workplace "
        "verification conversion quantizing growing adapter_conversion"
    ),
    "doctor": (
        "artefact findings folder weights untrained_rows adapter fix repairs config_repair tracebacks known_error "
        "known_errors library_errors"
    ),
    "evals": (
        "evaluation preparation outputs call_outputs output_reader programs records signature submission fetching "
        "plugin_sets lm_eval_adapter generation_requests subject perplexity needle bench shapes journal tables plots"
    ),
    "results": (
        "saved_run lm_eval_samples pairing signature_words reasons comparison explanation published run_summary "
        "item_data report"
    ),
    "tools": (
        "agent agent_run toolbox module_tools tool_result transcript mcp_server mcp_source mcp_connection mcp_trace "
        "mcp_text code_interpreter framework_calls langchain_model langchain_messages smolagents_model "
        "qwen_agent_model"
    ),
    "hf": (
        "configuration decoder positions cache_name causal_lm stop_words streaming chat_mixin chat_tokenizer "
        "tokenizer_python tokenizer_fast control_names chat_pipeline modelscope_pipeline release"
    ),
    "train": (
        "conversation_forms conversations written_turns labels recipe_file recipe optimizer_settings schedule presets "
        "micro_batch vocabulary_loss loss objective loop fused_layer optimizers mesh_settings ranks rank_group "
        "step_writer not_finite precision memory_need run_pace checkpoints run_log model_folder initial "
        "corpus_batches pretraining validation compressors report example_batches finetune_recipe adapter_folder "
        "tuning finetuning preferences preference_examples preference_recipe preference_loss preference_batches "
        "preferring merging"
    ),
    "terminal": (
        "chatting terminal conversation tool_use commands set_command parts prompts replies plain display live "
        "keyboard streams visible clipboard kept_conversations language chinese"
    ),
    "cli": (
        "app options option_groups adapter_option loading_options sampling_options response_option "
        "tool_options chat complete answer_file tokenize models doctor convert quantize measuring perplexity evaluate "
        "evaluate_tasks evaluate_results evaluate_code evaluate_translation evaluate_tools evaluate_all "
        "evaluate_lm_eval explain report_runs bench data data_clean data_dedup data_tokenize vocab vocab_extend "
        "vocab_train train train_labels tuning_options train_sft train_dpo train_pretrain examples"
    ),
}
"""The files of each room in the order in which to read them."""
