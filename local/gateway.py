"""The gateway of the local system: the Chalice app through the ASGI bridge, under uvicorn.

    python -m local.gateway [--port 0 | --fd N] [--ready-fd N] [--lines-fd N]

It differs from `python -m chalicelib.http.server` in that it takes a socket that is bound already, says when
it serves, and has the local cloud, which AWS_ENDPOINT_URL names, judge signed requests, as API Gateway does on AWS. It
stands for two API Gateways: the one of its own region, and one in GovCloud.
"""

import argparse
import os
import sys
from contextlib import ExitStack

from emulators.asgi import Application
from emulators.server import serve_by
from emulators.sockets import inherited, listen
from local import layout

DRAIN_S = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.gateway")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--fd", type=int, help="a listening socket, instead of a port")
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    parser.add_argument("--lines-fd", type=int, help="where to write a line for each request; nowhere by default")
    options = parser.parse_args()
    cloud = os.environ.get("AWS_ENDPOINT_URL") or parser.error("AWS_ENDPOINT_URL must be the address of a local cloud")
    listening = inherited(options.fd) if options.fd is not None else listen(options.port)

    from msgspec.structs import replace

    from chalicelib import wiring  # after the flags: --help should not take half a second
    from chalicelib.http import bridge, server
    from chalicelib.http.protocol import Connections
    from emulators.iam.authoriser import Authoriser, LocalCloud
    from local.authoriser import iam_for_bridge
    from local.request_lines import RequestLines, Screen, SettledCalls

    regions = frozenset({wiring.settings().region, layout.GOVCLOUD_REGION})
    authoriser = Authoriser(LocalCloud(cloud), regions, wiring.clock)
    application: Application = bridge.build(iam_for_bridge(authoriser))
    with ExitStack() as opened:
        if options.lines_fd is not None:
            rooms = wiring.rooms()
            settled = SettledCalls(rooms.path.telemetry)
            told = replace(rooms, path=replace(rooms.path, telemetry=settled))
            opened.enter_context(wiring.opening_into(told))
            application = RequestLines(application, settled, Screen(options.lines_fd))
        connections = Connections(most=server.that_fit(wiring.settings().connections))
        serving = server.config(application, connections=connections, drain_s=DRAIN_S)
        serve_by(serving, server.watched(listening), ready_fd=options.ready_fd, ready={})
    return 0


if __name__ == "__main__":
    sys.exit(main())
