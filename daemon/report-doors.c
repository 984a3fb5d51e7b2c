/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-text.h"
#include "report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* A value that could not be made makes the whole fail, as in report.c. */
static int put(json_t *into, const char *key, json_t *value)
{
        return json_object_set_new(into, key, value);
}

static int put_optional(json_t *into, const char *key, const char *text)
{
        return text && *text ? put(into, key, json_string_lenient(text)) : 0;
}

static const char *protocol_of(const struct listener *l)
{
        if (l->type == LISTENER_BUS)
                return "bus";
        if (l->type == LISTENER_UNIX)
                return "unix";
        return l->protocol == IPPROTO_TCP ? "tcp" : "udp";
}

static int put_place(json_t *into, const struct listener *l)
{
        char address[INET6_ADDRSTRLEN] = "?";
        int r = put(into, "protocol", json_string(protocol_of(l)));

        if (l->type != LISTENER_INET)
                return r | put(into, l->type == LISTENER_BUS ? "name" : "path", json_string_lenient(l->name));
        (void)inet_ntop(l->family, l->addr, address, sizeof(address));
        r |= put(into, "address", json_string(address));
        return r | put(into, "port", json_integer(l->port));
}

static json_t *door_json(const struct door *d, const struct names *names)
{
        const struct listener *l = d->listener;
        _cleanup_json_ json_t *o = json_object();
        int r = put(o, "kind", json_string(door_kind_to_string(d->kind)));

        r |= put_place(o, l);
        r |= put_optional(o, "unit", d->unit);
        r |= put_optional(o, "program", l->program);
        r |= put(o, "uid", l->uid == UINT32_MAX ? json_null() : json_integer(l->uid));
        r |= put_optional(o, "user", l->uid == 0 ? "root" : names_find(names, l->uid));
        r |= put(o, "closes", d->closes ? json_string_lenient(d->closes) : json_null());
        r |= put_optional(o, "advice", d->advice);
        return r == 0 ? TAKE_PTR(o) : NULL;
}

static json_t *doors_json(const struct doors *doors, const struct names *names)
{
        _cleanup_json_ json_t *list = json_array();

        for (size_t i = 0; i < doors->n; i++)
                if (json_array_append_new(list, door_json(&doors->items[i], names)) < 0)
                        return NULL;
        return TAKE_PTR(list);
}

static json_t *unseen_json(const struct problems *unseen)
{
        _cleanup_json_ json_t *list = json_array();

        for (size_t i = 0; i < unseen->n; i++)
                if (json_array_append_new(list, json_string_lenient(unseen->items[i])) < 0)
                        return NULL;
        return TAKE_PTR(list);
}

int report_doors(json_t *into, const struct lockdown *l, const struct sightings *s, const struct names *names)
{
        _cleanup_doors_ struct doors doors = {0};
        int r = lockdown_judge_doors(l, s, &doors);

        if (r < 0)
                return r;
        r = put(into, "doors", doors_json(&doors, names));
        if (s->unseen.n > 0)
                r |= put(into, "doors_unseen", unseen_json(&s->unseen));
        return r < 0 ? -ENOMEM : 0;
}
