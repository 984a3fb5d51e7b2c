/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Orders against two clocks that tests set as they like. */

#include "order-fixture.h"
#include <errno.h>

static void test_new(void **state)
{
        _cleanup_(order_freep) struct order *o = new_order(0, 0);
        struct now far = at(T0 + YEARS, YEARS, BOOT_A);

        (void)state;
        assert_string_equal(o->id, ID);
        assert_int_equal(o->state, ORDER_ACTIVE);
        assert_int_equal(o->end, END_NEVER);
        assert_int_equal(o->ordered_at, T0);
        assert_false(order_expired(o, &far));
        assert_true(order_remaining(o, &far) == UINT64_MAX);
        assert_null(order_free(NULL));
}

/* What was asked, what the profile says, and what comes of it at T0. */
static void test_set_end(void **state)
{
        static const struct {
                uint64_t def, max;
                struct order_time t;
                int r;
                enum order_end end;
                uint64_t left; /* after T0 */
                bool shortened;
        } table[] = {
                {0, 0, {0, 0}, 0, END_NEVER, 0, false},
                {0, 0, {8 * H, 0}, 0, END_FOR, 8 * H, false},
                {0, 0, {0, T0 + 2 * H}, 0, END_UNTIL, 2 * H, false},
                {4 * H, 0, {0, 0}, 0, END_FOR, 4 * H, false},
                {4 * H, 0, {8 * H, 0}, 0, END_FOR, 8 * H, false},
                {4 * H, 0, {0, T0 + 9 * H}, 0, END_UNTIL, 9 * H, false},
                {0, 6 * H, {0, 0}, 0, END_FOR, 6 * H, true},
                {4 * H, 6 * H, {0, 0}, 0, END_FOR, 4 * H, false},
                {0, 6 * H, {6 * H, 0}, 0, END_FOR, 6 * H, false},
                {0, 6 * H, {6 * H + 1, 0}, 0, END_FOR, 6 * H, true},
                {0, 6 * H, {UINT64_MAX, 0}, 0, END_FOR, 6 * H, true},
                {0, 6 * H, {0, T0 + 6 * H}, 0, END_UNTIL, 6 * H, false},
                {0, 6 * H, {0, T0 + 7 * H}, 0, END_UNTIL, 6 * H, true},
                {0, 0, {H, T0 + H}, -EINVAL, END_NEVER, 0, false},
                {0, 0, {0, T0}, -ERANGE, END_NEVER, 0, false},
                {0, 0, {0, T0 - 1}, -ERANGE, END_NEVER, 0, false},
                {0, 0, {0, 1}, -ERANGE, END_NEVER, 0, false},
        };
        struct now now = at(T0, H, BOOT_A);

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *o = new_order(table[i].def, table[i].max);
                bool shortened = !table[i].shortened;

                assert_int_equal(order_set_end(o, &table[i].t, &now, &shortened), table[i].r);
                assert_int_equal(o->end, table[i].end);
                if (table[i].r < 0) {
                        assert_int_equal(o->until, 0);
                        assert_int_equal(shortened, !table[i].shortened); /* untouched */
                        continue;
                }
                assert_int_equal(shortened, table[i].shortened);
                assert_int_equal(o->until, table[i].end == END_NEVER ? 0 : T0 + table[i].left);
                assert_int_equal(o->until_boottime, table[i].end == END_NEVER ? 0 : H + table[i].left);
        }
}

/* The largest numbers a caller can send end late, but neither wrap nor become "never". */
static void test_huge(void **state)
{
        static const struct order_time table[] = {{UINT64_MAX, 0},
                                                  {0, UINT64_MAX},
                                                  {UINT64_MAX - T0, 0},
                                                  {INT64_MAX, 0},
                                                  {0, (uint64_t)INT64_MAX}};
        struct now now = at(T0, H, BOOT_A), far = at(T0 + YEARS, H + YEARS, BOOT_A);

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *o = order_with(table[i]);

                assert_false(order_expired(o, &now));
                assert_false(order_expired(o, &far));
                assert_true(order_remaining(o, &far) < UINT64_MAX);
                assert_int_equal(o->until, ORDER_TIME_MAX);
                far.boot_id[0] = 'f';
                assert_false(order_expired(o, &far));
                far.boot_id[0] = BOOT_A[0];
        }
}

/* How two kinds of order, both of eight hours, see the same moment. */
static void test_clocks(void **state)
{
        static const struct {
                const char *what;
                uint64_t realtime, boottime;
                const char *boot;
                uint64_t left_for, left_until;
        } table[] = {
                {"at once", T0, H, BOOT_A, 8 * H, 8 * H},
                {"an hour on", T0 + H, 2 * H, BOOT_A, 7 * H, 7 * H},
                {"just before", T0 + 8 * H - 1, 9 * H - 1, BOOT_A, 1, 1},
                {"due", T0 + 8 * H, 9 * H, BOOT_A, 0, 0},
                {"long due", T0 + YEARS, H + YEARS, BOOT_A, 0, 0},
                {"clock years forward", T0 + YEARS, 2 * H, BOOT_A, 7 * H, 0},
                {"clock years back", T0 - YEARS, 2 * H, BOOT_A, 7 * H, 8 * H + YEARS},
                {"due on the boot clock, wall clock back", T0 - H, 9 * H, BOOT_A, 0, 9 * H},
                {"suspended for five hours", T0 + 5 * H, 6 * H, BOOT_A, 3 * H, 3 * H},
                {"rebooted, an hour on", T0 + H, 60, BOOT_B, 7 * H, 7 * H},
                {"rebooted, up longer than the order lasts", T0 + H, 100 * H, BOOT_B, 7 * H, 7 * H},
                {"rebooted when due", T0 + 8 * H, 60, BOOT_B, 0, 0},
                {"rebooted with the clock at the Epoch", 60, 60, BOOT_B, 8 * H, T0 + 8 * H - 60},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *f = order_with((struct order_time){.duration = 8 * H});
                _cleanup_(order_freep) struct order *u = order_with((struct order_time){.until = T0 + 8 * H});
                struct now now = at(table[i].realtime, table[i].boottime, table[i].boot);

                print_message("%s\n", table[i].what);
                assert_int_equal(order_remaining(f, &now), table[i].left_for);
                assert_int_equal(order_expired(f, &now), table[i].left_for == 0);
                assert_int_equal(order_remaining(u, &now), table[i].left_until);
                assert_int_equal(order_expired(u, &now), table[i].left_until == 0);
        }
}

static void test_correct_until(void **state)
{
        static const struct {
                uint64_t realtime, boottime;
                const char *boot;
                bool changes;
                uint64_t until;
        } table[] = {
                {T0 + H, 2 * H, BOOT_A, false, T0 + 8 * H},
                {T0 + H + 999999, 2 * H, BOOT_A, false, T0 + 8 * H},
                {T0 + H + 1000000, 2 * H, BOOT_A, true, T0 + 8 * H + 1000000},
                {T0 + YEARS, 2 * H, BOOT_A, true, T0 + YEARS + 7 * H},
                {T0 - YEARS, 2 * H, BOOT_A, true, T0 - YEARS + 7 * H},
                {T0 + YEARS, 10 * H, BOOT_A, true, T0 + YEARS - H}, /* was due an hour ago */
                {0, 10 * H, BOOT_A, true, 1},                       /* never becomes "no end" */
                {T0 + YEARS, 2 * H, BOOT_B, false, T0 + 8 * H},     /* another boot: order_rebase()'s work */
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *f = order_with((struct order_time){.duration = 8 * H});
                _cleanup_(order_freep) struct order *u = order_with((struct order_time){.until = T0 + 8 * H});
                struct now now = at(table[i].realtime, table[i].boottime, table[i].boot);

                assert_int_equal(order_correct_until(f, &now), table[i].changes);
                assert_int_equal(f->until, table[i].until);
                assert_false(order_correct_until(u, &now));
                assert_int_equal(u->until, T0 + 8 * H);
        }
}

static void test_extend(void **state)
{
        static const struct {
                uint64_t max;
                struct order_time t;
                bool earlier, shortened;
                enum order_end end;
                uint64_t left; /* from the moment of the extension */
        } table[] = {
                {0, {4 * H, 0}, false, false, END_FOR, 4 * H},
                {0, {H, 0}, true, false, END_FOR, H},
                {0, {2 * H, 0}, false, false, END_FOR, 2 * H},
                {0, {2 * H - 999999, 0}, false, false, END_FOR, 2 * H - 999999},
                {0, {2 * H - 1000000, 0}, true, false, END_FOR, 2 * H - 1000000},
                {0, {0, T0 + 9 * H}, false, false, END_UNTIL, 7 * H},
                {0, {0, T0 + 3 * H}, true, false, END_UNTIL, H},
                {6 * H, {4 * H, 0}, false, false, END_FOR, 4 * H},
                {6 * H, {5 * H, 0}, false, true, END_FOR, 4 * H},
                {6 * H, {0, T0 + 7 * H}, false, true, END_UNTIL, 4 * H},
                {4 * H, {9 * H, 0}, false, true, END_FOR, 2 * H}, /* at the limit already: stays */
        };
        struct now start = at(T0, H, BOOT_A), now = at(T0 + 2 * H, 3 * H, BOOT_A);
        struct order_time four = {.duration = 4 * H};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *o = new_order(0, table[i].max);
                bool shortened;

                assert_int_equal(order_set_end(o, &four, &start, NULL), 0);
                assert_int_equal(order_end_is_earlier(o, &table[i].t, &now), table[i].earlier);
                assert_int_equal(order_remaining(o, &now), 2 * H); /* asking changed nothing */
                assert_int_equal(order_set_end(o, &table[i].t, &now, &shortened), 0);
                assert_int_equal(shortened, table[i].shortened);
                assert_int_equal(o->end, table[i].end);
                assert_int_equal(order_remaining(o, &now), table[i].left);
        }
}

static void test_extend_edges(void **state)
{
        _cleanup_(order_freep) struct order *never = new_order(0, 0);
        struct now now = at(T0 + 2 * H, 3 * H, BOOT_A);
        struct order_time hours = {.duration = 9 * H}, past = {.until = T0}, both = {H, T0 + 3 * H};

        (void)state;
        assert_true(order_end_is_earlier(never, &hours, &now));
        assert_true(order_end_is_earlier(never, &past, &now));
        assert_false(order_end_is_earlier(never, &both, &now)); /* order_set_end() says what is wrong */
        assert_int_equal(order_set_end(never, &both, &now, NULL), -EINVAL);
}

/* MaxDuration holds whatever happens to the wall clock meanwhile, and over a reboot. */
static void test_max_duration_and_clocks(void **state)
{
        static const struct {
                uint64_t realtime, boottime;
                const char *boot;
                uint64_t left;
        } table[] = {
                {T0 + 2 * H, 3 * H, BOOT_A, 4 * H},
                {T0 + YEARS, 3 * H, BOOT_A, 4 * H},
                {T0 - YEARS, 3 * H, BOOT_A, 4 * H},
                {T0 + 2 * H, 60, BOOT_B, 4 * H},
                {60, 60, BOOT_B, 6 * H}, /* "before" it was ordered */
        };
        struct order_time four = {.duration = 4 * H}, ten = {.duration = 10 * H};
        struct now start = at(T0, H, BOOT_A);

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *o = new_order(0, 6 * H);
                struct now now = at(table[i].realtime, table[i].boottime, table[i].boot);
                bool shortened = false;

                assert_int_equal(order_set_end(o, &four, &start, NULL), 0);
                assert_int_equal(order_set_end(o, &ten, &now, &shortened), 0);
                assert_true(shortened);
                assert_int_equal(order_remaining(o, &now), table[i].left);
                assert_string_equal(o->boot_id, table[i].boot);
                /* again changes nothing: the limit does not creep */
                assert_int_equal(order_set_end(o, &ten, &now, &shortened), 0);
                assert_int_equal(order_remaining(o, &now), table[i].left);
        }
}

static void test_finish(void **state)
{
        _cleanup_(order_freep) struct order *o = order_with((struct order_time){.duration = H});
        struct now now = at(T0 + 2 * H, 3 * H, BOOT_A);
        char name[] = "root";
        struct caller by = {.uid = 0, .pid = 42, .name = name};

        (void)state;
        assert_int_equal(order_finish(o, ORDER_ACTIVE, &by, NULL, &now), -EINVAL);
        assert_int_equal(order_finish(o, ORDER_LIFTED, &by, "all clear", &now), 0);
        assert_int_equal(o->state, ORDER_LIFTED);
        assert_int_equal(o->ended_at, T0 + 2 * H);
        assert_int_equal(o->ended_by.uid, 0);
        assert_int_equal(o->ended_by.pid, 42);
        assert_string_equal(o->ended_by.name, "root");
        assert_ptr_not_equal(o->ended_by.name, name);
        assert_string_equal(o->end_reason, "all clear");
        assert_false(order_expired(o, &now)); /* what has ended does not end again */
        assert_int_equal(order_finish(o, ORDER_EXPIRED, NULL, NULL, &now), -EINVAL);
}

/* ---- JSON ---- */

static struct order *full_order(void)
{
        struct order *o = order_with((struct order_time){.duration = 8 * H});

        o->ordered_by = (struct caller){.uid = 1000, .pid = 77, .name = strdup("carla")};
        o->reason = strdup("intrusion\n\"quoted\" ü \x01");
        o->adhoc = true;
        o->severed = 12;
        o->sessions_ended = 3;
        o->refused_packets = 34;
        o->refused_bytes = UINT64_MAX;
        assert_non_null(o->ordered_by.name);
        assert_non_null(o->reason);
        return o;
}

static void assert_same(const struct order *a, const struct order *b)
{
        assert_string_equal(a->id, b->id);
        assert_string_equal(a->profile->name, b->profile->name);
        assert_true(profile_same_block(a->profile, b->profile));
        assert_int_equal(a->adhoc, b->adhoc);
        assert_int_equal(a->recovered, b->recovered);
        assert_int_equal(a->state, b->state);
        assert_int_equal(a->ordered_at, b->ordered_at);
        assert_true(a->ordered_boottime == b->ordered_boottime);
        assert_int_equal(a->ordered_by.uid, b->ordered_by.uid);
        assert_int_equal(a->ordered_by.pid, b->ordered_by.pid);
        assert_int_equal(a->end, b->end);
        assert_int_equal(a->until, b->until);
        assert_int_equal(a->until_boottime, b->until_boottime);
        assert_int_equal(a->until_synchronized, b->until_synchronized);
        assert_int_equal(a->off_uncounted, b->off_uncounted);
        assert_int_equal(a->seen_boottime, b->seen_boottime);
        assert_string_equal(a->boot_id, b->boot_id);
        assert_int_equal(a->severed, b->severed);
        assert_int_equal(a->sessions_ended, b->sessions_ended);
        assert_int_equal(a->refused_packets, b->refused_packets);
        assert_int_equal(a->ended_at, b->ended_at);
        assert_int_equal(a->ended_by.uid, b->ended_by.uid);
}

static void test_json_round_trip(void **state)
{
        _cleanup_(order_freep) struct order *o = full_order(), *back = NULL, *ended = NULL, *earlier = NULL;
        _cleanup_json_ json_t *j = NULL, *j2 = NULL;
        struct now now = at(T0 + H, 2 * H, BOOT_A);

        (void)state;
        o->ordered_boottime = -5; /* as after a reboot */
        j = order_to_json(o);
        assert_non_null(j);
        assert_int_equal(json_integer_value(json_object_get(j, "version")), 1);
        assert_int_equal(order_from_json(j, &back, NULL), 0);
        assert_same(o, back);
        assert_string_equal(back->ordered_by.name, "carla");
        assert_string_equal(back->reason, o->reason);
        assert_null(back->end_reason);
        assert_int_equal(back->refused_bytes, INT64_MAX);
        assert_null(json_object_get(j, "ended_at"));
        json_object_del(j, "sessions_ended"); /* as an earlier version saved it */
        json_object_del(j, "seen_boottime");
        json_object_del(j, "until_synchronized");
        json_object_del(j, "off_uncounted");
        assert_int_equal(order_from_json(j, &earlier, NULL), 0);
        assert_int_equal(earlier->sessions_ended, 0);
        assert_int_equal(earlier->seen_boottime, 0);
        assert_false(earlier->until_synchronized);

        assert_int_equal(order_finish(o, ORDER_EXPIRED, NULL, "time", &now), 0);
        j2 = order_to_json(o);
        assert_int_equal(order_from_json(j2, &ended, NULL), 0);
        assert_same(o, ended);
        assert_int_equal(ended->ended_by.uid, CALLER_NOBODY);
        assert_string_equal(ended->end_reason, "time");
}

static void test_json_not_utf8(void **state)
{
        _cleanup_(order_freep) struct order *o = full_order(), *back = NULL;
        _cleanup_json_ json_t *j = NULL;

        (void)state;
        strcpy(o->ordered_by.name, "c\xe4rl");
        j = order_to_json(o);
        assert_non_null(j);
        assert_int_equal(order_from_json(j, &back, NULL), 0);
        assert_string_equal(back->ordered_by.name, "c?rl");
}

static void test_json_unknown_key_is_passed_over(void **state)
{
        _cleanup_(order_freep) struct order *o = full_order(), *back = NULL;
        _cleanup_json_ json_t *j = order_to_json(o);

        (void)state;
        json_object_set_new(j, "remark", json_string("from a later version"));
        assert_int_equal(order_from_json(j, &back, NULL), 0);
}

/* KEY set to VALUE (JSON text; NULL: removed) makes the file one that is not believed; the sentence names it.
 */
static void test_json_strict(void **state)
{
        static const struct {
                const char *key, *value, *says;
        } table[] = {
                {"version", NULL, "version"},
                {"version", "2", "version 2"},
                {"version", "0", "version 0"},
                {"version", "\"1\"", "version"},
                {"id", NULL, "id"},
                {"id", "7", "id"},
                {"id", "\"00112233445566778899aabbccddeef\"", "hex"},
                {"id", "\"00112233445566778899AABBCCDDEEFF\"", "hex"},
                {"id", "\"../../../../../../../etc/passwd0\"", "hex"},
                {"state", "\"forgotten\"", "state"},
                {"state", "1", "state"},
                {"adhoc", "\"yes\"", "adhoc"},
                {"adhoc", NULL, "adhoc"},
                {"recovered", "0", "recovered"},
                {"ordered_at", "-1", "range"},
                {"ordered_at", "1.5", "whole"},
                {"ordered_at", "9223372036854775807", "range"},
                {"ordered_boottime", "-9223372036854775807", "range"},
                {"ordered_boottime", NULL, "missing"},
                {"boot_id", "\"\"", "boot_id"},
                {"ordered_by", "\"root\"", "ordered_by"},
                {"ordered_by", "{\"uid\": 4294967295, \"pid\": 1, \"name\": null}", "uid"},
                {"ordered_by", "{\"uid\": -1, \"pid\": 1, \"name\": null}", "uid"},
                {"ordered_by", "{\"uid\": 1, \"pid\": 4294967296, \"name\": null}", "pid"},
                {"ordered_by", "{\"uid\": 1, \"pid\": 1}", "name"},
                {"reason", "[]", "reason"},
                {"reason", NULL, "reason"},
                {"end", "\"sometime\"", "end"},
                {"end", "\"never\"", "contradict"},
                {"seen_boottime", "-1", "range"},
                {"until_synchronized", "1", "until_synchronized"},
                {"off_uncounted", NULL, "off_uncounted"},
                {"until", "0", "contradict"},
                {"until", "\"tomorrow\"", "until"},
                {"until_boottime", "0", "contradict"},
                {"severed", "-3", "severed"},
                {"severed", NULL, "severed"},
                {"sessions_ended", "-1", "sessions_ended"},
                {"refused_packets", "null", "refused_packets"},
                {"refused_bytes", "true", "refused_bytes"},
                {"state", "\"lifted\"", "ended_at"},
                {"profile", NULL, "profile"},
                {"profile", "{}", NULL},
                {"profile", "[]", NULL},
        };
        _cleanup_(order_freep) struct order *o = full_order();

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_json_ json_t *j = order_to_json(o);
                _cleanup_problems_ struct problems problems = {0};
                struct order *untouched = o;

                if (table[i].value)
                        json_object_set_new(j, table[i].key,
                                            json_loads(table[i].value, JSON_DECODE_ANY, NULL));
                else
                        json_object_del(j, table[i].key);
                if (order_from_json(j, &untouched, &problems) != -EBADMSG)
                        fail_msg("%s = %s was believed", table[i].key,
                                 table[i].value ? table[i].value : "(missing)");
                assert_ptr_equal(untouched, o);
                assert_true(problems.n > 0);
                if (table[i].says && !strstr(problems.items[0], table[i].says))
                        fail_msg("%s: the sentence is \"%s\"", table[i].key, problems.items[0]);
        }
}

static void test_json_not_an_object(void **state)
{
        _cleanup_json_ json_t *array = json_array();
        struct order *o = NULL;

        (void)state;
        assert_int_equal(order_from_json(array, &o, NULL), -EBADMSG);
        assert_int_equal(order_from_json(NULL, &o, NULL), -EBADMSG);
}

static void test_state_names(void **state)
{
        (void)state;
        assert_string_equal(order_state_to_string(ORDER_ACTIVE), "active");
        assert_string_equal(order_state_to_string(ORDER_LIFTED), "lifted");
        assert_string_equal(order_state_to_string(ORDER_EXPIRED), "expired");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_new),           cmocka_unit_test(test_set_end),
                cmocka_unit_test(test_huge),          cmocka_unit_test(test_clocks),
                cmocka_unit_test(test_correct_until), cmocka_unit_test(test_extend),
                cmocka_unit_test(test_extend_edges),  cmocka_unit_test(test_max_duration_and_clocks),
                cmocka_unit_test(test_finish),        cmocka_unit_test(test_json_round_trip),
                cmocka_unit_test(test_json_not_utf8), cmocka_unit_test(test_json_unknown_key_is_passed_over),
                cmocka_unit_test(test_json_strict),   cmocka_unit_test(test_json_not_an_object),
                cmocka_unit_test(test_state_names),
        };

        return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
