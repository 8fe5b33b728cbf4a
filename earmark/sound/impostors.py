"""Say what a file is that has the name of a recording and is none."""

import re
from typing import NamedTuple


class Impostor(NamedTuple):
    """What a file is instead of a recording, and how to get the recording."""

    finding: str
    fix: str


_FETCH = "fetch the recording again, or leave it out"
_CONVERT = "convert it (`ffmpeg -i FILE NEW.wav`), or leave it out"
# What the first bytes match; the first pattern that fits decides.
_KNOWN = (
    (rb"version https://git-lfs", Impostor("is a pointer of git-lfs", "run `git lfs pull`")),
    (rb"(\.git)?/?annex/objects/", Impostor("is a pointer of git-annex", "run `git annex get`")),
    (rb"outs:\n- (md5|hash)", Impostor("is a pointer of DVC", "run `dvc pull`")),
    (rb"(?i)\W*<(!doctype html|html|head|body)", Impostor("is a web page", _FETCH)),
    (rb"(?i)\W*<(\?xml|error)", Impostor("is an XML text, such as a server's error", _FETCH)),
    (rb"\s*[{\[]\s*[\"{\[]", Impostor("is a json text, such as a server's error", _FETCH)),
    (rb"PK\x03\x04", Impostor("is a zip archive", "unpack it, or leave it out")),
    (rb"\x1f\x8b", Impostor("is a gzip archive", "unpack it, or leave it out")),
    (rb"7z\xbc\xaf|Rar!", Impostor("is an archive", "unpack it, or leave it out")),
    (rb"%PDF", Impostor("is a pdf", _FETCH)),
    (rb"\x00\x05\x16[\x00\x07]", Impostor("holds a Mac's notes on a file", "delete it")),
    (rb"(?s)....ftyp", Impostor("is an mp4 or m4a, which libsndfile cannot decode", _CONVERT)),
    (rb"\x1aE\xdf\xa3", Impostor("is a webm or mkv, which libsndfile cannot decode", _CONVERT)),
    (rb"0&\xb2u\x8ef\xcf\x11", Impostor("is a wma, which libsndfile cannot decode", _CONVERT)),
    (rb"(?s)RIFF....AVI ", Impostor("is an avi, which libsndfile cannot decode", _CONVERT)),
    (rb"\xff[\xf0\xf1\xf8\xf9]", Impostor("is an aac, which libsndfile cannot decode", _CONVERT)),
    (rb"\x00{64}", Impostor("holds nothing but zeros where its header should be", _FETCH)),
)


def impostor(head: bytes) -> Impostor | None:
    """What a file is that libsndfile cannot decode, by its first bytes; None if it is not known.

    >>> impostor(b"<!DOCTYPE html><title>404</title>").finding
    'is a web page'
    """
    for pattern, known in _KNOWN:
        if re.match(pattern, head):
            return known
    is_text = bool(head) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return Impostor("is a text", _FETCH) if is_text else None
