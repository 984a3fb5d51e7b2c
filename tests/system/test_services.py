# SPDX-License-Identifier: GPL-2.0-or-later
"""Services=: units held to the same destinations while an order is in force, whatever they run as."""

import os
import signal

import pytest

import lab as lab_
import probes
from checks import assert_blocked, assert_free, assert_passed, assert_refused, quick
from lab import ALICE, BACKUP, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY
from netlab import PATIENCE, ROOT, wait_for

PROFILES = """\
[Access]
Order=root
[Profile held]
Groups=staff
Services=squid proxy@*.service
[Profile plain]
Groups=staff
[Profile all]
Everyone=yes
ExceptUsers=backup mallory
Services=squid.service
"""


class Unit:
    """A unit's control group as systemd makes it, and a program in it."""

    def __init__(self, lab, path):
        self.lab, self.path = lab, os.path.join(lab.cgroup, path)

    def start(self):
        os.makedirs(self.path)

    def stop(self):
        os.rmdir(self.path)

    def task(self, function, *args, who=ROOT, **kwargs):
        def join():
            with open(f"{self.path}/cgroup.procs", "w", encoding="ascii") as f:
                f.write("0")
            self.lab.host.enter_namespaces()
            if who is not ROOT:
                who.become()

        task = lab_.netlab.fork_task(join, function, *args, **kwargs)
        self.lab.host.tasks.append(task)
        return task

    def probe(self, specs, who=ROOT):
        mark = self.lab.mark()
        task = self.task(probes.probe_all, specs, who=who)
        try:
            results = task.result()
        finally:
            self.lab.host.tasks.remove(task)
        return self.lab._judge(specs, results, mark)  # pylint: disable=protected-access


@pytest.fixture
def own(labs):
    return labs(PROFILES)


@pytest.fixture
def squid(own):
    unit = Unit(own, "system.slice/squid.service")
    unit.start()
    return unit


def _outside(own):
    return [own.spec(kind, dst) for kind in ("tcp", "udp") for dst in (INTERNET4, INTERNET6)]


def _inside(own):
    return [own.spec(kind, dst) for kind in ("tcp", "udp") for dst in (INTERNAL4, INTERNAL6)]


def test_a_unit_is_held_and_let_go(own, squid):
    for who in (ROOT, MALLORY):
        assert_passed(squid.probe(_outside(own), who))
    own.do("order", "plain")
    assert_passed(squid.probe(_outside(own)))
    own.do("order", "held")
    for who in (ROOT, MALLORY):
        assert_refused(squid.probe(_outside(own), who))
        assert_passed(squid.probe(_inside(own), who))
    assert_free(own, MALLORY, ("tcp", "udp"))
    assert_free(own, ROOT, ("tcp", "udp"))
    assert_blocked(own, ALICE, ("tcp", "udp"))
    own.do("lift", "held")
    assert_passed(squid.probe(_outside(own)))


def test_what_it_had_open_is_cut(own, squid):
    task = squid.task(probes.transfer, INTERNET4, 9001, wants_channel=True)
    other = own.host.spawn(probes.transfer, INTERNET4, 9002)
    task.receive()
    other.receive()
    assert own.json("order", "held")["severed"] == 1
    wait_for(lambda: task.ask("report")["error"], PATIENCE, "the end of the unit's download")
    assert other.ask("report")["error"] is None


@pytest.mark.parametrize("path", ["system.slice/proxy.service", "system.slice/squid.service",
                                  "system.slice/system-proxy.slice/proxy@3128.service"])
def test_a_unit_that_starts_later(own, path):
    unit = Unit(own, path)
    held = "proxy.service" not in path
    own.do("order", "held")
    unit.start()
    if held:
        wait_for(lambda: not any(r["arrived"] for r in unit.probe(_outside(own))), PATIENCE, "the unit to be held")
        for _ in range(3):  # restarted, again and again
            unit.stop()
            unit.start()
            wait_for(lambda: not any(r["arrived"] for r in unit.probe(_outside(own))), PATIENCE, "the unit to be held")
        assert_passed(unit.probe(_inside(own)))
    else:
        assert_passed(unit.probe(_outside(own)))


def test_started_between_staging_and_order(own):
    """The order finds it, however little time there was to hear of it."""
    unit = Unit(own, "system.slice/squid.service")
    own.daemon.kill(signal.SIGSTOP)
    unit.start()
    order = own.host.popen([own.path("bin/lockdownctl"), "order", "held"], env=own.environment())
    own.daemon.kill(signal.SIGCONT)
    assert order.wait(10) == 0
    assert_refused(unit.probe(_outside(own)))


def test_everyone_but_root_and_the_excepted_with_the_unit_all_the_same(own, squid):
    own.do("order", "all")
    for who in (ROOT, BACKUP, MALLORY):
        assert_refused(squid.probe(_outside(own), who))
        assert_free(own, who, ("tcp", "udp"))
    assert not quick(own, ALICE)


def test_each_lock_holds_it_alone(own, squid):
    own.do("order", "held")
    second = own.orders()["held"]["locks"]["second_lock"]
    own.daemon.end(signal.SIGKILL)
    if second == "in force":
        own.host.nft("delete table inet lockdown-held")
        assert_refused(squid.probe(_outside(own)), arrived_only=True)
        assert_passed(squid.probe(_inside(own)))
        assert_free(own, ROOT, ("tcp", "udp"))
    own.configure(PROFILES.replace("[Profile held]\n", "[Profile held]\nSecondLock=no\n"))
    own.start()
    assert own.orders()["held"]["locks"]["second_lock"].startswith("off")
    assert_refused(squid.probe(_outside(own)))


def test_reload_names_another(own, squid):
    other = Unit(own, "system.slice/other.service")
    other.start()
    own.do("order", "held")
    own.configure(PROFILES.replace("Services=squid proxy@*.service", "Services=other"))
    own.do("reload")
    assert_passed(squid.probe(_outside(own)))
    assert_refused(other.probe(_outside(own)))
    own.configure(PROFILES.replace("Services=squid proxy@*.service\n", ""))
    own.do("reload")
    assert_passed(other.probe(_outside(own)))


def test_without_its_file_an_order_still_holds_the_unit(own, squid):
    """Recovered from what the kernel holds, under no profile of that name: the unit is found by its control group."""
    own.do("order", "held")
    own.daemon.end(signal.SIGKILL)
    for name in os.listdir(own.path("state/orders")):
        os.unlink(own.path("state/orders", name))
    own.configure(PROFILES.replace("[Profile held]", "[Profile renamed]"))
    own.start()
    assert own.orders()["held"]["services"] == ["squid.service"]
    assert_refused(squid.probe(_outside(own)))
    own.do("lift", "held")
    assert_passed(squid.probe(_outside(own)))


def test_it_is_told(own, squid):
    squid.stop()
    order = own.json("order", "held")
    assert any("not running now" in w and "squid" in w for w in order["warnings"]), order["warnings"]
    assert order["order"]["services"] == ["squid", "proxy@*.service"]
    squid.start()
    wait_for(lambda: not any("squid" in w for w in own.orders()["held"]["warnings"]), PATIENCE, "the warning to go")
    text = own.do("status", "held")
    assert "services squid, proxy@*.service" in text
