# SPDX-License-Identifier: BSD-3-Clause
"""Features whose value can be worked out by hand."""

import unittest

import numpy as np

import features
import lab

# Two bursts, 1 s apart: to, from, from; then to, from.
TIME = np.array([0.0, 0.01, 0.03, 1.03, 1.07])
DIRECTION = np.array([1, -1, -1, 1, -1])
SIZE = np.array([100, 60, 64, 200, 60])


class Statistics(unittest.TestCase):
    def test_values(self):
        s = features.statistics(np.array([1.0, 2.0, 3.0, 4.0]))
        np.testing.assert_allclose(s[:6], [4, 10, 2.5, np.sqrt(1.25), 1, 4])
        self.assertEqual(s[6 + features.QUANTILES.index(50)], 2.5)

    def test_empty(self):
        self.assertEqual(list(features.statistics(np.zeros(0))), [0] * (6 + len(features.QUANTILES)))


class Simple(unittest.TestCase):
    def test_length(self):
        np.testing.assert_allclose(features.length(TIME, DIRECTION, SIZE), [1.07])

    def test_volume(self):
        np.testing.assert_array_equal(features.volume(TIME, DIRECTION, SIZE), [5, 484, 2, 300, 3, 184])

    def test_size_histogram(self):
        h = features.size_histogram(np.array([0, 4, 5, 64, 1499, 1500, 9000]))
        self.assertEqual(len(h), 301)
        self.assertEqual({i: h[i] for i in np.flatnonzero(h)}, {0: 2, 1: 1, 12: 1, 299: 1, 300: 2})

    def test_distinct_sizes(self):
        part = len(features.statistics(SIZE)) * 3
        np.testing.assert_array_equal(features.sizes(TIME, DIRECTION, SIZE)[part:part + 3], [4, 2, 2])


class Timing(unittest.TestCase):
    def test_gaps(self):
        g = features.gap_features(TIME)
        np.testing.assert_allclose(g[:6], [4, 1.07, 0.2675, np.std([0.01, 0.02, 1, 0.04]), 0.01, 1])
        self.assertAlmostEqual(np.sum(g[14:]), 1)

    def test_one_packet_has_no_gap(self):
        self.assertEqual(np.count_nonzero(features.gap_features(np.array([0.0]))), 0)

    def test_rates(self):
        r = features.rate_series(TIME, SIZE)
        self.assertEqual((r[0], r[1], np.sum(r[2:features.RATE_BINS])), (224, 260, 0))
        # shares of 1.07 / 20 s: the first takes three packets, the last two come in the 20th
        shares = r[features.RATE_BINS:]
        self.assertEqual((shares[0], shares[-1], np.sum(shares)), (224, 260, 484))


class Order(unittest.TestCase):
    def test_curve_is_linear_between_packets(self):
        c = features.curve(np.array([10.0, -4.0]))
        self.assertEqual((c[0], c[-1]), (0, 6))
        # place 49 of 0..49 is packet 2; packet 1.0 lies between points 24 and 25
        np.testing.assert_allclose(c[24], 10 * 24 * 2 / 49)
        np.testing.assert_allclose(c[25], 10 - 4 * (25 * 2 / 49 - 1))

    def test_runs(self):
        runs = features.order(TIME, DIRECTION, SIZE)[features.CURVE_POINTS:]
        np.testing.assert_allclose(runs[:6], [4, 5, 1.25, np.std([1, 2, 1, 1]), 1, 2])


class Bursts(unittest.TestCase):
    def test_split(self):
        np.testing.assert_array_equal(features.split_bursts(TIME), [0, 3])

    def test_times(self):
        b = features.burst_times(TIME)
        n = len(features.statistics(TIME))
        np.testing.assert_allclose(b[:6], [2, 5, 2.5, 0.5, 2, 3])
        np.testing.assert_allclose(b[n:n + 6], [2, 0.07, 0.035, 0.005, 0.03, 0.04])
        np.testing.assert_allclose(b[2 * n:2 * n + 3], [1, 1, 1])

    def test_sums(self):
        np.testing.assert_allclose(features.burst_sums(TIME, SIZE)[:6], [2, 484, 242, 18, 224, 260])

    def test_no_packets(self):
        none = np.zeros(0)
        self.assertEqual(np.count_nonzero(features.burst_times(none)), 0)
        self.assertEqual(np.count_nonzero(features.burst_sums(none, none)), 0)


class Correlation(unittest.TestCase):
    def test_alternating(self):
        a = np.array([1.0, -1.0, 1.0, -1.0])
        np.testing.assert_allclose(features.correlate(a, a, 5), [1, -0.75, 0.5, -0.25, 0])

    def test_constant_has_none(self):
        np.testing.assert_array_equal(features.correlate(np.ones(5), np.ones(5), 3), [0, 0, 0])

    def test_series(self):
        to_robot, from_robot = features.lag_series(TIME, DIRECTION, SIZE)
        self.assertEqual({i: to_robot[i] for i in np.flatnonzero(to_robot)}, {0: 100, 41: 200})
        self.assertEqual({i: from_robot[i] for i in np.flatnonzero(from_robot)}, {0: 60, 1: 64, 42: 60})


class Matrix(unittest.TestCase):
    def session(self, time_us, size):
        count = len(time_us)
        return lab.Session("a", "00", 0, np.array(time_us), np.ones(count, dtype=int), np.array(size))

    def test_same_for_any_start(self):
        x, y = self.session([0, 5000], [100, 100]), self.session([70, 5070], [100, 100])
        np.testing.assert_array_equal(features.extract(x, "all"), features.extract(y, "all"))

    def test_sizes_do_not_see_times(self):
        x, y = self.session([0, 5000, 9000], [90, 80, 70]), self.session([0, 100, 800000], [90, 80, 70])
        np.testing.assert_array_equal(features.extract(x, "size"), features.extract(y, "size"))
        self.assertFalse(np.array_equal(features.extract(x, "timing"), features.extract(y, "timing")))

    def test_times_do_not_see_sizes(self):
        x, y = self.session([0, 5000, 9000], [90, 80, 70]), self.session([0, 5000, 9000], [90, 700, 70])
        np.testing.assert_array_equal(features.extract(x, "timing"), features.extract(y, "timing"))
        self.assertFalse(np.array_equal(features.extract(x, "size"), features.extract(y, "size")))

    def test_equal_sessions_leave_one_column(self):
        m = features.matrix([self.session([0, 5], [1, 2])] * 3, "all")
        self.assertEqual(m.shape, (3, 1))


if __name__ == "__main__":
    unittest.main()
