# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon is asked to do while something is done to it, and what must hold afterwards.

An operation begins in a place where the daemon runs and nothing happens (or, for the starts, does not run yet), is set off by
begin(), and has an end that wait() waits for. BEFORE and AFTER say who is refused on either side of it.

    with Place() as place:
        for operation in OPERATIONS:
            place.arrange(operation)            # the daemon runs, and what comes before is done
            request = operation.begin(place)    # from here on whatever you do, do it
            acknowledged = request.wait()
            place.settle(operation, acknowledged)   # raises AssertionError: what does not hold
            place.clear()
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import time
import typing

from lab import build_directory
from netlab import Late, wait_for

import holds

STAFF = """\
[Access]
Order=root
Lift=root
Status=*

[Profile staff]
Groups=staff
"""
CHANGED = STAFF + "Allow=internal\nAllow=203.0.113.10:443/tcp\n\n[Profile contractors]\nGroups=contractors\n"


class Request:
    """lockdownctl on its way."""

    def __init__(self, place, *args):
        self.args, self.lab = args, place.lab
        self.program = place.lab.host.popen(
            [place.lab.path("bin/lockdownctl"), *args], join=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=place.lab.environment())
        self.said = None

    def done(self):
        return self.program.poll() is not None

    def wait(self, timeout=30.0):
        """Whether the reply arrived and said that it was done; what was said stands in SAID."""
        if self.said is None:
            try:
                out, err = self.program.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise Late(f"lockdownctl {' '.join(self.args)}: not done within {timeout} s") from None
            self.said = out + err
            self.lab.host.programs.remove(self.program)
        return self.program.returncode == 0


class Event:
    """Something that nobody answers: its end is that CONDITION is true."""

    def __init__(self, condition):
        self.condition, self.said = condition, ""

    def done(self):
        return bool(self.condition())

    def wait(self, timeout=30.0):
        wait_for(self.condition, timeout, "the end of the operation", 0.02)
        return True


class Start:
    """The daemon's start; given up by the caller if it does not come to be ready."""

    def __init__(self, place):
        self.place, self.said = place, ""
        place.lab.start(wait=False)

    def done(self):
        daemon = self.place.lab.daemon
        return not daemon.running() or "READY=1" in daemon.messages()

    def wait(self, timeout=30.0):
        wait_for(self.done, timeout, "the start", 0.01)
        return self.place.lab.daemon.running()


@dataclasses.dataclass(frozen=True)
class Operation:
    """PREPARE(place): what is done before; BEGIN(place) -> Request, Event or Start. BEFORE and AFTER: the orders in force on
    either side, by name. SURE: the state AFTER comes also if nobody acknowledges it, as soon as a daemon runs (time has passed, a
    file has changed). STARTS: it is the daemon's start; PROGRAM: of the build directory, instead of lockdownd."""

    name: str
    prepare: typing.Callable
    begin: typing.Callable
    before: tuple = ()
    after: tuple = ()
    sure: bool = False
    starts: bool = False
    program: str = "lockdownd"
    configuration: str = STAFF
    acknowledged: typing.Callable = None  # (place): what else must hold if the reply arrived
    open_before: bool = False  # who is refused by BEFORE is not, as long as no daemon has started: the kernel has forgotten

    def __reduce__(self):  # from one process to another goes its name
        return find, (self.name,)


def _nothing(_place):
    pass


def _holds(place):
    """Nothing is tried where the table goes: what it had counted goes with it."""
    place.lab.do("order", "staff", "--for", "1h", "--reason", "why")


def _ordered(place):
    _holds(place)
    place.attempt()


def _adhoc(place):
    return Request(place, "order", "--user", "erin", "--name", "night", "--for", "1h")


# --- extend, confirm ---


def _extended(place):
    left = place.lab.orders()["staff"]["until_usec"] / 1e6 - time.time()
    assert left > 2 * 3600, f"it was extended, and ends in {left:.0f} s"


def _unconfirmed(place):
    place.lab.do("order", "staff", "--for", "1h", "--confirm-within", "10min")


def _confirmed(place):
    assert not place.lab.orders()["staff"].get("confirm_until_usec"), "it was confirmed, and waits for being confirmed"


# --- expire ---


def _ends_soon(place):
    place.until = place.lab.json("order", "staff", "--for", "2s")["order"]["until_usec"] / 1e6
    place.attempt()


def _expires(place):
    return _entry(place, "expired")


def _entry(place, event):
    """In the journal, one more than there are now."""
    before = len(place.lab.entries(LOCKDOWN_EVENT=event))
    return Event(lambda: len(place.lab.entries(LOCKDOWN_EVENT=event)) > before)


# --- reload, members ---


def _reload(place):
    place.lab.configure(CHANGED)
    return Request(place, "reload")


def _joins(place):
    place.lab.edit("group", lambda text: text.replace(":bob\n", ":bob,erin\n"))
    return Event(lambda: holds.pass_for(place, holds.ERIN) == 0)


# --- verify, repair ---


def _without_second_lock(place):
    _ordered(place)
    wait_for(lambda: place.lab.orders()["staff"].get("verified_at_usec"), 20.0, "the first look")
    pins = place.lab.host.path("/sys/fs/bpf/lockdownd/staff")
    if os.path.exists(pins):
        shutil.rmtree(pins)


def _verify(place):
    return Request(place, "verify")


def _table_removed(place):
    """By somebody who may: as on kernels before 6.9."""
    repaired = _entry(place, "repaired")
    place.lab.host.nft("delete table inet lockdown-staff")
    return repaired


# --- starts ---


def _died(place):
    _ordered(place)
    place.lab.daemon.end(signal.SIGKILL)


def _rebooted(place):
    _holds(place)
    place.lab.daemon.end(signal.SIGKILL)
    place.forget()


def _died_lifting(place):
    """Saved as lifted, and still in the kernel."""
    _ordered(place)
    place.lab.daemon.end(signal.SIGKILL)
    place.end_on_disk("staff")


def _stopped(place):
    place.lab.daemon.end(signal.SIGKILL)
    place.forget()


IN_FORCE, NONE = ("staff",), ()
OPERATIONS = (
    Operation("order", _nothing, lambda p: Request(p, "order", "staff", "--for", "1h", "--reason", "why"), NONE, IN_FORCE),
    Operation("adhoc", _nothing, _adhoc, NONE, ("night",)),
    Operation("lift", _ordered, lambda p: Request(p, "lift", "staff", "--reason", "over"), IN_FORCE, NONE),
    Operation("extend", _ordered, lambda p: Request(p, "extend", "staff", "--for", "3h"), IN_FORCE, IN_FORCE,
              acknowledged=_extended),
    Operation("confirm", _unconfirmed, lambda p: Request(p, "confirm", "staff"), IN_FORCE, IN_FORCE, acknowledged=_confirmed),
    Operation("expire", _ends_soon, _expires, IN_FORCE, NONE, sure=True),
    Operation("reload", _ordered, _reload, IN_FORCE, IN_FORCE),
    Operation("members", _ordered, _joins, IN_FORCE, ("staff", "staff+erin"), sure=True),
    Operation("verify", _without_second_lock, _verify, IN_FORCE, IN_FORCE),
    Operation("repair", _holds, _table_removed, IN_FORCE, IN_FORCE, sure=True, program="tests/lockdownd-unowned"),
    Operation("adopt", _died, Start, IN_FORCE, IN_FORCE, sure=True, starts=True),
    Operation("finish-lift", _died_lifting, Start, IN_FORCE, NONE, sure=True, starts=True),
    Operation("restore", _rebooted, Start, IN_FORCE, IN_FORCE, sure=True, starts=True, open_before=True),
    Operation("start", _stopped, Start, NONE, NONE, sure=True, starts=True),
)


def find(name):
    return next(o for o in OPERATIONS if o.name == name)


def program_of(operation):
    return os.path.join(build_directory(), operation.program)
