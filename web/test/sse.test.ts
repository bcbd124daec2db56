import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SyncClient } from "../src/client/index.js";
import { EventLines } from "../src/client/sse.js";
import { events, heartbeat, hello, live, operation, START, settle, snapshot, told, World } from "./world.js";

let world: World;
let client: SyncClient;

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  world = new World();
  world.jitter = 0;
  client = new SyncClient({ url: "http://relay.example/", environment: world });
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** A client whose network blocks WebSockets. */
async function blocked() {
  client.start();
  await settle();
  world.socket.drop();
  await settle();
  world.socket.drop();
  await settle();
}

test("two WebSockets that never reached the relay lead to an event stream", async () => {
  const view = client.view({ owner: ["alice"] });
  await blocked();
  expect(world.sockets).toHaveLength(2);
  expect(world.stream.url.pathname).toBe("/events");
  expect(world.stream.url.searchParams.get("owner")).toBe("alice");
  world.stream.open().say(hello, live, snapshot("default", "c1", [operation("a")]));
  await settle();
  expect(client.getSnapshot()).toMatchObject({ phase: "live", transport: "sse" });
  expect(view.getSnapshot().operations.size).toBe(1);
});

test("where neither reaches it, both are tried by turns", async () => {
  client.view();
  await blocked();
  world.stream.refuse(new TypeError("failed"));
  await settle();
  expect(world.sockets).toHaveLength(3);
  world.socket.drop();
  await settle();
  expect(world.streams).toHaveLength(2);
});

test("a stream that ended is resumed with its cursor", async () => {
  client.view();
  await blocked();
  world.stream.open().say(hello, live, snapshot("default", "c1"), heartbeat("default", "c7"));
  await settle();
  world.stream.end();
  await settle();
  expect(world.streams).toHaveLength(2);
  expect(world.stream.headers["Last-Event-ID"]).toBe("c7");
});

test("several views share one stream and each sees its own", async () => {
  const alice = client.view({ owner: ["alice"], topics: ["operations"] });
  const bob = client.view({ owner: ["bob"], topics: ["operations"] });
  await blocked();
  expect(world.stream.url.searchParams.get("owner")).toBe("alice,bob");
  const rows = [operation("a"), operation("b", { owner: "bob" })];
  world.stream.open().say(hello, live, snapshot("default", "c1", rows));
  await settle();
  expect([...alice.getSnapshot().operations.keys()]).toEqual(["a"]);
  expect([...bob.getSnapshot().operations.keys()]).toEqual(["b"]);
  world.stream.say(events("default", "c2", told("operation.progress", operation("a", { owner: "bob", revision: 2 }))));
  await settle();
  expect([...alice.getSnapshot().operations.keys()]).toEqual([]);
  expect([...bob.getSnapshot().operations.keys()].sort()).toEqual(["a", "b"]);
});

test("a view that comes later makes a new stream with a snapshot for all", async () => {
  client.view({ owner: ["alice"] });
  await blocked();
  world.stream.open().say(hello, live, snapshot("default", "c1", [operation("a")]));
  await settle();
  client.view({ operation_type: ["upload"] });
  await settle();
  expect(world.streams[0]?.signal.aborted).toBe(true);
  expect(world.stream.url.search).not.toContain("owner");
  expect(world.stream.headers["Last-Event-ID"]).toBeUndefined();
});

test("a view that comes while the stream is being opened is not forgotten", async () => {
  client.view({ owner: ["alice"] });
  await blocked();
  const late = client.view({ owner: ["bob"] });
  world.stream.open().say(hello, live);
  await settle();
  expect(world.streams).toHaveLength(2);
  world.stream.open().say(hello, live, snapshot("default", "c1", [operation("b", { owner: "bob" })]));
  await settle();
  expect(late.getSnapshot().operations.size).toBe(1);
});

test("a refusal says why, and ends it", async () => {
  client.view();
  await blocked();
  world.stream.answer(Response.json({ title: "bad request", detail: "owner: too long" }, { status: 400 }));
  await settle();
  expect(client.getSnapshot()).toMatchObject({ phase: "refused", reason: "owner: too long" });
});

test("a busy relay is given the time that it asks for", async () => {
  client.view();
  await blocked();
  world.stream.answer(new Response(null, { status: 429, headers: { "Retry-After": "7" } }));
  await settle();
  expect(client.getSnapshot().retryAt).toBe(Date.now() + 7_000);
});

test("events are read whatever way the network cuts them", () => {
  const text =
    'retry: 500\r\n: keep-alive\nevent: hello\nid: c1\ndata: {"a":1}\r\n\r\ndata:one\ndata: two\n\ndata: lost';
  for (let size = 1; size <= text.length; size += 1) {
    const heard: string[] = [];
    const lines = new EventLines((data) => heard.push(data));
    for (let at = 0; at < text.length; at += size) lines.push(text.slice(at, at + size));
    expect(heard).toEqual(['{"a":1}', "one\ntwo"]);
  }
});
