"""Spans of requests, to AWS X-Ray, by Powertools' Tracer over aws-xray-sdk. Loaded by the first request that is traced.

They are made once a request has ended, of its facts: nothing of a tracer runs while it does, in whichever thread, and
libraries are not patched. They leave by UDP, to the daemon that stands beside each Lambda function.
"""

from typing import Any

from aws_lambda_powertools.tracing import Tracer
from aws_xray_sdk.core.models.facade_segment import FacadeSegment
from aws_xray_sdk.core.models.segment import Segment
from aws_xray_sdk.core.models.subsegment import Subsegment

from chalicelib.sight import names
from chalicelib.sight.telemetry import RequestFacts


class XRay:
    """Implements Spans."""

    def __init__(self, service: str) -> None:
        self._service = service
        # Said, for where it is left to the environment it is switched off outside Lambda.
        self._recorder: Any = Tracer(service=service, auto_patch=False, disabled=False).provider

    def __call__(self, facts: RequestFacts) -> None:
        trace = facts.trace
        request: Any
        if trace.parent_id:  # of who called us, whose segment is not ours to end
            above = FacadeSegment("above", trace.parent_id, trace.amazons_id, True)
            request = Subsegment(self._service, "local", above)
            request.parent_id = trace.parent_id
            above.increment()
        else:
            above = request = Segment(self._service, traceid=trace.amazons_id)
        request.id, request.start_time = trace.span_id, facts.arrived_ms / 1_000
        for name, value in names.span_members(facts).items():
            request.put_annotation(name.replace(".", "_"), value)
        if facts.reason not in names.NEITHER:
            request.add_fault_flag() if facts.reason in names.OURS else request.add_error_flag()
        if facts.target:
            engine: Any = Subsegment(facts.target, "remote", above)
            engine.start_time = facts.admitted_ms / 1_000
            request.add_subsegment(engine)
            engine.close(facts.ended_ms / 1_000)
        request.close(facts.ended_ms / 1_000)
        self._recorder.emitter.send_entity(request)
