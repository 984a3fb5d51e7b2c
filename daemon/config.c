/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "cleanup.h"
#include "config-internal.h"
#include "own.h"
#include "trusted-path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Far more than anybody writes; a file beyond that is not a configuration. */
#define CONFIG_FILE_MAX (1024 * 1024)

struct config *config_free(struct config *c)
{
        if (!c)
                return NULL;
        words_clear(&c->access_order);
        words_clear(&c->access_lift);
        words_clear(&c->access_status);
        for (size_t i = 0; i < c->n_profiles; i++)
                profile_free(c->profiles[i]);
        free(c->profiles);
        free(c);
        return NULL;
}

struct config *config_new_default(void)
{
        _cleanup_(config_freep) struct config *c = calloc(1, sizeof(*c));

        if (!c || words_add(&c->access_order, "root", NULL, 0) < 0 ||
            words_add(&c->access_lift, "root", NULL, 0) < 0 || words_add(&c->access_status, "*", NULL, 0) < 0)
                return NULL;
        c->record = record_defaults;
        return TAKE_PTR(c);
}

struct profile *config_find(const struct config *c, const char *name)
{
        for (size_t i = 0; i < c->n_profiles; i++)
                if (strcmp(c->profiles[i]->name, name) == 0)
                        return c->profiles[i];
        return NULL;
}

const char *config_nearest(const struct config *c, const char *name)
{
        _cleanup_free_ const char **names = reallocarray(NULL, c->n_profiles + 1, sizeof(*names));

        if (!names)
                return NULL;
        for (size_t i = 0; i < c->n_profiles; i++)
                names[i] = c->profiles[i]->name;
        return nearest_name(name, names, c->n_profiles);
}

/* A mistake must not be forgotten for want of memory and then pass for none: -ENOMEM then, else 0. */
#define REPORT(add, problems, ...)                     \
        ({                                             \
                size_t _before = (problems)->n;        \
                add((problems), __VA_ARGS__);          \
                (problems)->n > _before ? 0 : -ENOMEM; \
        })

/* What is being read, and how. */
struct loader {
        struct config *config;
        bool roots_only; /* nobody else may be able to change it */
        struct problems *problems;
};

static int cannot_read(const char *path, int error, struct problems *problems)
{
        if (error == EACCES)
                return REPORT(problems_add, problems,
                              "%s: cannot be read: %s; lockdownd runs as the user " OWN_USER ", whose group "
                              "must have the right (chgrp " OWN_USER ", chmod g+r; a directory: g+rx)",
                              path, strerror(error));
        return REPORT(problems_add, problems, "%s: cannot be read: %s", path, strerror(error));
}

static bool told(const struct problems *problems, const char *sentence)
{
        for (size_t i = 0; i < problems->n; i++)
                if (strcmp(problems->items[i], sentence) == 0)
                        return true;
        return false;
}

/* Errors but that of trust are found again when it is opened. */
static int check_trust(const struct loader *l, const char *path, bool *ret_good)
{
        _cleanup_free_ char *why = NULL;
        int r = l->roots_only ? trusted_path(path, &why) : 0;

        *ret_good = r != -EPERM;
        if (r != -EPERM)
                return r == -ENOMEM ? r : 0;
        /* what several files are found through is told once */
        return told(l->problems, why) ? 0 : REPORT(problems_add, l->problems, "%s", why);
}

static int check_type(const char *path, const struct stat *st, mode_t type, struct problems *problems,
                      bool *ret_good)
{
        *ret_good = (st->st_mode & S_IFMT) == type;
        if (*ret_good)
                return 0;
        return REPORT(problems_add, problems, "%s: is not a %s", path,
                      type == S_IFDIR ? "directory" : "regular file");
}

/* Reads at most SIZE bytes. Returns how many, or -errno. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
        size_t done = 0;

        while (done < size) {
                ssize_t n = read(fd, buf + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        return (ssize_t)done;
}

static int cannot_open(const struct loader *l, const char *path, int error, bool required)
{
        struct stat st;

        if (error != ENOENT || required)
                return cannot_read(path, error, l->problems);
        if (lstat(path, &st) < 0)
                return 0;
        return REPORT(problems_add, l->problems,
                      "%s: is a symbolic link that leads to nothing; create the file, or remove the link",
                      path);
}

/* REQUIRED: false for the main file, which may be missing. A problem is no error here. Returns 0 or -ENOMEM.
 */
static int load_file(const struct loader *l, const char *path, bool required)
{
        /* Not blocking: a FIFO in place of the file must not hold up the daemon. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        _cleanup_free_ char *text = NULL;
        struct stat st;
        ssize_t size;
        bool good;
        int r;

        if (fd < 0)
                return cannot_open(l, path, errno, required);
        if (fstat(fd, &st) < 0)
                return cannot_read(path, errno, l->problems);
        r = check_type(path, &st, S_IFREG, l->problems, &good);
        if (r >= 0 && good)
                r = check_trust(l, path, &good);
        if (r < 0 || !good)
                return r;
        text = malloc(CONFIG_FILE_MAX + 1);
        if (!text)
                return -ENOMEM;
        size = read_all(fd, text, CONFIG_FILE_MAX + 1);
        if (size < 0)
                return cannot_read(path, (int)-size, l->problems);
        if (size > CONFIG_FILE_MAX)
                return REPORT(problems_add, l->problems, "%s: is larger than %d bytes", path,
                              CONFIG_FILE_MAX);
        return config_parse_text(l->config, path, text, (size_t)size, l->problems);
}

static int is_drop_in(const struct dirent *entry)
{
        size_t length = strlen(entry->d_name);

        return entry->d_name[0] != '.' && length > 5 && strcmp(entry->d_name + length - 5, ".conf") == 0;
}

/* By bytes: scandir()'s alphasort() would depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_drop_ins(const struct loader *l, const char *dir)
{
        struct dirent **entries = NULL;
        struct stat st;
        bool good;
        int n, r;

        if (stat(dir, &st) < 0)
                return cannot_open(l, dir, errno, false);
        r = check_type(dir, &st, S_IFDIR, l->problems, &good);
        if (r >= 0 && good)
                r = check_trust(l, dir, &good);
        if (r < 0 || !good)
                return r;
        n = scandir(dir, &entries, is_drop_in, by_name);
        if (n < 0)
                return cannot_read(dir, errno, l->problems);
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0) {
                        path = NULL;
                        r = -ENOMEM;
                }
                if (r >= 0)
                        r = load_file(l, path, true);
                free(entries[i]);
        }
        free(entries);
        return r;
}

static int load_files(const struct loader *l, const char *dir)
{
        _cleanup_free_ char *path = NULL, *drop_ins = NULL;
        struct stat st;
        bool good = true;
        int r = 0;

        if (asprintf(&path, "%s/lockdownd.conf", dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        if (asprintf(&drop_ins, "%s.d", path) < 0) {
                drop_ins = NULL;
                return -ENOMEM;
        }
        /* Who can write the directory can put another file in the place of ours. */
        if (stat(dir, &st) == 0) {
                r = check_type(dir, &st, S_IFDIR, l->problems, &good);
                if (r >= 0 && good)
                        r = check_trust(l, dir, &good);
        }
        if (r < 0 || !good)
                return r;
        r = load_file(l, path, false);
        return r < 0 ? r : load_drop_ins(l, drop_ins);
}

static int check_access_word(const struct word *word, const char *key, bool may_be_everybody,
                             struct problems *problems)
{
        if (strcmp(word->text, "*") == 0)
                return may_be_everybody
                               ? 0
                               : REPORT(problems_add_at, problems, word->file, word->line,
                                        "%s= cannot be everybody's (\"*\"): name users and @groups", key);
        if (strpbrk(word->text, ",;#\"'*") || strcmp(word->text, "@") == 0)
                return REPORT(problems_add_at, problems, word->file, word->line,
                              "%s= takes users, uids and @groups with spaces between them, not \"%s\"", key,
                              word->text);
        return 0;
}

/* A list that was emptied is root's alone: it neither locks everybody out nor lets anybody in. */
static int finish_access(struct words *w, const char *key, bool may_be_everybody, struct problems *problems)
{
        int r = w->n == 0 ? words_add(w, "root", NULL, 0) : 0;

        for (size_t i = 0; r >= 0 && i < w->n; i++)
                r = check_access_word(&w->items[i], key, may_be_everybody, problems);
        return r;
}

static int by_profile_name(const void *a, const void *b)
{
        const struct profile *const *left = a, *const *right = b;

        return strcmp((*left)->name, (*right)->name);
}

static int finish(struct config *c, struct problems *problems)
{
        int r = finish_access(&c->access_order, "Order", false, problems);

        if (r >= 0)
                r = finish_access(&c->access_lift, "Lift", false, problems);
        if (r >= 0)
                r = finish_access(&c->access_status, "Status", true, problems);
        for (size_t i = 0; r >= 0 && i < c->n_profiles; i++) {
                r = profile_finish(c->profiles[i], problems);
                if (r == -EINVAL)
                        r = 0; /* it is in PROBLEMS: look for more */
        }
        if (c->n_profiles > 1)
                qsort(c->profiles, c->n_profiles, sizeof(*c->profiles), by_profile_name);
        return r;
}

static int load(const char *dir, bool roots_only, struct config **ret, struct problems *problems)
{
        _cleanup_(config_freep) struct config *c = config_new_default();
        _cleanup_problems_ struct problems own = {};
        struct loader l = {.config = c, .roots_only = roots_only, .problems = problems ? problems : &own};
        size_t before = l.problems->n;
        int r;

        if (!c)
                return -ENOMEM;
        r = load_files(&l, dir);
        if (r >= 0)
                r = finish(c, l.problems);
        if (r < 0)
                return r;
        if (l.problems->n > before)
                return -EINVAL;
        *ret = TAKE_PTR(c);
        return 0;
}

int config_load(const char *dir, struct config **ret, struct problems *problems)
{
        return load(dir, false, ret, problems);
}

int config_load_trusted(const char *dir, struct config **ret, struct problems *problems)
{
        return load(dir, true, ret, problems);
}
