"""The one exception that people are meant to read."""

import difflib
from collections.abc import Iterable


class Refusal(Exception):
    """One line that names what is wrong and what to do; the command line prints it and exits 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """'; the nearest is X' or a list of what there is: the tail of a refusal."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f'; the nearest is {close[0]}'
    return f'; there are {", ".join(known)}' if known else ''
