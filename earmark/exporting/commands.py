"""The commands that hand a trained tagger on: ONNX files, and a page that runs one."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.errors import UserError
from earmark.layout import Layout

if TYPE_CHECKING:
    from earmark.exporting.onnx_folder import Networks
    from earmark.exporting.page import Source


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


def page(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    model: Annotated[str, typer.Option(help="A member, instead of the student.")] = "",
    fold: Annotated[str, typer.Option(help="Its fold; the first one if left out.")] = "",
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
    runtime: Annotated[
        Path | None, typer.Option(help="An unpacked onnxruntime-web, instead of npm's.")
    ] = None,
) -> None:
    """Write a static page that tags recordings in the browser, with the student or one network."""
    from earmark.exporting.onnx_folder import lines
    from earmark.exporting.page import write_page
    from earmark.exporting.web_runtime import web_runtime
    from earmark.params.reading import load_params

    layout = Layout.here()
    source = _member(layout, model, fold) if model else _student(layout)
    name = title or f"Tag a recording: {load_params(layout.params).corpus.name}"
    files = web_runtime(layout.home, runtime)
    typer.echo(f"network: {source.member}, fold {source.fold}")
    typer.echo("\n".join(lines([write_page(source, out, runtime=files, title=name)])))
    typer.echo(f"see it: python -m http.server -b 127.0.0.1 -d {shlex.quote(str(out))}")


def _student(layout: Layout) -> "Source":
    from earmark.exporting.page import Source
    from earmark.inference.predict import load_student
    from earmark.params.reading import load_params
    from earmark.params.roster import ALL, STUDENT

    if not layout.model(STUDENT, ALL).is_dir():
        fix = "name a network, as --model MEMBER, or train one (docs/training.md)"
        raise UserError(f"there is no trained student here; {fix}")
    student = load_student(load_params(layout.params).runtime, layout)
    return Source(
        tagger=student.tagger,
        extractor=None,
        member=STUDENT,
        fold=ALL,
        metadata=student.metadata,
        calibration=student.calibration(),
    )


def _member(layout: Layout, member: str, fold: str) -> "Source":
    """One network of the ensemble, with the temperature that suits one network of its model."""
    from earmark.exporting.page import Source

    networks, metadata = _trained(layout, student=False)
    if member not in networks:
        raise UserError(f"--model {member}: there are {', '.join(networks)}")
    chosen = fold or next(iter(networks[member]))
    if chosen not in networks[member]:
        raise UserError(f"--fold {fold}: {member} has {', '.join(networks[member])}")
    tagger, extractor = networks[member][chosen]
    by_rule = metadata["aggregations"][member]
    rule = by_rule.get("mean") or by_rule["mean_of_random_crops"]
    return Source(
        tagger=tagger,
        extractor=extractor,
        member=member,
        fold=chosen,
        metadata={**metadata, "temperature": rule["temperature"]},
        calibration="of one network of an ensemble, tempered on the validation clips of its "
        "model; how right they are of this network alone was not measured",
    )


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
