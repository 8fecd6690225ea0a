"""Every route says who may call it, reads strictly, and takes idempotency keys when it writes."""

from tests.support.api import ServedRoute

from telemed.contracts.access import OptionalReads, PublicReads, PublicWrites, Writes
from telemed.kernel.http.strict_json import StrictRoute

# What anybody may call, written down here so that opening a route takes two people's attention.
PUBLIC = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",  # the refresh token in its body is its key
    "POST /auth/logout",  # likewise, or the access token: also one that has just expired
    "GET /auth/jwks.json",
    "GET /booking/doctors",
    "GET /booking/doctors/{doctor_id}",
    "GET /booking/slots/search",
}
# Those of them that show more to some who are logged in.
SHOWS_MORE_TO_SOME = {"GET /booking/doctors", "GET /booking/doctors/{doctor_id}"}


def test_says_who_may_call_it(served: ServedRoute) -> None:
    """Exactly one access rule, and roles unless the route stands on the public list."""
    (rule,) = served.rules
    is_open = isinstance(rule, PublicReads | PublicWrites | OptionalReads)
    assert is_open == (served.name in PUBLIC)
    assert isinstance(rule, OptionalReads) == (served.name in SHOWS_MORE_TO_SOME)
    assert is_open or rule.roles


def test_reads_strictly(served: ServedRoute) -> None:
    """No route reads JSON that two parsers could read differently."""
    assert isinstance(served.route, StrictRoute)


def test_takes_an_idempotency_key_if_it_writes(served: ServedRoute) -> None:
    """A client whose reply got lost can always ask again, also where there is no body."""
    (rule,) = served.rules
    headers = {field.alias for found in served.dependencies() for field in found.header_params}
    assert isinstance(rule, Writes | PublicWrites) == served.changes_something
    assert ("Idempotency-Key" in headers) == served.changes_something


def test_declares_what_its_access_rule_raises(served: ServedRoute) -> None:
    """Who needs a token can be refused for the want of it, and for the role."""
    (rule,) = served.rules
    if rule.roles:
        assert {"not-authenticated"} <= served.declared
        assert "forbidden" in served.declared or len(rule.roles) == 3
    everywhere = {"invalid-request", "internal-error", "unavailable", "overloaded"}
    assert everywhere <= served.declared
    if served.changes_something:
        writes = {"payload-too-large", "request-timeout", "key-reused", "key-in-progress", "outcome-unknown"}
        assert writes <= served.declared


def test_stands_under_its_service(served: ServedRoute) -> None:
    """The ingress sends a path to a service by its first part."""
    assert served.api.path.split("/")[1] == served.service.name


def test_has_words_for_its_readers(served: ServedRoute) -> None:
    """A summary, a tag, and no trailing slash that a client could forget."""
    assert served.api.summary or served.api.description
    assert served.api.tags
    assert not served.api.path.endswith("/")


def test_public_list_holds_nothing_stale() -> None:
    """A name on the list that no route has would hide the next one that gets it."""
    from telemed.cli import DEPLOYABLES

    names = {
        ServedRoute(service, route).name
        for service in DEPLOYABLES["all"]
        for router in service.routers
        for route in router.routes
    }
    assert names >= PUBLIC


def test_no_two_routes_share_an_address() -> None:
    """The combined application answers each address with one route."""
    from telemed.cli import DEPLOYABLES

    names = [
        ServedRoute(service, route).name
        for service in DEPLOYABLES["all"]
        for router in service.routers
        for route in router.routes
    ]
    assert len(names) == len(set(names))
