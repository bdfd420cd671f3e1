"""Which telemetry a deployment has."""

from functools import cache

from chalicelib.settings import BadSettings, Settings
from chalicelib.sight.bounded import Bounded
from chalicelib.sight.lines import Lines, Spans
from chalicelib.sight.telemetry import RequestFacts, Telemetry


def telemetry(settings: Settings) -> Telemetry:
    """What most deployments do not choose is loaded for nobody else."""
    service = settings.table_prefix
    spans = _spans(service) if settings.trace_percent else None
    if settings.telemetry == "powertools":
        from chalicelib.sight.powertools import Powertools

        return Bounded(Powertools(service, spans))
    if settings.telemetry == "otlp":
        try:
            from chalicelib.sight.otlp import Otlp
        except ModuleNotFoundError as missing:
            raise BadSettings(f"CLOISTER_TELEMETRY `otlp` needs requirements-otlp.txt: {missing}") from None

        return Bounded(Lines(service), Otlp(service, settings.otlp_endpoint))
    return Bounded(Lines(service, spans))


def _spans(service: str) -> Spans:
    @cache
    def by_xray() -> Spans:
        from chalicelib.sight.xray import XRay

        return XRay(service)

    def send(facts: RequestFacts) -> None:
        by_xray()(facts)

    return send
