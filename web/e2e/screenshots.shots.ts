/**
 * The pictures of the README: `npm run screenshots`. Of the relay at `BELLWETHER_URL` where that is given (the demo,
 * for example), else of one that is started here and given something to show. They go to `SCREENSHOTS_DIR`.
 */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, test } from "vitest";
import { headline, launch, open } from "./browser.js";
import { Stage } from "./relay.js";

const FOLDER = resolve(process.env.SCREENSHOTS_DIR ?? "e2e/.results");
const VIEWS = { now: "/", history: "/history", health: "/health?range=24h", connections: "/connections" };
const WIDTHS = [360, 768, 1440];

let stage: Stage | null = null;
let url: string;
let browser: Browser;

const SOMETHING_TO_SHOW = `
INSERT INTO sync_operations (operation_type, status, owner, created_at, started_at, completed_at, total_items, processed_items, inserted_items, kept_items, message, error)
SELECT (ARRAY['upload', 'full_sync', 'webhook', 'journal_entries', 'delete'])[1 + n % 5], CASE WHEN n % 14 = 3 THEN 'failed' ELSE 'completed' END,
       (ARRAY['alice', 'bob', 'nightly', 'tenant-42'])[1 + n % 4], at, at, at + (20 + n * 37 % 900) * interval '1 second',
       900, CASE WHEN n % 14 = 3 THEN 310 ELSE 900 END, 120, 190, 'Copied what had changed', CASE WHEN n % 14 = 3 THEN 'the target refused the batch: quota exceeded' END
FROM generate_series(1, 160) n, LATERAL (SELECT clock_timestamp() - n * interval '9 minutes' AS at) AS t;
INSERT INTO sync_operations (operation_type, status, owner, total_items, current_item, message)
SELECT (ARRAY['upload', 'full_sync', 'photo_import', 'journal_entries'])[1 + n % 4], CASE WHEN n = 4 THEN 'pending' WHEN n = 7 THEN 'paused' ELSE 'in_progress' END,
       (ARRAY['alice', 'bob', 'nightly'])[1 + n % 3], CASE WHEN n = 3 THEN NULL ELSE 4000 + n * 811 END, 'photos/2026/IMG_' || 4000 + n * 7 || '.jpg', 'copying what has changed'
FROM generate_series(1, 9) n;
INSERT INTO sync_status_snapshots (kind, period_start, taken_at, window_seconds, status, score, error_rate_percent, success_rate_percent, completed_operations,
    failed_operations, cancelled_operations, pending_operations, running_operations, paused_operations, stalled_operations, peak_concurrency, processed_items,
    failed_items, average_duration_seconds, p95_duration_seconds, connected_clients, lost_connections, average_latency_ms, reconnect_attempts)
SELECT 'scheduled', at, at, 900, sync_health_status(e, 5), sync_health_score(e), e, 100 - e, 24 + (6 * sin(n / 40.0))::int, round(e / 4), 0, 1, 6 + (3 * sin(n / 25.0))::int, 1, 0, 9,
       9000, 12, 240 + 40 * sin(n / 60.0), 840, 6, 0, 18, 0
FROM generate_series(2, 719) n, LATERAL (SELECT date_trunc('minute', clock_timestamp()) - n * interval '2 minutes' AS at, round((2.2 + 1.6 * sin(n / 55.0) + CASE WHEN n % 240 < 9 THEN 8 ELSE 0 END)::numeric, 2) AS e) AS t
WHERE n NOT BETWEEN 300 AND 340;
SELECT create_sync_status_snapshot();`;

beforeAll(async () => {
  mkdirSync(FOLDER, { recursive: true });
  if (!process.env.BELLWETHER_URL) {
    stage = await Stage.open();
    stage.sql(SOMETHING_TO_SHOW);
    for (const share of [0.1, 0.12]) {
      stage.sql(
        `UPDATE sync_operations SET processed_items = processed_items + coalesce(total_items, 5000) * ${share} * (1 + ascii(id::text) % 4) WHERE status = 'in_progress'`,
      );
    }
  }
  url = process.env.BELLWETHER_URL ?? (stage as Stage).url;
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of WIDTHS) {
    test(`${colorScheme}, ${width} px`, async () => {
      for (const [name, path] of Object.entries(VIEWS)) {
        const { page } = await open(browser, url + path, {
          colorScheme,
          viewport: { width, height: width < 500 ? 780 : 900 },
        });
        await headline(page).getByText("Live").waitFor();
        await page.getByText("Loading…").waitFor({ state: "detached" });
        // Charts are drawn, and the round trip is measured, a moment later.
        await page.locator("header .truth").getByText(/ ms/).waitFor();
        await page.screenshot({ path: join(FOLDER, `${name}-${width}-${colorScheme}.png`) });
        await page.context().close();
      }
    });
  }
}
