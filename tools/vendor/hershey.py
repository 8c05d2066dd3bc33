"""Makes hershey.npz from an unpacked wheel of Hershey-Fonts: characters as strokes of a pen.

pip download --no-deps Hershey-Fonts && unzip it into FOLDER
python tools/vendor/hershey.py FOLDER
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import snapshot


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked wheel')
    folder = parser.parse_args().folder
    sys.path.insert(0, str(folder))
    from HersheyFonts import HersheyFonts

    fonts = HersheyFonts()
    names = sorted(fonts.default_font_names)
    found = {}  # strokes: (font, code); many fonts share their figures and signs
    for number, name in enumerate(names):
        fonts.load_default_font(name)
        for code, glyph in sorted(fonts.all_glyphs.items()):
            strokes = tuple(tuple(stroke) for stroke in glyph.strokes if len(stroke) > 1)
            if strokes:
                found.setdefault(strokes, (number, ord(code) if isinstance(code, str) else code))
    strokes = [stroke for glyph in found for stroke in glyph]
    snapshot.arrays(
        'hershey',
        {
            'font': np.frombuffer('\n'.join(names).encode(), np.uint8),
            'fonts': np.array([font for font, _ in found.values()], np.uint8),
            'code': np.array([code for _, code in found.values()], np.uint8),
            'strokes': np.array([len(glyph) for glyph in found], np.uint8),
            'length': np.array([len(stroke) for stroke in strokes], np.uint8),
            'points': np.array([point for stroke in strokes for point in stroke], np.int8),
        },
        maker=__file__,
        sources=[
            snapshot.source(
                'Hershey-Fonts',
                '2.1.0',
                [folder / 'HersheyFonts' / 'HersheyFonts.py'],
                folder,
                licence='MIT',
                credit='Attila Kolinger; fonts of A. V. Hershey, US National Bureau of Standards',
                licence_file=snapshot.licence_file('Hershey-Fonts', folder),
            )
        ],
        changes='Characters that are alike are kept once, of the first font by name.',
    )


if __name__ == '__main__':
    main()
