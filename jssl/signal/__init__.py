"""Signals: what is heard, as arrays."""

from jssl.signal.mel import log_mel, mel_filters

__all__ = ['log_mel', 'mel_filters']
