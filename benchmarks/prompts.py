"""Twenty questions, ten in Chinese and ten in English, on which conversions are compared."""

PROMPTS = (
    "你好，请介绍一下你自己。",
    "用一句话解释什么是光合作用。",
    "请写一首关于春天的五言绝句。",
    "蒙古国的首都是哪里？",
    "把“今天天气很好”翻译成英文。",
    "一个长方形长8厘米、宽5厘米，面积是多少？",
    "列出三种常见的排序算法及其时间复杂度。",
    "用Python写一个判断素数的函数。",
    "请给我讲一个成语故事。",
    "为什么天空是蓝色的？",
    "What is the capital of Iceland?",
    "Explain recursion to a ten-year-old.",
    "Write a Python function that reverses a string.",
    "Translate 'good morning' into French and Chinese.",
    "What is 17 times 23?",
    "Name three uses of a paper clip.",
    "Write a haiku about the sea.",
    "What does the HTTP status code 404 mean?",
    "Summarize the plot of Romeo and Juliet in two sentences.",
    "Write a SQL query that counts the rows of a table named users.",
)
