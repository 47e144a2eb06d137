"""Two releases, each started by setting an alias in the registry: version 2 is good and becomes champion, version 3 is bad and
is rolled back. Clients send flowers all the time, and what they saw is held against what must be so."""

import collections
import json
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import mlflow
from sklearn.datasets import load_iris

from model_servers import filter_ticks, get, wait_for

clients, admin, controller = map(int, sys.argv[1:])
MODEL, RELEASE, SOON, PARALLEL, PER_SECOND = "iris", 300, 60, 4, 60
registry = mlflow.MlflowClient()
flowers = load_iris().data.tolist()
started = time.monotonic()


def say(text):
    print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


class Clients:
    """Steady traffic, and what it saw: answers by version and status."""

    def __init__(self):
        self.seen, self.lock, self.stopped = collections.Counter(), threading.Lock(), False
        self.threads = [threading.Thread(target=self.go_on, args=(number,), daemon=True) for number in range(PARALLEL)]
        for thread in self.threads:
            thread.start()

    def go_on(self, number):
        choice, due = random.Random(number), time.monotonic()
        while not self.stopped:
            answer = self.ask(choice.choices(flowers, k=choice.randint(1, 3)))
            with self.lock:
                self.seen[answer] += 1
            due += PARALLEL / PER_SECOND
            time.sleep(max(0, due - time.monotonic()))

    def ask(self, rows):
        url, body = f"http://127.0.0.1:{clients}/invocations", json.dumps({"inputs": rows}).encode()
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.headers["x-canary-version"], answer.status
        except urllib.error.HTTPError as error:
            return error.headers["x-canary-version"], error.code
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            return "none", type(error).__name__

    def take(self):
        """What was seen since the last call."""
        with self.lock:
            seen, self.seen = self.seen, collections.Counter()
        return seen

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(SOON)


def shown(seen):
    return ", ".join(f"version {version}: {count} × {status}" for (version, status), count in sorted(seen.items(), key=str))


def status():
    command = ["dist/canaryctl", "--controller", f"http://127.0.0.1:{controller}", "get", "rollout", "demo", "-o", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return json.loads(ended.stdout) if ended.returncode == 0 else None


class Follow:
    """Says what happens in a release, as `canaryctl get rollout demo -w` would show it."""

    def __init__(self, version):
        self.version, self.last = version, None

    def __call__(self):
        """The tag `canary.outcome`, once the registry has it."""
        if now := status():
            step = now["step"]["index"] if now["step"] else None
            place = (now["phase"], step, now["weight"]["set"])
            if place != self.last:
                self.last = place
                weight = "" if place[2] is None else f", weight {place[2]:g} %"
                say(f"{now['phase']}{weight}")
        return registry.get_model_version(MODEL, self.version).tags.get("canary.outcome")


def release(version):
    say(f"setting the alias challenger to version {version}")
    registry.set_registered_model_alias(MODEL, "challenger", version)
    outcome = wait_for(f"the release of version {version}", Follow(version), RELEASE)
    for tag, value in sorted(registry.get_model_version(MODEL, version).tags.items()):
        if tag.startswith("canary."):
            say(f"  tag {tag}: {value}")
    return outcome


def champion():
    return registry.get_model_version_by_alias(MODEL, "champion").version


def only_version(traffic, version, seconds=3):
    """Whether for some seconds this version alone answers, without a failure."""
    traffic.take()
    time.sleep(seconds)
    seen = traffic.take()
    assert set(seen) == {(version, 200)}, f"only version {version} should answer: {shown(seen)}"
    say(f"users: {shown(seen)}")


wait_for("Envoy and its filter", lambda: filter_ticks(admin), SOON)
wait_for("the controller", status, SOON)
traffic = Clients()
only_version(traffic, "1")

print("\nA good version", flush=True)
outcome = release("2")
seen = traffic.take()
say(f"users: {shown(seen)}")
assert outcome == "healthy", outcome
assert all(status == 200 for _, status in seen), "no user saw a failure"
wait_for("the champion", lambda: champion() == "2", SOON)
say("the alias champion is at version 2")
only_version(traffic, "2")

print("\nA bad version", flush=True)
outcome = release("3")
seen = traffic.take()
say(f"users: {shown(seen)}")
assert outcome == "degraded", outcome
assert champion() == "2", champion()
say("the alias champion is still at version 2")
only_version(traffic, "2")
traffic.stop()
failed = sum(count for (_, status), count in seen.items() if status != 200)
print(f"\nversion 2 was released; version 3 was rolled back after {failed} failed requests of {sum(seen.values())}")
