// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-internal.h"
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <string.h>

static const char *protocol_name(uint8_t protocol)
{
        switch (protocol) {
        case IPPROTO_TCP:
                return "tcp";
        case IPPROTO_UDP:
                return "udp";
        case IPPROTO_IGMP:
                return "igmp";
        case IPPROTO_DCCP:
                return "dccp";
        case IPPROTO_SCTP:
                return "sctp";
        case IPPROTO_UDPLITE:
                return "udplite";
        default:
                return NULL;
        }
}

static void write_address(FILE *f, enum rs_type type, const uint8_t *addr)
{
        char text[INET6_ADDRSTRLEN];

        fputs(inet_ntop(type == TYPE_IPV4 ? AF_INET : AF_INET6, addr, text, sizeof(text)), f);
}

static void write_value(FILE *f, enum rs_type type, const uint8_t *p)
{
        uint64_t v64;
        uint32_t v32;
        uint16_t v16;

        switch (type) {
        case TYPE_UID:
        case TYPE_GID:
                memcpy(&v32, p, sizeof(v32));
                fprintf(f, "%" PRIu32, be32toh(v32));
                break;
        case TYPE_CGROUP:
                memcpy(&v64, p, sizeof(v64));
                fprintf(f, "%" PRIu64, be64toh(v64));
                break;
        case TYPE_IPV4:
        case TYPE_IPV6:
                write_address(f, type, p);
                break;
        case TYPE_PROTO:
                if (protocol_name(*p))
                        fputs(protocol_name(*p), f);
                else
                        fprintf(f, "%u", *p);
                break;
        case TYPE_SERVICE:
                memcpy(&v16, p, sizeof(v16));
                fprintf(f, "%u", be16toh(v16));
                break;
        case TYPE_NONE:
                break;
        }
}

/* The length of the prefix that FIRST to LAST are, or -1 if they are none. */
static int prefix_length(const uint8_t *first, const uint8_t *last, size_t length)
{
        int bits = (int)length * 8, prefix = 0;

#define BIT(p, i) ((p)[(i) / 8] >> (7 - (i) % 8) & 1)
        while (prefix < bits && BIT(first, prefix) == BIT(last, prefix))
                prefix++;
        for (int i = prefix; i < bits; i++)
                if (BIT(first, i) != 0 || BIT(last, i) != 1)
                        return -1;
#undef BIT
        return prefix;
}

static void write_range(FILE *f, enum rs_type type, const uint8_t *first, const uint8_t *last)
{
        size_t length = rs_type_info(type)->length;
        int prefix;

        write_value(f, type, first);
        if (memcmp(first, last, length) == 0)
                return;
        prefix = type == TYPE_IPV4 || type == TYPE_IPV6 ? prefix_length(first, last, length) : -1;
        if (prefix >= 0) {
                fprintf(f, "/%d", prefix);
                return;
        }
        fputc('-', f);
        write_value(f, type, last);
}

static void write_element(FILE *f, enum rs_set_id id, const uint8_t *element)
{
        const struct rs_set_info *info = rs_set_info(id);
        size_t to_last = info->interval ? rs_key_length(id) : 0;

        for (size_t i = 0; i < rs_set_n_fields(id); i++) {
                if (i > 0)
                        fputs(" . ", f);
                write_range(f, info->fields[i], element, element + to_last);
                element += rs_field_length(id, i);
        }
}

static void write_elements(FILE *f, enum rs_set_id id, const struct rs_set *s)
{
        size_t step = rs_element_length(id);

        if (s->n == 0)
                return;
        fputs("\t\telements = {", f);
        for (size_t i = 0; i < s->n; i++) {
                fputs(i == 0 ? " " : i % 8 == 0 ? ",\n\t\t\t     " : ", ", f);
                write_element(f, id, s->elements + i * step);
        }
        fputs(" }\n", f);
}

/* nft(8) knows control groups by their path only. */
static void write_cgroups(FILE *f, const struct rs_set *s)
{
        if (s->n == 0)
                return;
        fputs("\t\t# control groups by id:", f);
        for (size_t i = 0; i < s->n; i++) {
                fputc(' ', f);
                write_value(f, TYPE_CGROUP, s->elements + 8 * i);
        }
        fputc('\n', f);
}

static void write_set(FILE *f, enum rs_set_id id, const struct rs_set *s)
{
        const struct rs_set_info *info = rs_set_info(id);

        fprintf(f, "\n\tset %s {\n\t\ttype ", info->name);
        for (size_t i = 0; i < rs_set_n_fields(id); i++)
                fprintf(f, "%s%s", i > 0 ? " . " : "", rs_type_info(info->fields[i])->name);
        fputc('\n', f);
        if (s->size > 0)
                fprintf(f, "\t\tsize %" PRIu32 "\n", s->size);
        if (info->interval)
                fputs("\t\tflags interval\n", f);
        if (info->dynamic)
                fputs("\t\tflags dynamic\n\t\tcounter\n", f);
        else if (info->fields[0] == TYPE_CGROUP)
                write_cgroups(f, s);
        else
                write_elements(f, id, s);
        fputs("\t}\n", f);
}

static const char *field_name(enum rs_field field)
{
        static const char *const names[] = {
                [FIELD_NONE] = "",
                [FIELD_SKUID] = "meta skuid",
                [FIELD_SKGID] = "meta skgid",
                [FIELD_MARK] = "meta mark",
                [FIELD_CGROUP] = "socket cgroupv2 level",
                [FIELD_NFPROTO] = "meta nfproto",
                [FIELD_L4PROTO] = "meta l4proto",
                [FIELD_IIF] = "iif",
                [FIELD_OIF] = "oif",
                [FIELD_LOCAL] = "fib daddr type",
                [FIELD_SOURCE] = "fib saddr type",
                [FIELD_IP_SADDR] = "ip saddr",
                [FIELD_IP_DADDR] = "ip daddr",
                [FIELD_IP6_SADDR] = "ip6 saddr",
                [FIELD_IP6_DADDR] = "ip6 daddr",
                [FIELD_DPORT] = "th dport",
                [FIELD_CT_DIRECTION] = "ct direction",
                [FIELD_CT_ASKED_PORT] = "ct original proto-dst",
                [FIELD_TCP_RST] = "tcp flags & rst == rst",
                [FIELD_TCP_SYN] = "tcp flags & syn == syn",
                [FIELD_ICMPV6_TYPE] = "icmpv6 type",
                [FIELD_ROUTING_HEADER] = "exthdr rt",
                [FIELD_LSRR] = "ip option lsrr",
                [FIELD_SSRR] = "ip option ssrr",
                [FIELD_ROUTED] = "meta rtclassid",
                [FIELD_DEVICE_TYPE] = "meta oiftype",
                [FIELD_PROTOCOL] = "meta protocol",
                [FIELD_ETHER_TYPE] = "@ll,96,16",
                [FIELD_TAG] = "@ll,112,8",
                [FIELD_TAGGED_TYPE] = "@ll,128,16",
                [FIELD_NEXT_HEADER] = "ip6 nexthdr",
                [FIELD_IP6_DPORT] = "@nh,336,16",
                [FIELD_CONSTANT] = "",
        };

        return names[field];
}

static void write_field_value(FILE *f, enum rs_field field, uint32_t value)
{
        switch (field) {
        case FIELD_NFPROTO:
                fputs(value == NFPROTO_IPV4 ? "ipv4" : "ipv6", f);
                break;
        case FIELD_L4PROTO:
        case FIELD_NEXT_HEADER:
                write_value(f, TYPE_PROTO, &(uint8_t){(uint8_t)value});
                break;
        case FIELD_LOCAL:
        case FIELD_SOURCE:
                fputs("local", f);
                break;
        case FIELD_PROTOCOL:
                fputs(value == ETH_P_IP ? "ip" : "ip6", f);
                break;
        case FIELD_OIF:
                fputs("\"lo\"", f);
                break;
        case FIELD_CT_DIRECTION:
                fputs(value == 0 ? "original" : "reply", f);
                break;
        case FIELD_ROUTING_HEADER:
        case FIELD_LSRR:
        case FIELD_SSRR:
                fputs("exists", f);
                break;
        default:
                fprintf(f, "%" PRIu32, value);
        }
}

static void write_compare(FILE *f, const struct rs_statement *s)
{
        static const char *const ops[] = {
                [OP_EQ] = "", [OP_NEQ] = "!= ", [OP_LTE] = "<= ", [OP_GTE] = ">= ", [OP_OUTSIDE] = "!= "};

        fputs(field_name(s->fields[0]), f);
        if (s->fields[0] == FIELD_TCP_RST || s->fields[0] == FIELD_TCP_SYN)
                return;
        if (s->op == OP_BELOW) {
                fprintf(f, " & %" PRIu32 " == 0", ~(s->value - 1));
                return;
        }
        fprintf(f, " %s", ops[s->op]);
        write_field_value(f, s->fields[0], s->value);
        if (s->op == OP_OUTSIDE)
                fprintf(f, "-%" PRIu32, s->last);
}

static void write_key(FILE *f, const struct rs_statement *s)
{
        const struct rs_set_info *info = rs_set_info(s->set);

        for (size_t i = 0; i < RS_KEY_FIELDS && s->fields[i] != FIELD_NONE; i++) {
                if (i > 0)
                        fputs(" . ", f);
                if (s->fields[i] == FIELD_CONSTANT)
                        fputs(info->fields[i] == TYPE_UID ? "4294967295" : "0", f);
                else
                        fputs(field_name(s->fields[i]), f);
                if (s->fields[i] == FIELD_CGROUP)
                        fprintf(f, " %" PRIu32, s->value);
        }
}

static void write_verdict(FILE *f, const struct rs_statement *s)
{
        static const char *const names[] = {[VERDICT_DROP] = "drop",
                                            [VERDICT_RETURN] = "return",
                                            [VERDICT_JUMP] = "jump",
                                            [VERDICT_GOTO] = "goto"};

        fputs(names[s->verdict], f);
        if (s->verdict == VERDICT_JUMP || s->verdict == VERDICT_GOTO)
                fprintf(f, " %s", rs_chain_info(s->chain)->name);
}

static void write_dnat(FILE *f, const struct rs_statement *s)
{
        bool v4 = s->family == AF_INET, brackets = !v4 && s->port > 0;

        fprintf(f, "dnat %s to %s", v4 ? "ip" : "ip6", brackets ? "[" : "");
        write_address(f, v4 ? TYPE_IPV4 : TYPE_IPV6, s->address);
        if (s->port > 0)
                fprintf(f, "%s:%u", brackets ? "]" : "", s->port);
}

static void write_statement(FILE *f, const struct rs_statement *s)
{
        switch (s->kind) {
        case RS_COMPARE:
                write_compare(f, s);
                break;
        case RS_LOOKUP:
                write_key(f, s);
                fprintf(f, " %s@%s", s->op == OP_NEQ ? "!= " : "", rs_set_info(s->set)->name);
                break;
        case RS_RECORD:
                fprintf(f, "update @%s { ", rs_set_info(s->set)->name);
                write_key(f, s);
                fputs(" }", f);
                break;
        case RS_COUNT:
                fprintf(f, "counter name \"%s\"", rs_counter_name(s->counter));
                break;
        case RS_VERDICT:
                write_verdict(f, s);
                break;
        case RS_REJECT_RESET:
                fputs("reject with tcp reset", f);
                break;
        case RS_REJECT_PROHIBITED:
                fputs("reject with icmpx admin-prohibited", f);
                break;
        case RS_DNAT:
                write_dnat(f, s);
                break;
        }
}

static void write_hook(FILE *f, const struct rs_chain_info *info, const char *device)
{
        fprintf(f, "\t\ttype %s hook %s", info->type, info->hook);
        if (device)
                fprintf(f, " device \"%s\"", device);
        fprintf(f, " priority %" PRId32 "; policy accept;\n", info->priority);
}

/* DEVICE, NUMBER: of an egress chain. */
static void write_chain(FILE *f, enum rs_chain_id id, const struct rs_chain *c, const char *device,
                        size_t number, bool engaged)
{
        const struct rs_chain_info *info = rs_chain_info(id);

        fprintf(f, "\n\tchain %s", info->name);
        if (device)
                fprintf(f, "%zu", number);
        fputs(" {\n", f);
        if (rs_chain_is_base(id))
                write_hook(f, info, device);
        for (size_t i = 0; rs_chain_has_rules(id, engaged) && i < c->n; i++) {
                fputs("\t\t", f);
                for (size_t j = 0; j < c->rules[i].n; j++) {
                        if (j > 0)
                                fputc(' ', f);
                        write_statement(f, &c->rules[i].statements[j]);
                }
                fputc('\n', f);
        }
        fputs("\t}\n", f);
}

int ruleset_write_text(const struct ruleset *r, bool engaged, const struct words *devices, FILE *f)
{
        errno = 0;
        fprintf(f, "table %s %s {\n", r->family == NFPROTO_NETDEV ? "netdev" : "inet", r->table);
        for (unsigned i = 0; i < _COUNTER_MAX; i++)
                if (rs_has_counter(r->family, i))
                        fprintf(f, "\tcounter %s {\n\t}\n", rs_counter_name(i));
        for (unsigned i = 0; i < _SET_MAX; i++)
                if (r->sets[i].present)
                        write_set(f, i, &r->sets[i]);
        for (unsigned i = 0; i < _CHAIN_MAX; i++) {
                if (!r->chains[i].present || (!engaged && rs_chain_is_base(i)))
                        continue;
                for (size_t j = 0; i == CHAIN_EGRESS && j < devices->n; j++)
                        write_chain(f, i, &r->chains[i], devices->items[j].text, j + 1, engaged);
                if (i != CHAIN_EGRESS)
                        write_chain(f, i, &r->chains[i], NULL, 0, engaged);
        }
        fputs("}\n", f);
        if (r->frames)
                return ruleset_write_text(r->frames, engaged, devices, f);
        if (fflush(f) != 0 || ferror(f))
                return errno > 0 ? -errno : -EIO;
        return 0;
}
