/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tables.h"
#include "verbs.h"
#include <stddef.h>
#include <string.h>

#define MEMBER(m) offsetof(struct arguments, m)

const struct option_spec options[_OPTION_MAX] = {
        [OPTION_FOR] = {"for", 0, "DURATION", KIND_DURATION, MEMBER(duration), false,
                        "end after this long: 8h, 90min, \"1d 12h\""},
        [OPTION_UNTIL] = {"until", 0, "TIME", KIND_TIME, MEMBER(until), false,
                          "end then: 18:00, \"tomorrow 08:00\", \"2016-11-30 18:00\""},
        [OPTION_REASON] = {"reason", 0, "TEXT", KIND_TEXT, MEMBER(reason), false,
                           "why, for the record and for those who ask"},
        [OPTION_DRY_RUN] = {"dry-run", 0, NULL, KIND_FLAG, MEMBER(dry_run), false,
                            "change nothing; show whom it would cover, and the ruleset as nft(8) reads it"},
        [OPTION_CONFIRM_WITHIN] = {"confirm-within", 0, "DURATION", KIND_DURATION, MEMBER(confirm_within),
                                   false,
                                   "end it again after this long unless \"lockdownctl confirm\" comes first"},
        [OPTION_YES] = {"yes", 0, NULL, KIND_FLAG, MEMBER(yes), false,
                        "order even what ends your own session or keeps you from logging in again"},
        [OPTION_GROUP] = {"group", 0, "GROUP", KIND_LIST, MEMBER(groups), false,
                          "ad hoc: the members of this group (repeatable)"},
        [OPTION_USER] = {"user", 0, "USER", KIND_LIST, MEMBER(users), false,
                         "ad hoc: this user (repeatable)"},
        [OPTION_EVERYONE] = {"everyone", 0, NULL, KIND_FLAG, MEMBER(everyone), false,
                             "ad hoc: everybody but root"},
        [OPTION_ALLOW] = {"allow", 0, "DESTINATION", KIND_LIST, MEMBER(allow), false,
                          "ad hoc: what stays reachable, such as 203.0.113.10:443/tcp (repeatable; default: "
                          "internal)"},
        [OPTION_NAME] = {"name", 0, "NAME", KIND_TEXT, MEMBER(name), false,
                         "ad hoc: what to call it (default: adhoc, adhoc-2, …)"},
        [OPTION_ALL] = {"all", 0, NULL, KIND_FLAG, MEMBER(all), false, "everything that is in force"},
        [OPTION_VERBOSE] = {"verbose", 'v', NULL, KIND_FLAG, MEMBER(verbose), false,
                            "also the people covered by name, the order's id, and the daemon"},
        [OPTION_FROM_UNIT] = {"from-unit", 0, NULL, KIND_FLAG, MEMBER(from_unit), true,
                              "called by lockdown@.service"},
        [OPTION_JSON] = {"json", 0, NULL, KIND_FLAG, MEMBER(json), false,
                         "write one JSON document, also for an error"},
        [OPTION_QUIET] = {"quiet", 'q', NULL, KIND_FLAG, MEMBER(quiet), false,
                          "no text on success; warnings and errors only"},
        [OPTION_NO_PAGER] = {"no-pager", 0, NULL, KIND_FLAG, MEMBER(no_pager), false,
                             "do not show long output through a pager"},
        [OPTION_SOCKET] = {"socket", 0, "PATH", KIND_TEXT, MEMBER(socket), false,
                           "the daemon's socket (default: $LOCKDOWN_SOCKET or " LOCKDOWN_SOCKET_PATH ")"},
        [OPTION_HELP] = {"help", 'h', NULL, KIND_FLAG, MEMBER(help), false,
                         "this help; with a verb, the help for it"},
        [OPTION_VERSION] = {"version", 0, NULL, KIND_FLAG, MEMBER(version), false, "the version"},
};

#define TIMES (OPTION_BIT(OPTION_FOR) | OPTION_BIT(OPTION_UNTIL))

const struct verb verbs[] = {
        {.name = "order",
         .synopsis = {"order PROFILE [--for DURATION | --until TIME] [OPTION …]",
                      "order --group GROUP … --user USER … | --everyone [OPTION …]"},
         .summary = "take a profile's people off the internet",
         .description = "Puts a profile into force, or with --group, --user or --everyone an ad-hoc list of "
                        "people. It holds until it is lifted or ends by itself, also across a reboot. "
                        "Ordering what is already in force is no error.",
         .max_positional = 1,
         .options = TIMES | OPTION_BIT(OPTION_REASON) | OPTION_BIT(OPTION_DRY_RUN) |
                    OPTION_BIT(OPTION_CONFIRM_WITHIN) | OPTION_BIT(OPTION_YES) | OPTION_BIT(OPTION_GROUP) |
                    OPTION_BIT(OPTION_USER) | OPTION_BIT(OPTION_EVERYONE) | OPTION_BIT(OPTION_ALLOW) |
                    OPTION_BIT(OPTION_NAME) | OPTION_BIT(OPTION_FROM_UNIT),
         .check = order_check,
         .request = order_request,
         .write = write_order,
         .write_warnings = write_warnings},
        {.name = "lift",
         .synopsis = {"lift PROFILE [--reason TEXT]", "lift --all [--reason TEXT]"},
         .summary = "end a lockdown: give the internet back",
         .description = "Ends what is in force under this name. Lifting what is not in force is no error.",
         .max_positional = 1,
         .options = OPTION_BIT(OPTION_ALL) | OPTION_BIT(OPTION_REASON) | OPTION_BIT(OPTION_FROM_UNIT),
         .check = lift_check,
         .request = lift_request,
         .write = write_lift,
         .write_warnings = write_warnings},
        {.name = "extend",
         .synopsis = {"extend PROFILE --for DURATION | --until TIME"},
         .summary = "let it end later",
         .description = "--for counts from now. The end can only be moved later; to end it now, lift it.",
         .min_positional = 1,
         .max_positional = 1,
         .options = TIMES,
         .check = extend_check,
         .request = extend_request,
         .write = write_extend,
         .write_warnings = write_warnings},
        {.name = "confirm",
         .synopsis = {"confirm PROFILE"},
         .summary = "keep what was ordered with --confirm-within",
         .description = "An order given with --confirm-within ends by itself unless this follows in time.",
         .min_positional = 1,
         .max_positional = 1,
         .request = confirm_request,
         .write = write_confirm,
         .write_warnings = write_warnings},
        {.name = "verify",
         .synopsis = {"verify [PROFILE]"},
         .summary = "read back and try what the kernel holds, and put it right",
         .description = "lockdownd does this by itself every minute. Exit status: 0 everything holds (even "
                        "if it had to be put right), 1 it does not, 3 nothing is in force.",
         .max_positional = 1,
         .request = verify_request,
         .write = write_verify,
         .code = verify_code},
        {.name = "status",
         .synopsis = {"status [PROFILE] [--verbose]"},
         .summary = "what is in force (exit 0), or that nothing is (exit 3)",
         .max_positional = 1,
         .options = OPTION_BIT(OPTION_VERBOSE),
         .request = status_request,
         .write = write_status,
         .code = status_code},
        {.name = "profiles",
         .synopsis = {"profiles"},
         .summary = "what can be ordered",
         .request = profiles_request,
         .write = write_profiles},
        {.name = "history",
         .synopsis = {"history"},
         .summary = "lockdowns that have ended, the newest first",
         .request = history_request,
         .write = write_history},
        {.name = "attempts",
         .synopsis = {"attempts [PROFILE | ORDER-ID]"},
         .summary = "who tried to get out, and where to",
         .description =
                 "Lists what was refused: by all that is in force, by one profile, or by an order that "
                 "has ended, named by the id that history shows.",
         .max_positional = 1,
         .request = attempts_request,
         .write = write_attempts},
        {.name = "explain",
         .synopsis = {"explain USER DESTINATION"},
         .summary = "may this user reach that destination now, and why (not)",
         .description = "DESTINATION: 203.0.113.7, 203.0.113.7:443 or [2001:db8::1]:53/udp; a port without "
                        "a protocol means TCP.",
         .min_positional = 2,
         .max_positional = 2,
         .request = explain_request,
         .write = write_explain},
        {.name = "reload",
         .synopsis = {"reload"},
         .summary = "read the configuration and the groups again",
         .description = "A configuration with a mistake is refused and the one in force stays.",
         .request = reload_request,
         .write = write_reload,
         .write_warnings = write_warnings},
        {.name = "follow-units",
         .synopsis = {"follow-units"},
         .summary = "keep lockdown@NAME.service in step (run by lockdownd-units.service)",
         .internal = true,
         .run = follow_units_run},
};
const size_t n_verbs = ELEMENTSOF(verbs);

const struct verb *verb_find(const char *name)
{
        for (size_t i = 0; i < n_verbs; i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        return NULL;
}

/* The edit distance, a swap of neighbours counting one; anything above 31 bytes is far from everything. */
static unsigned distance(const char *a, const char *b)
{
        unsigned d[32][32];
        size_t la = strlen(a), lb = strlen(b);

        if (la > 31 || lb > 31)
                return UINT32_MAX;
        for (size_t i = 0; i <= la; i++) {
                for (size_t j = 0; j <= lb; j++) {
                        unsigned best;

                        if (i == 0 || j == 0) {
                                d[i][j] = (unsigned)(i + j);
                                continue;
                        }
                        best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
                        if (d[i - 1][j] + 1 < best)
                                best = d[i - 1][j] + 1;
                        if (d[i][j - 1] + 1 < best)
                                best = d[i][j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            d[i - 2][j - 2] + 1 < best)
                                best = d[i - 2][j - 2] + 1;
                        d[i][j] = best;
                }
        }
        return d[la][lb];
}

/* Keeps in BEST what is nearer to NAME, if it is near at all: two slips, but never all of a short word. */
static void consider(const char *name, const char *candidate, const char **best, unsigned *best_distance)
{
        size_t typed = strlen(name);
        bool begins = typed >= 2 && strncmp(candidate, name, typed) == 0;
        unsigned d = begins ? 1 : distance(name, candidate);

        if (d <= 2 && d * 2 < strlen(candidate) && d < *best_distance) {
                *best = candidate;
                *best_distance = d;
        }
}

const char *verb_nearest(const char *name)
{
        unsigned best_distance = UINT32_MAX;
        const char *best = NULL;

        for (size_t i = 0; i < n_verbs; i++)
                if (!verbs[i].internal)
                        consider(name, verbs[i].name, &best, &best_distance);
        return best;
}

const char *option_nearest(const char *name)
{
        unsigned best_distance = UINT32_MAX;
        const char *best = NULL;

        for (size_t i = 0; i < _OPTION_MAX; i++)
                if (!options[i].internal)
                        consider(name, options[i].name, &best, &best_distance);
        return best;
}
