"""The commands that hand a trained tagger on: as a folder, as ONNX files, or as a web page."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.errors import WrongUse
from earmark.layout import Layout

if TYPE_CHECKING:
    from earmark.inference.recording_tagger import RecordingTagger

Source = Annotated[
    Path | None, typer.Argument(help="An exported tagger; else that of this workspace.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")]


def export(
    out: Output,
    bundle: Source = None,
    student: Annotated[bool, typer.Option("--student", help="The student alone.")] = False,
    members: Annotated[
        str, typer.Option(help="Some of the ensemble's, with commas between; with their weights.")
    ] = "",
    folds: Annotated[str, typer.Option(help="Some of the folds, likewise.")] = "",
    onnx: Annotated[
        bool, typer.Option("--onnx", help="As ONNX files, with a script that tags with them.")
    ] = False,
    conv_front_end: Annotated[
        bool, typer.Option("--conv-front-end", help="For runtimes without the operator STFT.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle.")] = False,
    push: Annotated[
        str, typer.Option(help="OWNER/NAME at the Hugging Face Hub to upload it to, private.")
    ] = "",
) -> None:
    """Write the tagger into one folder that needs no workspace: `earmark predict FOLDER FILE`.

    With it go its rules and calibration, scores, licences, where it is from, and a model card.
    With --onnx the folder holds a file for each network, waveform in and probabilities out.
    """
    from earmark.inference.hub import refuse_hub

    if push:
        refuse_hub(push)
    if student and (members or folds):
        raise WrongUse("--student: is one network; leave --members and --folds out")
    if onnx:
        if push:
            raise WrongUse("--push: uploads a tagger; leave --onnx out")
        tagger = _tagger(bundle, student=student).part(_names(members), _names(folds))
        _export_onnx(tagger, out, conv_front_end=conv_front_end)
        return
    if bundle is not None:
        raise WrongUse(f"{bundle}: is exported already; with --onnx it becomes ONNX files")
    if conv_front_end:
        raise WrongUse("--conv-front-end: is of ONNX files; add --onnx")
    _export_bundle(
        out, student=student, members=members, folds=folds, overwrite=overwrite, push=push
    )


def _export_bundle(
    out: Path, *, student: bool, members: str, folds: str, overwrite: bool, push: str
) -> None:
    from earmark.inference.bundle import export as written
    from earmark.inference.hub import uploaded
    from earmark.inference.workspace import ensemble_rules, student_rules
    from earmark.params.reading import load_params

    layout = Layout.of_pipeline()
    params = load_params(layout.params)
    rules = student_rules(layout) if student else ensemble_rules(layout)
    rules = rules.part(_names(members), _names(folds))
    content = written(rules, params, layout, out, overwrite=overwrite)
    megabytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    networks = sum(len(of_member) for of_member in rules.members.values())
    typer.echo(f"{out}: {networks} networks, {len(content['files'])} files, {megabytes:.1f} MB")
    typer.echo(f"next: earmark predict {out} FILE_OR_FOLDER (README.md in it is the model card)")
    if push:
        typer.echo(uploaded(out, push))


def _export_onnx(tagger: "RecordingTagger", out: Path, *, conv_front_end: bool) -> None:
    from earmark.exporting.onnx_folder import export_onnx, lines

    front_end: Any = "conv" if conv_front_end else "stft"
    typer.echo("\n".join(lines(export_onnx(tagger, out, front_end=front_end))))


def page(
    out: Output,
    bundle: Source = None,
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

    tagger = _one_network(bundle, model, fold)
    layout = Layout.here()
    files = web_runtime(layout.home, runtime)
    ((member, (of_fold,)),) = tagger.rules.members.items()
    typer.echo(f"network: {member}, fold {of_fold}")
    info = write_page(tagger, out, runtime=files, title=title or "What is heard in it?")
    typer.echo("\n".join(lines([info])))
    typer.echo(f"see it: python -m http.server -b 127.0.0.1 -d {shlex.quote(str(out))}")


def _one_network(bundle: Path | None, model: str, fold: str) -> "RecordingTagger":
    """The network that is named; else the student, or the only one of an exported tagger."""
    from earmark.params.roster import ALL, STUDENT

    if bundle is None and not model:
        layout = Layout.of_pipeline(
            fix="name an exported tagger, or run this in the folder of dvc.yaml"
        )
        if not layout.model(STUDENT, ALL).is_dir():
            fix = "name a network, as --model MEMBER, or train one (docs/training.md)"
            raise WrongUse(f"there is no trained student here; {fix}")
        return _tagger(None, student=True)
    tagger = _tagger(bundle, student=False)
    members = tagger.rules.members
    if not model and len(members) > 1:
        raise WrongUse(f"a page runs one network; name it: --model {' or '.join(members)}")
    name = model or next(iter(members))
    first = members.get(name, [""])[0]
    return tagger.part([name], [fold or first] if fold or first else [])


def _tagger(bundle: Path | None, *, student: bool) -> "RecordingTagger":
    from earmark.inference.commands import open_tagger

    return open_tagger(bundle, student=student)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
