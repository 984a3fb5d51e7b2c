# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory module (NSS) that means harm, in the process that asks it: all it can take away is that what is known of the
people is of today."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

import attacker
import campaign
import checks
from attacker import Caller
from broker import Broker
from checks import quick
from lab import ALICE, MALLORY
from netlab import PATIENCE, Who, wait_for

DORA = Who("dora", 2100, 2100, (2100,))
EMIL = Who("emil", 2101, 2101, (2101,))
CROWD = range(5000, 5020)  # users of a message bus
NOBODY = Who("nobody", 65534, 65534, (65534,))
CONFIGURATION = """\
[Access]
Order=root
Lift=root
Status=root @remote

[Profile far]
Groups=remote

[Profile staff]
Groups=staff
"""
# An order waits two seconds for a directory that it has asked; the rest is for a loaded machine.
USUAL = 8.0
DEADLINE = 10.0
SOON = 45.0  # asked again after 5 seconds or 10, then 20, at the next ten seconds
MEMORY_MB = 400  # of the daemon, while it is sent as much as it takes


class Directory:
    """A lab whose users come from such a module, and what it is to do."""

    def __init__(self, labs):
        self.lab = labs(CONFIGURATION, start=False)
        self.mode = self.lab.path("mode")
        self.set("honest")
        library = self.lab.path("lib", "libnss_hostile.so.2")
        os.makedirs(os.path.dirname(library))
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", f'-DMODE_FILE="{self.mode}"', "-o", library,
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "nss-hostile.c")], check=True)
        self.lab.edit("nsswitch.conf", lambda t: t.replace("passwd: files", "passwd: files hostile").replace(
            "group: files", "group: files hostile"))
        self.environment = {"LD_LIBRARY_PATH": os.path.dirname(library)}
        self.lab.wrapper = ("/usr/bin/env", *(f"{name}={value}" for name, value in self.environment.items()))
        self.lab.edit("passwd", lambda t: t + "".join(f"crowd{uid}:x:{uid}:{uid}::/:/bin/sh\n" for uid in CROWD))
        self.lab.start()
        self.edits = 0
        self.lab.do("order", "far")
        self.assert_covered()

    def set(self, mode):
        with open(self.mode + "+", "w", encoding="ascii") as f:
            f.write(mode + "\n")
        os.rename(self.mode + "+", self.mode)

    def ask(self):
        """Has the daemon ask the directory."""
        self.edits += 1
        self.lab.edit("group", lambda t: t + f"edit{self.edits}:x:{7000 + self.edits}:\n")

    def known_since(self):
        return self.lab.orders()["far"]["membership"]["as_of_usec"]

    def problem(self):
        return self.lab.orders()["far"]["membership"].get("problem", "")

    def worker(self):
        return self.lab.daemon.child("--resolver-worker")

    def assert_covered(self, blocked=True):
        for who in (DORA, EMIL):
            assert quick(self.lab, who) is not blocked, who.name
        assert quick(self.lab, MALLORY)


@pytest.fixture(scope="module")
def directory():
    made = []

    def make(*args, **kwargs):
        from lab import Lab  # pylint: disable=import-outside-toplevel
        made.append(Lab(*args, **kwargs))
        return made[-1]

    yield Directory(make)
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def afterwards(directory):
    """Whatever it did, an honest answer is taken up again."""
    yield
    lab = directory.lab
    directory.set("honest")
    directory.ask()
    wait_for(lambda: not directory.problem(), 3 * DEADLINE, "an honest answer to be taken up", 0.1)
    if "far" not in lab.orders():
        lab.do("order", "far")
    directory.assert_covered()
    assert lab.orders()["far"]["subjects"]["users"] == 2


def memory_mb(pid, name="VmHWM"):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    raise AssertionError(name)


def reset_high_water(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def assert_orders_as_usual(directory):
    """Of those who were known before, and of others."""
    lab = directory.lab
    took = {}
    for profile, who in (("staff", ALICE), ("far", DORA)):
        lab.do("lift", profile) if profile in lab.orders() else None  # pylint: disable=expression-not-assigned
        assert quick(lab, who)
        begun = time.monotonic()
        lab.do("order", profile)
        took[profile] = time.monotonic() - begun
        assert not quick(lab, who)
    lab.do("lift", "staff")
    assert max(took.values()) < USUAL, took
    return max(took.values())


# They take until the deadline, or seconds on the way to their end.
SLOW = [
    ("hang", "it takes too long"),
    ("spin", "it takes too long"),
    ("eat", "the process that asks it died"),
    ("many", "the process that asks it died"),
]
FAILURES = [
    ("crash", "the process that asks it died"),
    ("exit", "the process that asks it died"),
    ("close", "the process that asks it died"),
    ("garbage", "makes no sense"),
    ("flood", "makes no sense"),
    ("everybody", "names more people than can be true"),
    ("unavailable", "did not answer for remote"),
    ("again", "did not answer for remote"),
    ("nobody", "there is no group remote"),
]


PLAYED = SLOW[:1] + campaign.choose(SLOW[1:], 1) + FAILURES


@pytest.mark.parametrize("mode, says", PLAYED, ids=[mode for mode, _ in PLAYED])
def test_what_fails_costs_nothing_but_freshness(directory, mode, says):
    lab, daemon = directory.lab, directory.lab.daemon
    reset_high_water(daemon.pid)
    directory.set(mode)
    directory.ask()
    took = assert_orders_as_usual(directory)  # while it is being asked, as often as not
    wait_for(lambda: says in directory.problem(), 6 * DEADLINE, f"the sentence with '{says}'", 0.1)
    assert "people known before stay covered" in directory.problem() or "create it" in directory.problem()
    assert says in lab.do("status", "--verbose")
    directory.assert_covered()
    assert lab.orders()["far"]["subjects"]["users"] == 2
    assert daemon.running()
    high = memory_mb(daemon.pid)
    assert high < MEMORY_MB, f"{high:.0f} MB"
    campaign.tell(f"directory that does '{mode}': order in {took:.2f} s at the most, daemon {high:.0f} MB")


def _boot_without_list(directory, mode):
    """The order is on disk, and the list of its people is not."""
    lab = directory.lab
    directory.set(mode)
    lab.reboot()
    os.unlink(lab.path("state/members/far"))
    lab.start()


def test_the_network_waits_for_people_whose_list_is_lost(directory):
    _boot_without_list(directory, "slow")
    directory.assert_covered()  # READY=1 is what the network waits for


def test_the_network_does_not_wait_for_ever(directory):
    _boot_without_list(directory, "hang")
    assert "far" in directory.lab.orders()
    directory.assert_covered(False)
    assert any("the network comes up" in e["MESSAGE"] for e in directory.lab.entries(PRIORITY="2"))


# --- who comes before the directory has answered for the first time ---

NOT_PERMITTED = attacker.NAME + ".Error.NotPermitted"
LIMITS = "org.freedesktop.DBus.Error.LimitsExceeded"


@contextlib.contextmanager
def _started_too_early(directory):
    """The daemon is there, and the directory does not answer as long as this lasts. Yields the message bus."""
    lab = directory.lab
    directory.set("wait")
    lab.daemon.end()
    bus = Broker(lab, directory.environment)
    try:
        lab.start()
        bus.wait_for_lockdownd()
        yield bus
    finally:
        directory.set("honest")
        bus.signal(signal.SIGKILL)
        bus.process.wait(10)


def _look(channel, path, broker):
    """Asks for the status: what it is answered."""
    caller = Caller(path, broker=broker)
    caller.socket.sendall(attacker.status(7, destination=attacker.NAME if broker else None))
    channel.send("asked")
    channel.send(caller.answer(7))


def test_who_comes_too_early_waits_for_the_directory(directory):
    lab = directory.lab
    with _started_too_early(directory) as bus:
        tasks = [(who, lab.host.spawn(_look, path, broker, who=who)) for who in (DORA, MALLORY)
                 for path, broker in ((lab.socket, False), (bus.path, True))]
        for _, task in tasks:
            task.receive()
        begun = time.monotonic()
        lab.do("order", "staff")
        lab.do("lift", "staff")
        assert time.monotonic() - begun < USUAL  # root waits for nobody
        directory.set("honest")
        for who, task in tasks:
            error, text = task.receive()
            assert error == (None if who is DORA else NOT_PERMITTED), (who.name, text)


def test_who_waits_for_the_directory_does_not_wait_for_ever(directory):
    """Two questions stand before it, each as long as a question may take."""
    lab = directory.lab
    directory.set("hang")
    lab.reboot()
    os.unlink(lab.path("state/members/far"))
    lab.start(wait=False)
    wait_for(lambda: os.path.exists(lab.socket), PATIENCE, "the socket")
    task = lab.host.spawn(_look, lab.socket, False, who=DORA)
    task.receive()
    error, text = task.receive(2 * DEADLINE)
    assert error == NOT_PERMITTED and "has not said yet" in text, text


def test_who_asks_about_people_holds_up_no_order(directory):
    """As long as the directory takes for each of them: ten seconds here."""
    lab = directory.lab

    def crowd(channel, path):
        callers = []
        for _ in range(4):
            callers.append(Caller(path))
            callers[-1].socket.sendall(attacker.message("Explain", "ss", attacker.strings("stranger", "192.0.2.1"), 7))
        channel.send("asked")
        channel.request(None)

    directory.set("hang")
    tasks = [lab.host.spawn(crowd, lab.socket, who=who) for who in (DORA, EMIL)]
    for task in tasks:
        task.receive()
    begun = time.monotonic()
    lab.do("order", "--user", "alice", "--name", "one")
    took = time.monotonic() - begun
    lab.do("lift", "one")
    for task in tasks:
        task.kill()
    assert took < USUAL, took


def test_no_more_wait_for_the_directory_than_there_is_room_for(directory):
    """Of many users, one call each, by the message bus; and whoever hangs up leaves nothing behind."""
    lab = directory.lab

    def crowd(channel, path, private):
        callers = []
        for uid in CROWD:
            os.seteuid(uid)
            callers.append((Caller(path, broker=True), Caller(private)))
            os.seteuid(0)
            callers[-1][0].socket.sendall(attacker.status(7, destination=attacker.NAME))
            callers[-1][1].socket.sendall(attacker.status(7))
        channel.send("asked")
        channel.request(None)
        for _, one in callers:
            one.close()
        channel.send("closed")
        channel.send([one.answer(7)[0] for one, _ in callers])

    with _started_too_early(directory) as bus:
        before = len(lab.daemon.descriptors())
        task = lab.host.spawn(crowd, bus.path, lab.socket)
        task.receive()
        lab.do("order", "staff")
        lab.do("lift", "staff")
        task.ask("close")
        wait_for(lambda: len(lab.daemon.descriptors()) <= before, PATIENCE, "the connections to be given up")
        directory.set("honest")
        errors = task.receive()
        assert errors.count(NOT_PERMITTED) == 16 and errors.count(LIMITS) == 4, errors


@pytest.mark.parametrize("mode", ["crash", "unavailable"])
def test_it_is_asked_again(directory, mode):
    """Nothing changes on this machine when a directory has come back."""
    directory.set(mode)
    directory.ask()
    wait_for(directory.problem, PATIENCE, "the failure to be told", 0.1)
    directory.set("honest")
    wait_for(lambda: not directory.problem(), SOON, "the directory to be asked again", 0.1)


@pytest.mark.parametrize("mode", ["crash", "unavailable", "nobody"])
def test_whose_rights_were_not_known_has_them_when_they_are(directory, mode):
    """As at a boot that the directory is late for."""
    lab = directory.lab

    def may_look():
        return lab.ctl("status", who=DORA).returncode == 0

    assert may_look()
    directory.set(mode)
    lab.daemon.end()
    lab.start()
    assert lab.ctl("status", who=DORA).returncode == 4
    directory.set("honest")
    wait_for(may_look, SOON, "the right", 0.5)


def test_who_had_a_right_keeps_it_until_the_directory_says_otherwise(directory):
    lab = directory.lab
    for mode in ("crash", "unavailable"):
        directory.set(mode)
        directory.ask()
        wait_for(directory.problem, PATIENCE, "the failure to be told", 0.1)
        assert lab.ctl("status", who=DORA).returncode == 0, mode
        directory.set("honest")
        wait_for(lambda: not directory.problem(), SOON, "an honest answer", 0.1)
    directory.set("nobody")
    directory.ask()
    wait_for(lambda: lab.ctl("status", who=DORA).returncode == 4, PATIENCE, "the right to be taken away", 0.5)


def test_names_and_numbers_that_lie(directory):
    """Lines in a name, root and nobody at all among the members: only people become subjects."""
    before = directory.known_since()
    directory.set("names")
    directory.ask()
    wait_for(lambda: directory.known_since() != before, 3 * DEADLINE, "the answer", 0.1)
    assert directory.lab.orders()["far"]["subjects"]["users"] == 2
    directory.assert_covered()
    assert checks.quick(directory.lab, Who("root", 0, 0, (0,)))


def test_it_starts_no_processes(directory):
    """Nothing that would outlive it, or fill up the machine."""
    before = directory.known_since()
    directory.set("fork")
    directory.ask()
    wait_for(lambda: directory.known_since() != before, 3 * DEADLINE, "the answer", 0.1)
    worker = directory.worker()
    with open(f"/proc/{worker}/task/{worker}/children", encoding="ascii") as f:
        assert not f.read().split()


def test_it_ends_nobody(directory):
    """Not even those that run as the same user."""
    victim = directory.lab.host.popen(["/bin/sleep", "600"], NOBODY)
    before = directory.known_since()
    directory.set(f"kill {victim.pid}")
    directory.ask()
    wait_for(lambda: directory.known_since() != before, 3 * DEADLINE, "the answer", 0.1)
    assert victim.poll() is None
    done = directory.lab.host.run(["/bin/sh", "-c", f"kill -KILL {victim.pid}"], NOBODY)  # which this user may, otherwise
    assert done.returncode == 0, done.stderr
    victim.wait(10)


def test_it_dies_before_anybody_else(directory):
    """When the machine's memory runs out; and it cannot take all of it by itself."""
    directory.ask()
    worker = wait_for(directory.worker, PATIENCE, "the worker")
    with open(f"/proc/{worker}/oom_score_adj", encoding="ascii") as f:
        assert f.read().strip() == "1000"
    with open(f"/proc/{worker}/limits", encoding="ascii") as f:
        limits = {line[:25].strip(): line[25:].split() for line in f}
    assert int(limits["Max address space"][0]) <= 1 << 30, limits["Max address space"]
    assert limits["Max core file size"][0] == "0" and limits["Max file size"][0] == "0"
    assert int(limits["Max cpu time"][0]) <= 60
