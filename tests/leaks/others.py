# SPDX-License-Identifier: GPL-2.0-or-later
"""Channel 10: races. Channel 11: what other tools do to the rules."""

import shutil

import person
from lab import BOB, ROOT, STAFF
from suite import Row, Skip, by

FIREWALL = """flush ruleset
table inet firewall {
        chain input { type filter hook input priority 0; policy accept; }
        chain output { type filter hook output priority 0; policy accept; }
}
"""
FLUSH = ("-F", "-X", "-P OUTPUT ACCEPT", "-I OUTPUT -j ACCEPT", "-F")


def _hurrying(stage, ways):
    """Goes on sending through the moment of the lock."""
    task = stage.person(person.hurry, ways)
    yield
    stage.go(task)


def _changing(change):
    """Sends all the time while, under the lock, something changes."""

    def play(stage, ways):
        task = stage.person(person.hurry, ways)
        yield
        change(stage)
        stage.go(task)

    return play


def _reload(stage):
    if stage.lab.daemon:
        for _ in range(3):
            stage.lab.do("reload")


def _members_change(stage):
    for people in ("bob,erin", "bob", "bob,mallory", "bob"):
        stage.edit("group", lambda text, p=people: "".join(
            f"staff:x:{STAFF}:{p}\n" if line.startswith("staff:") else line + "\n" for line in text.splitlines()))
        _reload(stage)


def _program(program, *arguments, stdin=None):
    """Runs under the lock; then the person tries."""

    def play(stage, ways):
        path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            raise Skip(f"not installed: {program}")
        task = stage.person(person.knock, ways)
        yield
        for words in arguments:
            stage.lab.host.run([path, *words.split()], stdin=stdin)  # whether it managed is not the question
        stage.go(task)

    return play


def _delete_tables(stage, ways):
    task = stage.person(person.knock, ways)
    yield
    for table in stage.host("/usr/sbin/nft", "list", "tables").splitlines():
        for verb in ("flush", "delete"):
            stage.lab.host.run(["/usr/sbin/nft", verb, *table.split()])
    stage.go(task)


ROWS = (
    Row(10, "something new every moment, through the order", _hurrying),
    Row(10, "a thousand processes", by(person.fork_storm)),
    Row(10, "moving between groups", by(person.change_groups, ROOT, owner=BOB, groups=(BOB.gid, STAFF))),
    Row(10, "through reloads", _changing(_reload), daemon=True),
    Row(10, "through changes of membership", _changing(_members_change), daemon=True),
    Row(11, "nft flush ruleset", _program("nft", "flush ruleset")),
    Row(11, "nft delete table, each", _delete_tables),
    Row(11, "another ruleset loaded", _program("nft", "-f -", stdin=FIREWALL)),
    Row(11, "iptables -F", _program("iptables-nft", *FLUSH)),
    Row(11, "iptables -F, legacy", _program("iptables-legacy", *FLUSH)),
    Row(11, "conntrack -F", _program("conntrack", "-F")),
)
