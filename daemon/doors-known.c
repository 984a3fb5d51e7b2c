/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What is known of the programs of the world: who speaks for others, and who does not. */

#include "doors-internal.h"
#include <fnmatch.h>
#include <string.h>

static const char *const kind_names[] = {
        [DOOR_PROXY] = "proxy",   [DOOR_RESOLVER] = "resolver", [DOOR_MAIL] = "mail",
        [DOOR_ENGINE] = "engine", [DOOR_PACKAGES] = "packages", [DOOR_PRINT] = "print",
        [DOOR_REMOTE] = "remote", [DOOR_DATABASE] = "database", [DOOR_UNKNOWN] = "unknown",
};

const char *door_kind_to_string(enum door_kind kind)
{
        return kind_names[kind];
}

/* Unit names, with shell wildcards. */
static const struct {
        enum door_kind kind;
        const char *unit;
} units[] = {
        {DOOR_PROXY, "squid*"},
        {DOOR_PROXY, "tinyproxy*"},
        {DOOR_PROXY, "privoxy*"},
        {DOOR_PROXY, "tor.service"},
        {DOOR_PROXY, "tor@*"},
        {DOOR_PROXY, "danted*"},
        {DOOR_PROXY, "sockd*"},
        {DOOR_PROXY, "3proxy*"},
        {DOOR_PROXY, "microsocks*"},
        {DOOR_PROXY, "shadowsocks*"},
        {DOOR_PROXY, "xray*"},
        {DOOR_PROXY, "v2ray*"},
        {DOOR_PROXY, "sing-box*"},
        {DOOR_PROXY, "i2p*"},
        {DOOR_PROXY, "stunnel*"},
        {DOOR_PROXY, "cntlm*"},
        {DOOR_PROXY, "apt-cacher*"},
        {DOOR_PROXY, "cloudflared*"},
        {DOOR_PROXY, "tailscaled*"},
        {DOOR_RESOLVER, "systemd-resolved.service"},
        {DOOR_RESOLVER, "dnsmasq*"},
        {DOOR_RESOLVER, "unbound*"},
        {DOOR_RESOLVER, "named*"},
        {DOOR_RESOLVER, "bind9*"},
        {DOOR_RESOLVER, "pdns-recursor*"},
        {DOOR_RESOLVER, "knot-resolver*"},
        {DOOR_RESOLVER, "kresd*"},
        {DOOR_RESOLVER, "stubby*"},
        {DOOR_RESOLVER, "dnscrypt-proxy*"},
        {DOOR_RESOLVER, "pihole*"},
        {DOOR_RESOLVER, "nscd*"},
        {DOOR_RESOLVER, "avahi-daemon*"},
        {DOOR_MAIL, "postfix*"},
        {DOOR_MAIL, "exim*"},
        {DOOR_MAIL, "sendmail*"},
        {DOOR_MAIL, "opensmtpd*"},
        {DOOR_MAIL, "msmtpd*"},
        {DOOR_ENGINE, "docker.*"},
        {DOOR_ENGINE, "containerd*"},
        {DOOR_ENGINE, "podman*"},
        {DOOR_ENGINE, "crio*"},
        {DOOR_ENGINE, "libvirt*"},
        {DOOR_ENGINE, "virtqemud*"},
        {DOOR_ENGINE, "lxd*"},
        {DOOR_ENGINE, "incus*"},
        {DOOR_PACKAGES, "packagekit*"},
        {DOOR_PACKAGES, "snapd*"},
        {DOOR_PACKAGES, "fwupd*"},
        {DOOR_PACKAGES, "geoclue*"},
        {DOOR_PRINT, "cups*"},
        {DOOR_REMOTE, "xrdp*"},
        {DOOR_REMOTE, "*vnc*"},
        {DOOR_DATABASE, "mysql*"},
        {DOOR_DATABASE, "mariadb*"},
        {DOOR_DATABASE, "postgresql*"},
        {DOOR_DATABASE, "redis*"},
        {DOOR_DATABASE, "valkey*"},
        {DOOR_DATABASE, "mongod*"},
};

/* As the kernel has it: at most 15 bytes. Listening, ssh and sshd forward somebody's connections, since what
 * they are as a service stands among those that are no doors. */
static const struct {
        enum door_kind kind;
        const char *program;
} programs[] = {
        {DOOR_PROXY, "squid"},
        {DOOR_PROXY, "tinyproxy"},
        {DOOR_PROXY, "privoxy"},
        {DOOR_PROXY, "tor"},
        {DOOR_PROXY, "danted"},
        {DOOR_PROXY, "sockd"},
        {DOOR_PROXY, "3proxy"},
        {DOOR_PROXY, "microsocks"},
        {DOOR_PROXY, "ss-local"},
        {DOOR_PROXY, "sslocal"},
        {DOOR_PROXY, "xray"},
        {DOOR_PROXY, "v2ray"},
        {DOOR_PROXY, "sing-box"},
        {DOOR_PROXY, "gost"},
        {DOOR_PROXY, "clash"},
        {DOOR_PROXY, "mihomo"},
        {DOOR_PROXY, "i2pd"},
        {DOOR_PROXY, "stunnel"},
        {DOOR_PROXY, "stunnel4"},
        {DOOR_PROXY, "cntlm"},
        {DOOR_PROXY, "apt-cacher-ng"},
        {DOOR_PROXY, "mitmdump"},
        {DOOR_PROXY, "mitmproxy"},
        {DOOR_PROXY, "chisel"},
        {DOOR_PROXY, "cloudflared"},
        {DOOR_PROXY, "tailscaled"},
        {DOOR_PROXY, "socat"},
        {DOOR_PROXY, "ncat"},
        {DOOR_PROXY, "rinetd"},
        {DOOR_PROXY, "redsocks"},
        {DOOR_PROXY, "systemd-socket-"},
        {DOOR_PROXY, "ssh"},
        {DOOR_PROXY, "sshd"},
        {DOOR_PROXY, "sshd-session"},
        {DOOR_RESOLVER, "systemd-resolve"},
        {DOOR_RESOLVER, "dnsmasq"},
        {DOOR_RESOLVER, "unbound"},
        {DOOR_RESOLVER, "named"},
        {DOOR_RESOLVER, "pdns_recursor"},
        {DOOR_RESOLVER, "kresd"},
        {DOOR_RESOLVER, "coredns"},
        {DOOR_RESOLVER, "stubby"},
        {DOOR_RESOLVER, "dnscrypt-proxy"},
        {DOOR_RESOLVER, "pihole-FTL"},
        {DOOR_RESOLVER, "nscd"},
        {DOOR_MAIL, "exim4"},
        {DOOR_MAIL, "exim"},
        {DOOR_MAIL, "sendmail-mta"},
        {DOOR_MAIL, "smtpd"},
        {DOOR_MAIL, "msmtpd"},
        {DOOR_ENGINE, "dockerd"},
        {DOOR_ENGINE, "docker-proxy"},
        {DOOR_ENGINE, "rootlessport"},
        {DOOR_ENGINE, "libvirtd"},
        {DOOR_ENGINE, "qemu-system-x86"},
        {DOOR_PRINT, "cupsd"},
        {DOOR_REMOTE, "xrdp"},
        {DOOR_REMOTE, "Xvnc"},
        {DOOR_REMOTE, "x11vnc"},
        {DOOR_DATABASE, "mysqld"},
        {DOOR_DATABASE, "mariadbd"},
        {DOOR_DATABASE, "postgres"},
        {DOOR_DATABASE, "redis-server"},
        {DOOR_DATABASE, "valkey-server"},
        {DOOR_DATABASE, "mongod"},
};

static const struct {
        enum door_kind kind;
        uint16_t first, last;
} ports[] = {
        {DOOR_PROXY, 1080, 1081}, /* SOCKS */
        {DOOR_PROXY, 3128, 3128}, /* squid */
        {DOOR_PROXY, 3142, 3142}, /* apt-cacher-ng */
        {DOOR_PROXY, 4444, 4447}, /* i2p */
        {DOOR_PROXY, 7890, 7891}, /* clash */
        {DOOR_PROXY, 8118, 8118}, /* privoxy */
        {DOOR_PROXY, 8123, 8123}, /* polipo */
        {DOOR_PROXY, 8888, 8888}, /* tinyproxy */
        {DOOR_PROXY, 9040, 9040}, /* tor */
        {DOOR_PROXY, 9050, 9050},    {DOOR_PROXY, 9150, 9150},      {DOOR_PROXY, 10808, 10809}, /* v2ray */
        {DOOR_RESOLVER, 53, 53},     {DOOR_RESOLVER, 853, 853},     {DOOR_RESOLVER, 5353, 5353},
        {DOOR_RESOLVER, 5355, 5355}, {DOOR_MAIL, 25, 25},           {DOOR_MAIL, 465, 465},
        {DOOR_MAIL, 587, 587},       {DOOR_ENGINE, 2375, 2376},     {DOOR_ENGINE, 16509, 16509},
        {DOOR_PRINT, 631, 631},      {DOOR_REMOTE, 3389, 3389},     {DOOR_REMOTE, 5900, 5999},
        {DOOR_DATABASE, 1433, 1433}, {DOOR_DATABASE, 3306, 3306},   {DOOR_DATABASE, 5432, 5432},
        {DOOR_DATABASE, 6379, 6379}, {DOOR_DATABASE, 27017, 27017},
};

/* What listens on nearly every machine and fetches nothing for others. */
static const struct {
        const char *unit;
} harmless_units[] = {
        /* Remote login: what it opens for somebody who logs in, it opens under that person's own uid. */
        {"ssh.service"},
        {"ssh.socket"},
        {"ssh@*"},
        {"sshd.service"},
        {"sshd.socket"},
        {"sshd@*"},
        {"dropbear*"},
        {"lockdownd.service"},
        {"lockdownd-launcher.service"}, /* the relays */
        /* Addresses and the time, for the host itself. */
        {"systemd-networkd*"},
        {"NetworkManager*"},
        {"networking.service"},
        {"ifup@*"},
        {"dhclient*"},
        {"dhcpcd*"},
        {"wpa_supplicant*"},
        {"chrony*"},
        {"ntp*"},
        {"systemd-timesyncd*"},
        /* Files and numbers of this host. */
        {"rpcbind*"},
        {"rpc-*"},
        {"nfs-*"},
        {"systemd-journal*"},
        {"snmpd*"},
        {"prometheus-*exporter*"},
};

/* Root's, where no unit is known: the same, and the kernel's own tunnels. */
static const struct {
        uint8_t protocol;
        uint16_t port;
} harmless_ports[] = {
        {IPPROTO_TCP, 22},                                                                  /* sshd */
        {IPPROTO_TCP, 111},   {IPPROTO_UDP, 111},                                           /* rpcbind */
        {IPPROTO_UDP, 67},    {IPPROTO_UDP, 68},   {IPPROTO_UDP, 546},  {IPPROTO_UDP, 547}, /* DHCP */
        {IPPROTO_UDP, 123},   {IPPROTO_UDP, 323},                                           /* NTP */
        {IPPROTO_UDP, 500},   {IPPROTO_UDP, 4500},                                          /* IPsec */
        {IPPROTO_TCP, 2049},  {IPPROTO_UDP, 2049},                                          /* nfsd */
        {IPPROTO_UDP, 4789},  {IPPROTO_UDP, 8472}, {IPPROTO_UDP, 6081}, /* VXLAN, Geneve */
        {IPPROTO_UDP, 51820},                                           /* WireGuard */
};

/* The groups behind the sockets of DOOR_ENGINE are next to root in any case. */
const struct known_service known_sockets[] = {
        {"/run/systemd/resolve/io.systemd.Resolve", "system.slice/systemd-resolved.service", DOOR_RESOLVER,
         false},
        {"/run/nscd/socket", "system.slice/nscd.service", DOOR_RESOLVER, false},
        {"/run/avahi-daemon/socket", "system.slice/avahi-daemon.service", DOOR_RESOLVER, false},
        {"/run/tor/socks", "system.slice/system-tor.slice/tor@default.service", DOOR_PROXY, false},
        /* Relative: postfix binds it from its queue's directory. sendmail(1) hands over what anybody says. */
        {"public/pickup", "system.slice/system-postfix.slice/postfix@-.service", DOOR_MAIL, true},
        {"/var/spool/postfix/public/pickup", "system.slice/system-postfix.slice/postfix@-.service", DOOR_MAIL,
         true},
        {"/run/docker.sock", "system.slice/docker.service", DOOR_ENGINE, false},
        {"/run/podman/podman.sock", "system.slice/podman.service", DOOR_ENGINE, false},
        {"/run/containerd/containerd.sock", "system.slice/containerd.service", DOOR_ENGINE, false},
        {"/run/crio/crio.sock", "system.slice/crio.service", DOOR_ENGINE, false},
        {"/run/libvirt/libvirt-sock", "system.slice/libvirtd.service", DOOR_ENGINE, false},
        {"/run/libvirt/virtqemud-sock", "system.slice/virtqemud.service", DOOR_ENGINE, false},
        {"/var/lib/lxd/unix.socket", "system.slice/lxd.service", DOOR_ENGINE, false},
        {"/var/snap/lxd/common/lxd/unix.socket", "system.slice/snap.lxd.daemon.service", DOOR_ENGINE, false},
        {"/var/lib/incus/unix.socket", "system.slice/incus.service", DOOR_ENGINE, false},
        {"/run/snapd.socket", "system.slice/snapd.service", DOOR_PACKAGES, false},
        {"/run/cups/cups.sock", "system.slice/cups.service", DOOR_PRINT, false},
        {"/run/mysqld/mysqld.sock", "system.slice/mariadb.service", DOOR_DATABASE, false},
        {"/run/redis/redis*.sock", "system.slice/redis-server.service", DOOR_DATABASE, false},
        {NULL, NULL, DOOR_UNKNOWN, false},
};

const struct known_service known_bus_names[] = {
        {"org.freedesktop.resolve1", "system.slice/systemd-resolved.service", DOOR_RESOLVER, true},
        {"org.freedesktop.Avahi", "system.slice/avahi-daemon.service", DOOR_RESOLVER, true},
        {"org.freedesktop.PackageKit", "system.slice/packagekit.service", DOOR_PACKAGES, true},
        {"org.projectatomic.rpmostree1", "system.slice/rpm-ostreed.service", DOOR_PACKAGES, true},
        {"org.freedesktop.fwupd", "system.slice/fwupd.service", DOOR_PACKAGES, true},
        {"org.freedesktop.GeoClue2", "system.slice/geoclue.service", DOOR_PACKAGES, true},
        {NULL, NULL, DOOR_UNKNOWN, false},
};

const struct known_service *known_socket(const char *path)
{
        static const char var_run[] = "/var/run/";

        if (strncmp(path, var_run, strlen(var_run)) == 0)
                path += strlen("/var");
        for (const struct known_service *k = known_sockets; k->name; k++)
                if (fnmatch(k->name, path, FNM_PATHNAME) == 0)
                        return k;
        return NULL;
}

bool doors_known_program(const char *program)
{
        enum door_kind kind;

        return known_program(program, &kind);
}

bool known_program(const char *program, enum door_kind *ret)
{
        for (size_t i = 0; program && i < ELEMENTSOF(programs); i++)
                if (strcmp(programs[i].program, program) == 0) {
                        *ret = programs[i].kind;
                        return true;
                }
        return false;
}

static bool known_unit(const char *unit, enum door_kind *ret)
{
        for (size_t i = 0; unit && i < ELEMENTSOF(units); i++)
                if (fnmatch(units[i].unit, unit, 0) == 0) {
                        *ret = units[i].kind;
                        return true;
                }
        return false;
}

static bool known_port(uint16_t port, enum door_kind *ret)
{
        for (size_t i = 0; i < ELEMENTSOF(ports); i++)
                if (ports[i].first <= port && port <= ports[i].last) {
                        *ret = ports[i].kind;
                        return true;
                }
        return false;
}

static enum door_kind kind_of_service(const struct known_service *table, const char *name)
{
        for (; table->name; table++)
                if (strcmp(table->name, name) == 0)
                        return table->kind;
        return DOOR_UNKNOWN;
}

enum door_kind known_kind(const struct listener *l, const char *unit)
{
        enum door_kind kind = DOOR_UNKNOWN;
        const struct known_service *k;

        if (l->type == LISTENER_BUS)
                return kind_of_service(known_bus_names, l->name);
        if (l->type == LISTENER_UNIX) {
                k = known_socket(l->name);
                return k ? k->kind : DOOR_UNKNOWN;
        }
        if (!known_unit(unit, &kind) && !known_program(l->program, &kind))
                (void)known_port(l->port, &kind);
        return kind;
}

bool known_harmless_unit(const char *unit)
{
        for (size_t i = 0; unit && i < ELEMENTSOF(harmless_units); i++)
                if (fnmatch(harmless_units[i].unit, unit, 0) == 0)
                        return true;
        return false;
}

bool known_harmless_port(uint8_t protocol, uint16_t port)
{
        for (size_t i = 0; i < ELEMENTSOF(harmless_ports); i++)
                if (harmless_ports[i].protocol == protocol && harmless_ports[i].port == port)
                        return true;
        return false;
}
