/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "profile.h"
#include "timespan.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* The lists and switches, which make up most of the object, under the configuration's own key names. */
static const struct {
        const char *key;
        size_t offset;
} lists[] =
        {
                {"Groups", offsetof(struct profile, groups)},
                {"Users", offsetof(struct profile, users)},
                {"ExceptUsers", offsetof(struct profile, except_users)},
                {"ExceptGroups", offsetof(struct profile, except_groups)},
                {"Services", offsetof(struct profile, services)},
},
  switches[] =
          {
                  {"Everyone", offsetof(struct profile, everyone)},
                  {"IncludeRoot", offsetof(struct profile, include_root)},
                  {"Sessions", offsetof(struct profile, sessions)},
},
  durations[] = {
          {"DefaultDuration", offsetof(struct profile, default_duration)},
          {"MaxDuration", offsetof(struct profile, max_duration)},
};

#define MEMBER(type, p, offset) ((type *)(void *)((char *)(p) + (offset)))
#define CONST_MEMBER(type, p, offset) ((const type *)(const void *)((const char *)(p) + (offset)))

/* NULL when out of memory. */
static json_t *words_to_json(const struct words *w)
{
        _cleanup_json_ json_t *array = json_array();

        for (size_t i = 0; array && i < w->n; i++)
                if (json_array_append_new(array, json_string(w->items[i].text)) < 0)
                        return NULL;
        return TAKE_PTR(array);
}

/* ---- places: where in the configuration each word stood, so that a question can be answered with the line
 * also after a restart. An object beside the words, which older versions pass over: for a list an array with
 * one "FILE:LINE" for each word, "" where nobody knows; one text for any other key and for the section. ----
 */

#define PLACES "Places"
#define PLACE_OF_SECTION "Profile"

static const struct {
        const char *key;
        size_t offset;
} destination_lists[] = {
        {"Allow", offsetof(struct profile, allow)},
        {"LoopbackDeny", offsetof(struct profile, loopback_deny)},
};

static json_t *place_to_json(const char *file, unsigned line)
{
        return file ? json_sprintf("%s:%u", file, line) : json_string("");
}

static json_t *places_of_words(const struct words *w)
{
        _cleanup_json_ json_t *array = json_array();

        for (size_t i = 0; array && i < w->n; i++)
                if (json_array_append_new(array, place_to_json(w->items[i].file, w->items[i].line)) < 0)
                        return NULL;
        return TAKE_PTR(array);
}

/* Appends P's places to J, unless it stands in no file. WORDS_HOLD: its destinations are its own words. */
static int set_places(json_t *j, const struct profile *p, bool words_hold)
{
        _cleanup_json_ json_t *places = json_object();
        int r = 0;

        if (!p->file)
                return 0;
        r |= json_object_set_new(places, PLACE_OF_SECTION, place_to_json(p->file, p->line));
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                r |= json_object_set_new(places, lists[i].key,
                                         places_of_words(CONST_MEMBER(struct words, p, lists[i].offset)));
        for (size_t i = 0; words_hold && i < ELEMENTSOF(destination_lists); i++)
                r |= json_object_set_new(
                        places, destination_lists[i].key,
                        places_of_words(CONST_MEMBER(struct words, p, destination_lists[i].offset)));
        for (size_t i = 0; i < p->places.n; i++)
                if (words_hold || strcmp(p->places.items[i].text, "DNS") != 0)
                        r |= json_object_set_new(
                                places, p->places.items[i].text,
                                place_to_json(p->places.items[i].file, p->places.items[i].line));
        return r | json_object_set_new(j, PLACES, TAKE_PTR(places));
}

/* False where J is no "FILE:LINE". The caller frees the file. */
static bool parse_place(const json_t *j, char **ret_file, unsigned *ret_line)
{
        const char *text = json_string_value(j), *colon = text ? strrchr(text, ':') : NULL;
        unsigned long line;
        char *file;

        if (!colon || colon == text || colon[1] < '0' || colon[1] > '9')
                return false;
        errno = 0;
        line = strtoul(colon + 1, NULL, 10);
        if (errno != 0 || line == 0 || line > INT32_MAX)
                return false;
        file = strndup(text, (size_t)(colon - text));
        if (!file)
                return false;
        *ret_file = file;
        *ret_line = (unsigned)line;
        return true;
}

/* Places are a comfort: what cannot be read of them is left out, and never a reason to lose an order. */
static void read_places_of_words(const json_t *array, struct words *w)
{
        if (json_array_size(array) != w->n)
                return;
        for (size_t i = 0; i < w->n; i++)
                if (!w->items[i].file)
                        (void)parse_place(json_array_get(array, i), &w->items[i].file, &w->items[i].line);
}

static bool is_list(const char *key)
{
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                if (strcmp(key, lists[i].key) == 0)
                        return true;
        for (size_t i = 0; i < ELEMENTSOF(destination_lists); i++)
                if (strcmp(key, destination_lists[i].key) == 0)
                        return true;
        return false;
}

static int read_places(const json_t *j, struct profile *p)
{
        json_t *places = json_object_get(j, PLACES), *value;
        const char *key;
        int r = 0;

        if (!p->file)
                (void)parse_place(json_object_get(places, PLACE_OF_SECTION), &p->file, &p->line);
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                read_places_of_words(json_object_get(places, lists[i].key),
                                     MEMBER(struct words, p, lists[i].offset));
        for (size_t i = 0; i < ELEMENTSOF(destination_lists); i++)
                read_places_of_words(json_object_get(places, destination_lists[i].key),
                                     MEMBER(struct words, p, destination_lists[i].offset));
        json_object_foreach(places, key, value)
        {
                _cleanup_free_ char *file = NULL;
                unsigned line = 0;

                if (r < 0 || strcmp(key, PLACE_OF_SECTION) == 0 || is_list(key) ||
                    !parse_place(value, &file, &line))
                        continue;
                r = profile_set_place(p, key, file, line);
        }
        return r;
}

/* ---- */

/* Destinations that were read back from the kernel do not follow from the profile's words: then words are
 * made that do. *RET_MADE: RET has such words, else it is left alone. */
static int words_that_hold(const struct profile *p, struct profile *ret, bool *ret_made)
{
        _cleanup_(destinations_clear) struct destinations parsed = {};
        _cleanup_problems_ struct problems mistakes = {};
        int r = profile_parse_destinations(p, &parsed, &mistakes);

        if (r < 0)
                return r;
        *ret_made = mistakes.n > 0 || !destinations_equal(&parsed, &p->destinations);
        if (!*ret_made)
                return 0;
        return destinations_to_words(&p->destinations, &ret->allow, &ret->dns, &ret->loopback_deny);
}

/* *RET_WORDS_HOLD: the words written are P's own. */
static int set_destinations(json_t *j, const struct profile *p, bool *ret_words_hold)
{
        _cleanup_(profile_freep) struct profile *made = profile_new(p->name);
        bool use_made = false;
        int r;

        if (!made)
                return -1;
        words_clear(&made->loopback_deny);
        if (words_that_hold(p, made, &use_made) < 0)
                return -1;
        if (use_made)
                p = made;
        *ret_words_hold = !use_made;
        r = json_object_set_new(j, "Allow",
                                p->allow.n ? words_to_json(&p->allow) : json_pack("[s]", "internal"));
        r |= json_object_set_new(j, "DNS", json_string(p->dns ? p->dns : "deny"));
        r |= json_object_set_new(j, "LoopbackDeny", words_to_json(&p->loopback_deny));
        return r;
}

json_t *profile_to_json(const struct profile *p)
{
        _cleanup_json_ json_t *j = json_object();
        bool words_hold = false;
        char text[64];
        int r;

        if (!j)
                return NULL;
        r = json_object_set_new(j, "Name", json_string(p->name));
        r |= json_object_set_new(j, "Description",
                                 p->description ? json_string(p->description) : json_null());
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                r |= json_object_set_new(j, lists[i].key,
                                         words_to_json(CONST_MEMBER(struct words, p, lists[i].offset)));
        for (size_t i = 0; i < ELEMENTSOF(switches); i++)
                r |= json_object_set_new(j, switches[i].key,
                                         json_boolean(*CONST_MEMBER(bool, p, switches[i].offset)));
        r |= set_destinations(j, p, &words_hold);
        r |= json_object_set_new(j, "Forward", json_string(p->forward_deny ? "deny" : "keep"));
        r |= json_object_set_new(j, "RemoteSessions", json_string(p->end_remote_sessions ? "end" : "keep"));
        r |= json_object_set_new(j, "SecondLock", json_string(p->second_lock ? "auto" : "no"));
        for (size_t i = 0; i < ELEMENTSOF(durations); i++) {
                uint64_t usec = *CONST_MEMBER(uint64_t, p, durations[i].offset);

                r |= json_object_set_new(j, durations[i].key,
                                         json_string(timespan_format_exact(usec, text, sizeof(text))));
        }
        r |= set_places(j, p, words_hold);
        return r == 0 ? TAKE_PTR(j) : NULL;
}

static int bad(struct problems *problems, const char *key, const char *expected)
{
        problems_add(problems, "\"%s\" of the profile is not %s", key, expected);
        return -EBADMSG;
}

/* A key that is missing keeps its default: files of an earlier version stay readable. */
static int read_words(const json_t *j, const char *key, struct words *to, struct problems *problems)
{
        _cleanup_words_ struct words words = {};
        const json_t *array = json_object_get(j, key);

        if (!array)
                return 0;
        if (!json_is_array(array))
                return bad(problems, key, "a list of words");
        for (size_t i = 0; i < json_array_size(array); i++) {
                const char *text = json_string_value(json_array_get(array, i));
                int r;

                if (!text)
                        return bad(problems, key, "a list of words");
                r = words_add(&words, text, NULL, 0);
                if (r < 0)
                        return r;
        }
        words_clear(to);
        *to = words;
        words = (struct words){};
        return 0;
}

static int read_bool(const json_t *j, const char *key, bool *to, struct problems *problems)
{
        const json_t *value = json_object_get(j, key);

        if (!value)
                return 0;
        if (!json_is_boolean(value))
                return bad(problems, key, "true or false");
        *to = json_is_true(value);
        return 0;
}

/* One of two words. */
static int read_choice(const json_t *j, const char *key, const char *no, const char *yes, bool *to,
                       struct problems *problems)
{
        const json_t *value = json_object_get(j, key);
        const char *text = json_string_value(value);

        if (!value)
                return 0;
        if (!text || (strcmp(text, no) != 0 && strcmp(text, yes) != 0)) {
                problems_add(problems, "\"%s\" of the profile is neither \"%s\" nor \"%s\"", key, no, yes);
                return -EBADMSG;
        }
        *to = strcmp(text, yes) == 0;
        return 0;
}

static int read_duration(const json_t *j, const char *key, uint64_t *to, struct problems *problems)
{
        const json_t *value = json_object_get(j, key);
        const char *text = json_string_value(value);
        uint64_t usec = 0;

        if (!value)
                return 0;
        if (!text || (*text && timespan_parse(text, &usec) < 0))
                return bad(problems, key, "a duration");
        *to = usec;
        return 0;
}

static int read_string(const json_t *j, const char *key, char **to, struct problems *problems)
{
        const json_t *value = json_object_get(j, key);
        char *copy;

        if (!value || json_is_null(value))
                return 0;
        if (!json_is_string(value))
                return bad(problems, key, "a text");
        copy = strdup(json_string_value(value));
        if (!copy)
                return -ENOMEM;
        free(*to);
        *to = copy;
        return 0;
}

static int read_members(const json_t *j, struct profile *p, struct problems *problems)
{
        int r = read_string(j, "Description", &p->description, problems);

        if (r >= 0)
                r = read_string(j, "DNS", &p->dns, problems);
        if (r >= 0)
                r = read_words(j, "Allow", &p->allow, problems);
        if (r >= 0)
                r = read_words(j, "LoopbackDeny", &p->loopback_deny, problems);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(lists); i++)
                r = read_words(j, lists[i].key, MEMBER(struct words, p, lists[i].offset), problems);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(switches); i++)
                r = read_bool(j, switches[i].key, MEMBER(bool, p, switches[i].offset), problems);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(durations); i++)
                r = read_duration(j, durations[i].key, MEMBER(uint64_t, p, durations[i].offset), problems);
        if (r >= 0)
                r = read_choice(j, "Forward", "keep", "deny", &p->forward_deny, problems);
        if (r >= 0)
                r = read_choice(j, "RemoteSessions", "keep", "end", &p->end_remote_sessions, problems);
        if (r >= 0)
                r = read_choice(j, "SecondLock", "no", "auto", &p->second_lock, problems);
        return r < 0 ? r : read_places(j, p);
}

int profile_from_json(const json_t *j, struct profile **ret, struct problems *problems)
{
        _cleanup_(profile_freep) struct profile *p = NULL;
        const char *name = json_string_value(json_object_get(j, "Name"));
        int r;

        if (!name) {
                problems_add(problems, "the profile has no name");
                return -EBADMSG;
        }
        p = profile_new(name);
        if (!p)
                return -ENOMEM;
        r = read_members(j, p, problems);
        if (r >= 0)
                r = profile_finish(p, problems);
        if (r < 0)
                return r == -EINVAL ? -EBADMSG : r;
        *ret = TAKE_PTR(p);
        return 0;
}
