/* SPDX-License-Identifier: GPL-2.0-or-later */

/* In what order the manager asks its edges, and what it does when one of them refuses. */

// wrap: nft_owns_tables nft_why_no_frames nft_engage nft_replace nft_disengage
// wrap: nft_stage nft_update nft_forget_devices device_watch_is_pending
// wrap: nft_delete nft_read_attempts nft_table_number nft_read_refused nft_close sever_can_destroy
// wrap: sever_run sever_listeners sever_unix_listeners sever_close second_lock_adopt
// wrap: second_lock_load_begin second_lock_load second_lock_load_end second_lock_stage second_lock_unstage
// wrap: second_lock_engage second_lock_update second_lock_disengage second_lock_is_ready
// wrap: second_lock_read_refused second_lock_no_sender second_lock_sender_lost second_lock_try_sender
// wrap: second_lock_close resolver_cancel
// wrap: store_save_order store_save_record store_take_back_end audit audit_log
// wrap: nft_verify_read nft_cover_devices nft_stand_in

#include "manager-lab.h"
#include <sys/stat.h>

static int verify_says;
static bool believed; /* the kernel's word, for large sets */

int __wrap_nft_verify_read(struct nft *n, const struct ruleset *r, bool engaged, const struct nft_reading *g,
                           char **ret_difference);
int __wrap_nft_verify_read(struct nft *n, const struct ruleset *r, bool engaged, const struct nft_reading *g,
                           char **ret_difference)
{
        (void)n;
        (void)engaged;
        (void)g;
        believed = ruleset_is_compared(r);
        if (verify_says > 0)
                *ret_difference = strdup("something is");
        return verify_says;
}

int __wrap_nft_stand_in(struct nft *n, const struct ruleset *r, const struct ruleset *few, char **ret_error);
int __wrap_nft_stand_in(struct nft *n, const struct ruleset *r, const struct ruleset *few, char **ret_error)
{
        (void)n;
        (void)r;
        (void)few;
        (void)ret_error;
        return 0;
}

/* What was refused is on disk before the first lock goes. */
#define ENDS(how) "save " how ", sever, read attempts, save attempts, save " how ", second off, disengage"

/* Block first, with both locks; cut what is open; then the disk; only then is it told. */
static void test_order(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        assert_steps(ORDERED);
        assert_true(f->l->order && f->l->engaged && f->l->second_engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
        assert_int_equal(json_integer_value(json_object_get(f->reply, "severed")), 2);
        order(f, 0); /* once more: nothing is done */
        assert_steps("reply");
        assert_true(json_is_true(json_object_get(f->reply, "already_in_force")));
}

/* The list of devices on hand is not used then. */
static void test_order_with_a_new_device(void **state)
{
        struct manager_fixture *f = *state;

        edges.device_came = true;
        order(f, 0);
        assert_steps("forget devices, " ORDERED);
}

/* What the second lock has ready belongs to a table that is staged: whatever changes that, changes it. */
static void test_second_lock_is_staged_with_the_table(void **state)
{
        struct manager_fixture *f = *state;

        assert_int_equal(lockdown_sync(f->l), 0);
        assert_true(edges.second_staged);
        order(f, 0);
        assert_true(edges.second_staged); /* the lock's to use, not ours to drop */
        assert_int_equal(lockdown_sync(f->l), 0);
        assert_false(edges.second_staged); /* others are meant, perhaps */
        lift(f, "staff");
        assert_false(edges.second_staged);
        while (!edges.second_staged) /* after the answer */
                assert_true(sd_event_run(f->m->event, 0) > 0);
        manager_remove(f->m, f->l);
        assert_false(edges.second_staged);
}

/* Whoever orders before that finds what had been in force, unless that is another plan by now. */
static void test_what_is_staged_is_outdated(void **state)
{
        struct manager_fixture *f = *state;
        struct profile *p = new_profile("staff");
        _cleanup_problems_ struct problems problems = {0};

        order(f, 0);
        assert_int_equal(words_add(&p->users, "other", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        profile_free(f->l->profile);
        f->l->profile = p;
        lift(f, "staff");
        edges.n = 0;
        order(f, 0);
        assert_steps("load engaged, second on, sever, save active, journal ordered, reply");
}

static void on_change(void *userdata, const char *profile, const char *state)
{
        (void)userdata;
        assert_string_equal(profile, "staff");
        step("tell %s", state);
}

/* Whoever ordered has his answer before all others hear of it. */
static void test_others_are_told_last(void **state)
{
        struct manager_fixture *f = *state;

        manager_on_change(f->m, on_change, f);
        order(f, 0);
        assert_steps(ORDERED);
        assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_steps("tell active");
        lift(f, "staff");
        assert_steps(ENDS("lifted") ", journal lifted, reply");
        order(f, 0); /* what is staged is as good as it was */
        assert_steps(ORDERED);
        while (edges.n == 0)
                assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_steps("tell lifted, tell active");
}

/* The other way round: first it is on disk that it is over, last the hooks go. */
static void test_lift(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_loaded_ struct loaded h = {0};
        _cleanup_attempts_ struct attempts a = {0};

        order(f, 0);
        edges.n = 0;
        lift(f, "staff");
        assert_steps(ENDS("lifted") ", journal lifted, reply");
        assert_true(!f->l->order && !f->l->engaged && !f->l->second_engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 1);
        assert_int_equal(h.orders[0]->refused_packets, 4); /* of both locks */
        assert_int_equal(h.orders[0]->severed, 4);
        assert_int_equal(store_load_attempts(f->m->store, h.orders[0]->id, &a), 0);
        assert_int_equal(a.packets, 3);
        lift(f, "staff");
        assert_steps("reply");
}

/* What it came to is on disk already: nothing. */
static void test_lift_of_a_quiet_order(void **state)
{
        struct manager_fixture *f = *state;

        edges.quiet = edges.alone = true;
        order(f, 0);
        edges.n = 0;
        lift(f, "staff");
        assert_steps("save lifted, sever, read attempts, second off, disengage, journal lifted, reply");
        order(f, 0);
        edges.save = -ENOSPC;
        edges.n = 0;
        lift(f, "staff"); /* that is not on disk: tried again */
        assert_steps("save lifted, sever, read attempts, save lifted, second off, disengage, save lifted, "
                     "journal not saved, journal lifted, reply");
}

/* Whatever came to it in the end is. */
static void test_lift_after_the_last_connection(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_loaded_ struct loaded h = {0};

        edges.quiet = edges.alone = true;
        order(f, 0);
        edges.alone = false;
        lift(f, "staff");
        edges.alone = true;
        order(f, 0);
        edges.quiet = false;
        lift(f, "staff");
        edges.n = 0;
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 2);
        assert_int_equal(h.orders[1]->severed, 2);
        assert_int_equal(h.orders[0]->refused_packets, 4);
}

static void test_expiry(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 20 * 1000);
        assert_steps(ORDERED);
        while (f->l->order)
                assert_true(sd_event_run(f->m->event, 10 * USEC_PER_SEC) >= 0);
        assert_steps(ENDS("expired") ", journal expired");
        assert_int_equal(count_files(&f->disk, "orders"), 0);
}

/* Of people whom no profile has: there is nothing staged, and nothing of it on disk. */
static struct lockdown *order_adhoc(struct manager_fixture *f)
{
        _cleanup_(profile_freep) struct profile *p = new_profile("night");
        struct lockdown *l = manager_add(f->m, p, false);
        struct order *o;
        struct now now;

        assert_non_null(l);
        know_people(l);
        clock_now(&now);
        o = order_new(p, id_of(1), &now);
        assert_non_null(o);
        p = NULL;
        assert_int_equal(lockdown_engage(l, o, NULL), 0);
        return l;
}

/* A machine that goes off in the middle of saving finds no order without its people. */
static void test_people_are_saved_first(void **state)
{
        struct manager_fixture *f = *state;

        edges.save = -EIO;
        assert_non_null(order_adhoc(f)->save_problem);
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        assert_int_equal(count_files(&f->disk, "members"), 2); /* staff's, too */
}

/* They stand there since they were staged; but somebody has removed them. */
static void test_people_are_saved_again(void **state)
{
        struct manager_fixture *f = *state;

        assert_int_equal(store_drop_membership(f->m->store, "staff"), 0);
        order(f, 0);
        edges.n = 0;
        assert_true(store_has_membership(f->m->store, "staff"));
}

/* An order without them is not saved as it should be, and says so. */
static void test_people_are_not_saved(void **state)
{
        struct manager_fixture *f = *state;
        const char *list = path_in(&f->disk, "members/staff");

        assert_int_equal(unlink(list), 0);
        assert_int_equal(mkdir(list, 0700), 0);
        f->l->members_saved = false;
        order(f, 0);
        assert_steps("engage, second on, sever, save active, journal not saved, journal ordered, reply");
        assert_true(warned(f, "will not survive a reboot"));
        assert_int_equal(rmdir(list), 0);
        manager_retry_saving(f->m);
        edges.n = 0;
        assert_null(f->l->save_problem);
        assert_true(store_has_membership(f->m->store, "staff"));
}

/* An ad-hoc order leaves nothing. */
static void test_adhoc(void **state)
{
        struct manager_fixture *f = *state;

        (void)order_adhoc(f);
        assert_steps("load engaged, second on, sever, save active");
        lift(f, "night");
        assert_steps("save lifted, sever, read attempts, save attempts, save lifted, second off, delete, "
                     "journal lifted, reply");
        assert_null(manager_find(f->m, "night"));
        assert_int_equal(count_files(&f->disk, "members"), 1); /* staff's */
}

static bool is_believed(struct lockdown *l, bool whole)
{
        (void)lockdown_check_tables(l, whole, NULL);
        edges.n = 0;
        return believed;
}

static void add_people(struct lockdown *l, uint32_t n)
{
        for (uint32_t i = 1; i <= n; i++)
                assert_int_equal(idset_append(&l->members.subjects.uids, ME + 2 * i, ME + 2 * i), 0);
        idset_normalize(&l->members.subjects.uids);
        assert_int_equal(lockdown_sync(l), 0);
}

/* What was read back after it was written is believed until it is written again, or somebody asks. */
static void test_what_is_believed(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        assert_false(is_believed(f->l, false));
        assert_true(is_believed(f->l, false));
        assert_false(is_believed(f->l, true));
        assert_int_equal(lockdown_sync(f->l), 0); /* changes nothing */
        assert_true(is_believed(f->l, false));
        set_problem(&f->l->kernel_problem, "somebody was there");
        assert_int_equal(lockdown_sync(f->l), 0);
        assert_int_equal(lockdown_sync(f->l), 0); /* changes nothing */
        assert_false(is_believed(f->l, false));
        verify_says = 1;
        assert_true(is_believed(f->l, false)); /* something else differed: it is loaded anew … */
        edges.replace = -EPERM;
        assert_false(is_believed(f->l, false)); /* … which fails: what is there is read again */
        assert_false(is_believed(f->l, false));
        edges.replace = verify_says = 0;
        assert_false(is_believed(f->l, false));
        add_people(f->l,
                   200000); /* reading them would take long: the kernel's word is enough, unless asked */
        assert_true(is_believed(f->l, false));
        assert_false(is_believed(f->l, true));
}

/* The kernel refuses what was staged: all of it is loaded anew. It refuses that, too: nobody is blocked, and
 * nothing says so. */
static void test_engaging_is_refused(void **state)
{
        struct manager_fixture *f = *state;

        edges.engage = edges.replace = -EPERM;
        order(f, 0);
        assert_steps("engage, load engaged, delete, error"); /* it might be there after all */
        assert_non_null(strstr(f->error, "staff is NOT in force: refused by the test"));
        assert_true(!f->l->order && !f->l->engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        edges.replace = 0;
        order(f, 0);
        assert_steps("load engaged, second on, sever, save active, journal ordered, reply");
        assert_true(f->l->order && f->l->engaged);
}

/* It holds without the second lock, and says so. */
static void test_second_lock_is_refused(void **state)
{
        struct manager_fixture *f = *state;

        edges.second_on = -EPERM;
        order(f, 0);
        assert_steps(ORDERED);
        assert_true(warned(f, "the second lock is not in place"));
        assert_true(f->l->order && !f->l->second_engaged);
}

/* No room: blocked and told; saved when there is room. */
static void test_order_is_not_saved(void **state)
{
        struct manager_fixture *f = *state;

        edges.save = -ENOSPC;
        order(f, 0);
        assert_steps("engage, second on, sever, save active, journal not saved, journal ordered, reply");
        assert_true(warned(f, "will not survive a reboot"));
        manager_retry_saving(f->m);
        assert_steps("save active"); /* told once */
        edges.save = 0;
        manager_retry_saving(f->m);
        assert_steps("save active");
        assert_null(f->l->save_problem);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
        manager_retry_saving(f->m);
        assert_steps("");
}

/* No room: freed all the same, told, and saved with what it refused when there is room. */
static void test_lift_is_not_saved(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_loaded_ struct loaded h = {0};
        _cleanup_attempts_ struct attempts a = {0};

        order(f, 0);
        edges.n = 0;
        edges.save = -ENOSPC;
        lift(f, "staff");
        assert_steps("save lifted, sever, read attempts, save attempts, journal not saved, save lifted, "
                     "second off, disengage, "
                     "save lifted, journal not saved, journal lifted, reply");
        assert_true(warned(f, "staff would come back after a reboot"));
        assert_true(!f->l->order && !f->l->engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
        manager_retry_saving(f->m);
        assert_steps("save lifted");
        edges.save = 0;
        manager_retry_saving(f->m);
        assert_steps("save lifted, save attempts");
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 1);
        assert_int_equal(h.orders[0]->refused_packets, 4);
        assert_int_equal(store_load_attempts(f->m->store, h.orders[0]->id, &a), 0);
        assert_int_equal(a.n, 1);
        manager_retry_saving(f->m);
        assert_steps("");
}

static void assert_still_in_force(struct manager_fixture *f)
{
        _cleanup_loaded_ struct loaded l = {0}, h = {0};

        assert_non_null(strstr(f->error, "staff is STILL in force"));
        assert_true(f->l->order && f->l->engaged && f->l->order->state == ORDER_ACTIVE);
        load(&f->disk, &l);
        assert_int_equal(l.n, 1);
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 0);
        assert_int_equal(count_files(&f->disk, "history"), 0);
}

/* The rules do not let go: in force as before, with both locks, and on disk. */
static void test_lift_is_refused(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 60 * USEC_PER_SEC);
        edges.n = 0;
        edges.disengage = edges.delete = -EBUSY;
        lift(f, "staff");
        assert_steps("save lifted, sever, read attempts, save attempts, save lifted, second off, disengage, "
                     "delete, read attempts, save attempts, load engaged, second on, "
                     "take back the end, error");
        assert_still_in_force(f);
        assert_true(f->l->second_engaged && f->l->expiry && !f->l->kernel_problem);
        edges.disengage = edges.delete = 0;
        lift(f, "staff");
        assert_steps(ENDS("lifted") ", journal lifted, reply");
        assert_int_equal(count_files(&f->disk, "history"), 1);
}

/* The second lock does not let go: then the rules are not even asked. */
static void test_lift_is_refused_by_the_second_lock(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        edges.n = 0;
        edges.second_off = -EBUSY;
        lift(f, "staff");
        assert_steps("save lifted, sever, read attempts, save attempts, save lifted, second off, second "
                     "changed, take "
                     "back the end, "
                     "error");
        assert_still_in_force(f);
}

/* An end that was taken back, but not on disk, is taken back later. */
static void test_taking_back_is_not_saved(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        edges.n = 0;
        edges.second_off = -EBUSY;
        assert_int_equal(lockdown_second_end(f->l), -EBUSY);
        edges.n = 0;
        lift(f, "staff");
        assert_still_in_force(f);
        edges.save = -EROFS;
        edges.n = 0;
        lift(f, "staff");
        assert_non_null(f->l->save_problem);
        edges.save = 0;
        manager_retry_saving(f->m);
        assert_null(f->l->save_problem);
        assert_still_in_force(f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_LAB(test_order),
                IN_LAB(test_order_with_a_new_device),
                IN_LAB(test_second_lock_is_staged_with_the_table),
                IN_LAB(test_what_is_staged_is_outdated),
                IN_LAB(test_what_is_believed),
                IN_LAB(test_others_are_told_last),
                IN_LAB(test_lift),
                IN_LAB(test_lift_of_a_quiet_order),
                IN_LAB(test_lift_after_the_last_connection),
                IN_LAB(test_expiry),
                IN_LAB(test_adhoc),
                IN_LAB(test_people_are_saved_first),
                IN_LAB(test_people_are_saved_again),
                IN_LAB(test_people_are_not_saved),
                IN_LAB(test_engaging_is_refused),
                IN_LAB(test_second_lock_is_refused),
                IN_LAB(test_order_is_not_saved),
                IN_LAB(test_lift_is_not_saved),
                IN_LAB(test_lift_is_refused),
                IN_LAB(test_lift_is_refused_by_the_second_lock),
                IN_LAB(test_taking_back_is_not_saved),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
