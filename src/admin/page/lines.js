// Lines over time: the last minute and the last hour.

const REQUESTS = {
  text: (value) => `${number(value)}/s`,
  lines: {
    shed: (of) => of.shed, offered: (of) => of.offered, handled: (of) => of.handled,
  },
};
const HOURLY = {
  "requests": REQUESTS,
  "times": {
    text: time,
    lines: {
      "wait p50": (of) => of.queue_wait.p50, "wait p99": (of) => of.queue_wait.p99,
      "service p50": (of) => of.service.p50, "service p99": (of) => of.service.p99,
    },
  },
  "status classes": {
    text: (value) => `${number(value)}/s`,
    lines: Object.fromEntries(["2xx", "3xx", "4xx", "5xx"].map((of) =>
      [of, (step) => step.rates.responses[of]])),
  },
  "bytes sent": {
    text: (value) => `${size(value)}/s`, lines: { bytes: (of) => of.rates.bytes_sent },
  },
  "CPU": {
    text: (value) => `${number(value)} cores`, lines: { cores: (of) => of.cores },
  },
  "memory": { text: size, lines: { memory: (of) => of.memory } },
};

// Draws the points of the last `length` seconds before `end`, and keeps what the readout tells.
function lines(id, points, end, length, { text, lines: series }) {
  const plot = at(id);
  const values = points.flatMap((point) => Object.values(series).map((of) => of(point) || 0));
  const most = Math.max(0, ...values);
  const last = points.length ? points[points.length - 1] : null;
  const known = series.offered && last && last.capacity !== null ? last.capacity : null;
  // A capacity far above the offered rate would flatten the curves.
  const capacity = known !== null && known <= 4 * most ? known : null;
  const marks = steps(1.02 * Math.max(most, capacity || 0));
  const top = marks[marks.length - 1];
  const x = (point) => 1 - (end - point.at) / length;
  const curves = Object.entries(series).map(([name, of]) => line(name.replace(" ", "-"),
    points.filter((point) => of(point) !== null).map((point) => [x(point), of(point) / top])));
  const parts = [...marks.map((mark) => level("grid", mark / top)), ...curves];
  if (capacity !== null) parts.push(level("capacity", capacity / top));
  plot.querySelector("svg").replaceChildren(...parts);
  axis(plot, "ys", marks.map((mark) => [mark / top, mark === 0 ? "0" : text(mark)]));
  axis(plot, "xs", clock(length));
  const label = plot.querySelector(".capacity-label");
  if (label) {
    label.hidden = capacity === null;
    label.textContent = capacity === null ? "" : `capacity ${text(capacity)}`;
    // Above its line; below it where there is no room above.
    label.style.bottom = `${capacity === null ? 0 : (100 * capacity) / top}%`;
    label.classList.toggle("below", capacity !== null && capacity / top > 0.85);
  }
  const above = known !== null && capacity === null ? ", above the chart" : "";
  const shown = known === null ? "" : `, capacity ${text(known)}${above}`;
  say(id + "-text", points.length ? `largest value ${text(most)}${shown}` : "no data yet");
  const row = (point) => Object.entries(series).map(([, of]) => text(of(point)));
  plot.data = { points, x, series, text };
  table(id, ["", ...Object.keys(series)], points.filter((_, index) => index % 10 === 9)
    .map((point) => [ago(end - point.at), ...row(point)]));
  plot.show();
  plot.ago = (point) => ago(end - point.at);
}

function explain(id, across) {
  explore(id, across, () => 1, (x) => {
    const { points, x: place, series, text } = at(id).data;
    if (points.length === 0) return "no data yet";
    const near = (one, other) =>
      (Math.abs(place(one) - x) <= Math.abs(place(other) - x) ? one : other);
    const point = points.reduce(near);
    const values = Object.entries(series).map(([name, of]) => `${name} ${text(of(point))}`);
    return `${at(id).ago(point)}: ${values.join(", ")}`;
  });
}

function legend(id, names) {
  const place = at(id + "-legend");
  if (place.dataset.names === names.join()) return;
  place.dataset.names = names.join();
  place.replaceChildren();
  names.forEach((name) => {
    element("span", "key " + name.replace(" ", "-"), place);
    place.append(name + " ");
  });
}
