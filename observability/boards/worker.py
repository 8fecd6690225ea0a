"""Rows of the data plane's board about what the worker does: outbox, audit trail, and its other jobs."""

from dataclasses import replace

from observability.boards.model import Colour, Kind, Panel, Target, Threshold, Unit
from observability.boards.panels import INVARIANTS
from observability.boards.stores import QUANTILES

from observability.boards import links, promql

_TABLES = 15  # so high that every job of the worker has its line

OUTBOX = (
    Panel(
        "Events that wait",
        "Due and not delivered yet; parked ones were given up on and wait for a person.",
        Unit.COUNT,
        (
            Target(promql.highest("telemed_outbox_due_events"), "due"),
            Target(promql.highest("telemed_outbox_parked_events"), "parked"),
        ),
        links.runbook("outbox-old"),
        width=6,
    ),
    Panel(
        "Age of the oldest event",
        "How long the longest waiting one is due. Beyond the line it counts as late.",
        Unit.SECONDS,
        (Target(promql.highest("telemed_outbox_oldest_due_seconds"), "oldest"),),
        links.runbook("outbox-old"),
        width=6,
        thresholds=(Threshold(30, Colour.BAD),),
    ),
    Panel(
        "Delay of delivery",
        "From what happened to who hears of it.",
        Unit.SECONDS,
        tuple(Target(promql.quantile(at, "telemed_outbox_delivery_delay_seconds"), name) for at, name in QUANTILES),
        links.runbook("outbox-old"),
        width=6,
    ),
    Panel(
        "Deliveries",
        "Failed ones are tried again later.",
        Unit.EVENTS,
        (Target(promql.rate("telemed_outbox_events_total", by=("outcome",)), "{{outcome}}"),),
        links.runbook("outbox-old"),
        width=6,
    ),
)

AUDIT = (
    Panel(
        "Audit chain",
        "Records in the chain, and how many of them were verified again. The distance closes with every pass.",
        Unit.COUNT,
        (
            Target(promql.highest("telemed_audit_chain_height"), "chained"),
            Target(promql.highest("telemed_audit_chain_verified_records"), "verified"),
        ),
        links.runbook("audit-unchained"),
        width=6,
    ),
    Panel(
        "Oldest record not chained",
        "How much an intruder could still change unseen. Beyond the line it counts as late.",
        Unit.SECONDS,
        (Target(promql.highest("telemed_audit_oldest_unchained_seconds"), "oldest"),),
        links.runbook("audit-unchained"),
        width=6,
        thresholds=(Threshold(30, Colour.BAD),),
    ),
    Panel(
        "Broken links",
        "Of the audit chain, as the continuous verification finds them. Anything but 0: do not touch the database.",
        Unit.NUMBER,
        (Target(promql.highest("telemed_audit_chain_breaks"), "broken links"),),
        links.runbook("audit-chain-broken"),
        kind=Kind.NUMBER,
        width=3,
        thresholds=(Threshold(1, Colour.BAD),),
        decimals=0,
    ),
    Panel(
        "Verified ago",
        "How long ago the last look at the chain ended.",
        Unit.SECONDS,
        (Target(promql.age("telemed_audit_chain_verified_timestamp_seconds"), "verified ago"),),
        links.runbook("audit-unchained"),
        kind=Kind.NUMBER,
        width=3,
        thresholds=(Threshold(3600, Colour.BAD),),
        decimals=0,
    ),
    Panel(
        "Late looks",
        "Share of the worker's looks that found something older than 30 seconds, of events and of audit records.",
        Unit.RATIO,
        (
            Target(
                promql.share(
                    promql.rate("telemed_freshness_checks_total", 'result="late"', by=("subject",)),
                    promql.rate("telemed_freshness_checks_total", by=("subject",)),
                ),
                "{{subject}}",
            ),
        ),
        links.SLO,
        width=6,
    ),
)

JOBS = (
    Panel(
        "Jobs of the worker",
        "How long ago each last ended well, and what failed in the time that is shown.",
        Unit.NUMBER,
        (
            Target(
                promql.age("telemed_worker_job_succeeded_timestamp_seconds", by=("job",)),
                "Succeeded",
                unit=Unit.SECONDS,
                decimals=0,
            ),
            Target(
                promql.increase("telemed_worker_jobs_total", 'outcome="failed"', by=("job",)),
                "Failed",
                decimals=0,
                thresholds=(Threshold(1, Colour.NOTICE),),
            ),
        ),
        links.runbook("worker-gone"),
        kind=Kind.TABLE,
        height=_TABLES,
        labels=("job",),
    ),
    Panel(
        "Partitions",
        "Months that are made ahead, rows that found no month of theirs, months that may be retired.",
        Unit.NUMBER,
        (
            Target(promql.lowest("telemed_partitions_ahead_months", by=("table",)), "Ahead"),
            Target(
                promql.highest("telemed_partitions_default_rows", by=("table",)),
                "Astray",
                thresholds=(Threshold(1, Colour.BAD),),
            ),
            Target(promql.highest("telemed_partitions_retirable_months", by=("table",)), "Retirable"),
        ),
        links.runbook("partition-missing"),
        kind=Kind.TABLE,
        height=_TABLES,
        labels=("table",),
    ),
    replace(INVARIANTS, height=_TABLES),
)
