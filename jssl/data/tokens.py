"""Tokens of text: byte pairs, bytes or characters; and documents as one stream cut into rows.

vocabulary = tokens.train(texts, 512)             # or tokens.gpt2()
tokens.decode(vocabulary, tokens.encode(vocabulary, 'text')) == 'text'
train = tokens.packed(vocabulary, texts, 128)     # {'tokens': int32 [N, 128], 'document': ...}
"""

import collections
import functools
import heapq
import itertools
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jssl.data import vendored

# Pairs are merged within these pieces alone: a word or some digits or some signs, each with the
# space before it, or spaces. Letters beyond ASCII are bytes from 128. Together they are all bytes.
PIECES = re.compile(
    rb' ?[A-Za-z_\x80-\xff]+| ?[0-9]{1,3}| ?[^\sA-Za-z0-9_\x80-\xff]+|\s+(?!\S)|\s', re.DOTALL
)


class Vocabulary(NamedTuple):
    """What tokens stand for: `pieces`, then the special ones by name.

    `merges` are the pairs of tokens that became tokens 256, 257, ..., the first 256 being bytes;
    None where every piece is a character. Pairs lie within what `pattern` finds, in bytes or in
    strings.
    """

    pieces: tuple[bytes, ...]
    merges: tuple[tuple[int, int], ...] | None
    special: tuple[str, ...]
    pattern: re.Pattern = PIECES

    @property
    def size(self) -> int:
        """V: tokens are 0 ... V - 1."""
        return len(self.pieces) + len(self.special)

    def token(self, name: str) -> int:
        """A special token: `vocabulary.token('end')`."""
        return len(self.pieces) + self.special.index(name)


def bytewise(*, special: Sequence[str] = ('end',)) -> Vocabulary:
    """Every byte a token.

    Args:
      special: names of further tokens, after the bytes.

    Returns:
      A vocabulary of 256 tokens and the special ones.

    ByT5: Towards a Token-Free Future (Xue et al., 2022).
    """
    return Vocabulary(tuple(bytes([b]) for b in range(256)), (), tuple(special))


def characterwise(texts: Iterable[str], *, special: Sequence[str] = ('end',)) -> Vocabulary:
    """Every character of some texts a token; there is none for other characters.

    Args:
      texts: strings.
      special: names of further tokens, after the characters.

    Returns:
      A vocabulary of the characters, in order of their code points, and the special tokens.

    Generating Text with Recurrent Neural Networks (Sutskever et al., 2011).
    """
    characters = sorted(set().union(*texts))
    return Vocabulary(tuple(map(_bytes, characters)), None, tuple(special))


def train(
    texts: Iterable[str | bytes], size: int, *, special: Sequence[str] = ('end',)
) -> Vocabulary:
    """Byte pairs: the commonest pair of neighbouring tokens becomes a token, again and again.

        a, b = argmax_(a, b) count(a b),   then every a b becomes one new token

    Of equally common pairs the one with the smaller tokens is merged. Pairs lie within words.

    Args:
      texts: strings, or bytes.
      size: V, of the whole vocabulary; fewer where nothing is left to merge.
      special: names of further tokens, after all others.

    Returns:
      A vocabulary of 256 bytes, the merged tokens and the special ones.

    Neural Machine Translation of Rare Words with Subword Units (Sennrich et al., 2016).
    """
    vocabulary = bytewise(special=special)
    if size < vocabulary.size:
        raise ValueError(f'size must be at least {vocabulary.size}, got {size}')
    counts = collections.Counter(piece for text in texts for piece in _pieces(PIECES, text))
    words, counts = [list(piece) for piece in counts], list(counts.values())
    common, places = collections.Counter(), collections.defaultdict(set)
    for place, (word, count) in enumerate(zip(words, counts, strict=True)):
        for pair in itertools.pairwise(word):
            common[pair] += count
            places[pair].add(place)
    heap = [(-count, pair) for pair, count in common.items()]
    heapq.heapify(heap)
    pieces, merges = list(vocabulary.pieces), []
    while heap and len(pieces) + len(special) < size:
        count, pair = heapq.heappop(heap)
        if common[pair] != -count or not count:
            continue  # it has been counted anew since
        change = collections.Counter()
        for place in places.pop(pair):
            word, count = words[place], counts[place]
            words[place] = new = _merged(word, pair, len(pieces))
            if len(new) == len(word):
                continue
            for old in itertools.pairwise(word):
                change[old] -= count
            for more in itertools.pairwise(new):
                change[more] += count
                places[more].add(place)
        for each, difference in change.items():
            if difference:
                common[each] += difference
                heapq.heappush(heap, (-common[each], each))
        merges.append(pair)
        pieces.append(pieces[pair[0]] + pieces[pair[1]])
    return Vocabulary(tuple(pieces), tuple(merges), tuple(special))


def gpt2(*, special: Sequence[str] = ('end',)) -> Vocabulary:
    """The byte pairs of GPT-2, as published: 50,256 pieces.

    Args:
      special: names of further tokens; the first is GPT-2's <|endoftext|>, token 50256.

    Returns:
      A vocabulary whose first 256 tokens are bytes, in an order of its own. It encodes strings.

    Language Models are Unsupervised Multitask Learners (Radford et al., 2019).
    """
    pieces, merges, pattern = _gpt2()
    return Vocabulary(pieces, merges, tuple(special), pattern)


@functools.cache
def _gpt2():
    found = vendored.arrays('gpt2')
    pieces = [bytes([byte]) for byte in found['byte'].tolist()]
    merges = tuple(map(tuple, found['merge'].tolist()))
    for a, b in merges:
        pieces.append(pieces[a] + pieces[b])
    letter, number = (_characters_of(category) for category in 'LN')
    contractions, words = "'s|'t|'re|'ve|'m|'ll|'d", rf' ?[{letter}]+| ?[{number}]+'
    others = rf' ?[^\s{letter}{number}]+|\s+(?!\S)|\s+'
    return tuple(pieces), merges, re.compile('|'.join([contractions, words, others]))


def _characters_of(category):
    """Ranges of the characters of a Unicode category, for a pattern: Python has no \\p{L}."""
    mine = [unicodedata.category(chr(c))[0] == category for c in range(sys.maxunicode + 1)]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mine, [False]]).astype(np.int8)))
    return ''.join(f'{chr(a)}-{chr(b - 1)}' for a, b in edges.reshape(-1, 2).tolist())


def encode(vocabulary: Vocabulary, text: str | bytes) -> np.ndarray:
    """Tokens of a text.

    Args:
      vocabulary: of bytes, byte pairs or characters; the last refuses characters it lacks.
      text: a string, or bytes where the vocabulary is of bytes; not for `gpt2`.

    Returns:
      int32 [T], without special tokens.

    Neural Machine Translation of Rare Words with Subword Units (Sennrich et al., 2016).
    """
    return encode_all(vocabulary, [text])[0]


def encode_all(vocabulary: Vocabulary, texts: Iterable[str | bytes]) -> list[np.ndarray]:
    """Tokens of each of many texts: as `encode`, but a word that comes back costs nothing.

    Args:
      vocabulary, texts: as in `encode`.

    Returns:
      int32 [T] of each text.

    Neural Machine Translation of Rare Words with Subword Units (Sennrich et al., 2016).
    """
    if vocabulary.merges is None:
        return [_characters(vocabulary, text) for text in texts]
    token = {pair: 256 + rank for rank, pair in enumerate(vocabulary.merges)}
    byte, known = {piece[0]: t for t, piece in enumerate(vocabulary.pieces[:256])}, {}

    def word(piece):
        if piece not in known:
            known[piece] = _word([byte[b] for b in piece], token)
        return known[piece]

    return [
        np.array(
            [each for piece in _pieces(vocabulary.pattern, text) for each in word(piece)], np.int32
        )
        for text in texts
    ]


def decode(vocabulary: Vocabulary, tokens: Iterable[int]) -> str:
    """The text of some tokens; special ones say nothing.

    Args:
      vocabulary: that the tokens are of.
      tokens: integers [T]; those of a model may break a character, which becomes U+FFFD.

    Returns:
      A string: the very text that was encoded.

    Neural Machine Translation of Rare Words with Subword Units (Sennrich et al., 2016).
    """
    return decode_bytes(vocabulary, tokens).decode(errors='replace')


def decode_bytes(vocabulary: Vocabulary, tokens: Iterable[int]) -> bytes:
    """The bytes of some tokens, whether or not they are UTF-8: as `decode`."""
    pieces = vocabulary.pieces + (b'',) * len(vocabulary.special)
    return b''.join(pieces[token] for token in np.asarray(tokens).tolist())


def packed(
    vocabulary: Vocabulary, texts: Iterable[str | bytes], length: int
) -> dict[str, np.ndarray]:
    """Texts as rows of one stream of tokens: `pack` of their encodings and the token 'end'."""
    return pack(encode_all(vocabulary, texts), length, end=vocabulary.token('end'))


def pack(documents: Iterable[np.ndarray], length: int, *, end: int) -> dict[str, np.ndarray]:
    """Cuts documents, one after the other, into rows without padding.

        stream = d_0 end d_1 end ... d_n end,   tokens[i, t] = stream[i T + t]

    The last row is filled up with the beginning of the stream, so no token is lost.

    Args:
      documents: integers [T_i] each.
      length: T, of a row.
      end: token after every document; it counts as part of it.

    Returns:
      tokens int32 [N, T]; document int32 [N, T], which document a token is of.

    Exploring the Limits of Transfer Learning (Raffel et al., 2020), for packing.
    """
    documents = [np.append(document, end) for document in documents]
    if not documents or length < 1:
        raise ValueError(f'nothing to pack: {len(documents)} documents in rows of {length}')
    tokens = np.concatenate(documents).astype(np.int32)
    number = np.repeat(np.arange(len(documents), dtype=np.int32), [len(d) for d in documents])
    shape = (-(-len(tokens) // length), length)
    return {'tokens': np.resize(tokens, shape), 'document': np.resize(number, shape)}


def _pieces(pattern, text):
    if isinstance(pattern.pattern, bytes):
        return pattern.findall(_bytes(text))
    return [_bytes(piece) for piece in pattern.findall(text)]


def _bytes(text):
    # Lone surrogates are no UTF-8, but strings may hold them.
    return text.encode(errors='surrogatepass') if isinstance(text, str) else text


def _characters(vocabulary, text):
    token = {piece.decode(errors='surrogatepass'): t for t, piece in enumerate(vocabulary.pieces)}
    if unknown := set(text) - token.keys():
        raise ValueError(f'the vocabulary has no character {min(unknown)!r}')
    return np.array([token[character] for character in text], np.int32)


def _word(word, token):
    """Merges pairs of one piece's tokens in the order in which they were learned."""
    while len(word) > 1:
        first = min(token.get(pair, len(token) + 256) for pair in itertools.pairwise(word))
        if first == len(token) + 256:
            break
        pair = next(p for p in itertools.pairwise(word) if token.get(p) == first)
        word = _merged(word, pair, first)
    return word


def _merged(word, pair, token):
    """The word with a token in place of every pair, from left to right."""
    merged, i = [], 0
    while i < len(word):
        found = word[i] == pair[0] and i + 1 < len(word) and word[i + 1] == pair[1]
        merged.append(token if found else word[i])
        i += 2 if found else 1
    return merged
