import AxeBuilder from "@axe-core/playwright";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { headline, launch, open } from "./browser.js";
import { PATIENT, Stage } from "./relay.js";

let stage: Stage;
let browser: Browser;
let id: string;

beforeAll(async () => {
  stage = await Stage.open(...PATIENT);
  browser = await launch();
  stage.sql(`INSERT INTO sync_operations (operation_type, status, owner, total_items, processed_items, message)
             SELECT 'upload', (ARRAY['pending', 'in_progress', 'paused', 'completed', 'failed', 'cancelled'])[1 + n % 6], 'alice', 100, n, 'on it'
             FROM generate_series(1, 24) n`);
  id = stage.sql("SELECT id FROM sync_operations WHERE status = 'failed' LIMIT 1");
  stage.sql(`SELECT record_sync_error('${id}', 'permission denied', item => 'a.txt')`);
  stage.sql("SELECT report_connection('scanner', 'reconnecting')");
  stage.sql("SELECT create_sync_status_snapshot()");
  stage.sql("SELECT create_sync_status_snapshot()");
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

const VIEWS = {
  now: () => "/",
  history: () => "/history",
  health: () => "/health",
  connections: () => "/connections",
  operation: () => `/operations/${id}`,
  nowhere: () => "/nowhere",
};

/** What axe finds on a page once it has everything to show. */
async function findings(
  path: string,
  width: number,
  colorScheme: "light" | "dark",
  rules?: string[],
): Promise<string[]> {
  const { page, complaints } = await open(browser, stage.url + path, { colorScheme, viewport: { width, height: 800 } });
  await headline(page).getByText("Live").waitFor();
  await page.waitForFunction(
    () =>
      !document
        .querySelector("bellwether-dashboard")
        ?.shadowRoot?.querySelector("main > *")
        ?.shadowRoot?.querySelector("[aria-busy=true]"),
  );
  const axe = new AxeBuilder({ page });
  if (rules) axe.withRules(rules);
  else axe.withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]);
  const { violations } = await axe.analyze();
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  expect(complaints).toEqual([]);
  await page.context().close();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
}

test.each(Object.entries(VIEWS))("axe finds nothing wrong with the view %s", async (_name, path) => {
  for (const width of [1280, 360]) expect(await findings(path(), width, "light")).toEqual([]);
  // In the dark only the colours differ.
  expect(await findings(path(), 1280, "dark", ["color-contrast"])).toEqual([]);
});

test("every view is reached and worked by keyboard, with the focus in sight", async () => {
  const { page } = await open(browser, stage.url);
  await headline(page).getByText("Live").waitFor();
  await page.keyboard.press("Tab");
  expect(await focused(page)).toContain("Skip to the content");
  for (const name of ["Bellwether", "Now", "History"]) {
    await page.keyboard.press("Tab");
    expect(await focused(page)).toContain(name);
  }
  await page.keyboard.press("Enter");
  await page.waitForURL(`${stage.url}/history`);
  await page.waitForFunction(() => document.title.startsWith("History"));
  expect(await focused(page)).toContain("History");
  await page.context().close();
});

test("whoever wants less motion gets none", async () => {
  const { page } = await open(browser, stage.url, { reducedMotion: "reduce" });
  await headline(page).getByText("Live").waitFor();
  await page.getByRole("progressbar").first().waitFor();
  const motion = await page
    .getByRole("progressbar")
    .first()
    .locator("i")
    .evaluate((bar) => {
      const { animationName, transitionDuration } = getComputedStyle(bar);
      return [animationName, transitionDuration];
    });
  expect(motion).toEqual(["none", "0s"]);
  await page.context().close();
});

/** The text of what has the focus, wherever it is. */
function focused(page: import("playwright-core").Page): Promise<string> {
  return page.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element?.textContent?.trim() ?? "";
  });
}
