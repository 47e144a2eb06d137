"""Writes Envoy's bootstrap and the filter's configuration: the shipped bootstrap with other addresses, and what the README
recommends for a streaming model server, with seconds where it has minutes. Prints the ports of the clients and of the
admin."""

import pathlib
import sys

from model_servers import configure, free_ports

STREAMS = {
    "failure": {
        "overdue": {"first_byte": "1s", "idle": "1s"},
        "sse": {"done": "[DONE]", "error": "/error", "content": ["/choices/0/delta/content"]},
    },
    "outcome_age": "4s",
    "timings": ["ttfb", "gap"],
    "signals": [
        {
            "name": "finish",
            "from": {"response_sse": "/choices/0/finish_reason", "event": "last"},
            "categories": ["stop", "length", "tool_calls", "content_filter"],
        }
    ],
}

stable, canary = map(int, sys.argv[2:])
clients, admin = free_ports(2)
configure(pathlib.Path(sys.argv[1]), stable, canary, clients, admin, STREAMS)
print(clients, admin, sep="\n")
