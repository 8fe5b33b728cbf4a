"""Which parameters are trained, at which rates, and the running mean of the weights."""

import inspect
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from earmark.errors import UserError
from earmark.networks import Network
from earmark.params import Recipe
from earmark.training.checkpoints import Weights
from earmark.training.job import Job

Chosen = TypeVar("Chosen", bound=torch.optim.Optimizer)


def freeze(network: nn.Module, job: Job) -> None:
    """Take the parameters of `frozen_parts` out of training.

    Raises:
        UserError: one of `job.frozen` begins no parameter's name.
    """
    parameters = dict(network.named_parameters())
    for beginning in job.frozen:
        if not any(name.startswith(beginning) for name in parameters):
            some = ", ".join(list(parameters)[:3])
            raise UserError(
                f"{job.name}: training.frozen: no parameter begins with {beginning!r}; "
                f"the network has {some}, ..."
            )
    beginnings = frozen_parts(network, job)
    for name, parameter in parameters.items():
        if name.startswith(beginnings):
            parameter.requires_grad_(False)


def frozen_parts(network: nn.Module, job: Job) -> tuple[str, ...]:
    """The beginnings of the names of all that stays as it is, statistics of batch norm included.

    With `freeze_batch_norm` also every batch norm of a trained backbone: what small batches of a
    few clips say would soon replace what it learned of millions.
    """
    if not (job.recipe.freeze_batch_norm and job.head):
        return job.frozen
    modules = network.named_modules()
    norms = (f"{name}." for name, module in modules if isinstance(module, _BatchNorm))
    of_backbone = (n for n in norms if not any(key.startswith(n) for key in job.head))
    return (*job.frozen, *of_backbone)


def set_train_mode(network: nn.Module, frozen: tuple[str, ...]) -> None:
    """Training mode but for frozen layers, whose batch norm keeps its statistics."""
    network.train()
    for name, module in network.named_modules():
        if name and f"{name}.".startswith(frozen):
            module.eval()


def build_optimizer(network: Network, job: Job) -> torch.optim.Optimizer:
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


def parameter_groups(network: Network, job: Job) -> list[dict[str, Any]]:
    """Parameters of one rate, kernels apart from others; `lr_scale` is what their rate is times.

    Kernels alone decay, neither biases nor batch norm: by an L2 penalty as in Keras (Shan & Ren,
    section 2.2.1), or under AdamW by `weight_decay` times the learning rate, whatever the gradient
    is (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019).

    Raises:
        UserError: everything is frozen.
    """
    scales, decay = lr_scales(network, job), _decay(job.recipe)
    chosen: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            chosen.setdefault((scales[name], parameter.ndim > 1), []).append(parameter)
    if not chosen:
        raise UserError(
            f"{job.name}: training.frozen: {list(job.frozen)} leaves nothing to train; name fewer"
        )
    return [
        {"params": params, "weight_decay": decay if is_kernel else 0.0, "lr_scale": lr_scale}
        for (lr_scale, is_kernel), params in chosen.items()
    ]


def lr_scales(network: Network, job: Job) -> dict[str, float]:
    """What the learning rate of each parameter is times, by its name.

    1 in a fresh head, and `backbone_lr_multiplier` below it, where each stage of the network has
    `layerwise_lr_decay` of the one above, the first of the head (Howard & Ruder, "Universal
    language model fine-tuning for text classification", 2018, section 3.2). 1 without a fresh head.
    """
    scales = {name: 1.0 for name, _ in network.named_parameters()}
    if not job.head:
        return scales
    scale = job.recipe.backbone_lr_multiplier
    for names in reversed(network.stages()):
        trained = [name for name in names if name not in job.head]
        if trained:
            scale *= job.recipe.layerwise_lr_decay
            scales |= dict.fromkeys(trained, scale)
    return scales


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
