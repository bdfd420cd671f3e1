"""The doors: what API Gateway and the schedules call."""

from typing import Any

import chalicelib.http.surface  # noqa: F401  # what they all need; the start has more CPU than the first request
from chalicelib import schedules
from chalicelib.api.surfaces import MODULES
from chalicelib.http.doors import Doors
from chalicelib.http.route_table import ROUTES

app = Doors("cloister", configure_logs=False)
# API Gateway passes a binary body on only where Accept names its type, and clients say */*: so everything is binary.
app.api.binary_types = ["*/*"]

app.serve(ROUTES, MODULES)  # none of them is imported yet


# Declared here, not in a blueprint: Lambda loads a blueprint's schedule by its dotted path, without the app.
@app.schedule("rate(1 minute)", name="reaper")
def reap(_event: Any) -> dict[str, int]:
    """Finish the leases of requests whose sandbox died."""
    return {"finished": schedules.reap()}


@app.schedule("rate(1 minute)", name="prober")
def probe(_event: Any) -> None:
    """Ask the targets how they are, for /health: nobody who asks there makes us ask them."""
    schedules.ask_targets()


@app.schedule("rate(1 minute)", name="publisher")
def publish(_event: Any) -> dict[str, int]:
    """Put the status page where it is still found when these doors are not, and mail who wants to hear."""
    return schedules.publish_status()


@app.schedule("rate(1 hour)", name="notary")
def sign_heads(_event: Any) -> dict[str, int]:
    """Sign what the ledger holds of each day that is over."""
    return {"signed": schedules.sign_heads()}


@app.schedule("rate(5 minutes)", name="usage")
def roll_up(event: Any) -> dict[str, int]:
    """Write what was used in each hour and day that is over; or once more what an operator's event asks for."""
    return {"written": schedules.count_again(event.detail) if event.detail else schedules.roll_up()}


@app.schedule("rate(5 minutes)", name="eraser")
def erase(_event: Any) -> dict[str, int]:
    """Erase the data of the tenants that asked for it."""
    return {"erased": schedules.erase()}


# For the routes that stream: .chalice/overlay.yaml starts uvicorn in this function, and this is not called.
@app.lambda_function(name="streaming")
def stream(event: Any, context: Any) -> Any:
    """The same doors, buffered: what is left where the overlay was not merged."""
    return app(event, context)
