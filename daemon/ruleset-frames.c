// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-builder.h"
#include <linux/if_arp.h>
#include <linux/if_ether.h>

/* What a frame must be to be judged by where it goes, TYPE saying what stands in it. The writer says what the
 * kernel believes it to be, so that must be the same, and hold together: meta l4proto is broken off where the
 * header is damaged (and 255 is nobody's). Of IPv6 only what carries its payload right behind the first
 * header: looking further, the kernel reads that header where a transmit ring has not put it. */
static void ip_frames(struct builder *b, enum rs_chain_id chain, enum rs_field type)
{
        const enum rs_chain_id target = CHAIN_DESTINATIONS_FRAMES;
        const struct rs_statement sound = compare(FIELD_L4PROTO, OP_NEQ, IPPROTO_RAW);

        /* @ll,96,16 2048 meta protocol ip meta l4proto != 255 goto destinations_frames */
        RULE(b, chain, is(type, ETH_P_IP), is(FIELD_PROTOCOL, ETH_P_IP), sound, go_to(target));
        /* @ll,96,16 34525 meta protocol ip6 meta l4proto != 255 ip6 nexthdr @with_ports goto
         * destinations_frames; and ip6 nexthdr 58 */
        RULE(b, chain, is(type, ETH_P_IPV6), is(FIELD_PROTOCOL, ETH_P_IPV6), sound,
             in(FIELD_NEXT_HEADER, SET_WITH_PORTS), go_to(target));
        RULE(b, chain, is(type, ETH_P_IPV6), is(FIELD_PROTOCOL, ETH_P_IPV6), sound,
             is(FIELD_NEXT_HEADER, IPPROTO_ICMPV6), go_to(target));
        /* goto refuse_last */
        RULE(b, chain, go_to(CHAIN_REFUSE_LAST));
}

/* Packet sockets write below the hooks of family inet. What they write has no route, unlike whatever was sent
 * through the IP layer and has been judged there: that is asked first, and all it costs everybody else. Some
 * devices (bonds, teams) take the route off, so the device below may see without one what a subject may send:
 * therefore Ethernet frames are judged by where they go. Anything else of a subject's is refused. */
void ruleset_frame_rules(struct builder *b)
{
        /* meta oiftype != 1 goto refuse_last: not Ethernet; the loopback's are never without a route */
        RULE(b, CHAIN_FRAME, compare(FIELD_DEVICE_TYPE, OP_NEQ, ARPHRD_ETHER), go_to(CHAIN_REFUSE_LAST));
        /* @ll,96,16 33024 goto frame_tagged: a VLAN above the bond; the tag is not in the frame yet */
        RULE(b, CHAIN_FRAME, is(FIELD_ETHER_TYPE, ETH_P_8021Q), go_to(CHAIN_FRAME_TAGGED));
        ip_frames(b, CHAIN_FRAME, FIELD_ETHER_TYPE);

        /* A tag that was written into the frame, so that the header is looked for where the tag is, must
         * begin like an IP header for that. @ll,112,8 >= 64 @ll,112,8 <= 79 goto refuse_last; and 96 to 111
         */
        RULE(b, CHAIN_FRAME_TAGGED, compare(FIELD_TAG, OP_GTE, 0x40), compare(FIELD_TAG, OP_LTE, 0x4f),
             go_to(CHAIN_REFUSE_LAST));
        RULE(b, CHAIN_FRAME_TAGGED, compare(FIELD_TAG, OP_GTE, 0x60), compare(FIELD_TAG, OP_LTE, 0x6f),
             go_to(CHAIN_REFUSE_LAST));
        ip_frames(b, CHAIN_FRAME_TAGGED, FIELD_TAGGED_TYPE);
}

/* The same by what stands in the frame itself, see ip_frames(). */
void ruleset_frame_resolvers(struct builder *b, enum rs_chain_id chain, enum rs_chain_id refuse)
{
        const struct rs_set *ports = &b->r->sets[SET_DNS_PORTS];

        /* ip6 nexthdr @tcp_udp @nh,336,16 53 goto refuse_last; and so on */
        for (size_t i = 0; i < ports->n; i++)
                RULE(b, chain, in(FIELD_NEXT_HEADER, SET_TCP_UDP),
                     is(FIELD_IP6_DPORT, (uint32_t)ports->elements[2 * i] << 8 | ports->elements[2 * i + 1]),
                     go_to(refuse));
}
