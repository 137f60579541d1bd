"""The decomposition by enumeration: every mask of short sentences, nothing drawn, nothing estimated.

Axis letters: N sentences, R masks of a sentence, here all C(n, k), K masked positions, G groups of parameters, Q the whole
and the groups, P parameters.
"""

import numpy

from minimapnet.masks.base import all_masks
from minimapnet.progress import progress
from minimapnet.variance.accumulators import RunningSum, share, whole_and_groups
from minimapnet.variance.passes import Groups, mean_gradient, sentences
from minimapnet.variance.report import Estimate, VarianceReport, Variances


def exact_variance(model, ids, k, maskable=None, attention_mask=None) -> VarianceReport:
    """Return the exact decomposition for these very sentences, by the gradients of all masks of k of their positions.

    Arguments as for `decompose_variance`. The sentences are the whole population: data is the variance of their N mean
    gradients around the mean of these, 0 for one sentence, and data + mask is the variance of the gradient of a sentence
    and a mask that are drawn uniformly. Memory is that of a few parameter-sized vectors.

    Raises InputError where a sentence has more than 200,000 masks (`masks.MOST_MASKS`), and as `decompose_variance`.
    """
    batch = sentences(ids, k, maskable, attention_mask)
    masks = [all_masks(int(sentence.maskable.sum()), sentence.k) for sentence in batch]
    groups = Groups(model.shapes)
    running, columns = RunningSum(groups), {"data": [], "mask": [], "headroom": [], "square": []}
    with progress(total=sum(map(len, masks)), unit="mask", leave=False) as bar:
        for sentence, chosen in zip(batch, masks, strict=True):
            positions = sentence.maskable[0].nonzero()[0][chosen]  # (R, K)
            mean, squares = mean_gradient(model, groups, sentence, positions)  # (P,), (G, R)
            squares, (square, step) = whole_and_groups(squares), running.take(mean)  # (Q, R), (Q,)
            columns["data"].append(numpy.nan_to_num(step))  # the first is at its own mean
            columns["mask"].append(squares.mean(axis=1) - square)
            columns["headroom"].append(numpy.sqrt(squares).var(axis=1))
            columns["square"].append(square)
            bar.update(len(positions))
    return _report(batch, groups, {name: numpy.mean(rows, axis=0) for name, rows in columns.items()})


def _report(batch, groups, means) -> VarianceReport:
    data, mask, headroom = (means[name] for name in ("data", "mask", "headroom"))
    whole, *parts = (Variances(*map(Estimate.exact, values)) for values in zip(data, mask, headroom, strict=True))
    return VarianceReport(
        sentences=len(batch),
        masks=None,
        positions=float(numpy.mean([sentence.k for sentence in batch])),
        maskable=float(numpy.mean([sentence.maskable.sum() for sentence in batch])),
        whole=whole,
        mask_share=Estimate.exact(share(mask, data + mask)[0]),
        headroom_share=Estimate.exact(share(headroom, mask)[0]),
        signal=Estimate.exact(means["square"][0] - data[0]),
        groups=dict(zip(groups.names, parts, strict=True)),
        proposals={},
    )
