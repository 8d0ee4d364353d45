"""An S3 server on loopback: moto's, in an environment of its own, with requests that fail.

`python tests/s3_server.py FAIL_ONE_OF` prints its port, then serves until it is ended. Of the
requests that read, one of FAIL_ONE_OF, as drawn, is answered with 503 SlowDown, the way that S3
says it is overloaded; 0 for none. The bucket `denied` may not be read at all. `GET /-/counts`
tells how many were asked and refused. It imports nothing of Pneumoscope: moto wants other
versions than the tests' environment has.
"""

import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

_ERROR = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{0}</Message></Error>"


class Failing:
    """A WSGI application in front of another one."""

    def __init__(self, application: Callable[..., Iterable[bytes]], one_of: int) -> None:
        self._application = application
        self._one_of = one_of
        self._draw = random.Random(17)
        self.asked = self.refused = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/-/counts":
            start("200 OK", [("Content-Type", "text/plain")])
            return [f"{self.asked} {self.refused}".encode()]
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            self.asked += 1
            status, code = "", ""
            if environ["PATH_INFO"].startswith("/denied"):
                status, code = "403 Forbidden", "AccessDenied"
            elif self._one_of and self._draw.randrange(self._one_of) == 0:
                self.refused += 1
                status, code = "503 Slow Down", "SlowDown"
            if code:
                start(status, [("Content-Type", "application/xml")])
                is_head = environ["REQUEST_METHOD"] == "HEAD"
                return [] if is_head else [_ERROR.format(code).encode()]
        return self._application(environ, start)


def main() -> int:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = Failing(DomainDispatcherApplication(create_backend_app), int(sys.argv[1]))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.port, flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
