"""Sight: what everybody may see of a request, and never what was said in it. Fails open: it never fails one.

    telemetry   the seam, and what is told of one request
    names       the metrics of a request, what each is called, and its unit
    trace       which trace a request belongs to, as callers and engines say it
    lines       one JSON line for each request, which CloudWatch counts: what the path uses
    chosen      which of them a deployment has
    powertools  the same by AWS's Powertools, for functions that nobody waits for
    xray        spans to AWS X-Ray                  otlp        lines, metrics and spans to OpenTelemetry's collectors
    bounded     around any of them: a sink that fails changes nothing, refusals are no flood

One metric more: its row in `names`, and in docs/sight.md; a test fails until it is there. A sink more: a class with the
three methods of `Telemetry`, its name in `wiring`, and a harness for tests/sight/test_contract.py.
"""

from chalicelib.sight.telemetry import RequestFacts, Telemetry
from chalicelib.sight.trace import UNTRACED, Trace

__all__ = ["UNTRACED", "RequestFacts", "Telemetry", "Trace"]
