"""The commands that hand a trained tagger on: ONNX files, and a page that runs one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.errors import UserError
from earmark.layout import Layout

if TYPE_CHECKING:
    from earmark.exporting.onnx_folder import Networks

app = typer.Typer(no_args_is_help=True)


@app.command(hidden=True)  # until `export --onnx` calls `export_onnx`
def export_onnx(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    student: Annotated[bool, typer.Option("--student", help="The student alone.")] = False,
    conv_front_end: Annotated[
        bool, typer.Option("--conv-front-end", help="For runtimes without the operator STFT.")
    ] = False,
    member: Annotated[list[str] | None, typer.Option(help="Only this; may be repeated.")] = None,
) -> None:
    """Write the trained networks as ONNX files, with a script that tags with them."""
    from earmark.exporting.onnx_folder import export_onnx as export
    from earmark.exporting.onnx_folder import lines

    networks, metadata = _trained(Layout.here(), student=student)
    if unknown := [name for name in member or [] if name not in networks]:
        raise UserError(f"--member {unknown[0]}: there are {', '.join(networks)}")
    chosen = {name: folds for name, folds in networks.items() if not member or name in member}
    front_end: Any = "conv" if conv_front_end else "stft"
    typer.echo("\n".join(lines(export(chosen, metadata, out, front_end=front_end))))


def _trained(layout: Layout, *, student: bool) -> "tuple[Networks, dict[str, Any]]":
    """The networks of the ensemble or the student, and the rules of their answers."""
    from earmark.inference.predict import load_ensemble, load_student
    from earmark.params import Runtime
    from earmark.params.reading import load_params
    from earmark.params.roster import ALL, STUDENT

    runtime: Runtime = load_params(layout.params).runtime
    if student:
        alone = load_student(runtime, layout)
        return {STUDENT: {ALL: (alone.tagger, None)}}, alone.metadata
    ensemble = load_ensemble(runtime, layout)
    return ensemble.networks, ensemble.metadata
