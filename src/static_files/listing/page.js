"use strict";
// The page is whole without this: it adds a filter for long lists, and shows the reader's own time.
const box = document.querySelector("input"), rows = document.querySelectorAll("tr[data-e]");
const shown = document.querySelector("footer span"), count = shown.textContent;
for (const time of document.querySelectorAll("time")) {
  const local = new Date(time.dateTime).toLocaleString("sv-SE").slice(0, 16);
  time.title = time.textContent + " UTC";
  time.textContent = local;
}
document.querySelector("footer i").textContent = "times are local";
box.hidden = rows.length < 12;
box.addEventListener("input", () => {
  const wanted = box.value.toLowerCase();
  let left = 0;
  for (const row of rows) {
    row.hidden = !row.querySelector("bdi").textContent.toLowerCase().includes(wanted);
    left += !row.hidden;
  }
  shown.textContent = wanted ? left + " of " + count : count;
});
