/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What lockdownctl makes of an answer, for at the other end of a socket may be anybody: a daemon of another
 * version, a broken one, whoever took its place. Input: a byte that chooses the verb, one whose bits choose
 * the circumstances, then the JSON text that is the answer; or, with RAW, all that the other end sends once
 * the greeting is over. */

#include "client.h"
#include "fuzz.h"
#include "verbs.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define RAW 1
#define COLOUR 2
#define VERBOSE 4
#define NARROW 8
#define ABOUT 16 /* a profile was asked about */

static struct {
        int listener;
        char path[108];
        const uint8_t *said;
        size_t size;
} play;

/* ---- text ---- */

/* No byte of it moves the cursor, but for colours where they are wanted. */
static void must_be_harmless(const char *text, bool colour)
{
        MUST(utf8_valid(text));
        for (const char *c = text; *c; c++) {
                if (*c == '\x1b' && colour) {
                        c++;
                        MUST(*c == '[');
                        c += strspn(c + 1, "0123456789;") + 1;
                        MUST(*c == 'm');
                        continue;
                }
                MUST((unsigned char)*c >= ' ' || *c == '\n' || *c == '\t');
                MUST(*c != 0x7f);
        }
}

static void write_answer(const struct verb *verb, const json_t *answer, const struct style *style)
{
        const struct arguments arguments = {.verb = verb, .verbose = style->verbose};
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        MUST(f);
        MUST(verb->write(f, answer, style) == 0);
        if (verb->write_warnings)
                verb->write_warnings(f, answer);
        MUST(fclose(f) == 0);
        MUST(strlen(text) == size);
        must_be_harmless(text, style->colour);
        free(text);
        if (verb->code)
                MUST(verb->code(&arguments, answer) >= 0);
}

/* As --json has it: harmless, and still the same document. */
static void write_as_json(const json_t *answer)
{
        _cleanup_free_ char *dumped = json_dumps(answer, JSON_COMPACT);
        _cleanup_json_ json_t *again = NULL;
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        MUST(f && dumped);
        put_safe_json(f, dumped);
        MUST(fclose(f) == 0);
        must_be_harmless(text, false);
        again = json_loads(text, 0, NULL);
        MUST(json_equal(answer, again));
        free(text);
}

/* ---- the other end ---- */

static void *play_daemon(void *userdata)
{
        static const char greeting[] = "DATA\r\nOK 00112233445566778899aabbccddeeff\r\nAGREE_UNIX_FD\r\n";
        int fd = accept4(play.listener, NULL, NULL, SOCK_CLOEXEC);
        char heard[512];

        (void)userdata;
        MUST(fd >= 0);
        (void)!send(fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL);
        (void)!send(fd, play.said, play.size, MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        while (recv(fd, heard, sizeof(heard), 0) > 0)
                ;
        close(fd);
        return NULL;
}

static void talk(const struct verb *verb, const uint8_t *data, size_t size)
{
        const struct arguments arguments = {
                .verb = verb, .socket = play.path, .positional = {"staff", "192.0.2.1"}};
        _cleanup_failure_ struct failure f = {0};
        _cleanup_json_ json_t *answer = NULL;
        pthread_t other;
        int r;

        play.said = data;
        play.size = size;
        MUST(pthread_create(&other, NULL, play_daemon, NULL) == 0);
        r = client_ask(&arguments, verb->request, &answer, &f);
        MUST(pthread_join(other, NULL) == 0);
        if (r >= 0) {
                MUST(json_is_object(answer) && !f.name);
                write_answer(verb, answer, &(struct style){.now = 1});
        } else {
                MUST(!answer && f.name && f.message && *f.message && f.code != EXIT_DONE);
        }
}

static void remove_socket(void)
{
        unlink(play.path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        (void)argc;
        (void)argv;
        (void)snprintf(play.path, sizeof(play.path), "/tmp/lockdown-fuzz-%d.sock", (int)getpid());
        memcpy(address.sun_path, play.path, sizeof(play.path));
        (void)unlink(play.path);
        play.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        MUST(bind(play.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
        MUST(listen(play.listener, 8) == 0);
        MUST(atexit(remove_socket) == 0);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char *const asked[] = {"order",  "lift",     "extend",  "confirm",  "verify", "reload",
                                            "status", "profiles", "history", "attempts", "explain"};
        struct feed f = {data, size};
        const struct verb *verb = verb_find(asked[feed_byte(&f) % ELEMENTSOF(asked)]);
        const uint8_t how = feed_byte(&f);
        const struct style style = {.now = UINT64_C(1480496463) * 1000000,
                                    .colour = how & COLOUR,
                                    .verbose = how & VERBOSE,
                                    .width = how & NARROW ? 40 : 0,
                                    .subject = how & ABOUT ? "staff" : NULL};
        _cleanup_json_ json_t *answer = NULL;
        _cleanup_free_ char *text = NULL;

        MUST(verb && verb->write);
        if (how & RAW) {
                talk(verb, f.at, f.left);
                return 0;
        }
        text = malloc(f.left + 1);
        MUST(text);
        memcpy(text, f.at, f.left);
        text[f.left] = '\0';
        answer = json_loads(text, 0, NULL);
        if (!json_is_object(answer))
                return 0;
        write_answer(verb, answer, &style);
        write_as_json(answer);
        return 0;
}
