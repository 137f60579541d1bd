"""Tokenizers, by the `tokenizers` library: WordPiece trained on the corpus, characters, whole words, or one of the user's.

All know [PAD], [UNK], [CLS], [SEP] and [MASK], and are saved in Hugging Face's form.

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
from minimapnet.files import written_whole

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
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
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def read(file: str | Path) -> Tokenizer:
    """Read a tokenizer: Hugging Face's tokenizer.json, or BERT's vocab.txt with one WordPiece piece a line.

    With vocab.txt text is lower-cased unless a piece has a capital letter. Padding and truncation, which a tokenizer.json
    may ask for, are switched off: rows are made elsewhere.

    Raises InputError where the file cannot be read, is no tokenizer, or lacks one of the five special tokens.
    """
    file = Path(file)
    try:
        text = file.read_text(encoding="utf-8")
        tokenizer = _from_pieces(text.splitlines()) if file.suffix == ".txt" else Tokenizer.from_str(text)
    except Exception as error:  # the library has no narrower kind
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise InputError(f"cannot read the tokenizer {file}: {reason}; give a tokenizer.json or a vocab.txt") from None
    missing = [token for token in SPECIAL if tokenizer.token_to_id(token) is None]
    if missing:
        raise InputError(f"the tokenizer {file} has no {', '.join(missing)}: it needs {' '.join(SPECIAL)}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _from_pieces(pieces: list[str]) -> Tokenizer:
    numbers = {piece.strip(): number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    lower = all(piece == piece.lower() for piece in numbers if piece not in SPECIAL and not piece.startswith("[unused"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = (
        normalizers.BertNormalizer(lowercase=lower),
        pre_tokenizers.BertPreTokenizer(),
    )
    tokenizer.decoder = decoders.WordPiece()
    if set(SPECIAL) <= set(numbers):
        tokenizer.add_special_tokens(list(SPECIAL))
        tokenizer = _with_ends(tokenizer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, from which transformers' AutoTokenizer reads it.

    Raises InputError where the folder cannot be written to.
    """
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    contents = {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
    }
    for name, content in contents.items():
        with written_whole(Path(folder) / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def for_plain_text(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy for reading text: where text says "[MASK]" or "[SEP]", these are the author's words, not ours."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.encode_special_tokens = True
    return copy


def continues_word(tokenizer: Tokenizer) -> numpy.ndarray:
    """Return which tokens continue the word before them: bool (V,), in WordPiece those that begin with ##.

    Raises InputError for a tokenizer that does not say so.
    """
    if not isinstance(tokenizer.model, models.WordPiece):
        raise InputError("whole words are known by WordPiece tokenizers alone, whose tokens ## continue a word")
    prefix = tokenizer.model.continuing_subword_prefix
    tokens = (tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size()))
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
