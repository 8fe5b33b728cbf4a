"""The command that uses a trained tagger: `python -m earmark predict`."""

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer

from earmark.errors import SomeFailed, UserError, WrongUse
from earmark.layout import Layout
from earmark.wording import counted, printable

if TYPE_CHECKING:
    from earmark.inference.recording_tagger import RecordingTagger
    from earmark.inference.tables import Naming

_DEFAULTS: dict[str, Any] = {
    "timeline": False, "window_seconds": None, "hop_seconds": None, "top": 3,
    "threshold": None, "thresholds": None, "merge": False,
}  # fmt: skip


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Recordings, or folders; an exported tagger first.", readable=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv, .jsonl or .parquet to write.")
    ] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Tag segments, not the whole recording.")
    ] = False,
    window: Annotated[float | None, typer.Option(help="Seconds of a segment.")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds from one to the next.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="How many tags to name; 3.")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Answer all tags from here upwards.")
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="A csv with columns tag and threshold, instead.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Join equal neighbours.")] = False,
    settings: Annotated[
        Path | None, typer.Option(help="As OUTPUT.settings.json; options override it.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="audacity or raven: labels into the folder -o.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One json object a line.")] = False,
    student: Annotated[
        bool, typer.Option("--student", help="By the student alone, in a fraction of the time.")
    ] = False,
) -> None:
    """Tag recordings with the trained ensemble, or an exported tagger, and say how confident it is.

    The answer comes first, the next likely tags after a bar. Probabilities are tempered on clips
    that no network had seen; how well they are calibrated comes first. Below a rejection threshold
    the answer is "unknown". With --timeline each segment has an answer.

    Exit codes: 0; 3 where some recordings failed; 2 for wrong use; 1 for all else.
    """
    from earmark.inference.tables import LABELS, VERSION

    bundle, paths = without_tagger(paths)
    if not paths:
        raise WrongUse(f"{bundle}: is a tagger; name recordings or folders after it")
    given = {
        "timeline": timeline or None, "window_seconds": window, "hop_seconds": hop, "top": top,
        "threshold": threshold, "thresholds": _read_thresholds(thresholds), "merge": merge or None,
    }  # fmt: skip
    chosen = _settings(settings, given)
    if form not in ("", *LABELS):
        raise WrongUse(f"--format {form}: there are {' and '.join(LABELS)}")
    if form and out is None:
        raise WrongUse(f"--format {form}: name a folder for the labels by -o FOLDER")
    if out is not None:
        from earmark.inference.batch import refuse_output

        refuse_output(out, form, overwrite=overwrite)
    found, n_problems = find_recordings(paths)
    if not found:
        raise WrongUse("there is no recording to tag")
    if out is not None and form:
        from earmark.inference.batch import refuse_labels

        refuse_labels(out, found, overwrite=overwrite)
    tagger = open_tagger(bundle, student=student)
    if chosen.get("tagger", tagger.digest) != tagger.digest:
        typer.echo(f"--settings {settings}: of another tagger, and used for this one", err=True)
    chosen |= {"tagger": tagger.digest, "table": VERSION}
    windows = None
    if chosen["timeline"]:
        windows = tagger.windows(chosen["window_seconds"], chosen["hop_seconds"])
        chosen |= {"window_seconds": windows.window_seconds, "hop_seconds": windows.hop_seconds}
    typer.echo(f"probabilities: {tagger.calibration(windows)}", err=True)
    naming = _naming(chosen, tagger)
    if out is None:
        n_failed = _print_all(tagger, found, chosen, naming, as_json=as_json)
    else:
        from earmark.inference.batch import tag_into

        n_failed = tag_into(
            out,
            found,
            tagger,
            chosen,
            naming,
            form=form,
            say=lambda line: typer.echo(line, err=True),
        )
        typer.echo(f"{out}: {counted(len(found) - n_failed, 'recording')}", err=True)
    if n_failed := n_failed + n_problems:
        raise SomeFailed(f"{n_failed} of the recordings could not be used; see above")


def without_tagger(paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """An exported tagger, if the first of the paths is one, and the others.

    Raises:
        WrongUse: another path is a tagger.
    """
    from earmark.inference.bundle_files import is_bundle

    for path in paths[1:]:
        if is_bundle(path):
            raise WrongUse(f"{path}: is a tagger; name one tagger, before all recordings")
    return (paths[0], paths[1:]) if is_bundle(paths[0]) else (None, paths)


def find_recordings(paths: list[Path]) -> tuple[list[Path], int]:
    """The recordings that paths name, each once; and how many paths name none, for the message."""
    from earmark.inference.recordings import recordings

    found, problems = recordings(paths)
    for problem in problems:
        typer.echo(printable(problem), err=True)
    return list(dict.fromkeys(found)), len(problems)


def _settings(path: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """The defaults, over them what a file of settings has, over it the options."""
    from earmark.inference.tables import VERSION

    chosen = dict(_DEFAULTS)
    if path is not None:
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WrongUse(f"--settings {path}: cannot be read ({error})") from None
        if not isinstance(read, dict) or read.get("table") != VERSION:
            raise WrongUse(
                f"--settings {path}: not settings of this earmark; `predict -o` writes them"
            )
        chosen |= _checked_settings(path, {key: read[key] for key in _DEFAULTS if key in read})
        chosen["tagger"] = read.get("tagger", "")
    chosen |= {key: value for key, value in given.items() if value is not None}
    if not chosen["timeline"]:
        for key in ("window_seconds", "hop_seconds", "merge"):
            if given[key] is not None:
                raise WrongUse(f"--{key.split('_')[0]}: is of a timeline; add --timeline")
    return chosen


def _checked_settings(path: Path, read: dict[str, Any]) -> dict[str, Any]:
    """Settings of a file that somebody may have edited; raises WrongUse."""
    thresholds = read.get("thresholds")
    is_right = {
        "timeline": isinstance(read.get("timeline", False), bool),
        "merge": isinstance(read.get("merge", False), bool),
        "top": isinstance(top := read.get("top", 1), int) and top >= 1 and top is not True,
        "threshold": (one := read.get("threshold")) is None or _is_probability(one),
        "thresholds": thresholds is None
        or (isinstance(thresholds, dict) and all(map(_is_probability, thresholds.values()))),
        "window_seconds": (one := read.get("window_seconds")) is None or _is_number(one),
        "hop_seconds": (one := read.get("hop_seconds")) is None or _is_number(one),
    }
    for key, is_key_right in is_right.items():
        if not is_key_right:
            fix = "correct it, or leave the key out"
            raise WrongUse(f"--settings {path}: {key} cannot be {json.dumps(read[key])}; {fix}")
    return read


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_probability(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _read_thresholds(path: Path | None) -> dict[str, float] | None:
    """The threshold of each tag, from a csv as a spreadsheet or an editor writes it."""
    if path is None:
        return None
    from earmark.corpora.text_tables import check_columns, read_cells
    from earmark.csv_files import original

    try:
        cells = read_cells(path, key="--thresholds")
        check_columns(cells, path, required=("tag", "threshold"), optional=())
    except UserError as error:
        raise WrongUse(*error.problems) from None
    thresholds: dict[str, float] = {}
    for tag, text in cells[["tag", "threshold"]].to_numpy():
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not _is_probability(value):
            fix = "give a number from 0 to 1, with a point"
            raise WrongUse(f"{path}: the threshold of {tag!r} is {text!r}; {fix}")
        if (name := original(tag)) in thresholds:
            raise WrongUse(f"{path}: {tag!r} has two thresholds; delete one of the rows")
        thresholds[name] = value
    if not thresholds:
        raise WrongUse(f"{path}: has no row; give a threshold for each tag to answer")
    return thresholds


def _naming(settings: dict[str, Any], tagger: "RecordingTagger") -> "Naming":
    from earmark.inference.tables import Naming

    thresholds = settings["thresholds"]
    if thresholds is not None and (unknown := sorted(set(thresholds) - set(tagger.tags))):
        raise WrongUse(f"thresholds: {unknown[0]!r} is no tag of this tagger")
    if settings["threshold"] is not None:
        thresholds = dict.fromkeys(tagger.tags, settings["threshold"]) | (thresholds or {})
    return Naming(top=settings["top"], thresholds=thresholds, merge=settings["merge"])


def open_tagger(bundle: Path | None, *, student: bool) -> "RecordingTagger":
    """The exported tagger, or that of this workspace.

    Raises:
        WrongUse: there is neither, or a student is asked for where there can be none.
    """
    from earmark.processes import set_up_process

    if bundle is not None:
        from earmark.inference.bundle_files import open_bundle

        if student:
            raise WrongUse(
                "--student: an exported tagger is what it is; `export --student` makes one"
            )
        opened = open_bundle(bundle)
        set_up_process(threads=opened.runtime.threads)  # before torch is imported
        from earmark.inference.bundle import load

        return load(opened)
    layout = Layout.of_pipeline(
        fix="name an exported tagger first, or run this in the folder of dvc.yaml"
    )
    from earmark.params.reading import load_params

    params = load_params(layout.params)
    set_up_process(threads=params.runtime.threads)
    from earmark.inference.workspace import load_ensemble, load_student

    return (load_student if student else load_ensemble)(params.runtime, layout)


def _print_all(
    tagger: "RecordingTagger",
    paths: list[Path],
    settings: dict[str, Any],
    naming: "Naming",
    *,
    as_json: bool,
) -> int:
    """Print what is answered for each recording; returns how many failed."""
    from earmark.inference.answers import Prediction
    from earmark.inference.batch import answers_of, rows_of
    from earmark.inference.recordings import unusable_line
    from earmark.inference.tables import timeline_lines
    from earmark.sound.recordings import name_of
    from earmark.sound.unusable import UnusableAudio

    n_failed = 0
    for path, answer in answers_of(tagger, paths, settings):
        if isinstance(answer, UnusableAudio):
            n_failed += 1
            typer.echo(unusable_line(path, answer), err=True)
            continue
        if isinstance(answer, Prediction) and naming.thresholds is None:
            top = settings["top"]
            lines = [json.dumps(answer.to_json(top)) if as_json else answer.line(top)]
        else:
            rows = rows_of(answer, naming, model=tagger.rules.name)
            lines = [json.dumps(row) for row in rows] if as_json else timeline_lines(rows)
            if not (lines or as_json or settings["timeline"]):
                lines = [f"{name_of(path)}: unknown"]  # no tag is above its threshold
        for line in lines:
            typer.echo(line if as_json else printable(line))
    return n_failed
