/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The attempts as text: a tree of 65,536 of them would take ten times the room and most of the time. */

#include "json-text.h"
#include "report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *protocol_name(uint8_t protocol, char *buf, size_t size)
{
        static const struct {
                uint8_t number;
                const char *name;
        } known[] = {{IPPROTO_ICMP, "icmp"}, {IPPROTO_TCP, "tcp"}, {IPPROTO_UDP, "udp"},
                     {IPPROTO_DCCP, "dccp"}, {IPPROTO_GRE, "gre"}, {IPPROTO_ICMPV6, "icmpv6"},
                     {IPPROTO_SCTP, "sctp"}, {136, "udplite"},     {IPPROTO_ESP, "esp"}};

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (known[i].number == protocol)
                        return known[i].name;
        (void)snprintf(buf, size, "%u", protocol);
        return buf;
}

/* The beginning of an object, without its end: "{…". */
static char *open_object(const json_t *object)
{
        char *text = object ? json_text(object, JSON_COMPACT) : NULL;

        if (text)
                text[strlen(text) - 1] = '\0';
        return text;
}

/* What all entries of one uid begin with. */
static char *open_entry(uint32_t uid, const struct names *names)
{
        const char *name = uid == ATTEMPT_NO_UID ? NULL : names_find(names, uid);
        _cleanup_json_ json_t *owner = json_object();

        if (json_object_set_new(owner, "uid", uid == ATTEMPT_NO_UID ? json_null() : json_integer(uid)) < 0)
                return NULL;
        if (name)
                (void)json_object_set_new(owner, "user", json_string_lenient(name));
        return open_object(owner);
}

static void write_entry(FILE *f, const char *owner, const struct attempt *a)
{
        char address[INET6_ADDRSTRLEN] = "?", number[8];

        (void)inet_ntop(a->family, a->addr, address, sizeof(address));
        fprintf(f,
                "%s,\"protocol\":\"%s\",\"protocol_number\":%u,\"address\":\"%s\",\"port\":%u,"
                "\"packets\":%" PRIi64 ",\"bytes\":%" PRIi64 "}",
                owner, protocol_name(a->protocol, number, sizeof(number)), a->protocol, address, a->port,
                (int64_t)a->packets, (int64_t)a->bytes);
}

/* They are sorted by uid. */
static int write_entries(FILE *f, const struct attempts *a, const struct names *names)
{
        _cleanup_free_ char *owner = NULL;

        for (size_t i = 0; i < a->n; i++) {
                if (i == 0 || a->items[i].uid != a->items[i - 1].uid) {
                        free(owner);
                        owner = open_entry(a->items[i].uid, names);
                }
                if (!owner)
                        return -ENOMEM;
                fputs(i > 0 ? "," : "", f);
                write_entry(f, owner, &a->items[i]);
        }
        return 0;
}

int report_attempts(FILE *f, const char *profile, const char *order_id, const struct attempts *a,
                    const struct names *names)
{
        _cleanup_json_ json_t *head = NULL;
        _cleanup_free_ char *text = NULL;
        uint64_t itemised = 0;
        int r;

        for (size_t i = 0; i < a->n; i++)
                itemised += a->items[i].packets;
        head = json_pack("{s:s, s:s, s:{s:I, s:I}, s:I}", "profile", profile, "order", order_id, "totals",
                         "packets", (json_int_t)a->packets, "bytes", (json_int_t)a->bytes, "itemised_packets",
                         (json_int_t)itemised);
        text = open_object(head);
        if (!text)
                return -ENOMEM;
        fprintf(f, "%s,\"entries\":[", text);
        r = write_entries(f, a, names);
        fputs("]}", f);
        return r;
}
