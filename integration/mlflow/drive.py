"""Sends flowers to the models through Envoy, and holds what the filter counted of their answers against what the client
saw: every label of every answer, for each version by itself."""

import collections
import json
import random
import sys
import time
import urllib.error
import urllib.request

from sklearn.datasets import load_iris

stable, canary, clients, admin = sys.argv[2:]
REQUESTS, ROWS, DEADLINE = 400, 3, 120
flowers = load_iris().data.tolist()


def wait_for(what, holds):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            if holds():
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    sys.exit(f"mlflow: not within {DEADLINE} s: {what}")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read()


def predict(rows):
    request = urllib.request.Request(
        f"http://127.0.0.1:{clients}/invocations",
        json.dumps({"inputs": rows}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["x-canary-version"], json.load(answer)["predictions"]


def counted():
    """What the filter counted, as {version: {label: count}}."""
    stats = json.loads(get(admin, "/stats?filter=wasmcustom.*signal.label&format=json"))["stats"]
    labels = collections.defaultdict(dict)
    for stat in stats:
        version, label = stat["name"].split(".", 4)[4].split(".signal.label.")
        labels[version][label] = stat["value"]
    return labels


def total(labels):
    return sum(sum(of_version.values()) for of_version in labels.values())


for name, port in (("the stable model", stable), ("the canary model", canary)):
    wait_for(name, lambda port=port: get(port, "/ping") is not None)
wait_for("Envoy and its filter", lambda: b"heartbeat: 1" in get(admin, "/stats?filter=filter.heartbeat"))

print(f"sending {REQUESTS} requests with 1 to {ROWS} flowers each")
choice = random.Random(7)
seen, sent = collections.defaultdict(collections.Counter), 0
for _ in range(REQUESTS):
    rows = choice.choices(flowers, k=choice.randint(1, ROWS))
    version, predictions = predict(rows)
    assert len(predictions) == len(rows), predictions
    seen[version].update(str(label) for label in predictions)
    sent += len(rows)

wait_for("the last answer to be counted", lambda: total(counted()) >= sent)
labels = counted()
bins = ["0", "1", "2", "other", "unreadable"]
print(f"\n{'label':<12}" + "".join(f"{version:>10}{'':>8}" for version in sorted(labels)))
for bin_ in bins:
    shares = (
        f"{labels[version].get(bin_, 0):>10}{labels[version].get(bin_, 0) / max(1, sum(labels[version].values())):>8.1%}"
        for version in sorted(labels)
    )
    print(f"{bin_:<12}" + "".join(shares))

assert total(labels) == sent, f"{total(labels)} counted, {sent} sent"
for version, of_client in seen.items():
    of_filter = {label: count for label, count in labels[version].items() if count}
    assert of_filter == dict(of_client), f"{version}: {of_filter} counted, {dict(of_client)} seen"
assert len(seen) == 2, "both versions answered"
print(f"\nboth versions' labels sum up to the {sent} flowers sent, and each version's to what the client saw")
