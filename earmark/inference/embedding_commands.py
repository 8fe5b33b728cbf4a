"""The commands that work on embeddings: `python -m earmark embed` and `search`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.errors import SomeFailed, UserError, WrongUse
from earmark.inference.output_paths import refuse_in_the_way, refuse_without_folder
from earmark.layout import Layout
from earmark.wording import counted, printable

if TYPE_CHECKING:
    from earmark.inference.embedders import SegmentEmbedder

_TABLES = (".parquet", ".csv")


def embed(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Recordings, or folders; an exported tagger first.", readable=False),
    ],
    out: Annotated[
        Path, typer.Option("--output", "--out", "-o", help="A folder; or a .parquet or .csv.")
    ],
    weights: Annotated[
        Path | None, typer.Option(help="Of a published network instead, from `convert`.")
    ] = None,
    member: Annotated[
        str, typer.Option(help="Of the ensemble; by default the one of the largest weight.")
    ] = "",
    window: Annotated[float | None, typer.Option(help="Seconds of a segment.")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds from one to the next.")] = None,
    pca: Annotated[Path | None, typer.Option(help="VGGish: post-process to 0 to 255.")] = None,
    activation: Annotated[
        str, typer.Option(help="VGGish: relu (code of 2017 to 2020; so by default), or none.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table.")] = False,
) -> None:
    """Embed recordings: one vector for each segment, into a folder that `search` reads.

    The network is one of an exported tagger, of this workspace's ensemble, or by --weights one of
    those published for AudioSet. The folder has embeddings.npy, which numpy maps into memory, and
    index.parquet with file and time of each row. The same command goes on after a break, and adds
    what is new. A table has all in one file, and is made in memory.

    Exit codes: 0; 3 where some recordings failed; 2 for wrong use; 1 for all else.
    """
    from earmark.inference.commands import find_recordings, without_tagger

    bundle, paths = without_tagger(paths)
    if bundle is not None and weights is not None:
        raise WrongUse(f"--weights: {bundle} is a tagger already; leave one of them out")
    if weights is not None and member:
        raise WrongUse("--member: is of a tagger; leave --weights out")
    if weights is None and (pca is not None or activation):
        raise WrongUse("--pca, --activation: are for VGGish; give its --weights")
    if out.suffix in _TABLES:
        _refuse_table(out, overwrite=overwrite)
    found, n_problems = find_recordings(paths)
    if not found:
        raise WrongUse("there is no recording to embed")
    lengths = {"window": window, "hop": hop}
    origin = {
        "tagger": str(bundle.absolute()) if bundle else "",
        "weights": str(weights.absolute()) if weights else "",
        "pca": str(pca.absolute()) if pca else "",
        "workspace": "" if bundle or weights else str(Layout.here().root),
    }
    embedder = _embedder(origin, member=member, activation=activation, **lengths)
    write = _into_table if out.suffix in _TABLES else _into_folder
    if n_failed := write(out, found, embedder, origin) + n_problems:
        raise SomeFailed(f"{n_failed} of the recordings could not be used; see above")


def _refuse_table(out: Path, *, overwrite: bool) -> None:
    """Refuse a table that could not be written in the end, before any work.

    Raises:
        WrongUse: it is in the way, or its folder is missing.
    """
    if out.is_dir() or not overwrite:
        refuse_in_the_way(out)
    refuse_without_folder(out)


def _embedder(
    origin: dict[str, str],
    *,
    member: str,
    window: float | None,
    hop: float | None,
    activation: str = "",
) -> "SegmentEmbedder":
    if origin["weights"]:
        _set_threads()
        from earmark.inference.embedders import of_weights

        return of_weights(
            Path(origin["weights"]),
            Layout.here().scratch_folder,
            window=window,
            hop=hop,
            pca=Path(origin["pca"]) if origin["pca"] else None,
            activation=activation,
        )
    from earmark.inference.commands import open_tagger

    tagger = open_tagger(Path(origin["tagger"]) if origin["tagger"] else None, student=False)
    from earmark.inference.embedders import of_tagger

    return of_tagger(tagger, member=member, window=window, hop=hop)


def _set_threads() -> None:
    """As params.yaml says, where there is one."""
    layout = Layout.here()
    if layout.params.exists():
        from earmark.params.reading import load_params
        from earmark.processes import set_up_process

        set_up_process(threads=load_params(layout.params).runtime.threads)


def _into_folder(
    out: Path, paths: list[Path], embedder: "SegmentEmbedder", origin: dict[str, str]
) -> int:
    """Add recordings to a folder of embeddings; returns how many of them failed."""
    from earmark.inference.embedding_store import EmbeddingWriter
    from earmark.inference.recordings import unusable_line
    from earmark.processes import progress
    from earmark.sound.unusable import UnusableAudio

    with EmbeddingWriter(out, embedder.identity, origin) as writer:
        left = [path for path in paths if not writer.is_done(path)]
        if len(left) < len(paths):
            done = f"{len(paths) - len(left)} of {len(paths)} recordings are done already"
            typer.echo(done, err=True)
        for path in progress(left, total=len(left), description="embed"):
            try:
                writer.add(path, embedder.embed(path))
            except UnusableAudio as error:
                line = unusable_line(path, error)
                typer.echo(line, err=True)
                writer.fail(path, reason=error.reason, message=line)
        n_failed, n_rows = writer.n_failed(paths), writer.n_rows
    typer.echo(f"{out}: {counted(n_rows, 'segment')}, {embedder.dims} values each", err=True)
    return n_failed


def _into_table(
    out: Path, paths: list[Path], embedder: "SegmentEmbedder", _: dict[str, str]
) -> int:
    """Write one table of file, start_seconds, e0, e1, ...; returns how many recordings failed."""
    import numpy as np
    import pandas as pd

    from earmark.inference.recordings import unusable_line
    from earmark.records import write_table
    from earmark.sound.recordings import name_of
    from earmark.sound.unusable import UnusableAudio

    tables: list[Any] = []
    n_failed = 0
    for path in paths:
        try:
            blocks = list(embedder.embed(path))
        except UnusableAudio as error:
            n_failed += 1
            typer.echo(unusable_line(path, error), err=True)
            continue
        values = np.concatenate([block.values for block in blocks])
        table = pd.DataFrame(values, columns=[f"e{dim}" for dim in range(embedder.dims)])
        table.insert(0, "start_seconds", np.concatenate([block.starts for block in blocks]))
        table.insert(0, "file", name_of(path))
        tables.append(table)
        typer.echo(printable(f"{name_of(path)}: {counted(len(table), 'segment')}"))
    if tables:
        write_table(out, pd.concat(tables, ignore_index=True))
    return n_failed


def search(
    folder: Annotated[Path, typer.Argument(help="Of embeddings, as `embed` wrote it.")],
    query: Annotated[Path, typer.Argument(help="A recording of the sound to look for.")],
    top: Annotated[int, typer.Option(min=1, help="How many segments to name.")] = 10,
    start: Annotated[
        float | None, typer.Option(min=0, help="Second of QUERY from which it counts.")
    ] = None,
    end: Annotated[float | None, typer.Option(min=0, help="And up to which.")] = None,
    tagger: Annotated[
        Path | None, typer.Option(help="The exported tagger, if it was moved.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The weights, if they were moved.")] = None,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="A .csv to write.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One json object a line.")] = False,
) -> None:
    """Find the segments of embedded recordings that sound most like a recording, or a part of it.

    QUERY is embedded by the very network that made FOLDER; its segments' mean is compared with
    every row by cosine similarity, 1 being equal. Where QUERY itself was embedded, it is found.
    """
    if start is not None and end is not None and end <= start:
        raise WrongUse(f"--end {end}: must be after --start {start}")
    if out is not None and out.suffix != ".csv":
        raise WrongUse(f"-o {out}: let the name end in .csv")
    if out is not None:
        _refuse_table(out, overwrite=overwrite)
    from earmark.inference.embedding_store import EmbeddingStore

    store = EmbeddingStore.open(folder)
    origin = dict(store.origin)
    if tagger is not None:
        origin |= {"tagger": str(tagger.absolute()), "weights": ""}
    if weights is not None:
        origin |= {"weights": str(weights.absolute()), "tagger": ""}
    embedder = _same_embedder(folder, origin, store.identity)
    from earmark.inference.embedders import mean_embedding
    from earmark.inference.search import nearest

    with _one_line():
        vector = mean_embedding(embedder, query, start=start, end=end)
    near = nearest(store.values, vector, top)
    found = store.index.iloc[near.rows].assign(similarity=near.similarities.round(6))
    if out is not None:
        from earmark.records import write_table

        write_table(out, found)
    for row in found.to_dict("records"):
        times = f"{row['start_seconds']:.2f} to {row['end_seconds']:.2f} s"
        line = printable(f"{row['file']} {times}: {row['similarity']:.3f}")
        typer.echo(json.dumps(row) if as_json else line)


@contextmanager
def _one_line() -> Iterator[None]:
    """The query is one recording: if it cannot be used, nothing is left to do."""
    from earmark.sound.unusable import UnusableAudio

    try:
        yield
    except UnusableAudio as error:
        raise UserError(str(error)) from None


def _same_embedder(
    folder: Path, origin: dict[str, str], identity: dict[str, Any]
) -> "SegmentEmbedder":
    """The embedder that made a folder of embeddings; refused if there is only another."""
    is_vggish = identity["network"] == "vggish" and origin["weights"]
    embedder = _embedder(
        origin,
        member=identity.get("member", ""),
        window=None if is_vggish else identity["window_seconds"],
        hop=None if is_vggish else identity["hop_seconds"],
        activation=identity.get("activation", ""),
    )
    from earmark.inference.embedding_store import difference

    if (differs := difference(identity, embedder.identity)) is not None:
        fix = "name its own by --tagger or --weights, or embed the recordings again"
        raise WrongUse(f"{folder}: was made by another {differs}; {fix}")
    return embedder
