// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of a lockdown, hooked up piece by piece: what does each rule cost?
 *
 *   rules FIRST N STEP SUBORDINATE APART    N members, FIRST the lowest, STEP between two, each with as many
 * subordinate ids as half of APART, from SUBORDINATE on
 *
 * Says first what stands at the beginning of chain output. Then answers each line with "done": "STATEMENTS
 * POSTROUTING FRAMES" hooks up output with only so many statements of its first rule and a return behind them
 * (none: the chain alone), and the two others whole or not (1 or 0); "off" takes it all off again. */
#include "destinations.h"
#include "nft-internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die(const char *what, int error, const char *why)
{
        fprintf(stderr, "%s: %s\n", what, why ? why : strerror(-error));
        exit(1);
}

static uint32_t number(const char *text)
{
        return (uint32_t)strtoul(text, NULL, 10);
}

static int fill_subjects(struct subjects *s, char **argv)
{
        uint32_t first = number(argv[1]), n = number(argv[2]), step = number(argv[3]);
        uint32_t subordinate = number(argv[4]), apart = number(argv[5]);
        int e = idset_append(&s->gids, 5000, 5000);

        for (uint32_t i = 0; i < n && e == 0; i++) {
                uint32_t from = subordinate + i * apart;

                e = idset_append(&s->uids, first + i * step, first + i * step);
                if (e == 0)
                        e = idset_append(&s->uid_ranges, from, from + apart / 2 - 1);
                if (e == 0)
                        e = idset_append(&s->gid_ranges, from, from + apart / 2 - 1);
        }
        return e;
}

static struct ruleset *build(char **argv)
{
        _cleanup_subjects_ struct subjects subjects = {0};
        _cleanup_(destinations_clear) struct destinations destinations = {0};
        const struct ruleset_spec spec = {
                .name = "rules", .subjects = &subjects, .destinations = &destinations, .frames = true};
        struct ruleset *r = NULL;
        char *problem = NULL;
        int e = fill_subjects(&subjects, argv);

        if (e == 0)
                e = destinations_allow(&destinations, "internal", &problem);
        if (e == 0)
                e = destinations_set_dns(&destinations, "deny", &problem);
        if (e == 0)
                e = destinations_finish(&destinations, &problem);
        if (e == 0)
                e = ruleset_build(&spec, &r);
        if (e < 0)
                die("ruleset", e, problem);
        return r;
}

/* The line of the text behind the one that names the hook. */
static void say_first_rule(const struct ruleset *r)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        char *at, *end;

        if (!f || ruleset_write_text(r, true, &(struct words){0}, f) < 0 || fclose(f) != 0)
                die("text", -ENOMEM, NULL);
        at = strstr(text, "hook output priority");
        at = at ? strchr(at, '\n') : NULL;
        end = at ? strchr(at + 1, '\n') : NULL;
        if (!end)
                die("text", -EINVAL, "no chain output");
        printf("%.*s\n", (int)(end - at - 1), at + 1);
        fflush(stdout);
}

static void engage(struct nft *n, const struct ruleset *r, int statements, bool postrouting, bool frames)
{
        struct ruleset some = *r;
        struct rs_rule rule = r->chains[CHAIN_OUTPUT].rules[0];
        char *error = NULL;
        int e;

        if (statements < 0 || (size_t)statements >= rule.n)
                die("statements", -EINVAL, "as many as there are before the verdict");
        rule.statements[statements] = rule.statements[rule.n - 1];
        rule.n = (size_t)statements + 1;
        some.chains[CHAIN_OUTPUT] =
                (struct rs_chain){.present = true, .rules = &rule, .n = statements > 0 ? 1 : 0};
        some.chains[CHAIN_POSTROUTING].present = postrouting;
        if (!frames)
                some.frames = NULL;
        e = nft_engage(n, &some, &error);
        if (e < 0)
                die("engage", e, error);
}

int main(int argc, char **argv)
{
        _cleanup_(ruleset_freep) struct ruleset *r = NULL;
        _cleanup_(nft_closep) struct nft *n = NULL;
        int statements, postrouting, frames, e;
        char line[64], *error = NULL;

        if (argc != 6) {
                fprintf(stderr, "usage: rules FIRST N STEP SUBORDINATE APART\n");
                return 2;
        }
        r = build(argv);
        e = nft_open(&n, &error);
        if (e == 0)
                e = nft_replace(n, r, false, &error);
        if (e < 0)
                die("table", e, error);
        say_first_rule(r);
        while (fgets(line, sizeof(line), stdin)) {
                /* NOLINTNEXTLINE(cert-err34-c): our own test's */
                if (sscanf(line, "%d %d %d", &statements, &postrouting, &frames) == 3)
                        engage(n, r, statements, postrouting, frames);
                else if ((e = nft_disengage(n, r, &error)) < 0)
                        die("disengage", e, error);
                printf("done\n");
                fflush(stdout);
        }
        return 0;
}
