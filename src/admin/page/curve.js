// "You are here": the wait that theory expects at each utilisation, and what is measured.

// The curve's value at a utilisation, between its points: 1 is the mean, 2 the 99th percentile.
function onCurve(points, utilisation, which) {
  const next = points.findIndex(([of]) => of >= utilisation);
  if (next < 0) return null;
  if (next === 0) return points[0][which];
  const [low, high] = [points[next - 1], points[next]];
  const part = (utilisation - low[0]) / (high[0] - low[0]);
  return low[which] + part * (high[which] - low[which]);
}

function curve({ now, history }, of) {
  const plot = at("curve");
  const unit = of.measured ? time : (value) => `${number(value)} D`;
  const wait = now.queue_wait.mean;
  const present = { at: now.utilisation.total, wait: of.measured && wait ? wait : 0 };
  // The present point is on the picture, and so is the knee of the mean.
  const marks = steps(Math.max(onCurve(of.points, 0.93, 1), 1.15 * present.wait));
  const top = marks[marks.length - 1];
  const inside = (value) => Math.min(1, value / top);
  const trail = history.filter((point) => of.measured && point.queue_wait !== null)
    .map((point) => [point.recent_utilisation, inside(point.queue_wait)]);
  const cut = (which) => {
    const over = of.points.findIndex((point) => point[which] > top);
    return of.points.slice(0, over < 0 ? of.points.length : over + 1)
      .map((point) => [point[0], point[which] / top]);
  };
  plot.querySelector("svg").replaceChildren(
    ...marks.map((mark) => level("grid", mark / top)),
    line("late", cut(2)), line("mean", cut(1)), line("trail", trail),
  );
  const dot = plot.querySelector(".here");
  dot.style.left = `${100 * Math.min(1, present.at)}%`;
  dot.style.bottom = `${100 * inside(present.wait)}%`;
  dot.classList.toggle("left", present.at > 0.5);
  axis(plot, "ys", marks.map((mark) => [mark / top, mark === 0 ? "0" : unit(mark)]));
  axis(plot, "xs", parts(4).map((part) => [part, percent(part)]));
  plot.data = { points: of.points, unit };
  const expected = onCurve(of.points, present.at, 1);
  const theory = expected === null
    ? "theory has no steady wait here: it grows until requests are shed"
    : `theory expects ${unit(expected)}`;
  const measured = wait === null ? "no request waited" : `mean wait ${time(wait)}`;
  say("curve-text", `You are at a utilisation of ${percent(present.at)}, ${measured} (last 5 s); ` +
    `${theory}${of.measured ? "" : " (D: one service)"}; ` +
    `at 90 % it is ${unit(onCurve(of.points, 0.9, 1))}`);
  const pool = of.workers === 1 ? "1 worker" : `${of.workers} workers`;
  say("curve-of", of.measured
    ? `Curve for ${pool}, services of ${time(of.service)} with a coefficient of variation of ` +
      `${number(Math.sqrt(of.service_variation))} (last minute), arrivals ` +
      `${number(Math.sqrt(of.arrival_variation))}; p99 is approximate`
    : `Curve for ${pool} with exponential services of one D: no service in the last minute`);
  table("curve", ["utilisation", "mean wait", "p99 of the wait"], [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98]
    .map((part) => [percent(part), unit(onCurve(of.points, part, 1)), unit(onCurve(of.points, part, 2))]));
  plot.show();
}

function explainCurve() {
  explore("curve", () => 50, () => 1, (x) => {
    const { points, unit } = at("curve").data || { points: [] };
    if (points.length === 0) return "no data yet";
    const mean = onCurve(points, x, 1);
    return mean === null ? `at ${percent(x)}: no steady state`
      : `at ${percent(x)}: mean wait ${unit(mean)}, p99 ${unit(onCurve(points, x, 2))}`;
  });
}
