"""One paper, one module: `jssl list` shows them, `python -m experiments.FAMILY.SLUG` runs one."""

import sys

from jssl.experiment.registry import answer_help

answer_help(sys.orig_argv)
