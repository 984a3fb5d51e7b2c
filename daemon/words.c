// SPDX-License-Identifier: GPL-2.0-or-later
#include "words.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Room for one more behind N items. The capacity is never stored: it is the power of two at or above N. */
static void *grow(void *items, size_t n, size_t size)
{
        if ((n & (n - 1)) != 0)
                return items;
        return reallocarray(items, n ? n * 2 : 1, size);
}

static void word_clear(struct word *w)
{
        free(w->text);
        free(w->file);
}

static int add_bytes(struct words *w, const char *text, size_t size, const char *file, unsigned line)
{
        struct word added = {.text = strndup(text, size), .file = file ? strdup(file) : NULL, .line = line};
        struct word *grown = NULL;

        if (added.text && (added.file || !file))
                grown = grow(w->items, w->n, sizeof(*grown));
        if (!grown) {
                word_clear(&added);
                return -ENOMEM;
        }
        w->items = grown;
        w->items[w->n++] = added;
        return 0;
}

int words_add(struct words *w, const char *text, const char *file, unsigned line)
{
        return add_bytes(w, text, strlen(text), file, line);
}

int words_split(struct words *w, const char *text, const char *file, unsigned line)
{
        static const char spaces[] = " \t\r\n\v\f";

        for (;;) {
                size_t size;
                int r;

                text += strspn(text, spaces);
                size = strcspn(text, spaces);
                if (size == 0)
                        return 0;
                r = add_bytes(w, text, size, file, line);
                if (r < 0)
                        return r;
                text += size;
        }
}

int words_copy(struct words *to, const struct words *from)
{
        _cleanup_words_ struct words copy = {0};

        for (size_t i = 0; i < from->n; i++) {
                int r = words_add(&copy, from->items[i].text, from->items[i].file, from->items[i].line);

                if (r < 0)
                        return r;
        }
        words_clear(to);
        *to = copy;
        copy = (struct words){0};
        return 0;
}

bool words_contain(const struct words *w, const char *text)
{
        for (size_t i = 0; i < w->n; i++)
                if (strcmp(w->items[i].text, text) == 0)
                        return true;
        return false;
}

bool words_equal(const struct words *a, const struct words *b)
{
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (strcmp(a->items[i].text, b->items[i].text) != 0)
                        return false;
        return true;
}

/* Joins N texts; TEXT says which is the I-th. */
static char *join(const void *list, size_t n, const char *(*text)(const void *list, size_t i), char separator)
{
        size_t size = 1;
        char *joined, *end;

        for (size_t i = 0; i < n; i++)
                size += strlen(text(list, i)) + 1;
        joined = end = malloc(size);
        if (!joined)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        *end++ = separator;
                end = stpcpy(end, text(list, i));
        }
        *end = '\0';
        return joined;
}

static const char *word_at(const void *list, size_t i)
{
        return ((const struct words *)list)->items[i].text;
}

char *words_join(const struct words *w)
{
        return join(w, w->n, word_at, ' ');
}

void words_clear(struct words *w)
{
        for (size_t i = 0; i < w->n; i++)
                word_clear(&w->items[i]);
        free(w->items);
        *w = (struct words){0};
}

/* Takes SENTENCE over (may be NULL: out of memory). */
static void add_sentence(struct problems *p, char *sentence)
{
        char **grown = sentence ? grow(p->items, p->n, sizeof(*grown)) : NULL;

        if (!grown) {
                free(sentence);
                return;
        }
        p->items = grown;
        p->items[p->n++] = sentence;
}

__attribute__((format(printf, 1, 0))) static char *format_new(const char *format, va_list arguments)
{
        char *text;

        return vasprintf(&text, format, arguments) < 0 ? NULL : text;
}

void problems_add(struct problems *p, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        add_sentence(p, format_new(format, arguments));
        va_end(arguments);
}

void problems_add_at(struct problems *p, const char *file, unsigned line, const char *format, ...)
{
        _cleanup_free_ char *sentence = NULL;
        va_list arguments;

        va_start(arguments, format);
        sentence = format_new(format, arguments);
        va_end(arguments);
        if (!sentence)
                return;
        if (file)
                problems_add(p, "%s:%u: %s", file, line, sentence);
        else /* about a request, not about a file */
                add_sentence(p, TAKE_PTR(sentence));
}

static const char *sentence_at(const void *list, size_t i)
{
        return ((const struct problems *)list)->items[i];
}

char *problems_join(const struct problems *p)
{
        return join(p, p->n, sentence_at, '\n');
}

char *problems_first(const struct problems *p)
{
        char *text = NULL;

        if (p->n == 0)
                return NULL;
        if (p->n == 1)
                return strdup(p->items[0]);
        if (asprintf(&text, "%s (and %zu more: lockdownd --check lists them)", p->items[0], p->n - 1) < 0)
                return NULL;
        return text;
}

void problems_clear(struct problems *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->items[i]);
        free(p->items);
        *p = (struct problems){0};
}
