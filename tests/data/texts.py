"""Texts for tests: ordinary ones that all rules keep, and what a rule drops."""

from __future__ import annotations

ENGLISH = """The harbour of the old town lies on the western side of the island, and most of its houses were built by \
merchants who traded in wool and salt with the cities of the mainland.
In the winter of 1873 a storm destroyed the long wooden pier, which the fishermen had to build again with their own \
hands and without any help from the government.
The school that stands above the harbour today was opened ten years later, and children from all of the villages come \
to it by boat or on foot.
Visitors are often surprised that there is no railway to be found here, although several companies have made plans for \
one and have even measured the ground.
What the people of the town say about these plans is that they will believe in them when they can hear the whistle of \
the first train in their own kitchens.
"""
CHINESE = """这座古老的港口位于岛屿的西岸，大部分房屋都是由做羊毛和食盐生意的商人修建的，他们与大陆上的城市长期往来。
一八七三年冬天，一场风暴摧毁了长长的木栈桥，渔民们只好亲手重新修建，没有得到官府的任何帮助。
如今矗立在港口上方的学校是十年之后开办的，各个村庄的孩子们乘船或者步行来到这里读书，风雨无阻。
游客常常感到惊讶，因为这里并没有铁路，尽管有几家公司曾经制定过计划，甚至已经派人来测量过土地。
镇上的居民谈到这些计划时总是笑着说，等他们在自家厨房里听见第一列火车的汽笛声，才会相信这件事是真的。
"""
SHORT = "The pier of the harbour."
PROGRAM = '''"""Counts words."""

from collections import Counter


def count_words(text: str) -> Counter[str]:
    """Count the words of a text, without case."""
    return Counter(word.lower() for word in text.split())


if __name__ == "__main__":
    import sys

    for word, count in count_words(sys.stdin.read()).most_common(10):
        print(f"{count:6d} {word}")
'''
