"""What compare.py found, as a picture with everything in it: a bar for each scenario and runtime.

The scale is logarithmic, and says how many times better than that runtime the subject is. The line at 1x is the subject itself:
bars to the right of it are where it is ahead.
"""

import math

from pictures import COLOURS, FAILED, document, line, text
from report import REFERENCE, SUBJECT, figure_text, goal, ratio_text

WIDTH, LABELS, RIGHT = 1000, 170, 230  # the right margin holds the figures
TOP, BAR, GAP = 96, 15, 10
BEHIND = "#c4622d"


class Scale:
    """Ratios to horizontal positions; its ends are powers of two that hold all it has to show."""

    def __init__(self, ratios):
        self.low = min(-2, math.floor(math.log2(min(ratios, default=1))))
        self.high = max(4, math.ceil(math.log2(max(ratios, default=1))))

    def x(self, ratio):
        share = (math.log2(ratio) - self.low) / (self.high - self.low)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    def marks(self):
        return [2.0**power for power in range(self.low, self.high + 1)]


def axis(scale, bottom):
    parts = []
    for mark in scale.marks():
        at_one = mark == 1
        parts.append(line(scale.x(mark), TOP - 4, bottom, "#444" if at_one else "#ddd", 1.5 if at_one else 1))
        label = f"{mark:g}x" if mark >= 1 else f"1/{1 / mark:g}"
        parts.append(text(scale.x(mark), TOP - 10, label, 11, "middle", "#555"))
    return parts


def bar(scale, row, peer, y, colour):
    """One bar with its figure; the figure says ahead or behind, the edge only repeats it."""
    ratio = row.ratio(peer)
    if ratio is None:
        why = f"{peer}: " + (row.failures.get(peer) or row.failures.get(SUBJECT) or [f"no figure for {SUBJECT}"])[0]
        return [text(scale.x(1) + 6, y + BAR - 4, why[:70], 11, fill=FAILED, weight="bold")]
    start, end = sorted((scale.x(1), scale.x(ratio)))
    edge = "" if ratio >= 1 else f' stroke="{BEHIND}" stroke-width="2"'
    figure = f"{ratio_text(ratio)}  {peer} {figure_text(row, row.median(peer))}"
    if row.failures.get(peer):
        figure += f", {len(row.failures[peer])} failed"
    return [
        f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(end - start, 1):.1f}" height="{BAR - 2}" fill="{colour}" rx="2"{edge}/>',
        text(WIDTH - RIGHT + 12, y + BAR - 4, figure, 11),
    ]


def ticks(scale, row, top, bottom):
    """The goals of one row, at the reference's bar; none where there is none to compare with them."""
    if row.ratio(REFERENCE) is None:
        return []
    parts = [line(scale.x(row.first_bar), top, bottom, "#111", 2, "3 2")] if row.first_bar else []
    return parts + ([line(scale.x(goal(row)), top, bottom, "#111", 2)] if goal(row) else [])


def svg(facts, table, peers):
    others = sorted((peer for peer in peers if peer != SUBJECT), key=lambda peer: peer != REFERENCE)
    colours = {peer: COLOURS[number % len(COLOURS)] for number, peer in enumerate(others)}
    shown = [(row, [peer for peer in others if row.takes_part(peer)]) for row in table]
    ratios = [r for row in table for r in [*(row.ratio(peer) for peer in others), goal(row), row.first_bar] if r]
    scale = Scale(ratios)
    height = TOP + sum(GAP + BAR * max(len(bars), 1) for _, bars in shown) + 24
    parts = [
        text(16, 26, f"{SUBJECT} against {', '.join(others) or 'nothing'}: how many times better it is (log scale)", 16,
             weight="bold"),
        text(16, 46, "; ".join(facts[key] for key in ("machine", SUBJECT, *others) if key in facts)[:170], 11, fill="#555"),
        text(16, 62, facts["method"] + f". Ticks are ratios to {REFERENCE}: solid target, dashed first bar.", 11, fill="#555"),
        *axis(scale, height - 16),
    ]
    y = TOP + 4
    for row, bars in shown:
        parts.append(text(LABELS - 10, y + BAR - 4, row.name, 12, "end"))
        for offset, peer in enumerate(bars):
            parts += bar(scale, row, peer, y + offset * BAR, colours[peer])
        if REFERENCE in bars:
            top = y + bars.index(REFERENCE) * BAR
            parts += ticks(scale, row, top - 3, top + BAR + 1)
        y += GAP + BAR * max(len(bars), 1)
    return document(WIDTH, height, parts)
