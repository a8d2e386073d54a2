"""One run of a program of the comparison."""

import json
import os
import resource
import signal
import subprocess

from programs import why_failed


def cpu_seconds():
    """What all programs that have ended used, one after the other."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(peer, name, processors, timeout, size=None):
    """One run of a scenario in a process of its own: (its JSON line, None) or (None, why there is none)."""
    cpu_before = cpu_seconds()
    process = subprocess.Popen(
        [str(peer.program), name if size is None else f"{name}={size}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env=dict(os.environ, **{peer.processors_variable: str(processors)}),
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException as stop:  # also Ctrl-C: the program is in a session of its own
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(stop, subprocess.TimeoutExpired):
            return None, f"timed out after {timeout:g} s"
        raise
    if process.returncode != 0:
        return None, why_failed(process.returncode, err)
    try:
        line = json.loads(out)
        if line["scenario"] == name and line["ns_per_op"] > 0:
            line["cpu_ns_per_op"] = (cpu_seconds() - cpu_before) * 1e9 / line["ops"]
            return line, None
    except (ValueError, KeyError, TypeError):
        pass
    return None, f"printed no result but {out[:60]!r}"
