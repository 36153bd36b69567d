// Feeds the live page with data of a pool in a given state, so that no test waits for it.
// 4 workers, services of 50 ms on average: a capacity of 80 requests per second.

const STATES = {
  idle: { load: 0 },
  normal: { load: 0.4 },
  knee: { load: 0.87, condition: "near saturation",
    sentence: "near saturation: 70 requests/s offered, 87 % of capacity; capacity is 80 requests/s " +
      "(4 workers, 50 ms each); queue waits grow fast from here" },
  saturation: { load: 1, condition: "saturated", waiting: 17,
    sentence: "saturated: 80 requests/s offered; capacity is 80 requests/s (4 workers, 50 ms each); " +
      "17 waiting; add workers or reduce the service time" },
  refusing: { load: 1.6, condition: "saturated", waiting: 40,
    sentence: "saturated: 128 requests/s offered; capacity is 80 requests/s (4 workers, 50 ms each); " +
      "38 % shed: at most 40 wait, for at most 500 ms; add workers or reduce the service time" },
  unfair: { load: 1.3, condition: "saturated", waiting: 40, unfair: true,
    sentence: "saturated: 104 requests/s offered; capacity is 80 requests/s (4 workers, 50 ms each); " +
      "23 % shed: at most 40 wait, for at most 500 ms; add workers or reduce the service time" },
  draining: { load: 0.6, ready: false },
};

const noise = (at) => Math.sin(at * 12.9898) * 0.5 + Math.sin(at * 4.1414) * 0.5;

// The bins of a bell in the logarithm of the duration.
function bell(bounds, mean, count) {
  return bounds.concat(bounds[bounds.length - 1] * 2).map((bound) =>
    Math.round(count * 0.35 * Math.exp(-4 * Math.log10(bound / 1.3 / mean) ** 2)));
}

function pretend(stats, records, name, given) {
  const state = given || STATES[name];
  const { load } = state;
  const [capacity, end] = [80, 4000];
  const offered = load * capacity;
  const handled = Math.min(offered, capacity);
  const shed = offered - handled;
  const busy = Math.min(1, load);
  const wait = load === 0 ? 0 : load >= 1 ? 0.25 + 0.2 * Math.min(1, load - 1)
    : 0.05 * load ** 4 / (1 - load) / 4;
  const times = (of) => (load === 0
    ? { count: 0, mean: null, p50: null, p90: null, p99: null }
    : { count: Math.round(60 * handled), mean: of, p50: 0.8 * of, p90: 2.2 * of, p99: 3.9 * of });
  const figures = (of) => ({ ...of, offered, handled, shed, shed_share: shed / (offered || 1),
    capacity: load === 0 ? null : capacity, load: load === 0 ? null : load,
    utilisation: { total: busy, parse: 0.01 * busy, handle: 0.96 * busy, respond: 0.03 * busy },
    queue_wait: times(wait), service: times(0.05), service_variation: load === 0 ? null : 0.8,
    expected_queue_wait: load > 0 && load < 1 ? wait : null,
    expected_queue_wait_range: load > 0 && load < 1 ? [wait * 0.8, wait * 1.4] : null });
  Object.assign(stats, { ready: state.ready !== false, uptime: end, now: figures(stats.now),
    minute: { ...figures(stats.minute), elapsed: 60 },
    condition: state.condition || (load === 0 ? "idle" : "normal"),
    sentence: state.sentence || (load === 0 ? "idle: no requests in the last 5 s"
      : `normal: ${offered} requests/s offered, ${Math.round(100 * load)} % of capacity; capacity ` +
        `is 80 requests/s (4 workers, 50 ms each)`) });
  stats.now.elapsed = 5;
  stats.queue = { ...stats.queue, waiting: state.waiting || 0, bound: 40, high_water: 40,
    oldest: state.waiting ? 0.4 : null, age: 0.5, service: load === 0 ? null : 0.05 };
  const refused = { queue_full: shed * 0.8, expired: shed * 0.2 };
  Object.values(stats.rates).forEach((rates) => {
    Object.assign(rates.refused, refused);
    Object.assign(rates, { bytes_sent: handled * 12000,
      responses: { "2xx": handled * 0.9, "3xx": handled * 0.08, "4xx": handled * 0.02, "5xx": shed } });
  });
  Object.assign(stats.totals, { handled: Math.round(handled * end), refused: Math.round(shed * 60),
    queue_full: Math.round(shed * 48), expired: Math.round(shed * 12) });
  stats.cpu = { used: 0.02 + 0.3 * busy, available: 2 };
  const client = (name, waiting, share, lost) => ({ client: name, waiting, in_service: waiting ? 1 : 0,
    refused: lost, service_share: share });
  stats.clients = state.unfair ? [client("192.0.2.7", 30, 0.86, 0), client("2001:db8:1::/64", 5, 0.08, 90),
    client("198.51.100.23", 5, 0.06, 75)]
    : load > 0.8 ? [client("192.0.2.7", 6, 0.35, 20), client("198.51.100.23", 5, 0.33, 18)] : [];
  const one = { activity: load === 0 ? "idle" : "handle", lasting: 0.02, spent: stats.workers[0].spent,
    now: { parse: 0.01 * busy, handle: 0.96 * busy, respond: 0.03 * busy } };
  const count = state.workers || 4;
  stats.workers = Array.from({ length: count }, (_, at) =>
    (at < count * busy ? one : { ...one, activity: "idle" }));
  const point = (at) => ({ at, offered: Math.max(0, offered * (1 + 0.12 * noise(at))),
    handled: handled * (1 + 0.05 * noise(at + 3)), immediate: 0,
    shed: Math.max(0, shed * (1 + 0.2 * noise(at))), capacity: load === 0 ? null : capacity,
    utilisation: busy, recent_utilisation: Math.min(1, busy * (1 + 0.04 * noise(at / 9))),
    queue_wait: load === 0 ? null : wait * (1 + 0.3 * noise(at / 9)), waiting: 0 });
  stats.history = Array.from({ length: 120 }, (_, at) => point(end - 59.5 + at / 2));
  // The curve is the server's own, since it has 4 workers: in services until one was measured.
  records.at = end;
  if (load > 0 && !records.curve.measured) {
    records.curve = { ...records.curve, measured: true, service: 0.05, service_variation: 0.8,
      points: records.curve.points.map(([at, ...waits]) => [at, ...waits.map((of) => of * 0.05 * 0.9)]) };
  }
  if (load === 0 && records.curve.measured) {
    records.curve = { ...records.curve, measured: false,
      points: records.curve.points.map(([at, ...waits]) => [at, ...waits.map((of) => of / 0.045)]) };
  }
  const hex = (share) => Math.round(255 * Math.min(1, share)).toString(16).padStart(2, "0");
  const rows = Math.min(64, count);
  const cells = (at) => Array.from({ length: rows }, (_, row) => {
    const part = count > 64 ? Math.min(1, Math.max(0, 1.5 * busy - row / rows + 0.1 * noise(at)))
      : Math.min(1, Math.max(0, busy * (1 + 0.4 * noise(at + 7 * row))));
    return hex(0.02 * part) + hex(0.93 * part) + hex(0.04 * part);
  }).join("");
  records.strips = { rows, sorted: count > 64,
    columns: stats.history.map(({ at }) => ({ at, cells: cells(at) })) };
  const { bounds, step } = records.heat;
  const none = { counts: bounds.concat(0).map(() => 0), p50: null, p99: null };
  const heated = (at, mean, count) => (load === 0 ? none
    : { counts: bell(bounds, mean * (1 + 0.3 * noise(at)), count), p50: mean * (0.8 + 0.2 * noise(at)),
      p99: mean * (3 + noise(at + 1)) });
  records.heat.columns = Array.from({ length: 120 }, (_, index) => {
    const at = end - step * (119 - index);
    return { at, queue_wait: heated(at, Math.max(wait, 2e-5), handled * step),
      service: heated(at + 5, 0.05, handled * step) };
  });
  const quantiles = (of) => (load === 0 ? { p50: null, p99: null } : { p50: of * 0.8, p99: of * 4 });
  records.hour.steps = Array.from({ length: 200 }, (_, index) => {
    const at = end - 15 * (199 - index);
    return { ...point(at), queue_wait: quantiles(wait * (1.2 + noise(index / 20))),
      service: quantiles(0.05), rates: stats.rates.now, memory: 2e6 * (1 + index / 100),
      cores: stats.cpu.used * (1 + 0.3 * noise(index)) };
  });
}

// The page asks no more, so that only what a test shows is seen.
function pause() {
  window.ask = () => {
    window.paused = true;
    return new Promise(() => {});
  };
}

function showState(name, given) {
  const state = given || STATES[name];
  window.template = window.template || JSON.stringify([latest, records]);
  const [stats, made] = JSON.parse(window.template);
  pretend(stats, made, name, state);
  pause();
  [latest, records] = [stats, made];
  document.body.className = "";
  at("contact").hidden = true;
  show(stats);
  draw(stats, made);
  if (name !== "lost") return;
  window.ask = async () => null;
  asking = false;
  look();
}

// Pairs of labels of one drawing that overlap, labels outside of the page, figures that do not fit.
function overlapping() {
  const found = [...document.querySelectorAll(".tiles b")]
    .filter((of) => of.scrollWidth > of.clientWidth).map((of) => `${of.id} does not fit its tile`);
  for (const plot of document.querySelectorAll(".plot")) {
    const labels = [...plot.querySelectorAll(".tick, .here span")].filter((of) =>
      of.textContent && of.getClientRects().length > 0);
    const boxes = labels.map((of) => ({ text: of.textContent, box: of.getBoundingClientRect() }));
    boxes.forEach((one, at) => {
      if (one.box.left < 0 || one.box.right > innerWidth) found.push(`${plot.id}: ${one.text} is cut off`);
      boxes.slice(at + 1).forEach((other) => {
        const [a, b] = [one.box, other.box];
        if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) {
          found.push(`${plot.id}: ${one.text} over ${other.text}`);
        }
      });
    });
  }
  return found;
}
STATES.lost = STATES.normal;
pause();
