"""Upload an exported tagger to the Hugging Face Hub: an extra, `pip install earmark[hub]`."""

import importlib.util
import re
from pathlib import Path

from earmark.errors import UserError, WrongUse, reason_of


def refuse_hub(name: str) -> None:
    """Refuse an upload that cannot be, before anything is written.

    Raises:
        WrongUse: the name is no OWNER/NAME, or the library is missing.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        raise WrongUse(f"--push {name}: give OWNER/NAME")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise WrongUse("--push: needs huggingface_hub; run `pip install huggingface_hub`")


def uploaded(bundle: Path, name: str) -> str:
    """Upload a bundle as a model repository, private where it is new; says its commit.

    Raises:
        UserError: the Hub refuses, or cannot be reached; the bundle stays where it is.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(name, repo_type="model", private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, folder_path=str(bundle), commit_message="Upload an earmark tagger"
        )
    except Exception as error:  # the library's own, and those of the network below it
        fix = "run `hf auth login`, then `export` again with --overwrite"
        raise UserError(f"--push {name}: {reason_of(error)}; {fix}") from None
    return f"pushed: {commit}"
