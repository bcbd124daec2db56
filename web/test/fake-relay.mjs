/**
 * A relay that is none: serves `dist/` with the strict policy of the real one, and made-up operations over `/ws` and
 * the read API, for working on the pages. `node test/fake-relay.mjs [port] [operations] [changes per second]`
 */
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { WebSocketServer } from "ws";

const [port = "8099", amount = "14", speed = "8"] = process.argv.slice(2);
const POLICY =
  "default-src 'self'; style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'self'";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const KINDS = ["upload", "full_sync", "webhook", "journal_entries", "delete", "photo_import"];
const OWNERS = ["alice@example.com", "bob@example.com", "tenant-42", "nightly", null];
const iso = (ms) => new Date(ms).toISOString().replace("Z", "000+00:00");
const id = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

let revision = Date.now() * 1000;
const rows = new Map();
const errors = [];
const log = [];
let count = 0;

function make(status, age) {
  count += 1;
  const created = Date.now() - age;
  const total = count % 6 === 2 ? null : 200 + ((count * 7919) % 40_000);
  const ended = ["completed", "failed", "cancelled"].includes(status);
  const done =
    status === "pending"
      ? 0
      : total === null
        ? 1_200 + count
        : Math.floor(total * (ended && status === "completed" ? 1 : 0.05 + ((count * 37) % 85) / 100));
  const seconds = 3 + ((count * 131) % 1_900);
  const row = {
    id: id(count),
    operation_type: KINDS[count % KINDS.length],
    status,
    progress: status === "completed" ? 100 : total ? Math.round((10_000 * done) / total) / 100 : 0,
    message: status === "pending" ? "waiting for a free slot" : "copying changed files",
    current_item: ended ? null : `photos/2026/11/holiday-in-the-mountains/IMG_${4_000 + count}.jpg`,
    total_items: total,
    processed_items: done,
    failed_items: status === "failed" ? 3 : count % 9 === 0 ? 2 : 0,
    inserted_items: Math.floor(done * 0.4),
    updated_items: Math.floor(done * 0.2),
    deleted_items: count % 4,
    kept_items: Math.floor(done * 0.3),
    skipped_items: count % 3,
    entities_encountered: { invoice: 12 + count, contact: 3 },
    counters: { sessions: 4, messages: 310 },
    owner: OWNERS[count % OWNERS.length],
    source: "nas",
    triggered_by: "schedule",
    created_at: iso(created),
    started_at: status === "pending" ? null : iso(created + 800),
    updated_at: iso(Date.now()),
    heartbeat_at: iso(Date.now()),
    progressed_at: iso(Date.now()),
    completed_at: ended ? iso(created + seconds * 1000) : null,
    duration_seconds: ended ? seconds : null,
    items_per_second: status === "in_progress" ? 3 + (count % 40) : null,
    estimated_completion_at: status === "in_progress" && total ? iso(Date.now() + 60_000 * (1 + (count % 50))) : null,
    error: status === "failed" ? "disk full: <b>no space left</b> on /mnt/backup while writing IMG_4011.jpg" : null,
    metadata: {},
    performance_data: {},
    revision: ++revision,
  };
  if (status === "in_progress" && count % 11 === 4) row.stalled_since = iso(Date.now() - 340_000);
  rows.set(row.id, row);
  return row;
}

for (let n = 0; n < 140; n += 1)
  make(n % 9 === 4 ? "failed" : n % 17 === 3 ? "cancelled" : "completed", (140 - n) * 700_000 + 1_900_000);
for (let n = 0; n < Number(amount); n += 1)
  make(n % 7 === 3 ? "pending" : n % 10 === 8 ? "paused" : "in_progress", (Number(amount) - n) * 31_000 + 60_000);
for (const row of [...rows.values()].filter((each) => each.failed_items > 0)) {
  for (let n = 0; n < row.failed_items; n += 1) {
    errors.push({
      id: errors.length + 1,
      operation_id: row.id,
      item: `IMG_${n}.jpg`,
      message: "permission denied <script>alert(1)</script>",
      code: "EACCES",
      details: {},
      occurred_at: row.updated_at,
      revision: 1,
    });
  }
}

const snapshots = [];
for (let at = Date.now() - 30 * 86_400_000, n = 0; at < Date.now(); at += 120_000, n += 1) {
  const age = Date.now() - at;
  if ((age > 5 * 3_600_000 && age < 6.5 * 3_600_000) || (age > 12 * 86_400_000 && age < 13 * 86_400_000)) continue;
  const wave = 1 + Math.sin(n / 90);
  const idle = n % 400 < 30;
  const rate = idle
    ? null
    : Math.max(0, Math.round((wave * 2.4 + Math.sin(n * 1.7) * 1.2 + (n % 260 < 12 ? 9 : 0)) * 100) / 100);
  const completed = idle ? 0 : Math.round(20 + wave * 14);
  snapshots.push({
    id: n,
    kind: "scheduled",
    period_start: iso(at),
    taken_at: iso(at),
    window_seconds: 900,
    status: rate === null ? "active" : rate > 10 ? "critical" : rate >= 5 ? "warning" : "healthy",
    score: rate === null ? null : Math.round((100 - Math.min(60, 3 * rate) - 10.8) * 100) / 100,
    error_rate_percent: rate,
    success_rate_percent: rate === null ? null : 100 - rate,
    completed_operations: completed,
    failed_operations: Math.round((completed * (rate ?? 0)) / 100),
    cancelled_operations: 1,
    pending_operations: 2,
    running_operations: Math.round(6 + wave * 5 + Math.sin(n / 7) * 2),
    paused_operations: 1,
    stalled_operations: 1,
    peak_concurrency: 14,
    processed_items: 9_000,
    failed_items: 40,
    average_duration_seconds: 340.2,
    p95_duration_seconds: 1_421.5,
    connected_clients: 6,
    lost_connections: 0,
    average_latency_ms: 80.4,
    reconnect_attempts: 2,
    revision: 1,
  });
}
const connections = Array.from({ length: 9 }, (_, n) => ({
  client_id: n < 6 ? `6f1c0a52-77aa-4b1e-9c00-00000000000${n}` : `scanner-${n}`,
  status: [
    "connected",
    "connected",
    "connected",
    "reconnecting",
    "connected",
    "disconnected",
    "error",
    "connected",
    "connected",
  ][n],
  last_ping: iso(Date.now()),
  latency_ms: n === 5 ? null : 4 + n * 9.3,
  reconnect_attempts: n === 3 ? 4 : 0,
  source: n < 6 ? "relay" : "app",
  address: `10.0.0.${n + 11}`,
  user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0",
  metadata: {},
  relay_id: n < 6 ? id(1) : null,
  connected_at: iso(Date.now() - n * 500_000),
  disconnected_at: n === 5 ? iso(Date.now() - 90_000) : null,
  updated_at: iso(Date.now()),
  revision: 1,
}));

const active = (row) => ["pending", "in_progress", "paused"].includes(row.status);
const sockets = new Set();
let status = { type: "status", status: "live", since: iso(Date.now()) };
let frozen = null;
let cursor = 1;

function broadcast(topic, type, row, entity) {
  const event = { id: log.length + 1, topic, type, entity, revision: row.revision, at: iso(Date.now()), data: row };
  log.push(event);
  cursor += 1;
  for (const socket of sockets) {
    for (const sub of socket.subs.values()) {
      if (sub.topics && !sub.topics.includes(topic)) continue;
      if (sub.operation_id && !sub.operation_id.includes(entity)) continue;
      socket.send(JSON.stringify({ type: "events", sub: sub.id, cursor: `c${cursor}`, events: [event] }));
    }
  }
}

function step() {
  if (status.status === "degraded") return;
  const running = [...rows.values()].filter((row) => row.status === "in_progress" && !row.stalled_since);
  const row = running[Math.floor(Math.random() * running.length)];
  if (!row) return;
  const next = {
    ...row,
    revision: row.revision + 1,
    updated_at: iso(Date.now()),
    processed_items: row.processed_items + 20,
    inserted_items: row.inserted_items + 9,
    current_item: `photos/2026/11/IMG_${Math.floor(Math.random() * 9_000)}.jpg`,
  };
  let type = "operation.progress";
  if (next.total_items !== null && next.processed_items >= next.total_items) {
    const failed = Math.random() < 0.3;
    type = failed ? "operation.failed" : "operation.completed";
    Object.assign(next, {
      processed_items: next.total_items,
      status: failed ? "failed" : "completed",
      error: failed ? "the target refused the last batch" : null,
      completed_at: iso(Date.now()),
      duration_seconds: 88,
      progress: failed ? next.progress : 100,
      estimated_completion_at: null,
    });
    const fresh = make("in_progress", 0);
    fresh.processed_items = 0;
    fresh.progress = 0;
    broadcast("operations", "operation.created", fresh, fresh.id);
  } else if (next.total_items) next.progress = Math.round((10_000 * next.processed_items) / next.total_items) / 100;
  rows.set(next.id, next);
  broadcast("operations", type, next, next.id);
}
setInterval(
  () => {
    for (let n = 0; n < Math.max(1, Number(speed) / 20); n += 1) step();
  },
  Number(speed) > 0 ? Math.max(50, 1000 / Number(speed)) : 2 ** 30,
);
setInterval(() => {
  for (const socket of sockets) for (const sub of socket.subs.values()) beat(socket, sub);
}, 2_000);
const beat = (socket, sub) =>
  socket.send(
    JSON.stringify({
      type: "heartbeat",
      sub: sub.id,
      cursor: `c${cursor}`,
      complete_as_of: iso(frozen ?? Date.now()),
      lag_ms: 3,
    }),
  );

const json = (response, value, code = 200) =>
  response.writeHead(code, { "Content-Type": "application/json" }).end(JSON.stringify(value));
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  const { pathname: path, searchParams: query } = url;
  if (path === "/_status") {
    const degraded = query.get("is") !== "live";
    frozen = degraded ? Date.now() : null;
    status = {
      type: "status",
      status: query.get("is"),
      since: iso(Date.now()),
      ...(degraded ? { reason: "the database does not answer" } : {}),
    };
    for (const socket of sockets) socket.send(JSON.stringify(status));
    return json(response, status);
  }
  if (path === "/api/operations") return list(query, response);
  const one = /^\/api\/operations\/([^/]+)(\/events)?$/.exec(path);
  if (one) {
    const row = rows.get(one[1]);
    if (!row) return json(response, { title: "not found", detail: "there is no such operation" }, 404);
    if (one[2])
      return json(response, {
        events: [
          {
            id: 0,
            topic: "operations",
            type: "operation.created",
            entity: row.id,
            revision: 1,
            at: row.created_at,
            data: { ...row, status: "pending", processed_items: 0 },
          },
          ...log.filter((event) => event.entity === row.id),
        ],
        next: null,
        complete_from: iso(Date.now() - 3_600_000),
      });
    return json(response, { ...row, errors: errors.filter((error) => error.operation_id === row.id) });
  }
  if (path === "/api/snapshots") {
    const after = Date.parse(query.get("taken_after"));
    const found = snapshots.filter((each) => Date.parse(each.taken_at) > after);
    const names = Object.keys(snapshots[0]);
    return response
      .writeHead(200, { "Content-Type": "text/csv" })
      .end([names.join(","), ...found.map((each) => names.map((name) => each[name] ?? "").join(","))].join("\n"));
  }
  const file = join("dist", path);
  const asset = path !== "/" && existsSync(file);
  const name = asset ? file : path === "/widgets" ? "test/widgets.html" : "dist/index.html";
  response
    .writeHead(200, {
      "Content-Type": TYPES[extname(name)] ?? "application/octet-stream",
      "Content-Security-Policy": POLICY,
    })
    .end(readFileSync(name));
});

function list(query, response) {
  let found = [...rows.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  for (const name of ["status", "owner", "operation_type"])
    if (query.get(name)) found = found.filter((row) => query.get(name).split(",").includes(row[name]));
  if (query.get("created_after"))
    found = found.filter((row) => Date.parse(row.created_at) > Date.parse(query.get("created_after")));
  if (query.get("q") === "boom")
    return json(response, { title: "unavailable", detail: "the database does not answer" }, 503);
  if (query.get("q")) found = found.filter((row) => JSON.stringify(row).includes(query.get("q")));
  const from = Number(query.get("page") ?? 0);
  const limit = Number(query.get("limit") ?? 50);
  json(response, {
    operations: found.slice(from, from + limit),
    next: from + limit < found.length ? String(from + limit) : null,
  });
}

new WebSocketServer({ server, path: "/ws" }).on("connection", (socket) => {
  socket.subs = new Map();
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.send(
    JSON.stringify({
      type: "hello",
      protocol: 1,
      connection_id: connections[0].client_id,
      server: "fake/0",
      heartbeat_interval_ms: 2_000,
      reconnect: { min_ms: 500, max_ms: 30_000, jitter: 1 },
    }),
  );
  socket.send(JSON.stringify(status));
  socket.on("message", (text) => {
    const message = JSON.parse(String(text));
    if (message.type === "ping") return socket.send('{"type":"pong"}');
    if (message.type === "unsubscribe") return socket.subs.delete(message.id);
    const sub = message;
    socket.subs.set(sub.id, sub);
    const wants = (topic) => !sub.topics || sub.topics.includes(topic);
    const mine = [...rows.values()].filter(
      (row) =>
        (!sub.operation_id || sub.operation_id.includes(row.id)) &&
        (active(row) || sub.operation_id || Date.parse(row.completed_at) > Date.now() - 9_000_000) &&
        (!sub.status || sub.status.includes(row.status)),
    );
    socket.send(JSON.stringify({ type: "subscribed", sub: sub.id, cursor: `c${cursor}` }));
    socket.send(
      JSON.stringify({
        type: "snapshot",
        sub: sub.id,
        part: 1,
        parts: 1,
        cursor: `c${cursor}`,
        operations: wants("operations") ? mine : [],
        connections: wants("connections") ? connections : [],
        health: wants("health") ? snapshots.at(-1) : null,
        complete: true,
      }),
    );
    beat(socket, sub);
  });
});
server.listen(Number(port), "127.0.0.1");
