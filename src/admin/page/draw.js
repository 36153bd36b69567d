// What all drawings share: axes, labels, hover values, tables.

// Round numbers from 0 up to at least `top`, at most five steps.
function steps(most) {
  const top = most > 0 ? most : 1;
  const least = top / 5;
  const decade = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((of) => of * decade).find((of) => of >= least * 0.999);
  const count = Math.ceil(top / step - 1e-9) || 1;
  return Array.from({ length: count + 1 }, (_, at) => at * step);
}

function shape(name, of) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(of).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

// A line through [x, y] pairs between 0 and 1, in a picture of 1000 by 1000.
function line(name, points) {
  const at = ([x, y]) => `${(1000 * x).toFixed(1)},${(1000 * (1 - y)).toFixed(1)}`;
  return shape("polyline", { class: name, points: points.map(at).join(" ") });
}

const level = (name, y) => line(name, [[0, y], [1, y]]);

// The labels of an axis: [position between 0 and 1, text].
function axis(place, name, labels) {
  const side = place.querySelector("." + name);
  while (side.children.length > labels.length) side.lastChild.remove();
  while (side.children.length < labels.length) element("span", "tick", side);
  labels.forEach(([position, text], index) => {
    const label = side.children[index];
    label.textContent = text;
    label.style[name === "ys" ? "bottom" : "left"] = `${100 * position}%`;
    label.classList.toggle("first", position < 0.02);
    label.classList.toggle("last", position > 0.98);
  });
}

const ago = (seconds) => {
  if (seconds < 1) return "now";
  return seconds < 120 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`;
};

// The labels of a time axis whose right end is now.
const clock = (length) =>
  parts(length === 300 ? 5 : 4)
    .map((part) => [part, part === 1 ? "now" : brief(length * (1 - part))]);

const parts = (count) => Array.from({ length: count + 1 }, (_, at) => at / count);

const brief = (seconds) =>
  (seconds < 60.5 ? `-${Math.round(seconds)} s` : `-${number(seconds / 60)} min`);

// Reads values out, by pointer and by arrow keys. `tell` gets a place between 0 and 1 on each axis.
function explore(id, across, up, tell) {
  const plot = at(id);
  const cursor = element("div", "cursor", plot.querySelector(".area"));
  let here = null;
  plot.show = () => {
    cursor.hidden = here === null;
    if (here) cursor.style.left = `${100 * here.x}%`;
    say(id + "-value", here ? tell(here.x, here.y) : "");
  };
  const move = (x, y) => {
    here = { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
    plot.show();
  };
  const leave = () => { here = null; plot.show(); };
  const area = plot.querySelector(".area");
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    move((event.clientX - box.left) / box.width, (box.bottom - event.clientY) / box.height);
  });
  area.addEventListener("pointerleave", leave);
  area.addEventListener("blur", leave);
  area.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === "Escape") return leave();
    const [x, y] = by[event.key] || [];
    if (x === undefined) return undefined;
    event.preventDefault();
    const from = here || { x: 1 + 0.5 / across(), y: 0.5 };
    return move(from.x + x / across(), from.y + y / up());
  });
}

// The same data as a table, while it is open.
function table(id, head, body) {
  const place = at(id + "-table");
  if (!place.open) return;
  const made = place.querySelector("table");
  const cells = (row, values, name) => values.forEach((value, index) => {
    const cell = element(index === 0 || name === "th" ? "th" : "td", "", row);
    cell.textContent = value;
    cell.scope = name === "th" ? "col" : "row";
  });
  made.replaceChildren();
  cells(element("tr", "", element("thead", "", made)), head, "th");
  const rest = element("tbody", "", made);
  body.forEach((values) => cells(element("tr", "", rest), values, "td"));
}

// A canvas with as many points as the screen has, and the colours in force.
function canvas(id, height) {
  const made = at(id).querySelector("canvas");
  made.style.height = height + "px";
  const sharp = window.devicePixelRatio || 1;
  const [width, tall] = [made.clientWidth, height].map((of) => Math.max(1, Math.round(of * sharp)));
  if (made.width !== width || made.height !== tall) Object.assign(made, { width, height: tall });
  const context = made.getContext("2d");
  context.clearRect(0, 0, width, tall);
  const style = getComputedStyle(document.documentElement);
  return { context, width, height: tall, sharp, colour: (of) => style.getPropertyValue("--" + of) };
}
