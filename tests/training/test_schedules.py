"""Learning rates, and the plateau that lowers them."""

import pytest
import torch

from earmark.training.schedules import Plateau, cosine, learning_rate, triangular
from tests.training.conftest import recipe_with


def test_the_cycle_climbs_in_half_cycle_updates_and_falls_in_as_many() -> None:
    rates = [triangular(i, base=0.001, peak=0.006, half_cycle=5) for i in range(11)]
    expected = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001]
    assert rates == pytest.approx(expected)


def test_the_cycle_is_that_of_pytorch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.001)
    reference = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.001, 0.006, step_size_up=7, cycle_momentum=False
    )
    for update in range(40):
        expected = reference.get_last_lr()[0]
        assert triangular(update, base=0.001, peak=0.006, half_cycle=7) == pytest.approx(expected)
        optimizer.step()
        reference.step()


def test_the_cosine_rises_in_a_tenth_of_the_updates_and_ends_at_zero() -> None:
    rates = [cosine(i, base=0.001, peak=0.006, n_updates=100) for i in (0, 5, 10, 55, 100)]
    assert rates == pytest.approx([0.001, 0.0035, 0.006, 0.003, 0.0])
    recipe = recipe_with(schedule="cosine", epochs=10, base_lr=0.001, max_lr=0.006)
    assert learning_rate(recipe, Plateau(), update=55, n_batches=10) == pytest.approx(0.003)


def test_the_plateau_lowers_the_scale_after_patience_epochs_without_a_better_loss() -> None:
    plateau = Plateau()
    is_lowered = [plateau.step(loss, factor=0.1, patience=2) for loss in (1.0, 0.9, 0.95, 0.95)]
    assert is_lowered == [False, False, False, True]
    assert plateau.scale == pytest.approx(0.1)
    assert plateau.stage == 1
    plateau.step(0.8, factor=0.1, patience=2)
    assert plateau.scale == pytest.approx(0.1)
    assert plateau.epochs_without_improvement == 0


def test_the_plateau_scales_both_bounds_of_the_cycle() -> None:
    recipe = recipe_with(schedule="cyclical", base_lr=0.001, max_lr=0.006, half_cycle_epochs=1.0)
    plateau = Plateau(scale=0.1)
    rates = [learning_rate(recipe, plateau, update=i, n_batches=5) for i in (0, 5)]
    assert rates == pytest.approx([0.0001, 0.0006])


@pytest.mark.parametrize(("half_cycle_epochs", "n_rising"), [(0.5, 5), (2.0, 20), (3.5, 35)])
def test_the_cycle_is_as_long_as_the_recipe_says(half_cycle_epochs: float, n_rising: int) -> None:
    recipe = recipe_with(
        schedule="cyclical", base_lr=0.001, max_lr=0.006, half_cycle_epochs=half_cycle_epochs
    )
    updates = range(2 * n_rising)
    rates = [learning_rate(recipe, Plateau(), update=i, n_batches=10) for i in updates]
    assert rates.index(max(rates)) == n_rising
    assert max(rates) == pytest.approx(0.006)


def test_the_rate_of_a_stage_falls_by_the_factor_and_decays_as_in_keras() -> None:
    recipe = recipe_with(schedule="multistep", base_lr=0.01, max_lr=0.01, lr_decay=1e-3)
    plateau = Plateau(scale=0.2, stage=1, stage_updates=500)
    rate = learning_rate(recipe, plateau, update=9000, n_batches=10)
    assert rate == pytest.approx(0.01 * 0.2 / 1.5)
    constant = recipe_with(schedule="constant", base_lr=0.002)
    assert learning_rate(constant, Plateau(), update=77, n_batches=10) == 0.002
