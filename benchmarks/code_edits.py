"""Pieces of code with a change that is asked for, whose replies repeat most of what they were given."""

from __future__ import annotations

EDITS = (
    (
        "Rename the parameter `lst` to `numbers` everywhere.",
        """def median(lst):
    if not lst:
        raise ValueError("median of an empty list")
    ordered = sorted(lst)
    middle = len(ordered) // 2
    if len(lst) % 2 == 1:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
""",
    ),
    (
        "Add type hints to all parameters and to the return value.",
        """def read_settings(path, encoding="utf-8", default=None):
    settings = dict(default or {})
    with open(path, encoding=encoding) as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, _, value = line.partition("=")
            settings[name.strip()] = value.strip()
    return settings
""",
    ),
    (
        "Use `math.gcd` in place of the loop.",
        """import sys

def reduce_fraction(numerator, denominator):
    if denominator == 0:
        raise ZeroDivisionError("the denominator is zero")
    a, b = numerator, denominator
    while b:
        a, b = b, a % b
    if denominator < 0:
        a = -a
    return numerator // a, denominator // a

if __name__ == "__main__":
    print(reduce_fraction(int(sys.argv[1]), int(sys.argv[2])))
""",
    ),
    (
        "Add a docstring to each of the two methods.",
        """class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
        if len(self.items) > 1000:
            raise OverflowError("the stack is full")

    def pop(self):
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()
""",
    ),
    (
        "Make the search ignore upper and lower case.",
        """def find_lines(path, word):
    found = []
    with open(path) as file:
        for number, line in enumerate(file, start=1):
            if word in line:
                found.append((number, line.rstrip()))
    if not found:
        print(f"{word} is not in {path}")
    return found
""",
    ),
    (
        "Rename the class to `Temperature` and the method `to_f` to `to_fahrenheit`.",
        """class Temp:
    def __init__(self, celsius):
        if celsius < -273.15:
            raise ValueError("below absolute zero")
        self.celsius = celsius

    def to_f(self):
        return self.celsius * 9 / 5 + 32

    def __repr__(self):
        return f"Temp({self.celsius} C, {self.to_f()} F)"
""",
    ),
    (
        "Return None where the user is not found, and do not raise an error.",
        """def find_user(users, name):
    for user in users:
        if user["name"] == name:
            return {
                "id": user["id"],
                "name": user["name"],
                "email": user.get("email", ""),
                "groups": sorted(user.get("groups", [])),
            }
    raise KeyError(f"there is no user {name}")
""",
    ),
    (
        "Replace print by the logging module.",
        """import time

def wait_for(condition, timeout=10.0, interval=0.1):
    started = time.time()
    while not condition():
        if time.time() - started > timeout:
            print("gave up waiting")
            return False
        print("still waiting")
        time.sleep(interval)
    print("the condition is met")
    return True
""",
    ),
    (
        "Change the default page size from 20 to 50, and check that it is not above 100.",
        """def paginate(items, page=1, page_size=20):
    if page < 1:
        raise ValueError("pages are counted from 1")
    start = (page - 1) * page_size
    chosen = items[start : start + page_size]
    return {
        "page": page,
        "page_size": page_size,
        "num_pages": (len(items) + page_size - 1) // page_size,
        "items": chosen,
    }
""",
    ),
    (
        "Make this function async, with `await asyncio.sleep` in place of `time.sleep`.",
        """import time

def retry(function, attempts=3, delay=1.0):
    last_error = None
    for attempt in range(attempts):
        try:
            return function()
        except Exception as error:
            last_error = error
            print(f"attempt {attempt + 1} of {attempts} failed: {error}")
            time.sleep(delay * 2 ** attempt)
    raise last_error
""",
    ),
    (
        "Fix the bug: the last element is never compared.",
        """def bubble_sort(values):
    values = list(values)
    for end in range(len(values) - 1, 0, -1):
        swapped = False
        for index in range(end - 1):
            if values[index] > values[index + 1]:
                values[index], values[index + 1] = values[index + 1], values[index]
                swapped = True
        if not swapped:
            break
    return values
""",
    ),
    (
        'Add a parameter `separator` with the default "," and use it.',
        """def write_table(rows, path, header=None):
    with open(path, "w", encoding="utf-8") as file:
        if header is not None:
            file.write(",".join(header) + "\\n")
        for row in rows:
            cells = [str(cell).replace("\\n", " ") for cell in row]
            file.write(",".join(cells) + "\\n")
    return len(rows)
""",
    ),
    (
        "Translate the messages into German.",
        """def check_password(password):
    if len(password) < 12:
        return "The password is too short"
    if password.lower() == password:
        return "The password needs an upper case letter"
    if not any(character.isdigit() for character in password):
        return "The password needs a digit"
    if password.isalnum():
        return "The password needs a special character"
    return None
""",
    ),
    (
        "Turn the function into a method of a class `Inventory` that keeps `stock` as an attribute.",
        """def remove_item(stock, name, count=1):
    if name not in stock:
        raise KeyError(f"{name} is not in stock")
    if stock[name] < count:
        raise ValueError(f"only {stock[name]} of {name} are left")
    stock[name] -= count
    if stock[name] == 0:
        del stock[name]
    return stock
""",
    ),
    (
        "Also count words and characters.",
        """def describe(path):
    num_lines = 0
    longest = 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            num_lines += 1
            longest = max(longest, len(line.rstrip("\\n")))
    return {"path": path, "lines": num_lines, "longest": longest}
""",
    ),
    (
        "Use a dictionary comprehension where that is possible.",
        """def invert(mapping, strict=True):
    inverted = {}
    for key, value in mapping.items():
        inverted[value] = key
    if strict and len(inverted) != len(mapping):
        seen = set()
        for value in mapping.values():
            if value in seen:
                raise ValueError(f"{value} comes twice")
            seen.add(value)
    return inverted
""",
    ),
    (
        "Add an argument --verbose that prints every file that is deleted.",
        """import argparse
from pathlib import Path

def main():
    parser = argparse.ArgumentParser(description="Deletes old log files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    for path in sorted(arguments.folder.glob("*.log")):
        if age_in_days(path) > arguments.days:
            path.unlink()

if __name__ == "__main__":
    main()
""",
    ),
    (
        "Rename `x1`, `y1`, `x2`, `y2` to `left`, `top`, `right`, `bottom`.",
        """def intersection(a, b):
    x1 = max(a.x1, b.x1)
    y1 = max(a.y1, b.y1)
    x2 = min(a.x2, b.x2)
    y2 = min(a.y2, b.y2)
    if x1 >= x2 or y1 >= y2:
        return None
    return Box(x1, y1, x2, y2)
""",
    ),
    (
        "Remove the caching and keep everything else as it is.",
        """_cache = {}

def load_image(path, size=(256, 256)):
    key = (path, size)
    if key in _cache:
        return _cache[key]
    image = Image.open(path).convert("RGB")
    image = image.resize(size, Image.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    _cache[key] = pixels
    return pixels
""",
    ),
    (
        "Sort by the column `created_at`, the newest first, and select at most 100 rows.",
        """SELECT orders.id, orders.created_at, customers.name, customers.city,
       SUM(lines.quantity * lines.price) AS total
FROM orders
JOIN customers ON customers.id = orders.customer_id
JOIN lines ON lines.order_id = orders.id
WHERE orders.status = 'paid'
GROUP BY orders.id, orders.created_at, customers.name, customers.city
HAVING SUM(lines.quantity * lines.price) > 1000
""",
    ),
)
"""Twenty pieces of code, each with what is to be changed of it."""


def edit_prompts() -> list[str]:
    """The edits as questions to a chat model."""
    return [f"{task} Reply with the whole code only.\n\n```\n{code}```" for task, code in EDITS]
