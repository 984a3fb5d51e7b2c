/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a caller sends on the private socket: the real transports and methods, a played manager. Input: a byte
 * that chooses the method (or none: what follows are the bytes themselves), one whose bits choose the
 * circumstances, then the body of the call as it is on the wire. */

// wrap: manager_order manager_lift manager_extend manager_status manager_profiles manager_history
// wrap: manager_confirm manager_attempts manager_explain manager_reload manager_permits manager_on_change
// wrap: manager_right_unknown manager_on_right_known audit

#include "audit.h"
#include "bus-internal.h"
#include "fuzz.h"
#include "timespan.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PERMITTED 1     /* the caller has the right */
#define LATER 2         /* the manager answers when the call has returned */
#define GONE 4          /* … and the caller does not wait for it */
#define OWN_SIGNATURE 8 /* the body begins with a line that says of what types it is */
#define BIG_ENDIAN_BODY 16
#define FAILS 32     /* what the manager answers */
#define IN_PIECES 64 /* what is sent comes bit by bit */
#define EARLY 128    /* who has the right is known only when all of it has come */

static struct {
        sd_event *event;
        struct bus *bus;
        struct sockaddr_un address;
        socklen_t address_size;
        uint8_t circumstances;
        unsigned calls; /* of the manager that are not answered yet */
        manager_done_t done;
        void *userdata;
        manager_right_known_t known;
        void *known_userdata;
} play;

/* ---- the played manager ---- */

static void answer(void)
{
        struct outcome failed = {.error = ERROR_FAILED, .message = NULL};
        struct outcome good = {.reply = json_object()};

        play.calls--;
        play.done(play.userdata, play.circumstances & FAILS ? &failed : &good);
        json_decref(good.reply);
}

static void take_call(manager_done_t done, void *userdata)
{
        MUST(play.circumstances & PERMITTED);
        MUST(done && userdata);
        if (play.calls++ > 0)
                answer(); /* the one before */
        play.done = done;
        play.userdata = userdata;
        if (!(play.circumstances & LATER))
                answer();
}

static void check_time(const struct order_time *t)
{
        MUST(t->duration <= TIMESPAN_MAX && t->until <= INT64_MAX / 2);
}

void __wrap_manager_order(struct manager *m, const struct order_request *request, const struct caller *caller,
                          manager_done_t done, void *userdata);
void __wrap_manager_order(struct manager *m, const struct order_request *request, const struct caller *caller,
                          manager_done_t done, void *userdata)
{
        (void)m;
        MUST(caller->uid == geteuid());
        MUST(!request->profile != !request->adhoc);
        MUST(!request->profile || *request->profile);
        MUST(!request->reason || strlen(request->reason) <= REASON_MAX);
        MUST(!request->adhoc || *request->adhoc->name == '\0' || profile_name_valid(request->adhoc->name));
        MUST(!request->adhoc || request->adhoc->everyone ||
             request->adhoc->groups.n + request->adhoc->users.n > 0);
        check_time(&request->time);
        MUST(request->confirm_within <= TIMESPAN_MAX);
        profile_free(request->adhoc);
        take_call(done, userdata);
}

void __wrap_manager_lift(struct manager *m, const char *profile, const char *reason,
                         const struct caller *caller, manager_done_t done, void *userdata);
void __wrap_manager_lift(struct manager *m, const char *profile, const char *reason,
                         const struct caller *caller, manager_done_t done, void *userdata)
{
        (void)m;
        (void)profile;
        MUST(reason && strlen(reason) <= REASON_MAX && caller->uid == geteuid());
        take_call(done, userdata);
}

void __wrap_manager_extend(struct manager *m, const char *profile, const struct order_time *time,
                           const struct caller *caller, manager_done_t done, void *userdata);
void __wrap_manager_extend(struct manager *m, const char *profile, const struct order_time *time,
                           const struct caller *caller, manager_done_t done, void *userdata)
{
        (void)m;
        MUST(profile && caller->uid == geteuid());
        check_time(time);
        take_call(done, userdata);
}

void __wrap_manager_confirm(struct manager *m, const char *profile, const struct caller *caller,
                            manager_done_t done, void *userdata);
void __wrap_manager_confirm(struct manager *m, const char *profile, const struct caller *caller,
                            manager_done_t done, void *userdata)
{
        (void)m;
        MUST(profile && caller->uid == geteuid());
        take_call(done, userdata);
}

void __wrap_manager_status(struct manager *m, const char *profile, bool names, manager_done_t done,
                           void *userdata);
void __wrap_manager_status(struct manager *m, const char *profile, bool names, manager_done_t done,
                           void *userdata)
{
        (void)m;
        (void)names;
        MUST(profile);
        take_call(done, userdata);
}

void __wrap_manager_attempts(struct manager *m, const char *profile, manager_done_t done, void *userdata);
void __wrap_manager_attempts(struct manager *m, const char *profile, manager_done_t done, void *userdata)
{
        (void)m;
        MUST(profile);
        take_call(done, userdata);
}

void __wrap_manager_explain(struct manager *m, const char *user, const char *destination, manager_done_t done,
                            void *userdata);
void __wrap_manager_explain(struct manager *m, const char *user, const char *destination, manager_done_t done,
                            void *userdata)
{
        (void)m;
        MUST(user && destination);
        take_call(done, userdata);
}

void __wrap_manager_reload(struct manager *m, const struct caller *caller, manager_done_t done,
                           void *userdata);
void __wrap_manager_reload(struct manager *m, const struct caller *caller, manager_done_t done,
                           void *userdata)
{
        (void)m;
        MUST(caller->uid == geteuid());
        take_call(done, userdata);
}

void __wrap_manager_profiles(struct manager *m, manager_done_t done, void *userdata);
void __wrap_manager_profiles(struct manager *m, manager_done_t done, void *userdata)
{
        (void)m;
        take_call(done, userdata);
}

void __wrap_manager_history(struct manager *m, manager_done_t done, void *userdata);
void __wrap_manager_history(struct manager *m, manager_done_t done, void *userdata)
{
        (void)m;
        take_call(done, userdata);
}

bool __wrap_manager_permits(const struct manager *m, enum right right, const struct peer *peer);
bool __wrap_manager_permits(const struct manager *m, enum right right, const struct peer *peer)
{
        (void)m;
        (void)right;
        MUST(peer->uid == geteuid() && peer->n_gids > 0);
        return (play.circumstances & (PERMITTED | EARLY)) == PERMITTED;
}

bool __wrap_manager_right_unknown(const struct manager *m, enum right right);
bool __wrap_manager_right_unknown(const struct manager *m, enum right right)
{
        (void)m;
        (void)right;
        return play.circumstances & EARLY;
}

void __wrap_manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata);
void __wrap_manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata)
{
        (void)m;
        play.known = callback;
        play.known_userdata = userdata;
}

void __wrap_manager_on_change(struct manager *m, manager_changed_t callback, void *userdata);
void __wrap_manager_on_change(struct manager *m, manager_changed_t callback, void *userdata)
{
        (void)m;
        (void)callback;
        (void)userdata;
}

void __wrap_audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
                  const char *format, ...);
void __wrap_audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
                  const char *format, ...)
{
        (void)priority;
        (void)o;
        (void)format;
        MUST(event == AUDIT_REFUSED_CALLER && caller->uid == geteuid());
        MUST(!(play.circumstances & PERMITTED) || caller->pid == 0); /* or it is the sum of earlier ones */
}

/* ---- the caller ---- */

static int listen_somewhere(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        play.address.sun_family = AF_UNIX;
        play.address_size = sizeof(play.address);
        MUST(bind(fd, (struct sockaddr *)&play.address, sizeof(sa_family_t)) ==
             0); /* the kernel finds a name */
        MUST(listen(fd, 8) == 0);
        MUST(getsockname(fd, (struct sockaddr *)&play.address, &play.address_size) == 0);
        return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        char *error = NULL;

        (void)argc;
        (void)argv;
        MUST(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:abstract=lockdown-fuzz-no-such-bus", 1) == 0);
        MUST(sd_event_new(&play.event) == 0);
        MUST(bus_new(play.event, NULL, listen_somewhere(), "/nowhere", &play.bus, &error) == 0);
        return 0;
}

static void run_until_quiet(void)
{
        int r = 1;

        for (unsigned turns = 0; r > 0; turns++) {
                MUST(turns < 10000); /* it goes round in circles */
                r = sd_event_run(play.event, 0);
                MUST(r >= 0);
        }
}

/* Says hello as sd-bus does; until then nothing is a message. */
static int say_hello(void)
{
        static const char hello[] = "\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        char answer_to_it[512];

        MUST(connect(fd, (struct sockaddr *)&play.address, play.address_size) == 0);
        MUST(write(fd, hello, sizeof(hello) - 1) == (ssize_t)sizeof(hello) - 1);
        run_until_quiet();
        MUST(read(fd, answer_to_it, sizeof(answer_to_it)) > 0);
        return fd;
}

static const struct {
        const char *name, *signature;
} methods[] = {
        {METHOD_ORDER, "sa{sv}"}, {METHOD_LIFT, "ss"},   {METHOD_LIFT_ALL, "s"}, {METHOD_EXTEND, "sa{sv}"},
        {METHOD_STATUS, "sb"},    {METHOD_PROFILES, ""}, {METHOD_HISTORY, ""},   {METHOD_ATTEMPTS, "s"},
        {METHOD_EXPLAIN, "ss"},   {METHOD_RELOAD, ""},   {METHOD_CONFIRM, "s"},
};

static void put_u32(FILE *f, uint32_t value)
{
        if (play.circumstances & BIG_ENDIAN_BODY)
                value = __builtin_bswap32(value);
        fwrite(&value, sizeof(value), 1, f);
}

static void pad(FILE *f)
{
        while (ftell(f) % 8 != 0)
                fputc(0, f);
}

static void put_field(FILE *f, char code, char type, const char *text)
{
        pad(f);
        fprintf(f, "%c%c%c%c", code, 1, type, 0);
        if (type == 'g')
                fputc((int)strlen(text), f);
        else
                put_u32(f, (uint32_t)strlen(text));
        fwrite(text, strlen(text) + 1, 1, f);
}

/* A call with this body. The caller frees. */
static char *write_call(const char *method, const char *signature, const void *body, size_t size,
                        size_t *ret_size)
{
        char *message = NULL;
        FILE *f = open_memstream(&message, ret_size);
        uint32_t fields;
        long end;

        MUST(f);
        fputc(play.circumstances & BIG_ENDIAN_BODY ? 'B' : 'l', f);
        fprintf(f, "%c%c%c", 1, 0, 1);
        put_u32(f, (uint32_t)size);
        put_u32(f, 1); /* serial */
        put_u32(f, 0); /* bytes of fields: below */
        put_field(f, 1, 'o', LOCKDOWN_BUS_PATH);
        put_field(f, 2, 's', LOCKDOWN_BUS_INTERFACE);
        put_field(f, 3, 's', method);
        if (*signature)
                put_field(f, 8, 'g', signature);
        end = ftell(f);
        pad(f);
        fwrite(body, 1, size, f);
        MUST(fclose(f) == 0);
        fields = (uint32_t)end - 16;
        if (play.circumstances & BIG_ENDIAN_BODY)
                fields = __builtin_bswap32(fields);
        memcpy(message + 12, &fields, sizeof(fields));
        return message;
}

static void send_all(int fd, const void *data, size_t size)
{
        const char *at = data;
        size_t piece = play.circumstances & IN_PIECES ? size / 3 + 1 : size;

        while (size > 0) {
                /* The daemon may have hung up, or not have read all. */
                (void)!send(fd, at, piece < size ? piece : size, MSG_NOSIGNAL);
                run_until_quiet();
                at += piece < size ? piece : size;
                size -= piece < size ? piece : size;
        }
}

static void call_method(int fd, uint8_t method, struct feed *f)
{
        _cleanup_free_ char *own = play.circumstances & OWN_SIGNATURE ? feed_line(f) : NULL, *message = NULL;
        const char *signature = own ? own : methods[method].signature;
        size_t size;

        if (strlen(signature) > 255)
                return;
        message = write_call(methods[method].name, signature, f->at, f->left, &size);
        send_all(fd, message, size);
}

/* Who has no right is told that, and nothing about what was asked: it was not even read. */
static void must_not_say_more(int fd)
{
        char said[4096];
        ssize_t n = recv(fd, said, sizeof(said), MSG_PEEK);

        if (n > 0 && !(play.circumstances & PERMITTED))
                MUST(!memmem(said, (size_t)n, ERROR_BAD_REQUEST, strlen(ERROR_BAD_REQUEST)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct feed f = {data, size};
        uint8_t method = feed_byte(&f) % (ELEMENTSOF(methods) + 1);
        struct pollfd said = {.events = POLLIN};

        play.circumstances = feed_byte(&f);
        said.fd = say_hello();
        MUST(play.bus->n_connections == 1);
        if (method < ELEMENTSOF(methods))
                call_method(said.fd, method, &f);
        else
                send_all(said.fd, f.at, f.left);
        if (play.circumstances & GONE) {
                close(said.fd);
                run_until_quiet();
                MUST(!play.bus->waiting);
        }
        if (play.circumstances & EARLY) {
                MUST(play.calls == 0);
                play.circumstances &= (uint8_t)~EARLY;
                play.known(play.known_userdata);
                run_until_quiet();
        }
        if (play.calls > 0) {
                MUST(play.calls == 1 && play.circumstances & LATER);
                answer();
                run_until_quiet();
        }
        if (!(play.circumstances & GONE)) {
                must_not_say_more(said.fd);
                /* Whole calls get an answer or are hung up on; what is cut off is waited for. */
                MUST(poll(&said, 1, 0) == 1 || method == ELEMENTSOF(methods) || play.bus->n_connections == 1);
                close(said.fd);
                run_until_quiet();
        }
        MUST(play.calls == 0 && play.bus->n_connections == 0);
        return 0;
}
