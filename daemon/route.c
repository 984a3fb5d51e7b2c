/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "route.h"
#include "cleanup.h"
#include "netlink-message.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define LOOPBACK_INDEX 1 /* in every network namespace */

DEFINE_CLEANUP(struct mnl_socket *, mnl_socket_close)

static int on_attribute(const struct nlattr *attribute, void *userdata)
{
        bool *local = userdata;

        if (mnl_attr_get_type(attribute) == RTA_OIF && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
                *local |= mnl_attr_get_u32(attribute) == LOOPBACK_INDEX;
        return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *header, void *userdata)
{
        const struct rtmsg *route = mnl_nlmsg_get_payload(header);
        bool *local = userdata;

        if (header->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(header) < sizeof(*route))
                return -EBADMSG;
        *local = route->rtm_type == RTN_LOCAL;
        (void)mnl_attr_parse(header, sizeof(*route), on_attribute, local);
        return 0;
}

/* The kernel's "there is no way there". */
static bool no_route(int error)
{
        return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EACCES || error == -EINVAL;
}

int route_is_local(int family, const uint8_t addr[16], uint32_t uid)
{
        _cleanup_(mnl_socket_closep) struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
        _Alignas(struct nlmsghdr) char buffer[512] = {0};
        size_t size = family == AF_INET ? 4 : 16;
        struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
        struct rtmsg *route;
        bool local = false;
        int r;

        if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        header->nlmsg_type = RTM_GETROUTE;
        header->nlmsg_flags = NLM_F_REQUEST;
        route = mnl_nlmsg_put_extra_header(header, sizeof(*route));
        route->rtm_family = (uint8_t)family;
        route->rtm_dst_len = (uint8_t)(8 * size);
        mnl_attr_put(header, RTA_DST, size, addr);
        mnl_attr_put_u32(header, RTA_UID, uid);
        r = netlink_ask(nl, header, on_route, &local);
        if (r < 0)
                return no_route(r) ? 0 : r;
        return local;
}
