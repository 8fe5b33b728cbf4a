"""The command line: `python -m earmark --help`."""

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import earmark.interrupts  # first, for Ctrl-C while the others are imported
from earmark.analyses.commands import app as analyse_app
from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.exporting.commands import export, page
from earmark.inference.commands import predict
from earmark.inference.embedding_commands import embed, search
from earmark.labelling.commands import app as label_app
from earmark.labelling.commands import suggest
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params, parse_params, read_yaml
from earmark.repro.commands import repro

if TYPE_CHECKING:
    from earmark.settings.kept_answers import Answer, Question

# No completion: it is of a program's name, not of `python -m earmark`.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
profile_app = typer.Typer(no_args_is_help=True, help="Settings for a corpus or a paper.")
app.add_typer(profile_app, name="profile")
app.add_typer(analyse_app, name="analyse")
app.add_typer(label_app, name="label")
for command in (repro, predict, export, page, embed, search, suggest):
    app.command()(command)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"earmark {earmark.__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From a labelled pile of recordings to an audio tagger that says how sure it is."""


@app.command()
def validate(
    params_only: Annotated[
        bool, typer.Option("--params-only", help="Leave the corpus alone.")
    ] = False,
) -> None:
    """Report everything that is wrong with params.yaml and the corpus, each with its fix."""
    from earmark.settings.kept_answers import Question, answering

    layout = Layout.here()
    question = Question(layout, params_only=params_only)
    if (lines := question.answer()) is not None:
        for line in lines:
            typer.echo(line.text, err=line.is_error)
        return
    with answering(question) as answer:
        _look(layout, question, answer, params_only=params_only)


def _look(layout: Layout, question: "Question", answer: "Answer", *, params_only: bool) -> None:
    if not params_only:
        from earmark.settings.dvc_files import dvc_problems

        if damaged := dvc_problems(layout):
            raise UserError(*damaged)
    params, problems = _checked_params(layout, question)
    if params is not None and not params_only:
        from earmark.code_digests import version_problems
        from earmark.settings.corpus_validation import corpus_problems
        from earmark.settings.unlabelled_validation import unlabelled_problems
        from earmark.settings.validation import sox_problems

        problems += corpus_problems(params, layout) + unlabelled_problems(params, layout)
        problems += version_problems(layout.root)
        problems = list(dict.fromkeys(problems + sox_problems(params)))
    if problems or params is None:
        raise UserError(*problems)
    from earmark.settings.warning_lines import warnings_of

    for warning in warnings_of(params, layout, params_only=params_only):
        answer.say(f"warning: {warning}", is_error=True)
    answer.say("params.yaml is sound" if params_only else "params.yaml and the corpus are sound")
    if not params_only:
        answer.say(_cost_line(params, layout))


def _checked_params(
    layout: Layout, question: "Question | None" = None
) -> tuple[Params | None, list[str]]:
    """The params, and what is wrong with them; the corpus is left alone."""
    raw = read_yaml(layout.params)
    params, problems = parse_params(raw, layout.params.name)
    if params is not None and question is not None:
        question.watch(raw, [params.corpus.root, params.unlabelled], params.extensions)
    if params is not None:
        from earmark.settings.model_validation import weight_problems
        from earmark.settings.validation import (
            extension_problems,
            option_problems,
            stage_problems,
        )

        problems += stage_problems(params, layout) + extension_problems(params, layout)
        problems += option_problems(params)
        problems += weight_problems(params, layout)
    return params, problems


def _cost_line(params: Params, layout: Layout) -> str:
    from earmark.processes import set_up_process

    set_up_process(threads=params.runtime.threads)  # as a stage does, before torch is imported
    from earmark.settings.cost import cost_of

    cost = cost_of(params, layout)
    unknown = f"what a run will cost is known when the recordings are in {params.corpus.root}"
    return unknown if cost is None else str(cost)


@profile_app.command("list")
def profile_list() -> None:
    """Name the profiles."""
    from earmark.settings.profiles import available

    for name, purpose in available(Layout.here()).items():
        typer.echo(f"{name:28} {purpose}")


@profile_app.command("use")
def profile_use(
    name: str,
    root: Annotated[str, typer.Option(help="The folder of the recordings.")] = "",
    table: Annotated[str, typer.Option(help="A csv with columns path and label.")] = "",
    weights: Annotated[str, typer.Option(help="Of a pretrained network, from `convert`.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A short run, to try it out.")] = False,
) -> None:
    """Write params.yaml for a profile, and say what changed and what a run will cost."""
    from earmark.settings.profiles import QUICK, use

    layout = Layout.here()
    changes = use(
        layout, name, root=root, table=table, weights=weights, cwd=Path.cwd(), quick=quick
    )
    for line in changes:
        typer.echo(line)
    if quick:
        typer.echo(QUICK)
    params, problems = _checked_params(layout)
    if problems or params is None:
        raise UserError(*problems)
    typer.echo(_cost_line(params, layout))


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="What to fetch; without it, the list.")] = "",
    into: Annotated[
        Path | None, typer.Option(help="The folder; corpora/NAME if not given.")
    ] = None,
    sha256: Annotated[list[str] | None, typer.Option(help="FILE=HEX that must come out.")] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep them in FOLDER.download.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence unasked.")] = False,
    as_list: Annotated[bool, typer.Option("--list", help="Only show what there is.")] = False,
) -> None:
    """Fetch a published corpus or weights: verified, unpacked, going on after a break."""
    from earmark.published.download import fetch as downloads

    if as_list or not name:
        typer.echo("\n".join(downloads.table()))
        return
    from earmark.settings.weight_checksums import keep_checksums, kept_checksums

    published = downloads.find(name)
    folder = into or downloads.default_folder(published)
    downloads.refuse_by_hand(published, folder)
    params = Layout.here().params
    kept = downloads.kept_pins(published, kept_checksums(params))
    pins = kept | downloads.parse_pins(sha256 or [])
    if not downloads.is_complete(published, folder, pins):
        typer.echo("\n".join(downloads.notice(published, folder)))
        if not yes and not sys.stdin.isatty():
            raise UserError("nobody is there to accept the licence; read it, and pass --yes")
        if not yes:
            typer.confirm("Do you accept the licence, and shall it be fetched?", abort=True)
    try:
        done = downloads.download(published, folder, pins=pins, keep_archives=keep_archives)
    except KeyboardInterrupt:
        raise UserError("interrupted; what has arrived is kept: run the same again") from None
    done += keep_checksums(params, downloads.unpublished_checksums(published, folder))
    typer.echo("\n".join([*done, "next:", *downloads.next_commands(published, folder)]))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Published weights; `download` has them.")],
    out: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    sha256: Annotated[str, typer.Option(help="What the source's checksum must be.")] = "",
) -> None:
    """Turn published weights into the safetensors that networks here load."""
    from earmark.published.weights.conversion import convert as converted

    typer.echo("\n".join(converted(source, out, sha256=sha256).lines(source, out)))


@app.command()
def verify_weights(
    name: Annotated[str, typer.Argument(help="As `download` calls them, such as mn04_as.")],
    weights: Annotated[Path, typer.Argument(help="As published, or as `convert` wrote them.")],
    reference: Annotated[
        Path | None, typer.Option(help="An npz: path, embedding and logits of clips.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="The folder that those paths start from.")
    ] = None,
) -> None:
    """Check published weights: their checksum, their tensors, and what the network computes."""
    from earmark.inference.verification import verify

    for line in verify(name, weights, reference=reference, recordings=recordings):
        typer.echo(line)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A member, a folder, or a git revision.")],
    second: Annotated[str, typer.Argument(help="Likewise; REVISION:MEMBER names one of its own.")],
    metric: Annotated[str, typer.Option(help="Instead of evaluate.metric.")] = "",
    test: Annotated[bool, typer.Option("--test", help="On test clips, not out of fold.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One json object.")] = False,
) -> None:
    """Say whether the second tagger is better than the first on the same clips, and for which tags.

    Each is a member of this workspace's ensemble (or "ensemble"), a folder that holds
    data/ensemble, or a git revision or DVC experiment whose results are in the cache.

    FIRST and SECOND may each be several names with commas between them, taggers that differ in
    model.seed alone: `compare mfcc_a,mfcc_b,mfcc_c logmel_a,logmel_b,logmel_c`. Then the value of
    each seed is shown, the mean and standard deviation of each side, and the difference of the
    means beside them. The interval is that of the mean probabilities over the seeds of each side:
    it says how much depends on the clips, the standard deviation how much depends on the seed.
    """
    from earmark.evaluation.comparison import compare as compare_predictions
    from earmark.evaluation.locating import locate_all

    layout = Layout.here()
    params = load_params(layout.params)
    comparison = compare_predictions(
        locate_all(first, layout),
        locate_all(second, layout),
        metric=metric or params.evaluate.metric,
        label_groups=params.evaluate.label_groups,
        on="test" if test else "validation",
        seed=params.seed,
        n_resamples=params.evaluate.n_resamples,
    )
    lines = [json.dumps(comparison.to_json())] if as_json else comparison.lines()
    typer.echo("\n".join(lines))


@app.command()
def audit() -> None:
    """Report the problems of the decoded corpus, the most severe first; writes data/audit/.

    Duplicates and sound are measured first, unless data/audit_sound/ is up to date.
    """
    from earmark.processes import set_up_process

    layout = Layout.here()
    params = load_params(layout.params)
    set_up_process(threads=params.runtime.threads)
    from earmark.audit.measurements import write_measurements
    from earmark.audit.measuring import are_current, measure_corpus
    from earmark.audit.run import audit_corpus
    from earmark.reports.audit_files import write_audit

    if not are_current(params, layout):
        write_measurements(measure_corpus(params, layout), layout.audit_sound)
    result = audit_corpus(params, layout)
    write_audit(result, layout, corpus=params.corpus.name, workers=params.runtime.workers)
    for finding in result.findings:
        typer.echo(f"{finding.severity}: {finding.topic}: {finding.title}")
    typer.echo(f"{len(result.findings)} findings; see data/audit/index.html")


@app.command()
def networks() -> None:
    """Show every network in the forms of its paper, with parameters and multiply-adds."""
    from earmark.networks.paper_configs import table

    for line in table():
        typer.echo(line)


@app.command()
def code(
    stage: Annotated[str, typer.Argument(help="A stage or key, as train.NAME; all without.")] = "",
) -> None:
    """Say what code stands behind a stage's results, and what changed since the last commit."""
    from earmark.code_digests import committed, explain

    layout = Layout.here()
    params = read_yaml(layout.params)
    typer.echo("\n".join(explain(layout.root, params, stage, old=committed(layout.root))))


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="A damaged file or folder of data/, models/, ...")],
) -> None:
    """Bring back a damaged artifact: from git, from DVC's cache, or by its stage."""
    from earmark.restoring import restore as restored
    from earmark.settings.dvc_files import DVC_FILES, dvc_problems

    layout = Layout.here()
    # It asks DVC what is known. Its own files are restored although they are damaged.
    is_dvcs = any((layout.root / name) == path.absolute() for name in DVC_FILES)
    if not is_dvcs and (damaged := dvc_problems(layout)):
        raise UserError(*damaged)
    typer.echo("\n".join(restored(path, layout)))


@app.command()
def mlflow_uri() -> None:
    """Make the MLflow store, or follow where it was moved, and print its address.

    Passwords are masked: programs take them from MLFLOW_TRACKING_URI.
    """
    from earmark.tracking.store import prepare_store, problem_and_fix

    layout = Layout.of_pipeline()
    try:
        typer.echo(prepare_store(layout))
    except Exception as error:  # whatever a database or a disk may throw
        problem, fix = problem_and_fix(layout, error)
        raise UserError(f"MLflow's store cannot be used ({problem}); {fix}") from None


def only_once() -> Callable[[logging.LogRecord], bool]:
    """A filter of lines about the corpus: a command may read its table several times."""
    logged: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_again = text in logged and record.name.startswith("earmark.corpora")
        logged.add(text)
        return not is_again

    return is_new


def main() -> None:
    with clean_exit():
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        for handler in logging.getLogger().handlers:
            handler.addFilter(only_once())
        _refuse_empty(sys.argv[1:])
        app()


def _refuse_empty(arguments: list[str]) -> None:
    """An empty path would be taken for the working directory."""
    for number, argument in enumerate(arguments, 1):
        if not argument or re.fullmatch(r"--[\w-]+=", argument):
            what = f"argument {number}, {argument!r}"
            raise UserError(f"{what}: is empty; give a name there, or leave it out")


if __name__ == "__main__":
    main()
