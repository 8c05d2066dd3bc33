"""Makes networks of unpacked wheels: mice.npz and larva.npz of graspologic, triples.npz of pykeen,
department.npz of uunet.

    pip download --no-deps graspologic pykeen uunet && unzip each into a folder
    python tools/vendor/networks.py --graspologic FOLDER --pykeen FOLDER --uunet FOLDER

mice.npz        brains of 32 mice: fibres between 332 regions, of four strains and two sexes
larva.npz       mushroom bodies of a fly's larva: synapses between neurons, left and right
triples.npz     facts (head, relation, tail) of UMLS, Kinships and Nations
department.npz  who lunches, works, writes ... with whom at a university department
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import snapshot

REGIONS = 332
STEPS = 4  # a weight is rounded to quarters of its base-2 logarithm, to 9 per cent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--graspologic', type=Path, help='the unpacked wheel')
    parser.add_argument('--pykeen', type=Path, help='the unpacked wheel')
    parser.add_argument('--uunet', type=Path, help='the unpacked wheel')
    options = parser.parse_args()
    if options.graspologic:
        mice(options.graspologic)
        larva(options.graspologic)
    if options.pykeen:
        triples(options.pykeen)
    if options.uunet:
        department(options.uunet)


def mice(folder):
    base = folder / 'graspologic' / 'datasets' / 'mice'
    animals = table(base / 'participants.csv')
    strains, sexes = (sorted({row[name] for row in animals}) for name in ('genotype', 'sex'))
    blocks = table(base / 'blocks.csv')
    upper = np.triu_indices(REGIONS, 1)
    weights, files = [], [base / 'participants.csv', base / 'blocks.csv']
    for row in animals:
        file = base / 'edgelists' / f'{row["participant_id"]}_ses-1_dti.edgelist'
        files.append(file)
        i, j, weight = np.loadtxt(file, unpack=True)
        adjacency = np.zeros((REGIONS, REGIONS))
        adjacency[i.astype(int), j.astype(int)] = weight
        weights.append(np.maximum(adjacency, adjacency.T)[upper])
    block = np.repeat(np.arange(len(blocks)), [int(row['j']) - int(row['i']) for row in blocks])
    assert len(block) == REGIONS
    snapshot.arrays(
        'mice',
        {
            # The same link of all mice stands together, which compresses better.
            'weight': np.round(STEPS * np.log2(1 + np.stack(weights, 1))).astype(np.uint8),
            'strain': text(strains),
            'strains': np.array([strains.index(row['genotype']) for row in animals], np.uint8),
            'sex': text(sexes),
            'sexes': np.array([sexes.index(row['sex']) for row in animals], np.uint8),
            'block': text([f'{row["block"]} {row["hemisphere"]}' for row in blocks]),
            'blocks': block.astype(np.uint8),
        },
        maker=__file__,
        sources=[
            snapshot.source(
                'graspologic',
                '3.4.4',
                files,
                folder,
                licence='MIT',
                credit='Microsoft Corporation; Wang et al. (2020)',
                licence_file=snapshot.licence_file('graspologic', folder),
            )
        ],
        changes=f'Weights rounded to 1/{STEPS} of their base-2 logarithm, as one triangle.',
    )


def larva(folder):
    base = folder / 'graspologic' / 'datasets' / 'drosophila'
    columns, files = {}, []
    for side in ('left', 'right'):
        synapses, cells = base / f'{side}_adjacency.csv', base / f'{side}_cell_labels.csv'
        files += [synapses, cells]
        columns[side] = np.loadtxt(synapses, int).astype(np.uint8)
        assert (columns[side] == np.loadtxt(synapses, int)).all()
        columns[f'{side}_cell'] = np.frombuffer(''.join(cells.read_text().split()).encode(), 'S1')
    snapshot.arrays(
        'larva',
        columns,
        maker=__file__,
        sources=[
            snapshot.source(
                'graspologic',
                '3.4.4',
                files,
                folder,
                licence='MIT',
                credit='Microsoft Corporation; Eichler et al. (2017)',
                licence_file=snapshot.licence_file('graspologic', folder),
            )
        ],
        changes='None but the format.',
    )


def department(folder):
    file = folder / 'uunet' / 'data' / 'aucs.mpx'
    parts = [part.splitlines() for part in file.read_text().split('#')]
    actors, edges = (
        [line.split(',') for line in next(p for p in parts if p[:1] == [name])[1:] if line]
        for name in ('ACTORS', 'EDGES')
    )
    person = [actor for actor, *_ in actors]
    layer = sorted({kind for *_, kind in edges})
    groups = sorted({group for _, group, _ in actors if len(group) == 2 and group != 'NA'})
    roles = sorted({role for *_, role in actors if role != 'NA'})
    links = {(layer.index(k), *sorted((person.index(a), person.index(b)))) for a, b, k in edges}
    place = lambda names, name: names.index(name) if name in names else -1
    snapshot.arrays(
        'department',
        {
            'layer': text(layer),
            'edges': np.array(sorted(links), np.uint8),
            'group': text(groups),
            'groups': np.array([place(groups, group) for _, group, _ in actors], np.int8),
            'role': text(roles),
            'roles': np.array([place(roles, role) for *_, role in actors], np.int8),
        },
        maker=__file__,
        sources=[
            snapshot.source(
                'uunet',
                '2.2.1',
                [file],
                folder,
                licence='Apache-2.0',
                credit='Uppsala University Information Laboratory; Rossi and Magnani (2015)',
                licence_file=snapshot.licence_file('uunet', folder),
            )
        ],
        changes='Links once, without direction; people of two groups have none.',
    )


def triples(folder):
    base = folder / 'pykeen' / 'datasets'
    columns, files = {}, []
    for name in ('umls', 'kinships', 'nations'):
        parts = []
        for split in ('train', 'valid', 'test'):
            files.append(base / name / f'{split}.txt')
            parts.append([line.split('\t') for line in files[-1].read_text().splitlines()])
        facts = [fact for part in parts for fact in part]
        entities = sorted({end for head, _, tail in facts for end in (head, tail)})
        relations = sorted({relation for _, relation, _ in facts})
        columns[f'{name}_entity'], columns[f'{name}_relation'] = text(entities), text(relations)
        for split, part in zip(('train', 'validation', 'test'), parts, strict=True):
            codes = [[entities.index(h), relations.index(r), entities.index(t)] for h, r, t in part]
            columns[f'{name}_{split}'] = np.array(codes, np.uint8)
    snapshot.arrays(
        'triples',
        columns,
        maker=__file__,
        sources=[
            snapshot.source(
                'pykeen',
                '1.11.1',
                files,
                folder,
                licence='MIT',
                credit='PyKEEN Project Team; Kok and Domingos (2007) for the sets',
                licence_file=snapshot.licence_file('pykeen', folder),
            )
        ],
        changes='Names as codes; the splits are those of the package.',
    )


def table(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def text(strings):
    """Strings as an array of bytes, one a line."""
    return np.frombuffer('\n'.join(strings).encode(), np.uint8)


if __name__ == '__main__':
    main()
