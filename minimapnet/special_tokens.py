"""Which tokens of a vocabulary have BERT's five roles, whatever they are called: what is [MASK] here is <mask> elsewhere."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

USUAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
OTHERS = {
    "pad": ("pad", "padding"),
    "unk": ("unk", "unknown"),
    "cls": ("cls", "s", "bos"),
    "sep": ("sep", "/s", "eos"),
    "mask": ("mask",),
}
IN_BRACKETS = re.compile(r"[\[<{]\|?(/?\w+)\|?[\]}>]")  # as <mask>, <|mask|>, {MASK}; without brackets it is a word


class Special(NamedTuple):
    """A special token: as the tokenizer writes it, and its id."""

    text: str
    id: int


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens of the five roles."""

    pad: Special
    unk: Special
    cls: Special
    sep: Special
    mask: Special

    def __iter__(self):
        return iter((self.pad, self.unk, self.cls, self.sep, self.mask))


def find(vocabulary: Mapping[str, int], declared: Mapping[str, str] | None = None) -> dict[str, Special]:
    """Return the token of each role that the vocabulary, {token: id}, has one for.

    It is what is `declared`, {role: token}, else BERT's own name, else one of the usual names in brackets, such as <s>.
    """
    found, bracketed = {}, None
    for role, usual in USUAL.items():
        names = [name for name in ((declared or {}).get(role), usual) if name in vocabulary]
        if not names:
            bracketed = _in_brackets(vocabulary) if bracketed is None else bracketed
            names = [bracketed[name] for name in OTHERS[role] if name in bracketed]
        if names:
            found[role] = Special(names[0], vocabulary[names[0]])
    return found


def _in_brackets(vocabulary: Mapping[str, int]) -> dict[str, str]:
    """Return the tokens in brackets by what is within them, in lower case; of several the first in the alphabet."""
    matches = ((IN_BRACKETS.fullmatch(token), token) for token in sorted(vocabulary, reverse=True))
    return {match.group(1).lower(): token for match, token in matches if match}
