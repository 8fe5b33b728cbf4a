"""What is asked of the Hub; the library itself is an extra, and stands in here."""

import sys
from types import SimpleNamespace

import pytest

from earmark.errors import UserError, WrongUse
from earmark.inference.hub import refuse_hub, uploaded


@pytest.fixture
def asked(monkeypatch):
    calls = []

    class HfApi:
        def create_repo(self, name, **options):
            calls.append(("create", name, options))

        def upload_folder(self, **options):
            calls.append(("upload", options))
            if options["repo_id"].endswith("/refused"):
                raise RuntimeError("401 Client Error\nmore")
            return "https://hub/commit/1"

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=HfApi))
    return calls


def test_a_bundle_is_uploaded_whole_into_a_private_repository(asked, tmp_path):
    assert uploaded(tmp_path, "me/tagger") == "pushed: https://hub/commit/1"
    (_, name, options), (_, upload) = asked
    assert (name, options) == (
        "me/tagger", {"repo_type": "model", "private": True, "exist_ok": True},
    )  # fmt: skip
    assert (upload["repo_id"], upload["folder_path"]) == ("me/tagger", str(tmp_path))


def test_a_refusal_is_one_line_with_its_fix(asked, tmp_path):
    with pytest.raises(UserError, match=r"--push me/refused: .*401 Client.*`hf auth login`") as e:
        uploaded(tmp_path, "me/refused")
    assert len(e.value.problems) == 1
    assert len(asked) == 2


def test_what_cannot_be_uploaded_is_refused_before_any_work(monkeypatch):
    with pytest.raises(WrongUse, match="give OWNER/NAME"):
        refuse_hub("tagger")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(WrongUse, match="pip install huggingface_hub"):
        refuse_hub("me/tagger")
