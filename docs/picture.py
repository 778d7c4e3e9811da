"""Draws the rooms of the house as SVG: a row for each floor, in each room its purpose and a bar of its lines of code.

All text stands on coloured boxes, so that it can be read on a light page and on a dark one.
"""

from __future__ import annotations

import textwrap
from html import escape

WIDTH, GAP, ROOF, PADDING = 920, 6, 86, 14
LOW, ROW = 46, 14
"""Heights of a floor with one room, and of each row of a purpose where there are several."""
TOP_COLOUR, BOTTOM_COLOUR = (0x2B, 0x6C, 0xB0), (0x33, 0x3F, 0x55)
PALE, WHITE, BAR = "#dbe7f5", "#ffffff", "#f6ad55"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


def draw(floors: list[dict[str, str]], lines: dict[str, int]) -> str:
    """Draw these floors, lowest first, each of rooms with their purposes, and how many lines of code each room has."""
    scale = min((box_width(floor) - 2 * PADDING) / lines[room] for floor in floors for room in floor)
    shapes, y = roof(sum(lines.values())), ROOF + GAP
    for row, floor in enumerate(reversed(floors)):
        width = box_width(floor)
        rows = {room: [purpose] if len(floor) == 1 else wrapped(purpose, width) for room, purpose in floor.items()}
        height = LOW if len(floor) == 1 else LOW + ROW * max(map(len, rows.values()))
        colour = mixed(row / max(len(floors) - 1, 1))
        for place, room in enumerate(floor):
            box = (place * (width + GAP), y, width, height)
            shapes += draw_room(room, rows[room], lines[room], box=box, colour=colour, bar=lines[room] * scale)
        y += height + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - GAP}" font-family="{FONT}" role="img">'
    return "\n".join([head, "<title>The rooms of qwen7b, floor by floor</title>", *shapes, "</svg>"]) + "\n"


def box_width(floor: dict[str, str]) -> float:
    return (WIDTH - GAP * (len(floor) - 1)) / len(floor)


def wrapped(purpose: str, width: float) -> list[str]:
    return textwrap.wrap(purpose, int((width - 2 * PADDING) / 6.5))


def roof(total: int) -> list[str]:
    middle = WIDTH // 2
    return [
        f'<path d="M0 {ROOF} L{middle} 0 L{WIDTH} {ROOF} Z" fill="{mixed(0)}"/>',
        written("qwen7b", middle, ROOF - 34, size=20, colour=WHITE, extra=' text-anchor="middle" font-weight="700"'),
        written(f"{rounded(total)} lines of code", middle, ROOF - 14, extra=' text-anchor="middle"'),
    ]


def draw_room(
    room: str, rows: list[str], lines: int, *, box: tuple[float, float, float, float], colour: str, bar: float
) -> list[str]:
    x, y, width, height = box
    left, right = x + PADDING, x + width - PADDING
    if height == LOW:
        texts = [written(rows[0], left + 104, y + 22)]
    else:
        texts = [written(text, left, y + 38 + ROW * row) for row, text in enumerate(rows)]
    return [
        f'<g id="{room}"><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="5" fill="{colour}"/>',
        written(room, left, y + 22, size=15, colour=WHITE, extra=' font-weight="700"'),
        *texts,
        written(rounded(lines), right, y + 22, extra=' text-anchor="end"'),
        f'<rect x="{left:.1f}" y="{y + height - 10}" width="{bar:.1f}" height="3.5" rx="1.75" fill="{BAR}"/></g>',
    ]


def written(text: str, x: float, y: float, *, size: float = 12, colour: str = PALE, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{extra}>{escape(text, quote=False)}</text>'


def rounded(lines: int) -> str:
    return f"{max(round(lines, -2), 100):,}"


def mixed(share: float) -> str:
    """The colour at this share of the way from the top floor's to the lowest's."""
    parts = (round(top + (bottom - top) * share) for top, bottom in zip(TOP_COLOUR, BOTTOM_COLOUR, strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)
