# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples, what they come to, and how that is written."""

import json
import os
import platform
import statistics


class Sample:
    """Repetitions of one measurement, in its own unit."""

    def __init__(self, name, command, unit="ms"):
        self.name, self.command, self.unit, self.values = name, command, unit, []

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def quartiles(self):
        if len(self.values) < 3:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    def ratio(self, other):
        """The median of what each repetition comes to beside the other's in the same round; of the medians where they
        have not as many."""
        if len(self.values) == len(other.values):
            return statistics.median(a / b for a, b in zip(self.values, other.values))
        return self.median / other.median

    def as_json(self):
        low, high = self.quartiles
        return {"name": self.name, "command": self.command, "unit": self.unit, "median": self.median, "low": low,
                "high": high, "n": len(self.values), "values": self.values}


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Report:
    """Sections of samples and ratios: text as they come, JSON at the end."""

    def __init__(self):
        self.sections, self.missing = [], []

    def section(self, title):
        print(f"\n{title}", flush=True)
        self.sections.append({"title": title, "figures": [], "ratios": []})

    def sample(self, s):
        low, high = s.quartiles
        spread = f"{number(low)}–{number(high)}" if len(s.values) > 1 else ""
        print(f"  {s.name:50} {number(s.median):>9} {s.unit:6} {spread:17} n={len(s.values):<4}  {s.command}", flush=True)
        self.sections[-1]["figures"].append(s.as_json())

    def ratio(self, name, value, aim=None):
        print(f"  {'= ' + name:50} {number(value) if value >= 10 else f'{value:.3f}':>9} "
              f"{'(aim: ' + aim + ')' if aim else ''}", flush=True)
        self.sections[-1]["ratios"].append({"name": name, "value": value, "aim": aim})

    def absent(self, what):
        print(f"  missing: {what}", flush=True)
        self.missing.append(what)

    def begin(self):
        m = self.machine()
        print(f"{m['cores']} cores, Linux {m['kernel']}, load {m['load']:.1f}; medians, quartiles, repetitions, commands")

    def machine(self):
        return {"cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()[0]}

    def write(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"machine": self.machine(), "sections": self.sections, "missing": self.missing}, f, indent=1)
