// SPDX-License-Identifier: GPL-2.0-or-later
#include "device-watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

struct device_watch {
        struct mnl_socket *socket;
        sd_event_source *source;
        device_changed_t callback;
        void *userdata;
};

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct device_watch *w = userdata;
        char buffer[16384];
        bool told = false;

        (void)source;
        (void)revents;
        /* What the messages say is not read: it is asked anew, and may have changed again. An error says that
         * some were lost. */
        while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC) > 0)
                told = true;
        if (told || (errno != EAGAIN && errno != EINTR))
                w->callback(w->userdata);
        return 0;
}

int device_watch_new(sd_event *event, device_changed_t callback, void *userdata, struct device_watch **ret)
{
        struct device_watch *w = calloc(1, sizeof(*w));
        int group = RTNLGRP_LINK, r = 0;

        if (!w)
                return -ENOMEM;
        w->callback = callback;
        w->userdata = userdata;
        w->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (!w->socket || mnl_socket_bind(w->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
            mnl_socket_setsockopt(w->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
                r = -errno;
        if (r >= 0)
                r = sd_event_add_io(event, &w->source, mnl_socket_get_fd(w->socket), EPOLLIN, on_readable, w);
        if (r >= 0) /* before anything else that is waiting: each moment counts */
                r = sd_event_source_set_priority(w->source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0) {
                device_watch_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

bool device_watch_is_pending(const struct device_watch *w)
{
        struct pollfd p = {.fd = w ? mnl_socket_get_fd(w->socket) : -1, .events = POLLIN};

        return !w || poll(&p, 1, 0) != 0; /* also POLLERR: messages were lost */
}

struct device_watch *device_watch_free(struct device_watch *w)
{
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->source);
        if (w->socket)
                mnl_socket_close(w->socket);
        free(w);
        return NULL;
}
