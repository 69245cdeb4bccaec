"use strict";
// What may be done from the page: cancel, retry, and read what a task has written so far. The server says whether.

import { element, say } from "/tables.js";

const READ_MS = 1_500; // between two looks at a task's output
const $ = (id) => document.getElementById(id);
const acting = { may: false, run: null, task: null, timer: 0 };

export const may = () => acting.may;

async function post(path, query) {
  return fetch(`${path}?${new URLSearchParams(query)}`, { method: "POST" });
}

/** One of the two buttons: asks first, and says what became of it. */
async function act(path, question) {
  if (!window.confirm(question)) return;
  const run = acting.run.id;
  say($("acted"), "Asking ...");
  try {
    const answer = await post(path, { run });
    say($("acted"), (await answer.text()).trim());
  } catch {
    say($("acted"), "The server is gone; nothing is known to have been done.");
  }
}

/** Which buttons there are depends on the run's state. */
export function showActions(run) {
  if (acting.run !== null && acting.run.id !== run.id) {
    say($("acted"), "");
    close();
  }
  acting.run = run;
  $("cancel").hidden = !["starting", "running", "detached"].includes(run.state);
  $("retry").hidden = run.state !== "finished" || run.failures_in_all === 0;
  $("actions").hidden = !acting.may || ($("cancel").hidden && $("retry").hidden && $("acted").textContent === "");
}

// --- the output of a task that runs ---

/** A slot in the list of workers: a button that opens the output, where this page may ask for it. */
export function fillSlot(item, text, task) {
  if (!acting.may || task === null) {
    say(item, text);
    return;
  }
  let button = item.querySelector("button");
  if (button === null) {
    button = element("button", text, { type: "button" });
    button.addEventListener("click", () => open(Number(button.dataset.task)));
    item.replaceChildren(button);
  }
  button.dataset.task = String(task);
  button.title = `What task ${task} has written so far`;
  say(button, text);
}

function open(task) {
  acting.task = task;
  $("peek").hidden = false;
  say($("peek-title"), `Output of task ${task} so far`);
  say($("peek-note"), "Asking its worker ...");
  say($("peek-text"), "");
  $("peek").scrollIntoView({ block: "nearest" });
  $("peek-close").focus({ preventScroll: true });
  read();
}

function close() {
  acting.task = null;
  clearTimeout(acting.timer);
  $("peek").hidden = true;
}

async function read() {
  const task = acting.task;
  clearTimeout(acting.timer);
  let note, text;
  try {
    const answer = await post("/output", { run: acting.run.id, task });
    const output = answer.ok ? await answer.json() : null;
    if (!answer.ok) note = (await answer.text()).trim();
    else if (output === null) note = "No worker here says that it runs this task; only commands' output can be read before their end.";
    else {
      note = "Read again as it grows.";
      text = Object.entries(output).filter(([, each]) => each).map(([stream, each]) => `--- ${stream} ---\n${each}`).join("\n");
      if (!text) note = "It has written nothing yet.";
    }
  } catch {
    note = "The server is gone.";
  }
  if (acting.task !== task) return; // closed, or another one meanwhile
  say($("peek-note"), note);
  if (text !== undefined) say($("peek-text"), text);
  acting.timer = setTimeout(read, READ_MS);
}

$("cancel").addEventListener("click", () => act("/cancel", `Cancel ${acting.run.name}? What has not been done is given up.`));
$("retry").addEventListener("click", () => act("/retry", `Run again what was not done in ${acting.run.name}?`));
$("peek-close").addEventListener("click", close);

fetch("/may-act")
  .then((answer) => answer.json())
  .then((told) => { acting.may = told.may; })
  .catch(() => {}); // then it may not
