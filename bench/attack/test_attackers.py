# SPDX-License-Identifier: BSD-3-Clause
"""Splits, intervals and learners, on sessions whose result is known beforehand."""

import unittest
from unittest import mock

import numpy as np
from scipy.stats import binomtest

import attackers
import lab


def make(action, original, copy, size, random):
    """A session whose packets all have about the given size."""
    count = 30
    return lab.Session(action, f"{original:02d}", copy, np.sort(random.integers(0, 10**6, count)),
                       random.choice([-1, 1], count), np.full(count, size) + random.integers(0, 3, count))


def data_of(sizes, copies=2, originals=6):
    """Sessions of actions a and b with those sizes."""
    random = np.random.default_rng(1)
    sessions = [make(action, original, copy, size, random)
                for action, size in zip("ab", sizes)
                for original in range(originals) for copy in range(copies)]
    return attackers.Data.of(sessions, "test")


class Interval(unittest.TestCase):
    def test_as_scipy_has_it(self):
        for hits, count in ((10, 40), (0, 10), (59, 59), (30, 60)):
            expected = binomtest(hits, count).proportion_ci(method="wilson")
            np.testing.assert_allclose(attackers.wilson(hits / count, count), expected, atol=1e-9)


class Splits(unittest.TestCase):
    def test_copies_stay_together(self):
        data = data_of((100, 200))
        for train, test in attackers.grouped_folds(data, 10, 1) + attackers.temporal_split(data):
            self.assertFalse(set(data.groups[train]) & set(data.groups[test]))

    def test_every_session_is_tested_once(self):
        data = data_of((100, 200))
        folds = attackers.grouped_folds(data, 10, 1)
        self.assertEqual(len(folds), 6)
        self.assertEqual(sorted(np.concatenate([test for _, test in folds])), list(range(24)))

    def test_folds_are_even(self):
        data = data_of((100, 200), originals=5)
        for _, test in attackers.grouped_folds(data, 5, 3):
            self.assertEqual(sorted(data.labels[test]), [0, 0, 1, 1])

    def test_temporal_trains_on_the_first(self):
        data = data_of((100, 200))
        (train, test), = attackers.temporal_split(data)
        self.assertEqual({data.sessions[i].original for i in train}, {"00", "01", "02", "03"})
        self.assertEqual({data.sessions[i].original for i in test}, {"04", "05"})

    def test_one_original_is_refused(self):
        with self.assertRaises(lab.LabError):
            data_of((100, 200), originals=1)


@mock.patch.object(attackers, "TREES", 100)
class Attack(unittest.TestCase):
    names = ["extra-trees", "k-fp", "size-only", "timing-only"]

    def test_sizes_that_differ_are_seen_by_who_looks_at_sizes(self):
        results = attackers.attack(data_of((100, 200)), self.names, 6, 2, 1, 1)
        for name in ("extra-trees", "k-fp", "size-only"):
            self.assertEqual(results[name]["folds"]["accuracy"], 1, name)
            self.assertEqual(results[name]["folds"]["confusion"], [[24, 0], [0, 24]])
        self.assertEqual((results["k-fp"]["folds"]["tests"], results["k-fp"]["folds"]["originals"]), (48, 12))
        low, high = results["timing-only"]["folds"]["interval"]
        self.assertLessEqual(low, 0.5)
        self.assertLess(high, 1)

    def test_equal_sessions_are_at_chance(self):
        random = np.random.default_rng(2)
        session = make("a", 0, 0, 100, random)
        columns = session.time_us, session.direction, session.bytes
        sessions = [lab.Session(action, f"{original:02d}", 0, *columns)
                    for action in "abcd" for original in range(5)]
        results = attackers.attack(attackers.Data.of(sessions, "test"), ["extra-trees", "k-fp"], 5, 1, 1, 1)
        for result in results.values():
            self.assertEqual(result["folds"]["accuracy"], 0.25)
            self.assertEqual(result["folds"]["chance"], 0.25)

    def test_cells_that_are_late_where_something_is_sent_are_found(self):
        random, sessions = np.random.default_rng(3), []
        for action, begin in zip("ab", (0, 1000)):
            for original in range(8):
                late = np.zeros(2000)
                # a real cell in every third slot of one half of the session is 200 us late, within the dither of all
                late[begin:begin + 1000:3] = 200
                times = np.arange(2000) * 5000 + random.uniform(0, 300, 2000) + late
                sessions.append(lab.Session(action, f"{original:02d}", 0, np.concatenate((times, times + 2500)).astype(int),
                                            np.repeat([1, -1], 2000), np.full(4000, 220)))
        for session in sessions:
            order = np.argsort(session.time_us, kind="stable")
            session.time_us, session.direction = session.time_us[order], session.direction[order]
        results = attackers.attack(attackers.Data.of(sessions, "test"), ["timing-only"], 4, 1, 1, 1)
        self.assertGreaterEqual(results["timing-only"]["folds"]["accuracy"], 0.9)

    def test_same_seed_same_result(self):
        data = data_of((100, 101))
        first, second = (attackers.attack(data, ["extra-trees"], 6, 1, 7, 1) for _ in range(2))
        self.assertEqual(first, second)


if __name__ == "__main__":
    unittest.main()
