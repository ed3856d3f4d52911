"use strict";
// Sorts a table by the column whose heading is pressed: numbers by value, names as text, empty cells last.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.querySelectorAll("thead tr:last-child th")];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = column === 0 ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((one) => one.setAttribute("aria-sort", one === head ? direction : "none"));
    const sign = direction === "ascending" ? 1 : -1;
    const key = (row) => {
      const cell = row.children[column];
      return column === 0 ? cell.textContent.trim() : cell.dataset.value;
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (column > 0 && !isNaN(x) && !isNaN(y) ? Number(x) - Number(y) : x.localeCompare(y));
    });
    body.append(...rows);
  }));
}
