import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SyncClient } from "../src/client/index.js";
import { events, heartbeat, hello, live, operation, START, settle, snapshot, told, World } from "./world.js";

let world: World;
let client: SyncClient;

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  world = new World();
  client = new SyncClient({ url: "https://relay.example/sub/", environment: world });
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** A client with one view that has caught up. */
async function connected() {
  const view = client.view();
  client.start();
  await settle();
  world.socket.open().say(hello, live, snapshot("v1", "c1", [operation("a")]), heartbeat("v1", "c1"));
  return view;
}

const later = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A client with one view of every event, whose connection was lost and is being made again. */
async function cutOffFromEvery() {
  client.view({ mode: "every" });
  client.start();
  await settle();
  world.socket.open().say(hello, live, snapshot("v1", "c1"));
  world.socket.drop();
  await later(1_000);
}

/** Time passes on a connection on which the relay goes on living. */
async function quiet(seconds: number) {
  for (let second = 0; second < seconds; second += 5) {
    await later(5_000);
    world.socket.say(heartbeat("v1", "c1"), { type: "pong" });
  }
}

describe("connecting", () => {
  test("goes to the relay's place with the page's own security, without a subscription of its own", async () => {
    client.start();
    await settle();
    expect(world.socket.url).toBe("wss://relay.example/sub/ws?topics=none");
    expect(client.getSnapshot().phase).toBe("connecting");
  });

  test("is live only once the snapshot is whole", async () => {
    client.view({ topics: ["operations"], owner: ["alice"] });
    client.start();
    await settle();
    world.socket.open().say(hello, live);
    expect(client.getSnapshot().phase).toBe("catching_up");
    expect(world.socket.sent).toEqual([{ type: "subscribe", id: "v1", topics: ["operations"], owner: ["alice"] }]);
    world.socket.say(snapshot("v1", "c1"));
    expect(client.getSnapshot()).toMatchObject({ phase: "live", transport: "websocket", server: "bellwether/0.1.0" });
  });

  test("a relay of another protocol is not listened to", async () => {
    client.start();
    await settle();
    world.socket.open().say({ ...hello, protocol: 2 } as typeof hello);
    expect(client.getSnapshot()).toMatchObject({ phase: "refused", reason: expect.stringContaining("version 2") });
    await later(120_000);
    expect(world.sockets).toHaveLength(1);
  });

  test.each([4000, 4001, 4003, 4006])("close code %i ends it until somebody asks again", async (code) => {
    await connected();
    world.socket.drop(code);
    await later(600_000);
    expect(client.getSnapshot().phase).toBe("refused");
    expect(world.sockets).toHaveLength(1);
    client.retryNow();
    await settle();
    expect(world.sockets).toHaveLength(2);
  });

  test("an attempt that nobody answers is given up", async () => {
    client.start();
    await settle();
    await later(10_000);
    expect(world.socket.closed).toBe(true);
    await later(1_000);
    expect(world.sockets).toHaveLength(2);
  });
});

describe("coming back", () => {
  test("waits longer each time, up to the relay's bound, and anywhere between nothing and that", async () => {
    await connected();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt += 1) {
      world.socket.drop();
      waits.push((client.getSnapshot().retryAt as number) - Date.now());
      await later(waits.at(-1) as number);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    world.jitter = 0.25;
    world.socket.drop();
    expect((client.getSnapshot().retryAt as number) - Date.now()).toBe(7_500);
  });

  test("honours the relay's wish exactly", async () => {
    await connected();
    world.socket.say({ type: "closing", code: 1001, reason: "going away", retry_after_ms: 4_321 });
    world.socket.drop(1001);
    await later(4_320);
    expect(world.sockets).toHaveLength(1);
    await later(1);
    expect(world.sockets).toHaveLength(2);
  });

  test("a view of every event has caught up only with the heartbeat", async () => {
    await cutOffFromEvery();
    world.socket.open().say(hello, live, { type: "subscribed", sub: "v1", cursor: "c2" });
    expect(client.getSnapshot().phase).toBe("catching_up");
    world.socket.say(heartbeat("v1", "c3"));
    expect(client.getSnapshot().phase).toBe("live");
  });

  test("one that is catching up for long is neither given up nor taken for complete, and goes on where it was", async () => {
    await cutOffFromEvery();
    world.socket.open().say(hello, live, { type: "subscribed", sub: "v1", cursor: "c1" });
    for (let interval = 0; interval < 6; interval++) {
      await later(10_000);
      world.socket.say({ type: "catching_up", sub: "v1", cursor: "c2" });
    }
    expect(world.sockets).toHaveLength(2);
    expect(client.getSnapshot().phase).toBe("catching_up");
    expect(client.getSnapshot().staleSince).not.toBeNull();
    world.socket.drop();
    await later(1_000);
    world.socket.open().say(hello);
    expect(world.socket.messages("subscribe")[0]?.since).toBe("c2");
  });

  test("resumes with the newest cursor and keeps what it shows meanwhile", async () => {
    const view = await connected();
    world.socket.say(events("v1", "c2", told("operation.progress", operation("a", { revision: 2, progress: 20 }))));
    world.socket.drop();
    expect(client.getSnapshot().phase).toBe("reconnecting");
    expect(view.getSnapshot().operations.get("a")?.progress).toBe(20);
    await later(1_000);
    world.socket.open().say(hello, live, { type: "subscribed", sub: "v1", cursor: "c2" });
    expect(world.socket.messages("subscribe")).toEqual([{ type: "subscribe", id: "v1", since: "c2" }]);
    world.socket.say(events("v1", "c3", told("operation.progress", operation("a", { revision: 3, progress: 30 }))));
    expect(client.getSnapshot().phase).toBe("live");
    expect(view.getSnapshot().operations.get("a")?.progress).toBe(30);
  });

  test("a heartbeat moves the cursor too", async () => {
    await connected();
    world.socket.say(heartbeat("v1", "c9"));
    world.socket.drop();
    await later(1_000);
    world.socket.open().say(hello);
    expect(world.socket.messages("subscribe")[0]?.since).toBe("c9");
  });

  test("half a snapshot is forgotten", async () => {
    const view = client.view();
    client.start();
    await settle();
    const part = { type: "snapshot", sub: "v1", part: 1, parts: 2, operations: [operation("a")] } as const;
    world.socket.open().say(hello, live, part);
    expect(view.getSnapshot().ready).toBe(false);
    world.socket.drop();
    await later(1_000);
    world.socket.open().say(hello, live);
    expect(world.socket.messages("subscribe")[0]?.since).toBeUndefined();
    world.socket.say({ ...part, operations: [operation("b")] });
    world.socket.say({ type: "snapshot", sub: "v1", part: 2, parts: 2, cursor: "c1", operations: [operation("c")] });
    expect([...view.getSnapshot().operations.keys()]).toEqual(["b", "c"]);
  });

  test("says lost once and back once, and back only when nothing is missing", async () => {
    await connected();
    const heard: string[] = [];
    client.on("lost", () => heard.push("lost"));
    client.on("back", () => heard.push("back"));
    world.socket.drop();
    await later(1_000);
    world.socket.drop();
    await later(2_000);
    world.socket.open().say(hello, live);
    expect(heard).toEqual(["lost"]);
    world.socket.say(heartbeat("v1", "c1"));
    expect(heard).toEqual(["lost", "back"]);
  });
});

describe("truthfulness", () => {
  test("no heartbeat for two intervals means stale, since the last one's instant", async () => {
    await connected();
    await later(20_000);
    expect(client.getSnapshot().staleSince).toBeNull();
    await later(1_000);
    expect(client.getSnapshot().staleSince).toBe(new Date(START).toISOString());
  });

  test("heartbeats of a degraded relay that say the same instant again prove nothing", async () => {
    await connected();
    world.socket.say({ type: "status", status: "degraded", since: "x" });
    for (let second = 0; second < 20; second += 5) {
      await later(5_000);
      world.socket.say(heartbeat("v1", "c1", START));
      expect(client.getSnapshot().staleSince).toBeNull();
    }
    await later(1_000);
    expect(client.getSnapshot().staleSince).toBe(new Date(START).toISOString());
  });

  test("a live relay may be quiet for a while, and no longer", async () => {
    await connected();
    world.socket.say(...[1, 2].map(() => heartbeat("v1", "c1", START - 15_000, 15_000)));
    expect(client.getSnapshot().staleSince).toBeNull();
    world.socket.say(heartbeat("v1", "c1", START - 30_000, 30_000));
    expect(client.getSnapshot().staleSince).toBe(new Date(START - 30_000).toISOString());
    world.socket.say(heartbeat("v1", "c2"));
    expect(client.getSnapshot().staleSince).toBeNull();
  });

  test("what a relay without its database serves to a newcomer is stale from the beginning", async () => {
    client.view({ topics: ["operations"] });
    client.start();
    await settle();
    world.socket.open().say(hello, { type: "status", status: "degraded", since: "x" }, snapshot("v1", "c1"));
    world.socket.say(heartbeat("v1", "c1", START - 3_600_000, 3_600_000));
    expect(client.getSnapshot().staleSince).toBe(new Date(START - 3_600_000).toISOString());
  });

  test("events without heartbeats prove nothing either", async () => {
    await connected();
    for (let second = 0; second < 25; second += 5) {
      await later(5_000);
      world.socket.say(events("v1", "c2"), { type: "pong" });
    }
    expect(client.getSnapshot().staleSince).not.toBeNull();
    world.socket.say(heartbeat("v1", "c3"));
    expect(client.getSnapshot().staleSince).toBeNull();
  });

  test("a page without a view is never stale", async () => {
    client.start();
    await settle();
    world.socket.open().say(hello, live);
    for (let second = 0; second < 60; second += 5) {
      await later(5_000);
      world.socket.say({ type: "pong" });
    }
    expect(client.getSnapshot()).toMatchObject({ phase: "live", staleSince: null });
    expect(world.sockets).toHaveLength(1);
  });

  test("what the relay says of itself is shown, with its reason", async () => {
    await connected();
    world.socket.say({ type: "status", status: "degraded", since: "x", reason: "the database does not answer" });
    expect(client.getSnapshot()).toMatchObject({ phase: "degraded", reason: "the database does not answer" });
    world.socket.say({ type: "status", status: "catching_up", since: "x" });
    expect(client.getSnapshot().phase).toBe("catching_up");
    world.socket.say(live);
    expect(client.getSnapshot()).toMatchObject({ phase: "live", reason: null });
  });

  test("an open connection on which nothing is heard is made anew", async () => {
    await connected();
    await later(26_000);
    expect(client.getSnapshot()).toMatchObject({ phase: "reconnecting", reason: "the relay fell silent" });
  });

  test("the round trip is measured", async () => {
    await connected();
    await later(1_000);
    expect(world.socket.messages("ping")).toHaveLength(1);
    await later(40);
    world.socket.say({ type: "pong" });
    expect(client.getSnapshot().latencyMs).toBe(40);
  });

  test("a clock that is wrong is noticed, one that is nearly right is not", async () => {
    await connected();
    world.socket.say(heartbeat("v1", "c1", Date.now() + 1_500));
    expect(client.now()).toBe(Date.now());
    world.socket.say(heartbeat("v1", "c1", Date.now() + 60_000));
    expect(client.now()).toBe(Date.now() + 60_000);
  });
});

describe("the machine and the page", () => {
  test("after a sleep the connection is asked, and made anew at once where it does not answer", async () => {
    await connected();
    await quiet(30);
    vi.setSystemTime(Date.now() + 3_600_000);
    world.sockets[0]?.say({ type: "pong" });
    await later(1_000);
    expect(client.getSnapshot().staleSince).not.toBeNull();
    await later(5_000);
    expect(world.sockets).toHaveLength(2);
    world.socket.open().say(hello);
    expect(world.socket.messages("subscribe")[0]?.since).toBe("c1");
  });

  test("a page that is shown again, or a network that is back, does not wait for the next attempt", async () => {
    await connected();
    world.isOnline = false;
    world.socket.drop();
    expect(client.getSnapshot().phase).toBe("offline");
    world.isOnline = true;
    world.signal("online");
    await settle();
    expect(world.sockets).toHaveLength(2);
    world.socket.drop();
    world.signal("shown");
    await settle();
    expect(world.sockets).toHaveLength(3);
  });

  test("a machine that only believes itself offline keeps a connection that answers", async () => {
    await connected();
    world.signal("offline");
    world.socket.say({ type: "pong" });
    await later(5_000);
    expect(world.sockets).toHaveLength(1);
    expect(client.getSnapshot().phase).toBe("live");
  });
});

describe("several views", () => {
  test("equal ones share a subscription, which ends with the last of them", async () => {
    const first = await connected();
    const second = client.view({});
    expect(second).toBe(first);
    first.close();
    expect(world.socket.messages("unsubscribe")).toEqual([]);
    second.close();
    expect(world.socket.messages("unsubscribe")).toEqual([{ type: "unsubscribe", id: "v1" }]);
  });

  test("one that comes later is subscribed at once", async () => {
    await connected();
    client.operation("b");
    expect(world.socket.messages("subscribe").at(-1)).toEqual({
      type: "subscribe",
      id: "v2",
      topics: ["operations", "errors"],
      operation_id: ["b"],
    });
    expect(client.getSnapshot().phase).toBe("catching_up");
    world.socket.say(snapshot("v2", "c1", [operation("b")]));
    expect(client.getSnapshot().phase).toBe("live");
  });

  test("one that the relay refuses says why and holds up nothing", async () => {
    await connected();
    const view = client.view({ owner: ["x"] });
    world.socket.say({ type: "error", sub: "v2", code: "bad_request", message: "owner: not yours" });
    expect(view.getSnapshot().refusal).toBe("owner: not yours");
    expect(client.getSnapshot().phase).toBe("live");
  });
});
