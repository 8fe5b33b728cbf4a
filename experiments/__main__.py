"""The papers' tables, and the levers of the recipe: `python -m experiments --help`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.layout import Layout
from experiments.levers import LEVERS, RECIPES
from experiments.pages import check_place
from experiments.papers import TABLES

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.command("list")
def list_tables() -> None:
    """Name the tables, with their experiments and the corpus that they need."""
    for table in TABLES.values():
        n, rows = len(table.experiments), len(table.rows)
        size = f"{n} experiment{'s' if n > 1 else ''}, {rows} rows"
        typer.echo(f"{table.name:12} {table.title:40} {size:24} {table.download}")
    n = len(LEVERS) + 1
    size = f"{2 * n} experiments, {n} rows"
    typer.echo(f"{RECIPES:12} {'levers of the training recipe, each alone':40} {size:24} any")


@app.command()
def run(
    table: Annotated[str, typer.Argument(help="A name of `list`.")],
    root: Annotated[str, typer.Option(help="The corpus' folder, if it is elsewhere.")] = "",
    csv: Annotated[
        str,
        typer.Option(
            "--table", help="With --small, or recipes: a csv with columns path and label."
        ),
    ] = "",
    small: Annotated[
        bool, typer.Option("--small", help="Check every row, on any recordings, in minutes.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Experiments at a time.")] = 1,
    change: Annotated[
        list[str] | None, typer.Option("--set", "-S", help="As `dvc exp run -S`, for every row.")
    ] = None,
    lever: Annotated[
        list[str] | None, typer.Option(help="Of recipes: this row alone; may be given again.")
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Of recipes: on all folds, with one seed.")
    ] = False,
    into: Annotated[
        Path | None, typer.Option(help="Of recipes: a page whose table is replaced too.")
    ] = None,
) -> None:
    """Reproduce one table of a paper, or measure the levers of the training recipe (recipes).

    An interrupted run goes on where it stopped.
    """
    from experiments import recipes, recipes_page, runner, settings
    from experiments.queue import DvcQueue

    if table not in (names := [*TABLES, RECIPES]):
        raise UserError(f"no table {table!r}; there are {', '.join(names)}")
    _check_options(table, csv=csv, small=small, is_part=confirm or bool(lever), into=into)
    layout, cwd, changes = Layout.here(), Path.cwd(), change or []
    with _waiting():
        if table == RECIPES:
            levers = recipes.plan(
                *(layout, lever or []),
                confirm=confirm, root=root, csv=csv, small=small, changes=changes, cwd=cwd,
            )  # fmt: skip
            done = recipes_page.run(levers, layout, DvcQueue(layout), jobs=jobs, into=into)
        else:
            ready = settings.plan(
                *(TABLES[table], layout),
                root=root, csv=csv, small=small, changes=changes, cwd=cwd,
            )  # fmt: skip
            done = runner.run(ready, layout, DvcQueue(layout), jobs=jobs)
    typer.echo(done.markdown)
    if done.failed:
        fix = "see `dvc queue logs NAME`, fix it, and run the table again"
        raise UserError(*(f"{name}: failed; {fix}" for name in done.failed))


def _check_options(table: str, *, csv: str, small: bool, is_part: bool, into: Path | None) -> None:
    if table != RECIPES:
        if csv and not small:
            raise UserError(
                "--table is for --small and for recipes; the paper's corpus has its own"
            )
        if is_part or into:
            raise UserError(
                f"--lever, --confirm and --into are for {RECIPES} alone; leave them out"
            )
    elif into:
        if small or is_part:
            raise UserError(
                "--into takes the whole table; leave out --small, --lever and --confirm"
            )
        check_place(into)


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise UserError(
            "no longer waiting; the queue works on. Run the same again to wait for it, or stop it "
            "with `dvc queue stop --kill`"
        ) from None


def main() -> None:
    with clean_exit():
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        logging.getLogger("dvc").setLevel(logging.WARNING)
        app()


if __name__ == "__main__":
    main()
