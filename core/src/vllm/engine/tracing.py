"""Owns OpenTelemetry traces: one span `llm_request` per request, with vLLM's attributes, sent over OTLP.

The span is a child of whatever OpenTelemetry's current context holds when the request is added: a server puts there what the client's
`traceparent` header says. Imports OpenTelemetry only where traces are wanted.
"""

from __future__ import annotations

import os
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter

    from vllm.engine.request_state import ParentState

__all__ = ["RequestTracer", "check_tracing"]

SPAN = "llm_request"
PATIENCE_s = 2.0
"""With a collector that does not answer, at the end: OpenTelemetry would try again for ten seconds."""
_EXPORTERS = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}
_GRPC = "grpc://"
"""An address that begins so is no other protocol's."""
_PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def check_tracing(endpoint: str) -> str:
    """The module of the exporter for this collector. Raises ConfigError where OpenTelemetry's packages are missing."""
    wanted = next((os.environ[name] for name in _PROTOCOL_VARIABLES if os.environ.get(name)), None)
    if wanted is None and endpoint.startswith(_GRPC):
        wanted = "grpc"
    if wanted is not None and wanted not in _EXPORTERS:
        raise ConfigError(
            f"Traces cannot be sent by the protocol {wanted!r} ({_PROTOCOL_VARIABLES[0]}).",
            remedy=f"set it to {' or '.join(_EXPORTERS)}",
        )
    candidates = [_EXPORTERS[wanted]] if wanted else list(_EXPORTERS.values())
    found = [module for module in candidates if _is_there("opentelemetry.sdk.trace") and _is_there(module)]
    if not found:
        raise ConfigError(
            "--otlp-traces-endpoint is given, but OpenTelemetry's packages are not installed.",
            remedy="pip install vllm-core[tracing]"
            + (" opentelemetry-exporter-otlp-proto-grpc" if wanted == "grpc" else ""),
        )
    return found[0]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


class RequestTracer:
    """One per engine, on one event loop. Spans are sent by a thread of their own, some seconds later at most."""

    def __init__(self, endpoint: str, *, model: str) -> None:
        """Raises ConfigError where OpenTelemetry's packages are missing."""
        exporter = _exporter(check_tracing(endpoint), endpoint)
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._model = model
        # OTEL_SERVICE_NAME and its like name the service
        self._provider = TracerProvider(resource=Resource.create({}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("vllm.llm_engine")
        self._contexts: dict[str, Context] = {}

    def begin(self, request_id: str) -> None:
        """A request was added in the current context."""
        from opentelemetry import context

        self._contexts[request_id] = context.get_current()

    def forget(self, request_id: str) -> None:
        """A request that the engine did not take has no span."""
        self._contexts.pop(request_id, None)

    def end(self, request: ParentState) -> None:
        """All of a request's times are known."""
        from opentelemetry.trace import SpanKind

        # By the clock of the latencies: whatever was done between its arrival and its way to the engine is part of it.
        end_ns, took_s = time.time_ns(), time.monotonic() - request.request.arrival_time_s
        self._tracer.start_span(
            SPAN,
            context=self._contexts.pop(request.request.request_id, None),
            kind=SpanKind.SERVER,
            attributes=_attributes(request, self._model),
            start_time=end_ns - int(took_s * 1e9),
        ).end(end_ns)

    def close(self) -> None:
        """Send what is left, where somebody takes it soon. May be called twice."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(PATIENCE_s)


def _exporter(module: str, endpoint: str) -> SpanExporter:
    exporter: SpanExporter = import_module(f"{module}.trace_exporter").OTLPSpanExporter(endpoint=endpoint)
    return exporter


def _attributes(request: ParentState, model: str) -> dict[str, Any]:
    """What is known; a request that was aborted in the queue has no times."""
    metrics, params, arrival_s = request.metrics, request.request.params, request.request.arrival_time_s
    found = {
        "gen_ai.request.id": request.request.request_id,
        "gen_ai.request.max_tokens": params.max_tokens,
        "gen_ai.request.temperature": params.temperature,
        "gen_ai.request.top_p": params.top_p,
        "gen_ai.request.n": params.n,
        "gen_ai.response.model": model,
        "gen_ai.usage.prompt_tokens": len(request.request.prompt_token_ids),
        "gen_ai.usage.completion_tokens": metrics.num_generation_tokens,
        "gen_ai.usage.num_sequences": len(request.children),
        "gen_ai.latency.time_to_first_token": metrics.first_token_latency if metrics.first_token_ts else None,
        "gen_ai.latency.e2e": _between_s(arrival_s, metrics.last_token_ts),
        "gen_ai.latency.time_in_queue": _between_s(arrival_s, metrics.scheduled_ts),
        "gen_ai.latency.time_in_model_prefill": _between_s(metrics.scheduled_ts, metrics.first_token_ts),
        "gen_ai.latency.time_in_model_decode": _between_s(metrics.first_token_ts, metrics.last_token_ts),
        "gen_ai.latency.time_in_model_inference": _between_s(metrics.scheduled_ts, metrics.last_token_ts),
    }
    return {name: value for name, value in found.items() if value is not None}


def _between_s(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else end_s - start_s
