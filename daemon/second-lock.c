// SPDX-License-Identifier: GPL-2.0-or-later
/* Orders. What is on is read from the pins each time, so a daemon that was started anew knows as much as the
 * one that died. */
#include "second-lock-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

int second_lock_list(struct second_lock *s, struct words *ret)
{
        return pins_list(s->pins, ret);
}

/* Engaging. */

static int make_plan(const struct second_lock *s, const struct second_lock_spec *spec, struct plan *ret,
                     char **ret_error)
{
        int r = plan_build(spec, &s->offsets, s->cgroup_id, ret);

        if (r == -E2BIG)
                return lock_say(ret_error, r, "the second lock of %s would hold more than it can",
                                spec->name);
        if (r == -ERANGE)
                return lock_say(ret_error, r, "a control group of %s lies more than 31 levels deep",
                                spec->name);
        return r;
}

static int pin(const struct second_lock *s, const char *name, const char *as, int fd)
{
        char path[PATH_MAX];
        int r = pin_path(s->pins, "+", name, as, path);

        return r < 0 ? r : bpf_obj_pin(fd, path);
}

/* Attaches last: what is attached is whole. LINKS of all that are. */
static int pin_all(const struct second_lock *s, const char *name, const struct lock_programs *p, int plan,
                   int links[SL_JUDGES])
{
        int r = pin(s, name, "plans", p->plans);

        if (r >= 0)
                r = pin(s, name, "plan", plan);
        if (r >= 0)
                r = pin(s, name, "refused", p->refused);
        for (enum sl_judge i = 0; r >= 0 && i < s->n_judges; i++) {
                r = pin(s, name, judge_pins[i], p->judges[i]);
                if (r >= 0)
                        r = judge_attach(p, i, s->cgroup, &links[i]);
                if (r >= 0)
                        r = pin(s, name, link_pins[i], links[i]);
        }
        return r;
}

/* From "+NAME" to NAME; what was there until now goes. Both hold for a moment. */
static int put_in_place(const char *made, const char *place)
{
        if (renameat2(AT_FDCWD, made, AT_FDCWD, place, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        if (renameat2(AT_FDCWD, made, AT_FDCWD, place, RENAME_EXCHANGE) < 0)
                return -errno;
        return pins_remove(made);
}

static int engage(struct second_lock *s, const char *name, const struct lock_programs *p, int plan)
{
        int links[SL_JUDGES] = NO_LINKS;
        char made[PATH_MAX], place[PATH_MAX];
        int r = pin_path(s->pins, "+", name, NULL, made);

        if (r >= 0)
                r = pin_path(s->pins, "", name, NULL, place);
        if (r >= 0)
                r = pins_remove(made);
        if (r < 0)
                return r;
        if (mkdir(made, 0700) < 0)
                return -errno;
        r = pin_all(s, name, p, plan, links);
        if (r >= 0)
                r = put_in_place(made, place);
        if (r >= 0) {
                (void)held_put(&s->held, name, links);
                return 0;
        }
        (void)pins_remove(made);
        links_close(links, false);
        return r;
}

int second_lock_stage(struct second_lock *s, const struct second_lock_spec *spec)
{
        _cleanup_(plan_clear) struct plan plan = {};
        _cleanup_close_ int map = -1;
        int r = make_plan(s, spec, &plan, NULL);

        second_lock_unstage(s, spec->name);
        if (r < 0 || plan_has_room(&plan))
                return r;
        r = plan_map_create(&plan, &map);
        return r < 0 ? r : held_stage(&s->held, spec->name, TAKE_FD(map));
}

void second_lock_unstage(struct second_lock *s, const char *name)
{
        int map = held_unstage(&s->held, name);

        closep(&map);
}

int second_lock_engage(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error)
{
        _cleanup_(plan_clear) struct plan plan = {};
        _cleanup_close_ int map = held_unstage(&s->held, spec->name);
        int r = map >= 0 ? 0 : make_plan(s, spec, &plan, ret_error);

        if (r >= 0)
                r = second_lock_prepare(s, 1, ret_error);
        if (r < 0)
                return r;
        r = map >= 0 ? plans_fill(s->ready.plans, map) : lock_programs_put_plan(&s->ready, &plan, &map);
        if (r >= 0)
                r = engage(s, spec->name, &s->ready, map);
        if (r < 0 && map >= 0 && s->n_judges == SL_JUDGES) {
                /* The rest does not depend on it. */
                give_up_sender(s, r, sender_why_not(r));
                r = engage(s, spec->name, &s->ready, map);
        }
        if (r < 0)
                return lock_say(ret_error, r, "the second lock of %s could not be engaged: %s", spec->name,
                                strerror(-r));
        second_lock_used(s);
        return 0;
}

int second_lock_disengage(struct second_lock *s, const char *name, char **ret_error)
{
        char path[PATH_MAX];
        int r = pin_path(s ? s->pins : lock_pins_directory(), "", name, NULL, path);

        if (r >= 0)
                r = pins_remove(path);
        if (r >= 0 && s)
                held_release(&s->held, name);
        return r < 0 ? lock_say(ret_error, r, "the second lock of %s could not be taken off: %s", name,
                                strerror(-r))
                     : 0;
}

/* Changing and checking what is on. */

struct engaged {
        int plans, plan;
        uint32_t plans_id, refused_id, current_id, plan_id;
};

static void engaged_close(struct engaged *e)
{
        closep(&e->plans);
        closep(&e->plan);
}
#define NOT_ENGAGED ((struct engaged){.plans = -1, .plan = -1})

/* -ENOENT: none of that name. */
static int open_engaged(const struct second_lock *s, const char *name, struct engaged *ret)
{
        _cleanup_(engaged_close) struct engaged e = NOT_ENGAGED;
        _cleanup_close_ int refused = -1;
        int r;

        if (!pins_has(s->pins, name))
                return -ENOENT;
        r = pin_get(s->pins, name, "plans", &e.plans);
        if (r >= 0)
                r = pin_get(s->pins, name, "plan", &e.plan);
        if (r >= 0)
                r = pin_get(s->pins, name, "refused", &refused);
        if (r >= 0)
                r = map_id(e.plans, &e.plans_id);
        if (r >= 0)
                r = map_id(refused, &e.refused_id);
        if (r >= 0)
                r = map_id(e.plan, &e.plan_id);
        if (r >= 0)
                r = plans_current(e.plans, &e.current_id);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r; /* a pin is missing */
        *ret = e;
        e = NOT_ENGAGED;
        return 0;
}

static bool uses_maps(const struct program_identity *p, const struct engaged *e)
{
        return (p->map_ids[0] == e->plans_id && p->map_ids[1] == e->refused_id) ||
               (p->map_ids[1] == e->plans_id && p->map_ids[0] == e->refused_id);
}

/* Is this program ours, on the maps of this lock, and held at the control group? Returns a sentence's end,
 * NULL if all is well. */
static const char *check_judge(const struct second_lock *s, const char *name, const struct engaged *e,
                               enum sl_judge i)
{
        _cleanup_close_ int judge = -1, link = -1;
        struct program_identity p;
        struct link_identity l;

        if (pin_get(s->pins, name, judge_pins[i], &judge) < 0 || program_identity(judge, &p) < 0)
                return "has no program";
        if (memcmp(p.tag, s->tags[i], sizeof(p.tag)) != 0)
                return "has a program of another version";
        if (!uses_maps(&p, e))
                return "has a program that does not use its maps";
        if (pin_get(s->pins, name, link_pins[i], &link) < 0 || link_identity(link, &l) < 0)
                return "is not attached";
        if (l.program != p.id || l.attach_type != judge_attach_type(i))
                return "has another program attached";
        if (l.cgroup != s->cgroup_id)
                return l.cgroup == 0 ? "is not attached any more" : "is attached to another control group";
        return NULL;
}

/* Returns 0, 1 with the difference, -errno. */
static int check(const struct second_lock *s, const char *name, struct engaged *ret, char **ret_difference)
{
        int r = open_engaged(s, name, ret);

        if (r == -ENOENT || r == -EBADMSG)
                return lock_say(ret_difference, 1, "the second lock of %s is %s", name,
                                r == -ENOENT ? "not on" : "damaged: a pin is missing");
        if (r < 0)
                return r;
        for (enum sl_judge i = 0; i < s->n_judges; i++) {
                const char *wrong = check_judge(s, name, ret, i);

                if (wrong)
                        return lock_say(ret_difference, 1, "the second lock of %s %s (%s)", name, wrong,
                                        link_pins[i]);
        }
        if (ret->plan_id != ret->current_id)
                return lock_say(ret_difference, 1,
                                "the second lock of %s goes by another plan than it was given", name);
        return 0;
}

int second_lock_update(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error)
{
        _cleanup_(engaged_close) struct engaged e = NOT_ENGAGED;
        _cleanup_(plan_clear) struct plan plan = {};
        _cleanup_close_ int map = -1;
        char next[PATH_MAX], place[PATH_MAX];
        int r = check(s, spec->name, &e, ret_error);

        if (r > 0)
                return pins_has(s->pins, spec->name) ? -EBADMSG : -ENOENT;
        if (r >= 0)
                r = make_plan(s, spec, &plan, ret_error);
        if (r < 0)
                return r;
        if (plan_map_equals(e.plan, &plan) == 1)
                return 0;
        r = pin_path(s->pins, "", spec->name, "plan+", next);
        if (r >= 0)
                r = pin_path(s->pins, "", spec->name, "plan", place);
        if (r >= 0)
                r = plan_map_create(&plan, &map);
        if (r >= 0) {
                (void)unlink(next);
                r = bpf_obj_pin(map, next);
        }
        if (r >= 0)
                r = plans_exchange(e.plans, map);
        if (r >= 0 && rename(next, place) < 0)
                r = -errno;
        return r < 0 ? lock_say(ret_error, r, "the second lock of %s could not be changed: %s", spec->name,
                                strerror(-r))
                     : 0;
}

/* A change that was under way: done if its plan is in the slot, else not begun. */
static void finish_update(const struct second_lock *s, const char *name)
{
        _cleanup_close_ int plans = -1, next = -1;
        char from[PATH_MAX], to[PATH_MAX];
        uint32_t current, id;

        if (pin_path(s->pins, "", name, "plan+", from) < 0 || pin_path(s->pins, "", name, "plan", to) < 0 ||
            pin_get(s->pins, name, "plan+", &next) < 0)
                return;
        if (pin_get(s->pins, name, "plans", &plans) >= 0 && plans_current(plans, &current) >= 0 &&
            map_id(next, &id) >= 0 && id == current)
                (void)rename(from, to);
        else
                (void)unlink(from);
}

int second_lock_adopt(struct second_lock *s, const char *name, char **ret_error)
{
        _cleanup_(engaged_close) struct engaged e = NOT_ENGAGED;
        int r;

        if (!pins_has(s->pins, name))
                return -ENOENT;
        finish_update(s, name);
        r = check(s, name, &e, ret_error);
        if (r == 0)
                (void)held_take(&s->held, s->pins, name);
        return r > 0 ? -EBADMSG : r;
}

int second_lock_verify(struct second_lock *s, const struct second_lock_spec *spec, char **ret_difference)
{
        _cleanup_(engaged_close) struct engaged e = NOT_ENGAGED;
        _cleanup_(plan_clear) struct plan plan = {};
        int r = check(s, spec->name, &e, ret_difference);

        if (r != 0)
                return r;
        r = plan_build(spec, &s->offsets, s->cgroup_id, &plan);
        if (r >= 0)
                r = plan_map_equals(e.plan, &plan);
        if (r == 0)
                return lock_say(ret_difference, 1,
                                "the second lock of %s holds other subjects or destinations", spec->name);
        return r < 0 ? r : 0;
}

int second_lock_read_refused(struct second_lock *s, const char *name, struct second_lock_refused *ret)
{
        _cleanup_close_ int refused = -1;
        int r = pin_get(s->pins, name, "refused", &refused);

        return r < 0 ? r : refused_read(refused, ret);
}
