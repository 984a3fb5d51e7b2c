/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The state directory comes late, or the configuration on disk has mistakes: what becomes of what is saved?
 */

// wrap: nft_owns_tables nft_why_no_frames nft_engage nft_replace nft_disengage
// wrap: nft_stage nft_update nft_forget_devices device_watch_is_pending
// wrap: nft_delete nft_read_attempts nft_table_number nft_read_refused nft_close sever_can_destroy
// wrap: sever_run sever_listeners sever_unix_listeners sever_close second_lock_adopt
// wrap: second_lock_load_begin second_lock_load second_lock_load_end second_lock_stage second_lock_unstage
// wrap: second_lock_engage second_lock_update second_lock_disengage second_lock_is_ready
// wrap: second_lock_read_refused second_lock_no_sender second_lock_sender_lost second_lock_try_sender
// wrap: second_lock_close resolver_cancel
// wrap: store_save_order store_save_record store_take_back_end audit audit_log
// wrap: nft_list resolver_resolve sever_owner_uids store_load_orders mkdirat

#include "manager-lab.h"

#include <sys/stat.h>

#define HOUR (60 * USEC_PER_MINUTE)

static int load_fails;
static unsigned mkdirat_fails; /* so often */

int __real_mkdirat(int at, const char *name, mode_t mode);
int __wrap_mkdirat(int at, const char *name, mode_t mode);
int __wrap_mkdirat(int at, const char *name, mode_t mode)
{
        if (mkdirat_fails == 0)
                return __real_mkdirat(at, name, mode);
        mkdirat_fails--;
        errno = ENOSPC;
        return -1;
}

int __wrap_resolver_resolve(struct resolver *r, const struct resolver_query *query, uint64_t timeout,
                            resolver_members_t callback, void *userdata);
int __wrap_resolver_resolve(struct resolver *r, const struct resolver_query *query, uint64_t timeout,
                            resolver_members_t callback, void *userdata)
{
        (void)r;
        (void)query;
        (void)timeout;
        (void)callback;
        (void)userdata;
        return -EPIPE;
}

int __wrap_nft_list(struct nft *n, struct nft_table **ret, size_t *ret_n);
int __wrap_nft_list(struct nft *n, struct nft_table **ret, size_t *ret_n)
{
        (void)n;
        (void)ret;
        *ret_n = 0;
        return 0;
}

int __wrap_sever_owner_uids(struct sever *s, uint32_t **ret, size_t *ret_n);
int __wrap_sever_owner_uids(struct sever *s, uint32_t **ret, size_t *ret_n)
{
        (void)s;
        (void)ret;
        (void)ret_n;
        return -EOPNOTSUPP;
}

int __real_store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems);
int __wrap_store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems);
int __wrap_store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems)
{
        return load_fails < 0 ? load_fails : __real_store_load_orders(s, ret, ret_n, problems);
}

static void take_state_away(struct manager_fixture *f)
{
        load_fails = 0;
        store_close(f->m->store);
        f->disk.store = f->m->store = store_new_without();
        assert_non_null(f->m->store);
        free(f->m->state_dir);
        f->m->state_dir = strdup(f->disk.dir);
        set_problem(&f->m->state_problem, "it is not there");
}

static void bring_state_back(struct manager_fixture *f)
{
        manager_retry_store(f->m);
        edges.n = 0;
}

/* As after a start without the state directory. */
static void forget_order(struct manager_fixture *f)
{
        f->l->order = order_free(f->l->order);
        f->l->expiry = sd_event_source_disable_unref(f->l->expiry);
        f->l->engaged = f->l->second_engaged = false;
        edges.n = 0;
}

static char *saved(struct manager_fixture *f, uint64_t duration)
{
        char *id;

        order(f, duration);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
        id = strdup(f->l->order->id);
        assert_non_null(id);
        take_state_away(f);
        return id;
}

static void test_back_in_force(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = saved(f, 8 * HOUR);

        forget_order(f);
        /* somebody has joined them since */
        assert_int_equal(idset_append(&f->l->members.subjects.uids, ME + 1, ME + 1), 0);
        idset_normalize(&f->l->members.subjects.uids);
        f->l->members_saved = false;
        bring_state_back(f);
        assert_null(f->m->state_problem);
        assert_true(f->l->order && f->l->engaged && f->l->expiry);
        assert_string_equal(f->l->order->id, id);
        assert_true(idset_contains(&f->l->members.subjects.uids, ME + 1));
        assert_true(f->l->members_saved);
}

/* Without them nobody goes: they are read again. */
static void test_orders_cannot_be_read(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = saved(f, 0);

        forget_order(f);
        load_fails = -EIO;
        bring_state_back(f);
        assert_true(f->m->orders_problem && !f->l->order);
        load_fails = 0;
        manager_read_orders_again(f->m);
        assert_true(!f->m->orders_problem && f->l->order);
        assert_string_equal(f->l->order->id, id);
}

static void test_lifted_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = saved(f, 0);

        lift(f, "staff");
        assert_null(f->l->order);
        assert_true(manager_knows_end(f->m, id));
        assert_true(warned(f, "staff would come back after a reboot"));
        edges.save = -EROFS; /* it can be read sooner than written */
        bring_state_back(f);
        assert_null(f->l->order);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
        edges.save = 0;
        manager_retry_saving(f->m);
        assert_null(f->l->order);
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        assert_int_equal(count_files(&f->disk, "history"), 1);
}

/* Found in the kernel, it was in force until lifted, for all that was known. */
static void test_recovered_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = saved(f, 8 * HOUR);
        struct profile *p = new_profile("staff");

        f->l->order = order_free(f->l->order);
        f->l->expiry = sd_event_source_disable_unref(f->l->expiry);
        assert_int_equal(recovered_order_new(p, true, id, &f->l->order), 0);
        bring_state_back(f);
        assert_string_equal(f->l->order->id, id);
        assert_false(f->l->order->recovered);
        assert_int_equal(f->l->order->end, END_FOR);
        assert_true(f->l->expiry && f->l->engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
}

/* Lifted, and the daemon died before the hooks were gone; the next one could not read that it had ended. */
static void ended_meanwhile(struct manager_fixture *f, bool unconfirmed)
{
        struct profile *p = new_profile("staff");
        struct now now;
        char id[33];

        order(f, 8 * HOUR);
        (void)snprintf(id, sizeof(id), "%s", f->l->order->id);
        clock_now(&now);
        if (unconfirmed)
                order_ask_confirmation(f->l->order, HOUR, &now);
        assert_int_equal(order_finish(f->l->order, ORDER_LIFTED, &caller, NULL, &now), 0);
        assert_int_equal(store_save_order(f->m->store, f->l->order), 0);
        take_state_away(f);
        f->l->order = order_free(f->l->order);
        assert_int_equal(recovered_order_new(p, true, id, &f->l->order), 0);
        edges.n = 0;
}

static void test_ended_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_loaded_ struct loaded h = {0};

        ended_meanwhile(f, false);
        manager_retry_store(f->m);
        assert_true(!f->l->order && !f->l->engaged);
        assert_steps(
                "sever, read attempts, save attempts, save lifted, second off, disengage, journal lifted");
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        f->disk.store = f->m->store;
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 1);
        assert_int_equal(h.orders[0]->state, ORDER_LIFTED);
        assert_int_equal(h.orders[0]->refused_packets, 4);
}

/* It is the same order again, and ends as soon as the kernel lets go, as whoever ended it has said. */
static void test_ended_meanwhile_and_refuses(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_loaded_ struct loaded h = {0};

        ended_meanwhile(f, false);
        edges.disengage = edges.delete = -EPERM;
        bring_state_back(f);
        assert_true(f->l->order && !f->l->order->recovered && f->l->engaged && f->l->second_engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
        assert_int_equal(count_files(&f->disk, "history"), 0);
        manager_finish_ends(f->m);
        assert_true(f->l->order && f->l->engaged);
        assert_int_equal(count_files(&f->disk, "history"), 0);
        edges.disengage = edges.delete = 0;
        manager_finish_ends(f->m);
        assert_true(!f->l->order && !f->l->engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        f->disk.store = f->m->store;
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 1);
        assert_int_equal(h.orders[0]->state, ORDER_LIFTED);
        assert_string_equal(h.orders[0]->ended_by.name, caller.name);
        edges.n = 0;
        order(f, 0); /* the next one does not end for that */
        manager_finish_ends(f->m);
        assert_true(f->l->order && f->l->engaged);
}

/* What was acknowledged once more does not end for what was ordered before. */
static void test_ended_meanwhile_and_ordered_again(void **state)
{
        struct manager_fixture *f = *state;

        ended_meanwhile(f, false);
        edges.disengage = edges.delete = -EPERM;
        bring_state_back(f);
        order(f, 0);
        assert_true(json_is_true(json_object_get(f->reply, "already_in_force")));
        edges.disengage = edges.delete = 0;
        manager_finish_ends(f->m);
        assert_true(f->l->order && f->l->engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
}

/* Nor does what was prolonged. */
static void test_ended_meanwhile_and_extended(void **state)
{
        struct manager_fixture *f = *state;
        const struct order_time longer = {.duration = 16 * HOUR};
        struct now now;

        ended_meanwhile(f, false);
        edges.disengage = edges.delete = -EPERM;
        bring_state_back(f);
        manager_extend(f->m, "staff", &longer, &caller, on_done, f);
        assert_null(f->error);
        edges.disengage = edges.delete = 0;
        manager_finish_ends(f->m);
        assert_true(f->l->order && f->l->engaged);
        clock_now(&now);
        assert_true(order_remaining(f->l->order, &now) > 15 * HOUR);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
}

/* Nor what was confirmed. */
static void test_ended_meanwhile_and_confirmed(void **state)
{
        struct manager_fixture *f = *state;

        ended_meanwhile(f, true);
        edges.disengage = edges.delete = -EPERM;
        bring_state_back(f);
        manager_confirm(f->m, "staff", &caller, on_done, f);
        assert_true(json_is_true(json_object_get(f->reply, "confirmed")));
        edges.disengage = edges.delete = 0;
        manager_finish_ends(f->m);
        assert_true(f->l->order && f->l->engaged);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
}

/* One that cannot be opened for a moment is opened. */
static void test_opened_at_the_second_try(void **state)
{
        struct manager_fixture *f = *state;

        store_close(f->m->store);
        f->m->store = f->disk.store = NULL;
        free(f->m->state_dir);
        f->m->state_dir = strdup(f->disk.dir);
        mkdirat_fails = 1;
        assert_int_equal(manager_open_store(f->m), 0);
        f->disk.store = f->m->store;
        assert_int_equal(mkdirat_fails, 0);
        assert_null(f->m->state_problem);
        order(f, 0);
        assert_int_equal(count_files(&f->disk, "orders"), 1);
}

/* What the kernel holds is not replaced by rules about nobody. */
static void test_recovered_without_people(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = saved(f, 0), *list = NULL;
        struct profile *p = new_profile("staff");

        f->l->order = order_free(f->l->order);
        assert_int_equal(recovered_order_new(p, true, id, &f->l->order), 0);
        membership_clear(&f->l->members);
        f->l->have_members = false;
        assert_true(asprintf(&list, "%s/members/staff", f->disk.dir) > 0);
        assert_int_equal(unlink(list), 0);
        edges.n = 0;
        manager_retry_store(f->m);
        assert_steps("save active");
        assert_false(f->l->order->recovered);
}

/* Neither of the two is to end the other. */
static void test_ordered_again_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = saved(f, 8 * HOUR), *second = NULL;
        _cleanup_loaded_ struct loaded in_force = {0}, h = {0};
        struct now now;

        forget_order(f);
        order(f, HOUR);
        second = strdup(f->l->order->id);
        bring_state_back(f);
        assert_non_null(f->l->order);
        assert_string_equal(f->l->order->id, second);
        clock_now(&now);
        assert_true(order_remaining(f->l->order, &now) > 7 * HOUR);
        f->disk.store = f->m->store;
        load(&f->disk, &in_force);
        assert_int_equal(in_force.n, 1);
        assert_string_equal(in_force.orders[0]->id, second);
        assert_true(order_remaining(in_force.orders[0], &now) > 7 * HOUR);
        load_history(&f->disk, 10, &h);
        assert_int_equal(h.n, 1);
        assert_string_equal(h.orders[0]->id, id);
        assert_string_equal(h.orders[0]->end_reason, ORDER_JOINED);
}

/* Both are in force. */
static void test_name_was_taken_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_(profile_freep) struct profile *p = profile_new("staff");
        _cleanup_(order_freep) struct order *o = NULL;
        _cleanup_problems_ struct problems problems = {0};
        const struct lockdown *other;
        struct now now;

        clock_now(&now);
        assert_int_equal(words_add(&p->users, "other", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        o = order_new(p, id_of(1), &now);
        assert_non_null(o);
        p = NULL;
        o->adhoc = true;
        assert_int_equal(store_save_order(f->m->store, o), 0);
        take_state_away(f);
        order(f, HOUR);
        bring_state_back(f);
        assert_true(f->l->order && strcmp(f->l->order->id, o->id) != 0);
        assert_int_equal(f->l->order->end, END_FOR);
        other = manager_find(f->m, "staff-2");
        assert_true(other && other->order && strcmp(other->order->id, o->id) == 0);
        assert_false(idset_contains(&other->members.subjects.uids, ME));
}

static void bring_within_bounds(struct manager *m)
{
        manager_record_soon(m);
        while (!m->record_pass)
                assert_true(sd_event_run(m->event, 10 * USEC_PER_SEC) > 0);
        while (m->record_pass)
                assert_true(sd_event_run(m->event, 10 * USEC_PER_SEC) > 0);
}

/* The bounds in force may not be those that somebody has tried to set. */
static void test_mistakes_remove_nothing(void **state)
{
        struct manager_fixture *f = *state;

        for (unsigned i = 0; i < 3; i++) {
                order(f, 0);
                lift(f, "staff");
                edges.n = 0;
        }
        assert_int_equal(manager_record_new(f->m), 0);
        f->m->config->record.keep_orders = 1;
        set_problem(&f->m->config_problem, "a mistake");
        bring_within_bounds(f->m);
        assert_int_equal(count_files(&f->disk, "history"), 3);
        set_problem(&f->m->config_problem, NULL);
        bring_within_bounds(f->m);
        assert_int_equal(count_files(&f->disk, "history"), 1);
}

static size_t count_unsaved_ends(struct manager_fixture *f)
{
        _cleanup_json_ json_t *sentences = json_array();

        assert_non_null(sentences);
        manager_report_unsaved_ends(f->m, NULL, sentences);
        return json_array_size(sentences);
}

/* Again and again, and nothing of it was ever on disk. */
static void order_and_lift(struct manager_fixture *f, unsigned times)
{
        for (unsigned i = 0; i < times; i++) {
                order(f, 0);
                lift(f, "staff");
                edges.n = 0;
                assert_null(f->l->order);
        }
}

static void test_ends_are_kept_within_bounds(void **state)
{
        struct manager_fixture *f = *state;
        _cleanup_free_ char *id = NULL;

        edges.save = -ENOSPC;
        order_and_lift(f, 50);
        assert_int_equal(count_unsaved_ends(f), 16);
        edges.save = 0;
        order(f, 0);
        id = strdup(f->l->order->id);
        edges.save = -ENOSPC;
        lift(f, "staff");
        edges.n = 0;
        assert_true(id && manager_knows_end(f->m, id)); /* this one would come back */
        assert_true(warned(f, "staff would come back after a reboot"));
        edges.save = 0;
        edges.save_record = -ENOSPC;
        order_and_lift(f, 1); /* only what it refused is not saved */
        assert_int_equal(count_unsaved_ends(f), 17);
        edges.save_record = 0;
        manager_retry_saving(f->m);
        assert_int_equal(count_unsaved_ends(f), 0);
        assert_int_equal(count_files(&f->disk, "orders"), 0);
        assert_int_equal(count_files(&f->disk, "history"), 18);
}

/* What was found in the kernel may have a file. */
static void test_ends_without_a_state_directory(void **state)
{
        struct manager_fixture *f = *state;
        struct profile *p = new_profile("staff");

        take_state_away(f);
        order_and_lift(f, 50);
        assert_int_equal(count_unsaved_ends(f), 16);
        assert_int_equal(recovered_order_new(p, true, id_of(1), &f->l->order), 0);
        lift(f, "staff");
        edges.n = 0;
        assert_true(manager_knows_end(f->m, id_of(1)));
}

/* What a crash left of an ad-hoc order: not before it is known that nothing needs it. */
static void test_lists_are_swept(void **state)
{
        struct manager_fixture *f = *state;
        struct manager *m = f->m;
        struct profile *none = new_profile("staff"), **profiles = calloc(1, sizeof(*profiles));
        const struct membership people = {.as_of = 1};

        assert_non_null(profiles);
        profiles[0] = none;
        m->config->profiles = profiles;
        order(f, 0);
        manager_sweep_members(m);
        assert_int_equal(count_files(&f->disk, "members"), 1);
        assert_int_equal(store_save_membership(m->store, "night", &people), 0);
        manager_sweep_members(m); /* a configuration without a profile may be one that is not there yet */
        assert_int_equal(count_files(&f->disk, "members"), 2);
        m->config->n_profiles = 1;
        set_problem(&m->config_problem, "a mistake");
        manager_sweep_members(m);
        set_problem(&m->config_problem, NULL);
        set_problem(&m->orders_problem, "an input/output error");
        manager_sweep_members(m);
        set_problem(&m->orders_problem, NULL);
        problems_add(&m->damage, "something was set aside");
        manager_sweep_members(m);
        problems_clear(&m->damage);
        assert_int_equal(count_files(&f->disk, "members"), 2);
        manager_sweep_members(m);
        assert_int_equal(count_files(&f->disk, "members"), 1);
        assert_true(store_has_membership(m->store, "staff"));
}

/* A reload that finds this one alone. */
static void reload(struct manager_fixture *f, uint32_t uid)
{
        struct config *c = config_new_default();
        struct membership people = {.as_of = 2};

        assert_non_null(c);
        c->profiles = calloc(1, sizeof(*c->profiles));
        assert_non_null(c->profiles);
        c->profiles[c->n_profiles++] = new_profile("staff");
        assert_int_equal(idset_append(&people.subjects.uids, uid, uid), 0);
        idset_normalize(&people.subjects.uids);
        manager_apply_config(f->m, c, &people, NULL);
        assert_int_equal(f->l->members.as_of, 2);
        membership_clear(&people);
}

static ino_t list_on_disk(const struct manager_fixture *f)
{
        char path[PATH_MAX];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/members/staff", f->disk.dir);
        assert_int_equal(stat(path, &st), 0);
        return st.st_ino;
}

/* A large list takes longer to write than all the rest of a reload. */
static void test_lists_are_written_when_they_change(void **state)
{
        struct manager_fixture *f = *state;
        ino_t before = list_on_disk(f);
        _cleanup_membership_ struct membership found = {0};

        reload(f, ME);
        assert_int_equal(list_on_disk(f), before);
        reload(f, ME + 1);
        assert_int_not_equal(list_on_disk(f), before);
        assert_int_equal(store_load_membership(f->m->store, "staff", &found, NULL), 0);
        assert_true(idset_contains(&found.subjects.uids, ME + 1));
        before = list_on_disk(f);
        f->l->members_saved = false; /* that had failed */
        reload(f, ME + 1);
        assert_int_not_equal(list_on_disk(f), before);
        assert_int_equal(store_drop_membership(f->m->store, "staff"), 0);
        reload(f, ME + 1);
        before = list_on_disk(f);
        membership_clear(&f->l->members); /* nobody knows any more what is there */
        assert_int_equal(idset_append(&f->l->members.subjects.uids, ME + 1, ME + 1), 0);
        idset_normalize(&f->l->members.subjects.uids);
        f->l->have_members = false;
        reload(f, ME + 1);
        assert_int_not_equal(list_on_disk(f), before);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_LAB(test_back_in_force),
                IN_LAB(test_orders_cannot_be_read),
                IN_LAB(test_lifted_meanwhile),
                IN_LAB(test_recovered_meanwhile),
                IN_LAB(test_recovered_without_people),
                IN_LAB(test_ended_meanwhile),
                IN_LAB(test_ended_meanwhile_and_refuses),
                IN_LAB(test_ended_meanwhile_and_ordered_again),
                IN_LAB(test_ended_meanwhile_and_extended),
                IN_LAB(test_ended_meanwhile_and_confirmed),
                IN_LAB(test_opened_at_the_second_try),
                IN_LAB(test_ordered_again_meanwhile),
                IN_LAB(test_name_was_taken_meanwhile),
                IN_LAB(test_mistakes_remove_nothing),
                IN_LAB(test_ends_are_kept_within_bounds),
                IN_LAB(test_ends_without_a_state_directory),
                IN_LAB(test_lists_are_swept),
                IN_LAB(test_lists_are_written_when_they_change),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
