"use strict";

const EVERY = 500;          // Milliseconds between two looks.
const PATIENCE = 3000;      // A server that does not answer for this long is lost.
const LANES = 64;           // More workers than this are counted, not drawn.
const PARTS = ["parse", "delay", "respond"];
const NAMES = {
  idle: "idle", reading_head: "sending a request", queued: "waiting for a worker",
  in_service: "in service", flushing: "reading a response", reading_body: "sending a body",
  lingering: "ending",
};
const MOOD = {
  "idle": "", "at ease": "good", "close to saturation": "close",
  "overflowing": "close", "saturated": "bad",
};

const at = (id) => document.getElementById(id);
const say = (id, text) => {
  const place = at(id);
  // What has not changed is not said again, to eyes or to screen readers.
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
  const spent = PARTS.map((part) => (since ? worker.spent[part] - before.spent[part] : 0));
  const all = since ? spent.reduce((sum, one) => sum + one, worker.spent.idle - before.spent.idle) : 0;
  row.className = "lane " + worker.activity;
  PARTS.forEach((part, at) => {
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
    PARTS.forEach((part) => element("span", part, bar));
    element("span", "state", row);
  }
  for (let worker = 0; worker < shown; worker += 1) {
    lane(place.children[worker], workers[worker], before && before[worker]);
  }
  const busy = workers.filter((worker) => worker.activity !== "idle").length;
  const rest = workers.length > shown ? `; ${workers.length - shown} are not drawn` : "";
  say("lanes-text", `${busy} of ${workers.length} have a request${rest}`);
}

function chart(points) {
  const picture = at("chart");
  const [width, height] = [600, 100];
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const last = points.length ? points[points.length - 1] : { at: 0, capacity: null };
  const loads = points.flatMap((point) => [point.offered, point.served, point.refused]);
  const load = Math.max(0, ...loads);
  // A ceiling that is far above what is offered would flatten all the rest.
  const ceiling = last.capacity !== null && last.capacity <= 4 * load ? last.capacity : null;
  const top = 1.1 * Math.max(load, ceiling || 0) || 1;
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
  const parts = [level("base", height - 1), curve("refused"), curve("offered"), curve("served")];
  if (ceiling !== null) parts.push(level("ceiling", y(ceiling)));
  picture.replaceChildren(...parts);
  say("chart-top", `${number(top)}/s`);
  const label = at("chart-ceiling");
  label.hidden = ceiling === null;
  if (ceiling !== null) {
    label.style.top = `${y(ceiling)}%`;
    say("chart-ceiling", `${number(ceiling)}/s`);
  }
  const most = last.capacity === null ? "" : `; the most is ${number(last.capacity)}`;
  say("chart-text", `the last minute, up to ${number(load)} a second${most}`);
}

function meter(bar, part) {
  at(bar).style.width = Math.min(100, 100 * part) + "%";
  at(bar).className = part >= 1 ? "full" : "";
}

function queues(stats) {
  const { queue, accept_queue: kernel } = stats;
  meter("queue-bar", queue.waiting / Math.max(1, queue.bound));
  const oldest = queue.oldest === null ? "" : `; the oldest for ${time(queue.oldest)}`;
  say("queue-text", `${queue.waiting} of ${queue.bound} wait for a worker${oldest}; ` +
    `${queue.high_water} at the most so far`);
  meter("kernel-bar", kernel === null ? 0 : kernel.waiting / kernel.most);
  say("kernel-text", kernel === null ? "The kernel does not tell how many wait to be accepted"
    : `${kernel.waiting} of ${kernel.most} wait in the kernel to be accepted`);
}

const mebibytes = (bytes) => number(bytes / 1048576);

function memory({ held, most, refused, uses }) {
  meter("memory-bar", held / most);
  const largest = Object.entries(uses).filter(([, bytes]) => bytes > 0)
    .sort(([, one], [, other]) => other - one).slice(0, 3)
    .map(([of, bytes]) => `${of} ${mebibytes(bytes)}`).join(", ");
  say("memory-text", `${mebibytes(held)} of ${mebibytes(most)} MiB of memory are held ` +
    `(${largest || "nothing"}); ${refused} times something did not fit`);
}

function rows(place, wanted) {
  const body = at(place);
  while (body.children.length < wanted.length) {
    const row = element("tr", "", body);
    element("th", "", row).scope = "row";
  }
  wanted.forEach(([name, ...values], index) => {
    const row = body.children[index];
    row.children[0].textContent = name;
    while (row.children.length <= values.length) element("td", "", row);
    values.forEach((value, at) => { row.children[at + 1].textContent = value; });
  });
}

function law(little) {
  if (little === null) return "Little's law: no request has left in the last minute";
  const product = little.rate * little.time;
  return `Little's law: ${number(little.in_system)} in the system, ${number(little.rate)}/s x ` +
    `${time(little.time)} = ${number(product)}; they differ by ${(100 * little.residual).toFixed(1)} %`;
}

function show(stats, before) {
  const { now, minute, totals } = stats;
  say("sentence", stats.ready ? stats.sentence : "stopping: " + stats.sentence);
  say("condition", stats.ready ? stats.condition : "stopping");
  at("dot").className = "dot " + (stats.ready ? MOOD[stats.condition] : "close");
  say("host", `${location.host}, version ${stats.version}`);
  say("served", number(now.served));
  say("refused", number(now.refused));
  say("utilisation", percent(now.utilisation.total));
  say("capacity", number(now.capacity));
  const over = now.headroom !== null && now.headroom < 1;
  say("headroom", now.headroom === null ? "-" : number(over ? 1 / now.headroom : now.headroom) + "x");
  say("headroom-text", over ? "the most is asked for" : "to saturation");
  chart(stats.history);
  lanes(stats.workers, before && before.workers);
  queues(stats);
  memory(stats.memory);
  const { open, most, phases } = stats.connections;
  const counts = Object.keys(NAMES).map((phase) => [NAMES[phase], String(phases[phase])]);
  rows("phases", [["open", `${open} of ${most}`], ...counts]);
  const line = (name, of) => [name, ...["mean", "p50", "p90", "p99"].map((key) => time(of[key])), String(of.count)];
  rows("times", [line("queue wait", minute.wait), line("service", minute.service)]);
  say("expected", minute.expected_wait === null
    ? "Theory has no mean queue wait for this: too little to go by, or too much to be steady"
    : `Theory expects a mean queue wait of ${time(minute.expected_wait)}; it was ${time(minute.wait.mean)}`);
  say("little", law(minute.little));
  say("totals", `${totals.handled} served, ${totals.queue_full} refused by a full queue, ` +
    `${totals.expired} waited too long, ${totals.too_many_connections} had too many connections, ` +
    `${totals.panics} panics; ${totals.accepted} connections`);
  say("uptime", `up for ${age(stats.uptime)}, since ${stats.started.slice(0, 19).replace("T", " ")} UTC`);
}

let latest = null;
let asking = false;
let seen = Date.now();

async function ask() {
  try {
    const options = { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) };
    const answer = await fetch("stats.json", options);
    return answer.ok ? await answer.json() : null;
  } catch (error) {
    // No server, or none that finishes what it says: to whoever looks it is the same.
    return null;
  }
}

async function look() {
  setTimeout(look, EVERY);
  if (asking) return;
  asking = true;
  const stats = await ask();
  asking = false;
  if (stats === null) {
    document.body.className = "lost";
    at("contact").hidden = false;
    say("lost", "Lost the server.");
    say("since", `No answer for ${Math.round((Date.now() - seen) / 1000)} s; asking again.`);
    return;
  }
  // Another version may have other figures, and has a page that fits them.
  if (latest !== null && latest.version !== stats.version) location.reload();
  // A server that was started anew has nothing to compare with.
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
