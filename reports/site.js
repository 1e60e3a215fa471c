// Makes tables sortable and filterable, and dots tell what they are. Every page can be read without it.
"use strict";

const WIDE = 12;
const TOLERANCE = 1.1; // a size that misses a budget by a tenth still meets it (protocol, section 2)
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function keyOf(cell) {
  const value = cell.dataset.value;
  if (value !== undefined) return Number(value);
  const text = (cell.firstElementChild ?? cell).textContent.trim();
  return text === "–" || text === "" ? null : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return collator.compare(a, b);
}

// Numbers begin with the highest and texts with the first; missing values come last; a third press is the page's order.
function sortBy(table, rows, column) {
  const headers = [...table.tHead.rows[0].cells];
  const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
  const known = [...keys.values()].filter((key) => key !== null);
  const first = known.length && known.every((key) => typeof key === "number") ? "descending" : "ascending";
  const orders = [first, first === "ascending" ? "descending" : "ascending", "none"];
  const order = orders[(orders.indexOf(headers[column].getAttribute("aria-sort")) + 1) % 3];
  headers.forEach((header, i) => header.querySelector("button") && header.setAttribute("aria-sort", i === column ? order : "none"));
  const sign = order === "ascending" ? 1 : -1;
  const sorted = order === "none" ? rows : rows.toSorted((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * compare(a, b);
  });
  table.tBodies[0].append(...sorted);
}

function makeSortable(table) {
  const rows = [...table.tBodies[0].rows];
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (rows.some((row) => row.cells[column].querySelector(".strip"))) return;
    header.setAttribute("aria-sort", "none");
    const title = header.firstElementChild;
    const button = document.createElement("button");
    button.type = "button";
    title.replaceWith(button);
    button.append(title);
    header.addEventListener("click", () => sortBy(table, rows, column)); // the button's clicks, too
  });
}

// Of a table with many columns those in which no two rows differ are left out until the reader asks for them.
function makeNarrow(table) {
  const rows = [...table.rows];
  const [header, first, ...others] = rows.map((row) => [...row.cells]);
  if (header.length < WIDE || !others.length) return;
  const same = header.map((_, i) => i > 0 && !first[i].querySelector(".strip")
    && others.every((cells) => cells[i].textContent === first[i].textContent));
  const count = same.filter(Boolean).length;
  if (!count) return;
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  label.className = "more";
  label.append(box, ` with the ${count} columns in which no rows differ`);
  const apply = () => rows.forEach((row) => [...row.cells].forEach((cell, i) => { cell.hidden = same[i] && !box.checked; }));
  box.addEventListener("input", apply);
  table.closest(".scroll").before(label);
  apply();
}

function makeFilterable(filters) {
  const rows = [...filters.parentElement.querySelectorAll("tbody tr")];
  const facets = rows.map((row) => row.dataset.facets.split(" "));
  const selects = [...filters.querySelectorAll("select")];
  const [search, bound, output] = ["[type=search]", "[type=number]", "output"].map((kind) => filters.querySelector(kind));
  let texts = null;
  const apply = () => {
    const chosen = selects.map((select) => select.value);
    const most = bound?.value ? Number(bound.value) : null;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) texts ??= rows.map((row) => row.textContent.toLowerCase());
    let shown = 0;
    rows.forEach((row, i) => {
      const fits = chosen.every((value, j) => value === "" || value === facets[i][j])
        && (most === null || Number(row.cells[bound.dataset.column].dataset.value ?? NaN) <= TOLERANCE * most)
        && words.every((word) => texts[i].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    output.textContent = `${shown} of ${rows.length} rows`;
  };
  filters.addEventListener("input", apply);
  filters.hidden = false;
  apply();
}

function makeTips() {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  document.addEventListener("pointerover", (event) => {
    const dot = event.target.closest(".dot");
    tip.hidden = !dot;
    if (!dot) return;
    const title = dot.querySelector("title");
    if (title) { // the browser's own, slower tip would lie over this one
      dot.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    tip.textContent = dot.getAttribute("aria-label");
    const place = dot.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(place.left, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${place.top > tip.offsetHeight + 10 ? place.top - tip.offsetHeight - 6 : place.bottom + 6}px`;
  });
}

document.querySelectorAll("table.sortable").forEach((table) => { makeSortable(table); makeNarrow(table); });
document.querySelectorAll(".filters").forEach(makeFilterable);
makeTips();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
