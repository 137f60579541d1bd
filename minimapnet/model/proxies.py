"""Cheap stand-ins for a masked token's gradient norm. They order tokens roughly; none of them is the norm.

The other stand-in in use is the loss itself: `token_losses`.

Axis letters: B sentences, T tokens, K places for masked positions in a row, N masked tokens, C channels, V vocabulary.
"""

import numpy

from minimapnet import backend
from minimapnet.model.masked_batch import masked_batch


def output_norm_bound(model, ids, positions, attention_mask=None, token_type_ids=None):
    """Give |softmax - onehot| * |h| for every masked position, h (C,) being the decoder's input there.

    It is the exact norm of the gradient of the decoder's weight alone, as if it were not tied, and so what the rest of the
    model adds is missing. One forward pass. Arguments as for `token_losses`; -> (B, K) of the model's dtype on the device in
    use, 0 where positions are -1.

    Source: Katharopoulos and Fleuret 2018, arXiv 1803.00942, whose bound on the norm is a constant times such a product.

    Raises InputError as `token_losses` does.
    """
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    bounds = backend.xp.zeros(numpy.shape(positions), model.config.dtype)  # (B, K)

    def work(where):
        part = batch.part(where)
        _, (_, head_cache, residual) = model.forward(part)
        h, _ = head_cache[-1]  # (N, C), what the decoder was given; residual (N, V)
        product = (residual * residual).sum(axis=1) * (h * h).sum(axis=1)  # (N,)
        bounds.reshape(-1)[backend.to_device(part.places)] = backend.xp.sqrt(product)

    B, T = batch.sentences.inputs.shape
    backend.kernels.run([lambda where=where: work(where) for where in backend.kernels.split_batch(B, T)])
    return bounds
