# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted tree (systemd-nspawn) with a cable to a world of its own, and what happens in it.

The probes, the world and the way of judging by what arrived there are the system tests' (tests/system).
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import lab  # noqa: E402  pylint: disable=wrong-import-position
import netlab  # noqa: E402  pylint: disable=wrong-import-position
import world  # noqa: E402  pylint: disable=wrong-import-position
from netlab import ROOT, Machine, wait_for  # noqa: E402  pylint: disable=wrong-import-position

FORCE_RESTART = 133  # how nspawn ends when the machine inside was rebooted (and --keep-unit was given)
BOOT_TIMEOUT = 60.0


class CannotBoot(Exception):
    """Why no container can be started here; for a person."""


class Joined(Machine):
    """Processes of the test's own in the container's network namespace (and in no other of its namespaces: people
    are uids to the rules)."""

    def __init__(self, pid):  # pylint: disable=super-init-not-called
        self.cgroup, self.tasks, self.programs = None, [], []
        self.fds = [os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)]

    def close(self):
        for task in self.tasks:
            task.kill()
        for fd in self.fds:
            os.close(fd)
        self.tasks, self.fds = [], []


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                found += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return found


def own_cgroups(name):
    """Directories to put nspawn into, where no systemd runs on the machine itself: one in each hierarchy that
    counts. A machine with systemd gives the container a scope."""
    found = []
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            _, where, kind, options = line.split()[:4]
            if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
                found.append(os.path.join(where, name))
    return found


class Container(lab.Lab):
    """Takes the probing over from Lab; the host is a booted tree."""

    def __init__(self, tree, log):  # pylint: disable=super-init-not-called
        self.name = f"lockdown-boot-{os.getpid()}"
        self.tree, self.log = tree, log
        self.bpf = tree + ".bpf"
        os.makedirs(self.bpf, exist_ok=True)
        self.sports = itertools.cycle(range(10000, 32000))
        self.markers = itertools.count()
        self.host = self.far = self.marker = self.process = self.leader = None
        self.with_systemd = os.path.isdir("/run/systemd/system")
        self.cgroups = [] if self.with_systemd else own_cgroups(self.name)
        self.world = Machine(["net"])
        try:
            for directory in self.cgroups:
                os.mkdir(directory)
            self._make_world()
            self.boot()
        except BaseException:
            self.close()
            raise

    def _make_world(self):
        self.world.check(["ip", "link", "set", "lo", "up"])
        self.world.nft("table inet world { chain catch { type nat hook prerouting priority dstnat;\n"
                       f"meta l4proto {{ tcp, udp }} redirect to :{world.CATCH_ALL}\n}}\n}}\n")
        self.world.check(["ip", "-batch", "-"], stdin="".join(f"route add local {net} dev lo\n"
                                                              for net in lab.WORLD_LOCAL))

    # --- its life ---

    def _mount_bpf(self):
        """In nspawn's own mount namespace; a kernel without it gives an empty directory, and no second lock."""
        netlab.unshare(netlab.CLONE_NEWNS)
        netlab.mount("none", "/", flags=netlab.MS_REC | netlab.MS_PRIVATE)
        try:
            netlab.mount("bpf", self.bpf, "bpf", data="mode=0700")  # as systemd does
        except OSError:
            pass

    def boot(self):
        """Starts it and waits until systemd has finished."""
        def join_cgroups():
            for directory in self.cgroups:
                with open(os.path.join(directory, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write("0")
            self._mount_bpf()
            netlab.die_with_parent()

        command = ["systemd-nspawn", "--quiet", "--boot", "--directory", self.tree, "--machine", self.name,
                   "--private-network", "--register=no", "--console=pipe", "--link-journal=no", "--resolv-conf=off",
                   "--timezone=off", *([] if self.with_systemd else ["--keep-unit"]),
                   # what the second lock needs: on a machine of its own systemd mounts the file system itself
                   "--system-call-filter=bpf", "--capability=CAP_BPF,CAP_PERFMON",
                   f"--bind={self.bpf}:/sys/fs/bpf"]
        self.leader = None
        with open(self.log, "ab") as log:
            # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=join_cgroups)
        self._await_boot()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-25:])

    def _new_leader(self, old):
        """PID 1 of the container as seen from here, once its systemd answers."""
        if self.process.poll() is not None:
            if self.process.returncode == FORCE_RESTART and old:
                return None
            raise CannotBoot(f"systemd-nspawn ended with {self.process.returncode}:\n{self.said()}")
        for pid in children(self.process.pid):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if pid != old and f.read().strip() == "systemd":
                        return pid
            except OSError:
                pass
        return None

    def _await_boot(self, old=None):
        self.leader = wait_for(lambda: self._new_leader(old), BOOT_TIMEOUT, "systemd in the container")
        # The states in which systemd has done with booting: everything started, or something failed.
        wait_for(lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"),
                 BOOT_TIMEOUT, "the end of the boot", interval=0.1)
        self._cable()

    def _cable(self):
        """Host and world are connected after the boot: what was to be there before the network is asked of systemd."""
        self.host = Joined(self.leader)
        self.host.call(lab._write, "/proc/sys/net/ipv4/ping_group_range",  # pylint: disable=protected-access
                       "0 2147483647", None)
        self.world.check(["ip", "link", "add", "world0", "type", "veth", "peer", "name", "host0", "netns",
                          str(self.leader)])
        self.world.check(["ip", "-batch", "-"], stdin=f"addr add {lab.WORLD4}/24 dev world0\n"
                         f"addr add {lab.WORLD6}/64 dev world0 nodad\nlink set world0 up\n")
        self.host.check(["ip", "-batch", "-"], stdin=f"link set lo up\naddr add {lab.HOST4}/24 dev host0\n"
                        f"addr add {lab.HOST6}/64 dev host0 nodad\nlink set host0 up\n"
                        f"route add default via {lab.WORLD4}\nroute add default via {lab.WORLD6}\n")
        if self.far is None:
            self.far = self.world.spawn(world.serve, [world.CATCH_ALL], "world0")
            self.far.receive()
        self.marker = self.host.spawn(lab._marker, "host0")  # pylint: disable=protected-access
        self.marker.receive()

    def reboot(self):
        """`systemctl reboot`, as a person would; nspawn starts it again, or is started again."""
        old = self.leader
        self.host.close()
        self.run("systemctl", "reboot")
        wait_for(lambda: not os.path.exists(f"/proc/{old}"), BOOT_TIMEOUT, "the end of the old systemd")
        # The old namespace may live on a while in descriptors of processes forked meanwhile; its cable goes now.
        self.world.run(["ip", "link", "delete", "world0"])

        def ended_or_new():
            return self.process.poll() is not None or self._new_leader(old)

        wait_for(ended_or_new, BOOT_TIMEOUT, "the container to come back")
        if self.process.poll() is None:
            self._await_boot(old)
        elif self.process.returncode == FORCE_RESTART:
            self.boot()
        else:
            raise AssertionError(f"systemd-nspawn ended with {self.process.returncode}:\n{self.said()}")

    def close(self):
        if self.host:
            self.host.close()
        if self.process and self.process.poll() is None:
            for pid in children(self.process.pid):
                os.kill(pid, signal.SIGKILL)  # its PID 1: takes everything inside with it
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.world.close()
        problems = []
        for directory in self.cgroups:
            if os.path.isdir(directory):
                remove_cgroup(directory, problems)
        assert not problems, problems

    # --- what happens in it ---

    def run(self, *argv, who=ROOT, timeout=60.0):
        """A program inside, in all of the container's namespaces. -> CompletedProcess (text)"""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        if who is not ROOT:
            enter += ["setpriv", f"--reuid={who.uid}", f"--regid={who.gid}",
                      "--groups=" + ",".join(str(g) for g in who.groups)]
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
               "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        return subprocess.run(enter + list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, env=env, check=False)

    def do(self, *argv, **kwargs):  # pylint: disable=arguments-differ
        """The same, and it must succeed. Returns its output."""
        done = self.run(*argv, **kwargs)
        assert done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def systemctl(self, *args):
        return self.do("systemctl", *args)

    def is_active(self, unit):
        return self.run("systemctl", "is-active", unit).stdout.strip()

    def property(self, unit, name):
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def await_active(self, unit, state="active", timeout=10.0):
        wait_for(lambda: self.is_active(unit) == state, timeout, f"{unit} to be {state}", interval=0.05)

    def status(self):
        """lockdownctl's own answer: (exit status, document)"""
        done = self.run("lockdownctl", "status", "--json")
        assert done.returncode in (0, 3), f"lockdownctl status: exit {done.returncode}: {done.stderr}"
        return done.returncode, json.loads(done.stdout)

    def write(self, path, text):
        path = f"/proc/{self.leader}/root{path}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def remove_cgroup(path, problems):
    def gone():
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                return False
        return True

    deadline = time.monotonic() + 10
    while not gone():
        if time.monotonic() > deadline:
            problems.append(f"{path} is still busy")
            return
        time.sleep(0.02)
