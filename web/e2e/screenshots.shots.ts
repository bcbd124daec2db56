/**
 * Pictures, of the relay at `BELLWETHER_URL` where that is given (the demo, for example), else of one that is started here
 * and given something to show: those of the README (`make screenshots`), and every view at three widths, light and dark,
 * to look at (`npm run screenshots`). They go to `SCREENSHOTS_DIR`.
 */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, test } from "vitest";
import { headline, launch, open } from "./browser.js";
import { Stage } from "./relay.js";

const FOLDER = resolve(process.env.SCREENSHOTS_DIR ?? "e2e/.results");

interface Picture {
  readonly name: string;
  readonly path: string;
  readonly width: number;
  readonly height: number;
  readonly colorScheme: "light" | "dark";
}

const README: readonly Picture[] = [
  { name: "now", path: "/", width: 1120, height: 800, colorScheme: "light" },
  { name: "health", path: "/health?range=24h", width: 1120, height: 760, colorScheme: "dark" },
  { name: "phone", path: "/", width: 360, height: 760, colorScheme: "light" },
];

const VIEWS = { now: "/", history: "/history", health: "/health?range=24h", connections: "/connections" };
const REVIEW: readonly Picture[] = Object.entries(VIEWS).flatMap(([view, path]) =>
  [360, 768, 1440].flatMap((width) =>
    (["light", "dark"] as const).map((colorScheme) => {
      return { name: `${view}-${width}-${colorScheme}`, path, width, height: width < 500 ? 780 : 900, colorScheme };
    }),
  ),
);

let stage: Stage | null = null;
let url: string;
let browser: Browser;

const SOMETHING_TO_SHOW = `
INSERT INTO sync_operations (operation_type, status, owner, created_at, started_at, completed_at, total_items, processed_items, inserted_items, kept_items, message, error)
SELECT (ARRAY['upload', 'full_sync', 'webhook', 'journal_entries', 'photo_import'])[1 + n % 5], CASE WHEN n % 31 = 17 THEN 'failed' ELSE 'completed' END,
       (ARRAY['alice', 'bob', 'nightly', 'tenant-42'])[1 + n % 4], at, at, at + (20 + n * 37 % 90) * interval '1 second',
       900, CASE WHEN n % 31 = 17 THEN 310 ELSE 900 END, 120, 190, 'Copied what had changed', CASE WHEN n % 31 = 17 THEN 'the target refused the batch: quota exceeded' END
FROM generate_series(1, 600) n, LATERAL (SELECT clock_timestamp() - n * interval '2 minutes' AS at) AS t ORDER BY n DESC;
INSERT INTO sync_operations (operation_type, status, owner, total_items, current_item, message, created_at, started_at)
SELECT (ARRAY['upload', 'full_sync', 'photo_import', 'journal_entries'])[1 + n % 4], CASE n WHEN 2 THEN 'pending' WHEN 5 THEN 'paused' ELSE 'in_progress' END,
       (ARRAY['alice', 'bob', 'nightly'])[1 + n % 3], CASE n WHEN 3 THEN NULL ELSE 4000 + n * 811 END, CASE n WHEN 2 THEN NULL ELSE 'photos/2026/IMG_' || 4000 + n * 7 || '.jpg' END,
       CASE n WHEN 2 THEN 'waiting for its turn' END, at, CASE n WHEN 2 THEN NULL ELSE at END
FROM generate_series(1, 6) n, LATERAL (SELECT clock_timestamp() - (7 - n) * interval '40 seconds' AS at) AS t;
UPDATE sync_operations SET processed_items = coalesce(total_items, 2400) * (ascii(id::text) % 7 + 2) / 10, failed_items = ascii(id::text) % 3 WHERE status IN ('in_progress', 'paused');
SELECT report_connection(name, 'connected', latency_ms => 12) FROM unnest(ARRAY['scanner-1', 'scanner-2', 'importer']) AS name;
INSERT INTO sync_status_snapshots (kind, period_start, taken_at, window_seconds, status, score, error_rate_percent, success_rate_percent, completed_operations,
    failed_operations, cancelled_operations, pending_operations, running_operations, paused_operations, stalled_operations, peak_concurrency, processed_items,
    failed_items, average_duration_seconds, p95_duration_seconds, connected_clients, lost_connections, average_latency_ms, reconnect_attempts)
SELECT 'scheduled', at, at, 900, sync_health_status(e, 5), sync_health_score(e), e, 100 - e, 9 + (3 * sin(n / 40.0))::int, round(e / 4), 0, 1, 5 + (2 * sin(n / 25.0))::int, 1, 0, 9,
       9000, 12, 60 + 8 * sin(n / 60.0), 106, 6, 0, 18, 0
FROM generate_series(2, 719) n, LATERAL (SELECT date_trunc('minute', clock_timestamp()) - n * interval '2 minutes' AS at, round((2.2 + 1.6 * sin(n / 55.0) + CASE WHEN (n + 90) % 240 < 9 THEN 8 ELSE 0 END)::numeric, 2) AS e) AS t
WHERE n NOT BETWEEN 300 AND 340;
SELECT create_sync_status_snapshot();`;

beforeAll(async () => {
  mkdirSync(FOLDER, { recursive: true });
  if (!process.env.BELLWETHER_URL) {
    stage = await Stage.open();
    stage.sql(SOMETHING_TO_SHOW);
  }
  url = process.env.BELLWETHER_URL ?? (stage as Stage).url;
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

async function take({ name, path, width, height, colorScheme }: Picture): Promise<void> {
  const { page } = await open(browser, url + path, { colorScheme, viewport: { width, height } });
  await headline(page).getByText("Live").waitFor();
  await page.getByText("Loading…").waitFor({ state: "detached" });
  // Charts are drawn, and the round trip is measured, a moment later.
  await page.locator("header .truth").getByText(/ ms/).waitFor();
  await page.screenshot({ path: join(FOLDER, `${name}.png`) });
  await page.context().close();
}

test.each(README)("of the README: $name", take);
test.each(REVIEW)("to look at: $name", take);
