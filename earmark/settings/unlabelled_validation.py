"""What is wrong with the folder of recordings without labels, found before anything is decoded."""

from pathlib import Path

from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.folder_checks import folder_problems
from earmark.corpora.unlabelled import copies_of, unlabelled_recordings
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import NO_RECORDINGS, STUDENT
from earmark.settings.objections import objections
from earmark.sound.headers import header_of
from earmark.sound.recordings import name_of, path_of
from earmark.wording import counted

N_HEADERS = 500  # that are read, as of the corpus


def unlabelled_problems(params: Params, layout: Layout) -> list[str]:
    """What stops a run: the folder is not there or holds no recording that could be learned."""
    folder = layout.root / params.unlabelled
    if params.unlabelled == NO_RECORDINGS:
        fix = f"restore it, as by `git checkout {NO_RECORDINGS}`"
        return [] if folder.is_file() else [f"unlabelled: {NO_RECORDINGS} is missing; {fix}"]
    if folder.is_file():
        fix = f"name a folder of recordings, or write {NO_RECORDINGS} for none"
        return [f"unlabelled: {params.unlabelled} is a file; {fix}"]
    if not folder.exists() and folder in {layout.demo(name) for name in params.demo}:
        return []  # a stage makes it
    if wrong := objections(unlabelled_recordings, folder):
        return wrong
    problems, _ = folder_problems(folder, in_repository=folder.is_relative_to(layout.root))
    problems = [line.replace("corpus.root:", "unlabelled:", 1) for line in problems]
    recordings = unlabelled_recordings(folder)
    if len(_of_corpus(params, layout, recordings)) == len(recordings):
        fix = f"name a folder of others, or write {NO_RECORDINGS} for none"
        problems.append(f"unlabelled: all of {params.unlabelled} are clips of the corpus; {fix}")
    return problems


def unlabelled_warnings(params: Params, layout: Layout) -> list[str]:
    """What of a sound folder will be left out, and that nobody learns it."""
    folder = layout.root / params.unlabelled
    if params.unlabelled == NO_RECORDINGS or not folder.is_dir():
        return []
    if not params.student:
        fix = f"add one (docs/training.md), or write {NO_RECORDINGS}"
        return [f"unlabelled: there is no {STUDENT} to learn {params.unlabelled}; {fix}"]
    warnings, recordings = [], unlabelled_recordings(folder)
    if copies := _of_corpus(params, layout, recordings):
        such = f"such as {name_of(copies[0].relative_to(folder))}"
        warnings.append(
            f"unlabelled: {len(copies)} of {counted(len(recordings), 'recording')} are clips of "
            f"the corpus, {such}; they will be left out"
        )
    looked_at = recordings[:: 1 + len(recordings) // N_HEADERS]
    if unread := [path for path in looked_at if header_of(path) is None]:
        such = f"such as that of {name_of(unread[0].relative_to(folder))}"
        warnings.append(
            f"unlabelled: {len(unread)} of {counted(len(looked_at), 'header')} looked at cannot be "
            f"read, {such}; these recordings will be left out"
        )
    return warnings


def _of_corpus(params: Params, layout: Layout, recordings: list[Path]) -> list[Path]:
    """Those whose files are clips of the corpus, where that can be read."""
    root = layout.root / params.corpus.root
    try:
        clips = find_adapter(params.corpus.adapter).read_clips(root, params.corpus.table)
    except (UserError, OSError):  # reported with the corpus, or it is not made yet
        return []
    return copies_of([path_of(root, name) for name in clips["path"].unique()], recordings)
