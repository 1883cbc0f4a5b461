"""A trace of a request, made of what was measured anyway, once it is answered; OpenTelemetry is imported here alone."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from causalrec.errors import InstallationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

PATIENCE: Final = 1.0
"""Seconds that sending may take, and ending too: a collector that does not answer must not hold up a process."""
CONTEXT: Final = frozenset({b"traceparent", b"tracestate"})
Headers = Sequence[tuple[bytes, bytes]]


class Tracing:
    """
    Sends a span per request and one per stage of it to a collector, by OTLP over HTTP, from a thread of its own; what
    cannot be sent is dropped.

    The length of each stage is measured; its place is not: stages are laid one after the other from the beginning.

    Args:
        provider: makes and sends spans.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._provider = provider
        self._tracer = provider.get_tracer("causalrec")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def open(cls, endpoint: str, share: float) -> "Tracing":
        """
        Begins to send.

        Args:
            endpoint: of the collector, without /v1/traces.
            share: of the requests that come without a traceparent; one that has it is traced as it says.
        Raises: InstallationError where OpenTelemetry is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
        except ImportError as error:
            raise InstallationError(
                f"otlp_endpoint is set, but OpenTelemetry is not installed ({error}): pip install 'causalrec[tracing]'"
            ) from error
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource.create({"service.name": "causalrec"}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=PATIENCE)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def tell(
        self,
        request_id: str,
        method: str,
        route: str,
        status: int,
        seconds: float,
        headers: Headers,
        *,
        bundle_id: str | None = None,
        stages: Mapping[str, float] | None = None,
    ) -> str | None:
        """
        One request is over.

        Args:
            headers: of the request: its traceparent, where it has one, says what the span belongs to.
            stages: the seconds each took, in their order.
        Returns: the id of its trace where that is sent.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415

        ended = time.time_ns()
        begun = ended - int(seconds * 1e9)
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in CONTEXT}
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            start_time=begun,
        )
        if not span.is_recording():
            return None
        attributes = {"causalrec.request_id": request_id}
        if bundle_id is not None:
            attributes["causalrec.bundle_id"] = bundle_id
        span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status, **attributes}
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", str(status))
        inside, at = set_span_in_context(span), begun
        for stage, took in (stages or {}).items():
            child = self._tracer.start_span(stage, context=inside, start_time=at, attributes=attributes)
            at += int(took * 1e9)
            child.end(at)
        span.end(ended)
        return f"{span.get_span_context().trace_id:032x}"

    def close(self) -> None:
        """Sends what is left, if that can be done at once; what cannot ends with the process."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(PATIENCE)
