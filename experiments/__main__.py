"""The papers' tables: `python -m experiments --help`."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.layout import Layout
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


@app.command()
def run(
    table: Annotated[str, typer.Argument(help="A name of `list`.")],
    root: Annotated[str, typer.Option(help="The corpus' folder, if it is elsewhere.")] = "",
    csv: Annotated[
        str, typer.Option("--table", help="With --small: a csv with columns path and label.")
    ] = "",
    small: Annotated[
        bool, typer.Option("--small", help="Check every row, on any recordings, in minutes.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Experiments at a time.")] = 1,
    change: Annotated[
        list[str] | None, typer.Option("--set", "-S", help="As `dvc exp run -S`, for every row.")
    ] = None,
) -> None:
    """Reproduce one table of a paper; an interrupted run goes on where it stopped."""
    from experiments import runner
    from experiments.queue import DvcQueue
    from experiments.settings import plan

    if table not in TABLES:
        raise UserError(f"no table {table!r}; there are {', '.join(TABLES)}")
    if csv and not small:
        raise UserError("--table is for --small; the paper's corpus has its own")
    layout, cwd = Layout.here(), Path.cwd()
    ready = plan(
        *(TABLES[table], layout), root=root, csv=csv, small=small, changes=change or [], cwd=cwd
    )
    try:
        done = runner.run(ready, layout, DvcQueue(layout), jobs=jobs)
    except KeyboardInterrupt:
        raise UserError(
            "no longer waiting; the queue works on. Run the same again to wait for it, or stop it "
            "with `dvc queue stop --kill`"
        ) from None
    typer.echo(done.markdown)
    if done.failed:
        fix = "see `dvc queue logs NAME`, fix it, and run the table again"
        raise UserError(*(f"{name}: failed; {fix}" for name in done.failed))


def main() -> None:
    with clean_exit():
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        logging.getLogger("dvc").setLevel(logging.WARNING)
        app()


if __name__ == "__main__":
    main()
