# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of orders that have ended: told as a whole, kept within its bounds, and whatever goes is counted."""

import json
import os
import signal
import time

import campaign
import footprint
from lab import CONFIGURATION
from netlab import PATIENCE, wait_for

PRUNED = "3f41d0ac365c4a90aa61fec0c8d9259b"
MANY = 10_000


def _bounded(**keys):
    return CONFIGURATION + "\n[Record]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())


def _files(lab, name="history"):
    return sorted(os.listdir(lab.path("state", name)))


def _cycle(lab):
    lab.do("order", "staff")
    lab.do("lift", "staff")


def _fill(lab, number):
    """NUMBER finished orders more, older than the one there is. The daemon is not running."""
    (name,) = _files(lab)
    with open(lab.path("state/history", name), encoding="utf-8") as f:
        order = json.load(f)
    ended = order["ended_at"]
    for i in range(1, number + 1):
        order["id"], order["ended_at"] = f"{i:032x}", ended - i * 1_000_000
        with open(lab.path("state/history", f"{order['ended_at']:020}-{order['id']}.json"), "w", encoding="utf-8") as f:
            json.dump(order, f)


def test_the_oldest_go_and_that_is_told(labs):
    lab = labs(_bounded(KeepOrders=3))
    lab.do("order", "--user", "erin", "--name", "night")
    ids = []
    for _ in range(5):
        _cycle(lab)
        ids.append(lab.json("history")["orders"][0]["id"])
    wait_for(lambda: len(_files(lab)) == 3, PATIENCE, "the record within its bounds")
    wait_for(lambda: lab.json("history").get("removed", {}).get("orders") == 2, PATIENCE, "that to be noted")
    answer = lab.json("history")
    assert [o["id"] for o in answer["orders"]] == ids[:1:-1] and answer["left_off"] == 0
    assert "2 older ones were removed from the record" in lab.do("history")
    said = lab.entries(MESSAGE_ID=PRUNED)
    assert said and "for KeepOrders=3" in said[-1]["MESSAGE"]
    assert len(_files(lab, "orders")) == 1 and "night" in lab.orders()

    lab.daemon.end(signal.SIGKILL)
    lab.start()
    assert lab.json("history")["removed"] == answer["removed"]
    lab.configure(_bounded(KeepOrders="infinity", KeepSize=1))  # less than one takes
    assert "[Record]: changed" in lab.json("reload")["changed"]
    wait_for(lambda: not _files(lab), PATIENCE, "the record within its bounds")
    wait_for(lambda: lab.json("history")["removed"]["orders"] == 5, PATIENCE, "that to be noted")
    assert not _files(lab, "attempts") and "night" in lab.orders()
    assert "No lockdown that has ended is kept.\n5 older ones were removed" in lab.do("history")


def test_a_configuration_with_mistakes_removes_nothing(labs):
    lab = labs(_bounded(KeepOrders="infinity"))
    _cycle(lab)
    lab.daemon.end()
    _fill(lab, MANY + 1)
    lab.configure("nonsense")
    lab.start()
    lab.do("order", "--user", "erin", "--name", "night")
    lab.do("lift", "night")  # after each end the record is looked at
    lab.configure(_bounded(KeepOrders=MANY + 2))
    lab.do("reload")
    wait_for(lambda: len(_files(lab)) == MANY + 2, 60.0, "one to go")  # in this turn, and none before
    wait_for(lambda: lab.json("history")["removed"]["orders"] == 1, 60.0, "that to be noted")


def test_ten_thousand(labs):
    lab = labs(_bounded(KeepOrders="infinity"))
    _cycle(lab)
    lab.daemon.end()
    _fill(lab, MANY + 100)
    begin = time.monotonic()
    lab.start()
    started = time.monotonic() - begin
    begin = time.monotonic()
    answer = lab.json("history", timeout=60.0)
    told = time.monotonic() - begin
    assert len(answer["orders"]) == MANY and answer["left_off"] == 101
    assert "101 older ones are kept, but not listed." in lab.do("history", timeout=60.0)
    memory = footprint.peak(lab)
    assert memory < 100 << 10, "KiB"  # the documents of all at once would take more
    lab.configure(_bounded(KeepOrders=10))
    lab.do("reload")
    waits = []
    while len(_files(lab)) > 10:
        begin = time.monotonic()
        assert lab.json("status", codes=(3,))["in_force"] is False
        waits.append(time.monotonic() - begin)
    wait_for(lambda: lab.json("history")["removed"]["orders"] == MANY + 91, PATIENCE, "that to be noted")
    campaign.tell(f"record: start with {MANY + 101:,} ended orders {started * 1000:.0f} ms, history of {MANY:,} in "
                  f"{told * 1000:.0f} ms, at most {memory / 1024:.0f} MiB resident, status while {MANY + 91:,} are removed at "
                  f"most {max(waits) * 1000:.0f} ms (median {sorted(waits)[len(waits) // 2] * 1000:.0f})")
