import {
  ClockVerdict,
  type Device,
  type HeartbeatFault,
  HeartbeatFaultKind,
} from "../../gen/ota/v1/device_pb.js";
import { cleanText, durationMsText } from "./format.ts";

/** What is wrong with a device's heartbeats and its clock, in few words: `12 refused, 3 left out, clock 2 h behind`. */
export function troubleText(device: Device): string {
  const counts = new Map<string, bigint>();
  for (const { kind, count } of device.heartbeatFaults) {
    const word = kindWords[kind];
    counts.set(word, (counts.get(word) ?? 0n) + count);
  }
  const faults = [...counts].map(([word, count]) => `${count} ${word}`);
  return [...faults, ...clockTrouble(device)].join(", ") || "-";
}

/** The same, a fact for each thing. */
export function troubleFacts(device: Device): [string, string][] {
  const faults = device.heartbeatFaults.map((fault): [string, string] => [
    kindWords[fault.kind],
    faultText(fault),
  ]);
  return [...faults, ...clockTrouble(device).map((text): [string, string] => ["clock", text])];
}

const kindWords: Readonly<Record<HeartbeatFaultKind, string>> = {
  [HeartbeatFaultKind.UNSPECIFIED]: "at fault",
  [HeartbeatFaultKind.LEFT_OUT]: "left out",
  [HeartbeatFaultKind.REFUSED]: "refused",
  [HeartbeatFaultKind.REPEATED]: "sent again",
};

function faultText({ field, value, description, count }: HeartbeatFault): string {
  const what = [field, value === "" ? "" : JSON.stringify(value), description].filter((part) => part !== "");
  return `${cleanText(what.join(" ")) || "heartbeats that are stored"} (${count} times)`;
}

function clockTrouble({ clockVerdict, clockOffset }: Device): string[] {
  if (clockVerdict === ClockVerdict.UNSET) return ["clock was never set"];
  if (clockVerdict !== ClockVerdict.OFF || clockOffset === undefined) return [];
  const seconds = Number(clockOffset.seconds);
  return [`clock ${durationMsText(Math.abs(seconds) * 1_000)} ${seconds < 0 ? "behind" : "ahead"}`];
}
