// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs, maps and links: what the second lock asks the kernel for. */
#include "second-lock-internal.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* What is in bpf/, compiled: the Makefile names the directory. */
#define INCLUDE_OBJECT(symbol, file)                                                                       \
        __asm__(".pushsection .rodata\n"                                                                   \
                ".balign 8\n" #symbol ": .incbin \"" BPF_OBJECTS "/" file "\"\n" #symbol "_end: .byte 0\n" \
                ".popsection\n");                                                                          \
        extern const char symbol[], symbol##_end[]
INCLUDE_OBJECT(second_lock_object, "second-lock.bpf.o");
INCLUDE_OBJECT(typed_object, "second-lock-typed.bpf.o");
INCLUDE_OBJECT(sender_lock_object, "sender-lock.bpf.o");

DEFINE_CLEANUP(struct bpf_object *, bpf_object__close)
DEFINE_CLEANUP(struct btf *, btf__free)

#define PLAN_FLAGS (BPF_F_INNER_MAP | BPF_F_MMAPABLE)

#define THREAD_STACK (64 * 1024)
/* First without sleeping: what the thread does takes less than the shortest sleep. */
#define FILL_YIELDS 100
#define FILL_TRIES 200

/* BITS from the beginning of struct ID to its member NAME, also inside structs and unions without a name. */
static int member_offset(const struct btf *btf, uint32_t id, const char *name, uint32_t *bits)
{
        const struct btf_type *t = btf__type_by_id(btf, id);
        const struct btf_member *m = btf_members(t);

        for (uint16_t i = 0; i < btf_vlen(t); i++) {
                const char *called = btf__name_by_offset(btf, m[i].name_off);
                const struct btf_type *type = btf__type_by_id(btf, m[i].type);
                uint32_t inner = *bits + btf_member_bit_offset(t, i);

                if ((strcmp(called, name) == 0 || (*called == '\0' && btf_is_composite(type) &&
                                                   member_offset(btf, m[i].type, name, &inner) == 0)) &&
                    btf_member_bitfield_size(t, i) == 0) {
                        *bits = inner;
                        return 0;
                }
        }
        return -ENOENT;
}

/* Adds to *OFFSET the bytes to TYPE's member. */
static int add_offset(const struct btf *btf, const char *type, const char *member, uint32_t *offset)
{
        int id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);
        uint32_t bits = 0;

        if (id < 0 || member_offset(btf, (uint32_t)id, member, &bits) < 0)
                return -EOPNOTSUPP;
        *offset += bits / 8;
        return 0;
}

int kernel_offsets(struct sl_offsets *ret, bool *ret_typed)
{
        _cleanup_(btf__freep) struct btf *btf = btf__load_vmlinux_btf();
        struct sl_offsets at = {};
        uint32_t socket = 0;
        int r;

        if (!btf)
                return -EOPNOTSUPP;
        r = add_offset(btf, "sock", "sk_uid", &at.sock_uid);
        if (r >= 0)
                r = add_offset(btf, "sock", "sk_socket", &at.sock_socket);
        if (r >= 0)
                r = add_offset(btf, "socket", "file", &at.socket_file);
        if (r >= 0)
                r = add_offset(btf, "file", "f_cred", &at.file_cred);
        if (r >= 0)
                r = add_offset(btf, "cred", "fsgid", &at.cred_fsgid);
        /* A socket and its inode are the two members of struct socket_alloc. */
        if (r >= 0)
                r = add_offset(btf, "socket_alloc", "socket", &socket);
        if (r >= 0)
                r = add_offset(btf, "socket_alloc", "vfs_inode", &at.socket_inode_uid);
        if (r >= 0)
                r = add_offset(btf, "inode", "i_uid", &at.socket_inode_uid);
        if (r < 0 || socket != 0)
                return -EOPNOTSUPP;
        *ret = at;
        *ret_typed = btf__find_by_name_kind(btf, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC) > 0;
        return 0;
}

void lock_programs_close(struct lock_programs *p)
{
        for (size_t i = 0; i < SL_JUDGES; i++)
                closep(&p->judges[i]);
        closep(&p->plans);
        closep(&p->refused);
        closep(&p->room);
        *p = NO_PROGRAMS;
}

static struct bpf_object *open_object(const char *begin, const char *end)
{
        struct bpf_object_open_opts options = {.sz = sizeof(options), .object_name = "lockdown"};

        return bpf_object__open_mem(begin, (size_t)(end - begin), &options);
}

/* A descriptor of our own: the object closes its. */
static int keep(int fd, int *ret)
{
        int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

        if (copy < 0)
                return -errno;
        *ret = copy;
        return 0;
}

static int keep_judge(const struct bpf_object *o, enum sl_judge judge, struct lock_programs *p)
{
        return keep(bpf_program__fd(bpf_object__find_program_by_name(o, judge_pins[judge])),
                    &p->judges[judge]);
}

int lock_programs_load(bool typed, struct lock_programs *ret)
{
        _cleanup_(bpf_object__closep) struct bpf_object *o =
                typed ? open_object(typed_object, typed_object_end)
                      : open_object(second_lock_object, second_lock_object_end);
        _cleanup_(lock_programs_close) struct lock_programs p = NO_PROGRAMS;
        int r;

        if (!o)
                return -errno;
        r = bpf_object__load(o);
        for (enum sl_judge i = 0; r >= 0 && i < SL_PACKET_JUDGES; i++)
                r = keep_judge(o, i, &p);
        if (r >= 0)
                r = keep(bpf_object__find_map_fd_by_name(o, "plans"), &p.plans);
        if (r >= 0)
                r = keep(bpf_object__find_map_fd_by_name(o, "refused"), &p.refused);
        if (r < 0)
                return r;
        *ret = p;
        p = NO_PROGRAMS;
        return 0;
}

int lock_programs_load_sender(struct lock_programs *p)
{
        _cleanup_(bpf_object__closep) struct bpf_object *o =
                open_object(sender_lock_object, sender_lock_object_end);
        int r;

        if (!o)
                return -errno;
        r = bpf_map__reuse_fd(bpf_object__find_map_by_name(o, "plans"), p->plans);
        if (r >= 0)
                r = bpf_map__reuse_fd(bpf_object__find_map_by_name(o, "refused"), p->refused);
        if (r >= 0)
                r = bpf_object__load(o);
        for (enum sl_judge i = SL_PACKET_JUDGES; r >= 0 && i < SL_JUDGES; i++)
                r = keep_judge(o, i, p);
        return r;
}

/* A map's memory, shared with the kernel. */
struct mapping {
        void *at;
        size_t size;
};

static void mapping_end(struct mapping *m)
{
        if (m->at != MAP_FAILED)
                munmap(m->at, m->size);
        m->at = MAP_FAILED;
}

static int plan_write(int fd, const struct plan *plan)
{
        size_t size = plan->n_pages * sizeof(*plan->pages);
        _cleanup_(mapping_end) struct mapping m = {
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), size};

        if (m.at == MAP_FAILED)
                return -errno;
        memcpy(m.at, plan->pages, size);
        return 0;
}

int plan_map_new(size_t n_pages, int *ret_fd)
{
        struct bpf_map_create_opts options = {.sz = sizeof(options), .map_flags = PLAN_FLAGS};
        int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lockdown_plan", sizeof(uint32_t), SL_PAGE_SIZE,
                                (uint32_t)n_pages, &options);

        if (fd < 0)
                return fd;
        *ret_fd = fd;
        return 0;
}

int plan_map_fill(int fd, const struct plan *plan)
{
        int r = plan_write(fd, plan);

        return r < 0 ? r : bpf_map_freeze(fd);
}

int plan_map_create(const struct plan *plan, int *ret_fd)
{
        _cleanup_close_ int fd = -1;
        int r = plan_map_new(plan->n_pages, &fd);

        if (r >= 0)
                r = plan_map_fill(fd, plan);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int map_info(int fd, struct bpf_map_info *ret)
{
        uint32_t size = sizeof(*ret);

        memset(ret, 0, sizeof(*ret));
        return bpf_obj_get_info_by_fd(fd, ret, &size);
}

int plan_map_equals(int fd, const struct plan *plan)
{
        _cleanup_(mapping_end) struct mapping m = {MAP_FAILED, plan->n_pages * sizeof(*plan->pages)};
        struct bpf_map_info info;
        int r = map_info(fd, &info);

        if (r < 0)
                return r;
        if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != SL_PAGE_SIZE ||
            info.max_entries < plan->n_pages || !(info.map_flags & BPF_F_MMAPABLE))
                return 0;
        m.at = mmap(NULL, m.size, PROT_READ, MAP_SHARED, fd, 0);
        if (m.at == MAP_FAILED)
                return -errno;
        return memcmp(m.at, plan->pages, m.size) == 0;
}

int plans_current(int plans, uint32_t *ret_id)
{
        return bpf_map_lookup_elem(plans, &(uint32_t){0}, ret_id);
}

int plans_exchange(int plans, int plan)
{
        return bpf_map_update_elem(plans, &(uint32_t){0}, &plan, BPF_ANY);
}

struct exchange {
        int plans, plan; /* its own */
};

/* Returns plans_exchange()'s result. */
static void *exchange_and_wait(void *argument)
{
        struct exchange *x = argument;
        intptr_t r = plans_exchange(x->plans, x->plan);

        close(x->plans);
        close(x->plan);
        free(x);
        return (void *)r;
}

static int exchange_in_thread(int plans, int plan, pthread_t *ret)
{
        struct exchange *x = malloc(sizeof(*x));
        pthread_attr_t attributes;
        int r;

        if (!x)
                return -ENOMEM;
        *x = (struct exchange){fcntl(plans, F_DUPFD_CLOEXEC, 3), fcntl(plan, F_DUPFD_CLOEXEC, 3)};
        pthread_attr_init(&attributes);
        (void)pthread_attr_setstacksize(&attributes, THREAD_STACK);
        r = x->plans < 0 || x->plan < 0 ? EMFILE : pthread_create(ret, &attributes, exchange_and_wait, x);
        pthread_attr_destroy(&attributes);
        if (r == 0)
                return 0;
        closep(&x->plans);
        closep(&x->plan);
        free(x);
        return -r;
}

static bool is_current(int plans, uint32_t id)
{
        uint32_t current;

        return plans_current(plans, &current) >= 0 && current == id;
}

/* The kernel puts the plan in at once, and then waits until no program can see what was there before: up to
 * 16 ms. Before the first program is attached there is nobody to wait for, so a thread does that. It is left
 * to itself only when its work is seen to be done: one that comes late would put this plan over a newer one.
 */
int plans_fill(int plans, int plan)
{
        const struct timespec moment = {.tv_nsec = 20000};
        pthread_t thread;
        uint32_t wanted;
        void *result;
        int r = map_id(plan, &wanted);

        if (r < 0)
                return r;
        if (exchange_in_thread(plans, plan, &thread) < 0)
                return plans_exchange(plans, plan);
        for (unsigned i = 0; i < FILL_TRIES; i++) {
                if (is_current(plans, wanted)) {
                        pthread_detach(thread);
                        return 0;
                }
                if (i < FILL_YIELDS)
                        (void)sched_yield();
                else
                        (void)nanosleep(&moment, NULL);
        }
        if (pthread_join(thread, &result) != 0)
                return -EIO;
        return (int)(intptr_t)result;
}

int map_id(int fd, uint32_t *ret)
{
        struct bpf_map_info info;
        int r = map_info(fd, &info);

        if (r >= 0)
                *ret = info.id;
        return r;
}

int program_identity(int fd, struct program_identity *ret)
{
        struct program_identity p = {};
        struct bpf_prog_info info = {.nr_map_ids = ELEMENTSOF(p.map_ids), .map_ids = (uintptr_t)p.map_ids};
        uint32_t size = sizeof(info);
        int r = bpf_obj_get_info_by_fd(fd, &info, &size);

        if (r < 0)
                return r;
        if (info.nr_map_ids != ELEMENTSOF(p.map_ids))
                return -EBADMSG;
        p.id = info.id;
        memcpy(p.tag, info.tag, sizeof(p.tag));
        if (p.map_ids[0] > p.map_ids[1]) {
                uint32_t larger = p.map_ids[0];

                p.map_ids[0] = p.map_ids[1];
                p.map_ids[1] = larger;
        }
        *ret = p;
        return 0;
}

int lock_cgroup_id(int fd, uint64_t *ret)
{
        struct {
                struct file_handle handle;
                uint64_t id;
        } h = {.handle.handle_bytes = sizeof(h.id)};
        int mount_id;

        if (name_to_handle_at(fd, "", &h.handle, &mount_id, AT_EMPTY_PATH) < 0)
                return -errno;
        memcpy(ret, h.handle.f_handle, sizeof(*ret));
        return 0;
}

uint32_t judge_attach_type(enum sl_judge judge)
{
        static const enum bpf_attach_type types[SL_JUDGES] = {
                [SL_EGRESS] = BPF_CGROUP_INET_EGRESS,
                [SL_INGRESS] = BPF_CGROUP_INET_INGRESS,
                [SL_SEND] = BPF_LSM_CGROUP,
                [SL_CONNECT] = BPF_LSM_CGROUP,
        };

        return types[judge];
}

int judge_attach(const struct lock_programs *p, enum sl_judge judge, int cgroup, int *ret_link)
{
        int link = bpf_link_create(p->judges[judge], cgroup, judge_attach_type(judge), NULL);

        if (link < 0)
                return link;
        *ret_link = link;
        return 0;
}

int link_identity(int fd, struct link_identity *ret)
{
        struct bpf_link_info info = {};
        uint32_t size = sizeof(info);
        int r = bpf_obj_get_info_by_fd(fd, &info, &size);

        if (r < 0)
                return r;
        if (info.type != BPF_LINK_TYPE_CGROUP)
                return -EBADMSG;
        *ret = (struct link_identity){info.prog_id, info.cgroup.attach_type, info.cgroup.cgroup_id};
        return 0;
}

int link_release(int fd)
{
        return bpf_link_detach(fd);
}

static int read_counter(int fd, uint32_t counter, struct sl_refused *ret)
{
        int n = libbpf_num_possible_cpus(), r;
        _cleanup_free_ struct sl_refused *each = NULL;

        if (n < 0)
                return n;
        each = calloc((size_t)n, sizeof(*each));
        if (!each)
                return -ENOMEM;
        r = bpf_map_lookup_elem(fd, &counter, each);
        for (int i = 0; r >= 0 && i < n; i++) {
                ret->packets += each[i].packets;
                ret->bytes += each[i].bytes;
        }
        return r;
}

int sender_was_asked(const struct lock_programs *p)
{
        struct sl_refused asked = {};
        int r = read_counter(p->refused, SL_UNPLANNED, &asked);

        return r < 0 ? r : asked.packets > 0;
}

int refused_read(int fd, struct second_lock_refused *ret)
{
        struct sl_refused sent = {}, received = {};
        int r = read_counter(fd, SL_INGRESS, &received);

        for (enum sl_judge i = 0; r >= 0 && i < SL_JUDGES; i++)
                if (i != SL_INGRESS)
                        r = read_counter(fd, i, &sent);
        if (r < 0)
                return r;
        *ret = (struct second_lock_refused){sent.packets, sent.bytes, received.packets, received.bytes};
        return 0;
}
