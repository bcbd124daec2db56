import { expect, test } from "vitest";
import { STOPPED } from "../src/client/state.js";
import { distance, duration, lookOfOperation, lookOfRelay, percent, rate, words } from "../src/components/format.js";

test("a percentage is 0 or 100 only when it is", () => {
  expect([0, 0.01, 42.55, 99.99, 100, null].map(percent)).toEqual(["0 %", "0.1 %", "42.6 %", "99.9 %", "100 %", "–"]);
});

test("a length of time has its two largest units", () => {
  const all = [0.25, 3.4, 59.6, 60, 61, 3_600, 3_661, 90_061, null];
  expect(all.map(duration)).toEqual([
    "250 ms",
    "3.4 s",
    "1 min",
    "1 min",
    "1 min 1 s",
    "1 h",
    "1 h 1 min",
    "1 d 1 h",
    "–",
  ]);
});

test("a distance says in which direction it lies", () => {
  expect(distance(0, 5_000)).toBe("5 s ago");
  expect(distance(90_000, 0)).toBe("in 2 min");
  expect(distance(0, 400)).toBe("now");
});

test("a rate has the unit in which it reads well", () => {
  expect([1_200, 12.34, 0.5, 0.001, 0, null].map(rate)).toEqual(["1,200/s", "12.3/s", "30/min", "3.6/h", "–", "–"]);
});

test("a stalled operation looks stalled only while it is in progress", () => {
  expect(lookOfOperation({ status: "in_progress", stalled_since: "x" }).label).toBe("Stalled");
  expect(lookOfOperation({ status: "completed", stalled_since: "x" }).label).toBe("Completed");
});

test("a live connection that is stale is called stale", () => {
  expect(lookOfRelay({ ...STOPPED, phase: "live", staleSince: "x" }).label).toBe("Stale");
  expect(lookOfRelay({ ...STOPPED, phase: "live" }).label).toBe("Live");
});

test("a status that this version does not know is shown by its name", () => {
  expect(lookOfOperation({ status: "archived" as never }).label).toBe("archived");
  expect(words("journal_entries")).toBe("Journal entries");
});
