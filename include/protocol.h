/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_PROTOCOL_H
#define LOCKDOWN_PROTOCOL_H

/* What lockdownd and its callers agree on: the bus interface. The same object is served on the private socket
 * (peer to peer, no message bus) and on the system bus.
 *
 * Every method answers with one JSON document (s); its keys are described in lockdownctl(1), "JSON". Options
 * are a{sv}; an unknown key or a value of another type is refused with ERROR_BAD_REQUEST. */

#define LOCKDOWN_SOCKET_PATH "/run/lockdownd/lockdownd.sock"
#define LOCKDOWN_SOCKET_ENV "LOCKDOWN_SOCKET"

#define LOCKDOWN_BUS_NAME "org.egresslockdown.Lockdown1"
#define LOCKDOWN_BUS_PATH "/org/egresslockdown/Lockdown1"
#define LOCKDOWN_BUS_INTERFACE "org.egresslockdown.Lockdown1"

/* Order(s profile, a{sv} options) -> s.  An empty profile name gives an ad-hoc order, described by the
 * options. for     t   duration, microseconds        until  t  microseconds since the Epoch (not both) reason
 * s                                 dry-run b  change nothing, answer with the ruleset confirm-within t
 * microseconds: it ends by itself unless Confirm() comes before    yes  b  also if it cuts off the caller's
 * own way in; and for ad-hoc orders
 * only: name    s   default: "adhoc", "adhoc-2"…  groups, users, allow  as      everyone  b */
#define METHOD_ORDER "Order"
/* Lift(s profile, s reason) -> s;  LiftAll(s reason) -> s */
#define METHOD_LIFT "Lift"
#define METHOD_LIFT_ALL "LiftAll"
/* Extend(s profile, a{sv} options: for | until) -> s */
#define METHOD_EXTEND "Extend"
/* Confirm(s profile) -> s.  It no longer ends because nobody confirmed it. */
#define METHOD_CONFIRM "Confirm"
/* Verify(s profile) -> s.  "" for all: reads both locks back and repairs what differs. */
#define METHOD_VERIFY "Verify"
/* Status(s profile, b names) -> s.  "" for all; names: list the people covered by name. */
#define METHOD_STATUS "Status"
/* Profiles() -> s;  History() -> s;  Attempts(s profile) -> s ("" for all in force; also a finished order's
 * id) */
#define METHOD_PROFILES "Profiles"
#define METHOD_HISTORY "History"
#define METHOD_ATTEMPTS "Attempts"
/* Explain(s user, s destination) -> s */
#define METHOD_EXPLAIN "Explain"
/* Reload() -> s */
#define METHOD_RELOAD "Reload"
/* Changed(s profile, s state): an order began ("active"), was extended ("extended"), was
 * confirmed ("confirmed") or ended ("lifted",
 * "expired") */
#define SIGNAL_CHANGED "Changed"

#define ERROR_PREFIX "org.egresslockdown.Lockdown1.Error."
#define ERROR_BAD_REQUEST ERROR_PREFIX "BadRequest"        /* exit 2: the request makes no sense */
#define ERROR_NOT_PERMITTED ERROR_PREFIX "NotPermitted"    /* exit 4 */
#define ERROR_NO_SUCH_PROFILE ERROR_PREFIX "NoSuchProfile" /* exit 1 */
#define ERROR_NEEDS_YES ERROR_PREFIX "NeedsYes"            /* exit 2: it would cut off who asks for it */
#define ERROR_NO_SUCH_NAME ERROR_PREFIX "NoSuchName"       /* exit 1: a group or user that does not exist */
#define ERROR_NAME_IN_USE ERROR_PREFIX "NameInUse"         /* exit 1 */
#define ERROR_RESOLVE_FAILED ERROR_PREFIX "ResolveFailed"  /* exit 1: the directory did not answer */
#define ERROR_KERNEL ERROR_PREFIX "Kernel"                 /* exit 1: the kernel refused the rules */
#define ERROR_CONFIGURATION ERROR_PREFIX "Configuration"   /* exit 1: reload refused */
#define ERROR_FAILED ERROR_PREFIX "Failed"                 /* exit 1: anything else */

/* Exit codes of lockdownctl. */
enum exit_code {
        EXIT_DONE = 0,
        EXIT_DAEMON_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_NONE_IN_FORCE = 3,
        EXIT_NOT_PERMITTED = 4,
        EXIT_UNREACHABLE = 5,
};

/* Longest text accepted for a reason, bytes. */
#define REASON_MAX 1024

#endif
