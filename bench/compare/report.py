"""What compare.py found, as a Markdown table and as JSON; the pictures are drawn by bars.py and overview.py."""

import json
import statistics
from dataclasses import dataclass, field

SUBJECT = "weft"  # whose figures the others' are divided by
REFERENCE = "go"  # what the targets are about
NOISE = 0.05  # where the target is to be as good as the reference, a median that is worse by less is as good


@dataclass
class Row:
    """One line of the table: a scenario's time, or its resident bytes."""

    name: str
    operation: str
    unit: str  # "ns" or "B"
    values: dict  # peer -> list of figures
    failures: dict  # peer -> list of sentences
    first_bar: float | None
    target: float | None
    limit: int | None = None  # of SUBJECT's figure itself
    cpu: dict = field(default_factory=dict)  # peer -> list of ns

    def median(self, peer):
        return median_of(self.values, peer)

    def ratio(self, peer):
        """How many times better than this peer the subject is; None if one of them has no figure."""
        return ratio_of(self.values, peer)

    def takes_part(self, peer):
        """Whether the peer has a counterpart of the scenario."""
        return peer in self.failures


def median_of(figures, peer):
    return statistics.median(figures[peer]) if figures.get(peer) else None


def ratio_of(figures, peer):
    subject, other = median_of(figures, SUBJECT), median_of(figures, peer)
    return other / subject if subject and other else None


def rows(scenarios, results):
    made = []
    for s in scenarios:
        by_peer = results.get(s.name)
        if by_peer is None:
            continue
        times = {peer: samples.ns for peer, samples in by_peer.items()}
        failures = {peer: samples.failures for peer, samples in by_peer.items()}
        cpu = {peer: samples.cpu_ns for peer, samples in by_peer.items()}
        made.append(Row(s.name, s.operation, "ns", times, failures, s.first_bar, s.target, cpu=cpu))
        sizes = {peer: samples.bytes for peer, samples in by_peer.items()}
        if any(sizes.values()):
            made.append(Row(f"{s.name} bytes", "resident bytes of one of them", "B", sizes, failures, None,
                            s.bytes_target, s.bytes_limit))
    return made


def in_unit(unit, value, like=None):
    """The figure and its unit; `like` is the figure whose unit and precision are wanted."""
    like = value if like is None else like
    if unit == "B":
        return f"{value:,.0f}", "B"
    if like >= 10_000:
        return (f"{value / 1000:,.0f}" if like >= 100_000 else f"{value / 1000:,.1f}"), "µs"
    return (f"{value:,.0f}" if like >= 100 else f"{value:.1f}"), "ns"


def time_text(ns):
    return " ".join(in_unit("ns", ns))


def figure_text(row, value):
    return " ".join(in_unit(row.unit, value))


def cell(row, peer):
    """Median and range, or why there are none; both when only some runs failed."""
    if not row.takes_part(peer):
        return "–"
    figures, failures = row.values.get(peer, []), row.failures.get(peer, [])
    parts = []
    if figures:
        median = row.median(peer)
        low, high = (in_unit(row.unit, value, like=median)[0] for value in (min(figures), max(figures)))
        parts.append(figure_text(row, median) + (f" ({low}–{high})" if len(figures) > 1 else ""))
    if failures:
        count = f"{len(failures)} of {len(failures) + len(figures)} runs: " if figures else ""
        parts.append(f"**{count}{failures[0]}**")
    return "; ".join(parts).replace("|", "\\|") or "not measured"


def is_reached(ratio, wanted):
    return ratio >= (wanted - NOISE if wanted == 1 else wanted)


def verdict(row, wanted):
    """Whether the subject is that many times better than the reference."""
    if wanted is None:
        return "–"
    ratio = row.ratio(REFERENCE)
    if ratio is None:
        return f"{wanted:g}x"
    return f"{wanted:g}x {'met' if is_reached(ratio, wanted) else '**missed**'}"


def missed(table):
    """A line for each target that was judged and not reached."""
    lines = []
    for row in table:
        median, ratio = row.median(SUBJECT), row.ratio(REFERENCE)
        if row.limit is not None and median is not None and median > row.limit:
            lines.append(f"{row.name}: {figure_text(row, median)}, at most {row.limit:,} B are allowed")
        if row.limit is None and row.target and (ratio is None or not is_reached(ratio, row.target)):
            reached = "no figure" if ratio is None else f"{ratio_text(ratio)} of {REFERENCE}"
            lines.append(f"{row.name}: {reached}, the target is {row.target:g}x")
    return lines


def behind(table, peers):
    """A line for each figure of another runtime that is better than the subject's."""
    return [f"{row.name}: {peer} {figure_text(row, row.median(peer))}, {SUBJECT} {figure_text(row, row.median(SUBJECT))}"
            for row in table for peer in peers if peer != SUBJECT and not is_reached(row.ratio(peer) or 1, 1)]


def listed(title, lines):
    return ["", f"{title}:", "", *(f"- {line}" for line in lines)] if lines else ["", f"{title}: none."]


def target_text(row):
    if row.limit is None:
        return verdict(row, row.target)
    median = row.median(SUBJECT)
    outcome = "" if median is None else " met" if median <= row.limit else " **missed**"
    return f"≤ {row.limit:,} B{outcome}"


def markdown(facts, table, peers):
    lines = ["# weft and its peers", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    lines += ["", f"Figures: median (range) per operation; a column :{SUBJECT} divides its left neighbour's median by "
              f"{SUBJECT}'s: above 1, {SUBJECT} is ahead. A dash: it has no counterpart, or there is no figure. Targets are "
              f"ratios to {REFERENCE}; one of 1x is met from {1 - NOISE:g}x on.", ""]
    head = ["scenario", "one operation is", *columns(peers), "first bar", "target"]
    lines += ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 4) + "---|---|"]
    for row in table:
        cells = [row.name, row.operation, *with_ratios(peers, lambda peer: cell(row, peer), row.ratio),
                 verdict(row, row.first_bar), target_text(row)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += listed("Targets missed", missed(table)) + listed("Where another runtime is ahead", behind(table, peers))
    return "\n".join(lines + cpu_table(table, peers)) + "\n"


def columns(peers):
    return with_ratios(peers, lambda peer: peer, lambda peer: f":{SUBJECT}")


def with_ratios(peers, figure, ratio):
    """A cell per peer, the subject first, and beside each other one what its ratio is."""
    cells = [figure(SUBJECT)] if SUBJECT in peers else []
    for peer in peers:
        if peer != SUBJECT:
            value = ratio(peer)
            cells += [figure(peer), value if isinstance(value, str) else ratio_text(value)]
    return cells


def ratio_text(ratio):
    if ratio is None:
        return "–"
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:,.0f}x"


def cpu_table(table, peers):
    """The same by CPU time, which hardly depends on what else the machine does, but knows nothing of waiting."""
    rows_with_cpu = [row for row in table if any(row.cpu.values())]
    if not rows_with_cpu:
        return []
    head = ["scenario", *columns(peers)]
    lines = ["", "CPU time of the whole process per operation, on all processors together (medians): steadier on a busy "
             "machine, blind to waiting.", "",
             "| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows_with_cpu:
        def time_of(peer, row=row):
            median = median_of(row.cpu, peer)
            return time_text(median) if median else "–"

        cells = [row.name, *with_ratios(peers, time_of, lambda peer, row=row: ratio_of(row.cpu, peer))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def goal(row):
    """The target as a ratio to the reference; a limit in bytes becomes one when the reference is known."""
    if row.limit is None:
        return row.target
    reference = row.median(REFERENCE)
    return reference / row.limit if reference else None


def as_json(facts, table):
    out = []
    for row in table:
        peers = {
            peer: {"median": row.median(peer), "samples": row.values.get(peer, []), "failures": row.failures[peer],
                   "times_the_subject": row.ratio(peer), "cpu_ns": row.cpu.get(peer, [])}
            for peer in row.failures
        }
        out.append({"scenario": row.name, "operation": row.operation, "unit": row.unit, "first_bar": row.first_bar,
                    "target": row.target, "limit": row.limit, "peers": peers})
    return json.dumps({"facts": facts, "rows": out}, indent=1, ensure_ascii=False) + "\n"
