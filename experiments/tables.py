"""What a paper's table is: experiments on one profile, and rows that read their scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Column:
    """One figure of every row: a metric of metrics/scores.json, on one part of the clips.

    `part` is where the scores of a member hold it, such as `("test", "public")`. With `over_folds`
    the figure is the mean over the folds, and its standard deviation is shown too.
    """

    heading: str
    part: tuple[str, ...]
    metric: str
    over_folds: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table: the paper's figures, one per column, and the member to compare.

    `figures` has None where the paper gives nothing. An empty `experiment` is a system of other
    authors, which is cited and not run.
    """

    name: str
    figures: tuple[str | None, ...]
    experiment: str = ""
    member: str = ENSEMBLE


@dataclass(frozen=True)
class Small:
    """What `--small` changes, so that every row runs in minutes on any folder of recordings.

    `settings` come before those of the experiments; `experiments` stand in for the table's own.
    """

    settings: tuple[str, ...]
    experiments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A paper's table: its experiments are settings for `dvc exp run -S`, by name.

    `download` names the corpus for `python -m earmark download`; `notes` say what is not as in the
    paper.
    """

    name: str
    title: str
    profile: str
    download: str
    columns: tuple[Column, ...]
    experiments: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    small: Small
    notes: tuple[str, ...] = ()

    def settings_of(self, experiment: str, *, small: bool) -> tuple[str, ...]:
        if small and experiment in self.small.experiments:
            return self.small.experiments[experiment]
        return self.experiments[experiment]
