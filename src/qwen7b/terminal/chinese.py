"""The Chinese translations of a conversation's own messages, by the English ones."""

from __future__ import annotations

CHINESE = {
    # Keys and commands
    """\
Enter sends a message. For several lines press Alt-Enter (or Esc, then Enter),
end a line with a backslash, or put the message between triple quotes.
Arrow keys bring back earlier messages; Ctrl-X Ctrl-E opens the line in $EDITOR.
Ctrl-C ends a reply, or clears the line you are typing. Ctrl-D leaves.
A line that begins with a blank is never a command.""": """\
按回车发送。要写多行，请按 Alt-回车（或先按 Esc 再按回车），
或在行末加反斜杠，或把消息放在三个双引号之间。
方向键调出以前的消息；Ctrl-X Ctrl-E 用 $EDITOR 编辑当前行。
Ctrl-C 中断回答，或清空正在输入的内容。Ctrl-D 退出。
以空格开头的行不会当作命令。""",
    "show the settings, or change temperature, speculate, …": "查看设置，或修改 temperature、speculate 等",
    "show the model, or go on with another one": "查看模型，或换一个模型继续对话",
    "show the adapters, or go on with another one, or with none": "查看适配器，或换一个继续，或不用适配器",
    "show the system prompt, or set it": "查看或修改系统提示词",
    "put a text file before your next message": "把一个文本文件放在下一条消息之前",
    "have the last message answered anew": "重新回答上一条消息",
    "change the last message and send it again": "修改上一条消息后重新发送",
    "take back the last message and its reply": "撤回上一条消息及其回答",
    "copy the last reply to the clipboard": "把上一条回答复制到剪贴板",
    "forget the conversation, keep the system prompt": "清空对话，保留系统提示词",
    "write the conversation to a JSON file": "把对话保存为 JSON 文件",
    "go on with a conversation from such a file": "从这样的文件继续对话",
    "show this": "显示本帮助",
    "leave; so do /exit and /bye": "退出；/exit 和 /bye 也一样",
    # What commands answer
    "Chat with {name}. /help shows what you can do, Ctrl-D leaves.": (
        "正在与 {name} 对话。输入 /help 查看帮助，按 Ctrl-D 退出。"
    ),
    "The model is {name}.": "当前模型：{name}。",
    "The adapter is {name}; there are {names}, and none.": "当前适配器：{name}；可选 {names}，或 none（不用适配器）。",
    "The model has no adapters beside it: start with --adapter NAME=FOLDER.": (
        "模型旁边没有适配器：请用 --adapter 名字=目录 启动。"
    ),
    "System prompt: {text}": "系统提示词：{text}",
    "No system prompt is set: the model's default holds.": "没有设置系统提示词，使用模型的默认值。",
    "{name} goes before your next message ({count:,} characters).": "{name} 将放在下一条消息之前（{count:,} 个字符）。",
    "{name} goes before your next message (1 character).": "{name} 将放在下一条消息之前（1 个字符）。",
    "Taken back: {line}": "已撤回：{line}",
    "Forgotten.": "已清空。",
    "Nothing is left to chance, so it may be the same: {remedy} varies it.": (
        "当前设置不含随机性，回答可能相同：可用 {remedy} 增加变化。"
    ),
    "{path} exists. Overwrite it?": "{path} 已存在。要覆盖吗？",
    "Not saved.": "未保存。",
    "1 message saved to {path}.": "已将 1 条消息保存到 {path}。",
    "1 message loaded from {path}.": "已从 {path} 读入 1 条消息。",
    "{count} messages saved to {path}.": "已将 {count} 条消息保存到 {path}。",
    "{count} messages loaded from {path}.": "已从 {path} 读入 {count} 条消息。",
    "Copied to the clipboard.": "已复制到剪贴板。",
    "Sent to the terminal's clipboard; a few terminals do not take it.": "已发送到终端的剪贴板；少数终端不支持。",
    "This conversation is not kept: {error}": "本次对话不会自动保存：{error}",
    # Settings
    "Until now the likeliest token was always taken; from now on tokens are drawn at random.": (
        "此前总是取最可能的词元，从现在起词元将随机抽取。"
    ),
    "none": "无",
    "0, always the likeliest token": "0，总是取最可能的词元",
    "by a draft model": "由较小的模型猜测",
    "(default)": "（默认）",
    "a whole number": "整数",
    "a number": "数",
    # How a reply went
    "… reading: {tokens_read:,} of {tokens:,} tokens": "… 正在读入：{tokens_read:,} / {tokens:,} 个词元",
    "1 token": "1 个词元",
    "{count:,} tokens": "{count:,} 个词元",
    "{speed:.1f} tokens/s": "每秒 {speed:.1f} 个",
    "first after {seconds:.1f} s": "首个用时 {seconds:.1f} 秒",
    "{used:,} of {all:,} tokens of context": "上下文已用 {used:,} / {all:,}",
    "the oldest messages left out (/set history_token_limit)": "最早的消息已略去（/set history_token_limit）",
    "cut off as the context is full": "上下文已满，回答中止",
    "cut off at the token limit": "达到长度上限，回答中止",
    "interrupted": "已中断",
    "made to answer after {count} replies": "已达 {count} 次回复的上限，不再调用工具",
    # Tools
    "Run {name}? (y/n, a: always)": "运行 {name}？（y/n，a：以后都允许）",
    "Not run.": "未运行。",
    "(asks first)": "（运行前询问）",
    "list the tools that the model may call": "列出模型可以调用的工具",
    "The model has no tools: start with --tools, --mcp or --allow-code.": (
        "模型没有工具：请用 --tools、--mcp 或 --allow-code 启动。"
    ),
    ", ": "，",
    # Errors
    "error: {error}": "错误：{error}",
    "there is no message yet: write one first": "还没有消息：请先写一条",
    "there is no reply yet: write a message first": "还没有回答：请先写一条消息",
    "did you mean {command}?": "是不是 {command}？",
    "see /help.": "请看 /help。",
    "there is no command {name}: {hint} To send the line as a message, put a blank before it": (
        "没有 {name} 这个命令：{hint}在行首加一个空格，就会作为消息发送"
    ),
    "{command} needs the name of a file, as in {command} {example}": (
        "{command} 后面要有文件名，例如 {command} {example}"
    ),
    "there is no setting {name}: {hint}": "没有 {name} 这项设置：{hint}",
    "did you mean {name}?": "是不是 {name}？",
    "/set {name} needs a value; {default} gives back the default": (
        "/set {name} 后面要有值；写 {default} 则恢复默认值"
    ),
    "{name} cannot be {value} here: {reason}": "{name} 在此不能设为 {value}：{reason}",
    "{name} takes {kind}, found {value}": "{name} 应为{kind}，却是 {value}",
    "there is no clipboard here: /save FILE writes the conversation to a file": (
        "这里没有剪贴板：可用 /save FILE 把对话写入文件"
    ),
    "the reply is longer than a terminal's clipboard takes: /save FILE writes it to a file": (
        "回答太长，终端的剪贴板放不下：可用 /save FILE 写入文件"
    ),
    "no earlier conversation is kept in {folder}: begin one": "{folder} 中没有以前的对话：请先开始一次",
    "the last conversation cannot be continued: {error}, or remove it to continue the one before": (
        "无法继续上一次对话：{error}，或者删除它以继续更早的一次"
    ),
    "{path} cannot be written ({reason}): choose another place": "无法写入 {path}（{reason}）：请换个位置",
    '{path} must hold a JSON list of {{"role": …, "content": …}}: give a file written by /save': (
        '{path} 的内容应为 {{"role": …, "content": …}} 组成的 JSON 列表：请给出由 /save 写出的文件'
    ),
    "{path} has a system message that is not the first: join them into one": (
        "{path} 中有不在开头的系统消息：请合并为一条"
    ),
    "{path} is not JSON ({error}): give a file written by /save": (
        "{path} 不是 JSON（{error}）：请给出由 /save 写出的文件"
    ),
    "{path} is not UTF-8 (byte {place} is 0x{byte:02x}): convert it first": (
        "{path} 不是 UTF-8（第 {place} 字节是 0x{byte:02x}）：请先转换编码"
    ),
    "{path} cannot be read ({reason}): check the name": "无法读取 {path}（{reason}）：请检查文件名",
}
