// SPDX-License-Identifier: GPL-2.0-or-later
/* What judges who sends is not to be had, or goes for a moment and comes back. Played, for few kernels have
 * it: in place of its programs stand copies of the one that judges what is sent, so that pins and links are
 * real ones. */

// wrap: lock_programs_load lock_programs_load_sender judge_attach judge_attach_type sender_was_asked

#include "../../daemon/second-lock-internal.h"
#include "second-lock-sender.h"

#include <bpf/bpf.h>

struct lab lab;

static struct {
        int load, attach; /* 0 or -errno */
        bool deaf;        /* the kernel does not ask its programs */
        int typed;        /* 0 or -errno: of those that judge packets */
        unsigned loads;   /* of those */
} kernel;

int __real_lock_programs_load(bool typed, struct lock_programs *ret);
int __wrap_lock_programs_load(bool typed, struct lock_programs *ret);
int __wrap_lock_programs_load(bool typed, struct lock_programs *ret)
{
        kernel.loads++;
        return typed && kernel.typed < 0 ? kernel.typed : __real_lock_programs_load(typed, ret);
}

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

static void assert_says(const struct order *o, const char *words)
{
        const char *why = second_lock_no_sender(o->lock);

        if (!why || !strstr(why, words))
                fail_msg("expected \"%s\" in: %s", words, why ?: "nothing");
}

/* Has the order's lock what judges who sends? */
static bool has_it(const char *pin)
{
        char path[256];

        snprintf(path, sizeof(path), "%s/staff%%x/%s", lab.pins, pin);
        return access(path, F_OK) == 0;
}

static void assert_has_it(struct order *o, bool expected)
{
        assert_int_equal(has_it("send"), expected);
        assert_int_equal(has_it("connect"), expected);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        assert_passes(SUBJECT, INSIDE4, PORT);
}

/* As the manager does when it is told that it is back. */
static void bring_into_line(struct order *o)
{
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), -EBADMSG);
        engage(o);
}

static void test_is_there(void **state)
{
        struct order *o = order_of(state);

        assert_null(second_lock_no_sender(o->lock));
        assert_false(second_lock_sender_lost(o->lock));
        engage(o);
        assert_has_it(o, true);
}

static void test_refused_plainly(void **state)
{
        static const int refusals[] = {-EPERM, -ENOSYS, -EOPNOTSUPP};
        struct order *o = order_of(state);

        for (size_t i = 0; i <= ELEMENTSOF(refusals); i++) {
                kernel.deaf = i == ELEMENTSOF(refusals);
                kernel.load = kernel.deaf ? 0 : refusals[i];
                open_anew(o);
                assert_says(o, kernel.deaf ? "does not run BPF LSM" : "refuses its programs");
                assert_null(strstr(second_lock_no_sender(o->lock), "again"));
                assert_false(second_lock_sender_lost(o->lock));
        }
        engage(o);
        assert_has_it(o, false);
}

static void test_lost_at_first(void **state)
{
        struct order *o = order_of(state);

        kernel.load = -ENOMEM;
        open_anew(o);
        assert_says(o, "could not be loaded");
        assert_says(o, "it is tried again");
        assert_true(second_lock_sender_lost(o->lock));
        engage(o);
        assert_has_it(o, false);
        assert_int_equal(second_lock_try_sender(o->lock), -ENOMEM);
        assert_true(second_lock_sender_lost(o->lock));
        kernel.load = 0;
        assert_int_equal(second_lock_try_sender(o->lock), 0);
        assert_null(second_lock_no_sender(o->lock));
        bring_into_line(o);
        assert_has_it(o, true);
}

/* Nobody knows what that means: it is not asked for ever. */
static void test_never_there(void **state)
{
        struct order *o = order_of(state);
        unsigned tries = 0;

        kernel.load = -EINVAL;
        open_anew(o);
        for (; second_lock_sender_lost(o->lock); tries++) {
                assert_true(tries < 10);
                assert_int_equal(second_lock_try_sender(o->lock), -EINVAL);
        }
        assert_int_equal(tries, 3);
        assert_says(o, "when lockdownd is restarted");
        engage(o);
        assert_has_it(o, false);
}

/* It was there, so whatever keeps it away is of the moment, and an order that has it keeps it. */
static void test_lost_later(void **state)
{
        struct order *o = order_of(state);

        engage(o);
        kernel.load = -EPERM;
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        assert_says(o, "it is tried again");
        assert_has_it(o, true);
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        for (int i = 0; i < 10; i++) {
                assert_int_equal(second_lock_try_sender(o->lock), -EPERM);
                assert_true(second_lock_sender_lost(o->lock));
        }
        engage(o); /* anew */
        assert_has_it(o, false);
        kernel.load = 0;
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        assert_true(second_lock_sender_lost(o->lock)); /* nobody has asked yet whether the kernel asks it */
        assert_int_equal(second_lock_try_sender(o->lock), 0);
        assert_null(second_lock_no_sender(o->lock));
        bring_into_line(o);
        assert_has_it(o, true);
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        assert_null(second_lock_no_sender(o->lock));
}

static void test_cannot_be_attached(void **state)
{
        struct order *o = order_of(state);

        kernel.attach = -E2BIG;
        engage(o);
        assert_says(o, "places");
        assert_says(o, "it is tried again");
        assert_has_it(o, false);
        assert_int_equal(second_lock_try_sender(o->lock), -E2BIG);
        assert_true(second_lock_sender_lost(o->lock));
        assert_has_it(o, false);
        kernel.attach = 0;
        assert_int_equal(second_lock_try_sender(o->lock), 0);
        bring_into_line(o);
        assert_has_it(o, true);
}

static void engage_as(struct order *o, const char *name)
{
        o->spec.name = name;
        engage(o);
}

/* Nobody waits for programs, as long as there are no more orders than were expected. */
static void test_ready_for_several(void **state)
{
        struct order *o = order_of(state);
        unsigned n;

        kernel.loads = 0;
        assert_int_equal(second_lock_prepare(o->lock, 3, NULL), 1);
        assert_int_equal(second_lock_prepare(o->lock, 3, NULL), 0);
        assert_int_equal(second_lock_prepare(o->lock, 3, NULL), 0);
        assert_int_equal(kernel.loads, 2);
        engage_as(o, "one");
        engage_as(o, "two");
        engage_as(o, "three");
        assert_int_equal(kernel.loads, 2);
        engage_as(o, "four");
        assert_int_equal(kernel.loads, 3);
        for (n = 0; second_lock_prepare(o->lock, SIZE_MAX, NULL) > 0; n++)
                assert_true(n < READY_MAX);
        assert_int_equal(kernel.loads, 3 + READY_MAX);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        for (const char *const *name = (const char *const[]){"one", "two", "three", "four", NULL}; *name;
             name++) {
                o->spec.name = *name;
                assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
                assert_int_equal(second_lock_disengage(o->lock, *name, NULL), 0);
        }
        assert_passes(SUBJECT, OUTSIDE4, PORT);
}

/* What was made ready without what judges who sends is not used when that is to be had again. */
static void test_ready_without_it(void **state)
{
        struct order *o = order_of(state);

        kernel.load = -ENOMEM;
        open_anew(o);
        assert_int_equal(second_lock_prepare(o->lock, 2, NULL), 0);
        kernel.load = 0;
        assert_int_equal(second_lock_try_sender(o->lock), 0);
        assert_int_equal(second_lock_prepare(o->lock, 2, NULL), 0);
        engage(o);
        assert_has_it(o, true);
        engage(o);
        assert_has_it(o, true);
}

/* … nor what is on its way then. */
static void test_on_their_way_without_it(void **state)
{
        struct order *o = order_of(state);
        struct second_lock_loading *l;

        kernel.load = -ENOMEM;
        open_anew(o);
        l = second_lock_load_begin(o->lock, 2);
        assert_non_null(l);
        second_lock_load(l);
        kernel.load = 0;
        assert_int_equal(second_lock_try_sender(o->lock), 0);
        assert_int_equal(second_lock_load_end(o->lock, l, 2, NULL), 1);
        assert_int_equal(o->lock->n_spare, 0);
        assert_null(second_lock_no_sender(o->lock));
        assert_int_equal(second_lock_prepare(o->lock, 2, NULL), 0);
        engage(o);
        assert_has_it(o, true);
        engage(o);
        assert_has_it(o, true);
}

/* What was on its way with it serves without. */
static void test_on_their_way_with_it(void **state)
{
        struct order *o = order_of(state);
        struct second_lock_loading *l = second_lock_load_begin(o->lock, 2);

        assert_non_null(l);
        second_lock_load(l);
        kernel.attach = -E2BIG;
        engage(o);
        assert_has_it(o, false);
        assert_int_equal(second_lock_load_end(o->lock, l, 1, NULL), 0);
        kernel.loads = 0;
        engage(o);
        assert_has_it(o, false);
        assert_int_equal(kernel.loads, 0);
        assert_int_equal(second_lock_disengage(o->lock, o->spec.name, NULL), 0);
        assert_passes(SUBJECT, OUTSIDE4, PORT);
}

/* There may be as many as are kept by the time that they come. */
static void test_on_their_way_and_not_needed(void **state)
{
        struct order *o = order_of(state);
        struct second_lock_loading *l = second_lock_load_begin(o->lock, SIZE_MAX);

        assert_non_null(l);
        assert_int_equal(o->lock->n_spare, 0);
        second_lock_load(l);
        while (second_lock_prepare(o->lock, SIZE_MAX, NULL) > 0)
                ;
        assert_int_equal(o->lock->n_spare, READY_MAX - 1);
        assert_int_equal(second_lock_load_end(o->lock, l, SIZE_MAX, NULL), 0);
        assert_int_equal(o->lock->n_spare, READY_MAX - 1);
        assert_null(second_lock_load_begin(o->lock, SIZE_MAX));
}

/* Where the kernel should take the typed programs, it does. */
static void require_typed(const struct order *o)
{
        struct sl_offsets offsets;
        bool typed = false;

        assert_int_equal(kernel_offsets(&offsets, &typed), 0);
        if (!typed) {
                print_message("skipped: Linux before 6.2 takes no typed programs\n");
                skip();
        }
        assert_true(o->lock->typed);
}

/* What a kernel says that does not take the typed programs. What is of the moment is no
 * reason to take others. */
static void test_not_typed(void **state)
{
        static const int refusals[] = {-EINVAL, -EACCES, -EPERM, -E2BIG},
                         momentary[] = {-ENOMEM, -EMFILE, -EAGAIN};
        struct order *o = order_of(state);
        struct second_lock *lock = NULL;

        require_typed(o);
        for (size_t i = 0; i < ELEMENTSOF(refusals); i++) {
                kernel.typed = refusals[i];
                open_anew(o);
                assert_false(o->lock->typed);
                kernel.typed = 0;
                engage(o);
                assert_has_it(o, true);
                assert_int_equal(second_lock_disengage(o->lock, o->spec.name, NULL), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(momentary); i++) {
                char *error = NULL;

                kernel.typed = momentary[i];
                assert_int_equal(second_lock_open(lab.cgroup, lab.pins, &lock, &error), momentary[i]);
                assert_non_null(strstr(error, "second lock"));
                free(error);
        }
}

/* An order in force is known by its programs: others are not taken for want of something of the moment. */
static void test_typed_for_good(void **state)
{
        struct order *o = order_of(state);

        require_typed(o);
        engage(o);
        kernel.typed = -EINVAL;
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), -EOPNOTSUPP);
        assert_has_it(o, true);
        kernel.typed = 0;
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        assert_has_it(o, true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_closes_nothing_of_others),
                TEST(test_is_there),
                TEST(test_refused_plainly),
                TEST(test_lost_at_first),
                TEST(test_never_there),
                TEST(test_lost_later),
                TEST(test_cannot_be_attached),
                TEST(test_ready_for_several),
                TEST(test_ready_without_it),
                TEST(test_on_their_way_without_it),
                TEST(test_on_their_way_with_it),
                TEST(test_on_their_way_and_not_needed),
                TEST(test_not_typed),
                TEST(test_typed_for_good),
        };

        return cmocka_run_group_tests_name("second-lock-lost", tests, lab_make, lab_end);
}
