# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes while an order is in force: of the groups, of the configuration."""

import os
import signal
import subprocess
import time

import pytest

import checks
import probes
from checks import quick
from lab import ALICE, BOB, CAROL, ERIN, INTERNET4, MALLORY, PARTNER4, RESOLVER4, STAFF
from netlab import Who

CONFIGURATION = """\
[Profile staff]
Groups=staff

[Profile contractors]
Groups=contractors
"""


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION)


def test_who_joins_is_blocked_and_who_leaves_is_freed_within_a_second(own):
    own.do("order", "staff")
    held = own.host.spawn(probes.transfer, INTERNET4, 9001, who=ERIN)
    held.receive()
    with checks.unharmed(own, MALLORY):
        changed = time.monotonic()
        own.edit("group", lambda t: t.replace(":bob\n", ":bob,erin\n"))
        checks.wait_blocked(own, ERIN, 1.0)
        checks.wait_for(lambda: held.ask("report")["error"], checks.PATIENCE, "the new member's connection to be cut")
        checks.assert_blocked(own, ERIN, ("tcp", "udp"))
        assert not quick(own, BOB)
        own.edit("group", lambda t: t.replace(":bob,erin\n", ":erin\n"))
        checks.wait_freed(own, BOB, 1.0)
        assert not quick(own, ERIN) and not quick(own, ALICE)
    assert time.monotonic() - changed < 20
    assert own.orders()["staff"]["subjects"]["users"] == 3  # alice, backup, erin


def test_the_saved_list_is_written_by_an_order_only_where_it_is_not_there(own):
    saved = own.path("state/members/staff")
    checks.wait_for(lambda: os.path.exists(saved), checks.PATIENCE, "the list to be saved when it was staged")
    before = os.stat(saved).st_ino
    own.do("order", "staff")
    assert os.stat(saved).st_ino == before
    own.do("lift", "staff")
    os.unlink(saved)
    own.do("order", "staff")
    with open(saved, encoding="utf-8") as f:
        assert str(BOB.uid) in f.read()


def test_an_editor_writing_in_place_is_seen(own):
    own.do("order", "staff")
    with open(own.path("etc/group"), encoding="utf-8") as f:
        text = f.read()
    with open(own.path("etc/group"), "w", encoding="utf-8") as f:
        f.write(text.replace(":bob\n", ":bob,erin\n"))
    checks.wait_blocked(own, ERIN, 1.0)


def test_a_primary_group_changes(own):
    own.do("order", "staff")
    own.edit("passwd", lambda t: t.replace("erin:x:2007:2007", "erin:x:2007:3000"))
    checks.wait_blocked(own, ERIN, 1.0)


def test_new_subordinate_ids_are_followed(own):
    own.do("order", "contractors")
    for name in ("subuid", "subgid"):
        own.edit(name, lambda t: t + "carol:300000:65536\n")
    spec = lambda: [own.spec("udp", INTERNET4, reply=False)]  # noqa: E731
    checks.wait_for(lambda: not own.probe_as_subordinate(spec(), CAROL)[0]["arrived"], checks.PATIENCE, "the new range blocked")


def test_who_was_added_while_nothing_was_in_force_is_blocked_when_order_returns(own):
    """No race: the reply waits for the list of the moment."""
    own.do("order", "staff")
    own.do("lift", "staff")
    for round_ in range(5):
        own.edit("group", lambda t: t.replace(":bob\n", ":bob,erin\n"))
        own.do("order", "staff")
        assert not quick(own, ERIN), f"round {round_}"
        own.do("lift", "staff")
        own.edit("group", lambda t: t.replace(":bob,erin\n", ":bob\n"))


def test_reload_applies_to_what_is_in_force(own):
    own.do("order", "staff")
    own.do("order", "contractors")
    identity = own.orders()["staff"]["id"]
    checks.assert_refused(own.probe([own.spec("tcp", PARTNER4)], ALICE))
    with checks.unharmed(own, MALLORY):
        mark = own.mark()
        tries = own.host.spawn(probes.stream, INTERNET4, 9500, 0.001, "try", who=ALICE)
        tries.receive()
        own.configure(CONFIGURATION.replace("Groups=staff\n", f"Groups=staff\nAllow=internal {PARTNER4}:443/tcp\n"))
        own.do("reload")
        checks.assert_passed(own.probe([own.spec("tcp", PARTNER4)], ALICE))
        own.configure(CONFIGURATION.replace("Groups=staff\n", f"Groups=staff\nDNS={RESOLVER4}\nUsers=erin\n"))
        own.do("reload")
        tries.ask("stop")
        assert not [p for p in own.packets(mark) if p.dport == 9500]
    checks.assert_refused(own.probe([own.spec("tcp", PARTNER4)], ALICE))
    checks.assert_passed(own.probe([own.spec("udp", INTERNET4, 53)], ALICE), local=True)
    assert not quick(own, ERIN) and not quick(own, CAROL)
    assert own.orders()["staff"]["id"] == identity


def test_a_drop_in_counts(own):
    own.do("order", "staff")
    own.configure(f"[Profile staff]\nAllow=internal {PARTNER4}\n", "50-partner.conf")
    own.do("reload")
    checks.assert_passed(own.probe([own.spec("tcp", PARTNER4)], ALICE))


@pytest.mark.parametrize("wrong, says", [
    ("[Profile staff]\nGroups=staff\nAlow=internal\n", "Alow"),
    ("[Profile staff]\nGroups=nosuchgroup\n", "nosuchgroup"),
    ("[Profile staff]\nGroups=staff\nAllow=10.0.0.1/8\n", "10.0.0.1/8"),
    ("[Profile staff]\nGroups=staff\nAllow=0.0.0.0/0\n", "0.0.0.0/0"),
    ("[Profile staff]\nGroups=staff\nAllow=0.0.0.0/1 128.0.0.0/1\n", "whole IPv4 internet"),
    ("[Profile staff]\nGroups=staff\n[Profile st aff]\nGroups=staff\n", "st aff"),
    ("[Profile staff]\nGroups=staff\n[Profile staff]\nGroups=contractors\n", "staff"),
    ("[Access]\nOrder=root @nosuchadmins\n[Profile staff]\nGroups=staff\n", "nosuchadmins"),
    ("[Profile staff]\nGroups=staff\nthis is no assignment\n", "lockdownd.conf:3"),
    ("[Nonsense]\nx=y\n[Profile staff]\nGroups=staff\n", "Nonsense"),
], ids=["key", "group", "host-bits", "all", "halves", "name", "duplicate", "access", "line", "section"])
def test_a_reload_with_a_mistake_keeps_what_is_in_force(lab, wrong, says):
    lab.do("order", "staff")
    try:
        lab.configure(wrong)
        done = lab.ctl("reload")
        assert done.returncode == 1, done.stdout
        assert says in done.stderr and "lockdownd.conf:" in done.stderr, done.stderr
        check = lab.host.run([lab.lockdownd, "--check"], env=lab.environment())
        assert check.returncode != 0 and says in check.stderr, check.stderr
        checks.assert_blocked(lab, ALICE, ("tcp", "udp"))
        assert "not in force" in lab.do("status")  # and status says that the files are not what is in force
        assert "not in force" in lab.do("profiles")
        assert "has mistakes" in lab.ctl("order", "guests").stderr  # where a profile may be missing because of one
        assert "\\n" not in done.stderr + lab.do("status")  # a line for each mistake, and status has the first
    finally:
        lab.configure(CONFIGURATION)
        lab.do("reload")
    assert not quick(lab, ALICE)


def test_check_prints_a_canonical_form_that_it_accepts(lab):
    first = lab.host.check([lab.lockdownd, "--check"], env=lab.environment())
    lab.configure(first)
    try:
        assert lab.host.check([lab.lockdownd, "--check"], env=lab.environment()) == first
        lab.do("reload")
    finally:
        lab.configure(CONFIGURATION)
        lab.do("reload")


def test_a_profile_removed_while_in_force_stays_in_force(own):
    own.do("order", "staff")
    own.configure("[Profile contractors]\nGroups=contractors\n")
    own.do("reload")
    assert not quick(own, ALICE) and "staff" in own.orders()
    own.do("lift", "staff")
    assert quick(own, ALICE)
    assert own.ctl("order", "staff").returncode == 1


def _hide(lab, who):
    """Gives the lab a directory that knows WHO to be in staff, and does not list who is."""
    library = lab.path("lib", "libnss_hidden.so.2")
    os.makedirs(os.path.dirname(library))
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", f'-DHIDDEN_USER="{who.name}"',
                    f"-DHIDDEN_GROUP={STAFF}", "-o", library, os.path.join(os.path.dirname(__file__), "nss-hidden.c")],
                   check=True)
    with open(lab.path("etc/nsswitch.conf"), "a", encoding="utf-8") as f:
        f.write("initgroups: files [SUCCESS=continue] hidden\n")
    lab.wrapper = ("/usr/bin/env", f"LD_LIBRARY_PATH={os.path.dirname(library)}")
    lab.start()


def test_a_first_socket_gives_away_whom_the_directory_does_not_list(labs):
    own = labs(CONFIGURATION, start=False)
    _hide(own, ERIN)
    own.do("order", "staff")
    own.do("order", "contractors")
    assert own.orders()["staff"]["subjects"]["users"] == 3  # alice, bob, backup
    checks.assert_free(own, MALLORY, ("udp",))
    stream = own.host.spawn(probes.stream, INTERNET4, 9000, 0.01, "erin", who=ERIN)  # and no login
    stream.receive()
    checks.wait_for(lambda: own.orders()["staff"]["subjects"]["users"] == 4, checks.PATIENCE, "erin to be found")
    checks.wait_blocked(own, ERIN, 1.0)
    checks.assert_blocked(own, ERIN, ("tcp", "udp"))
    assert own.orders()["contractors"]["subjects"]["users"] == 1
    assert quick(own, MALLORY)


def test_a_profile_by_the_name_of_an_ad_hoc_order_has_its_own_people(own):
    own.do("order", "--user", "erin", "--name", "night")
    own.configure(CONFIGURATION + "[Profile night]\nGroups=contractors\n")
    own.do("reload")
    assert not quick(own, ERIN) and quick(own, CAROL)
    own.do("lift", "night")
    own.do("order", "night")
    assert quick(own, ERIN) and not quick(own, CAROL)


def test_lifted_while_the_order_waits_for_the_directory(own):
    """The block stands, the reply waits for the list of people; when that takes too long, the order is gone."""
    own.do("order", "staff")
    own.do("lift", "staff")
    os.kill(own.daemon.child("--resolver-worker"), signal.SIGSTOP)
    own.edit("group", lambda t: t.replace(":bob\n", ":bob,erin\n"))
    order = own.host.popen([own.path("bin/lockdownctl"), "order", "staff"], env=own.environment(),
                           stderr=subprocess.PIPE, text=True)
    checks.wait_for(lambda: own.tables()["staff"], checks.PATIENCE, "the block")
    own.do("lift", "staff")
    assert "lifted before it could be confirmed" in order.communicate(timeout=10)[1]
    assert order.returncode == 1 and own.daemon.running()
    assert quick(own, ALICE)


def _staged(lab):
    return all(p["staged"] for p in lab.json("profiles")["profiles"])


def test_a_large_profile_while_it_is_staged(labs):
    """In steps, and a reload is answered after the first: whatever comes then finds nothing half done."""
    first, many = 200_000, 150_000
    last = Who("last", first + 2 * (many - 1), MALLORY.gid)  # a member by their primary group, acting in another
    lab = labs(CONFIGURATION, start=False)
    with open(lab.path("etc/passwd"), "a", encoding="ascii") as f:
        f.writelines(f"many{i}:x:{first + 2 * i}:{STAFF}::/:/bin/sh\n" for i in range(many))

    def add_profile():
        lab.configure(CONFIGURATION)
        lab.start()
        checks.wait_for(lambda: _staged(lab), 60.0, "all to be staged", 0.2)  # root's questions come before a step
        lab.configure(CONFIGURATION + "[Profile more]\nGroups=staff\n")
        lab.do("reload")
        midway.append(not _staged(lab))

    midway = []
    add_profile()
    lab.daemon.end()
    assert not lab.tables()

    add_profile()
    lab.configure(CONFIGURATION)
    lab.do("reload")
    assert lab.tables() == {"staff": False, "contractors": False}
    lab.daemon.end()

    add_profile()
    lab.do("order", "more")
    assert lab.tables() == {"staff": False, "contractors": False, "more": True}
    checks.assert_blocked(lab, last, ("udp",))
    lab.do("verify", "more")
    lab.do("lift", "more")
    lab.daemon.end()

    add_profile()
    lab.daemon.end(signal.SIGKILL)
    assert quick(lab, last)
    lab.start()
    lab.do("order", "more")
    checks.assert_blocked(lab, last, ("udp",))
    assert quick(lab, MALLORY)
    lab.do("verify", "more")
    lab.do("lift", "more")
    assert quick(lab, last)
    assert any(midway), "it was never seen half staged"
