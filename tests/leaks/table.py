# SPDX-License-Identifier: GPL-2.0-or-later
"""The table as text: a line for each row, a column for each lock."""

HEADINGS = {0: "What must arrive", 1: "Other identities of the same person", 2: "Sockets that outlive the rule", 3: "Names",
            4: "Doors on this machine", 5: "Sessions", 6: "Where the packet really goes", 7: "Other places on the host",
            8: "Packet sockets", 9: "Everyone=yes", 10: "Races", 11: "Other tools"}
LEGEND = "4, 6: something arrived by IPv4, IPv6.  .: nothing did.  !: not as it should be.  -: not played."


def cell(result, judged):
    if result is None:
        return ""
    if result.error:
        return "error"
    if result.skipped:
        return "-"
    text = " ".join(str(f) if f in result.arrived else "." for f in result.row.families)
    return text + " !" if any(v == "failed" for v in judged.values()) else text


def write(rows, locks, results, verdicts, print_=print):
    """RESULTS, VERDICTS: by (row, name of the lock)."""
    width = max(len(row.name) for row in rows) + 2
    columns = [max(8, len(lock) + 2) for lock in locks]
    print_(" " * (width + 2) + "".join(lock.ljust(c) for lock, c in zip(locks, columns)).rstrip())
    for channel in sorted({row.channel for row in rows}):
        print_(f"{HEADINGS[channel]}" if channel == 0 else f"{channel}. {HEADINGS[channel]}")
        for row in (r for r in rows if r.channel == channel):
            cells = (cell(results.get((row, lock)), verdicts.get((row, lock), {})).ljust(c)
                     for lock, c in zip(locks, columns))
            print_(f"  {row.name:{width}}" + "".join(cells).rstrip() + (f"  named: {row.named}" if row.named else ""))
    print_(LEGEND)
