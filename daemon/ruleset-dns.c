// SPDX-License-Identifier: GPL-2.0-or-later
/* DNS=ADDRESS. */
#include "ruleset-builder.h"

/* DNS=ADDRESS, first judgement: the question may go on, for the nat chain will send it elsewhere. */
void rs_build_to_be_redirected(struct builder *b, enum rs_chain_id chain)
{
        /* meta nfproto ipv4 meta l4proto @tcp_udp th dport 53 return */
        if (b->r->sets[SET_DNS4].present || has_relay(b))
                RULE(b, chain, is(FIELD_NFPROTO, NFPROTO_IPV4), in(FIELD_L4PROTO, SET_TCP_UDP),
                     is(FIELD_DPORT, 53), back());
        /* meta nfproto ipv6 meta l4proto @tcp_udp th dport 53 return */
        if (b->r->sets[SET_DNS6].present || has_relay(b))
                RULE(b, chain, is(FIELD_NFPROTO, NFPROTO_IPV6), in(FIELD_L4PROTO, SET_TCP_UDP),
                     is(FIELD_DPORT, 53), back());
}

/* Second judgement: only what was really sent to the address, or to the relay, which sends it there. */
void rs_build_redirected(struct builder *b, enum rs_chain_id chain)
{
        /* ip daddr @dns4 meta l4proto @tcp_udp th dport 53 return */
        if (b->r->sets[SET_DNS4].present)
                RULE(b, chain, in(FIELD_IP_DADDR, SET_DNS4), in(FIELD_L4PROTO, SET_TCP_UDP),
                     is(FIELD_DPORT, 53), back());
        /* ip6 daddr @dns6 meta l4proto @tcp_udp th dport 53 return */
        if (b->r->sets[SET_DNS6].present)
                RULE(b, chain, in(FIELD_IP6_DADDR, SET_DNS6), in(FIELD_L4PROTO, SET_TCP_UDP),
                     is(FIELD_DPORT, 53), back());
        if (!has_relay(b))
                return;
        /* ip daddr . meta l4proto . th dport @relay4 return; ip6 daddr . meta l4proto . th dport @relay6
         * return */
        RULE(b, chain, endpoint_in(FIELD_IP_DADDR, SET_RELAY4), back());
        RULE(b, chain, endpoint_in(FIELD_IP6_DADDR, SET_RELAY6), back());
}

/* nft(8) takes a port that connection tracking knows, or one to translate to, behind a single protocol only.
 */
static const uint8_t transports[] = {IPPROTO_TCP, IPPROTO_UDP};

/* Second judgement: a question that another table's NAT has sent somewhere else, to a port that tells nothing
 * any more. Not what answers one: a subject may serve port 53 to others. */
static void astray(struct builder *b)
{
        declare(b, CHAIN_ASTRAY);
        /* meta l4proto tcp th dport != 53 ct direction original ct original proto-dst 53 goto refuse_last;
         * and with udp */
        for (size_t i = 0; i < ELEMENTSOF(transports); i++)
                RULE(b, CHAIN_ASTRAY, is(FIELD_L4PROTO, transports[i]), compare(FIELD_DPORT, OP_NEQ, 53),
                     is(FIELD_CT_DIRECTION, 0), is(FIELD_CT_ASKED_PORT, 53), go_to(CHAIN_REFUSE_LAST));
}

/* The relay listens on the loopback, for what was redirected and nothing else: whoever could ask it directly
 * would have a way to the address that his own lockdown may not leave him. */
static void relay(struct builder *b)
{
        static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
        const uint16_t port = b->spec->relay_port;

        declare(b, CHAIN_TO_RELAY);
        declare(b, CHAIN_RELAY);
        for (size_t i = 0; i < ELEMENTSOF(transports); i++) {
                /* meta nfproto ipv4 meta l4proto tcp th dport 53 dnat ip to 127.0.0.1:PORT; and with udp */
                RULE(b, CHAIN_TO_RELAY, is(FIELD_NFPROTO, NFPROTO_IPV4), is(FIELD_L4PROTO, transports[i]),
                     is(FIELD_DPORT, 53), dnat_to(AF_INET, loopback4, port));
                /* meta nfproto ipv6 meta l4proto tcp th dport 53 dnat ip6 to [::1]:PORT; and with udp */
                RULE(b, CHAIN_TO_RELAY, is(FIELD_NFPROTO, NFPROTO_IPV6), is(FIELD_L4PROTO, transports[i]),
                     is(FIELD_DPORT, 53), dnat_to(AF_INET6, loopback6, port));
                /* meta l4proto tcp ct original proto-dst 53 return; and with udp */
                RULE(b, CHAIN_RELAY, is(FIELD_L4PROTO, transports[i]), is(FIELD_CT_ASKED_PORT, 53), back());
        }
        /* ip daddr . meta l4proto . th dport @relay4 drop; ip6 daddr . meta l4proto . th dport @relay6 drop
         */
        RULE(b, CHAIN_RELAY, endpoint_in(FIELD_IP_DADDR, SET_RELAY4), drop());
        RULE(b, CHAIN_RELAY, endpoint_in(FIELD_IP6_DADDR, SET_RELAY6), drop());
}

/* DNS=ADDRESS: every question of a subject that is not for an allowed endpoint goes there. */
void rs_build_redirection(struct builder *b)
{
        const struct destinations *d = b->spec->destinations;

        /* ip daddr @dns4 return; ip6 daddr @dns6 return: on its way, also if that is this very machine */
        if (b->r->sets[SET_DNS4].present)
                RULE(b, CHAIN_REDIRECT, in(FIELD_IP_DADDR, SET_DNS4), back());
        if (b->r->sets[SET_DNS6].present)
                RULE(b, CHAIN_REDIRECT, in(FIELD_IP6_DADDR, SET_DNS6), back());
        /* oif lo goto to_relay: nothing can be translated off the loopback. Before the endpoints, for what
         * answers here would ask outside on their behalf. */
        RULE(b, CHAIN_REDIRECT, is(FIELD_OIF, LOOPBACK_INDEX), has_relay(b) ? go_to(CHAIN_TO_RELAY) : back());
        rs_build_services(b, CHAIN_REDIRECT);
        /* meta nfproto ipv4 meta l4proto @tcp_udp th dport 53 dnat ip to ADDRESS */
        if (d->has_dns4)
                RULE(b, CHAIN_REDIRECT, is(FIELD_NFPROTO, NFPROTO_IPV4), in(FIELD_L4PROTO, SET_TCP_UDP),
                     is(FIELD_DPORT, 53), dnat_to(AF_INET, d->dns4, 0));
        /* meta nfproto ipv6 meta l4proto @tcp_udp th dport 53 dnat ip6 to ADDRESS */
        if (d->has_dns6)
                RULE(b, CHAIN_REDIRECT, is(FIELD_NFPROTO, NFPROTO_IPV6), in(FIELD_L4PROTO, SET_TCP_UDP),
                     is(FIELD_DPORT, 53), dnat_to(AF_INET6, d->dns6, 0));
        /* goto to_relay: the family that has no such address */
        if (has_relay(b))
                RULE(b, CHAIN_REDIRECT, go_to(CHAIN_TO_RELAY));
        astray(b);
        if (has_relay(b))
                relay(b);
}
