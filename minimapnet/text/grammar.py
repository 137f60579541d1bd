"""A small probabilistic grammar: English-looking sentences, and the true predictability of every word of them.

The file `data/grammar.toml` explains the language. A template draws rows of tables, and every word follows from at most two
of these draws. So a template falls apart into groups of draws that share no word, and a group has few enough outcomes to
list them all: every probability below is a sum over such a list, exact up to rounding. What a masked language model could
reach at best on this text is thereby known, word by word.
"""

import itertools
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy
from scipy import special

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.files import read_text

MOST_OUTCOMES = 2**18  # of one group of draws: more would not be a small grammar
CACHED = 2**16  # sums kept, for each group of draws
BLOCK = 512  # sentences drawn together


@dataclass(frozen=True)
class Table:
    """Rows of words: `columns` by name, the name of each row `keys`, and the probability of each row."""

    columns: dict[str, tuple[str, ...]]
    keys: tuple[str, ...]
    shares: numpy.ndarray


@dataclass(frozen=True)
class Slot:
    """One place of a template: the draws it follows from (none for a word that stands for itself), and its word by outcome.

    words has one axis for each draw: () or (rows,) or (rows, rows of the selecting table); it holds word numbers.
    """

    draws: tuple[str, ...]
    words: numpy.ndarray


class Group:
    """Draws of a template that share words: all their outcomes O, with the words at the group's places.

    places: (P,) of the template; words: (O, P) word numbers; shares: (O,) probabilities.
    """

    def __init__(self, places: Sequence[int], words: numpy.ndarray, shares: numpy.ndarray, vocabulary: int):
        self.places, self.words, self.shares, self.vocabulary = tuple(places), words, shares, vocabulary
        self.matching = lru_cache(CACHED)(self._matching)
        self.word_shares = lru_cache(CACHED)(self._word_shares)

    def _outcomes(self, seen: tuple[int, ...]) -> numpy.ndarray:
        agree = numpy.ones(len(self.shares), bool)
        for column, word in enumerate(seen):
            if word >= 0:
                agree &= self.words[:, column] == word
        return agree

    def _matching(self, seen: tuple[int, ...]) -> float:
        """Return the probability of the words `seen` at the group's places, where -1 stands for any word."""
        return float(self.shares[self._outcomes(seen)].sum())

    def _word_shares(self, seen: tuple[int, ...], column: int) -> numpy.ndarray:
        """Return the joint probability (V,) of the words `seen` and of each word at the group's place `column`."""
        agree = self._outcomes(seen)
        shares = numpy.bincount(self.words[agree, column], self.shares[agree], minlength=self.vocabulary)
        shares.flags.writeable = False  # it is cached
        return shares


@dataclass(frozen=True)
class Template:
    """The slots of a sentence, the table of each draw, the draws in groups, and the words (n,) that stand for themselves.

    fixed is -1 at the other places.
    """

    slots: tuple[Slot, ...]
    draws: dict[str, Table]
    groups: tuple[Group, ...]
    fixed: numpy.ndarray


class Grammar:
    """Templates and their words; `vocabulary` is all words, sorted.

    A sentence is a list of words. Raises InputError where it is not one that the grammar gives.
    """

    def __init__(self, templates: Sequence[Template], vocabulary: Sequence[str]):
        self.templates, self.vocabulary = tuple(templates), tuple(vocabulary)
        self._numbers = {word: number for number, word in enumerate(self.vocabulary)}

    def sample(self, rng: numpy.random.Generator, count: int) -> list[list[str]]:
        """Draw `count` sentences."""
        kinds = rng.integers(len(self.templates), size=count)
        sentences = [[]] * count
        for kind, template in enumerate(self.templates):
            places = numpy.flatnonzero(kinds == kind)
            rows = {
                draw: rng.choice(len(table.shares), len(places), p=table.shares) for draw, table in template.draws.items()
            }
            columns = [slot.words[tuple(rows[draw] for draw in slot.draws)] for slot in template.slots]
            numbers = numpy.stack([numpy.broadcast_to(column, len(places)) for column in columns], axis=1)  # (places, n)
            for place, sentence in zip(places, numbers.tolist(), strict=True):
                sentences[place] = [self.vocabulary[word] for word in sentence]
        return sentences

    def stream(self, seed: int) -> Iterator[list[str]]:
        """Return sentences without end, the same for the same seed."""
        for block in itertools.count():
            yield from self.sample(backend.generator(seed, "grammar", block), BLOCK)

    def distribution(self, sentence: Sequence[str], place: int, masked: Sequence[int] = ()) -> numpy.ndarray:
        """Return the probability (V,) of every word of the vocabulary at `place`, given the words that are not masked.

        `place` itself counts as masked, so by default all other words are seen.
        """
        seen = self._seen(sentence, (*masked, place))
        total = numpy.zeros(len(self.vocabulary))
        for template in self.templates:
            if len(template.slots) == len(seen):
                total += _joint(template, seen, place, len(self.vocabulary))
        if not total.any():
            raise InputError(f"this grammar gives no such sentence: {' '.join(sentence)}")
        return total / total.sum()

    def token_entropies(self, sentence: Sequence[str]) -> numpy.ndarray:
        """Return the entropy (n,) in nats of the word at each place, given all the other words."""
        shares = numpy.stack([self.distribution(sentence, place) for place in range(len(sentence))])  # (n, V)
        return special.entr(shares).sum(1)

    def log_probs(self, sentence: Sequence[str], masked: Sequence[int] | None = None) -> numpy.ndarray:
        """Return the log probability in nats of the true word at each place of `masked` (K,).

        The words that are not in `masked` are given.

        Without `masked`: at every place (n,), each masked alone. The negative mean is the least loss any model can reach.
        """
        if masked is None:
            shares = [self.distribution(sentence, place)[self._numbers[word]] for place, word in enumerate(sentence)]
        else:
            shares = [self.distribution(sentence, place, masked)[self._numbers[sentence[place]]] for place in masked]
        with numpy.errstate(divide="ignore"):  # a word that cannot stand there
            return numpy.log(shares)

    def _seen(self, sentence: Sequence[str], masked: Sequence[int]) -> numpy.ndarray:
        """Return the word numbers (n,), -1 where masked."""
        try:
            seen = numpy.array([self._numbers[word] for word in sentence])
        except KeyError as error:
            raise InputError(f"the grammar has no word {error.args[0]!r}") from None
        seen[list(masked)] = -1
        return seen


def _joint(template: Template, seen: numpy.ndarray, place: int, vocabulary: int) -> numpy.ndarray:
    """Return the joint probability (V,) of the words `seen` (-1 is masked) and of each word at `place`, which is masked."""
    probabilities = numpy.zeros(vocabulary)
    if ((seen >= 0) & (template.fixed >= 0) & (seen != template.fixed)).any():
        return probabilities
    if template.fixed[place] >= 0:
        probabilities[template.fixed[place]] = 1.0
    for group in template.groups:
        words = tuple(seen[list(group.places)].tolist())
        if place in group.places:
            probabilities += group.word_shares(words, group.places.index(place))
    for group in template.groups:
        if place not in group.places:
            probabilities *= group.matching(tuple(seen[list(group.places)].tolist()))
    return probabilities


def default_file() -> Path:
    """Return the project's own grammar, from the package where it is installed and else from the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "data" / "grammar.toml"
    return installed if installed.exists() else package.parent / "data" / "grammar.toml"


def read(file: str | Path | None = None) -> Grammar:
    """Read a grammar, by default the project's own.

    Raises InputError where the file cannot be read, or says something that has no meaning.
    """
    file = Path(file or default_file())
    try:
        content = tomllib.loads(read_text(file))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"cannot read the grammar {file}: {error}".splitlines()[0]) from None
    try:
        return _build(content)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _build(content: dict) -> Grammar:
    templates, tables = content.get("templates"), content.get("tables", {})
    if not (isinstance(templates, list) and templates and isinstance(tables, dict)):
        raise InputError("a grammar has a list `templates` and [tables]")
    if not all(isinstance(text, str) and text.strip() for text in [*templates, *tables.values()]):
        raise InputError("every template and every table is a string with words in it")
    tables = {name: _table(name, text) for name, text in tables.items()}
    parsed = [[_slot(word, tables) for word in template.split()] for template in templates]
    words = {word for slots in parsed for _, _, table in slots for word in numpy.ravel(table).tolist()}
    vocabulary = sorted(words)
    numbers = {word: number for number, word in enumerate(vocabulary)}
    return Grammar([_template(slots, tables, numbers) for slots in parsed], vocabulary)


def _table(name: str, text: str) -> Table:
    """Read a table: one line of words, or a line of column names and then a line for every row."""
    lines = [line.split() for line in text.split("\n") if line.strip()]
    if len(lines) == 1:
        lines = [["word"], *([word] for word in lines[0])]
    if any(len(line) != len(lines[0]) for line in lines):
        raise InputError(f"table {name}: every row needs one word for each of the columns {' '.join(lines[0])}")
    if len(set(lines[0])) < len(lines[0]) or lines[0][0] == "weight":
        raise InputError(f"table {name}: every column needs a name of its own, and the first cannot be `weight`")
    columns = dict(zip(lines[0], zip(*lines[1:], strict=True), strict=True))
    weights = columns.pop("weight", ("1",) * (len(lines) - 1))
    if not all(weight.isdecimal() and int(weight) for weight in weights):
        raise InputError(f"table {name}: weights are whole numbers of at least 1")
    shares = numpy.array(weights, float)
    return Table(columns, columns[lines[0][0]], shares / shares.sum())


def _slot(word: str, tables: dict[str, Table]) -> tuple[tuple[str, ...], tuple[Table, ...], numpy.ndarray]:
    """Read one place of a template: the draws it follows from, their tables, and the words by outcome (an array of str)."""
    parts = re.fullmatch(r"([a-z]+)(\d*)(?:\.([a-z]+)|\[(([a-z]+)\d*)\])?", word)
    plain = not parts or (parts[1] not in tables and not (parts[3] or parts[4]))
    if plain:
        return (), (), numpy.array(word)
    name, digits, column, by, selecting = parts.groups()
    for table in (name, selecting or name):
        if table not in tables:
            raise InputError(f"{word} in a template: there is no table {table}")
    table = tables[name]
    wanted = tables[selecting].keys if by else (column or next(iter(table.columns)),)
    for key in wanted:
        if key not in table.columns:
            raise InputError(f"{word} in a template: table {name} has no column {key}")
    columns = numpy.array([table.columns[key] for key in wanted]).T  # (rows, rows of the selecting table)
    return ((name + digits, by), (table, tables[selecting]), columns) if by else ((name + digits,), (table,), columns[:, 0])


def _template(parsed, tables: dict[str, Table], numbers: dict[str, int]) -> Template:
    draws = {draw: table for names, used, _ in parsed for draw, table in zip(names, used, strict=True)}
    number = numpy.vectorize(numbers.__getitem__, otypes=[numpy.int64])
    slots = tuple(Slot(names, number(words)) for names, _, words in parsed)
    fixed = numpy.array([-1 if slot.draws else int(slot.words) for slot in slots])
    return Template(slots, draws, tuple(_groups(slots, draws, len(numbers))), fixed)


def _groups(slots: Sequence[Slot], draws: dict[str, Table], vocabulary: int) -> Iterator[Group]:
    """Put draws that stand together in a slot into one group, and list every outcome of each group."""
    left = [{draw} for draw in draws]
    for slot in slots:
        joined = [group for group in left if group & set(slot.draws)]
        left = [group for group in left if not group & set(slot.draws)] + ([set().union(*joined)] if joined else [])
    for group in left:
        names = [draw for draw in draws if draw in group]
        sizes = [len(draws[draw].shares) for draw in names]
        if numpy.prod(sizes) > MOST_OUTCOMES:
            raise InputError(f"{', '.join(names)} have {numpy.prod(sizes)} outcomes together, more than {MOST_OUTCOMES}")
        outcomes = dict(zip(names, numpy.indices(sizes).reshape(len(sizes), -1), strict=True))  # each (O,)
        shares = numpy.prod([draws[draw].shares[rows] for draw, rows in outcomes.items()], axis=0)  # (O,)
        places = [place for place, slot in enumerate(slots) if set(slot.draws) & group]
        words = numpy.stack(
            [slots[i].words[tuple(outcomes[draw] for draw in slots[i].draws)] for i in places], axis=1
        )  # (O, P)
        yield Group(places, words, shares, vocabulary)
