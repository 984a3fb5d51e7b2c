/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the daemon and its worker say to each other; the worker runs foreign code, so its answers may be
 * anything. Input: a byte, which chooses a request, a person or a list of so many names, and the message. */

#include "fuzz.h"
#include "resolver-internal.h"

#include <errno.h>

/* Numbers may stand for an account that has none only where names are asked for. */
static void encode_again(const struct resolver_request *request)
{
        _cleanup_resolver_request_ struct resolver_request again = {0};
        const struct resolver_query query = {
                .groups = &request->groups,
                .users = &request->users,
                .except_groups = &request->except_groups,
                .except_users = &request->except_users,
                .seen_uids = request->uids,
                .n_seen_uids = request->n_uids,
        };
        _cleanup_free_ char *text = NULL;
        size_t size;

        if (request->wants_person)
                MUST(resolver_encode_person(request->users.items[0].text, &text, &size) == 0);
        else if (request->wants_names)
                MUST(resolver_encode_uids(request->uids, request->n_uids, &text, &size) == 0);
        else
                MUST(resolver_encode_query(&query, &text, &size) == 0);
        MUST(resolver_request_parse(text, size, &again) == 0);
        MUST(again.wants_names == request->wants_names && again.wants_person == request->wants_person);
        if (request->wants_person) {
                MUST(words_equal(&again.users, &request->users));
                return; /* which carries nothing else */
        }
        MUST(again.n_uids == request->n_uids);
        for (size_t i = 0; i < again.n_uids; i++)
                MUST(again.uids[i] == request->uids[i]);
        if (request->wants_names)
                return; /* which carries no words */
        MUST(words_equal(&again.groups, &request->groups) && words_equal(&again.users, &request->users));
        MUST(words_equal(&again.except_groups, &request->except_groups));
        MUST(words_equal(&again.except_users, &request->except_users));
}

static void fuzz_request(const char *text, size_t size)
{
        _cleanup_resolver_request_ struct resolver_request request = {0};
        int r = resolver_request_parse(text, size, &request);

        MUST(r == 0 || r == -EBADMSG);
        if (r == 0)
                encode_again(&request);
}

static void fuzz_names(const char *text, size_t size, size_t n)
{
        _cleanup_free_ char *written = NULL;
        char **names = NULL;
        size_t length = 0;
        FILE *f;
        int r = resolver_parse_names(text, size, n, &names);

        MUST(r == 0 || r == -EBADMSG);
        MUST((r == 0) == (names != NULL));
        if (r < 0)
                return;
        f = open_memstream(&written, &length);
        MUST(f);
        resolver_write_names(names, n, f);
        fclose(f);
        resolver_names_free(names, n);
        MUST(resolver_parse_names(written, length, n, &names) == 0);
        resolver_names_free(names, n);
}

static char *write_person(const struct person *p, size_t *ret_size)
{
        char *text = NULL;
        FILE *f = open_memstream(&text, ret_size);

        MUST(f);
        MUST(person_write(p, f) == 0);
        fclose(f);
        return text;
}

static void fuzz_person(const char *text, size_t size)
{
        _cleanup_person_ struct person p = {0}, again = {0};
        _cleanup_free_ char *written = NULL, *twice = NULL;
        size_t length, twice_length;
        int r = person_parse(text, size, &p);

        MUST(r == 0 || r == -EBADMSG);
        if (r < 0)
                return;
        written = write_person(&p, &length);
        MUST(person_parse(written, length, &again) == 0);
        MUST(p.found == again.found && p.unanswered == again.unanswered &&
             p.subordinate == again.subordinate);
        twice = write_person(&again, &twice_length);
        MUST(length == twice_length && memcmp(written, twice, length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct feed f = {data, size};
        uint8_t choice = feed_byte(&f);
        _cleanup_free_ char *text = copy_bytes(f.at, f.left);

        if (choice == 'r')
                fuzz_request(text, f.left);
        else if (choice == 'p')
                fuzz_person(text, f.left);
        else
                fuzz_names(text, f.left, choice % 16);
        return 0;
}
