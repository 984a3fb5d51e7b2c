# SPDX-License-Identifier: GPL-2.0-or-later
"""Channel 1: the same person under other identities. Channel 5: their sessions. Channel 9: everyone."""

import contextlib
import json
import os
import shutil

import lab as lab_
import person
from lab import ALICE, BACKUP, BOB, ERIN, MALLORY, STAFF, Who
from suite import Row, by

EVERYONE, SESSIONS = ("Everyone=yes", "ExceptUsers=backup"), ("Sessions=yes",)
SESSION = f"user.slice/user-{BOB.uid}.slice/session-1.scope"
TWIN = Who("alice2", ALICE.uid, 2008, (2008,))  # a second account with the same uid
FRANK = Who("frank", 2009, 2009, (2009, STAFF))  # does not exist yet


def _program(stage, ways, *wrapper, python="/usr/bin/python3", who=BOB):
    """The probes' program under WRAPPER, as WHO: what arrives decides, not how it ends."""
    specs = [way.spec(kind) for way in ways for kind in ("tcp", "udp")]
    arguments = [python, stage.lab.path("bin/probes.py")]
    if wrapper[-1:] == ("-c",):
        arguments = [" ".join(arguments)]
    stage.host(*wrapper, *arguments, stdin=json.dumps({"specs": specs, "timeout": 0}), who=who, join=True)


def _twin(stage, ways):
    stage.edit("passwd", lambda text: text + f"{TWIN.name}:x:{TWIN.uid}:{TWIN.gid}::/:/bin/sh\n")
    return by(person.knock, TWIN)(stage, ways)


def _newgrp(stage, ways):
    """sg(1), which is newgrp(1): a setuid program that gives the person another group."""
    yield
    _program(stage, ways, "/usr/bin/sg", "staff", "-c")


def _left_the_group(stage, ways):
    stage.edit("group", lambda text: text + "others:x:2020:alice\n")
    yield
    _program(stage, ways, "/usr/bin/sg", "others", "-c", who=ALICE)


def _setgid_copy(stage, ways):
    """A copy of a program with another group's setgid bit."""
    copy = stage.lab.path("bin/python3-setgid")
    shutil.copy(os.path.realpath("/usr/bin/python3"), copy)
    os.chown(copy, 0, MALLORY.gid)
    os.chmod(copy, 0o2755)
    stage.defer(os.unlink, copy)
    yield
    _program(stage, ways, python=copy, who=ALICE)


def _subordinate(stage, ways):
    yield
    _program(stage, ways, "/usr/bin/unshare", "-U", "--map-auto", "--map-root-user", "/usr/bin/setpriv", "--reuid",
             "33", "--regid", "33", "--clear-groups")


def _lent(cgroup=None):
    """What systemd-nsresourced does for whoever asks: ids for as long as the namespace lives, that stand in no file."""

    def play(stage, ways):
        task = stage.person(person.with_lent_ids, ways, cgroup=cgroup)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{task.pid}/{name}", "w", encoding="ascii") as f:
                f.write("0 700000 65536")
        yield
        stage.go(task)
        stage.go(task)

    return play


def _passes(stage, who):
    tries = [stage.way(family) for family in (4, 6)]
    stage.lab.host.call(lambda: list(person.knock(tries, ("udp",))), who=who)
    return stage.arrived(tries)


def until(stage, who, free):
    """Time in which lockdownd may notice that WHO is (or is no more) one of them; other locks never do."""
    with contextlib.suppress(lab_.Late):
        lab_.wait_for(lambda: len(_passes(stage, who)) == (2 if free else 0), 3.0 if stage.lab.daemon else 0.1)


def _added(stage, ways):
    task = stage.person(person.knock, ways, ERIN)
    yield
    stage.edit("group", lambda text: text.replace("staff:x:3000:bob", "staff:x:3000:bob,erin"))
    until(stage, ERIN, free=False)
    stage.go(task)


def _created(stage, ways):
    yield
    stage.edit("passwd", lambda text: text + f"{FRANK.name}:x:{FRANK.uid}:{FRANK.gid}::/:/bin/sh\n")
    stage.edit("group", lambda text: text.replace("staff:x:3000:bob", "staff:x:3000:bob,frank"))
    until(stage, FRANK, free=False)
    stage.lab.host.call(lambda: list(person.knock(ways)), who=FRANK)


def _in_session(stage, ways):
    """What a setuid program or sudo is: somebody else, started from the member's login."""
    task = stage.person(person.knock, ways, MALLORY, cgroup=SESSION)
    yield
    stage.go(task)


ROWS = (
    Row(1, "member by primary group", by(person.knock, ALICE)),
    Row(1, "member by supplementary group", by(person.knock, BOB)),
    Row(1, "primary group given up", by(person.knock, ALICE.with_(gid=ALICE.uid, groups=()))),
    Row(1, "all groups given up", by(person.knock, BOB.with_(groups=()))),
    Row(1, "newgrp/sg into the group", _newgrp),
    Row(1, "newgrp/sg into another group", _left_the_group),
    Row(1, "setgid copy of a program", _setgid_copy),
    Row(1, "the group alone (setgid program of the group)", by(person.knock, MALLORY.with_(gid=STAFF))),
    Row(1, "subordinate uid and gid", _subordinate),
    Row(1, "second account with the same uid", _twin),
    Row(1, "ids lent for a moment", _lent(), named="Become somebody else", only_lockdown=True),
    Row(1, "added to the group while locked", _added, daemon=True),
    Row(1, "created in the group while locked", _created, daemon=True),
    Row(5, "setuid program from the session", _in_session, keys=SESSIONS),
    Row(5, "ids lent for a moment, from the session", _lent(SESSION), keys=SESSIONS),
    Row(5, "setuid program, without Sessions=", _in_session, named="Become somebody else", only_lockdown=True),
    Row(9, "Everyone=yes: a member of nothing", by(person.knock, MALLORY), keys=EVERYONE),
    Row(9, "Everyone=yes: a uid without an account", by(person.knock, MALLORY.with_(uid=54321, gid=54321)),
        keys=EVERYONE),
    Row(9, "Everyone=yes: a subordinate uid", _subordinate, keys=EVERYONE),
    Row(9, "Everyone=yes: ids lent for a moment", _lent(), keys=EVERYONE),
    Row(9, "Everyone=yes: an excepted user", by(person.knock, BACKUP), keys=EVERYONE, arrives=True),
    Row(9, "Everyone=yes: root", by(person.knock, lab_.ROOT), keys=EVERYONE, arrives=True),
)
