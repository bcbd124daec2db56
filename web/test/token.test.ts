import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SyncClient, type TokenSource } from "../src/client/index.js";
import { expiryOfJwt } from "../src/client/token.js";
import { heartbeat, hello, live, START, settle, snapshot, World } from "./world.js";

let world: World;
let client: SyncClient;

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  world = new World();
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

function start(token: TokenSource, transport?: "sse") {
  client = new SyncClient({
    url: "http://relay.example",
    environment: world,
    token,
    ...(transport ? { transport } : {}),
  });
  client.view();
  client.start();
  return settle();
}

/** Tokens that last ten minutes each. */
function tokens() {
  let count = 0;
  return vi.fn(() => {
    count += 1;
    return { token: `t${count}`, expiresAt: Date.now() + 600_000 };
  });
}

test("the token goes first, before any subscription", async () => {
  await start(tokens());
  world.socket.open().say(hello);
  expect(world.socket.sent.map((message) => message.type)).toEqual(["auth", "subscribe"]);
});

test("it is renewed in band before it ends, and the connection stays", async () => {
  const source = tokens();
  await start(source);
  world.socket.open().say(hello, live, snapshot("v1", "c1"));
  for (let second = 0; second < 1_200; second += 5) {
    await vi.advanceTimersByTimeAsync(5_000);
    world.socket.say(heartbeat("v1", "c1"), { type: "pong" });
  }
  expect(world.sockets).toHaveLength(1);
  expect(world.socket.messages("auth").map((message) => message.token)).toEqual(["t1", "t2", "t3"]);
});

test("a source that fails is asked again before the token ends", async () => {
  const source = tokens();
  await start(source);
  world.socket.open().say(hello, live, snapshot("v1", "c1"));
  source.mockImplementationOnce(() => {
    throw new Error("the session server is away");
  });
  await vi.advanceTimersByTimeAsync(545_000);
  expect(source).toHaveBeenCalledTimes(3);
});

test("a token that the relay refuses is replaced once, not for ever", async () => {
  const source = tokens();
  await start(source);
  world.socket.open().say(hello, live, { type: "error", code: "token_expired", message: "no" });
  await settle();
  expect(world.socket.messages("auth").map((message) => message.token)).toEqual(["t1", "t2"]);
  world.socket.say({ type: "error", code: "token_expired", message: "no" });
  await settle();
  expect(source).toHaveBeenCalledTimes(2);
});

test("over SSE it is a header, and a new token a new stream from the same cursor", async () => {
  await start(tokens(), "sse");
  expect(world.stream.headers.Authorization).toBe("Bearer t1");
  world.stream.open().say(hello, live, snapshot("default", "c5"));
  await vi.advanceTimersByTimeAsync(540_000);
  // The silence above cuts the stream too: what counts is who asks now, and from where.
  expect(world.stream.headers.Authorization).toBe("Bearer t2");
  expect(world.stream.headers["Last-Event-ID"]).toBe("c5");
});

test("a stream that is refused twice for its token is refused", async () => {
  world.jitter = 0;
  await start(tokens(), "sse");
  world.stream.answer(Response.json({ detail: "no" }, { status: 401 }));
  await settle();
  expect(world.stream.headers.Authorization).toBe("Bearer t2");
  world.stream.answer(Response.json({ detail: "still no" }, { status: 401 }));
  await settle();
  expect(client.getSnapshot()).toMatchObject({ phase: "refused", reason: "still no" });
});

test("the end of a JWT is read from it", () => {
  client = new SyncClient({ url: "http://relay.example", environment: world });
  const payload = btoa(JSON.stringify({ exp: 1_800_000_000 })).replace(/=/g, "");
  expect(expiryOfJwt(`x.${payload}.y`)).toBe(1_800_000_000_000);
  expect(expiryOfJwt("opaque")).toBeNull();
  expect(expiryOfJwt("a.b!.c")).toBeNull();
});
