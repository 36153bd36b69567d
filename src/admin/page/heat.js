// How long requests waited and were served, by duration, over the last minutes.

// Draws one map: time to the right, duration upwards by its logarithm, more requests darker.
function heat(id, key, colours, { step, bounds, columns }, end) {
  const plot = at(id);
  const length = 120 * step;
  const counted = bounds.concat(Infinity).map((_, row) =>
    columns.reduce((sum, column) => sum + column[key].counts[row], 0));
  const used = counted.map((count, row) => (count > 0 ? row : -1)).filter((row) => row >= 0);
  const first = used.length ? Math.max(0, Math.min(used[0], used[used.length - 1] - 8) - 1) : 8;
  const last = used.length ? Math.max(used[used.length - 1], first + 8) : 20;
  const rows = last - first + 1;
  const { context, width, height, sharp, colour } = canvas(id, 140);
  const tall = height / rows;
  const x = (when) => width * (1 - (end - when) / length);
  const most = Math.max(1, ...columns.flatMap((column) => column[key].counts));
  context.fillStyle = colour(colours);
  columns.forEach((column) => {
    const left = x(column.at - step);
    column[key].counts.forEach((count, row) => {
      if (count === 0) return;
      context.globalAlpha = 0.12 + 0.88 * Math.sqrt(count / most);
      context.fillRect(left, height - (row - first + 1) * tall, x(column.at) - left + 0.5, tall);
    });
  });
  context.globalAlpha = 1;
  context.strokeStyle = colour("ink");
  context.lineWidth = 1.5 * sharp;
  // A row ends at its bound, so a duration is above the lower bounds of its row.
  const place = (seconds) => Math.min(1, Math.max(0,
    (4 * Math.log10(Math.max(seconds, bounds[0] / 2) / bounds[0]) + 1 - first) / rows));
  for (const [quantile, dashes] of [["p50", []], ["p99", [4 * sharp, 3 * sharp]]]) {
    context.setLineDash(dashes);
    context.beginPath();
    let before = null;
    columns.forEach((column) => {
      const seconds = column[key][quantile];
      if (seconds !== null) {
        const y = height * (1 - place(seconds));
        if (before === null) context.moveTo(x(column.at - step), y);
        context.lineTo(x(column.at - step / 2), y);
        context.lineTo(x(column.at), y);
      }
      before = seconds;
    });
    context.stroke();
  }
  const decades = bounds.map((bound, row) => [(row - first + 1) / rows, time(bound), row])
    .filter(([part, , row]) => row % 4 === 0 && part >= 0 && part <= 1);
  axis(plot, "ys", decades);
  axis(plot, "xs", clock(length));
  const latest = columns.length ? columns[columns.length - 1][key] : { p50: null, p99: null };
  const told = latest.p50 === null ? "no requests"
    : `p50 ${time(latest.p50)}, p99 ${time(latest.p99)}`;
  say(id + "-text", `last ${step} s: ${told}`);
  const row = (column) => [ago(end - column.at),
    String(column[key].counts.reduce((sum, count) => sum + count, 0)),
    time(column[key].p50), time(column[key].p99)];
  table(id, ["", "requests", "p50", "p99"], columns.filter((_, index) => index % 8 === 7).map(row));
  plot.data = { key, columns, bounds, step, first, rows, end, length };
  plot.show();
}

function explainHeat(id) {
  explore(id, () => 120, () => at(id).data.rows, (x, y) => {
    const { key, columns, bounds, step, first, rows, end, length } = at(id).data;
    const when = end - length * (1 - x);
    const column = columns.find((one) => one.at >= when && one.at - step - 0.6 <= when);
    if (!column) return "not recorded";
    const row = Math.min(bounds.length, first + Math.min(rows - 1, Math.floor(y * rows)));
    const { counts, p50, p99 } = column[key];
    const low = row === 0 ? "0" : time(bounds[row - 1]);
    const range = row === bounds.length ? `over ${low}` : `${low} to ${time(bounds[row])}`;
    return `${ago(end - column.at)}: ${counts[row]} requests of ${range}; ` +
      `p50 ${time(p50)}, p99 ${time(p99)}`;
  });
}
