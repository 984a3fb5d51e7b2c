# SPDX-License-Identifier: GPL-2.0-or-later
"""Where operations are played: one lab for many, brought back to the same beginning between them."""

import glob
import json
import os
import shutil
import signal
import time

import holds
import lab as lab_
import operations
from lab import ALICE, INTERNET4
from netlab import wait_for

TRIED = 1234  # a port that a subject tried under the order: in the record, it says that nothing of that is lost


class Place:
    """To be used in a with statement."""

    def __init__(self):
        self.lab = self.people = self.program = self.until = None
        self.tried = False
        self.boots = 0
        self.second_lock = self.frames = None  # has this kernel these?

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        lab, self.lab = self.lab, None
        if lab:
            lab.close()

    # --- the beginning ---

    def _make(self, operation):
        self.lab = lab_.Lab(operation.configuration, start=False)
        try:
            self.people = {who.name: self.lab.host.spawn(holds.person, who=who) for who in holds.PEOPLE}
            for task in self.people.values():
                task.receive()
            self.files = {name: self._read("etc", name) for name in ("passwd", "group")}
        except BaseException:
            self.close()
            raise

    def _read(self, *parts):
        with open(self.lab.path(*parts), encoding="utf-8") as f:
            return f.read()

    def restart(self):
        self.lab.start()
        wait_for(lambda: self._staged_members() is not None, 20.0, "the directory's first answer")

    def _staged_members(self):
        return next((p.get("members") for p in self.lab.json("profiles")["profiles"] if p["name"] == "staff"), None)

    def arrange(self, operation):
        """The daemon runs OPERATION's program with its configuration and nothing in force; then what it prepares."""
        if not self.lab:
            self._make(operation)
        daemon = self.lab.daemon
        assert not daemon or daemon.running(), f"lockdownd had ended by itself, with {daemon.process.returncode}:\n{daemon.said()}"
        program = operations.program_of(operation)
        if program != self.program:
            if daemon:
                daemon.end(signal.SIGKILL)
            self.forget()
            shutil.copy(program, self.lab.path("bin/new"))
            os.rename(self.lab.path("bin/new"), self.lab.lockdownd)
            self.program = program
        if not (self.lab.daemon and self.lab.daemon.running()):
            self.restart()
        if self.second_lock is None:
            self._look_for_locks()
        self.tried = False
        operation.prepare(self)

    def _look_for_locks(self):
        locks = self.lab.json("order", "staff")["order"]["locks"]
        self.second_lock, self.frames = (locks[name] == "in force" for name in ("second_lock", "packet_sockets"))
        self.clear()

    def attempt(self):
        """Somebody tries under the order in force: what was refused is to be found in its record."""
        spec = self.lab.spec("udp", INTERNET4, TRIED, reply=False)
        self.people[ALICE.name].ask("try", [spec])
        self.tried = True

    def forget(self):
        """The kernel does, as in a reboot: no tables, no second lock, another boot. The daemon must be dead."""
        listed = self.lab.host.check(["/usr/sbin/nft", "list", "tables"])  # "table FAMILY NAME"
        self.lab.host.nft("".join(f"delete {line}\n" for line in listed.splitlines()))
        shutil.rmtree(self.lab.host.path("/sys/fs/bpf/lockdownd"), ignore_errors=True)
        self.boots += 1
        with open(self.lab.path("boot_id"), "w", encoding="ascii") as f:
            f.write(f"00000000-0000-4000-9000-{self.boots:012x}\n")

    def end_on_disk(self, name):
        """The order is saved as lifted, as the first half of a lift leaves it; the daemon must be dead."""
        orders, _ = holds.saved(self)
        data = orders[name]
        data.update(state="lifted", ended_at=max(time.time_ns() // 1000, data["ordered_at"]), ended_by=data["ordered_by"],
                    end_reason=None)
        with open(self.lab.path("state/history", f"{data['ended_at']:020d}-{data['id']}.json"), "w", encoding="utf-8") as f:
            json.dump(data, f)
        os.unlink(self.lab.path("state/orders", data["id"] + ".json"))

    # --- what must hold ---

    def assert_dead(self, operation, acknowledged):
        """No daemon: whom the orders on both sides are about is refused, and whom neither is about is free; who differs may
        be either, until the reply says which."""
        before, after = (holds.subjects(orders) for orders in (operation.before, operation.after))
        refused, undecided = before & after, before ^ after
        if acknowledged:
            refused, undecided = after, set()
        elif operation.open_before:
            refused, undecided = set(), before | after
        everybody = {who.name for who in holds.PEOPLE}
        holds.assert_people(self, refused, everybody - refused - undecided)

    def assert_done(self, operation):
        """What holds as soon as it is acknowledged. At a start it may not be known yet that an order had ended: that is told."""
        before, after = (holds.subjects(orders) for orders in (operation.before, operation.after))
        late = before - after if operation.starts else set()
        holds.assert_people(self, after, {who.name for who in holds.PEOPLE} - after - late)

    def _staged(self):
        return {p["name"] for p in self.lab.json("profiles")["profiles"] if p["staged"]}

    def _agreed(self, expected):
        """What is in force and what is staged: a profile may be staged while that is compared."""
        while True:
            staged = self._staged()
            try:
                return holds.assert_agreed(self, expected, staged - set(expected)), staged
            except AssertionError:
                if self._staged() == staged:
                    raise

    def settle(self, operation, acknowledged):
        """A daemon runs (again): one answer, everywhere the same; AFTER if it was acknowledged."""
        sides = {True: operation.after, False: operation.before}
        names = {side: sorted({n.partition("+")[0] for n in orders}) for side, orders in sides.items()}
        decided = acknowledged or operation.sure
        if decided:
            wait_for(lambda: sorted(self.lab.orders()) == names[True], 10.0, f"{names[True]} in force")
        done = decided or (sorted(self.lab.orders()) == names[True] and names[True] != names[False])
        expected = names[done]
        refused = holds.subjects(sides[done])
        wait_for(lambda: self._refused_by_now(refused), 10.0, f"{sorted(refused)} refused")
        holds.assert_people(self, refused, {who.name for who in holds.PEOPLE} - refused)
        in_force, staged = self._agreed(expected)
        assert "staff" in staged, "the profile is not staged"
        if decided or operation.before:
            recovered = [name for name, o in in_force.items() if o["recovered"]]
            assert not recovered, f"recovered, though it had been acknowledged: {recovered}"
        if acknowledged and operation.acknowledged:
            operation.acknowledged(self)
        if self.tried:
            self._assert_recorded(in_force)
        return done

    def _refused_by_now(self, names):
        people = [who for who in holds.PEOPLE if who.name in names]
        return not people or not any(holds.arrivals(self, people, ("udp",))[0].values())

    def _assert_recorded(self, in_force):
        """What was tried under the order is told of it, in force or ended: counted, and not twice."""
        known = self.lab.json("history")["orders"] + list(in_force.values())
        order = next((o for o in known if o["profile"] == "staff"), None)
        assert order, "the order is neither in force nor in the history"
        assert order["refused"]["packets"] >= 1, f"what it refused is not counted: {order['refused']}"
        entries = self.lab.json("attempts", "staff" if order["state"] == "active" else order["id"])["profiles"][0]["entries"]
        found = [e for e in entries if e["port"] == TRIED]
        assert [e["packets"] for e in found] == [1], f"the record of what it refused: {entries}"

    # --- back to the beginning ---

    def clear(self):
        """Nothing in force, nothing in the history, the files as they were. What is in force can be lifted: that is a part of
        what must hold."""
        if self.lab.orders():
            self.lab.do("lift", "--all")
            holds.assert_people(self, set(), {who.name for who in holds.PEOPLE})
        holds.assert_kernel(self, (), [p["name"] for p in self.lab.json("profiles")["profiles"] if p["staged"]])
        for path in glob.glob(self.lab.path("state/history/*")) + glob.glob(self.lab.path("state/attempts/*")):
            os.unlink(path)
        changed = False
        for name, text in self.files.items():
            if self._read("etc", name) != text:
                self.lab.edit(name, lambda _, t=text: t)
                changed = True
        if self._read("configuration/lockdownd.conf") != operations.STAFF:
            self.lab.configure(operations.STAFF)
            changed = True
        if changed:
            self.lab.do("reload")
        self.lab.far.ask("forget")

    def give_up(self):
        """What is left is not to be relied on: the next arrangement makes a new lab."""
        self.people = self.program = None
        self.close()
