# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with tests/faults/interpose.c in it, and what it is told to do."""

import ctypes
import mmap
import os
import re
import subprocess

import lab as lab_

LIBRARY = os.path.join(lab_.build_directory(), "tests/faults/interpose.so")
EVENTS_MAX, FRAMES_MAX = 262144, 40
OFF, ALLOCATIONS, ANSWERS = 0, 1, 2  # bits
HARMS = ("truncated", "lost", "other-sequence", "reordered", "dump-interrupted", "EINTR", "ENOBUFS", "error", "doubled")


class _Event(ctypes.Structure):
    _fields_ = [("path", ctypes.c_uint64), ("type", ctypes.c_uint32), ("size", ctypes.c_uint32)]


class _Control(ctypes.Structure):
    _fields_ = [("mode", ctypes.c_uint32), ("harm", ctypes.c_uint32), ("error", ctypes.c_uint32), ("hit", ctypes.c_uint32),
                ("path", ctypes.c_uint64), ("occurrence", ctypes.c_uint32), ("seen", ctypes.c_uint32),
                ("n_events", ctypes.c_uint32), ("n_frames", ctypes.c_uint32), ("frames", ctypes.c_uint64 * FRAMES_MAX),
                ("events", _Event * EVENTS_MAX)]


class Interposer:
    """Of one lab: to be made before its daemon is started."""

    def __init__(self, lab):
        self.lab = lab
        path = lab.path("faults")
        with open(path, "wb") as f:
            f.truncate(ctypes.sizeof(_Control))
        with open(path, "r+b") as f:
            self.control = _Control.from_buffer(mmap.mmap(f.fileno(), 0))
        self.maps = []
        lab.wrapper = ("/usr/bin/setarch", "-R", "/usr/bin/env", f"LD_PRELOAD={LIBRARY}", f"FAULTS={path}")

    def watch(self, mode, path=0, occurrence=1, harm=0, error=0):
        """From now on. PATH: which one is harmed; without one, all are noted down."""
        c = self.control
        self.maps = _maps(self.lab) or self.maps
        c.mode = OFF
        c.hit = c.seen = c.n_events = c.n_frames = 0
        c.path, c.occurrence, c.harm, c.error = path, occurrence, harm, error
        c.mode = mode

    def stop(self):
        """-> whether it came to the one that was to be harmed."""
        self.control.mode = OFF
        return self.control.hit > 0

    def events(self):
        """-> [(path, type, size)] of those that were noted down."""
        c = self.control
        return [(e.path, e.type, e.size) for e in c.events[:min(c.n_events, EVENTS_MAX)]]

    def where(self):
        """The functions on the way to the one that was harmed, the innermost first."""
        return _describe(self.lab, self.maps, list(self.control.frames[:self.control.n_frames]))


def _maps(lab):
    """What is where in the daemon: [(first, last, file)]. The same in each run."""
    if not (lab.daemon and lab.daemon.running()):
        return []
    with open(f"/proc/{lab.daemon.pid}/maps", encoding="ascii") as f:
        found = [re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)", line).groups() for line in f]
    return [(int(first, 16), int(last, 16), file) for first, last, file in found]


def _describe(lab, maps, addresses):
    """"function file:line" of those in the daemon itself; of a library, its name."""
    base = min((first for first, _, file in maps if file.startswith(lab.lockdownd)), default=0)
    found = []
    for address in addresses:
        file = next((file for first, last, file in maps if first <= address < last), "?")
        if not file.startswith(lab.lockdownd):
            found.append(os.path.basename(file))
            continue
        said = subprocess.run(["addr2line", "-s", "-f", "-e", lab.lockdownd, hex(address - base - 1)], check=True,
                              capture_output=True, text=True).stdout.split()
        found.append(f"{said[0]} {said[1]}")
    return [f for i, f in enumerate(found) if i == 0 or f != found[i - 1]]
