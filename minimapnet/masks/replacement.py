"""What is at a masked position in the model's input: always [MASK], or BERT's mixture.

Source: Devlin et al. 2018, arXiv 1810.04805, section 3.1.

Axis letters: B sentences, T tokens, K places for masked positions, padded with -1.
"""

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.base import indicators

KINDS = ("mask", "bert")
REPLACED_BY_MASK = 0.8  # of the masked tokens; half of the rest are replaced by a random token, half are left as they are
REPLACED_AT_RANDOM = 0.1


def all_mask(ids, positions, mask_token_id: int) -> numpy.ndarray:
    """Put [MASK] at every masked position: ids int (B, T), positions int (B, K) -> int64 (B, T), a copy on the host.

    Raises InputError for positions out of range, repeated or of another shape, and ids that are not integers.
    """
    ids, masked = _checked(ids, positions)
    return numpy.where(masked, mask_token_id, ids)


def bert_mixture(rng, ids, positions, mask_token_id: int, vocab_size: int, special_ids=()) -> numpy.ndarray:
    """Put [MASK] at 80 % of the masked positions, a random token at 10 %, and leave 10 %, each by a draw of its own.

    ids int (B, T), positions int (B, K) -> int64 (B, T), a copy on the host. Random tokens are uniform over the vocabulary
    without `special_ids` and without [MASK]; one may be the token that was there. The draws depend on (B, T) alone, so a
    position gets the same replacement whatever else is masked.

    Raises InputError as `all_mask` does, for ids out of range, and where no token is left to choose from.
    """
    ids, masked = _checked(backend.check_ids(ids, vocab_size, "token ids"), positions)
    special = backend.check_ids([mask_token_id, *special_ids], vocab_size, "special ids")
    ordinary = numpy.setdiff1d(numpy.arange(vocab_size), special)
    if not ordinary.size:
        raise InputError("every token is special: there is none to put in at random")
    draw = rng.random(ids.shape)  # (B, T)
    random_ids = ordinary[rng.integers(len(ordinary), size=ids.shape)]  # (B, T)
    corrupted = numpy.where(masked & (draw < REPLACED_BY_MASK), mask_token_id, ids)
    at_random = masked & (draw >= REPLACED_BY_MASK) & (draw < REPLACED_BY_MASK + REPLACED_AT_RANDOM)
    return numpy.where(at_random, random_ids, corrupted)


def _checked(ids, positions):
    """Return ids (B, T) as int64 on the host, and where they are masked (B, T)."""
    ids, positions = backend.to_host(ids), backend.to_host(positions)
    if ids.dtype.kind not in "iu" or ids.ndim != 2:
        raise InputError(f"token ids must be integers of shape (sentences, tokens), not {ids.dtype} {ids.shape}")
    if positions.ndim != 2:
        raise InputError(f"positions must be of shape ({len(ids)}, masked), not {positions.shape}")
    return ids.astype(numpy.int64, copy=False), indicators(positions, *ids.shape)
