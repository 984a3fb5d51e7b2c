// SPDX-License-Identifier: GPL-2.0-or-later
#include "lines.h"
#include "resolver-internal.h"
#include <errno.h>
#include <string.h>

#define KEYWORD_MEMBERS "find-members"
#define KEYWORD_NAMES "find-names"
#define KEYWORD_PERSON "find-person"
#define KEYWORD_UID "uid"
#define KEYWORD_NAME "name"
#define KEYWORD_NO_NAME "no-name"
#define KEYWORD_END "end"

static void put_words(FILE *f, const char *keyword, const struct words *w)
{
        for (size_t i = 0; w && i < w->n; i++)
                line_put_name(f, keyword, w->items[i].text);
}

static void put_uids(FILE *f, const uint32_t *uids, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (uids[i] != UINT32_MAX) /* no account has it; its place is kept for a list of names */
                        line_put_number(f, KEYWORD_UID, uids[i]);
                else
                        fputs(KEYWORD_NO_NAME "\n", f);
}

/* Closes F, which writes to TEXT and SIZE, and hands them over. */
static int finish_text(FILE *f, char **text, const size_t *size, char **ret, size_t *ret_size)
{
        bool failed;

        fputs(KEYWORD_END "\n", f);
        failed = ferror(f) != 0;
        if (fclose(f) != 0 || failed || !*text || *size > WORKER_MESSAGE_MAX) {
                int r = !failed && *text && *size > WORKER_MESSAGE_MAX ? -EMSGSIZE : -ENOMEM;

                free(TAKE_PTR(*text));
                return r;
        }
        *ret = TAKE_PTR(*text);
        *ret_size = *size;
        return 0;
}

int resolver_encode_query(const struct resolver_query *query, char **ret, size_t *ret_size)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        fputs(KEYWORD_MEMBERS "\n", f);
        put_words(f, "group", query->groups);
        put_words(f, "user", query->users);
        put_words(f, "except-group", query->except_groups);
        put_words(f, "except-user", query->except_users);
        put_uids(f, query->seen_uids, query->n_seen_uids);
        return finish_text(f, &text, &size, ret, ret_size);
}

int resolver_encode_uids(const uint32_t *uids, size_t n, char **ret, size_t *ret_size)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        fputs(KEYWORD_NAMES "\n", f);
        put_uids(f, uids, n);
        return finish_text(f, &text, &size, ret, ret_size);
}

int resolver_encode_person(const char *user, char **ret, size_t *ret_size)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        fputs(KEYWORD_PERSON "\n", f);
        line_put_name(f, "user", user);
        return finish_text(f, &text, &size, ret, ret_size);
}

static int parse_word(const struct line *line, struct words *w)
{
        _cleanup_free_ char *name = NULL;
        int r;

        r = line_name(line, &name);
        if (r < 0)
                return r;
        return words_add(w, name, NULL, 0);
}

/* The array has room for every line there is. */
static int parse_uid(const struct line *line, struct resolver_request *request)
{
        uint32_t first, last;
        int r;

        if (line_is(line, KEYWORD_NO_NAME)) {
                request->uids[request->n_uids++] = UINT32_MAX;
                return 0;
        }
        r = line_range(line, &first, &last);
        if (r < 0)
                return r;
        request->uids[request->n_uids++] = first;
        return first == last ? 0 : -EBADMSG;
}

static int parse_request_line(const struct line *line, struct resolver_request *request)
{
        const struct {
                const char *keyword;
                struct words *words;
        } fields[] = {
                {"group", &request->groups},
                {"user", &request->users},
                {"except-group", &request->except_groups},
                {"except-user", &request->except_users},
        };

        if (line_is(line, KEYWORD_UID) || line_is(line, KEYWORD_NO_NAME))
                return parse_uid(line, request);
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (line_is(line, fields[i].keyword))
                        return parse_word(line, fields[i].words);
        return -EBADMSG;
}

static size_t count_lines(const char *text, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++)
                n += text[i] == '\n';
        return n;
}

int resolver_request_parse(const char *text, size_t size, struct resolver_request *ret)
{
        _cleanup_resolver_request_ struct resolver_request request = {0};
        struct lines l = {text, size};
        struct line line;

        request.uids = calloc(count_lines(text, size) + 1, sizeof(*request.uids));
        if (!request.uids)
                return -ENOMEM;
        if (lines_next(&l, &line) <= 0)
                return -EBADMSG;
        request.wants_names = line_is(&line, KEYWORD_NAMES);
        request.wants_person = line_is(&line, KEYWORD_PERSON);
        if (!request.wants_names && !request.wants_person && !line_is(&line, KEYWORD_MEMBERS))
                return -EBADMSG;
        for (;;) {
                int r;

                if (lines_next(&l, &line) <= 0)
                        return -EBADMSG;
                if (line_is(&line, KEYWORD_END))
                        break;
                r = parse_request_line(&line, &request);
                if (r < 0)
                        return r;
        }
        if (request.wants_person && request.users.n != 1)
                return -EBADMSG;
        *ret = request;
        request = (struct resolver_request){0};
        return 0;
}

void resolver_request_clear(struct resolver_request *request)
{
        words_clear(&request->groups);
        words_clear(&request->users);
        words_clear(&request->except_groups);
        words_clear(&request->except_users);
        free(request->uids);
        *request = (struct resolver_request){0};
}

void resolver_write_names(char *const *names, size_t n, FILE *f)
{
        for (size_t i = 0; i < n; i++)
                if (names[i])
                        line_put_name(f, KEYWORD_NAME, names[i]);
                else
                        fputs(KEYWORD_NO_NAME "\n", f);
        fputs(KEYWORD_END "\n", f);
}

static int parse_names(struct lines *l, size_t n, char **names)
{
        struct line line;

        for (size_t i = 0; i < n; i++) {
                int r;

                if (lines_next(l, &line) <= 0)
                        return -EBADMSG;
                if (line_is(&line, KEYWORD_NO_NAME))
                        continue;
                if (!line_is(&line, KEYWORD_NAME))
                        return -EBADMSG;
                r = line_name(&line, &names[i]);
                if (r < 0)
                        return r;
        }
        if (lines_next(l, &line) <= 0 || !line_is(&line, KEYWORD_END) || l->left > 0)
                return -EBADMSG;
        return 0;
}

int resolver_parse_names(const char *text, size_t size, size_t n, char ***ret)
{
        struct lines l = {text, size};
        char **names = calloc(n + 1, sizeof(*names));
        int r;

        if (!names)
                return -ENOMEM;
        r = parse_names(&l, n, names);
        if (r < 0) {
                resolver_names_free(names, n);
                return r;
        }
        *ret = names;
        return 0;
}

char **resolver_names_free(char **names, size_t n)
{
        for (size_t i = 0; names && i < n; i++)
                free(names[i]);
        free(names);
        return NULL;
}
