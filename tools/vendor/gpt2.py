"""Makes gpt2.npz from an unpacked source release of openai-whisper: the byte pairs of GPT-2.

pip download --no-deps --no-binary :all: openai-whisper && unpack it into FOLDER
python tools/vendor/gpt2.py FOLDER
"""

import argparse
import base64
import itertools
from pathlib import Path

import numpy as np
import snapshot


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked release')
    folder = parser.parse_args().folder
    file = folder / 'whisper' / 'assets' / 'gpt2.tiktoken'
    lines = (line.split() for line in file.read_bytes().splitlines())
    rank = {base64.b64decode(piece): int(number) for piece, number in lines}
    pieces = sorted(rank, key=rank.get)
    snapshot.arrays(
        'gpt2',
        {
            'byte': np.frombuffer(b''.join(pieces[:256]), np.uint8),
            'merge': np.array([halves(piece, rank) for piece in pieces[256:]], np.uint16),
        },
        maker=__file__,
        sources=[
            snapshot.source(
                'openai-whisper',
                '20250625',
                [file],
                folder,
                licence='MIT',
                credit='OpenAI',
                licence_file=folder / 'LICENSE',
            )
        ],
        changes='Of every piece the pair that it is merged from.',
    )


def halves(piece, rank):
    """Tokens of the two parts that a piece falls into without its own merge."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        ranks = [rank.get(a + b, len(rank)) for a, b in itertools.pairwise(parts)]
        i = ranks.index(min(ranks))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [rank[part] for part in parts]


if __name__ == '__main__':
    main()
