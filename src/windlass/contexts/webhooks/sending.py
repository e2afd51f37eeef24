"""One attempt to deliver: signed anew, sent, and told what became of it."""

from __future__ import annotations

from dataclasses import replace

from windlass.contexts.outbound.api import BadHeader, Call, Outbound, OutboundError, Purpose, Refused, host_of
from windlass.contexts.webhooks import signing
from windlass.contexts.webhooks.model import DENIED, Attempt, Delivery, Options, plain_headers
from windlass.kernel.clock import SECOND, Clock
from windlass.kernel.spans import NO_SPANS, TRACEPARENT, Spans, plain_url
from windlass.kernel.telemetry import Telemetry

READ_BYTES = 64 * 1024
"""Of an answer only the status counts; more than this is not even read."""
COUNTER = "workflows_webhook_deliveries"


class Sender:
    """Sends deliveries."""

    def __init__(
        self, outbound: Outbound, options: Options, clock: Clock, telemetry: Telemetry, spans: Spans = NO_SPANS
    ) -> None:
        self._outbound = outbound
        self._options = options
        self._clock = clock
        self._telemetry = telemetry
        self._spans = spans

    async def send(self, delivery: Delivery, seconds: float) -> Attempt:
        """Send a delivery once; whatever goes wrong is an outcome, never an error."""
        attempt = await (self._traced if self._spans.enabled else self._send)(delivery, seconds)
        of = {"run_id": delivery.run_id or "", "webhook_id": delivery.webhook_id}
        self._telemetry.count(COUNTER, of, status=attempt["status"], host=host_of(delivery.url) or "none")
        return attempt

    async def _traced(self, delivery: Delivery, seconds: float) -> Attempt:
        said = {"workflows.webhook.url": plain_url(delivery.url), "run_id": delivery.run_id or ""}
        with self._spans.span("workflows.webhook", said, parent=delivery.headers.get(TRACEPARENT)):
            above = self._spans.traceparent()
            headers = delivery.headers if above is None else {**delivery.headers, TRACEPARENT: above}
            attempt = await self._send(replace(delivery, headers=headers), seconds)
            self._spans.event("attempt_ended", {"status": attempt["status"], "code": attempt["code"] or 0})
            return attempt

    async def _send(self, delivery: Delivery, seconds: float) -> Attempt:
        body = delivery.body.encode()
        signed = signing.headers(
            delivery.scheme,
            self._options.secrets.of(delivery.tenant_id),
            webhook_id=delivery.webhook_id,
            timestamp=self._clock.now() // SECOND,
            body=body,
        )
        call = Call(
            "POST", delivery.url, {**plain_headers(delivery.headers), **signed}, body, seconds, READ_BYTES, cut=True,
            tenant=delivery.tenant_id, purpose=Purpose.WEBHOOK,
        )  # fmt: skip
        try:
            answer = await self._outbound.request(call)
        except Refused as refused:
            return Attempt(status="blocked", code=None, reason=DENIED, error=f"{DENIED}: {refused.reason}")
        except BadHeader as error:
            return Attempt(status="failed", code=None, reason=error.reason, error=str(error))
        except OutboundError as error:
            return Attempt(status="failed", code=None, reason=error.reason, error=f"{error.reason}: {error}")
        except Exception as error:  # noqa: BLE001  an attempt that breaks is one that failed, not a lost delivery
            self._telemetry.event("webhooks.attempt_broke", webhook_id=delivery.webhook_id, error=repr(error))
            name = type(error).__name__
            return Attempt(status="failed", code=None, reason="internal_error", error=f"internal_error: {name}")
        if answer.ok:
            return Attempt(status="delivered", code=answer.status, reason=None, error=None)
        reason = f"http_{answer.status}"
        return Attempt(status="failed", code=answer.status, reason=reason, error=f"{reason}: it answered so")
