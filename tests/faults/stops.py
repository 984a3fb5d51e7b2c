# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon, stopped at a system call: tests/faults/stop-at.c, and what is known of the calls."""

import contextlib
import dataclasses
import os
import re
import signal

import lab as lab_
from netlab import wait_for

PROGRAM = os.path.join(lab_.build_directory(), "tests/faults/stop-at")
OF_THE_LAB = ("state/", "configuration/", "run/")  # directories
_LINE = re.compile(r"(\d+) (\S+) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) (.*)")


@dataclasses.dataclass(frozen=True)
class Call:
    """A system call that the daemon was about to make. WHAT: its first argument, if that is a descriptor."""

    number: int
    name: str
    arguments: tuple
    what: str

    @property
    def kind(self):
        """What can be told again: the same in every run, or None."""
        if self.what.startswith(("netlink:", "anon_inode:", "unix", "pipe:")):
            return self.what.partition("[")[0] if self.what.startswith("pipe") else self.what
        if self.what.startswith(OF_THE_LAB):  # names of files are others each time
            return "/".join(self.what.split("/")[:2])
        return self.what if self.what.startswith(("/etc/", "/sys/", "/usr/")) else None

    def __str__(self):
        return f"number {self.number}, {self.name}" + ("" if self.what == "-" else f" on {self.what}")


def parse(line, directory=""):
    """A line of stop-at's, or None. DIRECTORY, the lab's, is left out of what is told."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    number, name, *arguments, what = match.groups()
    return Call(int(number), name, tuple(int(a, 16) for a in arguments), what.replace(directory + "/", ""))


# Calls that change something outside of the process that makes them, or may. What is not among them touches its memory, its
# threads' signals and timers, and what it knows: to be killed before such a call is the same as to be killed before the next
# one that stands here, so these are all the points where a crash can leave different things behind.
CHANGING = ("bpf,bind,chmod,chown,clone,clone3,close,close_range,connect,execve,exit_group,fallocate,fchmod,fchmodat,fchown,"
            "fchownat,fdatasync,flock,fork,fsync,ftruncate,kill,link,linkat,listen,mkdir,mkdirat,mknod,mount,openat:create,"
            "pidfd_send_signal,pwrite64,rename,renameat,renameat2,rmdir,sendfile,sendmmsg,sendmsg,sendto,setns,setsockopt,"
            "shutdown,splice,symlink,symlinkat,truncate,unlink,unlinkat,unshare,utimensat,vfork,write,writev,perf_event_open,"
            "accept4,accept,socket")


def changing(calls):
    """Those of CALLS that count with CHANGING, with the numbers they have then."""
    names = CHANGING.split(",")
    found = [c for c in calls if c.name in names or (c.name == "openat" and c.arguments[2] & os.O_CREAT)]
    return [dataclasses.replace(c, number=number) for number, c in enumerate(found, 1)]


class Stop:
    """Follows the daemon of PLACE that runs; or (STARTS) the one that is started next. NUMBER: at which call something is done,
    0: none. ERROR: that call fails with it, instead of the daemon being killed. NAMES, KIND: these calls alone count, on descriptors
    of that kind. KEEP: all that
    count are kept (calls())."""

    def __init__(self, place, starts, number=0, error=0, names=None, kind=None, keep=False):
        self.lab = place.lab
        if kind and kind.startswith(OF_THE_LAB):
            kind = self.lab.path(kind)
        self.out, self.log = self.lab.path("stop-at"), self.lab.path("stop-at.log")
        for path in (self.out, self.log):
            if os.path.exists(path):
                os.unlink(path)
        command = [PROGRAM, "-n", str(number), "-e", str(error), "-o", self.out, *(["-s", names] if names else []),
                   *(["-k", kind] if kind else []), *(["-l", self.log] if keep else [])]
        self.program = None
        self.pid = None
        if starts:
            self.lab.wrapper = command
        else:
            self.program = self.lab.host.popen([*command, "-p", str(self.lab.daemon.pid)], join=False)
            wait_for(self._lines, 20.0, "stop-at to be ready", 0.002)

    def _lines(self):
        try:
            with open(self.out, encoding="utf-8", errors="replace") as f:
                lines = f.read().splitlines()
        except FileNotFoundError:
            return []
        if lines and lines[0].startswith("ready "):
            self.pid = int(lines[0].split()[1])
            return lines
        assert not lines, f"stop-at: {lines}"
        return []

    def reached(self):
        """The call it was about, or None as long as that was not made."""
        return next((call for call in (parse(line, self.lab.directory) for line in self._lines()) if call), None)

    def end(self):
        """The daemon, if it lives, goes on by itself."""
        self.lab.wrapper = ()
        lines = self._lines()
        if self.pid and "end" not in lines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            wait_for(lambda: "end" in self._lines(), 20.0, "the end of stop-at", 0.002)
        if self.program:
            self.program.wait()
            self.lab.host.programs.remove(self.program)

    def calls(self):
        """All that were made, after end()."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return [parse(line.rstrip("\n"), self.lab.directory) for line in f]
