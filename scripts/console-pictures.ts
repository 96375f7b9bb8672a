import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { readConfig } from "../src/config.ts";
import { createLogger } from "../src/infra/logger.ts";
import { type RunningServer, startServer } from "../src/server.ts";
import { playStory, type Story } from "./picture-story.ts";

/**
 * Takes pictures of every page of the console, in light, dark and on a phone, full and empty:
 * `node scripts/console-pictures.ts [folder] [webp|png] [name …]`. The service, its fleet and its story are real and its own.
 */
const [folder = "docs/console", format = "webp", ...only] = process.argv.slice(2);

const logger = createLogger({ level: "silent", pretty: false });
const adminToken = "pictures-admin-token-000000";
const enrolmentKey = "pictures-enrolment-key-0000";

const looks: Readonly<Record<string, BrowserContextOptions>> = {
  light: { viewport: { width: 1360, height: 860 }, colorScheme: "light" },
  dark: { viewport: { width: 1360, height: 860 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true },
};

/** One picture: where it is taken, and what is done there before. */
interface Shot {
  readonly name: string;
  readonly path: string;
  readonly prepare?: (page: Page) => Promise<void>;
}

function fullShots({ device, crash, release, draft, running, rolledBack, webhook }: Story): Shot[] {
  return [
    { name: "overview", path: "/?versions=30d" },
    { name: "alerts", path: "/alerts" },
    { name: "webhooks", path: "/alerts/webhooks" },
    { name: "webhook", path: `/alerts/webhooks/${webhook}` },
    {
      name: "webhook-new",
      path: "/alerts/webhooks",
      prepare: async (page) => {
        await page.getByRole("button", { name: "New webhook" }).click();
        await page.getByRole("dialog").waitFor();
      },
    },
    { name: "devices", path: "/devices" },
    {
      name: "devices-filter",
      path: '/devices?filter=groups : berlin AND firmware_version = "1.1.0"',
      prepare: async (page) => {
        const field = page.getByLabel("Filter", { exact: true });
        await field.press("End");
        await field.pressSequentially(" AND bat");
        await page.getByRole("option").first().waitFor();
      },
    },
    {
      name: "devices-bulk",
      path: "/devices?filter=groups : berlin",
      prepare: async (page) => {
        await page.getByRole("button", { name: /^Change all/ }).click();
        await page.getByRole("dialog").waitFor();
      },
    },
    { name: "device", path: `/devices/${device}?from=${Date.now() - lookBackMs}&to=${Date.now()}` },
    { name: "device-track", path: `/devices/${device}?tab=map` },
    { name: "device-updates", path: `/devices/${device}?tab=updates` },
    { name: "device-heartbeat", path: `/devices/${device}?tab=heartbeat` },
    { name: "map", path: "/devices/map" },
    { name: "firmware-list", path: "/firmware" },
    { name: "firmware", path: `/firmware/${release}` },
    { name: "firmware-new", path: "/firmware/new" },
    { name: "firmware-compare", path: `/firmware/compare?a=${release}&b=${draft}` },
    { name: "rollouts", path: "/rollouts" },
    { name: "rollout-running", path: `/rollouts/${running}` },
    { name: "rollout-rolled-back", path: `/rollouts/${rolledBack}` },
    {
      name: "rollout-confirm",
      path: `/rollouts/${running}`,
      prepare: async (page) => {
        await page.getByRole("button", { name: "Roll back", exact: true }).click();
        await page.getByRole("dialog").waitFor();
      },
    },
    {
      name: "rollout-new",
      path: `/rollouts/new?firmware=${release}`,
      prepare: (page) => page.getByText("By ring").waitFor(),
    },
    { name: "crashes", path: "/crashes" },
    { name: "crash", path: `/crashes/${crash}` },
    {
      name: "grouping-rules",
      path: `/crashes/rules?example=${crash}`,
      prepare: (page) => page.getByRole("table", { name: "Conditions" }).waitFor(),
    },
    { name: "symbol-files", path: "/crashes/symbols" },
    { name: "audit", path: "/audit" },
    { name: "access", path: "/access" },
    { name: "settings", path: "/settings" },
  ];
}

/** The fleet of the story is not older. */
const lookBackMs = 60_000;

const emptyShots: readonly Shot[] = [
  { name: "empty-overview", path: "/" },
  { name: "empty-alerts", path: "/alerts" },
  { name: "empty-webhooks", path: "/alerts/webhooks" },
  { name: "empty-devices", path: "/devices" },
  { name: "empty-firmware", path: "/firmware" },
  { name: "empty-rollouts", path: "/rollouts" },
  { name: "empty-crashes", path: "/crashes" },
];

async function withService(work: (server: RunningServer) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "device-ota-pictures-"));
  try {
    const config = readConfig({
      DEVICE_OTA_DATA_DIR: dataDir,
      DEVICE_OTA_HTTP_PORT: "0",
      DEVICE_OTA_GRPC_PORT: "0",
      DEVICE_OTA_ADMIN_TOKEN: adminToken,
      DEVICE_OTA_ENROLMENT_KEY: enrolmentKey,
      DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "1",
      DEVICE_OTA_RATE_LIMIT_API: "off",
      DEVICE_OTA_WEBHOOK_ALLOW_PRIVATE: "true",
      DEVICE_OTA_WEBHOOK_RETRY_SECONDS: "0.1",
      DEVICE_OTA_WEBHOOK_GIVE_UP_HOURS: "0.0003",
      DEVICE_OTA_DRAIN_SECONDS: "1",
    });
    await using server = await startServer({ config, logger });
    await work(server);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function takeAll(
  from: Browser,
  { httpUrl }: RunningServer,
  shots: readonly Shot[],
  names: readonly string[],
): Promise<void> {
  for (const look of names) {
    const context = await from.newContext({
      ...looks[look],
      reducedMotion: "reduce",
      timezoneId: "Europe/Berlin",
      locale: "en-GB",
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    await page.goto(httpUrl);
    const field = page.getByLabel("Token", { exact: true });
    await field.waitFor();
    if (names.length === 3) await take(page, `sign-in-${look}`);
    await field.fill(adminToken);
    await field.press("Enter");
    await page.getByRole("button", { name: /^Signed in as/ }).waitFor();
    for (const { name, path, prepare } of shots) {
      if (only.length > 0 && !only.includes(name)) continue;
      await page.goto(httpUrl + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await settled(page);
      await prepare?.(page);
      await take(page, `${name}-${look}`);
    }
    await context.close();
  }
}

/** Waits until nothing is being read, and drawings have been drawn. */
async function settled(page: Page): Promise<void> {
  for (const deadline = performance.now() + settleMs; performance.now() < deadline; ) {
    if (await page.evaluate<boolean>(isSettled)) break;
    await twoFrames(page);
  }
  await twoFrames(page);
}

async function twoFrames(page: Page): Promise<void> {
  await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
}

const settleMs = 20_000;

const isSettled = `
  document.querySelectorAll("[aria-busy=true], .mantine-Skeleton-root").length === 0 &&
  document.getAnimations().every((each) => each.effect.getTiming().iterations === Infinity) &&
  [...document.querySelectorAll("div[role=img]")].every((drawing) => drawing.querySelector("canvas, svg"))`;

/** The longest picture: more of a long list shows nothing new. */
const maxHeightPx = 1_600;

async function take(page: Page, name: string): Promise<void> {
  const size = await page.evaluate<{ width: number; height: number }>(
    "({ width: document.documentElement.clientWidth, height: document.documentElement.scrollHeight })",
  );
  const before = page.viewportSize();
  // As high as its content, so that what sticks to an edge is drawn once, where it belongs.
  await page.setViewportSize({ width: size.width, height: Math.min(size.height, maxHeightPx) });
  await settled(page);
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", {
    format: format === "png" ? "png" : "webp",
    ...(format === "png" ? {} : { quality: webpQuality }),
  });
  await session.detach();
  if (before !== null) await page.setViewportSize(before);
  await writeFile(join(folder, `${name}.${format}`), Buffer.from(data, "base64"));
}

/** Text stays sharp; a page is some 30 KB. */
const webpQuality = 35;

await mkdir(folder, { recursive: true });
const executablePath = [process.env["DEVICE_OTA_TEST_CHROMIUM"], "/usr/bin/chromium"].find(
  (path) => path !== undefined && existsSync(path),
);
if (executablePath === undefined) throw new Error("there is no Chromium: run scripts/install-chromium");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  await withService(async (server) => {
    await takeAll(browser, server, emptyShots, ["light", "phone"]);
    const story = await playStory(server, adminToken, enrolmentKey, logger);
    try {
      await takeAll(browser, server, fullShots(story), Object.keys(looks));
    } finally {
      await story.stop();
    }
  });
} finally {
  await browser.close();
}
