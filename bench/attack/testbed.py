# SPDX-License-Identifier: BSD-3-Clause
"""One session through a testbed of its own, recorded on the wan link."""

import json
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

from lab import ROOT, LabError, TO_ROBOT, WIRE_HEADER, read_columns

BUILD = ROOT / os.environ.get("BUILD", "build")
TESTBED = ROOT / "scripts" / "testbed"
QUIET_S = 3			# silence on the link after which a session is over
POLL_S = 0.1


class Stopped(Exception):
    """The capture is to end; this session does not count."""


def tool(name):
    """A test tool or program of the build."""
    for folder in ("tools", "bin"):
        path = BUILD / folder / name
        if os.access(path, os.X_OK):
            return str(path)
    raise LabError(f"{name} is not built: make all tools")


def last_line(path):
    """What a program said last, for messages."""
    lines = Path(path).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


class Testbed:
    """A testbed that plays and records one session, and is gone afterwards.

    `stop` is an Event: set, it ends whatever runs. Every program gets a session of its own, so that an
    interrupt from the terminal reaches only this program, which then ends the others in order.
    """

    def __init__(self, name, folder, stop):
        self.name, self.folder, self.stop = name, Path(folder), stop

    def spawn(self, arguments, output):
        """Starts a program; its output goes to folder/output.{out,err}."""
        base = self.folder / output
        with open(f"{base}.out", "wb") as out, open(f"{base}.err", "wb") as err:
            return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    start_new_session=True)

    def wait(self, process, limit_s, what):
        """The exit status of a program; ends it when time is up or the capture stops."""
        end = time.monotonic() + limit_s
        while process.poll() is None:
            late = time.monotonic() > end
            if late or self.stop.is_set():
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                raise LabError(f"{what} did not end in {limit_s:.0f} s") if late else Stopped
            time.sleep(POLL_S)
        return process.returncode

    def command(self, arguments, output, limit_s, what):
        """Runs a program that must succeed."""
        if self.wait(self.spawn(arguments, output), limit_s, what):
            raise LabError(f"{what}: {last_line(self.folder / f'{output}.err')}")

    def up(self, options):
        """Brings the testbed up; a failed `up` cleans up by itself."""
        self.command([str(TESTBED), "up", "--name", self.name, *options], "testbed", 120, "testbed up")

    def down(self):
        """Ends the testbed, also when the capture is to stop."""
        result = subprocess.run([str(TESTBED), "down", "--name", self.name], stdin=subprocess.DEVNULL,
                                capture_output=True, start_new_session=True, timeout=120, check=False)
        if result.returncode:
            raise LabError(f"testbed {self.name} does not go down: {result.stderr.decode().strip()}")

    def netns(self, node):
        """Path of a node's network namespace."""
        result = subprocess.run([str(TESTBED), "netns", node, "--name", self.name], text=True,
                                stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True,
                                timeout=60, check=False)
        if result.returncode:
            raise LabError(f"testbed {self.name}: {result.stderr.strip()}")
        return result.stdout.strip()

    def start_wire(self):
        """Starts the recording; returns when nothing is missed any more."""
        ready = self.folder / "ready"
        wire = self.spawn([
            tool("tg-wire"), "--netns", self.netns("wan"), "--interface", "robot", "--a", "192.0.2.2",
            "--a", "2001:db8:54::2", "--port", "51820", "--csv", str(self.folder / "wire.csv"),
            "--ready", str(ready),
        ], "wire")
        end = time.monotonic() + 20
        while not ready.exists():
            if wire.poll() is not None or time.monotonic() > end or self.stop.is_set():
                wire.kill()
                wire.wait()
                raise Stopped if self.stop.is_set() else LabError(
                    f"the link cannot be recorded: {last_line(self.folder / 'wire.err')}")
            time.sleep(0.02)
        return wire

    def stop_wire(self, wire):
        """Ends the recording; returns its summary, or fails if the recording is not whole."""
        wire.send_signal(signal.SIGINT)
        if wire.wait(60):
            raise LabError(f"recording: {last_line(self.folder / 'wire.err')}")
        summary = json.loads((self.folder / "wire.out").read_text())
        for fault in ("clear_packets", "fragments", "malformed", "oversize", "undirected", "drops"):
            if summary[fault]:
                raise LabError(f"recording: {summary[fault]} packets counted as {fault}")
        return summary

    def link_packets(self, counters):
        """Packets that have crossed the wan's port to the robot, both ways."""
        for line in Path(counters).read_text().splitlines():
            name, _, values = line.partition(":")
            if name.strip() == "robot":
                fields = values.split()
                return int(fields[1]) + int(fields[9])
        raise LabError("the wan link has gone")

    def wait_silent(self, limit_s):
        """Until nothing has crossed the link for QUIET_S."""
        # the counters of the namespace that a process is in can be read without entering it
        counters = str(Path(self.netns("wan")).parent.parent / "net" / "dev")
        end = time.monotonic() + limit_s
        before, since = None, time.monotonic()
        while time.monotonic() - since < QUIET_S:
            now = self.link_packets(counters)
            if now != before:
                before, since = now, time.monotonic()
            if time.monotonic() > end:
                raise LabError(f"the link did not fall silent in {limit_s:.0f} s")
            if self.stop.wait(POLL_S):
                raise Stopped

    def replay(self, trace, limit_s, tick_us):
        """Plays a trace: the robot connects to the controller in the plant; `tick_us` > 0: and answers on its tick."""
        self.command([
            tool("tg-replay"), "--address", "10.90.0.10", "--port", "10000", "--listen", "controller",
            "--client-netns", self.netns("robot"), "--server-netns", self.netns("plant"), "--rt",
            "--seed", str(secrets.randbits(63)), "--timeout", str(limit_s),
            "--delays", str(self.folder / "delays.csv"), *(["--tick", str(tick_us)] if tick_us else []), str(trace),
        ], "app", limit_s + 30, "replay")
        return json.loads((self.folder / "app.out").read_text())

    def session(self, options, trace, play_s, silence_s, window_s, tick_us):
        """Plays and records one session; returns the summaries of the replay and of the recording.

        A tunnel that never falls silent (`window_s` > 0) is recorded for that long from the session's start.
        """
        try:
            self.up(options)
            wire = self.start_wire()
            try:
                start = time.monotonic()
                app = self.replay(trace, 2 * play_s + 60, tick_us)
                if window_s:
                    if self.stop.wait(max(0, window_s - (time.monotonic() - start))):
                        raise Stopped
                else:
                    self.wait_silent(silence_s)
                return app, self.stop_wire(wire)
            finally:
                if wire.poll() is None:
                    wire.kill()
                wire.wait()
        finally:
            self.down()


def wire_rows(path):
    """The recording as text, with direction 1 for what goes to the robot (tg-wire: what comes from it)."""
    lines = [WIRE_HEADER]
    for time_us, direction, size in read_columns(path, WIRE_HEADER):
        lines.append(f"{time_us},{-direction * TO_ROBOT},{size}")
    return "\n".join(lines) + "\n"
