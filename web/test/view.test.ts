import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SyncClient, type View } from "../src/client/index.js";
import {
  connection,
  events,
  heartbeat,
  hello,
  live,
  operation,
  START,
  settle,
  snapshot,
  told,
  World,
} from "./world.js";

let world: World;
let client: SyncClient;
let view: View;

beforeEach(async () => {
  vi.useFakeTimers({ now: START });
  world = new World();
  client = new SyncClient({ url: "https://relay.example", environment: world });
  view = client.view();
  client.start();
  await settle();
  world.socket.open().say(hello, live, snapshot("v1", "c1", [operation("a", { revision: 5 })]));
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

const say = (...list: ReturnType<typeof told>[]) => world.socket.say(events("v1", "c2", ...list));
const held = () => [...view.getSnapshot().operations.keys()];

test("the state is the same object until something changes, and then another", () => {
  const before = view.getSnapshot();
  expect(view.getSnapshot()).toBe(before);
  say(told("operation.progress", operation("a", { revision: 6, progress: 50 })));
  expect(view.getSnapshot()).not.toBe(before);
  expect(before.operations.get("a")?.progress).toBe(10);
  expect(view.getSnapshot().operations.get("a")?.progress).toBe(50);
  expect(view.getSnapshot().connections).toBe(before.connections);
});

test("listeners hear of many changes once", async () => {
  const heard = vi.fn();
  view.subscribe(heard);
  await vi.advanceTimersByTimeAsync(100);
  heard.mockClear();
  for (let revision = 6; revision < 106; revision += 1) say(told("operation.progress", operation("a", { revision })));
  await vi.advanceTimersByTimeAsync(15);
  expect(heard).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(heard).toHaveBeenCalledTimes(1);
});

test("an older revision is ignored, an equal one is not", () => {
  say(told("operation.progress", operation("a", { revision: 4, progress: 1 })));
  expect(view.getSnapshot().operations.get("a")?.progress).toBe(10);
  say(told("operation.stalled", operation("a", { revision: 5, stalled_since: "2026-11-21T05:00:00Z" })));
  expect(view.getSnapshot().operations.get("a")?.stalled_since).toBeTruthy();
  say(told("operation.progress", operation("a", { revision: 6 })));
  expect(view.getSnapshot().operations.get("a")?.stalled_since).toBeUndefined();
});

test("a deleted row is gone, a straggler does not bring it back, a new row of that id does", () => {
  say(told("operation.deleted", operation("a", { revision: 5 }), { revision: 6 }));
  expect(held()).toEqual([]);
  say(told("operation.progress", operation("a", { revision: 5 })));
  expect(held()).toEqual([]);
  say(told("operation.created", operation("a", { revision: 900 })));
  expect(held()).toEqual(["a"]);
});

test("a row that left the filter is gone until it is back", () => {
  say(told("operation.progress", operation("a", { revision: 6, owner: "bob" }), { left: true }));
  expect(held()).toEqual([]);
  say(told("operation.progress", operation("a", { revision: 7 })));
  expect(held()).toEqual(["a"]);
});

test("a truncated table is empty, and only that one", () => {
  const row = connection("browser");
  say({ id: 1, topic: "connections", type: "connection.opened", entity: "browser", revision: 1, at: "x", data: row });
  const table = { table: "sync_operations" } as never;
  say({
    id: 2,
    topic: "operations",
    type: "table.truncated",
    entity: "sync_operations",
    revision: 0,
    at: "x",
    data: table,
  });
  expect(held()).toEqual([]);
  expect([...view.getSnapshot().connections.keys()]).toEqual(["browser"]);
});

test("a newer health snapshot replaces the older, never the other way", () => {
  const health = (id: number, taken_at: string) =>
    ({
      id,
      topic: "health",
      type: "health.snapshot",
      entity: `${id}`,
      revision: 1,
      at: taken_at,
      data: { id, taken_at, revision: 1 },
    }) as never;
  say(health(2, "2026-11-21T05:02:00Z"), health(1, "2026-11-21T05:00:00Z"));
  expect(view.getSnapshot().health?.id).toBe(2);
});

test("finished operations do not gather without end", () => {
  const row = (n: number) =>
    operation(`done-${n}`, { status: "completed", completed_at: new Date(START + n * 1_000).toISOString() });
  for (let n = 0; n < 2_000; n += 1) say(told("operation.completed", row(n)));
  expect(held().length).toBeLessThan(700);
  expect(held()).toContain("done-1999");
  expect(held()).toContain("a");
});

test("a reset keeps what is shown until the snapshot, which starts anew", () => {
  const reset = vi.fn();
  view.on("reset", reset);
  world.socket.say({ type: "reset", sub: "v1", reason: "log_trimmed", message: "trimmed" });
  expect(held()).toEqual(["a"]);
  expect(client.getSnapshot().phase).toBe("catching_up");
  world.socket.say(snapshot("v1", "c9", [operation("b")]));
  expect(held()).toEqual(["b"]);
  expect(client.getSnapshot().phase).toBe("live");
  expect(reset).toHaveBeenCalledWith({ reason: "log_trimmed", message: "trimmed" });
});

test("between a reset and its snapshot no cursor counts", async () => {
  world.socket.say({ type: "reset", sub: "v1", reason: "backlog_exceeded" }, heartbeat("v1", "c8"), events("v1", "c9"));
  world.socket.drop();
  await vi.advanceTimersByTimeAsync(1_000);
  world.socket.open().say(hello, live);
  expect(world.socket.messages("subscribe")).toEqual([{ type: "subscribe", id: "v1" }]);
});

test("onComplete and onError are called once, each for its own ending", () => {
  const complete = vi.fn();
  const error = vi.fn();
  view.onComplete("a", complete);
  view.onError("a", error);
  const row = operation("a", { revision: 6, status: "failed", error: "disk full" });
  say(told("operation.failed", row), told("operation.progress", { ...row, revision: 7 }));
  expect(complete).not.toHaveBeenCalled();
  expect(error).toHaveBeenCalledExactlyOnceWith(row);
});

test("an ending that only a snapshot shows is told too", () => {
  const complete = vi.fn();
  const change = vi.fn();
  view.onComplete("a", complete);
  view.on("operation.completed", change);
  world.socket.say({ type: "reset", sub: "v1", reason: "cursor_expired" });
  world.socket.say(snapshot("v1", "c9", [operation("a", { revision: 9, status: "completed" })]));
  expect(complete).toHaveBeenCalledTimes(1);
  expect(change).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ derived: true }));
});

test("an ending that came before somebody asked is told at once", async () => {
  say(told("operation.completed", operation("a", { revision: 6, status: "completed" })));
  const complete = vi.fn();
  view.onComplete("a", complete);
  await settle();
  expect(complete).toHaveBeenCalledTimes(1);
});

test("an ending that takes the row out of the view is told too", () => {
  const complete = vi.fn();
  view.onComplete("a", complete);
  say(told("operation.completed", operation("a", { revision: 6, status: "completed" }), { left: true }));
  expect(held()).toEqual([]);
  expect(complete).toHaveBeenCalledTimes(1);
});

test("a listener that throws does not keep the others from hearing", () => {
  const heard = vi.fn();
  view.on("change", () => {
    throw new Error("mine");
  });
  view.on("change", heard);
  say(told("operation.progress", operation("a", { revision: 6 })));
  expect(heard).toHaveBeenCalledTimes(1);
  expect(() => vi.advanceTimersByTime(0)).toThrow("mine");
});
