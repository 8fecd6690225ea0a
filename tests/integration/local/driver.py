"""Runs the platform with small stand-ins for its own commands: `python driver.py '{"serve": …}'`."""

import json
import sys

from telemed.local.platform import Commands, run

READY_SERVER = """
import http.server, os, signal, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ready).serve_forever()
"""
SLEEPER = "import time; time.sleep(600)"


def main() -> int:
    # The folder's name goes onto every command line, so that the tests can find what was left behind.
    home, scripts = sys.argv[1], json.loads(sys.argv[2])
    defaults = {"migrate": "", "seed": "print('seeded')", "serve": READY_SERVER, "work": SLEEPER}
    chosen = {name: [sys.executable, "-c", scripts.get(name, code), home] for name, code in defaults.items()}
    return run(commands=Commands(**chosen))


if __name__ == "__main__":
    sys.exit(main())
