/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RULESET_CASES_H
#define RULESET_CASES_H

/* The rulesets that the golden files show and that the kernel is given. Include after cmocka.h. */

#include "ruleset.h"
#include <string.h>

struct ruleset_case {
        const char *name; /* of the golden file, too */
        const char *allow[8];
        const char *dns, *loopback_deny[4];
        bool everyone, forward_deny, sessions, units;
        bool nobody; /* without uids and gids */
        bool ranges; /* subordinate ids and excepted users */
};

/* "internal" as it would be spelled out, and as good a default. */
#define DEFAULT_LOOPBACK_DENY          \
        {                              \
                "3128", "8118", "9050" \
        }

/* Where the relay of DNS=ADDRESS would listen; in a range that LoopbackDeny= has in one of the cases. */
#define RELAY_PORT 8053

static const struct ruleset_case ruleset_cases[] = {
        {.name = "staff", .allow = {"internal"}, .loopback_deny = DEFAULT_LOOPBACK_DENY, .ranges = true},
        {.name = "everyone",
         .allow = {"internal"},
         .loopback_deny = DEFAULT_LOOPBACK_DENY,
         .everyone = true,
         .ranges = true},
        {.name = "services",
         .allow = {"internal", "203.0.113.10:443/tcp", "198.51.100.0/24:8000-8100/udp", "203.0.113.53:53/udp",
                   "[2001:db8::1]:443"},
         .dns = "allow"},
        {.name = "services-dns-deny", .allow = {"internal", "203.0.113.53:53/udp", "203.0.113.10:443/tcp"}},
        {.name = "dns-redirect", .allow = {"internal", "203.0.113.53:53/udp"}, .dns = "10.9.0.53 fd09::53"},
        {.name = "dns-redirect4", .allow = {"internal"}, .dns = "10.9.0.53"},
        {.name = "forward",
         .allow = {"internal"},
         .loopback_deny = DEFAULT_LOOPBACK_DENY,
         .forward_deny = true},
        {.name = "sessions", .allow = {"internal"}, .dns = "allow", .sessions = true},
        {.name = "units", .allow = {"internal"}, .sessions = true, .units = true, .ranges = true},
        {.name = "everyone-units", .allow = {"internal"}, .everyone = true, .units = true},
        {.name = "empty", .allow = {"internal"}, .nobody = true},
        {.name = "ipv6-only",
         .allow = {"fd00::/8", "fe80::/10"},
         .dns = "fd09::53",
         .loopback_deny = {"8000-8100"}},
        {.name = "isolate", .allow = {"none"}, .everyone = true},
        {.name = "isolate-forward", .allow = {"none"}, .everyone = true, .forward_deny = true},
};

struct ruleset_input {
        struct subjects subjects;
        struct destinations destinations;
};

static void input_clear(struct ruleset_input *in)
{
        subjects_clear(&in->subjects);
        destinations_clear(&in->destinations);
}
#define _cleanup_input_ _cleanup_(input_clear)

static void append_id(struct idset *s, uint32_t first, uint32_t last)
{
        assert_int_equal(idset_append(s, first, last), 0);
        idset_normalize(s);
}

static void fill_subjects(struct subjects *s, const struct ruleset_case *c)
{
        s->everyone = c->everyone;
        s->sessions = c->sessions;
        if (c->ranges)
                append_id(&s->except_uids, 2000, 2001);
        if (c->everyone)
                append_id(&s->except_gids, 2100, 2100);
        if (c->everyone || c->nobody)
                return;
        append_id(&s->uids, 1000, 1002);
        append_id(&s->uids, 1005, 1005);
        append_id(&s->gids, 1100, 1100);
        if (c->ranges) {
                append_id(&s->uid_ranges, 100000, 165535);
                append_id(&s->uid_ranges, 300000, 365535);
                append_id(&s->gid_ranges, 100000, 165535);
        }
}

static void fill_destinations(struct destinations *d, const struct ruleset_case *c)
{
        char *problem = NULL;

        for (size_t i = 0; i < ELEMENTSOF(c->allow) && c->allow[i]; i++)
                assert_int_equal(destinations_allow(d, c->allow[i], &problem), 0);
        for (size_t i = 0; i < ELEMENTSOF(c->loopback_deny) && c->loopback_deny[i]; i++)
                assert_int_equal(destinations_deny_loopback(d, c->loopback_deny[i], &problem), 0);
        assert_int_equal(destinations_set_dns(d, c->dns ? c->dns : "deny", &problem), 0);
        assert_int_equal(destinations_finish(d, &problem), 0);
}

static void fill_input(struct ruleset_input *in, const struct ruleset_case *c)
{
        fill_subjects(&in->subjects, c);
        fill_destinations(&in->destinations, c);
}

static struct ruleset *build_ruleset(const struct ruleset_input *in, const struct ruleset_case *c,
                                     const uint64_t *cgroups, size_t n_cgroups)
{
        /* a service, and one in a slice inside a slice */
        static const struct ruleset_unit units[] = {{4712, 2}, {816, 3}};
        struct ruleset *r = NULL;

        assert_int_equal(
                ruleset_build(&(struct ruleset_spec){.name = c->name,
                                                     .subjects = &in->subjects,
                                                     .destinations = &in->destinations,
                                                     .relay_port = RELAY_PORT,
                                                     .forward_deny = c->forward_deny,
                                                     .frames = true,
                                                     .session_cgroups = cgroups,
                                                     .n_session_cgroups = n_cgroups,
                                                     .units = c->units,
                                                     .unit_cgroups = units,
                                                     .n_unit_cgroups = c->units ? ELEMENTSOF(units) : 0},
                              &r),
                0);
        return r;
}

static inline const struct ruleset_case *find_case(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(ruleset_cases); i++)
                if (strcmp(ruleset_cases[i].name, name) == 0)
                        return &ruleset_cases[i];
        fail_msg("no case %s", name);
        return NULL;
}

#endif
