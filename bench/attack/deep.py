# SPDX-License-Identifier: BSD-3-Clause
"""Attackers that learn their own features, after the papers that introduced them.

    df       Deep Fingerprinting (Sirinam et al., CCS 2018): a convolutional network over the packets in order.
             Here a packet is its size with the sign of its direction: with equal sizes that is the paper's input.
    tik-tok  the same network over the packets' times with that sign (Rahman et al., PETS 2020)
    rf       Robust Fingerprinting (Shen et al., USENIX Security 2023): a network over a matrix of packets per
             direction and slot of 44 ms

Layers, widths, dropout and optimisers are the papers'. The number of epochs is for a few hundred sessions.
"""

import numpy as np
import torch
from torch import nn

PACKETS = 5000			# of a session that df and tik-tok look at
SLOT_US = 44_000
SLOTS = 1800			# 79 s
EPOCHS = 30
BATCH = 32
SIZE_UNIT = 1500.0


def packets(session, values):
    """The first PACKETS values of a session, filled up with zeros."""
    row = np.zeros(PACKETS, dtype=np.float32)
    row[:min(PACKETS, len(values))] = values[:PACKETS]
    return row[np.newaxis]


def signed_sizes(session):
    """What df looks at."""
    return packets(session, session.direction * session.bytes / SIZE_UNIT)


def signed_times(session):
    """What tik-tok looks at, in seconds from the first packet."""
    return packets(session, session.direction * (session.time_us - session.time_us[0]) / 1e6)


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
                second += [nn.Conv1d(width, outputs, 3, padding="same"), nn.BatchNorm1d(outputs), nn.ReLU()]
            second += [nn.MaxPool1d(3), nn.Dropout(0.3)]
        self.first = nn.Sequential(*first)
        self.second = nn.Sequential(*second, nn.Conv1d(256, actions, 3, padding="same"))

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
        """Trains for EPOCHS epochs, in a random order."""
        random = np.random.default_rng(self.seed)
        self.model = self.make(int(labels.max()) + 1)
        optimiser = self.optimiser(self.model.parameters())
        loss = nn.CrossEntropyLoss()
        self.model.train()
        for _ in range(EPOCHS):
            order = random.permutation(len(rows))
            # a batch of one has no variance to normalise by
            for batch in np.array_split(order, max(1, len(order) // BATCH)):
                optimiser.zero_grad()
                found = self.model(torch.from_numpy(rows[batch]))
                loss(found, torch.from_numpy(labels[batch]).long()).backward()
                optimiser.step()
        return self

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
    return Network(RobustFingerprinting, lambda weights: torch.optim.Adam(weights, lr=0.0005), seed, jobs)


def sequences(sessions, kind):
    """One array per session."""
    return np.stack([SEQUENCES[kind](session) for session in sessions])


ATTACKERS = {
    "df": ("signed-sizes", df),
    "tik-tok": ("signed-times", df),
    "rf": ("rates", rf),
}
