"""The command line: `python -m earmark --help`."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.loading import load_params, parse_params, read_yaml

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
profile_app = typer.Typer(no_args_is_help=True, help="Settings for a corpus or a paper.")
app.add_typer(profile_app, name="profile")


@app.command()
def validate(
    params_only: Annotated[
        bool, typer.Option("--params-only", help="Leave the corpus alone.")
    ] = False,
) -> None:
    """Report everything that is wrong with params.yaml and the corpus, each with its mend."""
    layout = Layout.here()
    params, problems = parse_params(read_yaml(layout.params), layout.params.name)
    if params is not None:
        from earmark.validation import corpus_problems, option_problems, weight_problems

        problems += option_problems(params)
        problems += weight_problems(params, layout)
        if not params_only:
            problems += corpus_problems(params, layout)
    if problems:
        raise UserError(*problems)
    typer.echo("params.yaml is sound" if params_only else "params.yaml and the corpus are sound")


@profile_app.command("list")
def profile_list() -> None:
    """Name the profiles."""
    from earmark.profiles import available

    for name, purpose in available(Layout.here()).items():
        typer.echo(f"{name:16} {purpose}")


@profile_app.command("use")
def profile_use(
    name: str,
    root: Annotated[str, typer.Option(help="The folder of the recordings.")] = "",
    table: Annotated[str, typer.Option(help="A csv with columns path and label.")] = "",
) -> None:
    """Write params.yaml for a profile, and say what changed."""
    from earmark.profiles import use

    for line in use(Layout.here(), name, root=root, table=table, cwd=Path.cwd()):
        typer.echo(line)


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="How many tags to name.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One json object a line.")] = False,
) -> None:
    """Tag recordings with the trained ensemble, and say how sure it is."""
    from earmark.engine import set_up_process

    layout = Layout.here()
    params = load_params(layout.params)
    set_up_process(threads=params.runtime.threads)  # before torch is imported
    from earmark.audio import UnusableAudio
    from earmark.tagging import load_ensemble, recordings

    ensemble = load_ensemble(params.runtime, layout)
    unusable = 0
    for path in recordings(files):
        try:
            opinion = ensemble.tag(path)
        except UnusableAudio as error:
            unusable += 1
            typer.echo(f"{path}: {error.reason}: {error}", err=True)
            continue
        named = list(zip(opinion.tags, opinion.probabilities, strict=True))[:top]
        if as_json:
            said = {tag: round(probability, 6) for tag, probability in named}
            typer.echo(json.dumps({"clip": opinion.clip, "tags": said, "crops": opinion.n_crops}))
        else:
            said_text = "  ".join(f"{tag} {probability:.2f}" for tag, probability in named)
            typer.echo(f"{opinion.clip}: {said_text}")
    if unusable:
        raise UserError(f"{unusable} of the recordings could not be used; see above")


@app.command()
def networks() -> None:
    """Show every network in the forms of its paper, with parameters and multiply-adds."""
    from earmark.catalogue import table

    for line in table():
        typer.echo(line)


@app.command()
def mlflow_uri() -> None:
    """Make the MLflow store if it is not there, and print its address (for `make mlflow`)."""
    from earmark.tracking import prepare_store

    layout = Layout.here()
    try:
        typer.echo(prepare_store(layout))
    except Exception as error:  # whatever a database or a server may throw
        mend = f"is the server up? else delete {layout.home / 'mlflow'}"
        raise UserError(f"MLflow's store cannot be used ({error}); {mend}") from error


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except UserError as error:
        sys.exit("\n".join(error.problems))
    except OSError as error:
        sys.exit(f"{error.filename or 'earmark'}: {error.strerror or error}")


if __name__ == "__main__":
    main()
