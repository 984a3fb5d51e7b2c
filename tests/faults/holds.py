# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold: who is refused and who is free, by what arrives in the world; and that the daemon's word, the kernel and the
disk agree."""

import glob
import json
import os

import lab as lab_
import probes
from lab import ALICE, BOB, ERIN, INTERNET4, INTERNET6, MALLORY
from netlab import wait_for

PEOPLE = (ALICE, BOB, ERIN, MALLORY)
SUBJECTS = {"staff": (ALICE, BOB), "night": (ERIN,), "staff+erin": (ERIN,)}


def person(channel):
    """Tries what it is asked to, as often as it is asked: a process of its own for each person, for the whole time."""
    channel.send("ready")
    while True:
        _, specs = channel.request(None)
        channel.send(probes.probe_all(specs))


def arrivals(place, people=PEOPLE, kinds=("udp", "tcp")):
    """-> {person's name: how many of their tries arrived in the world}, one of each kind to each family."""
    lab = place.lab
    specs = {who.name: [lab.spec(kind, dst, reply=False) for kind in kinds for dst in (INTERNET4, INTERNET6)]
             for who in people}
    mark = lab.mark()
    for name, tries in specs.items():
        place.people[name].channel.send(("try", tries))
    results = {name: place.people[name].receive(60.0) for name in specs}
    # all are judged by the same packets
    packets = lab.packets(mark)
    judged = {}
    for name, tries in specs.items():
        judged[name] = sum(any(lab_.seen(p, spec) for p in packets) for spec in tries)
        assert len(results[name]) == len(tries)
    return judged, len(kinds) * 2


def pass_for(place, who):
    """How many of WHO's datagrams arrive."""
    return arrivals(place, (who,), ("udp",))[0][who.name]


def subjects(orders):
    """Names of those whom these orders are about."""
    return {who.name for order in orders for who in SUBJECTS[order]}


def assert_people(place, refused, free):
    """REFUSED, FREE: names."""
    got, tries = arrivals(place)
    wrong = [f"{got[name]} of {tries} tries of {name} arrived, though refused" for name in sorted(refused) if got[name]]
    wrong += [f"{got[name]} of {tries} tries of {name} arrived, though free" for name in sorted(free) if got[name] != tries]
    assert not wrong, "; ".join(wrong)


def hooked(place):
    """-> {(family, name): whether it has hooks} of all tables of ours, as nft sees them."""
    return {key: on for key, on in place.lab.all_tables().items() if key[1].startswith("lockdown")}


def assert_kernel(place, orders, staged):
    """Tables of the orders with hooks, those of the staged profiles without, the pins of the orders, and nothing else."""
    expected = {(family, f"lockdown-{name}"): name in orders for name in {*orders, *staged}
                for family in (("inet", "netdev") if place.frames else ("inet",))}
    assert hooked(place) == expected, f"tables: {hooked(place)}, expected: {expected}"
    pins = place.lab.host.path("/sys/fs/bpf/lockdownd")
    names = sorted(os.listdir(pins)) if os.path.isdir(pins) else []
    with_second = sorted(orders) if place.second_lock else []
    assert [n for n in names if not n.startswith("+")] == with_second, f"pins: {names}, expected: {with_second}"


def saved(place):
    """-> {name: document} of the orders on disk, and the history's documents. Whole, or this fails."""
    def read(path):
        with open(path, encoding="utf-8") as f:
            return json.load(f)

    orders = [read(path) for path in glob.glob(place.lab.path("state/orders/*.json"))]
    history = [read(path) for path in glob.glob(place.lab.path("state/history/*.json"))]
    named = {o["profile"]["Name"]: o for o in orders}
    assert len(named) == len(orders), f"more than one order for a profile on disk: {[o['id'] for o in orders]}"
    return named, history


def assert_disk(place, in_force):
    """IN_FORCE: the status' orders by name. The same ones are saved, nothing was set aside, nothing is there twice."""
    aside = os.listdir(place.lab.path("state/damaged"))
    assert not aside, f"set aside as damaged: {aside}"
    orders, history = saved(place)
    assert {n: o["id"] for n, o in orders.items()} == {n: o["id"] for n, o in in_force.items()}, (orders, in_force)
    for name, order in in_force.items():
        on_disk = orders[name]
        assert on_disk["reason"] == order.get("reason") and on_disk["recovered"] == order["recovered"], (on_disk, order)
    ended = [o["id"] for o in history]
    assert len(set(ended)) == len(ended), f"ended more than once: {ended}"
    # An end that was saved and not completed stays there until the next one; nobody is told of it.
    told = {o["id"] for o in place.lab.json("history")["orders"]}
    assert told == set(ended) - {o["id"] for o in in_force.values()}, f"told to have ended: {told}, saved: {ended}"
    for directory, _, names in os.walk(place.lab.path("state")):
        left = [n for n in names if n.startswith(".")]
        assert not left, f"left in {directory}: {left}"


def problems(order):
    """What the status complains of."""
    found = [f"{key}: {order[key]}" for key in ("kernel_problem", "save_error") if order.get(key)]
    if not order["saved"]:
        found.append("not saved")
    found += [f"{lock}: {state}" for lock, state in order["locks"].items()
              if state.startswith("NOT ")]
    return found


def assert_agreed(place, expected, staged):
    """Status, kernel and disk say the same: EXPECTED orders are in force and hold, and STAGED are staged. -> the orders"""
    in_force = place.lab.orders()
    assert set(in_force) == set(expected), f"in force: {sorted(in_force)}, expected: {sorted(expected)}"
    if expected:
        verified = place.lab.ctl("verify", "--json")
        assert verified.returncode == 0, f"verify: {verified.stdout}{verified.stderr}"
        again = place.lab.json("verify")["verified"]
        assert all(v["holds"] and not v["repaired"] for v in again), f"verified twice, and repaired again: {again}"
        in_force = wait_for(lambda: _members_known(place.lab.orders()), 10.0, "the directory's answer")
    complaints = {name: problems(o) for name, o in in_force.items() if problems(o)}
    assert not complaints, complaints
    assert_kernel(place, expected, staged)
    assert_disk(place, in_force)
    return in_force


def _members_known(orders):
    """ORDERS, if the directory has answered for each."""
    return orders if all(o["membership"]["source"] == "resolved" for o in orders.values()) else None
