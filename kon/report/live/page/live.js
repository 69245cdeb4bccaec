"use strict";
// The page: it listens to the server's stream, and shows the latest of what comes.

import { fillSlot, showActions } from "/acting.js";
import { draw } from "/chart.js";
import { element, mark, say, Table } from "/tables.js";
import { count, dollars, duration, many, percent, rounded } from "/words.js";

const ANNOUNCE_MS = 15_000; // a screen reader is told how far a run is no more often
const SILENCE_MS = 20_000; // the server sends something more often than that, or it is not there
const AGAIN_MS = 5_000; // where the browser itself has given up on the server

const $ = (id) => document.getElementById(id);
const chosen = () => new URLSearchParams(location.search).get("run");

const page = { runs: [], run: null, following: null, stream: null, heard: 0, schema: null, said: "", saidAt: 0, over: false };

// --- the stream ---

const place = (run) => (run === null ? "/events" : `/events?run=${encodeURIComponent(run)}`);

function listen(run) {
  page.stream?.close();
  page.following = run;
  page.heard = performance.now();
  const stream = new EventSource(place(run));
  page.stream = stream;
  const on = (name, use) =>
    stream.addEventListener(name, (event) => {
      if (page.stream !== stream) return; // of a run that is not looked at any more
      page.heard = performance.now();
      use(JSON.parse(event.data));
    });
  stream.addEventListener("open", () => connected("live", "live"));
  stream.addEventListener("error", () => lost(stream));
  on("runs", showRuns);
  on("run", showRun);
  on("failures", showFailures);
  on("end", ended);
}

function connected(state, text) {
  mark($("connection"), state);
  say($("connection"), text);
  if (state === "live") {
    page.over = false;
    $("ended").hidden = true;
  }
}

function lost(stream) {
  if (page.stream !== stream) return;
  if (!page.over) connected("lost", "server gone, trying again");
  if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again
  refused(stream);
  again(stream);
}

/** What the server says when it does not let the page listen: the stream itself does not tell. */
async function refused(stream) {
  const asked = new AbortController();
  try {
    const answer = await fetch(place(page.following), { signal: asked.signal });
    if (!answer.ok && page.stream === stream) {
      connected("lost", "refused, trying again");
      say($("ended"), `${(await answer.text()).trim()} ${chosen() === null ? "" : "The page without a name in its address has all runs."}`);
      $("ended").hidden = false;
    }
  } catch {
    return; // there is no server, which is said already
  } finally {
    asked.abort();
  }
}

function again(stream) {
  setTimeout(() => page.stream === stream && listen(page.following), AGAIN_MS);
}

function ended({ why }) {
  page.over = true;
  page.stream.close();
  connected("over", "ended");
  say($("ended"), `${why} This is how it stood.`);
  $("ended").hidden = false;
  again(page.stream); // it may be started again
}

// a connection may be dead without a word, as after a sleep; while a run moves, its stream does
setInterval(() => {
  const moves = page.run !== null && ["starting", "running", "detached"].includes(page.run.state);
  if (moves && !page.over && performance.now() - page.heard > SILENCE_MS) {
    connected("lost", "server silent, trying again");
    listen(page.following);
  }
}, 5_000);

// --- the list of runs ---

function runRow(line) {
  const row = element("tr");
  const link = element("a", line.name, { href: `?run=${encodeURIComponent(line.id)}` });
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href"));
    follow();
  });
  row.append(element("td", undefined, { class: "name" }), element("td", "", { class: "name state" }));
  row.cells[0].append(link);
  for (let number = 0; number < 5; number += 1) row.append(element("td", ""));
  return row;
}

function fillRun(row, line) {
  row.setAttribute("aria-current", String(line.id === page.following));
  row.title = line.problem;
  mark(row.cells[1], line.state);
  const bad = line.failed + line.others;
  const rest = [line.state, percent(line.done, line.tasks), count(bad), count(line.tasks)];
  rest.push(line.tasks_per_s ? rounded(line.tasks_per_s) : "", line.left_s === null ? "" : duration(line.left_s));
  rest.forEach((text, number) => say(row.cells[number + 1], text));
}

const runsTable = new Table($("runs-table"), runRow, fillRun);

function showRuns(runs) {
  page.runs = runs;
  $("runs").hidden = runs.length < 2 && chosen() === null;
  runsTable.show(runs, (line) => line.id);
  if (chosen() === null) follow();
}

/** The run that the address names; without one, that which goes on, or the latest. */
function follow() {
  const wanted = chosen() ?? page.runs[0]?.id ?? null;
  if (wanted !== page.following || page.stream === null) {
    page.run = null;
    $("run").hidden = true;
    $("nothing").hidden = false;
    say($("nothing"), wanted === null ? "Waiting for a run." : `Reading the records of ${wanted}.`);
    listen(wanted);
  }
  runsTable.show(page.runs, (line) => line.id);
}

window.addEventListener("popstate", follow);

// --- one run ---

const ENDINGS = ["done", "failed", "dead", "lost", "cancelled", "left"];

function showRun(run) {
  if (page.schema !== null && page.schema !== run.schema) location.reload(); // kon was renewed meanwhile
  page.schema = run.schema;
  page.run = run;
  $("nothing").hidden = true;
  $("run").hidden = false;
  say($("name"), run.name);
  say($("about"), [run.about, ...run.notes].join(". "));
  $("problem").hidden = !run.problem;
  say($("problem"), run.problem);
  showProgress(run);
  showActions(run);
  showFigures(run);
  draw($("chart"), $("chart-text"), run.throughput, run.mean_tasks_per_s);
  showWorkers(run);
  document.title = `${percent(run.tasks - run.left, run.tasks)} ${run.name} · kon`;
  announce(run);
}

function showProgress(run) {
  const accounted = run.tasks - run.left;
  const words = [`${count(accounted)} of ${many(run.tasks, "task")}`];
  if (run.elapsed_s !== null) words.push(`in ${duration(run.elapsed_s)}`);
  if (run.left_s !== null) words.push(`about ${duration(run.left_s)} left`);
  const text = words.join(", ").replace(", in", " in");
  mark($("state"), run.state);
  say($("state"), run.reading < 1 ? `reading the records: ${Math.floor(100 * run.reading)}%` : run.state);
  say($("share"), percent(accounted, run.tasks));
  say($("progress-text"), text);
  const bar = $("progress");
  bar.setAttribute("aria-valuenow", String(Math.floor((100 * accounted) / run.tasks)));
  bar.setAttribute("aria-valuetext", `${percent(accounted, run.tasks)}: ${text}`);
  for (const state of ENDINGS) {
    const part = bar.querySelector(`[data-state=${state}]`) ?? bar.appendChild(element("span", undefined, { "data-state": state }));
    part.style.flexGrow = String(run[state] / run.tasks);
    part.hidden = run[state] === 0;
    const item = $("legend").querySelector(`[data-state=${state}]`) ?? $("legend").appendChild(element("li", "", { "data-state": state }));
    say(item, `${count(run[state])} ${state}`);
    item.hidden = run[state] === 0 && ["dead", "lost", "cancelled"].includes(state);
  }
}

function figures(run) {
  const busy = run.slots ? `${percent(run.slots_busy, run.slots)} of them busy` : "";
  const now = run.tasks_per_s === null ? run.mean_tasks_per_s : run.tasks_per_s;
  return [
    ["Tasks a second", now === null ? "-" : rounded(now), run.tasks_per_s === null ? "in all" : "lately"],
    ["Time left", run.left_s === null ? (run.left ? "-" : "none") : duration(run.left_s), run.left_s === null ? "" : "at the present pace"],
    ["Workers", count(run.lives_at_work), run.lives_in_all > run.lives_at_work ? `${many(run.lives_in_all, "life", "lives")} in all` : ""],
    ["Slots", `${count(run.slots_busy)} of ${count(run.slots)}`, busy],
    ["Duplicates avoided", count(run.avoided), `${count(run.deliveries_again)} delivered again`],
    ["Second starts", count(run.second_starts), run.second_results ? `${count(run.second_results)} results kept twice` : "no result kept twice"],
    ["Not done", count(run.failures_in_all), run.retries ? `${many(run.retries, "attempt")} tried again` : ""],
    ["Cost so far", run.usd === null ? "$0" : dollars(run.usd), run.usd === null ? `${many(run.requests, "request")}, none billed` : `${many(run.requests, "request")}; ${run.prices}, without hosts`],
  ];
}

function showFigures(run) {
  const list = $("figures");
  figures(run).forEach(([name, value, more], number) => {
    let box = list.children[number];
    if (box === undefined) {
      box = list.appendChild(element("div"));
      box.append(element("dt", name), element("dd", "", { class: "value" }), element("dd", "", { class: "more" }));
    }
    say(box.children[1], value);
    say(box.children[2], more);
  });
}

/** For who can't see the numbers move: now and then, and when something has happened. */
function announce(run) {
  const bad = run.failures_in_all;
  const event = `${run.name} ${run.state} ${bad > 0}`;
  const now = performance.now();
  if (event === page.said && (now - page.saidAt < ANNOUNCE_MS || run.state === "finished")) return;
  page.said = event;
  page.saidAt = now;
  const left = run.left_s === null ? "" : `, about ${duration(run.left_s)} left`;
  say($("announcement"), `${run.name} is ${run.state}: ${percent(run.tasks - run.left, run.tasks)}, ${count(bad)} not done${left}.`);
}

// --- failures ---

function failureRow(failure) {
  const row = element("tr");
  row.append(element("td", count(failure.task)), element("td", "", { class: "name state" }), element("td", ""));
  row.append(element("td", "", { class: "name" }), element("td", undefined, { class: "what" }));
  return row;
}

function fillFailure(row, failure) {
  const version = JSON.stringify(failure);
  if (row.dataset.version === version) return; // what somebody is selecting stays selected
  row.dataset.version = version;
  const cell = row.cells[4];
  const wasOpen = cell.querySelector("details")?.open ?? false;
  const hadFocus = cell.contains(document.activeElement);
  mark(row.cells[1], failure.state);
  [failure.state, count(failure.attempt), failure.worker].forEach((text, number) => say(row.cells[number + 1], text));
  const error = failure.error || (failure.state === "lost" ? "no message and no outcome of it are left" : "no error was recorded");
  const output = Object.entries(failure.output);
  if (!output.length) {
    cell.replaceChildren(element("span", error));
    return;
  }
  const details = element("details");
  details.open = wasOpen;
  details.append(element("summary", error));
  for (const [name, text] of output) {
    details.append(element("p", name, { class: "output" }));
    details.append(element("pre", text, { tabindex: "0", "aria-label": `${name} of task ${failure.task}` }));
  }
  cell.replaceChildren(details);
  if (hadFocus) details.firstChild.focus({ preventScroll: true });
}

const failuresTable = new Table($("failures-table"), failureRow, fillFailure, [
  (failure) => failure.task, (failure) => failure.state, (failure) => failure.attempt, (failure) => failure.worker, (failure) => failure.error,
]);

function showFailures({ in_all, shown }) {
  const waiting = shown.filter((failure) => failure.state === "retry").length;
  const final = shown.length - waiting;
  let note = "None so far.";
  if (shown.length) {
    note = in_all > final ? `The latest ${count(final)} of ${count(in_all)}; kon results RUN --failed lists all.` : `${many(in_all, "task")} not done.`;
    if (waiting) note += ` ${many(waiting, "attempt")} to be made again.`;
    note += " The newest first.";
  }
  say($("failures-note"), note);
  $("failures-table").parentElement.hidden = !shown.length;
  failuresTable.show(shown, (failure) => failure.task);
}

// --- workers ---

function workerRow(life) {
  const row = element("tr");
  row.append(element("td", life.name, { class: "name" }), element("td", "", { class: "name state" }), element("td", undefined, { class: "name" }));
  row.cells[2].append(element("ul", undefined, { class: "slots", "aria-label": `slots of ${life.name}` }));
  row.append(element("td", ""), element("td", ""), element("td", "", { class: "name" }));
  return row;
}

function fillWorker(row, life) {
  mark(row.cells[1], life.state);
  say(row.cells[1], life.state);
  const list = row.cells[2].firstChild;
  const slots = life.busy.map((slot) => `task ${count(slot.task)}${slot.attempt > 1 ? `, attempt ${slot.attempt}` : ""}: ${duration(slot.for_s)}`);
  const present = ["working", "idle", "silent"].includes(life.state) ? Math.min(life.slots, 64) : 0;
  while (slots.length < present) slots.push("free");
  while (list.children.length > slots.length) list.lastChild.remove();
  slots.forEach((text, number) => {
    const item = list.children[number] ?? list.appendChild(element("li", ""));
    item.classList.toggle("busy", text !== "free");
    fillSlot(item, text, life.busy[number]?.task ?? null);
  });
  [count(life.tasks), count(life.failed), life.host].forEach((text, number) => say(row.cells[number + 3], text));
}

const workersTable = new Table($("workers-table"), workerRow, fillWorker, [
  (life) => life.name, (life) => life.state, () => 0, (life) => life.tasks, (life) => life.failed, (life) => life.host,
]);

function showWorkers(run) {
  const gone = run.lives_in_all - run.lives_at_work;
  const words = [`${count(run.lives_at_work)} at work, ${count(run.slots_busy)} of ${many(run.slots, "slot")} busy`];
  if (gone) words.push(`${count(gone)} ended, killed or elsewhere`);
  if (run.lives.length < run.lives_in_all) words.push(`${count(run.lives.length)} are shown`);
  say($("workers-note"), `${words.join("; ")}.`);
  $("workers-table").parentElement.hidden = !run.lives.length;
  workersTable.show(run.lives, (life) => life.name);
}

window.addEventListener("resize", () => page.run && draw($("chart"), $("chart-text"), page.run.throughput, page.run.mean_tasks_per_s));

follow();
