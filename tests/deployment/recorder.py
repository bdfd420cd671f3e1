"""What the gateway asks of DynamoDB: which operation on which table, seen on the wire."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S

Asked = set[tuple[str, str]]
"""(operation, table or table/index/name)"""


@contextmanager
def recorder(url: str) -> Iterator[tuple[Asked, str]]:
    """A proxy before the store at `url`: what was asked of it so far, and the proxy's own URL."""
    asked: Asked = set()
    upstream = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body)
            index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            tables = request["RequestItems"] if operation == "BatchGetItem" else [request["TableName"]]
            asked.update((operation, table + index) for table in tables)
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=PATIENCE_S)
            connection.request("POST", self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response_only(answer.status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield asked, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
