"""Makes films.npz, routes.npz and cities.npz from a wheel of bokeh-sampledata 2026.1 or newer.

    pip download --no-deps bokeh-sampledata && unzip it into FOLDER
    python tools/vendor/films.py FOLDER

films.npz    films with year, genres, country, language, directors and cast (Wikidata)
routes.npz   who flies where in July 2026: airlines are layers of one network of airports
cities.npz   where cities are
"""

import argparse
import collections
import csv
import datetime
import gzip
import io
import sqlite3
from pathlib import Path

import numpy as np
import snapshot

FILMS = 2  # an actor of fewer films links nothing
EPOCH = datetime.date(1940, 1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked wheel')
    folder = parser.parse_args().folder
    films(folder)
    routes(folder)
    cities(folder)


def films(folder):
    file = folder / 'bokeh_sampledata' / '_data' / 'movies.db'
    query = 'select ID, imdbID, Title, Year, Released, Genre, Country, Language, Director, "Cast" '
    with sqlite3.connect(f'file:{file}?mode=ro', uri=True) as base:
        found = base.execute(query + 'from omdb order by ID').fetchall()
    found = list({row[1]: row for row in found}.values())  # two films are there twice
    columns = list(zip(*found, strict=True))
    genres, countries, languages, directors, casts = (
        [list(dict.fromkeys(name for name in (cell or '').split(', ') if name)) for cell in column]
        for column in columns[5:]
    )
    genre = names(genres)
    country, language = (names([cell[:1] for cell in cells]) for cells in (countries, languages))
    director, actor = names(directors), names(casts, FILMS)
    released = [(datetime.date.fromisoformat(day) - EPOCH).days for day in columns[4]]
    snapshot.arrays(
        'films',
        {
            'title': text(columns[2]),
            'year': np.array(columns[3], np.uint16),
            'released': np.array(released, np.uint16),
            'genre': text(genre),
            'genres': np.packbits([[name in cell for name in genre] for cell in genres], axis=1),
            'country': text(country),
            'countries': first(countries, country),
            'language': text(language),
            'languages': first(languages, language),
            'director': text(director),
            **links('directed', directors, director),
            'actor': text(actor),
            **links('acted', casts, actor),
        },
        maker=__file__,
        sources=[record(folder, [file], 'CC0-1.0', 'Wikidata contributors', 'CC0-1.0.txt')],
        changes=f'Columns as codes; actors of fewer than {FILMS} of the films left out; the first '
        'country and language alone.',
    )


def routes(folder):
    base = folder / 'bokeh_sampledata' / '_data'
    with gzip.open(base / 'routes.csv.gz', 'rt') as file:
        flown = list(csv.DictReader(file))
    airports = csv.DictReader(io.StringIO((base / 'airports.csv').read_text()))
    known = {row['IATA']: row for row in airports}
    used = sorted({row[end] for row in flown for end in ('Source', 'Destination')})
    airline = sorted({row['Airline'] for row in flown})
    edges = {
        (airline.index(row['Airline']), used.index(row['Source']), used.index(row['Destination']))
        for row in flown
    }
    place = [[float(known[code][name]) for name in ('Latitude', 'Longitude')] for code in used]
    credit = 'OurAirports contributors; US Department of Transportation, Bureau of Transportation '
    files = [base / 'routes.csv.gz', base / 'airports.csv']
    snapshot.arrays(
        'routes',
        {
            'airline': text(airline),
            'airport': text(used),
            'city': text([known[code]['City'] for code in used]),
            'place': np.array(place, np.float32),
            'edges': np.array(sorted(edges), np.uint16),
        },
        maker=__file__,
        sources=[record(folder, files, 'public domain', credit + 'Statistics', 'README.md')],
        changes='Distinct (airline, origin, destination); airports without a route left out.',
    )


def cities(folder):
    file = folder / 'bokeh_sampledata' / '_data' / 'world_cities.csv.gz'
    with gzip.open(file, 'rt', encoding='utf-8') as lines:
        rows = list(csv.DictReader(lines))
    place = np.array([[float(row['lat']), float(row['lng'])] for row in rows])
    order = np.lexsort(place.T)  # neighbours stand together, which compresses better
    snapshot.arrays(
        'cities',
        {
            'place': np.round(100 * place[order]).astype(np.int16),
            'name': text([rows[i]['name'] for i in order]),
        },
        maker=__file__,
        sources=[record(folder, [file], 'CC-BY-3.0', 'GeoNames (geonames.org)', 'CC-BY-3.0.txt')],
        changes='Places rounded to 0.01 degrees, in the order of their longitudes.',
    )


def record(folder, files, licence, credit, name):
    (info,) = folder.glob('*.dist-info')
    return snapshot.source(
        'bokeh-sampledata',
        info.name.split('-')[1].removesuffix('.dist'),
        files,
        folder,
        licence=licence,
        credit=credit,
        licence_file=info / 'licenses' / 'licenses' / name,
        copied_as=name.lower().replace('readme.md', 'bokeh-sampledata.txt'),
    )


def names(cells, least=1):
    """Names in many cells, the commonest first; those of fewer than `least` cells left out."""
    count = collections.Counter(name for cell in cells for name in cell)
    return sorted((n for n in count if count[n] >= least), key=lambda n: (-count[n], n))


def text(strings):
    """Strings as an array of bytes, one a line."""
    assert not any('\n' in each for each in strings)
    return np.frombuffer('\n'.join(strings).encode(), np.uint8)


def first(cells, known):
    """Place of each cell's first name among the known ones; 255 where it is empty."""
    place = {name: i for i, name in enumerate(known)}
    assert len(known) < 255
    return np.array([place[cell[0]] if cell else 255 for cell in cells], np.uint8)


def links(name, cells, known):
    """Places of each cell's names, cell after cell in order, and how many each cell has."""
    place = {name: i for i, name in enumerate(known)}
    found = [sorted(place[name] for name in cell if name in place) for cell in cells]
    flat = [each for cell in found for each in cell]
    return {
        name: np.array(flat, np.uint16),
        f'{name}_count': np.array([*map(len, found)], np.uint16),
    }


if __name__ == '__main__':
    main()
