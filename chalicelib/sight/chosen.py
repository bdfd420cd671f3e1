"""Which telemetry a deployment has."""

from chalicelib.settings import Settings
from chalicelib.sight.bounded import Bounded
from chalicelib.sight.lines import Lines
from chalicelib.sight.telemetry import Telemetry


def telemetry(settings: Settings) -> Telemetry:
    return Bounded(Lines(settings.table_prefix))
