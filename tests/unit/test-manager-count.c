/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What was refused is counted once, and none of it is lost, whatever the disk does meanwhile. */

// wrap: nft_owns_tables nft_why_no_frames nft_engage nft_replace nft_disengage
// wrap: nft_stage nft_update nft_forget_devices device_watch_is_pending
// wrap: nft_delete nft_read_attempts nft_table_number nft_read_refused nft_close sever_can_destroy
// wrap: sever_run sever_listeners sever_unix_listeners sever_close second_lock_adopt
// wrap: second_lock_load_begin second_lock_load second_lock_load_end second_lock_stage second_lock_unstage
// wrap: second_lock_engage second_lock_update second_lock_disengage second_lock_is_ready
// wrap: second_lock_read_refused second_lock_no_sender second_lock_sender_lost second_lock_try_sender
// wrap: second_lock_close resolver_cancel
// wrap: store_save_order store_save_record store_take_back_end audit audit_log
// wrap: store_load_record

#include "manager-lab.h"

static int load_fails;

int __real_store_load_record(struct store *s, const char *id, struct attempts_record *ret);
int __wrap_store_load_record(struct store *s, const char *id, struct attempts_record *ret);
int __wrap_store_load_record(struct store *s, const char *id, struct attempts_record *ret)
{
        return load_fails < 0 ? load_fails : __real_store_load_record(s, id, ret);
}

/* The order's table is another one from now on. */
static void load_anew(struct manager_fixture *f)
{
        set_problem(&f->l->kernel_problem, "somebody was there");
        assert_int_equal(lockdown_sync(f->l), 0);
        edges.n = 0;
}

static void assert_attempts(struct manager_fixture *f, const char *id, uint64_t packets)
{
        _cleanup_attempts_ struct attempts a = {0};

        assert_int_equal(store_load_attempts(f->m->store, id, &a), 0);
        assert_int_equal(a.packets, packets);
        assert_int_equal(a.n, 1);
        assert_int_equal(a.items[0].packets, packets);
}

static void assert_refused(struct manager_fixture *f, uint64_t expected)
{
        uint64_t packets, bytes;

        lockdown_refused(f->l, &packets, &bytes);
        assert_int_equal(packets, expected + 1); /* the second lock's */
        assert_int_equal(bytes, (expected + 1) * 60);
}

/* A table, of which a part is on disk, goes while the disk is full, and another one after it. */
static void test_tables_go_while_the_disk_is_full(void **state)
{
        struct manager_fixture *f = *state;
        const char *id;

        order(f, 0);
        id = f->l->order->id;
        lockdown_collect(f->l);
        assert_attempts(f, id, 3);
        edges.save = -ENOSPC;
        edges.tried = 5;
        load_anew(f);
        edges.tried = 1;
        load_anew(f);
        edges.tried = 2;
        lockdown_collect(f->l);
        assert_attempts(f, id, 3);
        edges.save = 0;
        manager_retry_saving(f->m);
        assert_attempts(f, id, 8);
        assert_refused(f, 8);
        load_anew(f);
        edges.tried = 1;
        lockdown_collect(f->l);
        assert_attempts(f, id, 9);
}

/* Nor can it be read. */
static void test_tables_go_while_nothing_can_be_read(void **state)
{
        struct manager_fixture *f = *state;
        const char *id;

        order(f, 0);
        id = f->l->order->id;
        lockdown_collect(f->l);
        load_fails = -EIO;
        edges.tried = 5;
        load_anew(f);
        edges.tried = 1;
        load_anew(f);
        load_fails = 0;
        manager_retry_saving(f->m);
        assert_attempts(f, id, 6);
}

/* The record was put into its place, and then the directory could not be brought to disk. */
static void test_saved_but_not_known_to_be(void **state)
{
        struct manager_fixture *f = *state;
        const char *id;

        order(f, 0);
        id = f->l->order->id;
        edges.save_record = -EIO;
        load_anew(f);
        edges.record_lands = true;
        edges.tried = 1;
        lockdown_collect(f->l);
        manager_retry_saving(f->m);
        edges.save_record = 0;
        manager_retry_saving(f->m);
        assert_attempts(f, id, 4);
}

/* Another daemon comes, after this one was killed. */
static void begin_anew(struct manager_fixture *f)
{
        _cleanup_loaded_ struct loaded l = {0};

        attempts_record_clear(&f->l->unsaved);
        lockdown_counts_anew(f->l);
        load(&f->disk, &l);
        assert_int_equal(l.n, 1);
        order_free(f->l->order);
        f->l->order = l.orders[0];
        l.n = 0;
        lockdown_recall(f->l);
}

/* The daemon dies when the record is saved, before the order is. */
static void test_the_record_is_ahead(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        lockdown_collect(f->l);
        begin_anew(f);
        assert_refused(f, 3);
        load_anew(f);
        edges.tried = 1;
        assert_refused(f, 4);
        begin_anew(f);
        assert_refused(f, 4);
}

/* The order fits onto a disk where its record does not; then the daemon dies, while the table is there. */
static void test_the_record_alone_is_not_saved(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        lockdown_collect(f->l);
        edges.save_record = -ENOSPC;
        edges.tried = 5;
        lockdown_collect(f->l);
        assert_refused(f, 5);
        lockdown_save(f->l);
        assert_null(f->l->save_problem);
        begin_anew(f);
        assert_refused(f, 5);
        load_anew(f);
        edges.tried = 1;
        assert_refused(f, 6);
        lockdown_save(f->l);
        begin_anew(f);
        assert_refused(f, 6);
}

/* An update: the next daemon does not take over the second lock that it finds, but puts its own in its place.
 * That may fail at first. */
static void test_another_version_of_the_second_lock(void **state)
{
        struct manager_fixture *f = *state;

        order(f, 0);
        lockdown_collect(f->l);
        assert_refused(f, 3);
        f->l->second_engaged = false;
        edges.second_on = -EIO;
        lockdown_second_sync(f->l);
        edges.second_on = 0;
        lockdown_second_sync(f->l);
        assert_refused(f, 4);
        f->l->second_engaged = false;
        edges.second_there = false;
        lockdown_second_sync(f->l);
        assert_refused(f, 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_LAB(test_tables_go_while_the_disk_is_full),
                IN_LAB(test_tables_go_while_nothing_can_be_read),
                IN_LAB(test_saved_but_not_known_to_be),
                IN_LAB(test_another_version_of_the_second_lock),
                IN_LAB(test_the_record_is_ahead),
                IN_LAB(test_the_record_alone_is_not_saved),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
