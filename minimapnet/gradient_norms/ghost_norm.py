"""The accumulator that measures gradients without building them: exact squared norms, one for each *unit* of a batch.

A unit is a sequence, or one masked token of it. With x_t the rows that go into a linear layer and d_t the gradients of the
rows that come out, a unit's gradient is W = sum_t x_t d_t^T, and |W|^2 can be had in four ways. All of them are exact; the
cheapest is taken. C is the width of x, F that of d, T the number of rows.

1. *Rank one*, where there is one row: |x d^T|^2 = |x|^2 |d|^2. This is the whole top of the model for one token's loss.
2. *Factored*, where many units share one x (one sentence, one replica of the backward per masked token): |W|^2 depends on x
   only through its Gram matrix X X^T. Split that once, X^T = Q R with orthonormal Q (C, T) and a triangle R (T, T); then
   |X^T D| = |Q R D| = |R D|, and every further unit costs T T F instead of T C F, or less where the triangle's zeros are
   spared. (R is used, not the Gram matrix itself: R D is squared number by number, so nothing cancels and no square can
   come out negative.)
3. *Gram*, for short sequences: |W|^2 = sum_{t,s} (x_t . x_s)(d_t . d_s), two T x T tables. Its terms have both signs, so in
   float32 it would lose digits: the tables are made in float64, which for short sequences costs next to nothing.
4. *Multiplied out*, for long sequences: W itself, one sequence at a time. Where the gradient is wanted as well this is no
   extra work: the gradient is the sum of these products.

A bias is the weight of an input that is always 1: wherever x is, read (x, 1).

Source of 3: Goodfellow 2015, arXiv 1510.01799 (one row), Li et al. 2022, arXiv 2110.05679 ("ghost norm", many rows).

Axis letters: U units, T rows of a unit, C channels in, F channels out, V vocabulary, G groups of equal ids. The units are in
one axis, sequence by sequence, or in two: R replicas of each of S sentences. What is said of U holds of both.
"""

from minimapnet import backend

BANDS = 4  # of a triangle's rows: five eighths of the square are left to multiply, and the products are not too thin


class GradientNormAccumulator:
    """Adds up `squares`: parameter (or layer, weight and bias together) -> squared gradient norms (U,).

    `by_unit` turns rows (N, C) that several units hold together into (U, T, C). `gradients` is a GradientAccumulator that is
    to read the same pass, or None. `factors`, a dict, says that the units are (R, S), replicas of sentences; it keeps what
    has been factored for the next of them.
    """

    def __init__(self, by_unit, tied, gradients=None, factors=None):
        self.by_unit, self.tied, self.gradients, self.factors = by_unit, tied, gradients, factors
        self.squares = {}
        self.decoding = None  # (h (U, T, C), dlogits (U, T, V)) of a tied decoder, until the word embedding is met

    def linear(self, name, x, dy):
        rows, d = self._by_unit(x), self._by_unit(dy)  # (U or S, T, C), (U, T, F)
        if self._should_multiply_out(rows, d):
            self._multiply_out(name, rows, d)
            return
        self.add(name, self.product_squares(name, rows, d))
        if self.gradients:
            self.gradients.linear(name, x, dy)

    def layernorm(self, name, xhat, dy):
        d = self._by_unit(dy)  # (U, T, C)
        self.add(name, squares(sum_rows(d * self._by_unit(xhat))) + squares(sum_rows(d)))
        if self.gradients:
            self.gradients.layernorm(name, xhat, dy)

    def decoder(self, h, dlogits):
        rows, d = self._by_unit(h), self._by_unit(dlogits)  # (U, T, C), (U, T, V)
        if self.tied:
            self.decoding = rows, d
            self.add("head.decoder", squares(sum_rows(d)))
        else:
            self.add("head.decoder", _gram_squares(rows, d, 1.0))
        if self.gradients:
            self.gradients.decoder(h, dlogits)

    def embedding(self, name, ids, dy):
        if name == "position_embedding":  # every row of the table is met once in a sequence
            self.add(name, squares(dy))
        elif name == "word_embedding" and self.tied:
            self.add(name, _tied_squares(ids, dy, *self.decoding))
        else:
            table_rows, *_ = _sum_by_id(ids, dy)  # (U, G, C)
            self.add(name, squares(table_rows))
        if self.gradients:
            self.gradients.embedding(name, ids, dy)

    def _by_unit(self, rows):
        return rows if rows.ndim > 2 else self.by_unit(rows)

    def add(self, name, more):
        """Add squared norms (U,) to those of the layer or parameter `name`."""
        self.squares[name] = self.squares[name] + more if name in self.squares else more

    def product_squares(self, name, x, d):
        """Return |x^T d|^2 of each unit, for the linear layer `name`: x (U or S, T, C), d (U, T, F) -> (U,)."""
        if self.factors is None or d.shape[-2] == 1:
            return _gram_squares(x, d, 1.0)
        if name not in self.factors:
            self.factors[name] = factor(x)
        return _factored_squares(self.factors[name], d)

    def _should_multiply_out(self, x, d):
        (T, C), F = x.shape[-2:], d.shape[-1]
        if self.factors is not None or T == 1:
            return False
        gram = 4 * T * T * (C + F)  # operations, those in float64 counted twice
        product = C * F * (30 if self.gradients else 2 * T + 15)  # 15 to 30 for reading and adding up what was made
        return product < gram

    def _multiply_out(self, name, x, d):
        U, C, F = len(x), x.shape[2], d.shape[2]
        step = max(1, backend.kernels.PRODUCT_ELEMENTS // (C * F))  # sequences at a time
        bias, found = sum_rows(d), []  # (U, 1, F)
        for start in range(0, U, step):
            units = slice(start, start + step)
            products = backend.xp.matmul(x[units].swapaxes(1, 2), d[units])  # (step, C, F)
            found.append(squares(products))
            if self.gradients:
                self.gradients.add(f"{name}.weight", products[0] if step == 1 else products.sum(axis=0))
        self.add(name, backend.xp.concatenate(found) + squares(bias))
        if self.gradients:
            self.gradients.add(f"{name}.bias", bias.sum(axis=(0, 1)))


def squares(array):
    """Return the sum of the squares of each unit.

    (U, n, m) -> (U,), as products of a row with itself, which BLAS adds up.
    """
    flat = array.reshape(*array.shape[:-2], 1, -1)  # (U, 1, n*m)
    return backend.xp.matmul(flat, flat.swapaxes(-1, -2))[..., 0, 0]


def row_squares(rows):
    """Return the sum of the squares of each row: (..., C) -> (...)."""
    return squares(rows[..., None, :])


def sum_rows(rows):
    """Add up the rows of each unit: (U, T, C) -> (U, 1, C)."""
    return backend.xp.ones((1, rows.shape[-2]), rows.dtype) @ rows


def _gram_squares(x, d, one):
    """Return |sum_t (x_t, one) d_t^T|^2 by the Gram tables: x (U, T, C), d (U, T, F) -> (U,).

    With one row it is rank one.
    """
    xp = backend.xp
    if x.shape[-2] == 1:
        return (squares(x) + one) * squares(d)
    x, d = x.astype("float64"), d.astype("float64")
    gram_x = xp.matmul(x, x.swapaxes(-1, -2)) + one  # (U, T, T)
    gram_d = xp.matmul(d, d.swapaxes(-1, -2))  # (U, T, T)
    return (gram_x * gram_d).sum(axis=(-1, -2))


def _factored_squares(R, d):
    """Return |R D|^2 of each unit: R (S, min(T, C + 1), T) as `factor` gives it, d (U, T, F) -> (U,).

    Where R is a triangle, it is taken by bands of its rows, so that most of what is left of the diagonal is spared.
    """
    xp = backend.xp
    rows, T = R.shape[-2:]
    band = -(-T // BANDS) if rows == T else rows
    columns, triangle = d.swapaxes(-1, -2), R.swapaxes(-1, -2)  # (U, F, T), (S, T, rows)
    return sum(
        squares(xp.matmul(columns[..., start:], triangle[..., start:, start : start + band]))  # of (U, F, band)
        for start in range(0, rows, band)
    )


def factor(x):
    """Return R with R^T R = (X, 1)(X, 1)^T of each sentence: x (B, T, C) -> (B, min(T, C + 1), T), a triangle if T <= C + 1.

    For float32 R is the Cholesky factor of the Gram matrix, made in float64 and so as exact as float32 can hold, several
    times faster than the triangle of a QR decomposition. The ridge, which is far below float32's rounding, keeps it positive
    where rows are equal. For float64, where no wider type is at hand, it is the triangle.
    """
    xp = backend.xp
    B, T, C = x.shape
    if T > C or x.dtype == "float64":
        with_one = xp.concatenate([x, xp.ones((B, T, 1), x.dtype)], axis=2).swapaxes(1, 2)  # (B, C + 1, T)
        return with_one if T > C + 1 else xp.linalg.qr(with_one, mode="r")
    wide = x.astype("float64")
    gram = xp.matmul(wide, wide.swapaxes(1, 2)) + 1.0  # (B, T, T)
    diagonal = gram.reshape(B, T * T)[:, :: T + 1]  # (B, T), a view
    diagonal += 1e-12 * diagonal.sum(axis=1, keepdims=True)
    return xp.linalg.cholesky(gram).swapaxes(1, 2).astype(x.dtype)


def _sum_by_id(ids, dy):
    """Add up the rows of dy (U, T, C) whose ids (U or S, T) are equal.

    -> the sums (U, G, C), their ids (U or S, G), and (U or S, G) which of them count. G is the largest number of different
    ids in a sentence; where there are fewer, the sums left over do not count and are zeros.
    """
    xp = backend.xp
    same = ids[:, :, None] == ids[:, None, :]  # (S, T, T)
    first = same.argmax(axis=2) == xp.arange(ids.shape[1])  # (S, T)
    most = int(first.sum(axis=1).max())
    places = xp.argsort(xp.where(first, 0, 1), axis=1)[:, :most]  # (S, G), in any order
    index = xp.arange(len(ids))[:, None], places
    same, first, ids = same[index], first[index], ids[index]  # (S, G, T), (S, G), (S, G)
    return xp.matmul((same & first[:, :, None]).astype(dy.dtype), dy), ids, first


def _tied_squares(ids, dy, h, dlogits):
    """Return the squared norm of the word embedding's gradient where it is the decoder's weight too.

    As an input table it gets the rows dy (U, T, C) at ids (U or S, T); as the decoder it gets sum_j dlogits_j h_j^T, with
    dlogits (U, K, V) and h (U, K, C). On the rows of words that occur in the sentence, both are added before they are
    squared: that is where the cross term 2 <G_in, G_head> comes from. The other words' rows, nearly all, come from the
    decoder alone, and there the norm of a product is had from its factors.
    """
    xp = backend.xp
    table_rows, words, count = _sum_by_id(ids, dy)  # (U, G, C), (U or S, G), (U or S, G)
    index = ..., xp.arange(len(ids))[:, None], words, slice(None)
    decoded = dlogits.swapaxes(-1, -2)[index] * count[:, :, None]  # (U, G, K)
    table_rows += decoded * h if h.shape[-2] == 1 else xp.matmul(decoded, h)  # (U, G, C)
    others = dlogits.copy()
    others.swapaxes(-1, -2)[index] = 0
    return squares(table_rows) + _gram_squares(h, others, 0.0)
