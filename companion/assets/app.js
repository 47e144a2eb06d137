// The page's own script: one stream of events while the tab is visible, parts of the page changed into what the
// server rendered, charts fed with what is new, and a dialog for commands. The server escapes everything; this script
// never makes HTML out of text.
"use strict";
(() => {
  const body = document.body;
  const rollout = body.dataset.rollout;
  const live = body.hasAttribute("data-live");
  const byId = (id) => document.getElementById(id);

  // ---- charts -------------------------------------------------------------------------------------------------------
  const history = { generation: null, t: [], charts: new Map() };
  const DASH = { stable: [], canary: [7, 4], tolerated: [2, 3], set: [], measured: [2, 3], "in force": [9, 3, 2, 3],
    ahead: [3, 5] };
  const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2], [1, 4], [14, 3, 3, 3]];
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(body).getPropertyValue(name).trim();

  function stroke(series, index) {
    const named = { stable: "--stable", canary: "--canary", tolerated: "--bad", set: "--ink", measured: "--canary",
      "in force": "--stable", ahead: "--faint" }[series.style];
    return color(named || `--m${index % 8}`);
  }

  function span(seconds) {
    const short = (value) => String(Math.round(value * 10) / 10);
    if (seconds < 120) return `${short(seconds)} s`;
    if (seconds < 7200) return `${short(seconds / 60)} min`;
    return `${short(seconds / 3600)} h`;
  }

  function figure(value, unit) {
    if (value === null || value === undefined) return "–";
    const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 1 ? 2 : 3;
    return `${Number(value.toFixed(digits))}${unit}`;
  }

  // Moments and limits are drawn over the lines, with their names: color alone says nothing here.
  function overlay(chart) {
    return (plot) => {
      const { ctx, bbox } = plot;
      const ratio = devicePixelRatio;
      ctx.save();
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.lineWidth = ratio;
      ctx.strokeStyle = ctx.fillStyle = color("--faint");
      ctx.setLineDash([2 * ratio, 4 * ratio]);
      for (const t of chart.marks) {
        const x = plot.valToPos(t, "x", true);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
      if (chart.limit) {
        const y = plot.valToPos(chart.limit.at, "y", true);
        ctx.strokeStyle = ctx.fillStyle = color("--bad");
        ctx.setLineDash([6 * ratio, 4 * ratio]);
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
        ctx.textAlign = "right";
        ctx.fillText(chart.limit.label, bbox.left + bbox.width - 4 * ratio, y - 5 * ratio);
      }
      ctx.restore();
    };
  }

  function axes(unit) {
    const style = { stroke: color("--faint"), grid: { stroke: color("--rule"), width: 1 }, ticks: { show: false },
      font: "11px system-ui, sans-serif" };
    return [
      { ...style, values: (_, all) => all.map(span), space: 70, size: 32, incrs: INCREMENTS },
      { ...style, values: (_, all) => all.map((value) => figure(value, unit)), size: 62 },
    ];
  }

  const INCREMENTS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800];
  const width = (figureElement) => Math.max(200, Math.floor(figureElement.clientWidth - 2));

  function draw(entry) {
    const { chart, box } = entry;
    if (entry.plot) entry.plot.destroy();
    const series = chart.series.map((line, index) => ({
      label: line.label,
      stroke: stroke(line, index),
      width: line.style === "tolerated" || line.style === "ahead" ? 1.3 : 1.9,
      dash: DASH[line.style] || DASHES[index % 8],
      paths: line.stairs ? uPlot.paths.stepped({ align: 1 }) : undefined,
      points: { show: (plot, number) => line.style !== "ahead" && plot.data[0].length < 3 && number > 0, size: 5 },
      value: (_, value) => figure(value, chart.unit),
    }));
    entry.plot = new uPlot({
      width: width(box), height: 190,
      scales: {
        x: { time: false },
        y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(chart.top, (high ?? 0) * 1.05) || 1] },
      },
      axes: axes(chart.unit),
      legend: { live: true, markers: { width: 2, dash: (plot, index) => (plot.series[index].dash?.length ? "dashed" : "solid") } },
      cursor: { drag: { x: true, y: false }, sync: { key: "time" } },
      hooks: { draw: [overlay(chart)] },
      series: [{ label: "at", value: (_, t) => (t === null || t === undefined ? "–" : span(t)) }, ...series],
    }, data(entry), box);
  }

  // uPlot's data: the times, then each line. What is planned lies behind the last time.
  function data(entry) {
    const { chart, lines } = entry;
    const ahead = chart.series.findIndex((line) => line.style === "ahead");
    if (ahead < 0) return [history.t, ...lines];
    const last = history.t.at(-1) ?? 0;
    const plan = chart.ahead.filter(([t]) => t > last);
    const now = chart.now === null ? [] : [[last, chart.now]];
    const times = [...history.t, ...plan.map(([t]) => t)];
    return [times, ...lines.map((line, index) => {
      if (index !== ahead) return [...line, ...plan.map(() => null)];
      const past = history.t.map(() => null);
      if (now.length && plan.length && past.length) past[past.length - 1] = now[0][1];
      return [...past, ...plan.map(([, weight]) => weight)];
    })];
  }

  function shape(chart) {
    return JSON.stringify([chart.title, chart.unit, chart.series.map((line) => [line.label, line.style])]);
  }

  function figureFor(chart) {
    const box = document.createElement("figure");
    box.id = `chart-${chart.id}`;
    box.setAttribute("role", "img");
    const caption = document.createElement("figcaption");
    caption.textContent = chart.title;
    box.append(caption);
    byId("charts").append(box);
    return box;
  }

  // Takes a part of the history: everything from its index `from` on is new or has changed.
  function take(part) {
    const whole = part.generation !== history.generation || part.from > history.t.length;
    const from = whole ? 0 : part.from;
    history.generation = part.generation;
    history.t = [...history.t.slice(0, from), ...part.t];
    const seen = new Set();
    for (const chart of part.charts) {
      seen.add(chart.id);
      let entry = history.charts.get(chart.id);
      if (!entry) {
        entry = { box: figureFor(chart), lines: [], plot: null, shape: "" };
        history.charts.set(chart.id, entry);
      }
      const same = entry.shape === shape(chart) && entry.plot;
      const old = entry.shape === shape(chart) ? entry.lines : chart.series.map(() => Array(from).fill(null));
      entry.lines = chart.series.map((line, index) => [...old[index].slice(0, from), ...line.values]);
      if (entry.chart) Object.assign(entry.chart, chart);
      else entry.chart = chart;
      entry.shape = shape(chart);
      entry.box.setAttribute("aria-label", describe(entry));
      if (same) entry.plot.setData(data(entry));
      else draw(entry);
    }
    for (const [id, entry] of history.charts) {
      if (seen.has(id)) continue;
      entry.box.remove();
      history.charts.delete(id);
    }
    byId("no-history").hidden = history.t.length > 0;
  }

  // What the chart says, for those who don't see it: each line's last value.
  function describe({ chart, lines }) {
    const last = (line) => line.findLast((value) => value !== null);
    const said = chart.series.map((line, index) => [line, last(lines[index])]);
    const known = said.filter(([line, value]) => line.style !== "ahead" && value !== undefined);
    return `${chart.title}. ${known.map(([line, value]) => `${line.label}: ${figure(value, chart.unit)}`).join(", ")}`;
  }

  function resize() {
    for (const entry of history.charts.values()) entry.plot.setSize({ width: width(entry.box), height: 190 });
  }

  if (byId("charts")) {
    let timer = 0;
    addEventListener("resize", () => {
      clearTimeout(timer);
      timer = setTimeout(resize, 100);
    });
    scheme.addEventListener("change", () => history.charts.forEach(draw));
    const embedded = byId("history");
    if (embedded) take(JSON.parse(embedded.textContent));
  }
  if (!live) return;

  // ---- what is new --------------------------------------------------------------------------------------------------
  async function ask(url) {
    const answer = await fetch(url, { cache: "no-store" });
    if (answer.status === 401 || answer.redirected) {
      location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
      throw new Error("a token is needed");
    }
    return answer;
  }

  // What an operator has opened stays open.
  const callbacks = {
    beforeAttributeUpdated: (name, node) => !(name === "open" && node.nodeName === "DETAILS"),
  };

  async function renew() {
    const answer = await ask(location.pathname);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (next.querySelector("main")?.id !== document.querySelector("main").id) {
      location.reload();
      return;
    }
    document.title = next.title;
    for (const part of document.querySelectorAll("[data-part]")) {
      const now = next.getElementById(part.id);
      if (now && now.innerHTML !== part.innerHTML) {
        Idiomorph.morph(part, now, { morphStyle: "outerHTML", callbacks });
      }
    }
    if (!byId("charts")) return;
    const after = history.t.length ? Math.max(0, history.t.length - 1) : 0;
    const query = new URLSearchParams({ after, generation: history.generation ?? "" });
    const part = await ask(`/rollouts/${rollout}/history?${query}`);
    if (part.ok) take(await part.json());
  }

  let [renewing, again, heard] = [false, false, Date.now()];
  async function refresh() {
    if (renewing) {
      again = true;
      return;
    }
    renewing = true;
    try {
      await renew();
      present();
    } catch {
      gone();
    }
    renewing = false;
    if (again) {
      again = false;
      setTimeout(refresh, 500);
    }
  }

  // ---- the stream ---------------------------------------------------------------------------------------------------
  const SILENCE = 10000;
  let stream = null;
  let retry = 0;

  function gone() {
    const banner = byId("gone");
    if (!banner.hidden) return;
    banner.querySelector("time").textContent = new Date(heard).toLocaleTimeString();
    banner.hidden = false;
    body.classList.add("stale");
    byId("link").textContent = "not connected";
  }

  function present() {
    heard = Date.now();
    byId("gone").hidden = true;
    body.classList.remove("stale");
    byId("link").textContent = "live";
  }

  function close() {
    clearTimeout(retry);
    if (stream) stream.close();
    stream = null;
  }

  function open() {
    close();
    stream = new EventSource(rollout ? `/api/v1/events?rollout=${rollout}` : "/api/v1/events");
    stream.onopen = refresh;
    stream.onerror = () => {
      gone();
      // A browser gives up when the answer isn't a stream; a controller that starts again takes it back.
      if (stream && stream.readyState === EventSource.CLOSED) {
        close();
        retry = setTimeout(() => {
          open();
          refresh();
        }, 2000);
      }
    };
    // The events' data is for programs; the page asks for what it shows.
    for (const kind of ["list", "rollout", "removed"]) stream.addEventListener(kind, refresh);
  }

  // A browser opens six connections to a host, so a tab that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  setInterval(() => {
    // Nothing may be new for long, and a connection may be dead without a sign: ask.
    if (!document.hidden && Date.now() - heard > SILENCE) refresh();
  }, 1000);
  if (!document.hidden) open();
  // What the controller reads in the background is there a moment later.
  setTimeout(refresh, 1500);

  // ---- commands -----------------------------------------------------------------------------------------------------
  const dialog = byId("command");
  if (!dialog) return;
  const form = dialog.querySelector("form");
  const refusal = byId("refusal");
  let asked = null;

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-verb]");
    if (!button) return;
    asked = { verb: button.dataset.verb, full: "full" in button.dataset, opener: button.id };
    byId("command-title").textContent = button.dataset.title;
    byId("command-effect").textContent = button.dataset.effect;
    byId("versions").hidden = asked.verb !== "start";
    const go = byId("go");
    go.textContent = button.dataset.label;
    go.classList.toggle("danger", button.classList.contains("danger"));
    refusal.hidden = true;
    form.reset();
    dialog.showModal();
  });

  byId("cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    const opener = asked && byId(asked.opener);
    if (opener) opener.focus();
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = (name) => form.elements[name].value.trim();
    const message = {};
    if (value("reason")) message.reason = value("reason");
    if (asked.full) message.full = true;
    if (asked.verb === "start") {
      if (value("canary_version")) message.canary_version = value("canary_version");
      if (value("stable_version")) message.stable_version = value("stable_version");
    }
    const go = byId("go");
    go.disabled = true;
    let why = null;
    try {
      const answer = await fetch(`/api/v1/rollouts/${rollout}/${asked.verb}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(message),
      });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) why = said.error || `the controller answered with status ${answer.status}`;
    } catch {
      why = "the controller doesn't answer, so it isn't known whether the command was carried out";
    }
    go.disabled = false;
    refusal.hidden = !why;
    refusal.textContent = why ?? "";
    if (!why) {
      dialog.close();
      refresh();
    }
  });
})();
