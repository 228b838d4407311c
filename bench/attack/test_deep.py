# SPDX-License-Identifier: BSD-3-Clause
"""The deep attackers, on sessions whose result is known beforehand."""

import unittest
from unittest import mock

import numpy as np

import attackers
import deep
import lab


def session(action, original, time_us, direction, size):
    """A session with packets of one size."""
    return lab.Session(action, f"{original:02d}", 0, np.array(time_us), np.array(direction),
                       np.full(len(time_us), size))


class Sequences(unittest.TestCase):
    def test_packets_are_signed_and_filled_up(self):
        one = session("a", 0, [100, 5100, 50100], [1, -1, 1], 750)
        np.testing.assert_allclose(deep.signed_sizes(one)[0, :4], [0.5, -0.5, 0.5, 0])
        np.testing.assert_allclose(deep.signed_times(one)[0, :4], [0, -0.005, 0.05, 0])
        self.assertEqual(deep.signed_sizes(one).shape, (1, deep.PACKETS))

    def test_long_sessions_are_thinned(self):
        count = 3 * deep.PACKETS - 1
        one = session("a", 0, range(count), np.ones(count), 750)
        times = deep.signed_times(one)[0]
        np.testing.assert_allclose(times[:3], [0, 3e-6, 6e-6])
        self.assertAlmostEqual(times[-1], 3e-6 * (deep.PACKETS - 1), places=7)

    def test_training_is_so_many_steps(self):
        for count in (5, 16, 53):
            batches = list(deep.Network.batches(np.random.default_rng(1), count))
            self.assertEqual(len(batches), deep.STEPS)
            self.assertGreaterEqual(min(len(batch) for batch in batches), min(count, deep.BATCH))

    def test_rates_count_every_packet(self):
        one = session("a", 0, [0, 43_999, 44_000, 10**9], [1, 1, -1, -1], 100)
        found = deep.rates(one)
        self.assertEqual((found[0, 0], found[1, 1], found[1, -1], found.sum()), (2, 1, 1, 4))


class Attack(unittest.TestCase):
    def scores(self, sessions):
        """Accuracy in three folds of each attacker, with shorter sequences and fewer epochs than usual."""
        with mock.patch.multiple(deep, STEPS=120, BATCH=8, PACKETS=512, SLOTS=180):
            found = attackers.attack(attackers.Data.of(sessions, "test"), list(attackers.DEEP), 3, 1, 1, 1)
        return {name: result["folds"]["accuracy"] for name, result in found.items()}

    def test_what_differs_is_learnt(self):
        random, sessions = np.random.default_rng(1), []
        for original in range(12):
            for action, gap, size in (("a", 20_000, 200), ("b", 200_000, 900)):
                times = np.cumsum(random.integers(gap // 5, gap // 3, 200))
                sessions.append(session(action, original, times, random.choice([-1, 1], 200), size))
        for name, accuracy in self.scores(sessions).items():
            self.assertGreaterEqual(accuracy, 0.9, name)

    def test_equal_sessions_are_at_chance(self):
        times, direction = np.arange(200) * 20_000, np.resize([1, -1], 200)
        sessions = [session(action, original, times, direction, 220)
                    for action in "ab" for original in range(6)]
        for name, accuracy in self.scores(sessions).items():
            self.assertEqual(accuracy, 0.5, name)


if __name__ == "__main__":
    unittest.main()
