"""What compare.py found, as a picture to be taken in at one look: a line for each scenario.

The scale is logarithmic: how many times better than another runtime the subject is. The bar is the reference, with a tick at its
target; a dot is one of the others, an arrow one that is beyond the edge. To the right of 1x the subject is ahead.
"""

import math

from pictures import COLOURS, document, line, text
from report import REFERENCE, SUBJECT, figure_text, goal, is_reached, ratio_text

WIDTH, LABELS, RIGHT = 900, 150, 150  # the margins hold the names and the figures
TOP, ROW = 92, 18
LOW, HIGH = 1 / 8, 64  # the edges
AHEAD, BEHIND = "#2a7f62", "#c4622d"  # the bar's colour


def x_of(ratio):
    share = (math.log2(ratio) - math.log2(LOW)) / (math.log2(HIGH) - math.log2(LOW))
    return LABELS + min(max(share, 0), 1) * (WIDTH - LABELS - RIGHT)


def axis(bottom):
    parts = []
    for power in range(int(math.log2(LOW)), int(math.log2(HIGH)) + 1):
        ratio = 2.0**power
        parts.append(line(x_of(ratio), TOP - 6, bottom, "#444" if ratio == 1 else "#e2e2e2", 1.5 if ratio == 1 else 1))
        label = f"{ratio:g}x" if ratio >= 1 else f"1/{1 / ratio:g}"
        parts.append(text(x_of(ratio), TOP - 11, label, 10, "middle", "#555"))
    return parts


def bar(row, y):
    ratio = row.ratio(REFERENCE)
    if ratio is None:
        return []
    start, end = sorted((x_of(1), x_of(ratio)))
    colour = AHEAD if is_reached(ratio, 1) else BEHIND
    parts = [f'<rect x="{start:.1f}" y="{y + 4:.1f}" width="{max(end - start, 1):.1f}" height="{ROW - 8}" fill="{colour}" '
             'fill-opacity="0.75"/>']
    wanted = goal(row)
    if wanted:
        parts.append(line(x_of(wanted), y + 1, y + ROW - 1, "#111", 2))
    return parts


def dot(ratio, y, colour):
    x, middle = x_of(ratio), y + ROW / 2
    if LOW <= ratio <= HIGH:
        return f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="4" fill="{colour}" stroke="#fff"/>'
    tip = 6 if ratio > HIGH else -6
    return f'<path d="M{x:.1f},{middle - 4:.1f} l{tip},4 l{-tip},4 z" fill="{colour}"/>'


def legend(others):
    parts, x = [], 16
    parts.append(f'<rect x="{x}" y="55" width="16" height="9" fill="{AHEAD}" fill-opacity="0.75"/>')
    parts.append(text(x + 22, 64, REFERENCE, 12))
    x += 75
    for peer, colour in others.items():
        parts.append(f'<circle cx="{x}" cy="60" r="4" fill="{colour}"/>')
        parts.append(text(x + 9, 64, peer, 12))
        x += 30 + 8 * len(peer)
    return parts


def svg(facts, table, peers):
    names = [peer for peer in peers if peer not in (SUBJECT, REFERENCE)]
    others = {peer: COLOURS[(number + 1) % len(COLOURS)] for number, peer in enumerate(names)}
    height = TOP + ROW * len(table) + 14
    parts = [
        text(16, 24, f"How many times better {SUBJECT} is than {REFERENCE} (bar; tick: the target) and others (dots)", 15,
             weight="bold"),
        text(16, 42, f"{facts['machine']}; {facts['method']}", 11, fill="#555"),
        *legend(others),
        *axis(height - 10),
    ]
    for number, row in enumerate(table):
        y = TOP + ROW * number
        parts.append(text(LABELS - 10, y + ROW - 5, row.name, 11, "end"))
        parts += bar(row, y)
        parts += [dot(row.ratio(peer), y, colour) for peer, colour in others.items() if row.ratio(peer)]
        if row.median(SUBJECT):
            ratio = f", {ratio_text(row.ratio(REFERENCE))}" if row.ratio(REFERENCE) else ""
            parts.append(text(WIDTH - RIGHT + 14, y + ROW - 5, figure_text(row, row.median(SUBJECT)) + ratio, 11))
    return document(WIDTH, height, parts)
