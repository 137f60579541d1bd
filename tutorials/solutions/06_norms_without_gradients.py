"""Solutions to the exercises of step 6, The norm of a gradient that is never built.

Axis letters: T rows, C channels in, F channels out, V vocabulary, N masked words.
"""


def inner_product(x1, d1, x2, d2) -> float:
    """Return the inner product of two sentences' gradients of one linear layer, weight and bias together.

    sum_{t,s} <x1_t d1_t^T, x2_s d2_s^T> = sum_{t,s} (x1_t . x2_s)(d1_t . d2_s), and the bias adds a channel of ones to x.
    """
    return float(((x1 @ x2.T + 1) * (d1 @ d2.T)).sum())  # (T1, T2) * (T1, T2)


def shared_squares(uses) -> float:
    """Return the squared norm of the gradient of a linear layer that is used several times.

    uses [(x (T, C), d (T, F)), ...].

    The gradient is the sum over all uses, so its square has the inner product of every use with every other, as the square
    of a tied embedding has its cross term.
    """
    return sum(inner_product(*one, *other) for one in uses for other in uses)


class DirectionReader:
    """Adds up `total`, the inner product of the gradient with a direction {parameter: array}, and builds no gradient."""

    def __init__(self, direction):
        self.direction, self.total = direction, 0.0

    def linear(self, name, x, dy):
        moved = x @ self.direction[f"{name}.weight"] + self.direction[f"{name}.bias"]  # (..., F): how much the output moves
        self.total += float((moved * dy).sum())

    def layernorm(self, name, xhat, dy):
        moved = xhat * self.direction[f"{name}.weight"] + self.direction[f"{name}.bias"]  # (..., C)
        self.total += float((moved * dy).sum())

    def embedding(self, name, ids, dy):
        self.total += float((self.direction[name][ids] * dy).sum())

    def decoder(self, h, dlogits):
        moved = h @ self.direction["word_embedding"].T + self.direction["head.decoder.bias"]  # (N, V)
        self.total += float((moved * dlogits).sum())
