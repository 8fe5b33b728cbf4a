"""Which parameters are trained, at which rates, and the running mean of the weights."""

import inspect
from typing import Any, TypeVar, cast

import torch
from torch import nn

from earmark.errors import UserError
from earmark.params import Recipe
from earmark.training.checkpoints import Weights
from earmark.training.job import Job

Chosen = TypeVar("Chosen", bound=torch.optim.Optimizer)


def freeze(network: nn.Module, frozen: tuple[str, ...], *, name: str) -> None:
    """Take the parameters whose names begin with one of `frozen` out of training.

    Raises:
        UserError: one of them begins no name; the message begins with `name`.
    """
    parameters = dict(network.named_parameters())
    for beginning in frozen:
        chosen = [key for key in parameters if key.startswith(beginning)]
        if not chosen:
            some = ", ".join(list(parameters)[:3])
            raise UserError(
                f"{name}: training.frozen: no parameter begins with {beginning!r}; "
                f"the network has {some}, ..."
            )
        for key in chosen:
            parameters[key].requires_grad_(False)


def set_train_mode(network: nn.Module, frozen: tuple[str, ...]) -> None:
    """Training mode but for frozen layers, whose batch norm keeps its statistics."""
    network.train()
    for name, module in network.named_modules():
        if name and f"{name}.".startswith(frozen):
            module.eval()


def build_optimizer(network: nn.Module, job: Job) -> torch.optim.Optimizer:
    """Adam, AdamW, or SGD with Nesterov's momentum, over the groups of `parameter_groups`."""
    recipe = job.recipe
    groups = parameter_groups(network, job)
    built: torch.optim.Optimizer
    if recipe.optimizer in ("adam", "adamw"):
        adam = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        built = _without_compiler(adam)(
            groups, lr=recipe.base_lr, eps=recipe.adam_epsilon, fused=True
        )
    else:
        momentum = recipe.momentum
        built = _without_compiler(torch.optim.SGD)(
            groups, lr=recipe.base_lr, momentum=momentum, nesterov=momentum > 0
        )
    return built


def _without_compiler(optimizer: type[Chosen]) -> type[Chosen]:
    """The same optimiser, whose methods do not keep torch's compiler out, which would load it.

    To load `torch._dynamo` takes two seconds of every training, and no optimiser is compiled here.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    plain["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return cast("type[Chosen]", type(optimizer.__name__, (optimizer,), plain))


def parameter_groups(network: nn.Module, job: Job) -> list[dict[str, Any]]:
    """Backbone and head, each in kernels and others; `lr_scale` is what their rate is times.

    Kernels alone decay, neither biases nor batch norm: by an L2 penalty as in Keras (Shan & Ren,
    section 2.2.1), or under AdamW by `weight_decay` times the learning rate, whatever the gradient
    is (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019).

    Raises:
        UserError: everything is frozen.
    """
    recipe = job.recipe
    groups: list[dict[str, Any]] = []
    for is_head in (False, True):
        named = [(n, p) for n, p in network.named_parameters() if (n in job.head) == is_head]
        lr_scale = 1.0 if is_head or not job.head else recipe.backbone_lr_multiplier
        for is_kernel in (True, False):
            chosen = [p for _, p in named if (p.ndim > 1) == is_kernel and p.requires_grad]
            decay = _decay(recipe) if is_kernel else 0.0
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "lr_scale": lr_scale})
    if not groups:
        raise UserError(
            f"{job.name}: training.frozen: {list(job.frozen)} leaves nothing to train; name fewer"
        )
    return groups


def _decay(recipe: Recipe) -> float:
    """What torch calls `weight_decay`: `l2 * sum w^2` in Keras' loss is `2 * l2 * w` here."""
    return recipe.weight_decay if recipe.optimizer == "adamw" else 2 * recipe.l2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate times its own `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def update_ema(average: Weights, network: nn.Module, decay: float, n_updates: int) -> None:
    """Move the running mean of the weights on; it follows fast at first, when it knows little."""
    decay = min(decay, (1 + n_updates) / (10 + n_updates))
    state = network.state_dict()
    means = [key for key, value in state.items() if value.is_floating_point()]
    # All in one call, which a GPU does at once.
    torch._foreach_lerp_([average[k] for k in means], [state[k] for k in means], 1 - decay)
    for key in state.keys() - means:
        average[key].copy_(state[key])
