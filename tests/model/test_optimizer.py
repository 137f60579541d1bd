"""AdamW against its published algorithm written out, clipping, and its state."""

import math

import numpy
import pytest

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.model import parameters
from minimapnet.model.optimizer import AdamW
from tests.helpers import tiny

BETAS, EPS, DECAY, CLIP = (0.9, 0.98), 1e-6, 0.1, 1.0


def random_gradients(model, step: int, scale: float) -> dict:
    rng = numpy.random.default_rng(step)
    return {name: scale * rng.standard_normal(shape) for name, shape in model.shapes.items()}


def published(params: dict, steps: list[tuple[dict, float]]) -> dict:
    """Algorithm 2 of arXiv 1711.05101 with clipping by the global norm before it, name by name on the host."""
    params = {name: value.copy() for name, value in params.items()}
    mean, square = ({name: numpy.zeros_like(value) for name, value in params.items()} for _ in range(2))
    for t, (gradients, lr) in enumerate(steps, 1):
        norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        for name, theta in params.items():
            g = gradients[name] * min(1, CLIP / norm)
            mean[name] = BETAS[0] * mean[name] + (1 - BETAS[0]) * g
            square[name] = BETAS[1] * square[name] + (1 - BETAS[1]) * g**2
            m, v = mean[name] / (1 - BETAS[0] ** t), square[name] / (1 - BETAS[1] ** t)
            decay = DECAY if theta.ndim > 1 else 0.0
            params[name] = theta - lr * m / (numpy.sqrt(v) + EPS) - lr * decay * theta
    return params


def test_adamw_is_the_published_algorithm_with_clipping(xp):
    model = tiny.model()
    before = tiny.host(model.params)
    before = {name: value.copy() for name, value in before.items()}
    optimizer = AdamW(model, BETAS, EPS, DECAY, CLIP)
    steps = [
        (random_gradients(model, t, scale), lr) for t, (scale, lr) in enumerate([(1.0, 0.1), (1e-3, 0.05), (0.2, 0.02)])
    ]
    for gradients, lr in steps:
        norm = optimizer.step({name: backend.to_device(g) for name, g in gradients.items()}, lr)
        numpy.testing.assert_allclose(norm, math.sqrt(sum((g**2).sum() for g in gradients.values())), rtol=1e-12)
    assert steps[1][0]["layer0.qkv.weight"].std() < 2e-3  # one of the steps is not clipped
    for name, expected in published(before, steps).items():
        numpy.testing.assert_allclose(backend.to_host(model.params[name]), expected, rtol=1e-10, atol=1e-12, err_msg=name)


def test_adamw_leaves_the_gradients_as_they_are(xp):
    model = tiny.model()
    gradients = random_gradients(model, 0, 10.0)
    given = {name: backend.to_device(g.copy()) for name, g in gradients.items()}
    AdamW(model).step(given, 0.1)
    for name, g in gradients.items():
        assert (backend.to_host(given[name]) == g).all()


def test_without_gradients_only_weights_and_tables_shrink(xp):
    model = tiny.model()
    before = {name: value.copy() for name, value in tiny.host(model.params).items()}
    AdamW(model, weight_decay=0.1).step({name: backend.xp.zeros(shape) for name, shape in model.shapes.items()}, 0.5)
    for name, value in before.items():
        factor = 0.95 if value.ndim > 1 else 1.0
        numpy.testing.assert_allclose(backend.to_host(model.params[name]), factor * value, rtol=1e-14, err_msg=name)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(xp, bad):
    model = tiny.model()
    gradients = random_gradients(model, 0, 1.0)
    gradients["head.decoder.bias"][3] = bad
    before = backend.to_host(model.flat).copy()
    optimizer = AdamW(model)
    assert not math.isfinite(optimizer.step({name: backend.to_device(g) for name, g in gradients.items()}, 0.1))
    assert optimizer.steps == 0
    assert (backend.to_host(model.flat) == before).all()
    assert not backend.to_host(optimizer.mean).any()


@pytest.mark.parametrize(
    "settings", [{"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": 0.0}, {"weight_decay": -1.0}, {"max_grad_norm": 0.0}]
)
def test_adamw_refuses_values_out_of_range(settings):
    with pytest.raises(InputError, match="AdamW needs"):
        AdamW(tiny.model(), **settings)


def test_an_update_takes_what_stands_in_the_buffer(xp):
    """As `step` does with gradients from elsewhere, to the last bit; and the buffer then holds what was clipped."""
    model, other = tiny.model(), tiny.model()
    optimizer, copying = AdamW(model), AdamW(other)
    for step in range(3):
        gradients = {name: backend.to_device(g) for name, g in random_gradients(model, step, 1.0).items()}
        for name, view in parameters.flat_views(optimizer.gradient, model.shapes).items():
            view[...] = gradients[name]
        assert optimizer.update(0.1) == copying.step(gradients, 0.1) > optimizer.max_grad_norm
        assert (backend.to_host(model.flat) == backend.to_host(other.flat)).all()
    left = backend.to_host(optimizer.gradient)
    numpy.testing.assert_allclose(numpy.sqrt(left @ left), optimizer.max_grad_norm, rtol=1e-12)


def test_an_optimizer_goes_on_from_its_state(xp):
    model, gradients = tiny.model(), random_gradients(tiny.model(), 0, 1.0)
    gradients = {name: backend.to_device(g) for name, g in gradients.items()}
    optimizer = AdamW(model)
    optimizer.step(gradients, 0.1)
    other, state = tiny.model(), optimizer.state()
    other.flat[...] = model.flat
    resumed = AdamW(other)
    optimizer.step(gradients, 0.1)
    resumed.load_state(state)  # a copy: the step after it has not changed it
    resumed.step(gradients, 0.1)
    assert optimizer.steps == resumed.steps == 2
    assert (backend.to_host(model.flat) == backend.to_host(other.flat)).all()
    assert {name: type(array) for name, array in state.items()} == dict.fromkeys(("mean", "square", "steps"), numpy.ndarray)


def test_an_optimizer_refuses_the_state_of_another_size():
    optimizer, other = AdamW(tiny.model()), AdamW(tiny.model(num_hidden_layers=1))
    with pytest.raises(InputError, match=r"the optimizer's mean holds \d+ values, the model \d+"):
        optimizer.load_state(other.state())


@pytest.mark.oracle
def test_adamw_against_pytorch():
    torch = pytest.importorskip("torch")
    model = tiny.model()
    theirs = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in model.params.items()}
    groups = [
        {"params": [p for p in theirs.values() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in theirs.values() if p.ndim == 1], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, betas=BETAS, eps=EPS)
    ours = AdamW(model, BETAS, EPS, DECAY, max_grad_norm=math.inf)  # PyTorch clips to a slightly lower norm
    for step in range(25):
        gradients, lr = random_gradients(model, step, 0.1), 0.01 * (25 - step) / 25
        ours.step(gradients, lr)
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[name])
        for group in reference.param_groups:
            group["lr"] = lr
        reference.step()
    for name, parameter in theirs.items():
        numpy.testing.assert_allclose(model.params[name], parameter.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
