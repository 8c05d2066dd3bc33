"""Small real data that is carried along, each file with its source and licence in SOURCE.json.

`tools/vendor` holds the scripts that made the files; nothing here is ever downloaded.
"""

import gzip
import json
from importlib import resources

import numpy as np


def rows(name: str) -> list[dict]:
    """Items of NAME.jsonl.gz, in the order of the file."""
    with gzip.open(_file(f'{name}.jsonl.gz').open('rb'), 'rt', encoding='utf-8') as lines:
        return [json.loads(line) for line in lines]


def arrays(name: str) -> dict[str, np.ndarray]:
    """Arrays of NAME.npz."""
    with _file(f'{name}.npz').open('rb') as file, np.load(file, allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def sources() -> dict[str, dict]:
    """{file: its sha256, bytes, maker, changes, sources}; a source names package and licence."""
    return json.loads(_file('SOURCE.json').read_text())


def credit(file: str) -> str:
    """Whom to name and under which licence, in one line.

    Args:
      file: name of a vendored file, as in `sources`.

    Returns:
      'numpy 2.4.6: NumPy Developers, BSD-3-Clause; ...'.

    SPDX licence list (spdx.org/licenses), for the licences' names.
    """
    lines = [
        f'{source["package"]} {source["version"]}: {source["credit"]}, {source["licence"]}'
        for source in sources()[file]['sources']
    ]
    return '; '.join(lines)


def lines(column: np.ndarray) -> np.ndarray:
    """Strings that an array of bytes holds, one a line: object [N]."""
    return np.array(column.tobytes().decode().split('\n'), object)


def _file(name):
    return resources.files(__name__) / name
