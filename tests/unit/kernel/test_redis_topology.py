"""Who serves which slot, out of what several nodes say."""

import pytest

from telemed.kernel.cache.addresses import Endpoint
from telemed.kernel.cache.topology import SLOTS, Holder, Span, everything_at, merged, slot_of, spans_in

ASKED = Endpoint("asked", 7000)
REPLY = """\
aa :7000@17000,name-a myself,master - 0 0 1 connected 0-5460 5462 [93-<-bb]
bb 10.0.0.2:7001@17001,name-b,shard-id=1 master - 0 1700 2 connected 5461 5463-10922
cc 10.0.0.3:7002@17002,name-c master,fail - 0 1700 3 disconnected 10923-16383
dd 10.0.0.4:7003@17003 slave aa 0 1700 1 connected
ee :0@0 master,noaddr - 0 1700 4 disconnected 7-7
"""


def test_a_node_names_the_primaries_and_their_slots() -> None:
    """Also one that is down, until another is promoted; but not one that nobody could reach."""
    spans = spans_in(REPLY, ASKED, prefers_names=False)

    assert spans == [
        Span(0, 5460, Holder(Endpoint("name-a", 7000), "aa"), 1),
        Span(5462, 5462, Holder(Endpoint("name-a", 7000), "aa"), 1),
        Span(5461, 5461, Holder(Endpoint("10.0.0.2", 7001), "bb"), 2),
        Span(5463, 10922, Holder(Endpoint("10.0.0.2", 7001), "bb"), 2),
        Span(10923, 16383, Holder(Endpoint("10.0.0.3", 7002), "cc"), 3),
    ]


def test_with_tls_names_are_used() -> None:
    """Certificates are made out to them."""
    hosts = {span.holder.endpoint.host for span in spans_in(REPLY, ASKED, prefers_names=True)}

    assert hosts == {"name-a", "name-b", "name-c"}


def test_a_node_that_does_not_know_its_address_is_where_it_was_asked() -> None:
    """A node that nobody has met yet."""
    (span,) = spans_in("aa :7000@17000 myself,master - 0 0 1 connected 0-16383", ASKED, prefers_names=False)

    assert span.holder.endpoint == ASKED


@pytest.mark.parametrize("reply", ["nonsense", "a b c", "aa host:port@1 master - 0 0 1 connected 0-1"])
def test_nonsense_is_refused(reply: str) -> None:
    """It is no view of a cluster."""
    with pytest.raises(ValueError):  # noqa: PT011 - from whichever part
        spans_in(reply, ASKED, prefers_names=False)


def test_the_more_recent_claim_wins() -> None:
    """A primary that hung through a failover still claims its slots, under an older epoch."""
    old, new = Holder(Endpoint("old", 1), "aa"), Holder(Endpoint("new", 1), "bb")
    stale, fresh = [Span(0, 100, old, 3)], [Span(0, 100, new, 7)]

    assert merged([fresh, stale])[-1].holder == merged([stale, fresh])[-1].holder == new


def test_keys_of_one_scope_share_a_slot() -> None:
    """By their braces; and a single server has all slots."""
    assert slot_of("telemed:search:{doctor:1}:page") == slot_of("telemed:search:{doctor:1}:gone:7") < SLOTS
    assert everything_at(ASKED) == (Span(0, SLOTS - 1, Holder(ASKED)),)
