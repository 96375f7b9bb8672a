import { SigningKeyRoleSchema } from "../../gen/ota/v1/access_pb.js";
import {
  type Firmware,
  FirmwareState,
  FirmwareStateSchema,
  type Recall,
} from "../../gen/ota/v1/firmware_pb.js";
import { agoText, bytesText, cleanText, countText, enumText, listText, timeText } from "./format.ts";
import { type Column, renderFacts, renderTable } from "./table.ts";
import type { Terminal, Tone } from "./terminal.ts";

/** Firmware, one a line. */
export function renderFirmwareList(terminal: Terminal, firmware: readonly Firmware[], nowMs: number): string {
  const columns: Column<Firmware>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "product", text: ({ product }) => cleanText(product) },
    { title: "version", text: ({ version }) => cleanText(version) },
    { title: "state", text: (item) => stateText(terminal, item) },
    { title: "for", text: ({ deviceTypes }) => listText(deviceTypes) },
    {
      title: "models",
      text: ({ hardwareModels }) => (hardwareModels.length === 0 ? "all" : listText(hardwareModels)),
    },
    { title: "size", text: ({ sizeBytes }) => bytesText(sizeBytes), align: "right" },
    { title: "created", text: ({ createTime }) => agoText(createTime, nowMs) },
  ];
  return renderTable(terminal, columns, firmware);
}

/** One firmware in full. */
export function renderFirmware(terminal: Terminal, firmware: Firmware): string {
  const signatures = firmware.signatures.map(
    ({ keyId, keyName, keyRole, keyRevoked, keyExpireTime, algorithm }) =>
      `${cleanText(algorithm)} by ${cleanText(keyName || "key")} (${[
        `${enumText(SigningKeyRoleSchema, keyRole)} key`,
        cleanText(keyId),
        ...(keyRevoked ? ["revoked"] : []),
        ...(keyExpireTime === undefined ? [] : [`counts until ${timeText(keyExpireTime)}`]),
      ].join(", ")})`,
  );
  const metadata = Object.entries(firmware.metadata).map(([name, value]) => `${name}=${value}`);
  return renderFacts(terminal, [
    ["firmware", firmware.id],
    ["product", cleanText(firmware.product)],
    ["version", cleanText(firmware.version)],
    ["reported as", firmware.reportedVersions.length === 0 ? undefined : listText(firmware.reportedVersions)],
    ["application", firmware.component === "" ? undefined : cleanText(firmware.component)],
    ["state", stateText(terminal, firmware)],
    ["recalled", firmware.recall === undefined ? undefined : recallText(firmware.recall)],
    ["device types", listText(firmware.deviceTypes)],
    ["models", firmware.hardwareModels.length === 0 ? "all" : listText(firmware.hardwareModels)],
    ["size", `${bytesText(firmware.sizeBytes)} (${firmware.sizeBytes} bytes)`],
    ["sha256", firmware.sha256],
    [
      "security",
      `counter ${firmware.securityCounter}${firmware.securityFix ? ", fixes a security fault" : ""}`,
    ],
    [
      "needs battery",
      firmware.minBatteryPercent === 0 ? undefined : `${firmware.minBatteryPercent} % or external power`,
    ],
    [
      "needs storage",
      firmware.minFreeStorageBytes === 0n ? undefined : bytesText(firmware.minFreeStorageBytes),
    ],
    [
      "installs from",
      firmware.minCurrentVersion === "" ? undefined : `${cleanText(firmware.minCurrentVersion)} or newer`,
    ],
    ["mandatory step", firmware.mandatoryStep ? "yes: older devices install it first" : undefined],
    ["signatures", signatures.length === 0 ? "none" : signatures.join(", ")],
    [
      "beside it",
      firmware.attachments.length === 0
        ? undefined
        : listText(
            firmware.attachments.map(({ format, fileName }) => `${format} (${fileName || "no name"})`),
          ),
    ],
    ["expires", firmware.expireTime === undefined ? undefined : timeText(firmware.expireTime)],
    ["created", timeText(firmware.createTime)],
    [
      "damaged",
      firmware.damagedTime === undefined
        ? undefined
        : `content is damaged or missing since ${timeText(firmware.damagedTime)}: upload it again`,
    ],
    ["released", firmware.releaseTime === undefined ? undefined : timeText(firmware.releaseTime)],
    ["deleted", firmware.deleteTime === undefined ? undefined : timeText(firmware.deleteTime)],
    ["metadata", metadata.length === 0 ? undefined : listText(metadata)],
    ["notes", firmware.releaseNotes === "" ? undefined : cleanText(firmware.releaseNotes)],
  ]);
}

function stateText(terminal: Terminal, { state, recall, damagedTime }: Firmware): string {
  const texts = [terminal.paint(TONES[state] ?? "bold", enumText(FirmwareStateSchema, state))];
  if (recall !== undefined) texts.push(terminal.paint("red", "recalled"));
  if (damagedTime !== undefined) texts.push(terminal.paint("red", "damaged"));
  return texts.join(", ");
}

function recallText({ actor, recallTime, reason, replacementVersion, runningCount }: Recall): string {
  return [
    `by ${cleanText(actor)} at ${timeText(recallTime)}${reason === "" ? "" : `: ${cleanText(reason)}`}`,
    `whoever runs it is offered ${cleanText(replacementVersion)}`,
    ...(runningCount === undefined ? [] : [`${countText(runningCount, "device")} still to leave`]),
  ].join("; ");
}

const TONES: Readonly<Partial<Record<FirmwareState, Tone>>> = {
  [FirmwareState.DRAFT]: "dim",
  [FirmwareState.UPLOADED]: "yellow",
  [FirmwareState.RELEASED]: "green",
};
