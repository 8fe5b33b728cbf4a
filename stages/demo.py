"""Generate an embedded synthetic corpus, laid out as FSDKaggle2018.

Writes: data/demo/<name>/
Params: demo.<name>, seed
"""

from earmark.corpora.synthetic.corpus import write_corpus
from earmark.corpora.synthetic.options import DemoOptions
from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout, corpus: str) -> int:
    options = DemoOptions(**params.demo[corpus])
    return write_corpus(
        layout.demo(corpus), options, seed=params.seed, workers=params.runtime.workers
    )


if __name__ == "__main__":
    with stage("demo", "corpus") as s:
        s.log.info("demo: %d synthetic clips", run(s.params, s.layout, **s.arguments))
