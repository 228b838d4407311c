# SPDX-License-Identifier: BSD-3-Clause
"""How many bits one number of a session, its length or an amount, tells about its action.

The estimate is that of B. C. Ross, "Mutual Information between Discrete and Continuous Data Sets" (PLoS ONE 9(2), 2014), as
scikit-learn has it. On a few dozen sessions it is not zero where nothing is told: what shuffled labels give is reported beside it.
"""

import math

import numpy as np
from sklearn.feature_selection import mutual_info_classif

import features

SHUFFLES = 100
QUANTILE = 95
# What is estimated, and the features (features.SETS) that it is the best of.
AMOUNTS = ("length", "volume")


def entropy(labels):
    """Bits that would name the action."""
    shares = np.bincount(labels) / len(labels)
    return float(-sum(share * math.log2(share) for share in shares if share > 0))


def best_bits(rows, labels, seed):
    """Of the column that tells most. Equal values are kept apart by noise far below a microsecond or a byte."""
    return float(np.max(mutual_info_classif(rows, labels, random_state=seed)) / math.log(2))


def estimate(data, kind, seed):
    """Bits, the quantile of the same under shuffled labels, and the most there could be.

    Copies of an original resemble each other more than its action's other sessions: each copy number is estimated by itself,
    and the mean is what counts.
    """
    copies = np.array([session.copy for session in data.sessions])
    rows, random = features.matrix(data.sessions, kind), np.random.default_rng(seed)
    chosen = [copies == copy for copy in np.unique(copies)]
    originals, first = np.unique(data.groups, return_index=True)
    label_of = data.labels[first]

    def mean(labels):
        of_session = labels[np.searchsorted(originals, data.groups)]
        return float(np.mean([best_bits(rows[c], of_session[c], seed) for c in chosen]))

    # an original has one label, shuffled or not, in all its copies
    shuffled = [mean(random.permutation(label_of)) for _ in range(SHUFFLES)]
    return {"bits": mean(label_of), "shuffled": float(np.percentile(shuffled, QUANTILE)),
            "entropy": entropy(data.labels)}


def estimates(data, seed):
    """Of length and volume."""
    return {kind: estimate(data, kind, seed) for kind in AMOUNTS}
