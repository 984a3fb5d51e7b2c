/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Answers that the kernel never gives, found by fuzzing: each is an error, and nobody reads past what was
 * said. And those that get lost on the way: asked for again. */

// wrap: mnl_socket_sendto mnl_socket_recvfrom mnl_socket_get_fd recv

#include "netlink-message.h"
#include "nft-internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TABLE TABLE_PREFIX "staff"

/* ---- a made-up kernel: one answer, in one datagram, given each time it is asked ---- */

enum harm {
        NO_HARM,
        LOST,        /* never to be read */
        CUT_OFF,     /* before its last message */
        OTHER,       /* answers a question that nobody has asked */
        INTERRUPTED, /* a signal comes before it */
        NO_ROOM,
};

static struct {
        _Alignas(struct nlmsghdr) char answer[4096];
        size_t size;
        uint16_t to;     /* the type of question it answers; others get an empty list */
        bool next_is_it; /* the question just asked is that */
        bool given;
        uint32_t asked; /* the number of the question */
        unsigned questions;
        enum harm harm;  /* done to the next answer … */
        unsigned harmed; /* … and as many as this */
} fake;

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        const struct nlmsghdr *h = data;

        (void)nl;
        fake.next_is_it = (h->nlmsg_type & 0xff) == fake.to;
        fake.asked = h->nlmsg_seq;
        fake.given = false;
        fake.questions++;
        return (ssize_t)size;
}

static struct nlmsghdr *put_done(char *buffer)
{
        struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

        h->nlmsg_type = NLMSG_DONE;
        h->nlmsg_seq = 1;
        return h;
}

/* What is numbered 1 answers the question of the moment. */
static void number(void *buffer, size_t size, uint32_t with)
{
        struct nlmsghdr *h = buffer;
        int left = (int)size;

        for (; netlink_message_ok(h, left); h = mnl_nlmsg_next(h, &left))
                if (h->nlmsg_seq == 1)
                        h->nlmsg_seq = with;
}

static ssize_t fail_with(int error)
{
        errno = error;
        return -1;
}

/* Without its last message, and half of that. */
static size_t cut_off(const void *buffer, size_t size)
{
        const struct nlmsghdr *h = buffer;

        return h->nlmsg_len < size ? h->nlmsg_len + NLMSG_HDRLEN / 2 : size / 2;
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size)
{
        enum harm harm = fake.harmed > 0 && !fake.given ? fake.harm : NO_HARM;

        (void)nl;
        assert_true(size >= sizeof(fake.answer));
        if (!fake.next_is_it) {
                ((struct nlmsghdr *)put_done(buffer))->nlmsg_seq = fake.asked;
                return NLMSG_HDRLEN;
        }
        if (fake.given)
                return fail_with(EAGAIN);
        if (harm != NO_HARM)
                fake.harmed--;
        if (harm == INTERRUPTED)
                return fail_with(EINTR);
        fake.given = true;
        if (harm == LOST || harm == NO_ROOM)
                return fail_with(harm == LOST ? EAGAIN : ENOBUFS);
        memcpy(buffer, fake.answer, fake.size);
        number(buffer, fake.size, harm == OTHER ? fake.asked + 7 : fake.asked);
        return (ssize_t)(harm == CUT_OFF ? cut_off(buffer, fake.size) : fake.size);
}

/* The acknowledgements of a transaction. */
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
        (void)fd;
        (void)flags;
        if (fake.size == 0) {
                errno = EAGAIN;
                return -1;
        }
        assert_true(size >= fake.size);
        memcpy(buffer, fake.answer, fake.size);
        size = fake.size;
        fake.size = 0;
        return (ssize_t)size;
}

int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl);
int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl)
{
        (void)nl;
        return -1;
}

/* Begins the answer to a question of type TO; a message of type TYPE about a table of ours. */
static struct nlmsghdr *answer_to(uint16_t to, uint16_t type)
{
        struct nlmsghdr *h;

        memset(&fake, 0, sizeof(fake));
        fake.to = to;
        h = mnl_nlmsg_put_header(fake.answer);
        h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
        h->nlmsg_seq = 1;
        mnl_nlmsg_put_extra_header(h, sizeof(struct nfgenmsg));
        mnl_attr_put_strz(h, 1, TABLE); /* is the table's name in every kind of message */
        return h;
}

static void end_answer(const struct nlmsghdr *h)
{
        fake.size = h->nlmsg_len;
        fake.size += put_done(fake.answer + fake.size)->nlmsg_len;
}

static struct nft made_up(void)
{
        static char socket, no_frames[] = "one family is enough";
        static _Alignas(struct nlmsghdr) char message[NFT_MESSAGE_MAX];

        return (struct nft){.socket = (struct mnl_socket *)(void *)&socket,
                            .send_buffer = SIZE_MAX,
                            .message = message,
                            .no_frames = no_frames};
}

/* Every question is the first of its socket. */
static int read_chains(struct nft_chain_list *ret)
{
        struct nft n = made_up();

        return nft_read_chains(&n, TABLE, ret);
}

static int read_ranges(struct rs_set *ret)
{
        struct nft n = made_up();

        return nft_read_set(&n, NFPROTO_INET, TABLE, SET_UID_RANGES, ret);
}

/* ---- lengths ---- */

static void test_length_beyond_int(void **state)
{
        struct nlmsghdr h = {.nlmsg_len = UINT32_MAX};

        (void)state;
        assert_false(netlink_message_ok(&h, sizeof(h)));
        h.nlmsg_len = (uint32_t)INT_MAX + 1;
        assert_false(netlink_message_ok(&h, sizeof(h)));
        assert_false(netlink_message_ok(&h, INT_MAX));
        h.nlmsg_len = sizeof(h);
        assert_true(netlink_message_ok(&h, sizeof(h)));
        assert_false(netlink_message_ok(&h, sizeof(h) - 1));
        assert_false(netlink_message_ok(&h, 0));
        assert_false(netlink_message_ok(&h, -1));
}

/* It ended in a wild read behind the buffer. */
static void test_answer_beyond_int(void **state)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);

        (void)state;
        end_answer(h);
        h->nlmsg_seq = 0; /* not the answer to this question: to be passed over */
        h->nlmsg_len = 0x90000000;
        assert_int_equal(read_chains(&chains), -ETIMEDOUT);
}

/* ---- errors ---- */

static int error_answered(int error)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);

        h->nlmsg_type = NLMSG_ERROR;
        h->nlmsg_len = NLMSG_LENGTH(sizeof(struct nlmsgerr));
        ((struct nlmsgerr *)mnl_nlmsg_get_payload(h))->error = error;
        fake.size = h->nlmsg_len;
        return read_chains(&chains);
}

static void test_errors_that_are_none(void **state)
{
        (void)state;
        assert_int_equal(error_answered(0), 0);
        assert_int_equal(error_answered(-EPERM), -EPERM);
        assert_int_equal(error_answered(-4095), -4095);
        assert_int_equal(error_answered(-4096), -EBADMSG);
        assert_int_equal(error_answered(1), -EBADMSG);
        assert_int_equal(error_answered(INT_MIN), -EBADMSG);
        assert_int_equal(error_answered(INT_MAX), -EBADMSG);
}

/* Deleting a table is refused with this word, behind as much of our message as ECHOED says. */
static char *refusal(uint32_t echoed, const char *word)
{
        struct nft n = made_up();
        _cleanup_batch_ struct nft_batch b = {0};
        struct nlmsghdr *h;
        struct nlmsgerr *e;
        char *error = NULL;

        memset(&fake, 0, sizeof(fake));
        h = mnl_nlmsg_put_header(fake.answer);
        h->nlmsg_type = NLMSG_ERROR;
        h->nlmsg_flags = NLM_F_ACK_TLVS;
        h->nlmsg_seq = 2; /* behind the begin */
        e = mnl_nlmsg_put_extra_header(h, sizeof(*e));
        e->error = -EBUSY;
        e->msg.nlmsg_len = echoed;
        mnl_attr_put_strz(h, NLMSGERR_ATTR_MSG, word);
        fake.size = h->nlmsg_len;
        nft_batch_begin(&b, &n, TABLE);
        nft_delete_table(&b, TABLE);
        assert_int_equal(nft_batch_send(&b, &error), -EBUSY);
        return error;
}

/* It was looked for the kernel's word so far behind the answer. */
static void test_refusal_echoing_too_much(void **state)
{
        static const uint32_t lengths[] = {0, 15, 60, 0x10000000, INT_MAX, UINT32_MAX};
        _cleanup_free_ char *good = refusal(NLMSG_HDRLEN, "still in use");

        (void)state;
        assert_non_null(strstr(good, "(still in use)")); /* the control */
        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                _cleanup_free_ char *error = refusal(lengths[i], "still in use");

                assert_non_null(strstr(error, "refused"));
                assert_null(strstr(error, "still in use"));
        }
}

/* ---- names ---- */

static void test_chain_without_name(void **state)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);

        (void)state;
        end_answer(h);
        assert_int_equal(read_chains(&chains), -EBADMSG);

        h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);
        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, "output");
        end_answer(h);
        assert_int_equal(read_chains(&chains), 0); /* the control */
        assert_int_equal(chains.n, 1);
}

static void test_chain_without_table(void **state)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);

        (void)state;
        h->nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)); /* forget the table's name */
        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, "output");
        end_answer(h);
        assert_int_equal(read_chains(&chains), -EBADMSG);
}

/* ---- comments ---- */

/* The chain "output" with a hook and these user data; what is found as the order's id. */
static void read_comment(const void *data, size_t size, char ret[33])
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);
        struct nlattr *hook;

        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, "output");
        hook = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
        mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(NF_INET_LOCAL_OUT));
        mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl(0));
        mnl_attr_nest_end(h, hook);
        mnl_attr_put(h, NFTA_CHAIN_USERDATA, size, data);
        end_answer(h);
        assert_int_equal(read_chains(&chains), 0);
        assert_int_equal(chains.n, 1);
        memcpy(ret, chains.items[0].order, 33);
}

/* Any program writes what it likes into those of its own chains, which are listed, too. (What was read behind
 * them is seen by `make sanitize`.) */
static void test_comment_that_lies(void **state)
{
#define COMMENT(length) "\0" length "order 0123456789abcdef0123456789abcdef"
        static const char whole[] = COMMENT("\x27"), behind_another[] = "\x05\2ab" COMMENT("\x27");
        char order[33];

        (void)state;
        read_comment(whole, sizeof(whole), order);
        assert_string_equal(order, "0123456789abcdef0123456789abcdef"); /* the control */
        read_comment(behind_another, sizeof(behind_another), order);
        assert_string_equal(order, "0123456789abcdef0123456789abcdef");
        read_comment("\0\xff", 2, order);
        assert_string_equal(order, "");
        read_comment("\0", 1, order);
        assert_string_equal(order, "");
        read_comment(COMMENT("\x28"), sizeof(whole), order); /* one byte more than there is */
        assert_string_equal(order, "");
        for (size_t size = 3; size < sizeof(whole); size++) {
                read_comment(whole, size, order); /* cut off */
                assert_string_equal(order, "");
        }
#undef COMMENT
}

/* ---- elements ---- */

static void put_range_begin(struct nlmsghdr *h, uint32_t first, size_t flags_size)
{
        struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
        struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM), *key;
        const uint32_t flags = 0;

        mnl_attr_put(h, NFTA_SET_ELEM_FLAGS, flags_size, &flags);
        key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
        mnl_attr_put_u32(h, NFTA_DATA_VALUE, htonl(first));
        mnl_attr_nest_end(h, key);
        mnl_attr_nest_end(h, element);
        mnl_attr_nest_end(h, list);
}

static void test_short_flags(void **state)
{
        _cleanup_rs_set_ struct rs_set set = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM);

        (void)state;
        put_range_begin(h, 100000, 1);
        end_answer(h);
        assert_int_equal(read_ranges(&set), -EBADMSG);

        h = answer_to(NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM);
        put_range_begin(h, 100000, sizeof(uint32_t));
        end_answer(h);
        assert_int_equal(read_ranges(&set), 0); /* the control: up to the last uid */
        assert_int_equal(set.n, 1);
}

/* ---- answers that get lost ---- */

static void put_chain(void)
{
        struct nlmsghdr *h = answer_to(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN);

        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, "output");
        end_answer(h);
}

/* What was heard of it already is forgotten: no chain stands there twice. */
static void test_a_bad_answer_is_asked_for_again(void **state)
{
        static const enum harm harms[] = {LOST, CUT_OFF, OTHER, INTERRUPTED, NO_ROOM};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(harms); i++) {
                _cleanup_chain_list_ struct nft_chain_list chains = {0};

                put_chain();
                fake.harm = harms[i];
                fake.harmed = 1;
                assert_int_equal(read_chains(&chains), 0);
                assert_int_equal(chains.n, 1);
                assert_int_equal(fake.questions, harms[i] == INTERRUPTED ? 1 : 2);
        }
}

/* … and not for ever. */
static void test_answers_that_stay_bad(void **state)
{
        static const struct {
                enum harm harm;
                int error;
        } table[] = {{LOST, -ETIMEDOUT}, {CUT_OFF, -ETIMEDOUT}, {OTHER, -ETIMEDOUT}, {NO_ROOM, -ENOBUFS}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_chain_list_ struct nft_chain_list chains = {0};

                put_chain();
                fake.harm = table[i].harm;
                fake.harmed = 1000;
                assert_int_equal(read_chains(&chains), table[i].error);
                assert_int_equal(chains.n, 0);
                assert_true(fake.questions < 10);
        }
}

/* Acknowledged and no more: that the table is not there would be another answer. */
static void test_an_acknowledgement_is_no_answer(void **state)
{
        struct nft n = made_up();
        struct nft_table_state table = {0};
        struct nlmsghdr *h = answer_to(NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE);

        (void)state;
        h->nlmsg_type = NLMSG_ERROR;
        h->nlmsg_len = NLMSG_LENGTH(sizeof(struct nlmsgerr));
        fake.size = h->nlmsg_len;
        assert_int_equal(nft_table_state(&n, NFPROTO_INET, TABLE, &table), -EBADMSG);
}

/* The two messages of a transaction, acknowledged as the NUMBERS say. */
static int confirmed(const uint32_t *numbers, size_t n_numbers)
{
        struct nft n = made_up();
        _cleanup_batch_ struct nft_batch b = {0};

        memset(&fake, 0, sizeof(fake));
        for (size_t i = 0; i < n_numbers; i++) {
                struct nlmsghdr *h = mnl_nlmsg_put_header(fake.answer + fake.size);

                h->nlmsg_type = NLMSG_ERROR;
                h->nlmsg_seq = numbers[i];
                mnl_nlmsg_put_extra_header(h, sizeof(struct nlmsgerr));
                fake.size += h->nlmsg_len;
        }
        nft_batch_begin(&b, &n, TABLE);
        nft_delete_table(&b, TABLE);
        nft_delete_table(&b, TABLE);
        return nft_batch_send(&b, NULL);
}

static void test_acknowledgements(void **state)
{
        (void)state;
        assert_int_equal(confirmed((uint32_t[]){2, 3}, 2), 0);
        assert_int_equal(confirmed((uint32_t[]){3, 2}, 2), 0);
        assert_int_equal(confirmed((uint32_t[]){2, 3, 3}, 3), 0);
        assert_int_equal(confirmed((uint32_t[]){2, 2}, 2), -ENOBUFS);
        assert_int_equal(confirmed((uint32_t[]){2}, 1), -ENOBUFS);
        assert_int_equal(confirmed((uint32_t[]){2, 8}, 2), -ENOBUFS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_length_beyond_int),
                cmocka_unit_test(test_answer_beyond_int),
                cmocka_unit_test(test_chain_without_name),
                cmocka_unit_test(test_chain_without_table),
                cmocka_unit_test(test_comment_that_lies),
                cmocka_unit_test(test_errors_that_are_none),
                cmocka_unit_test(test_refusal_echoing_too_much),
                cmocka_unit_test(test_short_flags),
                cmocka_unit_test(test_a_bad_answer_is_asked_for_again),
                cmocka_unit_test(test_answers_that_stay_bad),
                cmocka_unit_test(test_an_acknowledgement_is_no_answer),
                cmocka_unit_test(test_acknowledgements),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
