"""A progress line with rate and time left: rewritten on a terminal, now and then in a pipe."""

import sys
import time
from collections.abc import Callable


class Progress:
    """Shows `name  step/steps  loss  rate  ETA`; `update` costs nothing between two refreshes."""

    TERMINAL, PIPE = 0.2, 20.0  # seconds between refreshes

    def __init__(self, name: str, steps: int, log: Callable[[str], None], shown: bool = True):
        self.name, self.steps, self.log, self.shown = name, steps, log, shown
        self.terminal = sys.stderr.isatty()
        self.started = self.refreshed = time.monotonic()
        self.first = None

    def update(self, step: int, metrics: dict[str, float]):
        now = time.monotonic()
        if self.first is None:  # compiling is not part of the rate
            self.first, self.started = step, now
        if now - self.refreshed < (self.TERMINAL if self.terminal else self.PIPE) or not self.shown:
            return
        self.refreshed = now
        line = self._line(step, metrics, now)
        if self.terminal:
            sys.stderr.write('\r\x1b[2K' + line)
            sys.stderr.flush()
        else:
            self.log(line)

    def close(self):
        if self.terminal and self.shown:
            sys.stderr.write('\r\x1b[2K')
            sys.stderr.flush()

    def _line(self, step, metrics, now):
        rate = (step - self.first) / max(now - self.started, 1e-9)
        left = clock((self.steps - step) / rate) if rate else '?'
        values = '  '.join(f'{k} {v:.4g}' for k, v in list(metrics.items())[:3])
        return f'{self.name}  {step}/{self.steps}  {values}  {rate:.1f} steps/s  {left} left'


def clock(seconds: float) -> str:
    """'1:05:09' or '0:42'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
