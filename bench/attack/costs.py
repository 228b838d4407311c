# SPDX-License-Identifier: BSD-3-Clause
"""What a defence costs: bytes on the wire and delay, from the recordings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lab


@dataclass
class Costs:
    """Of all recorded sessions of a folder."""

    sessions: int
    bytes_each: float		# mean of a session, both directions, outer IP packets
    kbit_s: float		# over the sessions as the wire shows them
    session_s: float		# mean
    packets: dict		# direction: fewest and most in a session
    delays: np.ndarray		# direction and microseconds of every message of the application
    growth_s: float		# mean, of the application's session over its trace
    load: list			# load averages: smallest, mean, largest


def load_averages(summaries):
    """The machine's load around the sessions."""
    loads = [load for summary in summaries for load in summary["load"]]
    return [min(loads), sum(loads) / len(loads), max(loads)]


def packet_range(sessions, side):
    """The fewest and the most packets of a direction in a session."""
    counts = [int(np.count_nonzero(s.direction == side)) for s in sessions]
    return min(counts), max(counts)


def measure(out):
    """The costs of the sessions below OUT."""
    sessions = lab.load_sessions(out)
    summaries = [lab.read_json(path) for path in sorted((Path(out) / "sessions").glob("*.json"))]
    if not summaries:
        raise lab.LabError(f"{out}: no summaries in sessions/")
    growth = float(np.mean([s["app"]["duration_s"] - s["trace_s"] for s in summaries]))
    total = sum(int(np.sum(s.bytes)) for s in sessions)
    seconds = sum(int(s.time_us[-1] - s.time_us[0]) for s in sessions) / 1e6
    return Costs(len(sessions), total / len(sessions), total * 8 / 1000 / max(seconds, 1e-6),
                 seconds / len(sessions), {side: packet_range(sessions, side) for side in (1, -1)},
                 lab.load_delays(out), growth, load_averages(summaries))


def added_ms(costs, baseline, percent, side=0):
    """A quantile of the delays, of one direction if `side` is not 0, minus the same of the undefended run."""
    defended, plain = (np.percentile(c.delays[(c.delays[:, 0] == side) | (side == 0), 1], percent)
                       for c in (costs, baseline))
    return float(defended - plain) / 1000
