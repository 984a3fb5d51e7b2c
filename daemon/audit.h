/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_AUDIT_H
#define LOCKDOWN_AUDIT_H

/* The one edge to the journal: one structured entry per event, with a fixed MESSAGE_ID (catalog text in
 * conf/lockdownd.catalog). Where stderr is not the journal, the sentence goes to stderr, too.
 *
 * Nobody waits for the journal: what it does not take at once is kept, in bounded memory, and delivered in
 * its order when the journal takes entries again. What found no room is counted, and the count journalled. */

#include "order.h"
#include <syslog.h>
#include <systemd/sd-event.h>

enum audit_event {
        AUDIT_ORDERED,
        AUDIT_EXTENDED,
        AUDIT_CONFIRMED,
        AUDIT_LIFTED,
        AUDIT_EXPIRED,
        AUDIT_REFUSED_CALLER, /* somebody asked for what they have no right to */
        AUDIT_REPAIRED,       /* a table differed from what it should be and was put right */
        AUDIT_ADOPTED,        /* a table left by an earlier daemon was taken over */
        AUDIT_RECOVERED,      /* a table in force without a saved order became one */
        AUDIT_RESTORED,       /* a saved order was put into force again at start */
        AUDIT_MEMBERSHIP,     /* people were added to or removed from what is in force */
        AUDIT_SESSION_ENDED,  /* a login from outside was ended (RemoteSessions=end) */
        AUDIT_RELOADED,
        AUDIT_NOT_HOLDING, /* ordered, but the kernel does not hold it, and that could not be put right */
        AUDIT_NOT_SAVED,   /* the state could not be written: will not survive a reboot */
        AUDIT_PRUNED,      /* ended orders were removed from the record */
        AUDIT_DAMAGED,     /* a state file was set aside */
        AUDIT_INCOMPLETE,  /* entries were lost: the journal did not take them for too long */
        _AUDIT_EVENT_MAX,
};

/* Journals EVENT about O (may be NULL) with PRIORITY (LOG_ERR …). FORMAT is the sentence (MESSAGE=). Fields
 * from the order: LOCKDOWN_ORDER_ID, LOCKDOWN_PROFILE, LOCKDOWN_REASON, LOCKDOWN_UNTIL, LOCKDOWN_SEVERED,
 * LOCKDOWN_REFUSED; from CALLER (may be NULL): LOCKDOWN_CALLER_UID, LOCKDOWN_CALLER_NAME,
 * LOCKDOWN_CALLER_PID. Never fails visibly. */
void audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
           const char *format, ...) __attribute__((format(printf, 5, 6)));
/* A plain message without an event. */
void audit_log(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* From now on what waits is delivered by EVENT's loop; before, it is tried with each new entry. 0 or -errno.
 */
int audit_attach(sd_event *event);
/* Ends that. What waits gets a last chance, for a second at most. */
void audit_detach(void);
/* Entries that wait for the journal now, and those lost since start. */
struct audit_backlog {
        uint64_t waiting, lost;
};
struct audit_backlog audit_backlog(void);
/* The MESSAGE_ID as 32 hex digits. */
const char *audit_message_id(enum audit_event event);

#endif
