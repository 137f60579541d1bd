"""The plain way to gradient norms, which the exact norms are held against: one backward pass for every token or sequence."""

import numpy

from minimapnet import backend, gradients
from minimapnet.gradient_norms.norms import group_of


def token_loop(model, ids, positions, mask=None) -> dict:
    """Return {group: squared norms (B, K)} by a loop of single-token gradients, the other tokens staying masked."""
    table = {}
    for b, j in zip(*numpy.nonzero(positions != -1), strict=True):
        weights = numpy.zeros(positions.shape)
        weights[b, j] = len(ids)
        _add(table, model, (ids, positions, weights, mask), (b, j), positions.shape)
    return table


def sequence_loop(model, ids, positions, weights, mask=None) -> dict:
    """Return {group: squared norms (B,)} by a loop of the gradients of each sequence's own loss."""
    table = {}
    for b in range(len(ids)):
        alone = numpy.zeros(positions.shape)
        alone[b] = weights[b] * len(ids)
        _add(table, model, (ids, positions, alone, mask), b, (len(ids),))
    return table


def norms(table) -> numpy.ndarray:
    """Return the norm over all groups."""
    return numpy.sqrt(sum(table.values()))


def _add(table, model, batch, where, shape):
    for name, gradient in gradients(model, *batch)[1].items():
        values = backend.to_host(gradient).astype("float64")
        layer = name if name.endswith("_embedding") else name.removesuffix(".weight").removesuffix(".bias")
        squares = table.setdefault(group_of(layer), numpy.zeros(shape))
        squares[where] += (values * values).sum()
