// SPDX-License-Identifier: GPL-2.0-or-later
#include "trial.h"
#include "ruleset.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum {
        OUTSIDE4,
        OUTSIDE6,
        INSIDE4,
        INSIDE6,
};
_Static_assert(INSIDE6 == TRIAL_KINDS - 1, "kinds");

/* RFC 5737, 3849 and 9637: "not to be used on the public internet". */
static const char *const documentation4[] = {"192.0.2.199", "198.51.100.199", "203.0.113.199"};
static const char *const documentation6[] = {"2001:db8:ffff::199", "3fff:fff:ffff::199"};

static size_t address_size(int family)
{
        return family == AF_INET ? 4 : 16;
}

static void add(struct trial_plan *plan, size_t kind, const struct destinations *d, const uint8_t *addr)
{
        struct trial_datagram *to = &plan->candidates[kind][plan->n[kind]];
        int family = kind == OUTSIDE4 || kind == INSIDE4 ? AF_INET : AF_INET6;
        bool outside = kind == OUTSIDE4 || kind == OUTSIDE6;
        struct endpoint e = {.family = family, .protocol = IPPROTO_UDP, .port = TRIAL_PORT};

        if (plan->n[kind] == TRIAL_CANDIDATES)
                return;
        memcpy(e.addr, addr, address_size(family));
        /* Where a port alone is allowed, or redirected, the rules take another way. */
        if (destinations_judge(d, &e) != (outside ? JUDGE_OUTSIDE : JUDGE_ALLOWED))
                return;
        *to = (struct trial_datagram){.family = family, .outside = outside};
        memcpy(to->addr, addr, address_size(family));
        plan->n[kind]++;
}

static void add_documentation(struct trial_plan *plan, size_t kind, const struct destinations *d,
                              const char *const *list, size_t n)
{
        uint8_t addr[16];

        for (size_t i = 0; i < n; i++)
                if (inet_pton(kind == OUTSIDE4 ? AF_INET : AF_INET6, list[i], addr) == 1)
                        add(plan, kind, d, addr);
}

/* Loopback, this link, groups: no way that the rules are asked about, or one that needs a device. */
static bool is_special(size_t kind, const uint8_t *a)
{
        if (kind == INSIDE4)
                return a[0] == 0 || a[0] == 127 || a[0] >= 224 || (a[0] == 169 && a[1] == 254);
        return a[0] == 0 || a[0] == 0xff || (a[0] == 0xfe && a[1] >= 0x80);
}

static void add_one_allowed(struct trial_plan *plan, size_t kind, const struct destinations *d,
                            const uint8_t *end, int inwards)
{
        size_t size = kind == INSIDE4 ? 4 : 16;
        uint8_t addr[16];

        memcpy(addr, end, size);
        addr[size - 1] = (uint8_t)(addr[size - 1] + inwards);
        add(plan, kind, d, addr);
}

/* Not the ends of a range, which may mean the network and everybody in it. */
static void add_allowed(struct trial_plan *plan, size_t kind, const struct destinations *d,
                        const struct addr_set *allowed)
{
        size_t size = kind == INSIDE4 ? 4 : 16;

        for (size_t i = 0; i < allowed->n; i++) {
                const struct addr_range *range = &allowed->ranges[i];

                if (is_special(kind, range->first))
                        continue;
                if (memcmp(range->first, range->last, size) == 0) {
                        add_one_allowed(plan, kind, d, range->first, 0);
                        continue;
                }
                add_one_allowed(plan, kind, d, range->last, range->last[size - 1] & 1 ? -1 : 0);
                add_one_allowed(plan, kind, d, range->first, range->first[size - 1] & 1 ? 0 : 1);
        }
}

void trial_choose(const struct destinations *d, struct trial_plan *ret)
{
        *ret = (struct trial_plan){0};
        add_documentation(ret, OUTSIDE4, d, documentation4, ELEMENTSOF(documentation4));
        add_documentation(ret, OUTSIDE6, d, documentation6, ELEMENTSOF(documentation6));
        add_allowed(ret, INSIDE4, d, &d->allow4);
        add_allowed(ret, INSIDE6, d, &d->allow6);
}

const char *trial_kind(size_t kind)
{
        static const char *const names[TRIAL_KINDS] = {[OUTSIDE4] = "an IPv4 address outside",
                                                       [OUTSIDE6] = "an IPv6 address outside",
                                                       [INSIDE4] = "an allowed IPv4 network",
                                                       [INSIDE6] = "an allowed IPv6 network"};

        return names[kind];
}

/* Somebody whom nobody has named: the highest ids but the kernel's "nobody mapped". */
static uint32_t unnamed(const struct idset *excepted)
{
        uint32_t id = 65534;

        while (id > 0 && idset_contains(excepted, id))
                id--;
        return id;
}

/* The Nth of them; there must be that many. */
static uint32_t nth(const struct idset *s, uint64_t n)
{
        for (size_t i = 0; i < s->n; i++) {
                uint64_t here = (uint64_t)s->ranges[i].last - s->ranges[i].first + 1;

                if (n < here)
                        return s->ranges[i].first + (uint32_t)n;
                n -= here;
        }
        return 0;
}

int trial_subject(const struct subjects *s, uint64_t turn, uint32_t *ret_uid, uint32_t *ret_gid)
{
        const struct idset *ids = idset_count(&s->uids) > 0 ? &s->uids : &s->uid_ranges;
        uint64_t root = idset_contains(ids, 0), n = idset_count(ids) - root;
        uint32_t uid = s->everyone ? unnamed(&s->except_uids) : n > 0 ? nth(ids, root + turn % n) : 0;

        if (uid == 0 || !subjects_match_uid(s, uid))
                return -ENOENT;
        *ret_uid = uid;
        *ret_gid = unnamed(&s->except_gids);
        return 0;
}

static enum trial_verdict judge_error(const struct trial_datagram *d, const struct trial_outcome *o,
                                      const char **ret_why)
{
        if (o->others > 0)
                *ret_why = "not tried: another order covers the same person, and judged first";
        else if (o->error == EPERM || o->error == EACCES)
                *ret_why = "not tried: something else on this host refuses it first";
        else
                *ret_why = d->outside ? "not tried: this host has no way there"
                                      : "not tried: this host has no way to it";
        return TRIAL_UNTRIED;
}

/* Did it come as far as the rules can be asked? What found no way did not. */
static bool was_sent(const struct trial_outcome *o)
{
        return o->error != ENETUNREACH && o->error != EHOSTUNREACH && o->error != ENETDOWN &&
               o->error != EADDRNOTAVAIL && o->error != EAFNOSUPPORT;
}

/* The second lock counts what a subject sends anywhere, in network namespaces of their own as well, so that
 * it counted something says little. But whom it refuses it tells, and it comes behind all orders' rules. */
static bool refused_by_second(const struct trial_outcome *o)
{
        return o->second > 0 && o->error == EPERM && o->others == 0;
}

enum trial_verdict trial_judge(const struct trial_datagram *d, const struct trial_outcome *o,
                               const char **ret_why)
{
        /* The mark can be set by others who have the capability for it. */
        if (o->refused + o->passed > (was_sent(o) ? 1 : 0)) {
                *ret_why = "somebody else on this host sends datagrams with the mark of trials";
                return TRIAL_DISTURBED;
        }
        if (d->outside ? o->refused > 0 : o->passed > 0) {
                *ret_why = d->outside ? "refused" : "let pass";
                return TRIAL_AS_ORDERED;
        }
        if (d->outside ? o->passed > 0 : o->refused > 0)
                *ret_why = d->outside ? "was taken for an allowed one and let pass"
                                      : "is allowed and was refused";
        else if (refused_by_second(o))
                *ret_why = "was let pass by the rules; only the second lock refused it";
        else if (o->error == 0 && o->others == 0)
                *ret_why = "was sent, and the rules were not asked";
        else
                return judge_error(d, o, ret_why);
        return TRIAL_WRONG;
}
