"""A text as token ids on disk: written once for each text and tokenizer, and read through memory maps from then on.

Each part (train, validation, test) is two arrays. tokens: all its tokens one after the other, [SEP] behind each document,
in 16 bits where the vocabulary allows it and else in 32. sentences (S, 2): where each starts, and how many tokens it has.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy
from tokenizers import Tokenizer

from minimapnet.files import written_whole
from minimapnet.special_tokens import SpecialTokens
from minimapnet.text.parts import PARTS
from minimapnet.text.tokenizer import for_plain_text, id_bound, special_tokens

ENCODED_TOGETHER = 2048  # sentences
ABOUT = "about.json"  # written last: where it is missing, the rest is not whole


@dataclass(frozen=True)
class Tokens:
    """One part of a text, memory-mapped: tokens (n,) and sentences (S, 2), see above. folder is where they are.

    Of all its tokens `text` are of the text, which is all but [SEP], and `unknown` of them are [UNK].
    """

    tokens: numpy.ndarray
    sentences: numpy.ndarray
    folder: Path
    part: str
    text: int = 0
    unknown: int = 0


class _Part:
    """The two arrays of a part while they are written."""

    def __init__(self, tokens, sentences, special: SpecialTokens):
        self.tokens, self.sentences, self.sep, self.unk = tokens, sentences, special.sep.id, special.unk.id
        self.text = self.unknown = 0
        self._open = False

    def add(self, sentences: list[tuple[list[int], bool]]) -> None:
        """Add sentences, each its ids and whether a document ends with it."""
        flat, spans = [], []
        for ids, last in sentences:
            spans.append((self.tokens.length + len(flat), len(ids)))
            flat += ids
            self.text += len(ids)
            self.unknown += ids.count(self.unk)
            self._open = self._open or bool(ids)
            if last and self._open:  # a document without tokens has no end either: no row is of [SEP] alone
                flat.append(self.sep)
                self._open = False
        self.tokens.add(flat)
        self.sentences.add(spans)


def write(folder: Path, shared_out: Iterable[tuple[str, str, bool]], tokenizer: Tokenizer) -> None:
    """Write the arrays of all parts from (part, sentence, whether a document ends with it), a block of sentences at a time.

    Raises InputError where the folder cannot be written to.
    """
    plain, special = for_plain_text(tokenizer), special_tokens(tokenizer)
    dtype = numpy.uint16 if id_bound(tokenizer) <= 2**16 else numpy.uint32
    with ExitStack() as stack:
        parts = {}
        for part in PARTS:
            tokens = stack.enter_context(growing(folder / f"{part}.npy", dtype))
            parts[part] = _Part(
                tokens, stack.enter_context(growing(folder / f"{part}-sentences.npy", numpy.int64, (2,))), special
            )
        for block in _blocks(shared_out):
            encodings = plain.encode_batch([sentence for _, sentence, _ in block], add_special_tokens=False)
            coded = [(part, e.ids, last) for (part, _, last), e in zip(block, encodings, strict=True)]
            for part, arrays in parts.items():
                arrays.add([(ids, last) for where, ids, last in coded if where == part])
    with written_whole(folder / ABOUT) as temporary:
        counts = {name: [p.tokens.length, p.sentences.length, p.text, p.unknown] for name, p in parts.items()}
        temporary.write_text(json.dumps(counts) + "\n", encoding="utf-8")


def _blocks(items: Iterable) -> Iterator[list]:
    items = iter(items)
    while block := list(islice(items, ENCODED_TOGETHER)):
        yield block


def read(folder: Path) -> dict[str, Tokens] | None:
    """Return what `write` wrote into `folder`, by part, or None where it is not there, or not whole."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        tokens_by_part = {}
        for part in PARTS:
            count, sentences, text, unknown = about[part]
            arrays = mapped(folder / f"{part}.npy"), mapped(folder / f"{part}-sentences.npy")
            if list(map(len, arrays)) != [count, sentences]:
                return None
            tokens_by_part[part] = Tokens(*arrays, folder, part, text, unknown)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return tokens_by_part


class Growing:
    """An array on disk that grows along its first axis; only what is added at a time is in memory."""

    def __init__(self, file, dtype, columns: tuple[int, ...]):
        self._file, self._dtype, self._columns, self.length = file, numpy.dtype(dtype), columns, 0
        self.write_header()

    def add(self, values) -> None:
        """Add values (n, *columns) at the end."""
        values = numpy.ascontiguousarray(values, self._dtype).reshape(-1, *self._columns)
        self._file.write(values.tobytes())
        self.length += len(values)

    def write_header(self) -> None:
        """Write the header with the length as it is now; NumPy leaves room in it for a longer first axis."""
        self._file.seek(0)
        shape = (self.length, *self._columns)
        about = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        numpy.lib.format.write_array_header_1_0(self._file, about)


@contextmanager
def growing(file: Path, dtype, columns: tuple[int, ...] = ()) -> Iterator[Growing]:
    """Write an array of yet unknown length to `file`, which is whole or not there.

    Raises InputError where it cannot be written.
    """
    with written_whole(file) as temporary, open(temporary, "wb") as opened:
        array = Growing(opened, dtype, columns)
        yield array
        array.write_header()


def mapped(file: Path) -> numpy.ndarray:
    """Read an array through a memory map. Raises OSError or ValueError where it is not there, or damaged."""
    try:
        return numpy.load(file, mmap_mode="r", allow_pickle=False)
    except EOFError as error:
        raise ValueError(f"{file} is empty") from error
