#!/usr/bin/env python3
"""Draws a piece of a trace (weft::trace::write, $WEFT_TRACE) as an SVG: a row for each track, a box for each slice, an arrow from
each waker to whom it woke, a red line below the row for the time in which a goroutine could have run before it did (if that can be
seen). For pages; ui.perfetto.dev shows all of it.

  tools/draw_trace.py trace.json picture.svg [--from-us N] [--us N] [--width PIXELS]
"""

import argparse
import json
from xml.sax.saxutils import escape

COLOURS = ["#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#9c755f", "#edc948"]
LEFT, ROW, BOX, TOP = 150, 44, 24, 34


def name_of(event):
    return event["name"].rpartition(" #")[0] or event["name"]


class Drawing:
    def __init__(self, events, begin, length, width):
        self.begin, self.length, self.width = begin, length, width
        self.parts, self.colours = [], {}
        inside = [e for e in events if e["ph"] == "X" and e["ts"] < begin + length and e["ts"] + e["dur"] > begin]
        names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events
                 if e["ph"] == "M" and e["name"] == "thread_name"}
        used = sorted({(e["pid"], e["tid"]) for e in inside})
        self.rows = {track: TOP + 10 + i * ROW for i, track in enumerate(used)}
        self.height = TOP + 10 + len(used) * ROW + 30
        self.axis()
        for track in used:
            self.text(8, self.rows[track] + 16, names.get(track, "?").replace(", without a processor", " (none)"), 12)
        for event in inside:
            self.slice(event)
        self.arrows(events)
        self.legend()

    def x(self, us):
        part = min(max((us - self.begin) / self.length, 0), 1)
        return LEFT + part * (self.width - LEFT - 10)

    def text(self, x, y, text, size, more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {more}>{escape(text)}</text>')

    def axis(self):
        step = next(s * 10 ** e for e in range(7) for s in (1, 2, 5) if self.length / (s * 10 ** e) <= 12)
        tick = 0
        while tick <= self.length:
            x = self.x(self.begin + tick)
            self.parts.append(f'<path d="M{x:.1f} {TOP - 6}V{self.height - 26}" stroke="#ddd"/>')
            label = f"{tick / 1000:g} ms" if step >= 1000 else f"{tick:g} µs"
            self.text(x, TOP - 12, label, 11, 'text-anchor="middle" fill="#666"')
            tick += step

    def slice(self, event):
        y = self.rows[event["pid"], event["tid"]]
        left, right = self.x(event["ts"]), self.x(event["ts"] + event["dur"])
        wide = max(right - left, 1)
        colour = self.colours.setdefault(name_of(event), COLOURS[len(self.colours) % len(COLOURS)])
        self.parts.append(f'<rect x="{left:.1f}" y="{y}" width="{wide:.1f}" height="{BOX}" fill="{colour}" '
                          f'stroke="#fff" stroke-width=".4"/>')
        waited = self.x(event["ts"] - event.get("args", {}).get("waited_us", 0))
        if left - waited > self.width / 50:
            self.parts.append(f'<path d="M{waited:.1f} {y + BOX + 5}v-4M{waited:.1f} {y + BOX + 3}H{left:.1f}" class="w"/>')
        label = event["name"]
        if wide > 6.5 * len(label):
            self.text(left + 4, y + 16, label, 11, 'fill="#fff"')

    def arrows(self, events):
        begun = {}
        for event in events:
            if event["ph"] == "s":
                begun[event["id"]] = event
            if event["ph"] != "f" or event["id"] not in begun:
                continue
            start = begun[event["id"]]
            if not (self.begin <= start["ts"] and event["ts"] <= self.begin + self.length):
                continue
            x1, y1 = self.x(start["ts"]), self.rows[start["pid"], start["tid"]] + BOX
            x2, y2 = self.x(event["ts"]), self.rows[event["pid"], event["tid"]]
            if y1 - BOX == y2:  # on the same track: a bow below it
                d = f"M{x1:.1f} {y1}Q{(x1 + x2) / 2:.1f} {y1 + 18} {x2:.1f} {y1}"
            else:
                y1 = y1 if y2 > y1 else y1 - BOX
                y2 = y2 if y2 > y1 else y2 + BOX
                d = f"M{x1:.1f} {y1}L{x2:.1f} {y2}"
            self.parts.append(f'<path d="{d}" class="a"/>')

    def legend(self):
        x = LEFT
        for name, colour in self.colours.items():
            y = self.height - 18
            self.parts.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour}"/>')
            self.text(x + 15, y + 10, name, 11)
            x += 30 + 6.6 * len(name)
        self.parts.append(f'<path d="M{x} {self.height - 14}v-4M{x} {self.height - 16}h24" class="w"/>')
        self.text(x + 30, self.height - 8, "runnable, no processor yet", 11)

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'font-family="sans-serif">\n<defs><marker id="h" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" '
                f'markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z" fill="#222"/></marker></defs>\n'
                f'<style>.a{{stroke:#222;stroke-width:.9;fill:none;marker-end:url(#h)}}'
                f'.w{{stroke:#d00;stroke-width:2;fill:none}}</style>\n'
                f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("picture")
    parser.add_argument("--from-us", type=float, default=0)
    parser.add_argument("--us", type=float, help="how much of it; all by default")
    parser.add_argument("--width", type=int, default=1000)
    args = parser.parse_args()
    with open(args.trace, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    end = max((e["ts"] + e.get("dur", 0) for e in events if "ts" in e), default=0)
    drawing = Drawing(events, args.from_us, args.us or max(end - args.from_us, 1), args.width)
    with open(args.picture, "w", encoding="utf-8") as file:
        file.write(drawing.svg())


if __name__ == "__main__":
    main()
