# SPDX-License-Identifier: BSD-3-Clause
"""What the lab's programs share: errors, files and the folders that `capture` leaves."""

import csv
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
WIRE_HEADER = "time_us,direction,bytes"
DELAYS_HEADER = "action,original,copy,index,direction,bytes,sent_us,delay_us"
TO_ROBOT = 1
SESSION_NAME = re.compile(r"(\d+)_(\d+)\.csv")


class LabError(Exception):
    """A failure that one line explains."""


@dataclass
class Session:
    """One recorded session: what the eavesdropper has of it, and what it was."""

    action: str
    original: str
    copy: int
    time_us: np.ndarray
    direction: np.ndarray
    bytes: np.ndarray


def run(program, main):
    """Runs main(); turns a LabError into one line and the exit status."""
    try:
        sys.exit(main())
    except LabError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def write_whole(path, text):
    """Writes a file so that it is there as a whole or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror}") from error


def read_json(path):
    """The JSON value in a file."""
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise LabError(f"{path}: not JSON: {error}") from error


def read_columns(path, header):
    """A CSV file of whole numbers as an array, one row per line."""
    try:
        with open(path, encoding="ascii") as file:
            first = file.readline().strip()
            rows = np.loadtxt(file, delimiter=",", dtype=np.int64, ndmin=2)
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise LabError(f"{path}: {error}") from error
    if first != header:
        raise LabError(f"{path}: its first line is '{first[:80]}', expected '{header}'")
    if rows.size == 0 or rows.shape[1] != header.count(",") + 1:
        raise LabError(f"{path}: no rows of {header}")
    return rows


def load_session(path):
    """The session in OUT/<action>/NN_k.csv."""
    name = SESSION_NAME.fullmatch(path.name)
    rows = read_columns(path, WIRE_HEADER)
    if np.any(np.diff(rows[:, 0]) < 0):
        raise LabError(f"{path}: time_us goes backwards")
    if not np.all(np.abs(rows[:, 1]) == 1):
        raise LabError(f"{path}: direction, expected 1 or -1")
    return Session(path.parent.name, name[1], int(name[2]), rows[:, 0], rows[:, 1], rows[:, 2])


def session_files(out):
    """The recorded sessions below OUT, in order of action, original and copy."""
    files = [path for path in Path(out).glob("*/*.csv") if SESSION_NAME.fullmatch(path.name)]
    if not files:
        raise LabError(f"{out}: no session at <action>/NN_k.csv")
    return sorted(files, key=lambda path: (path.parent.name, *map(int, path.stem.split("_"))))


def load_sessions(out):
    """All recorded sessions below OUT."""
    return [load_session(path) for path in session_files(out)]


def load_delays(out):
    """The application's delays, all sessions together: direction and microseconds, one row per message."""
    path = Path(out) / "delays.csv"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if ",".join(rows.fieldnames or []) != DELAYS_HEADER:
                raise LabError(f"{path}: its first line is not '{DELAYS_HEADER}'")
            return np.array([(int(row["direction"]), int(row["delay_us"])) for row in rows], dtype=np.int64).reshape(-1, 2)
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise LabError(f"{path}: {error}") from error
