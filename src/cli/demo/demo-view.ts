import type { Rollout } from "../../../gen/ota/v1/rollout_pb.js";
import { durationMsText } from "../format.ts";
import { LiveView } from "../live-view.ts";
import { bar, ratio, rolloutLine, rolloutLines } from "../rollout-view.ts";
import type { Terminal, Tone } from "../terminal.ts";

/** What the audience sees at one moment. */
export interface Scene {
  readonly rollout: Rollout | undefined;
  readonly devices: number;
  /** Devices whose heartbeat stream stands. */
  readonly online: number;
  /** Devices by the version that they run. */
  readonly versions: Readonly<Record<string, number>>;
  readonly heartbeatsPerSecond: number;
  readonly crashes: number;
  /** Since the demo began. */
  readonly elapsedMs: number;
}

/**
 * Shows a demo: lines that stay, and below them a picture of the rollout and the fleet. On a terminal it is redrawn in
 * place; elsewhere it becomes a line whenever it changed, at most one a second. With `toStderr` standard output stays free.
 */
export class DemoView implements Disposable {
  readonly #terminal: Terminal;
  readonly #live: LiveView;
  readonly #inPlace: boolean;
  readonly #line: (text: string) => void;
  #lastLine = "";
  #lastLineAtMs = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal, options: { readonly toStderr: boolean }) {
    this.#terminal = terminal;
    this.#live = new LiveView(terminal);
    this.#inPlace = terminal.interactive && !options.toStderr;
    this.#line = options.toStderr ? (text) => terminal.note(text) : (text) => terminal.out(text);
  }

  /** Prints a line that stays. */
  say(text = ""): void {
    this.#live.close();
    this.#line(text);
  }

  /** Prints the headline of an act. */
  act(title: string): void {
    this.say();
    this.say(this.#terminal.paint("bold", title));
  }

  /** Shows how things stand now; the last picture of an act is always shown. */
  show(scene: Scene, isLast = false): void {
    if (this.#inPlace) {
      this.#live.draw(this.#picture(scene));
      return;
    }
    const line = sceneLine(scene);
    const isTooSoon = !isLast && scene.elapsedMs - this.#lastLineAtMs < lineIntervalMs;
    if (line === this.#lastLine || isTooSoon) return;
    this.#lastLine = line;
    this.#lastLineAtMs = scene.elapsedMs;
    this.#line(`  ${durationMsText(scene.elapsedMs).padStart(8)}  ${line}`);
  }

  /** Leaves the picture as it is. */
  close(): void {
    this.#live.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #picture(scene: Scene): string[] {
    const terminal = this.#terminal;
    const rollout = scene.rollout === undefined ? [] : [...rolloutLines(terminal, scene.rollout), ""];
    const versions = Object.entries(scene.versions)
      .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
      .map(([version, count], index) => {
        const tone: Tone = (["dim", "green", "red"] as const)[index] ?? "cyan";
        return `  ${version.padEnd(10)} ${bar(terminal, tone, ratio(count, scene.devices), 36)} ${count}`;
      });
    return [
      ...rollout,
      `${terminal.paint("bold", "fleet")}  ${scene.online} of ${scene.devices} on a stream · ${scene.heartbeatsPerSecond} heartbeats/s · ${scene.crashes} crashes · ${durationMsText(scene.elapsedMs)}`,
      ...versions,
    ];
  }
}

/** How often a line is printed at most where nothing can be redrawn. */
const lineIntervalMs = 1000;

function sceneLine(scene: Scene): string {
  const versions = Object.entries(scene.versions)
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([version, count]) => `${count} on ${version}`)
    .join(", ");
  const rollout = scene.rollout === undefined ? [] : [rolloutLine(scene.rollout)];
  return [...rollout, `${scene.online} online`, versions].join(" | ");
}
