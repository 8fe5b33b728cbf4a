"""The key of a training's work: all that its result depends on, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from earmark.store import Store
from earmark.taggers.device import Device
from earmark.training.job import Job, job_key
from tests.training.conftest import HEAD, clip_table, make_job, recipe_with

CHANGES: dict[str, Callable[[Job], Job]] = {
    "member": lambda job: replace(job, member="other"),
    "fold": lambda job: replace(job, fold="1"),
    "seed": lambda job: replace(job, recipe=recipe_with(seed=2)),
    "recipe": lambda job: replace(job, recipe=recipe_with(l2=0.5)),
    "frozen": lambda job: replace(job, frozen=("features.0",)),
    "head": lambda job: replace(job, head=HEAD),
    "max_patches": lambda job: replace(job, max_patches=3),
    "weights": lambda job: replace(job, metadata={"weights_from": "a"}),
    "device": lambda job: replace(
        job, device=Device(name="cpu", precision="bfloat16", channels_last=True)
    ),
    "input": lambda job: replace(
        job, tagger=replace(job.tagger, input=replace(job.tagger.input, lengths=[16]))
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_key_changes_with_what_the_result_depends_on(store: Store, name: str) -> None:
    job = make_job(store)
    assert job_key(CHANGES[name](job), "") != job_key(job, "")


def test_the_key_changes_with_the_labels_of_the_same_clips(store: Store) -> None:
    clips = clip_table(0, 18)
    clips.loc[[0, 1], "label"] = clips.loc[[1, 0], "label"].to_numpy()
    relabelled = replace(make_job(store), train=make_job(store, clips).train)
    assert job_key(relabelled, "") != job_key(make_job(store), "")


def test_the_key_changes_with_the_code_and_not_with_the_time_between_checkpoints(
    store: Store,
) -> None:
    job = make_job(store)
    assert job_key(job, "a") != job_key(job, "b")
    assert job_key(replace(make_job(store), checkpoint_seconds=9.0), "a") == job_key(job, "a")


def test_a_training_on_backbones_that_stay_as_they_are_is_keyed_by_their_weights(
    store: Store,
) -> None:
    keys = []
    for shift in (0.0, 0.0, 1.0):
        job = make_job(store)
        first = next(job.tagger.network.parameters())
        first.requires_grad_(False)
        first.data += shift
        keys.append(job_key(job, ""))
    assert keys[0] == keys[1] != keys[2]
    assert job_key(make_job(store), "") != keys[0]
