import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { headline, launch, open } from "./browser.js";
import { PATIENT, Stage } from "./relay.js";

const OPERATIONS = 2_000;
const CHANGES_A_SECOND = 200;
const SECONDS = 10;

let stage: Stage;
let browser: Browser;

beforeAll(async () => {
  stage = await Stage.open(...PATIENT);
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

test(`${OPERATIONS} active operations at ${CHANGES_A_SECOND} changes a second leave the page responsive`, async () => {
  stage.sql(`INSERT INTO sync_operations (operation_type, status, total_items)
             SELECT 'upload', 'in_progress', 1000000 FROM generate_series(1, ${OPERATIONS})`);
  const { page, complaints } = await open(browser, stage.url);
  await headline(page).getByText("Live").waitFor();
  await page
    .getByText(`${OPERATIONS.toLocaleString("en-GB")} running`)
    .first()
    .waitFor();
  const writer = stage.stream();
  for (let second = 0; second < SECONDS; second += 1) {
    for (let part = 0; part < 20; part += 1) {
      const share = CHANGES_A_SECOND / 20;
      writer.write(
        `UPDATE sync_operations SET processed_items = processed_items + 1 WHERE id IN
                    (SELECT id FROM sync_operations ORDER BY random() LIMIT ${share});`.replace(/\s+/g, " "),
      );
      writer.write("SELECT pg_sleep(0.045);");
    }
  }
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  const worked = async () => {
    const { metrics } = await devtools.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN;
  };
  await page.evaluate(() => {
    const counted = { frames: 0 };
    const frame = () => {
      counted.frames += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    Object.assign(window, { counted });
  });
  // Its own processor time, not of a clock that goes on while others have the processor.
  const shares: number[] = [];
  let before = await worked();
  for (let second = 1; second < SECONDS; second += 1) {
    await page.waitForTimeout(1000);
    const now = await worked();
    shares.push(now - before);
    before = now;
  }
  const { frames } = await page.evaluate(() => (window as unknown as { counted: { frames: number } }).counted);
  await writer.end();
  process.stdout.write(
    `seconds of the main thread's processor time in each: ${shares.map((share) => share.toFixed(2)).join(", ")}; ${frames} frames\n`,
  );
  // A page that cannot keep up needs all of it, and one that freezes all of a second.
  expect(Math.max(...shares)).toBeLessThan(0.8);
  expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThan(SECONDS / 4);
  // What the page shows in the end is what the database has.
  expect(stage.sql("SELECT sum(processed_items) FROM sync_operations")).toBe(String(CHANGES_A_SECOND * SECONDS));
  const newest = stage.sql(
    "SELECT to_char(processed_items, 'FM999,999') FROM sync_operations ORDER BY created_at DESC, id DESC LIMIT 1",
  );
  await page.getByRole("listitem").first().getByText(`${newest} of 1`).waitFor();
  expect(complaints).toEqual([]);
});
