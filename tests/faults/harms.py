# SPDX-License-Identifier: GPL-2.0-or-later
"""One allocation fails, or one answer of netlink's is not what the kernel said, in the middle of an operation."""

import dataclasses
import errno
import re
import signal
import time

import interpose
import holds
import operations
import place as place_
from netlab import Late, wait_for

QUIET = 0.3  # seconds after the end of an operation in which what it left to be done later belongs to it
PATIENCE = 30.0  # in which all is as it should be again; what was refused is tried again every ten seconds
ERRORS = (errno.EBUSY, errno.ENOMEM, errno.EPERM)


@dataclasses.dataclass(frozen=True)
class Case:
    """What is harmed: an allocation by its call path, or an answer by how it came to be read; and how."""

    mode: int
    path: int
    occurrence: int = 1
    harm: int = 0
    error: int = 0

    def __str__(self):
        """As --point takes it."""
        text = f"{self.path:016x}" + (f".{self.occurrence}" if self.occurrence > 1 else "")
        if self.mode == interpose.ANSWERS:
            text += ":" + (errno.errorcode[self.error] if self.error else interpose.HARMS[self.harm])
        return text


def parse(text):
    """A --point."""
    path, occurrence, word = re.fullmatch(r"([0-9a-f]{1,16})(?:\.(\d+))?(?::(\S+))?", text).groups()
    number = int(occurrence or 1)
    if not word:
        return Case(interpose.ALLOCATIONS, int(path, 16), number)
    if word in interpose.HARMS:
        return Case(interpose.ANSWERS, int(path, 16), number, interpose.HARMS.index(word))
    return Case(interpose.ANSWERS, int(path, 16), number, interpose.HARMS.index("error"), getattr(errno, word))


class Place(place_.Place):
    """With the interposer in its daemon."""

    interposer = None

    def _make(self, operation):
        super()._make(operation)
        self.interposer = interpose.Interposer(self.lab)

    def settle(self, operation, acknowledged):
        """The same as for crashes, in half the time: there are thousands of cases, and the daemon was not killed."""
        names = {side: sorted({n.partition("+")[0] for n in orders})
                 for side, orders in ((True, operation.after), (False, operation.before))}
        in_force = sorted(self.lab.orders())
        if acknowledged or operation.sure:
            wait_for(lambda: sorted(self.lab.orders()) == names[True], PATIENCE, f"{names[True]} in force")
            in_force = names[True]
        assert in_force in names.values(), f"in force: {in_force}"
        done = acknowledged or operation.sure or in_force != names[False]
        if in_force:
            said = self.lab.ctl("verify")
            assert said.returncode == 0, f"verify: {said.stdout}{said.stderr}"
        refused = holds.subjects(operation.after if done else operation.before)
        orders = self.lab.orders()
        wait_for(lambda: self._staged_members() is not None, PATIENCE, "the profile to be staged")
        staged = {p["name"] for p in self.lab.json("profiles")["profiles"] if p["staged"]}
        holds.assert_kernel(self, in_force, staged - set(in_force))
        holds.assert_disk(self, orders)
        wait_for(lambda: self._refused_by_now(refused), 10.0, f"{sorted(refused)} refused")
        holds.assert_people(self, refused, {who.name for who in holds.PEOPLE} - refused)
        if acknowledged and operation.acknowledged:
            operation.acknowledged(self)
        return done

    def clear(self):
        if self.lab.orders():
            self.lab.do("lift", "--all")
        super().clear()


def noted(place, operation):
    """The events of the operation, undisturbed."""
    place.arrange(operation)
    place.interposer.watch(interpose.ALLOCATIONS | interpose.ANSWERS)
    request = operation.begin(place)
    acknowledged = request.wait()
    time.sleep(QUIET)
    place.interposer.stop()
    events = place.interposer.events()
    place.settle(operation, acknowledged)
    place.clear()
    return events


def allocations(events):
    """A case for each call path on which something is allocated."""
    return [Case(interpose.ALLOCATIONS, path) for path in dict.fromkeys(path for path, kind, _ in events if kind == 0)]


def answers(events):
    """Each harm, for the first and the last answer of each kind that is read in one place."""
    counts = {}
    for path, kind, _ in events:
        if kind != 0:  # netlink's
            counts[path] = counts.get(path, 0) + 1
    points = [(path, n) for path, count in counts.items() for n in sorted({1, count})]
    harms = [(i, 0) for i, name in enumerate(interpose.HARMS) if name != "error"]
    harms += [(interpose.HARMS.index("error"), error) for error in ERRORS]
    return [Case(interpose.ANSWERS, path, n, harm, error) for path, n in points for harm, error in harms]


def _wait(place, operation, request):
    """Whether it was acknowledged. A refusal has a sentence."""
    try:
        acknowledged = request.wait(PATIENCE)
    except Late:
        if not isinstance(request, operations.Event):
            raise
        acknowledged = False  # it may have come to its end by a way that tells it otherwise: settle() looks
    if isinstance(request, operations.Start):
        return acknowledged
    daemon = place.lab.daemon
    assert daemon.running(), f"lockdownd ended with {daemon.process.poll()}:\n{daemon.said()[-2000:]}"
    if isinstance(request, operations.Request) and not acknowledged:
        assert re.search(r"\S+ \S+ .{10,}", request.said), f"no sentence: {request.said!r}"
        # 1: it could not; 5: the connection was closed, for want of memory to speak on it
        assert request.program.returncode in (1, 5), f"exit {request.program.returncode}: {request.said!r}"
        if "is NOT in force" in request.said:
            assert sorted(place.lab.orders()) == sorted(operation.before), f"in force all the same: {request.said!r}"
    return acknowledged


def _start_again(place):
    """A daemon that finds no memory at its start may end, with a sentence; the service manager starts it again."""
    daemon = place.lab.daemon
    status = daemon.process.wait()
    assert status == 1, f"lockdownd ended with {status} at its start:\n{daemon.said()[-2000:]}"
    assert daemon.said().strip(), "it ended without a word"
    daemon.end(signal.SIGKILL)
    place.restart()


def _converged(place):
    """Nothing is complained of: what was refused has been tried again."""
    orders = place.lab.json("status", codes=(0, 3))["orders"]
    return not any(holds.problems(o) for o in orders)


def play(place, operation, case):
    """-> whether it came to what was to be harmed, and where that was."""
    place.arrange(operation)
    interposer = place.interposer
    interposer.watch(case.mode, case.path, case.occurrence, case.harm, case.error)
    try:
        request = operation.begin(place)
        acknowledged = _wait(place, operation, request)
        try:
            wait_for(lambda: interposer.control.hit, QUIET)
        except Late:
            pass
        hit = interposer.stop()
        if not place.lab.daemon.running():
            _start_again(place)
            acknowledged = False
        wait_for(lambda: _converged(place), PATIENCE, "all to be as it should be again")
        place.settle(operation, acknowledged)
        place.clear()
    except (AssertionError, ValueError) as e:
        where = interposer.where() if interposer.control.hit else []
        said = place.lab.daemon.said()[-1500:] if place.lab and place.lab.daemon else ""
        raise AssertionError(f"{e}\n    by way of {' < '.join(where[:12])}\n    it said:\n{said}") from e
    return hit
