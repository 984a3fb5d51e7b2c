# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab: a host with users and the real lockdownd on it, and a world it talks to.

The host is a network, mount and cgroup namespace with an /etc and a /run of its own; the world is a network namespace
that answers for the internet and for the internal network. Nothing of the machine itself is changed: no user, no file
outside a temporary directory, no rule, no address.
"""

import itertools
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import netlab
import probes
import world
from netlab import PATIENCE, ROOT, Late, Machine, Who, wait_for

STAFF, CONTRACTORS, LOCKDOWN = 3000, 3001, 3002
ALICE = Who("alice", 2001, STAFF, (STAFF,))  # staff is her primary group
BOB = Who("bob", 2002, 2002, (2002, STAFF))  # a supplementary member
CAROL = Who("carol", 2003, 2003, (2003, CONTRACTORS))
MALLORY = Who("mallory", 2004, 2004, (2004,))  # a member of nothing
BACKUP = Who("backup", 2005, STAFF, (STAFF,))  # excepted where a profile says so
OPERATOR = Who("oper", 2006, 2006, (2006, LOCKDOWN))
ERIN = Who("erin", 2007, 2007, (2007,))  # joins and leaves groups
PEOPLE = (ALICE, BOB, CAROL, MALLORY, BACKUP, OPERATOR, ERIN)

INTERNET4, INTERNET6 = "198.51.100.7", "2001:db8::7"
INTERNAL4, INTERNAL6 = "10.1.2.3", "fd00:1::3"
RESOLVER4, RESOLVER6 = "10.0.0.53", "fd00:1::53"
PARTNER4, PARTNER6 = "203.0.113.10", "2001:db8:1::10"
HOST4, HOST6, WORLD4, WORLD6 = "10.99.0.2", "fd00:99::2", "10.99.0.1", "fd00:99::1"
OWN4 = "192.0.2.2"  # a public address of the host's own
WORLD_LOCAL = ("198.51.100.0/24", "203.0.113.0/24", "10.1.0.0/16", "10.0.0.0/24", "172.16.0.0/16", "192.168.7.0/24",
               "100.64.0.0/16", "2001:db8::/32", "fd00:1::/32")
EXPERIMENTAL = 0x88B5  # an Ethernet protocol for local use
LOCAL_PORTS = (53, 853, 3128, 5353, 5355, 8080, 8118, 9050, 9999)

CONFIGURATION = """\
[Access]
Order=root @lockdown
Lift=root @lockdown
Status=*

[Profile staff]
Description=Internet ban for staff
Groups=staff
Allow=internal
"""

_labs = itertools.count(1)


def repository():
    return os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def build_directory():
    return os.path.join(repository(), os.environ.get("BUILD") or "build")


def cgroup_root():
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    raise AssertionError("no cgroup2 is mounted: the lab needs it")


def _write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    if mode is not None:
        os.chmod(path, mode)


def _children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(child) for child in f.read().split()]
    except OSError:
        return []


class Daemon:
    """lockdownd in the foreground, on the lab's host."""

    def __init__(self, lab, wrapper=()):
        self.lab = lab
        self.log = os.path.join(lab.directory, "lockdownd.log")
        path = os.path.join(lab.directory, "notify")
        if os.path.exists(path):
            os.unlink(path)
        self.notify = lab.host.spawn(_collect, path)
        self.notify.receive()
        with open(self.log, "ab") as log:
            self.log_start = log.tell()
            self.process = lab.host.popen([*wrapper, lab.lockdownd], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=lab.environment({"NOTIFY_SOCKET": path}), cwd="/")

    @property
    def pid(self):
        return self.process.pid

    def messages(self):
        """All the service manager was told so far."""
        return b"\n".join(self.notify.ask("datagrams")).decode("utf-8", "replace").split("\n")

    def said(self):
        """What it printed since it was started."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(self.log_start)
            return f.read()

    def children(self, argument=None):
        """What its launcher has started (with ARGUMENT): {pid: the words behind it}."""
        found = {}
        for launcher in _children_of(self.pid):
            for pid in _children_of(launcher):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        words = f.read().decode().split("\0")[:-1]
                except OSError:
                    continue  # ended meanwhile
                if argument in (None, *words):
                    found[pid] = words[words.index(argument) + 1:] if argument else words
        return found

    def child(self, argument):
        """One of these: a pid, or None."""
        return next(iter(self.children(argument)), None)

    def running(self):
        return self.process.poll() is None

    def wait_ready(self, timeout=PATIENCE):
        def ready():
            if not self.running():
                raise AssertionError(f"lockdownd ended with {self.process.returncode}:\n{self.said()}")
            return "READY=1" in self.messages()

        try:
            wait_for(ready, timeout, "READY=1 of lockdownd")
        except Late as e:
            raise Late(f"{e}; it said:\n{self.said()}") from None

    def kill(self, number):
        os.kill(self.pid, number)

    def end(self, number=signal.SIGTERM, timeout=PATIENCE):
        """Sends the signal and waits. Returns the exit status."""
        if self.running():
            self.kill(number)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Late(f"lockdownd did not end within {timeout} s of signal {number}:\n{self.said()}") from None
        finally:
            self.notify.kill()
            self.lab.host.tasks.remove(self.notify)
        return self.process.returncode

    def descriptors(self):
        """What kinds of them it holds, one entry each."""
        found = []
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{self.pid}/fd/{number}").split(":")[0])
            except FileNotFoundError:
                pass  # closed since
        return sorted(found)


class Lab:
    """To be used in a with statement, or closed in a finally."""

    def __init__(self, configuration=CONFIGURATION, start=True, people=PEOPLE, local_ports=LOCAL_PORTS):
        self.name = f"lockdown-lab-{os.getpid()}-{next(_labs)}"
        self.directory = tempfile.mkdtemp(prefix=self.name + "-")
        self.host = self.world = self.far = self.near = self.marker = self.journal = self.daemon = None
        self.cgroup = os.path.join(cgroup_root(), self.name)
        self.sports = itertools.cycle(range(10000, 32000))
        self.markers = itertools.count()
        self.boots = itertools.count(1)
        self.wrapper = ()
        self.local_ports = local_ports
        _sweep()
        try:
            self._files(people)
            os.mkdir(self.cgroup)
            self.configure(configuration)
            self.world = Machine(["net"])
            self.world.check(["/usr/sbin/ip", "link", "set", "lo", "up"])
            self.boot()
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    # --- how it is made ---

    def _files(self, people):
        os.chmod(self.directory, 0o755)
        for name in ("configuration", "state", "run", "etc", "bin"):
            os.mkdir(self.path(name), 0o755)
        for name in ("lockdownd", "lockdownctl"):
            source = os.environ.get(name.upper()) or os.path.join(build_directory(), name)
            if os.path.exists(source):  # people can run it there, wherever the sources are
                shutil.copy(source, self.path("bin", name))
                os.chmod(self.path("bin", name), 0o755)
        shutil.copy(os.path.join(repository(), "tests/system/probes.py"), self.path("bin/probes.py"))
        etc = self.path("etc")
        for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "protocols", "services",
                     "login.defs"):
            source = os.path.join("/etc", name)
            if os.path.isdir(source):
                shutil.copytree(source, os.path.join(etc, name), symlinks=True)
            elif os.path.exists(source):
                shutil.copy(source, os.path.join(etc, name))
        users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n"
        groups = "root:x:0:\nnogroup:x:65534:\n"
        for person in people:
            users += f"{person.name}:x:{person.uid}:{person.gid}::/:/bin/sh\n"
            if person.uid == person.gid:
                groups += f"{person.name}:x:{person.gid}:\n"
        groups += (f"staff:x:{STAFF}:bob\ncontractors:x:{CONTRACTORS}:carol\nlockdown:x:{LOCKDOWN}:oper\n"
                   "nobodys:x:3003:\n")
        subordinate = "alice:100000:65536\nbob:200000:65536\n"
        _write(os.path.join(etc, "passwd"), users)
        _write(os.path.join(etc, "group"), groups)
        _write(os.path.join(etc, "subuid"), subordinate)
        _write(os.path.join(etc, "subgid"), subordinate)
        _write(os.path.join(etc, "nsswitch.conf"), "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        _write(os.path.join(etc, "hosts"), "127.0.0.1 localhost\n")

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def _host_setup(self):
        """In the host's anchor: its own /etc, /run, cgroup tree, sysctls."""
        netlab.mount(self.path("etc"), "/etc", flags=netlab.MS_BIND)
        netlab.mount(self.path("run"), "/run", flags=netlab.MS_BIND)
        netlab.mount(self.path("boot_id"), "/proc/sys/kernel/random/boot_id", flags=netlab.MS_BIND)
        while True:  # whatever hierarchy the machine has there
            with open("/proc/self/mounts", encoding="utf-8") as f:
                if not any(line.split()[1] == "/sys/fs/cgroup" for line in f):
                    break
            netlab.umount("/sys/fs/cgroup")
        netlab.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", netlab.MS_NOSUID | netlab.MS_NODEV)
        try:
            netlab.mount("bpf", "/sys/fs/bpf", "bpf")
        except OSError:
            pass  # a kernel without it has no second lock either
        for name, value in (("net/ipv4/ping_group_range", "0 2147483647"), ("net/ipv6/conf/default/accept_dad", "0"),
                            ("net/ipv6/conf/all/accept_dad", "0")):
            _write(os.path.join("/proc/sys", name), value, None)

    def boot(self):
        """A host that has just come up: new namespaces, a new boot id, an empty /run; /etc and the state stay."""
        for name in os.listdir(self.path("run")):
            if os.path.isdir(self.path("run", name)):
                shutil.rmtree(self.path("run", name))
            else:
                os.unlink(self.path("run", name))
        os.makedirs(self.path("run/systemd/journal"))
        _write(self.path("boot_id"), f"00000000-0000-4000-8000-{next(self.boots):012x}\n")
        self.host = Machine(["net", "mnt", "cgroup"], self.cgroup, self._host_setup)
        self._cable()
        if self.far is None:
            self.far = self.world.spawn(world.serve, [world.CATCH_ALL], "world0")
            self.far.receive()
        self.near = self.host.spawn(world.serve, self.local_ports)
        self.near.receive()
        self.marker = self.host.spawn(_marker)
        self.marker.receive()
        self.journal = self.host.spawn(_collect, self.path("run/systemd/journal/socket"))
        self.journal.receive()

    def _cable(self):
        ip = ["/usr/sbin/ip", "-batch", "-"]
        first = self.far is None
        locals_ = "".join(f"route add local {net} dev lo\n" for net in WORLD_LOCAL) if first else ""
        for name in ("default", "all"):
            self.world.call(_write, f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "0", None)
        self.world.check(["/usr/sbin/ip", "link", "add", "world0", "type", "veth", "peer", "name", "eth0", "netns",
                          str(self.host.anchor.pid)])
        self.world.check(ip, stdin=f"addr add {WORLD4}/24 dev world0\naddr add {WORLD6}/64 dev world0 nodad\n"
                         f"link set world0 up\n{locals_}route add {OWN4}/32 via {HOST4}\n")
        self.host.check(ip, stdin=f"link set lo up\naddr add {HOST4}/24 dev eth0\naddr add {OWN4}/32 dev eth0\n"
                        f"addr add {HOST6}/64 dev eth0 nodad\nlink set eth0 up\n"
                        f"route add default via {WORLD4} src {HOST4}\nroute add default via {WORLD6}\n")
        if first:  # any port of any address answers
            self.world.nft("table inet world { chain catch { type nat hook prerouting priority dstnat;\n"
                           f"meta l4proto {{ tcp, udp }} redirect to :{world.CATCH_ALL}\n}}\n}}\n")

    def container(self, number):
        """Another network namespace behind a veth pair, for which the host forwards, as root makes one for a container.
        Its processes are in the lab's control group. To be closed."""
        inside, name = Machine(["net"], self.cgroup), f"in{number}"
        net4, net6 = f"10.77.{number}", f"fd00:77:{number}:"
        ip = ["/usr/sbin/ip", "-batch", "-"]
        try:
            self.host.check(["/usr/sbin/ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
                             str(inside.anchor.pid)])
            self.host.check(ip, stdin=f"addr add {net4}.1/24 dev {name}\naddr add {net6}:1/64 dev {name} nodad\n"
                            f"link set {name} up\n")
            inside.check(ip, stdin=f"link set lo up\naddr add {net4}.2/24 dev eth0\naddr add {net6}:2/64 dev eth0 nodad\n"
                         f"link set eth0 up\nroute add default via {net4}.1\nroute add default via {net6}:1\n")
            self.world.check(ip, stdin=f"route replace {net4}.0/24 via {HOST4}\nroute replace {net6}:/64 via {HOST6}\n")
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                self.host.call(_write, f"/proc/sys/net/{switch}", "1", None)
        except BaseException:
            inside.close()
            raise
        return inside

    def end_tasks(self):
        """Ends what a test started on the host."""
        for task in self.host.tasks:
            if task not in self._own_tasks():
                task.kill()
        self.host.tasks = [task for task in self.host.tasks if task in self._own_tasks()]

    def _own_tasks(self):
        return [self.near, self.marker, self.journal, self.daemon and self.daemon.notify]

    def close(self):
        problems = []
        for part in (self.host, self.world):
            if part:
                part.close()
        if os.path.isdir(self.cgroup):
            _remove_cgroup(self.cgroup, problems)
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not problems, problems

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- the daemon and its tool ---

    @property
    def lockdownd(self):
        return self.path("bin/lockdownd")

    def environment(self, more=None):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/",
                "CONFIGURATION_DIRECTORY": self.path("configuration"), "STATE_DIRECTORY": self.path("state"),
                "RUNTIME_DIRECTORY": self.path("run/lockdownd"), "LOCKDOWN_SOCKET": self.socket, **(more or {})}

    @property
    def socket(self):
        return self.path("run/lockdownd/lockdownd.sock")

    def configure(self, text, drop_in=None):
        """Replaces the configuration (or one drop-in), as an editor would."""
        name = self.path("configuration", "lockdownd.conf")
        if drop_in:
            os.makedirs(self.path("configuration/lockdownd.conf.d"), exist_ok=True)
            name = self.path("configuration/lockdownd.conf.d", drop_in)
        _write(name + "~", text)
        os.rename(name + "~", name)

    def edit(self, name, change):
        """As vigr, usermod and the like do: a new file under the old name, in the lab's /etc."""
        path = self.path("etc", name)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        changed = change(text)
        assert changed != text
        with open(path + "+", "w", encoding="utf-8") as f:
            f.write(changed)
        os.rename(path + "+", path)

    def start(self, wait=True, mode=0o755):
        """MODE: of the directory of its socket."""
        os.makedirs(self.path("run/lockdownd"), exist_ok=True)
        os.chmod(self.path("run/lockdownd"), mode)
        self.daemon = Daemon(self, self.wrapper)
        if wait:
            self.daemon.wait_ready()
        return self.daemon

    def reboot(self):
        """Power off and on: what was in the kernel is gone, what was on disk is not. The daemon is not started."""
        if self.daemon.running():
            self.daemon.end(signal.SIGKILL)
        self.world.check(["/usr/sbin/ip", "link", "delete", "world0"])
        self.host.close()
        problems = []
        _remove_cgroup(self.cgroup, problems)  # and with it what programs were attached there
        assert not problems, problems
        os.mkdir(self.cgroup)
        self.boot()

    def ctl(self, *args, who=ROOT, timeout=PATIENCE, env=None):
        """lockdownctl's CompletedProcess."""
        return self.host.run([self.path("bin/lockdownctl"), *args], who, timeout, env=self.environment(env))

    def do(self, *args, **kwargs):
        """lockdownctl that must succeed; returns what it printed."""
        done = self.ctl(*args, **kwargs)
        assert done.returncode == 0, f"lockdownctl {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *args, codes=(0,), **kwargs):
        done = self.ctl(*args, "--json", **kwargs)
        assert done.returncode in codes, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def orders(self):
        """What is in force, by profile."""
        return {o["profile"]: o for o in self.json("status", codes=(0, 3))["orders"]}

    def entries(self, **fields):
        """Journal entries with these fields."""
        entries = [journal_fields(data) for data in self.journal.ask("datagrams")]
        return [e for e in entries if all(e.get(k) == v for k, v in fields.items())]

    def ruleset(self):
        """What nft sees, tables of the lab's host only."""
        return self.host.check(["/usr/sbin/nft", "list", "ruleset"])

    def all_tables(self):
        """{(family, name): whether it has hooks} of the host's tables. nft 1.0.9 dies over the JSON of a persistent table
        whose owner is dead, so the names are taken from its text."""
        lines = self.host.check(["/usr/sbin/nft", "list", "tables"]).splitlines()
        found = {tuple(line.split()[1:3]): False for line in lines if line.startswith("table ")}
        listed = json.loads(self.host.check(["/usr/sbin/nft", "-j", "list", "chains"]))["nftables"]
        for chain in (c["chain"] for c in listed if "chain" in c):
            if "hook" in chain:
                found[chain["family"], chain["table"]] = True
        return found

    def tables(self):
        """Names of the lockdown tables for packets, each with whether it has hooks."""
        return {name.removeprefix("lockdown-"): hooked for (family, name), hooked in self.all_tables().items()
                if family == "inet" and name.startswith("lockdown-")}

    # --- probing ---

    def spec(self, kind, dst, dport=443, **more):
        sport = next(self.sports)
        return {"kind": kind, "dst": dst, "dport": dport, "sport": sport, "tag": f"tag<{self.name}:{sport}>", **more}

    def barrier(self):
        """Returns when everything sent before has arrived: one marker from every CPU has come through."""
        mark = self.far.ask("mark")
        text = f"q:marker:{next(self.markers)}:"
        count = self.marker.ask("send", text)
        for cpu in range(count):
            wait_for(lambda c=cpu: self.far.ask("raw-has", mark, f"{text}{c}.".encode()), PATIENCE, "a marker to arrive")

    def mark(self):
        self.barrier()
        return self.far.ask("mark")

    def packets(self, mark):
        """What arrived since the mark."""
        self.barrier()
        packets, dropped = self.far.ask("packets", mark)
        assert not dropped, f"the sniffer lost {dropped} packets: the lab itself is overloaded"
        return packets

    def probe(self, specs, who, timeout=probes.TIMEOUT):
        """Runs the probes as WHO; each spec gets its "error", "reply", "ms", and "arrived": whether the world (or,
        for local destinations, the local server) saw anything of it."""
        mark = self.mark()
        results = self.host.call(probes.probe_all, specs, timeout, who=who, timeout=PATIENCE + timeout * len(specs))
        return self._judge(specs, results, mark)

    def probe_as_subordinate(self, specs, who):
        """The same from inside a user namespace, as one of WHO's subordinate uids."""
        mark = self.mark()
        request = json.dumps({"specs": specs})
        out = self.host.check(["/usr/bin/unshare", "-U", "--map-auto", "--map-root-user", "/usr/bin/setpriv", "--reuid",
                               "33", "--regid", "33", "--clear-groups", "/usr/bin/python3", self.path("bin/probes.py")],
                              who=who, stdin=request, env=self.environment(), join=True)
        answer = json.loads(out)
        assert answer["uid"] == 33
        return self._judge(specs, answer["results"], mark)

    def _judge(self, specs, results, mark):
        packets = self.packets(mark)
        judged = []
        for spec, result in zip(specs, results):
            arrived = [p for p in packets if seen(p, spec)]
            judged.append({**spec, **result, "arrived": bool(arrived)})
        return judged


def seen(packet, spec):
    """Does the packet belong to the probe? Resets without data are what severing sends; they carry nothing."""
    if packet.only_reset:
        return False
    if spec["tag"].encode() in packet.payload:
        return True
    return packet.sport == spec["sport"] and packet.dport == spec["dport"]


def _marker(channel, device="eth0"):
    """Sends a frame to the world from each CPU: as a frame it passes whatever rules there are."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    cpus = sorted(os.sched_getaffinity(0))
    channel.send("ready")
    while True:
        _, text = channel.request(None)
        for number, cpu in enumerate(cpus):
            os.sched_setaffinity(0, {cpu})
            s.sendto(f"{text}{number}.".encode(), (device, EXPERIMENTAL, 0, 0, b"\xff" * 6))
        channel.send(len(cpus))


def _collect(channel, path):
    """Keeps the datagrams sent to a Unix socket: takes the place of journald and of the service manager. A process of
    its own, which can be stopped."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.setblocking(False)
    os.chmod(path, 0o666)
    channel.send("ready")
    datagrams = []
    poll = select.poll()
    poll.register(s, select.POLLIN)
    poll.register(channel, select.POLLIN)

    def collect():
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(s, 1 << 18, 1)
            except BlockingIOError:
                return
            for fd in fds:
                if stat.S_ISREG(os.fstat(fd).st_mode):  # a large journal entry comes as a memory file
                    data = os.pread(fd, 1 << 20, 0) or data
                os.close(fd)
            datagrams.append(data)

    while True:
        ready = {fd for fd, _ in poll.poll()}
        collect()
        if channel.fileno() in ready:
            verb, = channel.request()
            collect()
            channel.send(datagrams)
            if verb == "forget":
                datagrams.clear()


def journal_fields(data):
    """Journald's native protocol: NAME=VALUE lines, or NAME, a 64-bit length and the bytes."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8:8 + length], data[9 + length:]
        fields[name.decode()] = value.decode("utf-8", "replace")
    return fields


def _sweep():
    """What a killed test run could not remove: its control groups and directories carry its process's number."""
    for place in (cgroup_root(), tempfile.gettempdir()):
        for name in os.listdir(place):
            parts = name.split("-")
            if parts[:2] == ["lockdown", "lab"] and parts[2].isdigit() and not os.path.exists(f"/proc/{parts[2]}"):
                if os.path.exists(os.path.join(place, name, "cgroup.procs")):
                    _remove_cgroup(os.path.join(place, name), [])
                else:
                    shutil.rmtree(os.path.join(place, name), ignore_errors=True)


def _remove_cgroup(path, problems):
    try:
        with open(os.path.join(path, "cgroup.kill"), "w", encoding="ascii") as f:
            f.write("1")
    except OSError:
        pass

    def gone():
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                return False
        return True

    deadline = time.monotonic() + 5
    while not gone():
        if time.monotonic() > deadline:
            problems.append(f"{path} is still busy")
            return
        time.sleep(0.01)
