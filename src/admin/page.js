"use strict";

const CONSTANT = 0.03;      // Below this coefficient of variation, services count as constant.
const INTERVAL = 500;       // Milliseconds between two requests for data.
const TIMEOUT = 3000;       // Milliseconds without a response until the server counts as lost.
const LANES = 64;           // At most this many workers are drawn.
const ACTIVITIES = ["parse", "handle", "respond"];
const PHASES = {
  idle: "open, no request in progress",
  reading_head: "part of a request head has arrived",
  queued: "a complete request head waits for a worker",
  in_service: "a worker has it",
  flushing: "the response waits for the client to read it",
  reading_body: "part of a request body has arrived",
  lingering: "the last response is written, and the client has not closed the connection yet",
};
const COUNTERS = {
  accepted: "connections accepted",
  handled: "requests that a handler answered on a worker",
  immediate: "requests that a handler answered at once, without a worker",
  refused: "requests that the server refused, for one of the next six reasons",
  queue_full: "refused: the queue was full; they came last, or gave way for others",
  expired: "refused: they waited in the queue for longer than the age in force",
  too_many_connections: "refused: their address had too many connections",
  no_memory: "refused: there was no memory for the request or its response",
  too_slow: "refused: part of the request did not arrive in time",
  malformed: "refused: what arrived is not a request that this server accepts",
  health: "requests for the health path, answered without a worker",
  abandoned: "requests still queued at the drain timeout, dropped without a response",
  gone: "requests dropped because their client had closed its connection",
  panics: "handlers that panicked",
};
const COLOURS = {
  "idle": "", "normal": "good", "near saturation": "close",
  "overflowing": "close", "saturated": "bad",
};

const at = (id) => document.getElementById(id);
const label = (word) => word.replaceAll("_", " ");
const say = (id, text) => {
  const place = at(id);
  // Unchanged text is not set again, so that screen readers do not repeat it.
  if (place.textContent !== text) place.textContent = text;
};

function number(value) {
  if (value === null || value === undefined) return "-";
  if (value >= 100) return value.toFixed(0);
  return String(Number(value.toFixed(value >= 10 ? 1 : 2)));
}

function time(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  if (seconds >= 1) return number(seconds) + " s";
  if (seconds >= 1e-3) return number(seconds * 1e3) + " ms";
  return number(seconds * 1e6) + " us";
}

function percent(share) {
  if (share > 0 && share < 0.01) return "under 1 %";
  if (share < 1 && share > 0.99) return "over 99 %";
  return Math.round(share * 100) + " %";
}

function age(seconds) {
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  if (minutes > 0) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds)} s`;
}

function element(name, className, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  parent.append(made);
  return made;
}

function lane(row, worker, before) {
  const since = before && worker.spent;
  const spent = ACTIVITIES.map((of) => (since ? worker.spent[of] - before.spent[of] : 0));
  const all = since ? spent.reduce((sum, one) => sum + one, worker.spent.idle - before.spent.idle) : 0;
  row.className = "lane " + worker.activity;
  ACTIVITIES.forEach((_, at) => {
    row.children[1].children[at].style.width = all > 0 ? (100 * spent[at]) / all + "%" : "0";
  });
  row.children[2].textContent = worker.activity;
}

function lanes(workers, before) {
  const place = at("lanes");
  const shown = Math.min(workers.length, LANES);
  while (place.children.length > shown) place.lastChild.remove();
  while (place.children.length < shown) {
    const row = element("div", "lane idle", place);
    element("span", "number", row).textContent = place.children.length;
    const bar = element("span", "bar", row);
    ACTIVITIES.forEach((of) => element("span", of, bar));
    element("span", "state", row);
  }
  for (let worker = 0; worker < shown; worker += 1) {
    lane(place.children[worker], workers[worker], before && before[worker]);
  }
  const busy = workers.filter((worker) => worker.activity !== "idle").length;
  const rest = workers.length > shown ? `, ${workers.length - shown} not shown` : "";
  say("lanes-text", `${busy} of ${workers.length} busy${rest}`);
}

function chart(points) {
  const picture = at("chart");
  const [width, height] = [600, 100];
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const last = points.length ? points[points.length - 1] : { at: 0, capacity: null };
  const loads = points.flatMap((point) => [point.offered, point.handled, point.shed]);
  const load = Math.max(0, ...loads);
  // A capacity far above the offered rate would flatten the curves.
  const capacity = last.capacity !== null && last.capacity <= 4 * load ? last.capacity : null;
  const top = 1.1 * Math.max(load, capacity || 0) || 1;
  const x = (point) => width - (last.at - point.at) * (width / 60);
  const y = (rate) => (height - 1) * (1 - rate / top);
  const shape = (name, of) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(of).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  };
  const curve = (key) => shape("polyline", {
    class: key,
    points: points.map((point) => `${x(point).toFixed(1)},${y(point[key]).toFixed(1)}`).join(" "),
  });
  const level = (name, height) => shape("line", { class: name, x1: 0, x2: width, y1: height, y2: height });
  const parts = [level("base", height - 1), curve("shed"), curve("offered"), curve("handled")];
  if (capacity !== null) parts.push(level("capacity", y(capacity)));
  picture.replaceChildren(...parts);
  say("chart-top", `${number(top)}/s`);
  const mark = at("chart-capacity");
  mark.hidden = capacity === null;
  if (capacity !== null) {
    mark.style.top = `${y(capacity)}%`;
    say("chart-capacity", `${number(capacity)}/s`);
  }
  const known = last.capacity === null ? "" : `, capacity ${number(last.capacity)}/s`;
  say("chart-text", `peak ${number(load)}/s${known}`);
}

function meter(bar, part) {
  at(bar).style.width = Math.min(100, 100 * part) + "%";
  at(bar).className = part >= 1 ? "full" : "";
}

function queues(stats) {
  const { queue, accept_queue: kernel } = stats;
  meter("queue-bar", queue.waiting / Math.max(1, queue.bound));
  const oldest = queue.oldest === null ? "" : `, the oldest for ${time(queue.oldest)}`;
  say("queue-text", `Queue: ${queue.waiting} of ${queue.bound} requests waiting${oldest}; ` +
    `high water ${queue.high_water}`);
  const service = queue.service === null ? "" : `; a service takes ${time(queue.service)}`;
  say("age-text", `A request waits at most ${time(queue.age)}${service}`);
  meter("kernel-bar", kernel === null ? 0 : kernel.waiting / kernel.bound);
  say("kernel-text", kernel === null ? "Accept queue: not reported by this system"
    : `Accept queue: ${kernel.waiting} of ${kernel.bound} connections waiting`);
}

const mebibytes = (bytes) => number(bytes / 1048576);

function memory({ held, bound, refused, uses }) {
  meter("memory-bar", held / bound);
  const largest = Object.entries(uses).filter(([, bytes]) => bytes > 0)
    .sort(([, one], [, other]) => other - one).slice(0, 3)
    .map(([of, bytes]) => `${label(of)} ${mebibytes(bytes)}`).join(", ");
  say("memory-text", `Memory: ${mebibytes(held)} of ${mebibytes(bound)} MiB held` +
    `${largest && ` (${largest})`}; ${refused} claims refused`);
}

function rows(place, wanted) {
  const body = at(place);
  while (body.children.length < wanted.length) {
    const row = element("tr", "", body);
    element("th", "", row).scope = "row";
  }
  wanted.forEach(([name, title, ...values], index) => {
    const row = body.children[index];
    row.children[0].textContent = name;
    row.children[0].title = title;
    while (row.children.length <= values.length) element("td", "", row);
    values.forEach((value, at) => { row.children[at + 1].textContent = value; });
  });
}

function clients(loads) {
  const known = (value) => (value === null ? "-" : String(value));
  const share = (value) => (value === null ? "-" : percent(value));
  at("clients-section").hidden = loads.length === 0;
  const body = at("clients");
  while (body.children.length > loads.length) body.lastChild.remove();
  rows("clients", loads.map((load) => [load.client, "", known(load.waiting), known(load.in_service),
    String(load.refused), share(load.service_share)]));
}

function law(little) {
  if (little === null) return "Little's law: no request left the system in the last minute";
  const product = little.rate * little.time;
  return `Little's law: ${number(little.in_system)} requests in the system; arrival rate x time in ` +
    `system = ${number(little.rate)}/s x ${time(little.time)} = ${number(product)}; ` +
    `difference ${percent(little.residual)}`;
}

function counters(totals) {
  const place = at("totals");
  for (const [of, title] of Object.entries(COUNTERS)) {
    const id = "total-" + of;
    if (!at(id)) {
      const row = element("div", "", place);
      row.title = title;
      element("dt", "", row).textContent = label(of);
      element("dd", "", row).id = id;
    }
    say(id, String(totals[of]));
  }
}

function show(stats, before) {
  const { now, minute, totals } = stats;
  say("sentence", stats.ready ? stats.sentence : "stopping: " + stats.sentence);
  say("condition", stats.ready ? stats.condition : "stopping");
  at("dot").className = "dot " + (stats.ready ? COLOURS[stats.condition] : "close");
  say("host", `${location.host}, version ${stats.version}`);
  say("handled", number(now.handled));
  say("immediate", number(now.immediate));
  say("shed", number(now.shed));
  say("utilisation", percent(now.utilisation.total));
  say("capacity", number(now.capacity));
  say("load", now.load === null ? "-" : percent(now.load));
  chart(stats.history);
  lanes(stats.workers, before && before.workers);
  queues(stats);
  memory(stats.memory);
  clients(stats.clients);
  const { open, bound, phases } = stats.connections;
  const counts = Object.entries(PHASES).map(([of, title]) => [label(of), title, String(phases[of])]);
  rows("phases", [["open", "connections in any phase", `${open} of ${bound}`], ...counts]);
  const line = (name, title, of) =>
    [name, title, ...["mean", "p50", "p90", "p99"].map((key) => time(of[key])), String(of.count)];
  rows("times", [
    line("queue wait", "from queued to taken by a worker", minute.queue_wait),
    line("service", "from taken by a worker to released by it", minute.service),
  ]);
  say("expected", expected(minute));
  say("little", law(minute.little));
  counters(totals);
  say("uptime", `up for ${age(stats.uptime)}, since ${stats.started.slice(0, 19).replace("T", " ")} UTC`);
}

// The mean wait by theory. Mean and variation of the services determine it for constant ones alone.
function expected(minute) {
  if (minute.expected_queue_wait === null) {
    return "Expected queue wait: unknown, because of overload or too few requests";
  }
  const waits = `mean ${time(minute.expected_queue_wait)}; measured: ${time(minute.queue_wait.mean)}`;
  const variation = Math.sqrt(minute.service_variation);
  if (variation < CONSTANT) {
    return `Expected queue wait (M/D/c, exact for constant services and random arrivals): ${waits}`;
  }
  const [least, most] = minute.expected_queue_wait_range.map(time);
  const open = least === most ? "" : `. Services with this mean and variation can have mean waits ` +
    `from ${least} to ${most}: two moments do not determine it`;
  return `Expected queue wait (M/G/c by interpolation, coefficient of variation ` +
    `${variation.toPrecision(2)}): ${waits}${open}`;
}

let latest = null;
let asking = false;
let seen = Date.now();

async function ask() {
  try {
    const options = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) };
    const answer = await fetch("stats.json", options);
    return answer.ok ? await answer.json() : null;
  } catch (error) {
    // There is no server, or its response did not arrive completely.
    return null;
  }
}

async function look() {
  setTimeout(look, INTERVAL);
  if (asking) return;
  asking = true;
  const stats = await ask();
  asking = false;
  if (stats === null) {
    document.body.className = "lost";
    at("contact").hidden = false;
    say("lost", "Connection lost.");
    say("since", `No response for ${Math.round((Date.now() - seen) / 1000)} s; retrying.`);
    return;
  }
  // Another version may report other figures, and brings a page that fits them.
  if (latest !== null && latest.version !== stats.version) location.reload();
  // After a restart, the former data is of another run.
  const same = latest !== null && latest.started === stats.started;
  const before = same ? latest : null;
  latest = stats;
  seen = Date.now();
  document.body.className = "";
  at("contact").hidden = true;
  say("lost", "");
  show(stats, before);
}

look();
