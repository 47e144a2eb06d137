"""What the programs in mlflow/ and llm/ share: free ports, the shipped Envoy configuration with other addresses, and
waiting for a condition. The run scripts put this folder on Python's path."""

import json
import pathlib
import socket
import sys
import time
import urllib.error
import urllib.request

import yaml


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


def configure(work, stable, canary, clients, admin, rollout):
    """Writes the shipped bootstrap and filter resource into `work`, at these ports, with `rollout` laid over the shipped
    rollout's configuration. The filter is the module that reads bodies."""
    bootstrap = yaml.safe_load(pathlib.Path("envoy/envoy.yaml").read_text())
    clusters = bootstrap["static_resources"]["clusters"]
    for name, port in (("demo-stable", stable), ("demo-canary", canary), ("envoy_admin", admin)):
        move(named(clusters, name), port)
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
    config["rollouts"][0] |= rollout
    wasm["configuration"]["value"] = json.dumps(config)
    (ecds / "canary.json").write_text(json.dumps(plugin))


def wait_for(what, holds, seconds):
    """Returns what `holds` returns once that is true; ends the program after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := holds():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    sys.exit(f"{pathlib.Path(sys.argv[0]).parent.name}: not within {seconds} s: {what}")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read()


def filter_ticks(admin):
    """Whether Envoy and its filter run."""
    return b"heartbeat: 1" in get(admin, "/stats?filter=filter.heartbeat")
