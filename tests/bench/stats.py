# SPDX-License-Identifier: Apache-2.0
"""Medians and intervals. One block is one measurement of each side, taken close together; the
statistic is the median of the blocks' ratios, because machine noise moves both sides of a block."""

import random
import statistics


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p / 100 * len(ordered)))]


def median_interval(values, resamples=10000, seed=1):
    """(median, low, high): 95% bootstrap interval with blocks as the unit."""
    middle = statistics.median(values)
    if len(values) < 3:
        return middle, min(values), max(values)
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values)))
                     for _ in range(resamples))
    return middle, medians[int(0.025 * resamples)], medians[int(0.975 * resamples)]


def ratios(ours, theirs):
    """Per-block ratios ours / theirs; blocks in which a side is missing are left out."""
    return [a / b for a, b in zip(ours, theirs) if a and b]
