/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <string.h>

/* Bringing back what was in force: before anything that may take time or fail for other reasons. */

/* The configuration's plan for this name, if it is about a configured profile; else the order's own. */
static struct lockdown *entry_for(struct manager *m, const struct order *o, const struct config *c)
{
        const struct profile *configured = o->adhoc ? NULL : config_find(c, o->profile->name);

        return manager_add(m, configured ? configured : o->profile, configured != NULL);
}

static void load_members(struct lockdown *l)
{
        _cleanup_problems_ struct problems problems = {0};
        struct membership members = {0};
        int r = store_load_membership(l->manager->store, l->name, &members, &problems);

        manager_report_damage(l->manager, &problems);
        if (r < 0) {
                if (r != -ENOENT && r != -EBADMSG && r != -ENOMEDIUM)
                        audit(AUDIT_DAMAGED, LOG_WARNING, l->order, NULL,
                              "%s: the saved list of its people is unusable: %s", l->name, strerror(-r));
                return;
        }
        membership_clear(&l->members);
        l->members = members;
        l->members_saved = true;
        l->have_members = true;
        l->from_disk = true;
}

/* No list of people was saved, but the kernel still knows whom it refuses. */
static void read_back_members(struct lockdown *l)
{
        struct destinations ignored = {0};
        bool forward;

        if (nft_read_back(l->manager->nft, l->name, &l->members.subjects, &ignored, &forward) < 0)
                return;
        destinations_clear(&ignored);
        l->have_members = true;
        l->from_disk = true;
}

/* The table in the kernel against what it should be: taken over as it is, or repaired. */
static void take_over(struct lockdown *l)
{
        _cleanup_(ruleset_freep) struct ruleset *expected = NULL;
        _cleanup_subjects_ struct subjects s = {0};
        _cleanup_free_ char *difference = NULL, *error = NULL;
        struct manager *m = l->manager;
        int r = nft_adopt(m->nft, l->name, &error);

        if (r < 0)
                audit_log(LOG_ERR, "%s: %s", l->name, error ? error : strerror(-r));
        l->engaged = true;
        (void)lockdown_find_units(l);
        lockdown_relay_prepare(l);
        r = lockdown_subjects(l, &s);
        if (r >= 0)
                r = lockdown_build(l, l->order->profile, &s, &expected);
        if (r >= 0) /* devices that came while nobody looked are no difference; what is, is found next */
                (void)nft_cover_devices(m->nft, expected, NULL);
        if (r >= 0)
                r = nft_verify(m->nft, expected, true, &difference);
        if (r == 0) {
                ruleset_set_compared(expected, true);
                l->loaded = TAKE_PTR(expected);
                lockdown_second_sync(l);
                lockdown_relay_sync(l);
                audit(AUDIT_ADOPTED, LOG_NOTICE, l->order, NULL, "%s was still in force and is taken over",
                      l->name);
                return;
        }
        if (lockdown_sync(l) >= 0)
                audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL,
                      "%s was still in force but not as it should be (%s): repaired", l->name,
                      difference ? difference : strerror(-r));
}

/* L was staged for others than its order is about. */
static void forget_members(struct lockdown *l)
{
        resolver_cancel(l->manager->resolver, l);
        l->refreshing = l->refresh_again = false;
        membership_clear(&l->members);
        l->have_members = false;
}

/* SAME_BOOT: it was in force since this machine started. */
static void restore(struct lockdown *l, const struct nft_table *table, bool same_boot)
{
        if (l->have_members && !profile_same_block(l->profile, l->order->profile))
                forget_members(l);
        if (!l->have_members) /* what the directory has said since is newer */
                load_members(l);
        if (!l->have_members && table && table->engaged)
                read_back_members(l);
        if (!lockdown_knows_people(l)) {
                lockdown_stop_staging(l); /* that was about other people */
                /* the directory is asked next; what the kernel holds, it goes on holding */
                set_problem(&l->kernel_problem,
                            "the list of its people is lost and the directory has not answered yet");
                return;
        }
        if (table && table->engaged)
                take_over(l);
        else if (lockdown_sync(l) < 0)
                return;
        else if (same_boot) /* nobody but a lift or the expiry takes it away */
                audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL,
                      "%s was in force, but somebody had %s its table: repaired", l->name,
                      table ? "unhooked" : "removed");
        else
                audit(AUDIT_RESTORED, LOG_NOTICE, l->order, NULL, "%s is in force again, as ordered before",
                      l->name);
        lockdown_sever(l, NULL);
        lockdown_end_sessions(l);
}

static const struct nft_table *find_table(const struct nft_table *tables, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(tables[i].name, name) == 0)
                        return &tables[i];
        return NULL;
}

/* L for an order whose table is in the kernel, in force, and is to go. */
static struct lockdown *attach(struct manager *m, struct order *o, const struct config *c)
{
        struct lockdown *l = entry_for(m, o, c);

        if (!l)
                return NULL;
        l->order = o;
        load_members(l);
        if (!l->have_members)
                read_back_members(l);
        (void)nft_adopt(m->nft, l->name, NULL); /* if that fails, so will what comes next, and say so */
        l->engaged = true;
        (void)lockdown_find_units(l);
        lockdown_recall(l);
        return l;
}

/* Its time passed while nobody looked, by a clock that is believed, and its table has refused since: that
 * ends as if somebody had looked.
 */
static void expire_in_force(struct manager *m, struct order *o, const struct config *c, const struct now *now)
{
        const char *why = order_unconfirmed(o, now) ? ORDER_UNCONFIRMED : NULL;
        _cleanup_(order_freep) struct order *ended = NULL;
        struct lockdown *l = attach(m, o, c);
        int r = l ? lockdown_end(l, ORDER_EXPIRED, NULL, why, &ended) : -ENOMEM;

        if (!l)
                order_free(o);
        if (r < 0) /* tried again by its timer */
                audit_log(LOG_ALERT, "%s has expired but could not be removed: %s", l ? l->name : "an order",
                          l && l->kernel_problem ? l->kernel_problem : strerror(-r));
        else
                audit(AUDIT_EXPIRED, LOG_NOTICE, ended, NULL, "%s expired while lockdownd was not running",
                      ended->profile->name);
}

/* Its time passed, by a clock that is believed, while nothing of it was in the kernel: it is over, and never
 * enforced for a packet more. */
static void expire(struct manager *m, struct order *o, const struct now *now)
{
        const char *why = order_unconfirmed(o, now) ? ORDER_UNCONFIRMED : NULL;

        if (order_finish(o, ORDER_EXPIRED, NULL, why, now) < 0)
                audit(AUDIT_NOT_SAVED, LOG_ERR, o, NULL, "the end of %s could not be saved",
                      o->profile->name);
        else
                (void)manager_save_end(m, o, NULL);
        audit(AUDIT_EXPIRED, LOG_NOTICE, o, NULL, "%s expired while lockdownd was not running",
              o->profile->name);
        order_free(o);
}

/* It may be another order's by the same name, which goes on. */
static bool is_table_of(const struct nft_table *table, const struct order *o)
{
        return !table->order[0] || strcmp(table->order, o->id) == 0;
}

/* What is in force follows the configuration; this was not when that was read. */
static int follow_config(const struct manager *m, struct order *o)
{
        const struct profile *configured = o->adhoc ? NULL : config_find(m->config, o->profile->name);
        struct profile *copy = configured ? profile_copy(configured) : NULL;

        if (!configured)
                return 0;
        if (!copy)
                return -ENOMEM;
        profile_free(o->profile);
        o->profile = copy;
        return 0;
}

/* L's order was made up for a table in force, as long as O could not be read. */
static void take_back(struct lockdown *l, struct order *o)
{
        struct now now;

        clock_now(&now);
        if (!l->order->recovered) { /* it came back before */
                order_free(o);
                return;
        }
        order_rebase(o, &now);
        (void)order_settle(o, &now);
        o->severed += l->order->severed;
        o->sessions_ended += l->order->sessions_ended;
        order_free(l->order);
        l->order = o;
        set_problem(&l->save_problem, NULL);
        if (!l->have_members || !profile_same_block(l->profile, o->profile))
                load_members(l); /* the kernel knew numbers, or a profile of that name was about others */
        lockdown_recall(l);
        if (lockdown_knows_people(l)) /* else the kernel goes on holding what it holds */
                (void)lockdown_sync(l);
        lockdown_arm_expiry(l);
}

/* The entry that O, which is not over, is to be put in force in. NULL: none, and what could be done is done.
 */
static struct lockdown *place(struct manager *m, struct order *o, const struct config *c,
                              const struct now *now)
{
        struct lockdown *l = manager_find(m, o->profile->name);

        if (l && l->order && profile_same_block(l->order->profile, o->profile)) {
                lockdown_join(l, o, now);
                return NULL;
        }
        if (!l || (l->order && manager_rename_order(m, o, c) >= 0))
                l = entry_for(m, o, c);
        if (!l || l->order)
                audit(AUDIT_DAMAGED, LOG_CRIT, o, NULL,
                      "%s is saved, but NOT in force, for there is no memory: restart lockdownd",
                      o->profile->name);
        return l && !l->order ? l : NULL;
}

/* TABLE: the kernel's by that name, or NULL. LATE: not at the start. O is taken over. */
static void restore_order(struct manager *m, struct order *o, const struct nft_table *table,
                          const struct config *c, bool late)
{
        struct lockdown *l;
        struct now now;
        bool same_boot;

        clock_now(&now);
        if (manager_knows_end(m, o->id)) { /* and tries to save it, again and again */
                order_free(o);
                return;
        }
        if (late)
                (void)follow_config(m, o); /* without memory by its own plan */
        l = manager_find(m, o->profile->name);
        if (l && l->order && strcmp(l->order->id, o->id) == 0) {
                take_back(l, o);
                return;
        }
        if (order_expired(o, &now)) {
                if (!l && table && table->engaged && is_table_of(table, o))
                        expire_in_force(m, o, c, &now);
                else
                        expire(m, o, &now);
                return;
        }
        l = place(m, o, c, &now);
        if (!l) {
                order_free(o);
                return;
        }
        same_boot = !late && strcmp(o->boot_id, now.boot_id) == 0;
        order_rebase(o, &now);
        (void)order_settle(o, &now);
        l->order = o;
        lockdown_recall(l);
        restore(l, table && strcmp(table->name, l->name) == 0 ? table : NULL, same_boot);
        lockdown_arm_expiry(l);
}

/* In force, but no saved order says so: taken over as one, never dropped. By the configured plan where there
 * is one of that name, else by what the table itself does. */
static int recover(struct manager *m, const struct nft_table *table, const struct config *c)
{
        const struct profile *configured = config_find(c, table->name);
        _cleanup_(profile_freep) struct profile *p = NULL;
        struct lockdown *l;
        int r = 0;

        if (configured)
                p = profile_copy(configured);
        else
                r = recovered_profile(m, table->name, &p);
        if (r < 0 || !p)
                return r < 0 ? r : -ENOMEM;
        l = manager_add(m, p, configured != NULL);
        if (!l)
                return -ENOMEM;
        r = recovered_order_new(p, configured != NULL, table->order, &l->order);
        if (r < 0) {
                manager_remove(m, l);
                return r;
        }
        p = NULL; /* the order's now */
        lockdown_recall(l);
        restore(l, table, true);
        lockdown_save(l);
        audit(AUDIT_RECOVERED, LOG_WARNING, l->order, NULL,
              "%s was in force without a saved order: it is taken over as an order until somebody lifts it",
              l->name);
        return 0;
}

/* Lifted or expired and saved as such, but the daemon died before the hooks were gone: finishes that. An
 * order given since has another id and is not touched. */
static bool complete_end(struct manager *m, const struct nft_table *table, const struct config *c)
{
        struct order *o = NULL;
        struct lockdown *l;
        int r = table->order[0] ? store_load_finished(m->store, table->order, &o) : -ENOENT;

        if (r < 0)
                return false;
        l = manager_find(m, table->name) ? NULL : attach(m, o, c);
        if (!l) {
                order_free(o);
                return false;
        }
        lockdown_finish_end(l);
        return true;
}

/* Tables of ours that nobody claims. */
static void sort_out_table(struct manager *m, const struct nft_table *table, const struct config *c)
{
        const struct lockdown *l = manager_find(m, table->name);
        _cleanup_free_ char *error = NULL;
        int r;

        if (l && (l->order || l->loaded || l->staging))
                return; /* staged again, after its order had expired */
        if (table->engaged && complete_end(m, table, c))
                return;
        if (table->engaged) {
                r = recover(m, table, c);
                if (r < 0)
                        audit_log(LOG_ALERT,
                                  "%s is in force without a saved order and could not be taken over: %s",
                                  table->name, strerror(-r));
                return;
        }
        r = nft_adopt(m->nft, table->name, NULL);
        if (r >= 0)
                r = nft_delete(m->nft, table->name, &error);
        if (r < 0)
                audit_log(LOG_WARNING,
                          "the staged table of %s, left by an earlier run, could not be removed: %s",
                          table->name, error ? error : strerror(-r));
}

static int list_tables(struct manager *m, struct nft_table **ret, size_t *ret_n, char **ret_error)
{
        int r = nft_list(m->nft, ret, ret_n);

        if (r < 0)
                set_problem(ret_error, "the kernel's tables could not be listed: %s", strerror(-r));
        return r;
}

/* Listed anew: bringing the orders back has changed them. */
static int sort_out_tables(struct manager *m, const struct config *c, char **ret_error)
{
        struct nft_table *tables = NULL;
        size_t n = 0;
        int r = list_tables(m, &tables, &n, ret_error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                sort_out_table(m, &tables[i], c);
        nft_tables_free(tables, n);
        manager_second_sort_out(m);
        return 0;
}

static void note_unread(struct manager *m, int error, const struct problems *problems)
{
        _cleanup_free_ char *text = problems_join(problems);

        /* without a state directory there is nothing to be read: that is told elsewhere */
        if (error == -ENOMEDIUM || (error >= 0 && store_unread_orders(m->store) == 0))
                set_problem(&m->orders_problem, NULL);
        else
                set_problem(&m->orders_problem, "%s",
                            error < 0 ? strerror(-error)
                            : text    ? text
                                      : "out of memory");
}

/* Those that are not back yet. What cannot be read is told, and does not keep the others, or what the kernel
 * holds, from being taken over. -ENOMEM: none was: for want of memory nobody goes without the orders there
 * are, sooner the daemon is started once more. */
static int restore_orders(struct manager *m, const struct nft_table *tables, size_t n_tables,
                          const struct config *c, bool late)
{
        const bool first = !m->orders_problem;
        _cleanup_problems_ struct problems problems = {0};
        struct order **orders = NULL;
        size_t n = 0;
        int r = -ENOMEM;

        for (unsigned tries = 0; r == -ENOMEM && tries < 3; tries++)
                r = store_load_orders(m->store, &orders, &n, &problems);
        note_unread(m, r, &problems);
        if (first && r < 0)
                audit(AUDIT_DAMAGED, LOG_CRIT, NULL, NULL, "the saved orders could not be read: %s",
                      strerror(-r));
        if (!m->orders_problem)
                manager_report_damage(m, &problems);
        else
                for (size_t i = 0; first && i < problems.n; i++)
                        audit(AUDIT_DAMAGED, LOG_CRIT, NULL, NULL, "%s", problems.items[i]);
        for (size_t i = 0; i < n; i++)
                restore_order(m, orders[i], find_table(tables, n_tables, orders[i]->profile->name), c, late);
        free(orders);
        return r == -ENOMEM ? r : 0;
}

void manager_read_orders_again(struct manager *m)
{
        _cleanup_free_ char *error = NULL;
        struct nft_table *tables = NULL;
        size_t n = 0;

        if (!m->orders_problem)
                return;
        if (list_tables(m, &tables, &n, &error) < 0)
                return; /* the next time */
        (void)restore_orders(m, tables, n, m->config, true);
        nft_tables_free(tables, n);
        if (m->orders_problem)
                return;
        audit_log(LOG_NOTICE, "all saved orders could be read by now");
        manager_refresh_all(m);
        manager_watch_owners(m);
        manager_verify_soon(m);
        manager_update_status(m);
}

static int restore_all(struct manager *m, const struct config *c, char **ret_error)
{
        struct nft_table *tables = NULL;
        size_t n_tables = 0;
        int r = list_tables(m, &tables, &n_tables, ret_error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n_tables; i++)
                if (tables[i].foreign) {
                        set_problem(ret_error,
                                    "table %s%s belongs to another process that is running: stop the other "
                                    "lockdownd",
                                    TABLE_PREFIX, tables[i].name);
                        nft_tables_free(tables, n_tables);
                        return -EBUSY;
                }
        r = restore_orders(m, tables, n_tables, c, false);
        if (r == -ENOMEM) {
                set_problem(ret_error, "there is no memory to read the saved orders");
                nft_tables_free(tables, n_tables);
                return r;
        }
        nft_tables_free(tables, n_tables);
        return sort_out_tables(m, c, ret_error);
}

/* Never exits because of the configuration: saved orders do not depend on it. */
static struct config *load_config(struct manager *m)
{
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_free_ char *text = NULL;
        struct config *c = NULL;
        int r = config_load_trusted(m->configuration_dir, &c, &problems);

        if (r < 0) { /* nothing is called a mistake that is not one the second time: there may have been no
                        memory */
                problems_clear(&problems);
                r = config_load_trusted(m->configuration_dir, &c, &problems);
        }
        if (r >= 0)
                return c;
        for (size_t i = 0; i < problems.n; i++)
                audit_log(LOG_ERR, "%s", problems.items[i]);
        text = problems_first(&problems);
        set_problem(&m->config_problem, "%s", text ? text : strerror(-r));
        audit_log(LOG_CRIT,
                  "the configuration has mistakes: no profile of it is staged and only root may order, until "
                  "it is corrected and reloaded; saved orders stay in force");
        c = config_new_default();
        if (c) /* what the record may be brought down to is not known */
                c->record = (struct record_bounds){RECORD_UNBOUNDED, RECORD_UNBOUNDED, RECORD_UNBOUNDED};
        return c;
}

/* After what is in force: it may remove files. */
static void load_removed(struct manager *m)
{
        _cleanup_problems_ struct problems problems = {0};

        (void)store_load_removed(m->store, &problems);
        manager_report_damage(m, &problems);
        manager_record_soon(m);
}

void manager_restore_late(struct manager *m)
{
        (void)restore_orders(m, NULL, 0, m->config, true);
        manager_finish_recovered(m);
        load_removed(m);
        manager_refresh_all(m);
        manager_watch_owners(m);
        manager_verify_soon(m);
}

/* One after the other, and it may take its time for each: first whom an order lacks, for the network waits
 * for these; then who may order and lift; then the people of whom a list is there already, or whom nobody
 * blocks yet. */
static void ask_directory(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->order && !lockdown_knows_people(m->lockdowns[i]))
                        lockdown_refresh(m->lockdowns[i], NULL, NULL);
        manager_refresh_access(m);
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (!m->lockdowns[i]->refreshing)
                        lockdown_refresh(m->lockdowns[i], NULL, NULL);
}

int manager_start(struct manager *m, char **ret_error)
{
        _cleanup_(config_freep) struct config *c = load_config(m);
        int r;

        if (!c)
                return -ENOMEM;
        r = restore_all(m, c, ret_error);
        if (r < 0)
                return r;
        if (!m->state_problem)
                load_removed(m);
        manager_apply_config(m, TAKE_PTR(c), NULL, NULL);
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->have_members || l->order)
                        continue;
                load_members(l); /* staged at once from the list of last time; the directory is asked behind
                                    that */
                if (l->have_members)
                        (void)lockdown_sync(l);
        }
        manager_sweep_members(m);
        ask_directory(m);
        manager_watch_owners(m);
        manager_verify_soon(m);
        manager_update_status(m);
        (void)malloc_trim(0); /* opening the second lock takes 10 MiB, which nobody needs again */
        return 0;
}
