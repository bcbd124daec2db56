// @vitest-environment happy-dom
import { act, createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SyncClient } from "../src/client/index.js";
import { BellwetherProvider, useSyncProgress, useSyncStatus } from "../src/react/index.js";
import { events, hello, live, operation, snapshot, told, World } from "./world.js";

let world: World;
let client: SyncClient;
let place: HTMLElement;
let unmount: () => void;

function Widget({ id }: { id: string }) {
  const { phase } = useSyncStatus();
  const { operation: row, ready } = useSyncProgress(id);
  return createElement("p", null, `${phase} ${ready ? (row ? `${row.progress} %` : "none") : "unknown"}`);
}

const tick = () => act(() => new Promise((done) => setTimeout(done, 30)));
const page = (id: string) =>
  createElement(StrictMode, null, createElement(BellwetherProvider, { client }, createElement(Widget, { id })));

beforeEach(async () => {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  world = new World();
  client = new SyncClient({ url: "http://relay.example", environment: world }).start();
  place = document.createElement("div");
  const root = createRoot(place);
  unmount = () => act(() => root.unmount());
  await act(() => root.render(page("a")));
  await tick();
  world.socket.open().say(hello, live);
});

afterEach(() => {
  unmount();
  client.stop();
});

/** The name of the one subscription that is still held; strict mode opens and closes one more. */
function sub(): string {
  const open = new Set(world.socket.messages("subscribe").map((message) => message.id));
  for (const { id } of world.socket.messages("unsubscribe")) open.delete(id);
  expect(open.size).toBe(1);
  return [...open][0] as string;
}

test("a component follows one operation, and asks for nothing else", async () => {
  await tick();
  expect(place.textContent).toBe("catching_up unknown");
  expect(world.socket.messages("subscribe").at(-1)).toMatchObject({
    operation_id: ["a"],
    topics: ["operations", "errors"],
  });
  world.socket.say(snapshot(sub(), "c1", [operation("a")]));
  await tick();
  expect(place.textContent).toBe("live 10 %");
  world.socket.say(events(sub(), "c2", told("operation.progress", operation("a", { revision: 2, progress: 70 }))));
  await tick();
  expect(place.textContent).toBe("live 70 %");
});

test("a component that goes away gives its subscription back", async () => {
  unmount();
  expect(world.socket.messages("unsubscribe")).toHaveLength(world.socket.messages("subscribe").length);
});
