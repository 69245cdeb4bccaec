"use strict";
// The line of throughput over time, drawn as SVG: no library, nothing fetched.

import { duration, rounded } from "/words.js";

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, RIGHT, TOP, BOTTOM] = [48, 8, 10, 24];

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
}

/** A digit with a short half, times a power of ten: the smallest that is not below. */
function round(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  return power * ([1, 2, 3, 4, 5, 6, 8, 10].find((digit) => digit * power >= limit) ?? 10);
}

/** Bins of time, and tasks that ended in each; `mean`: of them all, in tasks a second. */
export function draw(svg, caption, { bin_s, tasks }, mean) {
  const [width, height] = [Math.max(280, svg.clientWidth), Math.max(120, svg.clientHeight)];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  // the last bin is not over yet; where the first is all there is, it must do
  const rates = (tasks.length > 1 ? tasks.slice(0, -1) : tasks).map((number) => number / bin_s);
  const shown = smooth(rates, Math.max(1, Math.round(1 / bin_s)));
  const most = round(Math.max(...shown, mean ?? 0, 1e-3) * 1.02);
  const span_s = Math.max(1, rates.length) * bin_s;
  const x = (time_s) => LEFT + ((width - LEFT - RIGHT) * time_s) / span_s;
  const y = (rate) => height - BOTTOM - ((height - TOP - BOTTOM) * rate) / most;
  svg.replaceChildren();
  for (const share of [0, 0.5, 1]) {
    add(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(share * most), y2: y(share * most) });
    add(svg, "text", { x: LEFT - 6, y: y(share * most) + 4, "text-anchor": "end" }, rounded(share * most));
  }
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    add(svg, "text", { x: x(share * span_s), y: height - 6, "text-anchor": anchor }, share ? duration(share * span_s) : "0 s");
  }
  if (!shown.length) {
    caption.textContent = "No task has ended yet.";
    return;
  }
  const points = shown.map((rate, number) => `${x((number + 0.5) * bin_s).toFixed(1)},${y(rate).toFixed(1)}`);
  const ends = [x(bin_s / 2), x(span_s - bin_s / 2)].map((at) => at.toFixed(1));
  add(svg, "polygon", { class: "area", points: `${ends[0]},${y(0)} ${points.join(" ")} ${ends[1]},${y(0)}` });
  add(svg, "polyline", { class: "line", points: points.join(" ") });
  if (mean) add(svg, "line", { class: "mean", x1: LEFT, x2: width - RIGHT, y1: y(mean), y2: y(mean) });
  const peak = `at most ${rounded(Math.max(...shown))}`;
  const average = mean ? `, on average ${rounded(mean)} (dashed)` : "";
  caption.textContent = `Tasks a second, over ${duration(span_s)}: ${peak}${average}.`;
}

/** Means of so many neighbours, so that bins of a few tasks make a line and not a comb. */
function smooth(rates, wide) {
  if (wide < 2) return rates;
  const half = Math.floor(wide / 2);
  return rates.map((_, at) => {
    const near = rates.slice(Math.max(0, at - half), at + half + 1);
    return near.reduce((sum, rate) => sum + rate, 0) / near.length;
  });
}
