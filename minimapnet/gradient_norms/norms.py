"""Exact gradient norms: of each sequence's loss, and of each masked token's loss alone.

Axis letters: B sentences, T tokens, K places for masked positions in a row, N masked tokens of one sentence.
"""

from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy

from minimapnet import backend
from minimapnet.backend import Array
from minimapnet.errors import InputError
from minimapnet.gradient_norms.ghost_norm import GradientNormAccumulator
from minimapnet.gradient_norms.gradients import backward_pass, concatenate_by_name, loss_weights
from minimapnet.gradient_norms.token_replicas import batch_size_that_fits, input_factors, replicas_backward
from minimapnet.model.batch import MaskedBatch, map_parts, masked_batch
from minimapnet.model.bert import Bert
from minimapnet.model.config import BertConfig

MEMORY_BUDGET = 24 * 2**20  # bytes that the replicas may fill


def sequence_gradient_norms(model, ids, positions, weights=None, attention_mask=None, token_type_ids=None):
    """Return the norm, over all parameters, of the gradient of each sequence's loss sum_j weights[b, j] * token_loss[b, j].

    Arguments as for `gradients`; -> (B,) of the model's dtype, on the device in use. `gradients_and_norms` gives the
    gradient and the norms in one pass.

    Raises InputError as `gradients` does.
    """
    return root_of_sum(sequence_squares(model, ids, positions, weights, attention_mask, token_type_ids))


def sequence_squares(model, ids, positions, weights=None, attention_mask=None, token_type_ids=None):
    """Return the squares of `sequence_gradient_norms` by group of parameters: {group: (B,)}, which add up to the whole."""
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    dlosses = loss_weights(positions, weights, model.config.dtype) * len(positions)
    groups = by_group(backward_pass(model, batch, dlosses, gradients=False, norms=True).squares)
    return {name: values.astype(model.config.dtype) for name, values in groups.items()}


def token_gradient_norms(
    model, ids, positions, attention_mask=None, token_type_ids=None, memory_budget: int = MEMORY_BUDGET
):
    """Return the norm, over all parameters, of the gradient of each masked token's loss alone, the others staying masked.

    ids (B, T) are the *unmasked* tokens, positions (B, K) those to mask, padded with -1; attention_mask (B, T) is 1 at
    tokens and 0 at padding -> (B, K) of the model's dtype on the device in use, 0 where positions are -1.

    One forward pass for each sentence; then, in chunks that fill at most `memory_budget` bytes, one replica of the backward
    pass for each masked token. No array of the size of a parameter is made for a token.

    Raises InputError as `token_losses` does, and for a budget that is not positive.
    """
    return root_of_sum(token_squares(model, ids, positions, attention_mask, token_type_ids, memory_budget))


def token_squares(model, ids, positions, attention_mask=None, token_type_ids=None, memory_budget: int = MEMORY_BUDGET):
    """Return the squares of `token_gradient_norms` by group of parameters: {group: (B, K)}, which add up to the whole."""
    if memory_budget <= 0:
        raise InputError(f"memory_budget must be a positive number of bytes, not {memory_budget!r}")
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    B, T = batch.shape
    workers = backend.kernels.workers(len(backend.kernels.split_batch(B, T)))
    replicas = _replicas_that_fit(model.config, T, batch.width, memory_budget // workers)

    def work(part: MaskedBatch, _):
        return by_group(_part_squares(model, part, replicas)) if len(part.mask_slots) else None

    squares = concatenate_by_name([result for result in map_parts(batch, work)[0] if result])  # {group: (N,)}
    mask_slots, table = backend.to_device(batch.mask_slots), {}
    for name, values in squares.items():
        table[name] = backend.xp.zeros(numpy.shape(positions), model.config.dtype)  # (B, K)
        table[name].reshape(-1)[mask_slots] = values
    return table


def root_of_sum(groups):
    """Return the norm over all groups of squares {group: array}."""
    return backend.xp.sqrt(sum(groups.values()))


def by_group(squares: dict) -> dict:
    """Add up a GradientNormAccumulator's squares into groups that people look at: {group: (U,)}."""
    groups = {}
    for name, values in squares.items():
        group = group_of(name)
        groups[group] = groups[group] + values if group in groups else values
    return groups


def group_of(name: str) -> str:
    """Return the group of parameters that the layer or parameter `name` belongs to."""
    if name == "word_embedding":
        return "word embedding"
    if name in ("position_embedding", "type_embedding"):
        return "positions and types"
    if "norm" in name:
        return "LayerNorms"
    if name.startswith("head."):
        return "head"
    layer, part = name.split(".")
    return f"{layer.replace('layer', 'layer ')} {'feed-forward' if part.startswith('feed') else 'attention'}"


def _replicas_that_fit(config: BertConfig, tokens: int, masked: int, memory_budget: int) -> int:
    """Return the number of replicas, `masked` of a sentence, whose arrays fit into the budget while one layer goes back."""
    C, F, scores = config.hidden_size, config.intermediate_size, config.num_attention_heads * tokens
    wide = batch_size_that_fits(masked, 1, tokens, C, F) / masked  # the share of them that is in the feed-forward
    alive = max(2 * C + wide * (2 * F + 3 * C), 6 * C + scores)  # numbers a token: in the feed-forward, in the attention
    replica = int(tokens * alive * (8 if config.dtype == "float64" else 4))  # bytes
    return max(1, memory_budget // replica)


def _part_squares(model: Bert, part: MaskedBatch, replicas: int) -> dict[str, Array]:
    """Return {layer or parameter: squares (N,)} for the N masked tokens of a part of the batch."""
    # Forward once, then back through everything above the last layer's attention. There a token's loss lives in its own row,
    # so the N rows are all the replicas there are, and every product is rank one.
    T = part.shape[1]
    _, (encoder_cache, head_cache, residual) = model.forward(part)
    embedding_cache, caches = encoder_cache
    attention_cache, output_cache, ffn_cache, token_index, _ = caches[-1]
    last = len(caches) - 1
    accumulator = GradientNormAccumulator(lambda rows: rows[:, None], model.config.tie_word_embeddings)
    dhidden = model.head_backward(residual, head_cache, accumulator)  # (N, C): every loss has the weight 1
    dx = model.ffn_backward(last, dhidden, ffn_cache, accumulator)  # (N, C)
    dx, dcontext = model.attention_output_backward(last, dx, output_cache, accumulator)  # (N, C), (N, C)

    # Below it a token's loss has spread over its sentence: from here on each token has a replica of all T rows.
    below = (embedding_cache, caches[:-1]), attention_cache
    factors = input_factors(caches[:-1])  # {layer: (B, min(T, C + 1), T)}
    parameters = {id(array) for array in model.params.values()}
    of_tokens = dx, dcontext, token_index, *(accumulator.decoding or ())  # (N, ...)
    tables = []
    for sentences, tokens in _chunks(part.starts, replicas):
        S = sentences.stop - sentences.start
        chunk = (array[tokens].reshape(S, -1, *array.shape[1:]) for array in of_tokens)  # (S, R, ...)
        dx, dcontext, index, *decoding = chunk
        dense = GradientNormAccumulator(
            None, accumulator.tied, factors={name: factor[sentences] for name, factor in factors.items()}
        )
        dense.decoding = [array.swapaxes(0, 1) for array in decoding]  # (R, S, 1, C), (R, S, 1, V)
        replicas_backward(model, dx, dcontext, index % T, _rows_of(below, sentences, parameters), dense)
        tables.append({name: values.T.reshape(-1) for name, values in dense.squares.items()})  # (S*R,)
    return accumulator.squares | concatenate_by_name(tables)


def _chunks(starts: numpy.ndarray, replicas: int) -> Iterator[tuple[slice, slice]]:
    """Return the slices (of sentences, of masked tokens) that go back together, at most `replicas` tokens of them.

    They are neighbouring sentences with equally many masked tokens, or some of the masked tokens of one sentence. `starts`
    (B + 1,) says where each sentence's tokens begin.
    """
    first = starts.tolist()
    counts = [stop - start for start, stop in pairwise(first)]
    for count, neighbours in groupby(range(len(counts)), key=counts.__getitem__):
        numbers, most = list(neighbours), max(1, replicas // max(1, count))
        for b in range(numbers[0], numbers[-1] + 1, most):
            sentences = slice(b, min(b + most, numbers[-1] + 1))
            stop = first[sentences.stop]
            for token in range(first[b], stop, replicas):
                yield sentences, slice(token, min(token + replicas, stop))


def _rows_of(cache, rows: slice, parameters: set[int]):
    """Return what some of the sentences have in a cache.

    That is their rows of every array, but the parameters (by id) as they are.
    """
    if isinstance(cache, (tuple, list)):
        return type(cache)([_rows_of(part, rows, parameters) for part in cache])
    if id(cache) in parameters or not hasattr(cache, "shape"):
        return cache
    return cache[rows]
