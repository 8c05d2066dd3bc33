"""How a vendored file is written: the same bytes each time, small, with its source on record.

Every maker in this folder ends in `rows` or `arrays`; the record is vendored/SOURCE.json.
"""

import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
VENDORED = ROOT / 'jssl' / 'data' / 'vendored'
LIMIT = 1_000_000  # bytes of one file


def rows(name: str, items: Iterable[dict], **record):
    """Writes items as vendored/NAME.jsonl.gz, one JSON object a line."""
    lines = ''.join(json.dumps(item, ensure_ascii=False) + '\n' for item in items)
    write(f'{name}.jsonl.gz', gzip.compress(lines.encode(), 9, mtime=0), **record)


def arrays(name: str, columns: dict[str, np.ndarray], **record):
    """Writes arrays as vendored/NAME.npz, compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    write(f'{name}.npz', buffer.getvalue(), **record)


def write(name: str, content: bytes, *, maker: str, sources: list[dict], changes: str):
    """Writes one vendored file and its entry of SOURCE.json.

    Args:
      name: of the file.
      content: its bytes.
      maker: script that made it.
      sources: what it was made from, as `source` gives it.
      changes: what was left out or altered, as licences ask.
    """
    if len(content) > LIMIT:
        raise SystemExit(f'{name} has {len(content):,} bytes, more than {LIMIT:,}')
    (VENDORED / name).write_bytes(content)
    register = VENDORED / 'SOURCE.json'
    entries = json.loads(register.read_text()) if register.exists() else {}
    entries[name] = {
        'maker': f'tools/vendor/{Path(maker).name}',
        'sha256': hashlib.sha256(content).hexdigest(),
        'bytes': len(content),
        'changes': changes,
        'sources': sources,
    }
    text = json.dumps(dict(sorted(entries.items())), indent=1, ensure_ascii=False)
    register.write_text(text + '\n')
    print(f'{name}: {len(content):,} bytes')


def source(package: str, version: str, files: Iterable[Path], base: Path, **facts) -> dict:
    """Record of a package's files: how many, and the SHA-256 over their names and bytes.

    Args:
      package, version: as released.
      files: those that were read.
      base: folder that their names are relative to.
      **facts: licence (SPDX), credit, licence_file: the text that is copied to licences/, and
        copied_as, its name there where that is not PACKAGE.txt.

    Returns:
      An entry for `write`.
    """
    files = sorted(files)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(base).as_posix().encode() + b'\0' + file.read_bytes())
    copied_as = facts.pop('copied_as', f'{package}.txt')
    shutil.copyfile(facts.pop('licence_file'), VENDORED / 'licences' / copied_as)
    names = [file.relative_to(base).as_posix() for file in files[:4]]
    return {
        'package': package,
        'version': version,
        'files': len(files),
        'names': names if len(files) <= 4 else [*names[:3], '...'],
        'sha256': digest.hexdigest(),
        'licence_text': f'licences/{copied_as}',
        **facts,
    }


def licence_file(distribution: str, folder: Path | None = None) -> Path:
    """The main licence text of a distribution, installed or unpacked in `folder`."""
    if folder is None:
        found = metadata.distribution(distribution)
        files = [Path(found.locate_file(name)) for name in found.files or ()]
    else:
        files = [file for file in folder.glob('*.dist-info/**/*') if file.is_file()]
    names = ('LICENSE', 'LICENCE', 'COPYING')
    texts = [file for file in files if file.name.upper().startswith(names)]
    texts = [text for text in texts if '.dist-info' in text.as_posix()]
    return min(texts, key=lambda text: (len(text.parts), text.name))
