"use strict";
const data = JSON.parse(document.getElementById("calls").textContent);
const size = 100;
const columns = data.columns, rows = data.rows, words = data.words;
const outcome = columns.indexOf("outcome");
const text = (row, i) => (data.coded.includes(i) ? words[row[i]] : row[i]);
let shown = rows, page = 0;
const element = (id) => document.getElementById(id);
function draw() {
  const body = element("rows");
  body.replaceChildren();
  for (const row of shown.slice(page * size, (page + 1) * size)) {
    const line = document.createElement("tr");
    columns.forEach((name, i) => {
      const cell = document.createElement("td");
      cell.textContent = name === "time" ? new Date(row[i]).toISOString().replace("T", " ").replace("Z", "") : text(row, i);
      if (typeof row[i] === "number" && !data.coded.includes(i)) cell.className = name === "time" ? "t" : "n";
      if (i === outcome) cell.className = { ok: "ok", denied: "denied" }[text(row, i)] || "error";
      line.append(cell);
    });
    body.append(line);
  }
  const pages = Math.max(1, Math.ceil(shown.length / size));
  element("where").textContent = `${shown.length} calls, page ${page + 1} of ${pages}`;
  element("back").disabled = page === 0;
  element("on").disabled = page + 1 >= pages;
}
function choose() {
  const wanted = element("filter").value.toLowerCase(), which = element("outcome").value;
  shown = rows.filter((row) =>
    (!which || text(row, outcome) === which) &&
    (!wanted || columns.some((_, i) => String(text(row, i)).toLowerCase().includes(wanted))));
  page = 0;
  draw();
}
element("filter").addEventListener("input", choose);
element("outcome").addEventListener("change", choose);
element("back").addEventListener("click", () => { page -= 1; draw(); });
element("on").addEventListener("click", () => { page += 1; draw(); });
draw();
