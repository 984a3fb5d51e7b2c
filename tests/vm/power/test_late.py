# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot can lack: the directory's server, the file system with the orders, the right to write to that."""

import json
import random
import shlex

from campaign import SEED
from image import SENDERS, lab
from machine import BOOT_TIMEOUT, INSIDE, OUTSIDE
from netlab import wait_for

STATE = "/var/lib/lockdownd"
MOUNT = "/etc/systemd/system/var-lib-lockdownd.mount"
SLOW = "/etc/systemd/system/slow-disk.service"
FAR = "/etc/lockdownd/lockdownd.conf.d/far.conf"


def write(machine, path, text):
    text = text.replace("\n", "\\n")
    machine.do(f"mkdir -p $(dirname {path}) && printf {shlex.quote(text)} >{path}")


def orders(machine):
    status, output = machine.run("lockdownctl status --json")
    assert status in (0, 3), output
    return {order["profile"]: order for order in json.loads(output)["orders"]}


def journal(machine):
    return machine.do("journalctl -b --no-pager -o cat -u lockdownd.service")


def assert_held_from_the_first_packet(machine, who):
    machine.wait_for_packets(who, INSIDE, 3)
    machine.wait_for_packets(lab.MALLORY, OUTSIDE, 3)
    assert machine.cable.of(who, OUTSIDE) == 0


def test_directory_that_never_answers(switched_off):
    """The saved members are held from the first packet on."""
    machine = switched_off
    machine.boot_up()
    write(machine, FAR, "[Profile far]\nGroups=far\n")
    machine.do("sed -i 's/^group:.*/group: files directory\\ninitgroups: files/' /etc/nsswitch.conf && touch /run/directory")
    machine.do("lockdownctl reload && lockdownctl order far && sync")
    machine.pull_plug(random.Random(SEED))

    machine.boot()
    assert_held_from_the_first_packet(machine, lab.ERIN)
    order = orders(machine)["far"]
    assert order["membership"]["source"] == "saved", order["membership"]
    wait_for(lambda: "problem" in orders(machine)["far"]["membership"], BOOT_TIMEOUT, "a word about the directory",
             interval=1)
    assert machine.cable.of(lab.ERIN, OUTSIDE) == 0
    machine.do("touch /run/directory && lockdownctl reload")
    assert orders(machine)["far"]["membership"]["source"] == "resolved"
    machine.do(f"lockdownctl lift far && sed -i '/^initgroups/d; s/^group:.*/group: files/' /etc/nsswitch.conf && rm {FAR} && "
               "lockdownctl reload && sync")
    machine.wait_for_packets(lab.ERIN, OUTSIDE)


def move_state_to_a_slow_disk(machine):
    """… which is there when /run/disk exists, and fails when /run/no-disk does."""
    machine.do(f"systemctl stop lockdownd.socket lockdownd.service && cp -a {STATE} /srv/state && rm -rf {STATE}/*")
    write(machine, SLOW, "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n"
          "ExecStart=/bin/sh -c 'while ! [ -e /run/disk ]; do ! [ -e /run/no-disk ] || exit 1; sleep 0.1; done'\n")
    write(machine, MOUNT, "[Unit]\nRequires=slow-disk.service\nAfter=slow-disk.service\n"
          f"[Mount]\nWhat=/srv/state\nWhere={STATE}\nType=none\nOptions=bind\n")
    machine.do("sync")


def test_state_that_is_mounted_late_or_not_at_all(switched_off):
    machine = switched_off
    machine.boot_up()
    machine.do("lockdownctl order staff")
    move_state_to_a_slow_disk(machine)
    machine.pull_plug(random.Random(SEED))

    # Late: the network waits, and when it comes the order is in force.
    machine.boot()
    wait_for(lambda: machine.do("systemctl show -P ActiveState slow-disk.service").strip() == "activating", BOOT_TIMEOUT,
             "the slow disk", interval=0.2)
    assert machine.do("systemctl show -P ActiveState lockdownd.service network-pre.target").split() == ["inactive"] * 2
    assert not machine.cable.arrived, machine.cable.arrived
    machine.do("touch /run/disk")
    assert_held_from_the_first_packet(machine, lab.ALICE)
    assert set(orders(machine)) == {"staff"}

    # Read-only: what is ordered is in force, and the answer says what is missing.
    machine.do(f"systemctl stop lockdownd.socket lockdownd.service && mount -o remount,bind,ro {STATE} && "
               "systemctl start lockdownd.service")
    assert set(orders(machine)) == {"staff"}
    answer = machine.do("lockdownctl order contractors")
    assert "reboot" in answer and "Read-only file system" in answer, answer
    before = machine.cable.of(lab.CAROL, OUTSIDE)
    machine.wait_for_packets(lab.CAROL, INSIDE, machine.cable.of(lab.CAROL, INSIDE) + 3)
    assert machine.cable.of(lab.CAROL, OUTSIDE) - before <= 2, "no more than what was under way"
    machine.pull_plug(random.Random(SEED))

    # Not at all: the boot goes on, as it must; the journal says why nothing is in force, and when the disk comes it is.
    machine.boot()
    machine.do("touch /run/no-disk")
    for who in SENDERS:
        machine.wait_for_packets(who, OUTSIDE)
    wait_for(lambda: "Dependency failed" in journal(machine), BOOT_TIMEOUT, "a word about it in the journal", interval=0.5)
    machine.do("rm /run/no-disk && touch /run/disk")

    def held():
        status, output = machine.run("lockdownctl status --json")
        return status == 0 and "staff" in output

    wait_for(held, BOOT_TIMEOUT, "the order, once there is a disk", interval=0.5)
    machine.do(f"lockdownctl lift --all --quiet; systemctl stop lockdownd.socket lockdownd.service; umount {STATE}; "
               f"cp -a /srv/state/. {STATE}/; rm -rf /srv/state {MOUNT} {SLOW}; systemctl daemon-reload; "
               "systemctl start lockdownd.service; sync")
    assert orders(machine) == {}
