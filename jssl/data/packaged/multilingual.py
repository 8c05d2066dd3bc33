"""Real texts in many languages: they need the extra 'language'."""

import importlib.util
import pathlib
import struct

import numpy as np

from jssl.data.readers import SPLITS, check_split, grouped_split, stratified_split
from jssl.errors import Refusal

LANGUAGES = ('de', 'es', 'fr', 'ja', 'ru')


def translations(split: str, *, languages: tuple[str, ...] = LANGUAGES) -> dict[str, np.ndarray]:
    """What Django's pages say, in English and in other languages, sentence by sentence.

    Args:
      split: train, validation or test, by the English sentence.
      languages: Django's codes of them, of about a hundred: 'ar', 'ar_DZ', 'zh_Hans' ...

    Returns:
      text (object [N]), English, of two words or more; and, under the code of each language,
      the same in that language (object [N]). Sentences that one of them lacks are left out.

    Django's translators (djangoproject.com).
    """
    check_split(split, SPLITS, 'translations')
    (root,) = importlib.util.find_spec('django').submodule_search_locations
    found = {}
    for language in languages:
        files = sorted(pathlib.Path(root).glob(f'**/locale/{language}/LC_MESSAGES/django.mo'))
        if not files:
            raise Refusal(f'translations has no language {language!r}: give codes as Django does')
        said = [pair for file in files for pair in _messages(file.read_bytes()).items()]
        found[language] = dict(reversed(said))  # the first file that has it counts
    text = sorted(set.intersection(*map(set, found.values())))
    rows = stratified_split(np.zeros(len(text), int), [t.encode() for t in text], split)
    columns = {'text': text} | {name: [said[t] for t in text] for name, said in found.items()}
    return {name: np.array(column, object)[rows] for name, column in columns.items()}


def _messages(raw) -> dict[str, str]:
    """{English: translation} of a compiled catalogue (GNU gettext's MO), of a plural the first."""
    count, ours, theirs = struct.unpack('<3I', raw[8:20])
    parts = []
    for table in (ours, theirs):
        places = struct.iter_unpack('<2I', raw[table : table + 8 * count])
        whole = (raw[start : start + length].decode() for length, start in places)
        parts.append([text.split('\4')[-1].split('\0')[0].strip() for text in whole])
    return {text: said for text, said in zip(*parts, strict=True) if ' ' in text and said}


def lexicon(split: str, *, languages: tuple[str, ...] = LANGUAGES) -> dict[str, np.ndarray]:
    """Names of countries and of languages, in English and in other languages.

    Args:
      split: train, validation or test, of either kind.
      languages: codes of Unicode's locales, of several hundred: 'de', 'sw', 'zh_Hant' ...

    Returns:
      text (object [N]), English; under the code of each language, the same in that language
      (object [N]); label int32 [N], 1 is a language. Names that one of them lacks are left out.

    Common Locale Data Repository (Unicode Consortium).
    """
    import babel  # of the extra

    check_split(split, SPLITS, 'lexicon')
    try:
        locales = [babel.Locale.parse(name) for name in ('en', *languages)]
    except (babel.UnknownLocaleError, ValueError) as error:
        raise Refusal(f'lexicon: {error}') from None
    rows = []
    for label, kind in enumerate(('territories', 'languages')):
        tables = [getattr(locale, kind) for locale in locales]
        codes = sorted(set.intersection(*map(set, tables)))
        rows += [(label, *(table[code] for table in tables)) for code in codes]
    label, *texts = zip(*{row[1]: row for row in reversed(rows)}.values(), strict=True)
    label = np.array(label, np.int32)
    chosen = stratified_split(label, [text.encode() for text in texts[0]], split)
    columns = dict(zip(('text', *languages), texts, strict=True))
    columns = {name: np.array(column, object)[chosen] for name, column in columns.items()}
    return {**columns, 'label': label[chosen]}


def dialogues(split: str, *, language: str = 'english') -> dict[str, np.ndarray]:
    """Short conversations between a person and a machine, by topic.

    Args:
      split: train, validation or test; conversations that begin alike are in one.
      language: one of twenty-eight, 'english', 'german' ...

    Returns:
      text (object [N]), a turn a line; turns int32 [N]; label int32 [N], the topic, and topic
      (object [N]), its name.

    ChatterBot Language Training Corpus (Gunther Cox and others).
    """
    import yaml  # of the extra

    check_split(split, SPLITS, 'dialogues')
    (root,) = importlib.util.find_spec('chatterbot_corpus').submodule_search_locations
    files = sorted((pathlib.Path(root) / 'data' / language).glob('*.yml'))
    if not files:
        known = sorted(path.name for path in (pathlib.Path(root) / 'data').iterdir())
        raise Refusal(f'dialogues has no language {language!r}: choose {", ".join(known)}')
    found = {}
    for file in files:
        read = yaml.safe_load(file.read_text(encoding='utf-8'))['conversations']
        for turns in read:
            turns = [' '.join(str(turn).split()) for turn in turns]
            found.setdefault('\n'.join(turns), (turns[0].lower(), len(turns), file.stem))
    first, turns, topic = (np.array(c, object) for c in zip(*found.values(), strict=True))
    label = np.unique(topic.astype(str), return_inverse=True)[1].astype(np.int32)
    rows = grouped_split(label, [text.encode() for text in first], split)
    return {
        'text': np.array(list(found), object)[rows],
        'turns': turns[rows].astype(np.int32),
        'label': label[rows],
        'topic': topic[rows],
    }
