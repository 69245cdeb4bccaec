"use strict";
// Numbers and times, as the rest of kon says them.

const whole = new Intl.NumberFormat("en");

export const count = (number) => whole.format(number);

export function many(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

/** Three digits: 0.123, 12.3, 1,230. */
export function rounded(number) {
  if (number === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(number))));
  return new Intl.NumberFormat("en", { maximumFractionDigits: Math.min(digits, 6) }).format(number);
}

/** 0.42 s, 8.3 s, 2 min 05 s, 3 h 07 min. */
export function duration(seconds) {
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 1 ? 2 : seconds < 10 ? 1 : 0)} s`;
  const two = (number) => String(number).padStart(2, "0");
  const all = Math.round(seconds);
  if (all < 3600) return `${Math.floor(all / 60)} min ${two(all % 60)} s`;
  return `${count(Math.floor(all / 3600))} h ${two(Math.floor((all % 3600) / 60))} min`;
}

/** Down to a fraction of a cent: $1.23, $0.0042. */
export function dollars(amount) {
  if (amount === 0 || amount >= 1) return `$${amount.toFixed(2)}`;
  return `$${Number(amount.toPrecision(2)).toFixed(Math.min(8, 1 - Math.floor(Math.log10(amount))))}`;
}

/** Not 100% before all of it is there. */
export function percent(part, all) {
  const share = all ? (100 * part) / all : 0;
  return `${share >= 10 || share === 0 ? Math.floor(share) : share.toFixed(1)}%`;
}
