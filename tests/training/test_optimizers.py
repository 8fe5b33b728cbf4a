"""Which parameters are trained at which rates, and the running mean of the weights."""

import copy
from dataclasses import replace

import pytest
import torch

from earmark.errors import UserError
from earmark.networks import build
from earmark.store import Store
from earmark.training.checkpoints import copy_weights
from earmark.training.job import Job
from earmark.training.optimizers import (
    build_optimizer,
    freeze,
    frozen_parts,
    parameter_groups,
    set_learning_rate,
    set_train_mode,
    update_ema,
)
from tests.training.conftest import HEAD, make_job, recipe_with


def test_kernels_alone_have_the_l2_of_keras_which_is_twice_its_factor(store: Store) -> None:
    job = make_job(store, recipe=recipe_with(l2=0.003))
    kernels, others = parameter_groups(job.tagger.network, job)
    assert (kernels["weight_decay"], others["weight_decay"]) == (0.006, 0.0)
    assert all(p.ndim > 1 for p in kernels["params"])
    assert all(p.ndim == 1 for p in others["params"])
    n_parameters = len(list(job.tagger.network.parameters()))
    assert len(kernels["params"]) + len(others["params"]) == n_parameters


def rates(job: Job) -> dict[str, float]:
    """What each parameter learns at where the head learns at 0.5."""
    optimizer = build_optimizer(job.tagger.network, job)
    set_learning_rate(optimizer, 0.5)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: rate_of[id(p)] for name, p in job.tagger.network.named_parameters()}


def test_a_backbone_has_its_share_of_the_rate_and_a_fresh_head_the_whole(store: Store) -> None:
    job = make_job(store, recipe=recipe_with(backbone_lr_multiplier=0.1), head=HEAD)
    for name, rate in rates(job).items():
        assert rate == pytest.approx(0.5 if name in HEAD else 0.05), name


def test_each_stage_below_the_head_has_its_share_of_the_rate_of_the_one_above(
    store: Store,
) -> None:
    recipe = recipe_with(layerwise_lr_decay=0.5, backbone_lr_multiplier=0.1)
    job = make_job(store, recipe=recipe, head=HEAD)
    expected = {"head": 0.5, "norm": 0.025}
    # A unit for each block, with a pool between them; the last batch norm is of the last unit.
    expected |= {"features.3": 0.025, "features.1": 0.0125, "features.0": 0.00625}
    found = rates(job)
    for name, rate in found.items():
        (beginning,) = (key for key in expected if name.startswith(f"{key}."))
        assert rate == pytest.approx(expected[beginning]), name
    # A kernel may decay and a bias may not: two groups of each rate, but no bias below the units.
    assert len(parameter_groups(job.tagger.network, job)) == 2 * 3 + 1


def test_the_stages_of_a_mobilenet_have_the_powers_of_the_decay(store: Store) -> None:
    recipe = recipe_with(layerwise_lr_decay=0.75)
    job = make_job(store, recipe=recipe)
    network = build("mobilenet", 3, {"width": 0.1})
    tagger = replace(job.tagger, network=network)
    found = rates(replace(job, tagger=tagger, head=network.tag_tensors()))
    assert found["head.3.weight"] == found["head.3.bias"] == 0.5
    assert found["head.0.weight"] == pytest.approx(0.5 * 0.75)
    for stage in range(17):
        (rate,) = {found[name] for name in found if name.startswith(f"features.{stage}.")}
        assert rate == pytest.approx(0.5 * 0.75 ** (18 - stage)), stage


def test_a_stage_that_is_fresh_is_none_of_the_backbones(store: Store) -> None:
    job = make_job(store, recipe=recipe_with(layerwise_lr_decay=0.5))
    fresh = [key for key in job.tagger.network.state_dict() if not key.startswith("features.0")]
    found = rates(replace(job, head=frozenset(fresh)))
    assert {name: rate for name, rate in found.items() if rate != 0.5} == {
        "features.0.weight": 0.25
    }


def test_without_trained_weights_there_is_one_rate(store: Store) -> None:
    recipe = recipe_with(layerwise_lr_decay=0.5, backbone_lr_multiplier=0.1)
    assert set(rates(make_job(store, recipe=recipe)).values()) == {0.5}


@pytest.mark.parametrize("head", [HEAD, frozenset(), HEAD | {"norm.running_mean", "norm.weight"}])
def test_batch_norms_of_a_trained_backbone_alone_can_be_frozen(
    store: Store, head: frozenset[str]
) -> None:
    frozen = ("features.0",)
    job = make_job(store, recipe=recipe_with(freeze_batch_norm=True), head=head, frozen=frozen)
    parts = ("features.0", "features.1.norm.", "features.3.norm.", "norm.")
    expected = {HEAD: parts, frozenset(): parts[:1]}.get(head, parts[:3])
    assert frozen_parts(job.tagger.network, job) == expected
    freeze(job.tagger.network, job)
    for name, parameter in job.tagger.network.named_parameters():
        assert parameter.requires_grad == (not name.startswith(expected)), name


@pytest.mark.parametrize(("momentum", "is_nesterov"), [(0.9, True), (0.0, False)])
def test_sgd_has_nesterovs_momentum_where_it_has_one(
    store: Store, momentum: float, is_nesterov: bool
) -> None:
    job = make_job(store, recipe=recipe_with(optimizer="sgd", momentum=momentum))
    optimizer = build_optimizer(job.tagger.network, job)
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (
        momentum,
        is_nesterov,
    )


def test_frozen_layers_must_leave_something_to_train(store: Store) -> None:
    job = make_job(store, frozen=("",))
    freeze(job.tagger.network, job)
    with pytest.raises(UserError, match=r"tiny-0: training.frozen: .* leaves nothing to train"):
        build_optimizer(job.tagger.network, job)


def test_a_frozen_name_that_begins_no_parameter_is_refused_with_some_that_are(
    store: Store,
) -> None:
    job = make_job(store, frozen=("no_such",))
    network = job.tagger.network
    some = next(iter(dict(network.named_parameters())))
    with pytest.raises(UserError, match=f"tiny-0: .*begins with 'no_such'; .*{some}"):
        freeze(network, job)


def test_frozen_layers_stay_in_evaluation_mode(store: Store) -> None:
    network = make_job(store).tagger.network
    set_train_mode(network, ("features.0",))
    modes = {name: module.training for name, module in network.named_modules()}
    assert modes["head"]
    assert not any(mode for name, mode in modes.items() if f"{name}.".startswith("features.0."))


def test_the_mean_of_weights_follows_fast_at_first_and_then_by_its_decay(store: Store) -> None:
    network = make_job(store).tagger.network
    zeros = {key: torch.zeros_like(value) for key, value in copy_weights(network).items()}
    weight = network.state_dict()["head.weight"]
    update_ema(zeros, network, 0.999, 0)
    torch.testing.assert_close(zeros["head.weight"], 0.9 * weight)
    update_ema(zeros, network, 0.999, 100_000)
    torch.testing.assert_close(zeros["head.weight"], (0.9 + 0.1 * 0.001) * weight)
    counts = [key for key in zeros if key.endswith("num_batches_tracked")]
    assert counts
    assert all(torch.equal(zeros[key], network.state_dict()[key]) for key in counts)


def test_adam_has_the_epsilon_of_the_recipe(store: Store) -> None:
    job = make_job(store, recipe=recipe_with(adam_epsilon=1e-7))
    assert build_optimizer(job.tagger.network, job).defaults["eps"] == 1e-7


def test_adamw_shrinks_kernels_by_the_rate_times_the_decay_and_nothing_else(store: Store) -> None:
    recipe = recipe_with(optimizer="adamw", weight_decay=0.1, max_lr=0.5, base_lr=0.5, l2=3.0)
    job = make_job(store, recipe=recipe)
    network = job.tagger.network
    before = copy_weights(network)
    optimizer = build_optimizer(network, job)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in network.named_parameters():
        shrunk = before[name] * (1 - 0.5 * 0.1) if parameter.ndim > 1 else before[name]
        torch.testing.assert_close(parameter.data, shrunk)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_steps_are_those_of_torch_to_the_bit_and_go_on_from_a_checkpoint(
    store: Store, name: str
) -> None:
    """Also where torch's own has put its hooks on the class before."""
    job = make_job(store, recipe=recipe_with(optimizer=name, l2=0.003, momentum=0.9))
    network = job.tagger.network
    theirs = copy.deepcopy(network)
    groups = parameter_groups(theirs, job)
    recipe = job.recipe
    if name == "sgd":
        reference: torch.optim.Optimizer = torch.optim.SGD(
            groups, lr=recipe.base_lr, momentum=0.9, nesterov=True
        )
    else:
        of_torch = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        reference = of_torch(groups, recipe.base_lr, eps=recipe.adam_epsilon, fused=True)
    optimizer = build_optimizer(network, job)
    for step in range(6):
        if step == 3:
            state = optimizer.state_dict()
            optimizer = build_optimizer(network, job)
            optimizer.load_state_dict(state)
        for one, its in ((network, optimizer), (theirs, reference)):
            its.zero_grad()
            rng = torch.Generator().manual_seed(step)
            for parameter in one.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=rng)
            its.step()
    for ours, other in zip(network.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(ours, other)
    assert not any(parameter.grad_fn for parameter in network.parameters())
