"""The commands `python -m earmark analyse ...`; each writes one folder of data/analyses/."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.processes import set_up_process

if TYPE_CHECKING:
    from earmark.params import Params
    from earmark.taggers.device import Device

app = typer.Typer(no_args_is_help=True, help="Show what trained models have learned.")

Member = Annotated[str, typer.Argument(help="A trained member, as models/ names it.")]
Fold = Annotated[str, typer.Option(help="The fold; the first trained one if left out.")]


@app.command()
def filters(
    model: Member,
    fold: Fold = "",
    starts: Annotated[
        int, typer.Option(min=1, help="Random starts per filter; the paper has 1.")
    ] = 8,
) -> None:
    """Draw the filters that the first layers of a SampleCNN or ReSE-2-Multi have learned."""
    layout, params, device = _start()
    from earmark.analyses import filters as analysis
    from earmark.analyses.drawing import analysis_folder
    from earmark.analyses.trained import load_trained

    trained = load_trained(layout, model, fold or None, device)
    with (
        _announced(layout, f"filters-{model}-{trained.fold}") as name,
        analysis_folder(layout, name) as folder,
    ):
        for line in analysis.write(trained, folder, device, n_starts=starts, seed=params.seed):
            typer.echo(line)


@app.command()
def attention(
    model: Member,
    recordings: Annotated[list[str], typer.Argument(help="Files, or names of the corpus' clips.")],
    fold: Fold = "",
    top: Annotated[int, typer.Option(min=1, max=8, help="How many tags to draw.")] = 4,
) -> None:
    """Draw the attention over time of a network, for the most probable tags of recordings."""
    layout, params, device = _start()
    from earmark.analyses import attention as analysis
    from earmark.analyses.drawing import analysis_folder
    from earmark.analyses.trained import load_trained

    trained = load_trained(layout, model, fold or None, device)
    with (
        _announced(layout, f"attention-{model}-{trained.fold}") as name,
        analysis_folder(layout, name) as folder,
    ):
        for recording in recordings:
            line = analysis.write(
                trained, layout, recording, folder, device, trim_=params.trim, n_tags=top
            )
            typer.echo(line)


@app.command()
def ablation(
    model: Annotated[str, typer.Argument(help="A trained fusion model.")],
    fold: Annotated[str, typer.Option(help="One fold; all trained ones if left out.")] = "",
) -> None:
    """Score a fusion model with one of its inputs set to zero, and its backbones, by category."""
    layout, params, device = _start()
    from earmark.analyses import ablation as analysis
    from earmark.analyses.drawing import analysis_folder

    name = f"ablation-{model}-{fold}" if fold else f"ablation-{model}"
    with _announced(layout, name), analysis_folder(layout, name) as folder:
        for line in analysis.write(params, layout, model, fold or None, folder, device):
            typer.echo(line)


def _start() -> "tuple[Layout, Params, Device]":
    """The layout, the params and the device; analyses compute in float32."""
    layout = Layout.here()
    params = load_params(layout.params)
    set_up_process(threads=params.runtime.threads)  # before torch is imported
    from earmark.taggers.device import Device

    device = Device.choose(params.runtime)
    return layout, params, replace(device, precision="float32")


@contextmanager
def _announced(layout: Layout, name: str) -> Iterator[str]:
    """Yield the name of an analysis; once it is done, print the folder that it is in."""
    yield name
    folder = layout.data / "analyses" / name
    typer.echo(f"figures and numbers: {folder.relative_to(Path.cwd())}/")
