"""Generators with exact ground truth, one modality a file: `sample` draws one item, `dataset` many.

An item is a function of (seed, split, index) and of the knobs, so a set may be of any length and
is read in any order. See `draw`.
"""
