"""Generate an embedded synthetic corpus, laid out as FSDKaggle2018.

Writes: data/demo/<name>/
Params: demo.<name>, seed
"""

import sys

from earmark.corpora.synthetic.corpus import DemoOptions, write_corpus
from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout, name: str) -> int:
    options = DemoOptions(**params.demo[name])
    return write_corpus(
        layout.demo(name), options, seed=params.seed, workers=params.runtime.workers
    )


if __name__ == "__main__":
    with stage("demo") as s:
        s.log.info("demo: %d synthetic clips", run(s.params, s.layout, sys.argv[1]))
