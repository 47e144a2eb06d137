"""Writes Envoy's bootstrap and the filter's configuration: the shipped bootstrap with other addresses, and what the README
recommends for a streaming model server, with seconds where it has minutes. Prints the ports of the clients and of the
admin."""

import json
import pathlib
import socket
import sys

import yaml

work = pathlib.Path(sys.argv[1])
models = dict(zip(("demo-stable", "demo-canary"), map(int, sys.argv[2:])))
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


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def named(entries, name):
    return next(entry for entry in entries if entry["name"] == name)


def move(cluster, port):
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["port_value"] = port


clients, admin = free_ports(2)
bootstrap = yaml.safe_load(pathlib.Path("envoy/envoy.yaml").read_text())
for name, port in (models | {"envoy_admin": admin}).items():
    move(named(bootstrap["static_resources"]["clusters"], name), port)
bootstrap["admin"]["address"]["socket_address"]["port_value"] = admin
listener = bootstrap["static_resources"]["listeners"][0]
listener["address"]["socket_address"]["port_value"] = clients
manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
source = named(manager["http_filters"], "canary")["config_discovery"]["config_source"]["path_config_source"]
ecds = work / "ecds"
ecds.mkdir()
source["path"], source["watched_directory"]["path"] = str(ecds / "canary.json"), str(ecds)
(work / "envoy.json").write_text(json.dumps(bootstrap))

plugin = yaml.safe_load(pathlib.Path("envoy/ecds.yaml").read_text())
wasm = plugin["resources"][0]["typed_config"]["config"]
wasm["vm_config"]["code"]["local"]["filename"] = str(pathlib.Path("dist/canary_filter.wasm").resolve())
config = json.loads(wasm["configuration"]["value"])
config["rollouts"][0] |= STREAMS
wasm["configuration"]["value"] = json.dumps(config)
(ecds / "canary.json").write_text(json.dumps(plugin))
print(clients, admin, sep="\n")
