# SPDX-License-Identifier: GPL-2.0-or-later
"""Orders, lifts and extensions, and the plug pulled at any moment: what was acknowledged counts after the next boot,
from the first packet on.

Every boot is the one that the last pull is judged by, and the base of the next one.
"""

import dataclasses
import json
import os
import random
import time

import pytest
from campaign import LONG, SEED, tell
from image import SENDERS, lab
from machine import INSIDE, OUTSIDE
from netlab import Late

PULLS = int(os.environ.get("PULLS") or (100 if LONG else 2))
SECOND = 1000000
HISTORY = 20  # so many finished orders are looked for after each boot


@dataclasses.dataclass(frozen=True)
class Plan:
    """What can be ordered, and whom that concerns."""

    name: str
    words: str
    subjects: tuple


PLANS = (Plan("staff", "staff", (lab.ALICE, lab.BOB)), Plan("contractors", "contractors", (lab.CAROL,)),
         Plan("guests", "--user erin --name guests", (lab.ERIN,)))


@dataclasses.dataclass(frozen=True)
class State:
    """A plan in force (or not). IDENTITY and REMAINING are None where the answer that would tell them never came."""

    in_force: bool
    identity: str = None
    remaining: int = 0  # microseconds until it ends; 0: it does not
    since: float = 0.0  # when that was said, on this machine's monotonic clock

    def completed(self, order):
        """With what the machine says about ORDER, where that was not known."""
        if self.remaining is not None:
            return self
        return dataclasses.replace(self, identity=order["id"], remaining=order.get("remaining_usec", 0), since=time.monotonic())

    def agrees(self, order):
        """With one of those in the status, or None."""
        if not self.in_force or not order:
            return self.in_force == bool(order)
        return self.identity in (None, order["id"]) and self._may_end(order.get("remaining_usec", 0))

    def _may_end(self, remaining):
        """Nobody tells the machine that its clock is right, so the time that it was off does not count, nor what it ran
        since it saved last: the end may come later by that, and never earlier. What counts is how long it is to last: what
        the machine's clock shows falls behind where the emulator has no processor, and jumps with the next boot."""
        if not self.remaining or not remaining:
            return self.remaining in (None, remaining)
        passed = self.remaining - remaining
        return -2 * SECOND < passed < (time.monotonic() - self.since + 2) * SECOND


OFF = State(False)


class Story:
    """What was done, and what may be true by that."""

    def __init__(self, machine):
        self.machine = machine
        self.random = random.Random(SEED)
        self.possible = {plan: {OFF} for plan in PLANS}
        self.ended = []  # identities of lifted orders, acknowledged
        self.extensions = 0
        self.counts = dict.fromkeys(("pulls", "acknowledged", "under way", "held", "off", "unflushed", "lost"), 0)

    # --- what is done ---

    def operation(self):
        """(plan, command, the state it leads to)."""
        plan = self.random.choice(PLANS)
        now, = self.possible[plan]
        hours = self.random.randint(2, 48)
        if not now.in_force:
            limit = self.random.choice(("", f" --for {hours}h"))
            return plan, f"order {plan.words}{limit}", State(True, None, None, time.monotonic())
        if now.remaining and self.random.random() < 0.5:
            self.extensions += 1  # each goes beyond all before it: a shorter one would be refused
            hours += 48 * self.extensions
            return plan, f"extend {plan.name} --for {hours}h", State(True, now.identity, None, time.monotonic())
        return plan, f"lift {plan.name}", OFF

    def acknowledged(self, plan, after, answer):
        status, output = answer
        assert status == 0, f"{plan.name}: exit {status}: {output}"
        before, = self.possible[plan]
        if after.in_force:
            after = after.completed(json.loads(output)["order"])
        elif before.identity:
            self.ended.append(before.identity)
        self.possible[plan] = {after}
        self.counts["acknowledged"] += 1

    def act(self):
        """Some operations that are waited for; then one more, and the plug is pulled when its answer comes, or before."""
        for _ in range(self.random.randint(0, 2)):
            plan, command, after = self.operation()
            self.acknowledged(plan, after, self.machine.run(f"lockdownctl {command} --json"))
        plan, command, after = self.operation()
        patience = self.random.choice((60.0, self.random.uniform(0.0, 1.0)))
        answer = self.machine.agent.answer(self.machine.agent.send(f"lockdownctl {command} --json"), patience)
        unflushed, lost = self.machine.pull_plug(self.random)
        if answer:
            self.acknowledged(plan, after, answer)
        else:
            self.possible[plan] |= {after}
            self.counts["under way"] += 1
        self.counts["pulls"] += 1
        self.counts["unflushed"] += unflushed
        self.counts["lost"] += lost

    # --- what is true ---

    def judge(self):
        """After a boot."""
        machine = self.machine
        machine.boot()
        for who in SENDERS:  # they run, and the network is there
            machine.wait_for_packets(who, INSIDE, 3)
        machine.wait_for_packets(lab.MALLORY, OUTSIDE, 3)
        status, output = machine.run("lockdownctl status --json")
        assert status in (0, 3), output
        orders = {order["profile"]: order for order in json.loads(output)["orders"]}
        for plan in PLANS:
            order = orders.pop(plan.name, None)
            fits = [state for state in self.possible[plan] if state.agrees(order)]
            assert fits, f"{plan.name}: {order}, but it should be one of {self.possible[plan]}"
            fits.sort(key=lambda state: state.remaining is None)  # not extended, rather than nobody knows
            self.possible[plan] = {fits[0].completed(order) if order else OFF}
            self.judge_packets(plan, order)
        assert not orders, f"nobody ordered these: {orders}"
        self.judge_directory()

    def judge_packets(self, plan, order):
        for who in plan.subjects:
            if order:
                escaped = self.machine.cable.of(who, OUTSIDE)
                assert escaped == 0, f"{plan.name}: {escaped} datagrams of {who.name} got out under the order {order['id']}"
                assert order["saved"] and order["locks"]["nftables"] == "in force", order
            else:
                self.machine.wait_for_packets(who, OUTSIDE, 3)
        self.counts["held" if order else "off"] += 1

    def judge_directory(self):
        """Nothing damaged, nothing left over, nothing forgotten."""
        odd = self.machine.do("find /var/lib/lockdownd -name '.tmp-*' -o -path '*/damaged/*'")
        assert not odd, odd
        finished = {order["id"] for order in json.loads(self.machine.do("lockdownctl history --json"))["orders"]}
        missing = set(self.ended[-HISTORY:]) - finished
        assert not missing, f"lifted, and not in the history: {missing}"


def test_plug_pulls(switched_off):
    story = Story(switched_off)
    for number in range(PULLS + 1):
        try:
            story.judge()
            if number < PULLS:
                story.act()
        except (AssertionError, Late) as e:
            pytest.fail(f"after {number} plug pulls (SEED={SEED} PULLS={number} plays them again): {e}")
    switched_off.do("lockdownctl lift --all --quiet")
    counts = story.counts
    tell(f"plug pulls: {counts['pulls']} (seed {SEED}): {counts['acknowledged']} orders, lifts and extensions acknowledged, "
         f"0 lost; {counts['held']} times an order was in force before its subjects' first packet, {counts['off']} times "
         f"what was lifted had not come back; {counts['under way']} under way; of {counts['unflushed']} unflushed writes "
         f"{counts['lost']} were lost whole")
