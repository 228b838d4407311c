# SPDX-License-Identifier: BSD-3-Clause
"""Estimates of mutual information, where its value is known."""

import unittest
from unittest import mock

import numpy as np

import attackers
import information
import lab


def data_of(lengths, copies=1):
    """Twenty originals of each action; lengths: one function of a random generator per action, in microseconds."""
    random, sessions = np.random.default_rng(1), []
    for action, length in zip("abcd", lengths):
        for original in range(20):
            for copy in range(copies):
                times = np.array([0, 1000, int(length(random))])
                sessions.append(lab.Session(action, f"{original:02d}", copy, times, np.array([1, -1, 1]),
                                            np.array([220, 220, 220])))
    return attackers.Data.of(sessions, "test")


@mock.patch.object(information, "SHUFFLES", 40)
class Estimates(unittest.TestCase):
    def test_lengths_apart_tell_everything(self):
        data = data_of([lambda random, s=s: random.uniform(s, s + 1) * 1e6 for s in (10, 20, 30, 40)])
        found = information.estimates(data, 1)
        self.assertEqual(found["length"]["entropy"], 2)
        self.assertAlmostEqual(found["length"]["bits"], 2, delta=0.1)
        self.assertLess(found["length"]["shuffled"], 0.5)

    def test_half_of_it(self):
        data = data_of([lambda random, s=s: random.uniform(s, s + 1) * 1e6 for s in (10, 10, 40, 40)], copies=2)
        self.assertAlmostEqual(information.estimates(data, 1)["length"]["bits"], 1, delta=0.2)

    def test_equal_sessions_tell_nothing(self):
        found = information.estimates(data_of([lambda random: 65_000_000] * 4), 1)
        for kind in information.AMOUNTS:
            self.assertLessEqual(found[kind]["bits"], found[kind]["shuffled"], kind)


if __name__ == "__main__":
    unittest.main()
