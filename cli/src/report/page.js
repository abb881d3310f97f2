"use strict";

// The heads of tables become buttons that sort by their column. Without this script the page is complete all the same.
for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    if (head.dataset.kind === "command" || table.tBodies[0].rows.length < 2) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
}

function sort(table, head) {
  const byValue = head.dataset.kind !== "text";
  const first = head.dataset.kind === "number" || head.dataset.kind === "rank" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[head.cellIndex];
    return byValue ? Number(cell.dataset.value ?? NaN) : cell.textContent;
  };
  // What has no value comes last, whatever the order.
  const compare = ([one], [two]) => {
    if (!byValue) return sign * one.localeCompare(two, "en", { numeric: true });
    return isNaN(one) || isNaN(two) ? isNaN(one) - isNaN(two) : sign * (one - two);
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  table.tBodies[0].append(...rows.sort(compare).map(([, row]) => row));
  for (const cell of head.parentNode.cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
}
