"""Ratios and verdicts. A ratio is taken of two runs of the same round, and only then the median of all rounds."""
import statistics

from house import spread


def turned(all, number):
    """The same in another order: who goes first is not always the same."""
    first = number % len(all)
    return all[first:] + all[:first]


def median_of(times, key):
    return statistics.median(one[key] for one in times)


def spread_of(times, key, unit, digits):
    return spread([one[key] for one in times], unit, digits)


def ratios(ours, theirs, key):
    return [one[key] / other[key] for one, other in zip(ours, theirs) if other[key]]


def judge(what, value, limit, unit):
    """Prints one bar; returns whether it was kept."""
    kept = value <= limit
    print(f"{'kept  ' if kept else 'MISSED'} {what}: {value:.4g} of at most {limit:.4g} {unit}".rstrip())
    return kept


def judge_failures(times):
    return judge("requests that failed", sum(one["failed"] for one in times), 0, "")


def judge_least_ratio(what, found, limit):
    """For a ratio that has to be high."""
    kept = statistics.median(found) >= limit
    print(f"{'kept  ' if kept else 'MISSED'} {what}: {spread(found, '×')} of at least {limit:.2f} ×")
    return kept


def judge_ratios(what, found, limit, stretch=None):
    """The median of ratios with its spread; without a limit it is only shown."""
    if not found:
        print(f"MISSED {what}: nothing to compare with")
        return False
    value, said = statistics.median(found), f"{what}: {spread(found, '×')}"
    if limit is None:
        print(f"       {said}, no bar")
        return True
    kept = value <= limit
    wish = "" if stretch is None else f", stretch {stretch:.2f} {'reached' if value <= stretch else 'not reached'}"
    print(f"{'kept  ' if kept else 'MISSED'} {said} of at most {limit:.2f} ×{wish}")
    return kept
