#!/usr/bin/env python3
"""Draws docs/tour.svg, the floors of the C sources and who includes whom, from the sources as they stand.

usage: python tools/draw_tour.py

A test compares the picture with what this draws, so run it when a file has come or gone, or an include has.
"""

import re
from collections import defaultdict
from html import escape
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE_ROOT = REPOSITORY / "src" / "_fastloop"
PICTURE = REPOSITORY / "docs" / "tour.svg"

# From the top down: each includes only from those below it.
FLOORS = {
    "api": "the methods of a loop that Python calls",
    "tls": "TLS between a stream and its protocol, and its engine",
    "net": "transports, listeners, what sockets do",
    "task": "Future, Task, and coroutines written in C",
    "loop": "the loop, its queues, timers and descriptors",
    "py": "what Python's C API lacks: arguments, calls, types",
    "backend": "asks the system what is ready; knows no Python",
    "base": "ring, heap, list, clock, system calls; knows no Python",
}

INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)

# After Okabe and Ito, whose colours all eyes tell apart: darker ones on white, lighter ones on black.
COLOURS = {
    "api": ("#0072b2", "#56a8e6"),
    "tls": ("#b84b00", "#ff8a4c"),
    "net": ("#00795a", "#2fc49a"),
    "task": ("#a3507f", "#e39bc2"),
    "loop": ("#8a6400", "#f0c040"),
    "py": ("#3f51b5", "#9fa8f0"),
    "backend": ("#4d4d4d", "#bdbdbd"),
    "base": ("#8c8c8c", "#808080"),
}
PAPERS = {
    ".paper": ("fill", "#ffffff", "#0d1117"),
    "text": ("fill", "#1f2328", "#e6edf3"),
    ".dim": ("fill", "#57606a", "#9aa5b1"),
    ".floor": ("fill", "#f3f5f7", "#161b22"),
    ".file": ("fill", "#ffffff", "#0d1117"),
    ".floor, .file, .guide": ("stroke", "#c4ccd4", "#3d444d"),
}
SHAPES = """
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif }
.title { font-weight: 700; font-size: 17px }
.name { font-weight: 700; font-size: 15px }
.head { font-weight: 700; text-anchor: middle }
.mono { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; text-anchor: middle }
.line { fill: none; stroke-width: 2 }
.guide { stroke-dasharray: 2 4 }
"""

WIDTH = 1000
TOP = 64
LEFT, RIGHT = 56, 676  # of the floors
COLUMN = 43  # from one floor's line to the next
HEADER, ROW, GAP = 32, 30, 12  # heights: of a floor's name, of a row of files, between floors
CHARACTER = 7.9  # width of one in the name of a file, generously: fonts differ


def read_files() -> dict[str, list[str]]:
    """The files of each floor; a .c file and its header are one, named without an ending."""
    files = {}
    for floor in FLOORS:
        endings = defaultdict(list)
        for path in sorted((SOURCE_ROOT / floor).glob("*.[ch]")):
            endings[path.stem].append(path.suffix)
        files[floor] = [stem + found[0] * (len(found) == 1) for stem, found in sorted(endings.items())]
    return files


def read_uses() -> dict[tuple[str, str], int]:
    """How many files of a floor include something of another one."""
    uses = defaultdict(set)
    for path in SOURCE_ROOT.glob("*/*.[ch]"):
        user = path.parent.name
        for target in INCLUDE.findall(path.read_text(encoding="utf-8")):
            used = target.partition("/")[0]
            if used in FLOORS and used != user:
                uses[user, used].add(path.stem)
    return {pair: len(stems) for pair, stems in uses.items()}


def text(x: float, y: float, content: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, radius: int, style: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" class="{style}"/>'


def in_rows(names: list[str]) -> list[tuple[int, float, float, str]]:
    """Row, place and width of the box of each name."""
    boxes, row, x = [], 0, LEFT + 16.0
    for name in names:
        width = round(len(name) * CHARACTER + 16, 1)
        if x + width > RIGHT - 10:
            row, x = row + 1, LEFT + 16.0
        boxes.append((row, x, width, name))
        x += width + 8
    return boxes


def height_of(names: list[str]) -> int:
    return HEADER + ROW * (in_rows(names)[-1][0] + 1) + 4


def draw_floor(floor: str, names: list[str], top: float) -> list[str]:
    height = height_of(names)
    drawn = [
        box(LEFT, top, RIGHT - LEFT, height, 6, "floor"),
        box(LEFT, top, 7, height, 3, f"fill-{floor}"),
        text(LEFT + 18, top + 21, floor, "name"),
        text(LEFT + 98, top + 21, FLOORS[floor], "dim"),
    ]
    for row, x, width, name in in_rows(names):
        y = top + HEADER + ROW * row
        drawn += [box(x, y, width, 22, 4, "file"), text(x + width / 2, y + 15.5, name, "mono")]
    return drawn


def draw_users(middles: dict[str, float], uses: dict[tuple[str, str], int]) -> list[str]:
    """A line from each floor down to those it includes; the lowest floor's is the leftmost, so that none cross."""
    users = [floor for floor in reversed(FLOORS) if any(user == floor for user, _ in uses)]
    places = {floor: RIGHT + 46 + COLUMN * i for i, floor in enumerate(users)}
    drawn = []
    for floor, y in middles.items():
        ends = [places[user] for user in users if (user, floor) in uses]
        if ends:
            drawn.append(f'<path d="M{RIGHT} {y:g}H{max(ends):g}" class="line guide"/>')
    for user, x in places.items():
        used = [floor for floor in FLOORS if (user, floor) in uses]
        y = middles[user]
        drawn.append(f'<path d="M{RIGHT} {y:g}H{x:g}V{middles[used[-1]]:g}" class="line line-{user}"/>')
        drawn.append(text(x, y - 8, user, "head"))
        for floor in used:
            radius = round(3 + 2 * uses[user, floor] ** 0.5, 1)
            drawn.append(f'<circle cx="{x:g}" cy="{middles[floor]:g}" r="{radius:g}" class="fill-{user}"/>')
            drawn.append(text(x + radius + 3, middles[floor] + 16, str(uses[user, floor]), "dim"))
    return drawn


def draw_shared(top: float, bottom: float) -> list[str]:
    """What stands beside the floors, for all of them that know Python."""
    place = f'transform="translate(32 {(top + bottom) / 2:g}) rotate(-90)"'
    return [
        box(12, top, 32, bottom - top, 6, "floor"),
        f'<text class="mono" {place}>module.c, state, compat.h</text>',
    ]


def colour_rules(scheme: int) -> str:
    papers = [f"{name} {{ {rule[0]}: {rule[1 + scheme]} }}" for name, rule in PAPERS.items()]
    floors = [
        f".fill-{floor} {{ fill: {pair[scheme]} }} .line-{floor} {{ stroke: {pair[scheme]} }}"
        for floor, pair in COLOURS.items()
    ]
    return "\n".join(papers + floors)


def draw() -> str:
    files, uses = read_files(), read_uses()
    tops, middles, y = {}, {}, TOP
    for floor, names in files.items():
        tops[floor], middles[floor] = y, y + height_of(names) / 2
        y += height_of(names) + GAP
    title = "The floors of src/_fastloop, and who includes whom"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{title}">',
        f"<style>{SHAPES}{colour_rules(0)}",
        f"@media (prefers-color-scheme: dark) {{\n{colour_rules(1)}\n}}</style>",
        box(0, 0, WIDTH, y, 0, "paper"),
        text(12, 28, title, "title"),
        text(12, 48, "stream stands for stream.c and stream.h", "dim"),
        text(RIGHT - 56, 28, "A line goes down from a floor to those it includes;", "dim"),
        text(RIGHT - 56, 46, "dot and number: how many of its files do.", "dim"),
        *draw_shared(tops["api"], tops["backend"] - GAP),
    ]
    for floor, names in files.items():
        drawn += draw_floor(floor, names, tops[floor])
    drawn += draw_users(middles, uses)
    return "\n".join([*drawn, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
