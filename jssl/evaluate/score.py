"""A number that remembers which evaluation protocol, in which version, it came from."""

import re

_PROTOCOL = re.compile(r'[a-z][a-z0-9_]*/[1-9][0-9]*')


class Score(float):
    """A float with the name and version of its protocol: `Score(0.91, 'linear_probe/1')`.

    The version changes whenever a default of the protocol does, so that two reports whose numbers
    cannot be compared say so. Arithmetic gives plain floats: a mean of scores, or a difference, is
    no longer what the protocol measured. JSON writes the number alone.

    Args:
        value: the number.
        protocol: name and version, 'name/1'.
    """

    __slots__ = ('protocol',)

    def __new__(cls, value: float, protocol: str):
        if not _PROTOCOL.fullmatch(protocol):
            raise ValueError(f"protocol must read 'name/version', got {protocol!r}")
        score = super().__new__(cls, value)
        score.protocol = protocol
        return score

    def __reduce__(self):
        return Score, (float(self), self.protocol)

    def __repr__(self):
        return f'Score({float(self)!r}, {self.protocol!r})'
