# SPDX-License-Identifier: BSD-3-Clause
"""Attackers that learn their own features, after the papers that introduced them.

    df       Deep Fingerprinting (Sirinam et al., CCS 2018): a convolutional network over the packets in order.
             Here a packet is its size with the sign of its direction: with equal sizes that is the paper's input.
    tik-tok  the same network over the packets' times with that sign (Rahman et al., PETS 2020)
    rf       Robust Fingerprinting (Shen et al., USENIX Security 2023): a network over a matrix of packets per
             direction and slot of 44 ms

Layers, widths, dropout and optimisers are the papers'. Sessions are fewer and most of them longer here than in the papers,
which look at the first 5,000 packets of many thousand visits to web sites: a longer session is thinned evenly, so that
its end is seen as well, and training is so many steps, not epochs. The rate of learning is not lowered on the way.
"""

import numpy as np
import torch
from torch import nn

PACKETS = 1024			# of a session that df and tik-tok look at
SLOT_US = 44_000
SLOTS = 1800			# 79 s
STEPS = 250
BATCH = 16
SIZE_UNIT = 1500.0


def packets(values):
    """Every n-th of a session's values, so that at most PACKETS are left, filled up with zeros."""
    row = np.zeros(PACKETS, dtype=np.float32)
    left = values[::-(-len(values) // PACKETS)]
    row[:len(left)] = left
    return row[np.newaxis]


def signed_sizes(session):
    """What df looks at."""
    return packets(session.direction * session.bytes / SIZE_UNIT)


def signed_times(session):
    """What tik-tok looks at, in seconds from the first packet."""
    return packets(session.direction * (session.time_us - session.time_us[0]) / 1e6)


def rates(session):
    """What rf looks at: packets per direction and slot; the last slot takes what comes later."""
    slot = np.minimum((session.time_us - session.time_us[0]) // SLOT_US, SLOTS - 1)
    return np.array([np.bincount(slot[session.direction == side], minlength=SLOTS)
                     for side in (1, -1)], dtype=np.float32)


SEQUENCES = {"signed-sizes": signed_sizes, "signed-times": signed_times, "rates": rates}


def convolutions(inputs, outputs, activation):
    """One block of df: two convolutions and a pooling that leaves a quarter."""
    layers = []
    for width in (inputs, outputs):
        layers += [nn.ConstantPad1d((3, 4), 0), nn.Conv1d(width, outputs, 8), nn.BatchNorm1d(outputs),
                   activation()]
    return layers + [nn.MaxPool1d(8, 4, padding=2), nn.Dropout(0.1)]


def hidden(inputs, dropout):
    """A dense layer of df."""
    return [nn.Linear(inputs, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(dropout)]


def deep_fingerprinting(actions):
    """The network of df and tik-tok."""
    widths, layers = (1, 32, 64, 128, 256), []
    for i in range(4):
        layers += convolutions(widths[i], widths[i + 1], nn.ReLU if i else nn.ELU)
    length = PACKETS
    for _ in range(4):
        length = (length + 4 - 8) // 4 + 1
    return nn.Sequential(*layers, nn.Flatten(), *hidden(256 * length, 0.7), *hidden(512, 0.5),
                         nn.Linear(512, actions))


def time_convolution(inputs, outputs):
    """One layer of rf over time alone."""
    return [nn.Conv1d(inputs, outputs, 3, padding="same"), nn.BatchNorm1d(outputs), nn.ReLU()]


class RobustFingerprinting(nn.Module):
    """Two blocks over both directions together, then over time alone; no dense layer but an average."""

    def __init__(self, actions):
        super().__init__()
        first = []
        for inputs, outputs, pool in ((1, 32, (1, 3)), (32, 64, (2, 2))):
            for width in (inputs, outputs):
                first += [nn.ConstantPad2d((2, 3, 1, 1), 0), nn.Conv2d(width, outputs, (3, 6)),
                          nn.BatchNorm2d(outputs), nn.ReLU()]
            first += [nn.MaxPool2d(pool), nn.Dropout(0.1)]
        second = []
        for inputs, outputs in ((64, 128), (128, 256)):
            for width in (inputs, outputs):
                second += time_convolution(width, outputs)
            second += [nn.MaxPool1d(3), nn.Dropout(0.3)]
        self.first = nn.Sequential(*first)
        self.second = nn.Sequential(*second, *time_convolution(256, 512), *time_convolution(512, actions))

    def forward(self, x):
        """x: session, direction, slot."""
        return self.second(self.first(x.unsqueeze(1)).squeeze(2)).mean(dim=2)


class Network:
    """A network as a learner: fit() and predict() over arrays of sequences."""

    def __init__(self, make, optimiser, seed, jobs):
        torch.manual_seed(seed)
        torch.set_num_threads(jobs)
        self.make, self.optimiser, self.seed = make, optimiser, seed
        self.model = None

    def fit(self, rows, labels):
        """Trains for STEPS batches, all sessions in a random order again and again."""
        random = np.random.default_rng(self.seed)
        self.model = self.make(int(labels.max()) + 1)
        optimiser = self.optimiser(self.model.parameters())
        loss = nn.CrossEntropyLoss()
        self.model.train()
        for batch in self.batches(random, len(rows)):
            optimiser.zero_grad()
            found = self.model(torch.from_numpy(rows[batch]))
            loss(found, torch.from_numpy(labels[batch]).long()).backward()
            optimiser.step()
        return self

    @staticmethod
    def batches(random, count):
        """STEPS times some sessions. A batch of one would have no variance to normalise by."""
        left = STEPS
        while left:
            for batch in np.array_split(random.permutation(count), max(1, count // BATCH))[:left]:
                yield batch
                left -= 1

    def predict(self, rows):
        """The likeliest action of each."""
        self.model.eval()
        with torch.no_grad():
            found = [self.model(torch.from_numpy(batch)).argmax(dim=1)
                     for batch in np.array_split(rows, max(1, len(rows) // BATCH))]
        return torch.cat(found).numpy()


def df(seed, jobs):
    """df's and tik-tok's learner."""
    return Network(deep_fingerprinting, lambda weights: torch.optim.Adamax(weights, lr=0.002), seed, jobs)


def rf(seed, jobs):
    """rf's learner."""
    return Network(RobustFingerprinting, lambda weights: torch.optim.Adam(weights, lr=0.0005, weight_decay=0.001),
                   seed, jobs)


def sequences(sessions, kind):
    """One array per session."""
    return np.stack([SEQUENCES[kind](session) for session in sessions])


ATTACKERS = {
    "df": ("signed-sizes", df),
    "tik-tok": ("signed-times", df),
    "rf": ("rates", rf),
}
