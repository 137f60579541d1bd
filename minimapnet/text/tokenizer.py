"""Tokenizers, by the `tokenizers` library: WordPiece trained on the corpus, characters, whole words, or one of the user's.

All know [PAD], [UNK], [CLS], [SEP] and [MASK], the user's perhaps by other names (see `special_tokens`), and are saved in
Hugging Face's form.

Source of the pieces: Schuster and Nakajima 2012, Japanese and Korean voice search; used for BERT as in Devlin et al. 2018.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy
import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from minimapnet.errors import InputError
from minimapnet.files import read_lines, read_text, written_whole
from minimapnet.special_tokens import USUAL, SpecialTokens, find

SPECIAL = tuple(USUAL.values())
NEVER_TEXT = "\0"  # texts with this character are refused
VOCAB_SIZE = 2048
LETTERS_SHARE = 4  # a quarter of the pieces may be single characters; rarer ones become [UNK]
COVERED = 0.999  # of a text's characters should not: Chinese needs more than a quarter for that, and gets it
LONGEST_WORD = 100  # characters; the longer ones are cut, as WordPiece would take them for [UNK]


def train_wordpiece(sentences: Sequence[str], vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """Train a lower-casing WordPiece tokenizer of at most `vocab_size` pieces, the same for the same sentences.

    It writes [CLS] before and [SEP] behind a sentence. [PAD] is piece 0, [MASK] piece 4.
    """
    normalizer, words = normalizers.BertNormalizer(lowercase=True), _words_of_bounded_length()
    text = [normalizer.normalize_str(sentence) for sentence in sentences]
    inner = {letter for line in text for word, _ in words.pre_tokenize_str(line) for letter in word[1:]}
    letters, text = _common_letters(text, inner, vocab_size)

    # The trainer numbers the letters in the order of a hash table, and breaks ties between pieces by these numbers, so
    # that two runs would differ. It gives "special" pieces their numbers first and in order: so letters come in as such.
    first = [*SPECIAL, *letters, *("##" + letter for letter in letters if letter in inner)]
    draft = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    draft.pre_tokenizer = words
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=False)
    draft.train_from_iterator(text, trainer)

    tokenizer = Tokenizer(models.WordPiece(draft.get_vocab(), unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, words, decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    return _with_ends(tokenizer)


def characters(sentences: Sequence[str], vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """Return the tokenizer by which every character is a token, the blank too; capitals stay.

    The most frequent characters of `sentences` get a number, at most `vocab_size` with the special tokens; others are [UNK].
    """
    counts = Counter(letter for line in sentences for letter in line)
    letters = sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[: max(0, vocab_size - len(SPECIAL))])
    tokenizer = _whole_words(letters)
    any_letter = tokenizers.Regex(r"(?m:.)")  # the line feed too, as this library writes it
    tokenizer.pre_tokenizer = pre_tokenizers.Split(any_letter, "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def word_level(words: Sequence[str]) -> Tokenizer:
    """Return the tokenizer of a known vocabulary.

    What is between blanks is a token, [UNK] where it is not in `words`.
    """
    tokenizer = _whole_words(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _whole_words(words: Sequence[str]) -> Tokenizer:
    numbers = {word: number for number, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    return _with_ends(tokenizer)


def _with_ends(tokenizer: Tokenizer) -> Tokenizer:
    """Let the tokenizer write [CLS] before and [SEP] behind a sentence."""
    specials = find(tokenizer.get_vocab())
    ends = [specials["cls"], specials["sep"]]
    tokenizer.post_processor = processors.TemplateProcessing(single=[ends[0].text, "$A", ends[1].text], special_tokens=ends)
    return tokenizer


def read(file: str | Path) -> Tokenizer:
    """Read a tokenizer: Hugging Face's tokenizer.json, or BERT's vocab.txt with one WordPiece piece a line.

    With vocab.txt text is lower-cased unless a piece has a capital letter. Padding and truncation, which a tokenizer.json
    may ask for, are switched off: rows are made elsewhere.

    Raises InputError where the file cannot be read, is no tokenizer, or lacks one of the five special tokens.
    """
    file = Path(file)
    try:
        tokenizer = _from_pieces(read_lines(file)) if file.suffix == ".txt" else Tokenizer.from_str(read_text(file))
    except InputError as error:
        raise InputError(f"{error}; a tokenizer is a tokenizer.json or a vocab.txt") from None
    except Exception as error:  # the library has no narrower kind
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot read the tokenizer {file}: {reason}; give a tokenizer.json or a vocab.txt") from None
    try:
        tokenizer.add_special_tokens([special.text for special in special_tokens(tokenizer)])  # those of the model alone
    except InputError as error:
        raise InputError(f"the tokenizer {file} {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _from_pieces(pieces: list[str]) -> Tokenizer:
    numbers = {piece: number for number, piece in enumerate(pieces) if piece}  # an empty line has a number, but no piece
    specials = find(numbers)
    unknown = specials["unk"].text if "unk" in specials else USUAL["unk"]
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=unknown))
    written = {special.text for special in specials.values()}
    lower = all(piece == piece.lower() for piece in numbers if piece not in written and not piece.startswith("[unused"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = (
        normalizers.BertNormalizer(lowercase=lower),
        pre_tokenizers.BertPreTokenizer(),
    )
    tokenizer.decoder = decoders.WordPiece()
    return _with_ends(tokenizer) if {"cls", "sep"} <= specials.keys() else tokenizer


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """Return which of the tokenizer's tokens have the five roles.

    Raises InputError where one is missing.
    """
    found = find(tokenizer.get_vocab())
    missing = [usual for role, usual in USUAL.items() if role not in found]
    if missing:
        raise InputError(f"has no {', '.join(missing)}: it needs {' '.join(SPECIAL)}, or the like in other brackets")
    return SpecialTokens(**found)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, from which transformers' AutoTokenizer reads it.

    Raises InputError where the folder cannot be written to.
    """
    names = {f"{role}_token": special.text for role, special in find(tokenizer.get_vocab()).items()}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    contents = {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
    }
    for name, content in contents.items():
        with written_whole(Path(folder) / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def for_plain_text(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy for reading text: where text says "[MASK]" or "[SEP]", these are the author's words, not ours.

    The copy knows the five special tokens by names that no text can have, since a model of whole words would find them in
    its vocabulary even where the library does not look for them. The ids are the same; it writes no [CLS] and no [SEP].
    """
    content = json.loads(tokenizer.to_str())
    hidden = {special.text: NEVER_TEXT + special.text for special in special_tokens(tokenizer)}
    model, pieces = content["model"], content["model"].get("vocab")
    if isinstance(pieces, dict):
        model["vocab"] = {hidden.get(piece, piece): number for piece, number in pieces.items()}
    elif pieces is not None:  # Unigram's, each with its score
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in pieces]
    if model.get("unk_token"):
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    for token in content["added_tokens"]:
        token["content"] = hidden.get(token["content"], token["content"])
    copy = Tokenizer.from_str(json.dumps(content | {"post_processor": None}))
    copy.encode_special_tokens = True  # nor are others, such as [unused1], looked for
    return copy


def id_bound(tokenizer: Tokenizer) -> int:
    """Return the largest id plus 1, the size that a model's vocabulary must have.

    It is more than the number of tokens where ids are left out, such as that of a line that vocab.txt has twice.
    """
    return 1 + max(tokenizer.get_vocab().values())


def known_ids(tokenizer: Tokenizer) -> numpy.ndarray:
    """Return the ids that are those of tokens, in order: int64 (n,)."""
    return numpy.array(sorted(tokenizer.get_vocab().values()), numpy.int64)


def never_at_random(tokenizer: Tokenizer) -> numpy.ndarray:
    """Return the ids below `id_bound` of no ordinary token: special ones, and those that no token has, int64 (n,)."""
    special = [token.id for token in special_tokens(tokenizer)]
    return numpy.union1d(special, numpy.setdiff1d(numpy.arange(id_bound(tokenizer)), known_ids(tokenizer)))


def encode_masked(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of texts, without [CLS] and [SEP], in which [MASK], or what the tokenizer calls it, is that token."""
    mask = special_tokens(tokenizer).mask.text
    encodings = tokenizer.encode_batch([text.replace(USUAL["mask"], mask) for text in texts], add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def continues_word(tokenizer: Tokenizer) -> numpy.ndarray:
    """Return which tokens continue the word before them: bool (V,), in WordPiece those that begin with ##.

    Raises InputError for a tokenizer that does not say so.
    """
    if not isinstance(tokenizer.model, models.WordPiece):
        raise InputError("whole words are known by WordPiece tokenizers alone, whose tokens ## continue a word")
    prefix = tokenizer.model.continuing_subword_prefix
    tokens = (tokenizer.id_to_token(token) for token in range(id_bound(tokenizer)))
    return numpy.array([token is not None and token.startswith(prefix) for token in tokens])


def _words_of_bounded_length():
    """Return BERT's cutting into words, and of words at each 100th character."""
    cut = pre_tokenizers.Split(tokenizers.Regex(f"(?m:.{{{LONGEST_WORD}}})"), "isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), cut])


def _common_letters(text: list[str], inner: set[str], vocab_size: int) -> tuple[list[str], list[str]]:
    """Return the most frequent characters, sorted, and the text without all others; blanks are not counted.

    They take a quarter of the vocabulary, or more to make up 99.9 % of the text; each of `inner` is two pieces.
    """
    counts = Counter(letter for line in text for letter in line if not letter.isspace())
    letters, pieces, covered = [], len(SPECIAL), 0
    for letter in sorted(counts, key=lambda letter: (-counts[letter], letter)):
        pieces += 1 + (letter in inner)
        enough = len(letters) >= vocab_size // LETTERS_SHARE and covered >= COVERED * counts.total()
        if enough or pieces > vocab_size:
            break
        letters.append(letter)
        covered += counts[letter]
    rare = dict.fromkeys(map(ord, set(counts) - set(letters)))
    return sorted(letters), [line.translate(rare) for line in text]
