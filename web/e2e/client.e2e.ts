/** The client against the real relay, over both of its ways. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { Environment, SocketLike } from "../src/client/environment.js";
import { type Operation, SyncClient, type TransportKind } from "../src/client/index.js";
import { Stage, until } from "./relay.js";

let stage: Stage;
let client: SyncClient;

beforeAll(async () => {
  stage = await Stage.open();
});

afterAll(() => stage?.close());
afterEach(() => client.stop());

const node: Environment = {
  openSocket(url) {
    const socket = new WebSocket(url);
    // A browser's socket says that it could not connect by closing; this one throws unless somebody listens.
    socket.on("error", () => undefined);
    return socket as unknown as SocketLike;
  },
  fetch: (input, init) => fetch(input, init),
  random: Math.random,
  online: () => true,
  hidden: () => false,
  listen: () => () => undefined,
};

const insert = (type: string, fields = "") =>
  stage.sql(
    `INSERT INTO sync_operations (operation_type, status, owner) VALUES ('${type}', 'in_progress', ${fields || "NULL"}) RETURNING id`,
  );

describe.each(["websocket", "sse"] satisfies TransportKind[])("by %s", (transport) => {
  const connect = () => {
    client = new SyncClient({ url: stage.url, transport, environment: node }).start();
    return client;
  };
  const live = () => until("the client is live", () => client.getSnapshot().phase === "live");

  test("a snapshot, then every change, to the end of an operation", async () => {
    const id = insert("upload");
    const view = connect().operation(id);
    await live();
    expect(view.getSnapshot().operations.get(id)?.status).toBe("in_progress");
    const ended = new Promise<Operation>((done) => view.onComplete(id, done));
    stage.sql(`UPDATE sync_operations SET total_items = 10, processed_items = 5 WHERE id = '${id}'`);
    await until("progress arrives", () => view.getSnapshot().operations.get(id)?.progress === 50);
    stage.sql(`SELECT complete_sync_operation('${id}')`);
    expect((await ended).progress).toBe(100);
    await until("a heartbeat says up to when, and that it is live", () => {
      const { completeAsOf, staleSince } = client.getSnapshot();
      return completeAsOf !== null && staleSince === null;
    });
  });

  test("two views with filters of their own each see their own, and what leaves one is gone from it", async () => {
    const alice = connect().view({ topics: ["operations"], owner: ["alice"] });
    const bob = client.view({ topics: ["operations"], owner: ["bob"] });
    await live();
    const id = insert("delete", "'alice'");
    await until("alice sees hers", () => alice.getSnapshot().operations.has(id));
    expect(bob.getSnapshot().operations.has(id)).toBe(false);
    stage.sql(`UPDATE sync_operations SET owner = 'bob' WHERE id = '${id}'`);
    await until("it is bob's", () => bob.getSnapshot().operations.has(id));
    expect(alice.getSnapshot().operations.has(id)).toBe(false);
  });

  test("a relay that is killed and comes back is resumed: nothing is missing, nothing comes twice", async () => {
    const view = connect().view({ topics: ["operations"] });
    await live();
    const seen: string[] = [];
    view.on("operation.created", ({ event }) => seen.push(event.entity));
    const before = insert("webhook");
    await until("the first is seen", () => seen.length === 1);
    await stage.killRelay();
    await until("the loss is noticed", () => client.getSnapshot().phase === "reconnecting");
    const meanwhile = insert("webhook");
    await stage.startRelay();
    await live();
    await until("the second is there", () => view.getSnapshot().operations.has(meanwhile));
    const after = insert("webhook");
    await until("the third is there", () => view.getSnapshot().operations.has(after));
    expect(view.getSnapshot().operations.has(before)).toBe(true);
    expect(new Set(seen).size).toBe(seen.length);
  });
});

test("a subscription that the relay refuses says why", async () => {
  client = new SyncClient({ url: stage.url, environment: node }).start();
  const view = client.view({ status: ["nonsense"] });
  await until("the refusal arrives", () => view.getSnapshot().refusal !== null);
  expect(view.getSnapshot().refusal).toContain("status");
});
