"use strict";
// A click on a header sorts its table by that column, another one the other way round.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement;
    const body = header.closest("table").tBodies[0];
    const descending = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[header.cellIndex];
      return cell.dataset.key === undefined ? null : Number(cell.dataset.key);
    };
    const text = (row) => row.cells[header.cellIndex].textContent;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null && y === null) return (descending ? -1 : 1) * text(a).localeCompare(text(b), "en", { numeric: true });
      if (x === null || y === null) return x === null ? 1 : -1; // what is unknown stands last, either way
      return descending ? y - x : x - y;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
