"""What a person reads: one line a finding, one sentence at the end."""

from collections.abc import Iterable, Iterator

from telemed.audit.proof.rules import Finding, Verdict


def finding_line(finding: Finding) -> str:
    """Write one finding, for example `record 0198… (seq 1041): altered`."""
    if finding.kind == "tail cut":
        return f"tail cut after seq {finding.seq}: {finding.detail}"
    if finding.kind == "retirement":
        return f"retirement of {finding.detail}"
    if finding.kind == "not chained":
        return f"record {finding.record_id}: not chained; {finding.detail}"
    detail = f"; {finding.detail}" if finding.detail else ""
    return f"record {finding.record_id} (seq {finding.seq}): {finding.kind}{detail}"


def report_lines(verdict: Verdict, more: tuple[Finding, ...] = (), retired: Iterable[str] = ()) -> Iterator[str]:
    """Write the whole report; *retired* are sentences on what was retired."""
    findings = (*verdict.findings, *more)
    yield from map(finding_line, findings)
    if findings:
        yield f"BROKEN: {len(findings)} {'finding' if len(findings) == 1 else 'findings'}"
    else:
        reach = f"up to seq {verdict.last_covered_seq}"
        yield f"INTACT: {verdict.covered_records} records, {reach}, are as the checkpoints say"
    if verdict.uncovered_records:
        yield (
            f"{verdict.uncovered_records} newer records are in none of these checkpoints; "
            "they were checked against the log's own chain only"
        )
    yield from retired
