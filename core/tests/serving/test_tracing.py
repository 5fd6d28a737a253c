"""OpenTelemetry traces: a span per request reaches a collector, in the client's trace; without the packages the option is refused."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from core.tests.serving.spawned import spawned
from vllm.engine import tracing
from vllm.errors import ConfigError

PATIENCE_s = 60.0
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Spans:
    """What a collector was sent."""

    def __init__(self) -> None:
        self.spans: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take(self, told: Any) -> None:
        for resource in told.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put(span)


class Collector(Spans):
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        super().__init__()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(
                    ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                )
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    one = Collector()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


@contextmanager
def grpc_collector() -> Iterator[tuple[str, Spans]]:
    """The address, and what it was sent."""
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    one = Spans()

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: object) -> Any:
            one.take(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", one
        finally:
            server.stop(grace=None).wait()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_every_request_is_a_span_in_its_clients_trace(collector: Collector) -> None:
    body = {"prompt": "Count: 1 2 3", "max_tokens": 5, "ignore_eos": True, "temperature": 0.5, "top_p": 0.9, "seed": 1}
    flags = ("--otlp-traces-endpoint", collector.url, "--served-model-name", "tiny")
    environment = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    with spawned(*flags, environment=environment) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
        assert client.post("/v1/completions", json=body, headers=headers).status_code == 200
        span = collector.spans.get(timeout=PATIENCE_s)
        assert client.post("/v1/completions", json=body | {"stream": True, "n": 2}).status_code == 200
        other = collector.spans.get(timeout=PATIENCE_s)
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("llm_request", TRACE, PARENT)
    assert (other.parent_span_id, other.trace_id.hex() != TRACE) == (b"", True)
    told = attributes(span)
    assert told["gen_ai.request.id"].startswith("cmpl-mine-")
    assert {
        name: told[f"gen_ai.{name}"] for name in ("response.model", "usage.prompt_tokens", "usage.completion_tokens")
    } == {
        "response.model": "tiny",
        "usage.prompt_tokens": attributes(other)["gen_ai.usage.prompt_tokens"],
        "usage.completion_tokens": 5,
    }
    assert [told[f"gen_ai.request.{name}"] for name in ("max_tokens", "temperature", "top_p", "n")] == [5, 0.5, 0.9, 1]
    latency = {name.removeprefix("gen_ai.latency."): value for name, value in told.items() if "latency" in name}
    assert 0 < latency["time_in_queue"] < latency["time_to_first_token"] < latency["e2e"]
    parts = latency["time_in_model_prefill"] + latency["time_in_model_decode"]
    assert parts == pytest.approx(latency["time_in_model_inference"])
    assert span.end_time_unix_nano - span.start_time_unix_nano >= latency["e2e"] * 1e9
    assert attributes(other)["gen_ai.usage.completion_tokens"] == 10


def test_a_span_reaches_a_collector_over_grpc() -> None:
    with grpc_collector() as (address, collector):
        environment = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_INSECURE": "true"}
        with spawned("--otlp-traces-endpoint", f"grpc://{address}", environment=environment) as server:
            with server.client() as client:
                body = {"prompt": "Count: 1 2 3", "max_tokens": 5, "ignore_eos": True}
                assert client.post("/v1/completions", json=body).status_code == 200
            span = collector.spans.get(timeout=PATIENCE_s)
    assert (span.name, attributes(span)["gen_ai.usage.completion_tokens"]) == ("llm_request", 5)


def test_the_variable_wants_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    with grpc_collector() as (address, collector):
        tracer = tracing.RequestTracer(f"http://{address}", model="tiny")
        tracer._tracer.start_span("sent").end()
        tracer.close()
        assert collector.spans.get(timeout=PATIENCE_s).name == "sent"


def test_a_collector_that_does_not_answer_holds_no_end_up() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_s)
        tracer = tracing.RequestTracer(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", model="tiny")
        tracer._tracer.start_span("left").end()
        tracer.close()
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(PATIENCE_s)
            assert connection.recv(1 << 16)
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):  # whoever sends waits for an answer still, and has not hung up
                connection.recv(1 << 16)


def test_without_the_packages_the_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_is_there", lambda module: False)
    with pytest.raises(ConfigError, match=r"packages are not installed(.|\n)*pip install vllm-core\[tracing\]"):
        tracing.check_tracing("http://x")


def test_an_unknown_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "smoke")
    with pytest.raises(ConfigError, match="smoke"):
        tracing.check_tracing("http://x")
