# SPDX-License-Identifier: GPL-2.0-or-later
"""Channel 6: where the packet really goes. Channel 7: other places on the host. Channel 8: packet sockets."""

import os
import stat
import struct

import lab as lab_
import person
import probes
from lab import BOB, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY
from suite import INSIDE, Row, by, hardware_address

RAW = BOB.with_(raw=True)
EVERYONE = ("Everyone=yes", "ExceptUsers=backup")
ELSEWHERE = "Use another network namespace"
GROUPS = {4: ("239.255.1.1", "224.0.1.1", "255.255.255.255"), 6: ("ff0e::1234", "ff05::2", "ff08::3")}
GUEST, MADE_UP = {4: "10.68.0.2", 6: "fd68::2"}, {4: "203.0.113.99", 6: "2001:db8:77::1"}
TUNNEL = {4: "10.66.0.9", 6: "fd66::9"}  # behind a tunnel whose other end is outside
RAW_PROTOCOLS = (("AH", 51), ("ESP", 50), ("GRE", 47), ("IP in IP", 4), ("IPv6 in IP", 41), ("SCTP", 132), ("DCCP", 33),
                 ("an unknown protocol", 253))


def _through_rules(rules, dst=None):
    """Another program's nftables table, made before the lock, that sends the person's packets elsewhere."""

    def play(stage, ways):
        stage.lab.host.nft(f"table inet door {{\n{rules}\n}}\n")
        stage.defer(stage.lab.host.nft, "delete table inet door\n")
        return by(person.knock, dst=dst)(stage, ways)

    return play


DNAT = f"""chain out {{
        type nat hook output priority -100;
        ip daddr {INTERNAL4} meta l4proto {{ tcp, udp }} dnat ip to {INTERNET4}
        ip6 daddr {INTERNAL6} meta l4proto {{ tcp, udp }} dnat ip6 to {INTERNET6}
}}"""
MASQUERADE = "chain out { type nat hook postrouting priority srcnat; oif eth0 masquerade; }\n"
ACCEPT = "chain out { type filter hook output priority -400; accept; }\n" \
         "chain post { type filter hook postrouting priority 400; accept; }\n"
UNTRACKED = "chain out { type filter hook output priority raw - 20; notrack; }\n"
ZONE = "chain out { type filter hook output priority raw - 20; ct zone set 7; }\n"


def _policy_routed(stage, ways):
    """A table of routes for the person alone."""
    for family in (4, 6):
        via = lab_.WORLD4 if family == 4 else lab_.WORLD6
        rule = f"-{family}", "rule", "add", "uidrange", "2000-2010", "lookup", "77", "pref", "77"
        stage.host("/usr/sbin/ip", *rule)
        stage.defer(stage.host, "/usr/sbin/ip", *[w if w != "add" else "del" for w in rule])
        stage.host("/usr/sbin/ip", f"-{family}", "route", "replace", "default", "via", via, "table", "77")
    return by(person.knock)(stage, ways)


def _vxlan(stage, ways, dst):
    stage.ip(f"link add vx0 type vxlan id 7 remote {INTERNET4} dstport 4789 dev eth0\n"
             "addr add 10.66.0.1/24 dev vx0\naddr add fd66::1/64 dev vx0 nodad\nlink set vx0 up\n"
             "neigh replace 10.66.0.9 lladdr 02:00:00:00:00:09 dev vx0\n"
             "neigh replace fd66::9 lladdr 02:00:00:00:00:09 dev vx0\n"
             "route add 198.51.100.8/32 via 10.66.0.9 dev vx0\nroute add 2001:db8::8/128 via fd66::9 dev vx0\n")
    stage.defer(stage.ip, "link delete vx0\n")
    return by(person.knock, kinds=("udp",), dst=dst)(stage, ways)


def _tun(stage, ways):
    """A VPN: root's program reads a device and sends what it finds, in its own name."""
    stage.service(_vpn, ways, lab_.ROOT)
    stage.ip("addr add 10.67.0.1/24 dev tun7\naddr add fd67::1/64 dev tun7 nodad\nlink set tun7 up\n"
             f"route replace {INTERNET4}/32 dev tun7\nroute replace {INTERNET6}/128 dev tun7\n")
    played = by(person.knock)(stage, ways)
    stage.wait(ways, stage.patience)  # that program needs a processor, too
    return played


def _vpn(channel, _ways):
    fd = person.open_tun("tun7")
    s = lab_.socket.socket(lab_.socket.AF_INET, lab_.socket.SOCK_DGRAM)
    channel.send(None)
    while True:
        s.sendto(os.read(fd, 2048), ("203.0.113.99", 1194))


def _wrapped(prefix):
    """An address of IPv4 inside one of IPv6: not internal, whatever is inside."""

    def play(stage, ways):
        inside = "".join(f"{int(b):02x}" for b in INTERNAL4.split("."))
        inside = f"{inside[:4]}:{inside[4:]}"
        return by(person.knock, dst={6: prefix.format(inside)})(stage, ways)

    return play


# --- other network namespaces ---


def _container_for(stage):
    container = stage.lab.container(9)
    stage.defer(container.close)
    stage.defer(stage.ip, "link delete in9\n")
    return container


def _container(who, dst=None):
    def play(stage, ways):
        container = _container_for(stage)
        task = stage.person(person.knock, ways, who, container, dst=dst)
        yield
        stage.go(task)

    return play


def _container_flow(stage, ways):
    """Established before the lock, and going on through the host."""
    container = _container_for(stage)
    task = stage.person(person.go_on, ways, MALLORY, container, kind="tcp")
    yield
    stage.go(task)


def _open_elsewhere(stage, ways):
    task = stage.person(person.go_on, ways, BOB, _container_for(stage), kind="tcp")
    yield
    stage.go(task)


def _queued_elsewhere(stage, ways):
    """What was queued in another namespace before the lock, and is not cut there, must not leave with the lift."""
    container = _container_for(stage)
    tasks = [container.spawn(probes.stuff, way.dst, way.port, False, who=BOB) for way in ways]
    for task in tasks:
        stage.defer(task.kill)
        task.receive()
    yield
    for task in tasks:
        task.kill()
    yield
    stage.lab.far.ask("hear")
    stage.wait(ways, 3.0)


def _tap(sources):
    """SOURCES: which addresses the machine writes into its packets."""

    def play(stage, ways):
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            stage.sysctl(switch, "1")
        stage.ip(f"tuntap add dev tap8 mode tun user {BOB.uid}\naddr add 10.68.0.1/24 dev tap8\n"
                 "addr add fd68::1/64 dev tap8 nodad\nlink set tap8 up\n")
        stage.defer(stage.ip, "link delete tap8\n")
        for device in ("all", "tap8"):
            stage.sysctl(f"ipv4/conf/{device}/rp_filter", "0")
        node = stage.lab.path("bin/tun")  # as udev has it: everybody may open it
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(10, 200))
        stage.defer(os.unlink, node)
        os.chmod(node, 0o666)
        yield from by(person.through_tap, node=node, device="tap8", sources=sources)(stage, ways)

    return play


def _late_device(stage, ways):
    task = stage.person(person.late_device, ways, RAW, device="late0")
    yield
    stage.ip("link add late0 link eth0 type macvlan mode bridge\nlink set late0 up\n")
    stage.defer(stage.ip, "link delete late0\n")
    stage.go(task)


def _by_loopback(stage, ways):
    """A frame written to lo comes in again as if from outside, and a host that forwards sends it on."""
    for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        stage.sysctl(switch, "1")
    for switch in ("all/rp_filter", "lo/rp_filter"):
        stage.sysctl("ipv4/conf/" + switch, "0")
    stage.sysctl("ipv4/conf/all/accept_local", "1")
    yield from by(person.packet_socket, RAW, how="cooked", device="lo")(stage, ways)


def _waiting_for_a_neighbour(stage, ways):
    """Sent before the lock; the neighbour's address is known only under it."""
    address = hardware_address(stage.lab.world, "world0")
    hops = {4: "10.99.0.77", 6: "fd00:99::77"}
    for way in ways:
        way.dst = {4: "198.51.100.77", 6: "2001:db8::77"}[way.family]
        stage.host("/usr/sbin/ip", "route", "replace", way.dst, "via", hops[way.family], "dev", "eth0")
    stage.lab.host.call(lambda: list(person.knock(ways, ("udp",))), who=BOB)
    yield
    for way in ways:
        stage.host("/usr/sbin/ip", "neigh", "replace", hops[way.family], "lladdr", address, "dev", "eth0")
        stage.defer(stage.host, "/usr/sbin/ip", "neigh", "delete", hops[way.family], "dev", "eth0")


NEIGHBOUR = struct.pack("!BBHI", 136, 0, 0, 0)  # an advertisement, which must stay on the link
SOLICITATION = struct.pack("!BBHI", 135, 0, 0, 0)
REPORT = struct.pack("!BBHI", 0x22, 0, 0, 1)  # IGMPv3
RESET = struct.pack("!HHIIBBHHH", 9, 9, 0, 0, 5 << 4, 4, 0, 0, 0)
RESET_LONG = struct.pack("!HHIIBBHHH", 9, 9, 0, 0, 15 << 4, 4, 0, 0, 0)  # what follows is options

ROWS = (
    Row(6, "DNAT by another table", _through_rules(DNAT, INSIDE)),
    Row(6, "masquerading by another table", _through_rules(MASQUERADE)),
    Row(6, "another table that accepts before and after", _through_rules(ACCEPT)),
    Row(6, "not tracked", _through_rules(UNTRACKED)),
    Row(6, "another conntrack zone", _through_rules(ZONE)),
    Row(6, "policy routing", _policy_routed),
    Row(6, "VXLAN to an outside end: internal address inside", lambda s, w: _vxlan(s, w, TUNNEL), second=True),
    Row(6, "VXLAN to an outside end: outside address inside",
        lambda s, w: _vxlan(s, w, {4: "198.51.100.8", 6: "2001:db8::8"})),
    Row(6, "tun device of a VPN", _tun),
    Row(6, "IPv4-mapped IPv6", by(person.mapped), (4,)),
    Row(6, "NAT64 of an internal address", _wrapped("64:ff9b::{}"), (6,)),
    Row(6, "6to4 of an internal address", _wrapped("2002:{}::1"), (6,)),
    Row(6, "multicast and broadcast beyond the link", by(person.group, addresses=GROUPS)),
    Row(6, "fragments", by(person.fragments)),
    Row(6, "extension headers, with CAP_NET_RAW", by(person.extension_headers, RAW), (6,)),
    *(Row(6, f"raw {name} (protocol {number})", by(person.raw_protocol, RAW, number=number))
      for name, number in RAW_PROTOCOLS),
    Row(6, "raw TCP reset that carries data", by(person.raw_protocol, RAW, number=6, header=RESET), rules=True),
    Row(6, "raw TCP reset with data in its options", by(person.raw_protocol, RAW, number=6, header=RESET_LONG), rules=True),
    Row(6, "raw neighbour discovery that carries data", by(person.raw_protocol, RAW, number=58, header=NEIGHBOUR), (6,)),
    Row(9, "Everyone=yes: raw neighbour discovery", by(person.raw_protocol, RAW, number=58, header=SOLICITATION), (6,),
        keys=EVERYONE),
    Row(9, "Everyone=yes: raw IGMP", by(person.raw_protocol, RAW, number=2, header=REPORT), keys=EVERYONE),
    Row(6, "a header of one's own: from outside to an allowed host", by(person.own_header, RAW), (4,), second=True),
    Row(6, "SMC", by(person.smc), named="Use something else than IP"),
    Row(6, "waiting for a neighbour's address since before", _waiting_for_a_neighbour, named="Leave packets under way"),
    Row(7, "the person in another network namespace", _container(BOB), rules=True),
    Row(7, "… a connection going on there", _open_elsewhere, rules=True),
    Row(7, "… data queued there, after the lift", _queued_elsewhere, named=ELSEWHERE),
    Row(7, "a virtual machine of the person's, Forward=deny", _tap(GUEST), keys=("Forward=deny",), second=True),
    Row(7, "… from an address it made up, Forward=deny", _tap(MADE_UP), keys=("Forward=deny",), second=True),
    Row(7, "a virtual machine of the person's, default", _tap(GUEST), named=ELSEWHERE, only_lockdown=True),
    Row(7, "somebody else's container, Forward=deny", _container(MALLORY), keys=("Forward=deny",), second=True),
    Row(7, "somebody else's container, going on, Forward=deny", _container_flow, keys=("Forward=deny",), second=True),
    Row(7, "somebody else's container, default", _container(MALLORY), named=ELSEWHERE, only_lockdown=True),
    Row(7, "inside to inside, Forward=deny", _container(MALLORY, INSIDE), keys=("Forward=deny",), arrives=True),
    Row(7, "a rootless relay of the person's own", by(person.rootless_relay)),
    *(Row(8, f"packet socket, {how}", by(person.packet_socket, RAW, how=how), second=True)
      for how in ("raw", "cooked", "ring", "bypass")),
    Row(8, "packet socket, on a device that comes later", _late_device, second=True),
    Row(8, "packet socket, on lo of a host that forwards", _by_loopback, second=True),
)
