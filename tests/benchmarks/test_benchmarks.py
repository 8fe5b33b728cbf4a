"""The benchmarks measure what they say: networks, batches, and the splits of clips."""

import json
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from benchmarks import batch_source, chaos, coverage, gpu, growth, precision, results, turns
from benchmarks.alone import Cost
from benchmarks.tiny_clone import Clone, Lost
from benchmarks.train_step import NETWORKS, batch_size_of, config_of, forward_passes
from earmark.networks.paper_configs import cost, zeros
from earmark.seeding import rng_for
from earmark.taggers.device import Device
from earmark.training.checkpoints import copy_weights
from tests.benchmarks.busy import busy, made_slowly


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_source, "STORE_BYTES", 2**23)


def shapes(x: object) -> list[torch.Size]:
    parts = x if isinstance(x, tuple) else (x,)
    return [part.shape[1:] for part in parts]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_made_batch_has_the_shape_that_the_network_reads(name: str) -> None:
    config = config_of(name)
    sampler = batch_source.source(config, 4)
    rng = rng_for(0, "test")
    batch = sampler.gather(sampler.order(rng)[0][:4], rng)
    x = sampler.input.tensor(batch.segments, "cpu")
    assert shapes(x) == shapes(zeros(config.shape))
    assert batch.targets.shape == (4, config.n_tags)


def test_large_networks_get_small_batches_and_small_ones_those_of_training() -> None:
    assert batch_size_of(config_of("resnet1d")) == 4
    assert batch_size_of(config_of("soundnet")) == batch_source.base_recipe().batch_size


def test_a_step_on_frozen_backbones_costs_one_forward_pass_and_any_other_three() -> None:
    assert forward_passes(config_of("cnn_comb")) == 1
    assert forward_passes(config_of("segment_dnn")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soundnet", "cnn_comb"])
def test_a_step_of_the_gpu_s_benchmark_trains_and_is_the_same_wherever_features_are(
    name: str,
) -> None:
    device = Device(name="cpu", precision="float32", channels_last=True)
    ours, fed = (
        gpu.bench_of(config_of(name), 2, device, is_resident=is_resident)
        for is_resident in (True, False)
    )
    before = copy_weights(ours.state.network)
    for step in (ours.step, fed.step):
        step(0)
    after, theirs = (copy_weights(bench.state.network) for bench in (ours, fed))
    assert all(torch.equal(after[key], theirs[key]) for key in after)
    assert any(not torch.equal(after[key], before[key]) for key in after)
    others = [gpu.bench_of(config_of(name), 2, device, is_resident=True) for _ in range(2)]
    in_turn = gpu.in_turn(others, is_cuda=False)
    for number in range(2):
        in_turn(number)
    for bench in others:
        steps = copy_weights(bench.state.network)
        assert all(torch.equal(steps[key], after[key]) for key in after)
    gpu.alone(ours)(0)
    assert any(not torch.equal(v, after[k]) for k, v in ours.state.network.state_dict().items())


def test_the_time_of_a_run_counts_steps_and_validations_of_all_folds_and_epochs() -> None:
    row = gpu.Row("soundnet", config_of("soundnet"), 32, resident=0.01, fed=0.02, alone=0.008,
                  ratio=turns.Spread(2, 2, 2), validation=0.001)  # fmt: skip
    assert row.input_share == pytest.approx(0.2)
    assert row.run_seconds == pytest.approx(400 * (266 * 0.01 + 947 * 0.001))
    assert row.of_peak(2 * row.of_peak(1.0)) == pytest.approx(0.5)
    at_peak = row._replace(resident=32 * 0.0003, validation=0.0001)  # three forward passes a step
    peak = cost(row.config).n_multiply_adds / 0.0001
    assert row.least_seconds(peak) == pytest.approx(at_peak.run_seconds)


def test_every_tag_trains_validates_and_tests_in_the_precision_check() -> None:
    clips = pd.DataFrame({"clip": [f"c{i}" for i in range(48)], "label": ["a", "b", "c"] * 16})
    counts = precision.with_splits(clips).groupby(["label", "split"]).size().unstack()
    assert (counts == [8, 6, 2]).all(axis=None)  # test, train, validation


def test_the_table_of_coverage_counts_intervals_and_false_alarms() -> None:
    population = coverage.Population(4, 0.0, is_multi_label=False, clips_per_recording=1)
    tallies = coverage.coverage(population, 60, 3)
    assert tallies["accuracy"].n_shown == tallies["p accuracy"].n_shown == 3
    assert tallies["accuracy"].n_right >= 2
    assert coverage.Tally(19, 20).text(40) == "0.950 (50%)"
    shares = (coverage.Tally(n, 100) for n in (85, 90, 100))  # 0.90: luck at two deviations
    assert [tally.is_off for tally in shares] == [True, False, False]
    assert not coverage.Tally().is_off


LOCK = """\
stages:
  trim:
    outs: [{path: data/trimmed, md5: aa11.dir}]
  train:
    outs: [{path: models/m, md5: bb22.dir}, {path: metrics/m.json, md5: cc33}]
"""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    one = Clone(tmp_path / "disk", tmp_path / "finished", has_own_disk=True)
    cache = ".dvc/cache/files/md5"
    for name in (f"{cache}/aa/11.dir", f"{cache}/bb/22.dir", ".dvc/cache/runs/1", "data/trimmed/a",
                 "models/m/w", "metrics/m.json"):  # fmt: skip
        (one.root / name).parent.mkdir(parents=True, exist_ok=True)
        (one.root / name).write_text("made")
    (one.root / "dvc.lock").write_text(LOCK)
    one.root.rename(one.finished)
    one.root.mkdir()
    one.restore()
    return one


def test_forgotten_stages_are_gone_from_workspace_lock_and_cache(clone: Clone) -> None:
    clone.forget(["train"])
    left = {str(path.relative_to(clone.root)) for path in clone.root.rglob("*") if path.is_file()}
    assert left == {"data/trimmed/a", "dvc.lock", ".dvc/cache/files/md5/aa/11.dir"}
    assert "train" not in (clone.root / "dvc.lock").read_text()


@pytest.mark.parametrize("name", ["metrics/m.json", "dvc.lock", "data/.trimmed.7.part/a"])
def test_a_round_is_lost_where_files_differ_or_something_half_made_is_left(
    name: str, clone: Clone
) -> None:
    chaos.check_files(clone)
    (clone.root / name).parent.mkdir(exist_ok=True)
    (clone.root / name).write_text("other")
    with pytest.raises(Lost, match=name):
        chaos.check_files(clone)


def test_a_signal_finds_stages_and_workers_and_whatever_goes_on_is_seen(clone: Clone) -> None:
    code = "import time; time.sleep(60)"  # not input(): of a closed stdin it returns at once
    worker = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    (clone.root / "stages").mkdir()
    (clone.root / "stages" / "made_up.py").write_text(worker)
    process = clone.start("sh", "-c", "python -m stages.made_up; true")
    try:
        found = None
        while found is None or code not in found.cmdline():  # it may not be itself yet
            found = clone.target("worker", process.pid)
            assert process.poll() is None
        assert clone.target("dvc", process.pid).pid == process.pid
        assert "stages.made_up" in clone.target("stage", process.pid).cmdline()
        assert {found.pid, process.pid} < {one.pid for one in clone.processes()}
    finally:
        for one in clone.processes():
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.communicate(timeout=90)
    assert not clone.left(90)


def test_a_table_replaces_what_stands_between_its_markers_and_nothing_else() -> None:
    text = "before\n<!-- a -->\nold | row\n<!-- end of a -->\nafter <!-- b -->\n<!-- end of b -->\n"
    table = results.markdown([["step", "ratio"], ["decode", r"1.2 \d"]])
    replaced = results.with_table(text, "a", table)
    assert replaced == (
        "before\n<!-- a -->\n| step | ratio |\n| --- | --- |\n| decode | 1.2 \\d |\n"
        "<!-- end of a -->\nafter <!-- b -->\n<!-- end of b -->\n"
    )
    assert results.with_table(replaced, "a", table) == replaced
    with pytest.raises(ValueError, match="end of c"):
        results.with_table(text, "c", table)


def test_the_page_has_a_table_for_every_section_that_is_recorded() -> None:
    recorded = json.loads(results.RECORD.read_text())
    assert set(recorded) <= {"preparation", "training", "duplicates", "growth"}
    for section in recorded:
        assert results.with_table(results.PAGE.read_text(), section, ["x"]).count("\nx\n") == 1


def test_turns_count_processor_time_of_work_alone_and_not_of_its_making() -> None:
    ways = [turns.Way(partial(busy, 0.05)), turns.Way(partial(made_slowly, 0.2))]
    long, nothing = turns.seconds_in_turns(ways, 2)
    assert len(long) == len(nothing) == 2
    assert min(long) >= 0.04
    assert max(nothing) < min(long)


def test_what_a_further_clip_takes_leaves_the_start_of_a_stage_out() -> None:
    small, large = Cost(1.5, 100, 50), Cost(3.0, 100, 50)
    assert growth.marginal(small, large, 500, 2000) == pytest.approx(1.0)


def test_crops_of_given_clips_come_from_those_clips() -> None:
    clips = [np.full((n, 80), n, np.float16) for n in (5, 40)]
    sampler = batch_source.sampler_of("logmel", clips, 20, batch_size=2)
    batch = sampler.gather(np.array([1]), rng_for(0, "test"))
    assert batch.segments.shape == (1, 20, 80)
    assert (np.asarray(batch.segments) == 40).all()
