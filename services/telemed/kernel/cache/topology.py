"""Which server holds which slots: what the nodes of a cluster say of it, put together. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from telemed.kernel.cache.addresses import Endpoint

SLOTS: int = REDIS_CLUSTER_HASH_SLOTS
# Of a node that nobody should be sent to: it is being introduced, or nobody knows where it is.
_UNUSABLE = frozenset({"handshake", "noaddr"})


@dataclass(frozen=True, slots=True)
class Holder:
    """Who serves a slot. Two that differ in anything may not have the same data."""

    endpoint: Endpoint
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Slots from *first* to *last* of one holder; *epoch* says how recent the claim is."""

    first: int
    last: int
    holder: Holder
    epoch: int = 0


def slot_of(key: str) -> int:
    """Give the slot of a key; what stands between braces decides, if there are any."""
    return key_slot(key.encode())


def everything_at(endpoint: Endpoint) -> tuple[Span, ...]:
    """Give the topology of a single server."""
    return (Span(0, SLOTS - 1, Holder(endpoint)),)


def spans_in(reply: str, asked: Endpoint, *, prefers_names: bool) -> list[Span]:
    """Read what one node says (CLUSTER NODES): the primaries and their slots.

    *prefers_names*: use the host's name where one is announced, because certificates are made out to names.

    Raises:
        ValueError: that is no such answer.
    """
    spans = []
    for line in filter(str.strip, reply.splitlines()):
        node_id, address, flags, _primary, _ping, _pong, epoch, _link, *slots = line.split()
        marks = frozenset(flags.split(","))
        if "master" not in marks or marks & _UNUSABLE:
            continue
        holder = Holder(_endpoint(address, asked, prefers_names=prefers_names), node_id)
        spans += [Span(first, last, holder, int(epoch)) for first, last in _ranges(slots)]
    return spans


def merged(views: Iterable[list[Span]]) -> tuple[Span, ...]:
    """Put the views of several nodes together, the more recent claim last: it wins where they differ."""
    claims = {span for view in views for span in view}
    return tuple(sorted(claims, key=lambda span: (span.epoch, span.first, span.holder.node_id, span.holder.endpoint)))


def _endpoint(address: str, asked: Endpoint, *, prefers_names: bool) -> Endpoint:
    """Read `host:port@busport[,name[,…]]`; a node that does not know its own host is the one that was asked."""
    place, _, rest = address.partition("@")
    host, _, port = place.rpartition(":")
    name = rest.partition(",")[2].partition(",")[0]
    if name and (prefers_names or not host):
        host = name
    return Endpoint(host or asked.host, int(port))


def _ranges(slots: list[str]) -> Iterable[tuple[int, int]]:
    for text in slots:
        if text.startswith("["):  # on its way to or from another node; the present holder still answers
            continue
        first, _, last = text.partition("-")
        yield int(first), int(last or first)
