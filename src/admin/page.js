const CONSTANT = 0.03;      // Below this coefficient of variation, services count as constant.
const INTERVAL = 500;       // Milliseconds between two requests for data.
const TIMEOUT = 3000;       // Milliseconds without a response until the server counts as lost.
const RECORDS = 2000;       // Milliseconds between two requests for records.
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
const label = (word) => (word === "handle" ? "handler" : word.replaceAll("_", " "));
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

function size(bytes) {
  if (bytes === null || bytes === undefined) return "-";
  const [unit, of] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]]
    .find(([unit]) => bytes >= unit) || [1, "B"];
  return `${number(bytes / unit)} ${of}`;
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

// Each reason, and what an operator can do about it.
const REASONS = {
  queue_full: "add workers, shorten the services, or let more wait (--queue, --deadline)",
  expired: "add workers, shorten the services, or let requests wait for longer (--deadline, --queue-timeout)",
  too_many_connections: "these clients hold too many; raise the limit of an address if they may",
  no_memory: "raise the memory bound, or lower the limits of bodies and heads",
  too_slow: "nothing: these clients sent their request too slowly",
  malformed: "nothing here: look at what these clients send",
};

function refusals({ rates, minute, totals }) {
  const shown = Object.keys(REASONS).filter((of) => totals[of] > 0);
  const body = at("refusals");
  while (body.children.length > Math.max(1, shown.length)) body.lastChild.remove();
  rows("refusals", shown.length === 0 ? [["no request", "", "-", "-", "-"]]
    : shown.map((of) => [label(of), COUNTERS[of], number(rates.now.refused[of]),
      number(Math.round(rates.minute.refused[of] * minute.elapsed)), String(totals[of])]));
  const advice = at("advice");
  while (advice.children.length > shown.length) advice.lastChild.remove();
  while (advice.children.length < shown.length) element("li", "", advice);
  shown.forEach((of, index) => {
    advice.children[index].textContent = `${label(of)}: ${REASONS[of]}`;
  });
}

// One client with most of the service while others wait or are refused.
function unfair(loads) {
  const others = loads.slice(1).filter((load) => load.waiting > 0 || load.refused > 0);
  const [first] = [...loads].sort((one, other) => (other.service_share || 0) - (one.service_share || 0));
  const greedy = first && first.service_share > 0.5 && loads.length > 1 && others.length > 0;
  say("unfair", greedy ? `Client ${first.client} has ${percent(first.service_share)} of the service ` +
    `while others wait: let clients take turns (--schedule fair), or limit it` : "");
}

function responses({ rates, minute }) {
  const of = (key) => [number(rates.now.responses[key]), number(rates.minute.responses[key])];
  const classes = { "2xx": "success", "3xx": "redirect or not modified", "4xx": "the client's error",
    "5xx": "the server's error, refusals included" };
  rows("responses", [
    ...Object.entries(classes).map(([key, title]) => [`${key}: ${title}`, "", ...of(key)]),
    ["bytes sent", "heads included", size(rates.now.bytes_sent), size(rates.minute.bytes_sent)],
  ]);
}

// The largest transfers, where the server reports them.
function transfers(list) {
  const place = at("transfers");
  place.hidden = !list || list.length === 0;
  if (place.hidden) return;
  if (!place.firstChild) {
    element("h2", "", place).textContent = "Largest transfers, at this moment";
    const made = element("table", "", element("div", "scroll", place));
    const head = element("tr", "", element("thead", "", made));
    ["client", "what", "sent", "of", "rate"].forEach((text) => {
      const cell = element("th", "", head);
      Object.assign(cell, { scope: "col", textContent: text });
    });
    element("tbody", "", made).id = "transfers-rows";
  }
  const body = at("transfers-rows");
  while (body.children.length > list.length) body.lastChild.remove();
  rows("transfers-rows", list.map(({ client, target, sent, length, rate }) => [client, "",
    target === null ? "-" : target.length > 100 ? target.slice(0, 100) + "..." : target,
    size(sent), length === null ? "-" : `${size(length)} (${percent(sent / length)})`,
    rate === null ? "-" : `${size(rate)}/s`]));
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

function tiles({ now, rates, cpu }) {
  say("now-window", `${Math.max(1, Math.round(now.elapsed))} s`);
  say("handled", number(now.handled));
  say("immediate", number(now.immediate));
  say("shed", number(now.shed));
  say("utilisation", percent(now.utilisation.total));
  say("capacity", number(now.capacity));
  say("load", now.load === null ? "-" : percent(now.load));
  say("cpu", number(cpu.used));
  say("cpu-of", cpu.available === null ? "CPU (cores)" : `CPU (of ${cpu.available} cores)`);
  say("bytes", size(rates.now.bytes_sent));
}

function show(stats) {
  const { minute, totals } = stats;
  say("sentence", stats.ready ? stats.sentence : "stopping: " + stats.sentence);
  say("condition", stats.ready ? stats.condition : "stopping");
  at("dot").className = "dot " + (stats.ready ? COLOURS[stats.condition] : "close");
  say("host", `${location.host}, version ${stats.version}`);
  tiles(stats);
  lines("minute", stats.history, stats.uptime, MINUTE, REQUESTS);
  workers(stats.workers);
  queues(stats);
  memory(stats.memory);
  refusals(stats);
  unfair(stats.clients);
  clients(stats.clients);
  responses(stats);
  transfers(stats.transfers);
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

function draw(stats, records) {
  curve(stats, records.curve);
  strips(records.strips, records.at);
  heat("wait", "queue_wait", "parse", records.heat, records.at);
  heat("service", "service", "handled", records.heat, records.at);
  hour(records);
}

function hour({ hour: { step, steps: all }, at: end }) {
  const what = HOURLY[at("hour-what").value];
  legend("hour", Object.keys(what.lines));
  lines("hour", all, end, 240 * step, what);
}

let latest = null;
let records = null;
let asked = -Infinity;      // When the records were asked for.
let asking = false;
let seen = Date.now();

async function ask(what) {
  try {
    const options = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) };
    const answer = await fetch(what, options);
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
  const stats = await ask("stats.json");
  // Records change slowly, and a hidden page draws nothing.
  const due = stats !== null && !document.hidden && performance.now() - asked >= RECORDS;
  const fresh = due ? await ask("history.json") : null;
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
  latest = stats;
  seen = Date.now();
  document.body.className = "";
  at("contact").hidden = true;
  say("lost", "");
  if (fresh !== null) {
    records = fresh;
    asked = performance.now();
  }
  // After a restart, the former records are of another run.
  if (records !== null && records.started !== stats.started) records = null;
  show(stats);
  if (records === null) return;
  if (fresh === null) curve(stats, records.curve);
  else draw(stats, records);
}

Object.keys(HOURLY).forEach((name) => { element("option", "", at("hour-what")).textContent = name; });
at("hour-what").addEventListener("change", () => { if (records) hour(records); });
explain("minute", () => 120);
explain("hour", () => 240);
explainCurve();
explainStrips();
["wait", "service"].forEach(explainHeat);
for (const id of ["curve", "minute", "strips", "wait", "service", "hour"]) {
  at(id + "-table").addEventListener("toggle", () => {
    if (latest) show(latest);
    if (latest && records) draw(latest, records);
  });
}
addEventListener("resize", () => { if (latest && records) draw(latest, records); });
look();
