"""The one exception that people are meant to read."""


class Refusal(Exception):
    """One line that names what is wrong and what to do; the command line prints it and exits 2."""
