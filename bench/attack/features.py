# SPDX-License-Identifier: BSD-3-Clause
"""Numbers that an attacker computes from one recorded session.

Every function takes times in seconds from the session's first packet, directions
(1 = to the robot, -1 = from it) and sizes in bytes, and returns an array whose
length does not depend on the session. Empty input gives zeros.
"""

import numpy as np

QUANTILES = (5, 10, 25, 50, 75, 90, 95, 99)
SIZE_BIN = 5
SIZE_END = 1500
RATE_BINS = 140			# of one second: longer than two quanta of the shipped policies
RATE_SHARES = 20		# parts of a session, whatever its length
CURVE_POINTS = 50
BURST_GAP_S = 0.1		# silence that ends a burst
LAG_BIN_S = 0.025
LAGS = 40
ENDS = 30			# gaps at a session's beginning and end that are looked at one by one
GAP_EDGES_S = np.concatenate(([0.0], np.geomspace(1e-4, 10, 41)))
DIRECTIONS = (1, -1)


def statistics(values):
    """Count, sum, mean, deviation, extremes and quantiles."""
    if len(values) == 0:
        return np.zeros(6 + len(QUANTILES))
    return np.concatenate((
        [len(values), np.sum(values), np.mean(values), np.std(values), np.min(values), np.max(values)],
        np.percentile(values, QUANTILES),
    ))


def each_direction(direction, function, *columns):
    """function() of all packets, of those to the robot and of those from it."""
    parts = [function(*columns)]
    for side in DIRECTIONS:
        chosen = direction == side
        parts.append(function(*(column[chosen] for column in columns)))
    return np.concatenate(parts)


def length(time, direction, size):
    """How long the session lasts."""
    return np.array([time[-1] - time[0] if len(time) else 0.0])


def volume(time, direction, size):
    """Bytes and packets, per direction."""
    return each_direction(direction, lambda s: np.array([len(s), np.sum(s)], dtype=float), size)


def size_histogram(size):
    """Packets per bin of SIZE_BIN bytes; the last bin takes all that is larger."""
    bins = np.minimum(size // SIZE_BIN, SIZE_END // SIZE_BIN).astype(int)
    return np.bincount(bins, minlength=SIZE_END // SIZE_BIN + 1).astype(float)


def sizes(time, direction, size):
    """Statistics of sizes, how many different ones, and their histogram."""
    distinct = each_direction(direction, lambda s: np.array([len(np.unique(s))], dtype=float), size)
    return np.concatenate((
        each_direction(direction, statistics, size), distinct,
        each_direction(direction, size_histogram, size),
    ))


def gap_features(time):
    """Statistics of the times between packets, and their shares in logarithmic bins."""
    gaps = np.diff(time)
    shares = np.histogram(gaps, GAP_EDGES_S)[0] / max(len(gaps), 1)
    return np.concatenate((statistics(gaps), shares))


def gaps(time, direction, size):
    """Times between packets, per direction, and statistics of the packets' times themselves."""
    return np.concatenate((
        each_direction(direction, gap_features, time), each_direction(direction, statistics, time),
    ))


def rate_series(time, weight):
    """Sums of weight per second of the session, and per share of its length."""
    seconds = np.histogram(time, RATE_BINS, (0, RATE_BINS), weights=weight)[0]
    end = time[-1] if len(time) and time[-1] > 0 else 1.0
    return np.concatenate((seconds, np.histogram(time, RATE_SHARES, (0, end), weights=weight)[0]))


def packet_rates(time, direction, size):
    """Packets per second, per direction."""
    return each_direction(direction, rate_series, time, np.ones(len(time)))


def byte_rates(time, direction, size):
    """Bytes per second, per direction."""
    return each_direction(direction, rate_series, time, size.astype(float))


def curve(values):
    """The cumulative sum at CURVE_POINTS places, evenly spaced over the packets."""
    if len(values) == 0:
        return np.zeros(CURVE_POINTS)
    return np.interp(np.linspace(0, len(values), CURVE_POINTS), np.arange(len(values) + 1),
                     np.concatenate(([0.0], np.cumsum(values))))


def size_curve(time, direction, size):
    """CUMUL: bytes to the robot minus bytes from it, over the packets; and bytes alone."""
    return np.concatenate((curve(direction * size), curve(size)))


def order(time, direction, size):
    """Packets to the robot minus packets from it, over the packets; lengths of runs of one direction."""
    ends = np.flatnonzero(np.diff(direction)) + 1
    runs = np.diff(np.concatenate(([0], ends, [len(direction)])))
    return np.concatenate((curve(direction), statistics(runs)))


def split_bursts(time):
    """Index of each burst's first packet; a burst ends with a silence of BURST_GAP_S."""
    if len(time) == 0:
        return np.zeros(0, dtype=int)
    return np.concatenate(([0], np.flatnonzero(np.diff(time) > BURST_GAP_S) + 1))


def burst_times(time):
    """Packets, length of and silence between bursts."""
    first = split_bursts(time)
    last = np.append(first[1:], len(time)) - 1
    if len(first) == 0:
        last = first
    return np.concatenate((
        statistics(last - first + 1), statistics(time[last] - time[first]),
        statistics(time[first[1:]] - time[last[:-1]]),
    ))


def burst_timing(time, direction, size):
    """burst_times(), per direction."""
    return each_direction(direction, burst_times, time)


def burst_sums(time, size):
    """Statistics of the bytes in a burst."""
    first = split_bursts(time)
    return statistics(np.add.reduceat(size, first) if len(first) else size)


def burst_sizes(time, direction, size):
    """burst_sums(), per direction."""
    return each_direction(direction, burst_sums, time, size)


def correlate(a, b, lags):
    """Correlation coefficients of a with b moved by 0 to lags - 1 places."""
    a, b = a - np.mean(a), b - np.mean(b)
    scale = np.sqrt(np.sum(a * a) * np.sum(b * b))
    if scale == 0:
        return np.zeros(lags)
    return np.array([np.sum(a[:max(len(a) - lag, 0)] * b[lag:]) for lag in range(lags)]) / scale


def lag_series(time, direction, weight):
    """Weight per LAG_BIN_S to the robot and from it."""
    count = int((time[-1] if len(time) else 0) / LAG_BIN_S) + 1
    places = np.minimum((time / LAG_BIN_S).astype(int), count - 1)
    return [np.bincount(places[direction == side], weight[direction == side], count) for side in DIRECTIONS]


def correlations(time, direction, weight):
    """Each direction with itself and with the other, at lags of one robot tick."""
    to_robot, from_robot = lag_series(time, direction, weight)
    return np.concatenate((
        correlate(to_robot, to_robot, LAGS), correlate(from_robot, from_robot, LAGS),
        correlate(to_robot, from_robot, LAGS),
    ))


def packet_correlations(time, direction, size):
    """correlations() of packets."""
    return correlations(time, direction, np.ones(len(time)))


def byte_correlations(time, direction, size):
    """correlations() of bytes."""
    return correlations(time, direction, size.astype(float))


def spread(values):
    """How far values are from their median: mean, deviation, 95 of 100, and how many by half of it."""
    if len(values) == 0:
        return np.zeros(4)
    middle = np.median(values)
    away = np.abs(values - middle)
    return np.array([np.mean(away), np.std(values), np.percentile(away, 95), np.mean(away > middle / 2)])


def ends(values):
    """The first and the last ENDS of them."""
    row = np.zeros(2 * ENDS)
    first, last = values[:ENDS], values[-ENDS:]
    row[:len(first)] = first
    row[2 * ENDS - len(last):] = last
    return row


def grid_side(time):
    """How well the packets of a direction keep time: where a schedule is even, all that is left is in this."""
    steps = np.diff(time)
    away = np.abs(steps - np.median(steps)) if len(steps) else steps
    parts = [spread(part) for part in np.array_split(steps, RATE_SHARES)]
    sums = np.bincount(np.minimum((time[1:] / LAG_BIN_S).astype(int), int(RATE_BINS / LAG_BIN_S)), away) \
        if len(steps) else np.zeros(1)
    return np.concatenate((spread(steps), *parts, ends(steps), correlate(sums, sums, LAGS)))


def grid(time, direction, size):
    """grid_side() of each direction, and how one direction's packets lie between the other's."""
    to_robot, from_robot = (time[direction == side] for side in DIRECTIONS)
    after = np.searchsorted(from_robot, to_robot)
    behind = (to_robot - from_robot[after - 1])[after > 0] if len(from_robot) else np.zeros(0)
    between = [spread(part) for part in np.array_split(behind, RATE_SHARES)]
    return np.concatenate((grid_side(to_robot), grid_side(from_robot), statistics(behind), *between,
                           ends(behind), ends(direction.astype(float))))


# What each attacker looks at. Size: nothing that needs a clock. Timing: nothing that needs a size.
SETS = {
    "length": (length,),
    "volume": (volume,),
    "size": (sizes, size_curve, order),
    "timing": (length, gaps, grid, packet_rates, burst_timing, packet_correlations),
    "all": (length, volume, sizes, gaps, grid, packet_rates, byte_rates, size_curve, order, burst_timing,
            burst_sizes, packet_correlations, byte_correlations),
}


def extract(session, names):
    """The features of one session (lab.Session) that the set `names` consists of."""
    time = (session.time_us - session.time_us[0]) / 1e6
    return np.concatenate([function(time, session.direction, session.bytes) for function in SETS[names]])


def matrix(sessions, names):
    """One row of features per session; columns that never differ are left out."""
    rows = np.array([extract(session, names) for session in sessions], dtype=np.float64)
    varies = np.any(rows != rows[0], axis=0)
    return rows[:, varies] if np.any(varies) else np.zeros((len(rows), 1))
