/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the kernel answers about tables, chains, rules, sets and elements, and to transactions. Input: a byte
 * that chooses what is done, one that chooses the ruleset, then the answers (netlink.h). They may be anything
 * but for what libnftnl reads: it ends the program where attributes are not of the kind that the kernel
 * writes, so these messages are well formed (nft-shape.h), and a rule is the number of one of ours. */

// wrap: mnl_socket_sendto mnl_socket_recvfrom mnl_socket_get_fd recv nft_read_devices

#include "fuzz.h"
#include "netlink.h"
#include "nft-internal.h"
#include "nft-shape.h"

#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>

#define assert_int_equal(a, b) MUST((a) == (b))
#define fail_msg(...) abort()
#include "../unit/ruleset-cases.h"

static struct kernel kernel;

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        (void)nl;
        kernel_take_question(&kernel, data, size);
        return (ssize_t)size;
}

/* The one device there is. */
#define DEVICE_CHAIN "egress_1"

int __wrap_nft_read_devices(struct nft_devices *ret);
int __wrap_nft_read_devices(struct nft_devices *ret)
{
        const struct nft_device lo = {.index = 1, .name = "lo", .chain = DEVICE_CHAIN};

        *ret = (struct nft_devices){.items = copy_bytes(&lo, sizeof(lo)), .n = 1};
        return 0;
}

/* ---- rules by their number ---- */

#define RULES_MAX 4096

static struct {
        struct nlmsghdr *items[RULES_MAX];
        size_t n;
} rules;

static void add_chain(const struct ruleset *r, enum rs_chain_id id, const char *name)
{
        for (size_t i = 0; i < r->chains[id].n; i++) {
                struct nftnl_rule *rule = nft_rule_new(r->family, r->table, name, &r->chains[id].rules[i]);
                char buffer[8192] = {0};
                struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWRULE, r->family, 0, 0);

                MUST(rule && rules.n < RULES_MAX);
                nftnl_rule_nlmsg_build_payload(h, rule);
                nftnl_rule_free(rule);
                rules.items[rules.n++] = copy_bytes(buffer, h->nlmsg_len);
        }
}

/* The chains at devices are named after them. */
static void add_rules(const struct ruleset *r)
{
        for (unsigned id = 0; id < _CHAIN_MAX; id++)
                add_chain(r, id, id == CHAIN_EGRESS ? DEVICE_CHAIN : rs_chain_info(id)->name);
        if (r->frames)
                add_rules(r->frames);
}

/* Writes the answer in BRIEF, which is to be seen as the kernel would give it, into BUFFER. */
static size_t expand(const char *brief, size_t size, char *buffer, size_t max)
{
        const struct nlmsghdr *h = (const void *)brief;
        unsigned question = kernel.question & 0xff;
        size_t length = 0;
        int left = (int)size;

        for (; netlink_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                const struct nlmsghdr *from = h;
                struct nlmsghdr *to = (void *)(buffer + length);
                uint16_t number = 0;
                size_t space;

                if (question == NFT_MSG_GETRULE && h->nlmsg_type >= NLMSG_MIN_TYPE) {
                        if (mnl_nlmsg_get_payload_len(h) >= sizeof(struct nfgenmsg) + sizeof(number))
                                memcpy(&number, mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg)),
                                       sizeof(number));
                        from = rules.items[number % rules.n];
                } else if (!well_formed(h, question)) {
                        continue; /* not a word of the kernel's */
                }
                space = NLMSG_ALIGN((size_t)from->nlmsg_len);
                if (length + space > max)
                        return length;
                memset(to, 0, space);
                memcpy(to, from, from->nlmsg_len);
                to->nlmsg_seq = h->nlmsg_seq;
                to->nlmsg_pid = h->nlmsg_pid;
                to->nlmsg_flags = h->nlmsg_flags;
                length += space;
        }
        if (left > 0 && (size_t)left <= max - length) { /* what was cut off */
                memcpy(buffer + length, h, (size_t)left);
                length += (size_t)left;
        }
        return length;
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size)
{
        _Alignas(struct nlmsghdr) static char brief[64 * 1024];
        ssize_t n;

        (void)nl;
        kernel_unpoison(&kernel);
        n = kernel_give_answer(&kernel, brief, sizeof(brief));
        kernel_unpoison(&kernel);
        if (n < 0)
                return n;
        return kernel_seal(&kernel, buffer, expand(brief, (size_t)n, buffer, size), size);
}

int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl);
int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl)
{
        (void)nl;
        return -1;
}

/* Acknowledgements of a transaction: there is nothing else to be had at that moment. */
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
        struct nlmsghdr h = {0};

        (void)fd;
        (void)flags;
        if (kernel.answers.left >= sizeof(h))
                memcpy(&h, kernel.answers.at, sizeof(h));
        if (h.nlmsg_type == NLMSG_ERROR)
                return kernel_give_answer(&kernel, buffer, size);
        kernel_unpoison(&kernel);
        errno = EAGAIN;
        return -1;
}

struct case_built {
        struct ruleset_input input;
        struct ruleset *ruleset;
};

static void case_clear(struct case_built *c)
{
        ruleset_free(c->ruleset);
        input_clear(&c->input);
}

static void case_build(struct case_built *c, size_t i)
{
        const struct ruleset_case *from = &ruleset_cases[i % ELEMENTSOF(ruleset_cases)];

        fill_input(&c->input, from);
        c->ruleset = build_ruleset(&c->input, from, NULL, 0);
        ruleset_set_order(c->ruleset, "0123456789abcdef0123456789abcdef");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        (void)argv;
        for (size_t i = 0; i < ELEMENTSOF(ruleset_cases); i++) {
                _cleanup_(case_clear) struct case_built c = {0};

                case_build(&c, i);
                add_rules(c.ruleset);
        }
        return 0;
}

/* ---- what is done ---- */

static void fuzz_list(struct nft *n)
{
        struct nft_table *tables = NULL;
        size_t n_tables = 0;

        if (nft_list(n, &tables, &n_tables) < 0)
                return;
        for (size_t i = 0; i < n_tables; i++)
                MUST(tables[i].name && !(tables[i].owned && tables[i].foreign) &&
                     memchr(tables[i].order, '\0', sizeof(tables[i].order)));
        nft_tables_free(tables, n_tables);
}

static void fuzz_verify(struct nft *n, const struct ruleset *r, bool engaged)
{
        _cleanup_free_ char *difference = NULL;
        int e = nft_verify(n, r, engaged, &difference);

        MUST(e <= 1);
        MUST((e == 1) == (difference != NULL));
}

/* What was found can be kept with an order, and judged. */
static void use_destinations(const struct destinations *d)
{
        _cleanup_words_ struct words allow = {0}, loopback = {0};
        const struct endpoint outside = {
                .family = AF_INET, .addr = {198, 51, 100, 1}, .protocol = 6, .port = 80};
        _cleanup_free_ char *dns = NULL;

        (void)destinations_judge(d, &outside);
        MUST(destinations_to_words(d, &allow, &dns, &loopback) == 0);
        MUST(allow.n > 0);
}

static void fuzz_read_back(struct nft *n, const char *name)
{
        _cleanup_(destinations_clear) struct destinations destinations = {0};
        _cleanup_subjects_ struct subjects subjects = {0};
        _cleanup_free_ uint64_t *units = NULL;
        bool forward_deny = false;
        size_t n_units;

        if (nft_read_back(n, name, &subjects, &destinations, &forward_deny) == 0)
                use_destinations(&destinations);
        for (size_t i = 1; i < subjects.uids.n; i++)
                MUST(subjects.uids.ranges[i - 1].last < subjects.uids.ranges[i].first);
        (void)nft_read_units(n, name, &units, &n_units);
}

static void fuzz_attempts(struct nft *n, const char *name)
{
        _cleanup_attempts_ struct attempts a = {0}, sum = {0};
        uint64_t packets, bytes;

        if (nft_read_attempts(n, name, &a) == 0) {
                for (size_t i = 1; i < a.n; i++)
                        MUST(a.items[i - 1].uid <= a.items[i].uid);
                MUST(attempts_merge(&sum, &a) == 0 && attempts_merge(&sum, &a) == 0);
                MUST(sum.n <= a.n);
        }
        (void)nft_read_refused(n, name, &packets, &bytes);
}

/* A failure says what failed, if it was the kernel that refused. */
static void check_error(int r, char *error)
{
        MUST(r <= 0);
        MUST(r < 0 || !error);
        free(error);
}

static void fuzz_change(struct nft *n, unsigned what, const struct ruleset *old, const struct ruleset *new)
{
        char *error = NULL;
        int r;

        if (what == 0)
                r = nft_replace(n, new, true, &error);
        else if (what == 1)
                r = nft_engage(n, new, &error);
        else if (what == 2)
                r = nft_disengage(n, new, &error);
        else if (what == 3)
                r = nft_adopt(n, "staff", &error);
        else if (what == 4)
                r = nft_delete(n, "staff", &error);
        else
                r = ruleset_same_structure(old, new) ? nft_update(n, old, new, &error) : 0;
        check_error(r, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(case_clear) struct case_built c = {0}, other = {0};
        static _Alignas(struct nlmsghdr) char message[NFT_MESSAGE_MAX + 4096];
        struct nft n = {.socket = (struct mnl_socket *)(void *)&kernel,
                        .message = message,
                        .portid = PORT_ID,
                        .sequence = UINT32_MAX - 20,
                        .table_flags = NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST,
                        .send_buffer = SIZE_MAX};
        static char no_frames[] = "so it is chosen";
        uint8_t what, which;
        const char *name;

        kernel = (struct kernel){.answers = {data, size}};
        what = feed_byte(&kernel.answers);
        which = feed_byte(&kernel.answers);
        n.no_frames = what >= 128 ? no_frames : NULL;
        what %= 12;
        name = ruleset_cases[which % ELEMENTSOF(ruleset_cases)].name;
        if (what >= 4) {
                case_build(&c, which);
                case_build(&other, which / ELEMENTSOF(ruleset_cases));
        }
        if (what == 0)
                fuzz_list(&n);
        else if (what == 1)
                fuzz_read_back(&n, name);
        else if (what == 2 || what == 3)
                fuzz_attempts(&n, name);
        else if (what == 4 || what == 5)
                fuzz_verify(&n, c.ruleset, what == 4);
        else
                fuzz_change(&n, what - 6U, c.ruleset, other.ruleset);
        kernel_unpoison(&kernel);
        return 0;
}
