"""Asks both versions through Envoy with the openai library, holds what the filter counted against what the client saw, and
lets canaryctl roll out canaries that stall, break off, say nothing, or only answer longer."""

import collections
import dataclasses
import http.client
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import openai

from model_servers import filter_ticks, get, wait_for

work = pathlib.Path(sys.argv[1])
stable, canary, clients, admin = map(int, sys.argv[2:])
ENVOY = f"http://127.0.0.1:{admin}"
DEADLINE, ROLLOUT, PARALLEL, TOKENS = 60, 150, 12, 16
ERRORS = (openai.OpenAIError, http.client.HTTPException, OSError)


@dataclasses.dataclass
class Seen:
    """What the client saw of one answer."""

    version: str
    finish: str | None
    first: float | None
    took: float
    error: str | None


def admin_says(path):
    return get(admin, path)


def behave(port, **told):
    body = json.dumps(told).encode()
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/", body, method="PUT"), timeout=10).close()


def counters():
    """The filter's counters of the rollout, as {(version, metric): value}."""
    stats = json.loads(admin_says("/stats?filter=wasmcustom.canary.demo.&format=json"))["stats"]
    found = {}
    for stat in stats:
        name = stat.get("name", "").split(".", 4)
        if len(name) == 5 and name[3] in ("stable", "canary"):
            version, metric = name[4][:5], name[4][6:]
            found[version, metric] = stat["value"]
    return found


def settled():
    """The counters once two readings agree: one may fall into a worker's flush, which writes them one after the other."""
    now, again = None, counters()
    while now != again:
        time.sleep(0.3)
        now, again = again, counters()
    return now


def total():
    return sum(value for (_, metric), value in counters().items() if metric == "rq_total")


def stat(name):
    text = admin_says(f"/stats?filter=^wasmcustom.canary.{name}$").decode()
    return int(text.rsplit(":", 1)[1]) if text.strip() else 0


def everywhere(ppm):
    """Waits until every worker has this weight: three polls after one has it."""
    wait_for("the weight", lambda: stat("demo.weight_ppm") == ppm, DEADLINE)
    polls = stat("filter.poll_success")
    wait_for("three polls", lambda: stat("filter.poll_success") >= polls + 3, DEADLINE)


def canaryctl(*arguments, limit=DEADLINE):
    command = ["dist/canaryctl", "--envoy", ENVOY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit)


def ask(client, seed):
    start, version, finish, first = time.monotonic(), "", None, None
    try:
        answer = client.chat.completions.with_raw_response.create(
            model="gibberish", messages=[{"role": "user", "content": "ka lo mi"}], stream=True, max_tokens=TOKENS, seed=seed
        )
        version = answer.headers["x-canary-version"]
        for chunk in answer.parse():
            if chunk.choices[0].delta.content and first is None:
                first = time.monotonic() - start
            finish = chunk.choices[0].finish_reason or finish
        error = None
    except ERRORS as failed:
        error = type(failed).__name__
    return Seen(version, finish, first, time.monotonic() - start, error)


class Users:
    """Clients that ask one question after the other until they are stopped."""

    def __init__(self, limit=None):
        self.limit, self.sent, self.seen, self.lock = limit, 0, [], threading.Lock()
        self.threads = [threading.Thread(target=self.go_on, daemon=True) for _ in range(PARALLEL)]
        for thread in self.threads:
            thread.start()

    def go_on(self):
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{clients}/v1", api_key="none", max_retries=0, timeout=3)
        while (number := self.next()) is not None:
            seen = ask(client, number)
            with self.lock:
                self.seen.append(seen)

    def next(self):
        with self.lock:
            if self.limit is not None and self.sent >= self.limit:
                return None
            self.sent += 1
            return self.sent

    def finish(self):
        for thread in self.threads:
            thread.join(DEADLINE)
        assert not any(thread.is_alive() for thread in self.threads), "a client still waits"
        return self.seen

    def stop(self):
        self.limit = 0
        return self.finish()


def of(seen, version):
    return [answer for answer in seen if answer.version == version]


def side_by_side(requests=300):
    """Both versions at half of the traffic. The canary takes longer until its first token, and its answers may be
    longer."""
    print(f"{requests} answers from both versions")
    behave(canary, first=0.25, tokens=3 * TOKENS)
    before = counters()
    assert canaryctl("set", "weight", "demo", "50").returncode == 0
    everywhere(500_000)
    seen = Users(requests).finish()
    wait_for("the last answer to be counted", lambda: total() - sum_of(before, "rq_total") == requests, DEADLINE)
    now = settled()
    shown = json.loads(canaryctl("get", "rollout", "demo", "-o", "json").stdout)
    print(f"\n{'':<22}{'stable':>12}{'canary':>12}")
    versions = {role: shown[role]["version"] for role in ("stable", "canary")}
    for finish in ("stop", "length"):
        counts = {role: now.get((version, f"signal.finish.{finish}"), 0) for role, version in versions.items()}
        print(f"{'finish_reason ' + finish:<22}{counts['stable']:>12}{counts['canary']:>12}")
        for role, version in versions.items():
            by_client = sum(answer.finish == finish for answer in of(seen, version))
            assert counts[role] == by_client, f"{role}, {finish}: the filter counted {counts[role]}, the client {by_client}"
    for role, version in versions.items():
        broken = [answer for answer in of(seen, version) if answer.error]
        assert not broken and now.get((version, "rq_failure"), 0) == 0, f"{role}: {broken}"
    first = {role: statistics.median(a.first for a in of(seen, version) if a.first) * 1000 for role, version in versions.items()}
    counted = {role: shown[role]["ttfb"]["p50_ms"] for role in versions}
    for who, times in (("client", first), ("filter", counted)):
        print(f"{'first token, ' + who:<22}{times['stable']:>9.0f} ms{times['canary']:>9.0f} ms")
    for role, told in (("stable", 50), ("canary", 250)):
        assert told <= counted[role] <= 1.1 * first[role], f"{role}: {counted[role]} ms counted, {first[role]} ms seen"
    assert counted["canary"] > counted["stable"] + 150, counted


def sum_of(found, wanted):
    return sum(value for (_, metric), value in found.items() if metric == wanted)


def rollout(name, code, reason=None, **told):
    """A rollout of a canary that behaves as told; the traffic goes on meanwhile. Returns what users saw."""
    behave(canary, **told)
    assert canaryctl("set", "weight", "demo", "0").returncode == 0
    users = Users()
    started = time.monotonic()
    ended = canaryctl(
        "run", "integration/llm/rollout.yaml", "--journal", str(work / f"{name}.jsonl"), "--listen", "127.0.0.1:0", limit=ROLLOUT
    )
    took, output = time.monotonic() - started, ended.stdout + ended.stderr
    seen = users.stop()
    wrong = sum(answer.error is not None or answer.finish is None for answer in seen)
    print(f"\n{name}: exit {ended.returncode} after {took:.0f} s; {wrong} of {len(seen)} answers were not whole")
    print(*(f"  {line}" for line in output.strip().splitlines()[-3:]), sep="\n")
    assert ended.returncode == code, f"{name}: exit {ended.returncode}, not {code}\n{output}"
    return seen


def rollouts():
    seen = rollout("longer", 0, tokens=4 * TOKENS, pace=0.02)
    took = {version: statistics.median(a.took for a in of(seen, version)) for version in ("1.0.0", "1.1.0")}
    print(f"  an answer takes {took['1.0.0'] * 1000:.0f} ms from stable, {took['1.1.0'] * 1000:.0f} ms from the canary")
    assert took["1.1.0"] > 1.3 * took["1.0.0"], took
    faults = {"break": ("rq_broken", 0.2), "cut": ("rq_broken", 0.2), "stall": ("rq_overdue", 0.2), "silent": ("rq_overdue", 0.2)}
    for fault, (metric, share) in faults.items():
        before = counters().get(("1.1.0", metric), 0)
        seen = rollout(fault, 1, fault=fault, share=share)
        counted = counters()["1.1.0", metric] - before
        print(f"  {counted} canary answers counted in {metric}")
        assert counted > 0, f"{fault}: no answer counted in {metric}"
        assert counters().get(("1.0.0", metric), 0) == 0, f"{fault}: stable has some in {metric}"


wait_for("Envoy and its filter", lambda: filter_ticks(admin), DEADLINE)
side_by_side()
rollouts()
print("\nlonger answers were promoted; what broke off, stalled or said nothing was rolled back")
