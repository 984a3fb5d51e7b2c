/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_NFT_H
#define LOCKDOWN_NFT_H

/* The one edge to nf_tables: a single nfnetlink socket, open for the life of the daemon, that makes every
 * change. Each change is one transaction: all of it or nothing. On failure a function returns -errno and,
 * where RET_ERROR is given, a sentence that names the object the kernel refused (the caller frees). */

#include "ruleset.h"
#include "words.h"
#include <stdbool.h>
#include <stdint.h>

struct nft;

/* Opens the socket and finds out by a trial transaction (that leaves nothing behind) whether tables can be
 * owned and persistent. -EPERM: no CAP_NET_ADMIN; -EPROTONOSUPPORT/-EOPNOTSUPP: kernel without nf_tables. */
int nft_open(struct nft **ret, char **ret_error);
/* The same on a socket that an earlier daemon opened and the service manager kept: tables owned by it never
 * were without an owner. It is taken over, also on failure. -EINVAL: it is none of nfnetlink's. */
int nft_open_kept(int socket, struct nft **ret, char **ret_error);
/* The socket, to be kept beyond this process's life; it stays N's. */
int nft_socket(const struct nft *n);
/* True if tables are created with NFT_TABLE_F_OWNER|NFT_TABLE_F_PERSIST. */
bool nft_owns_tables(const struct nft *n);
/* NULL if what packet sockets write can be judged, too: by a table in family netdev, hooked up at every
 * device (Linux 5.16 and later; tried). Else why not; N's. */
const char *nft_why_no_frames(const struct nft *n);
struct nft *nft_close(struct nft *n); /* returns NULL; tables stay */

/* Makes the table be R, whatever was there under its name: with hooks if ENGAGED. Attempts and totals that
 * were there are lost: read them first. Where it was engaged before and is to be, it refuses and allows
 * without a gap meanwhile. If it fails, what was engaged still refuses: by the old rules or the new. -ENOENT
 * also where somebody removed a large table while it was made: nft_stand_in() first, for the next attempt
 * takes a while. Else 0, 1 (see nft_engage()) or -errno. */
int nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error);
/* Stages R, as nft_replace() does without hooks, but bit by bit, so that nobody else waits long for the
 * daemon: to be called with the same R until it returns 0; 1: there is more to do. Until then the table is of
 * no use. After an error (-errno), or if R is not wanted any more, another nft_stage() or nft_replace()
 * begins anew with whatever is there. AT is zeroed before the first call. */
struct nft_progress {
        bool begun, frames;
        unsigned set;
        size_t element;
};
int nft_stage(struct nft *n, const struct ruleset *r, struct nft_progress *at, char **ret_error);
/* Adds the base chains of R to the staged table. Returns 0; or 1, as nft_replace() does: it is in force, but
 * perhaps not at every device (nft_cover_devices() is to follow). */
int nft_engage(struct nft *n, const struct ruleset *r, char **ret_error);
/* Listing the devices takes nft_engage() as long as everything else. It takes those that were there when they
 * were noted, as long as that is not forgotten: the caller forgets it when a device may have come, gone or
 * changed its name. */
void nft_note_devices(struct nft *n);
void nft_forget_devices(struct nft *n);
/* Brings the hooks at devices in line with the devices there are now: for those that appeared, changed their
 * name or went since R was engaged. Does nothing where R has no rules for frames. */
int nft_cover_devices(struct nft *n, const struct ruleset *r, char **ret_error);
/* Adds the names of the devices there are now. */
int nft_list_devices(struct words *ret);
/* Removes the base chains and empties the attempts sets and totals; the table stays staged. */
int nft_disengage(struct nft *n, const struct ruleset *r, char **ret_error);
/* Sends only what NEW differs from OLD by (ruleset_same_structure() must hold), likewise without a gap.
 * Attempts and totals stay. */
int nft_update(struct nft *n, const struct ruleset *old, const struct ruleset *new, char **ret_error);
/* The table is not what it should be: the hold (a table made like R) refuses in its place until nft_replace()
 * is done, which may take a while. FEW (may be NULL) is like R with fewer people, and there sooner; it is
 * used only if nothing is hooked up at the moment. */
int nft_stand_in(struct nft *n, const struct ruleset *r, const struct ruleset *few, char **ret_error);
/* Is there a table for packets? 1, 0 or -errno. */
int nft_is_there(struct nft *n, const char *name);
/* Removes the table; no error if there is none. NAME is the profile's. */
int nft_delete(struct nft *n, const char *name, char **ret_error);

struct nft_table {
        char *name;     /* the profile's: without TABLE_PREFIX */
        bool engaged;   /* has a base chain */
        bool owned;     /* by this socket */
        bool foreign;   /* by a live socket that is not ours: another lockdownd */
        char order[33]; /* id of the order that engaged it, as far as it is known; else empty */
};
/* All profiles that have tables, in whichever family (their names begin with TABLE_PREFIX). The caller frees
 * with nft_tables_free(). */
int nft_list(struct nft *n, struct nft_table **ret, size_t *ret_n);
void nft_tables_free(struct nft_table *tables, size_t n);
/* Takes ownership of a table left by a dead daemon; what it holds and refuses is not touched. 0 also where
 * the kernel knows no ownership. */
int nft_adopt(struct nft *n, const char *name, char **ret_error);
/* Compares what the kernel holds with R: flags, sets and their elements (see ruleset_set_compared()), chains,
 * hooks, priorities, rules one by one. Returns 0: the same; 1: it differs, and RET_DIFFERENCE says where (a
 * sentence; the caller frees); -errno. */
int nft_verify(struct nft *n, const struct ruleset *r, bool engaged, char **ret_difference);

/* Large sets take most of that (100,000 members some 100 ms). So they can be read beforehand, and
 * nft_reading_run(), the part that takes long, touches nothing else of N's than a count: it may be another
 * thread's. It ends when N changes any table, for what is read is of no use then. */
struct nft_reading;
/* What nft_verify() would have to read of R that is large. NULL: nothing; or no memory. N must stay. */
struct nft_reading *nft_reading_new(const struct nft *n, const struct ruleset *r);
void nft_reading_run(struct nft_reading *g);
/* Makes it end soon, and of no use. */
void nft_reading_give_up(struct nft_reading *g);
/* Is it of use? Otherwise it may be tried again, a little later. */
bool nft_reading_is_good(const struct nft_reading *g);
/* nft_verify() with what was read; what could not be is read now. G may be NULL. */
int nft_verify_read(struct nft *n, const struct ruleset *r, bool engaged, const struct nft_reading *g,
                    char **ret_difference);
struct nft_reading *nft_reading_free(struct nft_reading *g); /* returns NULL */
/* Reads from a table found in force whom it blocks and what it allows, for an order whose state file is lost.
 */
int nft_read_back(struct nft *n, const char *name, struct subjects *ret_subjects,
                  struct destinations *ret_destinations, bool *ret_forward_deny);

/* Ids of the control groups of units (Services=) that it holds; none where it has no such set. The caller
 * frees. */
int nft_read_units(struct nft *n, const char *name, uint64_t **ret, size_t *ret_n);

/* Where the relay of DNS=ADDRESS listens, as a table that is there has it. -ENOENT: it has none. */
int nft_read_relay_port(struct nft *n, const char *name, uint16_t *ret);

#define ATTEMPT_NO_UID UINT32_MAX /* a socket without an owner */

struct attempt {
        uint32_t uid;
        int family;
        uint8_t addr[16];
        uint8_t protocol;
        uint16_t port; /* host order; 0 where there is none */
        uint64_t packets, bytes;
};
struct attempts {
        struct attempt *items; /* sorted by uid, then packets, descending */
        size_t n;
        uint64_t packets, bytes; /* all that was refused, also what found no room in the sets */
};
/* As long as this boot lasts, no other table of this network namespace has the number of the one for packets.
 * -ENOENT: there is none. */
int nft_table_number(struct nft *n, const char *name, uint64_t *ret);
int nft_read_attempts(struct nft *n, const char *name, struct attempts *ret);
/* Only the totals: one small request. */
int nft_read_refused(struct nft *n, const char *name, uint64_t *ret_packets, uint64_t *ret_bytes);
/* Datagrams sent to try the rules (trial.h), which neither of the two above counts. -ENOENT: there is no such
 * table. */
struct nft_trials {
        uint64_t refused, passed;
};
int nft_read_trials(struct nft *n, const char *name, struct nft_trials *ret);
void attempts_clear(struct attempts *a);
/* Entries of one order at the most, however often its table was replaced: what two full sets hold. */
#define ATTEMPTS_KEPT_MAX 131072
/* Adds B's counts into A, merging equal keys; the most frequent ATTEMPTS_KEPT_MAX of them are kept. Returns 0
 * or -ENOMEM. */
int attempts_merge(struct attempts *a, const struct attempts *b);

DEFINE_CLEANUP(struct nft *, nft_close)
#define _cleanup_attempts_ _cleanup_(attempts_clear)

#endif
