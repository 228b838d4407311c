# SPDX-License-Identifier: BSD-3-Clause
"""Attackers and how they are scored: trained and tested on recordings under the same policy."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

import features
from lab import LabError

TREES = 500
# Of the features, how many a tree looks at for each split. With thousands of features of which few tell anything, the usual
# square root often finds none of those.
FEATURES_PER_SPLIT = 0.25
NEIGHBOURS = 3
Z95 = 1.959963984540054
TEMPORAL_SHARE = 2 / 3


class KFingerprinting:
    """k-FP: a random forest's leaves as fingerprint, its nearest neighbours by Hamming distance."""

    def __init__(self, seed, jobs):
        self.forest = RandomForestClassifier(TREES, max_features=FEATURES_PER_SPLIT, random_state=seed, n_jobs=jobs)
        self.leaves = self.labels = None

    def fit(self, rows, labels):
        """Learns the fingerprints."""
        self.forest.fit(rows, labels)
        self.leaves, self.labels = self.forest.apply(rows), labels
        return self

    def predict(self, rows):
        """The most frequent label among the neighbours; of equally frequent ones the nearest neighbour's."""
        found = []
        for leaves in self.forest.apply(rows):
            agree = np.sum(self.leaves == leaves, axis=1)
            nearest = self.labels[np.argsort(-agree, kind="stable")[:NEIGHBOURS]]
            counts = [np.count_nonzero(nearest == label) for label in nearest]
            found.append(nearest[int(np.argmax(counts))])
        return np.array(found)


def extra_trees(seed, jobs):
    """The strongest on so few sessions, and not sensitive to useless features."""
    return ExtraTreesClassifier(TREES, max_features=FEATURES_PER_SPLIT, random_state=seed, n_jobs=jobs)


# name: (set of features, learner)
ATTACKERS = {
    "extra-trees": ("all", extra_trees),
    "k-fp": ("all", KFingerprinting),
    "size-only": ("size", extra_trees),
    "timing-only": ("timing", extra_trees),
    "length-only": ("length", extra_trees),
    "volume-only": ("volume", extra_trees),
}


# They need torch, which is imported only for them.
DEEP = ("df", "tik-tok", "rf")


def attacker(name):
    """The data that an attacker looks at, by a function of sessions, and its learner."""
    if name in DEEP:
        import deep
        kind, learner = deep.ATTACKERS[name]
        return kind, deep.sequences, learner
    kind, learner = ATTACKERS[name]
    return kind, features.matrix, learner


@dataclass
class Data:
    """Recordings as arrays."""

    sessions: list
    labels: np.ndarray		# index into actions
    groups: np.ndarray		# the original that a session is a copy of
    actions: list

    @classmethod
    def of(cls, sessions, where):
        """From lab.Session objects."""
        actions = sorted({s.action for s in sessions})
        originals = sorted({(s.action, int(s.original)) for s in sessions})
        if len(actions) < 2:
            raise LabError(f"{where}: recordings of one action only")
        data = cls(sessions, np.array([actions.index(s.action) for s in sessions]),
                   np.array([originals.index((s.action, int(s.original))) for s in sessions]), actions)
        if data.fewest_originals() < 2:
            raise LabError(f"{where}: an action with one original only")
        return data

    def fewest_originals(self):
        """Of the action that has the fewest."""
        return min(len(set(self.groups[self.labels == label])) for label in range(len(self.actions)))


def wilson(share, count):
    """95 % confidence interval of a share that was seen in `count` independent trials."""
    centre = (share + Z95 ** 2 / (2 * count)) / (1 + Z95 ** 2 / count)
    half = Z95 / (1 + Z95 ** 2 / count) * math.sqrt(share * (1 - share) / count + Z95 ** 2 / (4 * count ** 2))
    return [max(0.0, centre - half), min(1.0, centre + half)]


def grouped_folds(data, folds, seed):
    """Splits in which copies of one original are never on both sides.

    The originals of each action are dealt out in turn, so that folds differ by at most one original of an
    action: a fold with more of one action leaves less of it for training, and a guess at random would score
    below chance.
    """
    folds = min(folds, data.fewest_originals())
    random, fold_of, dealt = np.random.default_rng(seed), {}, 0
    for label in range(len(data.actions)):
        for group in random.permutation(np.unique(data.groups[data.labels == label])):
            fold_of[group] = dealt % folds
            dealt += 1
    fold = np.array([fold_of[group] for group in data.groups])
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(folds)]


def temporal_split(data):
    """Trains on each action's earlier originals, tests on the later: numbers are the order of capture."""
    is_early = np.zeros(len(data.labels), dtype=bool)
    for label in range(len(data.actions)):
        groups = sorted(set(data.groups[data.labels == label]))
        early = groups[:max(1, min(len(groups) - 1, round(len(groups) * TEMPORAL_SHARE)))]
        is_early |= np.isin(data.groups, early)
    return [(np.flatnonzero(is_early), np.flatnonzero(~is_early))]


def score(data, splits, rows, learner, seed, jobs):
    """Trains and tests on each split; accuracy over all tests, with its interval, and the confusion matrix.

    Neither copies of an original nor repeated tests of it are independent trials, so the interval counts
    originals.
    """
    confusion = np.zeros((len(data.actions), len(data.actions)), dtype=int)
    tested = []
    for train, test in splits:
        if set(data.groups[train]) & set(data.groups[test]):
            raise AssertionError("an original on both sides of a split")
        found = learner(seed, jobs).fit(rows[train], data.labels[train]).predict(rows[test])
        np.add.at(confusion, (data.labels[test], found), 1)
        tested.extend(test)
    accuracy = float(np.trace(confusion) / np.sum(confusion))
    originals = len(set(data.groups[tested]))
    return {
        "accuracy": accuracy, "interval": wilson(accuracy, originals), "tests": len(tested),
        "originals": originals, "chance": float(np.max(np.sum(confusion, axis=1)) / np.sum(confusion)),
        "confusion": confusion.tolist(),
    }


def attack(data, names, folds, repeats, seed, jobs):
    """What each of the named attackers achieves; chance is that of always naming the most frequent action.

    With few originals the accuracy depends on how they happen to be dealt out: they are dealt `repeats`
    times.
    """
    results, matrices = {}, {}
    dealt = [split for again in range(repeats) for split in grouped_folds(data, folds, seed + again)]
    splits = {"folds": dealt, "temporal": temporal_split(data)}
    for name in names:
        kind, rows_of, learner = attacker(name)
        if kind not in matrices:
            matrices[kind] = rows_of(data.sessions, kind)
        results[name] = {
            "features": int(np.prod(matrices[kind].shape[1:])),
            **{key: score(data, split, matrices[kind], learner, seed, jobs) for key, split in splits.items()},
        }
    return results
