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
        "text": ("text ⇄ token ids; ChatML", "文本 ⇄ 词元 id；ChatML"),
    },
    {"packed": ("the same model in 8 or 4 bits", "同一个模型，8 比特或 4 比特")},
    {"checkpoint": ("what a checkpoint says", "权重目录说了什么")},
    {"packing": ("checkpoint → packed tensors, and what is kept of them", "权重 → 打包的张量，以及缓存里留下的")},
    {"loading": ("checkpoint → filled model", "权重 → 可用的模型")},
    {
        "generate": (
            "logits → token ids → text: sampling, stopping, the engine, chat",
            "logits → 词元 id → 文本：采样、停止、引擎、聊天",
        )
    },
    {
        "convert": ("checkpoint → another on the disk", "权重 → 磁盘上的另一种权重"),
        "doctor": (
            "what is wrong with an artefact, and the remedy; what old tracebacks mean",
            "模型文件有什么毛病、怎么办；旧报错是什么意思",
        ),
        "evals": ("perplexity, retrieval and speed", "困惑度、检索与速度"),
        "hf": ("Transformers 5 and ModelScope", "Transformers 5 与 ModelScope"),
    },
    {"__init__": ("the public face", "公开的接口")},
    {"terminal": ("the conversation at a terminal", "终端里的对话")},
    {"cli": ("parses, calls one library function, prints", "解析参数，调用一个库函数，打印")},
    {"__main__": ("python -m qwen7b", "python -m qwen7b")},
]
