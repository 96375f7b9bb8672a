import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { expect } from "vitest";
import { eventually } from "../support/eventually.ts";

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
  // Chromium's own sandbox does not work for root, and its shared memory is small in containers.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** Opens an address in a context of its own, which has no session yet. */
export async function openConsole(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<ConsolePage> {
  const context = await newContext(browser, options);
  const opened = await openIn(context, url);
  return { ...opened, [Symbol.asyncDispose]: () => context.close() };
}

/**
 * Opens an address as somebody who is signed in already. Pages of one person share a context, as the tabs of one browser
 * do: what the console is made of is loaded once.
 */
export async function openSignedIn(browser: Browser, url: string, token: string): Promise<ConsolePage> {
  const { origin } = new URL(url);
  const people = signedIn.get(browser) ?? new Map<string, BrowserContext>();
  signedIn.set(browser, people);
  const person = `${origin} ${token}`;
  const context = people.get(person) ?? (await newContext(browser, {}));
  people.set(person, context);
  const answer = await context.request.post(`${origin}/session`, {
    headers: { origin, "x-ota-console": "1" },
    data: { token },
  });
  expect(answer.status(), await answer.text()).toBe(200);
  const opened = await openIn(context, url);
  await opened.page.getByRole("button", { name: /^Signed in as/ }).waitFor();
  return opened;
}

/** By browser, then by service and token. A context is closed with its browser. */
const signedIn = new WeakMap<Browser, Map<string, BrowserContext>>();

async function newContext(browser: Browser, options: BrowserContextOptions): Promise<BrowserContext> {
  const context = await browser.newContext({
    viewport: desktop,
    // Nothing moves that would have to be waited for.
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(actionTimeoutMs);
  return context;
}

async function openIn(context: BrowserContext, url: string): Promise<ConsolePage> {
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      errors.push(message.text());
    }
  });
  await page.goto(url);
  return { page, errors, [Symbol.asyncDispose]: () => page.close() };
}

/** Signs in with a token, by keyboard, and waits for the navigation. */
export async function signIn(page: Page, token: string): Promise<void> {
  const field = page.getByLabel("Token", { exact: true });
  await field.fill(token);
  await field.press("Enter");
  await page.getByRole("button", { name: /^Signed in as/ }).waitFor();
}

/** Fails if the page breaks a rule of WCAG 2.2, level A or AA, that axe-core can check. */
export async function expectAccessible(page: Page): Promise<void> {
  // Not as a script of the page: the content security policy would refuse it, and rightly so.
  if (!(await page.evaluate<boolean>("'axe' in globalThis"))) await page.evaluate(axeSource);
  const violations = await page.evaluate(async (tags) => {
    const { axe } = globalThis as unknown as { axe: Axe };
    const result = await axe.run({ runOnly: tags });
    return result.violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join("\n")}`,
    );
  }, wcagTags);
  expect(violations, page.url()).toEqual([]);
}

/** Opens a page of the console's and waits until everything on it was read. */
export async function visit(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await eventually(async () => expect(await page.locator(unfinished).count()).toBe(0));
}

/** What stands where something is still being read. */
const unfinished = "[aria-busy=true], .mantine-Skeleton-root";

/** Looks at the page in light, in dark and as wide as a phone: accessible, and never wider than the screen. */
export async function expectGoodLooks(page: Page): Promise<void> {
  // The reference of the API has no script that would follow the scheme.
  const isConsole = (await page.locator("html[data-mantine-color-scheme]").count()) > 0;
  for (const { colorScheme, viewport } of looks) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    if (isConsole) await page.locator(`html[data-mantine-color-scheme=${colorScheme}]`).waitFor();
    await expectAccessible(page);
    const overflow = await page.evaluate<number>(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    expect(overflow, `${page.url()} is wider than ${viewport.width} pixels`).toBeLessThanOrEqual(0);
  }
}

const desktop = { width: 1360, height: 900 };

const looks = [
  { colorScheme: "light", viewport: { width: 390, height: 844 } },
  { colorScheme: "dark", viewport: desktop },
  { colorScheme: "light", viewport: desktop },
] as const;

interface Axe {
  run(options: { runOnly: string[] }): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

const chromiumPaths = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const actionTimeoutMs = 20_000;

const wcagTags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
