"""What servers.py found, as a Markdown table, as JSON and as a picture."""

import json
import statistics
from dataclasses import asdict, dataclass

from pictures import COLOURS, FAILED, document, line, text
from report import ratio_text

REFERENCES = ("bare", "go")  # whose requests/s the others' are divided by
GOAL = 0.9  # of the bare loop's requests/s, for a server that does all a server has to


@dataclass
class Row:
    """One server with so many connections."""

    connections: int
    name: str
    samples: object  # servers.Samples
    ratios: dict  # reference -> this server's requests/s in its, or None

    def median(self, what):
        figures = getattr(self.samples, what)
        return statistics.median(figures) if figures else None


def rows(results, peers):
    made = []
    for connections, by_name in results.items():
        group = [Row(connections, peer.name, by_name[peer.name], {}) for peer in peers]
        speeds = {row.name: row.median("requests_per_s") for row in group}
        for row in group:
            for reference in REFERENCES:
                own, other = speeds[row.name], speeds.get(reference)
                row.ratios[reference] = own / other if own and other else None
        made += group
    return made


def milliseconds(us):
    return f"{us / 1000:.3g}" if us < 100_000 else f"{us / 1000:,.0f}"


def megabytes(size):
    return f"{size / 1e6:,.1f}" if size < 10e6 else f"{size / 1e6:,.0f}"


def run_text(samples):
    """The latest run in one line."""
    return (f"{samples.requests_per_s[-1]:8,.0f} requests/s, p50 {milliseconds(samples.p50_us[-1])} ms, "
            f"p99 {milliseconds(samples.p99_us[-1])} ms, peak {megabytes(samples.peak_bytes[-1])} MB")


def failure_text(row):
    """What went wrong, and how often; empty if nothing did."""
    failures, good = row.samples.failures, len(row.samples.requests_per_s)
    if not failures:
        return ""
    return (f"{len(failures)} of {len(failures) + good} runs: " if good else "") + failures[0]


def speed_cell(row):
    """Median and range, or what went wrong; both when only some runs failed."""
    parts = []
    if figures := row.samples.requests_per_s:
        spread = f" ({min(figures):,.0f}–{max(figures):,.0f})" if len(figures) > 1 else ""
        parts.append(f"{row.median('requests_per_s'):,.0f}{spread}")
    if why := failure_text(row):
        parts.append(f"**{why}**")
    return "; ".join(parts).replace("|", "\\|") or "not measured"


def cells(row):
    def figure(what, form):
        value = row.median(what)
        return "–" if value is None else form(value)

    return [f"{row.connections:,}", row.name, speed_cell(row), *(ratio_text(row.ratios[name]) for name in REFERENCES),
            figure("p50_us", milliseconds), figure("p99_us", milliseconds), figure("peak_bytes", megabytes),
            figure("cpu_us", "{:.1f}".format)]


def markdown(title, facts, table):
    lines = [f"# {title}", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    lines += ["", "Requests/s: median (range); then its ratio to each reference's: above 1x the server is faster. Peak: resident "
              "memory of a server that had these connections only. CPU: the server's own, for each request.", ""]
    head = ["connections", "server", "requests/s", *(f":{name}" for name in REFERENCES), "p50 ms", "p99 ms", "peak MB", "CPU µs"]
    lines += ["| " + " | ".join(head) + " |", "|---:|---|" + "---:|" * (len(head) - 2)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in table]
    return "\n".join(lines) + "\n"


def as_json(facts, table):
    out = [{"connections": row.connections, "server": row.name, "ratios": row.ratios, **asdict(row.samples)} for row in table]
    return json.dumps({"facts": facts, "rows": out}, indent=1, ensure_ascii=False) + "\n"


# The picture: a bar for each server, in groups by number of connections, as long as its requests/s.

WIDTH, LABELS, RIGHT = 1000, 140, 330  # the right margin holds the figures
TOP, BAR, GAP = 100, 18, 14


def bar(row, scale, y, colour):
    speed = row.median("requests_per_s")
    if speed is None:
        why = failure_text(row) or "not measured"
        return [text(LABELS + 6, y + BAR - 5, f"{row.name}: {why}"[:100], 11, fill=FAILED, weight="bold")]
    figure = (f"{speed:,.0f}/s, p99 {milliseconds(row.median('p99_us'))} ms, "
              f"{megabytes(row.median('peak_bytes'))} MB")
    if row.samples.failures:
        figure += f", {len(row.samples.failures)} failed"
    return [f'<rect x="{LABELS}" y="{y}" width="{max(speed * scale, 1):.1f}" height="{BAR - 3}" fill="{colour}" rx="2"/>',
            text(LABELS + 6, y + BAR - 6, row.name, 11, fill="#fff"),
            text(WIDTH - RIGHT + 12, y + BAR - 5, figure, 11)]


def svg(title, facts, table):
    names = list(dict.fromkeys(row.name for row in table))
    groups = {}
    for row in table:
        groups.setdefault(row.connections, []).append(row)
    fastest = max((row.median("requests_per_s") or 0 for row in table), default=0)
    scale = (WIDTH - LABELS - RIGHT) / fastest if fastest else 0
    parts = [
        text(16, 26, f"{title}: requests/s", 16, weight="bold"),
        text(16, 46, f"{facts['machine']}; dashed: {GOAL:.0%} of the bare loop", 11, fill="#555"),
        text(16, 62, "; ".join(facts[name] for name in names if name in facts), 11, fill="#555"),
        text(16, 78, facts["method"], 11, fill="#555"),
    ]
    y = TOP
    for connections, group in groups.items():
        parts.append(text(LABELS - 10, y + BAR - 5, f"{connections:,} connections", 12, "end"))
        bottom = y + BAR * len(group)
        for number, row in enumerate(group):
            parts += bar(row, scale, y + BAR * number, COLOURS[names.index(row.name) % len(COLOURS)])
            if row.name == "bare" and (speed := row.median("requests_per_s")):
                parts.append(line(LABELS + GOAL * speed * scale, y - 3, bottom + 1, "#111", 1.5, "3 2"))
        y = bottom + GAP
    return document(WIDTH, y, parts)
