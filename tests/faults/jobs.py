# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases, dealt out to labs side by side, and what came of them."""

import collections
import dataclasses
import multiprocessing.connection
import os
import time
import typing

from netlab import fork_task

EACH = 60.0  # seconds in which a lab has come to its end


def usual(whole):
    """How many labs at a time: most of a case's time is waiting."""
    return 2 * os.cpu_count() if whole else 1


@dataclasses.dataclass(frozen=True)
class Case:
    """FUNCTION(place, *ARGUMENTS) is played, both known by name in another process; what it returns is false if it was all over
    before anything was done to it. AGAIN: the command that plays it alone."""

    kind: str
    what: str
    again: str
    function: typing.Callable
    arguments: tuple


@dataclasses.dataclass(frozen=True)
class Outcome:
    """ERROR: what does not hold, or None."""

    value: object
    error: str
    seconds: float


def _play(place, function, arguments):
    begin = time.monotonic()
    value = error = None
    try:
        value = function(place, *arguments)
    except Exception as e:  # pylint: disable=broad-except
        error = f"{e}" if isinstance(e, AssertionError) else f"{type(e).__name__}: {e}"
        try:
            place.give_up()
        except AssertionError as left:
            error += f" (and {left})"
    return Outcome(value, error, time.monotonic() - begin)


def _work(channel, make_place):
    with make_place() as place:
        while True:
            request = channel.request(None)
            if not request:
                break
            channel.send(_play(place, *request))


class Labs:
    """NUMBER of them, a process each with a place that MAKE_PLACE() makes. To be used in a with statement."""

    def __init__(self, number, make_place):
        self.tasks = [fork_task(lambda: None, _work, make_place, wants_channel=True) for _ in range(number)]

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        for task in self.tasks if error is None else ():
            task.channel.send(None)
        for task in self.tasks:
            if error is None:
                task.receive(EACH)
            task.kill()

    def play(self, calls):
        """CALLS: [(function, arguments)]. Yields (index, Outcome), as they come."""
        idle, busy = list(self.tasks), {}
        waiting = collections.deque(enumerate(calls))
        while waiting or busy:
            while waiting and idle:
                index, call = waiting.popleft()
                task = idle.pop()
                task.channel.send(call)
                busy[task.channel] = (task, index)
            for channel in multiprocessing.connection.wait(busy):
                task, index = busy.pop(channel)
                yield index, task.receive()
                idle.append(task)

    def results(self, calls):
        """-> [Outcome] in the order of CALLS."""
        outcomes = dict(self.play(calls))
        return [outcomes[i] for i in range(len(outcomes))]


class Tally:
    """What came of all cases."""

    def __init__(self, verbose=False):
        self.verbose = verbose
        self.counts = collections.defaultdict(collections.Counter)  # by kind
        self.failed = []

    def play(self, labs, cases):
        """What fails beside others is played again, before it has failed."""
        for index, outcome in labs.play([(case.function, case.arguments) for case in cases]):
            case = cases[index]
            word = "failed" if outcome.error is not None else "reached" if outcome.value else "over"
            if word == "failed":
                print(f"FAILED {case.what}: {outcome.error}\n  again: {case.again}", flush=True)
                self.failed.append(case)
            if word != "failed" or len(labs.tasks) == 1:
                self.counts[case.kind][word] += 1
            if self.verbose:
                print(f"{time.strftime('%T')} {word} {case.what} {outcome.seconds:.2f} s", flush=True)

    def play_again(self, make_place):
        """What has failed beside others, alone. Twice is failed."""
        cases, self.failed = self.failed, []
        if not cases:
            return
        print(f"{len(cases)} that failed beside others: once more, alone", flush=True)
        with Labs(1, make_place) as labs:
            self.play(labs, cases)
        for case in cases:
            if case not in self.failed:
                self.counts[case.kind]["again"] += 1
                print(f"held when it was played again alone: {case.what}", flush=True)

    def tell(self, kind, of=""):
        """One line about a KIND. OF: what else is to be said."""
        counts = self.counts[kind]
        held = counts["reached"] + counts["over"]
        again = f", {counts['again']} of them when played again alone" if counts["again"] else ""
        print(f"figure: {kind}: {held} of {held + counts['failed']} held{again}{of} ({counts['over']} came too late: the operation "
              "was over)")

    def close(self):
        """The last line. -> the exit status."""
        passed = sum(c["reached"] + c["over"] for c in self.counts.values())
        failed = sum(c["failed"] for c in self.counts.values())
        print(f"{passed} passed, {failed} failed, 0 skipped")
        return 1 if failed else 0

