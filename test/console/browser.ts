import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

/** One page of the console, as a person has it before them. */
export interface ConsolePage extends AsyncDisposable {
  readonly page: Page;
  /** Errors that the page logged or threw, without those of calls that were refused as the test wanted it. */
  readonly errors: string[];
}

/** Starts a Chromium: the one of DEVICE_OTA_TEST_CHROMIUM, or the system's. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = process.env["DEVICE_OTA_TEST_CHROMIUM"] ?? chromiumPaths.find(existsSync);
  if (executablePath === undefined) throw new Error("there is no Chromium: run scripts/install-chromium");
  // Chromium's own sandbox does not work for root.
  return await chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** Opens an address in a context of its own, which has no session yet. */
export async function openConsole(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<ConsolePage> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...options });
  context.setDefaultTimeout(actionTimeoutMs);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      errors.push(message.text());
    }
  });
  await page.goto(url);
  return { page, errors, [Symbol.asyncDispose]: () => context.close() };
}

/** Signs in with a token, by keyboard, and waits for the navigation. */
export async function signIn(page: Page, token: string): Promise<void> {
  const field = page.getByLabel("Token", { exact: true });
  await field.fill(token);
  await field.press("Enter");
  await page.getByRole("button", { name: /^Signed in as/ }).waitFor();
}

/** Opens an address as somebody who is signed in. */
export async function openSignedIn(
  browser: Browser,
  url: string,
  token: string,
  options: BrowserContextOptions = {},
): Promise<ConsolePage> {
  const opened = await openConsole(browser, url, options);
  try {
    await signIn(opened.page, token);
    return opened;
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
}

/** Fails if the page breaks a rule of WCAG 2.2, level A or AA, that axe-core can check. */
export async function expectAccessible(page: Page): Promise<void> {
  // Not as a script of the page: the content security policy would refuse it, and rightly so.
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async (tags) => {
    const { axe } = globalThis as unknown as { axe: Axe };
    const result = await axe.run({ runOnly: tags });
    return result.violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join("\n")}`,
    );
  }, wcagTags);
  expect(violations, page.url()).toEqual([]);
}

interface Axe {
  run(options: { runOnly: string[] }): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

const chromiumPaths = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const actionTimeoutMs = 20_000;

const wcagTags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
