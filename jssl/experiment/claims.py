"""Claims, and verdicts that come out of the rows alone.

A row is one measurement: factors (str, int, bool: method, seed, labels ...) and metrics (float). A
claim reads rows and becomes a `Verdict`:

  shown          the mean over seeds passes the claim's target, and the 95 % interval of the mean
                 (Student's t over seeds, paired where two methods are compared) excludes the value
                 at which there would be nothing to claim
  not shown      the mean does not pass the target
  inconclusive   the mean passes, but the interval does not exclude it

With one seed there is no interval: the mean decides, and the verdict is marked as one seed's.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jssl.errors import Refusal

SHOWN, NOT_SHOWN, INCONCLUSIVE = 'shown', 'not shown', 'inconclusive'


class Estimate(NamedTuple):
    """A mean over seeds with its 95 % interval; the interval is (nan, nan) with one seed."""

    mean: float
    low: float
    high: float
    seeds: int


class Verdict(NamedTuple):
    """What the rows say about one claim."""

    claim: str
    verdict: str
    estimate: Estimate
    target: str
    paper: str

    @property
    def text(self) -> str:
        mean, low, high, seeds = self.estimate
        interval = f' [{low:.4g}, {high:.4g}]' if seeds > 1 else ' (one seed)'
        return f'{self.claim} = {mean:.4g}{interval}, wanted {self.target}'


@dataclasses.dataclass(frozen=True)
class Claim:
    """Ours against a baseline, paired by seed: ours - baseline >= margin.

    Attributes:
      metric: a column of the rows.
      ours, baseline: values of the factor `by`.
      margin: smallest mean difference in ours' favour; a negative one is a non-inferiority claim
        ('not more than ... below').
      ratio: instead of the difference, ours / baseline must be at least (for `lower`: at most)
      this.
      lower: True where smaller is better.
      where: factors that the rows must have; rows left with the same seed are averaged.
      by: the factor that names the methods.
      paper: the paper's own figure, for the ledger.
    """

    metric: str
    ours: str
    baseline: str
    margin: float = 0.0
    ratio: float | None = None
    lower: bool = False
    where: Mapping = dataclasses.field(default_factory=dict)
    by: str = 'method'
    paper: str = ''

    def judge(self, rows) -> Verdict:
        ours = _per_seed(rows, self.metric, {**self.where, self.by: self.ours})
        base = _per_seed(rows, self.metric, {**self.where, self.by: self.baseline})
        seeds = _paired(ours, base, self)
        if self.ratio is not None:
            return self._judge_ratio(ours, base, seeds)
        sign = -1 if self.lower else 1
        found = estimate([sign * (ours[s] - base[s]) for s in seeds])
        # Where a loss up to -margin is allowed, it is that loss which the interval must exclude.
        verdict = decide(found, self.margin, nothing=min(0.0, self.margin))
        order = (self.baseline, self.ours) if self.lower else (self.ours, self.baseline)
        claim = f'{self.metric}: {order[0]} - {order[1]}{_condition(self.where)}'
        return Verdict(claim, verdict, found, f'>= {self.margin:g}', self.paper)

    def _judge_ratio(self, ours, base, seeds):
        ratios = [ours[s] / base[s] if base[s] else math.nan for s in seeds]
        found = estimate(ratios)
        sign = -1 if self.lower else 1
        mirrored = estimate([sign * r for r in ratios])
        # Beyond 1 the claim is a gain, which must exclude equality; on the near side of 1 a
        # tolerated loss, which must itself be excluded.
        nothing = min(sign * 1.0, sign * self.ratio)
        verdict = decide(mirrored, sign * self.ratio, nothing)
        claim = f'{self.metric}: {self.ours} / {self.baseline}{_condition(self.where)}'
        target = f'{"<=" if self.lower else ">="} {self.ratio:g}'
        return Verdict(claim, verdict, found, target, self.paper)


@dataclasses.dataclass(frozen=True)
class Range:
    """A metric (a rate, a slope, an accuracy) between `low` and `high`; either may be left out."""

    metric: str
    low: float = -math.inf
    high: float = math.inf
    where: Mapping = dataclasses.field(default_factory=dict)
    paper: str = ''

    def judge(self, rows) -> Verdict:
        found = estimate(_per_seed(rows, self.metric, self.where).values())
        above = decide(found, self.low)
        below = decide(_mirror(found), -self.high)
        target = f'in [{self.low:g}, {self.high:g}]'
        claim = f'{self.metric}{_condition(self.where)}'
        return Verdict(claim, worst((above, below)), found, target, self.paper)


@dataclasses.dataclass(frozen=True)
class Correlation:
    """Spearman's correlation of two columns within each seed is at least `at_least`."""

    x: str
    y: str
    at_least: float
    where: Mapping = dataclasses.field(default_factory=dict)
    paper: str = ''

    def judge(self, rows) -> Verdict:
        from scipy import stats

        chosen = _select(rows, self.where, (self.x, self.y))
        groups = {}
        for row in chosen:
            groups.setdefault(row.get('seed', 0), []).append((row[self.x], row[self.y]))
        found = estimate(stats.spearmanr(*zip(*g, strict=True)).statistic for g in groups.values())
        verdict = decide(found, self.at_least, nothing=min(0.0, self.at_least))
        claim = f'Spearman({self.x}, {self.y}){_condition(self.where)}'
        return Verdict(claim, verdict, found, f'>= {self.at_least:g}', self.paper)


@dataclasses.dataclass(frozen=True)
class Ordering:
    """`metric` grows along `order`, each step by more than `margin` (the weakest step decides)."""

    metric: str
    order: tuple
    margin: float = 0.0
    where: Mapping = dataclasses.field(default_factory=dict)
    by: str = 'method'
    paper: str = ''

    def judge(self, rows) -> Verdict:
        steps = [
            Claim(self.metric, after, before, self.margin, where=self.where, by=self.by).judge(rows)
            for before, after in zip(self.order, self.order[1:], strict=False)
        ]
        weakest = min(steps, key=lambda v: v.estimate.mean)
        claim = f'{self.metric}: {" < ".join(map(str, self.order))}{_condition(self.where)}'
        target = f'every step >= {self.margin:g}'
        verdict = worst(v.verdict for v in steps)
        return Verdict(claim, verdict, weakest.estimate, target, self.paper)


@dataclasses.dataclass(frozen=True)
class Equality:
    """Ours and baseline differ by at most `tolerance`, either way (two one-sided tests)."""

    metric: str
    ours: str
    baseline: str
    tolerance: float
    where: Mapping = dataclasses.field(default_factory=dict)
    by: str = 'method'
    paper: str = ''

    def judge(self, rows) -> Verdict:
        ours = _per_seed(rows, self.metric, {**self.where, self.by: self.ours})
        base = _per_seed(rows, self.metric, {**self.where, self.by: self.baseline})
        found = estimate([ours[s] - base[s] for s in _paired(ours, base, self)])
        above = decide(found, -self.tolerance)
        below = decide(_mirror(found), -self.tolerance)
        claim = f'{self.metric}: {self.ours} - {self.baseline}{_condition(self.where)}'
        return Verdict(
            claim, worst((above, below)), found, f'within {self.tolerance:g}', self.paper
        )


@dataclasses.dataclass(frozen=True)
class Bound:
    """A theorem's bound: `measured` <= `bound` + `slack` in every single row."""

    measured: str
    bound: str
    slack: float = 0.0
    where: Mapping = dataclasses.field(default_factory=dict)
    paper: str = ''

    def judge(self, rows) -> Verdict:
        chosen = _select(rows, self.where, (self.measured, self.bound))
        gaps = [row[self.measured] - row[self.bound] for row in chosen]
        # A maximum over rows has no interval: one violation refutes a theorem.
        widest = max(gaps) if all(math.isfinite(g) for g in gaps) else math.nan
        found = Estimate(widest, min(gaps), widest, len({row.get('seed', 0) for row in chosen}))
        claim = f'max({self.measured} - {self.bound}){_condition(self.where)}'
        verdict = SHOWN if widest <= self.slack else NOT_SHOWN
        return Verdict(
            claim, verdict, found, f'<= {self.slack:g} in all {len(gaps)} rows', self.paper
        )


def estimate(values: Iterable[float]) -> Estimate:
    """Mean and 95 % interval (Student's t) of one value per seed."""
    from scipy import stats

    values = [float(v) for v in values]
    mean = statistics.fmean(values)
    if len(values) < 2 or not math.isfinite(mean):
        return Estimate(mean, math.nan, math.nan, len(values))
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Estimate(mean, mean - half, mean + half, len(values))


def decide(found: Estimate, target: float, nothing: float | None = None) -> str:
    """The verdict rule: the mean reaches `target`, and the interval excludes `nothing`.

    Without `nothing` the interval itself must reach the target.
    """
    if not found.mean >= target:  # also when the mean is nan
        return NOT_SHOWN
    if found.seeds > 1:
        excluded = found.low >= target if nothing is None else found.low > nothing
        return SHOWN if excluded else INCONCLUSIVE
    return SHOWN


def worst(verdicts: Iterable[str]) -> str:
    """'shown' only if all are; 'not shown' if any is."""
    verdicts = list(verdicts)
    for verdict in (NOT_SHOWN, INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return SHOWN


def _mirror(found):
    return Estimate(-found.mean, -found.high, -found.low, found.seeds)


def _select(rows, where, columns):
    chosen = [
        row
        for row in rows
        if all(row.get(k) == v for k, v in where.items()) and all(c in row for c in columns)
    ]
    if not chosen:
        raise Refusal(
            f'a claim asks for rows with {", ".join(columns)}{_condition(where)}: none has them'
        )
    return chosen


def _per_seed(rows, metric, where) -> dict[int, float]:
    seeds = {}
    for row in _select(rows, where, (metric,)):
        seeds.setdefault(row.get('seed', 0), []).append(row[metric])
    return {seed: statistics.fmean(values) for seed, values in seeds.items()}


def _paired(ours, base, claim):
    if ours.keys() != base.keys():
        raise Refusal(
            f'{claim.metric}: {claim.ours} has seeds {sorted(ours)}, {claim.baseline} has'
            f' {sorted(base)}; measure both with the same seeds'
        )
    return sorted(ours)


def _condition(where):
    return ''.join(f', {k}={v}' for k, v in where.items())
