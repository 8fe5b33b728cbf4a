"""The commands of the labelling round trip: `python -m earmark suggest` and `label add`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.errors import SomeFailed, UserError, WrongUse
from earmark.inference.output_paths import refuse_without_folder
from earmark.layout import Layout
from earmark.wording import counted

if TYPE_CHECKING:
    from earmark.labelling.adding import Corpus

app = typer.Typer(no_args_is_help=True, help="Labels that you chose.")


def suggest(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Recordings, or folders; an exported tagger first.", readable=False),
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many to suggest.")] = 50,
    member: Annotated[
        str, typer.Option(help="Whose embeddings count; by default that of the largest weight.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Choose the recordings whose labels would teach the tagger most, with a page to label them.

    Recordings are chosen that the tagger is uncertain of and that differ from each other. Those
    that this workspace's corpus has labelled, and its test clips, are left out. OUT/index.html
    plays them; `label add` takes the csv that it saves. The same command goes on after a break.

    Exit codes: 0; 3 where some recordings failed; 2 for wrong use; 1 for all else.
    """
    from earmark.inference.commands import find_recordings, open_tagger, without_tagger

    bundle, paths = without_tagger(paths)
    _refuse_output(out, overwrite=overwrite)
    found, n_problems = find_recordings(paths)
    corpus = _corpus_here(is_needed=False)
    left = _unlabelled(found, corpus)
    if not left:
        raise WrongUse("there is no unlabelled recording; name a folder of others")
    tagger = open_tagger(bundle, student=False)
    from earmark.inference.embedders import of_tagger
    from earmark.labelling.suggestions import PAGE, ask, write_suggestions

    embedder = of_tagger(tagger, member=member, window=None, hop=None)
    journal = out.with_name(f"{out.name}.journal")
    asked = ask(left, tagger, embedder, journal, lambda line: typer.echo(line, err=True))
    if not asked.paths:
        journal.unlink()  # so that the same command says again what is wrong with each
        raise UserError("none of the recordings could be used; see above")
    root = corpus.root if corpus else None
    table = write_suggestions(
        out, asked, tagger, count=count, seed=seed, name_in_table=lambda p: _name(p, root)
    )
    journal.unlink()
    typer.echo(f"{out}: {len(table)} of {counted(len(asked.paths), 'unlabelled recording')}")
    typer.echo(f"next: open {out / PAGE}, choose tags, save labels.csv, then run")
    typer.echo("      python -m earmark label add labels.csv")
    if n_failed := len(asked.errors) + n_problems:
        raise SomeFailed(f"{n_failed} of the recordings could not be used; see above")


def _refuse_output(out: Path, *, overwrite: bool) -> None:
    from earmark.labelling.suggestions import CSV

    refuse_without_folder(out)
    if not out.exists():
        return
    if not (out / CSV).is_file():
        raise WrongUse(f"{out}: is there and holds no suggestions; name another folder")
    if not overwrite:
        raise WrongUse(f"{out}: is there; name another folder, or pass --overwrite")


def _corpus_here(*, is_needed: bool) -> "Corpus | None":
    """The corpus of this workspace; None where there is none, if it is not needed."""
    if not is_needed and not Layout.here().params.exists():
        return None
    layout = Layout.of_pipeline()
    from earmark.labelling.adding import Corpus
    from earmark.params.reading import load_params

    params = load_params(layout.params)
    if is_needed and params.corpus.adapter != "folder":
        fix = "labels are added to a corpus of profile folder alone"
        raise WrongUse(f"corpus.adapter: {params.corpus.adapter} has its own tables; {fix}")
    try:
        return Corpus.of(params, layout)
    except UserError as error:
        if is_needed:
            raise
        typer.echo(f"no labelled recording is left out: {error.problems[0]}", err=True)
        return None


def _unlabelled(paths: list[Path], corpus: "Corpus | None") -> list[Path]:
    """Those that are no labelled clip and no test clip of the corpus."""
    if corpus is None:
        return paths
    from earmark.sound.recordings import path_of

    clips = corpus.clips
    known = clips.loc[(clips["label"] != "") | (clips["split"] == "test"), "path"]
    files = {os.path.realpath(path_of(corpus.root, path)) for path in known}
    left = [path for path in paths if os.path.realpath(path) not in files]
    if n_known := len(paths) - len(left):
        typer.echo(f"{n_known} recordings are labelled, or test clips: left out", err=True)
    return left


def _name(path: Path, root: Path | None) -> str:
    """As the corpus' table has it: from the root, or absolute where it lies elsewhere."""
    from earmark.sound.recordings import name_of

    real = Path(os.path.realpath(path))
    if root is not None and real.is_relative_to(real_root := Path(os.path.realpath(root))):
        return name_of(real.relative_to(real_root).as_posix())
    return name_of(path.absolute())


@app.command("add")
def label_add(
    filled: Annotated[Path, typer.Argument(help="A csv with columns path and label.")],
    fold: Annotated[
        int | None, typer.Option(help="Of the new clips, if the corpus has official folds.")
    ] = None,
) -> None:
    """Add labels to the corpus: rows to its table, or files to its class folders.

    Rows without a label are passed over, what is in the corpus stays as it is, and recordings from
    elsewhere are copied into it. One that cannot be added stops all of them.
    """
    from earmark.labelling.adding import add_labels

    corpus = _corpus_here(is_needed=True)
    assert corpus is not None, "it is needed"
    for line in add_labels(filled, corpus, fold=fold):
        typer.echo(line)
    typer.echo("next: python -m earmark validate && dvc repro")
