"""The exchange: who may still say something once a request was answered in the application's place."""

from starlette.types import Message

from telemed.kernel.http.exchange import Exchange
from telemed.kernel.replication.exchange import Consistency
from telemed.kernel.telemetry.context import begin_trace


async def test_what_comes_after_the_answer_in_its_place_goes_nowhere() -> None:
    """Work that outlives its deadline cannot send a second response on the connection."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    scope = {"type": "http", "method": "POST", "headers": []}
    trace = begin_trace(traceparent=None, request_id=None)
    exchange = Exchange(scope, receive, send, trace=trace, consistency=Consistency.of([]), max_body_bytes=1)
    await exchange.take_over({"type": "http.response.start", "status": 503, "headers": []})
    await exchange.take_over({"type": "http.response.body", "body": b""})
    await exchange.send({"type": "http.response.start", "status": 201, "headers": []})
    await exchange.send({"type": "http.response.body", "body": b"booked"})
    assert [message.get("status") for message in sent] == [503, None]
    assert exchange.status == 503
