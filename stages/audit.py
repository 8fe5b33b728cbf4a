"""Say what is wrong with the corpus: duplicates, labels, licences, sound, balance.

Reads: data/clips.parquet, data/decoded/, data/folds.parquet, data/ensemble/, corpus.root (what a
    synthetic corpus knows to be true), corpus.label_corrections
Writes: metrics/audit.json, data/audit/
Params: corpus.name, corpus.adapter, corpus.root, corpus.label_corrections, corpus.synthetic, seed
"""

from earmark.audit.run import Audit, audit_corpus, write_audit
from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout) -> Audit:
    audit = audit_corpus(params, layout)
    write_audit(audit, params, layout)
    return audit


if __name__ == "__main__":
    with stage("audit") as s:
        done = run(s.params, s.layout)
        counts = ", ".join(
            f"{n} {severity}" for severity, n in done.metrics["findings"].items() if n
        )
        s.log.info("audit: %s; data/audit/index.html", counts or "nothing found")
