# SPDX-License-Identifier: Apache-2.0
"""Counts of calls and their durations, as Prometheus text on a loopback port if one is asked for."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the duration histogram, in seconds."""


class Metrics:
    """Calls by method and code, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, str], int] = {}
        self._seconds: dict[str, float] = {}
        self._histograms: dict[str, list[int]] = {}
        self._sources: list[Callable[[], Iterable[str]]] = []

    def add(self, source: Callable[[], Iterable[str]]) -> None:
        """Shows lines of *source*, too, in the same format; it is called from another thread."""
        self._sources.append(source)

    def observe(self, method: str, code: str, seconds: float) -> None:
        """Counts one call of *method* that ended with *code*."""
        with self._lock:
            self._calls[method, code] = self._calls.get((method, code), 0) + 1
            self._seconds[method] = self._seconds.get(method, 0.0) + seconds
            histogram = self._histograms.get(method)
            if histogram is None:
                histogram = self._histograms[method] = [0] * (len(BUCKETS) + 1)
            histogram[bisect_left(BUCKETS, seconds)] += 1

    def text(self) -> str:
        """Everything in Prometheus' text format, version 0.0.4."""
        with self._lock:
            calls = sorted(self._calls.items())
            histograms = sorted((method, list(counts)) for method, counts in self._histograms.items())
            seconds = dict(self._seconds)
        lines = ["# HELP bms_rpc_total Calls served.", "# TYPE bms_rpc_total counter"]
        lines += [f'bms_rpc_total{{method="{method}",code="{code}"}} {count}' for (method, code), count in calls]
        lines += ["# HELP bms_rpc_seconds Durations of calls.", "# TYPE bms_rpc_seconds histogram"]
        for method, counts in histograms:
            total = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                total += count
                lines.append(f'bms_rpc_seconds_bucket{{method="{method}",le="{bound}"}} {total}')
            lines.append(f'bms_rpc_seconds_sum{{method="{method}"}} {seconds[method]:.6f}')
            lines.append(f'bms_rpc_seconds_count{{method="{method}"}} {total}')
        for source in self._sources:
            lines += source()
        return "\n".join(lines) + "\n"


def serve_metrics(metrics: Metrics, port: int) -> ThreadingHTTPServer:
    """Serves *metrics* at http://127.0.0.1:*port*/metrics until the answer's ``shutdown()`` is called."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = metrics.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the base class's
            """Keeps the access log of every scrape out of ours."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
