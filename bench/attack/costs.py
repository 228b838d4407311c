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
    delay_us: np.ndarray	# of every message of the application
    load: list			# load averages: smallest, mean, largest


def load_averages(out):
    """The machine's load around the sessions."""
    loads = [load for path in (Path(out) / "sessions").glob("*.json") for load in lab.read_json(path)["load"]]
    return [min(loads), sum(loads) / len(loads), max(loads)] if loads else [0, 0, 0]


def packet_range(sessions, side):
    """The fewest and the most packets of a direction in a session."""
    counts = [int(np.count_nonzero(s.direction == side)) for s in sessions]
    return min(counts), max(counts)


def measure(out):
    """The costs of the sessions below OUT."""
    sessions = lab.load_sessions(out)
    total = sum(int(np.sum(s.bytes)) for s in sessions)
    seconds = sum(int(s.time_us[-1] - s.time_us[0]) for s in sessions) / 1e6
    return Costs(len(sessions), total / len(sessions), total * 8 / 1000 / max(seconds, 1e-6),
                 seconds / len(sessions), {side: packet_range(sessions, side) for side in (1, -1)},
                 lab.load_delays(out), load_averages(out))


def added_ms(costs, baseline, percent):
    """A quantile of the delays minus the same of the undefended run."""
    defended, plain = (np.percentile(c.delay_us, percent) for c in (costs, baseline))
    return float(defended - plain) / 1000
