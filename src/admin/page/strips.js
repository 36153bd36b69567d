// What each worker did over the last minute.

const MINUTE = 60;

// The shares of one cell: parse, handle, respond.
const cell = (column, row) =>
  [0, 2, 4].map((of) => parseInt(column.cells.substr(6 * row + of, 2), 16) / 255);

function strips(of, end) {
  const plot = at("strips");
  const each = Math.max(4, Math.min(18, Math.floor(224 / of.rows)));
  const { context, width, height, colour } = canvas("strips", each * of.rows);
  const colours = ACTIVITIES.map(colour);
  const tall = height / of.rows;
  const gap = tall > 6 ? Math.max(1, tall / 8) : 0;
  context.fillStyle = colour("idle");
  context.fillRect(0, 0, width, height);
  of.columns.forEach((column, index) => {
    const before = index > 0 ? of.columns[index - 1].at : column.at - 0.5;
    const [left, right] = [before, column.at].map((when) => width * (1 - (end - when) / MINUTE));
    for (let row = 0; row < of.rows; row += 1) {
      let from = left;
      cell(column, row).forEach((share, activity) => {
        if (share === 0) return;
        context.fillStyle = colours[activity];
        context.fillRect(from, row * tall, share * (right - left), tall - gap);
        from += share * (right - left);
      });
    }
  });
  const every = Math.ceil(of.rows / (each * of.rows / 18));
  const labels = Array.from({ length: of.rows }, (_, row) => row).filter((row) => row % every === 0)
    .map((row) => [1 - (row + 0.5) / of.rows, String(row + 1)]);
  axis(plot, "ys", of.sorted ? [[0.95, "busiest"], [0.05, "idlest"]] : labels);
  axis(plot, "xs", clock(MINUTE));
  plot.data = { of, end };
  plot.show();
}

function explainStrips() {
  explore("strips", () => 120, () => at("strips").data.of.rows, (x, y) => {
    const { of, end } = at("strips").data;
    const when = end - MINUTE * (1 - x);
    const column = of.columns.find((one) => one.at >= when);
    const row = Math.min(of.rows - 1, Math.floor((1 - y) * of.rows));
    const who = of.sorted ? `band ${row + 1} of ${of.rows}, busiest first` : `worker ${row + 1}`;
    if (!column || of.columns[0].at - 0.6 > when) return `${who}: not recorded`;
    const shares = cell(column, row);
    const idle = Math.max(0, 1 - shares.reduce((sum, one) => sum + one, 0));
    const told = ACTIVITIES.map((name, index) => `${label(name)} ${percent(shares[index])}`);
    return `${who}, ${ago(end - column.at)}: ${told.join(", ")}, idle ${percent(idle)}`;
  });
}

function workers(list) {
  const busy = list.filter((worker) => worker.activity !== "idle").length;
  const share = (worker) => ACTIVITIES.reduce((sum, of) => sum + worker.now[of], 0);
  const shares = list.map(share);
  const spread = list.length === 1 || busy + Math.max(...shares) === 0 ? "" : `; in the last 5 s the busiest had a job for ` +
    `${percent(Math.max(...shares))} of the time, the idlest for ${percent(Math.min(...shares))}`;
  say("strips-text", `${busy} of ${list.length} busy at this moment${spread}`);
  table("strips", ["worker", "now", ...ACTIVITIES.map((of) => `${of}, last 5 s`), "idle, last 5 s"],
    list.slice(0, 256).map((worker, index) => [String(index + 1), worker.activity,
      ...ACTIVITIES.map((of) => percent(worker.now[of])), percent(Math.max(0, 1 - shares[index]))]));
}
