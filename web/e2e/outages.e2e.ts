import AxeBuilder from "@axe-core/playwright";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { headline, headlines, launch, open, type Watched } from "./browser.js";
import { Stage } from "./relay.js";

let stage: Stage;
let browser: Browser;
let watched: Watched;

beforeAll(async () => {
  stage = await Stage.open("--patience", "2s");
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

afterEach(() => watched.page.context().close());

const insert = (type: string) =>
  stage.sql(`INSERT INTO sync_operations (operation_type, status) VALUES ('${type}', 'in_progress')`);
const shown = (type: string) => watched.page.getByRole("listitem").filter({ hasText: type });

test("the database is killed: the header says degraded, then stale, then recovers with nothing missing", async () => {
  const { page } = watched;
  insert("before");
  await shown("Before").waitFor();
  // Written in the instant before the end: what was committed must be seen afterwards.
  insert("at_the_end");
  const said = await headlines(page);
  await stage.killDatabase();
  await headline(page).getByText("Stale since").waitFor();
  const words = (await said()).map((text) => text.split(" ")[0]);
  expect(words.filter((word) => word === "Degraded" || word === "Stale").slice(0, 2)).toEqual(["Degraded", "Stale"]);
  expect(await page.locator("header .truth").textContent()).toContain("complete as of");
  await page.locator("header .reason").waitFor();
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id }) => id)).toEqual([]);
  await stage.startDatabase();
  insert("after");
  await headline(page).getByText("Live").waitFor();
  await shown("Before").waitFor();
  await shown("At the end").waitFor();
  await shown("After").waitFor();
});

test("the relay is killed and restarted: the page says so, resumes, and has what was written meanwhile", async () => {
  const { page } = watched;
  insert("before");
  await shown("Before").waitFor();
  await stage.killRelay();
  await headline(page)
    .getByText(/Reconnecting|Stale/)
    .waitFor();
  await page.getByRole("log").getByText("Connection lost").waitFor();
  expect(await shown("Before").count()).toBe(1);
  insert("meanwhile");
  stage.sql("UPDATE sync_operations SET status = 'completed' WHERE operation_type = 'before'");
  await stage.startRelay("--patience", "2s");
  await headline(page).getByText("Live").waitFor();
  await shown("Meanwhile").waitFor();
  await page.getByRole("row").filter({ hasText: "Before" }).getByText("Completed").waitFor();
  await page.getByRole("log").getByText("Connection is back").waitFor();
});
