"""Report the problems of the corpus: duplicates, label issues, licences, sound, balance.

Reads: data/clips.parquet, data/folds.parquet, data/ensemble/, data/audit_sound/, data/rounds,
    data/decoded/ and data/trimmed/ (to be heard), corpus.root (the true labels of a synthetic
    corpus), corpus.label_corrections
Writes: metrics/audit.json, data/audit/
Params: rounds, corpus.name, corpus.adapter, corpus.root, corpus.label_corrections,
    corpus.synthetic, seed
"""

from earmark.audit.result import Audit
from earmark.audit.run import audit_corpus
from earmark.layout import Layout
from earmark.params import Params
from earmark.reports.audit_files import write_audit
from stages import stage


def run(params: Params, layout: Layout) -> Audit:
    audit = audit_corpus(params, layout)
    write_audit(audit, layout, corpus=params.corpus.name, workers=params.runtime.workers)
    return audit


if __name__ == "__main__":
    with stage("audit") as s:
        done = run(s.params, s.layout)
        counts = ", ".join(
            f"{n} {severity}" for severity, n in done.metrics["findings"].items() if n
        )
        s.log.info("audit: %s; see data/audit/index.html", counts or "no findings")
