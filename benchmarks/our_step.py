"""Our contenders: a step as a training loop calls it, gradient norms, and NumPy's matrix product."""

import backends
import numpy
import timing

from minimapnet import backend, gradients, gradients_and_norms, token_gradient_norms


class OurStep:
    """From token ids and positions on the host to the loss and all gradients."""

    def __init__(self, size, library: str):
        backends.use(library)
        self.model, self.batch, self.grads = size.model(), size.batch(), None
        self.before = backends.used_bytes()

    def step(self) -> float:
        self.grads = None  # as PyTorch's zero_grad lets go of them
        loss, self.grads = gradients(self.model, *self.batch)
        backends.synchronize()  # the loss was on the host before the gradients were gathered
        return loss

    def gradient_norm(self) -> float:
        return float(sum((backend.to_host(g).astype("float64") ** 2).sum() for g in self.grads.values()) ** 0.5)

    def gpu_peak_mib(self):
        return None if self.before is None else (backends.used_bytes() - self.before) / timing.MIB


class OurNorms:
    """One of our functions, by its name: `gradients`, `gradients_and_norms` or `token_gradient_norms`."""

    def __init__(self, size, function: str, library: str = "numpy"):
        backends.use(library)
        self.model, self.batch, self.function = size.model(), size.batch(), function
        self.before = backends.used_bytes()

    def step(self) -> float:
        """Return the loss, or the sum of the token norms."""
        if self.function == "token_gradient_norms":
            return float(backend.to_host(token_gradient_norms(self.model, *self.batch)).sum())
        function = {"gradients": gradients, "gradients_and_norms": gradients_and_norms}[self.function]
        self.found = None  # let go of the gradients before, as a training loop does
        self.found = function(self.model, *self.batch)
        backends.synchronize()
        return self.found[0]

    def gradient_norm(self) -> float:
        return 0.0

    def gpu_peak_mib(self):
        return None if self.before is None else (backends.used_bytes() - self.before) / timing.MIB


class NumpyProduct:
    """The machine's matrix-product peak, as NumPy reaches it."""

    def __init__(self, width: int):
        self.a = numpy.random.default_rng(0).standard_normal((width, width), dtype=numpy.float32)

    def step(self) -> float:
        return float((self.a @ self.a)[0, 0])
