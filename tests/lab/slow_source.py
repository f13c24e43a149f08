"""A source of one file that takes its time."""

from __future__ import annotations

import contextlib
import http.server
import random
import threading
import time


class SlowSource:
    """Serves one file in small pieces and understands ranges."""

    def __init__(self, address: str) -> None:
        self.content = random.Random(1).randbytes(4_000_000)  # noqa: S311 - any bytes do
        self.pause_s = 0.1
        self.ranges: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                wanted = self.headers["Range"]
                outer.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(outer.content) - start))
                self.send_header("Content-Range", f"bytes {start}-{len(outer.content) - 1}/{len(outer.content)}")
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the test kills who reads
                    for at in range(start, len(outer.content), 65536):
                        self.wfile.write(outer.content[at : at + 65536])
                        time.sleep(outer.pause_s)

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_address[1]}/weights"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
