// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock on the real kernel: how it is put on, changed, taken over, checked and taken off. */
#include "../../bpf/second-lock-maps.h"
#include "../../daemon/second-lock-internal.h"
#include "second-lock-lab.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>

#define PROGRAMS_MAX 64

struct lab lab;

static size_t count_pins(void)
{
        DIR *d = opendir(lab.pins);
        size_t n = 0;

        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));)
                n += e->d_name[0] != '.';
        closedir(d);
        return n;
}

/* Adds the ids of the programs that this process holds, or links to. (Others on the machine have some of
 * these names, too.) */
static void add_programs(uint32_t programs[static PROGRAMS_MAX], size_t *n)
{
        DIR *d = opendir("/proc/self/fdinfo");

        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));) {
                char path[PATH_MAX], line[128];
                FILE *f;

                snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", e->d_name);
                f = fopen(path, "re");
                while (f && fgets(line, sizeof(line), f))
                        if (*n < PROGRAMS_MAX && sscanf(line, "prog_id: %u", &programs[*n]) == 1)
                                ++*n;
                if (f)
                        fclose(f);
        }
        closedir(d);
}

static bool any_is_there(const uint32_t *programs, size_t n)
{
        bool found = false;

        for (size_t i = 0; i < n; i++) {
                int fd = bpf_prog_get_fd_by_id(programs[i]);

                found |= fd >= 0 || errno != ENOENT;
                if (fd >= 0)
                        close(fd);
        }
        return found;
}

static void test_outlives_its_daemon(void **state)
{
        struct order *o = order_of(state);
        struct words names = {};
        int status;
        pid_t pid;

        finish(o);
        o->lock = second_lock_close(o->lock);
        pid = fork();
        if (pid == 0) {
                open_lock(&o->lock);
                _exit(second_lock_engage(o->lock, &o->spec, NULL) == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);

        open_lock(&o->lock);
        assert_int_equal(second_lock_list(o->lock, &names), 0);
        assert_int_equal(names.n, 1);
        assert_string_equal(names.items[0].text, "staff.x");
        words_clear(&names);
        assert_int_equal(second_lock_adopt(o->lock, "staff.x", NULL), 0);
        assert_int_equal(second_lock_adopt(o->lock, "staff", NULL), -ENOENT);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        disengage(o);
        assert_passes(SUBJECT, OUTSIDE4, PORT);
        assert_int_equal(second_lock_list(o->lock, &names), 0);
        assert_int_equal(names.n, 0);
        words_clear(&names);
}

static void test_leaves_nothing_behind(void **state)
{
        struct order *o = order_of(state);
        uint32_t attached[8], n = ELEMENTSOF(attached), programs[PROGRAMS_MAX];
        size_t held = 0;
        int cgroup = open(lab.cgroup, O_RDONLY | O_CLOEXEC);

        engage(o);
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_int_equal(bpf_prog_query(cgroup, BPF_CGROUP_INET_EGRESS, 0, NULL, attached, &n), 0);
        assert_int_equal(n, 1);
        add_programs(programs, &held);
        assert_true(held >= 2 && any_is_there(programs, held));
        disengage(o);
        disengage(o); /* safe to repeat */
        n = ELEMENTSOF(attached);
        assert_int_equal(bpf_prog_query(cgroup, BPF_CGROUP_INET_EGRESS, 0, NULL, attached, &n), 0);
        assert_int_equal(n, 0);
        n = ELEMENTSOF(attached);
        assert_int_equal(bpf_prog_query(cgroup, BPF_CGROUP_INET_INGRESS, 0, NULL, attached, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(count_pins(), 0);
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        add_programs(programs, &held);
        o->lock = second_lock_close(o->lock);
        for (int i = 0; i < PATIENCE_MS && any_is_there(programs, held); i++)
                usleep(1000);
        assert_false(any_is_there(programs, held));
        close(cgroup);
}

static void pin_of(char *ret, size_t size, const char *pin)
{
        snprintf(ret, size, "%s/staff%%x/%s", lab.pins, pin);
}

static void remove_links(void)
{
        static const char *const links[] = {"egress", "ingress", "send", "connect"};

        for (size_t i = 0; i < ELEMENTSOF(links); i++) {
                char path[256];

                pin_of(path, sizeof(path), links[i]);
                (void)unlink(path);
        }
}

static void test_holds_without_its_pins_while_its_daemon_lives(void **state)
{
        struct order *o = order_of(state);

        engage(o);
        remove_links();
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 1);
        engage(o); /* and what it held until then goes, or it would be there twice, and for good */
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        remove_links();
        disengage(o);
        assert_passes(SUBJECT, OUTSIDE4, PORT);
}

static void test_orders_hold_each_by_itself(void **state)
{
        struct order *o = order_of(state);
        struct destinations more = {};
        struct second_lock_spec wider = o->spec;

        wider.name = "all";
        wider.destinations = &more;
        assert_int_equal(destinations_allow(&more, "192.0.2.0/24", NULL), 0);
        assert_int_equal(destinations_finish(&more, NULL), 0);
        engage(o);
        assert_int_equal(second_lock_engage(o->lock, &wider, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT); /* by the first */
        assert_refused(SUBJECT, INSIDE4, PORT);  /* by the second */
        disengage(o);
        assert_passes(SUBJECT, OUTSIDE4, PORT);
        assert_refused(SUBJECT, INSIDE4, PORT);
        assert_int_equal(second_lock_disengage(o->lock, "all", NULL), 0);
        assert_passes(SUBJECT, INSIDE4, PORT);
        destinations_clear(&more);
}

static void check_differs(struct order *o, const char *words)
{
        char *difference = NULL;

        assert_int_equal(second_lock_verify(o->lock, &o->spec, &difference), 1);
        if (!difference || !strstr(difference, words))
                fail_msg("expected \"%s\" in: %s", words, difference ?: "(nothing)");
        free(difference);
}

static void test_verify_finds_what_is_wrong(void **state)
{
        struct order *o = order_of(state);
        char path[256], *error = NULL;
        int link;

        check_differs(o, "not on");
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), -ENOENT);
        engage(o);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        allow(o, "198.51.100.0/24");
        assert_int_equal(destinations_finish(&o->destinations, NULL), 0);
        check_differs(o, "other subjects or destinations");
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);

        pin_of(path, sizeof(path), "ingress");
        link = bpf_obj_get(path);
        assert_int_equal(bpf_link_detach(link), 0);
        close(link);
        check_differs(o, "not attached any more (ingress)");
        assert_int_equal(second_lock_adopt(o->lock, "staff.x", &error), -EBADMSG);
        assert_non_null(error);
        free(error);
        assert_int_equal(second_lock_engage(o->lock, &o->spec, NULL), 0);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);

        pin_of(path, sizeof(path), "refused");
        assert_int_equal(unlink(path), 0);
        check_differs(o, "a pin is missing");
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), -EBADMSG);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        engage(o);
        assert_int_equal(count_pins(), 1);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
}

/* A plan that is in force is changed by nobody, only exchanged. */
static void test_a_plan_is_for_good(void **state)
{
        struct order *o = order_of(state);
        static const char nobody[SL_PAGE_SIZE];
        char path[256];
        int plan;

        engage(o);
        for (int i = 0; i < 2; i++) {
                pin_of(path, sizeof(path), "plan");
                plan = bpf_obj_get(path);
                assert_true(plan >= 0);
                assert_int_equal(bpf_map_update_elem(plan, &(uint32_t){0}, nobody, BPF_ANY), -EPERM);
                close(plan);
                assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        }
}

/* A daemon that died in the middle: of a change, before and after the exchange, and of putting a lock on. */
static void test_what_was_left_half_done(void **state)
{
        struct order *o = order_of(state);
        char next[256], plan[256], stale[256];
        int fd;

        engage(o);
        pin_of(next, sizeof(next), "plan+");
        pin_of(plan, sizeof(plan), "plan");
        assert_int_equal(rename(plan, next), 0); /* exchanged, not renamed; the old plan's pin is gone, too */
        assert_int_equal(second_lock_adopt(o->lock, "staff.x", NULL), 0);
        assert_int_equal(access(next, F_OK), -1);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);

        pin_of(stale, sizeof(stale), "refused");
        fd = bpf_obj_get(stale);
        assert_int_equal(bpf_obj_pin(fd, next), 0); /* something that never came into the slot */
        assert_int_equal(second_lock_adopt(o->lock, "staff.x", NULL), 0);
        assert_int_equal(access(next, F_OK), -1);

        snprintf(stale, sizeof(stale), "%s/+staff%%x", lab.pins);
        assert_int_equal(mkdir(stale, 0700), 0);
        snprintf(stale, sizeof(stale), "%s/+staff%%x/refused", lab.pins);
        assert_int_equal(bpf_obj_pin(fd, stale), 0);
        close(fd);
        o->lock = second_lock_close(o->lock);
        open_lock(&o->lock);
        assert_int_equal(count_pins(), 1);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
}

static void test_open_says_why_not(void **state)
{
        struct second_lock *lock = NULL;
        char *error = NULL;

        (void)order_of(state);
        assert_int_equal(second_lock_open("/proc", lab.pins, &lock, &error), -EOPNOTSUPP);
        assert_non_null(strstr(error, "no control group"));
        free(error);
        assert_int_equal(second_lock_open(lab.cgroup, "/tmp/lockdown-no-bpffs", &lock, &error), -EOPNOTSUPP);
        assert_non_null(strstr(error, "bpf file system"));
        free(error);
        assert_int_equal(access("/tmp/lockdown-no-bpffs", F_OK), -1);
        assert_null(lock);
        assert_int_equal(second_lock_disengage(lock, "none-of-this-name", NULL), 0);
}

/* Sends numbered datagrams without a pause until told to stop; if it is HEARD, only so many more than have
 * arrived. */
struct talker {
        int fd;
        uint32_t sent, arrived;
        bool heard;
        int stop;
        pthread_t thread;
};

#define UNDER_WAY_MAX 10000 /* for which the receiver has room */

static void *talk(void *userdata)
{
        struct talker *t = userdata;
        struct address a = address_of(OUTSIDE4, PORT);

        while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
                const bool waits =
                        t->heard && t->sent - __atomic_load_n(&t->arrived, __ATOMIC_RELAXED) > UNDER_WAY_MAX;

                if (!waits &&
                    sendto(t->fd, &t->sent, sizeof(t->sent), 0, (struct sockaddr *)&a.s, a.length) > 0)
                        t->sent++;
                if (waits || t->sent % 8 == 0)
                        usleep(100); /* so that the receiver keeps up */
        }
        return NULL;
}

static uint32_t drain(int receiver, uint16_t port_of_other, struct talker *other)
{
        struct sockaddr_in from;
        socklen_t length = sizeof(from);
        uint32_t number, subjects = 0;

        while (recvfrom(receiver, &number, sizeof(number), 0, (struct sockaddr *)&from, &length) > 0) {
                if (ntohs(from.sin_port) == port_of_other)
                        __atomic_fetch_add(&other->arrived, 1, __ATOMIC_RELAXED);
                else
                        subjects++;
        }
        return subjects;
}

/* Two plans in turn, both with SUBJECT and without OTHER. */
static void test_changes_leave_no_gap(void **state)
{
        struct order *o = order_of(state);
        struct subjects many = {};
        struct second_lock_spec wider = o->spec;
        struct talker talkers[2] = {{.fd = socket_of(SUBJECT, AF_INET, SOCK_DGRAM)},
                                    {.fd = socket_of(OTHER, AF_INET, SOCK_DGRAM), .heard = true}};
        int receiver = serve(0, lab.world, OUTSIDE4, PORT, SOCK_DGRAM), room = 32 << 20;
        struct address any = address_of("0.0.0.0", 0);
        uint32_t from_subject = 0;
        uint16_t port;

        setsockopt(receiver, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
        for (size_t i = 0; i < 2; i++)
                assert_int_equal(bind(talkers[i].fd, (struct sockaddr *)&any.s, any.length), 0);
        port = local_port(talkers[1].fd);
        for (uint32_t id = SUBJECT; id < SUBJECT + 3000; id += 2)
                idset_append(&many.uids, id, id);
        idset_normalize(&many.uids);
        wider.subjects = &many;
        engage(o);
        for (size_t i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]), 0);
        for (unsigned i = 0; i < 1000; i++) {
                assert_int_equal(second_lock_update(o->lock, i % 2 ? &o->spec : &wider, NULL), 0);
                from_subject += drain(receiver, port, &talkers[1]);
        }
        for (unsigned i = 0; i < 20; i++) { /* the same by putting on a new lock */
                assert_int_equal(second_lock_engage(o->lock, i % 2 ? &o->spec : &wider, NULL), 0);
                from_subject += drain(receiver, port, &talkers[1]);
        }
        for (size_t i = 0; i < 2; i++) {
                __atomic_store_n(&talkers[i].stop, 1, __ATOMIC_RELAXED);
                pthread_join(talkers[i].thread, NULL);
                close(talkers[i].fd);
        }
        while (ready(receiver, POLLIN, 100))
                from_subject += drain(receiver, port, &talkers[1]);
        close(receiver);
        subjects_clear(&many);
        assert_int_equal(from_subject, 0);
        assert_true(talkers[1].sent > 1000);
        assert_int_equal(talkers[1].arrived, talkers[1].sent);
}

static uint64_t now_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void add_a_hundred_thousand(struct order *o)
{
        for (uint32_t i = 0; i < 100000; i++)
                idset_append(&o->subjects.uids, 1000000 + 2 * i, 1000000 + 2 * i);
        finish(o);
}

static size_t count_entries(const char *path)
{
        DIR *d = opendir(path);
        size_t n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

/* The thread that waits for the kernel in plans_fill() has some of its own. */
static size_t count_descriptors(void)
{
        const uint64_t began = now_us();

        while (count_entries("/proc/self/task") > 3) { /* with "." and ".." */
                assert_true(now_us() - began < 10000000);
                (void)usleep(1000);
        }
        return count_entries("/proc/self/fd");
}

/* Too many for the room that is kept: their plan is made beforehand, and belongs to the next order of that
 * name only. */
static void test_staged(void **state)
{
        struct order *o = order_of(state);
        size_t descriptors;
        uint64_t began;

        add_a_hundred_thousand(o);
        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
        assert_passes(SUBJECT, OUTSIDE4, PORT);
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        began = now_us();
        engage(o);
        print_message("100,000 uids engaged in %lu us as they were staged\n",
                      (unsigned long)(now_us() - began));
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        assert_refused(1199998, OUTSIDE4, PORT);
        idset_append(&o->subjects.uids, 1200000, 1200000);
        engage(o);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(1200000, OUTSIDE4, PORT);

        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
        idset_append(&o->subjects.uids, 1200002, 1200002);
        second_lock_unstage(o->lock, o->spec.name);
        engage(o);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        /* What has room is made when it is wanted: nothing of what was staged before is left. */
        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
        idset_clear(&o->subjects.uids);
        idset_append(&o->subjects.uids, SUBJECT, SUBJECT);
        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
        engage(o);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);

        disengage(o);
        descriptors = count_descriptors();
        engage(o);
        add_a_hundred_thousand(o);
        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
        disengage(o); /* it goes with the lock */
        assert_int_equal(count_descriptors(), descriptors);
        assert_int_equal(second_lock_stage(o->lock, &o->spec), 0);
}

static void test_a_hundred_thousand(void **state)
{
        struct order *o = order_of(state);
        uint64_t began;

        add_a_hundred_thousand(o);
        began = now_us();
        engage(o);
        print_message("100,000 uids engaged in %lu us\n", (unsigned long)(now_us() - began));
        began = now_us();
        o->subjects.uids.ranges[100000].last++;
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        print_message("… and changed in %lu us\n", (unsigned long)(now_us() - began));
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        assert_refused(1000000, OUTSIDE4, PORT);
        assert_passes(1000001, OUTSIDE4, PORT);
        assert_refused(1100000, OUTSIDE4, PORT);
        assert_refused(1199998, OUTSIDE4, PORT);
        assert_refused(1199999, OUTSIDE4, PORT);
        assert_passes(1200000, OUTSIDE4, PORT);
}

/* What does not fit is refused before anything changes. */
static void test_bounds(void **state)
{
        struct order *o = order_of(state);
        struct subjects many = {};
        struct second_lock_spec spec = o->spec;

        engage(o);
        for (uint32_t i = 0; i < 8500000; i++)
                assert_int_equal(idset_append(&many.uids, 2 * i, 2 * i), 0);
        idset_normalize(&many.uids);
        spec.subjects = &many;
        assert_int_equal(second_lock_update(o->lock, &spec, NULL), -E2BIG);
        subjects_clear(&many);
        spec = o->spec;
        o->cgroup = (struct second_lock_cgroup){.id = 1, .level = 32};
        spec.n_cgroups = 1;
        assert_int_equal(second_lock_engage(o->lock, &spec, NULL), -ERANGE);
        spec = o->spec;
        spec.name = "../up";
        assert_int_equal(second_lock_engage(o->lock, &spec, NULL), -EINVAL);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_outlives_its_daemon),
                TEST(test_leaves_nothing_behind),
                TEST(test_holds_without_its_pins_while_its_daemon_lives),
                TEST(test_orders_hold_each_by_itself),
                TEST(test_verify_finds_what_is_wrong),
                TEST(test_a_plan_is_for_good),
                TEST(test_what_was_left_half_done),
                TEST(test_open_says_why_not),
                TEST(test_changes_leave_no_gap),
                TEST(test_a_hundred_thousand),
                TEST(test_staged),
                TEST(test_bounds),
        };

        return cmocka_run_group_tests_name("second-lock-life", tests, lab_make, lab_end);
}
