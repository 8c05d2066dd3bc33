"""The house's pictures: enough for a report, none of it in an experiment."""

import math

import numpy as np


def _axes(count=1, width=4.2, height=3.2):
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    columns = min(count, 3)
    rows = math.ceil(count / columns)
    size = (width * columns, height * rows)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout='constrained')
    for axis in axes.flat[count:]:
        axis.axis('off')
    return figure, axes.flat[:count]


def measurements(report):
    """A panel per metric: every seed a dot, the mean a bar, a claim's verdict in the title."""
    metrics = list(
        dict.fromkeys(k for r in report.rows for k, v in r.items() if isinstance(v, float))
    )
    figure, axes = _axes(len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        groups = {}
        for row in report.rows:
            if metric in row:
                factors = [
                    str(v) for k, v in row.items() if k != 'seed' and not isinstance(v, float)
                ]
                groups.setdefault(' '.join(factors), []).append(row[metric])
        for place, values in enumerate(groups.values()):
            axis.barh(place, np.mean(values), color='0.85')
            axis.plot(values, [place] * len(values), 'o', color='C0', markersize=4, alpha=0.7)
        axis.set_yticks(range(len(groups)), list(groups), fontsize=7)
        axis.invert_yaxis()
        axis.set_title(report.protocols.get(metric, metric), fontsize=9)
        axis.tick_params(axis='x', labelsize=7)
    figure.suptitle(f'{report.slug} ({report.preset}): {report.verdict}', fontsize=10)
    return figure


def curves(lines: dict, *, x='step', y='', log_x=False, log_y=False, title=''):
    """Lines {label: (xs, ys)} in one panel, or {panel: {label: (xs, ys)}} in several."""
    panels = lines if all(isinstance(v, dict) for v in lines.values()) else {title: lines}
    figure, axes = _axes(len(panels))
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        for label, (xs, ys) in panel.items():
            axis.plot(xs, ys, label=label, linewidth=1.2)
        axis.set(xlabel=x, ylabel=y, title=name)
        if log_x:
            axis.set_xscale('log')
        if log_y:
            axis.set_yscale('log')
        axis.legend(fontsize=7)
    return figure


def points(panels: dict, *, x='', y=''):
    """Scatter plots {panel: (xy [N, 2], colours [N] or None)}."""
    figure, axes = _axes(len(panels))
    for axis, (name, (xy, colours)) in zip(axes, panels.items(), strict=True):
        axis.scatter(*np.asarray(xy).T, c=colours, s=6, cmap='tab10')
        axis.set(xlabel=x, ylabel=y, title=name)
    return figure


def images(rows: dict, *, columns: int | None = None):
    """Rows of pictures {label: [N, H, W] or [N, H, W, C]} on one scale of 0 to 1 (or 0 to 255)."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    count = columns or max(len(v) for v in rows.values())
    figure, axes = pyplot.subplots(
        len(rows), count, figsize=(0.7 * count + 1, 0.75 * len(rows)), squeeze=False
    )
    for line, (label, pictures) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, pictures, strict=False):
            picture = np.asarray(picture, np.float32).squeeze()
            scale = 255 if picture.max() > 1.5 else 1
            axis.imshow(np.clip(picture / scale, 0, 1), cmap='gray', vmin=0, vmax=1)
        for axis in line:
            axis.set_axis_off()
        line[0].set_title(label, fontsize=8, loc='left')
    figure.tight_layout(pad=0.3)
    return figure
