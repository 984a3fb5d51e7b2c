/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_MANAGER_INTERNAL_H
#define LOCKDOWN_MANAGER_INTERNAL_H

/* What the files manager*.c and report.c share. */

#include "audit.h"
#include "background.h"
#include "clock.h"
#include "config.h"
#include "device-watch.h"
#include "dns-relay.h"
#include "doors-judge.h"
#include "manager.h"
#include "namespaces.h"
#include "nft-watch.h"
#include "nft.h"
#include "operation.h"
#include "resolver.h"
#include "second-lock.h"
#include "sessions.h"
#include "sever.h"
#include "store.h"
#include "timespan.h"
#include "trial.h"
#include "unit-cgroups.h"
#include "watch.h"
#include "worker-process.h"

/* How long the directory may take for one list of groups. */
#define RESOLVE_DEADLINE (10 * USEC_PER_SEC)
/* How long the reply to an order waits for a membership that is being brought up to date; the block stands
 * already. */
#define REFRESH_PATIENCE (2 * USEC_PER_SEC)
/* Directories do not tell about changes: everything is asked again this often. */
#define REFRESH_INTERVAL (5 * USEC_PER_MINUTE)
/* What the kernel or the disk refused is tried again this often. */
#define RETRY_INTERVAL (10 * USEC_PER_SEC)
/* … and what the directory did not answer so soon at first, then later each time, up to REFRESH_INTERVAL. */
#define AGAIN_FIRST (5 * USEC_PER_SEC)
#define SEVER_ROUNDS 32
#define SEVER_TRIES 3
/* Everybody may ask for the status: other namespaces are not looked at again sooner than this. */
#define NAMESPACES_INTERVAL (1 * USEC_PER_SEC)

struct waiter;
struct trial;
struct verification;
struct change;

/* What others did to an order's locks, as far as this daemon noticed. */
struct tampering {
        uint64_t times;
        uint64_t last_at; /* realtime */
        char program[32]; /* who did it last, as far as it is known; empty: it is not */
        uint32_t pid;
        uint64_t longest;       /* from noticing it until something refused again, microseconds */
        uint64_t told_at, told; /* boot clock; how many of TIMES are in the journal */
};

/* When it is asked again what was not answered: the monotonic clock; 0: it was. */
struct again {
        uint64_t at, pause;
};

/* One table: a configured profile, or the plan of an ad-hoc or recovered order. */
struct lockdown {
        struct manager *manager;
        char *name;
        struct profile *profile;  /* the plan; an order in force carries its own copy and that one counts */
        bool configured;          /* PROFILE stands in the configuration */
        struct order *order;      /* NULL: not in force */
        enum order_state ends_as; /* … and only because the kernel would not let go; ORDER_ACTIVE: no */

        struct membership members;
        bool have_members;     /* MEMBERS is known, from the directory or from disk */
        bool from_disk;        /* nobody has confirmed it since the daemon started */
        bool members_saved;    /* these people stand on disk */
        char *members_problem; /* a sentence, or NULL */
        uint64_t fingerprint;  /* of the account files when the last look-up began */
        bool refreshing;       /* a look-up is under way */
        bool refresh_again;    /* something changed since it began */
        struct again ask_again;
        struct waiter *waiters;

        struct unit_cgroups units; /* what Services= means at the moment */
        char *units_problem;       /* why some of that may be missing, or NULL */

        struct ruleset *loaded; /* what the kernel holds; NULL: nothing of ours, or not all of it yet: */
        bool engaged;
        struct ruleset *staging; /* on its way there, as far as … */
        struct nft_progress progress;
        sd_event_source *stage_next;
        bool staged_again;     /* it has failed once */
        bool staging_outdated; /* what is to be there has changed since, by elements */
        bool staging_meddled;  /* others may have changed what is there of it */
        bool staging_repairs;  /* … and it is told when it is done */
        uint64_t held_at;      /* monotonic clock: both locks were in place */
        /* what the table showed when it was read last, and what of that is a part of the order's total */
        uint64_t seen_packets, seen_bytes, counted_packets, counted_bytes;
        char *kernel_problem;     /* why the kernel does not hold what it should, or NULL */
        uint64_t failure_told_at; /* boot clock */
        char *frames_problem;     /* why frames are not refused at every device, or NULL */
        bool restage_later;       /* its order has just ended */
        bool outdated;            /* … and what is staged until then is another plan */
        bool unsevered;           /* connections could not all be cut: to be tried again */
        bool second_engaged;
        char *second_problem;           /* why the second lock is not in place as it should be, or NULL */
        struct dns_relay *relay;        /* with DNS=ADDRESS */
        char *relay_problem;            /* why there is none, or why it does not serve, or NULL */
        char *sessions_problem;         /* why logins from outside are not ended, or NULL */
        struct attempts_record unsaved; /* could not be brought into the record on disk yet */
        uint64_t unsaved_since;         /* with save_problem: realtime */
        uint64_t taken_back;            /* an end (ended_at) that was saved, but is not true; 0: none */
        char *save_problem;             /* why the order would not survive a reboot, or NULL */
        uint64_t verified_at; /* realtime: both locks were read back and as they should be; 0: never yet */
        struct tampering tampering;
        bool alarmed;         /* … and since then it was told that they are not */
        uint64_t repaired_at; /* what was noticed then, boot clock */
        bool sever_later;     /* what came up through a hole */
        struct trial *trial;  /* under way, or NULL */
        char *trial_text;     /* what came of the last one, or NULL: there was none */
        char *trial_problem;  /* the same, if it did not come out as ordered */

        sd_event_source *expiry;

        char *spared;             /* session the order was given from, until its reply was read; or NULL */
        bool caller_leaves;       /* … which ends then */
        sd_event_source *reading; /* until then */
};

struct manager {
        sd_event *event;
        char *configuration_dir, *state_dir;
        struct notifier *notifier; /* borrowed */
        int lock_fd;               /* held for life: one daemon at a time */
        struct nft *nft;
        struct nft_watch *nft_watch;     /* NULL where tables are owned */
        struct device_watch *devices;    /* NULL where frames are not judged */
        sd_event_source *note_devices;   /* after a change */
        struct sever *sever;             /* NULL where the kernel cannot */
        sd_event_source *second_prepare; /* programs for orders to come are loaded in a quiet moment */
        struct second_lock_loading *second_loading; /* … and are on their way, NULL: none, in a thread */
        struct background *second_loader;
        bool second_again;          /* … and it was to be done once more */
        struct second_lock *second; /* NULL where there is none: */
        char *second_problem;       /* … because */
        unsigned second_tries;
        char *no_sender; /* why it does not judge who sends, as it was told; NULL: it does */
        struct again sender_again;
        struct launcher *launcher; /* borrowed */
        struct resolver *resolver;
        struct store *store;
        char *state_problem;       /* the store is one that holds nothing, because … */
        struct problems damage;    /* found in files of ours since the start, a sentence each */
        struct sessions *sessions; /* may be NULL */
        struct units *units;       /* likewise */
        char *cgroup_root;         /* where cgroup2 is mounted; NULL: not looked for yet, or nowhere */
        struct remote *remote;     /* logins from outside that are being ended */
        struct watch *watch;
        struct clock_watch *clock;
        sd_event_source *refresh_timer, *retry_timer, *status_timer;
        sd_event_source *verify_timer; /* NULL: nothing is in force */
        sd_event_source *verify_next;
        sd_event_source *sever_later;       /* what came up through a hole */
        struct verification *verifications; /* the first is under way, the others wait */
        struct nft_reading *reading;        /* … for what a thread reads; NULL: it does not */
        struct background *reader;
        uint64_t trial_turn;
        sd_event_source *seen_timer; /* NULL: nobody is looked for */
        struct idset seen;           /* owners of sockets so far, while it runs */

        struct unsaved_end *unsaved_ends; /* orders that are over, but not on disk; bounded */

        struct history_op *histories;    /* being told */
        struct record_pass *record_pass; /* the record is being brought within its bounds, or NULL */
        bool record_removing;
        int record_error; /* of the last pass, told once */
        sd_event_source *record_timer, *record_step;
        uint64_t clock_set_at; /* since then the wall clock goes on by itself; boot clock */

        struct config *config;
        struct reload_op *reload; /* under way, or NULL */
        char *orders_problem;     /* some saved orders could not be read, and why; they may not be in force */
        char *config_problem;     /* the files on disk are not what is in force, and why */
        struct access_list access[_RIGHT_MAX];
        struct access_query *access_queries[_RIGHT_MAX]; /* being looked up, or NULL */
        char *access_problems[_RIGHT_MAX];               /* what of it is not known, or NULL */
        struct again access_again[_RIGHT_MAX];
        bool access_known[_RIGHT_MAX]; /* it was answered once, well or badly */
        manager_right_known_t right_known;
        void *right_known_userdata;

        struct lockdown **lockdowns; /* sorted by name */
        size_t n_lockdowns;
        uint64_t started_at;

        struct namespaces others; /* other network namespaces, as last looked at for a status … */
        uint64_t others_at;       /* … on the boot clock; 0: never */

        manager_changed_t changed;
        void *changed_userdata;
        struct change *changes; /* not told yet */
        size_t n_changes;
        sd_event_source *tell;
        sd_event_source *restage; /* of those whose order has ended */
};

/* ---- manager.c ---- */
struct lockdown *manager_find(const struct manager *m, const char *name);
/* Adds an entry with a copy of PROFILE. NULL: no memory. */
struct lockdown *manager_add(struct manager *m, const struct profile *profile, bool configured);
/* Takes it out and frees it; its table must be gone. */
void manager_remove(struct manager *m, struct lockdown *l);
const struct profile *lockdown_profile(const struct lockdown *l);
/* Tells the bus (signal Changed) and systemd (status text), in the next turn of the loop: whoever brought it
 * about has his answer first. STATE is a constant. */
void manager_notify(struct manager *m, const char *profile, const char *state);
/* CALLBACK comes once, in a later turn of the loop: behind whatever waits by then with PRIORITY or before it.
 * *SOURCE is replaced, also from within its own callback. sd-event takes what has been pending longest, and a
 * defer source that stays enabled or is enabled again has been pending since it was made: work done in steps
 * by such a one gives nobody a turn. Returns 0 or -errno, *SOURCE as it was. */
int manager_next_turn(struct manager *m, sd_event_source **source, int64_t priority,
                      sd_event_handler_t callback, void *userdata);
#define PRIORITY_LATER (SD_EVENT_PRIORITY_NORMAL + 10) /* takes turns with callers who may not order */
/* The answer to a NAME that is none of a profile's. */
void manager_no_such_profile(const struct manager *m, const struct operation *op, const char *name);
void manager_update_status(struct manager *m);
/* Replaces *WHERE by a formatted sentence (NULL format: by NULL). */
void set_problem(char **where, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- manager-state.c ---- */
/* Makes sure that no other daemon runs, and that the directory of the control socket is ours alone. */
int manager_take_lock(struct manager *m, const char *runtime, char **ret_error);
/* Without a state directory that can be used the daemon goes on without one; only -ENOMEM. */
int manager_open_store(struct manager *m);
/* Tries that again, if it has to; then what had been saved is in force again. */
void manager_retry_store(struct manager *m);
/* At start, when the orders are back and the configuration applied: lists of people that nothing refers to
 * any more are removed. */
void manager_sweep_members(struct manager *m);
/* To the journal, and into each status from now on. */
void manager_report_damage(struct manager *m, const struct problems *problems);

/* ---- manager-start.c ---- */
/* What is saved and not in force, once the state directory can be used after all. */
void manager_restore_late(struct manager *m);

/* ---- manager-members.c ---- */
/* Asks the directory for L's people. CALLBACK (may be NULL) comes once, when the answer (or error) has been
 * applied. */
typedef void (*refreshed_t)(void *userdata, struct lockdown *l, int error);
void lockdown_refresh(struct lockdown *l, refreshed_t callback, void *userdata);
void lockdown_cancel_waiters(struct lockdown *l, const void *userdata);
void lockdown_free_waiters(struct lockdown *l); /* each is called with -ECANCELED */
/* Is what is known of L's people possibly out of date at this moment? */
bool lockdown_stale(const struct lockdown *l);
void manager_refresh_all(struct manager *m);
void again_later(struct again *a);
bool again_due(const struct again *a);
/* Of all that the directory did not answer, what is due. */
void manager_ask_again(struct manager *m);

/* ---- manager-access.c ---- */
void manager_refresh_access(struct manager *m);
void manager_ask_access_again(struct manager *m); /* the rights that are due */
void manager_forget_access(struct manager *m);    /* for good */

/* ---- manager-repair.c ---- */
/* Somebody changed tables of ours: what is in force and differs is put right. */
void manager_tables_changed(struct manager *m, const struct nft_change *change);
/* What comparing would have to read that is large; NULL: nothing, or no memory. */
struct nft_reading *lockdown_new_reading(struct lockdown *l, bool whole);
/* Compares, and puts right what differs; WHOLE: also what nobody else can have changed. READING, if not NULL,
 * is current. Return whether anything had to be repaired. */
bool lockdown_check_tables(struct lockdown *l, bool whole, const struct nft_reading *reading);
bool lockdown_check_second(struct lockdown *l);
/* Journals changes by others that were not journalled one by one: of L, or of those for whom it is time. */
void lockdown_tell_tampering(struct lockdown *l);
void manager_tell_tampering(struct manager *m);

/* ---- manager-verify.c ---- */
/* An order came into force: it is verified in a moment, and then every minute as long as there is one. */
void manager_verify_soon(struct manager *m);

/* What is wrong with L after everything that can be done was done; NULL: nothing. */
const char *lockdown_trouble(const struct lockdown *l);
/* Those that wait are answered that nothing comes of it. */
void manager_cancel_verifications(struct manager *m);
/* L's order ended or L is about to go: its trial is given up. */
void lockdown_stop_verifying(struct lockdown *l);

/* ---- manager-trial.c ---- */
/* Tries L, which is in force; one at a time in all. CALLBACK comes once, perhaps at once; trial_text says
 * what came of it. */
typedef void (*lockdown_tried_t)(void *userdata, struct lockdown *l, enum trial_verdict verdict);
void lockdown_try(struct lockdown *l, lockdown_tried_t callback, void *userdata);
void lockdown_forget_trial(struct lockdown *l); /* without a callback */

/* ---- manager-time.c ---- */
/* Reckons ends anew where the clock has become one that can be believed; STEPPED: it was set as well. */
void manager_follow_clock(struct manager *m, bool stepped);
/* Why L's order may end later than the clock says, and when: a sentence, the caller's to free; or NULL. */
char *lockdown_clock_doubt(const struct lockdown *l);
/* How long they have been in force goes to disk, for the next boot. */
void manager_save_times(struct manager *m);

/* ---- manager-seen.c ---- */
/* An order came into force: looks for people it covers without knowing it, until none goes by groups. */
void manager_watch_owners(struct manager *m);

/* ---- manager-load.c ---- */
/* Is it known whom L is about? Until then nothing is put in place of what the kernel holds. */
bool lockdown_knows_people(const struct lockdown *l);
/* The subjects as the rules take them: members with the profile's everyone, sessions, root. */
int lockdown_subjects(const struct lockdown *l, struct subjects *ret);
/* Brings the kernel's table in line with plan, members and state (staged, or engaged while there is an
 * order). 0 or -errno; the sentence is in kernel_problem. A large table is staged in steps, by the event
 * loop: until that is done LOADED is NULL. */
int lockdown_sync(struct lockdown *l);
/* What the kernel has of it stays: another sync, or nft_delete(), is to follow. */
void lockdown_stop_staging(struct lockdown *l);
/* Services= as lockdown_find_units() found it. */
int lockdown_build(const struct lockdown *l, const struct profile *p, const struct subjects *s,
                   struct ruleset **ret);
/* R is hooked up at every device there is; or, if INCOMPLETE, now at those that are found. */
void lockdown_hooked_up(struct lockdown *l, const struct ruleset *r, int incomplete);
/* Devices came, went or have other names: the hooks at devices of what is in force follow. */
void manager_cover_devices(struct manager *m);

/* ---- manager-enforce.c ---- */
/* Engages (staged or not), severs, saves, journals: the order becomes L's. 0, or -errno with kernel_problem.
 */
int lockdown_engage(struct lockdown *l, struct order *o, struct sever_result *ret_severed);
/* Destroys the subjects' sockets that lead outside; counts into the order. */
void lockdown_sever(struct lockdown *l, struct sever_result *ret);
int lockdown_count_sockets(struct lockdown *l, uint64_t *ret);
/* Ends the order. On success *RET_ENDED is the finished order (the caller frees), and an unconfigured L is
 * gone. -errno: still in force, kernel_problem says why. */
int lockdown_end(struct lockdown *l, enum order_state state, const struct caller *by, const char *reason,
                 struct order **ret_ended);
/* What an order came to. */
struct totals {
        uint64_t packets, bytes, severed;
};
/* The second half of that, for an order that is saved as ended while its table still refuses; ON_DISK: with
 * these totals, or NULL. -errno: it still does, and L is as it was. */
int lockdown_complete_end(struct lockdown *l, const struct totals *on_disk, struct order **ret_ended);
/* The kernel would not let go: the order is in force as before, and so are its rules, of which the kernel may
 * have removed a part all the same. */
void lockdown_resume(struct lockdown *l);
void lockdown_arm_expiry(struct lockdown *l);

/* ---- manager-save.c ---- */
void lockdown_save(struct lockdown *l); /* sets or clears save_problem */
int lockdown_save_members(struct lockdown *l);
int lockdown_keep_members(struct lockdown *l); /* … unless they stand there already */
/* Saves that O is over, and brings its record up to UNSAVED (emptied; may be NULL). -errno: that is
 * journalled, remembered (within bounds, unless O would come back), and tried again by
 * manager_retry_saving().
 */
int manager_save_end(struct manager *m, const struct order *o, struct attempts_record *unsaved);
/* Tries again whatever could not be saved. */
void manager_retry_saving(struct manager *m);
void manager_retry_ends(struct manager *m); /* … the ends alone */
/* Is the order with this id over, whatever the disk says? */
bool manager_knows_end(const struct manager *m, const char *id);
/* A sentence for each order (ONLY: of this name) that is over, but not on disk. */
void manager_report_unsaved_ends(const struct manager *m, const char *only, json_t *warnings);
void manager_forget_unsaved(struct manager *m); /* tries a last time; the store is still there */

/* ---- manager-count.c ---- */
/* Reads what the table counted into the order's total and record, before the table goes. As often as one
 * likes: nothing is counted twice. */
void lockdown_collect(struct lockdown *l);
/* To be called when the table was replaced, or emptied. */
void lockdown_counts_anew(struct lockdown *l);
/* To be called for an order that comes from disk: what of its table is counted already. */
void lockdown_recall(struct lockdown *l);
/* Brings the record of the order with this id, on disk, up to UNSAVED, which is emptied. -errno: that is
 * kept, to be tried again. */
int manager_save_record(struct manager *m, const char *id, struct attempts_record *unsaved);
bool attempts_record_empty(const struct attempts_record *r);
/* All that L's order has refused so far, by both locks. */
void lockdown_refused(struct lockdown *l, uint64_t *ret_packets, uint64_t *ret_bytes);
/* The same one by one, as far as the rules know. 0 or -errno. The caller frees (attempts_clear()). */
int lockdown_attempts(struct lockdown *l, struct attempts *ret);

/* ---- manager-second.c ---- */
/* Brings the second lock in line with order, plan and members; what goes wrong stands in second_problem. */
void lockdown_second_sync(struct lockdown *l);
/* Its table was staged: what the second lock needs for the same people and destinations is made ready, too,
 * and is as good as long as that table. */
void lockdown_second_stage(struct lockdown *l);
void lockdown_second_unstage(struct lockdown *l);
/* Is it on as it should be? 0: yes, or it is not wanted, or known not to be (second_problem); 1: no, and
 * RET_DIFFERENCE says where; -errno. */
int lockdown_second_verify(struct lockdown *l, char **ret_difference);
/* What it refused to send, to be added to the rules' count; zero where it is not in place. */
void lockdown_second_refused(const struct lockdown *l, uint64_t *ret_packets, uint64_t *ret_bytes);
/* Takes it off. 0, or -errno with second_problem: it still holds. */
int lockdown_second_end(struct lockdown *l);
/* Finds out whether there is one on this machine; told if not (second_problem). */
void manager_second_open(struct manager *m);
/* In a quiet moment, which may be long in coming: what orders to come need. */
void manager_second_prepare(struct manager *m);
void manager_second_close(struct manager *m); /* what is engaged holds */
/* Where there was none: a few times more, and then what is in force gets it. */
void manager_second_try_again(struct manager *m);
/* Where it lost what judges who sends, for the moment: tried again when it is due, and then what is in force
 * gets that. */
void manager_second_try_sender(struct manager *m);
/* At start, when the orders are back: removes second locks that belong to none. */
void manager_second_sort_out(struct manager *m);

/* ---- manager-units.c ---- */
/* Looks again which control groups Services= means. True: others than before; then the caller sees to it that
 * the kernel follows, for nobody else will. */
bool lockdown_find_units(struct lockdown *l);
/* The same, and what is staged or in force follows. */
void lockdown_follow_units(struct lockdown *l);
void manager_units_changed(struct manager *m);

/* ---- manager-remote.c ---- */
int manager_remote_new(struct manager *m);
void manager_remote_free(struct manager *m); /* the resolver is still there */
/* The logins from outside that L's order ends, or would end. The caller frees (remote_sessions_free()). */
int lockdown_remote_sessions(const struct lockdown *l, struct remote_session **ret, size_t *ret_n);
/* Ends them, if L is in force and its profile says so; counts, saves and journals. Does not wait for them to
 * be gone, but looks after them. */
void lockdown_end_sessions(struct lockdown *l);
/* Would the plan of L cut off process PID, which asks for it: end the session from outside that it was
 * started from, or leave no way to log in again from there? A sentence (the caller frees), or NULL: no. */
char *lockdown_own_foot(const struct lockdown *l, int pid);
void manager_end_sessions(struct manager *m); /* of all orders in force */
/* The session that process PID, which gives the order, was started from is left alone until
 * lockdown_caller_answered(), and as long after that as it takes to read an answer. */
void lockdown_spare_caller(struct lockdown *l, int pid);
void lockdown_caller_answered(struct lockdown *l);
void lockdown_forget_caller(struct lockdown *l);

/* ---- manager-record.c ---- */
struct history_op;
int manager_record_new(struct manager *m);
/* An order has ended, or the bounds may be others: in a moment the record is brought within them. */
void manager_record_soon(struct manager *m);
void manager_record_free(struct manager *m); /* the store is still there */

/* ---- manager-doors.c ---- */
/* What waits for others on this machine, as far as it could be a door to an order. */
struct sightings {
        struct listeners listeners;
        struct problems unseen;                   /* what could not be looked at */
        uint16_t ephemeral_first, ephemeral_last; /* as in struct doors_plan */
};
/* Looks for what concerns ONLY (in force or not), or NULL: all that is in force. RET must be zeroed; what
 * goes wrong stands in it. */
void manager_look_for_doors(struct manager *m, const struct lockdown *only, struct sightings *ret);
/* The doors of L among them, which must stay while RET is used. 0 or -ENOMEM. */
int lockdown_judge_doors(const struct lockdown *l, const struct sightings *s, struct doors *ret);
void sightings_clear(struct sightings *s);
#define _cleanup_sightings_ _cleanup_(sightings_clear)

/* ---- manager-relay.c ---- */
/* To be called before the table is built: finds the port, and lets it wait for questions if there is an
 * order. What goes wrong stands in relay_problem; the rules are then without it. */
void lockdown_relay_prepare(struct lockdown *l);
uint16_t lockdown_relay_port(const struct lockdown *l); /* 0: none */
/* To be called when the table is loaded: starts or ends the process, as order and plan want it. */
void lockdown_relay_sync(struct lockdown *l);

/* ---- manager-start.c ---- */
/* Saved orders that could not be read at start are brought back if they can be read now. */
void manager_read_orders_again(struct manager *m);

/* ---- manager-join.c ---- */
/* O, about the same people as L's order, goes into that. O stays the caller's. */
void lockdown_join(struct lockdown *l, struct order *o, const struct now *now);
/* Gives O, whose name is another order's, one that is neither in use nor in C. 0 or -ENOMEM. */
int manager_rename_order(const struct manager *m, struct order *o, const struct config *c);

/* ---- manager-recover.c ---- */
/* For a table in force whose order is lost. The plan in words that says what the table does (the caller
 * frees). */
int recovered_profile(struct manager *m, const char *name, struct profile **ret);
/* An order until lifted, marked as recovered. ID: as the table has it, or empty. P is taken over on success.
 */
int recovered_order_new(struct profile *p, bool configured, const char *id, struct order **ret);
/* L's order is saved as ended, and its table still refuses: removes that, and journals it. If that fails, it
 * is in force until it succeeds. */
void lockdown_finish_end(struct lockdown *l);
/* Does that for those that were taken for lost as long as the disk could not be read. */
void manager_finish_recovered(struct manager *m);
/* Tries again where it failed. */
void manager_finish_ends(struct manager *m);

/* ---- manager-reload.c ---- */
/* Makes the configured profiles be those of C (taken over); what is in force follows. MEMBERS: what the
 * directory said about each profile of C, moved out where it is known (as_of != 0); may be NULL. CHANGED (may
 * be NULL): a sentence per difference. The directory is asked anew by the caller. */
void manager_apply_config(struct manager *m, struct config *c, struct membership *members,
                          struct problems *changed);

#endif
