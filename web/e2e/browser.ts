/** The installed Chromium, and pages that notice what they should not have to. */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
];

export function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM_BIN ?? PATHS.find((path) => existsSync(path));
  if (!executablePath) throw new Error("there is no Chromium on this machine: install one, or name it in CHROMIUM_BIN");
  return chromium.launch({ executablePath, args: [...FLAGS, "--disable-component-update", "--disable-sync"] });
}

/** A page, and what its console complained of. */
export interface Watched {
  readonly page: Page;
  readonly complaints: string[];
}

export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  await page.goto(url);
  return { page, complaints };
}

/** The header's word for how things are. */
export const headline = (page: Page) => page.locator("header .truth [role=status]");

/** Writes down what the header says from now on, also what it does not say for long. */
export async function headlines(page: Page): Promise<() => Promise<string[]>> {
  const said = await page.locator("header .truth").evaluateHandle((truth) => {
    const said: string[] = [];
    const look = () => {
      const now = truth.querySelector("[role=status]")?.textContent?.trim() ?? "";
      if (said.at(-1) !== now) said.push(now);
    };
    new MutationObserver(look).observe(truth, { subtree: true, childList: true, characterData: true });
    look();
    return said;
  });
  return () => said.jsonValue();
}
