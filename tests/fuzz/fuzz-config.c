/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Configuration: what is accepted means the same after it was written in its canonical form, and what is not
 * is explained with the file it stands in. A line "=== 10-more.conf" begins a drop-in of that name. */

#include "config.h"
#include "fuzz.h"

#include <errno.h>
#include <sys/stat.h>

#define SEPARATOR "=== 10-more.conf\n"

static struct {
        char dir[64], drop_ins[96], main[96], drop_in[128];
} place;

static void remove_place(void)
{
        (void)unlink(place.drop_in);
        (void)unlink(place.main);
        (void)rmdir(place.drop_ins);
        (void)rmdir(place.dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        (void)argv;
        /* In memory where that is to be had: each input is written to a file. */
        snprintf(place.dir, sizeof(place.dir), "%s/fuzz-config-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        MUST(mkdtemp(place.dir));
        snprintf(place.drop_ins, sizeof(place.drop_ins), "%s/lockdownd.conf.d", place.dir);
        MUST(mkdir(place.drop_ins, 0700) == 0);
        snprintf(place.main, sizeof(place.main), "%s/lockdownd.conf", place.dir);
        snprintf(place.drop_in, sizeof(place.drop_in), "%s/10-more.conf", place.drop_ins);
        return atexit(remove_place);
}

static void write_file(const char *path, const void *data, size_t size)
{
        _cleanup_fclose_ FILE *f = fopen(path, "we");

        MUST(f);
        MUST(fwrite(data, 1, size, f) == size);
}

static void write_files(const uint8_t *data, size_t size)
{
        const uint8_t *separator = memmem(data, size, SEPARATOR, strlen(SEPARATOR));
        size_t first = separator ? (size_t)(separator - data) : size;

        write_file(place.main, data, first);
        if (separator)
                write_file(place.drop_in, separator + strlen(SEPARATOR), size - first - strlen(SEPARATOR));
        else
                (void)unlink(place.drop_in);
}

static char *canonical(const struct config *c, size_t *ret_size)
{
        char *text = NULL;
        FILE *f = open_memstream(&text, ret_size);

        MUST(f);
        MUST(config_write(c, f) == 0);
        fclose(f);
        return text;
}

static bool same_text(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

static void must_be_same(const struct config *a, const struct config *b)
{
        MUST(words_equal(&a->access_order, &b->access_order));
        MUST(words_equal(&a->access_lift, &b->access_lift));
        MUST(words_equal(&a->access_status, &b->access_status));
        MUST(record_bounds_equal(&a->record, &b->record));
        MUST(a->n_profiles == b->n_profiles);
        for (size_t i = 0; i < a->n_profiles; i++) {
                const struct profile *p = a->profiles[i], *q = b->profiles[i];

                MUST(same_text(p->name, q->name));
                MUST(same_text(p->description, q->description));
                MUST(profile_same_block(p, q));
                MUST(p->default_duration == q->default_duration);
                MUST(p->max_duration == q->max_duration);
        }
}

static void write_and_load(const struct config *c)
{
        _cleanup_(config_freep) struct config *again = NULL;
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_free_ char *text = NULL, *second = NULL;
        size_t size, second_size;

        text = canonical(c, &size);
        write_files((const uint8_t *)text, size);
        if (config_load(place.dir, &again, &problems) < 0) {
                for (size_t i = 0; i < problems.n; i++)
                        fprintf(stderr, "%s\n", problems.items[i]);
                fprintf(stderr, "the canonical form is refused:\n%s", text);
                abort();
        }
        must_be_same(c, again);
        second = canonical(again, &second_size);
        MUST(size == second_size && memcmp(text, second, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_problems_ struct problems problems = {0};
        int r;

        write_files(data, size);
        r = config_load(place.dir, &c, &problems);
        MUST(r == 0 || r == -EINVAL);
        MUST((r == 0) == (c != NULL) && (r == 0) == (problems.n == 0));
        for (size_t i = 0; i < problems.n; i++)
                MUST(strncmp(problems.items[i], place.dir, strlen(place.dir)) == 0);
        if (!c)
                return 0;
        for (size_t i = 0; i < c->n_profiles; i++) {
                MUST(profile_name_valid(c->profiles[i]->name));
                MUST(config_find(c, c->profiles[i]->name) == c->profiles[i]);
        }
        write_and_load(c);
        return 0;
}
