// SPDX-License-Identifier: GPL-2.0-or-later
/* What judges who sends is not to be had. Played, for few kernels have it: in place of its
 * programs stand copies of the one that judges what is sent, so that pins and links are real ones. */

// wrap: lock_programs_load_sender judge_attach judge_attach_type sender_was_asked

#include "../../daemon/second-lock-internal.h"
#include "second-lock-sender.h"

#include <bpf/bpf.h>

struct lab lab;

static struct {
        int load, attach; /* 0 or -errno */
        bool deaf;        /* the kernel does not ask its programs */
} kernel;

int __wrap_lock_programs_load_sender(struct lock_programs *p);
int __wrap_lock_programs_load_sender(struct lock_programs *p)
{
        if (kernel.load < 0)
                return kernel.load;
        for (enum sl_judge i = SL_PACKET_JUDGES; i < SL_JUDGES; i++)
                p->judges[i] = fcntl(p->judges[SL_EGRESS], F_DUPFD_CLOEXEC, 3);
        return 0;
}

uint32_t __wrap_judge_attach_type(enum sl_judge judge);
uint32_t __wrap_judge_attach_type(enum sl_judge judge)
{
        return judge == SL_INGRESS ? BPF_CGROUP_INET_INGRESS : BPF_CGROUP_INET_EGRESS;
}

int __wrap_judge_attach(const struct lock_programs *p, enum sl_judge judge, int cgroup, int *ret_link);
int __wrap_judge_attach(const struct lock_programs *p, enum sl_judge judge, int cgroup, int *ret_link)
{
        int link;

        if (judge >= SL_PACKET_JUDGES && kernel.attach < 0)
                return kernel.attach;
        link = bpf_link_create(p->judges[judge], cgroup, __wrap_judge_attach_type(judge), NULL);
        if (link < 0)
                return link;
        *ret_link = link;
        return 0;
}

int __wrap_sender_was_asked(const struct lock_programs *p);
int __wrap_sender_was_asked(const struct lock_programs *p)
{
        (void)p;
        return !kernel.deaf;
}

static int set_up_kernel(void **state)
{
        memset(&kernel, 0, sizeof(kernel));
        return set_up(state);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up_kernel, tear_down)

static void open_anew(struct order *o)
{
        o->lock = second_lock_close(o->lock);
        open_lock(&o->lock);
}

/* The thread that puts a plan in place has descriptors of its own. */
static void wait_for_thread(void)
{
        struct stat st;

        do
                assert_int_equal(stat("/proc/self/task", &st), 0);
        while (st.st_nlink > 3 && usleep(1000) == 0);
}

/* The numbers of the programs that are not to be had are free again, and whoever has them next keeps them. */
static void test_closes_nothing_of_others(void **state)
{
        struct order *o = order_of(state);
        struct stat before, after;
        int others[32];

        assert_int_equal(fstat(lab.host, &before), 0);
        kernel.deaf = true;
        open_anew(o);
        assert_non_null(second_lock_no_sender(o->lock));
        wait_for_thread();
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                others[i] = fcntl(lab.host, F_DUPFD_CLOEXEC, 3);
        engage(o);
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                assert_int_equal(fstat(others[i], &after), 0);
                assert_int_equal(after.st_ino, before.st_ino);
                close(others[i]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_closes_nothing_of_others),
        };

        return cmocka_run_group_tests_name("second-lock-lost", tests, lab_make, lab_end);
}
