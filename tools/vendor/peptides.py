"""Makes peptides.npz from an unpacked wheel of modlamp: sequences that kill microbes, and others.

pip download --no-deps modlamp && unzip it into FOLDER
python tools/vendor/peptides.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import snapshot

RUN = 8  # residues in a row that make two peptides kin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked wheel')
    folder = parser.parse_args().folder
    file = folder / 'modlamp' / 'data' / 'AMPvsUniProt.csv'
    rows = [line.split(',') for line in file.read_text().splitlines()[1:]]
    label = {}
    for sequence, kind in rows:  # some are there twice, a few of them as both kinds
        label[sequence.strip()] = max(int(kind), label.get(sequence.strip(), 0))
    sequences = sorted(label)
    snapshot.arrays(
        'peptides',
        {
            'sequence': np.frombuffer('\n'.join(sequences).encode(), np.uint8),
            'label': np.array([label[sequence] for sequence in sequences], np.uint8),
            'family': families(sequences),
        },
        maker=__file__,
        sources=[
            snapshot.source(
                'modlamp',
                '4.3.3',
                [file],
                folder,
                licence='BSD-3-Clause',
                credit='Alex Müller, Gisela Gabernet; APD3 (Wang et al., 2016) and UniProt',
                licence_file=snapshot.licence_file('modlamp', folder),
            )
        ],
        changes='Sequences once, antimicrobial where they are both; families by shared '
        f'runs of {RUN} residues.',
    )


def families(sequences):
    """A number for each sequence, the same for those that runs of residues link."""
    parent = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for number, sequence in enumerate(sequences):
        for start in range(max(1, len(sequence) - RUN + 1)):
            parent[root(sequence[start : start + RUN])] = root(number)
    roots = [root(number) for number in range(len(sequences))]
    return np.unique(roots, return_inverse=True)[1].astype(np.uint16)


if __name__ == '__main__':
    main()
