# SPDX-License-Identifier: GPL-2.0-or-later
"""The locks under test: pairs of commands, two controls, and lockdownd itself."""

import dataclasses
import os
import shutil
import signal

import lab as lab_
import suite
from lab import ALICE, BOB

SUBORDINATE = "100000-165535 200000-265535"
# What a lock's commands are told. All members; ranges are those of /etc/subuid and /etc/subgid.
ABOUT = {"LEAKS_GROUP": "staff", "LEAKS_GID": str(lab_.STAFF), "LEAKS_USERS": f"{ALICE.name} {BOB.name}",
         "LEAKS_UIDS": f"{ALICE.uid} {BOB.uid}", "LEAKS_SUBUIDS": SUBORDINATE, "LEAKS_SUBGIDS": SUBORDINATE,
         "LEAKS_ALLOW4": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 224.0.0.0/24",
         "LEAKS_ALLOW6": "fc00::/7 fe80::/10 ff02::/16"}
HERE = os.path.dirname(os.path.abspath(__file__))


def make_lab():
    """A lab whose ends of the cable know each other, so that nothing waits for that and arrives late."""
    lab = lab_.Lab("[Access]\n", start=False, local_ports=suite.LOCAL_PORTS)
    for here, device, there, other, addresses in (
            (lab.host, "eth0", lab.world, "world0", (lab_.WORLD4, lab_.WORLD6)),
            (lab.world, "world0", lab.host, "eth0", (lab_.HOST4, lab_.HOST6))):
        link = suite.hardware_address(there, other)
        for address in addresses:
            here.check(["/usr/sbin/ip", "neigh", "replace", address, "lladdr", link, "dev", device, "nud", "permanent"])
    return lab


class Lock:
    """What perform() needs of a lock. ON and OFF work on the stage's host; LIFTS: it can be taken off while played."""

    lifts = True

    def missing(self):
        """Why it can't be tried here, or None."""
        return None

    def make_lab(self, _rows):
        return make_lab()

    def skips(self, _row):
        """Why a row is not played with this lock, or None."""
        return None

    def on(self, stage, row):
        raise NotImplementedError

    def off(self, stage, row):
        raise NotImplementedError


class Nothing(Lock):
    """The control in which everything arrives."""

    name = "none"

    def on(self, _stage, _row):
        pass

    def off(self, _stage, _row):
        pass


class Unplugged(Lock):
    """The control in which nothing does: the cable is pulled, at the world's end, so that the host's own routes and
    addresses stay as they are."""

    name, lifts = "drop", False

    def on(self, stage, _row):
        stage.settle()
        stage.lab.world.check(["/usr/sbin/ip", "link", "set", "world0", "down"])
        stage.silent = True

    def off(self, stage, _row):
        lab = stage.lab
        lab.end_tasks()
        lab.world.check(["/usr/sbin/ip", "-batch", "-"], stdin="link set world0 up\n"
                        f"addr replace {lab_.WORLD6}/64 dev world0 nodad\nroute replace {lab_.OWN4}/32 via {lab_.HOST4}\n")
        stage.silent = False


class Lockdown(Lock):
    """lockdownd, with both locks or one of them."""

    def __init__(self, name, rules=True, second=True):
        self.name, self.rules, self.second = name, rules, second
        self.profiles, self.refused = {}, {}

    def _profile(self, number, keys):
        text = f"[Profile p{number}]\nAllow=internal\n" + "".join(line + "\n" for line in keys)
        if "Everyone=yes" not in keys:
            text += "Groups=staff\n"
        return text if self.second else text + "SecondLock=no\n"

    def make_lab(self, rows):
        lab = make_lab()
        if not self.rules:  # one that lets its tables be deleted, and is stopped, so that it does not restore them
            shutil.copy(os.path.join(lab_.build_directory(), "tests/lockdownd-unowned"), lab.lockdownd)
        configuration = "[Access]\nOrder=root\n"
        for keys in sorted({row.keys for row in rows}):
            text = self._profile(len(self.profiles), keys)
            lab.configure("[Access]\nOrder=root\n" + text)
            done = lab.host.run([lab.lockdownd, "--check"], env=lab.environment())
            if done.returncode == 0:
                self.profiles[keys] = f"p{len(self.profiles)}"
                configuration += text
            else:
                self.refused[keys] = f"this lockdownd refuses {' '.join(keys)}"
        lab.configure(configuration)
        lab.start()
        return lab

    def skips(self, row):
        if row.keys in self.refused:
            return self.refused[row.keys]
        if row.daemon and not self.rules:
            return "the daemon is stopped while the second lock stands alone"
        return None

    def on(self, stage, row):
        profile = self.profiles[row.keys]
        locks = stage.lab.json("order", profile)["order"]["locks"]
        if self.second and locks["second_lock"] != "in force":
            raise suite.Skip(f"second lock: {locks['second_lock']}")
        if not self.rules:
            stage.lab.daemon.kill(signal.SIGSTOP)
            for family in ("inet", "netdev"):
                stage.host("/usr/sbin/nft", "delete", "table", family, f"lockdown-{profile}")

    def off(self, stage, _row):
        if not self.rules:
            stage.lab.daemon.kill(signal.SIGCONT)
        stage.lab.do("lift", "--all")


@dataclasses.dataclass
class Commands(Lock):
    """Somebody else's lock: shell commands run as root on the host, with what they need to know in their environment.
    PREPARE runs once, and what it starts lives as long as the lab."""

    name: str
    lock: str
    unlock: str
    programs: tuple = ()
    prepare: str = None

    def missing(self):
        gone = [p for p in self.programs if not shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin")]
        return f"not installed: {' '.join(gone)}" if gone else None

    def make_lab(self, rows):
        lab = super().make_lab(rows)
        if self.prepare:
            self._run(lab, self.prepare, join=True)  # what goes on running ends with the lab
        return lab

    def _run(self, lab, command, join=False):
        done = lab.host.run(["/bin/sh", "-euc", command], env=lab.environment({**ABOUT, "LEAKS_LAB": lab.directory}),
                            timeout=60.0, join=join)
        if done.returncode != 0:
            raise suite.Skip(f"{self.name}: {(done.stderr or done.stdout).strip() or f'exit {done.returncode}'}")

    def on(self, stage, _row):
        self._run(stage.lab, self.lock)

    def off(self, stage, _row):
        self._run(stage.lab, self.unlock)


class Unavailable(Lock):
    """One that belongs into the comparison and cannot be played here."""

    def __init__(self, name, why):
        self.name, self.why = name, why

    def missing(self):
        return self.why


def script(name):
    with open(os.path.join(HERE, "locks", name), encoding="utf-8") as f:
        return f.read()


def _owner(iptables, match):
    return Commands(f"{iptables} {match}", f"tool={iptables} match={match}\n" + script("iptables-lock"),
                    f"tool={iptables}\n" + script("iptables-unlock"), (iptables,))


CONTROLS = (Nothing(), Unplugged())
OWN = (Lockdown("lockdown"), Lockdown("rules", second=False), Lockdown("second", rules=False))
OTHERS = (
    Commands("nft skgid", script("nft-skgid"), "nft delete table inet leaks 2>/dev/null || :", ("nft",)),
    Commands("nft skuid", script("nft-skuid"), "nft delete table inet leaks 2>/dev/null || :", ("nft",)),
    _owner("iptables-nft", "gid"), _owner("iptables-nft", "uid"),
    _owner("iptables-legacy", "gid"), _owner("iptables-legacy", "uid"),
    Commands("firewalld panic", "firewall-cmd --panic-on", "firewall-cmd --panic-off",
             ("firewalld", "firewall-cmd", "dbus-daemon"), script("firewalld-prepare")),
    Commands("ufw deny out", "ufw --force enable && ufw default deny outgoing", "ufw default allow outgoing; ufw disable",
             ("ufw",), script("ufw-prepare")),
    Unavailable("IPAddressDeny on slices", "needs systemd as the host's first process"),
)
