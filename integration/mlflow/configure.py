"""Writes what the release needs into a folder: Envoy's bootstrap and the filter's configuration (the shipped ones with other
addresses), and the rollout file. Prints the ports of both places, the clients, the admin, the registry and the controller."""

import pathlib
import sys

import yaml

from model_servers import configure, free_ports

work = pathlib.Path(sys.argv[1])
FILTER = {
    "stable": {"version": "1", "cluster": "demo-stable"},
    # Nothing is in the canary's place yet. The versions of releases come from the registry.
    "canary": {"version": "none", "cluster": "demo-canary"},
    # MLflow's model server answers 400 when a model raises an exception.
    "failure": {"http": ["5xx", "400"], "overdue": {"answer": "3s"}},
    "outcome_age": "5s",
    "signals": [{"name": "label", "from": {"response_json": "/predictions/*"}, "categories": ["0", "1", "2"]}],
}


def rollout(admin, registry):
    """The rollout file, with seconds where a real one has minutes."""
    return {
        "rollout": "demo",
        "envoys": [f"http://127.0.0.1:{admin}"],
        "lease": "10s",
        "registry": {"mlflow": {"uri": f"http://127.0.0.1:{registry}", "model": "iris", "poll": "1s"}},
        "deploy": {"command": [str(pathlib.Path("integration/mlflow/deploy").resolve())], "timeout": "2m", "minRequests": 200},
        "steps": [
            {"setWeight": 25},
            {"pause": {"duration": "10s", "minRequests": 100}},
            {"setWeight": 50},
            {"pause": {"duration": "10s", "minRequests": 200}},
        ],
        "analysis": {
            "metrics": [
                {"name": "failures", "kind": "failureRate", "margin": "1%"},
                {"name": "labels", "kind": "distribution", "signal": "label", "tolerance": "10%"},
            ]
        },
    }


stable, canary, clients, admin, registry, controller = ports = free_ports(6)
configure(work, stable, canary, clients, admin, FILTER)
(work / "rollouts").mkdir()
(work / "rollouts" / "demo.yaml").write_text(yaml.safe_dump(rollout(admin, registry), sort_keys=False))
print(*ports, sep="\n")
