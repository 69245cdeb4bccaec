"use strict";
// Tables whose rows come, change and go while somebody reads, sorts and opens them.

/** An element with text in it. Whatever a task printed is text and nothing else. */
export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Text that is there already is left alone, so that no selection and no screen reader is disturbed. */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

export function mark(place, state) {
  if (place.dataset.state !== state) place.dataset.state = state;
}

/**
 * A table of keyed rows. make(item): a new row. fill(row, item): what may change in it.
 * keys: by column what it sorts by; columns with a button in their header can be sorted.
 */
export class Table {
  constructor(table, make, fill, keys = []) {
    Object.assign(this, { body: table.tBodies[0], make, fill, keys, items: [], rows: new Map(), by: null, down: false });
    for (const button of table.querySelectorAll("th button")) {
      button.addEventListener("click", () => this.sort(button.parentElement));
    }
  }

  sort(header) {
    this.down = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", this.down ? "descending" : "ascending");
    this.by = this.keys[header.cellIndex];
    this.place();
  }

  show(items, key) {
    const rows = new Map();
    for (const item of items) {
      const name = String(key(item));
      const row = this.rows.get(name) ?? this.make(item);
      this.fill(row, item);
      rows.set(name, row);
    }
    for (const [name, row] of this.rows) if (!rows.has(name)) row.remove();
    this.rows = rows;
    this.items = items.map((item, number) => ({ item, row: [...rows.values()][number] }));
    this.place();
  }

  /** Rows into their order. Those that stand right are not touched, as that would take the focus from them. */
  place() {
    const ordered = this.by === null ? this.items : [...this.items].sort((one, other) => this.compare(one.item, other.item));
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    ordered.forEach(({ row }, number) => {
      if (this.body.rows[number] !== row) this.body.insertBefore(row, this.body.rows[number] ?? null);
    });
    if (focused !== null && document.activeElement !== focused) focused.focus({ preventScroll: true });
  }

  compare(one, other) {
    const [x, y] = [this.by(one), this.by(other)];
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return this.down ? -order : order;
  }
}
