"""Makes tunes.jsonl.gz from an unpacked wheel of music21: fiddle tunes with the dance they are for.

pip download --no-deps music21 && unzip it into FOLDER
python tools/vendor/tunes.py FOLDER

Ryan's Mammoth Collection (1883) is out of copyright; volunteers wrote it in ABC notation.
"""

import argparse
import collections
import re
from pathlib import Path

import snapshot

CREDIT = (
    "Ryan's Mammoth Collection (1883), encoded by Ray Davies, John Walsh, Bob Puckette, "
    'John Chambers and others'
)
LEAST = 10  # tunes of a dance
FIELDS = re.compile('[KLMQ]:')  # those that the music needs: key, length, meter, tempo


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked wheel')
    folder = parser.parse_args().folder
    base = folder / 'music21' / 'corpus' / 'ryansMammoth'
    files = sorted(base.glob('*.abc'))
    tunes = {}
    for file in files:
        tune = read(file.read_text(encoding='utf-8'))
        tunes.setdefault(tune['text'], tune)
    known = collections.Counter(tune['dance'] for tune in tunes.values() if tune['dance'])
    snapshot.rows(
        'tunes',
        (tune for tune in tunes.values() if known[tune['dance']] >= LEAST),
        maker=__file__,
        sources=[
            snapshot.source(
                'music21',
                '10.5.1',
                files,
                folder,
                licence='public domain; music21 BSD-3-Clause',
                credit=CREDIT,
                licence_file=snapshot.licence_file('music21', folder),
            )
        ],
        changes='Title, dance and music; without remarks, and tunes of no dance or a rare one.',
    )


def read(text):
    """Title, dance and music of one tune in ABC notation."""
    lines = [line.split('%')[0].rstrip() for line in text.splitlines()]
    field = lambda name: next((x[2:].strip() for x in lines if x.startswith(f'{name}:')), '')
    music = [x for x in lines if x and (FIELDS.match(x) or not re.match('[A-Za-z]:', x))]
    dance = re.sub('slip ?jig', 'slip jig', field('R').lower()).removeprefix('highland ')
    return {'title': field('T'), 'dance': dance, 'text': '\n'.join(music)}


if __name__ == '__main__':
    main()
