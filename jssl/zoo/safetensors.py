"""Arrays by name in a safetensors file: the length of a header, the header, the arrays' bytes.

    header = {name: {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]}, ...} in JSON

Arrays are little-endian, in row-major order, one behind another without a gap. What is too large
for one file lies in several, beside an index: {'weight_map': {name: file, ...}} in JSON.
"""

import json
import math
import os
import pathlib

import ml_dtypes
import numpy as np

from jssl.errors import Refusal

DTYPES = {f'{kind}{8 * n}': np.dtype(f'<{kind.lower()}{n}') for kind in 'IU' for n in (1, 2, 4, 8)}
DTYPES |= {f'F{8 * n}': np.dtype(f'<f{n}') for n in (2, 4, 8)}
DTYPES |= {'BF16': np.dtype(ml_dtypes.bfloat16), 'BOOL': np.dtype(bool)}
CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; '
    "d = torch.load(sys.argv[1], 'cpu', weights_only=True); d = d.get('model', d); "
    's.save_file({k: v.contiguous() for k, v in d.items()}, sys.argv[2])"'
)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a file, of the files of an index (*.index.json), or of a folder that has one.

    Returns: arrays by name; their bytes are read when they are used.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = _of_folder(path)
    if path.name.endswith('.index.json'):
        return _of_index(path)
    if path.suffix in ('.bin', '.ckpt', '.pkl', '.pt', '.pth'):
        files = f'{path} {path.with_suffix(".safetensors")}'
        raise Refusal(f'{path} is a pickle, which may run code; convert it: {CONVERT} {files}')
    try:
        size = path.stat().st_size
        with path.open('rb') as file:
            length = int.from_bytes(file.read(8), 'little')
            if length > size - 8:
                raise ValueError('its first 8 bytes are not the length of a header')
            header = json.loads(file.read(length))
        # nothing at all cannot be mapped
        data = (
            np.memmap(path, mode='r', offset=8 + length) if size > 8 + length else np.zeros(0, 'B')
        )
        return _arrays(header, data)
    except OSError as error:
        raise Refusal(f'{path} cannot be read: {error.strerror}') from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refusal(f'{path} is not a whole safetensors file: {error}') from None


def write(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays by name; the file appears whole or not at all."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header, end = {'__metadata__': {'format': 'pt'}}, 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {'dtype': names[array.dtype], 'shape': array.shape}
        header[name]['data_offsets'] = (start, end)
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)  # arrays begin at a multiple of 8 bytes
    partial = pathlib.Path(f'{path}.{os.getpid()}')
    try:
        with partial.open('wb') as file:
            file.writelines([len(text).to_bytes(8, 'little'), text])
            file.writelines(array.tobytes() for array in arrays.values())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Refusal(f'{path} cannot be written: {error.strerror}') from None


def _of_folder(folder: pathlib.Path) -> pathlib.Path:
    """The index or the one file of weights in a folder."""
    for pattern in ('*.safetensors.index.json', '*.safetensors'):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            several = ', '.join(file.name for file in found[:3])
            raise Refusal(f'{folder} has {len(found)} of {pattern}: name one of {several}')
    raise Refusal(f'{folder} has no .safetensors file')


def _of_index(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of all files that an index names, each where the index says."""
    try:
        places = json.loads(path.read_text(encoding='utf-8'))['weight_map']
        files = sorted(set(places.values()))
        if outside := [file for file in files if pathlib.Path(file).name != file]:
            raise ValueError(f'{outside[0]!r} is not in its folder')
    except OSError as error:
        raise Refusal(f'{path} cannot be read: {error.strerror}') from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refusal(f'{path} is not an index of safetensors files: {error}') from None
    parts = {file: read(path.parent / file) for file in files}
    if lost := [name for name, file in places.items() if name not in parts[file]]:
        raise Refusal(
            f'{path.parent / places[lost[0]]} lacks {lost[0]!r}, which {path} says it has'
        )
    return {name: parts[file][name] for name, file in places.items()}


def _arrays(header: dict[str, dict], data: np.ndarray) -> dict[str, np.ndarray]:
    """Views of the data; any error of Python's where the header does not fit it."""
    header.pop('__metadata__', None)
    arrays, end = {}, 0
    for name, known in sorted(header.items(), key=lambda item: item[1]['data_offsets']):
        dtype, shape = DTYPES[known['dtype']], known['shape']
        if any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f'{name!r} has the shape {shape!r}')
        start, end = end, end + math.prod(shape) * dtype.itemsize
        if known['data_offsets'] != [start, end] or end > len(data):
            raise ValueError(f'{name!r} does not lie where {shape} {known["dtype"]} would')
        arrays[name] = data[start:end].view(dtype).reshape(shape)
    if end != len(data):
        raise ValueError(f'{len(data) - end} bytes at its end belong to no array')
    return arrays
