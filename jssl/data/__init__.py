"""Data: sets by name, streams of batches, augmentation on the device, masks, few labels."""

from jssl.data import augment, clips, forgetting, photos, shapes, tones
from jssl.data.batches import Stream, batches, epoch
from jssl.data.forgetting import resized
from jssl.data.labels import ClassTable, Episodes, class_balanced, class_table, episodes
from jssl.data.masking import block_mask, hard_patch_mask, random_mask
from jssl.data.readers import stratified_split
from jssl.data.records import Column, Records, columns, rows, with_columns
from jssl.data.sources import SETS, ImageSet, describe, load, missing, spec

__all__ = [
    'SETS',
    'ClassTable',
    'Column',
    'Episodes',
    'ImageSet',
    'Records',
    'Stream',
    'augment',
    'batches',
    'block_mask',
    'class_balanced',
    'class_table',
    'clips',
    'columns',
    'describe',
    'episodes',
    'epoch',
    'forgetting',
    'hard_patch_mask',
    'load',
    'missing',
    'photos',
    'random_mask',
    'resized',
    'rows',
    'shapes',
    'spec',
    'stratified_split',
    'tones',
    'with_columns',
]
