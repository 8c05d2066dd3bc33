"""What a run is made of: a frozen dataclass, its presets, and flags that change single fields."""

import dataclasses
import types
import typing

from jssl.errors import Refusal, nearest

PRESETS = ('smoke', 'cpu', 'paper')
_BOOLS = {'true': True, '1': True, 'false': False, '0': False}


@dataclasses.dataclass(frozen=True)
class Config:
    """Fields that every experiment has; a paper's own follow, with the paper's values as
    defaults."""

    seeds: int = 3  # how many times all is repeated; claims pair ours and baseline by seed


def preset(module, name: str) -> Config:
    """The module's SMOKE, CPU or PAPER."""
    if name not in PRESETS:
        raise Refusal(f'--preset={name} is not a preset; choose one of {", ".join(PRESETS)}')
    return getattr(module, name.upper())


def override(config: Config, changes: dict[str, str], *, prefix: str = 'config.') -> Config:
    """`config` with fields set from text; unknown fields and ill-typed values are refused, by the
    name of the flag, --PREFIXFIELD."""
    fields = {f.name: f.type for f in dataclasses.fields(config)}
    hints = typing.get_type_hints(type(config))
    values = {}
    for name, text in changes.items():
        if name not in fields:
            raise Refusal(f'--{prefix}{name} is not a field{nearest(name, fields)}')
        try:
            values[name] = parse(text, hints[name])
        except (ValueError, KeyError):
            wanted = type_name(hints[name])
            raise Refusal(f'--{prefix}{name}={text} is not of type {wanted}') from None
    return dataclasses.replace(config, **values)


def parse(text: str, kind) -> typing.Any:
    """`text` as a value of an annotated type: int, float, bool, str, tuples of them, or None."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == 'none' and type(None) in arguments:
            return None
        return parse(text, next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError(text)
        return text
    if origin is tuple:
        parts = [part.strip() for part in text.strip('()[]').split(',') if part.strip()]
        return tuple(parse(part, arguments[0]) for part in parts)
    if kind is bool:
        return _BOOLS[text.lower()]
    return kind(text)


def type_name(kind) -> str:
    """The annotation as people write it."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace('typing.', '')
