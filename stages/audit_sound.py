"""Find duplicates among the decoded clips, and measure their sound, for the audit.

Reads: data/clips.parquet, data/decoded/
Writes: data/audit_sound/
Params: seed
"""

from earmark.audit.measurements import Measurements, write_measurements
from earmark.audit.measuring import measure_corpus
from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout) -> Measurements:
    measurements = measure_corpus(params, layout)
    write_measurements(measurements, layout.audit_sound)
    return measurements


if __name__ == "__main__":
    with stage("audit_sound") as s:
        done = run(s.params, s.layout)
        s.log.info(
            "audit_sound: %d clips, %d pairs of duplicates",
            len(done.sound),
            len(done.search.pairs),
        )
