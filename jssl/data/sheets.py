"""Contact sheets: what the items of a set look like, told from the columns that it has."""

import textwrap

import matplotlib.collections
import matplotlib.figure
import numpy as np

ITEMS = 16  # shown of a set; of features, POINTS
POINTS = 512
FRAMES = 8  # of a clip; slices of a volume
CAPTIONS = ('caption', 'name', 'text', 'class_name', 'label')
TITLES = ('name', 'class_name', 'label')  # of a text
PARTS = ('part', 'segment', 'instance', 'label')
_COLOURS = 'tab20'


def sheet(
    columns: dict[str, np.ndarray], *, title: str = '', credit: str = ''
) -> matplotlib.figure.Figure:
    """Draws the first items of a set.

    Args:
      columns: {name: array [N, ...]}: the first of video, volume, image, points, wave, signal,
        edges, adjacency, text, tokens and feature that there is says how; without any, a table.
      title: above the items.
      credit: below them.

    Returns:
      The figure; it shows at most `ITEMS` items.

    Matplotlib: a 2D graphics environment (Hunter, 2007).
    """
    figure = matplotlib.figure.Figure(figsize=(10, 10), layout='constrained')
    names = {name.rstrip('s'): name for name in columns}  # points, edges, tokens
    kind = next((kind for kind in _KINDS if kind in names), None)
    if kind is None:
        _table(figure, columns)
    else:
        _KINDS[kind](figure, np.asarray(columns[names[kind]]), columns)
    figure.suptitle(title)
    figure.supxlabel(credit, fontsize='small')
    return figure


def _images(figure, image, columns):
    """A grid of images; if there are maps of depth, masks ..., they stand below their images."""
    maps = {
        name: np.asarray(column)
        for name, column in columns.items()
        if name != 'image' and np.ndim(column) < 5 and np.shape(column)[1:3] == image.shape[1:3]
    }
    if not maps:
        for i, ax in enumerate(_grid(figure, min(len(image), ITEMS))):
            _show(ax, image[i], _caption(columns, i))
        return
    count = min(len(image), FRAMES)
    figure.set_size_inches(10, 1 + 10 / FRAMES * (1 + len(maps)))
    rows = figure.subplots(1 + len(maps), count, squeeze=False)
    for row, (name, column) in zip(rows, {'image': image, **maps}.items(), strict=True):
        for i, ax in enumerate(row):
            _show(ax, column[i], _caption(columns, i) if name == 'image' else '')
        row[0].set_ylabel(name)


def _strips(figure, video, columns):
    """A row of frames to each clip, or of slices to each volume."""
    count, length = min(len(video), FRAMES), video.shape[1]
    places = np.linspace(0, length - 1, min(length, FRAMES)).round().astype(int)
    axes = figure.subplots(count, len(places), squeeze=False)
    for i in range(count):
        for ax, place in zip(axes[i], places, strict=True):
            caption = _caption(columns, i) if place == places[0] else ''
            _show(ax, video[i, place], caption, _range(video[i]))


def _clouds(figure, points, columns):
    """Points [P, 3] in perspective, coloured by their part or their height; [P, 2] in the plane."""
    parts = _per_point(points, columns)
    three = {'projection': '3d'} if points.shape[-1] == 3 else {}
    for i, ax in enumerate(_grid(figure, min(len(points), 9), **three)):
        cloud = points[i]
        colour = cloud[:, -1] if parts is None else parts[i]
        ax.scatter(*cloud.T, s=3, c=colour, cmap='viridis' if parts is None else _COLOURS)
        ax.set_aspect('equal')
        ax.set_axis_off()
        ax.set_title(_caption(columns, i), fontsize='small')


def _per_point(points, columns):
    """What each point [N, P] belongs to, by the first of some columns."""
    found = (np.asarray(columns[name]) for name in PARTS if name in columns)
    return next((column for column in found if column.shape == points.shape[:2]), None)


def _sounds(figure, wave, columns):
    """Spectrograms, loudness in decibels over 60."""
    for i, ax in enumerate(_grid(figure, min(len(wave), 9))):
        width = min(256, len(wave[i]))
        frames = np.lib.stride_tricks.sliding_window_view(wave[i], width)[:: width // 4]
        power = np.abs(np.fft.rfft(frames * np.hanning(width))) ** 2
        loudness = 10 * np.log10(power / (power.max() + 1e-12) + 1e-6)
        ax.imshow(loudness.T, origin='lower', aspect='auto', cmap='magma')
        _bare(ax, _caption(columns, i))


def _graphs(figure, edges, columns):
    """Graphs [N, E, 2], or one graph [E, 2], or [E, 3] with a layer in front."""
    several, edges = edges.ndim == 3, edges[..., -2:]
    for i, ax in enumerate(_grid(figure, min(len(edges), 9) if several else 1)):
        pairs = edges[i] if several else edges
        _graph(ax, pairs[(pairs >= 0).all(1)], _caption(columns, i) if several else '')


def _adjacencies(figure, adjacency, columns):
    """Graphs by their adjacency matrices [N, V, V], or one graph [V, V]; dense ones as matrices."""
    adjacency = adjacency if adjacency.ndim == 3 else adjacency[None]
    dense = (adjacency[0] != 0).mean() > 0.2
    for i, ax in enumerate(_grid(figure, min(len(adjacency), 9))):
        if dense:
            _show(ax, adjacency[i], _caption(columns, i))
        else:
            _graph(ax, np.argwhere(np.triu(adjacency[i])), _caption(columns, i))


def _graph(ax, edges, caption, most=300):
    """Nodes stand where the slowest waves of the Laplacian place them, around the middle."""
    nodes, edges = np.unique(edges, return_inverse=True)
    edges = edges.reshape(-1, 2)[(edges.reshape(-1, 2) < most).all(1)]
    count = min(len(nodes), most)
    laplacian = np.zeros((count, count))
    np.add.at(laplacian, tuple(edges.T), -1.0)
    laplacian += laplacian.T
    np.fill_diagonal(laplacian, 0)
    laplacian -= np.diag(laplacian.sum(1))
    place = np.linalg.eigh(laplacian)[1][:, 1:3].argsort(0).argsort(0)  # ranks spread them
    lines = matplotlib.collections.LineCollection(place[edges], colors='0.7', linewidths=0.5)
    ax.add_collection(lines)
    ax.scatter(*place.T, s=12)
    _bare(ax, caption)


def _texts(figure, text, columns):
    """The first three lines of each item, its name or label above."""
    paragraphs = []
    for i, item in enumerate(text[:12]):
        lines = [part for line in item.splitlines() for part in textwrap.wrap(line, 110)]
        paragraphs += [f'[{_caption(columns, i, TITLES)}]', *lines[:3], '']
    ax = figure.subplots()
    ax.set_axis_off()
    ax.text(0, 1, _plain('\n'.join(paragraphs)), va='top', fontsize=8, family='monospace')


def _tokens(figure, tokens, columns):
    """A row of numbers to each sequence, equal tokens in equal colours."""
    tokens = tokens[:ITEMS, :64].reshape(min(len(tokens), ITEMS), -1)[:, :64]
    ax = figure.subplots()
    ax.imshow(tokens % 20, cmap=_COLOURS, aspect='auto', alpha=0.5)
    for (row, column), token in np.ndenumerate(tokens):
        ax.text(column, row, token, ha='center', va='center', fontsize=6)
    ax.set_yticks(range(len(tokens)), [_caption(columns, i) for i in range(len(tokens))])
    ax.set_xlabel('position')


def _signals(figure, signal, columns):
    """Channels [N, T, C] over time."""
    for i, ax in enumerate(_grid(figure, min(len(signal), 9))):
        ax.plot(signal[i], linewidth=0.8)
        ax.set_title(_caption(columns, i), fontsize='small')


def _features(figure, features, columns):
    """The first two features of each item, and the first twenty as curves."""
    label = np.asarray(columns.get('label', np.zeros(len(features))))
    label = label if label.shape == (len(features),) else np.zeros(len(features))
    flat = features.reshape(len(features), -1)[:POINTS]
    scatter, curves = figure.subplots(2)
    scatter.scatter(
        flat[:, 0], flat[:, min(1, flat.shape[1] - 1)], s=8, c=label[:POINTS], cmap=_COLOURS
    )
    scatter.set(xlabel='feature 0', ylabel='feature 1')
    curves.plot(flat[:ITEMS, :64].T, linewidth=0.8)
    curves.set(xlabel='place among the features', ylabel=f'{min(len(flat), ITEMS)} items')


def _table(figure, columns):
    """The first rows of all columns that hold one value an item."""
    count = len(next(iter(columns.values())))
    single = {name: np.asarray(c) for name, c in columns.items() if np.shape(c) == (count,)}
    shown = dict(list(single.items())[:8])
    rows = list(zip(*(column[:ITEMS] for column in shown.values()), strict=True))
    cells = [[_plain(textwrap.shorten(_value(v), 24)) for v in row] for row in rows]
    ax = figure.subplots()
    ax.set_axis_off()
    ax.table(cells, colLabels=list(shown), loc='upper center')


def _value(value):
    return f'{value:.4g}' if isinstance(value, float | np.floating) else str(value)


def _plain(text):
    """Dollar signs would begin a formula."""
    return text.replace('$', r'\$')


def _grid(figure, count, **kind):
    side = int(np.ceil(np.sqrt(count)))
    axes = figure.subplots(-(-count // side), side, squeeze=False, subplot_kw=kind).ravel()
    for ax in axes[count:]:
        ax.set_axis_off()
    return axes[:count]


def _caption(columns, i, names=CAPTIONS):
    """What the item is called, by the first of some columns of one value an item."""
    found = (np.asarray(columns[name]) for name in names if name in columns)
    column = next((column for column in found if column.ndim == 1), None)
    return '' if column is None else _plain(textwrap.shorten(_value(column[i]), 40))


def _show(ax, array, caption='', limits=None):
    """A colour image, RGBA over white; or a map: grey bytes and masks, ids, or a heat map."""
    channels = array.shape[2] if array.ndim == 3 else 1
    low, high = _range(array) if limits is None else limits
    if channels == 1:
        colours = {'u': 'gray', 'b': 'gray', 'i': _COLOURS}.get(array.dtype.kind, 'viridis')
        ax.imshow(array.reshape(array.shape[:2]), colours, vmin=low, vmax=high)
    elif channels == 2:
        ax.imshow(np.hypot(*np.moveaxis(array, 2, 0)), 'viridis')  # flow: how fast
    elif array.dtype == np.uint8:
        ax.imshow(array if channels <= 4 else array[..., :3])  # of many bands, the colours
    else:
        ax.imshow(np.clip((array[..., :3] - low) / max(high - low, 1e-6), 0, 1))
    _bare(ax, caption)


def _range(array):
    """Where nearly all values lie; of ids, all; of bytes and truths, all that there could be."""
    if array.dtype == np.uint8:
        return 0, 255
    if array.dtype == bool:
        return False, True
    if array.dtype.kind == 'i':
        return array.min(), array.max()
    return np.percentile(array, (1, 99))


def _bare(ax, caption):
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(caption, fontsize='small')


_KINDS = {
    'video': _strips,
    'volume': _strips,
    'image': _images,
    'point': _clouds,
    'wave': _sounds,
    'sound': _sounds,
    'signal': _signals,
    'observation': _signals,
    'edge': _graphs,
    'adjacency': _adjacencies,
    'text': _texts,
    'token': _tokens,
    'feature': _features,
}
