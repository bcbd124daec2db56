import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { headline, launch, open, type Watched } from "./browser.js";
import { Stage } from "./relay.js";

let stage: Stage;
let browser: Browser;
let watched: Watched;

beforeAll(async () => {
  stage = await Stage.open();
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
  stage.sql("SELECT create_sync_status_snapshot()");
  stage.sql("SELECT create_sync_status_snapshot()");
  await page.getByRole("link", { name: "Health" }).first().click();
  await page.getByText("4.0 % of the operations failed").waitFor();
  await page.getByRole("img", { name: /^Error rate: .*last 4.0 %/ }).waitFor();
  await page.getByRole("row").filter({ hasText: "Upload" }).getByText("96.0 %").waitFor();
  await page.getByRole("link", { name: "7 days" }).click();
  expect(new URL(page.url()).search).toBe("?range=7d");
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
