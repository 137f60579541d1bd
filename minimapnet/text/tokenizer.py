"""WordPiece, trained on the corpus at hand by the `tokenizers` library, and kept in Hugging Face's tokenizer.json.

Source of the pieces: Schuster and Nakajima 2012, Japanese and Korean voice search; used for BERT as in Devlin et al. 2018.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from minimapnet.files import written_whole

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = 2048
LETTERS_SHARE = 4  # at most a quarter of the pieces are single characters; rarer ones become [UNK]


def train_wordpiece(sentences: Sequence[str], pieces: int = PIECES) -> Tokenizer:
    """Train a lower-casing WordPiece tokenizer of at most `pieces` pieces, the same for the same sentences.

    It writes [CLS] before and [SEP] behind a sentence. [PAD] is piece 0, [MASK] piece 4.
    """
    normalizer, words = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    text = [normalizer.normalize_str(sentence) for sentence in sentences]
    letters, text = _common_letters(text, pieces // LETTERS_SHARE)
    inner = {letter for line in text for word, _ in words.pre_tokenize_str(line) for letter in word[1:]}

    # The trainer numbers the letters in the order of a hash table, and breaks ties between pieces by these numbers, so
    # that two runs would differ. It gives "special" pieces their numbers first and in order: so letters come in as such.
    first = [*SPECIAL, *letters, *("##" + letter for letter in sorted(inner))]
    draft = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    draft.pre_tokenizer = words
    trainer = trainers.WordPieceTrainer(vocab_size=pieces, special_tokens=first, show_progress=False)
    draft.train_from_iterator(text, trainer)

    tokenizer = Tokenizer(models.WordPiece(draft.get_vocab(), unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, words, decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    return _with_ends(tokenizer)


def word_level(words: Sequence[str]) -> Tokenizer:
    """Give the tokenizer of a known vocabulary: what stands between blanks is a token, [UNK] where it is not in `words`."""
    numbers = {word: number for number, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL))
    return _with_ends(tokenizer)


def _with_ends(tokenizer: Tokenizer) -> Tokenizer:
    """Let the tokenizer write [CLS] before and [SEP] behind a sentence."""
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _common_letters(text: list[str], limit: int) -> tuple[list[str], list[str]]:
    """Give the most frequent characters, sorted, and the text without all others; blanks are not counted."""
    counts = Counter(letter for line in text for letter in line if not letter.isspace())
    letters = sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[:limit])
    rare = dict.fromkeys(map(ord, set(counts) - set(letters)))
    return letters, [line.translate(rare) for line in text]


def cached_wordpiece(folder: Path, sentences: Sequence[str], pieces: int = PIECES) -> Tokenizer:
    """Give `train_wordpiece`'s tokenizer, read from `folder` where it was trained before on these very sentences.

    Its file is named by a hash of the sentences, the number of pieces and the library's version.

    Raises InputError where the folder cannot be written to.
    """
    key = json.dumps([tokenizers.__version__, pieces, SPECIAL, LETTERS_SHARE, list(sentences)])
    file = Path(folder) / f"tokenizer-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    with suppress(Exception):  # missing, or damaged from outside: the library has no narrower kind of error
        return Tokenizer.from_file(str(file))
    tokenizer = train_wordpiece(sentences, pieces)
    with written_whole(file) as temporary:
        temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    return tokenizer
