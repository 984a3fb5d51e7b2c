# SPDX-License-Identifier: GPL-2.0-or-later
"""What breaks only when something is fundamentally wrong: a few ratios, each measured again before it counts."""

import orders
import packets
from place import Place

SIZES = (1, 10_000)


def flat(sizes):
    value = sizes[1].order.ratio(sizes[0].order)
    return f"order of 10,000 / of 1: {value:.2f}", value <= 3


def lift_flat(sizes):
    value = sizes[1].lift.ratio(sizes[0].lift)
    return f"lift of 10,000 / of 1: {value:.2f}", value <= 3


def beats_nft(sizes):
    value = sizes[1].nft.ratio(sizes[1].order)
    return f"nft -f / order, 10,000: {value:.1f}", value >= 2


def staged_is_free(cases):
    none, staged, _ = cases
    value = min(none.samples[0].ratio(staged.samples[0]), 1.0)
    return f"packets with 10,000 staged, of those without rules: {value:.2f}", value >= 0.75


def others_go_on(cases):
    none, _, in_force = cases
    value = none.samples[1].ratio(in_force.samples[1])
    return f"packets of a neighbour of 10,000 in force, of those without rules: {value:.2f}", value >= 0.4


def repeat(measure, judges, tries=3):
    """MEASURE() adds to what JUDGES are asked about. -> [(sentence, good)]"""
    for _ in range(tries):
        subject = measure()
        verdicts = [judge(subject) for judge in judges]
        if all(good for _, good in verdicts):
            break
    return verdicts


def run():
    """-> how many failed"""
    with Place(SIZES, orders.configuration(SIZES), in_memory=True) as place, Place(start=False) as elsewhere:
        sizes = [orders.Size(place, elsewhere, n) for n in SIZES]
        elsewhere.senders, place.senders = packets.senders(elsewhere), packets.senders(place)
        cases = [packets.Case("none", elsewhere, elsewhere.senders), packets.Case("staged", place, place.senders),
                 packets.ordered(place, f"p{SIZES[1]}", "in force")]

        def time_orders():
            for i in range(9):
                for size in sizes:
                    size.round_of_ours()
                if i < 3:
                    sizes[1].round_of_nft()
            return sizes

        def time_packets():
            for _ in range(9):
                for case in cases:
                    case.round()
            return cases

        verdicts = repeat(time_orders, (flat, lift_flat, beats_nft)) + repeat(time_packets, (staged_is_free, others_go_on))
    for sentence, good in verdicts:
        print(f"{'passed' if good else 'FAILED'}: {sentence}")
    failed = sum(not good for _, good in verdicts)
    print(f"{len(verdicts) - failed} passed, {failed} failed, 0 skipped")
    return failed
