"""Curves as a picture (SVG): a panel for each scenario, both axes logarithmic, a line for each runtime."""

import math
from dataclasses import dataclass

from pictures import COLOURS, FAILED, document, text

OURS = "#c4622d"  # the first runtime's, that is weft's

PANEL_WIDTH, PANEL_HEIGHT = 330, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 16, 38, 40  # within a panel
HEAD = 84


@dataclass
class Panel:
    title: str
    operation: str  # what a figure is about
    across: str  # what x is
    curves: dict  # runtime -> list of (x, ns)


def ns_text(ns):
    if ns >= 1_000_000:
        return f"{ns / 1_000_000:g} ms"
    return f"{ns / 1000:g} µs" if ns >= 1000 else f"{ns:g} ns"


def count_text(n):
    for limit, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= limit:
            return f"{n / limit:g}{letter}"
    return f"{n:g}"


class Axis:
    """Figures to positions between two ends, on a logarithmic scale."""

    def __init__(self, low, high, start, end):
        self.low, self.high, self.start, self.end = low, high, start, end

    def at(self, figure):
        if self.high == self.low:
            return (self.start + self.end) / 2
        share = (math.log(figure) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return self.start + share * (self.end - self.start)


def decades(low, high):
    """1, 2 and 5 times the powers of ten from below `low` to above `high`; as few as still frame them."""
    marks = [digit * 10.0**power for power in range(-1, 10) for digit in (1, 2, 5)]
    first = max((m for m in marks if m <= low), default=marks[0])
    last = min((m for m in marks if m >= high), default=marks[-1])
    framed = [m for m in marks if first <= m <= last]
    return framed if len(framed) <= 8 else [m for m in framed if m in (first, last) or math.log10(m) % 1 == 0]


def curve(points, across, up, colour):
    at = [(across.at(x), up.at(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in at]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>', *dots]


def panel_parts(panel, left, top, colours):
    points = [point for curve_points in panel.curves.values() for point in curve_points]
    parts = [text(left + LEFT, top + 14, panel.title, 13, weight="bold"),
             text(left + LEFT, top + 28, panel.operation[:48], 10, fill="#555")]
    if not points:
        return [*parts, text(left + LEFT, top + 60, "no figures", fill=FAILED)]
    xs = sorted({x for x, _ in points})
    marks = decades(min(y for _, y in points), max(y for _, y in points))
    right, bottom = left + PANEL_WIDTH - RIGHT, top + PANEL_HEIGHT - BOTTOM
    across = Axis(xs[0], xs[-1], left + LEFT, right)
    up = Axis(marks[0], marks[-1], bottom, top + TOP)
    for mark in marks:
        y = up.at(mark)
        parts.append(f'<line x1="{left + LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(text(left + LEFT - 6, y + 4, ns_text(mark), 10, "end", "#555"))
    for x in xs:
        parts.append(text(across.at(x), bottom + 15, count_text(x), 10, "middle", "#555"))
    parts.append(text((left + LEFT + right) / 2, bottom + 30, panel.across, 10, "middle", "#555"))
    for name, curve_points in panel.curves.items():
        if curve_points:
            parts += curve(sorted(curve_points), across, up, colours[name])
    return parts


def svg(title, notes, panels, runtimes):
    """`notes`: short lines below the title."""
    colours = {name: (OURS, *COLOURS)[number % (len(COLOURS) + 1)] for number, name in enumerate(runtimes)}
    columns = 3 if len(panels) <= 12 else 5
    width = columns * PANEL_WIDTH
    height = HEAD + -(-len(panels) // columns) * PANEL_HEIGHT + 8
    parts = [
        text(16, 26, title, 16, weight="bold"),
        *(text(16, 44 + 15 * line, note[:170], 11, fill="#555") for line, note in enumerate(notes)),
    ]
    for number, name in enumerate(runtimes):
        x = width - 20 - 95 * (len(runtimes) - number)
        parts.append(f'<rect x="{x}" y="16" width="14" height="4" fill="{colours[name]}"/>')
        parts.append(text(x + 20, 22, name, 12))
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        parts += panel_parts(panel, column * PANEL_WIDTH, HEAD + row * PANEL_HEIGHT, colours)
    return document(width, height, parts)
