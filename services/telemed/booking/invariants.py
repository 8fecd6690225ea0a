"""What must never be true of appointments and slots, as queries. They prevent nothing: they are there to find.

Of what is over for a day nothing is asked any more: it was looked at hundreds of times while it lay ahead.
"""

from datetime import timedelta

from telemed.booking.slots.rules import LONGEST
from telemed.contracts.appointments import OCCUPYING
from telemed.contracts.events import APPOINTMENT_BOOKED
from telemed.kernel.invariants import Invariant, Window, invariants_job

_OCCUPYING = ", ".join(f"'{status}'" for status in sorted(OCCUPYING))
# Appointment, record and event have one instant, that of their act. Ids of version 7 begin with the time, too, so the
# primary keys find what was made lately; an hour more, as an act waits for locks between its instant and its ids.
_DAY_AGO = "CAST(:now AS timestamptz) - interval '1 day'"
_LATELY = "platform.uuid7_floor(CAST(:now AS timestamptz) - interval '25 hours')"

# By when appointments end: two days at a time for two months, and the rest, of which there is little. At 100,000 visits
# a day one statement sorts some 300,000 of them.
_STEP = timedelta(days=2)
_AHEAD: tuple[Window, ...] = (
    (timedelta(days=-1), _STEP),
    *((_STEP * place, _STEP * (place + 1)) for place in range(1, 30)),
    (_STEP * 30, timedelta(days=36_500)),
)
# What overlaps a visit of the window ends at most this much before or after it. A forged one that is longer, and
# overlaps none but those of other windows, still differs from its slot, which cannot be so long (slots/rules.py).
_MARGIN = f"interval '{LONGEST.total_seconds():.0f} seconds'"


def _overlaps(whose: str) -> str:
    """Give the appointments that begin before an earlier one of the same person has ended.

    With the latest end of all before it, which finds in one sort also what overlaps one that is not its neighbour.
    Index: appointments_occupying_until.
    """
    return f"""
        SELECT id FROM (
            SELECT id, starts_at, ends_at, max(ends_at) OVER (
                PARTITION BY {whose} ORDER BY starts_at, ends_at, id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS earlier_until
            FROM booking.appointments
            WHERE status IN ({_OCCUPYING}) AND ends_at > CAST(:since AS timestamptz) - {_MARGIN}
              AND ends_at <= CAST(:until AS timestamptz) + {_MARGIN}
        ) AS a WHERE starts_at < earlier_until AND ends_at > :since AND ends_at <= :until
    """  # noqa: S608 - our own column


# Booked slots against occupying appointments, in both directions: a slot that nobody has, an appointment whose slot is
# open, withdrawn or gone, or that has another doctor or another time than its slot. Two that both agree with one slot
# are their doctor's overlap. A side that is missing is null, and distinct from what is there. Indexes:
# slots_booked_until, appointments_occupying_until.
_SLOT_DISAGREES = f"""
    SELECT coalesce(a.id, s.id) AS id
    FROM (SELECT id, doctor_id, starts_at, ends_at FROM booking.slots
          WHERE status = 'booked' AND ends_at > :since AND ends_at <= :until) AS s
    FULL JOIN (SELECT id, slot_id, doctor_id, starts_at, ends_at FROM booking.appointments
               WHERE status IN ({_OCCUPYING}) AND ends_at > :since AND ends_at <= :until) AS a
      ON a.slot_id = s.id
    WHERE (a.doctor_id, a.starts_at, a.ends_at) IS DISTINCT FROM (s.doctor_id, s.starts_at, s.ends_at)
"""  # noqa: S608 - our own states

# Appointments without the record that says who booked them. The trail's months are kept for a year at least, so none
# of a day is retired. Indexes: appointments_pkey, records_action of the months in question.
_UNRECORDED = f"""
    SELECT a.id FROM booking.appointments AS a
    WHERE a.id >= {_LATELY} AND a.created_at >= {_DAY_AGO} AND NOT EXISTS (
        SELECT FROM audit.records AS r
        WHERE r.entity_id = a.id AND r.action = 'appointment.book' AND r.outcome = 'allowed'
          AND r.id >= {_LATELY} AND r.recorded_at >= {_DAY_AGO}
    )
"""  # noqa: S608 - our own instants

# Appointments that nobody was told of. Delivered events stay until their month is retired, a month after its end at the
# soonest. Indexes: appointments_pkey, outbox_time of the months in question.
_UNANNOUNCED = f"""
    SELECT a.id FROM booking.appointments AS a
    WHERE a.id >= {_LATELY} AND a.created_at >= {_DAY_AGO} AND NOT EXISTS (
        SELECT FROM platform.outbox AS o
        WHERE o.payload ->> 'appointment_id' = a.id::text AND o.type = '{APPOINTMENT_BOOKED}'
          AND o.occurred_at >= {_DAY_AGO}
    )
"""  # noqa: S608 - our own type

DOUBLE_BOOKED = (
    Invariant("doctor_double_booked", _overlaps("doctor_id"), _AHEAD),
    Invariant("patient_double_booked", _overlaps("patient_id"), _AHEAD),
    Invariant("slot_disagrees", _SLOT_DISAGREES, _AHEAD),
)
TOLD = (Invariant("booking_unrecorded", _UNRECORDED), Invariant("booking_unannounced", _UNANNOUNCED))

JOBS = (
    # What a look costs at 10^6 appointments ahead is in docs/proofs.md: it decides how often.
    invariants_job("invariants-booking", timedelta(minutes=5), DOUBLE_BOOKED),
    invariants_job("invariants-booking-told", timedelta(minutes=5), TOLD),
)
