"""The command line: `jssl list|show|run|plan|data|probe|zoo`, and `main()` for an experiment's own
module."""

import json
import os
import pathlib
import sys

from jssl import sets
from jssl.errors import Refusal, nearest
from jssl.experiment import config as configs
from jssl.experiment import registry, small_models

USAGE = """\
jssl: learning with few or no labels, a paper an experiment

  jssl list [--family=FAMILY]            the experiments
  jssl show SLUG                         docstring, presets, last measured verdict
  jssl run SLUG [--preset=cpu] [flags]   run one (jssl run SLUG --help lists its flags)
  jssl plan SLUG --mesh=data:256         compile its paper preset for that many devices, run nothing
                                         (--config.FIELD=VALUE changes it, as in run)
  jssl data [--modality=image]           the data sets
  jssl data NAME [--split=train] [--out=NAME.png]
                                         its record, and a contact sheet of it
  jssl probe --weights=FILE --model=vit_small_patch16 --data=digits
                                         linear probe and kNN of a backbone from a safetensors file
                                         (--size=224 --pixels=imagenet: what it is shown)
  jssl zoo                               small models of our own, and how good they are
  jssl zoo NAME [--FIELD=VALUE]          train one, or read it, and say how good it is

SLUG is a file name under experiments/. list, show, data and zoo answer without importing jax; a
contact sheet takes what the set takes, a small model what its training takes."""


def main(arguments: list[str] | None = None):
    """`jssl ...`; or, called from an experiment's own module, that experiment."""
    module = sys.modules['__main__']
    own = getattr(getattr(module, '__spec__', None), 'name', '') or ''
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if own.startswith('experiments.'):
            run(registry.find(own), arguments, module)
        else:
            _command(arguments)
    except Refusal as refusal:
        print(f'jssl: {refusal}', file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # `jssl list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _command(arguments):
    match arguments:
        case [] | ['-h'] | ['--help'] | ['help']:
            print(USAGE)
        case ['list', *flags]:
            family = _flags(flags, {'family': None})['family']
            for entry in registry.entries(family):
                print(f'{entry.family}/{entry.slug:32} {entry.title}')
        case ['show', slug]:
            print(_show(registry.find(slug)))
        case ['run', slug, *flags]:
            entry = registry.find(slug)
            if {'-h', '--help', '-help'} & set(flags):
                print(registry.help_text(entry))
            else:
                run(entry, flags)
        case ['plan', slug, *flags]:
            entry = registry.find(slug)
            known = {'mesh': 'data:8', 'devices': None, 'preset': 'paper'}
            values = _flags(flags, known | dict.fromkeys(_config_flags(entry)))
            from jssl.experiment import planner

            own = {name: values[name] for name in known}
            print(planner.plan(entry, _changes(entry, values), **own))
        case ['data', name, *flags] if not name.startswith('--'):
            _sheet(name, **_flags(flags, {'split': None, 'out': None}))
        case ['data', *flags]:
            print(_listing(_flags(flags, {'modality': None})['modality']))
        case ['probe', *flags]:
            needed = dict.fromkeys(('weights', 'model', 'data'))
            _probe(**_flags(flags, needed | {'size': '224', 'pixels': 'imagenet'}))
        case ['zoo']:
            print(small_models.listing())
        case ['zoo', name, *flags] if not name.startswith('--'):
            from jssl.train import runtime

            runtime.configure()
            fields = [field for field, *_ in small_models.entry(name).fields]
            changes = _flags(flags, dict.fromkeys(fields))
            changes = {field: text for field, text in changes.items() if text is not None}
            print(small_models.show(name, changes))
        case [('show' | 'run' | 'plan') as verb]:
            raise Refusal(f'{verb} needs the name of an experiment; `jssl list` shows them')
        case [verb, *_]:
            verbs = ('list', 'show', 'run', 'plan', 'data', 'probe', 'zoo')
            raise Refusal(f'{verb!r} is not a command{nearest(verb, verbs)}; see jssl --help')


def _show(entry) -> str:
    lines = [entry.docstring, '', 'presets: ' + ', '.join(configs.PRESETS)]
    lines += [f'run:     python -m {entry.module} --preset=cpu', '']
    file = registry.ROOT / 'experiments' / 'ledger.json'
    ledger = json.loads(file.read_text()) if file.exists() else {}
    if entry.slug not in ledger:
        return '\n'.join([*lines, 'not measured yet: tools/ledger --only=' + entry.slug])
    last = ledger[entry.slug]
    lines.append(
        f'measured {last["date"]} in {last["seconds"]:.0f} s at {last["commit"]}: {last["verdict"]}'
    )
    return '\n'.join([*lines, *(f'{c["verdict"]:>14}  {c["text"]}' for c in last['claims'])])


def _listing(modality) -> str:
    found = {known.modality for known in sets.table().values()}
    if modality and modality not in found:
        raise Refusal(f'--modality={modality} has no sets{nearest(modality, found)}')
    return sets.listing(modality)


def _sheet(name, split, out):
    """Prints the record of a set, then writes its contact sheet and prints where."""
    known = sets.table().get(name)
    split = split or (next(iter(known.sizes)) if known else 'train')
    if known:
        print(sets.record(known) + '\n', flush=True)
    from jssl import data
    from jssl.data import sheets

    options = {}
    if known and known.origin == 'drawn':
        options = {'count': sheets.POINTS if known.modality == 'table' else sheets.ITEMS}
    elif known and known.origin in ('tfds', 'folder'):
        options = {'size': known.shape[0]}
    found = data.load(name, split, **options)
    file = pathlib.Path(out or f'{name.replace(":", "_").replace("/", "_")}.png')
    if isinstance(found, data.Records):
        found = data.columns(data.rows(found, slice(sheets.ITEMS)))
    credit = sets.credit(known) if known else ''
    figure = sheets.sheet(found, title=f'{name}, {split}', credit=credit)
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:  # no such folder, no such format
        raise Refusal(f'--out={file} cannot be written: {error}') from None
    print(file)


def _probe(weights, model, data, size, pixels):
    """Prints how well a linear classifier and nearest neighbours read labels off a backbone."""
    for flag, value in (('weights', weights), ('model', model), ('data', data)):
        if not value:
            raise Refusal(f'probe needs --{flag}=; see jssl --help')
    from jax.tree_util import Partial

    from jssl import evaluate, models, zoo
    from jssl.data import load
    from jssl.train import runtime

    runtime.configure(devices=1)
    if pixels not in zoo.PIXELS:
        raise Refusal(f'--pixels={pixels} is not known{nearest(pixels, zoo.PIXELS)}')
    method = {models.ViT: '__call__', models.ResNet: '__call__', models.CLIP: 'encode_image'}.get(
        type(zoo.backbone(model))
    )
    if not method:
        raise Refusal(f'--model={model} makes no features of images: probe a ViT, ResNet or CLIP')
    module, variables = zoo.load(model, weights)
    patch = getattr(getattr(module, 'image', module), 'patch', 1)
    if not size.isdecimal() or int(size) < 1 or int(size) % patch:
        raise Refusal(f'--size={size} is not a number of pixels that is a multiple of {patch}')
    size = int(size)
    known = sets.table().get(data)
    on_disk = (known.origin if known else data.partition(':')[0]) in ('tfds', 'folder')
    parts = [
        load(data, split, **({'size': size} if on_disk else {})) for split in ('train', 'test')
    ]
    if {'image', 'label'} - set(getattr(parts[0], 'fields', parts[0])):
        raise Refusal(f'--data={data} has no images with labels')

    def encode(variables, images):
        images = zoo.prepare(images, size=size, pixels=pixels)
        return module.apply(variables, images, method=method)

    h, g = (evaluate.features(Partial(encode, variables), p['image'], batch=64) for p in parts)
    split = h, parts[0]['label'], g, parts[1]['label']
    print(f'{model} at {size} x {size} pixels: {h.shape[1]} features')
    print(f'{data}: {len(h)} train, {len(g)} test')
    for score in (evaluate.linear_probe(*split), evaluate.knn(*split, k=min(20, len(h)))):
        print(f'{score.protocol:16}{score:.4f}')


def _flags(arguments, defaults: dict) -> dict:
    """Simple --name=value flags, for commands that must not import anything."""
    values = dict(defaults)
    for argument in arguments:
        name, separator, value = argument.removeprefix('--').partition('=')
        if not argument.startswith('--') or name not in defaults or not separator:
            hint = nearest(name, defaults)
            raise Refusal(f'{argument} is not a flag of the form --name=value{hint}')
        values[name] = value
    return values


def run(entry: registry.Entry, arguments: list[str], module=None):
    """Runs an experiment with absl flags that are made now, so that modules define none."""
    flags, changes = parse(entry, arguments)
    from jssl.train import runtime

    runtime.configure(
        heap=flags.heap,
        devices=flags.devices,
        cache=None if flags.cache == 'none' else flags.cache,
        distributed=flags.distributed,
        optimise=flags.preset != 'smoke',
    )
    from jssl.data import records
    from jssl.experiment.context import Context

    module = module or registry.load(entry)
    config = configs.override(configs.preset(module, flags.preset), changes)
    checkpoint = None
    if flags.workdir:
        checkpoint = {'every': flags.checkpoint_every, 'seconds': flags.checkpoint_seconds}
    ctx = Context(
        config,
        slug=entry.slug,
        title=entry.title,
        preset=flags.preset,
        seed=flags.seed,
        mesh=flags.mesh,
        folder=pathlib.Path(flags.workdir) if flags.workdir else None,
        checkpoint=checkpoint,
        progress=not flags.quiet,
    )
    with records.default_on_error(flags['data.on_error'].value):
        module.run(config, ctx)


def parse(entry: registry.Entry, arguments: list[str]):
    """(the house's flags, {field: text} of the --config.FIELD ones)."""
    from absl import flags as absl_flags

    values = absl_flags.FlagValues()
    home = {'flag_values': values}
    absl_flags.DEFINE_string('preset', 'cpu', '', **home)
    absl_flags.DEFINE_string('workdir', None, '', **home)
    absl_flags.DEFINE_integer('seed', 0, '', **home)
    absl_flags.DEFINE_string('mesh', None, '', **home)
    absl_flags.DEFINE_integer('devices', None, '', lower_bound=1, **home)
    absl_flags.DEFINE_integer('checkpoint_every', None, '', lower_bound=1, **home)
    absl_flags.DEFINE_float('checkpoint_seconds', 300.0, '', lower_bound=0, **home)
    absl_flags.DEFINE_bool('heap', True, '', **home)
    absl_flags.DEFINE_string('cache', '', '', **home)
    absl_flags.DEFINE_bool('distributed', False, '', **home)
    absl_flags.DEFINE_enum('data.on_error', 'refuse', ['refuse', 'skip'], '', **home)
    absl_flags.DEFINE_bool('quiet', False, '', **home)
    for flag in _config_flags(entry):
        absl_flags.DEFINE_string(flag, None, '', **home)
    try:
        rest = values([entry.slug, *arguments])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        known = [name for name in values if name != 'help']
        hint = nearest(error.flagname, known)
        raise Refusal(f'--{error.flagname} is not a flag of {entry.slug}{hint}') from None
    except absl_flags.Error as error:
        raise Refusal(f'{error}'.splitlines()[0]) from None
    if rest:
        raise Refusal(f'{rest[0]!r} is not a flag; flags begin with --')
    return values, _changes(entry, {flag: values[flag].value for flag in _config_flags(entry)})


def _config_flags(entry) -> list[str]:
    return [f'config.{name}' for name, *_ in registry.every_field(entry)]


def _changes(entry, values: dict) -> dict[str, str]:
    """The fields that were given on the command line, as text."""
    given = {flag.removeprefix('config.'): values[flag] for flag in _config_flags(entry)}
    return {name: text for name, text in given.items() if text is not None}


if __name__ == '__main__':
    main()
