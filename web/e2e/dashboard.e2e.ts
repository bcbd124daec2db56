import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { headline, launch, open, type Watched } from "./browser.js";
import { PATIENT, Stage } from "./relay.js";

let stage: Stage;
let browser: Browser;
let watched: Watched;

beforeAll(async () => {
  stage = await Stage.open(...PATIENT);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

beforeEach(async () => {
  stage.sql("TRUNCATE sync_operations CASCADE");
  watched = await open(browser, stage.url);
  await headline(watched.page).getByText("Live").waitFor();
});

afterEach(async () => {
  expect(watched.complaints).toEqual([]);
  await watched.page.context().close();
});

/** Makes a running operation; returns its id. */
const begin = (type: string, fields = "") =>
  stage.sql(`INSERT INTO sync_operations (operation_type, status, total_items, owner ${fields && ", message"})
             VALUES ('${type}', 'in_progress', 100, 'alice' ${fields && `, ${fields}`}) RETURNING id`);

test("with nothing written, the page says so and is not blank", async () => {
  await watched.page.getByText("Nothing is running").waitFor();
  await watched.page.getByText("Nothing has ended yet").waitFor();
});

test("a row written by psql appears, and its progress moves", async () => {
  const { page } = watched;
  const id = begin("journal_entries");
  const row = page.getByRole("listitem").filter({ hasText: "Journal entries" });
  await row.getByText("0 of 100").waitFor();
  stage.sql(`UPDATE sync_operations SET processed_items = 42, current_item = 'ledger-7.csv' WHERE id = '${id}'`);
  await row.getByText("42 of 100").waitFor();
  await row.getByText("ledger-7.csv").waitFor();
  expect(await row.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("42");
});

test("a completed operation moves to those that have just ended", async () => {
  const { page } = watched;
  const id = begin("upload");
  await page.getByRole("listitem").filter({ hasText: "Upload" }).waitFor();
  stage.sql(`SELECT complete_sync_operation('${id}')`);
  await page.getByRole("row").filter({ hasText: "Upload" }).getByText("Completed").waitFor();
  await page.getByText("Nothing is running").waitFor();
});

test("a failed operation shows its error: in a toast, in the list, and on its own page with those of its items", async () => {
  const { page } = watched;
  const id = begin("upload");
  await page.getByRole("listitem").filter({ hasText: "Upload" }).waitFor();
  stage.sql(`SELECT record_sync_error('${id}', 'permission denied', item => 'secret.txt', code => 'EACCES')`);
  stage.sql(`SELECT complete_sync_operation('${id}', 'failed', error => 'the disk is full')`);
  await page.getByRole("log").getByText("the disk is full").waitFor();
  await page.getByRole("row").filter({ hasText: "Upload" }).getByText("the disk is full").waitFor();
  await page.getByRole("link", { name: "Upload" }).click();
  expect(page.url()).toBe(`${stage.url}/operations/${id}`);
  await page.locator(".operation .error").getByText("the disk is full").waitFor();
  const errors = page.getByRole("list", { name: "Errors of single items" });
  await errors.getByText("secret.txt").waitFor();
  await errors.getByText("permission denied").waitFor();
  await page.getByRole("list", { name: "Timeline" }).getByText("Failed").waitFor();
});

test("names, messages and errors full of HTML stay text", async () => {
  const { page } = watched;
  const evil = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>";
  const id = begin(evil, `'${evil}'`);
  await page.getByRole("listitem").getByText(evil, { exact: false }).first().waitFor();
  stage.sql(`SELECT record_sync_error('${id}', '${evil}', item => '${evil}')`);
  stage.sql(`SELECT complete_sync_operation('${id}', 'failed', error => '${evil}')`);
  await page.getByRole("log").getByText("<img src=x").first().waitFor();
  for (const path of [`/operations/${id}`, "/history"]) {
    await page.goto(stage.url + path);
    await page.getByText("<img src=x").first().waitFor();
  }
  expect(await page.evaluate(() => "hacked" in window)).toBe(false);
});

test("the history is searched, filtered and paged, and each state of it has a URL", async () => {
  const { page } = watched;
  stage.sql(`INSERT INTO sync_operations (operation_type, status, owner, created_at, message)
             SELECT CASE n % 3 WHEN 0 THEN 'upload' WHEN 1 THEN 'delete' ELSE 'webhook' END,
                    CASE n % 4 WHEN 0 THEN 'failed' ELSE 'completed' END, 'owner-' || n % 2,
                    clock_timestamp() - n * interval '1 minute', 'message ' || n
             FROM generate_series(1, 120) n`);
  await page.getByRole("link", { name: "History" }).click();
  const rows = page.locator("tbody tr");
  await expect.poll(() => rows.count()).toBe(50);
  await page.getByText("message 1", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByText("message 51", { exact: true }).waitFor();
  expect(new URL(page.url()).searchParams.get("page")).toBeTruthy();
  await page.reload();
  await page.getByText("message 51", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByText("message 120", { exact: true }).waitFor();
  expect(await page.getByRole("button", { name: "Next" }).isDisabled()).toBe(true);
  await page.goBack();
  await page.getByText("message 51", { exact: true }).waitFor();

  await page.getByLabel("Status").selectOption("failed");
  await expect.poll(() => rows.count()).toBe(30);
  await page.getByLabel("Type").fill("upload");
  await expect.poll(() => rows.count()).toBe(10);
  expect(new URL(page.url()).search).toBe("?status=failed&operation_type=upload");
  await page.getByLabel("Search").fill("message 60");
  await expect.poll(() => rows.count()).toBe(1);
  await page.getByLabel("Search").fill("no such message");
  await page.getByText("Nothing matches").waitFor();
});

test("the history is narrowed to a period of one's own, in the reader's time, by a URL that is shared in any other", async () => {
  const { page } = watched;
  stage.sql(`INSERT INTO sync_operations (operation_type, status, created_at)
             SELECT 'day_' || n, 'completed', timestamptz '2026-03-10 12:00Z' + n * interval '1 day' FROM generate_series(0, 5) n`);
  await page.goto(`${stage.url}/history`);
  const rows = page.locator("tbody tr");
  await expect.poll(() => rows.count()).toBe(6);
  await page.getByLabel("Created").selectOption("Custom period");
  await page.getByLabel("From").fill(await local(page, "2026-03-11T12:00:00Z"));
  await expect.poll(() => rows.count()).toBe(5);
  await page.getByLabel("Until").fill(await local(page, "2026-03-13T12:00:00Z"));
  await expect.poll(() => rows.count()).toBe(2);
  await page.getByRole("link", { name: "Day 1" }).waitFor();
  const query = new URL(page.url()).searchParams;
  expect([query.get("created_after"), query.get("created_before")]).toEqual([
    "2026-03-11T12:00:00.000Z",
    "2026-03-13T12:00:00.000Z",
  ]);
  const elsewhere = await open(browser, page.url(), { timezoneId: "Asia/Kathmandu" });
  await expect.poll(() => elsewhere.page.locator("tbody tr").count()).toBe(2);
  expect(await elsewhere.page.getByLabel("From").inputValue()).toBe("2026-03-11T17:45");
  await elsewhere.page.context().close();
  await page.getByLabel("Created").selectOption("Any time");
  await expect.poll(() => rows.count()).toBe(6);
});

test("the history is sorted by what its columns say", async () => {
  const { page } = watched;
  stage.sql(`INSERT INTO sync_operations (operation_type, status, created_at, started_at, completed_at)
             SELECT 'took_' || n, 'completed', at - n * interval '1 hour', at - n * interval '1 hour', at - (10 - n) * interval '1 minute'
             FROM generate_series(1, 3) n, (SELECT clock_timestamp() AS at) AS t`);
  await page.goto(`${stage.url}/history`);
  const names = () => page.locator("tbody tr td:first-child a").allTextContents();
  await expect.poll(names).toEqual(["Took 1", "Took 2", "Took 3"]);
  await page.getByRole("button", { name: "Ended" }).click();
  await expect.poll(names).toEqual(["Took 3", "Took 2", "Took 1"]);
  await page.getByRole("button", { name: "Ended" }).click();
  await expect.poll(names).toEqual(["Took 1", "Took 2", "Took 3"]);
  expect(new URL(page.url()).search).toBe("?sort=completed_at");
});

test("the export is exactly what is filtered", async () => {
  const { page } = watched;
  stage.sql(
    `INSERT INTO sync_operations (operation_type, status) SELECT 'upload', 'completed' FROM generate_series(1, 70)`,
  );
  stage.sql(
    `INSERT INTO sync_operations (operation_type, status) SELECT 'delete', 'completed' FROM generate_series(1, 30)`,
  );
  await page.goto(`${stage.url}/history?operation_type=upload`);
  await expect.poll(() => page.locator("tbody tr").count()).toBe(50);
  for (const [name, lines] of [
    ["CSV", 71],
    ["NDJSON", 70],
  ] as const) {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name, exact: true }).click(),
    ]);
    const text = readFileSync(await download.path(), "utf8").trim();
    expect(text.split("\n")).toHaveLength(lines);
    expect(text).not.toContain("delete,");
  }
});

test("new operations appear in the history by themselves", async () => {
  const { page } = watched;
  await page.getByRole("link", { name: "History" }).click();
  await page.getByText("There are no operations yet").waitFor();
  begin("full_sync");
  await page.getByRole("link", { name: "Full sync" }).waitFor();
});

test("an operation's page follows it: progress, timeline, deletion", async () => {
  const { page } = watched;
  const id = begin("upload");
  await page.goto(`${stage.url}/operations/${id}`);
  await page.getByText("0 of 100").first().waitFor();
  stage.sql(`UPDATE sync_operations SET processed_items = 7 WHERE id = '${id}'`);
  await page.getByText("7 of 100").first().waitFor();
  await page.getByRole("list", { name: "Timeline" }).getByText("7 items").waitFor();
  await page.getByText("Raw JSON").click();
  await page.getByText('"processed_items": 7').waitFor();
  stage.sql(`DELETE FROM sync_operations WHERE id = '${id}'`);
  await page
    .getByText("This operation has been deleted")
    .or(page.getByText("There is no such operation"))
    .first()
    .waitFor();
});

test("hundreds of reports do not hide what else happened", async () => {
  const { page } = watched;
  const id = begin("upload");
  for (let item = 1; item <= 30; item += 1) {
    stage.sql(`UPDATE sync_operations SET processed_items = ${item} WHERE id = '${id}'`);
  }
  await page.goto(`${stage.url}/operations/${id}`);
  const timeline = page.getByRole("list", { name: "Timeline" });
  await timeline.getByText("30 items").waitFor();
  await timeline.getByText("Created").waitFor();
  expect(await timeline.getByRole("listitem").count()).toBe(3);
  await timeline.getByRole("button", { name: "Show 29 earlier reports" }).click();
  await timeline.getByText("17 items").waitFor();
  stage.sql(`UPDATE sync_operations SET processed_items = 31 WHERE id = '${id}'`);
  await timeline.getByText("31 items").waitFor();
  await timeline.getByRole("button", { name: "Hide 30 earlier reports" }).click();
  await timeline.getByText("17 items").waitFor({ state: "detached" });
});

test.each([360, 1440])("at %i px nothing moves while numbers change", async (width) => {
  const { page } = watched;
  await page.setViewportSize({ width, height: 900 });
  for (const type of ["upload", "full_sync", "journal_entries"]) begin(type);
  const id = begin("webhook");
  for (const path of ["/", `/operations/${id}`]) {
    // More reports than the timeline shows singly, so that further ones do not lengthen it.
    for (let items = 1; items <= 6; items += 1) {
      stage.sql(`UPDATE sync_operations SET processed_items = ${items}, inserted_items = ${items}, kept_items = 1`);
    }
    await page.goto(stage.url + path);
    // What the API answers may be there before the page is live, and the word for that is another one.
    await headline(page).getByText("Live").waitFor();
    await page.getByText("6 of 100").first().waitFor();
    if (path !== "/") await page.getByRole("button", { name: /earlier reports/ }).waitFor();
    await page.evaluate(() => {
      const moved: string[] = [];
      type Source = { previousRect: DOMRectReadOnly; currentRect: DOMRectReadOnly };
      new PerformanceObserver((list) => {
        const entries = list.getEntries() as (PerformanceEntry & { sources: Source[] })[];
        for (const { previousRect: before, currentRect: now } of entries.flatMap(({ sources }) => sources)) {
          // A number that is set flush right begins elsewhere when it grows, and stays in its place all the same.
          const sideways = Math.abs(before.left - now.left) > 1 && Math.abs(before.right - now.right) > 1;
          if (sideways || before.y !== now.y || before.height !== now.height) {
            moved.push(`${JSON.stringify(before)} -> ${JSON.stringify(now)}`);
          }
        }
      }).observe({ type: "layout-shift" });
      Object.assign(window, { moved });
    });
    for (const items of [7, 23, 58, 99]) {
      stage.sql(
        `UPDATE sync_operations SET processed_items = ${items}, inserted_items = ${items}, kept_items = 1, current_item = repeat('item-${items}/', ${items})`,
      );
      await page.getByText(`${items} of 100`).first().waitFor();
    }
    const moved = await page.evaluate(() => (window as unknown as { moved: string[] }).moved);
    expect({ path, moved }).toEqual({ path, moved: [] });
  }
});

test("an operation that is not there is told to be so", async () => {
  for (const id of ["00000000-0000-4000-8000-000000000000", "nonsense"]) {
    await watched.page.goto(`${stage.url}/operations/${id}`);
    await watched.page.getByText("There is no such operation").waitFor();
  }
  // The browser itself logs each 4xx; that is no complaint of the page.
  watched.complaints.splice(0);
});

test("health shows the score with what made it so, and its trend", async () => {
  const { page } = watched;
  stage.sql(`INSERT INTO sync_operations (operation_type, status, started_at)
             SELECT 'upload', CASE WHEN n = 1 THEN 'failed' ELSE 'completed' END, clock_timestamp() - interval '3 s' FROM generate_series(1, 25) n`);
  begin("webhook");
  stage.sql("SELECT create_sync_status_snapshot()");
  stage.sql("SELECT create_sync_status_snapshot()");
  await page.getByRole("link", { name: "Health" }).first().click();
  await page.getByText("4.0 % of the operations failed").waitFor();
  await page.getByRole("img", { name: /^Error rate: .*last 4.0 %/ }).waitFor();
  const cells = (type: string) => page.getByRole("row").filter({ hasText: type }).getByRole("cell").allTextContents();
  // 25 began at the same instant and took 3 s; the total has the one that still runs too.
  await page.getByRole("row").filter({ hasText: "Upload" }).waitFor();
  expect((await cells("Upload")).slice(0, 6)).toEqual(["Upload", "25", "24", "1", "0", "96.0 %"]);
  expect((await cells("Upload")).at(-1)).toBe("25");
  expect((await cells("All types")).slice(0, 6)).toEqual(["All types", "26", "24", "1", "0", "96.0 %"]);
  expect((await cells("All types")).at(-1)).toBe("25");
  await page.getByRole("link", { name: "7 days" }).click();
  expect(new URL(page.url()).search).toBe("?range=7d");
});

test("a gap in the snapshots is a gap in the trend, over each of the ranges", async () => {
  const { page } = watched;
  stage.sql("DELETE FROM sync_status_snapshots");
  stage.sql(`INSERT INTO sync_status_snapshots (kind, period_start, taken_at, window_seconds, status, score, error_rate_percent, success_rate_percent,
               completed_operations, failed_operations, cancelled_operations, pending_operations, running_operations, paused_operations,
               stalled_operations, peak_concurrency, processed_items, failed_items, connected_clients, lost_connections, reconnect_attempts)
             SELECT 'scheduled', at, at, 900, 'healthy', 99, 1, 99, 99, 1, 0, 0, 3, 0, 0, 4, 100, 1, 2, 0, 0
             FROM generate_series(1, 28) n, LATERAL (SELECT date_trunc('minute', clock_timestamp()) - n * interval '2 minutes' AS at) AS t
             WHERE n NOT BETWEEN 10 AND 18`);
  for (const range of ["1h", "24h", "7d", "30d"]) {
    await page.goto(`${stage.url}/health?range=${range}`);
    for (const name of ["Error rate", "Score", "Throughput", "Active operations"]) {
      await page.getByRole("img", { name: new RegExp(`^${name}.*, 1 gap$`) }).waitFor();
    }
    await page.getByText("One gap: no snapshot was taken then").waitFor();
  }
  // What is drawn has a hole too: no line where nothing is known.
  await page.goto(`${stage.url}/health?range=1h`);
  const chart = page.locator("bellwether-chart").filter({ hasText: "Active operations" });
  await chart.locator("canvas").waitFor();
  const lit = await chart.evaluate((element) => {
    const { values } = element as unknown as { values: (number | null)[] };
    return values.filter((value) => value === null).length;
  });
  expect(lit).toBe(1);
});

test("connections are shown live, this page among them", async () => {
  const { page } = watched;
  await page.getByRole("link", { name: "Connections" }).first().click();
  stage.sql("SELECT report_connection('scanner-7', 'error')");
  await page.getByRole("row").filter({ hasText: "scanner-7" }).getByText("Error").waitFor();
  await page.getByText("this page").waitFor();
});

test("where WebSockets are blocked the page is live by SSE", async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    // A proxy that refuses the upgrade looks like this to a page.
    window.WebSocket = class {
      constructor() {
        setTimeout(() => this.onclose?.({ code: 1006, reason: "" }), 5);
      }
      onclose: ((event: { code: number; reason: string }) => void) | undefined;
      close() {}
    } as never;
  });
  const page = await context.newPage();
  await page.goto(stage.url);
  await page.getByText("by SSE").waitFor();
  const id = begin("webhook");
  await page.getByRole("listitem").filter({ hasText: "Webhook" }).waitFor();
  stage.sql(`UPDATE sync_operations SET processed_items = 9 WHERE id = '${id}'`);
  await page.getByText("9 of 100").waitFor();
  await context.close();
});

test("the policy is strict, and the page needs nothing that it refuses", async () => {
  const response = await fetch(stage.url);
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'self'");
  expect(policy).not.toMatch(/unsafe/);
  expect(await response.text()).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
});

/** An instant as a field for local times of this page takes it. */
function local(page: Watched["page"], iso: string): Promise<string> {
  return page.evaluate((text) => {
    const date = new Date(text);
    return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  }, iso);
}
