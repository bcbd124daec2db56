/** The elements in somebody else's page, of another origin, by one script tag. */
import { createServer } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { launch } from "./browser.js";
import { Stage } from "./relay.js";

let stage: Stage;
let browser: Browser;
let page: Page;
let origin: string;
let body = "";

/** Somebody else's server; on this machine too, since browsers keep pages from elsewhere away from it. */
const elsewhere = createServer((_request, response) => {
  const script = `<script src="${stage.url}/bellwether.js"></script>`;
  response.setHeader("Content-Type", "text/html").end(`<!doctype html>${script}${body}`);
});

beforeAll(async () => {
  await new Promise<void>((done) => elsewhere.listen(0, "127.0.0.1", done));
  origin = `http://127.0.0.1:${(elsewhere.address() as { port: number }).port}`;
  stage = await Stage.open("--allow-origin", origin);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
  elsewhere.close();
});

afterEach(() => page.context().close());

async function show(content: string): Promise<void> {
  body = content;
  page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(origin);
}

const insert = (type: string) =>
  stage.sql(
    `INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('${type}', 'in_progress', 10) RETURNING id`,
  );

test("the indicator says how things are and counts what is active", async () => {
  await show("<bellwether-status></bellwether-status>");
  await page.getByText("Live").waitFor();
  const before = Number(await page.locator("bellwether-status b").textContent());
  insert("upload");
  await expect.poll(async () => Number(await page.locator("bellwether-status b").textContent())).toBe(before + 1);
});

test("one operation is followed to its end, which is an event for the page", async () => {
  const id = insert("upload");
  await show(`<bellwether-operation operation-id="${id}"></bellwether-operation>`);
  await page.getByText("0 of 10").waitFor();
  const told = page.evaluate(
    () =>
      new Promise((done) =>
        document.addEventListener("complete", (event) => done((event as CustomEvent).detail.status)),
      ),
  );
  stage.sql(
    `UPDATE sync_operations SET processed_items = 10, inserted_items = 8, skipped_items = 2 WHERE id = '${id}'`,
  );
  await page.getByText("8 inserted").waitFor();
  stage.sql(`SELECT complete_sync_operation('${id}')`);
  expect(await told).toBe("completed");
  await page.getByText("Completed").waitFor();
});

test("an operation that completes before the reader's eyes stays for a moment, one that had ended stays", async () => {
  const [running, over] = [insert("upload"), insert("webhook")];
  stage.sql(`SELECT complete_sync_operation('${over}')`);
  const element = (id: string) => `<bellwether-operation operation-id="${id}" linger="0"></bellwether-operation>`;
  await show(element(running) + element(over));
  await page.getByText("Completed").waitFor();
  await page.getByText("0 of 10").first().waitFor();
  stage.sql(`SELECT complete_sync_operation('${running}')`);
  await page.locator("bellwether-operation").first().locator(".card").waitFor({ state: "detached" });
  expect(await page.getByText("Completed").count()).toBe(1);
});

test("a failed operation stays with its error", async () => {
  const id = insert("upload");
  await show(`<bellwether-operation operation-id="${id}" linger="0"></bellwether-operation>`);
  await page.getByText("0 of 10").waitFor();
  stage.sql(`SELECT complete_sync_operation('${id}', 'failed', error => 'no space left')`);
  await page.getByText("no space left").waitFor();
});

test("the widget opens, shows what runs, and closes by Escape", async () => {
  insert("photo_import");
  await show("<bellwether-widget operation-type='photo_import'></bellwether-widget>");
  await page.getByRole("button", { name: "1 active" }).click();
  await page.getByRole("region", { name: "Operations" }).getByText("Photo import").waitFor();
  await page.getByRole("button", { name: "Close" }).focus();
  await page.keyboard.press("Escape");
  await page.getByRole("region", { name: "Operations" }).waitFor({ state: "detached" });
});

test("toasts tell of endings, many at once as one", async () => {
  await show("<bellwether-status></bellwether-status><bellwether-toasts></bellwether-toasts>");
  await page.getByText("Live").waitFor();
  stage.sql(
    "INSERT INTO sync_operations (operation_type, status) SELECT 'import', 'in_progress' FROM generate_series(1, 40)",
  );
  stage.sql("UPDATE sync_operations SET status = 'completed' WHERE operation_type = 'import'");
  await page.getByText("40 operations completed").waitFor();
});

test("the whole dashboard is an element too, and leaves the page's address alone", async () => {
  await show("<bellwether-dashboard></bellwether-dashboard>");
  await page.getByRole("link", { name: "Connections" }).first().click();
  await page.getByRole("heading", { name: "Connections" }).waitFor();
  expect(page.url()).toBe(`${origin}/`);
});

test("a page's colours are its own to set", async () => {
  await show(
    "<style>bellwether-status { --bw-surface: rgb(1, 2, 3) }</style><bellwether-status theme='dark'></bellwether-status>",
  );
  const colour = await page
    .locator("bellwether-status .line")
    .evaluate((line) => getComputedStyle(line).backgroundColor);
  expect(colour).toBe("rgb(1, 2, 3)");
});
